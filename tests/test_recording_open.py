"""An opened recording: its tables sealed or not, its tokens by name, and no exception while it is being made."""

import json
import math
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

import polars as pl
import pytest
import zstandard
from polars.testing import assert_frame_equal
from support.night import NOON, stored
from support.taping import TOKENS, Tape, told

import pmlive as pm
from pmlive.errors import StoreError
from pmlive.pipeline.journal import rebuild
from pmlive.store import Record, read_manifest, records
from pmlive.store.log import encode_block
from pmlive.tables import SCHEMAS, STORED
from pmlive.times import Time


def reading(folder: Path) -> dict[str, pl.DataFrame]:
    night = pm.open_recording(folder)
    return {table: night.scan(table).collect() for table in STORED}


def test_a_table_has_the_sealed_rows_and_those_of_the_log_in_order(tmp_path: Path) -> None:
    tape = Tape(tmp_path / "night", Random(1))
    for _ in range(3):
        tape.steps(30)
        tape.cut()
    tape.steps(30)
    assert tape.recorder.flush(10)
    shutil.copytree(tmp_path / "night", tmp_path / "killed", ignore=shutil.ignore_patterns(".lock"))
    tape.recorder.close()

    tables = reading(tmp_path / "killed")

    again = stored(rebuild(records(tmp_path / "killed")))
    for table in STORED:
        assert tables[table].schema == SCHEMAS[table]
        assert_frame_equal(tables[table], again[table])
    assert tables["book_deltas"].height > 60


def test_nothing_is_raised_and_nothing_is_lost_while_a_recording_is_made(tmp_path: Path) -> None:
    """Segments are sealed and removed from the log all the time, between any two steps of the reader."""
    tape = Tape(tmp_path / "night", Random(2))
    night = pm.open_recording(tmp_path / "night")
    seen = 0
    for _ in range(12):
        tape.steps(8)
        tape.cut()
        assert tape.recorder.flush(10)
        rows = night.scan("book_deltas").select("seq").collect()["seq"]
        assert rows.len() >= seen
        assert rows.is_sorted()
        assert rows.n_unique() == rows.len()
        seen = rows.len()
        for token in TOKENS:
            night.book_at(token, tape.records[-1].recv)
        assert night.gap_index.frame.schema == SCHEMAS["gaps"]
    tape.end()

    assert_frame_equal(night.scan("book_deltas").collect(), stored(rebuild(tape.records))["book_deltas"])


def test_a_token_that_came_since_a_recording_was_read_is_known(tmp_path: Path) -> None:
    """Where reading is slow, what was read is used for as long again."""
    tape = Tape(tmp_path / "night", Random(2))
    assert tape.recorder.flush(10)
    night = pm.open_recording(tmp_path / "night")
    with pytest.raises(pm.UnknownMarketError, match="there are '21'; '22'"):
        night.token("11")
    night._cache._contents._refresh_at = math.inf  # pyright: ignore[reportPrivateUsage]  # noqa: SLF001

    tape.steps(8)
    tape.cut()
    assert tape.recorder.flush(10)

    assert night.book_at("11", tape.records[-1].recv).token_id == "11"
    assert set(night.scan("keyframes", token="12").collect()["token_id"]) == {"12"}
    with pytest.raises(pm.UnknownMarketError, match="no recorded market or token"):
        night.token("13")
    tape.end()


def test_the_end_of_a_connection_that_never_began_is_told(tmp_path: Path) -> None:
    folder = tmp_path / "night"
    shutil.copytree(pm.sample(), folder)
    (folder / "wal").mkdir()
    lost = Record(10**6, NOON, 77, "close", b'{"cause":"disconnect"}')
    block = encode_block([lost], number=0, compressor=zstandard.ZstdCompressor())
    (folder / "wal" / "000002.wal").write_bytes(block)

    (gap,) = pm.open_recording(folder).gaps.filter(pl.col("cause") == "malformed").iter_rows(named=True)

    assert gap["conn"] == 77
    assert "no record tells that it began" in gap["detail"]


