"""Everything that differs between operating systems: durable writes, durable renames, locks, forks."""

import errno
import os
import re
import sys
import weakref
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from io import BufferedReader
from pathlib import Path
from typing import Protocol, cast

from pmlive.errors import StoreError
from pmlive.store import _within, bounds, faults

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

# Bytes are locked far behind the text, so that on Windows the holder's number stays readable.
_LOCKED_BYTE = 1 << 30
_HELD = (errno.EACCES, errno.EAGAIN, errno.EWOULDBLOCK, errno.EDEADLK)
# What has a second name made is no link; where that cannot be said, it was looked at just before.
_FOLLOWS = sys.platform == "win32"
_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)
# What a lock holds: the number of a process, or nothing yet.
_is_holder = re.compile(rb"\d{0,20}\r?\n?").fullmatch


class Forkable(Protocol):
    """Something that a forked child has to let go of."""

    def forget(self) -> None:
        """Note that this process is a child of the owner's."""
        ...


def sync(descriptor: int) -> None:
    """Wait until the bytes of a file are on the disk itself."""
    faults.check("sync")
    if sys.platform == "linux":
        os.fdatasync(descriptor)
    elif sys.platform == "darwin":
        fcntl.fcntl(descriptor, fcntl.F_FULLFSYNC)
    else:
        os.fsync(descriptor)


def sync_folder(folder: Path, root: Path) -> None:
    """Wait until the names in a folder are on the disk; Windows does so by itself."""
    faults.check("sync folder")
    if sys.platform == "win32":
        return
    with _within.open_folder(folder, root) as descriptor:
        os.fsync(cast("int", descriptor))


def make_folder(folder: Path, root: Path | None = None) -> list[Path]:
    """Create a folder and its missing parents durably; return what was created, outermost first.

    Without ``root`` it is that of a recording, and may be reached through links.
    """
    above = () if root is None else {root, *root.parents}
    missing = [path for path in (folder, *folder.parents) if path not in above and not _is_folder(path, root)]
    made: list[Path] = []
    try:
        for path in reversed(missing):
            faults.check("make folder")
            _make(path, path.parent if root is None else root)
            made.append(path)
            sync_folder(path.parent, path.parent if root is None else root)
    except (OSError, StoreError):
        for path in reversed(made):
            remove_empty(path, path.parent if root is None else root)
        raise
    return made


def _make(path: Path, root: Path) -> None:
    try:
        with _within.parent(path, root) as (name, within):
            os.mkdir(name, _within.FOLDER, dir_fd=within)
    except FileExistsError:
        with _within.open_folder(path, path if root == path.parent else root):
            pass  # another made it just now


def _is_folder(path: Path, root: Path | None) -> bool:
    if root is None:
        return path.exists()
    try:
        with _within.open_folder(path, root):
            return True
    except FileNotFoundError:
        return False


def create(path: Path, root: Path) -> int:
    """Open a new file for appending."""
    faults.check("create")
    return _within.open_file(path, root, flags=os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND)


def opened(path: Path, root: Path, *, most: int | None = None) -> BufferedReader:
    """Open a file for reading.

    Raises:
        OSError: it is not there or cannot be opened.
        StoreError: it is a link, is reached through one, is no regular file, or is larger than ``most``.
    """
    file = os.fdopen(_within.open_file(path, root), "rb")
    try:
        bounds.check_stored(path, os.fstat(file.fileno()).st_size, most=most)
    except StoreError:
        file.close()
        raise
    return file


def read(path: Path, root: Path, *, most: int | None = None) -> bytes:
    """Read a file whole.

    Raises:
        OSError: it is not there or cannot be read.
        StoreError: it is a link, is reached through one, is no regular file, or is larger than ``most``.
    """
    with opened(path, root, most=most) as file:
        return file.read()


def stat(path: Path, root: Path) -> os.stat_result:
    """Tell of a file.

    Raises:
        OSError: it is not there.
        StoreError: it is a link, is reached through one, or is no regular file.
    """
    return _within.stat(path, root)


def size(path: Path, root: Path) -> int | None:
    """Tell how large a file is; None when there is none.

    Raises:
        OSError: it cannot be told.
        StoreError: it is a link, is reached through one, or is no regular file.
    """
    try:
        return _within.stat(path, root).st_size
    except FileNotFoundError:
        return None


def paths(folder: Path, root: Path) -> list[Path]:
    """List what is in a folder, in order; nothing when it is not there.

    Raises:
        OSError: it cannot be read.
        StoreError: it is a link, is reached through one, or is no folder.
    """
    return [folder / name for name in _within.names(folder, root)]


