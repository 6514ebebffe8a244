"""The events of a recording, and the book of a token while they go by: shown without being copied."""

from bisect import bisect_left
from collections.abc import Sequence
from typing import Literal, TypeAlias

import msgspec
import polars as pl

from pmlive.errors import BookError
from pmlive.events import BookSide, Cause, Check
from pmlive.gaps import GapInterval
from pmlive.levels import Levels
from pmlive.times import moment

__all__ = [
    "BookEndEvent",
    "BookEvent",
    "BookSource",
    "EventBase",
    "EventBook",
    "EventBookState",
    "GapBeginEvent",
    "GapEndEvent",
    "Ladders",
    "LevelEvent",
    "MovingBook",
    "MovingSide",
    "RecordedEvent",
    "ResolutionEvent",
    "TickSizeEvent",
    "TradeEvent",
    "TradeSide",
]

# ``none``: it had not come yet, or is not followed any more. ``stale``: a gap lasts.
EventBookState: TypeAlias = Literal["trusted", "stale", "none"]
# Prices and sizes of the bids and of the asks, best first.
Ladders: TypeAlias = tuple[list[float], list[float], list[float], list[float]]


class MovingSide:
    """One side of a book, best level first: prices (those of bids negated, so that they ascend too) and sizes."""

    __slots__ = ("keys", "sign", "sizes")

    def __init__(self, sign: int, prices: Sequence[float] = (), sizes: Sequence[float] = ()) -> None:
        self.sign = sign
        self.keys = [sign * price for price in prices]
        self.sizes = list(sizes)

    def put(self, price: float, size: float) -> None:
        """Set the total at a price, 0 removing it."""
        keys, key = self.keys, self.sign * price
        at = bisect_left(keys, key)
        if at < len(keys) and keys[at] == key:
            if size:
                self.sizes[at] = size
            else:
                del keys[at], self.sizes[at]
        elif size:
            keys.insert(at, key)
            self.sizes.insert(at, size)

    def size(self, price: float) -> float:
        """Return the total at a price, 0 where there is none."""
        key = self.sign * price
        at = bisect_left(self.keys, key)
        return self.sizes[at] if at < len(self.keys) and self.keys[at] == key else 0.0

    def levels(self, depth: int | None = None) -> list[tuple[float, float]]:
        """List price and size, best first."""
        sign = self.sign
        return [(sign * key, size) for key, size in zip(self.keys[:depth], self.sizes[:depth], strict=True)]

    def copy(self) -> "MovingSide":
        """Return a copy that nothing changes."""
        made = MovingSide(self.sign)
        made.keys, made.sizes = self.keys.copy(), self.sizes.copy()
        return made


class MovingBook:
    """The book of one token, with the gaps that concern it now; ``view`` is what its events show of it.

    ``is_there`` says that it began with a whole book and was not given up since, ``why_none`` why it is not there.
    ``covering`` are the gaps that last, of any connection, and ``gaps`` those of them that concern this token.
    """

    __slots__ = ("asks", "bids", "conn", "covering", "gaps", "is_there", "market", "token_id", "view", "why_none")

    def __init__(self, token_id: str, market: str = "") -> None:
        self.token_id = token_id
        self.market = market
        self.bids, self.asks = MovingSide(-1), MovingSide(1)
        self.is_there = False
        self.why_none = "its first book had not come yet"
        self.conn = 0
        self.covering: list[GapInterval] = []
        self.gaps: list[GapInterval] = []
        self.view = EventBook(self)

    def replace(self, ladders: Ladders, conn: int) -> None:
        """Begin with a whole book of a connection."""
        self.bids, self.asks = MovingSide(-1, *ladders[:2]), MovingSide(1, *ladders[2:])
        self.conn, self.is_there = conn, True

    def drop(self, why: str, conn: int) -> None:
        """Note that there is no book any more."""
        self.bids, self.asks = MovingSide(-1), MovingSide(1)
        self.conn, self.is_there, self.why_none = conn, False, why

    def holds(self, ladders: Ladders) -> bool:
        """Check whether it is there and has exactly these levels."""
        return self.is_there and self.ladders() == ladders

    def ladders(self) -> Ladders:
        """Return prices and sizes of the bids and of the asks, best first."""
        bids, asks = self.bids, self.asks
        return [-key for key in bids.keys], bids.sizes.copy(), asks.keys.copy(), asks.sizes.copy()

    def copy(self) -> "MovingBook":
        """Return a copy that nothing changes."""
        made = MovingBook(self.token_id, self.market)
        made.bids, made.asks = self.bids.copy(), self.asks.copy()
        made.is_there, made.why_none, made.conn = self.is_there, self.why_none, self.conn
        made.gaps = self.gaps.copy()
        return made


