"""Sealing: a segment of the log becomes files that never change again.

The commit goes in this order, and a crash between any two steps loses and doubles nothing:

1. every file is written under a dot-name beside its final one, synced, and read back;
2. the files get their final names, and the names are synced;
3. the manifest that lists them replaces the old one: *from here on they count*;
4. the segment of the log is removed; when it was damaged, it was given a second name before 3, which it keeps.

A crash before 3 leaves files that no manifest names: they are removed at the next start, since the log still has what
is in them, and made again from it.
A crash after 3 leaves a segment that the manifest calls sealed: it is removed at the next start.
"""

import hashlib
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import msgspec
import polars as pl

from pmlive.errors import StoreError
from pmlive.logs import get_logger
from pmlive.records import Record
from pmlive.store import disk, raw
from pmlive.store.log import Block, SegmentReading, has_second_name, read_segment
from pmlive.store.manifest import RAW, Manifest, ManifestFile, SealedFile, SealedSegment
from pmlive.store.markets_file import MarketsFile
from pmlive.tables import STORED
from pmlive.threads import note_fault, repeating, uninterrupted

if TYPE_CHECKING:
    from pmlive.store.parquet import EncodedTable

__all__ = [
    "Rebuild",
    "RecorderTrouble",
    "SealContext",
    "Sealer",
    "Segment",
    "SegmentRows",
    "StagedFile",
    "StepHook",
    "WriteContext",
    "dated_path",
    "discard",
    "publish",
    "rebuilt_tables",
    "seal",
    "stage_raw",
    "stage_table",
]

logger = get_logger(__name__)

Rebuild: TypeAlias = Callable[[Iterable[Record]], Mapping[str, pl.DataFrame]]
StepHook: TypeAlias = Callable[[str], None]

# A log of a crashed run that is larger than this is kept as it was compressed: the next run waits for it.
_LARGE_LOG_BYTES = 16 << 20


class WriteContext(msgspec.Struct, frozen=True, kw_only=True):
    """A locked recording that is written to; ``run`` names this opening of it, which makes file names unique."""

    folder: Path
    manifest: ManifestFile
    run: str
    step: StepHook


class SealContext(WriteContext, frozen=True, kw_only=True):
    """A locked recording, how its tables are rebuilt, and the level at which raw frames are compressed."""

    rebuild: Rebuild
    level: int


class SegmentRows:
    """The rows of one segment in memory; when there are too many they are dropped and rebuilt from the log."""

    def __init__(self) -> None:
        self.frames: dict[str, list[pl.DataFrame]] | None = {}
        self.bytes = 0

    def add(self, table: str, frame: pl.DataFrame) -> None:
        """Keep rows."""
        if self.frames is not None:
            self.frames.setdefault(table, []).append(frame)
            self.bytes += int(frame.estimated_size())

    def drop(self) -> None:
        """Drop the rows; they will be rebuilt."""
        self.frames = None
        self.bytes = 0


class Segment(msgspec.Struct, frozen=True, kw_only=True):
    """A complete part of the log; without ``rows`` in memory they are rebuilt from it.

    ``following`` are the files of the next segment, which distinguish damage at the end from a torn write.
    """

    number: int
    files: Sequence[Path]
    rows: SegmentRows | None = None
    following: Sequence[Path] = ()
    first_recv: int = 0
    last_recv: int = 0


class StagedFile(msgspec.Struct, frozen=True):
    """A file under its temporary name, and how the manifest will list it."""

    folder: Path
    temporary: Path
    file: SealedFile


