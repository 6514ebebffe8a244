"""The golden numbers of these tests were cross-checked with scikit-learn 1.9, statsmodels 0.15."""

import polars as pl
import pytest
from analysing import gaps, golden, golden_trades, ms, quotes, trades
from hypothesis import given
from hypothesis import strategies as st

from pmlive.analysis import ofi_slope, order_flow_events, order_flow_imbalance, signed, trade_flow
from pmlive.tables import SCHEMAS

_tops = st.lists(
    st.tuples(st.integers(1, 30), st.integers(1, 500), st.integers(31, 60), st.integers(1, 500)),
    min_size=2,
    max_size=20,
)


def golden_quotes() -> pl.DataFrame:
    told = golden("ofi")["quotes"]
    return quotes([(at * 100, bid, bid_size, ask, ask_size) for at, (bid, bid_size, ask, ask_size) in enumerate(told)])


def test_the_golden_order_flow_is_measured() -> None:
    told = golden("ofi")

    assert order_flow_events(golden_quotes())["ofi"].to_list() == told["e_n"]
    assert order_flow_imbalance(golden_quotes())["ofi"].to_list() == [told["ofi"]]


def test_windows_of_order_flow_add_up_with_zero_where_nothing_changed() -> None:
    rows = pl.concat([golden_quotes(), quotes([(2050, 0.62, 1300, 0.64, 100)])])

    found = order_flow_imbalance(rows, "500ms")

    assert ms(found["start"]) == [0, 500, 1000, 1500, 2000]
    assert found["ofi"].to_list() == [50 + 480 + 900 + 2100, -400 - 150, 0, 0, 50]
    assert found["changes"].to_list() == [4, 2, 0, 0, 1]
    assert found["mid_change"].to_list() == pytest.approx([0.015, -0.01, 0, 0, 0])


def test_flow_from_or_to_an_empty_side_is_unknown() -> None:
    rows = quotes([(0, 0.4, 10, 0.5, 10), (100, 0.4, 20, None, None), (200, 0.4, 20, 0.5, 5), (300, 0.4, 25, 0.5, 5)])

    assert order_flow_events(rows)["ofi"].to_list() == [None, None, 5.0]
    assert order_flow_imbalance(rows)["ofi"].to_list() == [None]


def test_flow_across_a_gap_is_not_measured_wherever_the_gap_lies() -> None:
    rows = quotes([(0, 0.4, 10, 0.5, 10), (100, 0.4, 20, 0.5, 10), (2500, 0.4, 90, 0.5, 10), (3200, 0.4, 95, 0.5, 10)])

    found = order_flow_imbalance(rows, "1s", gaps=gaps([(1200, 1300)]))

    # The gap lies in the second window, but what changed since is only seen in the third.
    assert found["ofi"].to_list() == [10.0, None, None, 5.0]
    assert found["touched"].to_list() == [False, True, True, False]
    assert order_flow_imbalance(rows, "1s", gaps=gaps([(1200, 1300)]), touched="drop")["ofi"].to_list() == [10.0, 5.0]


def test_tokens_do_not_mix() -> None:
    both = pl.concat([golden_quotes(), golden_quotes().with_columns(token_id=pl.lit("no"))]).sort("ts_recv")

    assert order_flow_imbalance(both).select("token_id", "ofi").rows() == [("no", 2980.0), ("yes", 2980.0)]


@given(_tops)
def test_sizes_that_change_at_the_same_prices_flow_by_their_difference(tops: list[tuple[int, int, int, int]]) -> None:
    rows = quotes([(at, 0.4, bid, 0.6, ask) for at, (_, bid, _, ask) in enumerate(tops)])

    [flow] = order_flow_imbalance(rows)["ofi"].to_list()

    (_, bid, _, ask), (_, last_bid, _, last_ask) = tops[0], tops[-1]
    assert flow == pytest.approx((last_bid - bid) - (last_ask - ask))


@given(_tops)
def test_flow_is_the_negative_of_that_of_the_mirrored_book(tops: list[tuple[int, int, int, int]]) -> None:
    book = quotes([(at, b / 100, qb, a / 100, qa) for at, (b, qb, a, qa) in enumerate(tops)])
    mirrored = quotes([(at, (100 - a) / 100, qa, (100 - b) / 100, qb) for at, (b, qb, a, qa) in enumerate(tops)])

    flow, other = (order_flow_events(each)["ofi"].to_list() for each in (book, mirrored))

    assert flow == pytest.approx([-value for value in other])


def test_the_mid_is_regressed_on_flow() -> None:
    windows = pl.DataFrame({"ofi": [1.0, 2.0, 3.0, None, 4.0], "mid_change": [0.3, 0.5, 0.7, 9.0, 0.9]})

    found = ofi_slope(windows)

    assert found is not None
    assert (found.slope, found.intercept, found.r2, found.n) == pytest.approx((0.2, 0.1, 1.0, 4))
    assert ofi_slope(windows.head(2)) is None
    assert ofi_slope(windows.with_columns(ofi=pl.lit(1.0))) is None


def test_golden_trades_flow() -> None:
    told = golden("trades")

    row = trade_flow(golden_trades(), sign_source="feed").row(0, named=True)

    assert row["vwap"] == pytest.approx(told["vwap"], rel=1e-12)
    assert row["signed_volume"] == pytest.approx(told["signed_volume"], rel=1e-9)
    assert row["volume"] == pytest.approx(sum(told["size"]))
    assert row["sign_source"] == "feed"


def test_flow_of_windows_is_signed_and_empty_ones_are_zero() -> None:
    rows = trades([(0, 0.4, 10, "buy"), (100, 0.5, 30, "sell"), (2100, 0.5, 1, "buy")])

    found = trade_flow(rows, "1s", sign_source="feed")

    assert found["signed_volume"].to_list() == [-20.0, 0.0, 1.0]
    assert found["buy_volume"].to_list() == [10.0, 0.0, 1.0]
    assert found["sell_volume"].to_list() == [30.0, 0.0, 0.0]
    assert found["vwap"].to_list() == [pytest.approx(0.475), None, 0.5]
    assert found["sign_source"].to_list() == ["feed"] * 3
    assert trade_flow(rows, "1s", sign_source="feed", gaps=gaps([(50, 60)]), touched="drop").height == 2


def test_trades_as_the_feed_signed_them_are_taken() -> None:
    rows = trades([(0, 0.4, 10, "buy"), (1, 0.4, 10, "sell")])
    rows = rows.with_columns(pl.col("sign_source").cast(SCHEMAS["trades"]["sign_source"]))

    found = signed(rows, sign_source="feed")

    assert found["sign"].to_list() == [1, -1]
    assert found["sign_source"].to_list() == ["feed", "feed"]
    assert signed(SCHEMAS["trades"].to_frame(), sign_source="feed").height == 0


def test_another_source_of_signs_is_refused() -> None:
    rows = pl.concat([trades([(0, 0.4, 10, "buy")]), trades([(1, 0.4, 10, "buy")], sign_source="tick rule")])

    with pytest.raises(ValueError, match=r"sign_source is 'feed' but .*\['feed', 'tick rule'\]"):
        trade_flow(rows, sign_source="feed")
    with pytest.raises(ValueError, match="'chain' but"):
        signed(rows.head(1), sign_source="chain")
    with pytest.raises(ValueError, match="no column 'sign_source'"):
        signed(rows.drop("sign_source"), sign_source="feed")
    with pytest.raises(ValueError, match="every trade needs the side"):
        signed(rows.head(1).with_columns(side=pl.lit(None, dtype=pl.String)), sign_source="feed")
