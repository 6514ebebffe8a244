"""Books to look at."""

from hypothesis import given
from hypothesis import strategies as st

from pmlive.levels import Levels, share_count


def test_sizes_that_are_whole_are_shown_so() -> None:
    levels = Levels([(0.4, 2134.0), (0.39, 12.001)], [(0.6, 57.254)])

    shown = levels.html("a book")

    assert "<td>0.4 x 2,134</td><td>0.6 x 57.25</td>" in shown
    # Not quite whole.
    assert "0.39 x 12.00" in shown
    assert levels.frame()["size"].to_list() == [2134.0, 12.001, 57.254]


@given(st.one_of(st.integers(0, 10**9).map(float), st.floats(0, 1e9)))
def test_a_number_of_shares_has_decimals_where_it_is_not_whole(shares: float) -> None:
    shown = share_count(shares)

    assert ("." in shown) == (shares != int(shares))
    assert abs(float(shown.replace(",", "")) - shares) <= 0.005 + 1e-6
