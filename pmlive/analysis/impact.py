"""Costs of trades, and how far they move the price, in dollars a share."""

from typing import TypeAlias

import msgspec
import numpy as np
import polars as pl

from pmlive.analysis._fit import fit, fit_exprs
from pmlive.analysis._time import Every, as_of, last_time, ordered, placed, positive, windows
from pmlive.analysis.flow import signed
from pmlive.analysis.gaps import Touched, mark

__all__ = [
    "Horizon",
    "KyleLambda",
    "amihud",
    "kyle_lambda",
    "kyle_windows",
    "roll_spread",
    "roll_windows",
    "trade_costs",
    "with_mids",
]

# So many trades of the token later, or so much time later.
Horizon: TypeAlias = int | Every

_LINE = ("slope", "intercept", "stderr", "tstat", "r2", "n")
_LEAST_CHANGES = 3
# Steps of prices are at least 0.0001, so a covariance nearer to 0 is the dust of floats.
_DUST = 1e-15


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
    line = fit(_moves(trades, sign_source), "_signed", "_moved")
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
    return 2 * float(np.sqrt(-covariance)) if covariance < -_DUST else None


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
        roll=pl.when((both.sum() > 1) & (cov < -_DUST)).then(2 * (-cov).sqrt()), trades=pl.len()
    )
    found = spans.join(made, on=["token_id", "start"], how="left").sort("token_id", "start")
    whole = found.with_columns(pl.col("trades").fill_null(0))
    return mark(whole, gaps, conns=trades, measured=("roll", "trades"), touched=touched)


def _moves(trades: pl.DataFrame, sign_source: str) -> pl.DataFrame:
    rows = signed(trades, sign_source=sign_source)
    return rows.with_columns(_signed=pl.col("sign") * pl.col("size"), _moved=pl.col("mid_after") - pl.col("mid_before"))


def _known(rows: pl.DataFrame, conns: pl.DataFrame, gaps: pl.DataFrame | None) -> pl.DataFrame:
    # From an instant before the trade: a quote from before a gap that ends with the trade is not known to stand.
    before = rows.with_columns(start=pl.col("ts_recv") - pl.duration(nanoseconds=1), end=pl.col("ts_recv"))
    known = mark(before, gaps, conns=conns, measured=("mid_before",), touched="flag")
    spans = known.with_columns(end=pl.col("_until").fill_null(pl.col("ts_recv")))
    return mark(spans, gaps, conns=conns, measured=("mid_after",), touched="flag").drop("_until", "start", "end")
