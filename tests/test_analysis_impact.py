"""The golden numbers of these tests were cross-checked with scikit-learn 1.9, statsmodels 0.15."""

import polars as pl
import pytest
from analysing import gaps, golden, golden_trades, mids, trades
from hypothesis import given
from hypothesis import strategies as st

from pmlive.analysis import (
    amihud,
    kyle_lambda,
    kyle_windows,
    roll_spread,
    roll_windows,
    trade_costs,
    with_mids,
)

_GOLDEN = golden("trades")
_prices = st.lists(st.integers(1, 999).map(lambda tick: tick / 1000), max_size=30)


def golden_mids() -> pl.DataFrame:
    return mids([(1000 * at - 1, mid) for at, mid in enumerate(_GOLDEN["mid_before"])])


def test_the_golden_lambda_is_fitted() -> None:
    found = kyle_lambda(golden_trades(), sign_source="feed")

    assert found is not None
    assert found.slope == pytest.approx(_GOLDEN["kyle_lambda_per_share"], rel=1e-9)
    assert found.intercept == pytest.approx(_GOLDEN["kyle_intercept"], rel=1e-9)
    assert found.tstat == pytest.approx(_GOLDEN["kyle_tstat"], rel=1e-9)
    assert found.r2 == pytest.approx(_GOLDEN["kyle_r2"], rel=1e-9)
    assert (found.n, found.sign_source) == (40, "feed")


def test_a_window_that_holds_all_has_the_same_line() -> None:
    row = kyle_windows(golden_trades(), "1d", sign_source="feed").row(0, named=True)

    assert row["slope"] == pytest.approx(_GOLDEN["kyle_lambda_per_share"], rel=1e-9)
    assert row["tstat"] == pytest.approx(_GOLDEN["kyle_tstat"], rel=1e-9)
    assert (row["n"], row["sign_source"]) == (40, "feed")


def test_a_window_of_too_few_trades_has_no_line_and_one_with_a_gap_is_flagged() -> None:
    rows = golden_trades().head(23)

    found = kyle_windows(rows, "10s", sign_source="feed", gaps=gaps([(12_000, 12_500)]))
    few = kyle_windows(rows.head(2), "10s", sign_source="feed")

    assert found["touched"].to_list() == [False, True, False]
    assert [slope is None for slope in found["slope"]] == [False, True, False]
    assert found["n"].to_list() == [10, None, 3]
    assert few.select("slope", "n").row(0) == (None, 2)
    assert kyle_windows(rows, "10s", sign_source="feed", gaps=gaps([(12_000, None)]), touched="drop").height == 1


def test_a_lambda_is_of_one_token_and_needs_three_trades() -> None:
    rows = golden_trades()

    assert kyle_lambda(rows.head(2), sign_source="feed") is None
    with pytest.raises(ValueError, match="the trades are of 2 tokens; expected one"):
        kyle_lambda(pl.concat([rows, rows.with_columns(token_id=pl.lit("no"))]), sign_source="feed")
    with pytest.raises(ValueError, match="'chain' but"):
        kyle_lambda(rows, sign_source="chain")


def test_the_golden_costs_are_measured() -> None:
    rows = golden_trades().with_columns(mid_after=pl.col("mid_before").shift(-5))

    costs = trade_costs(rows, sign_source="feed")

    assert costs["effective_spread"].mean() == pytest.approx(_GOLDEN["effective_spread_mean"], rel=1e-9)
    assert costs["realised_spread"].mean() == pytest.approx(_GOLDEN["realised_spread_5trades_mean"], rel=1e-9)
    whole = costs.drop_nulls("mid_after")
    impact = whole["effective_spread"] - whole["realised_spread"]
    assert whole["price_impact"].to_list() == pytest.approx(impact.to_list())
    assert costs["sign_source"].unique().to_list() == ["feed"]


def test_the_golden_mids_are_joined_to_the_trades() -> None:
    found = with_mids(golden_trades().drop("mid_before", "mid_after"), golden_mids())
    later = with_mids(golden_trades().drop("mid_before", "mid_after"), golden_mids(), after=5)

    assert found["mid_before"].to_list() == pytest.approx(_GOLDEN["mid_before"])
    assert found["mid_after"].to_list()[:-1] == pytest.approx(_GOLDEN["mid_after"][:-1])
    assert found["mid_after"].to_list()[-1] is None
    assert trade_costs(later, sign_source="feed")["realised_spread"].mean() == pytest.approx(
        _GOLDEN["realised_spread_5trades_mean"], rel=1e-9
    )


