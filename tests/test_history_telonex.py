"""Files of Telonex, with the columns that its own notebooks and public readers of its files use (November 2026)."""

# pyarrow comes without types.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportUnknownParameterType=false
from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

import pmlive as pm
from pmlive.errors import StoreError
from pmlive.history import read_telonex

YES, NO = "7" * 77, "8" * 77
MARKET = "0x" + "a" * 64
NOON = 1_796_040_000_000_000
TEXT = pa.string()
LEVELS = pa.list_(pa.struct([("price", TEXT), ("size", TEXT)]))
IDS = {"exchange": TEXT, "market_id": TEXT, "slug": TEXT, "asset_id": TEXT, "outcome": TEXT}
TIMES = {"timestamp_us": pa.int64(), "local_timestamp_us": pa.int64()}
TRADES = TIMES | IDS | dict.fromkeys(("price", "size", "side", "trade_id", "origin_asset_id"), TEXT)
QUOTES = TIMES | IDS | dict.fromkeys(("bid_price", "bid_size", "ask_price", "ask_size"), TEXT)
BOOKS = TIMES | IDS | {"bids": LEVELS, "asks": LEVELS}
FILLS = {
    "block_timestamp_us": pa.int64(),
    "tx_hash": TEXT,
    "log_index": pa.int64(),
    **IDS,
    **dict.fromkeys(("maker", "taker", "maker_asset_id", "taker_asset_id", "maker_side", "taker_side"), TEXT),
    "amount": TEXT,
    "price": TEXT,
    "mirrored": pa.bool_(),
}
Columns = dict[str, pa.DataType]
Row = dict[str, object]


def tops(depth: int) -> Columns:
    kinds = ("bid_price", "bid_size", "ask_price", "ask_size")
    return TIMES | IDS | {f"{kind}_{place}": TEXT for place in range(depth) for kind in kinds}


def row(at: int = 0, *, token: str = YES, **values: object) -> Row:
    outcome = "Yes" if token == YES else "No"
    ids = {"exchange": "polymarket", "market_id": MARKET, "slug": "will-it", "asset_id": token, "outcome": outcome}
    times = {"timestamp_us": NOON + at, "local_timestamp_us": NOON + at + 30_000, "block_timestamp_us": NOON + at}
    return times | ids | values


def trade(at: int = 0, *, token: str = YES, **values: object) -> Row:
    told = {"price": "0.41", "size": "12.5", "side": "buy", "trade_id": "0xab", "origin_asset_id": YES}
    return row(at, token=token, **(told | values))


def level(price: str, size: str) -> dict[str, str]:
    return {"price": price, "size": size}


def written(folder: Path, rows: list[Row], columns: Columns) -> Path:
    path = folder / "2026-11-30.parquet"
    pq.write_table(pa.Table.from_pylist(rows, schema=pa.schema(list(columns.items()))), path)
    return path


def test_trades_have_the_columns_of_recorded_ones_and_join_them(tmp_path: Path) -> None:
    mirrored = trade(5, token=NO, price="0.59", side="sell")
    frame = read_telonex(written(tmp_path, [trade(), mirrored, trade(3, price=None, side=None)], TRADES))
    recorded = pm.open_recording(pm.sample()).scan("trades", labels=True).collect()

    names = ("token_id", "slug", "outcome", "price", "size", "side", "trade_id", "origin_token_id", "source")
    assert frame.select(names).rows() == [
        (YES, "will-it", "Yes", 0.41, 12.5, "buy", "0xab", YES, "telonex"),
        (NO, "will-it", "No", 0.59, 12.5, "sell", "0xab", YES, "telonex"),
        (YES, "will-it", "Yes", None, 12.5, None, "0xab", YES, "telonex"),
    ]
    assert frame["ts_event"].dt.epoch("us").to_list() == [NOON, NOON + 5, NOON + 3]
    assert frame["ts_recv"].dt.epoch("us").to_list() == [NOON + 30_000, NOON + 30_005, NOON + 30_003]
    assert set(frame["market"]) == {MARKET}
    both = pl.concat([frame, recorded], how="diagonal")
    assert both.filter(pl.col("source").is_null()).height == recorded.height


