"""Order flow and price impact: changes at the top of the book, signed trades, and how far they move the price.

The sign of a trade is a claim of its source, so results that depend on signs name the source. Costs are in dollars a
share.
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
    by_token_and_time,
    label_names,
    labelled,
    last_time,
    mark,
    outside,
    positive_ns,
    windows,
    with_window,
)
from pmlive.analysis.regression import Fit, fit_exprs, fit_line

__all__ = [
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

# A number of trades of the token, or a length of time.
Horizon: TypeAlias = int | Every

_FLOW = ("volume", "buy_volume", "sell_volume", "signed_volume", "vwap", "trades")
_TOP = ("best_bid", "best_bid_size", "best_ask", "best_ask_size")
# A bucket is full if it lacks less than this fraction, which is rounding.
_EPSILON = 1e-9
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
# Prices move by 0.0001 at least, so a covariance nearer to 0 is a rounding error.
_LEAST_COVARIANCE = 1e-15


class KyleLambda(msgspec.Struct, frozen=True, kw_only=True):
    """``mid_after - mid_before = intercept + slope * signed volume``: ``slope`` is lambda, dollars a share per share.

    ``stderr``, ``tstat`` and ``r2`` are those of ordinary least squares over ``n`` trades, whose signs are from
    ``sign_source``.
    """

    slope: float
    intercept: float
    stderr: float
    tstat: float
    r2: float
    n: int
    sign_source: str


def order_flow_events(prices: pl.DataFrame, *, gaps: pl.DataFrame | None = None) -> pl.DataFrame:
    """Return the order flow of each change of the top of the book.

    ``e = [b >= b'] Qb - [b <= b'] Qb' - [a <= a'] Qa + [a >= a'] Qa'``, with the best prices ``b`` and ``a``, their
    sizes ``Qb`` and ``Qa``, and primes for the quote before (Cont, Kukanov and Stoikov 2014, J. Financial Econometrics
    12(1):47-88). No signs of trades are needed.

    Returns ``token_id``, ``ts_recv``, ``conn``, ``ofi`` (shares), ``mid_change`` (dollars a share) and ``touched`` for
    every quote but each token's first. Both numbers are null if a side is or was empty, or a gap lies between the two
    quotes.
    """
    rows = by_token_and_time(prices)
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
        *label_names(rows),
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
    """Return the order flow of windows of time, by default of one window per token.

    Returns ``token_id``, ``start``, ``end``, ``ofi`` (shares), ``mid_change`` (dollars a share), ``changes`` (of the
    quote) and ``touched``. ``ofi`` and ``mid_change`` are null if a side was empty at any of the changes. With
    ``touched="exclude"`` they are sums over the changes that no gap touches, and ``covered`` is added, the share of the
    window in which no gap lasted.

    Raises:
        ValueError: ``every`` is not a length of time above 0.
    """
    spans = windows(prices, every)
    events = with_window(order_flow_events(prices, gaps=gaps), spans)
    if touched == "exclude":
        events = events.filter(~pl.col("touched"))
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
    """Return the regression of the mid's change on the order flow over windows: dollars a share, per share of flow.

    Cont, Kukanov and Stoikov expect a slope near ``1 / (2 * depth)``. Windows with nulls are left out. None for fewer
    than 3 windows, or if the flow is the same in all.
    """
    return fit_line(windows, x="ofi", y="mid_change")


def signed(trades: pl.DataFrame, *, sign_source: str) -> pl.DataFrame:
    """Add ``sign`` (1 if the taker bought, -1 if it sold) to trades that were signed by the named source.

    Trades of ``classify_trades`` have it already, and may have none.

    Raises:
        ValueError: a trade was signed by another source or by none, or has no side.
    """
    if "sign_source" not in trades.columns:
        raise ValueError(
            f"the frame has no column 'sign_source', which must show that {sign_source!r} signed its trades"
        )
    others = trades.select(pl.col("sign_source").cast(pl.String).unique().sort()).to_series().to_list()
    if trades.height and others != [sign_source]:
        raise ValueError(f"sign_source is {sign_source!r} but the trades were signed by {others!r}; filter them first")
    if _is_classified(trades):
        return trades.with_columns(pl.col("sign_source").cast(pl.String))
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
    """Return what takers bought and sold in windows of time, by default in one window per token.

    Returns ``token_id``, ``start``, ``end``, ``volume``, ``buy_volume``, ``sell_volume``, ``signed_volume`` (bought
    less sold, shares), ``vwap`` (dollars a share, null without a trade), ``trades``, ``sign_source`` and ``touched``.
    What no method could sign is in ``volume`` alone. With ``touched="exclude"`` the trades are those received outside
    of gaps, and ``covered`` is added, the share of the window in which no gap lasted.

    Raises:
        ValueError: the trades were not all signed by ``sign_source``, or ``every`` is not a length of time above 0.
    """
    size, bought = pl.col("size"), pl.col("buy_share")
    spans, counted = windows(trades, every), outside(trades, gaps, touched=touched)
    made = (
        with_window(_with_shares(by_token_and_time(counted), sign_source), spans)
        .group_by("token_id", "start")
        .agg(
            volume=size.sum(),
            buy_volume=(size * bought).sum(),
            sell_volume=(size * (1 - bought)).sum(),
            signed_volume=(size * (2 * bought - 1)).sum(),
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
    """Return VPIN, the imbalance over the last buckets of equal volume: ``sum(|Vb - Vs|) / (window * bucket)``.

    A trade that is larger than the rest of a bucket is split, and an incomplete last bucket is left out, as are trades
    that no method could sign (Easley, López de Prado and O'Hara 2012, Rev. Financial Studies 25(5):1457-1493; with
    their bulk classification if the trades were signed by ``"bulk_volume"``).

    Returns, per token and bucket (shares), ``token_id``, ``bucket`` (0, 1, …), ``start`` and ``end`` (its first and
    last trade), ``buy_volume``, ``sell_volume``, ``vpin`` (0 to 1, null for the first ``window - 1`` buckets),
    ``sign_source`` and ``touched``. ``vpin`` is null for a bucket that a gap touches and the ``window - 1`` after it.
    With ``touched="exclude"`` buckets are filled by the trades received outside of gaps, whatever lies between, and
    ``covered`` is added, the share of a bucket's time in which no gap lasted.

    Raises:
        ValueError: ``bucket`` or ``window`` is not above 0, or the trades were not all signed by ``sign_source``.
    """
    if not bucket > 0 or window < 1:
        raise ValueError(f"invalid bucket {bucket!r} or window {window!r}; expected numbers above 0")
    rows = _with_shares(by_token_and_time(outside(trades, gaps, touched=touched)), sign_source)
    rows = rows.filter(pl.col("buy_share").is_not_null())
    rows = rows.with_columns(_broken=broken(rows, gaps))
    tokens = [_buckets(token, bucket) for token in rows.partition_by("token_id", maintain_order=True)]
    made = pl.concat([pl.DataFrame(schema=_VPIN_SCHEMA), *tokens])
    how: Touched = "exclude" if touched == "exclude" else "flag"
    measured = () if how == "exclude" else ("buy_volume", "sell_volume")
    marked = mark(made, gaps, conns=trades, measured=measured, touched=how)
    uneven = (pl.col("buy_volume") - pl.col("sell_volume")).abs()
    rolled = uneven.rolling_sum(window).over("token_id") / (window * bucket)
    whole = marked.with_columns(vpin=rolled, sign_source=pl.lit(sign_source))
    columns = [*list(_VPIN_SCHEMA)[:-1], "vpin", "sign_source", "touched", *marked.columns[len(_VPIN_SCHEMA) :]]
    kept = whole if touched != "drop" else whole.filter(~pl.col("touched").fill_null(value=False))
    return labelled(kept.select(columns), trades)


def with_mids(
    trades: pl.DataFrame, prices: pl.DataFrame, *, after: Horizon = 1, gaps: pl.DataFrame | None = None
) -> pl.DataFrame:
    """Add the mid before and after each trade, by our own clock.

    ``mid_before`` is the mid of the last quote received before the trade; note that the venue may send a change of the
    book before the trade that caused it. ``mid_after`` is the ``mid_before`` of the trade that is ``after`` trades
    later, or the mid of the last quote that time later. Both are null if there is no such quote or trade, a side is
    empty, ``prices`` end before, or a gap lasts. ``touched`` says that a gap touches the time between them (null
    without ``gaps``); ``mid_after`` is then null, too.

    Raises:
        ValueError: ``after`` is not above 0, or not a length of time.
    """
    rows = as_of(by_token_and_time(trades), prices, {"mid_before": "mid"}, when="before")
    if isinstance(after, int):
        if after < 1:
            raise ValueError(f"invalid after {after!r}; expected 1 trade or more, or a length of time")
        until = pl.col("ts_recv").shift(-after).over("token_id")
        rows = rows.with_columns(_until=until, mid_after=pl.col("mid_before").shift(-after).over("token_id"))
    else:
        rows = rows.with_columns(_until=pl.col("ts_recv") + pl.duration(nanoseconds=positive_ns(after)))
        known = pl.col("_until") <= last_time(prices)
        rows = as_of(rows, prices, {"mid_after": "mid"}, at="_until")
        rows = rows.with_columns(mid_after=pl.when(known).then(pl.col("mid_after")))
    return _known(rows, prices if "conn" in prices.columns else trades, gaps)


def trade_costs(trades: pl.DataFrame, *, sign_source: str) -> pl.DataFrame:
    """Add the costs of takers to trades that have ``mid_before`` and ``mid_after`` (see ``with_mids``).

    ``effective_spread = 2 * q * (p - mid_before)``, ``realised_spread = 2 * q * (p - mid_after)`` and
    ``price_impact``, which is the first less the second; ``p`` is the price and ``q`` 1 for a buy, -1 for a sell. Null
    where a mid is null.

    Raises:
        ValueError: the trades were not all signed by ``sign_source``, or it does not sign trades but bars.
    """
    rows = _each_signed(trades, sign_source)
    sign, price, before, after = (pl.col(name) for name in ("sign", "price", "mid_before", "mid_after"))
    return rows.with_columns(
        effective_spread=2 * sign * (price - before),
        realised_spread=2 * sign * (price - after),
        price_impact=2 * sign * (after - before),
    )


def kyle_lambda(trades: pl.DataFrame, *, sign_source: str) -> KyleLambda | None:
    """Return the regression of the mid's change on the signed size (Kyle 1985), over one token's trades.

    The trades need mids (see ``with_mids``). None for fewer than 3 trades with both mids, or if all signed sizes are
    equal.

    Raises:
        ValueError: the trades are of several tokens, or were not all signed by ``sign_source``.
    """
    tokens = trades["token_id"].n_unique()
    if tokens > 1:
        raise ValueError(f"the trades are of {tokens} tokens; expected one (kyle_windows takes several)")
    line = fit_line(_moves(trades, sign_source), x="_signed", y="_moved")
    return None if line is None else KyleLambda(**msgspec.structs.asdict(line), sign_source=sign_source)


def kyle_windows(
    trades: pl.DataFrame,
    every: Every,
    *,
    sign_source: str,
    gaps: pl.DataFrame | None = None,
    touched: Touched = "flag",
) -> pl.DataFrame:
    """Return the regression of ``kyle_lambda`` for windows of time; the trades need mids (see ``with_mids``).

    Returns ``token_id``, ``start``, ``end``, the fields of ``KyleLambda`` (the line is null for fewer than 3 trades)
    and ``touched``. With ``touched="exclude"`` the trades are those received outside of gaps whose mids ``with_mids``
    could tell, and ``covered`` is added, the share of the window in which no gap lasted.

    Raises:
        ValueError: the trades were not all signed by ``sign_source``, or ``every`` is not a length of time above 0.
    """
    spans = windows(trades, every)
    made = (
        with_window(_moves(outside(trades, gaps, touched=touched), sign_source).drop("touched", strict=False), spans)
        .group_by("token_id", "start")
        .agg(**fit_exprs("_signed", "_moved"))
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
    """Return how far a dollar moves the mid, ``mean(|mid_after - mid_before| / (price * size))`` (Amihud 2002).

    The trades need mids (see ``with_mids``). Returns, per window of time, by default per token, ``token_id``,
    ``start``, ``end``, ``amihud`` (1/share), ``trades`` (with both mids) and ``touched``. With ``touched="exclude"``
    the trades are those received outside of gaps, and ``covered`` is added, as in ``kyle_windows``.

    Raises:
        ValueError: ``every`` is not a length of time above 0.
    """
    spans = windows(trades, every)
    moved = (pl.col("mid_after") - pl.col("mid_before")).abs() / (pl.col("price") * pl.col("size"))
    rows = with_window(outside(trades, gaps, touched=touched), spans)
    made = rows.group_by("token_id", "start").agg(amihud=moved.mean(), trades=moved.count())
    found = spans.join(made, on=["token_id", "start"], how="left").sort("token_id", "start")
    whole = found.with_columns(pl.col("trades").fill_null(0))
    return mark(whole, gaps, conns=trades, measured=("amihud", "trades"), touched=touched)


def roll_spread(prices: pl.Series) -> float | None:
    """Return the spread implied by the bounce of trade prices: ``2 * sqrt(-cov(dp_t, dp_(t-1)))`` (Roll 1984).

    In dollars a share. The covariance is the sample's (``n - 1``). None if it is not below 0, and for fewer than 4
    prices.
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
    """Return the spread of ``roll_spread`` for windows of time, by default for one window per token.

    Returns ``token_id``, ``start``, ``end``, ``roll`` (dollars a share), ``trades`` and ``touched``. Changes of price
    from one window to the next do not count. With ``touched="exclude"`` the trades are those received outside of gaps,
    no change is one over a gap, and ``covered`` is added, the share of the window in which no gap lasted.

    Raises:
        ValueError: ``every`` is not a length of time above 0.
    """
    spans = windows(trades, every)
    rows = with_window(by_token_and_time(outside(trades, gaps, touched=touched)), spans)
    cut = broken(rows, gaps if touched == "exclude" else None)
    step = pl.col("price").diff().over("token_id", "start")
    rows = rows.with_columns(_step=pl.when(~pl.lit(cut)).then(step)).with_columns(
        _last=pl.col("_step").shift(1).over("token_id", "start")
    )
    both = pl.col("_step").is_not_null() & pl.col("_last").is_not_null()
    cov = pl.cov(pl.col("_step").filter(both), pl.col("_last").filter(both))
    made = rows.group_by("token_id", "start").agg(
        roll=pl.when((both.sum() > 1) & (cov < -_LEAST_COVARIANCE)).then(2 * (-cov).sqrt()), trades=pl.len()
    )
    found = spans.join(made, on=["token_id", "start"], how="left").sort("token_id", "start")
    whole = found.with_columns(pl.col("trades").fill_null(0))
    return mark(whole, gaps, conns=trades, measured=("roll", "trades"), touched=touched)


def _is_classified(trades: pl.DataFrame) -> bool:
    return {"sign", "buy_share"} <= set(trades.columns)


def _with_shares(trades: pl.DataFrame, sign_source: str) -> pl.DataFrame:
    """Return signed trades with ``buy_share``, the share of each that was bought."""
    rows = signed(trades, sign_source=sign_source)
    return rows if _is_classified(trades) else rows.with_columns(buy_share=(pl.col("sign") + 1) / 2)


def _each_signed(trades: pl.DataFrame, sign_source: str) -> pl.DataFrame:
    rows = signed(trades, sign_source=sign_source)
    if (
        _is_classified(rows)
        and rows.select((pl.col("buy_share").is_not_null() & pl.col("sign").is_null()).any()).item()
    ):
        raise ValueError(f"{sign_source!r} says how much of a bar was bought, not which trades; sign them otherwise")
    return rows


def _buckets(trades: pl.DataFrame, bucket: float) -> pl.DataFrame:
    # The volume bought up to each edge, interpolated between the trades around it, which splits trades at edges.
    size = trades["size"].to_numpy()
    total = np.concatenate([[0.0], np.cumsum(size)])
    bought = np.concatenate([[0.0], np.cumsum(size * trades["buy_share"].to_numpy())])
    count = int(total[-1] / bucket + _EPSILON)
    edges = bucket * np.arange(count + 1)
    buys = np.diff(np.interp(edges, total, bought))
    # A bucket's first trade is the first to exceed its lower edge, its last the first to reach its upper edge.
    near = _EPSILON * bucket
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
    # Begins an instant earlier: after a gap that ends with the trade, a quote from before it may no longer stand.
    before = rows.with_columns(start=pl.col("ts_recv") - pl.duration(nanoseconds=1), end=pl.col("ts_recv"))
    known = mark(before, gaps, conns=conns, measured=("mid_before",), touched="flag")
    spans = known.with_columns(end=pl.col("_until").fill_null(pl.col("ts_recv")))
    return mark(spans, gaps, conns=conns, measured=("mid_after",), touched="flag").drop("_until", "start", "end")


def _moves(trades: pl.DataFrame, sign_source: str) -> pl.DataFrame:
    rows = _each_signed(trades, sign_source)
    return rows.with_columns(_signed=pl.col("sign") * pl.col("size"), _moved=pl.col("mid_after") - pl.col("mid_before"))
