"""The files of a recording: reached through no link, written durably, locked, and let go of in a forked child.

The folder of a recording itself may be reached through links, which is its owner's choice. Below it, each part of a
name is opened by the descriptor of the folder that it is in, so that nothing can lead outside, not even a link that is
made meanwhile: the recording may come from somebody else. Only regular files are opened, and opening never waits: a
FIFO or a device is refused.

Hard links cannot be told from other names. Nothing writes into a file that is there already, except for ``.lock``,
which is not touched unless it holds what a lock holds.

Everything that differs between operating systems is here. Windows has neither ``O_NOFOLLOW`` nor descriptors of
folders: there each part is looked at before the name is used.

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
from typing import Protocol, TypeAlias, cast

from pmlive.errors import StoreError
from pmlive.store import bounds

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

__all__ = [
    "Fault",
    "FolderLock",
    "Forkable",
    "aside",
    "check_fault",
    "create",
    "discard",
    "forget_after_fork",
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
    "truncate",
    "write_all",
    "write_aside",
]

# Recordings may hold one's own orders: nobody else reads them, whatever the umask.
_FILE_MODE, _FOLDER_MODE = 0o600, 0o700

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
# Bytes are locked far behind the text, so that on Windows the holder's number stays readable.
_LOCKED_BYTE = 1 << 30
_HELD = (errno.EACCES, errno.EAGAIN, errno.EWOULDBLOCK, errno.EDEADLK)
# What has a second name made is no link; where that cannot be said, it was looked at just before.
_FOLLOWS = sys.platform == "win32"
_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)
# What a lock holds: the number of a process, or nothing yet.
_is_holder = re.compile(rb"\d{0,20}\r?\n?").fullmatch

# Told "create", "write", "sync", "sync folder", "make folder", "rename", "link", "remove" or "cut off"; it raises what
# the disk would, or says how many bytes a write takes at most.
Fault: TypeAlias = Callable[[str], int | None]

_faults: list[Fault] = []


def sync(descriptor: int) -> None:
    """Wait until the bytes of a file are on the disk itself."""
    check_fault("sync")
    if sys.platform == "linux":
        os.fdatasync(descriptor)
    elif sys.platform == "darwin":
        fcntl.fcntl(descriptor, fcntl.F_FULLFSYNC)
    else:
        os.fsync(descriptor)


def sync_folder(folder: Path, root: Path) -> None:
    """Wait until the names in a folder are on the disk; Windows does so by itself."""
    check_fault("sync folder")
    if sys.platform == "win32":
        return
    with _open_folder(folder, root) as descriptor:
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
            check_fault("make folder")
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
        with _parent(path, root) as (name, within):
            os.mkdir(name, _FOLDER_MODE, dir_fd=within)
    except FileExistsError:
        with _open_folder(path, path if root == path.parent else root):
            pass  # another made it just now


def _is_folder(path: Path, root: Path | None) -> bool:
    if root is None:
        return path.exists()
    try:
        with _open_folder(path, root):
            return True
    except FileNotFoundError:
        return False


def create(path: Path, root: Path) -> int:
    """Open a new file for appending."""
    check_fault("create")
    return _open_file(path, root, flags=os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND)


def open_to_read(path: Path, root: Path, *, most: int | None = None) -> BufferedReader:
    """Open a file for reading.

    Raises:
        OSError: it is not there or cannot be opened.
        StoreError: it is a link, is reached through one, is no regular file, or is larger than ``most``.
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
        StoreError: it is a link, is reached through one, is no regular file, or is larger than ``most``.
    """
    with open_to_read(path, root, most=most) as file:
        return file.read()


def stat(path: Path, root: Path) -> os.stat_result:
    """Tell of a file.

    Raises:
        OSError: it is not there.
        StoreError: it is a link, is reached through one, or is no regular file.
    """
    with _parent(path, root) as (name, within):
        return _regular(path, os.stat(name, dir_fd=within, follow_symlinks=False))


def size(path: Path, root: Path) -> int | None:
    """Tell how large a file is; None when there is none.

    Raises:
        OSError: it cannot be told.
        StoreError: it is a link, is reached through one, or is no regular file.
    """
    try:
        return stat(path, root).st_size
    except FileNotFoundError:
        return None


def paths(folder: Path, root: Path) -> list[Path]:
    """List what is in a folder, in order; nothing when it is not there.

    Raises:
        OSError: it cannot be read.
        StoreError: it is a link, is reached through one, or is no folder.
    """
    try:
        with _open_folder(folder, root) as descriptor:
            names = os.listdir(folder if descriptor is None else descriptor)  # noqa: PTH208 - by descriptor
    except FileNotFoundError:
        return []
    return [folder / name for name in sorted(names)]


def write_all(descriptor: int, data: bytes | memoryview) -> None:
    """Write everything, however many calls the system makes of it."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view[: check_fault("write")]) :]


