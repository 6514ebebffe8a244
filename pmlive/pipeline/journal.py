"""What a pipeline is told, as records: written and applied in one step when live, applied again when replayed.

There is one ``apply``, so a record that is replayed does what it did live. Kinds ``market``, ``user``, ``realtime`` and
``prices`` are frames as received (the owner of user frames withheld); the others are notes of what happened besides.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol

import msgspec
import polars as pl

from pmlive import _wire
from pmlive.errors import ProtocolError
from pmlive.events import BookSnapshot, Channel, Event, Gap, MarketResolved
from pmlive.pipeline.core import Pipeline
from pmlive.pipeline.states import StateWriter
from pmlive.records import (
    COUNTS,
    FRAMES,
    Closed,
    Kind,
    LinkState,
    Loss,
    Note,
    Opened,
    Parts,
    Record,
    Taken,
    TokenState,
    read_note,
)
from pmlive.tables import STORED

__all__ = ["Journal", "apply", "rebuild"]


def apply(pipeline: Pipeline, record: Record) -> None:
    """Apply a record to a pipeline; one that cannot be read is noted as such."""
    kind, recv = record.kind, record.recv
    if kind in FRAMES:
        apply_frames(pipeline, [record])
        return
    if kind == Kind.BEGIN:
        pipeline.restart()
        return
    pipeline.at(record.seq, recv)
    try:
        note = read_note(record)
    except ProtocolError as error:
        pipeline.unread(record.conn, str(error), recv)
    else:
        _apply_note(pipeline, record, note)
    if kind != Kind.END and not (pipeline.ended and kind in _STATES):
        pipeline.told(recv)


def apply_frames(pipeline: Pipeline, frames: Sequence[Record]) -> None:
    """Apply frames in a row, at least one, to a pipeline."""
    received = pipeline.received
    for frame in frames:
        data = frame.data
        received(frame.conn, _READERS[frame.kind](data), frame.recv, data, frame.seq)
    pipeline.told(frames[-1].recv)


def _apply_note(pipeline: Pipeline, record: Record, note: Note) -> None:  # a table of what there is
    conn, recv = record.conn, record.recv
    match note:
        case Opened():
            keys = note.keys if note.channel == "market" else []
            pipeline.opened(conn, note.channel, keys, recv, replaces=note.replaces)
        case Closed():
            pipeline.closed(conn, note.cause, note.detail, recv, since=note.since)
        case list():
            _apply_tokens(pipeline, record, note)
        case BookSnapshot() | MarketResolved():
            pipeline.received(conn, [note], recv)
        case Gap():
            pipeline.missed(note, recv)
        case Loss():
            pipeline.lost(note.gap, recv, beginning=note.beginning)
        case TokenState() | LinkState() | Parts() | Taken():
            _apply_state(pipeline, record, note)
        case None:
            _apply_bare(pipeline, record)


def _apply_state(pipeline: Pipeline, record: Record, note: TokenState | LinkState | Parts | Taken) -> None:
    """Go on from what was written down, unless it is here already because everything before was replayed."""
    match note:
        case TokenState():
            pipeline.token(note, record.recv)
        case LinkState():
            pipeline.link(record.conn, note)
        case Parts():
            pipeline.state_parts(note)
        case Taken():
            pipeline.repeats.load(note.marks)


def _apply_tokens(pipeline: Pipeline, record: Record, token_ids: list[str]) -> None:
    if record.kind == Kind.WANT:
        pipeline.wanted(token_ids, record.recv)
    elif record.kind == Kind.SUBSCRIBE:
        pipeline.subscribed(record.conn, token_ids, record.recv)
    else:
        pipeline.unsubscribed(record.conn, token_ids, record.recv)


def _apply_bare(pipeline: Pipeline, record: Record) -> None:
    if record.kind == Kind.CUT:
        pipeline.cut(record.recv, counts=record.data == COUNTS)
    else:
        pipeline.finish(record.recv)


# What is written of the whole state, where a segment begins and where a run ends.
_STATES: frozenset[str] = frozenset((Kind.TAKEN, Kind.STATE, Kind.LINK))
# So many states are written within milliseconds.
_AT_ONCE = 200

_CHANNELS: tuple[Channel, ...] = ("market", "user", "realtime", "prices")
_READERS: dict[str, Callable[[str | bytes], list[Event]]] = {channel: _wire.reader(channel) for channel in _CHANNELS}


def rebuild(records: Iterable[Record]) -> Mapping[str, pl.DataFrame]:
    """Make the stored tables from records alone, as after a crash."""
    pipeline = Pipeline()
    last: Record | None = None
    for record in records:
        apply(pipeline, record)
        last = record
    # A segment that was cut goes on in the next, with the counts of the minute and the gaps that are open.
    if last is not None and last.kind != Kind.CUT and not pipeline.ended:
        pipeline.finish(last.recv)
    return {table: frame for table, frame in pipeline.drain().items() if table in STORED}


class Keeper(Protocol):
    """What keeps the records of a journal."""

    def log(self, record: Record) -> None:
        """Keep one more record."""
        ...

    def state(self, records: Sequence[Record]) -> bool:
        """Keep a state, however large; return False where it is lost, as everything up to the next one."""
        ...


class Journal:
    """A pipeline whose input is written down while something records it.

    The state of up to ``at_once`` tokens is written at once where a segment begins, and that of more in parts.
    """

    def __init__(self, pipeline: Pipeline, *, at_once: int = _AT_ONCE) -> None:
        self.pipeline = pipeline
        self.keep: Callable[[Record], None] | None = None
        self._keeper: Keeper | None = None
        self._at_once = at_once
        self._states = StateWriter(pipeline, self._keep_states, self._write_safely)
        # Why states could not be written: rows of this segment are to be made anew, and the next must begin.
        self.failure: Exception | None = None

    def begin(self, keeper: Keeper, now: int) -> None:
        """Write the present state, and everything from now on."""
        keeper.state([self.beginning(now), *self.state(now)])
        self._keeper, self.keep = keeper, keeper.log

    def end(self, now: int) -> None:
        """Write that a run ends, and the whole state, from which another may go on."""
        self.note("end", 0, b"", now)
        if self._keeper is not None:
            self._keeper.state(self.keyframes(now))

    def stop(self) -> None:
        """Write nothing from now on."""
        self._states.give_up()
        self._keeper = self.keep = None

    def frame(self, channel: Channel, conn: int, data: bytes, events: Sequence[Event], now: int) -> None:
        """Take a frame as received, with the events that were read from it."""
        pipeline = self.pipeline
        pipeline.tick(now)
        if self.keep is None:
            pipeline.received(conn, events, now, data)
            return
        kept = _wire.withhold_owner(data) if channel == "user" else data
        record = Record(pipeline.seq, now, conn, channel, kept)
        if not self._states.pending:
            self.keep(record)
            pipeline.received(conn, events, now, data)
            return
        self._write_safely(lambda: self._states.before_frame(record, events))
        try:
            pipeline.received(conn, events, now, data)
        finally:
            self.keep(record)

    def replay(self, record: Record) -> None:
        """Take a record that was written before, and keep it as it is."""
        # It may change all of the state.
        self.write_rest(record.recv)
        if self.keep is not None:
            self.keep(record)
        apply(self.pipeline, record)

    def replay_frames(self, frames: Sequence[Record]) -> None:
        """Take frames in a row, at least one, as ``replay`` takes each."""
        self.write_rest(frames[0].recv)
        if self.keep is not None:
            for frame in frames:
                self.keep(frame)
        apply_frames(self.pipeline, frames)

    def note(self, kind: str, conn: int, content: object, now: int) -> None:
        """Take something that happened besides frames; ``content`` is written as JSON, bytes as they are."""
        self.pipeline.tick(now)
        data = content if isinstance(content, bytes) else msgspec.json.encode(content)
        record = Record(self.pipeline.seq, now, conn, kind, data)
        if self.keep is None:
            apply(self.pipeline, record)
            return
        if not self._states.pending:
            self.keep(record)
            apply(self.pipeline, record)
            return
        self._write_safely(lambda: self._states.before_note(record))
        try:
            apply(self.pipeline, record)
        finally:
            self.keep(record)

    def write_rest(self, now: int) -> None:
        """Write what is left of the state."""
        if self._states.pending:
            seq = self.pipeline.seq
            self._write_safely(lambda: self._states.write_rest(seq, now))

    def beginning(self, now: int) -> Record:
        """Mark where a run begins to write: a reader that comes from an earlier run forgets what it knew."""
        return Record(self.pipeline.seq, now, 0, Kind.BEGIN, b"")

    def keyframes(self, now: int) -> list[Record]:
        """Write the whole present state, for a reader that begins here."""
        return self._states.whole(now)

    # --- a state that is written in parts ---

    def cut(self, now: int) -> None:
        """Write that a segment ends; ``state`` begins the next."""
        self.note(Kind.CUT, 0, COUNTS if self._is_large else b"", now)

    def state(self, now: int) -> list[Record]:
        """Begin to write the present state, for a reader that begins here: return what must come first.

        That is all of it where there are few tokens; else ``write_states`` goes on with it.
        """
        return self._states.begin(now) if self._is_large else self.keyframes(now)

    @property
    def is_writing(self) -> bool:
        """Whether states are yet to be written."""
        return self._states.pending

    def write_states(self, count: int, now: int) -> None:
        """Write so many more states; those that something is about to change are written without this."""
        seq = self.pipeline.seq
        self._write_safely(lambda: self._states.write(count, seq, now))

    def _write_safely(self, write: Callable[[], None]) -> None:
        """Write states; where that fails, the rest of the segment is lost, and its rows with it."""
        try:
            write()
        except Exception as error:  # noqa: BLE001  # whatever it is, what comes next is kept
            self._states.give_up()
            self.failure = error
            detail = f"the state of the books could not be written: {error!r}"[:500]
            seq, now = self._states.stamp
            lost = Loss(Gap(started=self._states.at, ended=now, cause="malformed", detail=detail), beginning=True)
            if self.keep is not None:
                self.keep(Record(seq, now, 0, Kind.LOSS, msgspec.json.encode(lost)))

    @property
    def _is_large(self) -> bool:
        return len(self.pipeline.books.tokens) > self._at_once

    def _keep_states(self, records: Sequence[Record]) -> bool:
        """Keep states; return whether that was possible."""
        if self._keeper is not None:
            return self._keeper.state(records)
        if self.keep is not None:
            for record in records:
                self.keep(record)
        return self.keep is not None
