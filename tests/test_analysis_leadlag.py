"""The golden numbers of these tests were cross-checked with scikit-learn 1.9, statsmodels 0.15."""

from datetime import timedelta
from itertools import pairwise

import numpy as np
import polars as pl
import pytest
from analysing import gaps, golden, times
from hypothesis import given
from hypothesis import strategies as st

from pmlive.analysis import cross_correlation, hayashi_yoshida, lead_lag, refresh_time_corr

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


# --- correlations between -1 and 1 ---


def refreshed(x: list[tuple[int, int]], y: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Give the values of both at the times by which both have ticked again, by looking at every instant."""
    found: list[tuple[int, int]] = []
    new_x = new_y = False
    for now in range(50):
        new_x, new_y = new_x or now in dict(x), new_y or now in dict(y)
        if new_x and new_y:
            found.append((next(v for t, v in reversed(x) if t <= now), next(v for t, v in reversed(y) if t <= now)))
            new_x = new_y = False
    return found


def weight(x: float) -> float:
    return 1 - 6 * x**2 + 6 * x**3 if x <= 0.5 else 2 * (1 - x) ** 3


@given(_ticks, _ticks, st.sampled_from([0, 1, 2, 5, 40]))
def test_the_kernel_is_a_weighted_sum_over_all_pairs_of_changes(
    x: list[tuple[int, int]], y: list[tuple[int, int]], bandwidth: int
) -> None:
    values = refreshed(x, y)
    changes = [(b[0] - a[0], b[1] - a[1]) for a, b in pairwise(values)]
    matrix = np.zeros((2, 2))
    for i, one in enumerate(changes):
        for j, other in enumerate(changes):
            if abs(i - j) <= bandwidth:
                matrix += weight(abs(i - j) / (bandwidth + 1)) * np.outer(one, other)

    found = refresh_time_corr(series(x), series(y), bandwidth=bandwidth)

    assert (found.var_x, found.cov, found.var_y) == pytest.approx((matrix[0, 0], matrix[0, 1], matrix[1, 1]), abs=1e-9)
    assert (found.n, found.left_out, found.bandwidth) == (len(changes), 0, bandwidth)
    assert found.var_x * found.var_y - found.cov**2 >= -1e-6
    assert found.corr is None or -1 <= found.corr <= 1


def test_hayashi_and_yoshidas_correlation_may_exceed_one_and_says_so() -> None:
    x = series([(0, 0), (10, 1)])
    y = series([(0, 0), (2, 1), (4, 2), (10, 3)])

    found, bounded = hayashi_yoshida(x, y), refresh_time_corr(x, y)

    assert found.corr == pytest.approx(3 / 3**0.5)
    assert not found.is_psd
    assert bounded.corr == pytest.approx(1.0)
    assert hayashi_yoshida(x, x).is_psd
    assert hayashi_yoshida(x, x.with_columns(value=pl.lit(0.0))).is_psd


def test_a_series_moves_wholly_with_itself_and_against_its_mirror() -> None:
    x = timed([(0, 0.3), (7, 0.31), (19, 0.28), (40, 0.4)])

    same = refresh_time_corr(x, x, bandwidth=2)
    mirrored = refresh_time_corr(x, x.with_columns(mid=1 - pl.col("mid")), bandwidth=1)

    assert (same.corr, mirrored.corr) == (pytest.approx(1.0), pytest.approx(-1.0))


def test_what_a_null_or_a_gap_lies_in_is_left_out_of_the_kernel() -> None:
    x = timed([(0, 0.0), (10, 1.0), (20, 3.0), (30, None), (40, 5.0), (50, 6.0)])
    y = timed([(0, 0.0), (10, 2.0), (20, 3.0), (30, 4.0), (40, 5.0), (50, 7.0)])

    found = refresh_time_corr(x, y, gaps=gaps([(12, 13)], token_id="whatever"))

    # At 30 there is no value of the first, so 20 to 40 is one change.
    assert (found.cov, found.n, found.left_out) == (pytest.approx(1 * 2 + 2 * 2 + 1 * 2), 3, 1)
    assert (found.var_x, found.var_y) == (pytest.approx(1 + 4 + 1), pytest.approx(4 + 4 + 4))


def test_a_lag_shifts_the_second_series_back() -> None:
    x = timed([(0, 0.0), (1000, 1.0), (3000, -1.0), (4000, 3.0)])
    y = timed([(2000, 0.0), (3000, 1.0), (5000, -1.0), (6000, 3.0)])

    assert refresh_time_corr(x, y, lag="2s").corr == pytest.approx(1.0)
    other = refresh_time_corr(y, x, lag=timedelta(seconds=-2), gaps=gaps([(3500, 3600)]))
    assert (other.corr, other.n, other.left_out) == (pytest.approx(1.0), 1, 2)


def test_the_kernel_finds_a_correlation_that_ticks_at_different_times_hide() -> None:
    random = np.random.default_rng(3)
    steps = random.multivariate_normal([0, 0], [[1, 0.8], [0.8, 1]], size=40_000)
    walk = np.cumsum(steps, axis=0)
    at = [np.sort(random.choice(40_000, 2_000, replace=False)) for _ in range(2)]
    x, y = (
        pl.DataFrame({"time": times, "value": walk[times, place] + random.normal(size=2_000)})
        for place, times in enumerate(at)
    )

    plain, kernel = refresh_time_corr(x, y), refresh_time_corr(x, y, bandwidth=15)

    assert plain.corr is not None
    assert kernel.corr is not None
    assert plain.corr < 0.65
    assert kernel.corr == pytest.approx(0.8, abs=0.08)


def test_series_without_changes_have_no_correlation() -> None:
    none, one = timed([]), timed([(0, 0.5)])
    still = timed([(0, 0.5), (10, 0.5)])
    none = none.cast({"mid": pl.Float64, "ts_recv": pl.Datetime("ns", "UTC")})

    for x, y, n in ((none, none, 0), (none, still, 0), (one, still, 0), (still, still, 1)):
        found = refresh_time_corr(x, y, bandwidth=3, gaps=gaps([]).cast({"started": x.dtypes[0], "ended": x.dtypes[0]}))
        assert (found.corr, found.n, found.cov) == (None, n, 0.0)
        assert hayashi_yoshida(x, y).corr is None
        assert cross_correlation(x, y, ["0s"], step="5ms")["corr"].to_list() == [None]


def test_a_bandwidth_below_zero_and_gaps_of_no_time_are_refused() -> None:
    numbers = series([(0, 0), (1, 1)])

    with pytest.raises(ValueError, match="invalid bandwidth -1"):
        refresh_time_corr(numbers, numbers, bandwidth=-1)
    with pytest.raises(TypeError, match="expected Datetime for both"):
        refresh_time_corr(numbers, numbers, gaps=gaps([(0, 1)]))
    with pytest.raises(TypeError, match="expected Datetime for both"):
        refresh_time_corr(numbers, numbers, lag="1s")
