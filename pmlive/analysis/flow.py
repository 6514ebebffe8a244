"""Order flow and its impact: what changed and was traded at the top of the book, and how far that moves the price.

The sign of a trade is a claim, so what is made of it names its source and carries the name along. Costs are in dollars
a share.
"""

from typing import TypeAlias

import msgspec
import numpy as np
import polars as pl

from pmlive.analysis._intervals import (
    TIME,
    Every,
    Touched,
    as_of,
    broken,
    last_time,
    mark,
    ordered,
    placed,
    positive,
    windows,
)

__all__ = [
    "Fit",
    "Horizon",
    "KyleLambda",
    "amihud",
    "kyle_lambda",
    "kyle_windows",
    "ofi_slope",
    "order_flow_events",
    "order_flow_imbalance",
    "roll_spread",
    "roll_windows",
    "signed",
    "trade_costs",
    "trade_flow",
    "vpin",
    "with_mids",
]

# So many trades of the token later, or so much time later.
Horizon: TypeAlias = int | Every

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

_LINE = ("slope", "intercept", "stderr", "tstat", "r2", "n")
_LEAST_CHANGES = 3
# Steps of prices are at least 0.0001, so a covariance nearer to 0 is the dust of floats.
_LEAST_COVARIANCE = 1e-15

# Fewer points than this say nothing about how far off a line is.
_LEAST = 3


class Fit(msgspec.Struct, frozen=True, kw_only=True):
    """``y = intercept + slope * x``, by ordinary least squares over ``n`` points.

    ``stderr`` is that of the slope, which supposes errors that are alike and independent; ``tstat = slope / stderr``.
    """

    slope: float
    intercept: float
    stderr: float
    tstat: float
    r2: float
    n: int


class KyleLambda(msgspec.Struct, frozen=True, kw_only=True):
    """``mid_after - mid_before = intercept + slope * signed volume``: ``slope`` is lambda, dollars a share per share.

    ``stderr``, ``tstat`` and ``r2`` are those of ordinary least squares over ``n`` trades; ``sign_source`` is who said
    what takers did.
    """

    slope: float
    intercept: float
    stderr: float
    tstat: float
    r2: float
    n: int
    sign_source: str


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
    return _fit(windows, "ofi", "mid_change")


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


def with_mids(
    trades: pl.DataFrame, prices: pl.DataFrame, *, after: Horizon = 1, gaps: pl.DataFrame | None = None
) -> pl.DataFrame:
    """Add to each trade the mid before it and after it, by our own clock.

    ``mid_before`` is of the last quote received before the trade; what the venue says of the book may come before the
    trade that made it. ``mid_after`` is the ``mid_before`` of the trade that many trades later, or the mid of the last
    quote that much later. Both are null where there is no such quote or trade, where a side is empty, beyond the end
    of ``prices``, and while a gap lasts. ``touched`` says that a gap touches the time between them (null without
    ``gaps``); ``mid_after`` is then null, too.

    Raises:
        ValueError: ``after`` is not above 0, or not a length of time.
    """
    rows = as_of(ordered(trades), prices, {"mid_before": "mid"}, when="before")
    if isinstance(after, int):
        if after < 1:
            raise ValueError(f"after is at least 1 trade, not {after!r}")
        until = pl.col("ts_recv").shift(-after).over("token_id")
        rows = rows.with_columns(_until=until, mid_after=pl.col("mid_before").shift(-after).over("token_id"))
    else:
        rows = rows.with_columns(_until=pl.col("ts_recv") + pl.duration(nanoseconds=positive(after)))
        known = pl.col("_until") <= last_time(prices)
        rows = as_of(rows, prices, {"mid_after": "mid"}, at="_until")
        rows = rows.with_columns(mid_after=pl.when(known).then(pl.col("mid_after")))
    return _known(rows, prices if "conn" in prices.columns else trades, gaps)


