"""The records of the log: their kinds, and the notes that they hold.

A record is a frame as received or a note of what happened besides. The kinds are on the disk: their values never
change, and a reader reports one that it does not know, or a note that it cannot read.
"""

from enum import StrEnum
from typing import TypeAlias

import msgspec

from pmlive import _wire
from pmlive.errors import ProtocolError
from pmlive.events import BookSnapshot, Cause, Channel, Gap, MarketResolved
from pmlive.integrity import Counts, Proof

__all__ = [
    "FRAMES",
    "Change",
    "Closed",
    "Kind",
    "LinkState",
    "Loss",
    "Note",
    "Opened",
    "Record",
    "Standing",
    "Taken",
    "TokenState",
    "read_note",
]


class Kind(StrEnum):
    """The kind of a record. The first four are frames of a channel as received, the owner of user frames withheld."""

    MARKET = "market"
    USER = "user"
    REALTIME = "realtime"
    PRICES = "prices"
    # A run begins to write here: it knows nothing of an earlier one.
    BEGIN = "begin"
    OPEN = "open"
    CLOSE = "close"
    # Tokens that are wanted while no connection can ask for them; asked for on one; no longer wanted.
    WANT = "want"
    SUBSCRIBE = "subscribe"
    UNSUBSCRIBE = "unsubscribe"
    # A book that REST sent; a resolution that REST reported.
    BOOK = "book"
    RESOLVED = "resolved"
    # An interval that another writer knows to be missing, and records of this log that cannot be read.
    GAP = "gap"
    LOSS = "loss"
    # The segment or the run ends here.
    CUT = "cut"
    END = "end"
    # The whole state of a token and of a connection, where a segment begins and where a run ends.
    STATE = "state"
    LINK = "link"
    # The messages that came lately, so that one that comes again is recognized.
    TAKEN = "taken"


FRAMES: frozenset[str] = frozenset((Kind.MARKET, Kind.USER, Kind.REALTIME, Kind.PRICES))

# A level change as it is written down: the venue's time of it (ms), its side, price and size.
Change: TypeAlias = tuple[int, str, str, str]
# The last number of a channel of the price streams, and when it came.
Standing: TypeAlias = tuple[int, int]


class Record(msgspec.Struct, frozen=True, gc=False):
    """One thing that happened, as it happened.

    ``seq`` is the arrival number: rows made of the record are numbered ``seq``, ``seq + 1`` and so on. ``recv`` is
    nanoseconds since 1970 by our clock, ``conn`` the connection epoch (0: none), ``kind`` the value of a ``Kind`` or of
    one that only a later version knows, ``data`` the exact bytes.
    """

    seq: int
    recv: int
    conn: int
    kind: str
    data: bytes


class Opened(msgspec.Struct, frozen=True):
    """A connection, its subscriptions, and the broken one that it replaces."""

    channel: Channel
    url: str
    keys: list[str]
    replaces: int | None = None


class Closed(msgspec.Struct, frozen=True):
    """The end of a connection; without a cause it was meant.

    Everything that the venue sent before ``since`` (nanoseconds since 1970) had come; None if that is not known.
    """

    cause: Cause | None
    detail: str = ""
    since: int | None = None


class Loss(msgspec.Struct, frozen=True):
    """Records that cannot be read any more; ``beginning`` when those with the whole state are among them."""

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
    # When its last frame of any kind came; 0 where that was not written down.
    frame: int = 0
    # The unknown kinds of message that came on it.
    strange: list[str] = []
    # How far each of its channels was numbered.
    numbers: dict[str, Standing] = {}


class Taken(msgspec.Struct, frozen=True):
    """The messages that came lately, by table, as marks that identify them."""

    marks: dict[str, bytes]


class TokenState(msgspec.Struct, frozen=True, kw_only=True):
    """Everything a token's future rows depend on, to go on from in another process."""

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
    over: bool = False
    # Tokens that are not followed and that messages of its market name, too.
    beside: list[str] = []


# A list is token ids; None is the note of a kind that needs none.
Note: TypeAlias = (
    Opened | Closed | Loss | Gap | MarketResolved | BookSnapshot | TokenState | LinkState | Taken | list[str] | None
)

_TYPES: dict[
    str, type[Opened | Closed | Loss | Gap | MarketResolved | TokenState | LinkState | Taken] | type[list[str]]
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
