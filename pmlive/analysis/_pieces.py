"""What stands until it changes, cut at the edges of windows, with the time for which each piece counts."""

from collections.abc import Sequence

import polars as pl

from pmlive.analysis._intervals import as_of, by_token_and_time, covered_time

__all__ = ["pieces"]


def pieces(
    states: pl.DataFrame,
    spans: pl.DataFrame,
    values: Sequence[str],
    *,
    until: pl.Expr,
    gaps: pl.DataFrame | None = None,
) -> pl.DataFrame:
    """Return the pieces of a step function, each from a row or the edge of a window to the next.

    Args:
        states: ``token_id``, ``ts_recv`` and the values; a row stands until the token's next one.
        spans: windows that follow each other, as ``windows`` returns them.
        values: columns of the states.
        until: the end of each token's last piece.
        gaps: rows of ``gaps`` whose time does not count; a piece that a gap interrupts goes on after it.

    Returns:
        ``token_id``, ``start`` (of the window), ``ts_recv``, the values, ``_weight`` (the nanoseconds that count, as a
        float), ``_stands`` (whether there was a row by then) and ``_is_row`` (whether the piece begins with one).
    """
    edges = spans.select("token_id", "start", ts_recv="start")
    known = {"_known": "ts_recv", **{name: name for name in values}}
    carried = as_of(edges, states, known, when="before").with_columns(_is_row=pl.lit(value=False))
    rows = by_token_and_time(states).select(
        "token_id", "ts_recv", *values, _known="ts_recv", _is_row=pl.lit(value=True)
    )
    cut = by_token_and_time(pl.concat([carried, rows], how="diagonal"))
    ends = cut.with_columns(
        pl.col("start").forward_fill().over("token_id"),
        _end=pl.col("ts_recv").shift(-1).over("token_id").fill_null(until),
        _stands=pl.col("_known").is_not_null(),
    )
    counts = covered_time(ends.select("token_id", start="ts_recv", end="_end"), gaps, conns=states)
    return ends.with_columns(_weight=counts.cast(pl.Float64)).drop("_end", "_known")
