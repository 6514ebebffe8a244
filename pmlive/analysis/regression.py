"""Lines through points, by ordinary least squares."""

import msgspec
import numpy as np
import numpy.typing as npt
import polars as pl

__all__ = [
    "Fit",
    "fit_line",
]


class Fit(msgspec.Struct, frozen=True, kw_only=True):
    """``y = intercept + slope * x``, by ordinary least squares over ``n`` points.

    ``stderr`` is the standard error of the slope if errors are independent and alike, unless ``fit_line`` was given
    ``lags``; ``tstat = slope / stderr``.
    """

    slope: float
    intercept: float
    stderr: float
    tstat: float
    r2: float
    n: int


def fit_line(points: pl.DataFrame, *, x: str, y: str, lags: int = 0) -> Fit | None:
    """Return the line ``y = intercept + slope * x`` through the rows that have both numbers.

    Changes over 10 s that are taken every second overlap, and so their errors are alike for nine rows: with ``lags=9``
    the standard error allows for that. It is that of Newey and West (1987, Econometrica 55(3):703-708), with Bartlett
    weights ``1 - l / (lags + 1)`` and without a correction for small samples. Rows have to be in order of time then.

    Args:
        points: a frame with both columns; the units of the slope are those of ``y`` over those of ``x``.
        x: the name of the column that explains.
        y: the name of the column that is explained.
        lags: the number of rows over which errors may depend on each other, 0 for none.

    Returns:
        The line; None for fewer than 3 points, or if ``x`` is the same in all.

    Raises:
        ValueError: a column is missing, or ``lags`` is below 0.

    >>> points = pl.DataFrame({"imbalance": [-0.5, 0.0, 0.5, None], "change": [-0.01, 0.0, 0.02, 0.03]})
    >>> line = fit_line(points, x="imbalance", y="change")
    >>> round(line.slope, 4), line.n
    (0.03, 3)
    """
    missing = [name for name in (x, y) if name not in points.columns]
    if missing:
        raise ValueError(f"the frame has no columns {missing!r}, only {points.columns!r}")
    if lags < 0:
        raise ValueError(f"invalid lags {lags!r}; expected a number of rows, 0 or above")
    found = points.select(**fit_exprs(x, y)).row(0, named=True)
    if found["slope"] is None:
        return None
    fit = Fit(**found)
    return _robust(fit, points.select(x=pl.col(x), y=pl.col(y)).drop_nulls(), lags) if lags else fit


def _robust(fit: Fit, points: pl.DataFrame, lags: int) -> Fit:
    x = points["x"].cast(pl.Float64).to_numpy()
    residuals = points["y"].cast(pl.Float64).to_numpy() - fit.intercept - fit.slope * x
    away: npt.NDArray[np.float64] = x - x.mean()
    scores = away * residuals
    total = float(scores @ scores)
    for lag in range(1, min(lags, len(scores) - 1) + 1):
        total += 2 * (1 - lag / (lags + 1)) * float(scores[lag:] @ scores[:-lag])
    stderr = total**0.5 / float(away @ away)
    return msgspec.structs.replace(fit, stderr=stderr, tstat=fit.slope / stderr if stderr else float("inf"))


# --- least squares ---
# Ordinary least squares as aggregations of a frame.

# With fewer points a line has no residuals to estimate its error from.
_LEAST = 3


def fit_exprs(x: str, y: str) -> dict[str, pl.Expr]:
    """Return the fields of a ``Fit`` as aggregations; all but ``n`` are null for fewer than 3 points or constant x."""
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
