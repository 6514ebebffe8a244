"""What the tools answer; the schemas are made from these. Each says when it was true, and how far to trust it."""

from typing import Literal

from msgspec import Struct

from pmlive.errors import AuthError, BookError, FeedError, PmliveError, UnknownMarketError
from pmlive.mcp.texts import Row

__all__ = [
    "Book",
    "Markets",
    "Quality",
    "RefusalError",
    "Rows",
    "Status",
    "Subscribed",
    "Unsubscribed",
    "asked",
]


class RefusalError(Exception):
    """Report what a caller asked for in vain, in our own words: what failed and what to do, nothing that was given."""


def asked(error: PmliveError | ValueError) -> RefusalError:
    """Say in our own words what was asked in vain; texts from below may quote what was given."""
    match error:
        case UnknownMarketError():
            what = (
                "a name is not known, or means several tokens; call find_markets with words of the question, and pass "
                "a token_id or condition_id of its answer"
            )
        case AuthError():
            what = str(error)
        case BookError():
            what = (
                "the book cannot be trusted now; call get_realtime_status for the gap and try again when it has ended"
            )
        case FeedError():
            what = (
                "the venue cannot be reached or does not answer; try again in a minute, and see connections in "
                "get_realtime_status"
            )
        case _:
            what = "a value is not what it should be; see the descriptions of the parameters"
    return RefusalError(what)


class Answer(Struct, frozen=True, kw_only=True):
    """An answer."""

    as_of: str
    trust: str


class Subscribed(Answer, frozen=True, kw_only=True, omit_defaults=True):
    """A subscription, new or there before, and what its tokens are like now."""

    subscription_id: str
    created: bool
    type: str
    callback_type: Literal["notification", "log"]
    tokens: list[Row]
    tokens_total: int
    cursor: int
    depth: int | None = None


class Status(Answer, frozen=True, kw_only=True, omit_defaults=True):
    """How it goes, and what came after a cursor."""

    connections: Row
    subscriptions: Row
    statistics: Row
    background_task: Row
    books: Row
    cursor: int
    gap: bool
    more: bool
    events: list[Row]
    tokens: list[Row]
    recording: Row | None = None
    replay: Row | None = None


class Unsubscribed(Answer, frozen=True, kw_only=True, omit_defaults=True):
    """A subscription that ended."""

    subscription_id: str
    events_received: int
    active: int


class Markets(Answer, frozen=True, kw_only=True, omit_defaults=True):
    """Markets that were found."""

    markets: list[Row]
    found: int


class Book(Answer, frozen=True, kw_only=True, omit_defaults=True):
    """A book, or why there is none to trust."""

    token_id: str
    condition_id: str
    untrusted_label: str
    best_bid: float | None
    best_ask: float | None
    mid: float | None
    spread: float | None
    bids: list[list[float]] | None
    asks: list[list[float]] | None
    ts_recv: str | None


class Rows(Answer, frozen=True, kw_only=True, omit_defaults=True):
    """Rows of a recording."""

    rows: list[Row]
    more: bool
    gaps: list[Row]
    gaps_total: int


class Quality(Answer, frozen=True, kw_only=True, omit_defaults=True):
    """What a recording is worth, or which there are."""

    recordings: list[Row] | None = None
    recording: Row | None = None
