"""The golden numbers of these tests were cross-checked with scikit-learn 1.9, statsmodels 0.15."""

from datetime import timedelta
from itertools import pairwise
from typing import Literal

import polars as pl
import pytest
from analysing import gaps, golden, ms, quotes, trades
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from pmlive.analysis import quote_bars, trade_bars
from pmlive.tables import SCHEMAS

_trades = st.lists(
    st.tuples(st.integers(0, 9_999), st.integers(1, 999), st.integers(1, 10**6)), min_size=1, max_size=30
).map(lambda rows: [(at, tick / 1000, size / 100, "buy") for at, tick, size in sorted(rows, key=lambda row: row[0])])


def golden_bars() -> pl.DataFrame:
    told = golden("bars_1s")
    sides = ["buy"] * len(told["price"])
    return trades(list(zip(told["t_ms"], told["price"], told["size"], sides, strict=True)))


@pytest.mark.parametrize("every", ["1s", "1000ms", timedelta(seconds=1)])
def test_the_golden_bars_are_drawn(every: str | timedelta) -> None:
    bars = trade_bars(golden_bars(), every)

    expected = {int(at): bar for at, bar in golden("bars_1s")["left_closed"].items()}
    drawn = bars.filter(pl.col("trades") > 0)
    assert ms(drawn["start"]) == list(expected)
    assert [list(row) for row in drawn.select("open", "high", "low", "close", "volume").rows()] == list(
        expected.values()
    )


def test_a_bar_without_a_trade_has_no_price_and_no_volume() -> None:
    empty = trade_bars(golden_bars(), "1s").row(3, named=True)

    assert [empty[name] for name in ("open", "high", "low", "close", "vwap")] == [None] * 5
    assert (empty["volume"], empty["trades"]) == (0.0, 0)


def test_a_bar_is_closed_on_the_left_and_open_on_the_right() -> None:
    bars = trade_bars(trades([(999, 0.4, 1, "buy"), (1000, 0.6, 2, "buy")]), "1s")

    assert ms(bars["start"]) == [0, 1000]
    assert ms(bars["end"]) == [1000, 2000]
    assert bars["close"].to_list() == [0.4, 0.6]


def test_each_token_has_its_bars_up_to_the_last_row_of_all() -> None:
    both = pl.concat([trades([(0, 0.4, 1, "buy")], token_id="a"), trades([(1500, 0.6, 2, "sell")], token_id="b")])

    bars = trade_bars(both, "1s")

    assert list(zip(bars["token_id"], ms(bars["start"]), bars["volume"], strict=True)) == [
        ("a", 0, 1.0),
        ("a", 1000, 0.0),
        ("b", 1000, 2.0),
    ]


def test_trades_of_one_instant_stay_in_order() -> None:
    bars = trade_bars(trades([(0, 0.4, 1, "buy"), (0, 0.6, 1, "buy"), (0, 0.5, 1, "buy")]), "1s")

    assert bars.select("open", "close").row(0) == (0.4, 0.5)


def test_a_bar_that_a_gap_touches_is_flagged_or_left_out() -> None:
    rows = golden_bars()
    gap = gaps([(2600, 3100)])

    flagged = trade_bars(rows, "1s", gaps=gap)
    dropped = trade_bars(rows, "1s", gaps=gap, touched="drop")

    assert flagged["touched"].to_list() == [False, False, True, True, False]
    assert flagged.row(2, named=True)["volume"] is None
    assert flagged.row(3, named=True)["volume"] is None
    assert ms(dropped["start"]) == [0, 1000, 4000]


@given(_trades, st.sampled_from(["50ms", "1s", "3s"]))
def test_the_volumes_of_bars_add_up_to_that_of_the_trades(
    rows: list[tuple[int, float, float, str]], every: str
) -> None:
    frame = trades(rows)

    bars = trade_bars(frame, every)

    assert bars["volume"].sum() == pytest.approx(frame["size"].sum())
    assert bars["trades"].sum() == frame.height
    assert (bars["start"].diff().drop_nulls() == bars["end"][0] - bars["start"][0]).all()
    filled = bars.filter(pl.col("trades") > 0)
    assert (filled["low"] <= filled["vwap"] + 1e-9).all()
    assert (filled["vwap"] <= filled["high"] + 1e-9).all()


