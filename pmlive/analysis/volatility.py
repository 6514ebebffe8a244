"""Values at even times, their changes from then on, and volatility of probabilities and of their logits."""

from collections.abc import Sequence
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt
import polars as pl

from pmlive.analysis._intervals import (
    Every,
    Touched,
    as_of,
    by_token_and_time,
    label_names,
    last_time,
    mark,
    positive_ns,
    windows,
    with_window,
)

__all__ = [
    "Scale",
    "bipower_variation",
    "forward_changes",
    "martingale_check",
    "realised_variance",
    "sample",
    "sample_mids",
    "signature",
    "variance_windows",
]

Scale: TypeAlias = Literal["probability", "logit"]

_Floats: TypeAlias = npt.NDArray[np.float64]

# The finest common tick: a mid nearer to 0 or 1 comes from a book whose other side is nearly empty.
_TICK = 0.001
_SUMS = ("rv", "bipower", "rv_logit", "bipower_logit", "changes")


def realised_variance(
    mids: pl.Series | Sequence[float | None], *, scale: Scale = "probability", tick: float = _TICK
) -> float | None:
    """Return the sum of squared changes of mids ``p``, or of their logits ``log(p / (1 - p))``.

    For logits, mids are clipped to ``[tick, 1 - tick]``, because a bounce of one tick near 0 or 1 is a large change.
    There is no change to or from a null. None if there is no change at all.

    Raises:
        ValueError: ``scale`` is not one of its two words, or ``tick`` is not between 0 and 0.5.

    >>> round(realised_variance([0.5, 0.52, None, 0.6, 0.61]), 6)
    0.0005
    """
    steps = np.diff(_scaled(mids, scale, tick))
    known = steps[~np.isnan(steps)]
    return float(np.sum(known**2)) if len(known) else None


def bipower_variation(
    mids: pl.Series | Sequence[float | None], *, scale: Scale = "probability", tick: float = _TICK
) -> float | None:
    """Return the sum of products of adjacent changes, ``pi / 2 * sum(|r_t| * |r_(t-1)|)``, robust to single jumps.

    The realised variance less this is the part of jumps (Barndorff-Nielsen and Shephard 2004). Arguments and errors are
    those of ``realised_variance``; None if no two changes are adjacent.
    """
    steps = np.abs(np.diff(_scaled(mids, scale, tick)))
    products = steps[1:] * steps[:-1]
    known = products[~np.isnan(products)]
    return float(np.pi / 2 * np.sum(known)) if len(known) else None


def variance_windows(
    prices: pl.DataFrame,
    every: Every | None = None,
    *,
    step: Every = "1s",
    tick: float = _TICK,
    gaps: pl.DataFrame | None = None,
    touched: Touched = "flag",
) -> pl.DataFrame:
    """Return the variances of mids sampled every ``step``, in windows of time, by default in one window per token.

    Returns ``token_id``, ``start``, ``end``, ``rv``, ``bipower``, ``rv_logit``, ``bipower_logit`` (see
    ``realised_variance`` and ``bipower_variation``; null without a change), ``changes`` (how many were measured: there
    is none to or from an instant at which a side was empty) and ``touched``. A change belongs to the window in which it
    ends. With ``touched="exclude"`` the sums are over the changes that no gap touches, and ``covered`` is added, the
    share of the window in which no gap lasted: sums over less time are smaller, so compare ``rv / covered``.

    Raises:
        ValueError: ``every`` or ``step`` is not a length of time above 0, or ``tick`` is not between 0 and 0.5.
    """
    spans = windows(prices, every)
    steps = with_window(_steps(prices, step, tick, gaps), spans)
    made = steps.group_by("token_id", "start").agg(
        rv=_squares("_p"),
        bipower=_products("_p"),
        rv_logit=_squares("_logit"),
        bipower_logit=_products("_logit"),
        changes=pl.col("_p").count(),
        touched=pl.col("touched").any(),
    )
    found = spans.join(made, on=["token_id", "start"], how="left").sort("token_id", "start")
    whole = found.with_columns(pl.col("changes").fill_null(0), pl.col("touched").fill_null(value=False))
    return mark(whole, gaps, conns=prices, measured=_SUMS, touched=touched)