def test_a_mid_before_is_strictly_before_and_one_after_a_time_is_as_of_then() -> None:
    rows = trades([(1000, 0.5, 1, "buy"), (2500, 0.5, 1, "buy")])
    prices = mids([(500, 0.40), (1000, 0.42), (2000, 0.44), (3000, 0.46)])

    found = with_mids(rows, prices, after="1s")

    assert found["mid_before"].to_list() == pytest.approx([0.40, 0.44])
    # At 3500 ms nothing is known: the quotes end at 3000.
    assert found["mid_after"].to_list() == [pytest.approx(0.44), None]
    assert found["touched"].to_list() == [None, None]


def test_mids_with_a_gap_between_them_are_not_known() -> None:
    rows = trades([(1000, 0.5, 1, "buy"), (3000, 0.5, 1, "buy"), (5000, 0.5, 1, "buy"), (7000, 0.5, 1, "buy")])
    prices = mids([(0, 0.40), (2900, 0.42), (4900, 0.44), (6900, 0.46)])

    found = with_mids(rows, prices, gaps=gaps([(3500, 5000)]))

    # The gap ends with the third trade, so the quote before that trade may be from before what is missing.
    assert found["touched"].to_list() == [False, True, True, False]
    assert found["mid_before"].to_list() == [pytest.approx(0.40), pytest.approx(0.42), None, pytest.approx(0.46)]
    assert found["mid_after"].to_list() == [pytest.approx(0.42), None, None, None]


def test_trades_before_the_first_quote_have_no_mid() -> None:
    found = with_mids(trades([(0, 0.5, 1, "buy")]), mids([(500, 0.40)]))

    assert found["mid_before"].to_list() == [None]


@pytest.mark.parametrize(("after", "message"), [(0, "1 trade or more"), ("0s", "above 0"), ("soon", "length of time")])
def test_a_horizon_is_ahead(after: int | str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        with_mids(golden_trades(), golden_mids(), after=after)


def test_the_golden_amihud_is_measured() -> None:
    row = amihud(golden_trades()).row(0, named=True)

    assert row["amihud"] == pytest.approx(_GOLDEN["amihud_absdm_per_usd"], rel=1e-9)
    assert row["trades"] == 40


def test_amihud_leaves_out_what_has_no_mid_and_flags_gaps() -> None:
    rows = golden_trades().with_columns(mid_after=pl.lit(None, dtype=pl.Float64))

    assert amihud(rows).select("amihud", "trades").row(0) == (None, 0)
    assert amihud(golden_trades(), "10s", gaps=gaps([(12_000, 12_001)]))["touched"].to_list() == [
        False,
        True,
        False,
        False,
    ]


def test_the_golden_roll_spread_is_inferred() -> None:
    assert roll_spread(golden_trades()["price"]) == pytest.approx(_GOLDEN["roll_spread"], rel=1e-9)
    assert roll_windows(golden_trades())["roll"].to_list() == [pytest.approx(_GOLDEN["roll_spread"], rel=1e-9)]


def test_prices_that_do_not_bounce_have_no_roll_spread() -> None:
    trend = pl.Series([0.1, 0.11, 0.13, 0.16, 0.20, 0.25])

    assert roll_spread(trend) is None
    assert roll_spread(trend.head(3)) is None


def test_steps_that_are_equal_but_for_dust_have_no_roll_spread() -> None:
    prices = pl.Series([at / 1000 for at in range(100, 140, 3)])

    assert roll_spread(prices) is None
    assert roll_windows(trades([(at, price, 1, "buy") for at, price in enumerate(prices)]))["roll"].to_list() == [None]


@given(_prices)
def test_roll_of_a_window_is_roll_of_its_prices(prices: list[float]) -> None:
    rows = trades([(at, price, 1, "buy") for at, price in enumerate(prices)])

    found = roll_windows(rows)["roll"].to_list()

    expected = roll_spread(pl.Series(prices, dtype=pl.Float64))
    assert found == ([pytest.approx(expected, rel=1e-6, abs=1e-9) if expected is not None else None] if prices else [])


def test_roll_windows_are_flagged() -> None:
    found = roll_windows(golden_trades(), "20s", gaps=gaps([(5_000, 5_100)]))

    assert found["touched"].to_list() == [True, False]
    assert found["roll"].to_list()[0] is None
    assert found["roll"].to_list()[1] is not None
