"""The golden numbers of these tests were cross-checked with scikit-learn 1.9, statsmodels 0.15."""

import polars as pl
import pytest
from analysing import golden
from hypothesis import given
from hypothesis import strategies as st

from pmlive.analysis import fee_per_share, taker_fee
from pmlive.markets import FeeSchedule

_CRYPTO = FeeSchedule(enabled=True, rate=0.07, exponent=1)
_GOLDEN = golden("arb")


@pytest.mark.parametrize(
    ("price", "rate", "exponent", "name"),
    [
        (0.5, 0.07, 1, "fee_100sh_p50_rate007_exp1"),
        (0.1, 0.07, 1, "fee_100sh_p10_rate007_exp1"),
        (0.5, 0.25, 2, "fee_100sh_p50_rate025_exp2"),
    ],
)
def test_the_golden_fees_are_computed(price: float, rate: float, exponent: float, name: str) -> None:
    schedule = FeeSchedule(enabled=True, rate=rate, exponent=exponent)

    assert taker_fee(schedule, shares=100, price=price) == pytest.approx(_GOLDEN[name], rel=1e-9)


def test_a_market_without_fees_is_free() -> None:
    assert taker_fee(FeeSchedule(rate=0.07, exponent=1), shares=100, price=0.5) == 0


@given(st.floats(0, 1), st.floats(0, 1e6))
def test_yes_and_no_pay_alike_and_a_frame_as_one_trade(price: float, shares: float) -> None:
    fee = taker_fee(_CRYPTO, shares=shares, price=price)

    assert fee == pytest.approx(taker_fee(_CRYPTO, shares=shares, price=1 - price), abs=1e-6)
    assert 0 <= fee <= shares * 0.07 * 0.25 + 1e-9
    [each] = pl.select(fee_per_share(_CRYPTO, pl.lit(price))).to_series().to_list()
    assert shares * each == pytest.approx(fee)


def test_fees_without_a_formula_and_wrong_numbers_are_refused() -> None:
    with pytest.raises(ValueError, match="enabled and has no formula"):
        taker_fee(FeeSchedule(enabled=True), shares=1, price=0.5)
    with pytest.raises(ValueError, match="invalid price 50"):
        taker_fee(_CRYPTO, shares=1, price=50)
    with pytest.raises(ValueError, match="shares of 0 or more"):
        taker_fee(_CRYPTO, shares=-1, price=0.5)
