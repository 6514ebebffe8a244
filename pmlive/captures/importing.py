"""From a capture to a recording, through the pipeline and the recorder that record live."""

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec

from pmlive.captures.files import Reading, Timed, merged
from pmlive.captures.lines import Line
from pmlive.captures.naming import Naming
from pmlive.captures.report import Counters, ImportReport, Tally
from pmlive.captures.survey import Key, Progress, survey, tokens_of
from pmlive.captures.times import PER_SECOND, Unit
from pmlive.errors import StoreError
from pmlive.events import Cause, Channel, Event, Gap, Malformed, Unknown
from pmlive.export.atomic import new_folder
from pmlive.markets import Market, described
from pmlive.pipeline import Pipeline
from pmlive.pipeline.journal import Journal, rebuild
from pmlive.records import Closed, Opened
from pmlive.store import Recorder, RecorderOptions, recordings

__all__ = ["import_capture"]

_CHANNELS: tuple[Channel, ...] = ("market", "user", "realtime", "prices", "sports")
# Files are read faster than they are written: from so much on that waits, reading waits too.
_MOST_PENDING = 16 << 20
_MEMORY = 256 << 20
_PATIENCE = 120.0
# Books, frames and rows of an hour go into one file each.
_OPTIONS = RecorderOptions(memory=_MEMORY, segment_seconds=3_600.0)
_ROWS_EVERY = 2_000
_TOLD_EVERY = 5_000


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
    connection unless envelopes name several or tell of one that broke.

    Args:
        source: a file, or several.
        folder: where the recording is made.
        channel: that of frames whose envelope names none.
        markets: names of tokens and fees, which no capture has.
        frame: the key of the frames, or a path such as ``payload.raw``, if it is not found by itself.
        received: the key of the receive times, likewise.
        time_unit: the unit of receive times (``ns``, ``us``, ``ms``, ``s``), if neither key nor magnitude tells it.
        max_bytes: the most that one file may have, when it is unpacked; 100 times its size by default, at least 64 MiB.
        level: how hard zstd tries on raw frames, from 1 to 19: the hardest saves a sixth of the space.
        progress: is told now and then how many lines were taken, of how many.

    Raises:
        StoreError: a file cannot be read, none of them has a frame, or the folder has something in it.
        ValueError: there is no such channel or unit, or a bound is not above zero.
    """
    sources = [Path(source)] if isinstance(source, str | Path) else [Path(each) for each in source]
    reading = _reading(channel, Naming(frame or "", received or "", time_unit), max_bytes)
    return _imported(sources, Path(folder), reading, level=level, markets=markets, progress=progress)


def _imported(
    sources: Sequence[Path],
    folder: Path,
    reading: Reading,
    *,
    level: int,
    markets: Sequence[Market],
    progress: Progress,
) -> ImportReport:
    options = msgspec.structs.replace(_OPTIONS, raw_level=level)
    found = survey(sources, reading, progress)
    with new_folder(folder) as aside, _recorder(aside, found.began, options) as running:
        for index, timed in enumerate(merged(sources, reading)):
            running.take(timed, str(sources[timed.source]))
            for key in found.ended.get(index, ()):
                running.finish(key)
            running.forget(found.ended_tokens.get(index, ()))
            if index % _TOLD_EVERY == 0:
                progress(index, found.lines)
        running.end(markets)
    return running.report(folder, sources)


def _reading(channel: Channel, naming: Naming, max_bytes: int | None) -> Reading:
    if channel not in _CHANNELS:
        raise ValueError(f"no channel {channel!r}; there are {', '.join(_CHANNELS)}")
    if naming.unit is not None and naming.unit not in PER_SECOND:
        raise ValueError(f"no time unit {naming.unit!r}; there are {', '.join(PER_SECOND)}")
    if max_bytes is not None and max_bytes <= 0:
        raise ValueError(f"max_bytes must be above zero; got {max_bytes}")
    return Reading(channel, naming, max_bytes)


@contextmanager
def _recorder(folder: Path, began: int, options: RecorderOptions) -> Generator["_Running"]:
    """Record into a folder, and see to it that the recorder is closed before the folder is given its name."""
    running = _Running(folder, began, options)
    try:
        yield running
    finally:
        running.recorder.close()
    running.check()


class _Running:
    """Tells a journal what a capture says, at the times that it says."""

    def __init__(self, folder: Path, began: int, options: RecorderOptions) -> None:
        self._now = self._began = began
        self._count = Counters()
        self._tally = Tally()
        self._pipeline = Pipeline()
        self._journal = Journal(self._pipeline)
        self.recorder = Recorder(folder, rebuild=rebuild, options=options, clock=lambda: self._now)
        # The number of each connection that is open; broken ones that none has taken the place of yet.
        self._open: dict[Key, int] = {}
        self._broken: dict[Channel, list[int]] = {}
        self._connections = 0
        # The connection that each token was asked for last, and the markets with their tokens.
        self._owners: dict[str, int] = {}
        self._markets: dict[str, list[str]] = {}
        self._damaged: list[str] = []
        self._pending = self._since_rows = 0
        self._begin()

    def _begin(self) -> None:
        self._pipeline.seq = self.recorder.next_seq
        self.recorder.log(self._journal.beginning(self._now))
        self._journal.keep = self.recorder.log

    # --- what the capture says ---

    def take(self, timed: Timed, source: str) -> None:
        """Take one line of a file."""
        count, line = self._count, timed.line
        count.backwards += timed.time < self._now
        self._now = max(self._now, timed.time)
        if line is None:
            self._damaged.append(timed.damaged)
            self._close_all("disk", timed.damaged)
            return
        self._tally.add(timed, source)
        count.lines += 1
        count.own_times += timed.timed_by == "capture"
        count.venue_times += timed.timed_by == "venue"
        count.guessed_times += timed.timed_by == "before"
        if line.word == "sent":
            count.sent += 1
        elif line.word:
            count.notes += 1
            if line.word != "note":
                self._word(line)
        else:
            self._frame(line)
        self._tend(len(line.frame))

    def _frame(self, line: Line) -> None:
        count = self._count
        count.frames += 1
        count.malformed += any(isinstance(event, Malformed) for event in line.events)
        count.unknown += any(isinstance(event, Unknown) for event in line.events)
        conn = self._connection(line)
        if line.channel == "market":
            self._ask(conn, line.events)
        self._journal.frame(line.channel, conn, line.frame, line.events, self._now)

    def _ask(self, conn: int, events: Sequence[Event]) -> None:
        """Note tokens as asked for when they are first heard of: what was subscribed is in no capture."""
        new: list[str] = []
        for market, token_id in tokens_of(events):
            if self._owners.get(token_id) != conn and token_id not in self._pipeline.links[conn].tokens:
                new.append(token_id)
                its = self._markets.setdefault(market, [])
                if token_id not in its:
                    its.append(token_id)
        if new:
            self._owners.update(dict.fromkeys(new, conn))
            self._journal.note("subscribe", conn, list(dict.fromkeys(new)), self._now)

    def _word(self, line: Line) -> None:
        """Take that a connection was opened or closed, all of the channel if none is named."""
        told = [key for key in self._open if key[0] == line.channel and line.connection in ("", key[1])]
        lost = line.word == "lost"
        for key in told:
            self._close(key, "disconnect", f"the capture tells of {'lost frames' if lost else 'it'}")
        if line.word == "opened":
            self._connection(line)

    # --- connections ---

    def _connection(self, line: Line) -> int:
        """Give the number of a line's connection; a line that names none is of the one that was heard last."""
        key = (line.channel, line.connection)
        its = [each for each in self._open if each[0] == line.channel]
        if not line.connection and its:
            key = its[-1]
        if key in self._open:
            # Kept in the order that they were heard in.
            conn = self._open[key] = self._open.pop(key)
            return conn
        self._connections += 1
        conn = self._open[key] = self._connections
        broken = self._broken.get(line.channel, [])
        replaces = broken.pop(0) if broken else None
        self._journal.note("open", conn, Opened(line.channel, "capture", [], replaces), self._now)
        return conn

    def finish(self, key: Key) -> None:
        """Close a connection that has ended without a word."""
        if self._open.get(key) in self._owners.values():
            self._close(key, "disconnect", "the capture has no more of this connection")

    def forget(self, token_ids: Sequence[str]) -> None:
        """Note that no file tells of tokens any more, while others go on."""
        for token_id in token_ids:
            conn = self._owners.get(token_id, 0)
            detail = "the capture that tells of it ends here"
            gap = Gap(started=self._now, cause="disconnect", token_id=token_id, detail=detail, conn=conn)
            self._journal.note("gap", conn, gap, self._now)

    def _close(self, key: Key, cause: Cause, detail: str) -> None:
        conn = self._open.pop(key)
        self._owners = {token_id: owner for token_id, owner in self._owners.items() if owner != conn}
        self._broken.setdefault(key[0], []).append(conn)
        self._journal.note("close", conn, Closed(cause, detail), self._now)

    def _close_all(self, cause: Cause, detail: str) -> None:
        for key in list(self._open):
            self._close(key, cause, detail)

    # --- what becomes of it ---

    def _tend(self, size: int) -> None:
        """Hand on what there is, cut when it is time, and wait for the disk."""
        self._pending += size
        self._since_rows += 1
        if self.recorder.poll():
            self._journal.note("cut", 0, b"", self._now)
            self._hand_on()
            self.recorder.cut(self._journal.keyframes(self._now))
        elif self._since_rows >= _ROWS_EVERY:
            self._hand_on()
        if self._pending >= _MOST_PENDING:
            self._wait()

    def _hand_on(self) -> None:
        self._since_rows = 0
        for table, frame in self._pipeline.drain().items():
            if table in self.recorder.status().rows:
                self.recorder.rows(table, frame)

    def _wait(self) -> None:
        self._pending = 0
        if self.recorder.status().pending_bytes >= _MOST_PENDING and not self.recorder.flush(_PATIENCE):
            raise StoreError(f"the recording cannot be written: {self.recorder.status().trouble or 'the disk is slow'}")

    def end(self, markets: Sequence[Market]) -> None:
        """Write what is open, and the names of the markets that are known."""
        self._journal.note("end", 0, b"", self._now)
        for record in self._journal.keyframes(self._now):
            self.recorder.log(record)
        self._hand_on()
        self.recorder.markets(
            [{"condition_id": market, "token_ids": tokens} for market, tokens in self._markets.items()]
            + [described(market) for market in markets if market.condition_id in self._markets]
        )

    def check(self) -> None:
        """Make sure that everything is there.

        Raises:
            StoreError: the disk did not take all of it.
        """
        status = self.recorder.status()
        is_unsealed = any(one.unsealed for one in recordings(self.recorder.folder))
        if status.trouble is not None or status.dropped or is_unsealed:
            raise StoreError(f"the recording could not be written: {status.trouble or 'the disk was too slow'}")

    def report(self, folder: Path, sources: Sequence[Path]) -> ImportReport:
        """Tell what was found."""
        return ImportReport(
            folder=str(folder),
            sources=[str(path) for path in sources],
            connections=self._connections,
            tokens=sum(map(len, self._markets.values())),
            damaged=self._damaged,
            not_understood=self._tally.told(),
            first_time=self._began,
            last_time=self._now,
            **msgspec.structs.asdict(self._count),
        )
