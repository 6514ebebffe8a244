"""The files of a recording: reached through no link, written durably, locked, and released in a forked child.

The folder of a recording itself may be reached through links, which is its owner's choice. Below it, each part of a
name is opened by the descriptor of the folder that it is in, so that nothing can lead outside, not even a link that is
made meanwhile: the recording may come from somebody else. Only regular files are opened, and opening never waits: a
FIFO or a device is refused.

Hard links cannot be distinguished from other names. Nothing writes into a file that is there already, except for
``.lock``, which is not touched unless it holds what a lock holds.

Everything that differs between operating systems is here. Windows has neither ``O_NOFOLLOW`` nor descriptors of
folders: there each part is checked before the name is used.

A test can make the disk refuse a change:

>>> def full(change: str) -> None:
...     raise OSError(28, "No space left on device")
>>> with inject_faults(full):
...     check_fault("write")
Traceback (most recent call last):
OSError: [Errno 28] No space left on device
"""

import errno
import os
import re
import stat as modes
import sys
import weakref
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from io import BufferedReader
from pathlib import Path
from typing import Protocol, TypeAlias

from pmlive.errors import StoreError
from pmlive.store import bounds

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

__all__ = [
    "LOCK",
    "DiskFault",
    "FolderLock",
    "Forkable",
    "call_after_fork",
    "check_fault",
    "create",
    "discard",
    "inject_faults",
    "link",
    "make_folder",
    "open_to_read",
    "paths",
    "read",
    "remove",
    "remove_empty",
    "replace",
    "size",
    "stat",
    "sync",
    "sync_folder",
    "temporary",
    "truncate",
    "write_all",
    "write_temporary",
]

LOCK = ".lock"

# Recordings may hold the user's own orders, so no other user may read them, whatever the umask.
_FILE_MODE, _FOLDER_MODE = 0o600, 0o700

_BY_DESCRIPTOR = sys.platform != "win32"
_OPEN_FLAGS = getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
_NO_LINK = getattr(os, "O_NOFOLLOW", 0)
_NO_WAIT = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0)
_A_FOLDER = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | _OPEN_FLAGS
# The errors with which systems refuse a link, or something that is not a folder, as a folder.
_NOT_A_FOLDER = (errno.ELOOP, errno.ENOTDIR, errno.EMLINK)
_KINDS = {
    modes.S_IFDIR: "a folder",
    modes.S_IFIFO: "a FIFO",
    modes.S_IFSOCK: "a socket",
    modes.S_IFCHR: "a device",
    modes.S_IFBLK: "a device",
}
# Bytes are locked far behind the text, so that on Windows the holder's number stays readable.
_LOCKED_BYTE = 1 << 30
_HELD_BY_ANOTHER = (errno.EACCES, errno.EAGAIN, errno.EWOULDBLOCK, errno.EDEADLK)
# A symbolic link must not get a second name; Windows has no option for that, and the file was checked just before.
_FOLLOW_LINKS = sys.platform == "win32"
_NO_HARD_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)
# A lock holds the number of a process, or nothing yet.
_is_lock_text = re.compile(rb"\d{0,20}\r?\n?").fullmatch

# Called with "create", "lock", "write", "sync", "sync folder", "make folder", "rename", "link", "remove" or "cut off";
# raises what the disk would, or returns how many bytes a write takes at most.
DiskFault: TypeAlias = Callable[[str], int | None]

_faults: list[DiskFault] = []


def sync(descriptor: int) -> None:
    """Flush the bytes of a file to the disk itself."""
    check_fault("sync")
    if sys.platform == "linux":
        os.fdatasync(descriptor)
    elif sys.platform == "darwin":
        fcntl.fcntl(descriptor, fcntl.F_FULLFSYNC)
    else:
        os.fsync(descriptor)


