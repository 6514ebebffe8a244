"""The log's writer: what the feed queued is packed into blocks, written and synced, in order.

What waits here is counted, so that memory stays bounded. Packing always goes on, so that trouble with the disk costs
the packed size; writing stops at the first thing the disk refuses and is tried again. A block is in memory until it is
synced: after a failed sync the file is given up, because the system then takes unwritten pages for written ones, and
its blocks go into a new one.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeAlias

import msgspec
import polars as pl
import zstandard

from pmlive.events import Gap
from pmlive.logs import get_logger
from pmlive.records import Record
from pmlive.store import disk
from pmlive.store.bounds import OVERHEAD
from pmlive.store.log import WAL, WalFile, encode_block
from pmlive.store.manifest import ManifestFile
from pmlive.store.sealing import RecorderTrouble, Sealer, Segment, SegmentRows
from pmlive.threads import note_fault, repeating

__all__ = [
    "Cut",
    "Flush",
    "InvalidRows",
    "Item",
    "LogWriter",
    "Packer",
    "QueuedRows",
    "SegmentEnd",
    "WriterTiming",
]

logger = get_logger(__name__)

_BLOCK_BYTES = 4 << 20


class QueuedRows(msgspec.Struct, frozen=True, gc=False):
    """A queued item: rows of the segment that is being filled."""

    table: str
    frame: pl.DataFrame


class Cut(msgspec.Struct, frozen=True):
    """A queued item: the end of a segment, and of the hole before it if there is one."""

    hole: Gap | None = None


class InvalidRows(msgspec.Struct, frozen=True):
    """A queued item: rows of this segment are missing or wrong, and all of them are rebuilt from the log."""


class Flush(msgspec.Struct, frozen=True, eq=False):
    """A queued item: ``done`` is set once everything before it is on the disk."""

    done: threading.Event


class SegmentEnd(msgspec.Struct, frozen=True):
    """The end of a segment in the backlog, after all its blocks."""

    rows: SegmentRows
    hole: Gap | None
    first_recv: int
    last_recv: int


Item: TypeAlias = Record | QueuedRows | InvalidRows | Cut | Flush


class WriterTiming(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds between writes, between syncs and between retries."""

    commit: float
    sync: float
    retry: float


class Packer:
    """Packs the queue of the feed into the backlog of the writer.

    ``released`` counts the bytes that left the memory. ``lost_since`` is the receive time from which on everything is
    lost, until the recorder has noted the hole and resets it; nothing is packed until the cut that ends that hole.
    """

    def __init__(self, *, rows_memory: int) -> None:
        self.queue: deque[Item] = deque()
        self.backlog: deque[bytes | SegmentEnd | Flush] = deque()
        self.released = 0
        self.records = 0
        self.ignored_cuts = 0
        self.lost_since: int | None = None
        self.dropping = False
        self.first_recv: int | None = None
        self._last_recv = 0
        self._block = 0
        self._rows_memory = rows_memory
        self._rows = SegmentRows()
        self._in_memory: list[SegmentRows] = [self._rows]
        self._batch: list[Record] = []
        self._size = 0
        self._compressor = zstandard.ZstdCompressor(level=1)

    def pack_all(self) -> None:
        """Move what is queued now to the backlog; an item that fails stays in the queue."""
        for _ in range(len(self.queue)):
            self._take(self.queue[0])
            self.queue.popleft()
        self._pack_batch()
        self._bound_rows()

    def drop_segment(self, since: int) -> None:
        """Drop the rest of the segment that is being filled; the recorder will note a hole from ``since`` on."""
        self._rows.drop()
        self.dropping = True
        self.lost_since = since

    def _take(self, item: Item) -> None:
        match item:
            case Record():
                self._batch.append(item)
                self._size += len(item.data) + OVERHEAD
                if self._size >= _BLOCK_BYTES:
                    self._pack_batch()
            case QueuedRows():
                self._keep(item)
            case InvalidRows():
                self._rows.drop()
            case Flush():
                self._pack_batch()
                self.backlog.append(item)
            case Cut():
                self._pack_batch()
                self._end(item)

    def _pack_batch(self) -> None:
        batch, size = self._batch, self._size
        self._batch, self._size = [], 0
        self._pack(batch, size)

    def _keep(self, rows: QueuedRows) -> None:
        try:
            self._rows.add(rows.table, rows.frame)
        except BaseException:
            # They can be rebuilt from the log.
            self._rows.drop()
            logger.warning("rows of the table %s are rebuilt when they are sealed", rows.table, exc_info=True)

    def _pack(self, batch: Sequence[Record], size: int) -> None:
        if not batch or self.dropping:
            self.released += size
            return
        try:
            data = encode_block(batch, number=self._block, compressor=self._compressor)
        except BaseException as error:  # noqa: BLE001  # an internal error, or no memory: it is noted and becomes a gap
            self.drop_segment(batch[0].recv)
            self.released += size
            note_fault("pmlive-log", error)
            logger.error("%d records could not be packed and are lost", len(batch))  # noqa: TRY400  # noted above
            return
        self.first_recv = batch[0].recv if self.first_recv is None else self.first_recv
        self._last_recv = batch[-1].recv
        self._block += 1
        self.records += len(batch)
        self.released += size - len(data)
        self.backlog.append(data)

    def _end(self, cut: Cut) -> None:
        if self.dropping and cut.hole is None:
            self.ignored_cuts += 1
            return
        first_recv = self._last_recv if self.first_recv is None else self.first_recv
        self.backlog.append(SegmentEnd(self._rows, cut.hole, first_recv, self._last_recv))
        self._rows = SegmentRows()
        self._in_memory.append(self._rows)
        self._block, self.first_recv, self.dropping = 0, None, False

    def _bound_rows(self) -> None:
        self._in_memory = [rows for rows in self._in_memory if rows.bytes or rows is self._rows]
        while sum(rows.bytes for rows in self._in_memory) > self._rows_memory:
            next(rows for rows in self._in_memory if rows.bytes).drop()