class EventBook:
    """The book of a token after an event, for as long as no other event was asked for; ``copy`` makes one that stays.

    There is one for each token, which all its events share, so nothing is computed before it is asked for. Prices are
    dollars a share, sizes are shares. While the book cannot be trusted, all that tells of its levels raises.
    """

    __slots__ = ("_moving",)

    def __init__(self, moving: MovingBook) -> None:
        self._moving = moving

    @property
    def token_id(self) -> str:
        """The token."""
        return self._moving.token_id

    @property
    def market(self) -> str:
        """The condition id of its market."""
        return self._moving.market

    @property
    def trusted(self) -> bool:
        """Whether a whole book had come, and no gap lasts."""
        return self._moving.is_there and not self._moving.gaps

    @property
    def state(self) -> EventBookState:
        """Whether it can be trusted: ``stale`` while a gap lasts, ``none`` while no book has come."""
        if self._moving.gaps:
            return "stale"
        return "trusted" if self._moving.is_there else "none"

    @property
    def cause(self) -> Cause | None:
        """The cause of the gap that lasts, if one does; of several, of the one that began first."""
        return self._moving.gaps[0].cause if self._moving.gaps else None

    @property
    def why(self) -> str:
        """Why it cannot be trusted; empty if it can."""
        if self._moving.gaps:
            return f"not to be trusted {self._moving.gaps[0]}"
        return "" if self._moving.is_there else self._moving.why_none

    @property
    def best_bid(self) -> float | None:
        """The highest bid, or None where there is none.

        Raises:
            BookError: the book cannot be trusted; the other properties and methods raise it, too.
        """
        keys = self._trusted().bids.keys
        return -keys[0] if keys else None

    @property
    def best_ask(self) -> float | None:
        """The lowest ask, or None where there is none."""
        keys = self._trusted().asks.keys
        return keys[0] if keys else None

    @property
    def mid(self) -> float | None:
        """The middle of the best prices, or None where a side is empty."""
        bids, asks = self._trusted().bids.keys, self._moving.asks.keys
        return round((asks[0] - bids[0]) / 2, 6) if bids and asks else None

    @property
    def spread(self) -> float | None:
        """Best ask less best bid, or None where a side is empty."""
        bids, asks = self._trusted().bids.keys, self._moving.asks.keys
        return round(asks[0] + bids[0], 6) if bids and asks else None

    @property
    def bids(self) -> list[tuple[float, float]]:
        """The bids as price and size, best first."""
        return self._trusted().bids.levels()

    @property
    def asks(self) -> list[tuple[float, float]]:
        """The asks as price and size, best first."""
        return self._trusted().asks.levels()

    def levels(self, side: BookSide, depth: int | None = None) -> list[tuple[float, float]]:
        """List price and size of at most ``depth`` levels of a side, best first."""
        return self._side(side).levels(depth)

    def size(self, side: BookSide, price: float) -> float:
        """Return the total at a price, 0 where there is none."""
        return self._side(side).size(price)

    def frame(self) -> pl.DataFrame:
        """Return the levels as rows of side, price and size, best first."""
        return Levels(bids=self.bids, asks=self.asks).frame()

    def copy(self) -> "EventBook":
        """Return a copy, which no later event changes."""
        return self._moving.copy().view

    def __repr__(self) -> str:
        """Return the best prices, or why there are none, in one line."""
        top = f"{self.best_bid} bid, {self.best_ask} ask" if self.trusted else f"{self.state}, {self.why}"
        return f"<Book of token {self.token_id[:20]!r}: {top}>"

    def _side(self, side: BookSide) -> MovingSide:
        moving = self._trusted()
        return moving.bids if side == "bid" else moving.asks

    def _trusted(self) -> MovingBook:
        moving = self._moving
        if moving.gaps or not moving.is_there:
            since = moment(moving.gaps[0].started) if moving.gaps else None
            message = f"the book of token {moving.token_id[:80]!r} cannot be trusted: {self.why}"
            raise BookError(message, cause=self.cause, since=since)
        return moving


# --- events ---

