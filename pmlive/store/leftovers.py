"""Files that an interrupted run left: in a recording, without being listed, and in temporary folders beside it.

A crash leaves files that did not count yet, or no longer count. Such a leftover is removed when the recording is opened
for writing, but only when everything in it is elsewhere, too: an older manifest beside newer files does not list them
either, and then they are the only copy. Those are kept, and reported.

Imports and exports fill a temporary folder beside its final place. A process that fills one holds a lock in it, which
the kernel releases when the process ends, however it ends; then it is removed by the next. The lock is the first thing
in it and the last that is removed, so that at any moment it is either held, or free, or the folder is empty.
"""

import os
import re
import shutil
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import msgspec

from pmlive.errors import StoreError
from pmlive.logs import get_logger
from pmlive.store import disk
from pmlive.store.log import LOST, Block, read_blocks, segment_files
from pmlive.store.manifest import MANIFEST, MERGED, RAW, SEALED_NAME, Manifest, read_manifest, segment_number
from pmlive.store.reader import has_no_other_rows, problem_of, unsealed_segments
from pmlive.tables import STORED

__all__ = [
    "locked_folder",
    "new_locked_folder",
    "remove_aside",
    "remove_leftovers",
    "remove_unlisted",
    "sealed_files",
    "unlisted_files",
    "unlisted_segments",
]

logger = get_logger(__name__)

_TEMPORARY = re.compile(rf"\.{SEALED_NAME.pattern}\.tmp")
_MOST_SHOWN = 3


def remove_unlisted(folder: Path, manifest: Manifest) -> None:
    """Remove what an interrupted run left: files that the manifest does not name, and segments that are sealed.

    What is nowhere else is kept, and logged.
    """
    disk.remove(folder / f".{MANIFEST}.tmp", folder)
    found = sealed_files(folder)
    leftovers = _LeftoverCheck(folder, manifest)
    unlisted = leftovers.unlisted(found)
    kept = [path for path in unlisted if not leftovers.is_leftover(path)]
    # Frames last, since they show whether tables are leftovers.
    for path in sorted(set(unlisted) - set(kept), key=lambda path: (path.is_relative_to(folder / RAW), path)):
        disk.remove(path, folder)
    left = unsealed_segments(folder, manifest)
    for number, files in segment_files(folder).items():
        for path in files if number not in left else ():
            disk.remove(path, folder)
    if kept:
        shown = ", ".join(path.relative_to(folder).as_posix() for path in kept[:_MOST_SHOWN])
        message = "recording %r: %d files are not listed in %s and are kept, such as %s; see pmlive verify"
        logger.warning(message, str(folder), len(kept), MANIFEST, shown)


def unlisted_files(folder: Path) -> list[str]:
    """List our files that the manifest does not list and that are not leftovers, as paths within the recording.

    Raises:
        StoreError: the folder is not a recording.
    """
    # A recorder may list or remove a file meanwhile.
    while True:
        found = sealed_files(folder)
        manifest = read_manifest(folder)
        leftovers = _LeftoverCheck(folder, manifest)
        kept = [path for path in leftovers.unlisted(found) if not leftovers.is_leftover(path)]
        if read_manifest(folder) == manifest:
            there = (path for path in kept if disk.size(path, folder) is not None)
            return [path.relative_to(folder).as_posix() for path in there]


def unlisted_segments(folder: Path, manifest: Manifest) -> list[int]:
    """List the segments that unlisted files were made of, whose numbers must not be used again."""
    paths = _LeftoverCheck(folder, manifest).unlisted(sealed_files(folder))
    return [number for path in paths if (number := segment_number(path.name)) is not None]


def sealed_files(folder: Path) -> list[Path]:
    """List the files in a recording that sealing and merging write, finished or not."""
    folders = (folder / RAW, *(above / table for table in STORED for above in (folder, folder / MERGED)))
    days = (day for above in folders for day in disk.paths(above, folder) if day.name.startswith("date="))
    found = (path for day in days for path in disk.paths(day, folder))
    return [path for path in found if SEALED_NAME.fullmatch(path.name) or _TEMPORARY.fullmatch(path.name)]


@contextmanager
def locked_folder(folder: Path) -> Generator[None]:
    """Hold the lock of a folder while this process fills or removes it.

    Raises:
        StoreError: another process holds it.
    """
    lock = disk.FolderLock(folder)
    try:
        yield
    finally:
        lock.release()


@contextmanager
def new_locked_folder(folder: Path, mode: int) -> Generator[None]:
    """Make a folder and hold its lock while this process fills it.

    Raises:
        OSError: it cannot be made.
    """
    while True:
        folder.mkdir(mode=mode)
        try:
            lock = disk.FolderLock(folder)
            break
        except FileNotFoundError:
            # While it was empty another process took it for a leftover.
            continue
    try:
        yield
    finally:
        lock.release()


def remove_aside(folder: Path, name: str) -> None:
    """Remove a temporary folder in which something of that name was made, the lock last.

    Raises:
        OSError: something cannot be removed; what is left is a leftover.
    """
    made = folder / name
    if made.is_dir() and not made.is_symlink():
        shutil.rmtree(made)
    else:
        made.unlink(missing_ok=True)
    shutil.rmtree(folder)


def remove_leftovers(place: Path) -> list[str]:
    """Remove the temporary folders that killed processes left beside a place; return their names.

    Only what this package makes there is removed: nothing that a running process holds or another user owns, no folder
    that has something else in it, and no link.
    """
    return [path.name for path in _candidates(place.resolve()) if _removed(path, place.name)]