class _VanishedError(OSError):
    """The folder or a file in it was removed while it was recorded into."""


class LogWriter:
    """Writes what is packed into segments of the log, in a thread of its own, and hands complete ones to the sealer.

    ``segment_bytes`` is the size of the current segment, which is the one after ``cuts`` cuts.
    """

    def __init__(
        self,
        packer: Packer,
        *,
        manifest: ManifestFile,
        sealer: Sealer,
        lock: disk.FolderLock,
        timing: WriterTiming,
        clock: Callable[[], int],
        segment: int,
    ) -> None:
        self._packer = packer
        self._manifest = manifest
        self._sealer = sealer
        self._lock = lock
        self._timing = timing
        self._clock = clock
        self._folder = lock.path.parent
        self.trouble = RecorderTrouble(str(self._folder), "writing the log")
        self.cuts = 0
        self.segment_bytes = 0
        self.last_sync: int | None = None
        self._unsynced: list[bytes] = []
        self._file: WalFile | None = None
        self._files: list[Path] = []
        self._segment = segment
        self._part = 0
        self._retry_at = 0.0
        self._checked_at = self._synced_at = self._clear_at = time.monotonic()
        self._wake = threading.Event()
        self._closing = False
        self._patience = self._closed_at = 0.0
        self._thread = repeating("pmlive-log", self._turn, pause=timing.retry)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def wake(self) -> None:
        """Look at the queue now instead of at the next write."""
        self._wake.set()

    def close(self, patience: float) -> bool:
        """Write everything; return False when the disk refused for ``patience`` seconds and something is left."""
        self._patience = patience
        self._closed_at = time.monotonic()
        self._closing = True
        self._wake.set()
        self._thread.join()
        return not self._packer.queue and self.unwritten() is None

    def after_fork(self) -> None:
        """Close the file in a forked child."""
        if self._file is not None:
            self._file.close()

    def unwritten(self) -> bytes | None:
        """Return the first block that is not written."""
        return next((item for item in self._packer.backlog if isinstance(item, bytes)), None)

    def lag(self) -> float:
        """Return for how many seconds something has been waiting to be written."""
        return time.monotonic() - self._clear_at if self._packer.queue or self._packer.backlog else 0.0

    def _turn(self) -> bool:
        """Write what is queued; return False when there will be no more."""
        if self._finished():
            if self._file is not None:
                self._file.close()
            return False
        self._wake.wait(self._timing.commit)
        self._wake.clear()
        try:
            self._packer.pack_all()
        except BaseException as error:
            self.trouble.note(error)
            raise
        self._try_to_write()
        return True

    def _finished(self) -> bool:
        if not self._closing:
            return False
        given_up = self.trouble.lasts(self._patience, since=self._closed_at)
        return given_up or not (self._packer.queue or self._packer.backlog)

    def _try_to_write(self) -> None:
        now = time.monotonic()
        if now < self._retry_at:
            return
        try:
            self._check_place(now)
            self._write_backlog()
        except _VanishedError as error:
            self._recover_place(error)
        except BaseException as error:
            # Whatever it is, the data is in memory and is tried again.
            self._retry_at = now + self._timing.retry
            self.trouble.note(error)
            logger.debug("writing failed", exc_info=True)
            if not isinstance(error, OSError):
                note_fault(self._thread.name, error)
        else:
            self._clear_at = now
            self.trouble.clear()

    def _check_place(self, now: float) -> None:
        if now - self._checked_at < self._timing.sync:
            return
        if not self._lock.is_current():
            raise _VanishedError("the folder was removed or replaced; put it back or record elsewhere")
        if self._file is not None and disk.size(self._file.path, self._folder) is None:
            raise _VanishedError(f"{self._file.path} was removed")
        self._checked_at = now

    def _recover_place(self, error: _VanishedError) -> None:
        """Drop what has not reached the vanished files, and try to restore the folder."""
        self._retry_at = time.monotonic() + self._timing.retry
        self.trouble.note(error)
        packer = self._packer
        if not packer.dropping:
            packer.drop_segment(self._clock() if packer.first_recv is None else packer.first_recv)
        ends = [item for item in packer.backlog if isinstance(item, SegmentEnd)]
        for end in ends:
            end.rows.drop()
        packer.released += sum(len(item) for item in (*packer.backlog, *self._unsynced) if isinstance(item, bytes))
        packer.backlog.clear()
        packer.backlog.extend(ends)
        self._unsynced.clear()
        if self._file is not None:
            self._file.close()
            self._file = None
        if self._folder.is_dir():
            self._restore()

    def _restore(self) -> None:
        try:
            if not self._lock.is_current():
                self._lock.take()
            disk.make_folder(self._folder / WAL, self._folder)
            self._manifest.write()
        except Exception as error:
            self.trouble.note(error)
            logger.debug("restoring failed", exc_info=True)

    def _write_backlog(self) -> None:
        backlog = self._packer.backlog
        while backlog:
            item = backlog[0]
            if isinstance(item, bytes):
                self._append(item)
            elif isinstance(item, SegmentEnd):
                self._hand_over(item)
            else:
                self._sync()
                item.done.set()
            backlog.popleft()
        if self._unsynced and time.monotonic() - self._synced_at >= self._timing.sync:
            self._sync()

    def _append(self, block: bytes) -> None:
        file = self._file or self._open()
        try:
            file.append(block)
        except BaseException:
            if file.torn:
                self._abandon(file)
            raise
        self.segment_bytes += len(block)
        self._unsynced.append(block)

    def _open(self) -> WalFile:
        # A name is used only once, even when opening failed.
        part, self._part = self._part, self._part + 1
        self._file = WalFile(self._folder, segment=self._segment, part=part)
        self._files.append(self._file.path)
        return self._file

    def _sync(self) -> None:
        if self._file is not None and self._unsynced:
            try:
                self._file.sync()
            except BaseException:
                self._abandon(self._file)
                raise
        self._packer.released += sum(map(len, self._unsynced))
        self._unsynced.clear()
        self._synced_at = time.monotonic()
        self.last_sync = self._clock()

    def _abandon(self, file: WalFile) -> None:
        file.abandon()
        self._file = None
        self._synced_at = 0.0
        self._packer.backlog.extendleft(reversed(self._unsynced))
        self._unsynced.clear()

    def _hand_over(self, end: SegmentEnd) -> None:
        self._sync()
        if end.hole is not None:
            self._manifest.add_hole(end.hole)
        if self._file is not None:
            self._file.close()
            self._file = None
        files, self._files, self._part = self._files, [], 0
        self.segment_bytes = 0
        self.cuts += 1
        if files:
            self._sealer.submit(
                Segment(
                    number=self._segment,
                    files=files,
                    rows=end.rows,
                    first_recv=end.first_recv,
                    last_recv=end.last_recv,
                )
            )
            self._segment += 1