@pytest.mark.parametrize(
    ("maker_token", "taker_token", "taker_side", "side"),
    [(YES, YES, "sell", "sell"), (NO, YES, "buy", "buy"), (YES, NO, "buy", "sell"), (NO, NO, "sell", "buy")],
)
def test_the_side_of_a_fill_is_the_takers_of_this_token(
    tmp_path: Path, maker_token: str, taker_token: str, taker_side: str, side: str
) -> None:
    told = {"maker": "0x1", "taker": "0x2", "maker_side": "buy", "amount": "10", "price": "0.4", "tx_hash": "0xab"}
    tokens = {"maker_asset_id": maker_token, "taker_asset_id": taker_token, "taker_side": taker_side}
    unknown = told | tokens | {"taker_side": None}
    path = written(tmp_path, [row() | told | tokens, row(2_000_000) | unknown], FILLS)

    frame = read_telonex(path)

    names = ("side", "price", "size", "origin_token_id", "maker", "taker", "transaction_hash")
    assert frame.select(names).rows() == [
        (side, 0.4, 10.0, taker_token, "0x1", "0x2", "0xab"),
        (None, 0.4, 10.0, taker_token, "0x1", "0x2", "0xab"),
    ]
    assert "ts_recv" not in frame.columns
    assert frame["ts_event"].dt.epoch("us").to_list() == [NOON, NOON + 2_000_000]


def test_quotes_are_prices_with_mid_and_spread(tmp_path: Path) -> None:
    whole = row(bid_price="0.4", bid_size="10", ask_price="0.43", ask_size="5")
    frame = read_telonex(written(tmp_path, [whole, row(1, ask_price="0.43", ask_size="5")], QUOTES))
    recorded = pm.open_recording(pm.sample()).prices()

    names = ("best_bid", "best_bid_size", "best_ask", "best_ask_size", "mid", "spread")
    assert frame.select(names).rows() == [(0.4, 10.0, 0.43, 5.0, 0.415, 0.03), (None, None, 0.43, 5.0, None, None)]
    assert {name: frame.schema[name] for name in names} == {name: recorded.schema[name] for name in names}


BIDS = [level("0.1", "7"), level("0.4", "100.25")]
ASKS = [level("0.6", "5"), level("0.9", "3")]


@pytest.mark.parametrize(
    ("bids", "asks", "ladders"),
    [
        (BIDS, ASKS, ([0.4, 0.1], [100.25, 7.0], [0.6, 0.9], [5.0, 3.0])),
        ([], ASKS, ([], [], [0.6, 0.9], [5.0, 3.0])),
        (None, [], (None, None, [], [])),
        ([level("0.4", "0")], [], ([0.4], [0.0], [], [])),
    ],
)
def test_whole_books_have_the_best_price_first(
    tmp_path: Path, bids: list[object] | None, asks: list[object], ladders: tuple[object, ...]
) -> None:
    frame = read_telonex(written(tmp_path, [row(bids=bids, asks=asks)], BOOKS))
    recorded = pm.open_recording(pm.sample()).scan("book_snapshots").collect_schema()

    names = ("bid_prices", "bid_sizes", "ask_prices", "ask_sizes")
    assert frame.select(names).rows() == [ladders]
    assert {name: frame.schema[name] for name in names} == {name: recorded[name] for name in names}


@pytest.mark.parametrize("kind", [pa.list_(pa.null()), pa.null()])
def test_a_side_that_is_empty_for_a_day_has_no_type_in_the_file(tmp_path: Path, kind: pa.DataType) -> None:
    empty = None if kind == pa.null() else []
    path = written(tmp_path, [row(bids=BIDS, asks=empty)], BOOKS | {"asks": kind})

    assert read_telonex(path).select("bid_prices", "ask_prices", "ask_sizes").rows() == [([0.4, 0.1], empty, empty)]


Side = list[tuple[int, int]]
_SIDE = st.lists(st.tuples(st.integers(1, 999), st.integers(1, 10**9)), max_size=5, unique_by=lambda level: level[0])


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(_SIDE, _SIDE), min_size=1, max_size=5), st.sampled_from([5, 25]))
def test_the_top_of_a_book_is_the_same_in_columns_and_in_lists(books: list[tuple[Side, Side]], depth: int) -> None:
    flat, nested = list[Row](), list[Row]()
    for bids, asks in books:
        best = {"bid": sorted(bids, reverse=True), "ask": sorted(asks)}
        nested.append(row() | {f"{side}s": [level(*texts(item)) for item in levels] for side, levels in best.items()})
        places = [(side, place, *texts(item)) for side in best for place, item in enumerate(best[side])]
        prices = {f"{side}_price_{place}": price for side, place, price, _ in places}
        flat.append(row() | prices | {f"{side}_size_{place}": size for side, place, _, size in places})

    with TemporaryDirectory() as folder:
        in_columns = read_telonex(written(Path(folder), flat, tops(depth)))
        in_lists = read_telonex(written(Path(folder), nested, BOOKS))

    assert_frame_equal(in_columns, in_lists)


