"""Order flow: what changed at the top of the book, and what was traded, signed by who took, also by volume (VPIN).

The sign of a trade is a claim, so what is made of it names its source and carries the name along.
"""

import numpy as np
import polars as pl

from pmlive.analysis._fit import Fit, fit
from pmlive.analysis._time import TIME, Every, ordered, placed, windows
from pmlive.analysis.gaps import Touched, broken, mark

__all__ = ["ofi_slope", "order_flow_events", "order_flow_imbalance", "signed", "trade_flow", "vpin"]

_FLOW = ("volume", "buy_volume", "sell_volume", "signed_volume", "vwap", "trades")
_TOP = ("best_bid", "best_bid_size", "best_ask", "best_ask_size")
# A bucket that floats leave short by less than this part is full.
_DUST = 1e-9
_VPIN_SCHEMA = {
    "token_id": pl.String,
    "bucket": pl.Int64,
    "start": TIME,
    "end": TIME,
    "buy_volume": pl.Float64,
    "sell_volume": pl.Float64,
    "touched": pl.Boolean,
}


def order_flow_events(prices: pl.DataFrame, *, gaps: pl.DataFrame | None = None) -> pl.DataFrame:
    """Measure each change of the top of the book as order flow.

    ``e = [b >= b'] Qb - [b <= b'] Qb' - [a <= a'] Qa + [a >= a'] Qa'``, with the best prices ``b`` and ``a``, their
    sizes ``Qb`` and ``Qa``, and primes for the quote before (Cont, Kukanov and Stoikov 2014, J. Financial Econometrics
    12(1):47-88). It uses no trade signs.

    Returns ``token_id``, ``ts_recv``, ``conn``, ``ofi`` (shares), ``mid_change`` (dollars a share) and ``touched`` for
    every quote but each token's first. Both numbers are null where a side is or was empty, and where a gap lies between
    the two quotes.
    """
    rows = ordered(prices)
    rows = rows.with_columns(touched=broken(rows, gaps))
    was = {name: pl.col(name).shift(1).over("token_id") for name in _TOP}
    bid, bid_size, ask, ask_size = (pl.col(name) for name in _TOP)
    old_bid, old_bid_size, old_ask, old_ask_size = was.values()
    flow = (
        pl.when(bid >= old_bid).then(bid_size).otherwise(0.0)
        - pl.when(bid <= old_bid).then(old_bid_size).otherwise(0.0)
        - pl.when(ask <= old_ask).then(ask_size).otherwise(0.0)
        + pl.when(ask >= old_ask).then(old_ask_size).otherwise(0.0)
    )
    known = (bid + old_bid + ask + old_ask).is_not_null() & ~pl.col("touched")
    moved = (bid + ask) / 2 - (old_bid + old_ask) / 2
    changes = rows.select(
        "token_id",
        "ts_recv",
        *(["conn"] if "conn" in rows.columns else []),
        ofi=pl.when(known).then(flow),
        mid_change=pl.when(known).then(moved),
        touched=pl.col("touched"),
        _first=pl.col("ts_recv").cum_count().over("token_id") == 1,
    )
    return changes.filter(~pl.col("_first")).drop("_first")


def order_flow_imbalance(
    prices: pl.DataFrame,
    every: Every | None = None,
    *,
    gaps: pl.DataFrame | None = None,
    touched: Touched = "flag",
) -> pl.DataFrame:
    """Add up the order flow of windows of time (without a length: of one window per token).

    Returns ``token_id``, ``start``, ``end``, ``ofi`` (shares), ``mid_change`` (dollars a share), ``changes`` (of the
    quote) and ``touched``. A window with a change that cannot be measured, since a side was empty, has null ``ofi`` and
    ``mid_change``.

    Raises:
        ValueError: ``every`` is not a length of time above 0.
    """
    spans = windows(prices, every)
    events = placed(order_flow_events(prices, gaps=gaps), spans)
    known = pl.col("ofi").is_not_null().all()
    made = events.group_by("token_id", "start").agg(
        ofi=pl.when(known).then(pl.col("ofi").sum()),
        mid_change=pl.when(known).then(pl.col("mid_change").sum()),
        changes=pl.len(),
        touched=pl.col("touched").any(),
        _any=pl.lit(value=True),
    )
    found = spans.join(made, on=["token_id", "start"], how="left").sort("token_id", "start")
    quiet = pl.col("_any").is_null()
    whole = found.with_columns(
        *(pl.when(quiet).then(0.0).otherwise(pl.col(name)).alias(name) for name in ("ofi", "mid_change")),
        pl.col("changes").fill_null(0),
        pl.col("touched").fill_null(value=False),
    ).drop("_any")
    return mark(whole, gaps, conns=prices, measured=("ofi", "mid_change", "changes"), touched=touched)


def ofi_slope(windows: pl.DataFrame) -> Fit | None:
    """Regress the change of the mid on the order flow of windows: dollars a share, per share of flow.

    Cont, Kukanov and Stoikov expect a slope near ``1 / (2 * depth)``. Windows with nulls are left out. None for fewer
    than 3, or where the flow never differs.
    """
    return fit(windows, "ofi", "mid_change")


def signed(trades: pl.DataFrame, *, sign_source: str) -> pl.DataFrame:
    """Add ``sign`` (1 where the taker bought, -1 where it sold) to trades that were signed by the named source.

    Raises:
        ValueError: a trade was signed by another source or by none, or has no side.
    """
    if "sign_source" not in trades.columns:
        raise ValueError(
            f"the frame has no column 'sign_source', so nothing shows that {sign_source!r} signed its trades"
        )
    others = trades.select(pl.col("sign_source").cast(pl.String).unique().sort()).to_series().to_list()
    if trades.height and others != [sign_source]:
        raise ValueError(f"sign_source is {sign_source!r} but the trades were signed by {others!r}; filter them first")
    sides = trades["side"].cast(pl.String)
    if not sides.is_in(["buy", "sell"]).fill_null(value=False).all():
        raise ValueError(f"every trade needs the side 'buy' or 'sell'; found {sides.unique().to_list()!r}")
    return trades.with_columns(
        sign=pl.when(sides == "buy").then(1).otherwise(-1).cast(pl.Int8),
        sign_source=pl.col("sign_source").cast(pl.String),
    )