def signature(
    prices: pl.DataFrame,
    steps: Sequence[Every] = ("1s", "5s", "15s", "1m", "5m"),
    *,
    tick: float = _TICK,
    gaps: pl.DataFrame | None = None,
) -> pl.DataFrame:
    """Return the variances at several steps; if they fall with longer steps, they contain the bounce of ticks.

    Returns ``token_id``, ``step`` (Duration), ``rv``, ``rv_logit``, ``changes`` and ``broken`` (the changes that were
    left out because a gap touches them).

    Raises:
        ValueError: a step is not a length of time above 0, or ``tick`` is not between 0 and 0.5.
    """
    return pl.concat(
        _steps(prices, step, tick, gaps)
        .group_by("token_id", *label_names(prices))
        .agg(
            step=pl.duration(nanoseconds=positive_ns(step)),
            rv=_squares("_p"),
            rv_logit=_squares("_logit"),
            changes=pl.col("_p").count(),
            broken=pl.col("touched").sum(),
        )
        for step in steps
    ).sort("token_id", "step")


def martingale_check(prices: pl.DataFrame, *, step: Every = "1s", gaps: pl.DataFrame | None = None) -> pl.DataFrame:
    """Return how much each token moved and how much less uncertain it became.

    If prices are a martingale, ``E[sum(dp**2)] = p0 * (1 - p0) - pT * (1 - pT)``, which is ``p0 * (1 - p0)`` for a
    token that ended at 0 or 1 (Augenblick and Rabin 2021, QJE 136(2):933-985). Over many tokens ``excess`` should
    average 0 and ``ratio`` 1; a single token shows little.

    Returns ``token_id``, ``start``, ``end`` (of the first and last mid), ``first``, ``last`` (those mids),
    ``movement`` (the left side), ``reduction`` (the right side), ``excess`` (movement less reduction), ``ratio``
    (movement over ``p0 * (1 - p0)``) and ``touched``: if a gap lies in between, those four are null. While a side is
    empty there is no mid, and the change over that time counts as one.

    Raises:
        ValueError: ``step`` is not a length of time above 0.
    """
    mid, at = pl.col("mid"), pl.col("ts_recv")
    found = (
        sample_mids(prices, step)
        .filter(mid.is_not_null())
        .group_by("token_id", *label_names(prices))
        .agg(start=at.first(), end=at.last(), first=mid.first(), last=mid.last(), movement=(mid.diff() ** 2).sum())
        .sort("token_id")
    )
    before, now = (pl.col(name) * (1 - pl.col(name)) for name in ("first", "last"))
    whole = found.with_columns(reduction=before - now).with_columns(
        excess=pl.col("movement") - pl.col("reduction"), ratio=pl.col("movement") / before
    )
    return mark(whole, gaps, conns=prices, measured=("movement", "reduction", "excess", "ratio"), touched="flag")


def _scaled(mids: pl.Series | Sequence[float | None], scale: Scale, tick: float) -> _Floats:
    if scale not in {"probability", "logit"}:
        raise ValueError(f"invalid scale {scale!r}; expected 'probability' or 'logit'")
    values = pl.Series(mids, dtype=pl.Float64, strict=False)
    return (values if scale == "probability" else pl.select(_logit(pl.lit(values), tick)).to_series()).to_numpy()


def _logit(mid: pl.Expr, tick: float) -> pl.Expr:
    if not 0 < tick < 0.5:  # noqa: PLR2004  # beyond the middle
        raise ValueError(f"invalid tick {tick!r}; expected a number between 0 and 0.5")
    clipped = mid.clip(tick, 1 - tick)
    return (clipped / (1 - clipped)).log()


def _steps(prices: pl.DataFrame, step: Every, tick: float, gaps: pl.DataFrame | None) -> pl.DataFrame:
    samples = sample_mids(prices, step, gaps=gaps)
    lasts = prices.select("token_id", *(["conn"] if "conn" in prices.columns else [])).unique()
    spans = samples.select("token_id", start=pl.col("ts_recv").shift(1).over("token_id"), end="ts_recv")
    cut = mark(spans, gaps, conns=lasts, measured=(), touched="flag")["touched"].fill_null(value=False)
    whole = ~pl.col("touched")
    change = {"_p": pl.col("mid"), "_logit": _logit(pl.col("mid"), tick)}
    return samples.with_columns(touched=cut).with_columns(
        pl.when(whole).then(value.diff().over("token_id")).alias(name) for name, value in change.items()
    )


def _squares(change: str) -> pl.Expr:
    step = pl.col(change)
    return pl.when(step.count() > 0).then((step**2).sum())


def _products(change: str) -> pl.Expr:
    neighbours = pl.col(change).abs() * pl.col(change).abs().shift(1)
    return pl.when(neighbours.count() > 0).then(float(np.pi / 2) * neighbours.sum())


# --- values at even times ---
# Values at even times, and how they change from then on.


