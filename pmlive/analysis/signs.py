"""Signs of trades: whether takers bought or sold, as the feed says and as prices suggest; and how far methods agree.

``"feed"``
    The sides that the feed gave.
``"tick"``
    A buy if the price is above the token's last other price, a sell if it is below.
``"lee_ready"``
    A buy if the price is above the mid of the prevailing quote, a sell if it is below; the tick rule where they are
    equal or there is no mid (Lee and Ready 1991, J. Finance 46(2):733-746). The prevailing quote is the last one
    received before the trade, by our own clock, and before the ``lag``. They lagged by 5 s, because in 1988 quotes were
    reported sooner than trades. Here one stream brings both, so the default is none; but the venue may send a change of
    the book before the trade that caused it, and a short lag shows how many signs hang on that. In the sample
    ``"evening"``, whose simulated venue does so, 84 % of the signs are the feed's without a lag, and all with 1 ms.
``"bulk_volume"``
    The share of a bar's volume that was bought is ``Z(dp / s)``: ``dp`` is the change of the last price since the bar
    before, ``s`` the standard deviation of all these changes of the token, the later ones too, and ``Z`` the normal
    distribution (Easley, López de Prado and O'Hara 2012, Rev. Financial Studies 25(5):1457-1493) or Student's (2016,
    J. Financial Economics 120(2):269-285, with 0.25 degrees of freedom). Bars in which nothing was traded do not count,
    and a trade is in the bar in which it begins. It says how much of a bar was bought, not which trades.

What follows a gap is not judged by what was before it.
"""

from collections.abc import Sequence
from datetime import timedelta
from math import erfc, exp, lgamma, log, sqrt
from typing import Literal, TypeAlias, get_args

import numpy as np
import numpy.typing as npt
import polars as pl

from pmlive.analysis._intervals import TIME, Every, as_of, broken, by_token_and_time, mark, to_ns, window_start

__all__ = [
    "SignMethod",
    "TradeBars",
    "classify_trades",
    "sign_agreement",
]

SignMethod: TypeAlias = Literal["feed", "tick", "lee_ready", "bulk_volume"]

# A length of time, or a number of shares.
TradeBars: TypeAlias = Every | float

_METHODS: tuple[SignMethod, ...] = get_args(SignMethod)
# Prices have at most four decimals: a smaller difference is a rounding error.
_EPSILON = 1e-9
_SIDES = pl.Enum(["buy", "sell"])


def classify_trades(
    trades: pl.DataFrame,
    quotes: pl.DataFrame | None = None,
    *,
    method: SignMethod,
    lag: Every = "0s",
    bars: TradeBars = "1m",
    degrees: float | None = None,
    gaps: pl.DataFrame | None = None,
) -> pl.DataFrame:
    """Return trades in order of token and time, signed by one of the methods above.

    Replaces ``side`` (null if it cannot be told) and ``sign_source`` (the method), and adds ``sign`` (1, -1 or null),
    ``buy_share`` (the share of the trade's volume that was bought, 0 to 1, null if it cannot be told), ``rule``
    (``"feed"``, ``"tick"``, ``"quote"`` or ``"bulk"``, null without a sign), and for bulk volume ``bar`` (its number).
    Functions that ask for ``sign_source`` take the frame as it is. ``quotes`` are rows of ``prices``, ``bars`` those of
    bulk volume, and ``degrees`` those of Student's distribution (None: the normal).

    Raises:
        ValueError: there is no such method, there are no quotes for one that needs them, the trades were not signed by
            the feed, or ``lag``, ``bars`` or ``degrees`` is out of range.

    >>> at = pl.Series([0, 1, 2], dtype=pl.Int64).cast(pl.Datetime("ms")).cast(pl.Datetime("ns", "UTC"))
    >>> trades = pl.DataFrame({"token_id": "7", "ts_recv": at, "price": [0.5, 0.51, 0.51], "size": 10.0})
    >>> classify_trades(trades, method="tick")["side"].to_list()
    [None, 'buy', 'buy']
    """
    _check(trades, quotes, method, to_ns(lag))
    rows = by_token_and_time(trades)
    rows = rows.with_columns(_part=broken(rows, gaps)).with_columns(pl.col("_part").cum_sum().over("token_id"))
    if method == "bulk_volume":
        return _finished(_by_bulk(rows, bars, degrees), method)
    if method == "feed":
        return _finished(_by_feed(rows), method)
    ticks = rows.with_columns(sign=_tick_rule(), rule=pl.lit("tick"))
    if method == "lee_ready" and quotes is not None:
        ticks = _by_quotes(ticks, quotes, to_ns(lag), gaps)
    return _finished(ticks.with_columns(buy_share=(pl.col("sign") + 1) / 2), method)


