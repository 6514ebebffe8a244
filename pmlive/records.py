"""The records of the log: their kinds, and the notes that they hold.

A record is a frame as received, or a note of something else that happened. The kinds are on the disk: their values
never change, and a reader reports a kind that it does not know and a note that it cannot read.
"""

from enum import StrEnum
from typing import TypeAlias

import msgspec

from pmlive import _wire
from pmlive.errors import ProtocolError
from pmlive.events import BookSnapshot, Cause, Channel, Gap, MarketResolved
from pmlive.integrity import Counts, Proof

__all__ = [
    "COUNTS",
    "FRAMES",
    "Change",
    "Closed",
    "Kind",
    "LastNumber",
    "LinkState",
    "Loss",
    "Note",
    "Opened",
    "Parts",
    "Record",
    "Taken",
    "TokenState",
    "read_note",
]


class Kind(StrEnum):
    """The kind of a record. The first four are frames of a channel, as received except for the owner in user frames."""

    MARKET = "market"
    USER = "user"
    REALTIME = "realtime"
    PRICES = "prices"
    # A run begins to write here; it has no state of an earlier run.
    BEGIN = "begin"
    OPEN = "open"
    CLOSE = "close"
    # Tokens that are wanted while no connection is open; that are subscribed on one; that are wanted no longer.
    WANT = "want"
    SUBSCRIBE = "subscribe"
    UNSUBSCRIBE = "unsubscribe"
    # A book, and a resolution, that REST sent.
    BOOK = "book"
    RESOLVED = "resolved"
    # An interval that another writer reports as missing; records of this log that cannot be read.
    GAP = "gap"
    LOSS = "loss"
    # The end of a segment; the end of a run.
    CUT = "cut"
    END = "end"
    # The whole state of a token, and of a connection, at the beginning of a segment and at the end of a run.
    STATE = "state"
    LINK = "link"
    # The state of the beginning comes in parts, between the records after it.
    PARTS = "parts"
    # The recent messages, by which repeated ones are recognized.
    TAKEN = "taken"


FRAMES: frozenset[str] = frozenset((Kind.MARKET, Kind.USER, Kind.REALTIME, Kind.PRICES))

# What the end of a segment says where the counts of the minute stand before it, and not after.
COUNTS = b"counts"

# A level change as it is stored: the venue's timestamp (ms), side, price and size.
Change: TypeAlias = tuple[int, str, str, str]
# The last number of a channel of the price streams, and when it was received.
LastNumber: TypeAlias = tuple[int, int]


class Record(msgspec.Struct, frozen=True, gc=False):
    """One frame or note.

    ``seq`` is the arrival number: rows made of the record are numbered ``seq``, ``seq + 1`` and so on. ``recv`` is
    nanoseconds since 1970 by our clock, ``conn`` the connection epoch (0: none), ``kind`` the value of a ``Kind``, or
    one that only a later version knows, and ``data`` the exact bytes.
    """

    seq: int
    recv: int
    conn: int
    kind: str
    data: bytes


class Opened(msgspec.Struct, frozen=True):
    """The beginning of a connection: its subscriptions, and the broken connection that it replaces."""

    channel: Channel
    url: str
    keys: list[str]
    replaces: int | None = None


class Closed(msgspec.Struct, frozen=True):
    """The end of a connection; without a cause it was intended.

    Everything that the venue sent before ``since`` (nanoseconds since 1970) had come; None if that time is not known.
    """

    cause: Cause | None
    detail: str = ""
    since: int | None = None


class Loss(msgspec.Struct, frozen=True):
    """Records that cannot be read any more; ``beginning`` says that those with the whole state are among them."""

    gap: Gap
    beginning: bool = False


class LinkState(msgspec.Struct, frozen=True):
    """A connection that was open when a segment began; times in nanoseconds since 1970."""

    channel: Channel
    tokens: list[str]
    opened: int
    heard: int
    gap: Gap | None = None
    past: list[bytes] = []
    # When its last frame of any kind came; 0 if an earlier version did not write it.
    frame: int = 0
    # The unknown kinds of messages that came on it.
    strange: list[str] = []
    # The last number of each of its channels.
    numbers: dict[str, LastNumber] = {}
    # When it was so, where it was written later (``Parts``).
    at: int = 0


class Parts(msgspec.Struct, frozen=True):
    """How many states of tokens and of connections will come, each before the first record that changes it.

    They are those of this record's time (``at``, nanoseconds since 1970). Their rows have the numbers just before the
    record's, in the order of the tokens' places, of which ``places`` were given so far.
    """

    at: int
    tokens: int
    links: int
    places: int
    # By market, other tokens that its messages name and that are not subscribed.
    beside: dict[str, list[str]] = {}


class Taken(msgspec.Struct, frozen=True):
    """The recent messages, by table, as hashes that identify them."""

    marks: dict[str, bytes]


class TokenState(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that a token's future rows depend on, so that another process can continue."""

    token_id: str
    market: str
    conn: int
    link: int = 0
    timestamp: int
    heard: int
    proved: int
    bids: list[tuple[str, str]]
    asks: list[tuple[str, str]]
    proof: Proof
    stated: str
    held: list[Change] = []
    covered: int = 0
    shown: tuple[float | None, ...] | None
    counts: Counts
    gap: Gap | None
    awaited: int = 0
    lapse: Gap | None = None
    over: bool = False
    # Other tokens of its market that its messages name and that are not subscribed.
    beside: list[str] = []
    # Its place among the tokens that came; 0 if an earlier version did not write it.
    place: int = 0
    # When it was so, and the number of its row, where it was written later (``Parts``).
    at: int = 0
    row: int = 0


# A list holds token ids; None stands for a kind without a note.
Note: TypeAlias = (
    Opened
    | Closed
    | Loss
    | Gap
    | MarketResolved
    | BookSnapshot
    | TokenState
    | LinkState
    | Parts
    | Taken
    | list[str]
    | None
)

_TYPES: dict[
    str, type[Opened | Closed | Loss | Gap | MarketResolved | TokenState | LinkState | Parts | Taken] | type[list[str]]
] = {
    Kind.OPEN: Opened,
    Kind.CLOSE: Closed,
    Kind.WANT: list[str],
    Kind.SUBSCRIBE: list[str],
    Kind.UNSUBSCRIBE: list[str],
    Kind.RESOLVED: MarketResolved,
    Kind.GAP: Gap,
    Kind.LOSS: Loss,
    Kind.STATE: TokenState,
    Kind.LINK: LinkState,
    Kind.PARTS: Parts,
    Kind.TAKEN: Taken,
}
_BARE: frozenset[str] = frozenset((Kind.BEGIN, Kind.CUT, Kind.END))


def read_note(record: Record) -> Note:
    """Read the note in a record that is not a frame.

    Raises:
        ProtocolError: its kind is not known, or it does not hold what that kind holds.
    """
    if record.kind in _BARE:
        return None
    if record.kind == Kind.BOOK:
        return _wire.decode_book(record.data)
    if record.kind not in _TYPES:
        raise ProtocolError(f"a record of the unknown kind {record.kind[:60]!r}; a later version of pmlive wrote it")
    try:
        return msgspec.json.decode(record.data, type=_TYPES[record.kind])
    except (msgspec.MsgspecError, UnicodeError) as error:
        raise ProtocolError(f"a record of the kind {record.kind!r} cannot be read: {error}") from error