def sample(
    states: pl.DataFrame,
    step: Every = "1s",
    *,
    values: Sequence[str] = ("mid", "spread"),
    gaps: pl.DataFrame | None = None,
    touched: Touched = "flag",
) -> pl.DataFrame:
    """Return values at every whole ``step``, from each token's first row to the frame's last.

    ``states`` has ``token_id``, ``ts_recv`` and the values, and each row stands until the token's next one: quotes, or
    what ``quote_measures`` and ``ladder_measures`` return. Unlike the rows of ``Recording.prices(every=…)``, which are
    named by the start of an interval and have its last values, these are what was known at ``ts_recv``.

    Returns ``token_id``, ``ts_recv`` (the instant), the values (of the last row at or before it; null while a gap
    lasts) and ``touched``; with ``touched="exclude"`` also ``covered``, 0 in a gap and else 1.

    Raises:
        ValueError: ``step`` is not a length of time above 0, or a column is missing.

    >>> at = pl.Series([0, 700, 2500], dtype=pl.Int64).cast(pl.Datetime("ms")).cast(pl.Datetime("ns", "UTC"))
    >>> quotes = pl.DataFrame({"token_id": "7", "ts_recv": at, "mid": [0.4, 0.6, 0.5]})
    >>> sample(quotes, "1s", values=["mid"])["mid"].to_list()
    [0.4, 0.6, 0.6]
    """
    missing = [name for name in values if name not in states.columns]
    if missing:
        raise ValueError(f"the frame has no columns {missing!r}, only {states.columns!r}")
    names = [name for name in label_names(states) if name not in values]
    grid = windows(states, step).select("token_id", *names, ts_recv="start")
    found = as_of(grid, states, {**{name: name for name in values}, "_stood": "ts_recv"})
    inside = found.filter(pl.col("_stood").is_not_null()).drop("_stood")
    instants = inside.with_columns(start="ts_recv", end="ts_recv")
    return mark(instants, gaps, conns=states, measured=values, touched=touched).drop("start", "end")


def sample_mids(
    prices: pl.DataFrame, step: Every = "1s", *, gaps: pl.DataFrame | None = None, touched: Touched = "flag"
) -> pl.DataFrame:
    """Return the mid at every whole ``step``, from each token's first quote to the frame's last.

    Returns ``token_id``, ``ts_recv`` (the instant), ``mid`` (of the last quote at or before it; null while a side is
    empty or a gap lasts) and ``touched``; with ``touched="exclude"`` also ``covered``, 0 in a gap and else 1.

    Raises:
        ValueError: ``step`` is not a length of time above 0.
    """
    return sample(prices, step, values=("mid",), gaps=gaps, touched=touched)


def forward_changes(
    states: pl.DataFrame, after: Every, *, value: str = "mid", gaps: pl.DataFrame | None = None
) -> pl.DataFrame:
    """Add how much a value changes from each row's instant until a time later: forward returns.

    Args:
        states: rows with ``token_id``, ``ts_recv`` and the value, each of which stands until the token's next one.
        after: the length of time, such as ``"10s"``.
        value: the column.
        gaps: rows of the table ``gaps``.

    Returns:
        The rows in order of token and time, with ``change``: the value ``after`` later less the value of the row. It is
        null where either is, where the frame ends before, and where a gap touches the time between them, as ``touched``
        says (null without ``gaps``).

    Raises:
        ValueError: ``after`` is not a length of time above 0, or the column is missing.

    >>> at = pl.Series([0, 700, 2500], dtype=pl.Int64).cast(pl.Datetime("ms")).cast(pl.Datetime("ns", "UTC"))
    >>> quotes = pl.DataFrame({"token_id": "7", "ts_recv": at, "mid": [0.4, 0.6, 0.5]})
    >>> forward_changes(quotes, "1s")["change"].round(2).to_list()
    [0.2, 0.0, None]
    """
    if value not in states.columns:
        raise ValueError(f"the frame has no column {value!r}, only {states.columns!r}")
    rows = by_token_and_time(states).with_columns(
        start="ts_recv", end=pl.col("ts_recv") + pl.duration(nanoseconds=positive_ns(after))
    )
    ahead = as_of(rows, states, {"_ahead": value}, at="end")
    known = pl.col("end") <= last_time(states)
    moved = ahead.with_columns(change=pl.when(known).then(pl.col("_ahead") - pl.col(value)))
    begun = moved.drop("touched", "covered", strict=False)
    return mark(begun, gaps, conns=states, measured=("change",), touched="flag").drop("start", "end", "_ahead")
