"""The tables are those that the documentation promises, and rolling frames stay within their bounds."""

from datetime import timedelta

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pmlive.events import Activity, MakerOrder, ReferencePrice, UserOrder, UserTrade
from pmlive.integrity import Counts
from pmlive.pipeline.rows import PACKED, PackedRows, Rows, StringTable
from pmlive.tables import ROLLING, SCHEMAS, STORED, Rolling

_TIME = pl.Datetime("ns", "UTC")
_S = 1_000_000_000

_PROMISED = {
    "prices": "token_id market best_bid best_bid_size best_ask best_ask_size mid spread",
    "book_snapshots": "token_id market bid_prices bid_sizes ask_prices ask_sizes "
    "hash opening tick_size last_trade_price",
    "book_deltas": "token_id market side price size best_bid best_ask check",
    "trades": "token_id market price size side fee_rate_bps transaction_hash sign_source",
    "market_events": "kind token_id market old_tick_size new_tick_size winning_token_id winning_outcome payload",
    "gaps": "token_id started ended cause detail",
    "checks": "token_id hash_verified hash_unverifiable hash_mismatch bbo_ok bbo_mismatch "
    "snapshot_ok snapshot_mismatch",
}


def gap(seq: int, recv: int) -> list[object]:
    return [seq, None, recv, 1, None, recv, None, "disconnect", ""]


def gaps(*rows: list[object]) -> pl.DataFrame:
    some = Rows("gaps")
    for row in rows:
        some.put(row)
    return some.take()


@pytest.mark.parametrize("table", sorted(SCHEMAS))
def test_every_table_begins_with_the_order_and_the_times(table: str) -> None:
    first = list(SCHEMAS[table].items())[:4]

    assert first == [("seq", pl.UInt64()), ("ts_event", _TIME), ("ts_recv", _TIME), ("conn", pl.UInt32())]


@pytest.mark.parametrize("table", sorted(_PROMISED))
def test_a_table_has_the_promised_columns(table: str) -> None:
    assert SCHEMAS[table].names()[4:] == _PROMISED[table].split()


def test_the_tables_of_a_recording_are_the_promised_ones() -> None:
    assert set(STORED) == {*_PROMISED, "keyframes", "user_orders", "user_trades", "activity", "reference_prices"}
    assert set(ROLLING) <= set(SCHEMAS)
    assert set(SCHEMAS) - set(STORED) == {"depth"}


def test_prices_and_sizes_are_64_bit_floats() -> None:
    numbers = ("price", "size", "bid", "ask", "mid", "spread", "tick_size")
    for schema in SCHEMAS.values():
        for name, dtype in schema.items():
            if name.endswith(numbers):
                assert dtype == pl.Float64, name
            if name.endswith(("_prices", "_sizes")):
                assert dtype == pl.List(pl.Float64), name


@pytest.mark.parametrize(
    ("table", "event"),
    [
        ("user_orders", UserOrder),
        ("user_trades", UserTrade),
        ("activity", Activity),
        ("reference_prices", ReferencePrice),
    ],
)
def test_every_field_of_an_event_has_its_column(table: str, event: type[UserOrder | UserTrade | Activity]) -> None:
    assert set(SCHEMAS[table].names()[4:]) == set(event.__struct_fields__) - {"timestamp"}


def test_a_resting_order_has_a_field_for_everything_said_of_it() -> None:
    inner = SCHEMAS["user_trades"]["maker_orders"]

    assert isinstance(inner, pl.List)
    assert isinstance(inner.inner, pl.Struct)
    assert {field.name for field in inner.inner.fields} == set(MakerOrder.__struct_fields__)


def test_the_outcomes_of_the_checks_are_counted_in_the_order_of_their_columns() -> None:
    assert SCHEMAS["checks"].names()[5:] == Counts.names()


@pytest.mark.parametrize("table", sorted(SCHEMAS))
def test_no_rows_make_an_empty_frame_of_the_right_types(table: str) -> None:
    rows = PackedRows(table, StringTable()) if table in PACKED else Rows(table)
    assert rows.take().schema == SCHEMAS[table]
    assert Rolling(table, rows=1, age=timedelta(1)).frame(0).schema == SCHEMAS[table]


@given(st.lists(st.integers(0, 5), max_size=20), st.integers(1, 10))
def test_a_rolling_frame_holds_the_last_rows_however_they_came(sizes: list[int], most: int) -> None:
    rolling = Rolling("gaps", rows=most, age=timedelta(days=1))
    seqs: list[int] = []
    for size in sizes:
        new = list(range(len(seqs), len(seqs) + size))
        rolling.extend(gaps(*(gap(seq, seq) for seq in new)))
        seqs.extend(new)

        assert rolling.frame(_S)["seq"].to_list() == seqs[-most:]


def test_a_rolling_frame_forgets_what_is_too_old() -> None:
    rolling = Rolling("gaps", rows=100, age=timedelta(seconds=10))
    rolling.extend(gaps(gap(0, 0), gap(1, 5 * _S), gap(2, 12 * _S)))

    assert rolling.frame(15 * _S)["seq"].to_list() == [1, 2]
    assert rolling.frame(22 * _S)["seq"].to_list() == [2]
    assert rolling.frame(23 * _S).is_empty()
    assert rolling.frame(15 * _S).is_empty()  # it is not held any longer
