"""The import of captures: the pipeline and recorder of live data make a recording of them, with a report.

Signs that something is missing become gaps: damage, an error of the venue or of the capture's recorder, frames that the
recorder dropped, another run of it, a jump in numbers that count its lines, times that go back by a second or more, and
a key that stands twice in one object.
"""

import re
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec

from pmlive.captures.conventions import PER_SECOND, NamedKeys, Unit, repeated_key
from pmlive.captures.lines import Line
from pmlive.captures.reading import (
    ConnectionKey,
    MissingLines,
    Progress,
    ReadOptions,
    Survey,
    TimedLine,
    merged_lines,
    survey,
    tokens_of,
)
from pmlive.errors import StoreError
from pmlive.events import Cause, Channel, Control, Event, Gap, Malformed, Unknown
from pmlive.export.output import new_folder
from pmlive.markets import Market, described
from pmlive.pipeline import Pipeline, Token
from pmlive.pipeline.journal import Journal, rebuild
from pmlive.records import Closed, Opened
from pmlive.store import Recorder, RecorderOptions, recordings

__all__ = ["ImportReport", "NotUnderstood", "import_capture"]

_CHANNELS: tuple[Channel, ...] = ("market", "user", "realtime", "prices")
# Captures are read faster than recordings are written: reading waits while this many bytes are pending.
_MOST_PENDING_BYTES = 16 << 20
_MEMORY_BYTES = 256 << 20
_PATIENCE_S = 120.0
# Books, frames and rows of an hour go into one file each.
_OPTIONS = RecorderOptions(memory=_MEMORY_BYTES, segment_seconds=3_600.0)
_ROWS_EVERY = 2_000
_PROGRESS_EVERY = 5_000
# Receive times go back by less where several threads write; where they go back further, the order is unknown.
_STEP_BACK_NS = 1_000_000_000
# The most problems that are listed one by one, each with the first bytes of its first line.
_MOST_KINDS = 20
_SHOWN = 60
_OTHER = "of other kinds"
_numbers = re.compile(r"[0-9]+").sub


class NotUnderstood(msgspec.Struct, frozen=True):
    """Lines that were not understood for one reason: how many, and the place and beginning of the first."""

    problem: str
    lines: int
    source: str
    number: int
    begins: str


class ImportReport(msgspec.Struct, frozen=True, kw_only=True):
    """The outcome of an import.

    Of ``lines``, ``frames`` were kept; among those are ``malformed`` ones, which could not be read as a whole, and ones
    of an ``unknown`` kind; ``not_understood`` lists both by kind. ``sent`` lines are what the client sent, and
    ``notes`` are the recorder's own; neither is a frame. Times are the capture's own (``own_times``), else the venue's
    (``venue_times``), else those of the line before (``guessed_times``); ``backwards`` were before the line before, and
    took its time. ``damaged`` are the places where something is missing from a file. First and last time are
    nanoseconds since 1970.
    """

    folder: str
    sources: list[str]
    lines: int
    frames: int
    malformed: int
    unknown: int
    sent: int
    notes: int
    own_times: int
    venue_times: int
    guessed_times: int
    backwards: int
    connections: int
    tokens: int
    damaged: list[str]
    not_understood: list[NotUnderstood]
    first_time: int
    last_time: int

    @property
    def whole(self) -> bool:
        """Whether nothing was missing and everything was understood."""
        return not (self.malformed or self.unknown or self.damaged or self.not_understood)


