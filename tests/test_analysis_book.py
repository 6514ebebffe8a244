"""The golden numbers of these tests were cross-checked with scikit-learn 1.9, statsmodels 0.15."""

import pytest
from analysing import golden
from hypothesis import assume, given
from hypothesis import strategies as st

from pmlive.analysis import (
    Depth,
    depth_within,
    fill_dollars,
    fill_shares,
    imbalance,
    mid,
    spread_bps,
    spread_cents,
    top_share,
    weighted_mid,
)
from pmlive.book import Book

_GOLDEN = golden("book")
_BIDS: list[tuple[float, float]] = [(price, size) for price, size in _GOLDEN["bids"]]
_ASKS: list[tuple[float, float]] = [(price, size) for price, size in _GOLDEN["asks"]]

_sizes = st.floats(0.01, 1e6)


def side_of(ticks: st.SearchStrategy[int], *, descending: bool) -> st.SearchStrategy[list[tuple[float, float]]]:
    levels = st.dictionaries(ticks, _sizes, min_size=1, max_size=8)
    return levels.map(lambda side: [(tick / 1000, side[tick]) for tick in sorted(side, reverse=descending)])


_bids = side_of(st.integers(1, 499), descending=True)
_asks = side_of(st.integers(500, 999), descending=False)


def test_the_top_of_the_golden_book_is_measured() -> None:
    assert mid(_BIDS, _ASKS) == pytest.approx(_GOLDEN["mid"], rel=1e-12)
    assert spread_cents(_BIDS, _ASKS) == pytest.approx(100 * _GOLDEN["spread"], rel=1e-12)
    assert spread_bps(_BIDS, _ASKS) == pytest.approx(_GOLDEN["spread_bps_of_mid"], rel=1e-12)
    assert spread_bps(_BIDS, _ASKS) == pytest.approx(2 * _GOLDEN["half_spread_bps"], rel=1e-12)
    assert weighted_mid(_BIDS, _ASKS) == pytest.approx(_GOLDEN["microprice"], rel=1e-12)


@pytest.mark.parametrize(("levels", "name"), [(1, "imbalance_1"), (3, "imbalance_3"), (None, "imbalance_full")])
def test_the_imbalance_of_the_golden_book_is_measured(levels: int | None, name: str) -> None:
    assert imbalance(_BIDS, _ASKS, levels=levels) == pytest.approx(_GOLDEN[name], rel=1e-12)


def test_the_depth_of_the_golden_book_is_measured_from_its_mid() -> None:
    assert depth_within(_BIDS, _ASKS, cents=2) == Depth(_GOLDEN["depth_within_2c_bid"], _GOLDEN["depth_within_2c_ask"])
    assert top_share(_BIDS) == pytest.approx(_GOLDEN["top_of_book_share_L1_L4_bid"], rel=1e-12)


def test_orders_walk_the_golden_book() -> None:
    by_shares = fill_shares(_BIDS, _ASKS, side="buy", shares=2000)
    by_dollars = fill_dollars(_BIDS, _ASKS, side="buy", dollars=1000)

    assert by_shares.vwap == pytest.approx(_GOLDEN["buy_2000_shares_vwap"], rel=1e-12)
    assert by_shares.slippage == pytest.approx(_GOLDEN["buy_2000_shares_slippage"], rel=1e-12)
    assert by_shares.slippage_bps == pytest.approx(_GOLDEN["buy_2000_shares_slippage_bps"], rel=1e-12)
    assert by_dollars.vwap == pytest.approx(_GOLDEN["buy_usd1000_vwap"], rel=1e-12)
    assert by_dollars.shares == pytest.approx(_GOLDEN["buy_usd1000_shares"], rel=1e-12)
    assert not by_shares.partial
    assert not by_dollars.partial


def test_a_book_that_holds_less_than_was_asked_for_says_so() -> None:
    fill = fill_shares(_BIDS, _ASKS, side="buy", shares=10_000)

    assert fill.shares == pytest.approx(_GOLDEN["buy_10000_shares_filled"])
    assert fill.partial


def test_a_sale_walks_the_bids_and_costs_too() -> None:
    fill = fill_shares(_BIDS, _ASKS, side="sell", shares=2000)

    assert fill.vwap == pytest.approx((1250 * 0.62 + 750 * 0.61) / 2000)
    assert fill.slippage == pytest.approx(0.625 - (1250 * 0.62 + 750 * 0.61) / 2000)


