"""Events: what the venue sends, as typed values.

Prices and sizes are the venue's decimal text, unchanged, because its book hash covers the text; ``Book`` parses them.
``timestamp`` is the time as sent; ``epoch_ns`` converts it from any of the venue's units.
"""

from decimal import Decimal
from typing import Annotated, Literal, TypeAlias

import msgspec

__all__ = [
    "SECONDS_BELOW",
    "Activity",
    "BestBidAsk",
    "BookSide",
    "BookSnapshot",
    "Cause",
    "Channel",
    "Check",
    "Comment",
    "Control",
    "Event",
    "Gap",
    "Level",
    "LevelChange",
    "MakerOrder",
    "Malformed",
    "MarketResolved",
    "NewMarket",
    "PriceChange",
    "Probability",
    "ReferencePrice",
    "StreamNumber",
    "StreamReply",
    "TickSizeChange",
    "Timestamp",
    "Trade",
    "Unknown",
    "UserOrder",
    "UserTrade",
    "epoch_ns",
]

BookSide: TypeAlias = Literal["bid", "ask"]
Channel: TypeAlias = Literal["market", "user", "realtime", "prices"]
Cause: TypeAlias = Literal[
    "disconnect", "overflow", "silence", "malformed", "disk", "restart", "late opening book", "mismatch"
]
Check: TypeAlias = Literal["verified", "unverifiable", "mismatch", "skipped"]

# Seconds are below this number until the year 2255, milliseconds above it since April 1970, and so on by thousands.
SECONDS_BELOW = 9_000_000_000

# As the venue sends it, in seconds or milliseconds; micro- and nanoseconds are accepted, too. Converted to nanoseconds,
# any such number fits 64 bits.
Timestamp: TypeAlias = Annotated[int, msgspec.Meta(ge=0, lt=1_000_000_000 * SECONDS_BELOW)]

# A price of which only the value matters.
Probability: TypeAlias = Annotated[float, msgspec.Meta(ge=0, le=1)]


def epoch_ns(timestamp: int) -> int:
    """Convert a venue timestamp, whose unit its magnitude shows, to nanoseconds since 1970.

    >>> epoch_ns(1672290701), epoch_ns(1672290701000), epoch_ns(1672290701000001)
    (1672290701000000000, 1672290701000000000, 1672290701000001000)
    """
    if SECONDS_BELOW <= timestamp < 1000 * SECONDS_BELOW:
        return timestamp * 1_000_000
    if timestamp < SECONDS_BELOW:
        return timestamp * 1_000_000_000
    return timestamp * 1_000 if timestamp < 1_000_000 * SECONDS_BELOW else timestamp


class Control(msgspec.Struct, frozen=True, gc=False):
    """A message about the connection itself, such as an answer to a ping, an acknowledgement or a refusal."""

    word: str
    detail: str = ""


class Unknown(msgspec.Struct, frozen=True, gc=False):
    """A message of a kind that this version does not know: its first 1 kB, and the ids of tokens and markets in it."""

    kind: str
    raw: str
    names: tuple[str, ...] = ()


class Malformed(msgspec.Struct, frozen=True, gc=False):
    """A message that could not be parsed: its first 1 kB, why, and the ids of tokens and markets in it.

    Empty ``names`` mean that it is unknown which tokens it concerned.
    """

    raw: str
    reason: str
    names: tuple[str, ...] = ()


class Gap(msgspec.Struct, frozen=True, kw_only=True):
    """An interval that cannot be trusted, in nanoseconds since 1970 of our own clock.

    ``token_id`` is None if the whole connection was affected; ``ended`` is None while it lasts. Whatever is missing has
    a timestamp within the interval and would have been received within it.
    """

    started: int
    cause: Cause
    token_id: str | None = None
    ended: int | None = None
    detail: str = ""
    conn: int = 0


class Level(msgspec.Struct, frozen=True, gc=False):
    """One price (dollars per share) and the total size (shares) resting at it, as decimal text."""

    price: str
    size: str


