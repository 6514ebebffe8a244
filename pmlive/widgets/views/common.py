"""What the views have in common: times and numbers as arrays, and the intervals that cannot be trusted."""

from collections.abc import Mapping
from typing import Any, TypeAlias, TypedDict

import numpy as np
import polars as pl

from pmlive.gaps import concerning

__all__ = ["GapView", "Numbers", "Places", "View", "flags", "gap_view", "milliseconds", "numbers", "places"]

# Times are milliseconds since 1970, as browsers count them; what is null in a frame is NaN in an array.
Numbers: TypeAlias = np.ndarray[tuple[int, ...], np.dtype[np.float64]]
View: TypeAlias = Mapping[str, object]
# Where rows are in a frame.
Places: TypeAlias = np.ndarray[tuple[int, ...], np.dtype[np.intp]]

# So many of the last gaps are shaded.
_SHADED = 200


class GapView(TypedDict):
    """Intervals to shade; one that lasts has no end, which is NaN."""

    gap_starts: Numbers
    gap_ends: Numbers
    gap_causes: list[str]


def gap_view(gaps: pl.DataFrame, token_id: str) -> GapView:
    """Find the gaps of a token, and those of everything, such as a full disk.

    What befalls a connection is a gap of each token on it, too, so those of connections are left out.
    """
    if gaps.is_empty():
        return {"gap_starts": np.empty(0), "gap_ends": np.empty(0), "gap_causes": []}
    last = concerning(gaps, token_id, ()).to_numpy().nonzero()[0][-_SHADED:]
    return {
        "gap_starts": milliseconds(gaps, "started", last),
        "gap_ends": milliseconds(gaps, "ended", last),
        "gap_causes": [gaps["cause"][at] for at in last.tolist()],
    }


def places(frame: pl.DataFrame, token_id: str, most: int) -> Places:
    """Give the places of the last rows of a token.

    Charts are made of a few rows many times a second: queries, and filters of columns, cost many times as much as they.
    """
    return (frame["token_id"] == token_id).to_numpy().nonzero()[0][-most:]


def milliseconds(frame: pl.DataFrame, name: str, at: Places) -> Numbers:
    """Take times, as milliseconds since 1970."""
    times = _taken(frame, name, at).astype("datetime64[ns]")
    return np.where(np.isnat(times), np.nan, times.astype(np.int64) / 1e6)


def numbers(frame: pl.DataFrame, name: str, at: Places) -> Numbers:
    """Take numbers."""
    return _taken(frame, name, at).astype(np.float64)


def flags(frame: pl.DataFrame, name: str, at: Places, word: str) -> Numbers:
    """Take 1 where there is a word, and 0 where there is another."""
    return (_taken(frame, name, at) == word).astype(np.float64)


def _taken(frame: pl.DataFrame, name: str, at: Places) -> np.ndarray[tuple[int, ...], np.dtype[Any]]:
    return frame[name].to_numpy()[at] if len(at) else np.empty(0)