def sign_agreement(
    trades: pl.DataFrame,
    quotes: pl.DataFrame,
    methods: Sequence[SignMethod] = _METHODS,
    *,
    lag: Every = "0s",
    bars: TradeBars = "1m",
    degrees: float | None = None,
    gaps: pl.DataFrame | None = None,
) -> pl.DataFrame:
    """Return how far methods agree on the signs of trades, of all tokens together; arguments as ``classify_trades``.

    Returns, per ``method`` and ``other``, ``share_of_trades`` and ``share_of_volume`` (the shares, 0 to 1, on which
    both agree; null without any), ``n`` and ``volume`` (the trades that both could sign, and their shares), and
    ``left_out`` and ``left_out_volume`` (the others). Bulk volume signs no trades: with it the share of trades is null,
    and that of volume is ``sum(min(B, B') + min(S, S')) / sum(V)`` over its bars, with what either says was bought and
    sold (Chakrabarty, Pascual and Shkilko 2015, J. Financial Markets 25:52-79).

    Raises:
        ValueError: as ``classify_trades``, by any of the methods, or there are none.
    """
    signed = {
        method: classify_trades(trades, quotes, method=method, lag=lag, bars=bars, degrees=degrees, gaps=gaps)
        for method in methods
    }
    shares = {f"_{method}": rows["buy_share"] for method, rows in signed.items()}
    bar = signed["bulk_volume"]["bar"] if "bulk_volume" in signed else pl.lit(0, dtype=pl.Int64)
    rows = by_token_and_time(trades).select("token_id", "size", _bar=bar, **shares)
    pairs = [_agreement(rows, method, other) for method in methods for other in methods]
    if not pairs:
        raise ValueError(f"there are no methods; expected some of {', '.join(map(repr, _METHODS))}")
    return pl.concat(pairs)


def _check(trades: pl.DataFrame, quotes: pl.DataFrame | None, method: SignMethod, lag: int) -> None:
    if method not in _METHODS:
        raise ValueError(f"invalid method {method!r}; expected one of {', '.join(map(repr, _METHODS))}")
    if method == "lee_ready" and quotes is None:
        raise ValueError("the method 'lee_ready' compares trades with quotes; expected rows of prices")
    if lag < 0:
        raise ValueError(f"invalid lag of {lag} ns; expected 0 or more: a later quote is not known at the trade")
    if method == "feed" and not {"side", "sign_source"} <= set(trades.columns):
        raise ValueError("the frame needs the columns 'side' and 'sign_source', which show how the feed signed it")


def _finished(rows: pl.DataFrame, method: SignMethod) -> pl.DataFrame:
    sign = pl.col("sign").cast(pl.Int8)
    side = pl.when(sign > 0).then(pl.lit("buy")).when(sign < 0).then(pl.lit("sell")).cast(_SIDES)
    rule = pl.when(pl.col("buy_share").is_not_null()).then(pl.col("rule"))
    return rows.with_columns(sign=sign, side=side, rule=rule, sign_source=pl.lit(method)).drop("_part")


def _by_feed(rows: pl.DataFrame) -> pl.DataFrame:
    side = pl.col("side").cast(pl.String)
    sources = rows["sign_source"].cast(pl.String).unique().to_list()
    if rows.height and sources != ["feed"]:
        raise ValueError(f"the trades were signed by {sources!r}; expected 'feed' alone")
    sign = pl.when(side == "buy").then(1).when(side == "sell").then(-1)
    return rows.with_columns(sign=sign, rule=pl.lit("feed")).with_columns(buy_share=(pl.col("sign") + 1) / 2)


def _tick_rule() -> pl.Expr:
    change = pl.col("price").diff().over("token_id", "_part")
    moved = pl.when(change.abs() > _EPSILON).then(change.sign())
    return moved.forward_fill().over("token_id", "_part")


def _by_quotes(ticks: pl.DataFrame, quotes: pl.DataFrame, lag: int, gaps: pl.DataFrame | None) -> pl.DataFrame:
    at = pl.col("ts_recv") - pl.duration(nanoseconds=lag)
    asked = as_of(ticks.with_columns(_at=at), quotes, {"_mid": "mid"}, at="_at", when="before")
    # Begins an instant earlier: after a gap that ends with the trade, a quote from before it may no longer stand.
    spans = asked.with_columns(start=pl.col("_at") - pl.duration(nanoseconds=1), end="_at")
    conns = quotes if "conn" in quotes.columns else ticks
    if gaps is not None:
        known = mark(
            spans.select("token_id", "start", "end", "_mid"), gaps, conns=conns, measured=["_mid"], touched="flag"
        )
        asked = asked.with_columns(known["_mid"])
    beyond = pl.col("price") - pl.col("_mid")
    decides = (beyond.abs() > _EPSILON).fill_null(value=False)
    return asked.with_columns(
        sign=pl.when(decides).then(beyond.sign()).otherwise(pl.col("sign")),
        rule=pl.when(decides).then(pl.lit("quote")).otherwise(pl.col("rule")),
    ).drop("_at", "_mid")