class RecorderTrouble:
    """The trouble of one part of a recorder: ``message`` is None while it works, else the last failure.

    It is logged once per episode.
    """

    def __init__(self, folder: str, part: str) -> None:
        self._folder = folder
        self._part = part
        self.message: str | None = None
        self._since = 0.0

    def lasts(self, seconds: float, *, since: float) -> bool:
        """Return whether it has lasted for ``seconds`` since ``since`` (``monotonic``) or, if later, its beginning."""
        return self.message is not None and time.monotonic() - max(since, self._since) > seconds

    def note(self, error: BaseException) -> None:
        """Note a failure, after which it is tried again; log the first one."""
        first, self.message = self.message is None, f"{self._part}: {_described(error)}"
        if first:
            self._since = time.monotonic()
            logger.error("recording %r: %s; trying again each second, nothing is lost yet", self._folder, self.message)

    def clear(self) -> None:
        """Note that it works again."""
        if self.message is not None:
            logger.warning("recording %r: resumed after: %s", self._folder, self.message)
            self.message = None


def seal(segment: Segment, context: SealContext) -> SegmentReading | None:
    """Turn a segment into sealed files and remove it from the log; only remove it if it is sealed already.

    Raises:
        OSError: the disk did not take it; the segment is still there and this can be tried again.
        StoreError: what was read back is not what was written; this can be tried again.
    """
    reading = None
    if segment.number > context.manifest.current.sealed:
        contents = [disk.read(path, context.folder) for path in segment.files]
        last = context.manifest.current
        reading = read_segment(
            contents,
            since=last.known_until,
            follows=segment.number == last.sealed + 1,
            after=last.last_seq,
            following=[disk.read(path, context.folder) for path in segment.following],
        )
        _commit(segment, context, reading)
    # The new manifest has to be on the disk before the log goes, also when an earlier try failed at just that.
    disk.sync_folder(context.folder, context.folder)
    for path in segment.files:
        disk.remove(path, context.folder)
        context.step("removed a part of the log")
    return reading


