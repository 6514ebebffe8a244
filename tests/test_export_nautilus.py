"""A recording as a catalogue of nautilus_trader, read and rebuilt there."""

import subprocess
import sys
from itertools import groupby
from pathlib import Path
from random import Random
from typing import Any, TypeAlias

import polars as pl
import pytest

import pmlive as pm
from pmlive.errors import StoreError
from pmlive.export import to_csv, to_nautilus
from pmlive.times import nanoseconds

Levels: TypeAlias = dict[float, float]
Books: TypeAlias = tuple[Levels, Levels]

_CLEAR, _LAST, _SNAPSHOT = "CLEAR", 128, 32


def library() -> Any:  # noqa: ANN401  # a library without types
    """Return nautilus_trader, or skip the test where it is not installed."""
    pytest.importorskip("nautilus_trader", reason="nautilus_trader is not installed: pip install nautilus_trader")
    from importlib import import_module

    return import_module


def read(folder: Path, what: str) -> list[Any]:
    load = library()
    catalog = load("nautilus_trader.persistence.catalog.parquet").ParquetDataCatalog(str(folder))
    found: list[Any] = getattr(catalog, what)()
    return found


def levels(side: list[Any]) -> Levels:
    return {float(level.price): round(float(level.size()), 6) for level in side}


def token_of(data: Any) -> str:  # noqa: ANN401  # a value of a library without types
    return str(getattr(data, "instrument_id", None) or data.id).removesuffix(".POLYMARKET").rpartition("-")[2]


def test_books_rebuilt_there_are_those_of_the_recording_at_any_time(tmp_path: Path) -> None:
    load = library()
    to_nautilus(pm.sample(), tmp_path / "out")
    night, rng = pm.open_recording(pm.sample()), Random(7)
    first, last = night.first_time, night.last_time
    assert first is not None
    assert last is not None
    book_type = load("nautilus_trader.model.enums").BookType.L2_MBP
    new_book = load("nautilus_trader.model.book").OrderBook
    deltas = sorted(read(tmp_path / "out", "order_book_deltas"), key=lambda each: (token_of(each), each.ts_init))
    compared = empty = 0
    for token, its in groupby(deltas, key=token_of):
        history = list(its)
        book, at = new_book(history[0].instrument_id, book_type), 0
        for time in sorted(rng.sample(range(nanoseconds(first), nanoseconds(last)), 40)):
            while at < len(history) and history[at].ts_init <= time:
                book.apply_delta(history[at])
                at += 1
            theirs: Books = levels(book.bids()), levels(book.asks())
            try:
                ours = night.book_at(token, time)
                expected: Books = dict(ours.bids), dict(ours.asks)
            except pm.BookError:
                expected = {}, {}
                empty += 1
            assert theirs == expected
            compared += 1

    assert compared > 200
    assert empty


def test_a_snapshot_begins_cleared_and_the_last_change_of_a_moment_is_flagged(tmp_path: Path) -> None:
    library()
    to_nautilus(pm.sample(), tmp_path / "out")
    deltas = read(tmp_path / "out", "order_book_deltas")

    for _, its in groupby(sorted(deltas, key=token_of), key=token_of):
        history = list(its)
        assert history[0].action.name == _CLEAR
        for _, moment in groupby(history, key=lambda each: each.ts_init):
            flags = [each.flags & _LAST for each in moment]
            assert flags == [0] * (len(flags) - 1) + [_LAST]
        assert all(each.flags & _SNAPSHOT for each in history if each.action.name in (_CLEAR, "ADD"))
        assert not any(each.flags & _SNAPSHOT for each in history if each.action.name in ("UPDATE", "DELETE"))


def test_trades_have_their_aggressor_price_size_and_times(tmp_path: Path) -> None:
    library()
    to_nautilus(pm.sample(), tmp_path / "out")
    told = read(tmp_path / "out", "trade_ticks")
    trades = pm.open_recording(pm.sample()).trades.sort("ts_recv", "seq")

    rows = [
        (token_of(each), each.ts_init, each.ts_event, float(each.price), float(each.size), each.aggressor_side.name)
        for each in told
    ]
    expected = trades.select(
        "token_id",
        pl.col("ts_recv").dt.epoch("ns"),
        pl.col("ts_event").dt.epoch("ns"),
        "price",
        "size",
        pl.col("side").cast(pl.String).replace_strict({"buy": "BUYER", "sell": "SELLER"}),
    )
    assert sorted(rows) == sorted(expected.rows())
    assert len({str(each.trade_id) for each in told}) == len(told)


def test_instruments_are_named_as_its_own_adapter_names_them_and_have_the_rules_of_the_market(tmp_path: Path) -> None:
    library()
    done = to_nautilus(pm.sample(), tmp_path / "out")
    night = pm.open_recording(pm.sample())
    known = pl.read_parquet(Path(pm.sample()) / "markets.parquet").rows_by_key("token_id", named=True, unique=True)

    instruments = read(tmp_path / "out", "instruments")

    assert {token_of(each) for each in instruments} == set(night.trades["token_id"].unique()) | {
        one.token_id for one in done.tokens
    }
    for each in instruments:
        market = known[token_of(each)]
        assert str(each.id) == f"{market['market']}-{token_of(each)}.POLYMARKET"
        assert each.outcome == market["outcome"]
        assert each.description == market["question"]
        assert float(each.price_increment) == market["tick_size"]
        assert each.size_precision == 6
        assert each.info["slug"] == market["slug"]


def test_the_report_counts_what_the_catalogue_holds(tmp_path: Path) -> None:
    library()
    done = to_nautilus(pm.sample(), tmp_path / "out")

    assert done.whole
    assert done.format == "nautilus"
    told = len(read(tmp_path / "out", "order_book_deltas")) + len(read(tmp_path / "out", "trade_ticks"))
    assert sum(one.events for one in done.tokens) == told == done.rows - len(done.tokens)
    assert all(Path(file.path).is_file() for file in done.files)
    with pytest.raises(StoreError, match="exists and is not empty"):
        to_nautilus(pm.sample(), tmp_path / "out")
    with pytest.raises(StoreError, match="no token '7'"):
        to_nautilus(pm.sample(), tmp_path / "other", token_id="7")


def test_without_nautilus_trader_an_error_names_the_extra(tmp_path: Path) -> None:
    program = (
        "import sys; sys.modules['nautilus_trader'] = None\n"
        "import pmlive as pm; from pmlive.export import to_nautilus\n"
        "try: to_nautilus(pm.sample(), sys.argv[1])\n"
        "except pm.StoreError as error: print(error)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "out")], capture_output=True, text=True, timeout=100, check=True
    )

    assert "run: pip install 'pmlive[nautilus]'" in done.stdout
    assert not (tmp_path / "out").exists()
    assert to_csv(pm.sample(), tmp_path / "csv").whole