@pytest.mark.parametrize(("bids", "asks"), [([], _ASKS), (_BIDS, []), ([], [])])
def test_nothing_is_made_up_when_a_side_is_empty(
    bids: list[tuple[float, float]], asks: list[tuple[float, float]]
) -> None:
    measures = (mid, spread_cents, spread_bps, weighted_mid, imbalance, depth_within)

    assert [measure(bids, asks) for measure in measures] == [None] * 6
    assert fill_shares(bids, asks, side="buy", shares=1).slippage is None
    assert top_share([]) is None


def test_an_empty_side_fills_nothing() -> None:
    fill = fill_dollars(_BIDS, [], side="buy", dollars=5)

    assert (fill.shares, fill.dollars, fill.vwap, fill.slippage, fill.partial) == (0, 0, None, None, True)


def test_a_level_at_the_very_edge_is_within() -> None:
    assert depth_within([(0.48, 5.0)], [(0.52, 7.0)], cents=2) == Depth(5.0, 7.0)


def test_levels_come_from_a_book_as_they_are() -> None:
    book = Book()
    book.put("bid", "0.48", "30")
    book.put("ask", "0.52", "25")

    assert mid(book.levels("bid"), book.levels("ask")) == 0.5


@pytest.mark.parametrize("amount", [0, -1, float("nan")])
def test_an_amount_that_is_not_above_0_is_refused(amount: float) -> None:
    with pytest.raises(ValueError, match=r"invalid shares .* expected a number above 0"):
        fill_shares(_BIDS, _ASKS, side="buy", shares=amount)
    with pytest.raises(ValueError, match=r"invalid dollars .* expected a number above 0"):
        fill_dollars(_BIDS, _ASKS, side="buy", dollars=amount)


def test_wrong_words_and_numbers_are_refused() -> None:
    with pytest.raises(ValueError, match="invalid side 'BUY'; expected 'buy' or 'sell'"):
        fill_shares(_BIDS, _ASKS, side="BUY", shares=1)  # pyright: ignore[reportArgumentType]  # what is tested
    with pytest.raises(ValueError, match="expected 1 or more, or None for all"):
        imbalance(_BIDS, _ASKS, levels=0)


@given(_bids, _asks)
def test_the_weighted_mid_is_the_mid_and_half_the_spread_times_the_imbalance(
    bids: list[tuple[float, float]], asks: list[tuple[float, float]]
) -> None:
    middle, weight = mid(bids, asks), imbalance(bids, asks)

    assert middle is not None
    assert weight is not None
    assert weighted_mid(bids, asks) == pytest.approx(middle + (asks[0][0] - bids[0][0]) / 2 * weight, rel=1e-9)


@given(_bids, _asks, st.integers(1, 10) | st.none())
def test_the_imbalance_is_between_minus_1_and_1(
    bids: list[tuple[float, float]], asks: list[tuple[float, float]], levels: int | None
) -> None:
    value = imbalance(bids, asks, levels=levels)

    assert value is not None
    assert -1 <= value <= 1


@given(_bids, _asks, st.floats(0.1, 1e6), st.floats(0.1, 1e6))
def test_a_larger_order_never_slips_less(
    bids: list[tuple[float, float]], asks: list[tuple[float, float]], one: float, other: float
) -> None:
    small, large = sorted((one, other))

    for less, more in (
        [fill_shares(bids, asks, side="buy", shares=amount) for amount in (small, large)],
        [fill_dollars(bids, asks, side="sell", dollars=amount) for amount in (small, large)],
    ):
        assert less.slippage is not None
        assert more.slippage is not None
        assert -1e-9 <= less.slippage <= more.slippage + 1e-9
        assert less.shares <= more.shares + 1e-9


@given(_bids, _asks, st.floats(0.1, 1e6))
def test_spending_what_shares_cost_buys_those_shares(
    bids: list[tuple[float, float]], asks: list[tuple[float, float]], shares: float
) -> None:
    bought = fill_shares(bids, asks, side="buy", shares=shares)
    assume(not bought.partial)

    again = fill_dollars(bids, asks, side="buy", dollars=bought.dollars)

    assert again.shares == pytest.approx(shares, rel=1e-9)
