"""The golden numbers of these tests were cross-checked with scikit-learn 1.9, statsmodels 0.15."""

from datetime import timedelta
from itertools import pairwise

import numpy as np
import polars as pl
import pytest
from analysing import gaps, golden, times
from hypothesis import given
from hypothesis import strategies as st

from pmlive.analysis import hayashi_yoshida, lead_lag

_ticks = st.dictionaries(st.integers(0, 40), st.integers(-9, 9), min_size=1, max_size=10).map(
    lambda ticks: sorted(ticks.items())
)


def series(ticks: list[tuple[int, int]]) -> pl.DataFrame:
    return pl.DataFrame(ticks, schema={"time": pl.Int64, "value": pl.Float64}, orient="row")


def timed(points: list[tuple[float, float | None]]) -> pl.DataFrame:
    return pl.DataFrame({"ts_recv": times([at for at, _ in points]), "mid": [value for _, value in points]})


def test_the_golden_covariance_is_estimated() -> None:
    told = golden("hayashi_yoshida")

    found = hayashi_yoshida(
        pl.DataFrame({"time": told["tx"], "value": told["X"]}), pl.DataFrame({"time": told["ty"], "value": told["Y"]})
    )

    assert found.cov == pytest.approx(told["cov"], rel=1e-9)
    assert found.corr == pytest.approx(told["corr"], rel=1e-9)
    assert (found.changes_x, found.changes_y) == (5, 5)


@given(_ticks, _ticks)
def test_the_covariance_equals_the_sum_over_all_pairs(x: list[tuple[int, int]], y: list[tuple[int, int]]) -> None:
    expected = sum(
        (v1 - v0) * (w1 - w0)
        for (t0, v0), (t1, v1) in pairwise(x)
        for (s0, w0), (s1, w1) in pairwise(y)
        if max(t0, s0) < min(t1, s1)
    )

    found = hayashi_yoshida(series(x), series(y))

    assert found.cov == pytest.approx(expected)
    assert hayashi_yoshida(series(y), series(x)).cov == pytest.approx(expected)


@given(_ticks)
def test_a_series_is_wholly_correlated_with_itself(x: list[tuple[int, int]]) -> None:
    found = hayashi_yoshida(series(x), series(x))

    moves = any(before != after for (_, before), (_, after) in pairwise(x))
    assert found.corr == (pytest.approx(1) if moves else None)


def test_a_null_has_no_change_on_either_side() -> None:
    x = timed([(0, 0.0), (1, 1.0), (2, None), (3, 5.0), (4, 6.0)])

    found = hayashi_yoshida(x, x)

    assert (found.cov, found.changes_x) == (pytest.approx(2.0), 2)


def test_changes_that_a_gap_touches_are_left_out() -> None:
    x = timed([(0, 0.0), (10, 1.0), (20, 3.0)])

    found = hayashi_yoshida(x, x, gaps=gaps([(12, 13)], token_id="whatever"))

    assert (found.cov, found.changes_x) == (pytest.approx(1.0), 1)


def test_of_several_ticks_at_one_instant_the_last_counts() -> None:
    x = timed([(0, 0.0), (10, 7.0), (10, 1.0)])

    assert hayashi_yoshida(x, x).cov == pytest.approx(1.0)


def test_the_contrast_is_largest_at_the_lead() -> None:
    random = np.random.default_rng(7)
    at = np.sort(random.choice(100_000, 400, replace=False))
    walk = np.cumsum(random.normal(size=400))
    leader = timed(list(zip(at.tolist(), walk.tolist(), strict=True)))
    follower = timed([(time + 2000, value) for time, value in zip(at.tolist(), walk.tolist(), strict=True)])

    found = lead_lag(leader, follower, [f"{seconds}s" if seconds >= 0 else f"-{-seconds}s" for seconds in range(-4, 5)])

    best = found.sort("contrast", descending=True).row(0, named=True)
    assert best["lag"] == timedelta(seconds=2)
    assert best["corr"] == pytest.approx(1)
    turned = lead_lag(follower, leader, [timedelta(seconds=-2)])
    assert turned["corr"].to_list() == pytest.approx([1])


def test_frames_of_other_shapes_are_refused() -> None:
    x = timed([(0, 0.0), (1, 1.0)])
    numbers = series([(0, 0), (1, 1)])

    with pytest.raises(ValueError, match="two columns are needed"):
        hayashi_yoshida(x, x.with_columns(other=pl.lit(1)))
    with pytest.raises(TypeError, match="gaps need times"):
        hayashi_yoshida(numbers, numbers, gaps=gaps([(0, 1)]))
    with pytest.raises(TypeError, match="the first column of both is a Datetime"):
        lead_lag(x, numbers, ["1s"])
