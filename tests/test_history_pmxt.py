"""Files of pmxt's archive, in the format of archive.pmxt.dev/docs/v2-data-overview (read in November 2026)."""

# pyarrow comes without types.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportUnknownParameterType=false, reportUnknownLambdaType=false
import contextlib
import json
import warnings
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import pmlive as pm
from pmlive.errors import StoreError
from pmlive.history import HistoryWarning, read_pmxt
from pmlive.history.pmxt import PmxtTable

YES, NO, OTHER = "7" * 77, "8" * 77, "9" * 77
MARKET, ELSEWHERE = "0x" + "a" * 64, "0x" + "b" * 64
HOUR = 1_796_000_400_000
SCHEMA = pa.schema(
    [
        ("timestamp_received", pa.timestamp("ms", "UTC")),
        ("timestamp", pa.timestamp("ms", "UTC")),
        ("market", pa.binary(66)),
        ("event_type", pa.string()),
        ("asset_id", pa.string()),
        ("bids", pa.string()),
        ("asks", pa.string()),
        ("price", pa.decimal128(9, 4)),
        ("size", pa.decimal128(18, 6)),
        ("side", pa.string()),
        ("best_bid", pa.decimal128(9, 4)),
        ("best_ask", pa.decimal128(9, 4)),
        ("fee_rate_bps", pa.uint16()),
        ("transaction_hash", pa.string()),
        ("old_tick_size", pa.decimal128(9, 4)),
        ("new_tick_size", pa.decimal128(9, 4)),
    ]
)
Row = dict[str, object]
Levels = list[tuple[str, str]]


def event(kind: str | None, at: int, *, token: str = YES, market: str = MARKET, **values: object) -> Row:
    times = {"timestamp_received": HOUR + at, "timestamp": HOUR + at - 40}
    return times | {"market": market.encode(), "event_type": kind, "asset_id": token} | values


def change(at: int, side: str, price: str | None, size: str, *, token: str = YES, market: str = MARKET) -> Row:
    number = None if price is None else Decimal(price)
    return event("price_change", at, token=token, market=market, side=side, price=number, size=Decimal(size))


def book(at: int, bids: Levels, asks: Levels, *, token: str = YES) -> Row:
    return event("book", at, token=token, bids=json.dumps(bids), asks=json.dumps(asks))


def written(folder: Path, rows: list[Row], schema: pa.Schema = SCHEMA, *, rows_in_group: int = 2) -> Path:
    path = folder / "polymarket_orderbook_2026-11-30T01.parquet"
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), path, compression="zstd", row_group_size=rows_in_group)
    return path


DAY: list[Row] = [
    book(0, [("0.001", "7"), ("0.4", "100.25")], [("0.9", "3"), ("0.6", "5")]),
    change(10, "BUY", "0.41", "12.5"),
    change(5, "SELL", "0.6", "0"),
    change(5, "SELL", None, "1"),
    event(
        "last_trade_price",
        20,
        price=Decimal("0.41"),
        size=Decimal("0.000001"),
        side="SELL",
        fee_rate_bps=0,
        transaction_hash="0xab",
    ),
    event("last_trade_price", 21, price=Decimal("0.42"), size=Decimal(3)),
    event("tick_size_change", 22, old_tick_size=Decimal("0.01"), new_tick_size=Decimal("0.001")),
    book(30, [], [], token=NO),
    change(31, "BUY", "0.3", "1", token=OTHER, market=ELSEWHERE),
]


@pytest.mark.parametrize("table", ["book_deltas", "book_snapshots", "trades", "market_events"])
def test_a_table_has_the_columns_of_a_recorded_one_and_joins_it(tmp_path: Path, table: PmxtTable) -> None:
    frame = read_pmxt(written(tmp_path, DAY), table)
    recorded = pm.open_recording(pm.sample()).scan(table).collect()

    own = [name for name in frame.columns if name not in ("row", "source")]
    assert {name: frame.schema[name] for name in own} == {name: recorded.schema[name] for name in own}
    assert [name for name in recorded.columns if name in own] == own
    both = pl.concat([frame, recorded], how="diagonal")
    assert both.filter(pl.col("source").is_null()).height == recorded.height
    assert set(frame["source"]) == {"pmxt"}


def test_rows_keep_the_order_and_the_nulls_of_the_file(tmp_path: Path) -> None:
    changes = read_pmxt(written(tmp_path, DAY), "book_deltas")

    assert changes.select("row", "token_id", "market", "side", "price", "size").rows() == [
        (1, YES, MARKET, "bid", 0.41, 12.5),
        (2, YES, MARKET, "ask", 0.6, 0.0),
        (3, YES, MARKET, "ask", None, 1.0),
        (8, OTHER, ELSEWHERE, "bid", 0.3, 1.0),
    ]
    assert changes["ts_recv"].dt.epoch("ms").to_list() == [HOUR + 10, HOUR + 5, HOUR + 5, HOUR + 31]
    assert changes["ts_event"].dt.epoch("ms").to_list() == [HOUR - 30, HOUR - 35, HOUR - 35, HOUR - 9]


