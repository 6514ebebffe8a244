"""What a frame of the past covers: told with it, as the venue does not give everything that is asked for."""

from typing import TypeAlias

import msgspec
import polars as pl

from pmlive.times import utc

__all__ = ["Coverage", "HistoryFrame", "HistoryWarning"]

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
