"""Sealing: a segment of the log becomes files that never change again.

The commit goes in this order, and a crash between any two steps loses and doubles nothing:

1. every file is written under a dot-name beside its final one, synced, and read back;
2. the files get their final names, and the names are synced;
3. the manifest that lists them replaces the old one: *from here on they count*;
4. the segment of the log is removed; when it was damaged, it was given a second name before 3, which it keeps.

A crash before 3 leaves files that no manifest names: they are removed at the next start and made again from the log.
A crash after 3 leaves a segment that the manifest calls sealed: it is removed at the next start.
"""

import hashlib
import re
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
from pmlive.store.log import Block, SegmentReading, read_segment, segment_files
from pmlive.store.manifest import MERGED, OURS, RAW, Catalogue, Manifest, SealedFile
from pmlive.store.status import Trouble
from pmlive.tables import STORED
from pmlive.threads import note_fault, repeating

if TYPE_CHECKING:
    from pmlive.store.parquet import Encoded

__all__ = [
    "Held",
    "Rebuild",
    "Sealer",
    "Sealing",
    "Segment",
    "Staged",
    "Step",
    "Work",
    "dated",
    "discard",
    "publish",
    "seal",
    "sealed_files",
    "stage_raw",
    "stage_table",
    "sweep",
    "tables_of",
]

logger = get_logger(__name__)

Rebuild: TypeAlias = Callable[[Iterable[Record]], Mapping[str, pl.DataFrame]]
Step: TypeAlias = Callable[[str], None]

# A log of a crashed run that is larger than this is kept as it was compressed: the next run waits for it.
_LARGE = 16 << 20
_ASIDE = re.compile(rf"\.{OURS.pattern}\.tmp")


class Work(msgspec.Struct, frozen=True, kw_only=True):
    """A locked recording, and what makes names unique: ``run`` is of this opening of it."""

    folder: Path
    catalogue: Catalogue
    run: str
    step: Step


class Sealing(Work, frozen=True, kw_only=True):
    """What sealing needs to know besides the segment."""

    rebuild: Rebuild
    level: int


class Held:
    """The rows of one segment in memory; when they are too many they are given up, for the log has them."""

    def __init__(self) -> None:
        self.frames: dict[str, list[pl.DataFrame]] | None = {}
        self.bytes = 0

    def add(self, table: str, frame: pl.DataFrame) -> None:
        """Keep some rows."""
        if self.frames is not None:
            self.frames.setdefault(table, []).append(frame)
            self.bytes += int(frame.estimated_size())

    def give_up(self) -> None:
        """Forget the rows; they will be rebuilt."""
        self.frames = None
        self.bytes = 0


class Segment(msgspec.Struct, frozen=True, kw_only=True):
    """A part of the log that is complete; without ``held`` frames its rows are rebuilt from it."""

    number: int
    files: Sequence[Path]
    held: Held | None = None
    following: Sequence[Path] = ()
    first_recv: int = 0
    last_recv: int = 0


def seal(segment: Segment, sealing: Sealing) -> SegmentReading | None:
    """Turn a segment into sealed files and remove it from the log; do nothing more than remove it if that was done.

    Raises:
        OSError: the disk did not take it; the segment is still there and this can be tried again.
        StoreError: what was read back is not what was written; as above.
    """
    reading = None
    if segment.number > sealing.catalogue.manifest.sealed:
        contents = [disk.read(path, sealing.folder) for path in segment.files]
        last = sealing.catalogue.manifest
        reading = read_segment(
            contents,
            since=last.known_until,
            follows=segment.number == last.sealed + 1,
            following=[disk.read(path, sealing.folder) for path in segment.following],
        )
        _commit(segment, sealing, reading)
    # The new manifest has to be on the disk before the log goes, also when an earlier try failed at just that.
    disk.sync_folder(sealing.folder, sealing.folder)
    for path in segment.files:
        disk.remove(path, sealing.folder)
        sealing.step("removed a part of the log")
    return reading


