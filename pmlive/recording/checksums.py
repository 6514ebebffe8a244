"""Checksums of sealed files, without the rows in them: as fast as a disk is read."""

from os import SEEK_END
from pathlib import Path

from pmlive.errors import StoreError
from pmlive.store import FileProblem, SealedFile, disk, raw, read_manifest
from pmlive.store.reader import problem_of

__all__ = ["changed_files"]


def changed_files(folder: Path) -> list[FileProblem]:
    """List the sealed files that do not have their checksum, or are missing.

    Raises:
        StoreError: the folder is not a recording.
    """
    found: dict[SealedFile, str | None] = {}
    # A recorder that merges files or gives up raw frames changes what is listed meanwhile.
    while unchecked := [file for file in read_manifest(folder).files if file not in found]:
        found |= {file: None if _is_as_sealed(folder, file) else problem_of(folder, file) for file in unchecked}
    listed = set(read_manifest(folder).files)
    return [FileProblem(file.path, problem) for file, problem in found.items() if problem and file in listed]


def _is_as_sealed(folder: Path, file: SealedFile) -> bool:
    try:
        with disk.open_to_read(folder / file.path, folder) as stream:
            return raw.sha256_of(stream) == file.sha256 and stream.seek(0, SEEK_END) == file.bytes
    except (OSError, StoreError):
        return False