class Sealer:
    """Seals segments in order, in a thread of its own; a task that fails is tried until it works.

    ``upkeep`` is called when there is nothing to seal, at first and after each sealing, until it returns False.
    ``lost`` is called with a segment that cannot be sealed, and why.
    """

    def __init__(
        self, context: SealContext, *, retry: float, lost: Callable[[Segment, str], None], upkeep: Callable[[], bool]
    ) -> None:
        self._context = context
        self._retry = retry
        self._lost = lost
        self._upkeep = upkeep
        self._upkeep_due = True
        self._tasks: deque[Callable[[], None]] = deque()
        self._wake = threading.Event()
        self._closing = False
        self._patience = self._closed_at = 0.0
        self.trouble = RecorderTrouble(str(context.folder), "sealing")
        # Separate, since nothing waits for upkeep and nothing is lost by it.
        self.upkeep_trouble = RecorderTrouble(str(context.folder), "merging")
        self.listing_trouble = RecorderTrouble(str(context.folder), "listing the markets")
        self.sealed = 0
        self._markets = MarketsFile(context.folder)
        self._thread = repeating("pmlive-seal", self._turn, pause=retry)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def submit(self, segment: Segment) -> None:
        """Queue a segment to be sealed."""
        self.submit_task(lambda: self._seal(segment))

    def submit_task(self, task: Callable[[], None]) -> None:
        """Queue another task, which is run in turn."""
        self._tasks.append(task)
        self._wake.set()

    @property
    def pending(self) -> int:
        """The number of tasks that are not done."""
        return len(self._tasks)

    def close(self, patience: float) -> None:
        """Finish all tasks, or leave them to the next start when the disk refuses for ``patience`` seconds."""
        self._patience = patience
        self._closed_at = time.monotonic()
        self._closing = True
        self._wake.set()
        self._thread.join()

    def _turn(self) -> bool:
        """Run the tasks that are due; return False when there will be no more."""
        if self._tasks or not self._upkeep_due:
            is_failing = self._tasks or self.listing_trouble.message is not None
            self._wake.wait(self._retry if is_failing else None)
        self._wake.clear()
        self._run_tasks()
        if self._upkeep_due and not self._tasks:
            self._upkeep_due = not self._closing and self._run_upkeep()
        self._list_markets()
        gave_up = self.trouble.lasts(self._patience, since=self._closed_at)
        return not self._closing or not (gave_up or not self._tasks)

    def _run_tasks(self) -> None:
        while self._tasks:
            try:
                uninterrupted(self._tasks[0])
            except BaseException as error:  # noqa: BLE001  # it is noted, and tried until it works
                self._note(self.trouble, error)
                return
            self._tasks.popleft()
            self.trouble.clear()

    def _list_markets(self) -> None:
        """Write the table of markets, which no sealing waits for; a failure is noted, and tried again later."""
        try:
            uninterrupted(lambda: self._markets.write(self._context.manifest.current))
        except BaseException as error:  # noqa: BLE001  # sealing goes on, and the manifest has the markets
            self._note(self.listing_trouble, error)
        else:
            self.listing_trouble.clear()

    def _run_upkeep(self) -> bool:
        """Run the upkeep once; a failure is noted, and tried again after the next sealing."""
        try:
            more = uninterrupted(self._upkeep)
        except BaseException as error:  # noqa: BLE001  # sealing goes on, whatever merging fails at
            self._note(self.upkeep_trouble, error)
            return False
        self.upkeep_trouble.clear()
        return more

    def _note(self, trouble: RecorderTrouble, error: BaseException) -> None:
        trouble.note(error)
        logger.debug("sealing failed", exc_info=error)
        if not isinstance(error, OSError | StoreError):
            note_fault(self._thread.name, error)

    def _seal(self, segment: Segment) -> None:
        unsealed = segment.number > self._context.manifest.current.sealed
        if unsealed and self._context.folder.is_dir() and not all(self._is_there(path) for path in segment.files):
            self._lost(segment, "files of the log were removed before they were sealed")
            return
        try:
            seal(segment, self._context)
        except (OSError, StoreError, MemoryError, KeyboardInterrupt):
            # These say nothing of the log.
            raise
        except BaseException as error:
            if segment.rows is None or segment.rows.frames is None:
                self._set_aside(segment, error)
                return
            # Rows that cannot be stored as they are can be rebuilt.
            segment.rows.drop()
            raise
        self.sealed += 1
        self._upkeep_due = True
        if segment.rows is not None:
            segment.rows.drop()

    def _set_aside(self, segment: Segment, error: BaseException) -> None:
        """Keep a log that cannot be decoded, out of the way of the segments after it."""
        # The gap is noted first: a crash in between must not leave a log that is neither read nor missed.
        self._lost(segment, f"the log cannot be decoded ({error}); it is kept as wal/*.undecodable-{self._context.run}")
        for path in segment.files:
            disk.replace(path, path.with_name(f"{path.name}.undecodable-{self._context.run}"), self._context.folder)
        disk.sync_folder(segment.files[0].parent, self._context.folder)

    def _is_there(self, path: Path) -> bool:
        return disk.size(path, self._context.folder) is not None


def rebuilt_tables(records: Iterable[Record], rebuild: Rebuild) -> dict[str, list[pl.DataFrame]]:
    """Rebuild the stored tables of a segment from its records."""
    return {table: [frame] for table, frame in rebuild(records).items() if table in STORED}


def dated_path(folder: str, time: int, name: str) -> str:
    """Return the path of a file in the folder of the day of a time (nanoseconds since 1970)."""
    return f"{folder}/date={datetime.fromtimestamp(time // 1_000_000_000, UTC):%Y-%m-%d}/{name}"


def stage_raw(folder: Path, path: str, blocks: Iterable[Block]) -> StagedFile:
    """Write raw frames under a temporary name.

    Raises:
        OSError: the disk did not take them.
        StoreError: what was read back is not what was written.
    """
    final = folder / path
    disk.make_folder(final.parent, folder)
    written = raw.write_temporary(final, folder, blocks)
    fields = {name: getattr(written, name) for name in written.__struct_fields__ if name != "path"}
    return StagedFile(folder, written.path, SealedFile(path=path, table=RAW, **fields))


