"""Recordings for other tools: what they read is what was recorded."""

import json
import sys
from collections.abc import Callable
from datetime import UTC
from pathlib import Path
from random import Random
from types import ModuleType
from typing import Any, TypeAlias

import msgspec
import numpy as np
import polars as pl
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from numpy.typing import NDArray
from polars.testing import assert_frame_equal
from recorded import frames
from storing import NOON, recording
from storing import record as numbered
from support.examples import examples
from support.night import Night, now
from support.story import Story
from support.venue import START, Venue

import pmlive as pm
from pmlive import StoreError, sample
from pmlive.captures import import_capture
from pmlive.export import Exported, to_csv, to_duckdb, to_hftbacktest
from pmlive.export.hftbacktest import (
    BUY,
    CLEAR,
    DEPTH,
    EVENT,
    EXCHANGE,
    LOCAL,
    SELL,
    SNAPSHOT,
    TRADE,
    Break,
    End,
    TokenRows,
    events_of,
    in_both_orders,
    new_events,
)
from pmlive.gaps import GapIndex
from pmlive.records import Closed
from pmlive.store import read_manifest, scan
from pmlive.tables import SCHEMAS, STORED

Levels: TypeAlias = dict[float, float]
Export: TypeAlias = Callable[[Path, Path], Exported]

_KIND = 0xFF
_EXPORTS: list[Export] = [to_csv, to_duckdb, to_hftbacktest]


def walked(events: NDArray[np.void], flag: int) -> tuple[Levels, Levels]:
    """Give bids and asks after all events of one walk, whose times must be in order."""
    bids: Levels = {}
    asks: Levels = {}
    its = events[(events["ev"] & flag) != 0]
    times = its["exch_ts" if flag == EXCHANGE else "local_ts"]
    assert (np.diff(times) >= 0).all()
    for ev, price, size in zip(its["ev"].tolist(), its["px"].tolist(), its["qty"].tolist(), strict=True):
        side = bids if ev & BUY else asks
        if ev & _KIND == CLEAR:
            bids.clear()
            asks.clear()
        elif ev & _KIND in (DEPTH, SNAPSHOT):
            side[price] = size
            if not size:
                del side[price]
    return bids, asks


def rows_of(night: Night, token: str) -> TokenRows:
    """Take a token's rows from tables in memory, as an export takes them from files."""

    def of(table: str) -> pl.DataFrame:
        return night.table(table).sort("seq").filter(pl.col("token_id") == token)

    ends: list[End] = []
    for record in night.records:
        if record.kind == "unsubscribe" and token in msgspec.json.decode(record.data, type=list[str]):
            ends.append(End(record.recv, record.seq, 0))
        if record.kind == "close" and msgspec.json.decode(record.data, type=Closed).cause is None:
            ends.append(End(record.recv, record.seq, record.conn))
    return TokenRows(
        deltas=of("book_deltas"),
        snapshots=of("book_snapshots"),
        keyframes=of("keyframes").filter(pl.col("state").is_in(["verified", "unverifiable"])),
        trades=of("trades"),
        breaks=[Break(gap.started, gap.until) for gap in GapIndex(night.table("gaps")).of(token, conns=())],
        ends=ends,
    )


def our_book(night: Night, token_id: str) -> tuple[Levels, Levels]:
    """Give the levels of a book that can be trusted, else none."""
    token = night.pipeline.books.tokens.get(token_id)
    if token is None or not token.trusted():
        return {}, {}
    return dict(token.book.levels("bid")), dict(token.book.levels("ask"))


def recorded_book(folder: Path, token: str) -> tuple[Levels, Levels]:
    """Give the book that the recorder wrote down at its end."""
    last = scan(folder, "keyframes").filter(pl.col("token_id") == token).sort("seq").collect()[-1].to_dicts()[0]
    bids, asks = (dict(zip(last[f"{side}_prices"], last[f"{side}_sizes"], strict=True)) for side in ("bid", "ask"))
    return bids, asks


def events_in(path: str | Path) -> NDArray[np.void]:
    with np.load(path) as file:
        return file["data"]


def only(events: NDArray[np.void], kind: int, flag: int = LOCAL) -> NDArray[np.void]:
    return events[((events["ev"] & _KIND) == kind) & ((events["ev"] & flag) != 0)]


# --- hftbacktest ---