class Sealer:
    """Seal segments in order, away from the thread that writes the log.

    ``tend`` is called when there is nothing to seal, first and after each sealing, until it answers False.
    """

    def __init__(
        self, sealing: Sealing, *, retry: float, lost: Callable[[Segment, str], None], tend: Callable[[], bool]
    ) -> None:
        self._sealing = sealing
        self._retry = retry
        self._lost = lost
        self._tend = tend
        self._untended = True
        self._tasks: deque[Callable[[], None]] = deque()
        self._wake = threading.Event()
        self._closing = False
        self._patience = self._closed_at = 0.0
        self.trouble = Trouble(str(sealing.folder), "sealing")
        # Apart from the other: nothing waits for it, and nothing is lost by it.
        self.tending = Trouble(str(sealing.folder), "merging")
        self.sealed = 0
        self._thread = repeating("pmlive-seal", self._turn, pause=retry)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def give(self, segment: Segment) -> None:
        """Have a segment sealed."""
        self.do(lambda: self._seal(segment))

    def do(self, task: Callable[[], None]) -> None:
        """Have something else done, in turn."""
        self._tasks.append(task)
        self._wake.set()

    @property
    def left(self) -> int:
        """Count what was given and is not done."""
        return len(self._tasks)

    def close(self, patience: float) -> None:
        """Finish what was given, or leave it to the next start when the disk refuses for ``patience`` seconds."""
        self._patience = patience
        self._closed_at = time.monotonic()
        self._closing = True
        self._wake.set()
        self._thread.join()

    def _turn(self) -> bool:
        """Do what there is to do; False when there will be no more."""
        if self._tasks or not self._untended:
            self._wake.wait(self._retry if self._tasks else None)
        self._wake.clear()
        self._work()
        if self._untended and not self._tasks:
            self._untended = not self._closing and self._tended()
        gave_up = self.trouble.lasts(self._patience, since=self._closed_at)
        return not self._closing or not (gave_up or not self._tasks)

    def _work(self) -> None:
        while self._tasks:
            try:
                self._tasks[0]()
            except BaseException as error:  # noqa: BLE001  # it is told, and tried until it works
                self._note(self.trouble, error)
                return
            self._tasks.popleft()
            self.trouble.clear()

    def _tended(self) -> bool:
        """Tend what is sealed; what fails at it is told, and tried again after the next sealing."""
        try:
            more = self._tend()
        except BaseException as error:  # noqa: BLE001  # sealing goes on, whatever merging fails at
            self._note(self.tending, error)
            return False
        self.tending.clear()
        return more

    def _note(self, trouble: Trouble, error: BaseException) -> None:
        trouble.note(error)
        logger.debug("sealing failed", exc_info=error)
        if not isinstance(error, OSError | StoreError):
            note_fault(self._thread.name, error)

    def _seal(self, segment: Segment) -> None:
        unsealed = segment.number > self._sealing.catalogue.manifest.sealed
        if unsealed and self._sealing.folder.is_dir() and not all(self._is_there(path) for path in segment.files):
            self._lost(segment, "files of the log were removed before they were sealed")
            return
        try:
            seal(segment, self._sealing)
        except (OSError, StoreError, MemoryError):
            raise
        except BaseException as error:
            if segment.held is None or segment.held.frames is None:
                self._set_aside(segment, error)
                return
            # Rows that cannot be stored as they are can be made again.
            segment.held.give_up()
            raise
        self.sealed += 1
        self._untended = True
        if segment.held is not None:
            segment.held.give_up()

    def _set_aside(self, segment: Segment, error: BaseException) -> None:
        """Keep a log that cannot be decoded, out of the way of what came after it."""
        # The gap is told first: a crash in between must not leave a log that nobody reads and nobody misses.
        self._lost(segment, f"the log cannot be decoded ({error}); it is kept as wal/*.undecodable-{self._sealing.run}")
        for path in segment.files:
            disk.replace(path, path.with_name(f"{path.name}.undecodable-{self._sealing.run}"), self._sealing.folder)
        disk.sync_folder(segment.files[0].parent, self._sealing.folder)

    def _is_there(self, path: Path) -> bool:
        return disk.size(path, self._sealing.folder) is not None


def sweep(folder: Path, manifest: Manifest) -> None:
    """Remove what an interrupted sealing left: files of ours that the manifest does not name, and sealed segments."""
    listed = {folder / one.path for one in (*manifest.files, *manifest.replaced)}
    for path in (*sealed_files(folder), folder / ".manifest.json.tmp"):
        if path not in listed:
            disk.remove(path, folder)
    for number, files in segment_files(folder).items():
        for path in files if number <= manifest.sealed else ():
            disk.remove(path, folder)


def tables_of(records: Iterable[Record], rebuild: Rebuild) -> dict[str, list[pl.DataFrame]]:
    """Make the stored tables of a segment from its records."""
    return {table: [frame] for table, frame in rebuild(records).items() if table in STORED}


class Staged(msgspec.Struct, frozen=True):
    """A file of a recording under its dot-name, and how the manifest will list it."""

    folder: Path
    aside: Path
    file: SealedFile


def dated(folder: str, time: int, name: str) -> str:
    """Name a file in the folder of the day of a time."""
    return f"{folder}/date={datetime.fromtimestamp(time // 1_000_000_000, UTC):%Y-%m-%d}/{name}"