def test_books_have_the_best_price_first_and_may_be_empty(tmp_path: Path) -> None:
    books = read_pmxt(written(tmp_path, DAY), "book_snapshots")

    assert books.select("row", "bid_prices", "bid_sizes", "ask_prices", "ask_sizes").rows() == [
        (0, [0.4, 0.001], [100.25, 7.0], [0.6, 0.9], [5.0, 3.0]),
        (7, [], [], [], []),
    ]


def test_trades_and_changes_of_the_tick_size_say_what_the_file_says(tmp_path: Path) -> None:
    path = written(tmp_path, DAY)

    assert read_pmxt(path, "trades").select(
        "row", "price", "size", "side", "fee_rate_bps", "transaction_hash"
    ).rows() == [(4, 0.41, 1e-6, "sell", 0.0, "0xab"), (5, 0.42, 3.0, None, None, None)]
    assert read_pmxt(path, "market_events").select("row", "kind", "old_tick_size", "new_tick_size").rows() == [
        (6, "tick_size_change", 0.01, 0.001)
    ]


@pytest.mark.parametrize("dictionary", [False, True])
def test_a_filter_leaves_the_rows_of_its_tokens_as_they_are(tmp_path: Path, *, dictionary: bool) -> None:
    texts = ("event_type", "asset_id", "side")
    kind = pa.dictionary(pa.int32(), pa.string())
    schema = pa.schema([pa.field(f.name, kind if dictionary and f.name in texts else f.type) for f in SCHEMA])
    path = written(tmp_path, DAY, schema)
    whole = read_pmxt(path, "book_deltas")

    for token in (YES, NO, OTHER):
        assert read_pmxt(path, "book_deltas", tokens=token).equals(whole.filter(pl.col("token_id") == token))
    assert read_pmxt(path, "book_deltas", tokens=iter([YES, OTHER])).equals(whole)


_PRICES = st.integers(1, 99).map(lambda tick: f"{tick / 100:.2f}")
_SIZES = st.integers(0, 10**9).map(lambda millionths: f"{millionths / 1e6:.6f}")
_LEVELS = st.dictionaries(_PRICES, _SIZES.filter(lambda size: float(size) > 0)).map(lambda levels: [*levels.items()])
_TOKENS = st.sampled_from([YES, NO])
_TIMES = st.integers(0, 3_599_999)
_EVENTS = st.builds(book, _TIMES, _LEVELS, _LEVELS, token=_TOKENS) | st.builds(
    change, _TIMES, st.sampled_from(["BUY", "SELL"]), _PRICES, _SIZES, token=_TOKENS
)
Ladders = dict[str, dict[str, dict[float, float]]]


@settings(max_examples=40, deadline=None)
@given(st.lists(_EVENTS, min_size=1, max_size=30))
def test_books_and_changes_together_make_the_ladders_that_a_dict_makes(rows: list[Row]) -> None:
    with TemporaryDirectory() as folder:
        path = written(Path(folder), rows)
        both = [read_pmxt(path, table) for table in ("book_snapshots", "book_deltas")]

    assert rebuilt(pl.concat(both, how="diagonal").sort("row")) == by_hand(rows)


def by_hand(rows: list[Row]) -> Ladders:
    made: Ladders = {}
    for row in rows:
        token = made.setdefault(str(row["asset_id"]), {"bid": {}, "ask": {}})
        if row["event_type"] == "book":
            for side in ("bid", "ask"):
                token[side] = {float(price): float(size) for price, size in json.loads(str(row[f"{side}s"]))}
        else:
            put(token["bid" if row["side"] == "BUY" else "ask"], float(str(row["price"])), float(str(row["size"])))
    return made


def put(ladder: dict[float, float], price: float, size: float) -> None:
    ladder[price] = size
    if not size:
        del ladder[price]


def rebuilt(rows: pl.DataFrame) -> Ladders:
    made: Ladders = {}
    for row in rows.iter_rows(named=True):
        token = made.setdefault(row["token_id"], {"bid": {}, "ask": {}})
        if row["bid_prices"] is None:
            put(token[row["side"]], row["price"], row["size"])
            continue
        for side in ("bid", "ask"):
            prices = row[f"{side}_prices"]
            assert prices == sorted(prices, reverse=side == "bid")
            token[side] = dict(zip(prices, row[f"{side}_sizes"], strict=True))
    return made


