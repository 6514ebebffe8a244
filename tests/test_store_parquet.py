"""What is written is what other tools read."""

# pyarrow, pandas and duckdb come without types, or not at all.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from polars.testing import assert_frame_equal
from storing import NOON, record, recording

from pmlive.errors import StoreError
from pmlive.store import read_manifest, scan
from pmlive.store.parquet import count_rows, encode, join
from pmlive.tables import SCHEMAS, STORED

_MAKER = {
    "order_id": "0x1",
    "token_id": "1" * 77,
    "outcome": "Yes",
    "outcome_index": 0,
    "side": "BUY",
    "price": 0.57,
    "matched_amount": 10.0,
    "fee_rate_bps": None,
    "maker_address": "0xabc",
}


def _value(name: str, dtype: pl.DataType) -> object:
    if isinstance(dtype, pl.Enum):
        return dtype.categories[-1]
    if isinstance(dtype, pl.List):
        lists: dict[str, list[object]] = {"maker_orders": [_MAKER], "associate_trades": ["a", "b"]}
        return lists.get(name, [0.57, 0.56])
    if dtype == pl.Datetime("ns", "UTC"):
        return NOON + 123_456_789
    if dtype == pl.String:
        return "naïve 🗳"
    if dtype == pl.Boolean:
        return True
    return 0.57 if dtype == pl.Float64 else 7


def _rows(table: str) -> pl.DataFrame:
    """Make a full row, one that has only what every row has, and another full one."""
    schema = SCHEMAS[table]
    columns = {name: [_value(name, dtype)] * 3 for name, dtype in schema.items()}
    for name, column in columns.items():
        if name not in {"seq", "ts_recv", "conn"}:
            column[1] = None
    columns["seq"] = [1, 2, 3]
    return pl.DataFrame([pl.Series(name, columns[name], dtype=dtype) for name, dtype in schema.items()])


@pytest.mark.parametrize("table", STORED)
def test_every_table_comes_back_as_it_was(tmp_path: Path, table: str) -> None:
    rows = _rows(table)
    with recording(tmp_path) as recorder:
        recorder.rows(table, rows)
        recorder.log(record(1, kind="open"))
    assert_frame_equal(scan(tmp_path, table).collect(), rows)


def test_rows_are_in_order_of_arrival_whatever_the_order_they_came_in() -> None:
    rows = _rows("trades")
    assert join("trades", [rows[1:], rows[:1]])["seq"].to_list() == [1, 2, 3]


def test_a_file_is_delta_coded_and_checked_page_by_page() -> None:
    data = encode("book_deltas", _rows("book_deltas")).data
    meta = pq.ParquetFile(pa.BufferReader(data)).metadata
    group = meta.row_group(0)
    columns = {group.column(i).path_in_schema: group.column(i) for i in range(group.num_columns)}
    assert all("DELTA_BINARY_PACKED" in columns[name].encodings for name in ("seq", "ts_event", "ts_recv"))
    assert {column.compression for column in columns.values()} == {"ZSTD"}
    assert meta.metadata[b"pmlive.schema"] == b"1"
    assert count_rows(data) == 3


def test_a_flipped_bit_in_any_page_is_noticed() -> None:
    data = encode("trades", pl.concat([_rows("trades")] * 200)).data
    group = pq.ParquetFile(pa.BufferReader(data)).metadata.row_group(0)
    for column in map(group.column, range(group.num_columns)):
        start = column.dictionary_page_offset or column.data_page_offset
        spoilt = bytearray(data)
        spoilt[start + column.total_compressed_size - 1] ^= 1
        with pytest.raises(StoreError, match="not a whole parquet file"):
            count_rows(bytes(spoilt))


def test_a_cut_file_is_noticed() -> None:
    data = encode("trades", _rows("trades")).data
    for size in (0, 4, len(data) // 2, len(data) - 1):
        with pytest.raises(StoreError, match="not a whole parquet file"):
            count_rows(data[:size])


@pytest.fixture
def path(tmp_path: Path) -> Path:
    with recording(tmp_path) as recorder:
        recorder.rows("book_deltas", _rows("book_deltas"))
        recorder.log(record(1, kind="open"))
    (file,) = read_manifest(tmp_path).of("book_deltas")
    return tmp_path / file.path


def test_pyarrow_reads_plain_types(path: Path) -> None:
    types = {field.name: str(field.type) for field in pq.read_schema(path)}
    assert types["ts_recv"] == "timestamp[ns, tz=UTC]"
    assert (types["seq"], types["token_id"], types["side"], types["price"]) == ("uint64", "string", "string", "double")


def test_polars_reads_the_file_without_us(path: Path) -> None:
    frame = pl.read_parquet(path, hive_partitioning=False)
    assert frame.schema["ts_recv"] == pl.Datetime("ns", "UTC")
    assert frame["side"].to_list() == ["ask", None, "ask"]


def test_pandas_reads_the_file(path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.read_parquet(path)
    assert str(frame["ts_recv"].dtype) == "datetime64[ns, UTC]"
    assert frame["side"].tolist()[0] == "ask"


def test_duckdb_reads_the_file(path: Path) -> None:
    duckdb = pytest.importorskip("duckdb")
    with duckdb.connect() as connection:
        query = "SELECT sum(price), max(epoch_ns(ts_recv)) FROM read_parquet(?)"
        assert connection.execute(query, [str(path)]).fetchone() == (1.14, NOON + 123_456_789)
