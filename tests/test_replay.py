"""A recording that is played is the manager that recorded it: same rows, same books, same methods."""

import shutil
import threading
from collections.abc import Generator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal
from support.examples import examples
from support.feed import QUICK
from support.live import address
from support.shelf import record_story, recover
from support.waiting import wait_until

import pmlive as pm
from pmlive.manager import Manager, Replay
from pmlive.pipeline import Pipeline
from pmlive.pipeline.journal import apply
from pmlive.replay import Timeline
from pmlive.sim import SimulatedVenue
from pmlive.store import records, scan
from pmlive.tables import SCHEMAS

SAMPLE = pm.sample()
seeds = st.integers(0, 2**32 - 1)


@contextmanager
def playing(*folders: Path, **options: object) -> Generator[Replay]:
    before = set(threading.enumerate())
    replay = Replay(folders, **options)  # pyright: ignore[reportArgumentType]  # whatever a test asks for
    try:
        yield replay
    finally:
        replay.close()
        wait_until(lambda: set(threading.enumerate()) <= before, what="that no thread is left")


def books_at(folder: Path, at: int) -> dict[str, tuple[list[tuple[float, float]], list[tuple[float, float]]]]:
    """Give the trusted books after every record up to a time, told from the very beginning."""
    pipeline = Pipeline()
    for record in records(folder):
        if record.recv > at:
            break
        apply(pipeline, record)
    pipeline.tick(at)
    tokens = pipeline.books.tokens.values()
    return {token.id: (token.book.levels("bid"), token.book.levels("ask")) for token in tokens if token.trusted()}


def books_of(replay: Manager, token_ids: list[str]) -> dict[str, object]:
    found: dict[str, object] = {}
    for token_id in token_ids:
        try:
            book = replay.book(token_id, patience=0)
        except (pm.BookError, pm.UnknownMarketError):
            continue
        found[token_id] = (book.bids, book.asks)
    return found


# --- replay equals live ---


