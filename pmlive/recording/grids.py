"""Grids of times: left-closed intervals, each named by its start."""

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import polars as pl

from pmlive.recording.known import Known
from pmlive.recording.ladders import Whole
from pmlive.recording.trust import Span

__all__ = ["TIME", "Flags", "Grid", "within"]

TIME = pl.Datetime("ns", "UTC")
_MOST = 20_000_000

Flags: TypeAlias = npt.NDArray[np.bool_]


class Grid:
    """Intervals of equal length, each named by its start and without its end; the first and the last are whole ones.

    Raises:
        ValueError: there are too many.
    """

    def __init__(self, known: Known, every: int, start: int | None, end: int | None) -> None:
        first, last = known.contents.first_recv(), known.contents.last_recv()
        self.every = every
        begin = (first or 0) if start is None else start
        stop = (0 if last is None else last + 1) if end is None else end
        if (stop - begin) // every > _MOST:
            raise ValueError(
                f"{(stop - begin) // every:,} intervals are too many; make them longer, or give start and end"
            )
        self.starts: Whole = np.arange(begin // every * every, max(stop, begin), every, dtype=np.int64)
        # The last time within each.
        self.lasts: Whole = self.starts + every - 1

    @property
    def times(self) -> pl.Series:
        """Give the starts as times."""
        return pl.Series("time", self.starts).cast(TIME)


def within(spans: Sequence[Span], times: Whole) -> Flags:
    """Tell which times lie in intervals that are in order and do not overlap."""
    if not spans:
        return np.zeros(len(times), dtype=np.bool_)
    starts, ends = np.array([span.start for span in spans]), np.array([span.end for span in spans])
    index = np.searchsorted(starts, times, side="right") - 1
    return (index >= 0) & (times < ends[np.maximum(index, 0)])
