"""The output of exports: new files and folders that appear whole or not at all, and the report of what is in them.

Nothing that exists is overwritten.
"""

import os
import secrets
import stat
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal, TypeAlias

import msgspec
import polars as pl

from pmlive.errors import StoreError
from pmlive.store import read_manifest, recordings
from pmlive.store.leftovers import new_locked_folder, remove_aside, remove_leftovers
from pmlive.store.reader import is_missing
from pmlive.tables import STORED

__all__ = [
    "Exported",
    "ExportedFile",
    "ExportedToken",
    "Format",
    "SkippedToken",
    "missing_files",
    "new_file",
    "new_folder",
    "unsealed_bytes",
]

Format: TypeAlias = Literal["hftbacktest", "nautilus", "csv", "duckdb"]

# A recording may hold one's own orders, so nobody else reads what comes of it, whatever the umask.
_FILE, _FOLDER = 0o600, 0o700


class ExportedFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file that was written."""

    path: str
    rows: int
    bytes: int


class ExportedToken(msgspec.Struct, frozen=True, kw_only=True):
    """The events of one token; times are nanoseconds since 1970, by the recorder's clock after the shift.

    ``breaks`` counts the times that the book was cleared because it could not be trusted, ``split`` the events that
    are there twice because they came late. ``tick_size`` is the finest that was stated, None where none was.
    """

    token_id: str
    path: str
    events: int
    breaks: int
    split: int
    tick_size: float | None
    first_time: int
    last_time: int


class SkippedToken(msgspec.Struct, frozen=True):
    """A token that was left out, and why."""

    token_id: str
    reason: str


class Exported(msgspec.Struct, frozen=True, kw_only=True):
    """What was written.

    ``tables`` are rows by table, ``tokens`` the arrays of hftbacktest or the instruments of nautilus_trader. ``shift``
    is by how many nanoseconds receive times were moved so that nothing is received before it happened. Not in it are
    ``unsealed`` bytes of log, which the tables do not have yet, and the rows of the ``missing`` files.
    """

    out: str
    format: Format
    files: list[ExportedFile]
    tables: dict[str, int] = {}
    tokens: list[ExportedToken] = []
    skipped: list[SkippedToken] = []
    shift: int = 0
    unsealed: int = 0
    missing: list[str] = []

    @property
    def rows(self) -> int:
        """Return the rows of all files."""
        return sum(file.rows for file in self.files)

    @property
    def bytes(self) -> int:
        """Return the bytes of all files."""
        return sum(file.bytes for file in self.files)

    @property
    def whole(self) -> bool:
        """Whether everything that was recorded is in it."""
        return not (self.skipped or self.unsealed or self.missing)


def unsealed_bytes(folder: Path) -> int:
    """Count the bytes of log that the tables of a recording do not have yet."""
    return sum(one.unsealed for one in recordings(folder) if one.path == str(folder))


def missing_files(folder: Path) -> list[str]:
    """List the files of tables that the manifest names and the folder does not have.

    Raises:
        StoreError: the folder is not a recording.
    """
    files = (file for file in read_manifest(folder).files if file.table in STORED)
    return [file.path for file in files if is_missing(folder, file)]


@contextmanager
def new_folder(out: Path) -> Generator[Path]:
    """Yield a folder to fill, which gets the name ``out`` at the end, or is removed when something fails.

    Raises:
        StoreError: there is something already, or it cannot be written.
    """
    place = _tidied(out)
    _refuse(out, is_free=not place.exists() or (place.is_dir() and not any(place.iterdir())))
    with _temporary_folder(place) as temporary:
        folder = temporary / place.name
        folder.mkdir(mode=_FOLDER)
        yield folder
        _sync(folder)
        if place.exists():
            folder.chmod(stat.S_IMODE(place.stat().st_mode))
            place.rmdir()
        folder.rename(place)


@contextmanager
def new_file(out: Path) -> Generator[Path]:
    """Yield a path to write to, in a folder of its own; the file gets the name ``out`` at the end, or is removed.

    What else is written into that folder is removed in any case.

    Raises:
        StoreError: there is something already, or it cannot be written.
    """
    place = _tidied(out)
    _refuse(out, is_free=_is_free(place))
    with _temporary_folder(place) as temporary:
        folder = temporary / place.name
        folder.mkdir(mode=_FOLDER)
        yield folder / place.name
        _sync(folder)
        _refuse(out, is_free=_is_free(place))
        (folder / place.name).replace(place)


def _tidied(out: Path) -> Path:
    """Return a place, after removing what killed processes left beside it, even if nothing can be made there now."""
    place = out.resolve()
    remove_leftovers(place)
    return place


def _is_free(place: Path) -> bool:
    return not place.exists() or (place.is_file() and place.stat().st_size == 0)


def _refuse(out: Path, *, is_free: bool) -> None:
    if not is_free:
        raise StoreError(f"{str(out)!r} exists and is not empty; choose another place")


@contextmanager
def _temporary_folder(place: Path) -> Generator[Path]:
    parents = [path for path in place.parents if not path.exists()]
    temporary = place.with_name(f".{place.name}.{secrets.token_hex(4)}.tmp")
    try:
        for path in reversed(parents):
            path.mkdir(mode=_FOLDER, exist_ok=True)
        with new_locked_folder(temporary, _FOLDER):
            yield temporary
            remove_aside(temporary, place.name)
    except BaseException as error:
        with suppress(OSError):
            remove_aside(temporary, place.name)
        for path in parents:
            with suppress(OSError):
                path.rmdir()
        if isinstance(error, OSError | pl.exceptions.PolarsError):
            raise StoreError(f"{str(place)!r} could not be written: {error}") from error
        raise


def _sync(folder: Path) -> None:
    """Wait until what was written is on the disk, so that a name is never there before its content."""
    for path in folder.rglob("*"):
        if path.is_file():
            path.chmod(_FILE)
            descriptor = os.open(path, os.O_RDWR)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