@examples(40)
@example(5_848_999)
@example(9_017_027)
@given(st.integers(0, 2**32 - 1))
def test_both_walks_through_the_events_of_a_random_night_end_with_our_books(seed: int) -> None:
    story = Story(Random(seed))
    story.begin()
    for _ in range(60):
        story.step()
    story.night.end(story.at + 2000)

    for token in story.venues:
        events = events_of(rows_of(story.night, token)).events
        ours = our_book(story.night, token)
        assert walked(events, LOCAL) == ours
        assert walked(events, EXCHANGE) == ours


def test_the_events_of_the_sample_end_with_its_books(tmp_path: Path) -> None:
    done = to_hftbacktest(sample(), tmp_path / "out")

    assert len(done.tokens) == 8
    assert done.whole
    for token in done.tokens:
        events = events_in(token.path)
        assert events.dtype == EVENT
        assert events.dtype.itemsize == 64
        assert walked(events, LOCAL) == walked(events, EXCHANGE) == recorded_book(sample(), token.token_id)
        assert (events["local_ts"] >= events["exch_ts"]).all()
        assert token.breaks == 1  # the sample has a disconnection
        assert token.tick_size == 0.01


def test_events_begin_with_a_cleared_book_and_the_levels_of_a_snapshot(tmp_path: Path) -> None:
    done = to_hftbacktest(sample(), tmp_path / "out")

    for token in done.tokens:
        kinds = (events_in(token.path)["ev"] & _KIND).tolist()
        first = next(at for at, kind in enumerate(kinds) if kind not in (CLEAR, SNAPSHOT))
        assert kinds[0] == CLEAR
        assert first > 2


def test_a_gap_clears_the_book_until_the_next_snapshot() -> None:
    night, venue = Night(), Venue()
    night.open(0, 1, ["1"])
    night.frame(10, venue.opening())
    night.frame(20, venue.change("bid", "0.41", "9", 20))
    night.close(50, 1)
    night.open(70, 2, ["1"], old=1)
    night.frame(80, venue.opening(), 2)
    night.end(100)

    made = events_of(rows_of(night, "1"))

    cleared = only(made.events, CLEAR)["local_ts"].tolist()
    assert cleared == [now(10), now(20), now(80)]  # the book ends with what was last heard
    assert made.breaks == 1
    assert walked(made.events, LOCAL) == our_book(night, "1")


def test_a_book_that_is_sent_again_changes_nothing() -> None:
    night, venue = Night(), Venue()
    night.open(0, 1, ["1"])
    night.frame(10, venue.opening())
    night.frame(20, venue.change("bid", "0.41", "9", 20))
    night.frame(30, venue.later())
    night.end(100)

    events = events_of(rows_of(night, "1")).events

    assert len(only(events, CLEAR)) == 1
    assert len(only(events, DEPTH)) == 1


def test_trades_have_the_taker_s_side(tmp_path: Path) -> None:
    done = to_hftbacktest(sample(), tmp_path / "out")

    for token in done.tokens:
        told = only(events_in(token.path), TRADE)
        trades = scan(sample(), "trades").filter(pl.col("token_id") == token.token_id).sort("seq").collect()
        assert np.where(told["ev"] & BUY, "buy", "sell").tolist() == trades["side"].to_list()
        assert told["px"].tolist() == trades["price"].to_list()
        assert told["qty"].tolist() == trades["size"].to_list()


def test_what_comes_late_is_told_to_the_exchange_where_its_time_is_and_to_us_where_it_came() -> None:
    kinds = np.array([DEPTH, DEPTH, DEPTH, TRADE], np.uint64)
    times = np.array([10, 30, 20, 30])
    given = new_events(kinds, times, np.array([40, 41, 42, 43]), np.arange(4.0), np.ones(4))

    told, split = in_both_orders(given)

    theirs, ours = (told[(told["ev"] & flag) != 0] for flag in (EXCHANGE, LOCAL))
    assert split == 2
    assert len(told) == 6
    assert ours["px"].tolist() == [0, 1, 2, 3]
    # At one time of the exchange the trade goes first: the change has taken its size away already.
    assert theirs["px"].tolist() == [0, 2, 3, 1]
    assert theirs["exch_ts"].tolist() == [10, 20, 30, 30]