def import_capture(  # noqa: PLR0913  # one for each thing that captures leave open
    source: str | Path | Sequence[str | Path],
    folder: str | Path,
    *,
    channel: Channel = "market",
    markets: Sequence[Market] = (),
    frame: str | None = None,
    received: str | None = None,
    time_unit: Unit | None = None,
    max_bytes: int | None = None,
    level: int = 1,
    progress: Progress = lambda _lines, _total: None,
) -> ImportReport:
    """Make a recording of captured frames, one a line, in a new folder.

    A line is a frame as received, or an envelope around one: JSON with keys that recorders use, ``[time, frame]``, a
    time before a frame, a row of a CSV or Parquet file, or as Python prints it. Files may be packed (gzip, zstd, bzip2,
    xz) and are merged by their receive times. Books begin at each ``book``, as they do live. Everything is one
    connection unless envelopes name several or note that one broke.

    Args:
        source: a file, or several.
        folder: where the recording is made.
        channel: the channel of frames whose envelope names none.
        markets: markets with names of tokens and fees, which captures do not have.
        frame: the key of the frames, or a path such as ``payload.raw``, if it is not found by itself.
        received: the key of the receive times, likewise.
        time_unit: the unit of receive times (``ns``, ``us``, ``ms``, ``s``), if neither key nor magnitude tells it.
        max_bytes: the most that one file may have, when it is unpacked; 100 times its size by default, at least 64 MiB.
        level: how hard zstd tries on raw frames, from 1 to 19: the hardest saves a sixth of the space.
        progress: called now and then with the number of lines taken, and of all of them once that is known.

    Raises:
        StoreError: a file cannot be read, none of them has a frame, or the folder has something in it.
        ValueError: there is no such channel or unit, or a bound is not above zero.
    """
    sources = [Path(source)] if isinstance(source, str | Path) else [Path(each) for each in source]
    reading = _read_options(channel, NamedKeys(frame or "", received or "", time_unit), max_bytes)
    return _import(sources, Path(folder), reading, level=level, markets=markets, progress=progress)


def _import(
    sources: Sequence[Path],
    folder: Path,
    reading: ReadOptions,
    *,
    level: int,
    markets: Sequence[Market],
    progress: Progress,
) -> ImportReport:
    options = msgspec.structs.replace(_OPTIONS, raw_level=level)
    found = survey(sources, reading, progress)
    with new_folder(folder) as aside, _recording(aside, found, options) as run:
        for index, timed in enumerate(merged_lines(sources, reading)):
            run.note_missing(found.missing.get(index), timed, sources[timed.source].name)
            run.take_line(timed, str(sources[timed.source]))
            for key in found.ended.get(index, ()):
                run.end_connection(key)
            run.end_tokens(found.ended_tokens.get(index, ()))
            if index % _PROGRESS_EVERY == 0:
                progress(index, found.lines)
        run.end(markets)
    return run.report(folder, sources)


def _read_options(channel: Channel, naming: NamedKeys, max_bytes: int | None) -> ReadOptions:
    if channel not in _CHANNELS:
        raise ValueError(f"no channel {channel!r}; there are {', '.join(_CHANNELS)}")
    if naming.unit is not None and naming.unit not in PER_SECOND:
        raise ValueError(f"no time unit {naming.unit!r}; there are {', '.join(PER_SECOND)}")
    if max_bytes is not None and max_bytes <= 0:
        raise ValueError(f"max_bytes must be above zero; got {max_bytes}")
    return ReadOptions(channel, naming, max_bytes)


@contextmanager
def _recording(folder: Path, found: Survey, options: RecorderOptions) -> Generator["_Import"]:
    """Record into a folder; the recorder is closed before the folder is given its name."""
    run = _Import(folder, found, options)
    try:
        yield run
    finally:
        run.recorder.close()
    run.check()


