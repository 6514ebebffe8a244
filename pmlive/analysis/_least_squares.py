"""Ordinary least squares as aggregations of a frame."""

import polars as pl

__all__ = ["fit_exprs"]

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