def trade_costs(trades: pl.DataFrame, *, sign_source: str) -> pl.DataFrame:
    """Add what takers paid to trades that have ``mid_before`` and ``mid_after`` (see ``with_mids``).

    ``effective_spread = 2 * q * (p - mid_before)``, ``realised_spread = 2 * q * (p - mid_after)`` and
    ``price_impact``, which is the first less the second; ``p`` is the price and ``q`` 1 for a buy, -1 for a sell. Null
    where a mid is.

    Raises:
        ValueError: the trades were not all signed by ``sign_source``.
    """
    rows = signed(trades, sign_source=sign_source)
    sign, price, before, after = (pl.col(name) for name in ("sign", "price", "mid_before", "mid_after"))
    return rows.with_columns(
        effective_spread=2 * sign * (price - before),
        realised_spread=2 * sign * (price - after),
        price_impact=2 * sign * (after - before),
    )


def kyle_lambda(trades: pl.DataFrame, *, sign_source: str) -> KyleLambda | None:
    """Regress what the mid did on what was traded (Kyle 1985), over one token's trades with mids (see ``with_mids``).

    None for fewer than 3 trades with both mids, or where all are of one signed size.

    Raises:
        ValueError: the trades are of several tokens, or were not all signed by ``sign_source``.
    """
    tokens = trades["token_id"].n_unique()
    if tokens > 1:
        raise ValueError(f"one token at a time, not {tokens}; kyle_windows takes several")
    line = _fit(_moves(trades, sign_source), "_signed", "_moved")
    return None if line is None else KyleLambda(**msgspec.structs.asdict(line), sign_source=sign_source)


def kyle_windows(
    trades: pl.DataFrame,
    every: Every,
    *,
    sign_source: str,
    gaps: pl.DataFrame | None = None,
    touched: Touched = "flag",
) -> pl.DataFrame:
    """Regress in each window of time what the mid did on what was traded; trades with mids (see ``with_mids``).

    Returns ``token_id``, ``start``, ``end``, the fields of ``KyleLambda`` (the line is null for fewer than 3 trades)
    and ``touched``.

    Raises:
        ValueError: the trades were not all signed by ``sign_source``, or ``every`` is not a length of time above 0.
    """
    spans = windows(trades, every)
    made = (
        placed(_moves(trades, sign_source).drop("touched", strict=False), spans)
        .group_by("token_id", "start")
        .agg(**_fit_exprs("_signed", "_moved"))
    )
    found = spans.join(made, on=["token_id", "start"], how="left").sort("token_id", "start")
    whole = found.with_columns(pl.col("n").fill_null(0), sign_source=pl.lit(sign_source))
    return mark(whole, gaps, conns=trades, measured=_LINE, touched=touched)


def amihud(
    trades: pl.DataFrame,
    every: Every | None = None,
    *,
    gaps: pl.DataFrame | None = None,
    touched: Touched = "flag",
) -> pl.DataFrame:
    """Average how far a dollar moves the mid, ``mean(|mid_after - mid_before| / (price * size))`` (Amihud 2002).

    For trades with mids (see ``with_mids``), per window of time, or per token without a length. Returns ``token_id``,
    ``start``, ``end``, ``amihud`` (1/share), ``trades`` (with both mids) and ``touched``.

    Raises:
        ValueError: ``every`` is not a length of time above 0.
    """
    spans = windows(trades, every)
    moved = (pl.col("mid_after") - pl.col("mid_before")).abs() / (pl.col("price") * pl.col("size"))
    made = placed(trades, spans).group_by("token_id", "start").agg(amihud=moved.mean(), trades=moved.count())
    found = spans.join(made, on=["token_id", "start"], how="left").sort("token_id", "start")
    whole = found.with_columns(pl.col("trades").fill_null(0))
    return mark(whole, gaps, conns=trades, measured=("amihud", "trades"), touched=touched)


