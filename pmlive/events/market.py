"""Events of markets and their books, which everybody receives."""

from decimal import Decimal
from typing import Literal

import msgspec

from pmlive.events.base import Probability, Timestamp

__all__ = [
    "BestBidAsk",
    "BookSnapshot",
    "Level",
    "LevelChange",
    "MarketResolved",
    "NewMarket",
    "PriceChange",
    "TickSizeChange",
    "Trade",
]


class Level(msgspec.Struct, frozen=True, gc=False):
    """One price (dollars per share) and the total size (shares) resting at it, as decimal text."""

    price: str
    size: str


class _LooseLevel(msgspec.Struct, frozen=True, gc=False):
    """A level whose numbers may be numbers."""

    price: str | float
    size: str | float


_LEVELS = msgspec.json.Decoder(list[Level])
_LOOSE_LEVELS = msgspec.json.Decoder(list[_LooseLevel])


def _read(levels: msgspec.Raw) -> list[Level]:
    try:
        return _LEVELS.decode(levels)
    except msgspec.ValidationError:
        return [Level(_text(level.price), _text(level.size)) for level in _LOOSE_LEVELS.decode(levels)]


def _text(number: str | float) -> str:
    return number if isinstance(number, str) else f"{Decimal(repr(number)):f}"


class BookSnapshot(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """The whole book of one token; it replaces whatever was known.

    The sides are kept as the venue wrote them: most books repeat what is known already, which their text tells, and
    levels that are not new need not be read. Levels come in the venue's order, best last, but only prices decide.
    ``tick_size`` and ``last_trade_price`` are sent with the opening book only; ``min_order_size`` and ``neg_risk`` by
    REST only.
    """

    token_id: str
    market: str
    timestamp: Timestamp
    bids_json: msgspec.Raw
    asks_json: msgspec.Raw
    hash: str = ""
    tick_size: str | None = None
    last_trade_price: str | None = None
    min_order_size: str | None = None
    neg_risk: bool | None = None

    @property
    def bids(self) -> list[Level]:
        """Read the bids.

        Raises:
            msgspec.DecodeError: they are not levels.
        """
        return _read(self.bids_json)

    @property
    def asks(self) -> list[Level]:
        """Read the asks.

        Raises:
            msgspec.DecodeError: they are not levels.
        """
        return _read(self.asks_json)


class LevelChange(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """The new total at one level, and what the venue says of the book after it; an empty side's best is 0 or 1.

    Numbers that the venue's hash covers are text; the best prices are not.
    """

    token_id: str
    price: str
    size: str
    side: Literal["BUY", "SELL"]
    hash: str = ""
    best_bid: Probability | None = None
    best_ask: Probability | None = None


class PriceChange(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """Level changes of one market at one instant, nearly always a level and its mirror in the other token."""

    market: str
    timestamp: Timestamp
    changes: list[LevelChange]


class Trade(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """One settled match; ``side`` is the taker's (``BUY`` or ``SELL``)."""

    token_id: str
    market: str
    timestamp: Timestamp
    price: str
    size: str
    side: str
    fee_rate_bps: str = ""
    transaction_hash: str = ""


class BestBidAsk(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """The venue's own word on the top of a book; intermittent and out of order, so no book is kept from it."""

    token_id: str
    timestamp: Timestamp
    market: str = ""
    best_bid: str = ""
    best_ask: str = ""
    spread: str = ""


class TickSizeChange(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """A finer or coarser price grid, sent when a price nears 0 or 1."""

    token_id: str
    market: str
    timestamp: Timestamp
    old_tick_size: str
    new_tick_size: str


class NewMarket(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """A market that was created anywhere on the venue."""

    market: str
    timestamp: Timestamp
    token_ids: list[str]
    outcomes: list[str] = []
    id: str = ""
    question: str = ""
    slug: str = ""
    description: str = ""
    condition_id: str = ""
    clob_token_ids: list[str] | None = None
    event_message: dict[str, str | None] | None = None
    tags: list[str] | None = None
    active: bool | None = None
    sports_market_type: str | None = None
    line: str | None = None
    game_start_time: str | None = None
    tick_size: str | None = None
    group_item_title: str | None = None
    taker_base_fee: str | None = None
    fees_enabled: bool | None = None
    fee_schedule: dict[str, object] | None = None


class MarketResolved(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """The outcome that won."""

    market: str
    timestamp: Timestamp
    token_ids: list[str]
    winning_token_id: str
    winning_outcome: str
    id: str = ""
    question: str = ""
    slug: str = ""
    description: str = ""
    outcomes: list[str] = []
    event_message: dict[str, str | None] | None = None
    tags: list[str] | None = None
