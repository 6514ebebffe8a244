"""Files on their way to their final names: written aside, synced, read back, renamed, and only then listed."""

import hashlib
import re
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import msgspec

from pmlive.errors import StoreError
from pmlive.store import _files, raw
from pmlive.store.log import Block
from pmlive.store.manifest import MERGED, OURS, RAW, Catalogue, SealedFile
from pmlive.tables import STORED

if TYPE_CHECKING:
    from pmlive.store.parquet import Encoded

__all__ = [
    "Staged",
    "Step",
    "Work",
    "dated",
    "discard",
    "publish",
    "sealed_files",
    "stage_raw",
    "stage_table",
]

Step: TypeAlias = Callable[[str], None]

_ASIDE = re.compile(rf"\.{OURS.pattern}\.tmp")


class Work(msgspec.Struct, frozen=True, kw_only=True):
    """A locked recording, and what makes names unique: ``run`` is of this opening of it."""

    folder: Path
    catalogue: Catalogue
    run: str
    step: Step


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
    _files.make_folder(final.parent, folder)
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
    _files.make_folder(final.parent, folder)
    aside = _files.write_aside(final, folder, encoded.data)
    back = _files.read(aside, folder)
    if back != encoded.data or parquet.rows_of(back) != encoded.rows:
        raise StoreError(f"{str(aside)!r} is not what was written; the disk or the memory is failing")
    sha256 = hashlib.sha256(back).hexdigest()
    fields = {name: getattr(encoded, name) for name in encoded.__struct_fields__ if name != "data"}
    return Staged(folder, aside, SealedFile(path=path, table=table, bytes=len(back), sha256=sha256, **fields))


def publish(staged: Sequence[Staged], work: Work) -> None:
    """Give files their final names; they do not count before the manifest lists them."""
    for file in staged:
        final = work.folder / file.file.path
        _files.replace(file.aside, final, work.folder)
        work.step(f"renamed {file.file.table}")
        _files.sync_folder(final.parent, work.folder)


def discard(staged: Sequence[Staged]) -> None:
    """Remove files that did not get so far."""
    for file in staged:
        _files.discard(file.aside, file.folder)


def sealed_files(folder: Path) -> list[Path]:
    """List the files in a recording that sealing and merging write, finished or not."""
    folders = (folder / RAW, *(above / table for table in STORED for above in (folder, folder / MERGED)))
    days = (day for above in folders for day in _files.paths(above, folder) if day.name.startswith("date="))
    found = (path for day in days for path in _files.paths(day, folder))
    return [path for path in found if OURS.fullmatch(path.name) or _ASIDE.fullmatch(path.name)]
