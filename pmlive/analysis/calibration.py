"""Calibration of forecasts: whether what was priced at 30 cents came true three times in ten.

Brier scores depend on which markets are included and how long before their end, so report both with every score.
"""

from collections.abc import Sequence
from typing import TypeAlias

import msgspec
import numpy as np
import numpy.typing as npt
import polars as pl

from pmlive.analysis._intervals import TIME, Every, as_of, mark, positive_ns

__all__ = [
    "Calibration",
    "CalibrationSlope",
    "brier",
    "brier_skill",
    "calibration",
    "calibration_slope",
    "forecasts",
    "log_loss",
    "reliability_table",
]

# Forecasts are numbers from 0 to 1, outcomes 0 or 1.
_Forecasts: TypeAlias = pl.Series | Sequence[float]
_Outcomes: TypeAlias = pl.Series | Sequence[float] | Sequence[int]
_Floats: TypeAlias = npt.NDArray[np.float64]
# The 97.5 % point of the normal distribution.
_Z_975 = 1.959963984540054
# The least distance from 0 and 1 of a float, so that one certain error is not an infinite loss.
_FLOAT_EPSILON = float(np.finfo(np.float64).eps)
# The finest common tick: prices cannot show log-odds beyond it.
_TICK = 0.001
# Newton's method takes fewer than ten steps, unless there is no best line and it diverges.
_MOST_STEPS, _CONVERGED, _DIVERGED = 50, 1e-10, 100.0


class Calibration(msgspec.Struct, frozen=True, kw_only=True):
    """Scores of ``n`` forecasts, and the parts of the Brier score.

    ``brier = reliability - resolution + uncertainty + within_bin``. ``skill`` is ``1 - brier / uncertainty``, None if
    all outcomes are the same. ``ece`` is the expected calibration error, ``sum(n_k / n * |forecast_k - outcome_k|)``.
    """

    n: int
    bins: int
    brier: float
    log_loss: float
    skill: float | None
    reliability: float
    resolution: float
    uncertainty: float
    within_bin: float
    ece: float


class CalibrationSlope(msgspec.Struct, frozen=True, kw_only=True):
    """``log-odds of coming true = intercept + slope * log-odds of the forecast``.

    Calibrated forecasts have slope 1 and intercept 0; those with a slope above 1 are too timid, below 1 too bold.
    ``low`` and ``high`` are the 2.5 and 97.5 % points of the slope over draws of whole events, None if fewer than half
    of the draws have a line. ``n`` is the number of forecasts, ``events`` that of events.
    """

    slope: float
    intercept: float
    low: float | None
    high: float | None
    n: int
    events: int


def brier(forecast: _Forecasts, outcome: _Outcomes) -> float:
    """Return the mean squared error, ``mean((p - y)**2)`` (Brier 1950): 0 is perfect, always saying 0.5 scores 0.25.

    Raises:
        ValueError: there are none, they differ in number, a forecast is not in [0, 1] or an outcome neither 0 nor 1.
            Markets that were settled half and half, or had no mid, have to be left out by the caller.
    """
    p, y = _pairs(forecast, outcome)
    return float(np.mean((p - y) ** 2))


def log_loss(forecast: _Forecasts, outcome: _Outcomes) -> float:
    """Return the mean of ``-log`` of the probability forecast for what came true, in nats.

    Forecasts are clipped to the nearest floats to 0 and 1, so that a single one cannot cost infinitely much.

    Raises:
        ValueError: as ``brier``.
    """
    p, y = _pairs(forecast, outcome)
    clipped = np.clip(p, _FLOAT_EPSILON, 1 - _FLOAT_EPSILON)
    return float(-np.mean(y * np.log(clipped) + (1 - y) * np.log(1 - clipped)))


