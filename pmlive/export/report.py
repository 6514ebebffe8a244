"""Reports of exports: what was written, and what was left out."""

from pathlib import Path
from typing import Literal, TypeAlias

import msgspec

from pmlive.store import read_manifest, recordings
from pmlive.store.reader import is_missing
from pmlive.tables import STORED

__all__ = ["Exported", "ExportedFile", "ExportedToken", "Format", "SkippedToken", "missing_files", "unsealed_bytes"]

Format: TypeAlias = Literal["hftbacktest", "csv", "duckdb"]


class ExportedFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file that was written."""

    path: str
    rows: int
    bytes: int


class ExportedToken(msgspec.Struct, frozen=True, kw_only=True):
    """The events of one token; times are nanoseconds since 1970, by the recorder's clock after the shift.

    ``breaks`` counts the times that the book was cleared because it could not be trusted, ``split`` the events that
    are there twice because they came late. ``tick_size`` is the finest that was stated, None where none was.
    """

    token_id: str
    path: str
    events: int
    breaks: int
    split: int
    tick_size: float | None
    first_time: int
    last_time: int


class SkippedToken(msgspec.Struct, frozen=True):
    """A token that was left out, and why."""

    token_id: str
    reason: str


class Exported(msgspec.Struct, frozen=True, kw_only=True):
    """What was written.

    ``tables`` are rows by table, ``tokens`` the arrays of hftbacktest. ``shift`` is by how many nanoseconds receive
    times were moved so that nothing is received before it happened. Not in it are ``unsealed`` bytes of log, which the
    tables do not have yet, and the rows of the ``missing`` files.
    """

    out: str
    format: Format
    files: list[ExportedFile]
    tables: dict[str, int] = {}
    tokens: list[ExportedToken] = []
    skipped: list[SkippedToken] = []
    shift: int = 0
    unsealed: int = 0
    missing: list[str] = []

    @property
    def rows(self) -> int:
        """The rows of all files."""
        return sum(file.rows for file in self.files)

    @property
    def bytes(self) -> int:
        """The bytes of all files."""
        return sum(file.bytes for file in self.files)

    @property
    def whole(self) -> bool:
        """Whether everything that was recorded is in it."""
        return not (self.skipped or self.unsealed or self.missing)


def unsealed_bytes(folder: Path) -> int:
    """Count the bytes of log that the tables of a recording do not have yet."""
    return sum(one.unsealed for one in recordings(folder) if one.path == str(folder))


def missing_files(folder: Path) -> list[str]:
    """List the files of tables that the manifest names and the folder does not have.

    Raises:
        StoreError: the folder is not a recording.
    """
    files = (file for file in read_manifest(folder).files if file.table in STORED)
    return [file.path for file in files if is_missing(folder, file)]
