"""The golden numbers of these tests were cross-checked with scikit-learn 1.9, statsmodels 0.15."""

from datetime import timedelta
from itertools import pairwise

import numpy as np
import polars as pl
import pytest
from analysing import gaps, golden, times
from hypothesis import given
from hypothesis import strategies as st

from pmlive.analysis import cross_correlation, hayashi_yoshida, lead_lag

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

    with pytest.raises(ValueError, match="expected two, time and value"):
        hayashi_yoshida(x, x.with_columns(other=pl.lit(1)))
    with pytest.raises(TypeError, match="with gaps, expected Datetime"):
        hayashi_yoshida(numbers, numbers, gaps=gaps([(0, 1)]))
    with pytest.raises(TypeError, match="expected Datetime for both"):
        lead_lag(x, numbers, ["1s"])


def test_the_cross_correlation_is_that_of_changes_on_a_grid() -> None:
    """By hand: changes of 1, -2, 3 and of 0, 2, -4; the second follows the first by a step, twice as far."""
    x = timed([(0, 0.0), (900, 1.0), (2000, -1.0), (2600, 2.0)])
    y = timed([(0, 5.0), (1500, 7.0), (2900, 3.0), (3100, 9.0)])

    found = cross_correlation(x.head(4), y.head(3), ["-1s", "0s", "1s"])

    # Over 0 to 2 s, where both are known: dx = 1, -2 and dy = 0, 2.
    assert found["n"].to_list() == [1, 2, 1]
    assert found["corr"].to_list() == pytest.approx([None, -4 / np.sqrt(5 * 4), 1.0])


def test_the_cross_correlation_is_largest_at_the_lead_where_ticks_share_a_rhythm() -> None:
    random = np.random.default_rng(7)
    walk = np.cumsum(random.normal(size=400)).tolist()
    leader = timed([(1000 * number, value) for number, value in enumerate(walk)])
    follower = timed([(1000 * number + 700, value) for number, value in enumerate(walk)])

    lags = [timedelta(milliseconds=100 * number) for number in range(-15, 16)]
    found = cross_correlation(leader, follower, lags, step="100ms")

    best = found.sort("corr", descending=True).row(0, named=True)
    assert best["lag"] == timedelta(milliseconds=700)
    assert best["corr"] == pytest.approx(1)
    assert found.filter(pl.col("lag") != best["lag"])["corr"].abs().max() < 0.2  # pyright: ignore[reportOptionalOperand, reportOperatorIssue]  # there are some
    flat = lead_lag(leader, follower, ["100ms", "700ms", "1300ms"])["corr"]
    assert flat.to_list() == pytest.approx([flat[1]] * 3, abs=0.1)


@given(_ticks, _ticks, st.integers(-3, 3))
def test_the_cross_correlation_equals_the_definition(
    x: list[tuple[int, int]], y: list[tuple[int, int]], lag: int
) -> None:
    first, last = max(x[0][0], y[0][0]), min(x[-1][0], y[-1][0])
    grid = range(first, last + 1)
    changes = [
        [stood(ticks, now) - stood(ticks, was) for was, now in pairwise(grid)] if len(grid) else [] for ticks in (x, y)
    ]
    pairs = [(one, changes[1][at + lag]) for at, one in enumerate(changes[0]) if 0 <= at + lag < len(changes[1])]
    scale = np.sqrt(sum(one**2 for one, _ in pairs) * sum(other**2 for _, other in pairs))

    found = cross_correlation(
        timed([(at * 1000, value) for at, value in x]), timed([(at * 1000, value) for at, value in y]), [f"{lag}s"]
    )

    assert found["n"].to_list() == [len(pairs)]
    expected = sum(one * other for one, other in pairs) / scale if scale else None
    assert found["corr"].to_list() == [None if expected is None else pytest.approx(expected)]


def stood(ticks: list[tuple[int, int]], at: int) -> int:
    return [value for time, value in ticks if time <= at][-1]


def test_steps_that_a_gap_touches_are_left_out_of_a_cross_correlation() -> None:
    x = timed([(0, 0.0), (1000, 1.0), (2000, 3.0), (3000, 4.0)])

    found = cross_correlation(x, x, ["0s"], gaps=gaps([(1200, 1300)], token_id="whatever"))

    assert (found["n"].item(), found["corr"].item()) == (2, pytest.approx(1))


def test_lags_between_steps_are_refused() -> None:
    x = timed([(0, 0.0), (1000, 1.0)])

    with pytest.raises(ValueError, match="expected whole numbers of steps of '1s'"):
        cross_correlation(x, x, ["1500ms"])