def roll_spread(prices: pl.Series) -> float | None:
    """Infer the spread from how trade prices bounce: ``2 * sqrt(-cov(dp_t, dp_(t-1)))`` (Roll 1984), dollars a share.

    The covariance is the sample's (``n - 1``). None where it is not below 0, and for fewer than 4 prices.
    """
    steps = np.diff(prices.to_numpy())
    if len(steps) < _LEAST_CHANGES:
        return None
    covariance = float(np.cov(steps[1:], steps[:-1])[0, 1])
    return 2 * float(np.sqrt(-covariance)) if covariance < -_LEAST_COVARIANCE else None


def roll_windows(
    trades: pl.DataFrame,
    every: Every | None = None,
    *,
    gaps: pl.DataFrame | None = None,
    touched: Touched = "flag",
) -> pl.DataFrame:
    """Infer the spread of windows of time (without a length: of one window per token); see ``roll_spread``.

    Returns ``token_id``, ``start``, ``end``, ``roll`` (dollars a share), ``trades`` and ``touched``. Changes of price
    count within a window only.

    Raises:
        ValueError: ``every`` is not a length of time above 0.
    """
    spans = windows(trades, every)
    rows = placed(ordered(trades), spans)
    step = pl.col("price").diff().over("token_id", "start")
    rows = rows.with_columns(_step=step).with_columns(_last=pl.col("_step").shift(1).over("token_id", "start"))
    both = pl.col("_last").is_not_null()
    cov = pl.cov(pl.col("_step").filter(both), pl.col("_last").filter(both))
    made = rows.group_by("token_id", "start").agg(
        roll=pl.when((both.sum() > 1) & (cov < -_LEAST_COVARIANCE)).then(2 * (-cov).sqrt()), trades=pl.len()
    )
    found = spans.join(made, on=["token_id", "start"], how="left").sort("token_id", "start")
    whole = found.with_columns(pl.col("trades").fill_null(0))
    return mark(whole, gaps, conns=trades, measured=("roll", "trades"), touched=touched)


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


def _known(rows: pl.DataFrame, conns: pl.DataFrame, gaps: pl.DataFrame | None) -> pl.DataFrame:
    # From an instant before the trade: a quote from before a gap that ends with the trade is not known to stand.
    before = rows.with_columns(start=pl.col("ts_recv") - pl.duration(nanoseconds=1), end=pl.col("ts_recv"))
    known = mark(before, gaps, conns=conns, measured=("mid_before",), touched="flag")
    spans = known.with_columns(end=pl.col("_until").fill_null(pl.col("ts_recv")))
    return mark(spans, gaps, conns=conns, measured=("mid_after",), touched="flag").drop("_until", "start", "end")


def _moves(trades: pl.DataFrame, sign_source: str) -> pl.DataFrame:
    rows = signed(trades, sign_source=sign_source)
    return rows.with_columns(_signed=pl.col("sign") * pl.col("size"), _moved=pl.col("mid_after") - pl.col("mid_before"))


def _fit(points: pl.DataFrame, x: str, y: str) -> Fit | None:
    """Fit a line through the points that have both numbers; None for under 3, or ones of a single x."""
    found = points.select(**_fit_exprs(x, y)).row(0, named=True)
    return None if found["slope"] is None else Fit(**found)


def _fit_exprs(x: str, y: str) -> dict[str, pl.Expr]:
    """Return the parts of a ``Fit`` as aggregations; but for ``n`` null for under 3 points, or ones of a single x."""
    both = pl.col(x).is_not_null() & pl.col(y).is_not_null()
    xs, ys = pl.col(x).filter(both), pl.col(y).filter(both)
    n, cov, var_x, var_y = both.sum(), pl.cov(xs, ys), xs.var(), ys.var()
    slope = cov / var_x
    stderr = ((var_y - slope * cov).clip(0.0) / (n - 2).cast(pl.Float64) / var_x).sqrt()
    parts = {
        "slope": slope,
        "intercept": ys.mean() - slope * xs.mean(),
        "stderr": stderr,
        "tstat": slope / stderr,
        "r2": cov * slope / var_y,
    }
    known = (n >= _LEAST) & (var_x > 0)
    return {name: pl.when(known).then(part) for name, part in parts.items()} | {"n": n}
