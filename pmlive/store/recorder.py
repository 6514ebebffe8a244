"""The recorder: it writes what is received to the disk, and knows what could not be written.

The feed thread only appends to memory. One thread packs, writes and syncs the log (a write each 50 ms, a sync each
second); another seals the segments that were cut. So SIGKILL costs what was received since the last write, a power
cut the last second, and neither harms a file that was there.

When the disk refuses, data waits in memory (64 MiB, and as much as the last state of all tokens) and is tried again
each second. When that is full a *hole* begins: from one record on everything is dropped, and all rows made of those
records with it, since rows carry numbers from ``seq`` of their record on. A hole ends at a ``cut`` only, because a book
is right again only where keyframes say what it is: so ``poll`` asks for one once the disk has caught up, the manager
cuts, and the log goes on with keyframes.
Raw frames and tables therefore leave out the same records, and a replay of the one gives the other. The hole is
written to the manifest before anything that follows it, and ``holes()`` yields it as a ``Gap`` for the table of gaps.
What was lost of a log in an earlier run (a damaged disk) is a ``gap`` record in place of what is missing.
"""

import atexit
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec
import polars as pl

from pmlive.events import Cause, Gap
from pmlive.logs import get_logger
from pmlive.records import Record
from pmlive.store import disk
from pmlive.store.bounds import OVERHEAD
from pmlive.store.log import read_segment
from pmlive.store.manifest import RAW
from pmlive.store.merging import GRACE_S, MergeLimits, Upkeep
from pmlive.store.opening import Simulated, open_folder
from pmlive.store.sealing import Rebuild, Sealer, Segment, StepHook
from pmlive.store.writer import Cut, Flush, InvalidRows, LogWriter, Packer, QueuedRows, WriterTiming
from pmlive.tables import STORED
from pmlive.threads import keep_fault
from pmlive.times import DAY_NS

__all__ = ["Recorder", "RecorderOptions", "RecorderStatus"]

logger = get_logger(__name__)

# A disk that takes nothing for this long is in trouble, though it reports no error.
_HUNG_S = 2.0
# A cut writes the state of every token, so there are so many times as many rows, or bytes, between two cuts.
_STATES_ROWS, _STATES_BYTES = 10, 2
_UNWRITTEN = "what was received last could not be written before the recording was closed"


class RecorderOptions(msgspec.Struct, frozen=True, kw_only=True):
    """The options of a recorder, in seconds and bytes; the defaults are what the documentation promises.

    ``merge_files`` small neighbours of a table are merged, or fewer that are ``merge_seconds`` apart, into files of
    ``merge_rows`` and ``merge_bytes`` at most; with 0 of them none are. Inputs stay readable for ``grace``. Raw frames
    are given up after ``keep_raw``, by default never. ``simulated`` notes that the venue is none of the real ones, and
    ``simulated_tokens`` which tokens are of such a venue where others are not.
    """

    commit: float = 0.05
    sync: float = 1.0
    retry: float = 1.0
    patience: float = 3.0
    memory: int = 64 << 20
    rows_memory: int = 256 << 20
    segment_seconds: float = 300.0
    segment_rows: int = 250_000
    segment_bytes: int = 64 << 20
    raw_level: int = 1
    merge_files: int = 8
    merge_seconds: float = 3600.0
    merge_rows: int = 2_000_000
    merge_bytes: int = 64 << 20
    grace: float = GRACE_S
    keep_raw: float | None = None
    simulated: bool = False
    simulated_tokens: tuple[str, ...] = ()

    @property
    def simulation(self) -> Simulated:
        """What the recording notes to be simulated."""
        return Simulated(self.simulated, self.simulated_tokens)

    @property
    def merge_limits(self) -> MergeLimits:
        """The limits of merges."""
        return MergeLimits(
            files=self.merge_files, seconds=self.merge_seconds, rows=self.merge_rows, bytes=self.merge_bytes
        )


class _State(NamedTuple):
    """How large the state was that was written last."""

    records: int
    bytes: int


