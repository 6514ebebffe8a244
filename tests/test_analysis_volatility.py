"""The golden numbers of these tests were cross-checked with scikit-learn 1.9, statsmodels 0.15."""

from datetime import timedelta

import polars as pl
import pytest
from analysing import gaps, golden, mids, ms, quotes
from hypothesis import given
from hypothesis import strategies as st

from pmlive.analysis import (
    Scale,
    bipower_variation,
    martingale_check,
    realised_variance,
    sample_mids,
    signature,
    variance_windows,
)

_GOLDEN = golden("volatility")
_paths = st.lists(st.integers(1, 999).map(lambda tick: tick / 1000), min_size=3, max_size=30)


def golden_mids() -> pl.DataFrame:
    return mids([(1000 * at, mid) for at, mid in enumerate(_GOLDEN["p"])])


@pytest.mark.parametrize(("scale", "name"), [("probability", "p"), ("logit", "logit")])
def test_the_golden_path_is_measured(scale: Scale, name: str) -> None:
    assert realised_variance(_GOLDEN["p"], scale=scale) == pytest.approx(_GOLDEN[f"rv_{name}"], rel=1e-9)
    assert bipower_variation(_GOLDEN["p"], scale=scale) == pytest.approx(_GOLDEN[f"bpv_{name}"], rel=1e-9)


def test_the_golden_path_is_measured_from_quotes() -> None:
    row = variance_windows(golden_mids(), step="1s").row(0, named=True)

    assert row["rv"] == pytest.approx(_GOLDEN["rv_p"], rel=1e-9)
    assert row["bipower"] == pytest.approx(_GOLDEN["bpv_p"], rel=1e-9)
    assert row["rv_logit"] == pytest.approx(_GOLDEN["rv_logit"], rel=1e-9)
    assert row["bipower_logit"] == pytest.approx(_GOLDEN["bpv_logit"], rel=1e-9)
    assert row["changes"] == 40


def test_a_null_has_no_change_on_either_side() -> None:
    assert realised_variance([0.5, 0.52, None, 0.6, 0.61]) == pytest.approx(0.0005)
    assert realised_variance([0.5, None, 0.5]) is None
    assert realised_variance([]) is None
    assert bipower_variation([0.5, 0.6, None, 0.7]) is None


def test_the_logit_is_clipped_to_a_tick_from_the_ends() -> None:
    assert realised_variance([0.0, 1.0], scale="logit", tick=0.01) == pytest.approx(
        realised_variance([0.01, 0.99], scale="logit", tick=0.001)
    )


def test_wrong_words_and_ticks_are_refused() -> None:
    with pytest.raises(ValueError, match="expected 'probability' or 'logit'"):
        realised_variance([0.5], scale="log")  # pyright: ignore[reportArgumentType]  # what is tested
    with pytest.raises(ValueError, match=r"expected a number between 0 and 0\.5"):
        bipower_variation([0.5], scale="logit", tick=0.0)


@given(_paths)
def test_a_path_and_its_mirror_move_alike(path: list[float]) -> None:
    mirrored = [1 - mid for mid in path]

    for measure in (realised_variance, bipower_variation):
        for scale in ("probability", "logit"):
            assert measure(path, scale=scale) == pytest.approx(measure(mirrored, scale=scale), rel=1e-6, abs=1e-12)


@given(_paths, st.sampled_from(["1s", "3s", "10s"]))
def test_the_variances_of_windows_add_up(path: list[float], every: str) -> None:
    found = variance_windows(mids([(1000 * at, mid) for at, mid in enumerate(path)]), every)

    assert found["rv"].sum() == pytest.approx(realised_variance(path), abs=1e-12)
    assert found["changes"].sum() == len(path) - 1


def test_mids_are_read_off_at_whole_steps() -> None:
    rows = quotes([(300, 0.4, 1, 0.5, 1), (1000, 0.5, 1, 0.6, 1), (1500, 0.5, 1, None, None), (3200, 0.6, 1, 0.7, 1)])

    found = sample_mids(rows, "1s")

    assert ms(found["ts_recv"]) == [1000, 2000, 3000]
    assert found["mid"].to_list() == [pytest.approx(0.55), None, None]


