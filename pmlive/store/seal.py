"""Sealing: a segment of the log becomes files that never change again.

The commit goes in this order, and a crash between any two steps loses and doubles nothing:

1. every file is written under a dot-name beside its final one, synced, and read back;
2. the files get their final names, and the names are synced;
3. the manifest that lists them replaces the old one: *from here on they count*;
4. the segment of the log is removed.

A crash before 3 leaves files that no manifest names: they are removed at the next start and made again from the log.
A crash after 3 leaves a segment that the manifest calls sealed: it is removed at the next start.
"""

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeAlias

import msgspec
import polars as pl

from pmlive.errors import StoreError
from pmlive.store import _files, raw, wal
from pmlive.store.log import Record
from pmlive.store.manifest import RAW, Catalogue, Manifest, SealedFile
from pmlive.tables import STORED

__all__ = ["Held", "Rebuild", "Sealing", "Segment", "Step", "seal", "sealed_files", "sweep"]

Rebuild: TypeAlias = Callable[[Iterable[Record]], Mapping[str, pl.DataFrame]]
Step: TypeAlias = Callable[[str], None]

# Only files of this form are ever removed.
_OURS = re.compile(r"\d+-[0-9a-f]{8}-\d{6,}(\.parquet|\.log\.zst)")
_ASIDE = re.compile(rf"\.{_OURS.pattern}\.tmp")


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


class Sealing(msgspec.Struct, frozen=True, kw_only=True):
    """What sealing needs to know besides the segment."""

    folder: Path
    catalogue: Catalogue
    rebuild: Rebuild
    run: str
    level: int
    step: Step


class _Staged(msgspec.Struct, frozen=True):
    """A file under its dot-name, and how the manifest will list it."""

    aside: Path
    file: SealedFile


def seal(segment: Segment, sealing: Sealing) -> wal.Reading | None:
    """Turn a segment into sealed files and remove it from the log; do nothing more than remove it if that was done.

    Raises:
        OSError: the disk did not take it; the segment is still there and this can be tried again.
        StoreError: what was read back is not what was written; as above.
    """
    reading = None
    if segment.number > sealing.catalogue.manifest.sealed:
        contents = [path.read_bytes() for path in segment.files]
        reading = wal.read(contents, following=[path.read_bytes() for path in segment.following])
        _commit(segment, sealing, reading)
    # The new manifest has to be on the disk before the log goes, also when an earlier try failed at just that.
    _files.sync_folder(sealing.folder)
    _remove(segment.files, sealing, damaged=reading is not None and reading.damaged > 0)
    return reading


def _commit(segment: Segment, sealing: Sealing, reading: wal.Reading) -> None:
    staged: list[_Staged] = []
    try:
        for file in _stage(segment, sealing, reading):
            staged.append(file)
            sealing.step(f"wrote {file.file.table}")
        _publish(staged, sealing)
    except Exception:
        _discard(staged)
        raise
    sealing.step("before the manifest")
    sealing.catalogue.change(lambda manifest: _with(manifest, segment, staged, reading))
    sealing.step("after the manifest")


def _discard(staged: Sequence[_Staged]) -> None:
    for file in staged:
        with suppress(OSError):
            file.aside.unlink(missing_ok=True)


def _stage(segment: Segment, sealing: Sealing, reading: wal.Reading) -> Iterator[_Staged]:
    if not reading.blocks:
        return
    first = reading.blocks[0].first_recv
    name = f"{first}-{sealing.run}-{segment.number:06d}"
    date = f"date={datetime.fromtimestamp(first // 1_000_000_000, UTC):%Y-%m-%d}"
    yield _stage_raw(sealing, f"{RAW}/{date}/{name}{raw.SUFFIX}", reading)
    for table, frame in _tables(segment, sealing.rebuild, reading).items():
        yield _stage_table(sealing.folder, f"{table}/{date}/{name}.parquet", table, frame)


def _stage_raw(sealing: Sealing, path: str, reading: wal.Reading) -> _Staged:
    final = sealing.folder / path
    _files.make_folder(final.parent)
    written = raw.write_aside(final, reading.blocks, level=sealing.level)
    fields = {name: getattr(written, name) for name in written.__struct_fields__ if name != "path"}
    return _Staged(written.path, SealedFile(path=path, table=RAW, **fields))


def _stage_table(folder: Path, path: str, table: str, frame: pl.DataFrame) -> _Staged:
    from pmlive.store import parquet

    final = folder / path
    _files.make_folder(final.parent)
    encoded = parquet.encode(table, frame)
    aside = _files.write_aside(final, encoded.data)
    back = aside.read_bytes()
    if back != encoded.data or parquet.rows_of(back) != encoded.rows:
        raise StoreError(f"{str(aside)!r} is not what was written; the disk or the memory is failing")
    sha256 = hashlib.sha256(back).hexdigest()
    fields = {name: getattr(encoded, name) for name in encoded.__struct_fields__ if name != "data"}
    return _Staged(aside, SealedFile(path=path, table=table, bytes=len(back), sha256=sha256, **fields))


def _tables(segment: Segment, rebuild: Rebuild, reading: wal.Reading) -> dict[str, pl.DataFrame]:
    from pmlive.store import parquet

    frames = None if segment.held is None else segment.held.frames
    # Rows of records that the log lost must not outlive them, or a replay would not give what was stored.
    if frames is None or reading.lossy:
        frames = {table: [frame] for table, frame in rebuild(reading.records()).items() if table in STORED}
    joined = {table: parquet.join(table, given) for table, given in frames.items() if given}
    return {table: frame for table, frame in sorted(joined.items()) if frame.height}


def _publish(staged: Sequence[_Staged], sealing: Sealing) -> None:
    for file in staged:
        final = sealing.folder / file.file.path
        _files.replace(file.aside, final)
        sealing.step(f"renamed {file.file.table}")
        _files.sync_folder(final.parent)


def _with(manifest: Manifest, segment: Segment, staged: Sequence[_Staged], reading: wal.Reading) -> Manifest:
    files = [file.file for file in staged]
    return msgspec.structs.replace(
        manifest,
        files=manifest.files + files,
        sealed=segment.number,
        next_seq=max([manifest.next_seq, *(file.last_seq + 1 for file in files)]),
        last_recv=reading.blocks[-1].last_recv if reading.blocks else manifest.last_recv,
    )


def _remove(files: Sequence[Path], sealing: Sealing, *, damaged: bool) -> None:
    for path in files:
        if damaged:
            # Somebody may still read something in it.
            _files.replace(path, path.with_name(f"{path.name}.damaged-{sealing.run}"))
        path.unlink(missing_ok=True)
        sealing.step("removed a part of the log")


def sweep(folder: Path, manifest: Manifest) -> None:
    """Remove what an interrupted sealing left: files of ours that the manifest does not name, and sealed segments."""
    listed = {folder / file.path for file in manifest.files}
    for path in (*sealed_files(folder), folder / ".manifest.json.tmp"):
        if path not in listed:
            path.unlink(missing_ok=True)
    for number, files in wal.segments(folder).items():
        for path in files if number <= manifest.sealed else ():
            path.unlink()


def sealed_files(folder: Path) -> list[Path]:
    """List the files in a recording that sealing writes, finished or not."""
    found = (path for table in (RAW, *STORED) for path in (folder / table).glob("date=*/*"))
    return [path for path in found if _OURS.fullmatch(path.name) or _ASIDE.fullmatch(path.name)]