def brier_skill(forecast: _Forecasts, outcome: _Outcomes) -> float | None:
    """Return the skill over always forecasting the mean outcome ``ym``: ``1 - brier / (ym * (1 - ym))``.

    None if all outcomes are the same.

    Raises:
        ValueError: as ``brier``.
    """
    _, y = _pairs(forecast, outcome)
    uncertainty = float(np.mean(y) * (1 - np.mean(y)))
    return 1 - brier(forecast, outcome) / uncertainty if uncertainty else None


def calibration(forecast: _Forecasts, outcome: _Outcomes, *, bins: int = 10) -> Calibration:
    """Return scores of forecasts, with the parts of the Brier score.

    With ``n_k`` forecasts in bin ``k``, their means ``p_k`` and ``y_k`` and the mean outcome ``ym``: reliability
    ``sum(n_k * (p_k - y_k)**2) / n``, resolution ``sum(n_k * (y_k - ym)**2) / n``, uncertainty ``ym * (1 - ym)``
    (Murphy 1973), and within the bins ``mean((p - p_k)**2) - 2 * mean((p - p_k) * (y - y_k))``, which is 0 only if all
    forecasts of a bin are equal (Stephenson, Coelho and Jolliffe 2008). Bins are those of ``reliability_table``.

    Raises:
        ValueError: as ``brier``; or ``bins`` is below 1.
    """
    p, y = _pairs(forecast, outcome)
    at = _bins(p, bins)
    count = np.bincount(at, minlength=bins)
    size = np.maximum(count, 1)
    p_bin, y_bin = (np.bincount(at, weights=each, minlength=bins) / size for each in (p, y))
    weight, base = count / len(p), float(np.mean(y))
    p_rest, y_rest = p - p_bin[at], y - y_bin[at]
    return Calibration(
        n=len(p),
        bins=bins,
        brier=brier(forecast, outcome),
        log_loss=log_loss(forecast, outcome),
        skill=brier_skill(forecast, outcome),
        reliability=float(np.sum(weight * (p_bin - y_bin) ** 2)),
        resolution=float(np.sum(weight * (y_bin - base) ** 2)),
        uncertainty=base * (1 - base),
        within_bin=float(np.mean(p_rest**2) - 2 * np.mean(p_rest * y_rest)),
        ece=float(np.sum(weight * np.abs(p_bin - y_bin))),
    )


def reliability_table(
    forecast: _Forecasts, outcome: _Outcomes, *, bins: int = 10, events: Sequence[str] | pl.Series | None = None
) -> pl.DataFrame:
    """Return mean forecasts and outcomes in bins of equal width; a forecast on an edge is in the lower bin.

    Returns ``bin``, ``lower``, ``upper``, ``n``, ``events``, ``forecast`` and ``outcome`` (means, null for an empty
    bin), and ``low`` and ``high``, the 95 % interval of the outcome (Wilson 1927). The outcomes of one event depend on
    each other, since only one of them wins. If ``events`` names the event of each forecast, the interval counts every
    event once, which makes it rather too wide than too narrow. Otherwise every forecast is its own event.

    Raises:
        ValueError: as ``brier``; or ``bins`` is below 1; or ``events`` differ in number.

    >>> table = reliability_table([0.125, 0.25, 0.375], [0, 0, 1], bins=5)
    >>> table.select("bin", "n", "forecast", "outcome").head(2).rows()
    [(0, 1, 0.125, 0.0), (1, 2, 0.3125, 0.5)]
    """
    p, y = _pairs(forecast, outcome)
    names = pl.Series(range(len(p))) if events is None else pl.Series(events)
    if len(names) != len(p):
        raise ValueError(f"{len(p)} forecasts and {len(names)} events; expected as many of both")
    rows = pl.DataFrame({"bin": _bins(p, bins), "forecast": p, "outcome": y, "events": names})
    means = rows.group_by("bin").agg(
        pl.len().alias("n"), pl.col("events").n_unique(), pl.col("forecast").mean(), pl.col("outcome").mean()
    )
    edges = pl.DataFrame(
        {"bin": np.arange(bins), "lower": np.arange(bins) / bins, "upper": np.arange(1, bins + 1) / bins}
    )
    table = edges.join(means, on="bin", how="left").sort("bin")
    return table.with_columns(pl.col("n", "events").fill_null(0)).with_columns(**_wilson())