def stage_raw(folder: Path, path: str, blocks: Iterable[Block]) -> Staged:
    """Write frames.

    Raises:
        OSError: the disk did not take them.
        StoreError: what was read back is not what was written.
    """
    final = folder / path
    disk.make_folder(final.parent, folder)
    written = raw.write_aside(final, folder, blocks)
    fields = {name: getattr(written, name) for name in written.__struct_fields__ if name != "path"}
    return Staged(folder, written.path, SealedFile(path=path, table=RAW, **fields))


def stage_table(folder: Path, path: str, table: str, encoded: "Encoded") -> Staged:
    """Write rows.

    Raises:
        OSError: the disk did not take them.
        StoreError: what was read back is not what was written.
    """
    from pmlive.store import parquet

    final = folder / path
    disk.make_folder(final.parent, folder)
    aside = disk.write_aside(final, folder, encoded.data)
    back = disk.read(aside, folder)
    if back != encoded.data or parquet.rows_of(back) != encoded.rows:
        raise StoreError(f"{str(aside)!r} is not what was written; the disk or the memory is failing")
    sha256 = hashlib.sha256(back).hexdigest()
    fields = {name: getattr(encoded, name) for name in encoded.__struct_fields__ if name != "data"}
    return Staged(folder, aside, SealedFile(path=path, table=table, bytes=len(back), sha256=sha256, **fields))


def publish(staged: Sequence[Staged], work: Work) -> None:
    """Give files their final names; they do not count before the manifest lists them."""
    for file in staged:
        final = work.folder / file.file.path
        disk.replace(file.aside, final, work.folder)
        work.step(f"renamed {file.file.table}")
        disk.sync_folder(final.parent, work.folder)


def discard(staged: Sequence[Staged]) -> None:
    """Remove files that did not get so far."""
    for file in staged:
        disk.discard(file.aside, file.folder)


def sealed_files(folder: Path) -> list[Path]:
    """List the files in a recording that sealing and merging write, finished or not."""
    folders = (folder / RAW, *(above / table for table in STORED for above in (folder, folder / MERGED)))
    days = (day for above in folders for day in disk.paths(above, folder) if day.name.startswith("date="))
    found = (path for day in days for path in disk.paths(day, folder))
    return [path for path in found if OURS.fullmatch(path.name) or _ASIDE.fullmatch(path.name)]


def _commit(segment: Segment, sealing: Sealing, reading: SegmentReading) -> None:
    staged: list[Staged] = []
    try:
        for file in _stage(segment, sealing, reading):
            staged.append(file)
            sealing.step(f"wrote {file.file.table}")
        publish(staged, sealing)
    except BaseException:
        discard(staged)
        raise
    if reading.damaged:
        _keep_damaged(segment.files, sealing)
    sealing.step("before the manifest")
    sealing.catalogue.change(lambda manifest: _with(manifest, segment, staged, reading))
    sealing.step("after the manifest")


def _stage(segment: Segment, sealing: Sealing, reading: SegmentReading) -> Iterator[Staged]:
    from pmlive.store import parquet

    if not reading.blocks:
        return
    first = reading.blocks[0].first_recv
    name = f"{first}-{sealing.run}-{segment.number:06d}"
    large = segment.held is None and sum(len(block.payload) for block in reading.blocks) > _LARGE
    blocks = raw.renumber(reading.blocks) if large else raw.enlarge(reading.blocks, level=sealing.level)
    yield stage_raw(sealing.folder, dated(RAW, first, f"{name}{raw.SUFFIX}"), blocks)
    frames = None if segment.held is None else segment.held.frames
    # Rows of records that the log lost must not outlive them, or a replay would not give what was stored.
    if frames is None or reading.lossy:
        frames = tables_of(reading.records(), sealing.rebuild)
    for table, given in sorted(frames.items()):
        frame = parquet.join(table, given) if given else None
        if frame is not None and frame.height:
            encoded = parquet.encode(table, frame)
            yield stage_table(sealing.folder, dated(table, first, f"{name}.parquet"), table, encoded)


def _with(manifest: Manifest, segment: Segment, staged: Sequence[Staged], reading: SegmentReading) -> Manifest:
    files = [file.file for file in staged]
    return msgspec.structs.replace(
        manifest,
        files=manifest.files + files,
        sealed=segment.number,
        next_seq=max([manifest.next_seq, *(file.last_seq + 1 for file in files)]),
        last_recv=reading.blocks[-1].last_recv if reading.blocks else manifest.last_recv,
    )


def _keep_damaged(files: Sequence[Path], sealing: Sealing) -> None:
    # Somebody may still read something in them.
    for path in files:
        if not any(kept.name.startswith(f"{path.name}.damaged-") for kept in disk.paths(path.parent, sealing.folder)):
            disk.link(path, path.with_name(f"{path.name}.damaged-{sealing.run}"), sealing.folder)
            sealing.step("kept a damaged part of the log")
    disk.sync_folder(files[0].parent, sealing.folder)
