"""The golden numbers of these tests were cross-checked with scikit-learn 1.9, statsmodels 0.15."""

from datetime import timedelta

import polars as pl
import pytest
from analysing import gaps, golden, mids, ms, times
from hypothesis import given
from hypothesis import strategies as st

from pmlive.analysis import brier, brier_skill, calibration, forecasts, log_loss, reliability_table

_GOLDEN = golden("calibration")
_P: list[float] = _GOLDEN["forecast"]
_Y: list[int] = _GOLDEN["outcome"]

_scored = st.lists(st.tuples(st.integers(0, 100), st.integers(0, 1)), min_size=1, max_size=60)


def test_the_golden_scores_are_reproduced() -> None:
    found = calibration(_P, _Y)

    assert found.n == 400
    assert found.brier == brier(_P, _Y) == pytest.approx(_GOLDEN["brier"], rel=1e-9)
    assert found.log_loss == log_loss(_P, _Y) == pytest.approx(_GOLDEN["log_loss"], rel=1e-9)
    assert found.skill == brier_skill(_P, _Y) == pytest.approx(_GOLDEN["bss"], rel=1e-9)
    assert found.reliability == pytest.approx(_GOLDEN["reliability"], rel=1e-9)
    assert found.resolution == pytest.approx(_GOLDEN["resolution"], rel=1e-9)
    assert found.uncertainty == pytest.approx(_GOLDEN["uncertainty"], rel=1e-9)
    assert found.within_bin == pytest.approx(_GOLDEN["within_bin_term"], rel=1e-9)
    assert found.ece == pytest.approx(_GOLDEN["ece_10"], rel=1e-9)


def test_the_golden_table_is_reproduced() -> None:
    found = reliability_table(_P, _Y).select("bin", "n", "forecast", "outcome").rows()

    for row, expected in zip(found, _GOLDEN["table"], strict=True):
        assert row == pytest.approx(tuple(expected), rel=1e-9)


@given(_scored, st.integers(1, 20))
def test_the_parts_of_the_brier_score_add_up(scored: list[tuple[int, int]], bins: int) -> None:
    found = calibration([p / 100 for p, _ in scored], [y for _, y in scored], bins=bins)

    parts = found.reliability - found.resolution + found.uncertainty + found.within_bin
    assert parts == pytest.approx(found.brier, abs=1e-12)


@given(st.lists(st.tuples(st.integers(1, 20), st.integers(0, 1)), min_size=1))
def test_forecasts_on_edges_leave_nothing_within_the_bins(scored: list[tuple[int, int]]) -> None:
    found = calibration([p / 20 for p, _ in scored], [y for _, y in scored], bins=20)

    assert found.within_bin == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("bins", [3, 7, 10, 20, 100])
def test_a_forecast_on_an_edge_is_in_the_lower_bin(bins: int) -> None:
    edges = [k / bins for k in range(1, bins + 1)]

    assert reliability_table([0.0, *edges], [0] * (bins + 1), bins=bins)["n"].to_list() == [2, *[1] * (bins - 1)]


def test_an_empty_bin_has_no_means_and_no_interval() -> None:
    row = reliability_table([0.05], [0], bins=2).row(1, named=True)

    assert row == {
        "bin": 1,
        "lower": 0.5,
        "upper": 1.0,
        "n": 0,
        "events": 0,
        "forecast": None,
        "outcome": None,
        "low": None,
        "high": None,
    }


def test_the_interval_is_wilsons() -> None:
    """By hand: 5 of 10, z = 1.959964."""
    row = reliability_table([0.5] * 10, [0, 1] * 5, bins=1).row(0, named=True)

    assert (row["low"], row["high"]) == pytest.approx((0.2365931, 0.7634069), abs=1e-6)