def test_a_quote_bar_has_the_mid_at_its_close_and_the_spread_over_its_time() -> None:
    rows = quotes([(0, 0.40, 1, 0.42, 1), (250, 0.40, 1, 0.46, 1), (1000, 0.44, 1, 0.46, 1), (2000, 0.4, 1, 0.5, 1)])

    bars = quote_bars(rows, "1s")

    assert bars["mid"].to_list() == pytest.approx([0.43, 0.45, 0.45])
    assert bars["spread"].to_list()[:2] == pytest.approx([0.25 * 0.02 + 0.75 * 0.06, 0.02])
    assert bars["quotes"].to_list() == [2, 1, 1]
    # Of the last bar nothing but its first instant is known.
    assert bars["quoted"].to_list() == [1.0, 1.0, 0.0]
    assert bars["spread"].to_list()[2] is None


def test_a_quote_stands_in_the_bars_after_it_and_not_in_those_before() -> None:
    rows = pl.concat([quotes([(500, 0.4, 1, 0.5, 1)], token_id="a"), quotes([(2500, 0.4, 1, 0.5, 1)], token_id="b")])

    bars = quote_bars(rows, "1s").filter(pl.col("token_id") == "a")

    assert bars["quoted"].to_list() == [0.5, 1.0, 0.5]
    assert bars["mid"].to_list() == pytest.approx([0.45, 0.45, 0.45])
    assert bars["quotes"].to_list() == [1, 0, 0]


def test_while_a_side_is_empty_there_is_no_mid_and_no_spread() -> None:
    rows = quotes(
        [(0, 0.4, 1, 0.42, 1), (400, 0.4, 1, None, None), (1000, None, None, None, None), (2000, 0.4, 1, 0.5, 1)]
    )

    bars = quote_bars(rows, "1s")

    assert bars["mid"].to_list()[:2] == [None, None]
    assert bars["quoted"].to_list()[:2] == [0.4, 0.0]
    assert bars["spread"].to_list()[0] == pytest.approx(0.02)
    assert bars["spread"].to_list()[1] is None


def test_a_quote_bar_that_a_gap_touches_is_flagged() -> None:
    rows = quotes([(0, 0.4, 1, 0.42, 1), (2500, 0.4, 1, 0.44, 1)])

    bars = quote_bars(rows, "1s", gaps=gaps([(1100, 1200)]))

    assert bars["touched"].to_list() == [False, True, False]
    assert bars["mid"].to_list() == [pytest.approx(0.41), None, pytest.approx(0.42)]


@given(st.lists(st.tuples(st.integers(0, 5000), st.integers(1, 50)), min_size=1, max_size=20))
def test_the_spreads_of_bars_average_to_that_over_all_time(points: list[tuple[int, int]]) -> None:
    steps = sorted(dict(points).items())
    rows = quotes([(at, 0.4, 1.0, 0.4 + wide / 100, 1.0) for at, wide in steps])

    bars = quote_bars(rows, "700ms")

    total = sum((after - at) * wide / 100 for (at, wide), (after, _) in pairwise(steps))
    known = bars.filter(pl.col("quoted") > 0)
    assert (known["spread"] * known["quoted"]).sum() * 700 == pytest.approx(total, abs=1e-6)


def test_nanoseconds_count() -> None:
    rows = quotes([(0, 0.40, 1, 0.42, 1), (999.999123, 0.40, 1, 0.44, 1), (1000.000789, 0.40, 1, 0.46, 1)])

    bars = quote_bars(rows, "1s")

    assert bars["quoted"].to_list() == pytest.approx([1.0, 789e-9], rel=1e-9)
    assert bars["spread"].to_list() == pytest.approx([0.02 + 0.02 * 877e-9, 0.04])
    assert bars["mid"].to_list() == pytest.approx([0.42, 0.43])


@pytest.mark.parametrize("unit", ["us", "ms"])
def test_times_of_another_unit_give_the_same_bars(unit: Literal["us", "ms"]) -> None:
    rows = golden_bars()

    coarse = rows.with_columns(pl.col("ts_recv").cast(pl.Datetime(unit, "UTC")))

    assert_frame_equal(trade_bars(coarse, "1s"), trade_bars(rows, "1s"))


def test_empty_tables_have_no_bars() -> None:
    assert trade_bars(SCHEMAS["trades"].to_frame(), "1s", gaps=SCHEMAS["gaps"].to_frame()).height == 0
    assert quote_bars(SCHEMAS["prices"].to_frame(), "1s", gaps=SCHEMAS["gaps"].to_frame()).height == 0


@pytest.mark.parametrize("every", ["", "0s", "-1s", "1 s", "1mo", "s", timedelta(0)])
def test_what_is_no_length_of_time_is_refused(every: str | timedelta) -> None:
    with pytest.raises(ValueError, match="length of time"):
        trade_bars(golden_bars(), every)
