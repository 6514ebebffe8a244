"""Bars of trades and of quotes, and means weighted by time, in windows of time.

A window is closed on the left and open on the right, in UTC by our own clock (``ts_recv``).
"""

from collections.abc import Sequence
from typing import NamedTuple, TypeAlias, TypeVar

import numpy as np
import polars as pl

from pmlive.analysis._intervals import (
    Every,
    Touched,
    as_of,
    by_token_and_time,
    last_time,
    lost_until,
    mark,
    outside,
    touched_by,
    window_start,
    windows,
)

__all__ = [
    "OhlcArrays",
    "ohlc",
    "ohlc_arrays",
    "quote_bars",
    "time_weighted_mean",
    "trade_bars",
]

Integers: TypeAlias = np.ndarray[tuple[int, ...], np.dtype[np.int64]]
Floats: TypeAlias = np.ndarray[tuple[int, ...], np.dtype[np.float64]]
_Rows = TypeVar("_Rows", pl.DataFrame, pl.LazyFrame)

_TRADED = ("open", "high", "low", "close", "volume", "vwap", "trades")
_QUOTED = ("mid", "spread", "quoted", "quotes")


def ohlc(rows: _Rows, every: Every, column: str = "price", **more: pl.Expr) -> _Rows:
    """Return what a column was first, at most, at least and last in each bar of each token that has a row.

    Args:
        rows: ``token_id``, ``ts_recv`` and the column, in order of time.
        every: the length of a bar; bars begin at whole multiples of it since 1970.
        column: what is measured, in its own unit.
        more: further columns, as expressions over the rows of a bar.

    Returns:
        ``token_id``, ``start``, ``open``, ``high``, ``low``, ``close`` and ``more``, in any order. Gaps are not looked
        at: leave out the rows in them before.

    Raises:
        ValueError: ``every`` is not a length of time above 0.

    >>> times = pl.Series([0, 900, 2500], dtype=pl.Int64).cast(pl.Datetime("ms")).cast(pl.Datetime("ns", "UTC"))
    >>> mids = pl.DataFrame({"token_id": "7", "ts_recv": times, "mid": [0.5, 0.49, 0.53]})
    >>> ohlc(mids, "1s", "mid", quotes=pl.len()).sort("start").drop("token_id", "start").rows()
    [(0.5, 0.5, 0.49, 0.49, 2), (0.53, 0.53, 0.53, 0.53, 1)]
    """
    value = pl.col(column)
    measures = {"open": value.first(), "high": value.max(), "low": value.min(), "close": value.last()}
    return rows.group_by("token_id", window_start(every).alias("start")).agg(**measures, **more)


class OhlcArrays(NamedTuple):
    """Bars as arrays: when each begins (ns), which row is its first, and the values that ``ohlc`` returns."""

    starts: Integers
    first: Integers
    open: Floats
    high: Floats
    low: Floats
    close: Floats


def ohlc_arrays(times: Integers, values: Floats, length: int) -> OhlcArrays:
    """Return what ``ohlc`` does for one token, of arrays: for few rows, in a hundredth of the time.

    Args:
        times: nanoseconds since 1970, in order.
        values: what is measured, none of them NaN.
        length: nanoseconds of a bar.

    >>> bars = ohlc_arrays(np.array([0, 900, 2500]), np.array([0.5, 0.49, 0.53]), 1000)
    >>> bars.starts.tolist(), bars.low.tolist()
    ([0, 2000], [0.49, 0.53])
    """
    starts = times // length * length
    first = np.flatnonzero(np.diff(starts, prepend=starts[:1] - 1))
    if not len(first):
        return OhlcArrays(starts, first, values, values, values, values)
    high, low = np.maximum.reduceat(values, first), np.minimum.reduceat(values, first)
    last = np.append(first[1:], len(values)) - 1
    return OhlcArrays(starts[first], first, values[first], high, low, values[last])


