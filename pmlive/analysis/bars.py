"""Bars of trades and of quotes: closed on the left, open on the right, in UTC by our own clock (``ts_recv``)."""

from typing import NamedTuple, TypeAlias, TypeVar

import numpy as np
import polars as pl

from pmlive.analysis._intervals import (
    Every,
    Touched,
    by_token_and_time,
    last_time,
    mark,
    outside,
    touched_by,
    window_start,
    windows,
)
from pmlive.analysis._pieces import pieces

__all__ = ["OhlcArrays", "ohlc", "ohlc_arrays", "quote_bars", "trade_bars"]

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
    cut = pieces(prices, spans, ("mid", "spread"), until=last_time(prices), gaps=left_out)
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
