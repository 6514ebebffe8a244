"""What a recording holds of some tokens, event by event in order of arrival, with the book at that moment.

A gap begins where the book was last known to be right, which was found out later: what a strategy is told of a
recording, it would not have known live. Between two events of one token the book of another one does not change.
"""

from typing import Literal, TypeAlias

import msgspec

from pmlive.events import BookSide, Cause, Check
from pmlive.recording.event_book import EventBook

__all__ = [
    "BookEndEvent",
    "BookEvent",
    "BookSource",
    "EventBase",
    "GapBeginEvent",
    "GapEndEvent",
    "LevelEvent",
    "RecordedEvent",
    "ResolutionEvent",
    "TickSizeEvent",
    "TradeEvent",
    "TradeSide",
]

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
