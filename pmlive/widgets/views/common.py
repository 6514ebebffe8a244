"""What the views have in common: times and numbers as arrays, and the intervals that cannot be trusted."""

from collections.abc import Mapping
from typing import TypeAlias, TypedDict

import numpy as np
import polars as pl

__all__ = ["GapView", "Numbers", "View", "gap_view", "milliseconds", "nanoseconds", "number", "rows"]

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
    its = rows(
        gaps,
        (pl.col("token_id") == token_id) | everything,
        _SHADED,
        nanoseconds("started"),
        nanoseconds("ended"),
        pl.col("cause").cast(pl.String),
    )
    return {
        "gap_starts": milliseconds(its["started"]),
        "gap_ends": milliseconds(its["ended"]),
        "gap_causes": its["cause"].to_list(),
    }


def rows(frame: pl.DataFrame, which: pl.Expr, most: int, *columns: pl.Expr) -> pl.DataFrame:
    """Take the last rows of some, in one query: a chart's rows are few, and each query costs more than they do."""
    return frame.lazy().filter(which).tail(most).select(columns).collect()


def nanoseconds(name: str) -> pl.Expr:
    """Turn times into nanoseconds since 1970."""
    return pl.col(name).to_physical()


def milliseconds(column: pl.Series) -> Numbers:
    """Turn nanoseconds into milliseconds since 1970; a time is the same number whatever rows it comes with."""
    return column.to_numpy() / 1e6


def number(name: str) -> pl.Expr:
    """Turn a column into numbers."""
    return pl.col(name).cast(pl.Float64)
