"""Order flow: what changed at the top of the book, and what was traded, signed by who took.

The sign of a trade is a claim, so what is made of it names its source and carries the name along.
"""

import polars as pl

from pmlive.analysis._fit import Fit, fit
from pmlive.analysis._time import Every, ordered, placed, windows
from pmlive.analysis.gaps import Touched, broken, mark

__all__ = ["ofi_slope", "order_flow_events", "order_flow_imbalance", "signed", "trade_flow"]

_FLOW = ("volume", "buy_volume", "sell_volume", "signed_volume", "vwap", "trades")


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
        ValueError: ``every`` is no length of time above 0.
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
            f"the frame has no column 'sign_source', so nothing tells that {sign_source!r} signed its trades"
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
        ValueError: the trades were not all signed by ``sign_source``, or ``every`` is no length of time above 0.
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


_TOP = ("best_bid", "best_bid_size", "best_ask", "best_ask_size")
