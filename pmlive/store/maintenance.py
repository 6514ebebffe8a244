"""Maintenance of a recording that is not being written: compaction, repair, and rebuilding into a new one.

Compaction merges small files, as a recorder does by itself. A repair rebuilds damaged tables from their raw frames, and
keeps the rest of damaged frames.

Each file is repaired by itself, so a crash leaves a recording that can be repaired again: the new file is written
under a temporary name, synced, read back and renamed to a name of its own; the damaged one is given the name
``NAME.damaged-RUN``, which nothing removes; one change of the manifest lists the new one in its place, and
the old name is removed.

Rows that cannot be rebuilt, because their frames are damaged or were given up, are a hole in the manifest. Frames
that are lost are a ``gap`` record among those that are left; tables that were made of them and are whole stay.
"""

import hashlib
import os
import shutil
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath

import msgspec
import polars as pl

from pmlive.errors import StoreError
from pmlive.events import Gap
from pmlive.progress import Progress, reported, unwatched
from pmlive.store import disk, raw
from pmlive.store.leftovers import remove_leftovers
from pmlive.store.log import WAL
from pmlive.store.manifest import (
    MANIFEST,
    MERGED,
    RAW,
    Manifest,
    SealedFile,
    SealedSegment,
    segment_number,
    without_rows,
)
from pmlive.store.markets_file import MarketsFile
from pmlive.store.merging import GRACE_S, MergeLimits, is_hidden, merge, plan_merges, replace_inputs
from pmlive.store.opening import locked_recording
from pmlive.store.reader import problem_of
from pmlive.store.sealing import (
    Rebuild,
    StagedFile,
    StepHook,
    WriteContext,
    dated_path,
    discard,
    publish,
    rebuilt_tables,
    stage_raw,
    stage_table,
)

__all__ = ["Compaction", "RebuiltRecording", "RepairReport", "Repaired", "compact", "repair"]


class Compaction(msgspec.Struct, frozen=True, kw_only=True):
    """The outcome of a compaction: ``inputs`` files became ``outputs``.

    ``waiting`` merged files are out of sight until the grace of their inputs is over.
    """

    inputs: int
    outputs: int
    waiting: int
    refused: list[str]


class Repaired(msgspec.Struct, frozen=True, kw_only=True):
    """A file that was damaged or missing, and the outcome of its repair.

    ``rows`` counts those that there are now and ``lost`` those that are gone; of frames (``raw``), ``damaged`` counts
    the damaged bytes. ``path`` is None when nothing was left, ``kept`` is where the damaged file is now.
    """

    table: str
    was: str
    problem: str
    path: str | None
    kept: str | None
    rows: int
    lost: int
    damaged: int = 0


class RepairReport(msgspec.Struct, frozen=True, kw_only=True):
    """The outcome of a repair: ``checked`` counts files, ``repaired`` lists those that were damaged or missing.

    ``removed`` are the folders beside the recording that a killed import or export left.
    """

    checked: int
    repaired: list[Repaired]
    removed: list[str] = []

    @property
    def lost(self) -> int:
        """The number of rows and frames that are gone."""
        return sum(one.lost for one in self.repaired)

    @property
    def damaged(self) -> int:
        """The number of damaged bytes of frames."""
        return sum(one.damaged for one in self.repaired)


def compact(
    folder: Path,
    *,
    grace: float = GRACE_S,
    limits: MergeLimits | None = None,
    clock: Callable[[], int] = time.time_ns,
    step: StepHook = lambda _: None,
    progress: Progress = unwatched,
) -> Compaction:
    """Merge neighbouring small files of each table and day, and finish earlier merges whose grace is over.

    Inputs stay for ``grace`` seconds, for frames that were scanned before: a later call removes them, or the next
    recorder. With 0 they are removed at once, which suits a recording that is not being read. Damaged files are left
    alone and named in ``refused``. ``progress`` is called after each merge with the rows that were merged, and all.

    Raises:
        StoreError: it is not a recording, it is being recorded, or the disk refused; nothing is lost.
    """
    limits = limits or MergeLimits(files=2)
    with locked_recording(folder, now=clock(), step=step) as context:
        try:
            replace_inputs(context, now=clock(), grace=grace)
            chosen = plan_merges(context.manifest.current, limits)
            refused: list[str] = []
            for inputs in reported([(each, sum(file.rows for file in each)) for each in chosen], progress):
                try:
                    merge(inputs, context, now=clock())
                except StoreError as error:
                    refused.append(str(error))
            replace_inputs(context, now=clock(), grace=grace)
        except OSError as error:
            raise StoreError(f"{str(folder)!r} cannot be compacted: {error}; make room and try again") from error
        return Compaction(
            inputs=sum(map(len, chosen)),
            outputs=len(chosen),
            waiting=sum(is_hidden(file.path) for file in context.manifest.current.files),
            refused=refused,
        )


