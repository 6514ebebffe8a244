"""How far forecasts would have to be stretched."""

from math import log

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pmlive.analysis import calibration_slope


def logit(chance: float) -> float:
    return log(chance / (1 - chance))


def outcomes(trues: int, n: int) -> list[int]:
    return [1] * trues + [0] * (n - trues)


@given(st.integers(5, 45), st.integers(55, 95), st.integers(1, 29), st.integers(1, 29))
def test_a_line_through_two_prices_goes_through_what_came_true_of_each(
    cheap: int, dear: int, trues: int, more: int
) -> None:
    """With two prices the model has as many parameters as points, so the answer is known without fitting."""
    slope = (logit(more / 30) - logit(trues / 30)) / (logit(dear / 100) - logit(cheap / 100))

    found = calibration_slope([cheap / 100] * 30 + [dear / 100] * 30, outcomes(trues, 30) + outcomes(more, 30), draws=0)

    assert found is not None
    assert found.slope == pytest.approx(slope, abs=1e-8)
    assert found.intercept == pytest.approx(logit(trues / 30) - slope * logit(cheap / 100), abs=1e-8)
    assert (found.low, found.high, found.n, found.events) == (None, None, 60, 60)


def test_forecasts_of_one_event_count_as_one() -> None:
    """Said five times, a forecast is no surer: the interval is that of the events, and the point does not move."""
    p = [0.2, 0.3, 0.35, 0.4, 0.45, 0.55, 0.6, 0.65, 0.7, 0.8] * 8
    y = [0, 0, 1, 0, 1, 0, 1, 0, 1, 1] * 8
    names = [str(number) for number in range(len(p))]

    once = calibration_slope(p, y, events=names, draws=400, seed=3)
    often = calibration_slope(p * 5, y * 5, events=names * 5, draws=400, seed=3)
    unaware = calibration_slope(p * 5, y * 5, draws=400, seed=3)

    assert once is not None
    assert often is not None
    assert unaware is not None
    assert (often.slope, often.low, often.high) == pytest.approx((once.slope, once.low, once.high))
    assert (once.events, often.events, unaware.events) == (80, 80, 400)
    assert often.low is not None
    assert often.high is not None
    assert unaware.low is not None
    assert unaware.high is not None
    assert often.low < often.slope < often.high
    assert unaware.high - unaware.low < 0.6 * (often.high - often.low)


def test_the_same_seed_gives_the_same_interval() -> None:
    p, y = [0.3, 0.6] * 20, [0, 1, 1, 0, 0, 1, 0, 1] * 5

    assert calibration_slope(p, y, draws=50, seed=1) == calibration_slope(p, y, draws=50, seed=1)
    assert calibration_slope(p, y, draws=50, seed=1) != calibration_slope(p, y, draws=50, seed=2)


@pytest.mark.parametrize(
    ("p", "y"),
    [
        pytest.param([0.2, 0.4, 0.6], [1, 1, 1], id="all came true"),
        pytest.param([0.5, 0.5, 0.5], [1, 0, 1], id="all prices alike"),
        pytest.param([0.2, 0.3, 0.6, 0.7], [0, 0, 1, 1], id="one price separates them"),
    ],
)
def test_where_no_line_is_best_there_is_none(p: list[float], y: list[int]) -> None:
    assert calibration_slope(p, y) is None


def test_a_price_of_0_is_a_price_of_a_tick() -> None:
    y = outcomes(3, 20) + outcomes(15, 20)

    assert calibration_slope([0.0] * 20 + [0.7] * 20, y, draws=0) == calibration_slope(
        [0.001] * 20 + [0.7] * 20, y, draws=0
    )


def test_wrong_numbers_are_refused() -> None:
    with pytest.raises(ValueError, match="3 forecasts and 2 events"):
        calibration_slope([0.1, 0.2, 0.3], [0, 1, 0], events=["a", "b"])
    with pytest.raises(ValueError, match="not between 0 and 1"):
        calibration_slope([0.1, 1.2], [0, 1])
