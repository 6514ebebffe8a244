"""What a recording holds at one moment: its manifest, and the records that are not sealed yet."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TypeAlias

import msgspec

from pmlive.errors import StoreError
from pmlive.store import _files, raw, wal
from pmlive.store.log import Record
from pmlive.store.manifest import MANIFEST, Manifest, SealedFile, read_manifest

__all__ = ["Stamp", "Tail", "Unsealed", "log_files", "read_log", "read_raw", "read_tail", "stamp"]

# Differs whenever a recording has grown.
Stamp: TypeAlias = tuple[int, ...]


class Unsealed(msgspec.Struct, frozen=True, kw_only=True):
    """A segment of the log; ``size`` and ``number`` tell whether it is the one that was seen before."""

    number: int
    size: int
    records: list[Record]
    torn: int = 0
    damaged: int = 0


class Tail(msgspec.Struct, frozen=True, kw_only=True):
    """A manifest, and the segments of the log that it does not list."""

    manifest: Manifest
    segments: list[Unsealed]


def stamp(folder: Path) -> Stamp:
    """Tell, without reading it, whether a recording is as it was: equal stamps mean that nothing was added.

    Raises:
        StoreError: the folder is not a recording.
    """
    try:
        found = _files.stat(folder / MANIFEST, folder)
    except OSError as error:
        raise StoreError(f"{str(folder)!r} is not a recording: it has no {MANIFEST}") from error
    sizes: list[int] = []
    for number, files in wal.segments(folder).items():
        for path in files:
            size = _files.size(path, folder)
            sizes += [] if size is None else [number, size]
    return (found.st_ino, found.st_mtime_ns, found.st_size, *sizes)


def read_log(folder: Path) -> tuple[Manifest, dict[int, list[bytes]]]:
    """Read the manifest, and the files of the log beyond it by segment, so that they belong together.

    Raises:
        StoreError: the folder is not a recording.
    """
    # A segment may be sealed and removed while its files are read: then the manifest has moved on, and once more.
    while True:
        manifest = read_manifest(folder)
        with suppress(FileNotFoundError):
            left = {
                number: [_files.read(path, folder) for path in files]
                for number, files in wal.segments(folder).items()
                if number > manifest.sealed
            }
            if read_manifest(folder).sealed == manifest.sealed:
                return manifest, left


def read_tail(folder: Path) -> Tail:
    """Read the manifest and what is in the log beyond it.

    Raises:
        StoreError: the folder is not a recording.
    """
    manifest, left = read_log(folder)
    return Tail(manifest=manifest, segments=list(_segments(manifest, left)))


def read_raw(folder: Path, file: SealedFile) -> Iterator[Record]:
    """Yield the records of a sealed file once its checksum was found right.

    Raises:
        StoreError: it is damaged, or cannot be read.
    """
    path = folder / file.path
    try:
        raw.check(path, folder, file.sha256)
        yield from raw.read(path, folder)
    except FileNotFoundError as error:
        # What was given up meanwhile, as the recorder was told to, is not missing.
        if file in read_manifest(folder).files:
            raise StoreError(f"{file.table} file {file.path!r} is missing") from error
    except OSError as error:
        raise StoreError(f"{file.table} file {file.path!r} cannot be read: {error.strerror}") from error


def _segments(manifest: Manifest, left: dict[int, list[bytes]]) -> Iterator[Unsealed]:
    readings = dict(wal.read_all(left, since=manifest.known_until, sealed=manifest.sealed))
    wal.check_sizes(block for reading in readings.values() for block in reading.blocks)
    for number, reading in readings.items():
        yield Unsealed(
            number=number,
            size=sum(map(len, left[number])),
            records=list(reading.records()),
            torn=reading.torn,
            damaged=reading.damaged,
        )


def log_files(folder: Path, manifest: Manifest) -> list[Path]:
    """List the files of the log that a manifest does not count as sealed."""
    return [path for number, files in wal.segments(folder).items() if number > manifest.sealed for path in files]
