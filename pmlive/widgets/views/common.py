"""What the views have in common: times and numbers as arrays, and the intervals that cannot be trusted."""

from collections.abc import Mapping
from typing import TypeAlias, TypedDict

import numpy as np
import polars as pl

__all__ = ["GapView", "Numbers", "View", "columns", "gap_view", "milliseconds", "numbers"]

# Times are milliseconds since 1970, as browsers count them; what is null in a frame is NaN in an array.
Numbers: TypeAlias = np.ndarray[tuple[int, ...], np.dtype[np.float64]]
View: TypeAlias = Mapping[str, object]

# So many of the last gaps are shaded.
_SHADED = 200


class GapView(TypedDict):
    """Intervals to shade; one that lasts has no end, which is NaN."""

    gap_starts: Numbers
    gap_ends: Numbers
    gap_causes: list[str]


def gap_view(gaps: pl.DataFrame, token_id: str) -> GapView:
    """Find the gaps of a token, and those of everything, such as a full disk.

    A connection that is lost is a gap of each token on it, too; one of another channel does not concern the token.
    """
    if gaps.is_empty():
        return {"gap_starts": np.empty(0), "gap_ends": np.empty(0), "gap_causes": []}
    everything = pl.col("token_id").is_null() & (pl.col("conn") == 0)
    its = (
        gaps.lazy()
        .filter((pl.col("token_id") == token_id) | everything)
        .tail(_SHADED)
        .select(pl.col("started", "ended").to_physical(), pl.col("cause").cast(pl.String))
        .collect()
    )
    return {
        "gap_starts": its["started"].to_numpy() / 1e6,
        "gap_ends": its["ended"].to_numpy() / 1e6,
        "gap_causes": its["cause"].to_list(),
    }


def columns(frame: pl.DataFrame, token_id: str, most: int, *names: str) -> list[pl.Series]:
    """Take the last rows of a token; without a query, which costs some times as much as the few rows of a drawing."""
    which = frame["token_id"] == token_id
    return [frame[name].filter(which).tail(most) for name in names]


def milliseconds(times: pl.Series) -> Numbers:
    """Turn times, of which none is null, into milliseconds since 1970."""
    return times.to_numpy().astype(np.int64) / 1e6


def numbers(column: pl.Series) -> Numbers:
    """Turn a column into an array."""
    return column.cast(pl.Float64).to_numpy()
