"""The golden numbers of these tests were cross-checked with scikit-learn 1.9, statsmodels 0.15."""

import polars as pl
import pytest
from analysing import golden, quotes, same
from hypothesis import given
from hypothesis import strategies as st

from pmlive.analysis import (
    TakerSide,
    depth_within,
    fill_dollars,
    fill_shares,
    imbalance,
    ladder_measures,
    mid,
    quote_measures,
    slippage_by_dollars,
    slippage_by_shares,
    slippage_curve,
    spread_bps,
    weighted_mid,
)
from pmlive.tables import LEVELS

_GOLDEN = golden("book")
_Side = list[tuple[float, float]]

_sizes = st.floats(0.01, 1e6)


def side_of(ticks: st.SearchStrategy[int], *, descending: bool) -> st.SearchStrategy[_Side]:
    levels = st.dictionaries(ticks, _sizes, max_size=5)
    return levels.map(lambda side: [(tick / 1000, side[tick]) for tick in sorted(side, reverse=descending)])


_books = st.lists(
    st.tuples(side_of(st.integers(1, 499), descending=True), side_of(st.integers(500, 999), descending=False)),
    min_size=1,
    max_size=5,
)


def ladders(books: list[tuple[_Side, _Side]]) -> pl.DataFrame:
    columns = {
        f"{name}_{what}": pl.Series([[level[place] for level in book[side]] for book in books], dtype=LEVELS)
        for side, name in enumerate(("bid", "ask"))
        for place, what in enumerate(("prices", "sizes"))
    }
    return pl.DataFrame(columns).with_columns(token_id=pl.lit("yes"))


def golden_ladders() -> pl.DataFrame:
    return ladders([([(p, s) for p, s in _GOLDEN["bids"]], [(p, s) for p, s in _GOLDEN["asks"]])])


def test_quotes_of_the_golden_book_are_measured() -> None:
    (bid, bid_size), (ask, ask_size) = _GOLDEN["bids"][0], _GOLDEN["asks"][0]

    row = quote_measures(quotes([(0, bid, bid_size, ask, ask_size)])).row(0, named=True)

    assert row["mid"] == pytest.approx(_GOLDEN["mid"], rel=1e-12)
    assert row["spread_bps"] == pytest.approx(_GOLDEN["spread_bps_of_mid"], rel=1e-12)
    assert row["weighted_mid"] == pytest.approx(_GOLDEN["microprice"], rel=1e-12)
    assert row["imbalance"] == pytest.approx(_GOLDEN["imbalance_1"], rel=1e-12)


def test_ladders_of_the_golden_book_are_measured() -> None:
    row = ladder_measures(golden_ladders(), levels=3, cents=2).row(0, named=True)

    assert row["imbalance"] == pytest.approx(_GOLDEN["imbalance_3"], rel=1e-12)
    assert row["depth_bid"] == pytest.approx(_GOLDEN["depth_within_2c_bid"], rel=1e-12)
    assert row["depth_ask"] == pytest.approx(_GOLDEN["depth_within_2c_ask"], rel=1e-12)
    assert row["weighted_mid"] == pytest.approx(_GOLDEN["microprice"], rel=1e-12)


def test_slippage_in_the_golden_book_is_measured() -> None:
    by_shares = slippage_by_shares(golden_ladders(), side="buy", shares=2000).row(0, named=True)
    by_dollars = slippage_by_dollars(golden_ladders(), side="buy", dollars=1000).row(0, named=True)
    too_much = slippage_by_shares(golden_ladders(), side="buy", shares=10_000).row(0, named=True)

    assert by_shares["vwap"] == pytest.approx(_GOLDEN["buy_2000_shares_vwap"], rel=1e-12)
    assert by_shares["slippage"] == pytest.approx(_GOLDEN["buy_2000_shares_slippage"], rel=1e-12)
    assert by_shares["slippage_bps"] == pytest.approx(_GOLDEN["buy_2000_shares_slippage_bps"], rel=1e-12)
    assert by_dollars["vwap"] == pytest.approx(_GOLDEN["buy_usd1000_vwap"], rel=1e-12)
    assert by_dollars["filled_shares"] == pytest.approx(_GOLDEN["buy_usd1000_shares"], rel=1e-12)
    assert too_much["filled_shares"] == pytest.approx(_GOLDEN["buy_10000_shares_filled"], rel=1e-12)
    assert [row["partial"] for row in (by_shares, by_dollars, too_much)] == [False, False, True]


@given(_books, st.integers(1, 6) | st.none(), st.floats(0.1, 60))
def test_a_frame_of_ladders_is_measured_as_each_book_is(
    books: list[tuple[_Side, _Side]], levels: int | None, cents: float
) -> None:
    rows = ladder_measures(ladders(books), levels=levels, cents=cents).rows(named=True)

    for row, (bids, asks) in zip(rows, books, strict=True):
        depth = depth_within(bids, asks, cents=cents)
        expected = {
            "mid": mid(bids, asks),
            "spread_bps": spread_bps(bids, asks),
            "weighted_mid": weighted_mid(bids, asks),
            "imbalance": imbalance(bids, asks, levels=levels),
            "depth_bid": None if depth is None else depth.bid,
            "depth_ask": None if depth is None else depth.ask,
        }
        assert all(same(row[name], value) for name, value in expected.items())