def forecasts(
    prices: pl.DataFrame,
    outcomes: pl.DataFrame,
    horizons: Sequence[Every] = ("1h", "1d", "7d"),
    *,
    gaps: pl.DataFrame | None = None,
) -> pl.DataFrame:
    """Return the mids at fixed times before markets ended.

    ``outcomes`` are those of ``Recording.outcomes``, of which the tokens count that won or lost, until the recorder was
    told so; or a frame with ``token_id``, ``ts_recv`` (when it ended) and ``outcome`` (0 or 1). Returns ``token_id``,
    ``horizon`` (Duration), ``ts_recv`` (the instant), ``forecast`` (the mid then; null before the first quote, while a
    side is empty, and while a gap lasts), ``outcome`` (0 or 1), ``touched``, and ``market`` and ``slug`` where the
    outcomes have them. Of a market with two outcomes one is enough: ``outcomes.filter(outcome="Yes")``.

    Raises:
        ValueError: a horizon is not a length of time above 0, or a column is missing.
    """
    lengths = pl.DataFrame({"horizon": [positive_ns(each) for each in horizons]}).cast(pl.Duration("ns"))
    ended = _ended(outcomes)
    names = [name for name in ("market", "slug") if name in ended.columns]
    asked = ended.select("token_id", *names, "outcome", _end=pl.col("ts_recv").cast(TIME)).join(lengths, how="cross")
    instants = asked.with_columns(ts_recv=pl.col("_end") - pl.col("horizon"))
    read = as_of(instants, prices, {"forecast": "mid"}).with_columns(start=pl.col("ts_recv"), end=pl.col("ts_recv"))
    marked = mark(read, gaps, conns=prices, measured=("forecast",), touched="flag")
    return marked.select("token_id", "horizon", "ts_recv", "forecast", "outcome", "touched", *names)


def calibration_slope(
    forecast: _Forecasts,
    outcome: _Outcomes,
    *,
    events: Sequence[str] | pl.Series | None = None,
    draws: int = 500,
    seed: int = 0,
) -> CalibrationSlope | None:
    """Fit ``log-odds of y = intercept + slope * log(p / (1 - p))`` by maximum likelihood (Cox 1958, Biometrika 45:562).

    Forecasts are clipped to 0.001 and 0.999. The outcomes of one event depend on each other, so the interval comes from
    draws of whole events with replacement; without ``events`` every forecast is its own event. None if there is no best
    line: all outcomes or all forecasts are equal, or one price separates what came true from what did not.

    Raises:
        ValueError: as ``brier``; or ``events`` differ in number.

    >>> timid = calibration_slope([0.4] * 10 + [0.6] * 10, [0] * 8 + [1] * 2 + [0] * 2 + [1] * 8, draws=0)
    >>> round(timid.slope, 3), round(abs(timid.intercept), 3)
    (3.419, 0.0)
    """
    p, y = _pairs(forecast, outcome)
    clipped = np.clip(p, _TICK, 1 - _TICK)
    x = np.log(clipped / (1 - clipped))
    names = pl.Series(range(len(p))) if events is None else pl.Series(events)
    if len(names) != len(p):
        raise ValueError(f"{len(p)} forecasts and {len(names)} events; expected as many of both")
    numbers = names.rank("dense").to_numpy().astype(np.int64) - 1
    count = int(numbers.max()) + 1
    line = _line(x, y, np.ones(len(p)))
    if line is None:
        return None
    low, high = _interval(x, y, numbers, count, np.random.default_rng(seed), draws)
    return CalibrationSlope(slope=line[1], intercept=line[0], low=low, high=high, n=len(p), events=count)


