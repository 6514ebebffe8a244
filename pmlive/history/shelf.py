"""What was fetched of the past, kept on disk: files that are written once and whole, and the times they cover.

Several processes may use a folder at once, and be killed at any time: a file is written aside and then renamed, and two
that have one name hold the same. A file that cannot be read is fetched again. Nothing is kept of the last hour, which
may still change.
"""

import os
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TypeAlias

import msgspec
import polars as pl

from pmlive.logs import get_logger
from pmlive.times import utc

__all__ = [
    "SETTLED_NS",
    "Coverage",
    "HistoryFrame",
    "HistoryWarning",
    "Shelf",
]

logger = get_logger(__name__)

# What is older than this is taken to be final: the venue's answers lag by minutes, and blocks are final within them.
SETTLED_NS = 3_600 * 10**9
# What a killed process left is removed after this time.
_LEFT_FOR_S = 86_400.0
_NOTES = "pmlive"


class Shelf:
    """A folder of frames, each with some notes; without a folder nothing is kept."""

    def __init__(self, folder: Path | None, schema: Mapping[str, pl.DataType | type[pl.DataType]]) -> None:
        """Use a folder, which is made when something is kept."""
        self._folder = folder
        self._schema = pl.Schema(schema)

    def names(self) -> list[str]:
        """List the names of what is kept."""
        return [] if self._folder is None else sorted(path.stem for path in self._folder.glob("*.parquet"))

    def get(self, name: str) -> tuple[pl.DataFrame, dict[str, object]] | None:
        """Return a frame and its notes; None if there is none, or none that can be read."""
        if self._folder is None:
            return None
        path = self._folder / f"{name}.parquet"
        try:
            frame = pl.read_parquet(path, schema=self._schema)
            notes = msgspec.json.decode(pl.read_parquet_metadata(path)[_NOTES], type=dict[str, object])
        except FileNotFoundError:
            return None
        except (OSError, msgspec.DecodeError, KeyError, pl.exceptions.PolarsError) as error:
            logger.warning("%s cannot be read, and is fetched again: %s", path, error)
            return None
        return frame, notes

    def keep(self, name: str, frame: pl.DataFrame, notes: Mapping[str, object]) -> None:
        """Keep a frame; that the disk refuses is logged, and then it is fetched again the next time."""
        if self._folder is None:
            return
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._remove_leftovers(self._folder)
            self._write(self._folder, name, frame.select(self._schema.names()), notes)
        except OSError as error:
            logger.warning("%s could not be kept in %s: %s", name, self._folder, error)

    def _write(self, folder: Path, name: str, frame: pl.DataFrame, notes: Mapping[str, object]) -> None:
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".", suffix=".tmp", delete=False) as file:
            try:
                frame.write_parquet(file, metadata={_NOTES: msgspec.json.encode(dict(notes)).decode()})
                file.flush()
                os.fsync(file.fileno())
                Path(file.name).replace(folder / f"{name}.parquet")
            except BaseException:
                Path(file.name).unlink(missing_ok=True)
                raise

    def _remove_leftovers(self, folder: Path) -> None:
        for path in folder.glob(".*.tmp"):
            with suppress(FileNotFoundError):
                if time.time() - path.stat().st_mtime > _LEFT_FOR_S:
                    path.unlink()


# --- coverage ---
# What a frame of the past covers: told with it, as the venue does not give everything that is asked for.

_Copied: TypeAlias = tuple[type[pl.DataFrame], tuple[list[pl.Series]]]


class HistoryWarning(UserWarning):
    """Not all is there that was asked for, or that a file has; the message says what is missing, with its numbers."""


class Coverage(msgspec.Struct, frozen=True, kw_only=True):
    """What was asked for, what the venue gave, and what is missing; times are nanoseconds since 1970, UTC.

    Of the interval ``asked_from`` to ``asked_to``, everything is there that the venue has of ``given_from`` to
    ``given_to``; what is newer than ``settled_to`` may still be joined by more. The frame has ``rows``. So many
    ``requests`` were made, and so many rows taken from disk (``cached``), also of other times. ``repeated`` rows came
    twice, at the border of two pages, and are there once. ``missing`` has a sentence for each thing that was asked for
    and cannot be had.
    """

    asked_from: int
    asked_to: int
    given_from: int
    given_to: int
    settled_to: int
    rows: int = 0
    requests: int = 0
    cached: int = 0
    repeated: int = 0
    missing: tuple[str, ...] = ()

    @property
    def whole(self) -> bool:
        """Whether all that was asked for is there."""
        return not self.missing

    def __str__(self) -> str:
        """Describe it in a line."""
        told = f"{self.rows:,} rows of {utc(self.given_from)} to {utc(self.given_to)} UTC, {self.requests:,} requests"
        return "; ".join((told, *self.missing))


class HistoryFrame(pl.DataFrame):
    """A frame from the venue's REST, and its ``coverage``; what polars makes of it is a plain ``pl.DataFrame``."""

    coverage: Coverage

    def __init__(self, frame: pl.DataFrame, coverage: Coverage) -> None:
        """Hold the columns of a frame."""
        super().__init__(frame)
        self.coverage = coverage

    def __reduce__(self) -> _Copied:
        """Copy the rows, and leave the coverage out."""
        return pl.DataFrame, (self.get_columns(),)