class _Import:
    """An import in progress: the lines of captures go into a journal, at their own times."""

    def __init__(self, folder: Path, found: Survey, options: RecorderOptions) -> None:
        self._now = self._began = found.began
        self._count = _Counters()
        self._problems = _ProblemCounter()
        self._pipeline = Pipeline()
        self._journal = Journal(self._pipeline)
        self.recorder = Recorder(folder, rebuild=rebuild, options=options, clock=lambda: self._now)
        # The number of each open connection, and the broken ones that no other has replaced yet.
        self._open: dict[ConnectionKey, int] = {}
        self._broken: dict[Channel, list[int]] = {}
        self._connections = 0
        # The connection of each token, and the tokens of each market.
        self._owners: dict[str, int] = {}
        self._markets: dict[str, list[str]] = {}
        self._damaged = [f"{path.name} is empty" for path in found.empty]
        # By file, when its last frame was received; by file and connection, how many frames were dropped so far.
        self._last: dict[int, int] = {}
        self._dropped: dict[tuple[int, str], int] = {}
        # Files whose recorder stopped or began again, and those whose times went back: from what, and how far.
        self._restarted: set[int] = set()
        self._behind: dict[int, tuple[int, int]] = {}
        self._pending = self._since_rows = 0
        self._pipeline.seq = self.recorder.next_seq
        self._journal.begin(self.recorder, self._now)

    # --- lines ---

    def take_line(self, timed: TimedLine, source: str) -> None:
        """Process one line of a file."""
        count, line = self._count, timed.line
        count.backwards += timed.time < self._now
        self._now = max(self._now, timed.time)
        if line is None:
            self._damaged.append(timed.damaged)
            self._close_all("disk", timed.damaged)
            return
        self._look_for_losses(timed, line, Path(source).name)
        if line.frame:
            self._last[timed.source] = self._now
        self._problems.add(timed, source)
        count.lines += 1
        count.own_times += timed.timed_by == "capture"
        count.venue_times += timed.timed_by == "venue"
        count.guessed_times += timed.timed_by == "before"
        if line.note == "sent":
            count.sent += 1
        elif line.note:
            count.notes += 1
            if line.note != "note":
                self._take_note(line, timed.source)
        else:
            self._take_frame(line)
        if line.repeated is not None:
            self._doubt_repeated(line)
        self._write_if_due(len(line.frame))

    def note_missing(self, missing: MissingLines | None, timed: TimedLine, name: str) -> None:
        """Doubt all books where lines are missing before one."""
        if missing is None:
            return
        what = f"{name}, line {timed.number:,}: {missing.count:,} lines are missing by the recorder's own numbers"
        self._now = max(self._now, timed.time)
        self._damaged.append(what)
        self._doubt(self._pipeline.books.tokens.values(), min(missing.since, self._now), "disk", what)

    def _take_frame(self, line: Line) -> None:
        count = self._count
        count.frames += 1
        count.malformed += any(isinstance(event, Malformed) for event in line.events)
        count.unknown += any(isinstance(event, Unknown) for event in line.events)
        conn = self._connection(line)
        if line.channel == "market":
            self._subscribe_new_tokens(conn, line.events)
        self._journal.frame(line.channel, conn, line.frame, line.events, self._now)

    def _subscribe_new_tokens(self, conn: int, events: Sequence[Event]) -> None:
        """Note tokens as subscribed when they are first named: captures do not say what was subscribed."""
        new: list[str] = []
        for market, token_id in tokens_of(events):
            if self._owners.get(token_id) != conn and token_id not in self._pipeline.links[conn].tokens:
                new.append(token_id)
                token_ids = self._markets.setdefault(market, [])
                if token_id not in token_ids:
                    token_ids.append(token_id)
        if new:
            self._owners.update(dict.fromkeys(new, conn))
            self._journal.note("subscribe", conn, list(dict.fromkeys(new)), self._now)

    def _take_note(self, line: Line, source: int) -> None:
        """Process a note; one that names no connection concerns all connections of its channel."""
        if line.note == "failed":
            self._note_gap(self._now, "malformed", "the capture tells of an error")
            return
        if line.note == "restarted":
            if source in self._last:
                self._restarted.add(source)
            return
        meant = [key for key in self._open if key[0] == line.channel and line.connection in ("", key[1])]
        lost = line.note == "lost"
        for key in meant:
            self._close(key, "disconnect", f"the capture tells of {'lost frames' if lost else 'it'}")
        if line.note == "opened":
            self._connection(line)

    # --- signs of loss ---

    def _look_for_losses(self, timed: TimedLine, line: Line, name: str) -> None:
        """Check for signs that lines before this one are missing, or not in the order in which they were received."""
        if line.frame and timed.source in self._restarted:
            self._restarted.discard(timed.source)
            self._close_all("disconnect", "the capture tells of another run of its recorder")
        self._check_losses(timed, line, name)
        self._check_order(timed)

    def _check_losses(self, timed: TimedLine, line: Line, name: str) -> None:
        """Check whether the recorder says beside a line that it dropped more than it said before."""
        count, key = line.losses.count, (timed.source, line.connection)
        is_more = False
        if count is not None:
            # The next file may go on with the numbers of the one before.
            is_new = key not in self._dropped and count not in self._dropped.values()
            is_more = count > (0 if is_new else self._dropped.get(key, count))
            self._dropped[key] = count
        if is_more or line.losses.flagged:
            many = f"{count:,} frames" if is_more else "frames"
            what = f"{name}, line {timed.number:,}: its recorder says that it dropped {many}"
            self._doubt_file(timed.source, "overflow", what)

    def _doubt_file(self, source: int, cause: Cause, what: str) -> None:
        """Doubt all books since the last frame of a file."""
        self._damaged.append(what)
        self._doubt(self._pipeline.books.tokens.values(), self._last.get(source, self._now), cause, what)

    def _check_order(self, timed: TimedLine) -> None:
        """Doubt all books where the times of a file go back, and again where they pass the latest before that."""
        latest, earliest = self._behind.get(timed.source, (self._now, self._now))
        if timed.behind is None:
            return
        if timed.behind >= _STEP_BACK_NS and timed.time < earliest:
            self._behind[timed.source] = latest, timed.time
            self._doubt_order(latest, timed.time, since=timed.time)
        elif timed.source in self._behind and not timed.behind:
            del self._behind[timed.source]
            self._doubt_order(latest, earliest, since=latest)

    def _doubt_order(self, latest: int, earliest: int, *, since: int) -> None:
        detail = f"times go back by {(latest - earliest) / 1e9:,.0f} s, so the order of lines is not known"
        self._doubt(self._pipeline.books.tokens.values(), since, "malformed", detail)

    def _doubt_repeated(self, line: Line) -> None:
        """Doubt the books that a message with a repeated key names, or all of its connection."""
        books = self._pipeline.books
        tokens = list(books.tokens.values()) if line.note else books.carried(self._connection(line))
        frame = line.frame.decode("utf-8", "replace")
        if repeated_key(line.frame) is not None:
            tokens = [token for token in tokens if token.id in frame or token.market in frame] or tokens
        self._doubt(tokens, self._now, "malformed", f"the key {line.repeated!r} is twice in one object")

    def _doubt(self, tokens: Iterable[Token], since: int, cause: Cause, detail: str) -> None:
        """Open gaps of books, until a whole book or a hash proves them; note the interval if a gap began within it."""
        tokens = list(tokens)
        if not tokens or any(token.gap is not None and token.gap.started > since for token in tokens):
            self._note_gap(since, cause, detail)
        for token in tokens:
            if token.gap is not None:
                continue
            conn = token.conn or token.link
            gap = Gap(started=since, cause=cause, token_id=token.id, detail=detail, conn=conn)
            self._journal.note("gap", conn, gap, self._now)

    def _note_gap(self, since: int, cause: Cause, detail: str) -> None:
        """Note a gap of all connections that ends now."""
        self._journal.note("gap", 0, Gap(started=since, cause=cause, ended=self._now, detail=detail), self._now)

    # --- connections ---

    def _connection(self, line: Line) -> int:
        """Return the number of a line's connection; a line that names none belongs to the latest one."""
        key = (line.channel, line.connection)
        open_keys = [each for each in self._open if each[0] == line.channel]
        if not line.connection and open_keys:
            key = open_keys[-1]
        if key in self._open:
            # In the order of their last lines.
            conn = self._open[key] = self._open.pop(key)
            return conn
        self._connections += 1
        conn = self._open[key] = self._connections
        broken = self._broken.get(line.channel, [])
        replaces = broken.pop(0) if broken else None
        self._journal.note("open", conn, Opened(line.channel, "capture", [], replaces), self._now)
        return conn

    def end_connection(self, key: ConnectionKey) -> None:
        """Close a connection that has no more lines."""
        if self._open.get(key) in self._owners.values():
            self._close(key, "disconnect", "the capture has no more of this connection")

    def end_tokens(self, token_ids: Sequence[str]) -> None:
        """Open gaps of tokens that no file names any more, while files go on."""
        for token_id in token_ids:
            conn = self._owners.get(token_id, 0)
            detail = "the capture that tells of it ends here"
            gap = Gap(started=self._now, cause="disconnect", token_id=token_id, detail=detail, conn=conn)
            self._journal.note("gap", conn, gap, self._now)

    def _close(self, key: ConnectionKey, cause: Cause, detail: str) -> None:
        conn = self._open.pop(key)
        self._owners = {token_id: owner for token_id, owner in self._owners.items() if owner != conn}
        self._broken.setdefault(key[0], []).append(conn)
        self._journal.note("close", conn, Closed(cause, detail), self._now)

    def _close_all(self, cause: Cause, detail: str) -> None:
        for key in list(self._open):
            self._close(key, cause, detail)

    # --- writing ---

    def _write_if_due(self, size: int) -> None:
        """Write rows and cut segments when due, and wait for the disk."""
        self._pending += size
        self._since_rows += 1
        if self.recorder.poll():
            self._journal.note("cut", 0, b"", self._now)
            self._write_rows()
            self.recorder.cut(self._journal.keyframes(self._now))
        elif self._since_rows >= _ROWS_EVERY:
            self._write_rows()
        if self._pending >= _MOST_PENDING_BYTES:
            self._wait_for_disk()

    def _write_rows(self) -> None:
        self._since_rows = 0
        for table, frame in self._pipeline.drain().items():
            if table in self.recorder.status().rows:
                self.recorder.rows(table, frame)

    def _wait_for_disk(self) -> None:
        self._pending = 0
        if self.recorder.status().pending_bytes >= _MOST_PENDING_BYTES and not self.recorder.flush(_PATIENCE_S):
            raise StoreError(f"the recording cannot be written: {self.recorder.status().trouble or 'the disk is slow'}")

    def end(self, markets: Sequence[Market]) -> None:
        """End the journal, and write the last rows and the names of the markets."""
        for latest, earliest in self._behind.values():
            self._doubt_order(latest, earliest, since=latest)
        self._journal.end(self._now)
        self._write_rows()
        self.recorder.markets(
            [{"condition_id": market, "token_ids": tokens} for market, tokens in self._markets.items()]
            + [described(market) for market in markets if market.condition_id in self._markets]
        )

    def check(self) -> None:
        """Check that everything was written.

        Raises:
            StoreError: something was not.
        """
        status = self.recorder.status()
        is_unsealed = any(one.unsealed for one in recordings(self.recorder.folder))
        if status.trouble is not None or status.dropped or is_unsealed:
            raise StoreError(f"the recording could not be written: {status.trouble or 'the disk was too slow'}")

    def report(self, folder: Path, sources: Sequence[Path]) -> ImportReport:
        """Return the report of the import."""
        return ImportReport(
            folder=str(folder),
            sources=[str(path) for path in sources],
            connections=self._connections,
            tokens=sum(map(len, self._markets.values())),
            damaged=self._damaged,
            not_understood=self._problems.listed(),
            first_time=self._began,
            last_time=self._now,
            **msgspec.structs.asdict(self._count),
        )