def _ended(outcomes: pl.DataFrame) -> pl.DataFrame:
    """Return ``outcomes`` with ``ts_recv`` and ``outcome`` as a number, also of those that a recording tells."""
    if {"winner", "resolved_at"} <= set(outcomes.columns):
        decided = outcomes.drop_nulls(["winner", "resolved_at"])
        return decided.with_columns(ts_recv="resolved_at", outcome=pl.col("winner").cast(pl.Float64))
    missing = [name for name in ("token_id", "ts_recv", "outcome") if name not in outcomes.columns]
    if missing:
        raise ValueError(f"the outcomes have no column {missing[0]!r}; expected those of a recording's outcomes()")
    return outcomes


def _pairs(forecast: _Forecasts, outcome: _Outcomes) -> tuple[_Floats, _Floats]:
    """Return both as arrays.

    Raises:
        ValueError: there are none, they differ in number, a forecast is not in [0, 1] or an outcome neither 0 nor 1.
    """
    p, y = (pl.Series(each, dtype=pl.Float64, strict=False).to_numpy() for each in (forecast, outcome))
    if len(p) != len(y) or not len(p):
        raise ValueError(f"{len(p)} forecasts and {len(y)} outcomes; expected as many of both, and at least one")
    if wrong := int(np.sum(~((p >= 0) & (p <= 1)))):
        raise ValueError(f"{wrong} of {len(p)} forecasts are missing or not between 0 and 1; leave them out first")
    if wrong := int(np.sum(~((y == 0) | (y == 1)))):
        raise ValueError(f"{wrong} of {len(y)} outcomes are neither 0 nor 1; leave them out first")
    return p, y


def _bins(p: _Floats, bins: int) -> npt.NDArray[np.int64]:
    if bins < 1:
        raise ValueError(f"invalid bins {bins!r}; expected 1 or more")
    # Each edge is the float nearest to k / bins, as is a price of that value.
    return np.maximum(np.digitize(p, np.arange(bins + 1) / bins, right=True) - 1, 0)


def _wilson() -> dict[str, pl.Expr]:
    n, y = pl.col("events"), pl.col("outcome")
    scale = 1 + _Z_975**2 / n
    centre = (y + _Z_975**2 / (2 * n)) / scale
    half = _Z_975 / scale * (y * (1 - y) / n + _Z_975**2 / (4 * n**2)).sqrt()
    return {"low": (centre - half).clip(0.0, 1.0), "high": (centre + half).clip(0.0, 1.0)}


def _interval(
    x: _Floats, y: _Floats, events: npt.NDArray[np.int64], count: int, random: np.random.Generator, draws: int
) -> tuple[float | None, float | None]:
    times = random.multinomial(count, np.full(count, 1 / count), size=draws).astype(np.float64)
    slopes = [line[1] for drawn in times if (line := _line(x, y, drawn[events])) is not None]
    if not slopes or 2 * len(slopes) < draws:
        return None, None
    low, high = np.quantile(slopes, [0.025, 0.975])
    return float(low), float(high)


def _line(x: _Floats, y: _Floats, weight: _Floats) -> tuple[float, float] | None:
    """Return intercept and slope of the likeliest line, by Newton's method; None if there is none."""
    intercept = slope = 0.0
    for _ in range(_MOST_STEPS):
        p = 1 / (1 + np.exp(-(intercept + slope * x)))
        residual, curvature = weight * (y - p), weight * p * (1 - p)
        # The gradient of the log-likelihood (g) and its negated second derivatives (h), by intercept and slope.
        g0, g1 = float(residual.sum()), float((residual * x).sum())
        h00, h01, h11 = float(curvature.sum()), float((curvature * x).sum()), float((curvature * x * x).sum())
        determinant = h00 * h11 - h01 * h01
        if not determinant > _CONVERGED * h00 * h11:
            return None
        step = ((h11 * g0 - h01 * g1) / determinant, (h00 * g1 - h01 * g0) / determinant)
        intercept, slope = intercept + step[0], slope + step[1]
        if max(abs(intercept), abs(slope)) > _DIVERGED:
            return None
        if max(map(abs, step)) < _CONVERGED:
            return intercept, slope
    return None