def repair(
    folder: Path,
    *,
    rebuild: Rebuild,
    clock: Callable[[], int] = time.time_ns,
    step: StepHook = lambda _: None,
) -> RepairReport:
    """Check every sealed file of a recording, and repair those that are damaged or missing.

    What a killed import or export left beside it is removed; where there is no recording, nothing else is done.

    Raises:
        StoreError: it is not a recording, it is being recorded, or the disk refused; then it can be repaired again.
    """
    removed = remove_leftovers(folder)
    if removed and not folder.exists():
        return RepairReport(checked=0, repaired=[], removed=removed)
    with locked_recording(folder, now=clock(), step=step) as context:
        try:
            report = _Repair(context, rebuild).run()
            MarketsFile(folder).write(context.manifest.current)
            return msgspec.structs.replace(report, removed=removed)
        except OSError as error:
            raise StoreError(f"{str(folder)!r} cannot be repaired: {error}; try again on a disk that works") from error


class RebuiltRecording:
    """A new recording that is rebuilt from another's raw records, in a folder that is empty or not there.

    It is a recording once ``finish`` has written its manifest.

    Raises:
        StoreError: the folder holds something.
    """

    def __init__(self, folder: Path) -> None:
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise StoreError(f"{str(folder)!r} is not an empty folder; choose another one")
        disk.make_folder(folder)
        disk.make_folder(folder / WAL, folder)
        self._folder = folder
        self._files: list[SealedFile] = []
        self._segments: list[SealedSegment] = []

    def add(self, source: Path, file: SealedFile, tables: Mapping[str, pl.DataFrame]) -> None:
        """Copy a sealed file of raw records as it is, and write the tables that were rebuilt from it."""
        from pmlive.store import parquet

        final = self._folder / file.path
        disk.make_folder(final.parent, self._folder)
        self._copy(source / file.path, source, final)
        raw.check_sha256(final, self._folder, file.sha256)
        before = len(self._files)
        self._files.append(file)
        name = PurePosixPath(file.path)
        for table, frame in sorted(tables.items()):
            if frame.height:
                stem = name.name.removesuffix(raw.SUFFIX)
                self._write(f"{table}/{name.parent.name}/{stem}.parquet", table, parquet.join(table, [frame]))
        self._segments.append(SealedSegment.of(segment_number(file.path) or 0, self._files[before:]))

    def copy_log(self, source: Path, paths: Iterable[Path]) -> None:
        """Copy files of the log that are not sealed yet."""
        for path in paths:
            self._copy(path, source, self._folder / WAL / path.name)

    def finish(self, like: Manifest) -> None:
        """Write the manifest: that of the other recording, with the new files."""
        manifest = msgspec.structs.replace(like, files=self._files, replaced=[], segments=self._segments)
        data = msgspec.json.format(msgspec.json.encode(manifest), indent=1)
        path = self._folder / MANIFEST
        disk.replace(disk.write_temporary(path, self._folder, data), path, self._folder)
        MarketsFile(self._folder).write(manifest)
        disk.sync_folder(self._folder, self._folder)

    def _copy(self, path: Path, source: Path, final: Path) -> None:
        with (
            disk.open_to_read(path, source) as old,
            os.fdopen(disk.create(final, self._folder), "wb") as new,
        ):
            shutil.copyfileobj(old, new)

    def _write(self, path: str, table: str, frame: pl.DataFrame) -> None:
        from pmlive.store import parquet

        final = self._folder / path
        disk.make_folder(final.parent, self._folder)
        encoded = parquet.encode(table, frame)
        disk.replace(disk.write_temporary(final, self._folder, encoded.data), final, self._folder)
        fields = {name: getattr(encoded, name) for name in encoded.__struct_fields__ if name != "data"}
        sha256 = hashlib.sha256(encoded.data).hexdigest()
        self._files.append(SealedFile(path=path, table=table, bytes=len(encoded.data), sha256=sha256, **fields))


