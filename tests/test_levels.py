"""Books to look at."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pmlive.levels import Levels, price_digits, share_count, tick_of


def test_sizes_that_are_whole_are_shown_so() -> None:
    levels = Levels([(0.4, 2134.0), (0.39, 12.001)], [(0.6, 57.254)])

    shown = levels.html("a book")

    assert "<td>2,134</td><td>0.40</td><td>0.60</td><td>57.25</td>" in shown
    # Not quite whole, and beside nothing.
    assert "<td>12.00</td><td>0.39</td><td></td><td></td>" in shown
    assert shown.count("<tr>") == 3
    assert "<caption>a book</caption>" in shown
    assert shown.count("<th scope='col'>") == 4
    assert levels.frame()["size"].to_list() == [2134.0, 12.001, 57.254]


@given(st.one_of(st.integers(0, 10**9).map(float), st.floats(0, 1e9)))
def test_a_number_of_shares_has_decimals_where_it_is_not_whole(shares: float) -> None:
    shown = share_count(shares)

    assert ("." in shown) == (shares != int(shares))
    assert abs(float(shown.replace(",", "")) - shares) <= 0.005 + 1e-6


@pytest.mark.parametrize("tick", [0.1, 0.01, 0.005, 0.0025, 0.001, 0.0001])
def test_the_step_of_prices_is_the_one_that_is_stated_or_as_fine_as_prices_demand(tick: float) -> None:
    prices = [round(number * tick, 6) for number in (1, 3, 6, 7)]

    assert tick_of(prices, tick) == tick
    # A step that few markets have is known where it was stated.
    assert tick_of(prices) == {0.1: 0.01, 0.005: 0.001, 0.0025: 0.0001}.get(tick, tick)
    assert all(float(f"{price:.{price_digits(tick)}f}") == price for price in prices)