def test_the_interval_counts_an_event_once() -> None:
    alone = reliability_table([0.5] * 10, [0, 1] * 5, bins=1).row(0, named=True)
    together = reliability_table([0.5] * 10, [0, 1] * 5, bins=1, events=["a", "b"] * 5).row(0, named=True)

    assert (alone["events"], together["events"], together["n"]) == (10, 2, 10)
    assert together["low"] < alone["low"]
    assert together["high"] > alone["high"]


def test_a_certain_error_is_a_large_loss_and_not_an_infinite_one() -> None:
    assert 30 < log_loss([0.0], [1]) < 40
    assert log_loss([1.0], [1]) == pytest.approx(0, abs=1e-12)


def test_outcomes_that_are_all_the_same_leave_no_skill() -> None:
    assert brier_skill([0.4, 0.6], [1, 1]) is None
    assert calibration([0.4, 0.6], [1, 1]).skill is None


@pytest.mark.parametrize(
    ("forecast", "outcome", "message"),
    [
        ([], [], "at least one"),
        ([0.5], [1, 0], "1 forecasts and 2 outcomes"),
        ([0.5, 1.5], [1, 0], "1 of 2 forecasts"),
        ([0.5, float("nan")], [1, 0], "1 of 2 forecasts"),
        ([0.5, 0.5], [1, 0.5], "1 of 2 outcomes"),
    ],
)
def test_what_is_no_forecast_or_outcome_is_refused(forecast: list[float], outcome: list[float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        brier(forecast, outcome)


def test_missing_forecasts_wrong_bins_and_events_are_refused() -> None:
    with pytest.raises(ValueError, match="1 of 2 forecasts are missing"):
        log_loss(pl.Series([0.5, None]), [1, 0])
    with pytest.raises(ValueError, match="invalid bins 0; expected 1 or more"):
        calibration([0.5], [1], bins=0)
    with pytest.raises(ValueError, match="1 forecasts and 2 events"):
        reliability_table([0.5], [1], events=["a", "b"])


def test_forecasts_are_mids_at_fixed_times_before_the_end() -> None:
    rows = mids([(0, 0.3), (4000, 0.6), (9000, 0.9)])
    ends = pl.DataFrame({"token_id": "yes", "ts_recv": times([10_000]), "outcome": 1})

    found = forecasts(rows, ends, ["1s", "5s", "20s"], gaps=gaps([(4500, 5500)]))

    assert found["horizon"].to_list() == [timedelta(seconds=1), timedelta(seconds=5), timedelta(seconds=20)]
    assert ms(found["ts_recv"]) == [9000, 5000, -10_000]
    assert found["forecast"].to_list() == [pytest.approx(0.9), None, None]
    assert found["touched"].to_list() == [False, True, False]
    assert found["outcome"].to_list() == [1, 1, 1]


def test_forecasts_take_the_outcomes_of_a_recording_and_leave_out_what_is_not_decided() -> None:
    at = times([9000.0, 9000.0, None, 9000.0])
    outcomes = pl.DataFrame(
        {
            "market": ["m", "m", "n", "o"],
            "slug": ["rain", "rain", "snow", "half"],
            "token_id": ["yes", "no", "other", "split"],
            "outcome": ["Yes", "No", "Yes", "Yes"],
            "winner": [True, False, None, None],
            "resolved_at": at,
        }
    )
    prices = pl.concat([mids([(0, 0.7), (8500, 0.9)]), mids([(0, 0.3), (8500, 0.1)], token_id="no")])

    found = forecasts(prices, outcomes, ["1s"])

    assert found.select("token_id", "forecast", "outcome", "market", "slug").rows() == [
        ("yes", pytest.approx(0.7), 1.0, "m", "rain"),
        ("no", pytest.approx(0.3), 0.0, "m", "rain"),
    ]


def test_outcomes_without_a_time_are_refused() -> None:
    with pytest.raises(ValueError, match="no column 'ts_recv'; expected those of a recording's outcomes"):
        forecasts(mids([(0, 0.5)]), pl.DataFrame({"token_id": ["yes"], "outcome": [1]}))