class _LeftoverCheck:
    """Decides which files are not listed, and whether everything in such a file is elsewhere, too."""

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        self._folder = folder
        self._manifest = manifest
        self._names = {one.path for one in (*manifest.files, *manifest.replaced)}

    def unlisted(self, paths: Iterable[Path]) -> list[Path]:
        """List those of some paths that the manifest does not name."""
        return [path for path in paths if path.relative_to(self._folder).as_posix() not in self._names]

    def is_leftover(self, path: Path) -> bool:
        """Return whether a file that is not listed is a leftover."""
        if _TEMPORARY.fullmatch(path.name):
            return True
        name = path.relative_to(self._folder).as_posix()
        if segment_number(name) is None:
            return self._is_listed_elsewhere(name) or self._has_its_inputs(name)
        return self._is_in_the_log(path) or self._was_given_up(name) or self._was_repaired(path)

    def _is_there(self, name: str) -> bool:
        return disk.size(self._folder / name, self._folder) is not None

    def _is_listed_elsewhere(self, name: str) -> bool:
        """Return whether a merged file has its other name, in sight or out of sight, too."""
        hidden = f"{MERGED}/"
        other = name.removeprefix(hidden) if name.startswith(hidden) else hidden + name
        return other in self._names and self._is_there(other)

    def _has_its_inputs(self, name: str) -> bool:
        """Return whether the files that a merged file was made of are listed, whole, and have no row less than it."""
        first, _, last = name.rsplit("-", 1)[-1].partition(".")[0].partition("to")
        within = [
            file
            for file in self._manifest.of(_table_of(name))
            if int(first) <= file.first_seq and file.last_seq <= int(last)
        ]
        if not within or any(problem_of(self._folder, file) for file in within):
            return False
        numbers = {"first_seq": within[0].first_seq, "last_seq": max(file.last_seq for file in within)}
        if numbers != {"first_seq": int(first), "last_seq": int(last)}:
            return False
        whole = msgspec.structs.replace(within[0], path=name, rows=sum(file.rows for file in within), **numbers)
        return has_no_other_rows(self._folder, whole)

    def _is_in_the_log(self, path: Path) -> bool:
        """Return whether a file was made of a segment that is still in the log, and of no more than is there."""
        log = self._logged.get(segment_number(path.name) or 0)
        if log is None:
            return False
        frames = self._folder / RAW / path.parent.name / f"{path.name.partition('.')[0]}.log.zst"
        if disk.size(frames, self._folder) is None:
            return False
        sealed = _BlockSpan.of([disk.read(frames, self._folder)])
        there = _BlockSpan.of([disk.read(one, self._folder) for one in log])
        return sealed is not None and there is not None and sealed.is_within(there)

    @cached_property
    def _logged(self) -> dict[int, list[Path]]:
        return unsealed_segments(self._folder, self._manifest)

    def _was_given_up(self, name: str) -> bool:
        """Return whether raw frames are older than all that are kept."""
        began = int(name.rsplit("/", 1)[-1].partition("-")[0])
        frames = self._manifest.of(RAW)
        until = self._manifest.raw_from or 0
        return _table_of(name) == RAW and began < min([until, *(file.first_time for file in frames)])

    def _was_repaired(self, path: Path) -> bool:
        """Return whether a repair can make the file again, or has kept it under another name."""
        name = path.relative_to(self._folder).as_posix()
        beside = (one for one in disk.paths(path.parent, self._folder) if one.name.startswith(f"{path.name}.damaged-"))
        if any(one.samefile(path) for one in beside):
            return True
        began = int(path.name.partition("-")[0])
        made_of = [file for file in self._manifest.of(_table_of(name)) if file.first_time == began]
        return any(self._is_there(file.path) and problem_of(self._folder, file) for file in made_of)


class _BlockSpan(NamedTuple):
    """The first and the last record of some blocks, each by number and receive time, and how many there are.

    Numbers of segments and records may be used again after an older manifest was restored; times distinguish them.
    """

    first: tuple[int, int]
    last: tuple[int, int]
    records: int

    @classmethod
    def of(cls, contents: Sequence[bytes]) -> "_BlockSpan | None":
        """Return the span of files of blocks; None where they have no whole block, those of lost records aside."""
        items = [item for content in contents for item in read_blocks(content)]
        blocks = [item for item in items if isinstance(item, Block) and item.number != LOST]
        if not blocks:
            return None
        first, last = blocks[0], blocks[-1]
        records = sum(block.count for block in blocks)
        return cls((first.first_seq, first.first_recv), (last.last_seq, last.last_recv), records)

    def is_within(self, log: "_BlockSpan") -> bool:
        """Return whether all records are in a log, as far as that shows without reading them."""
        return self.first == log.first and self.records <= log.records and self.last[0] <= log.last[0]


def _table_of(name: str) -> str:
    return PurePosixPath(name.removeprefix(f"{MERGED}/")).parts[0]


def _candidates(place: Path) -> Iterator[Path]:
    is_aside = re.compile(rf"\.{re.escape(place.name)}\.[0-9a-f]{{8}}\.tmp").fullmatch
    if place.parent.is_dir():
        yield from sorted(path for path in place.parent.iterdir() if is_aside(path.name))


def _removed(path: Path, name: str) -> bool:
    try:
        if not _is_abandoned(path, name):
            return False
        if not any(path.iterdir()):
            path.rmdir()
            return True
        with locked_folder(path):
            remove_aside(path, name)
    except (OSError, StoreError):
        # Another process holds it, or it is not ours to remove; it does no harm where it is.
        return False
    return True


def _is_abandoned(path: Path, name: str) -> bool:
    if path.is_symlink() or not path.is_dir():
        return False
    if hasattr(os, "getuid") and path.stat().st_uid != os.getuid():
        return False
    lock = path / disk.LOCK
    names = {each.name for each in path.iterdir()}
    return not names or (names <= {disk.LOCK, name} and lock.is_file() and not lock.is_symlink())