def test_receive_times_before_the_venue_s_move_those_of_all_tokens_alike(tmp_path: Path) -> None:
    early, late = Venue("1"), Venue("2")
    lines = [(START - 7, early.opening()), (START + 40, late.opening())]
    capture = written(tmp_path / "capture.jsonl", [{"ts_recv": at, "raw": frame} for at, frame in lines])
    import_capture(capture, tmp_path / "tape")

    done = to_hftbacktest(tmp_path / "tape", tmp_path / "out")

    assert done.shift == 7_000_000
    assert [events_in(token.path)["local_ts"][0] // 1_000_000 for token in done.tokens] == [
        START,
        START + 47,
    ]


def test_one_token_can_be_chosen(tmp_path: Path) -> None:
    token = scan(sample(), "book_snapshots").first().collect()["token_id"].item()

    done = to_hftbacktest(sample(), tmp_path / "out", token_id=token)

    assert [path.name for path in (tmp_path / "out").iterdir()] == [f"{token}.npz"]
    assert [one.token_id for one in done.tokens] == [token]
    with pytest.raises(StoreError, match="no token '7'"):
        to_hftbacktest(sample(), tmp_path / "other", token_id="7")


def test_a_token_whose_id_cannot_name_a_file_and_one_without_a_book_are_left_out(tmp_path: Path) -> None:
    hostile, lone = Venue("../../evil"), Venue("8")
    lines = [hostile.opening(), lone.trade("0.5", 1), Venue("9").opening()]
    capture = written(tmp_path / "capture.jsonl", [{"ts_recv": START, "raw": line} for line in lines])
    import_capture(capture, tmp_path / "tape")

    done = to_hftbacktest(tmp_path / "tape", tmp_path / "out")

    assert {one.token_id: one.reason for one in done.skipped} == {
        "../../evil": "not a valid token id, so it cannot be a file name",
        "8": "no book of it was recorded",
    }
    assert not done.whole
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["9.npz"]


def test_a_recording_without_a_book_is_not_exported(tmp_path: Path) -> None:
    lines = [{"ts_recv": START, "raw": Venue("8").trade("0.5", 1)}]
    import_capture(written(tmp_path / "capture.jsonl", lines), tmp_path / "tape")

    with pytest.raises(StoreError, match="has no book to export"):
        to_hftbacktest(tmp_path / "tape", tmp_path / "out")

    assert sorted(path.name for path in tmp_path.iterdir()) == ["capture.jsonl", "tape"]


def test_hftbacktest_itself_steps_through_the_events_to_our_books(tmp_path: Path) -> None:
    library = pytest.importorskip("hftbacktest", reason="hftbacktest is not installed: pip install hftbacktest")
    types, validation = library.types, pytest.importorskip("hftbacktest.data.validation")
    done = to_hftbacktest(sample(), tmp_path / "out")

    assert types.event_dtype == EVENT
    assert [types.DEPTH_EVENT, types.TRADE_EVENT, types.DEPTH_CLEAR_EVENT, types.DEPTH_SNAPSHOT_EVENT] == [
        DEPTH,
        TRADE,
        CLEAR,
        SNAPSHOT,
    ]
    assert [types.EXCH_EVENT, types.LOCAL_EVENT, types.BUY_EVENT, types.SELL_EVENT] == [EXCHANGE, LOCAL, BUY, SELL]
    for token in done.tokens:
        validation.validate_event_order(events_in(token.path))
        book, trades, emptied = backtested(library, token.path)
        assert book == recorded_book(sample(), token.token_id)
        assert trades == len(only(events_in(token.path), TRADE))
        assert emptied == token.breaks


def backtested(library: ModuleType, path: str) -> tuple[tuple[Levels, Levels], int, int]:
    """Let hftbacktest run to the end: its book, the number of trades, and how often the book became empty."""
    ticks = 1000
    asset = (
        library.BacktestAsset()
        .data([path])
        .linear_asset(1.0)
        .constant_order_latency(0, 0)
        .risk_adverse_queue_model()
        .no_partial_fill_exchange()
        .trading_value_fee_model(0, 0)
        .tick_size(1 / ticks)
        .lot_size(1e-6)
        .last_trades_capacity(10_000)
    )
    test = library.HashMapMarketDepthBacktest([asset])
    emptied = 0
    while test.wait_next_feed(True, 10**15) == 2:  # noqa: FBT003  # its name for a feed that came
        depth = test.depth(0)
        emptied += bool(np.isnan(depth.best_bid) and np.isnan(depth.best_ask))
    depth = test.depth(0)
    bids = {tick / ticks: size for tick in range(ticks + 1) if (size := depth.bid_qty_at_tick(tick))}
    asks = {tick / ticks: size for tick in range(ticks + 1) if (size := depth.ask_qty_at_tick(tick))}
    return (bids, asks), len(test.last_trades(0)), emptied