def test_a_log_that_cannot_be_decoded_is_a_gap_and_no_exception(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A time that no table could hold."""
    folder = tmp_path / "night"
    shutil.copytree(pm.sample(), folder)
    (folder / "wal").mkdir()
    lost = Record(10**6, NOON, 0, "gap", b'{"started":18446744073709551615,"cause":"disk"}')
    block = encode_block([lost], number=0, compressor=zstandard.ZstdCompressor())
    (folder / "wal" / "000002.wal").write_bytes(block)

    night = pm.open_recording(folder)

    assert night.gaps.filter(pl.col("cause") == "disk")["detail"].to_list() == [
        "segment 2 of the log cannot be decoded"
    ]
    assert night.scan("trades").collect().height > 0
    assert "cannot be decoded" in caplog.text


def test_filters_reach_the_files(tmp_path: Path) -> None:
    told(tmp_path / "night", 3)
    night = pm.open_recording(tmp_path / "night")

    given = night.scan("book_deltas", token="21", start=NOON, end="2030-01-01").explain()
    later = night.scan("book_deltas").filter(pl.col("token_id") == "21", pl.col("price") > 0.3).explain()

    for plan in (given, later):
        selected = next(line for line in plan.splitlines() if "SELECTION" in line)
        assert "token_id" in selected
    assert "ts_recv" in given[given.index("SELECTION") :]
    assert "price" in later[later.index("SELECTION") :]


def test_only_files_of_the_time_are_opened(tmp_path: Path) -> None:
    logged = told(tmp_path / "night", 3)
    night = pm.open_recording(tmp_path / "night")

    plan = night.scan("book_deltas", end=logged[0].recv + 1).explain()

    assert "other" not in plan
    assert night.scan("book_deltas", start=logged[-1].recv + 1).collect().height == 0
    halves = [night.scan("trades", end=NOON + 60 * 10**9), night.scan("trades", start=NOON + 60 * 10**9)]
    assert_frame_equal(pl.concat(halves).collect(), night.scan("trades").collect())


def test_times_are_text_datetimes_or_nanoseconds() -> None:
    night = pm.open_recording(pm.sample())
    assert night.first_time is not None
    text = night.first_time.isoformat()

    heights = {night.scan("trades", end=end).collect().height for end in (text, night.first_time)}

    assert heights == {0}
    with pytest.raises(ValueError, match=r"invalid time .*; expected ISO 8601"):
        night.scan("trades", start="tomorrow")
    with pytest.raises(TypeError, match="a time is ISO 8601 text"):
        night.scan("trades", start=1.5)  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="no table 'trade'; there are prices"):
        night.scan("trade")


@pytest.mark.parametrize("far", ["9999-12-31", datetime.max.replace(tzinfo=UTC), "2300-01-01T00:00:00Z", 2**63, 10**30])
def test_a_time_that_no_clock_reaches_is_later_or_earlier_than_all(far: Time) -> None:
    night = pm.open_recording(pm.sample())
    past = -far if isinstance(far, int) else "0001-01-01"
    (token, *_) = night.markets[0].token_ids
    prices, trades = night.prices(), night.scan("trades").collect()

    assert_frame_equal(night.prices(start=past, end=far), prices)
    assert_frame_equal(night.scan("trades", start=past, end=far).collect(), trades)
    assert night.prices(start=far).is_empty()
    assert night.scan("trades", end=past).collect().is_empty()
    assert "the recording ends at" in night.book_at(token, far).why
    assert night.book_at(token, past).quality == "stale"
    assert night.bars(every="365d", start=past)["trades"].sum() == trades.height


def test_tokens_go_by_id_by_market_and_outcome_and_by_an_outcome_that_only_one_has(tmp_path: Path) -> None:
    night = pm.open_recording(pm.sample())
    market = night.markets[0]
    at = night.first_time
    assert at is not None
    named = [
        night.book_at(market.token_ids[0], at),
        night.book_at(market.slug, at, "yes"),
        night.book_at(market.condition_id, at, "Yes"),
    ]

    assert {book.token_id for book in named} == {market.token_ids[0]}
    assert named[0].label == f"{market.question} - Yes"
    with pytest.raises(pm.UnknownMarketError, match=f"4 recorded tokens are named 'Yes'; .* such as {market.slug!r}"):
        night.book_at("Yes", at)
    with pytest.raises(
        pm.UnknownMarketError, match=f"no recorded market or token is named 'nobody'; there are {market.slug!r}, 'Yes'"
    ):
        night.book_at("nobody", at)
    told(tmp_path / "night", 1, segments=1)
    nameless = pm.open_recording(tmp_path / "night")
    assert nameless.book_at("11", at).label == "token 11"
    with pytest.raises(pm.UnknownMarketError, match="there are '11'; '12'; '21'; '22'"):
        nameless.book_at("31", at)


def test_a_stale_book_refuses_to_answer_and_names_the_last_that_did_not() -> None:
    night = pm.open_recording(pm.sample())
    gap = night.gaps.filter(pl.col("token_id").is_not_null()).row(0, named=True)

    book = night.book_at(gap["token_id"], gap["started"] + timedelta(milliseconds=1))

    assert book.quality == "stale"
    assert "disconnect" in book.why
    for ask in (lambda: book.bids, lambda: book.best_ask, lambda: book.mid, lambda: book.spread, book.frame):
        with pytest.raises(pm.BookError, match="cannot be trusted: not to be trusted since"):
            ask()
    assert book.last_known is not None
    assert book.last_known.quality == "verified"
    assert book.last_known.at <= gap["started"]
    assert book.to_dict()["bids"] is None
    assert "\n" not in repr(book)
    assert json.loads(json.dumps(book.to_dict()))["last_known"]["best_bid"] == book.last_known.best_bid


def test_a_book_says_what_proved_it() -> None:
    night = pm.open_recording(pm.sample())
    assert night.first_time is not None
    assert night.last_time is not None
    token = night.markets[0].token_ids[0]

    book = night.book_at(token, night.last_time)

    assert book.quality == "verified"
    assert book.proved is not None
    assert book.ts_recv is not None
    assert book.proved <= book.ts_recv <= book.at
    assert "hash fitted at" in book.why
    assert book.best_bid is not None
    assert book.best_ask is not None
    assert book.frame().filter(pl.col("side") == "bid")["price"][0] == book.best_bid
    after = night.book_at(token, "2030-01-01")
    assert after.why.startswith("the recording ends at")
    assert night.book_at(token, 0).why == "its first book had not come yet"


def test_hostile_titles_stay_text(tmp_path: Path) -> None:
    folder = tmp_path / "night"
    shutil.copytree(pm.sample(), folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["markets"][0]["question"] = "<script>alert(1)</script>\x1b[2J"
    (folder / "manifest.json").write_text(json.dumps(manifest))

    night = pm.open_recording(folder)
    assert night.last_time is not None
    book = night.book_at(night.markets[0].token_ids[0], night.last_time)

    for shown in (night, book, night.quality(), night.verify()):
        html = shown._repr_html_()  # pyright: ignore[reportPrivateUsage]
        assert "<script" not in html
        assert "\x1b" not in repr(shown)
    assert "&lt;script" in book._repr_html_()  # pyright: ignore[reportPrivateUsage]


def test_a_recording_tells_what_it_holds() -> None:
    night = pm.open_recording(str(pm.sample()))

    assert "4 markets" in repr(night)
    assert night.to_dict()["folder"] == str(pm.sample())
    assert json.dumps(night.to_dict())
    assert night.info().frames == sum(1 for _ in records(pm.sample())) > 1000
    assert "keyframes" in night.tables
    assert len(night.markets) == 4


def test_a_folder_without_a_manifest_cannot_be_opened(tmp_path: Path) -> None:
    with pytest.raises(pm.StoreError, match="is not a recording"):
        pm.open_recording(tmp_path)


@pytest.mark.parametrize("table", ["book_deltas", "book_snapshots", "keyframes", "gaps"])
def test_no_book_is_trusted_where_a_file_that_it_is_made_from_is_missing(tmp_path: Path, table: str) -> None:
    folder = tmp_path / "night"
    shutil.copytree(pm.sample(), folder)
    whole = pm.open_recording(folder)
    file = read_manifest(folder).of(table)[-1]
    tokens = [token_id for market in whole.markets for token_id in market.token_ids]
    assert any(whole.book_at(token_id, file.last_time).quality == "verified" for token_id in tokens)

    (folder / file.path).unlink()
    night = pm.open_recording(folder)

    assert {night.book_at(token_id, file.last_time).quality for token_id in tokens} == {"stale"}
    assert f"{file.path} is lost" in {gap.detail for gap in night.gap_index.all}
    assert not night.quality().ok


def test_a_table_in_the_place_of_another_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "night"
    shutil.copytree(pm.sample(), folder)
    file = read_manifest(folder).of("trades")[0]
    other = pl.read_parquet(folder / file.path).with_columns(pl.col("seq") + 1_000_000)
    other.write_parquet(folder / file.path)

    with pytest.raises(StoreError, match=r"is another file than the one that is listed: it has rows 1,?0"):
        pm.open_recording(folder).scan("trades")


@pytest.mark.parametrize(
    ("table", "hint"),
    [
        ("trades", "; the table of this name is recording.trades or recording.scan('trades')"),
        ("keyframes", "; the table of this name is recording.scan('keyframes')"),
    ],
)
def test_a_table_that_is_looked_for_among_tokens_is_said_to_be_elsewhere(table: str, hint: str) -> None:
    night = pm.open_recording(pm.sample())

    with pytest.raises(pm.UnknownMarketError, match="no recorded market or token is named") as raised:
        night[table]
    assert str(raised.value).endswith(hint)
