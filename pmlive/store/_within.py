"""Names inside a recording, found from its folder down and through no link: the recording may be a stranger's.

The folder of a recording itself may be reached through links, which is its owner's choice. Below it, each part of a
name is opened by the descriptor of the folder that it is in, so that nothing can lead outside, not even a link that is
made meanwhile. Only regular files are opened, and opening never waits: a FIFO or a device is refused.

Hard links cannot be told from other names. Nothing writes into a file that is there already, except for ``.lock``,
which is not touched unless it holds what a lock holds.

Windows has neither ``O_NOFOLLOW`` nor descriptors of folders: there each part is looked at before the name is used.
"""

import errno
import os
import stat as modes
import sys
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

from pmlive.errors import StoreError

__all__ = ["FILE", "FOLDER", "names", "open_file", "open_folder", "parent", "stat"]

# Recordings may hold one's own orders: nobody else reads them, whatever the umask.
FILE, FOLDER = 0o600, 0o700

_BY_DESCRIPTOR = sys.platform != "win32"
_CLOSED = getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
_NO_LINK = getattr(os, "O_NOFOLLOW", 0)
_NO_WAIT = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0)
_A_FOLDER = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | _CLOSED
# What systems say of a link, and of what is no folder.
_NOT_A_FOLDER = (errno.ELOOP, errno.ENOTDIR, errno.EMLINK)
_KINDS = {
    modes.S_IFDIR: "a folder",
    modes.S_IFIFO: "a FIFO",
    modes.S_IFSOCK: "a socket",
    modes.S_IFCHR: "a device",
    modes.S_IFBLK: "a device",
}


@contextmanager
def parent(path: Path, root: Path) -> Generator[tuple[str | Path, int | None]]:
    """Open the folder that a name is in; give the name and ``dir_fd`` for the functions of ``os``.

    Raises:
        OSError: the folder is not there or cannot be opened.
        StoreError: a part of the path is a link or no folder.
    """
    try:
        with open_folder(path.parent, root) as descriptor:
            yield (path, None) if descriptor is None else (path.name, descriptor)
    except OSError as error:
        error.filename = os.fspath(path)
        raise


@contextmanager
def open_folder(folder: Path, root: Path) -> Generator[int | None]:
    """Open a folder of a recording; None where there are no descriptors of folders.

    Raises:
        OSError: it is not there or cannot be opened.
        StoreError: a part of the path is a link or no folder.
    """
    parts = folder.relative_to(root).parts
    if ".." in parts:
        raise StoreError(f"{str(folder)!r} may be outside {str(root)!r}")
    if not _BY_DESCRIPTOR:
        _look_at(root, parts)
        yield None
        return
    descriptor = os.open(root, _A_FOLDER)
    try:
        for depth, part in enumerate(parts, 1):
            upper, descriptor = descriptor, _step(descriptor, part, root.joinpath(*parts[:depth]))
            os.close(upper)
        yield descriptor
    finally:
        os.close(descriptor)


def _step(upper: int, part: str, path: Path) -> int:
    try:
        return os.open(part, _A_FOLDER | _NO_LINK, dir_fd=upper)
    except OSError as error:
        if error.errno in _NOT_A_FOLDER:
            _check_folder(path, os.stat(part, dir_fd=upper, follow_symlinks=False).st_mode)
        raise


def _look_at(root: Path, parts: tuple[str, ...]) -> None:
    path = root
    for part in parts:
        path /= part
        _check_folder(path, path.lstat().st_mode)


def _check_folder(path: Path, mode: int) -> None:
    if not modes.S_ISDIR(mode):
        raise _refusal(path, mode, "a folder")


def stat(path: Path, root: Path) -> os.stat_result:
    """Tell of a file.

    Raises:
        OSError: it is not there.
        StoreError: it is a link, is reached through one, or is no regular file.
    """
    with parent(path, root) as (name, within):
        return _regular(path, os.stat(name, dir_fd=within, follow_symlinks=False))


def open_file(path: Path, root: Path, *, flags: int = os.O_RDONLY) -> int:
    """Open a file, or create it if the flags say so.

    Raises:
        OSError: it is not there or cannot be opened.
        StoreError: it is a link, is reached through one, or is no regular file.
    """
    with parent(path, root) as (name, within):
        # To open a device may already do something, so it is looked at before.
        with suppress(FileNotFoundError):
            _regular(path, os.stat(name, dir_fd=within, follow_symlinks=False))
        descriptor = os.open(name, flags | _NO_LINK | _NO_WAIT | _CLOSED, FILE, dir_fd=within)
    try:
        _regular(path, os.fstat(descriptor))
    except StoreError:
        os.close(descriptor)
        raise
    return descriptor


def names(folder: Path, root: Path) -> list[str]:
    """List what is in a folder, in order; nothing when it is not there.

    Raises:
        OSError: it cannot be read.
        StoreError: it is a link, is reached through one, or is no folder.
    """
    try:
        with open_folder(folder, root) as descriptor:
            return sorted(os.listdir(folder if descriptor is None else descriptor))  # noqa: PTH208 - by descriptor
    except FileNotFoundError:
        return []


def _regular(path: Path, found: os.stat_result) -> os.stat_result:
    if not modes.S_ISREG(found.st_mode):
        raise _refusal(path, found.st_mode, "a file")
    return found


def _refusal(path: Path, mode: int, wanted: str) -> StoreError:
    if modes.S_ISLNK(mode):
        return StoreError(
            f"{str(path)!r} is a symbolic link, and nothing inside a recording is read or written through one; "
            f"put {wanted} in its place, or remove it (the folder of the recording itself may be a link)"
        )
    kind = _KINDS.get(modes.S_IFMT(mode), "a file")
    return StoreError(f"{str(path)!r} is {kind} where a recording has {wanted}; remove it or put {wanted} there")