@given(_books, st.sampled_from(["buy", "sell"]), st.floats(0.01, 1e6))
def test_a_frame_of_ladders_is_walked_as_each_book_is(
    books: list[tuple[_Side, _Side]], side: TakerSide, amount: float
) -> None:
    frame = ladders(books)
    shares = slippage_by_shares(frame, side=side, shares=amount).rows(named=True)
    dollars = slippage_by_dollars(frame, side=side, dollars=amount).rows(named=True)

    for by_shares, by_dollars, (bids, asks) in zip(shares, dollars, books, strict=True):
        for row, fill in (
            (by_shares, fill_shares(bids, asks, side=side, shares=amount)),
            (by_dollars, fill_dollars(bids, asks, side=side, dollars=amount)),
        ):
            assert row["partial"] == fill.partial
            assert same(row["filled_shares"], fill.shares)
            assert same(row["filled_dollars"], fill.dollars)
            assert same(row["vwap"], fill.vwap)
            assert same(row["slippage"], fill.slippage)


def test_other_columns_and_the_order_of_rows_stay() -> None:
    frame = ladders([([(0.4, 1.0)], [(0.5, 1.0)]), ([], []), ([(0.3, 2.0)], [(0.6, 1.0)])])
    frame = frame.with_columns(note=pl.Series(["a", "b", "c"]))

    assert ladder_measures(frame)["note"].to_list() == ["a", "b", "c"]
    walked = slippage_by_shares(frame, side="sell", shares=1)
    assert walked.columns[:2] == ["token_id", "note"]
    assert walked.select("note", "vwap").rows() == [("a", 0.4), ("b", None), ("c", 0.3)]


def test_a_frame_without_rows_stays_one() -> None:
    assert ladder_measures(ladders([])).height == 0
    assert slippage_by_shares(ladders([]), side="buy", shares=1).height == 0


def test_wrong_words_and_numbers_are_refused() -> None:
    with pytest.raises(ValueError, match="expected 1 or more, or None for all"):
        ladder_measures(golden_ladders(), levels=0)
    with pytest.raises(ValueError, match="expected a number above 0"):
        slippage_by_shares(golden_ladders(), side="buy", shares=0)
    with pytest.raises(ValueError, match="invalid side 'bid'; expected 'buy' or 'sell'"):
        slippage_by_dollars(golden_ladders(), side="bid", dollars=1)  # pyright: ignore[reportArgumentType]  # what is tested


def _asking(*asks: list[float] | None) -> pl.DataFrame:
    """Books that ask so many shares at 0.51, 0.52, …, and bid as many at 0.49, 0.48, …; None has no sides."""
    sizes = [[] if each is None else each for each in asks]
    up, down = ([[0.5 + sign * (at + 1) / 100 for at in range(len(each))] for each in sizes] for sign in (1, -1))
    columns = {"bid_prices": down, "bid_sizes": sizes, "ask_prices": up, "ask_sizes": sizes}
    return pl.DataFrame(columns, schema=dict.fromkeys(columns, LEVELS))


def test_a_curve_has_the_quartiles_of_what_an_order_costs_and_thin_books_do_not_make_it_look_cheap() -> None:
    curve = slippage_curve(_asking([10.0], [10.0, 10.0], [20.0], None), [10, 20], sides=["buy"])

    assert curve["books"].to_list() == [3, 3]
    assert curve["filled"].to_list() == pytest.approx([1.0, 2 / 3])
    assert curve["cents"].to_list() == pytest.approx([1.0, 1.5])
    assert curve["cents_low"].to_list() == pytest.approx([1.0, 1.25])
    # A quarter of the books or more does not hold 20 shares.
    assert curve["cents_high"].to_list() == [pytest.approx(1.0), None]
    assert curve["bps"].to_list() == pytest.approx([200.0, 300.0])


def test_a_curve_is_of_both_sides_and_of_each_token() -> None:
    rows = _asking([10.0], [10.0, 10.0]).with_columns(token_id=pl.Series(["a", "b"]), slug=pl.lit("rain"))

    curve = slippage_curve(rows, [20])

    assert curve.select("token_id", "slug", "side", "filled").rows() == [
        ("a", "rain", "buy", 0.0),
        ("b", "rain", "buy", 1.0),
        ("a", "rain", "sell", 0.0),
        ("b", "rain", "sell", 1.0),
    ]


def test_a_curve_by_dollars_counts_what_is_paid() -> None:
    curve = slippage_curve(_asking([10.0, 10.0]), [5.1, 10.3], sides=["buy"], amounts_in="dollars")

    assert curve["cents"].to_list() == pytest.approx([1.0, 1.5])


def test_amounts_and_words_of_a_curve_that_mean_nothing_are_refused() -> None:
    for amounts in ([], [0.0], [5.0, -1.0]):
        with pytest.raises(ValueError, match="invalid amounts"):
            slippage_curve(_asking([1.0]), amounts)
    with pytest.raises(ValueError, match="'shares' or 'dollars'"):
        slippage_curve(_asking([1.0]), [1.0], amounts_in="euros")  # pyright: ignore[reportArgumentType]  # what is tested