def texts(item: tuple[int, int]) -> tuple[str, str]:
    return str(item[0] / 1000), str(item[1] / 1e6)


def test_times_of_receipt_may_be_missing(tmp_path: Path) -> None:
    columns = TRADES | {"local_timestamp_us": pa.float64()}
    rows = [trade() | {"local_timestamp_us": value} for value in (float(NOON + 1), None, float("nan"))]

    frame = read_telonex(written(tmp_path, rows, columns))

    assert frame["ts_recv"].dt.epoch("us").to_list() == [NOON + 1, None, None]


def test_texts_may_be_dictionaries_and_labels_missing(tmp_path: Path) -> None:
    packed = {name: pa.dictionary(pa.int32(), TEXT) if kind == TEXT else kind for name, kind in TRADES.items()}
    plain = read_telonex(written(tmp_path, [trade(), trade(1, token=NO)], TRADES))

    assert read_telonex(written(tmp_path, [trade(), trade(1, token=NO)], packed)).equals(plain)
    bare = {name: kind for name, kind in TRADES.items() if name not in ("market_id", "slug", "outcome")}
    frame = read_telonex(written(tmp_path, [trade()], bare))
    assert frame.schema == plain.schema
    assert frame.select("slug", "outcome", "market").rows() == [(None, None, None)]


def test_a_filter_leaves_the_rows_of_its_tokens(tmp_path: Path) -> None:
    path = written(tmp_path, [trade(), trade(1, token=NO)], TRADES)

    assert read_telonex(path, tokens=NO)["token_id"].to_list() == [NO]
    assert read_telonex(path, tokens=[YES, NO]).equals(read_telonex(path))
    assert read_telonex(path, tokens="9").height == 0
    with pytest.raises(ValueError, match="'will-it' is no token id"):
        read_telonex(path, tokens="will-it")


@pytest.mark.parametrize("columns", [TRADES, QUOTES, BOOKS, FILLS, tops(5), tops(25)])
def test_a_day_without_rows_is_a_frame_without_rows(tmp_path: Path, columns: Columns) -> None:
    frame = read_telonex(written(tmp_path, [], columns))

    assert frame.height == 0
    assert frame.schema["ts_event"] == pl.Datetime("ns", "UTC")
    assert frame.columns[-1] == "source"


@pytest.mark.parametrize(
    ("rows", "columns", "message"),
    [
        ([], {}, r"has the columns \(none\); expected those of one of Telonex's channels: onchain_fills \("),
        ([], TIMES | IDS | {"symbol": TEXT, "value": TEXT}, "symbol, value; expected .* Others are not read"),
        ([], {name: kind for name, kind in TRADES.items() if name != "origin_asset_id"}, "expected those of"),
        ([], TRADES | {"timestamp_us": pa.timestamp("ms")}, "has timestamp_us as Datetime.*; in files of Telonex"),
        ([trade() | {"exchange": "predict"}], TRADES, "is of the exchange 'predict', not of 'polymarket'"),
        ([trade() | {"exchange": None}], TRADES, "is of the exchange 'None'"),
        ([trade(price="many")], TRADES, "has a value that files of Telonex do not have"),
        ([trade(side="hold")], TRADES, "has a value that files of Telonex do not have"),
    ],
)
def test_other_files_are_refused_with_what_was_expected(
    tmp_path: Path, rows: list[Row], columns: Columns, message: str
) -> None:
    with pytest.raises(StoreError, match=message):
        read_telonex(written(tmp_path, rows, columns))


def test_damaged_files_are_refused(tmp_path: Path) -> None:
    path = written(tmp_path, [trade()], TRADES)
    whole = path.read_bytes()

    path.write_bytes(b'{"detail": "Not found"}')
    with pytest.raises(StoreError, match="is not a parquet file; Telonex may have none of this name"):
        read_telonex(path)
    path.write_bytes(whole[:-10])
    with pytest.raises(StoreError, match="ends too early"):
        read_telonex(path)
    path.unlink()
    with pytest.raises(StoreError, match="cannot be read"):
        read_telonex(path)
