"""Maintenance of a recording that nobody writes: compaction, repair, and tables built anew from raw records.

Compaction makes few files of many, as a recorder does by itself. In a repair, damaged tables are made again from their
raw frames, and of damaged frames the rest is kept.

Each file is repaired by itself, so a crash leaves a recording that can be repaired again: the new file is written
aside, synced, read back and renamed to a name of its own; the damaged one is given the name ``NAME.damaged-RUN``, which
nothing removes; one change of the manifest lists the new one in its place, and the old name is removed.

Rows that cannot be made again, because their frames are damaged or were given up, are a hole in the manifest. Frames
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
from pmlive.store import disk, raw
from pmlive.store.leftovers import remove_leftovers
from pmlive.store.log import WAL
from pmlive.store.manifest import MANIFEST, MERGED, RAW, Manifest, SealedFile
from pmlive.store.merging import Limits, exchange, is_waiting, merge, plan
from pmlive.store.opening import locked
from pmlive.store.reader import problem_of
from pmlive.store.sealing import (
    Rebuild,
    Staged,
    Step,
    Work,
    dated,
    discard,
    publish,
    stage_raw,
    stage_table,
    tables_of,
)
from pmlive.store.status import GRACE

__all__ = ["Compaction", "Remake", "RepairReport", "Repaired", "compact", "repair"]


class Compaction(msgspec.Struct, frozen=True, kw_only=True):
    """What was done: ``inputs`` files became ``outputs``; ``waiting`` of them are out of sight until inputs may go."""

    inputs: int
    outputs: int
    waiting: int
    refused: list[str]


class Repaired(msgspec.Struct, frozen=True, kw_only=True):
    """A file that was damaged or missing, and what became of it.

    ``rows`` are those that there are now and ``lost`` those that there are not any more; of frames (``raw``),
    ``damaged`` is the bytes that are no good. ``path`` is None when nothing was left, ``kept`` is where the damaged
    file is now.
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
    """What was found and done: ``checked`` files, of which ``repaired`` were not what they were.

    ``removed`` are folders beside the recording that a killed import or export left.
    """

    checked: int
    repaired: list[Repaired]
    removed: list[str] = []

    @property
    def lost(self) -> int:
        """Count the rows and frames that are gone."""
        return sum(one.lost for one in self.repaired)

    @property
    def damaged(self) -> int:
        """Count the bytes of frames that are no good."""
        return sum(one.damaged for one in self.repaired)


def compact(
    folder: Path,
    *,
    grace: float = GRACE,
    limits: Limits | None = None,
    clock: Callable[[], int] = time.time_ns,
    step: Step = lambda _: None,
) -> Compaction:
    """Merge neighbouring small files of each table and day, and finish merges that waited for their grace to be over.

    Inputs stay for ``grace`` seconds, for frames that were scanned before: a later call removes them, or the next
    recorder. With 0 they go at once, which suits a recording that nobody reads. Damaged files are left alone and named
    in ``refused``.

    Raises:
        StoreError: it is no recording, it is being recorded, or the disk refused; then it is as whole as before.
    """
    limits = limits or Limits(files=2)
    with locked(folder, now=clock(), step=step) as work:
        try:
            exchange(work, now=clock(), grace=grace)
            chosen = plan(work.catalogue.manifest, limits)
            refused: list[str] = []
            for inputs in chosen:
                try:
                    merge(inputs, work, now=clock())
                except StoreError as error:
                    refused.append(str(error))
            exchange(work, now=clock(), grace=grace)
        except OSError as error:
            raise StoreError(f"{str(folder)!r} cannot be compacted: {error}; make room and try again") from error
        return Compaction(
            inputs=sum(map(len, chosen)),
            outputs=len(chosen),
            waiting=sum(is_waiting(file.path) for file in work.catalogue.manifest.files),
            refused=refused,
        )