class _Counters(msgspec.Struct):
    """The counts of a report."""

    lines: int = 0
    frames: int = 0
    malformed: int = 0
    unknown: int = 0
    sent: int = 0
    notes: int = 0
    own_times: int = 0
    venue_times: int = 0
    guessed_times: int = 0
    backwards: int = 0


class _ProblemCounter:
    """The lines that were not understood, counted by problem."""

    def __init__(self) -> None:
        self._kinds: dict[str, NotUnderstood] = {}

    def add(self, timed: TimedLine, source: str) -> None:
        """Add a line, if there is a problem with it."""
        problem = "" if timed.line is None else _problem_of(timed.line)
        if timed.line is None or not problem:
            return
        if problem not in self._kinds and len(self._kinds) >= _MOST_KINDS:
            problem = _OTHER
        known = self._kinds.get(problem)
        if known is None:
            begins = timed.line.frame[:_SHOWN].decode("utf-8", "replace")
            known = NotUnderstood(problem, 0, source, timed.number, begins)
        self._kinds[problem] = msgspec.structs.replace(known, lines=known.lines + 1)

    def listed(self) -> list[NotUnderstood]:
        """List them, the most frequent first."""
        return sorted(self._kinds.values(), key=lambda kind: -kind.lines)


def _problem_of(line: Line) -> str:
    """Return the problem with a line: not understood, or a sign of loss; an empty text without one."""
    if line.repeated is not None:
        return f"with the key {line.repeated[:40]!r} twice in one object"
    if line.note == "failed":
        return "of the recorder or the venue, saying that something is wrong"
    problems = (_problem(event, line.keys) for event in (() if line.note else line.events))
    return next(filter(None, problems), "")


def _problem(event: Event, keys: tuple[str, ...]) -> str:
    match event:
        case Control(word="error"):
            return f"of the venue, saying that something is wrong: {_numbers('N', event.detail)[:80]}"
        case Malformed():
            is_text = event.reason.startswith("not JSON")
            return "not JSON" if is_text else f"malformed: {_numbers('N', event.reason)[:80]}"
        case Unknown(kind=""):
            return "no message and no envelope that is known" + (f" ({', '.join(keys[:8])})" if keys else "")
        case Unknown():
            return f"of the unknown kind {event.kind[:40]!r}"
        case _:
            return ""