def write_all(descriptor: int, data: bytes | memoryview) -> None:
    """Write everything, however many calls the system makes of it."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view[: faults.check("write")]) :]


def cut_off(descriptor: int, size: int) -> None:
    """Shorten a file."""
    faults.check("cut off")
    os.ftruncate(descriptor, size)


@contextmanager
def aside(path: Path, root: Path) -> Generator[tuple[Path, int]]:
    """Open a new dot-file beside ``path``; sync it at the end, or remove it when the disk refuses."""
    name = path.with_name(f".{path.name}.tmp")
    _unlink(name, root)
    descriptor = create(name, root)
    try:
        yield name, descriptor
        sync(descriptor)
    except OSError:
        discard(name, root)
        raise
    finally:
        os.close(descriptor)


def write_aside(path: Path, root: Path, data: bytes) -> Path:
    """Write and sync a dot-file beside ``path``, to be renamed to it."""
    with aside(path, root) as (name, descriptor):
        write_all(descriptor, data)
    return name


def replace(aside: Path, path: Path, root: Path) -> None:
    """Give a file its final name."""
    faults.check("rename")
    with _within.parent(aside, root) as (old, source), _within.parent(path, root) as (new, target):
        os.replace(old, new, src_dir_fd=source, dst_dir_fd=target)


def link(path: Path, other: Path, root: Path) -> None:
    """Give a file a second name, or copy it where files have one only; ``other`` is there whole or not at all."""
    faults.check("link")
    _within.stat(path, root)
    try:
        with _within.parent(path, root) as (old, source), _within.parent(other, root) as (new, target):
            os.link(old, new, src_dir_fd=source, dst_dir_fd=target, follow_symlinks=_FOLLOWS)
    except FileExistsError:
        remove(other, root)
        link(path, other, root)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        replace(write_aside(other, root, read(path, root)), other, root)


def remove(path: Path, root: Path) -> None:
    """Remove a file, if it is there; of a link the link itself."""
    faults.check("remove")
    _unlink(path, root)


def discard(path: Path, root: Path) -> None:
    """Remove a file that nobody has heard of, if that is possible."""
    with suppress(OSError):
        _unlink(path, root)


def _unlink(path: Path, root: Path) -> None:
    with suppress(FileNotFoundError), _within.parent(path, root) as (name, within):
        os.unlink(name, dir_fd=within)


def remove_empty(folder: Path, root: Path) -> None:
    """Remove a folder that has nothing in it."""
    with suppress(OSError), _within.parent(folder, root) as (name, within):
        os.rmdir(name, dir_fd=within)


class FolderLock:
    """The right to record into a folder; the kernel frees it when this process ends, however it ends."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / ".lock"
        self._descriptor = -1
        self.take()

    def take(self) -> None:
        """Lock the file that is in the folder now.

        Nothing is written before it is held, and into nothing but a lock: it may be a stranger's.

        Raises:
            OSError: there can be no file.
            StoreError: another process holds it, or it is no lock.
        """
        self.forget()
        self._descriptor = _within.open_file(self.path, self.path.parent, flags=os.O_RDWR | os.O_CREAT)
        try:
            _lock(self._descriptor)
        except OSError as error:
            raise StoreError(self._refusal(error)) from error
        if not _is_holder(os.read(self._descriptor, 32)):
            self.forget()
            raise StoreError(f"{os.fspath(self.path)!r} is not a lock: it holds something else; move it away")
        os.ftruncate(self._descriptor, 0)
        os.lseek(self._descriptor, 0, os.SEEK_SET)
        os.write(self._descriptor, f"{os.getpid()}\n".encode("ascii"))

    def _refusal(self, error: OSError) -> str:
        holder = os.read(self._descriptor, 32).decode("ascii", "replace").strip()
        self.forget()
        folder = os.fspath(self.path.parent)
        if error.errno not in _HELD:
            return f"{folder!r} cannot be locked: {error.strerror}; record onto a local disk"
        return f"{folder!r} is being recorded by process {holder or 'unknown'}; close it there or choose another folder"

    def is_current(self) -> bool:
        """Say whether the locked file is still the one in the folder."""
        try:
            there, ours = _within.stat(self.path, self.path.parent), os.fstat(self._descriptor)
        except (FileNotFoundError, NotADirectoryError, StoreError):
            return False
        return (there.st_ino, there.st_dev) == (ours.st_ino, ours.st_dev)

    def forget(self) -> None:
        """Close the file; in the owner that frees the lock, in a forked child it leaves the owner's alone."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def _lock(descriptor: int) -> None:
    if sys.platform == "win32":
        os.lseek(descriptor, _LOCKED_BYTE, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        os.lseek(descriptor, 0, os.SEEK_SET)
    else:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


_forkable: "weakref.WeakSet[Forkable]" = weakref.WeakSet()


def forget_after_fork(owner: Forkable) -> None:
    """Have ``owner.forget()`` called in every child that is forked from now on."""
    _forkable.add(owner)


def _forget_all() -> None:
    for owner in list(_forkable):
        owner.forget()


_register: Callable[..., None] | None = getattr(os, "register_at_fork", None)
if _register is not None:
    _register(after_in_child=_forget_all)
