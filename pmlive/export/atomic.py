"""New files and folders that appear whole or not at all; nothing that exists is overwritten."""

import os
import secrets
import shutil
import stat
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

import polars as pl

from pmlive.errors import StoreError
from pmlive.store.leftovers import claimed, remove_leftovers

__all__ = ["new_file", "new_folder"]

# A recording may hold one's own orders, so nobody else reads what comes of it, whatever the umask.
_FILE, _FOLDER = 0o600, 0o700


@contextmanager
def new_folder(out: Path) -> Generator[Path]:
    """Yield a folder to fill, which gets the name ``out`` at the end, or is removed when something fails.

    Raises:
        StoreError: there is something already, or it cannot be written.
    """
    place = out.resolve()
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

    Raises:
        StoreError: there is something already, or it cannot be written.
    """
    place = out.resolve()
    _refuse(out, is_free=_is_free(place))
    with _temporary_folder(place) as temporary:
        yield temporary / place.name
        _sync(temporary)
        _refuse(out, is_free=_is_free(place))
        (temporary / place.name).replace(place)


def _is_free(place: Path) -> bool:
    return not place.exists() or (place.is_file() and place.stat().st_size == 0)


def _refuse(out: Path, *, is_free: bool) -> None:
    if not is_free:
        raise StoreError(f"{str(out)!r} exists and is not empty; choose another place")


@contextmanager
def _temporary_folder(place: Path) -> Generator[Path]:
    parents = [path for path in place.parents if not path.exists()]
    temporary = place.with_name(f".{place.name}.{secrets.token_hex(4)}.tmp")
    remove_leftovers(place)
    try:
        for path in reversed(parents):
            path.mkdir(mode=_FOLDER, exist_ok=True)
        temporary.mkdir(mode=_FOLDER)
        with claimed(temporary):
            yield temporary
        shutil.rmtree(temporary)
    except BaseException as error:
        shutil.rmtree(temporary, ignore_errors=True)
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