# --- CSV and DuckDB ---


def test_csv_files_hold_every_table_to_the_last_digit(tmp_path: Path) -> None:
    done = to_csv(sample(), tmp_path / "out")

    assert sorted(path.stem for path in (tmp_path / "out").iterdir()) == sorted(STORED)
    for table in STORED:
        read = pl.read_csv(tmp_path / "out" / f"{table}.csv", infer_schema=False)
        expected = scan(sample(), table).collect()
        assert read.columns == expected.columns
        assert_frame_equal(from_text(read, expected.schema), expected)
        assert done.tables[table] == expected.height
    assert done.rows == sum(done.tables.values())


def from_text(read: pl.DataFrame, schema: pl.Schema) -> pl.DataFrame:
    """Read the columns of a CSV file as what they were."""

    def column(name: str, dtype: pl.DataType) -> pl.Expr:
        text = pl.col(name)
        if isinstance(dtype, pl.Datetime):
            return text.str.to_datetime("%Y-%m-%dT%H:%M:%S%.9fZ", time_unit="ns", time_zone="UTC")
        if isinstance(dtype, pl.List):
            return text.str.json_decode(dtype)
        return text == "true" if isinstance(dtype, pl.Boolean) else text.cast(dtype)

    return read.select(column(name, dtype).alias(name) for name, dtype in schema.items())


# What a stranger may write into a text, what CSV has of it, and what a database has.
_HOSTILE = [
    ("=cmd|' /C calc'!A0", "'=cmd|' /C calc'!A0", "=cmd|' /C calc'!A0"),
    ("+1", "'+1", "+1"),
    ("-1+2", "'-1+2", "-1+2"),
    ("@SUM(A1)", "'@SUM(A1)", "@SUM(A1)"),
    ("|calc", "'|calc", "|calc"),
    ("  =1", "'  =1", "  =1"),
    ("\t=1", "' =1", " =1"),
    ("\r=1", "' =1", " =1"),
    ("\n=1", "' =1", " =1"),
    ("\u202e=1", "'=1", "=1"),
    ("\uff1d1", "'\uff1d1", "\uff1d1"),
    ("a\x1b[31mb\x07\nc\u2028d\u200be", "a [31mb  c de", "a [31mb  c de"),
    ("a = b - c", "a = b - c", "a = b - c"),
    ("123", "123", "123"),
]


@pytest.fixture
def hostile(tmp_path: Path) -> Path:
    """Make a recording whose gaps have these details."""
    rows = pl.DataFrame(
        {
            "seq": range(len(_HOSTILE)),
            "ts_recv": [NOON] * len(_HOSTILE),
            "conn": [0] * len(_HOSTILE),
            "started": [NOON] * len(_HOSTILE),
            "cause": ["disk"] * len(_HOSTILE),
            "detail": [told for told, _, _ in _HOSTILE],
        },
        schema={name: SCHEMAS["gaps"][name] for name in ("seq", "ts_recv", "conn", "started", "cause", "detail")},
    )
    frame = pl.concat([SCHEMAS["gaps"].to_frame(), rows], how="diagonal")
    with recording(tmp_path / "night") as recorder:
        recorder.log(numbered(0, kind="state"))
        recorder.rows("gaps", frame)
    return tmp_path / "night"


def test_no_spreadsheet_calculates_a_text_and_no_terminal_obeys_it(tmp_path: Path, hostile: Path) -> None:
    to_csv(hostile, tmp_path / "csv")

    read = pl.read_csv(tmp_path / "csv" / "gaps.csv", infer_schema=False)
    assert read["detail"].to_list() == [csv for _, csv, _ in _HOSTILE]
    text = (tmp_path / "csv" / "gaps.csv").read_text(encoding="utf-8")
    assert len(text.splitlines()) == len(_HOSTILE) + 1
    assert all(letter.isprintable() or letter == "\n" for letter in text)


