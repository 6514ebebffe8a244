"""What the views have in common: times and numbers as arrays, and the intervals that cannot be trusted."""

from collections.abc import Mapping
from typing import TypeAlias, TypedDict

import numpy as np
import polars as pl

__all__ = ["GapView", "Numbers", "View", "gap_view", "milliseconds", "numbers", "of_token"]

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
    everything = pl.col("token_id").is_null() & (pl.col("conn") == 0)
    its = gaps.filter((pl.col("token_id") == token_id) | everything).tail(_SHADED)
    return {
        "gap_starts": milliseconds(its["started"]),
        "gap_ends": milliseconds(its["ended"]),
        "gap_causes": its["cause"].cast(pl.String).to_list(),
    }


def of_token(frame: pl.DataFrame, token_id: str, most: int) -> pl.DataFrame:
    """Take the last rows of a token."""
    return frame.filter(pl.col("token_id") == token_id).tail(most)


def milliseconds(times: pl.Series) -> Numbers:
    """Turn times into milliseconds since 1970."""
    return numbers(times.to_physical() / 1e6)


def numbers(column: pl.Series) -> Numbers:
    """Turn a column into an array."""
    return column.cast(pl.Float64).fill_null(float("nan")).to_numpy()
