"""The golden numbers of these tests were cross-checked with scikit-learn 1.9, statsmodels 0.15."""

import polars as pl
import pytest
from analysing import gaps, golden, golden_trades, ms, trades
from hypothesis import given
from hypothesis import strategies as st

from pmlive.analysis import vpin
from pmlive.tables import SCHEMAS

_trades = st.lists(st.tuples(st.integers(1, 300), st.sampled_from(["buy", "sell"])), min_size=1, max_size=30).map(
    lambda rows: [(at, 0.5, float(size), side) for at, (size, side) in enumerate(rows)]
)


def test_the_golden_vpin_is_measured() -> None:
    told = golden("trades")

    found = vpin(golden_trades(), bucket=told["vpin_bucket_shares"], window=told["vpin_window"], sign_source="feed")

    assert found.height == told["vpin_buckets"]
    assert found["vpin"].to_list()[:4] == [None] * 4
    assert found["vpin"].to_list()[4:] == pytest.approx(told["vpin"], rel=1e-9)
    assert found["sign_source"].unique().to_list() == ["feed"]


def test_a_trade_is_split_across_buckets_and_the_last_partial_one_is_left_out() -> None:
    rows = trades([(0, 0.5, 6, "buy"), (100, 0.5, 20, "sell"), (200, 0.5, 3, "buy")])

    found = vpin(rows, bucket=10, window=1, sign_source="feed")

    assert found["buy_volume"].to_list() == [6.0, 0.0]
    assert found["sell_volume"].to_list() == [4.0, 10.0]
    assert ms(found["start"]) == [0, 100]
    assert ms(found["end"]) == [100, 100]
    assert found["vpin"].to_list() == pytest.approx([0.2, 1.0])


def test_a_bucket_that_just_fills_begins_the_next_with_the_next_trade() -> None:
    found = vpin(trades([(0, 0.5, 10, "buy"), (100, 0.5, 10, "sell")]), bucket=10, window=1, sign_source="feed")

    assert ms(found["start"]) == [0, 100]
    assert ms(found["end"]) == [0, 100]


def test_a_window_of_buckets_does_not_reach_across_a_gap() -> None:
    rows = trades([(at, 0.5, 10, "buy") for at in (0, 100, 200, 300, 400, 500)])

    found = vpin(rows, bucket=20, window=1, sign_source="feed", gaps=gaps([(210, 220)]))
    rolled = vpin(rows, bucket=20, window=2, sign_source="feed", gaps=gaps([(210, 220)]))
    dropped = vpin(rows, bucket=20, window=2, sign_source="feed", gaps=gaps([(210, 220)]), touched="drop")

    assert found["touched"].to_list() == [False, True, False]
    assert found["vpin"].to_list() == [1.0, None, 1.0]
    assert rolled["vpin"].to_list() == [None, None, None]
    assert dropped["bucket"].to_list() == [0, 2]
    assert dropped["vpin"].to_list() == [None, None]


def test_each_token_has_its_own_buckets() -> None:
    one = trades([(0, 0.5, 10, "buy"), (100, 0.5, 10, "buy")])
    both = pl.concat([one, one.with_columns(token_id=pl.lit("no"), side=pl.lit("sell"))], how="vertical_relaxed")

    found = vpin(both.with_columns(pl.col("side").cast(pl.String)), bucket=10, window=2, sign_source="feed")

    assert found["vpin"].to_list() == [None, 1.0, None, 1.0]


@given(_trades, st.integers(1, 200), st.integers(1, 4))
def test_buckets_are_full_and_vpin_is_between_0_and_1(
    rows: list[tuple[int, float, float, str]], bucket: int, window: int
) -> None:
    frame = trades(rows)

    found = vpin(frame, bucket=bucket, window=window, sign_source="feed")

    assert found.height == int(frame["size"].sum() // bucket)
    assert (found["buy_volume"] + found["sell_volume"]).to_list() == pytest.approx([bucket] * found.height)
    assert found["vpin"].drop_nulls().is_between(-1e-9, 1 + 1e-9).all()
    assert (found["start"] <= found["end"]).all()


def test_an_empty_table_has_no_buckets() -> None:
    assert vpin(SCHEMAS["trades"].to_frame(), bucket=10, window=1, sign_source="feed").height == 0


def test_wrong_numbers_and_sources_are_refused() -> None:
    with pytest.raises(ValueError, match="invalid bucket 0 or window 5"):
        vpin(golden_trades(), bucket=0, window=5, sign_source="feed")
    with pytest.raises(ValueError, match="invalid bucket 10 or window 0"):
        vpin(golden_trades(), bucket=10, window=0, sign_source="feed")
    with pytest.raises(ValueError, match="'chain' but"):
        vpin(golden_trades(), bucket=10, window=5, sign_source="chain")