def truncate(descriptor: int, size: int) -> None:
    """Shorten a file."""
    check_fault("cut off")
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
    check_fault("rename")
    with _parent(aside, root) as (old, source), _parent(path, root) as (new, target):
        os.replace(old, new, src_dir_fd=source, dst_dir_fd=target)


def link(path: Path, other: Path, root: Path) -> None:
    """Give a file a second name, or copy it where files have one only; ``other`` is there whole or not at all."""
    check_fault("link")
    stat(path, root)
    try:
        with _parent(path, root) as (old, source), _parent(other, root) as (new, target):
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
    check_fault("remove")
    _unlink(path, root)


def discard(path: Path, root: Path) -> None:
    """Remove a file that nobody has heard of, if that is possible."""
    with suppress(OSError):
        _unlink(path, root)


def _unlink(path: Path, root: Path) -> None:
    with suppress(FileNotFoundError), _parent(path, root) as (name, within):
        os.unlink(name, dir_fd=within)


def remove_empty(folder: Path, root: Path) -> None:
    """Remove a folder that has nothing in it."""
    with suppress(OSError), _parent(folder, root) as (name, within):
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
        self._descriptor = _open_file(self.path, self.path.parent, flags=os.O_RDWR | os.O_CREAT)
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
            there, ours = stat(self.path, self.path.parent), os.fstat(self._descriptor)
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


class Forkable(Protocol):
    """Something that a forked child has to let go of."""

    def forget(self) -> None:
        """Note that this process is a child of the owner's."""
        ...


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


def check_fault(change: str) -> int | None:
    """Ask whether the disk takes a change; the answer is how many bytes of it, None for all."""
    sizes = [answer(change) for answer in _faults]
    return min((size for size in sizes if size is not None), default=None)


@contextmanager
def inject_faults(answer: Fault) -> Generator[None]:
    """Have every change of the disk by this process asked for, in whatever thread."""
    _faults.append(answer)
    try:
        yield
    finally:
        _faults.remove(answer)


@contextmanager
def _parent(path: Path, root: Path) -> Generator[tuple[str | Path, int | None]]:
    """Open the folder that a name is in; give the name and ``dir_fd`` for the functions of ``os``.

    Raises:
        OSError: the folder is not there or cannot be opened.
        StoreError: a part of the path is a link or no folder.
    """
    try:
        with _open_folder(path.parent, root) as descriptor:
            yield (path, None) if descriptor is None else (path.name, descriptor)
    except OSError as error:
        error.filename = os.fspath(path)
        raise


@contextmanager
def _open_folder(folder: Path, root: Path) -> Generator[int | None]:
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


def _open_file(path: Path, root: Path, *, flags: int = os.O_RDONLY) -> int:
    """Open a file, or create it if the flags say so.

    Raises:
        OSError: it is not there or cannot be opened.
        StoreError: it is a link, is reached through one, or is no regular file.
    """
    with _parent(path, root) as (name, within):
        # To open a device may already do something, so it is looked at before.
        with suppress(FileNotFoundError):
            _regular(path, os.stat(name, dir_fd=within, follow_symlinks=False))
        descriptor = os.open(name, flags | _NO_LINK | _NO_WAIT | _CLOSED, _FILE_MODE, dir_fd=within)
    try:
        _regular(path, os.fstat(descriptor))
    except StoreError:
        os.close(descriptor)
        raise
    return descriptor


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