class BookSnapshot(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """The whole book of one token, which replaces what was known of it.

    The sides are kept as the venue's JSON: most books repeat what is known, which comparing the text shows without
    parsing the levels. Levels usually come best last, but their order is not relied on. ``tick_size`` and
    ``last_trade_price`` are sent with the opening book only, ``min_order_size`` and ``neg_risk`` by REST only.
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
    def by_rest(self) -> bool:
        """Whether it is an answer of REST, which may be older than what came by the socket."""
        return self.min_order_size is not None or self.neg_risk is not None

    @property
    def bids(self) -> list[Level]:
        """The bids.

        Raises:
            msgspec.DecodeError: they are not levels.
        """
        return _read_levels(self.bids_json)

    @property
    def asks(self) -> list[Level]:
        """The asks.

        Raises:
            msgspec.DecodeError: they are not levels.
        """
        return _read_levels(self.asks_json)


class LevelChange(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """The new total at one level, and the best prices and hash of the book after it; an empty side's best is 0 or 1.

    Numbers that the venue's hash covers are text; the best prices are not covered.
    """

    token_id: str
    price: str
    size: str
    side: Literal["BUY", "SELL"]
    hash: str = ""
    best_bid: Probability | None = None
    best_ask: Probability | None = None


class PriceChange(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """Level changes of one market at one instant: nearly always one level and its mirror in the other token."""

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
    """The top of a book as the venue states it; too irregular and out of order to build a book from."""

    token_id: str
    timestamp: Timestamp
    market: str = ""
    best_bid: str = ""
    best_ask: str = ""
    spread: str = ""


class TickSizeChange(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """A change of the price grid, sent when a price nears 0 or 1."""

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
    """The resolution of a market: the outcome that won."""

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


class UserOrder(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """A change of one of the user's orders: placed, partly matched or ended; ``status`` is an open set of words."""

    id: str
    market: str
    token_id: str
    timestamp: Timestamp
    type: str
    side: str
    price: str
    original_size: str
    size_matched: str = ""
    status: str = ""
    outcome: str = ""
    order_type: str = ""
    created_at: str = ""
    expiration: str | None = None
    maker_address: str = ""
    associate_trades: list[str] | None = None


class MakerOrder(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """One resting order that a trade matched, possibly of the market's other token."""

    order_id: str
    matched_amount: str
    price: str
    token_id: str = ""
    outcome: str = ""
    outcome_index: int | None = None
    side: str = ""
    fee_rate_bps: str = ""
    maker_address: str = ""


class UserTrade(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """A trade of the user's; each new ``status`` is another message with the same ``id``."""

    id: str
    market: str
    token_id: str
    side: str
    price: str
    size: str
    status: str
    timestamp: Timestamp | None = None
    outcome: str = ""
    fee_rate_bps: str = ""
    taker_order_id: str = ""
    trader_side: str = ""
    match_time: str = ""
    last_update: str = ""
    transaction_hash: str = ""
    bucket_index: int | None = None
    maker_address: str = ""
    maker_orders: list[MakerOrder] = []


class Activity(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """A trade anywhere on the venue, with the wallet; ``trades`` has both sides, ``orders_matched`` only the taker."""

    type: str
    token_id: str
    market: str
    timestamp: Timestamp
    price: float
    size: float
    side: str
    event_slug: str = ""
    slug: str = ""
    title: str = ""
    outcome: str = ""
    outcome_index: int | None = None
    proxy_wallet: str = ""
    name: str = ""
    pseudonym: str = ""
    bio: str = ""
    icon: str = ""
    profile_image: str = ""
    transaction_hash: str = ""


class ReferencePrice(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """A price from outside the venue, in dollars; ``topic`` says whose it is and of what kind."""

    topic: str
    symbol: str
    timestamp: Timestamp
    value: float
    full_accuracy_value: str = ""
    received_at: Timestamp | None = None
    window_seconds: int | None = None
    is_carried_forward: bool | None = None
    source: str = ""
    snapshot: bool = False


class StreamReply(Control, frozen=True, gc=False):
    """An answer of the price streams: ``rid`` is the request's id, ``code`` the reason of a refusal."""

    rid: str = ""
    channel: str = ""
    code: str = ""
    provider: str = ""


class StreamNumber(Control, frozen=True, gc=False):
    """The number of a message of the price streams; ``word`` is its channel.

    Numbers are consecutive within a connection and channel; ``dropped`` messages before this one were not sent.
    """

    number: int | None = None
    dropped: int = 0


class Comment(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """A comment or reaction under an event, as sent."""

    type: str
    timestamp: Timestamp
    payload: dict[str, object]


Event: TypeAlias = (
    PriceChange
    | BookSnapshot
    | Trade
    | BestBidAsk
    | TickSizeChange
    | NewMarket
    | MarketResolved
    | UserOrder
    | UserTrade
    | Activity
    | ReferencePrice
    | Comment
    | Control
    | Unknown
    | Malformed
)


class _LooseLevel(msgspec.Struct, frozen=True, gc=False):
    """A level whose price and size may be JSON numbers instead of text."""

    price: str | float
    size: str | float


_LEVELS = msgspec.json.Decoder(list[Level])
_LOOSE_LEVELS = msgspec.json.Decoder(list[_LooseLevel])


def _read_levels(levels: msgspec.Raw) -> list[Level]:
    try:
        return _LEVELS.decode(levels)
    except msgspec.ValidationError:
        return [Level(_decimal_text(level.price), _decimal_text(level.size)) for level in _LOOSE_LEVELS.decode(levels)]


def _decimal_text(number: str | float) -> str:
    return number if isinstance(number, str) else f"{Decimal(repr(number)):f}"