def test_times_can_be_fetched_with_the_extra_from_files_and_from_a_database(tmp_path: Path) -> None:
    duckdb = pytest.importorskip("duckdb")
    to_duckdb(pm.sample(), tmp_path / "night.duckdb")
    first = pm.open_recording(pm.sample()).trades["ts_recv"][0]

    query = "SELECT min(ts_recv) FROM read_parquet(?)"
    ((file,),) = duckdb.execute(query, [f"{pm.sample()}/trades/*/*.parquet"]).fetchall()
    with duckdb.connect(str(tmp_path / "night.duckdb")) as database:
        ((row,),) = database.execute("SELECT min(ts_recv) FROM trades").fetchall()

    assert abs(file - first).total_seconds() < 1e-5
    assert abs(row.replace(tzinfo=UTC) - first).total_seconds() < 1e-5


def test_a_database_has_texts_that_can_be_shown(tmp_path: Path, hostile: Path) -> None:
    duckdb = pytest.importorskip("duckdb")
    to_duckdb(hostile, tmp_path / "night.duckdb")

    with duckdb.connect(str(tmp_path / "night.duckdb")) as database:
        found = database.execute("SELECT detail FROM gaps ORDER BY seq").fetchall()
    assert [text for (text,) in found] == [shown for _, _, shown in _HOSTILE]


def _hostile_trades(folder: Path) -> None:
    """Record trades of a user's with a hostile text in every place that has one, also within lists."""
    schema = SCHEMAS["user_trades"]
    maker = schema["maker_orders"]
    assert isinstance(maker, pl.List)
    assert isinstance(maker.inner, pl.Struct)
    texts = [told for told, _, _ in _HOSTILE]
    names = [field.name for field in maker.inner.fields if field.dtype == pl.String]
    columns = {name: texts for name, dtype in schema.items() if dtype == pl.String}
    rows = pl.DataFrame(
        {
            **columns,
            "seq": range(len(texts)),
            "ts_recv": [NOON] * len(texts),
            "conn": [0] * len(texts),
            "maker_orders": [[dict.fromkeys(names, text)] for text in texts],
        },
        schema={name: dtype for name, dtype in schema.items() if name in (*columns, *_PLAIN, "maker_orders")},
    )
    with recording(folder) as recorder:
        recorder.log(numbered(0, kind="state"))
        recorder.rows("user_trades", pl.concat([schema.to_frame(), rows], how="diagonal"))


_PLAIN = ("seq", "ts_recv", "conn")


def test_texts_within_lists_can_be_shown_too(tmp_path: Path) -> None:
    duckdb = pytest.importorskip("duckdb")
    _hostile_trades(tmp_path / "night")
    to_duckdb(tmp_path / "night", tmp_path / "night.duckdb")
    to_csv(tmp_path / "night", tmp_path / "csv")

    with duckdb.connect(str(tmp_path / "night.duckdb")) as database:
        found = database.execute("SELECT outcome, maker_orders FROM user_trades ORDER BY seq").fetchall()
    shown = [text for _, _, text in _HOSTILE]
    assert [outcome for outcome, _ in found] == shown
    assert [{text for text in order.values() if text is not None} for _, (order,) in found] == [{one} for one in shown]
    text = (tmp_path / "csv" / "user_trades.csv").read_text(encoding="utf-8")
    assert all(letter.isprintable() or letter == "\n" for letter in text)