@settings(examples(8), suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(seed=seeds, killed=st.booleans(), parts=st.sampled_from((None, 0, 0.3)))
def test_live_and_replay_and_the_replay_of_a_replay_have_one_digest(
    tmp_path_factory: pytest.TempPathFactory, seed: int, *, killed: bool, parts: float | None
) -> None:
    shelf = tmp_path_factory.mktemp("shelf")
    first = record_story(shelf / "night", seed, killed=killed, parts=parts)
    record_story(shelf / "night", seed + 1, at=first.at + 5_000, conn=first.conn + 1, parts=parts)

    with playing(shelf / "night", speed="max", prove=True, paused=True) as replay:
        replay.record(shelf / "again")
        replay.resume()
        replay.wait()
        digest = replay.digest()
    with playing(shelf / "again", speed="max", prove=True) as second:
        assert second.digest() == digest

    assert pm.open_recording(shelf / "night").digest() == digest
    assert pm.open_recording(shelf / "again").digest() == digest


def test_a_manager_and_its_replay_have_one_digest(tmp_path: Path) -> None:
    with SimulatedVenue(markets=3, rate=600, duplicates=0.05) as sim, Manager(address(sim), policy=QUICK) as live:
        live.record(tmp_path / "night")
        live.watch([market.slug for market in sim.markets])
        live.subscribe_reference_prices("btc/usd")
        wait_until(lambda: live.trades.height > 5)
        for fault in ("skip", "lie", "garbage", "reorder", "drop"):
            heard = live.prices.height
            sim.fault(fault, channel="market", times=2)
            wait_until(lambda heard=heard: live.prices.height > heard + 100, 15)

    with playing(tmp_path / "night", speed="max", prove=True) as replay:
        assert replay.digest() == pm.open_recording(tmp_path / "night").digest()
        assert replay.gaps.height == scan(tmp_path / "night", "gaps").collect().height > 0


def test_a_digest_tells_any_change_of_a_row_and_none_of_how_rows_are_filed(tmp_path: Path) -> None:
    from pmlive.tables import Digest

    rows = scan(SAMPLE, "trades").collect()
    whole, parts, changed = Digest(), Digest(), Digest()
    whole.add("trades", rows)
    for at in range(0, rows.height, 7):
        parts.add("trades", rows[at : at + 7])
    changed.add(
        "trades", rows.with_columns(pl.when(pl.col("seq") == rows["seq"][3]).then(0.0).otherwise("size").alias("size"))
    )

    assert whole.hexdigest() == parts.hexdigest() != changed.hexdigest()
    with pytest.raises(pm.ProtocolError, match="comes after"):
        whole.add("trades", rows[:1])
    assert not list(tmp_path.iterdir())


def test_a_killed_run_is_played_to_where_it_was_killed(tmp_path: Path) -> None:
    record_story(tmp_path / "night", 7, killed=True)

    with playing(tmp_path / "night", speed="max", prove=True) as replay:
        assert replay.finished
        digest = replay.digest()

    recover(tmp_path / "night")
    assert pm.open_recording(tmp_path / "night").digest() == digest


# --- the same object ---


def test_the_methods_of_a_manager_work_on_a_replay() -> None:
    given: list[str] = []
    with playing(SAMPLE, speed="max", paused=True) as replay:
        slug = replay.markets[0].slug
        everything = replay.watch(slug, on_event=lambda update: given.append(str(update["table"])))
        books = replay.subscribe_orderbook_updates(replay.markets[1].token_ids, depth=3)
        orders = replay.subscribe_user_orders()
        activity = replay.subscribe_activity(replay.markets[0].event_slug)
        prices = replay.subscribe_reference_prices("btc/usd")
        assert replay.prices.height == 0
        replay.resume()
        replay.wait()

        wait_until(lambda: {"prices", "depth", "trades"} <= set(given))
        for subscription in (everything, books, orders, activity, prices):
            assert subscription.events_received > 0, subscription
        for table in ("prices", "trades", "user_orders", "user_trades", "activity", "reference_prices"):
            rows = getattr(replay, table)
            assert_frame_equal(rows.select(SCHEMAS[table].names()), scan(SAMPLE, table).collect().sort("seq"))
        book = replay.book(slug, "Yes", depth=2)
        assert len(book.bids) == len(book.asks) == 2
        assert book.label.startswith(replay.markets[0].question)
        status = replay.status()
        assert status["replay"]["finished"] is True  # pyright: ignore[reportIndexIssue]
        assert status["connections"]["clob"]["connected"] is True  # pyright: ignore[reportIndexIssue]
        assert status["statistics"]["reconnect_count"] >= 1  # pyright: ignore[reportIndexIssue,reportOperatorIssue]
        assert status["books"]["checks"]["hash_verified"] == scan(SAMPLE, "checks").collect()["hash_verified"].sum()  # pyright: ignore[reportIndexIssue]
        replay.unsubscribe(everything)
        assert len(replay.subscriptions) == 4
        assert isinstance(replay, Manager)
        assert repr(replay).startswith("<Replay of ")


def test_a_market_that_was_not_recorded_is_unknown() -> None:
    with (
        playing(SAMPLE, paused=True) as replay,
        pytest.raises(pm.UnknownMarketError, match="the recording has no market"),
    ):
        replay.watch("will-it-rain")


def test_a_folder_that_is_no_recording_is_refused(tmp_path: Path) -> None:
    with pytest.raises(pm.StoreError, match="is not a recording"):
        Replay(tmp_path)
    shutil.copytree(SAMPLE, tmp_path / "night")
    shutil.rmtree(tmp_path / "night" / "raw")

    with playing(tmp_path / "night", speed="max") as replay:
        # What cannot be read is a gap, and nothing else is made up.
        assert replay.gaps["cause"].cast(pl.String).to_list() == ["disk"]
        assert replay.prices.height == 0


@pytest.mark.parametrize("speed", [0, -1, "fast", float("nan"), float("inf")])
def test_a_speed_that_is_none_is_refused(speed: float) -> None:
    with pytest.raises(ValueError, match="expected 'max' or a number above 0"):
        Replay(SAMPLE, speed=speed)


# --- moving ---


def test_a_step_takes_the_next_frames() -> None:
    frames = [record.recv for record in records(SAMPLE) if record.kind in ("market", "user", "realtime", "prices")]
    with playing(SAMPLE, paused=True) as replay:
        assert replay.step() == 1
        assert abs(replay.position - _time(frames[0])) < timedelta(microseconds=2)
        assert replay.step(200) == 200
        assert abs(replay.position - _time(frames[200])) < timedelta(microseconds=2)
        assert replay.paused
        assert replay.status()["statistics"]["total_events"] >= 200  # pyright: ignore[reportIndexIssue]
        assert replay.step(10**6) == len(frames) - 201
        assert replay.step() == 0
        with pytest.raises(ValueError, match="1 frame or more"):
            replay.step(0)


@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(seeds, st.lists(st.floats(0, 1), min_size=3, max_size=6))
def test_wherever_it_is_sent_the_books_are_what_they_were(
    tmp_path_factory: pytest.TempPathFactory, seed: int, places: list[float]
) -> None:
    folder = tmp_path_factory.mktemp("shelf") / "night"
    story = record_story(folder, seed, cuts=3)
    with playing(folder, paused=True) as replay:
        timeline = Timeline([folder])
        for place in places:
            at = timeline.first + int(place * (timeline.last - timeline.first))

            replay.seek(at)

            assert books_of(replay, list(story.venues)) == books_at(folder, at)
            assert replay.prices.filter(pl.col("ts_recv") > pl.lit(at).cast(pl.Datetime("ns", "UTC"))).height == 0
            assert replay.paused


def test_it_goes_on_from_where_it_was_sent(tmp_path: Path) -> None:
    with playing(SAMPLE, speed="max") as replay:
        everything = replay.prices
        middle = replay.first_time + (replay.last_time - replay.first_time) / 2

        replay.seek(middle)
        before = replay.prices
        replay.resume()
        replay.wait()

        assert 0 < before.height < everything.height
        assert_frame_equal(replay.prices, everything)
        with pytest.raises(ValueError, match="the recording has no time"):
            replay.seek("2001-01-01")
        replay.record(tmp_path / "again")
        with pytest.raises(ValueError, match="cannot jump"):
            replay.seek(middle)


def test_it_keeps_the_pace_that_it_is_given() -> None:
    with playing(SAMPLE, speed=20) as replay:
        wait_until(lambda: replay.prices.height > 20)
        replay.speed = 2.0
        at, now = replay.position, datetime.now(UTC)
        wait_until(lambda: datetime.now(UTC) - now > timedelta(seconds=0.4))
        played, passed = replay.position - at, datetime.now(UTC) - now
        # A busy machine may be late, and never early.
        assert timedelta() < played <= passed * 2 + timedelta(seconds=0.1)
        replay.pause()
        at = replay.position
        rows = replay.prices.height
        assert replay.position == at
        assert replay.prices.height == rows
        replay.speed = "max"
        replay.resume()
        replay.wait()
        assert replay.finished
        assert replay.position == replay.last_time


# --- several ---


def test_several_recordings_are_played_as_one(tmp_path: Path) -> None:
    """Both number their connections alike, and one begins again while the other goes on."""
    first = record_story(tmp_path / "one", 3, steps=80)
    with SimulatedVenue(markets=1, rate=0) as sim, Manager(address(sim), policy=QUICK) as live:
        live.record(tmp_path / "two")
        live.watch(sim.markets[0].slug)
        wait_until(lambda: live.prices.height >= 2)
        sim.step(200)
        wait_until(lambda: live.prices.height > 20)
    record_story(tmp_path / "one", 4, at=first.at + 1_000, conn=1)

    with playing(tmp_path / "one", tmp_path / "two", speed="max") as both:
        prices = both.prices
        assert prices["ts_recv"].is_sorted()
        assert prices["seq"].is_unique().all()
        assert prices.drop("seq", "conn").filter(pl.col("token_id").str.len_chars() > 2).height == (
            scan(tmp_path / "two", "prices").collect().height
        )
        assert both.status()["replay"]["folders"] == [str(tmp_path / name) for name in ("one", "two")]  # pyright: ignore[reportIndexIssue]


def test_the_books_of_a_recording_that_ends_before_another_are_not_given_after_it(tmp_path: Path) -> None:
    first = record_story(tmp_path / "one", 3, steps=40)
    with SimulatedVenue(markets=1, rate=0) as sim, Manager(address(sim), policy=QUICK) as live:
        live.record(tmp_path / "two")
        live.watch(sim.markets[0].slug)
        wait_until(lambda: live.prices.height >= 2)
    assert scan(tmp_path / "two", "prices").collect()["ts_recv"].dt.epoch("ns").min() > first.at  # pyright: ignore[reportOperatorIssue, reportOptionalOperand]

    with playing(tmp_path / "one", tmp_path / "two", speed="max") as both:
        ends = [detail for detail in both.gaps["detail"] if detail == "the recording of it ends here"]
        assert ends
        books = both.status()["books"]
        assert isinstance(books, dict)
        assert books["trusted"] == 2


@pytest.mark.parametrize(
    ("bounds", "error"),
    [
        ({"rows": 0}, ValueError),
        ({"rows": 1.5}, TypeError),
        ({"rows": True}, TypeError),
        ({"depth": -1}, ValueError),
        ({"depth": "10"}, TypeError),
        ({"age": timedelta(0)}, ValueError),
        ({"age": 60}, TypeError),
    ],
    ids=repr,
)
def test_bounds_of_frames_that_make_no_sense_are_refused_live_and_in_a_replay(
    bounds: dict[str, Any], error: type[Exception]
) -> None:
    (name,) = bounds

    with pytest.raises(error, match=f"^{name} must be"):
        pm.Manager(venue="sim", **bounds)
    with pytest.raises(error, match=f"^{name} must be"):
        Replay(SAMPLE, **bounds)


def test_two_recordings_of_the_same_token_at_the_same_time_are_refused(tmp_path: Path) -> None:
    record_story(tmp_path / "one", 5)
    record_story(tmp_path / "two", 6)

    with pytest.raises(pm.StoreError, match="both hold 4 tokens at the same time"):
        Replay([tmp_path / "one", tmp_path / "two"])


def _time(nanoseconds: int) -> datetime:
    return datetime.fromtimestamp(nanoseconds / 1e9, UTC)