def _by_bulk(rows: pl.DataFrame, bars: TradeBars, degrees: float | None) -> pl.DataFrame:
    if degrees is not None and not degrees > 0:
        raise ValueError(f"invalid degrees of freedom {degrees!r}; expected a number above 0, or None")
    numbered = rows.with_columns(bar=_bar(bars))
    made = numbered.group_by("token_id", "bar", maintain_order=True).agg(pl.col("price", "_part").last())
    change, cuts = (pl.col(name).diff().over("token_id") for name in ("price", "_part"))
    moved = made.with_columns(_moved=pl.when(cuts == 0).then(change))
    spread = pl.col("_moved").std().over("token_id")
    score = pl.when(spread > _EPSILON).then(pl.col("_moved") / spread).when(spread.is_not_null()).then(0.0)
    scored = moved.with_columns(_score=pl.when(pl.col("_moved").is_not_null()).then(score))
    known = scored.filter(pl.col("_score").is_not_null())
    values = known["_score"].to_numpy()
    share = pl.Series(normal_cdf(values) if degrees is None else t_cdf(values, degrees), dtype=pl.Float64)
    shares = known.select("token_id", "bar", buy_share=share)
    whole = numbered.join(shares, on=["token_id", "bar"], how="left", maintain_order="left")
    return whole.with_columns(sign=pl.lit(None, dtype=pl.Int8), rule=pl.lit("bulk"))


def _bar(bars: TradeBars) -> pl.Expr:
    if isinstance(bars, str | timedelta):
        return window_start(bars).cast(TIME).cast(pl.Int64)
    if not bars > 0:
        raise ValueError(f"invalid bars {bars!r}; expected a length of time, or a number of shares above 0")
    before = (pl.col("size").cum_sum() - pl.col("size")).over("token_id")
    return (before / bars + _EPSILON).floor().cast(pl.Int64)


def _agreement(rows: pl.DataFrame, method: str, other: str) -> pl.DataFrame:
    one, two = pl.col(f"_{method}"), pl.col(f"_{other}")
    both = rows.filter(one.is_not_null() & two.is_not_null())
    same = both.filter(one == two)
    by_bars = "bulk_volume" in (method, other)
    volume = float(both["size"].sum())
    agreed = _agreed_in_bars(both, one, two) if by_bars else float(same["size"].sum())
    row = {
        "method": method,
        "other": other,
        "share_of_trades": same.height / both.height if both.height and not by_bars else None,
        "share_of_volume": agreed / volume if volume else None,
        "n": both.height,
        "volume": volume,
        "left_out": rows.height - both.height,
        "left_out_volume": float(rows["size"].sum()) - volume,
    }
    return pl.DataFrame([row], schema_overrides=dict.fromkeys(("share_of_trades", "share_of_volume"), pl.Float64))


def _agreed_in_bars(both: pl.DataFrame, one: pl.Expr, two: pl.Expr) -> float:
    size = pl.col("size")
    bars = both.group_by("token_id", "_bar").agg(_all=size.sum(), _one=(one * size).sum(), _two=(two * size).sum())
    bought = pl.min_horizontal("_one", "_two")
    sold = pl.min_horizontal(pl.col("_all") - pl.col("_one"), pl.col("_all") - pl.col("_two"))
    return float(bars.select((bought + sold).sum()).item())


# --- distribution functions ---
# Distribution functions of the normal and of Student's distribution.

_Floats: TypeAlias = npt.NDArray[np.float64]

# The continued fraction has converged long before: it takes about the square root of the larger parameter.
_MOST_STEPS, _CONVERGED, _TINY = 10_000, 1e-15, 1e-300


def normal_cdf(x: _Floats) -> _Floats:
    """Return the probability that a standard normal variable is at most ``x``."""
    return np.array([0.5 * erfc(-each / sqrt(2)) for each in x.tolist()], dtype=np.float64)


def t_cdf(x: _Floats, degrees: float) -> _Floats:
    """Return the probability that a variable with Student's distribution is at most ``x``; ``degrees`` is above 0."""
    tails = np.array([_tails(each, degrees) for each in np.abs(x).tolist()], dtype=np.float64)
    return np.where(x > 0, 1 - tails / 2, tails / 2)


def _tails(x: float, degrees: float) -> float:
    """Return the probability of being farther from 0 than ``x``: the incomplete beta function I(n/2, 1/2)."""
    inside, outside = degrees / (degrees + x * x), x * x / (degrees + x * x)
    a, b = degrees / 2, 0.5
    # Of the two forms of the function, the one whose fraction converges.
    if inside < (a + 1) / (a + b + 2):
        return _beta_part(a, b, inside, outside)
    return 1 - _beta_part(b, a, outside, inside)


def _beta_part(a: float, b: float, x: float, rest: float) -> float:
    if x == 0:
        return 0.0
    front = exp(lgamma(a + b) - lgamma(a) - lgamma(b) + a * log(x) + (b * log(rest) if rest else 0.0))
    return front * _fraction(a, b, x) / a


def _fraction(a: float, b: float, x: float) -> float:
    """Return the continued fraction of the incomplete beta function (DLMF 8.17.22), by Lentz's method."""
    c, d = 1.0, 1 / _nonzero(1 - (a + b) * x / (a + 1))
    found = d
    for m in range(1, _MOST_STEPS):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        for part in (even, odd):
            d, c = 1 / _nonzero(1 + part * d), _nonzero(1 + part / c)
            found *= c * d
        if abs(c * d - 1) < _CONVERGED:
            break
    return found


def _nonzero(number: float) -> float:
    return number if abs(number) > _TINY else _TINY
