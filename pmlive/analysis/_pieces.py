"""What stands until it changes, cut at the edges of windows, with the time for which each piece counts."""

from collections.abc import Sequence

import polars as pl

from pmlive.analysis._intervals import as_of, by_token_and_time, lost_until

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
    known = {"_known": "ts_recv", **{name: name for name in values}}
    edges = as_of(spans.select("token_id", "start", ts_recv="start"), states, known, when="before")
    rows = by_token_and_time(states).select(
        "token_id", "ts_recv", *values, _known="ts_recv", _is_row=pl.lit(value=True)
    )
    ends = spans.select("token_id").unique().with_columns(ts_recv=until, _is_end=pl.lit(value=True))
    cut = by_token_and_time(pl.concat([edges, rows, ends], how="diagonal"))
    lost = pl.lit(lost_until(cut, gaps, "ts_recv", conns=states))
    after = [each.shift(-1) - each for each in (pl.col("ts_recv").cast(pl.Int64), lost)]
    return (
        cut.with_columns(
            pl.col("start").forward_fill().over("token_id"),
            pl.col("_is_row", "_is_end").fill_null(value=False),
            _weight=(after[0] - after[1]).cast(pl.Float64),
            _stands=pl.col("_known").is_not_null(),
        )
        .filter(~pl.col("_is_end"))
        .drop("_is_end", "_known")
    )
