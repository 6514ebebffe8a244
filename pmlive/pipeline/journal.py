"""What a pipeline is told, as records: written and applied in one step when live, applied again when replayed.

There is one ``apply``, so a record that is replayed does what it did live. Kinds ``market``, ``user``, ``realtime`` and
``prices`` are frames as received (the owner of user frames withheld); the others are notes of what happened besides.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence

import msgspec
import polars as pl

from pmlive import _wire
from pmlive.events import Cause, Channel, Event, Gap, MarketResolved
from pmlive.pipeline.core import Link, Pipeline
from pmlive.pipeline.past import Past
from pmlive.pipeline.sequences import Standing
from pmlive.pipeline.token import TokenState
from pmlive.store.log import Record
from pmlive.tables import STORED

__all__ = ["Closed", "Journal", "LinkState", "Opened", "apply", "apply_frames", "rebuild"]


class Opened(msgspec.Struct, frozen=True):
    """A connection, what it was asked for, and the broken one it replaces."""

    channel: Channel
    url: str
    keys: list[str]
    replaces: int | None = None


class Closed(msgspec.Struct, frozen=True):
    """The end of a connection; without a cause it was meant."""

    cause: Cause | None
    detail: str = ""


class LinkState(msgspec.Struct, frozen=True):
    """A connection that was open when a segment began."""

    channel: Channel
    tokens: list[str]
    opened: int
    heard: int
    gap: Gap | None = None
    past: list[bytes] = []
    numbers: dict[str, Standing] = {}


def apply(pipeline: Pipeline, record: Record) -> None:
    """Tell a pipeline what a record says."""
    kind, recv = record.kind, record.recv
    if kind in _READERS:
        apply_frames(pipeline, [record])
        return
    if kind == "begin":
        pipeline.restart()
        return
    pipeline.at(record.seq, recv)
    note = _NOTES.get(kind)
    if note is not None:
        note(pipeline, record)
    if kind != "end" and not (pipeline.ended and kind in _STATES):
        pipeline.told(recv)


def apply_frames(pipeline: Pipeline, frames: Sequence[Record]) -> None:
    """Tell a pipeline frames in a row, at least one."""
    received = pipeline.received
    for frame in frames:
        data = frame.data
        received(frame.conn, _READERS[frame.kind](data), frame.recv, data, frame.seq)
    pipeline.told(frames[-1].recv)


def _opened(pipeline: Pipeline, record: Record) -> None:
    note = msgspec.json.decode(record.data, type=Opened)
    keys = note.keys if note.channel == "market" else []
    pipeline.opened(record.conn, note.channel, keys, record.recv, replaces=note.replaces)


def _closed(pipeline: Pipeline, record: Record) -> None:
    note = msgspec.json.decode(record.data, type=Closed)
    pipeline.closed(record.conn, note.cause, note.detail, record.recv)


def _subscribed(pipeline: Pipeline, record: Record) -> None:
    pipeline.subscribed(record.conn, msgspec.json.decode(record.data, type=list[str]), record.recv)


def _wanted(pipeline: Pipeline, record: Record) -> None:
    pipeline.wanted(msgspec.json.decode(record.data, type=list[str]), record.recv)


def _unsubscribed(pipeline: Pipeline, record: Record) -> None:
    pipeline.unsubscribed(record.conn, msgspec.json.decode(record.data, type=list[str]), record.recv)


def _book(pipeline: Pipeline, record: Record) -> None:
    pipeline.received(record.conn, [_wire.decode_book(record.data)], record.recv)


def _gap(pipeline: Pipeline, record: Record) -> None:
    pipeline.missed(msgspec.json.decode(record.data, type=Gap), record.recv)


def _resolved(pipeline: Pipeline, record: Record) -> None:
    """Take a resolution that REST told and the socket did not."""
    pipeline.received(record.conn, [msgspec.json.decode(record.data, type=MarketResolved)], record.recv)


def _cut(pipeline: Pipeline, record: Record) -> None:
    pipeline.settle(record.recv)


def _end(pipeline: Pipeline, record: Record) -> None:
    pipeline.finish(record.recv)


def _state(pipeline: Pipeline, record: Record) -> None:
    """Go on from a written state, unless the state is here because everything before was replayed."""
    pipeline.books.load(msgspec.json.decode(record.data, type=TokenState), record.recv)


def _link(pipeline: Pipeline, record: Record) -> None:
    state = msgspec.json.decode(record.data, type=LinkState)
    if record.conn not in pipeline.links:
        pipeline.links[record.conn] = Link(state.channel, set(state.tokens), state.opened, state.gap)
        pipeline.heard[record.conn] = state.heard
        pipeline.books.pasts[record.conn] = Past(state.past)
        pipeline.sequences.load(record.conn, state.numbers)


def _taken(pipeline: Pipeline, record: Record) -> None:
    pipeline.repeats.load(msgspec.json.decode(record.data, type=dict[str, bytes]))


# What is written of the whole state, where a segment begins and where a run ends.
_STATES = ("state", "link", "taken")

_FRAMES: tuple[Channel, ...] = ("market", "user", "realtime", "prices")
_READERS: dict[str, Callable[[str | bytes], list[Event]]] = {channel: _wire.reader(channel) for channel in _FRAMES}
_NOTES: dict[str, Callable[[Pipeline, Record], None]] = {
    "open": _opened,
    "close": _closed,
    "want": _wanted,
    "subscribe": _subscribed,
    "unsubscribe": _unsubscribed,
    "book": _book,
    "gap": _gap,
    "resolved": _resolved,
    "cut": _cut,
    "end": _end,
    "state": _state,
    "link": _link,
    "taken": _taken,
}


def rebuild(records: Iterable[Record]) -> Mapping[str, pl.DataFrame]:
    """Make the stored tables from records alone, as after a crash."""
    pipeline = Pipeline()
    last: Record | None = None
    for record in records:
        apply(pipeline, record)
        last = record
    # A segment that was cut goes on in the next, with the counts of the minute and the gaps that are open.
    if last is not None and last.kind != "cut" and not pipeline.ended:
        pipeline.finish(last.recv)
    return {table: frame for table, frame in pipeline.drain().items() if table in STORED}


class Journal:
    """A pipeline that writes down what it is told, when somebody keeps it."""

    def __init__(self, pipeline: Pipeline) -> None:
        self.pipeline = pipeline
        self.keep: Callable[[Record], None] | None = None

    def frame(self, channel: Channel, conn: int, data: bytes, events: Sequence[Event], now: int) -> None:
        """Take a frame as received, with the events that were read from it."""
        pipeline = self.pipeline
        pipeline.tick(now)
        if self.keep is not None:
            kept = _wire.withhold_owner(data) if channel == "user" else data
            self.keep(Record(pipeline.seq, now, conn, channel, kept))
        pipeline.received(conn, events, now, data)

    def replay(self, record: Record) -> None:
        """Take a record that was written before, and keep it as it is."""
        if self.keep is not None:
            self.keep(record)
        apply(self.pipeline, record)

    def replay_frames(self, frames: Sequence[Record]) -> None:
        """Take frames in a row, at least one, as ``replay`` takes each."""
        if self.keep is not None:
            for frame in frames:
                self.keep(frame)
        apply_frames(self.pipeline, frames)

    def note(self, kind: str, conn: int, content: object, now: int) -> None:
        """Take something that happened besides frames; ``content`` is written as JSON, bytes as they are."""
        self.pipeline.tick(now)
        data = content if isinstance(content, bytes) else msgspec.json.encode(content)
        record = Record(self.pipeline.seq, now, conn, kind, data)
        if self.keep is not None:
            self.keep(record)
        apply(self.pipeline, record)

    def beginning(self, now: int) -> Record:
        """Mark where a run begins to write: a reader that comes from an earlier run forgets what it knew."""
        return Record(self.pipeline.seq, now, 0, "begin", b"")

    def keyframes(self, now: int) -> list[Record]:
        """Write the whole present state, for a reader that begins here."""
        books, taken = self.pipeline.books, self.pipeline.repeats.save()
        repeats = [Record(self.pipeline.seq, now, 0, "taken", msgspec.json.encode(taken))] if taken else []
        links = [
            Record(self.pipeline.seq, now, conn, "link", _encode(self._link_state(conn, link)))
            for conn, link in self.pipeline.links.items()
        ]
        return [*repeats, *links] + [
            # The row of a state takes the number that its record has.
            Record(self.pipeline.seq, now, token.conn, "state", _encode(books.save(token, now)))
            for token in books.tokens.values()
        ]

    def _link_state(self, conn: int, link: Link) -> LinkState:
        heard, past = self.pipeline.heard.get(conn, link.opened), self.pipeline.books.pasts.get(conn, Past())
        numbers = self.pipeline.sequences.save(conn)
        return LinkState(link.channel, sorted(link.tokens), link.opened, heard, link.gap, past.save(), numbers)


def _encode(value: msgspec.Struct) -> bytes:
    return msgspec.json.encode(value)
