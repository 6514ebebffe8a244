"""A straight line through points, by least squares."""

import msgspec
import polars as pl

__all__ = ["Fit", "fit", "fit_exprs"]

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


def fit_exprs(x: str, y: str) -> dict[str, pl.Expr]:
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


def fit(points: pl.DataFrame, x: str, y: str) -> Fit | None:
    """Fit a line through the points that have both numbers; None for under 3, or ones of a single x."""
    found = points.select(**fit_exprs(x, y)).row(0, named=True)
    return None if found["slope"] is None else Fit(**found)