def stage_table(folder: Path, path: str, table: str, encoded: "EncodedTable") -> StagedFile:
    """Write rows under a temporary name.

    Raises:
        OSError: the disk did not take them.
        StoreError: what was read back is not what was written.
    """
    from pmlive.store import parquet

    final = folder / path
    disk.make_folder(final.parent, folder)
    temporary = disk.write_temporary(final, folder, encoded.data)
    back = disk.read(temporary, folder)
    if back != encoded.data or parquet.count_rows(back) != encoded.rows:
        raise StoreError(f"{str(temporary)!r} is not what was written; the disk or the memory is failing")
    sha256 = hashlib.sha256(back).hexdigest()
    fields = {name: getattr(encoded, name) for name in encoded.__struct_fields__ if name != "data"}
    return StagedFile(folder, temporary, SealedFile(path=path, table=table, bytes=len(back), sha256=sha256, **fields))


def publish(staged: Sequence[StagedFile], context: WriteContext) -> None:
    """Rename files to their final names; they do not count before the manifest lists them."""
    for file in staged:
        final = context.folder / file.file.path
        disk.replace(file.temporary, final, context.folder)
        context.step(f"renamed {file.file.table}")
        disk.sync_folder(final.parent, context.folder)


def discard(staged: Sequence[StagedFile]) -> None:
    """Remove files that were not published."""
    for file in staged:
        disk.discard(file.temporary, file.folder)


def _commit(segment: Segment, context: SealContext, reading: SegmentReading) -> None:
    staged: list[StagedFile] = []
    try:
        for file in _stage(segment, context, reading):
            staged.append(file)
            context.step(f"wrote {file.file.table}")
        publish(staged, context)
    except BaseException:
        discard(staged)
        raise
    if reading.damaged:
        _keep_damaged(segment.files, context)
    context.step("before the manifest")
    context.manifest.change(lambda manifest: _with_files(manifest, segment, staged, reading))
    context.step("after the manifest")


def _stage(segment: Segment, context: SealContext, reading: SegmentReading) -> Iterator[StagedFile]:
    from pmlive.store import parquet

    if not reading.blocks:
        return
    first = reading.blocks[0].first_recv
    name = f"{first}-{context.run}-{segment.number:06d}"
    large = segment.rows is None and sum(len(block.payload) for block in reading.blocks) > _LARGE_LOG_BYTES
    blocks = raw.renumber(reading.blocks) if large else raw.join_blocks(reading.blocks, level=context.level)
    yield stage_raw(context.folder, dated_path(RAW, first, f"{name}{raw.SUFFIX}"), blocks)
    frames = None if segment.rows is None else segment.rows.frames
    # Rows of records that the log lost must not outlive them, or a replay would not give what was stored.
    if frames is None or reading.lossy:
        frames = rebuilt_tables(reading.records(), context.rebuild)
    for table, given in sorted(frames.items()):
        frame = parquet.join(table, given) if given else None
        if frame is not None and frame.height:
            encoded = parquet.encode(table, frame)
            yield stage_table(context.folder, dated_path(table, first, f"{name}.parquet"), table, encoded)


def _with_files(
    manifest: Manifest, segment: Segment, staged: Sequence[StagedFile], reading: SegmentReading
) -> Manifest:
    files = [file.file for file in staged]
    new_segments = [SealedSegment.of(segment.number, files)] if files else []
    return msgspec.structs.replace(
        manifest,
        files=manifest.files + files,
        sealed=segment.number,
        next_seq=max([manifest.next_seq, *(file.last_seq + 1 for file in files)]),
        last_recv=reading.blocks[-1].last_recv if reading.blocks else manifest.last_recv,
        segments=[*manifest.segments, *new_segments],
    )


def _keep_damaged(files: Sequence[Path], context: SealContext) -> None:
    # Something in them may still be recovered by hand.
    for path in files:
        if not has_second_name(path, context.folder):
            disk.link(path, path.with_name(f"{path.name}.damaged-{context.run}"), context.folder)
            context.step("kept a damaged part of the log")
    disk.sync_folder(files[0].parent, context.folder)


def _described(error: BaseException) -> str:
    # The message is enough where the disk or a file is the cause; of any other error the type matters.
    return str(error) if isinstance(error, OSError | StoreError) else repr(error)