# What a recording holds of some tokens, event by event in order of arrival, with the book at that moment.
#
# A gap begins where the book was last known to be right, which was found out later: what a strategy is told of a
# recording, it would not have known live. Between two events of one token the book of another one does not change.

# Who told of a whole book: the venue, or the recorder, where a reader can begin.
BookSource: TypeAlias = Literal["venue", "recorder"]
TradeSide: TypeAlias = Literal["buy", "sell"]


class EventBase(msgspec.Struct, frozen=True, gc=False):
    """What every event has.

    ``seq`` is the number of its row; what has no row has that of the next one. ``ts_recv`` and ``ts_event`` are
    nanoseconds since 1970, of our clock and of the venue's (None where it said nothing). ``conn`` is the connection
    epoch. ``book`` is the token's book after the event, and valid until the next event is asked for.
    """

    seq: int
    ts_recv: int
    ts_event: int | None
    conn: int
    token_id: str
    book: EventBook


class LevelEvent(EventBase, frozen=True, gc=False):
    """The new total ``size`` (shares) at one ``price`` of a side, 0 where the level is gone.

    ``check`` tells whether the venue's hash fitted the book after it. One that was ``skipped`` was not put on the book:
    it came before the book that it belongs to, or was older than it, or a gap lasted.
    """

    side: BookSide
    price: float
    size: float
    check: Check

    @property
    def kind(self) -> Literal["level"]:
        """The kind of event."""
        return "level"


class TradeEvent(EventBase, frozen=True, gc=False):
    """A trade; ``side`` is the taker's. The venue sends it after the changes of the book that it caused."""

    price: float
    size: float
    side: TradeSide
    fee_rate_bps: float | None
    transaction_hash: str | None

    @property
    def kind(self) -> Literal["trade"]:
        """The kind of event."""
        return "trade"


class BookEvent(EventBase, frozen=True, gc=False, kw_only=True):
    """A whole book, as lists with the best level first, with the venue's hash and what else it told.

    The venue repeats books, and some are older than what has come: the event's own book is the one to go by. One of
    the ``recorder`` stands where a book is first known, without having been sent whole at that moment.
    """

    source: BookSource
    bid_prices: list[float]
    bid_sizes: list[float]
    ask_prices: list[float]
    ask_sizes: list[float]
    hash: str | None = None
    opening: bool = False
    tick_size: float | None = None
    last_trade_price: float | None = None

    @property
    def kind(self) -> Literal["book"]:
        """The kind of event."""
        return "book"


class BookEndEvent(EventBase, frozen=True, gc=False):
    """The end of a book that nobody follows any more, or that a new run does not know; ``why`` says which."""

    why: str

    @property
    def kind(self) -> Literal["book_end"]:
        """The kind of event."""
        return "book_end"


class GapBeginEvent(EventBase, frozen=True, gc=False):
    """The beginning of a gap that concerns the token: at ``started``, or where it came to concern it.

    ``ended`` is its end (nanoseconds since 1970), None if it has none.
    """

    started: int
    ended: int | None
    cause: Cause
    detail: str

    @property
    def kind(self) -> Literal["gap_begin"]:
        """The kind of event."""
        return "gap_begin"


class GapEndEvent(EventBase, frozen=True, gc=False):
    """The end of a gap that concerned the token; other gaps may still last, and the book may be yet to come."""

    started: int
    ended: int | None
    cause: Cause
    detail: str

    @property
    def kind(self) -> Literal["gap_end"]:
        """The kind of event."""
        return "gap_end"


class TickSizeEvent(EventBase, frozen=True, gc=False):
    """A new price grid, in dollars a share."""

    old_tick_size: float | None
    new_tick_size: float | None

    @property
    def kind(self) -> Literal["tick_size"]:
        """The kind of event."""
        return "tick_size"


class ResolutionEvent(EventBase, frozen=True, gc=False):
    """The resolution of the token's market.

    ``payout`` is what a share pays: 1 dollar if its outcome won, 0 if another did, None where there is no winner (the
    venue settled by a split, and does not say how).
    """

    winning_token_id: str | None
    winning_outcome: str | None
    payout: float | None

    @property
    def kind(self) -> Literal["resolution"]:
        """The kind of event."""
        return "resolution"


RecordedEvent: TypeAlias = (
    LevelEvent | TradeEvent | BookEvent | BookEndEvent | GapBeginEvent | GapEndEvent | TickSizeEvent | ResolutionEvent
)