def test_there_is_no_mid_while_a_gap_lasts_and_no_change_across_it() -> None:
    rows = mids([(0, 0.5), (1000, 0.51), (5000, 0.6), (6000, 0.61)])
    gap = gaps([(1200, 3500)])

    assert sample_mids(rows, "1s", gaps=gap)["touched"].to_list() == [False, False, True, True, False, False, False]
    assert ms(sample_mids(rows, "1s", gaps=gap, touched="drop")["ts_recv"]) == [0, 1000, 4000, 5000, 6000]
    found = variance_windows(rows, "2s", gaps=gap)
    assert found["touched"].to_list() == [True, True, True, False]
    assert found["rv"].to_list() == [None, None, None, pytest.approx(0.0001)]


def test_a_gap_between_two_samples_counts() -> None:
    rows = mids([(0, 0.5), (1000, 0.51), (2000, 0.52)])

    found = variance_windows(rows, "1s", gaps=gaps([(1200, 1300)]))

    assert found["changes"].to_list() == [0, None, None]


def test_a_signature_has_each_step() -> None:
    bouncing = mids([(1000 * at, 0.5 + 0.01 * (at % 2)) for at in range(61)])

    found = signature(bouncing, ["1s", "2s"])

    assert found["step"].to_list() == [timedelta(seconds=1), timedelta(seconds=2)]
    assert found["rv"].to_list() == pytest.approx([60 * 0.0001, 0])
    assert found["changes"].to_list() == [60, 30]
    assert signature(bouncing, ["1s"], gaps=gaps([(1500, 1600)]))["broken"].to_list() == [1]


def test_a_token_that_goes_straight_to_its_end_moved_as_much_as_it_became_certain() -> None:
    """From 0.5, one jump to 1 moves 0.25, which is what 0.5 * (1 - 0.5) says."""
    row = martingale_check(mids([(0, 0.5), (1000, 0.995), (2000, 0.995)])).row(0, named=True)

    assert row["movement"] == pytest.approx(0.495**2)
    assert row["reduction"] == pytest.approx(0.25 - 0.995 * 0.005)
    assert row["excess"] == pytest.approx(row["movement"] - row["reduction"])
    assert row["ratio"] == pytest.approx(0.495**2 / 0.25)
    assert row["touched"] is None


def test_the_golden_path_has_at_most_the_movement_of_a_martingale() -> None:
    """The golden note: from 0.5 the cap is 0.25."""
    row = martingale_check(golden_mids()).row(0, named=True)

    assert row["movement"] == pytest.approx(_GOLDEN["rv_p"], rel=1e-9)
    assert row["ratio"] == pytest.approx(_GOLDEN["rv_p"] / 0.25, rel=1e-9)


@given(st.lists(st.booleans(), min_size=1, max_size=12))
def test_a_fair_walk_of_fixed_steps_has_no_excess_on_average(ups: list[bool]) -> None:
    """Every path of a walk and the one with its last step turned round average to the excess of the path without it."""
    paths = [[*ups, True], [*ups, False]]
    walks = [[0.5 + 0.01 * sum(1 if up else -1 for up in path[:at]) for at in range(len(path) + 1)] for path in paths]

    first, second, before = (
        martingale_check(mids([(1000 * at, mid) for at, mid in enumerate(walk)]))["excess"].item()
        for walk in (*walks, walks[0][:-1])
    )

    assert (first + second) / 2 == pytest.approx(before, abs=1e-12)


def test_a_gap_leaves_the_check_open() -> None:
    row = martingale_check(mids([(0, 0.5), (3000, 0.9)]), gaps=gaps([(1000, 2000)])).row(0, named=True)

    assert (row["first"], row["movement"], row["excess"], row["touched"]) == (pytest.approx(0.5), None, None, True)