def trade_bars(
    trades: pl.DataFrame, every: Every, *, gaps: pl.DataFrame | None = None, touched: Touched = "flag"
) -> pl.DataFrame:
    """Return bars of trades, from each token's first trade to the frame's last.

    Returns ``token_id``, ``start``, ``end``, ``open``, ``high``, ``low``, ``close``, ``vwap`` (dollars a share),
    ``volume`` (shares), ``trades`` and ``touched``. A bar without a trade has volume 0 and null prices: no price is
    carried forward. One that a gap touches has only nulls, or is left out with ``touched="drop"``. With ``"exclude"``
    it has the trades that were received outside of gaps, and ``covered`` is added: the share of the bar, 0 to 1, in
    which no gap lasted, so that ``volume / covered`` is comparable with the volume of other bars.

    Raises:
        ValueError: ``every`` is not a length of time above 0.

    >>> times = pl.Series([0, 900, 2500], dtype=pl.Int64).cast(pl.Datetime("ms")).cast(pl.Datetime("ns", "UTC"))
    >>> trades = pl.DataFrame({"token_id": "7", "ts_recv": times, "price": [0.5, 0.49, 0.53], "size": [10.0, 5.0, 8.0]})
    >>> trade_bars(trades, "1s").select("open", "close", "volume", "trades").rows()
    [(0.5, 0.49, 15.0, 2), (None, None, 0.0, 0), (0.53, 0.53, 8.0, 1)]
    """
    price, size = pl.col("price"), pl.col("size")
    made = ohlc(
        by_token_and_time(outside(trades, gaps, touched=touched)),
        every,
        vwap=(price * size).sum() / size.sum(),
        volume=size.sum(),
        trades=pl.len(),
    )
    bars = windows(trades, every).join(made, on=["token_id", "start"], how="left").sort("token_id", "start")
    whole = bars.with_columns(pl.col("volume").fill_null(0.0), pl.col("trades").fill_null(0))
    return mark(whole, gaps, conns=trades, measured=_TRADED, touched=touched)


def quote_bars(
    prices: pl.DataFrame, every: Every, *, gaps: pl.DataFrame | None = None, touched: Touched = "flag"
) -> pl.DataFrame:
    """Return bars of quotes, each of which stands until the next, from each token's first to the frame's last.

    Returns ``token_id``, ``start``, ``end``, ``mid`` (at the close, null if a side is empty then), ``spread`` (the
    average over the time during which both sides had quotes), ``quoted`` (that time as a fraction of the bar),
    ``quotes`` (rows in the bar) and ``touched``. The last bar is known up to the frame's last row only, as ``quoted``
    shows. With ``touched="exclude"`` the time of gaps does not count: ``mid`` is the last one outside of them, and
    ``covered`` is added, the share of the bar in which a quote stood and no gap lasted. ``time_weighted_mean`` has the
    averages of other columns.

    Raises:
        ValueError: ``every`` is not a length of time above 0.
    """
    spans = windows(prices, every)
    left_out = gaps if touched == "exclude" else None
    cut = _pieces(prices, spans, ("mid", "spread"), until=last_time(prices), gaps=left_out)
    cut = cut.with_columns(
        _length=pl.when(pl.col("spread").is_not_null()).then(pl.col("_weight")).otherwise(0.0),
        _counts=pl.col("_is_row") & ~pl.lit(_inside(cut, prices, left_out)),
    )
    length, weight = pl.col("_length"), pl.col("_weight")
    made = cut.group_by("token_id", "start").agg(
        mid=(pl.col("mid") if left_out is None else pl.col("mid").filter(weight > 0)).last(),
        spread=pl.when(length.sum() > 0).then((length * pl.col("spread")).sum() / length.sum()),
        quoted=length.sum(),
        quotes=pl.col("_counts").sum(),
        covered=weight.filter("_stands").sum(),
    )
    bars = spans.join(made, on=["token_id", "start"], how="left").sort("token_id", "start")
    whole = (pl.col("end") - pl.col("start")).dt.total_nanoseconds()
    bars = bars.with_columns(pl.col("quoted", "covered") / whole)
    kept = bars if touched == "exclude" else bars.drop("covered")
    return mark(kept, gaps, conns=prices, measured=_QUOTED, touched=touched)


