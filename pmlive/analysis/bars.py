"""Bars of trades and of quotes: closed on the left, open on the right, in UTC by our own clock (``ts_recv``)."""

import polars as pl

from pmlive.analysis._intervals import (
    Every,
    Touched,
    as_of,
    by_token_and_time,
    last_time,
    mark,
    positive_ns,
    window_start,
    windows,
)

__all__ = ["quote_bars", "trade_bars"]

_TRADED = ("open", "high", "low", "close", "volume", "vwap", "trades")
_QUOTED = ("mid", "spread", "quoted", "quotes")


def trade_bars(
    trades: pl.DataFrame, every: Every, *, gaps: pl.DataFrame | None = None, touched: Touched = "flag"
) -> pl.DataFrame:
    """Return bars of trades, from each token's first trade to the frame's last.

    Returns ``token_id``, ``start``, ``end``, ``open``, ``high``, ``low``, ``close``, ``vwap`` (dollars a share),
    ``volume`` (shares), ``trades`` and ``touched``. A bar without a trade has volume 0 and null prices: no price is
    carried forward. One that a gap touches has only nulls, or is left out with ``touched="drop"``.

    Raises:
        ValueError: ``every`` is not a length of time above 0.

    >>> times = pl.Series([0, 900, 2500], dtype=pl.Int64).cast(pl.Datetime("ms")).cast(pl.Datetime("ns", "UTC"))
    >>> trades = pl.DataFrame({"token_id": "7", "ts_recv": times, "price": [0.5, 0.49, 0.53], "size": [10.0, 5.0, 8.0]})
    >>> trade_bars(trades, "1s").select("open", "close", "volume", "trades").rows()
    [(0.5, 0.49, 15.0, 2), (None, None, 0.0, 0), (0.53, 0.53, 8.0, 1)]
    """
    price, size = pl.col("price"), pl.col("size")
    made = (
        by_token_and_time(trades)
        .group_by("token_id", window_start(every).alias("start"))
        .agg(
            open=price.first(),
            high=price.max(),
            low=price.min(),
            close=price.last(),
            vwap=(price * size).sum() / size.sum(),
            volume=size.sum(),
            trades=pl.len(),
        )
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
    shows.

    Raises:
        ValueError: ``every`` is not a length of time above 0.
    """
    pieces = _pieces(prices, every).with_columns(
        _length=pl.when(pl.col("spread").is_not_null()).then(pl.col("_length")).otherwise(0.0)
    )
    length = pl.col("_length")
    made = pieces.group_by("token_id", window_start(every).alias("start")).agg(
        mid=pl.col("mid").last(),
        spread=pl.when(length.sum() > 0).then((length * pl.col("spread")).sum() / length.sum()),
        quoted=length.sum() / positive_ns(every),
        quotes=pl.col("_is_quote").sum(),
    )
    bars = windows(prices, every).join(made, on=["token_id", "start"], how="left").sort("token_id", "start")
    return mark(bars, gaps, conns=prices, measured=_QUOTED, touched=touched)


def _pieces(prices: pl.DataFrame, every: Every) -> pl.DataFrame:
    edges = windows(prices, every).select("token_id", ts_recv="start")
    carried = as_of(edges, prices, {"mid": "mid", "spread": "spread"}, when="before")
    quotes = by_token_and_time(prices).select("token_id", "ts_recv", "mid", "spread")
    cut = by_token_and_time(
        pl.concat(
            [carried.with_columns(_is_quote=pl.lit(value=False)), quotes.with_columns(_is_quote=pl.lit(value=True))]
        )
    )
    until = pl.col("ts_recv").shift(-1).over("token_id").fill_null(last_time(prices))
    return cut.with_columns(_length=(until - pl.col("ts_recv")).dt.total_nanoseconds().cast(pl.Float64))
