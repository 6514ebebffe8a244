"""Everything that differs between operating systems: durable writes, durable renames, locks, forks."""

import errno
import os
import sys
import weakref
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Protocol

from pmlive.errors import StoreError
from pmlive.store import faults

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

# Bytes are locked far behind the text, so that on Windows the holder's number stays readable.
_LOCKED_BYTE = 1 << 30
_HELD = (errno.EACCES, errno.EAGAIN, errno.EWOULDBLOCK, errno.EDEADLK)
_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)


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


def sync_folder(folder: Path) -> None:
    """Wait until the names in a folder are on the disk; Windows does so by itself."""
    faults.check("sync folder")
    if sys.platform == "win32":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_folder(folder: Path) -> list[Path]:
    """Create a folder and its missing parents durably; return what was created, outermost first."""
    made: list[Path] = []
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        for path in reversed(missing):
            faults.check("make folder")
            path.mkdir(exist_ok=True)
            made.append(path)
            sync_folder(path.parent)
    except OSError:
        for path in reversed(made):
            path.rmdir()
        raise
    return made


def create(path: Path) -> int:
    """Open a new file for appending."""
    faults.check("create")
    return os.open(path, _NEW, 0o644)


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
def aside(path: Path) -> Generator[tuple[Path, int]]:
    """Open a new dot-file beside ``path``; sync it at the end, or remove it when the disk refuses."""
    name = path.with_name(f".{path.name}.tmp")
    name.unlink(missing_ok=True)
    descriptor = create(name)
    try:
        yield name, descriptor
        sync(descriptor)
    except OSError:
        with suppress(OSError):
            name.unlink()
        raise
    finally:
        os.close(descriptor)


def write_aside(path: Path, data: bytes) -> Path:
    """Write and sync a dot-file beside ``path``, to be renamed to it."""
    with aside(path) as (name, descriptor):
        write_all(descriptor, data)
    return name


def replace(aside: Path, path: Path) -> None:
    """Give a file its final name."""
    faults.check("rename")
    aside.replace(path)


def link(path: Path, other: Path) -> None:
    """Give a file a second name, or copy it where files have one only; ``other`` is there whole or not at all."""
    faults.check("link")
    try:
        other.hardlink_to(path)
    except FileExistsError:
        remove(other)
        link(path, other)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        replace(write_aside(other, path.read_bytes()), other)


def remove(path: Path) -> None:
    """Remove a file, if it is there."""
    faults.check("remove")
    path.unlink(missing_ok=True)


def remove_empty(folder: Path) -> None:
    """Remove a folder that has nothing in it."""
    with suppress(OSError):
        folder.rmdir()


class FolderLock:
    """The right to record into a folder; the kernel frees it when this process ends, however it ends."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / ".lock"
        self._descriptor = -1
        self.take()

    def take(self) -> None:
        """Lock the file that is in the folder now.

        Raises:
            OSError: there can be no file.
            StoreError: another process holds it.
        """
        self.forget()
        self._descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o644)
        try:
            _lock(self._descriptor)
        except OSError as error:
            raise StoreError(self._refusal(error)) from error
        os.ftruncate(self._descriptor, 0)
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
            there, ours = self.path.stat(), os.fstat(self._descriptor)
        except (FileNotFoundError, NotADirectoryError):
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