class _Repair:
    """One pass over the files: frames first, since tables are rebuilt from them."""

    def __init__(self, context: WriteContext, rebuild: Rebuild) -> None:
        self._context = context
        self._rebuild = rebuild
        self._number = 0
        self._rebuilt_tables: tuple[SealedFile, dict[str, list[pl.DataFrame]]] | None = None

    def run(self) -> RepairReport:
        listed = self._context.manifest.current.files
        files = sorted(listed, key=lambda file: (file.table != RAW, file.first_seq))
        problems = [
            (file, problem) for file in files if (problem := problem_of(self._context.folder, file)) is not None
        ]
        repaired = [self._repair_frames(*one) if one[0].table == RAW else self._repair_rows(*one) for one in problems]
        return RepairReport(checked=len(files), repaired=repaired)

    def _repair_frames(self, file: SealedFile, problem: str) -> Repaired:
        left = raw.salvage(self._read(file), file)
        path = self._path(RAW, file, raw.SUFFIX)
        staged = stage_raw(self._context.folder, path, raw.renumber(left.reading.blocks))
        self._context.step("wrote frames")
        kept = self._replace(file, staged, hole=None)
        return Repaired(
            table=RAW,
            was=file.path,
            problem=problem,
            path=path,
            kept=kept,
            rows=file.rows - left.missing,
            lost=left.missing,
            damaged=left.damaged,
        )

    def _repair_rows(self, file: SealedFile, problem: str) -> Repaired:
        path = self._path(file.table, file, ".parquet")
        staged = self._stage_rows(file, path)
        rows = 0 if staged is None else staged.file.rows
        lost = max(file.rows - rows, 0)
        detail = f"{lost} rows of {file.table} were damaged and cannot be made again"
        since = self._context.manifest.current.unknown_since(file)
        hole = Gap(started=since, ended=file.last_time + 1, cause="disk", detail=detail) if lost else None
        self._context.step(f"wrote {file.table}")
        kept = self._replace(file, staged, hole=hole)
        return Repaired(
            table=file.table,
            was=file.path,
            problem=problem,
            path=None if staged is None else path,
            kept=kept,
            rows=rows,
            lost=lost,
        )

    def _stage_rows(self, file: SealedFile, path: str) -> StagedFile | None:
        from pmlive.store import parquet

        segments = _segments(self._context.manifest.current, file)
        frames = [frame for segment in segments for frame in self._tables(segment).get(file.table, ())]
        if not frames:
            return None
        rows = parquet.join(file.table, frames).filter(pl.col("seq").is_between(file.first_seq, file.last_seq))
        if not rows.height:
            return None
        return stage_table(self._context.folder, path, file.table, parquet.encode(file.table, rows))

    def _tables(self, segment: SealedFile) -> dict[str, list[pl.DataFrame]]:
        # Several files of one segment are often damaged together.
        if self._rebuilt_tables is None or self._rebuilt_tables[0] != segment:
            self._rebuilt_tables = (
                segment,
                rebuilt_tables(raw.read(self._context.folder / segment.path, self._context.folder), self._rebuild),
            )
        return self._rebuilt_tables[1]

    def _read(self, file: SealedFile) -> bytes:
        try:
            return disk.read(self._context.folder / file.path, self._context.folder)
        except OSError:
            return b""  # what cannot be read is lost, and the problem says why

    def _path(self, table: str, file: SealedFile, suffix: str) -> str:
        self._number += 1
        path = dated_path(table, file.first_time, f"{file.first_time}-{self._context.run}-{self._number:06d}{suffix}")
        return f"{MERGED}/{path}" if is_hidden(file.path) else path

    def _replace(self, old: SealedFile, staged: StagedFile | None, *, hole: Gap | None) -> str | None:
        new = [] if staged is None else [staged]
        try:
            publish(new, self._context)
            kept = self._keep(self._context.folder / old.path)
        except Exception:
            discard(new)
            raise
        self._context.step("before the manifest lists the repaired file")
        listed = [one.file for one in new]
        self._context.manifest.change(lambda manifest: _with_files(manifest, old, listed, hole))
        self._context.step("after the manifest lists the repaired file")
        disk.remove(self._context.folder / old.path, self._context.folder)
        return kept

    def _keep(self, path: Path) -> str | None:
        folder = self._context.folder
        if disk.size(path, folder) is None:
            return None
        # An earlier repair may have been interrupted just after this.
        beside = disk.paths(path.parent, folder)
        kept = next((one for one in beside if one.name.startswith(f"{path.name}.damaged-")), None)
        if kept is None:
            kept = path.with_name(f"{path.name}.damaged-{self._context.run}")
            disk.link(path, kept, folder)
            disk.sync_folder(kept.parent, folder)
        return kept.relative_to(folder).as_posix()


def _with_files(manifest: Manifest, old: SealedFile, new: Sequence[SealedFile], hole: Gap | None) -> Manifest:
    holes = manifest.holes if hole is None else [*manifest.holes, hole]
    replaced = [
        msgspec.structs.replace(one, by=new[0].path) if new and one.by == old.path else one for one in manifest.replaced
    ]
    files = [*manifest.without([old]).files, *new]
    # What is lost is a hole, or a gap among the frames.
    is_whole = sum(file.rows for file in new) >= old.rows
    segments = manifest.segments if is_whole else without_rows(manifest.segments, old)
    return msgspec.structs.replace(manifest, files=files, holes=holes, replaced=replaced, segments=segments)


def _segments(manifest: Manifest, file: SealedFile) -> list[SealedFile]:
    # Rows of a record are numbered from its number on, so those of a segment lie below the first of the next.
    frames = manifest.of(RAW)
    following = [*(after.first_seq for after in frames[1:]), file.last_seq + 1]
    return [
        one
        for one, after in zip(frames, following, strict=False)
        if one.first_seq <= file.last_seq and file.first_seq < max(after, one.first_seq + 1)
    ]