def sync_folder(folder: Path, root: Path) -> None:
    """Flush the names in a folder to the disk; Windows does so by itself."""
    check_fault("sync folder")
    if sys.platform == "win32":
        return
    with _open_folder(folder, root) as descriptor:
        if descriptor is not None:
            os.fsync(descriptor)


def make_folder(folder: Path, root: Path | None = None) -> list[Path]:
    """Create a folder and its missing parents durably; return what was created, outermost first.

    Without ``root`` the folder is that of a recording, and may be reached through links.
    """
    above = () if root is None else {root, *root.parents}
    missing = [path for path in (folder, *folder.parents) if path not in above and not _is_folder(path, root)]
    created: list[Path] = []
    try:
        for path in reversed(missing):
            check_fault("make folder")
            _make(path, path.parent if root is None else root)
            created.append(path)
            sync_folder(path.parent, path.parent if root is None else root)
    except (OSError, StoreError):
        for path in reversed(created):
            remove_empty(path, path.parent if root is None else root)
        raise
    return created


def create(path: Path, root: Path) -> int:
    """Open a new file for appending."""
    check_fault("create")
    return _open_file(path, root, flags=os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND)


def open_to_read(path: Path, root: Path, *, most: int | None = None) -> BufferedReader:
    """Open a file for reading.

    Raises:
        OSError: it is not there or cannot be opened.
        StoreError: it is a link, is reached through one, is not a regular file, or is larger than ``most``.
    """
    file = os.fdopen(_open_file(path, root), "rb")
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
        StoreError: it is a link, is reached through one, is not a regular file, or is larger than ``most``.
    """
    with open_to_read(path, root, most=most) as file:
        return file.read()


def stat(path: Path, root: Path) -> os.stat_result:
    """Return the status of a file.

    Raises:
        OSError: it is not there.
        StoreError: it is a link, is reached through one, or is not a regular file.
    """
    with _parent(path, root) as (name, within):
        return _check_regular(path, os.stat(name, dir_fd=within, follow_symlinks=False))


def size(path: Path, root: Path) -> int | None:
    """Return the size of a file, or None when there is none.

    Raises:
        OSError: it cannot be read.
        StoreError: it is a link, is reached through one, or is not a regular file.
    """
    try:
        return stat(path, root).st_size
    except FileNotFoundError:
        return None


def paths(folder: Path, root: Path) -> list[Path]:
    """List the paths in a folder, sorted; none when it is not there.

    Raises:
        OSError: it cannot be read.
        StoreError: it is a link, is reached through one, or is not a folder.
    """
    try:
        with _open_folder(folder, root) as descriptor:
            names = os.listdir(folder if descriptor is None else descriptor)  # noqa: PTH208 - by descriptor
    except FileNotFoundError:
        return []
    return [folder / name for name in sorted(names)]


def write_all(descriptor: int, data: bytes | memoryview) -> None:
    """Write all the bytes, in as many calls as that takes."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view[: check_fault("write")]) :]


def truncate(descriptor: int, size: int) -> None:
    """Cut a file to a size."""
    check_fault("cut off")
    os.ftruncate(descriptor, size)


@contextmanager
def temporary(path: Path, root: Path) -> Generator[tuple[Path, int]]:
    """Open a new dot-file beside ``path``; sync it at the end, or remove it when the disk refuses.

    Yields its path and its descriptor.
    """
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


def write_temporary(path: Path, root: Path, data: bytes) -> Path:
    """Write and sync a dot-file beside ``path``, to be renamed to it."""
    with temporary(path, root) as (name, descriptor):
        write_all(descriptor, data)
    return name


def replace(source: Path, path: Path, root: Path) -> None:
    """Rename a file, in place of one that has that name."""
    check_fault("rename")
    with _parent(source, root) as (old, old_folder), _parent(path, root) as (new, new_folder):
        os.replace(old, new, src_dir_fd=old_folder, dst_dir_fd=new_folder)


