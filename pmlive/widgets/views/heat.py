"""The liquidity of a token over time: how much rested at each price, in slices of time."""

from collections.abc import Sequence

import numpy as np
import polars as pl

from pmlive.widgets.views.common import GapView, Numbers, Places, gap_view, milliseconds, places

__all__ = ["LEVELS", "HeatView", "heat_view"]

# So many slices fill a chart; a recording's day fits in with slices that are longer.
_SLICES = 600
_ROWS = 50_000
# The best levels of a side that are shown; so many columns its half of a row has, whatever the book.
LEVELS = 10
_PRICES, _SIZES = ("bid_prices", "ask_prices"), ("bid_sizes", "ask_sizes")


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
    rows = places(depth, token_id, _ROWS)
    slices = milliseconds(depth, "ts_recv", rows) // slice_ms * slice_ms
    last = _last_of_each(slices)[-_SLICES:]
    prices, sizes = (_matrix([depth[name] for name in some], rows[last]) for some in (_PRICES, _SIZES))
    return {
        "label": label,
        "doubt": doubt,
        "now": now,
        "window": window,
        "slice": float(slice_ms),
        "times": slices[last],
        "prices": prices,
        "sizes": sizes,
        **gap_view(gaps, token_id),
    }


def _last_of_each(slices: Numbers) -> Places:
    """Give the places of the last row of each slice, in order."""
    _, from_end = np.unique(slices[::-1], return_index=True)
    return np.sort(len(slices) - 1 - from_end)


def _matrix(sides: Sequence[pl.Series], rows: Places) -> Numbers:
    """Lay out the lists of both sides, of different lengths, as rows of one array."""
    matrix = np.full((len(rows), len(sides) * LEVELS), np.nan)
    for begin, lists in zip(range(0, matrix.shape[1], LEVELS), sides, strict=True):
        for row, at in enumerate(rows.tolist()):
            best = lists[at].to_numpy()[:LEVELS]
            matrix[row, begin : begin + len(best)] = best
    return matrix