class RecorderStatus(msgspec.Struct, frozen=True, kw_only=True):
    """The state of a recording: ``lag`` is the seconds for which the oldest unwritten data has waited."""

    folder: str
    rows: dict[str, int]
    frames: int
    bytes: int
    files: int
    segments: int
    pending_bytes: int
    lag: float
    last_sync: int | None
    dropped: int
    trouble: str | None


class Recorder:
    """Records into a folder. ``log``, ``rows``, ``poll`` and ``cut`` belong to one thread, the rest to any.

    ``rebuild`` makes the tables of a segment from its records, and may be called from another thread.

    Raises:
        StoreError: the folder is not a recording, is being recorded into, or cannot be written.
    """

    def __init__(
        self,
        folder: Path,
        *,
        rebuild: Rebuild,
        options: RecorderOptions | None = None,
        clock: Callable[[], int] = time.time_ns,
        step: StepHook = lambda _: None,
    ) -> None:
        self._options = options = options or RecorderOptions()
        self._clock = clock
        opened = open_folder(
            folder, rebuild=rebuild, level=options.raw_level, clock=clock, step=step, simulated=options.simulation
        )
        self._lock, self._manifest = opened.lock, opened.manifest
        self.folder, self.next_seq = folder, opened.next_seq
        self.recovery, self.earlier = opened.recovery, opened.earlier
        self.last_recv: int | None = None if opened.earlier is None else opened.earlier.last_recv
        upkeep = Upkeep(
            opened.context, options.merge_limits, grace=options.grace, keep_raw=options.keep_raw, clock=clock
        )
        self._sealer = Sealer(opened.context, retry=options.retry, lost=self._note_lost, upkeep=upkeep.run_once)
        self._packer = Packer(rows_memory=options.rows_memory)
        self._queue = self._packer.queue
        self._writer = LogWriter(
            self._packer,
            manifest=self._manifest,
            sealer=self._sealer,
            lock=self._lock,
            timing=WriterTiming(commit=options.commit, sync=options.sync, retry=options.retry),
            clock=clock,
            segment=opened.next_segment,
        )
        for segment in opened.waiting:
            self._sealer.submit(segment)
        self._reset()
        disk.call_after_fork(self)
        self._sealer.start()
        self._writer.start()
        atexit.register(self.close)

    def _reset(self) -> None:
        self._memory = self._options.memory
        self._logged = 0
        self._logged_at_cut = 0
        self._state = _State(0, 0)
        self._cut_at = self._clock()
        self._cuts = 0
        self._rows_since_cut: dict[str, int] = dict.fromkeys(STORED, 0)
        files = self._manifest.current.files
        self._rows = {name: sum(file.rows for file in files if file.table == name) for name in STORED}
        self._frames = sum(file.rows for file in files if file.table == RAW)
        self._hole: _Hole | None = None
        self._ended: deque[Gap] = deque()
        self._dropped = 0
        self._closed = False
        self._closing = threading.Lock()

    def log(self, record: Record) -> None:
        """Queue a record for the log; this never waits for the disk."""
        size = len(record.data) + OVERHEAD
        logged, packer = self._logged + size, self._packer
        room = self._memory + self._state.bytes
        if self._hole is not None or packer.lost_since is not None or logged - packer.released > room:
            self._drop(record)
            return
        self._logged = logged
        self._queue.append(record)

    def rows(self, table: str, frame: pl.DataFrame) -> None:
        """Queue rows made of records that were logged since the last cut.

        Raises:
            ValueError: there is no such table in a recording.
        """
        if table not in self._rows:
            raise ValueError(f"no table {table!r} in a recording; there are {', '.join(STORED)}")
        if self._hole is not None:
            frame = frame.filter(pl.col("seq") < self._hole.first_seq)
        if frame.height and not self._closed:
            self._rows[table] += frame.height
            self._rows_since_cut[table] += frame.height
            self._queue.append(QueuedRows(table, frame))

    def invalidate_rows(self) -> None:
        """Note that rows made since the last cut may be missing or wrong; all of them are rebuilt from the log."""
        self._queue.append(InvalidRows())

    def poll(self) -> bool:
        """Begin a hole if records could not be packed; return whether a cut is due.

        A cut is due when the segment is large or old, when the day is over, or when a hole can end.
        """
        if self._packer.lost_since is not None:
            self._open_hole(self._clock(), first_seq=0)
        if self._hole is not None:
            return self._resumable()
        # While what may wait without a state does not leave the memory, a second state would only fill it.
        if self._logged == self._logged_at_cut or self._pending() > self._memory:
            return False
        now, options = self._clock(), self._options
        return (
            abs(now - self._cut_at) >= options.segment_seconds * 1e9
            or now // DAY_NS != self._cut_at // DAY_NS
            or max(self._rows_since_cut.values()) >= max(options.segment_rows, _STATES_ROWS * self._state.records)
            or (
                self._writer.cuts + self._packer.ignored_cuts == self._cuts
                and self._writer.segment_bytes >= options.segment_bytes
                and self._logged - self._logged_at_cut >= _STATES_BYTES * self._state.bytes
            )
        )

    def cut(self, keyframes: Sequence[Record]) -> None:
        """End the segment here and begin the next with these records; all rows of the old one must have been queued.

        This does nothing in a hole that cannot end yet.
        """
        if self._closed or (self._hole is not None and not self._resumable()):
            return
        self._end_segment(keyframes[0].recv if keyframes else self._clock())
        self._state = _State(0, 0)
        self._logged_at_cut = self._logged
        self.state(keyframes)
        self._writer.wake()

    def state(self, records: Sequence[Record]) -> bool:
        """Queue states of tokens; however large they are, nothing of them is dropped while the disk works.

        Return whether that is so: False in a hole, which ends with another cut.
        """
        if self._hole is not None or self._packer.lost_since is not None:
            for record in records:
                self._drop(record)
            # Those that came before are not the whole state, which their rows state.
            self.invalidate_rows()
            return False
        size = sum(len(record.data) + OVERHEAD for record in records)
        self._state = _State(self._state.records + len(records), self._state.bytes + size)
        self._logged += size
        self._logged_at_cut += size
        self._queue.extend(records)
        return True

    @property
    def losing(self) -> bool:
        """Whether nothing is kept at present; a cut ends that once it is due."""
        return self._hole is not None

    def holes(self) -> list[Gap]:
        """Return the intervals that were not kept and have ended, each once."""
        return [self._ended.popleft() for _ in range(len(self._ended))]

    def markets(self, markets: Sequence[Mapping[str, object]]) -> None:
        """Add the markets that are recorded to those in the manifest."""
        listed = [dict(market) for market in markets]
        self._sealer.submit_task(lambda: self._manifest.change(lambda old: old.with_markets(listed)))

    def flush(self, seconds: float) -> bool:
        """Wait until everything logged before is on the disk; return False when it is not within ``seconds``."""
        done = threading.Event()
        self._queue.append(Flush(done))
        self._writer.wake()
        return done.wait(seconds) and self._hole is None

    def status(self) -> RecorderStatus:
        """Return the state of the recording."""
        files = self._manifest.current.files
        return RecorderStatus(
            folder=str(self.folder),
            rows=dict(self._rows),
            frames=self._frames + self._packer.records,
            bytes=sum(file.bytes for file in files) + self._writer.segment_bytes,
            files=len(files),
            segments=self._sealer.sealed,
            pending_bytes=self._pending(),
            lag=self._writer.lag(),
            last_sync=self._writer.last_sync,
            dropped=self._dropped,
            trouble=self._trouble(),
        )

    def close(self) -> None:
        """Write and seal everything; a second time does nothing."""
        with self._closing:
            if self._closed:
                return
            self._closed = True
            self._end_segment(self._clock())
            self._hole = _Hole(started=0, first_seq=0, cause="disk")
            try:
                self._finish()
            finally:
                self._lock.release()
                atexit.unregister(self.close)

    def after_fork(self) -> None:
        """Release the recording, in a forked child."""
        self._closed = True
        self._hole = _Hole(started=0, first_seq=0, cause="disk")
        self._lock.release()
        self._writer.after_fork()
        atexit.unregister(self.close)

    def _pending(self) -> int:
        return self._logged - self._packer.released

    def _drop(self, record: Record) -> None:
        if self._closed:
            return
        if self._hole is None:
            self._open_hole(record.recv, first_seq=record.seq)
        self._dropped += 1

    def _open_hole(self, recv: int, *, first_seq: int) -> None:
        since, self._packer.lost_since = self._packer.lost_since, None
        cause: Cause = "overflow" if since is None and self._failure() is None else "disk"
        started = recv if since is None else min(since, recv)
        self._hole = _Hole(started=started, first_seq=first_seq if since is None else 0, cause=cause)
        why = self._failure() or "the disk is too slow"
        logger.error("recording %r: data is being lost: %s; see status()", str(self.folder), why)

    def _resumable(self) -> bool:
        # With room to spare, or the next record would begin the next hole.
        roomy = self._pending() <= self._memory // 2
        return roomy and self._writer.trouble.message is None and self._writer.lag() == 0.0

    def _end_segment(self, now: int) -> None:
        hole, self._hole = self._hole, None
        gap = None
        if hole is not None:
            gap = Gap(started=hole.started, ended=max(now, hole.started), cause=hole.cause, detail=self._detail())
            self._ended.append(gap)
        self._queue.append(Cut(gap))
        self._cuts += 1
        self._cut_at = self._clock()
        self._rows_since_cut = dict.fromkeys(STORED, 0)

    def _detail(self) -> str:
        return f"{self._dropped} records were not kept since the recording was opened"

    def _note_lost(self, segment: Segment, detail: str) -> None:
        between = (segment.first_recv, segment.last_recv)
        gap = Gap(started=min(between), ended=max(between), cause="disk", detail=detail)
        self._manifest.add_hole(gap)
        self._ended.append(gap)
        logger.error("recording %r: %s", str(self.folder), detail)

    def _failure(self) -> str | None:
        return self._writer.trouble.message or self._sealer.trouble.message

    def _trouble(self) -> str | None:
        lag = self._writer.lag()
        hung = f"writing the log: the disk has taken nothing for {lag:.0f} s" if lag > _HUNG_S else None
        sealer = self._sealer
        trouble = self._failure() or hung or sealer.upkeep_trouble.message or sealer.listing_trouble.message
        return trouble if self._hole is None or self._closed else f"{trouble or 'catching up'}; data is being lost"

    def _finish(self) -> None:
        written = self._writer.close(self._options.patience)
        self._sealer.close(self._options.patience)
        folder, trouble = str(self.folder), self._failure()
        if not written:
            self._note_unwritten()
            keep_fault("pmlive-log", f"{folder!r} was closed, and not everything could be written: {trouble}")
            logger.error("recording %r: closed, and not everything could be written: %s", folder, trouble)
        elif self._sealer.pending:
            logger.error("recording %r: closed before it was sealed, the next start does it: %s", folder, trouble)

    def _note_unwritten(self) -> None:
        """Note in the manifest what the log lacks, if the disk takes that."""
        block = self._writer.unwritten()
        queued = next((item.recv for item in self._queue if isinstance(item, Record)), self._clock())
        blocks = read_segment([block or b""], since=queued).blocks
        began = blocks[0].first_recv if blocks else queued
        gap = Gap(started=began, ended=max(began, self._clock()), cause="disk", detail=_UNWRITTEN)
        try:
            self._manifest.add_hole(gap)
        except OSError as error:
            folder = str(self.folder)
            logger.error("recording %r: the manifest cannot name what is missing: %s", folder, error)  # noqa: TRY400


class _Hole:
    """An interval that is being dropped."""

    def __init__(self, *, started: int, first_seq: int, cause: Cause) -> None:
        self.started = started
        self.first_seq = first_seq
        self.cause: Cause = cause