def link(path: Path, other: Path, root: Path) -> None:
    """Link a file under a second name, or copy it where there are no hard links; ``other`` is whole or not there."""
    check_fault("link")
    stat(path, root)
    try:
        with _parent(path, root) as (old, old_folder), _parent(other, root) as (new, new_folder):
            os.link(old, new, src_dir_fd=old_folder, dst_dir_fd=new_folder, follow_symlinks=_FOLLOW_LINKS)
    except FileExistsError:
        remove(other, root)
        link(path, other, root)
    except OSError as error:
        if error.errno not in _NO_HARD_LINKS:
            raise
        replace(write_temporary(other, root, read(path, root)), other, root)


def remove(path: Path, root: Path) -> None:
    """Remove a file, if it is there; a link itself and not what it points to."""
    check_fault("remove")
    _unlink(path, root)


def discard(path: Path, root: Path) -> None:
    """Remove a file that is not listed anywhere, if that is possible."""
    with suppress(OSError):
        _unlink(path, root)


def remove_empty(folder: Path, root: Path) -> None:
    """Remove a folder if it is empty."""
    with suppress(OSError), _parent(folder, root) as (name, within):
        os.rmdir(name, dir_fd=within)


class FolderLock:
    """The lock of a folder that is recorded into; the kernel releases it when this process ends, however it ends."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / LOCK
        self._descriptor = -1
        self.take()

    def take(self) -> None:
        """Lock the file that is in the folder now.

        Nothing is written before the lock is held, and only into a file that holds what a lock holds: it may be
        somebody else's.

        Raises:
            OSError: the file cannot be made.
            StoreError: another process holds it, or it is not a lock.
        """
        self.release()
        check_fault("lock")
        self._descriptor = _open_file(self.path, self.path.parent, flags=os.O_RDWR | os.O_CREAT)
        try:
            _lock(self._descriptor)
        except OSError as error:
            raise StoreError(self._refusal(error)) from error
        if not _is_lock_text(os.read(self._descriptor, 32)):
            self.release()
            raise StoreError(f"{os.fspath(self.path)!r} is not a lock: it holds something else; move it away")
        os.ftruncate(self._descriptor, 0)
        os.lseek(self._descriptor, 0, os.SEEK_SET)
        os.write(self._descriptor, f"{os.getpid()}\n".encode("ascii"))

    def _refusal(self, error: OSError) -> str:
        holder = os.read(self._descriptor, 32).decode("ascii", "replace").strip()
        self.release()
        folder = os.fspath(self.path.parent)
        if error.errno not in _HELD_BY_ANOTHER:
            return f"{folder!r} cannot be locked: {error.strerror}; record onto a local disk"
        return f"{folder!r} is being recorded by process {holder or 'unknown'}; close it there or choose another folder"

    def is_current(self) -> bool:
        """Return whether the locked file is still the one in the folder."""
        try:
            there, ours = stat(self.path, self.path.parent), os.fstat(self._descriptor)
        except (FileNotFoundError, NotADirectoryError, StoreError):
            return False
        return (there.st_ino, there.st_dev) == (ours.st_ino, ours.st_dev)

    def release(self) -> None:
        """Close the file: the owner releases the lock, a forked child leaves the owner's alone."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


class Forkable(Protocol):
    """An object whose files and locks a forked child has to release."""

    def after_fork(self) -> None:
        """Release files and locks, in the child of the process that owns them."""
        ...


_forkable: "weakref.WeakSet[Forkable]" = weakref.WeakSet()


def call_after_fork(owner: Forkable) -> None:
    """Register ``owner.after_fork()`` to be called in every child that is forked from now on."""
    _forkable.add(owner)


def _after_fork() -> None:
    for owner in list(_forkable):
        owner.after_fork()


_register: Callable[..., None] | None = getattr(os, "register_at_fork", None)
if _register is not None:
    _register(after_in_child=_after_fork)