def _inside(cut: pl.DataFrame, prices: pl.DataFrame, gaps: pl.DataFrame | None) -> pl.Series:
    if gaps is None:
        return pl.Series([False], dtype=pl.Boolean).new_from_index(0, cut.height)
    return touched_by(cut.select("token_id", start="ts_recv", end="ts_recv"), gaps, conns=prices)


# --- pieces of step functions ---
# What stands until it changes, cut at the edges of windows, with the time for which each piece counts.


def _pieces(
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


# --- means weighted by time ---
# Means over time of what stands until it changes: prices, spreads, depth.
#
# A row stands until the token's next one, and the last until the frame's last row. The time of a gap has no weight.
# Where no row came with the end of a gap, the row before it stands again: ``prices`` has a row for each change, and at
# the end of a gap the book was known. A gap that ended because its market was resolved is an exception, which the gaps
# alone do not show; ``with_resolutions`` adds it.


def time_weighted_mean(
    states: pl.DataFrame,
    every: Every | None = None,
    *,
    values: Sequence[str] = ("mid", "spread"),
    gaps: pl.DataFrame | None = None,
    touched: Touched = "exclude",
) -> pl.DataFrame:
    """Return means weighted by how long each value stood, in windows of time, by default in one window per token.

    ``states`` has ``token_id``, ``ts_recv`` and the values: quotes, or what ``ladder_measures`` and the like return.

    Returns ``token_id``, ``start``, ``end``; per value its mean, under its own name, and ``known_`` with its name: the
    share of the window, 0 to 1, that the mean is of (while a value is null it has no weight); ``touched``; and with
    ``"exclude"`` ``covered``, the share in which a row stood and no gap lasted (null without ``gaps``).

    Raises:
        ValueError: a column is missing, ``every`` is not a length of time above 0, or ``touched`` is none of its words.

    >>> at = pl.Series([0, 1000, 4000], dtype=pl.Int64).cast(pl.Datetime("ms")).cast(pl.Datetime("ns", "UTC"))
    >>> quotes = pl.DataFrame({"token_id": "7", "ts_recv": at, "mid": [0.4, 0.6, 0.5]})
    >>> gap = pl.DataFrame({"token_id": "7", "conn": 3, "cause": "mismatch", "started": at[1:2], "ended": at[2:]})
    >>> time_weighted_mean(quotes, "4s", values=["mid"], gaps=gap).select("mid", "known_mid", "covered").rows()
    [(0.4, 0.25, 0.25), (None, 0.0, 0.0)]
    """
    _check_columns(states, values)
    until = last_time(states) + pl.duration(nanoseconds=int(every is None))
    cut = _pieces(states, windows(states, every), values, until=until, gaps=gaps if touched == "exclude" else None)
    means = _means(cut, windows(states, every), values)
    if touched == "exclude":
        return mark(means, gaps, conns=states, measured=values, touched=touched)
    measured = [*values, *_known(values)]
    return mark(means.drop("covered"), gaps, conns=states, measured=measured, touched=touched)


def _check_columns(states: pl.DataFrame, values: Sequence[str]) -> None:
    missing = [name for name in values if name not in states.columns]
    if missing:
        raise ValueError(f"the frame has no columns {missing!r}, only {states.columns!r}")


def _means(cut: pl.DataFrame, spans: pl.DataFrame, values: Sequence[str]) -> pl.DataFrame:
    known, length = _known(values), (pl.col("end") - pl.col("start")).dt.total_nanoseconds()
    sums = cut.group_by("token_id", "start").agg(
        *(_mean(name) for name in values),
        *(_weight(name).sum().alias(share) for name, share in zip(values, known, strict=True)),
        covered=pl.col("_weight").filter("_stands").sum(),
    )
    found = spans.join(sums, on=["token_id", "start"], how="left").sort("token_id", "start")
    return found.with_columns(pl.col(*known, "covered") / length)


def _known(values: Sequence[str]) -> list[str]:
    return [f"known_{name}" for name in values]


def _weight(name: str) -> pl.Expr:
    return pl.when(pl.col(name).is_not_null()).then(pl.col("_weight")).otherwise(0.0)


def _mean(name: str) -> pl.Expr:
    weight = _weight(name)
    return pl.when(weight.sum() > 0).then((weight * pl.col(name)).sum() / weight.sum()).alias(name)
