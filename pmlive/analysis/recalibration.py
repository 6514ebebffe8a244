"""How far forecasts would have to be stretched to come true."""

from collections.abc import Sequence
from typing import TypeAlias

import msgspec
import numpy as np
import numpy.typing as npt
import polars as pl

from pmlive.analysis._scored import Forecasts, Outcomes, pairs

__all__ = ["CalibrationSlope", "calibration_slope"]

_Floats: TypeAlias = npt.NDArray[np.float64]

# The finest common tick: beyond it a log-odds would say more than a price can.
_TICK = 0.001
# Newton's method takes under ten steps unless there is no best line, which then runs away.
_STEPS, _NEAR, _AWAY = 50, 1e-10, 100.0


class CalibrationSlope(msgspec.Struct, frozen=True, kw_only=True):
    """``log-odds of coming true = intercept + slope * log-odds of the forecast``.

    1 and 0 are calibrated; a slope above 1 says that forecasts are too timid, below 1 that they are too bold. ``low``
    and ``high`` are the 2.5 and 97.5 % points of the slope over draws of whole events; they are None where fewer than
    half of the draws have a line. ``n`` counts forecasts and ``events`` what was drawn from.
    """

    slope: float
    intercept: float
    low: float | None
    high: float | None
    n: int
    events: int


def calibration_slope(
    forecast: Forecasts,
    outcome: Outcomes,
    *,
    events: Sequence[str] | pl.Series | None = None,
    draws: int = 500,
    seed: int = 0,
) -> CalibrationSlope | None:
    """Fit ``log-odds of y = intercept + slope * log(p / (1 - p))`` by maximum likelihood (Cox 1958, Biometrika 45:562).

    Forecasts are clipped to 0.001 and 0.999. Outcomes of one event depend on each other, so the interval is that of
    drawing whole events with replacement; without ``events`` every forecast is one. None where no line is best: all
    outcomes or all forecasts are alike, or one price separates what came true from what did not.

    Raises:
        ValueError: as ``brier``; or ``events`` differ in number.

    >>> timid = calibration_slope([0.4] * 10 + [0.6] * 10, [0] * 8 + [1] * 2 + [0] * 2 + [1] * 8, draws=0)
    >>> round(timid.slope, 3), round(abs(timid.intercept), 3)
    (3.419, 0.0)
    """
    p, y = pairs(forecast, outcome)
    clipped = np.clip(p, _TICK, 1 - _TICK)
    x = np.log(clipped / (1 - clipped))
    names = pl.Series(range(len(p))) if events is None else pl.Series(events)
    if len(names) != len(p):
        raise ValueError(f"{len(p)} forecasts have {len(names)} events; one each is needed")
    numbers = names.rank("dense").to_numpy().astype(np.int64) - 1
    count = int(numbers.max()) + 1
    line = _line(x, y, np.ones(len(p)))
    if line is None:
        return None
    low, high = _interval(x, y, numbers, count, np.random.default_rng(seed), draws)
    return CalibrationSlope(slope=line[1], intercept=line[0], low=low, high=high, n=len(p), events=count)


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
    """Give intercept and slope of the likeliest line, by Newton's method; None where there is none."""
    intercept = slope = 0.0
    for _ in range(_STEPS):
        chance = 1 / (1 + np.exp(-(intercept + slope * x)))
        rest, curve = weight * (y - chance), weight * chance * (1 - chance)
        flat, tilt, bend = float(curve.sum()), float((curve * x).sum()), float((curve * x * x).sum())
        size = flat * bend - tilt * tilt
        if not size > _NEAR * flat * bend:
            return None
        up, along = float(rest.sum()), float((rest * x).sum())
        by = ((bend * up - tilt * along) / size, (flat * along - tilt * up) / size)
        intercept, slope = intercept + by[0], slope + by[1]
        if max(abs(intercept), abs(slope)) > _AWAY:
            return None
        if max(map(abs, by)) < _NEAR:
            return intercept, slope
    return None