def check_fault(change: str) -> int | None:
    """Call the injected faults before a change; return how many bytes of it the disk takes, or None for all."""
    sizes = [fault(change) for fault in _faults]
    return min((size for size in sizes if size is not None), default=None)


@contextmanager
def inject_faults(fault: DiskFault) -> Generator[None]:
    """Call ``fault`` before every change of the disk by this process, in any thread."""
    _faults.append(fault)
    try:
        yield
    finally:
        _faults.remove(fault)


def _make(path: Path, root: Path) -> None:
    try:
        with _parent(path, root) as (name, within):
            os.mkdir(name, _FOLDER_MODE, dir_fd=within)
    except FileExistsError:
        with _open_folder(path, path if root == path.parent else root):
            pass  # another process made it just now


def _is_folder(path: Path, root: Path | None) -> bool:
    if root is None:
        return path.exists()
    try:
        with _open_folder(path, root):
            return True
    except FileNotFoundError:
        return False


def _unlink(path: Path, root: Path) -> None:
    with suppress(FileNotFoundError), _parent(path, root) as (name, within):
        os.unlink(name, dir_fd=within)


def _lock(descriptor: int) -> None:
    if sys.platform == "win32":
        os.lseek(descriptor, _LOCKED_BYTE, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        os.lseek(descriptor, 0, os.SEEK_SET)
    else:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


@contextmanager
def _parent(path: Path, root: Path) -> Generator[tuple[str | Path, int | None]]:
    """Open the folder that a name is in; yield the name and ``dir_fd`` for the functions of ``os``."""
    try:
        with _open_folder(path.parent, root) as descriptor:
            yield (path, None) if descriptor is None else (path.name, descriptor)
    except OSError as error:
        error.filename = os.fspath(path)
        raise


@contextmanager
def _open_folder(folder: Path, root: Path) -> Generator[int | None]:
    """Open a folder of a recording; yield its descriptor, or None where folders have none."""
    parts = folder.relative_to(root).parts
    if ".." in parts:
        raise StoreError(f"{str(folder)!r} may be outside {str(root)!r}")
    if not _BY_DESCRIPTOR:
        _check_parts(root, parts)
        yield None
        return
    descriptor = os.open(root, _A_FOLDER)
    try:
        for depth, part in enumerate(parts, 1):
            upper, descriptor = descriptor, _open_subfolder(descriptor, part, root.joinpath(*parts[:depth]))
            os.close(upper)
        yield descriptor
    finally:
        os.close(descriptor)


def _open_file(path: Path, root: Path, *, flags: int = os.O_RDONLY) -> int:
    """Open a file, or create it if the flags say so."""
    with _parent(path, root) as (name, within):
        # Opening a device may already do something, so it is looked at before.
        with suppress(FileNotFoundError):
            _check_regular(path, os.stat(name, dir_fd=within, follow_symlinks=False))
        descriptor = os.open(name, flags | _NO_LINK | _NO_WAIT | _OPEN_FLAGS, _FILE_MODE, dir_fd=within)
    try:
        _check_regular(path, os.fstat(descriptor))
    except StoreError:
        os.close(descriptor)
        raise
    return descriptor


def _open_subfolder(upper: int, part: str, path: Path) -> int:
    try:
        return os.open(part, _A_FOLDER | _NO_LINK, dir_fd=upper)
    except OSError as error:
        if error.errno in _NOT_A_FOLDER:
            _check_folder(path, os.stat(part, dir_fd=upper, follow_symlinks=False).st_mode)
        raise


def _check_parts(root: Path, parts: tuple[str, ...]) -> None:
    path = root
    for part in parts:
        path /= part
        _check_folder(path, path.lstat().st_mode)


def _check_folder(path: Path, mode: int) -> None:
    if not modes.S_ISDIR(mode):
        raise _refusal(path, mode, "a folder")


def _check_regular(path: Path, found: os.stat_result) -> os.stat_result:
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
