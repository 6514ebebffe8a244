"""Lines through points, against numpy's, and the errors of the slope."""

from statistics import linear_regression

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pmlive.analysis import fit_line

_NUMBERS = st.integers(-100, 100).map(float)


@given(st.lists(st.tuples(_NUMBERS, _NUMBERS), min_size=3, max_size=30))
def test_the_line_is_that_of_least_squares(points: list[tuple[float, float]]) -> None:
    x, y = np.array(points).T
    fit = fit_line(pl.DataFrame({"x": x, "y": y}), x="x", y="y")

    if np.ptp(x) == 0:
        assert fit is None
        return
    slope, intercept = linear_regression(x.tolist(), y.tolist())
    assert fit is not None
    assert fit.slope == pytest.approx(slope, abs=1e-6)
    assert fit.intercept == pytest.approx(intercept, abs=1e-6)
    residuals = y - intercept - slope * x
    expected = np.sqrt(residuals @ residuals / (len(x) - 2) / ((x - x.mean()) ** 2).sum()) if len(x) > 2 else None
    assert fit.stderr == pytest.approx(expected, abs=1e-6)


def test_rows_without_one_of_the_numbers_do_not_count() -> None:
    points = pl.DataFrame({"x": [0.0, 1.0, None, 2.0, 3.0], "y": [1.0, 3.0, 9.0, 5.0, None]})

    fit = fit_line(points, x="x", y="y")

    assert fit is not None
    assert (fit.slope, fit.intercept, fit.n) == (2.0, 1.0, 3)


def test_errors_that_last_make_the_slope_less_sure_than_independent_ones() -> None:
    rng = np.random.default_rng(1)
    x, noise = (np.convolve(rng.normal(size=609), np.ones(10), "valid") for _ in range(2))
    points = pl.DataFrame({"x": x, "y": 0.5 * x + noise})

    naive, allowed = (fit_line(points, x="x", y="y", lags=lags) for lags in (0, 9))

    assert naive is not None
    assert allowed is not None
    assert allowed.slope == naive.slope
    assert allowed.stderr > 1.5 * naive.stderr
    assert allowed.tstat == pytest.approx(allowed.slope / allowed.stderr)


def test_more_lags_than_rows_are_all_rows() -> None:
    points = pl.DataFrame({"x": [0.0, 1.0, 2.0, 4.0], "y": [0.0, 1.0, 3.0, 3.0]})

    fit = fit_line(points, x="x", y="y", lags=50)

    assert fit is not None
    assert np.isfinite(fit.stderr)


def test_what_cannot_be_meant_is_refused() -> None:
    points = pl.DataFrame({"x": [0.0], "y": [0.0]})

    with pytest.raises(ValueError, match="invalid lags -1"):
        fit_line(points, x="x", y="y", lags=-1)
    with pytest.raises(ValueError, match="no columns \\['z'\\]"):
        fit_line(points, x="x", y="z")
    assert fit_line(points, x="x", y="y") is None