def repair(
    folder: Path,
    *,
    rebuild: Rebuild,
    clock: Callable[[], int] = time.time_ns,
    step: Step = lambda _: None,
) -> RepairReport:
    """Check every sealed file of a recording that nobody records, and repair those that are not what they were.

    What a killed import or export left beside it is removed; where that is all there is, nothing else is done.

    Raises:
        StoreError: it is no recording, it is being recorded, or the disk refused; then it can be repaired again.
    """
    removed = remove_leftovers(folder)
    if removed and not folder.exists():
        return RepairReport(checked=0, repaired=[], removed=removed)
    with locked(folder, now=clock(), step=step) as work:
        try:
            return msgspec.structs.replace(_Repair(work, rebuild).run(), removed=removed)
        except OSError as error:
            raise StoreError(f"{str(folder)!r} cannot be repaired: {error}; try again on a disk that works") from error


class Remake:
    """A new recording in a folder that is empty or not there; it is one once ``finish`` has written its manifest.

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

    def add(self, source: Path, file: SealedFile, tables: Mapping[str, pl.DataFrame]) -> None:
        """Copy a sealed file of raw records as it is, and write the tables that were made of it."""
        from pmlive.store import parquet

        final = self._folder / file.path
        disk.make_folder(final.parent, self._folder)
        self._copy(source / file.path, source, final)
        raw.check(final, self._folder, file.sha256)
        self._files.append(file)
        name = PurePosixPath(file.path)
        for table, frame in sorted(tables.items()):
            if frame.height:
                stem = name.name.removesuffix(raw.SUFFIX)
                self._write(f"{table}/{name.parent.name}/{stem}.parquet", table, parquet.join(table, [frame]))

    def copy_log(self, source: Path, paths: Iterable[Path]) -> None:
        """Copy what is not sealed yet."""
        for path in paths:
            self._copy(path, source, self._folder / WAL / path.name)

    def _copy(self, path: Path, source: Path, final: Path) -> None:
        with (
            disk.open_to_read(path, source) as old,
            os.fdopen(disk.create(final, self._folder), "wb") as new,
        ):
            shutil.copyfileobj(old, new)

    def finish(self, like: Manifest) -> None:
        """Write the manifest: that of the other recording, with the files that were made."""
        manifest = msgspec.structs.replace(like, files=self._files, replaced=[])
        data = msgspec.json.format(msgspec.json.encode(manifest), indent=1)
        path = self._folder / MANIFEST
        disk.replace(disk.write_aside(path, self._folder, data), path, self._folder)
        disk.sync_folder(self._folder, self._folder)

    def _write(self, path: str, table: str, frame: pl.DataFrame) -> None:
        from pmlive.store import parquet

        final = self._folder / path
        disk.make_folder(final.parent, self._folder)
        encoded = parquet.encode(table, frame)
        disk.replace(disk.write_aside(final, self._folder, encoded.data), final, self._folder)
        fields = {name: getattr(encoded, name) for name in encoded.__struct_fields__ if name != "data"}
        sha256 = hashlib.sha256(encoded.data).hexdigest()
        self._files.append(SealedFile(path=path, table=table, bytes=len(encoded.data), sha256=sha256, **fields))


class _Repair:
    """One pass over the files: frames first, since tables are made of them."""

    def __init__(self, work: Work, rebuild: Rebuild) -> None:
        self._work = work
        self._rebuild = rebuild
        self._number = 0
        self._made: tuple[SealedFile, dict[str, list[pl.DataFrame]]] | None = None

    def run(self) -> RepairReport:
        listed = self._work.catalogue.manifest.files
        files = sorted(listed, key=lambda file: (file.table != RAW, file.first_seq))
        problems = [(file, problem) for file in files if (problem := problem_of(self._work.folder, file)) is not None]
        repaired = [self._frames(*one) if one[0].table == RAW else self._rows(*one) for one in problems]
        return RepairReport(checked=len(files), repaired=repaired)

    def _frames(self, file: SealedFile, problem: str) -> Repaired:
        left = raw.salvage(self._bytes(file), file)
        path = self._path(RAW, file, raw.SUFFIX)
        staged = stage_raw(self._work.folder, path, raw.renumber(left.reading.blocks))
        self._work.step("wrote frames")
        kept = self._exchange(file, staged, hole=None)
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

    def _rows(self, file: SealedFile, problem: str) -> Repaired:
        path = self._path(file.table, file, ".parquet")
        staged = self._rebuilt(file, path)
        rows = 0 if staged is None else staged.file.rows
        lost = max(file.rows - rows, 0)
        detail = f"{lost} rows of {file.table} were damaged and cannot be made again"
        hole = Gap(started=file.first_time, ended=file.last_time, cause="disk", detail=detail) if lost else None
        self._work.step(f"wrote {file.table}")
        kept = self._exchange(file, staged, hole=hole)
        return Repaired(
            table=file.table,
            was=file.path,
            problem=problem,
            path=None if staged is None else path,
            kept=kept,
            rows=rows,
            lost=lost,
        )

    def _rebuilt(self, file: SealedFile, path: str) -> Staged | None:
        from pmlive.store import parquet

        segments = _segments(self._work.catalogue.manifest, file)
        frames = [frame for segment in segments for frame in self._tables(segment).get(file.table, ())]
        if not frames:
            return None
        rows = parquet.join(file.table, frames).filter(pl.col("seq").is_between(file.first_seq, file.last_seq))
        if not rows.height:
            return None
        return stage_table(self._work.folder, path, file.table, parquet.encode(file.table, rows))

    def _tables(self, segment: SealedFile) -> dict[str, list[pl.DataFrame]]:
        # Several files of one segment are often damaged together.
        if self._made is None or self._made[0] != segment:
            self._made = (
                segment,
                tables_of(raw.read(self._work.folder / segment.path, self._work.folder), self._rebuild),
            )
        return self._made[1]

    def _bytes(self, file: SealedFile) -> bytes:
        try:
            return disk.read(self._work.folder / file.path, self._work.folder)
        except OSError:
            return b""  # what cannot be read is lost, and the problem says why

    def _path(self, table: str, file: SealedFile, suffix: str) -> str:
        self._number += 1
        path = dated(table, file.first_time, f"{file.first_time}-{self._work.run}-{self._number:06d}{suffix}")
        return f"{MERGED}/{path}" if is_waiting(file.path) else path

    def _exchange(self, old: SealedFile, staged: Staged | None, *, hole: Gap | None) -> str | None:
        new = [] if staged is None else [staged]
        try:
            publish(new, self._work)
            kept = self._keep(self._work.folder / old.path)
        except Exception:
            discard(new)
            raise
        self._work.step("before the manifest lists the repaired file")
        listed = [one.file for one in new]
        self._work.catalogue.change(lambda manifest: _with(manifest, old, listed, hole))
        self._work.step("after the manifest lists the repaired file")
        disk.remove(self._work.folder / old.path, self._work.folder)
        return kept

    def _keep(self, path: Path) -> str | None:
        folder = self._work.folder
        if disk.size(path, folder) is None:
            return None
        # An earlier repair may have come just so far.
        beside = disk.paths(path.parent, folder)
        kept = next((one for one in beside if one.name.startswith(f"{path.name}.damaged-")), None)
        if kept is None:
            kept = path.with_name(f"{path.name}.damaged-{self._work.run}")
            disk.link(path, kept, folder)
            disk.sync_folder(kept.parent, folder)
        return kept.relative_to(folder).as_posix()


def _with(manifest: Manifest, old: SealedFile, new: Sequence[SealedFile], hole: Gap | None) -> Manifest:
    holes = manifest.holes if hole is None else [*manifest.holes, hole]
    replaced = [
        msgspec.structs.replace(one, by=new[0].path) if new and one.by == old.path else one for one in manifest.replaced
    ]
    files = [*manifest.without([old]).files, *new]
    return msgspec.structs.replace(manifest, files=files, holes=holes, replaced=replaced)


def _segments(manifest: Manifest, file: SealedFile) -> list[SealedFile]:
    # Rows of a record are numbered from its number on, so those of a segment lie below the first of the next.
    frames = manifest.of(RAW)
    following = [*(after.first_seq for after in frames[1:]), file.last_seq + 1]
    return [
        one
        for one, after in zip(frames, following, strict=False)
        if one.first_seq <= file.last_seq and file.first_seq < max(after, one.first_seq + 1)
    ]