def test_csv_times_are_iso_with_nanoseconds_and_lists_are_json(tmp_path: Path) -> None:
    to_csv(sample(), tmp_path / "out")

    books = pl.read_csv(tmp_path / "out" / "book_snapshots.csv", infer_schema=False)
    trades = pl.read_csv(tmp_path / "out" / "user_trades.csv", infer_schema=False)
    assert books["ts_recv"].str.contains(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z$").all()
    assert json.loads(books["bid_prices"][0]) == scan(sample(), "book_snapshots").collect()["bid_prices"][0].to_list()
    assert json.loads(trades["maker_orders"][0])[0].keys() >= {"order_id", "price", "matched_amount"}


def test_a_duckdb_file_has_every_table_with_its_types(tmp_path: Path) -> None:
    duckdb = pytest.importorskip("duckdb")
    done = to_duckdb(sample(), tmp_path / "out.duckdb")

    with duckdb.connect(str(tmp_path / "out.duckdb"), read_only=True) as database:
        for table in STORED:
            read = database.sql(f"SELECT * FROM {table} ORDER BY seq").pl()  # noqa: S608  # our names
            times = [name for name, dtype in SCHEMAS[table].items() if isinstance(dtype, pl.Datetime)]
            enums = [name for name, dtype in SCHEMAS[table].items() if isinstance(dtype, pl.Enum)]
            expected = scan(sample(), table).sort("seq").collect()
            plain = expected.with_columns(pl.col(times).dt.replace_time_zone(None), pl.col(enums).cast(pl.String))
            assert_frame_equal(read, plain)
            assert done.tables[table] == expected.height
        (best,) = database.execute("SELECT max(bid_prices[1]) FROM book_snapshots").fetchone() or (None,)
    assert best == scan(sample(), "book_snapshots").select(pl.col("bid_prices").list.first().max()).collect().item()
    assert [path.name for path in tmp_path.iterdir()] == ["out.duckdb"]


def test_without_duckdb_it_is_said_how_to_have_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "duckdb", None)

    with pytest.raises(StoreError, match="pip install duckdb"):
        to_duckdb(sample(), tmp_path / "out.duckdb")

    assert list(tmp_path.iterdir()) == []


# --- all of them ---


@pytest.mark.parametrize("export", _EXPORTS)
def test_what_exists_is_not_overwritten(export: Export, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    for path in (tmp_path / "folder" / "mine", tmp_path / "file"):
        path.write_text("mine")

    for name in ("folder", "file"):
        with pytest.raises(StoreError, match="exists and is not empty"):
            export(sample(), tmp_path / name)

    assert (tmp_path / "folder" / "mine").read_text() == (tmp_path / "file").read_text() == "mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]


@pytest.mark.parametrize("export", [to_csv, to_hftbacktest])
def test_an_empty_folder_is_filled(export: Export, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()

    done = export(sample(), tmp_path / "out")

    assert sorted(str(path) for path in (tmp_path / "out").iterdir()) == sorted(file.path for file in done.files)
    assert done.bytes == sum(path.stat().st_size for path in (tmp_path / "out").iterdir())


@pytest.mark.parametrize("export", _EXPORTS)
def test_a_folder_that_is_no_recording_makes_nothing(export: Export, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="is not a recording"):
        export(tmp_path, tmp_path / "new" / "out")

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("export", _EXPORTS)
def test_a_damaged_table_leaves_nothing_half_written(export: Export, tmp_path: Path) -> None:
    tape = copied(tmp_path)
    (trades,) = tape.glob("trades/*/*.parquet")
    trades.write_bytes(b"PAR1 and no more")

    with pytest.raises(StoreError, match=f"{trades.name}.*pmlive verify"):
        export(tape, tmp_path / "new" / "out")

    assert [path.name for path in tmp_path.iterdir()] == ["tape"]


@pytest.mark.parametrize("export", _EXPORTS)
def test_a_missing_file_is_told(export: Export, tmp_path: Path) -> None:
    tape = copied(tmp_path)
    (activity,) = tape.glob("activity/*/*.parquet")
    activity.unlink()

    done = export(tape, tmp_path / "out")

    assert done.missing == [file.path for file in read_manifest(tape).of("activity")]
    assert not done.whole
    assert done.tables.get("activity", 0) == 0


def copied(root: Path) -> Path:
    """Copy the sample, to be damaged."""
    for path in sample().rglob("*"):
        if path.is_file():
            copy = root / "tape" / path.relative_to(sample())
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(path.read_bytes())
    return root / "tape"


def written(path: Path, lines: list[dict[str, Any]]) -> Path:
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    return path


def test_an_imported_capture_is_exported_with_its_real_books(tmp_path: Path) -> None:
    """Three consecutive frames of 2025-12-23, of a public Go module named Polybot."""
    kept = frames("polybot-2025-12-23").values()
    capture = written(tmp_path / "capture.jsonl", [{"frame": frame["frame"]} for frame in kept])
    import_capture(capture, tmp_path / "tape")

    done = to_hftbacktest(tmp_path / "tape", tmp_path / "out")

    assert len(done.tokens) == 2
    for token in done.tokens:
        assert walked(events_in(token.path), LOCAL) == recorded_book(tmp_path / "tape", token.token_id)
