"""Sealing: a segment of the log becomes files that never change again.

The commit goes in this order, and a crash between any two steps loses and doubles nothing:

1. every file is written under a dot-name beside its final one, synced, and read back;
2. the files get their final names, and the names are synced;
3. the manifest that lists them replaces the old one: *from here on they count*;
4. the segment of the log is removed; when it was damaged, it was given a second name before 3, which it keeps.

A crash before 3 leaves files that no manifest names: they are removed at the next start and made again from the log.
A crash after 3 leaves a segment that the manifest calls sealed: it is removed at the next start.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

import msgspec
import polars as pl

from pmlive.store import _files, raw, wal
from pmlive.store.log import Record
from pmlive.store.manifest import RAW, Manifest
from pmlive.store.staging import Staged, Work, dated, discard, publish, sealed_files, stage_raw, stage_table
from pmlive.tables import STORED

__all__ = ["Held", "Rebuild", "Sealing", "Segment", "seal", "sweep", "tables_of"]

Rebuild: TypeAlias = Callable[[Iterable[Record]], Mapping[str, pl.DataFrame]]

# A log of a crashed run that is larger than this is kept as it was compressed: the next run waits for it.
_LARGE = 16 << 20


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


class Sealing(Work, frozen=True, kw_only=True):
    """What sealing needs to know besides the segment."""

    rebuild: Rebuild
    level: int


def seal(segment: Segment, sealing: Sealing) -> wal.Reading | None:
    """Turn a segment into sealed files and remove it from the log; do nothing more than remove it if that was done.

    Raises:
        OSError: the disk did not take it; the segment is still there and this can be tried again.
        StoreError: what was read back is not what was written; as above.
    """
    reading = None
    if segment.number > sealing.catalogue.manifest.sealed:
        contents = [_files.read(path, sealing.folder) for path in segment.files]
        last = sealing.catalogue.manifest
        reading = wal.read(
            contents,
            since=last.known_until,
            follows=segment.number == last.sealed + 1,
            following=[_files.read(path, sealing.folder) for path in segment.following],
        )
        _commit(segment, sealing, reading)
    # The new manifest has to be on the disk before the log goes, also when an earlier try failed at just that.
    _files.sync_folder(sealing.folder, sealing.folder)
    for path in segment.files:
        _files.remove(path, sealing.folder)
        sealing.step("removed a part of the log")
    return reading


def _commit(segment: Segment, sealing: Sealing, reading: wal.Reading) -> None:
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


def _stage(segment: Segment, sealing: Sealing, reading: wal.Reading) -> Iterator[Staged]:
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


def tables_of(records: Iterable[Record], rebuild: Rebuild) -> dict[str, list[pl.DataFrame]]:
    """Make the stored tables of a segment from its records."""
    return {table: [frame] for table, frame in rebuild(records).items() if table in STORED}


def _with(manifest: Manifest, segment: Segment, staged: Sequence[Staged], reading: wal.Reading) -> Manifest:
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
        if not any(kept.name.startswith(f"{path.name}.damaged-") for kept in _files.paths(path.parent, sealing.folder)):
            _files.link(path, path.with_name(f"{path.name}.damaged-{sealing.run}"), sealing.folder)
            sealing.step("kept a damaged part of the log")
    _files.sync_folder(files[0].parent, sealing.folder)


def sweep(folder: Path, manifest: Manifest) -> None:
    """Remove what an interrupted sealing left: files of ours that the manifest does not name, and sealed segments."""
    listed = {folder / one.path for one in (*manifest.files, *manifest.replaced)}
    for path in (*sealed_files(folder), folder / ".manifest.json.tmp"):
        if path not in listed:
            _files.remove(path, folder)
    for number, files in wal.segments(folder).items():
        for path in files if number <= manifest.sealed else ():
            _files.remove(path, folder)
