"""Files of Tardis, in the format of docs.tardis.dev/downloadable-csv-files/data-types (read in November 2026)."""

import gzip
from pathlib import Path

import polars as pl
import pytest

import pmlive as pm
from pmlive.errors import StoreError
from pmlive.history import read_tardis

TOKEN = "7" * 77
TRADES = f"""exchange,symbol,timestamp,local_timestamp,id,side,price,amount
polymarket,{TOKEN},1796000000123000,1796000000150001,0xab,buy,0.41,12.5
polymarket,{TOKEN},1796000000200000,1796000000230002,,unknown,0.4,3
"""
BOOK = f"""exchange,symbol,timestamp,local_timestamp,is_snapshot,side,price,amount
polymarket,{TOKEN},1796000000000000,1796000000010000,true,bid,0.4,10
polymarket,{TOKEN},1796000000000000,1796000000010000,true,ask,0.6,5
polymarket,{TOKEN},1796000000100000,1796000000110000,false,bid,0.4,0
"""


def packed(folder: Path, text: str) -> Path:
    path = folder / "file.csv.gz"
    path.write_bytes(gzip.compress(text.encode()))
    return path


def test_trades_have_the_columns_of_recorded_ones_and_join_them(tmp_path: Path) -> None:
    frame = read_tardis(packed(tmp_path, TRADES))
    recorded = pm.open_recording(pm.sample()).trades

    assert frame["ts_event"].dt.epoch("us").to_list() == [1796000000123000, 1796000000200000]
    assert frame["ts_recv"].dt.epoch("us").to_list() == [1796000000150001, 1796000000230002]
    assert frame.select("token_id", "price", "size", "side", "transaction_hash", "source").rows() == [
        (TOKEN, 0.41, 12.5, "buy", "0xab", "tardis"),
        (TOKEN, 0.4, 3.0, None, None, "tardis"),
    ]
    both = pl.concat([frame, recorded], how="diagonal")
    assert both.filter(pl.col("source").is_null()).height == recorded.height


def test_changes_of_books_say_which_are_of_a_snapshot(tmp_path: Path) -> None:
    frame = read_tardis(packed(tmp_path, BOOK))

    assert frame.select("side", "price", "size", "is_snapshot").rows() == [
        ("bid", 0.4, 10.0, True),
        ("ask", 0.6, 5.0, True),
        ("bid", 0.4, 0.0, False),
    ]
    assert frame.schema["side"] == pm.open_recording(pm.sample()).scan("book_deltas").collect_schema()["side"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty: Tardis has no data of its day"),
        ("a,b\n1,2\n", "has the columns a, b; expected those of Tardis's trades"),
        (TRADES.replace("polymarket", "deribit"), "is of the exchange 'deribit', not of 'polymarket'"),
        (TRADES.replace("12.5", "many"), "cannot be read as CSV of Tardis"),
        (BOOK.replace(",ask,", ",offer,"), "has a value that files of Tardis do not have"),
    ],
)
def test_other_files_are_refused_with_what_was_expected(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(StoreError, match=message):
        read_tardis(packed(tmp_path, text))


@pytest.mark.parametrize("text", [TRADES, BOOK])
def test_a_filter_leaves_the_rows_of_its_tokens(tmp_path: Path, text: str) -> None:
    other = "8" * 77
    path = packed(tmp_path, text + text.splitlines()[-1].replace(TOKEN, other) + "\n")
    whole = read_tardis(path)

    assert read_tardis(path, tokens=other).equals(whole.tail(1))
    assert read_tardis(path, tokens=[TOKEN]).equals(whole.head(-1))
    with pytest.raises(ValueError, match="'fed-decision' is no token id"):
        read_tardis(path, tokens="fed-decision")


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="cannot be read"):
        read_tardis(tmp_path / "nothing.csv.gz")
