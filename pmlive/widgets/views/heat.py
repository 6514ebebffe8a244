"""The liquidity of a token over time: how much rested at each price, in slices of time."""

import numpy as np
import polars as pl

from pmlive.widgets.views.common import GapView, Numbers, gap_view, of_token

__all__ = ["LEVELS", "HeatView", "heat_view"]

# So many slices fill a chart; a recording's day fits in with slices that are longer.
_SLICES = 600
_ROWS = 50_000
# The best levels of a side that are shown; so many columns its half of a row has, whatever the book.
LEVELS = 10
_SIDES = ("bid", "ask")


class HeatView(GapView):
    """Each slice shows the book as it was last in it, and holds until the next one begins.

    ``prices`` and ``sizes`` have a row a slice: ten best bids, then ten best asks, NaN where there are fewer.
    Slices begin at multiples of ``slice`` milliseconds, so one that comes again replaces the one before.
    """

    label: str
    doubt: str
    now: float
    window: float
    slice: float
    times: Numbers
    prices: Numbers
    sizes: Numbers


def heat_view(  # each is by name
    depth: pl.DataFrame,
    gaps: pl.DataFrame,
    *,
    token_id: str,
    label: str,
    now: float,
    window: float = 0.0,
    slice_ms: int = 500,
    doubt: str = "",
) -> HeatView:
    """Show the last ladders of a token."""
    its = of_token(depth, token_id, _ROWS)
    slices = (its["ts_recv"].dt.epoch("ms") // slice_ms * slice_ms).alias("slice")
    last = its.with_columns(slices).unique("slice", keep="last", maintain_order=True).tail(_SLICES)
    return {
        "label": label,
        "doubt": doubt,
        "now": now,
        "window": window,
        "slice": float(slice_ms),
        "times": last["slice"].cast(pl.Float64).to_numpy(),
        "prices": np.hstack([_matrix(last[f"{side}_prices"]) for side in _SIDES]),
        "sizes": np.hstack([_matrix(last[f"{side}_sizes"]) for side in _SIDES]),
        **gap_view(gaps, token_id),
    }


def _matrix(ladders: pl.Series) -> Numbers:
    """Lay out lists of different lengths as rows of one array."""
    best = ladders.list.head(LEVELS)
    lengths = best.list.len().to_numpy()
    matrix = np.full((len(lengths), LEVELS), np.nan)
    matrix[np.arange(LEVELS) < lengths[:, None]] = best.filter(best.list.len() > 0).explode().to_numpy()
    return matrix
