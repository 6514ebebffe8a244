"""Temporary folders that are filled beside their final place, and the removal of those that killed processes left.

A process that fills one holds a lock in it, which the kernel releases when the process ends, however it ends.
"""

import os
import re
import shutil
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

from pmlive.errors import StoreError
from pmlive.store import disk

__all__ = ["claimed", "remove_leftovers"]


@contextmanager
def claimed(folder: Path) -> Generator[None]:
    """Hold the lock of a new folder while this process fills it.

    Raises:
        StoreError: another process holds it.
    """
    lock = disk.FolderLock(folder)
    try:
        yield
    finally:
        lock.release()


def remove_leftovers(place: Path) -> list[str]:
    """Remove the temporary folders that killed processes left beside a place; return their names.

    Only what this package makes there is removed: nothing that a running process holds or another user owns, no folder
    that has something else in it, and no link.
    """
    return [path.name for path in _candidates(place.resolve()) if _removed(path, place.name)]


def _candidates(place: Path) -> Iterator[Path]:
    is_aside = re.compile(rf"\.{re.escape(place.name)}\.[0-9a-f]{{8}}\.tmp").fullmatch
    if place.parent.is_dir():
        yield from sorted(path for path in place.parent.iterdir() if is_aside(path.name))


def _removed(path: Path, name: str) -> bool:
    try:
        if not _is_ours(path, name):
            return False
        with claimed(path):
            shutil.rmtree(path)
    except (OSError, StoreError):
        # It is held, or it is not ours to remove; either way it does no harm where it is.
        return False
    return True


def _is_ours(path: Path, name: str) -> bool:
    if path.is_symlink() or not path.is_dir() or (path / disk.LOCK).is_symlink() or not (path / disk.LOCK).is_file():
        return False
    is_owner = not hasattr(os, "getuid") or path.stat().st_uid == os.getuid()
    return is_owner and {each.name for each in path.iterdir()} <= {disk.LOCK, name}
