"""The liquidity of a token over time: how much rested at each price, in slices of time."""

import polars as pl

from pmlive.widgets.views.common import GapView, Numbers, gap_view

__all__ = ["LEVELS", "HeatView", "heat_view"]

# So many slices fill a chart; a recording's day fits in with slices that are longer.
_SLICES = 600
_ROWS = 50_000
# The best levels of a side that are shown; so many columns its half of a row has, whatever the book.
LEVELS = 10
_SIDES = ("bid", "ask")
_BEST = list(range(LEVELS))


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
    slices = (pl.col("ts_recv").dt.epoch("ms") // slice_ms * slice_ms).alias("slice")
    last = (
        depth.lazy()
        .filter(pl.col("token_id") == token_id)
        .tail(_ROWS)
        .with_columns(slices)
        .unique("slice", keep="last", maintain_order=True)
        .tail(_SLICES)
        .select(pl.col("slice").cast(pl.Float64), _matrix("prices"), _matrix("sizes"))
        .collect()
    )
    return {
        "label": label,
        "doubt": doubt,
        "now": now,
        "window": window,
        "slice": float(slice_ms),
        "times": last["slice"].to_numpy(),
        "prices": last["prices"].to_numpy(),
        "sizes": last["sizes"].to_numpy(),
        **gap_view(gaps, token_id),
    }


def _matrix(what: str) -> pl.Expr:
    """Lay out the lists of both sides, of different lengths, as rows of one array."""
    sides = [pl.col(f"{side}_{what}").list.gather(_BEST, null_on_oob=True) for side in _SIDES]
    return pl.concat_list(sides).list.to_array(len(_SIDES) * LEVELS).alias(what)