def trade_flow(
    trades: pl.DataFrame,
    every: Every | None = None,
    *,
    sign_source: str,
    gaps: pl.DataFrame | None = None,
    touched: Touched = "flag",
) -> pl.DataFrame:
    """Add up what takers bought and sold in windows of time (without a length: in one window per token).

    Returns ``token_id``, ``start``, ``end``, ``volume``, ``buy_volume``, ``sell_volume``, ``signed_volume`` (bought
    less sold, shares), ``vwap`` (dollars a share, null without a trade), ``trades``, ``sign_source`` and ``touched``.

    Raises:
        ValueError: the trades were not all signed by ``sign_source``, or ``every`` is not a length of time above 0.
    """
    size, is_buy = pl.col("size"), pl.col("sign") > 0
    spans = windows(trades, every)
    made = (
        placed(signed(ordered(trades), sign_source=sign_source), spans)
        .group_by("token_id", "start")
        .agg(
            volume=size.sum(),
            buy_volume=size.filter(is_buy).sum(),
            sell_volume=size.filter(~is_buy).sum(),
            signed_volume=(size * pl.col("sign")).sum(),
            vwap=(size * pl.col("price")).sum() / size.sum(),
            trades=pl.len(),
        )
    )
    found = spans.join(made, on=["token_id", "start"], how="left").sort("token_id", "start")
    whole = found.with_columns(
        pl.col("volume", "buy_volume", "sell_volume", "signed_volume").fill_null(0.0),
        pl.col("trades").fill_null(0),
        sign_source=pl.lit(sign_source),
    )
    return mark(whole, gaps, conns=trades, measured=_FLOW, touched=touched)


def vpin(
    trades: pl.DataFrame,
    *,
    bucket: float,
    window: int,
    sign_source: str,
    gaps: pl.DataFrame | None = None,
    touched: Touched = "flag",
) -> pl.DataFrame:
    """Measure the imbalance of buckets of equal volume: ``sum(|Vb - Vs|) / (window * bucket)`` over the last buckets.

    A trade that fills a bucket is split, its rest goes into the next, and a last bucket that is not full is left out
    (Easley, López de Prado and O'Hara 2012, Rev. Financial Studies 25(5):1457-1493, with signs instead of bulk
    classification).

    Returns, per token and bucket (shares), ``token_id``, ``bucket`` (0, 1, …), ``start`` and ``end`` (its first and
    last trade), ``buy_volume``, ``sell_volume``, ``vpin`` (0 to 1, null for the first ``window - 1`` buckets),
    ``sign_source`` and ``touched``. A bucket that a gap touches, and the ``window - 1`` after it, have no ``vpin``.

    Raises:
        ValueError: ``bucket`` or ``window`` is not above 0, or the trades were not all signed by ``sign_source``.
    """
    if not bucket > 0 or window < 1:
        raise ValueError(f"bucket and window are above 0, not {bucket!r} and {window!r}")
    rows = signed(ordered(trades), sign_source=sign_source)
    rows = rows.with_columns(_broken=broken(rows, gaps))
    tokens = [_buckets(token, bucket) for token in rows.partition_by("token_id", maintain_order=True)]
    made = pl.concat([pl.DataFrame(schema=_VPIN_SCHEMA), *tokens])
    marked = mark(made, gaps, conns=trades, measured=("buy_volume", "sell_volume"), touched="flag")
    uneven = (pl.col("buy_volume") - pl.col("sell_volume")).abs()
    rolled = uneven.rolling_sum(window).over("token_id") / (window * bucket)
    whole = marked.with_columns(vpin=rolled, sign_source=pl.lit(sign_source))
    columns = ("token_id", "bucket", "start", "end", "buy_volume", "sell_volume", "vpin", "sign_source", "touched")
    return (whole.filter(~pl.col("touched").fill_null(value=False)) if touched == "drop" else whole).select(columns)


def _buckets(trades: pl.DataFrame, bucket: float) -> pl.DataFrame:
    # What was bought by each edge lies on the line between the trades around it, so drawing it splits the trades.
    size = trades["size"].to_numpy()
    total = np.concatenate([[0.0], np.cumsum(size)])
    bought = np.concatenate([[0.0], np.cumsum(np.where(trades["sign"].to_numpy() > 0, size, 0.0))])
    count = int(total[-1] / bucket + _DUST)
    edges = bucket * np.arange(count + 1)
    buys = np.diff(np.interp(edges, total, bought))
    # A trade is the first of a bucket if it goes beyond its lower edge, and the last if it reaches the upper one.
    near = _DUST * bucket
    firsts = np.searchsorted(total[1:], edges[:-1] + near, side="right")
    lasts = np.searchsorted(total[1:], edges[1:] - near, side="left")
    breaks = np.cumsum(trades["_broken"].to_numpy())
    return pl.DataFrame(
        {
            "token_id": [trades["token_id"][0]] * count,
            "bucket": np.arange(count),
            "start": trades["ts_recv"].gather(firsts),
            "end": trades["ts_recv"].gather(lasts),
            "buy_volume": buys,
            "sell_volume": bucket - buys,
            "touched": breaks[lasts] > breaks[firsts],
        },
        schema=_VPIN_SCHEMA,
    )