def test_events_of_a_kind_that_is_not_known_are_told_and_in_no_table(tmp_path: Path) -> None:
    strange = [event("market_paused", 40), event("market_paused", 41, token=NO), event(None, 42)]
    sound = read_pmxt(written(tmp_path, DAY), "trades")
    path = written(tmp_path, [*DAY, *strange])

    with pytest.warns(HistoryWarning, match="3 events of kinds .* left out: 2 of 'market_paused', 1 of no kind"):
        trades = read_pmxt(path, "trades")
    assert trades.equals(sound)
    with pytest.warns(HistoryWarning, match="1 of 'market_paused'$"):
        assert read_pmxt(path, "book_deltas", tokens=NO).height == 0


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda _data: b"", "0 bytes.* is not a parquet file; pmxt may have none of this name"),
        (lambda _data: b"<?xml version='1.0'?><Error>".ljust(214), "214 bytes.* is not a parquet file"),
        (lambda data: data[:-30], "ends too early; its download broke off"),
        (lambda data: data[: len(data) // 2] + b"PAR1", "is damaged; fetch it again"),
        (lambda data: data[:4] + bytes(300) + data[304:], "is damaged"),
    ],
)
def test_damaged_files_are_refused(tmp_path: Path, damage: Callable[[bytes], bytes], message: str) -> None:
    path = written(tmp_path, DAY)
    path.write_bytes(damage(path.read_bytes()))

    with pytest.raises(StoreError, match=message) as refused:
        read_pmxt(path, "book_deltas")
    assert path.name in str(refused.value)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), min_size=1, max_size=40))
def test_a_file_with_wrong_bytes_is_read_or_refused(wrong: list[tuple[float, int]]) -> None:
    with TemporaryDirectory() as folder:
        path = written(Path(folder), DAY)
        data = bytearray(path.read_bytes())
        for place, byte in wrong:
            data[4 + int(place * (len(data) - 9))] = byte
        path.write_bytes(data)

        with warnings.catch_warnings(), contextlib.suppress(StoreError):
            warnings.simplefilter("ignore", HistoryWarning)  # an event may be of another kind now
            read_pmxt(path, "book_snapshots")


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({}, r"has the columns \(none\); of pmxt's version 2 it lacks timestamp_received"),
        ({"timestamp_us": pa.int64()}, "has the columns timestamp_us; of pmxt's version 2 it lacks"),
        ({"market_id": pa.string(), "update_type": pa.string(), "data": pa.string()}, "is of version 1"),
        ({f.name: f.type for f in SCHEMA if f.name != "best_ask"}, "it lacks best_ask"),
        ({f.name: f.type for f in SCHEMA} | {"timestamp": pa.int64()}, "timestamp as Int64, which"),
        ({f.name: f.type for f in SCHEMA} | {"market": pa.string()}, "market as String, which"),
        ({f.name: f.type for f in SCHEMA}, "has no rows: pmxt's archive has nothing of this hour"),
    ],
)
def test_files_of_other_columns_and_of_empty_hours_are_refused(
    tmp_path: Path, columns: dict[str, pa.DataType], message: str
) -> None:
    path = written(tmp_path, [], pa.schema(list(columns.items())))

    with pytest.raises(StoreError, match=message):
        read_pmxt(path, "trades")


@pytest.mark.parametrize(
    ("rows", "table"),
    [
        ([event("book", 0, bids='{"0.4": "1"}', asks="[]")], "book_snapshots"),
        ([event("book", 0, bids='[["0.4"]]', asks="[]")], "book_snapshots"),
        ([event("book", 0, bids='[["0.4", "many"]]', asks="[]")], "book_snapshots"),
        ([event("book", 0, bids="nothing", asks="[]")], "book_snapshots"),
        ([change(0, "HOLD", "0.4", "1")], "book_deltas"),
    ],
)
def test_a_value_that_the_format_does_not_allow_is_an_error(tmp_path: Path, rows: list[Row], table: PmxtTable) -> None:
    with pytest.raises(StoreError, match="has a value that files of pmxt do not have"):
        read_pmxt(written(tmp_path, rows), table)


def test_a_book_whose_sides_are_not_stated_has_none(tmp_path: Path) -> None:
    books = read_pmxt(written(tmp_path, [event("book", 0)]), "book_snapshots")

    assert books.select("bid_prices", "ask_sizes").rows() == [(None, None)]


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"tokens": []}, "tokens is empty"),
        ({"tokens": MARKET}, "is no token id"),
        ({"tokens": ["", YES]}, "'' is no token id"),
        ({"table": "prices"}, "no table 'prices' in files of pmxt; there are: book_deltas"),
    ],
)
def test_what_cannot_be_asked_for_is_told(tmp_path: Path, asked: dict[str, str], message: str) -> None:
    arguments = {"table": "trades"} | asked

    with pytest.raises(ValueError, match=message):
        read_pmxt(written(tmp_path, DAY), **arguments)  # pyright: ignore[reportArgumentType]


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"nothing\.parquet' cannot be read"):
        read_pmxt(tmp_path / "nothing.parquet", "trades")
