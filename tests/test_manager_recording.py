"""Recordings that a manager makes of the simulated venue: nothing lost, nothing invented, and every loss told."""

import json
import random
import threading
from collections.abc import Generator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal
from support.audit import Audit
from support.feed import QUICK
from support.live import address
from support.night import stored
from support.waiting import wait_until

import pmlive as pm
from pmlive.manager import Manager
from pmlive.pipeline import Token
from pmlive.pipeline.books import Books
from pmlive.pipeline.journal import rebuild
from pmlive.records import Kind, TokenState
from pmlive.sim import Fault, FaultKind, SimulatedVenue
from pmlive.store import RecorderOptions, records, scan
from pmlive.tables import STORED


@contextmanager
def managing(sim: SimulatedVenue) -> Generator[Manager]:
    before = set(threading.enumerate())
    manager = Manager(address(sim), policy=QUICK)
    try:
        yield manager
    finally:
        manager.close()
        wait_until(lambda: set(threading.enumerate()) <= before, what="that no thread is left")


def tokens(sim: SimulatedVenue) -> list[str]:
    return [token for market in sim.markets for token in market.token_ids]


def trusted(manager: Manager) -> object:
    books = manager.status()["books"]
    assert isinstance(books, dict)
    return books["trusted"]  # pyright: ignore[reportUnknownVariableType]


def until_trusted(manager: Manager, count: int) -> None:
    wait_until(lambda: trusted(manager) == count, 15, what=f"that {count} books are trusted")


def heard(manager: Manager) -> int:
    _ = manager.gaps  # what was heard is counted when somebody looks, or once a second
    return sum(subscription.events_received for subscription in manager.subscriptions)


def until_struck(fault: Fault, times: int) -> None:
    wait_until(lambda: fault.count >= times, what="that the fault struck")


def until_heard(manager: Manager, more: int) -> None:
    before = heard(manager)
    wait_until(lambda: heard(manager) > before + more, 15, what=f"that {more} more messages came")


def steps(sim: SimulatedVenue, manager: Manager, times: int, size: int = 40) -> None:
    """Let things happen, no faster than they are heard."""
    for _ in range(times):
        before = heard(manager)
        sim.step(size)
        wait_until(lambda before=before: heard(manager) > before)


def table(folder: Path, name: str) -> pl.DataFrame:
    return scan(folder, name).collect()


def test_a_clean_run_is_kept_to_the_last_change_with_no_gap_and_no_mismatch(tmp_path: Path) -> None:
    with SimulatedVenue(markets=3, rate=0, keep_truth=True, duplicates=0.05) as sim:
        with managing(sim) as manager:
            manager.record(tmp_path / "night")
            manager.watch([market.slug for market in sim.markets])
            until_trusted(manager, 6)
            steps(sim, manager, 25)
            final = {token: json.loads(sim.book(token))["hash"] for token in tokens(sim)}

        audit = Audit(sim, tmp_path / "night", tokens(sim))
        assert len(audit.sent) > 1000
        assert audit.unkept == []
        assert audit.invented == []
        # What was said twice is there once.
        assert audit.repeated
        assert len(audit.kept) == len(audit.sent) - len(audit.repeated)
        assert audit.gaps.height == 0
        assert audit.mismatches == 0
        assert audit.checks["hash_verified"].sum() > 500
        assert set(audit.deltas["check"].cast(pl.String)) <= {"verified", "unverifiable"}
        assert len(final) == 6


def test_what_comes_while_the_states_of_many_tokens_are_written_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pmlive.manager.core.RecorderOptions", partial(RecorderOptions, segment_seconds=0.5))
    with SimulatedVenue(markets=110, rate=0, keep_truth=True, duplicates=0.05) as sim:
        with managing(sim) as manager:
            manager.record(tmp_path / "night")
            manager.watch([market.slug for market in sim.markets])
            until_trusted(manager, 220)
            wait_until(lambda: steps(sim, manager, 5) or parts(tmp_path / "night") >= 4, 60)
        audit = Audit(sim, tmp_path / "night", tokens(sim))

    assert len(audit.sent) > 1000
    assert (audit.unkept, audit.invented, audit.gaps.height, audit.mismatches) == ([], [], 0, 0)
    night = pm.open_recording(tmp_path / "night")
    assert not night.verify().findings
    with night.replay(prove=True, speed="max") as replay:
        assert replay.digest() == night.digest()


def test_states_that_cannot_be_written_are_a_gap_until_they_are_written_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save, failures = Books.save, [MemoryError("a state")]

    def fail_once(books: Books, token: Token, now: int, *, row: int = 0) -> TokenState:
        if row and failures:
            raise failures.pop()
        return save(books, token, now, row=row)

    monkeypatch.setattr(Books, "save", fail_once)
    with SimulatedVenue(markets=110, rate=0) as sim, managing(sim) as manager:
        manager.watch([market.slug for market in sim.markets])
        until_trusted(manager, 220)
        manager.record(tmp_path / "night")
        wait_until(lambda: steps(sim, manager, 2) or parts(tmp_path / "night") >= 2, 60)

    night = pm.open_recording(tmp_path / "night")
    assert [one.what for one in night.verify().findings] == [
        "the state of the books could not be written: MemoryError('a state')"
    ]
    (gap,) = night.gaps.filter(pl.col("token_id").is_null()).to_dicts()
    assert "could not be written: MemoryError('a state')" in gap["detail"]
    with night.replay(prove=True, speed="max") as replay:
        assert replay.digest() == night.digest()
    last = night.last_time
    assert last is not None
    assert "stale" not in {night.book_at(token, last).quality for token in tokens(sim)}


def parts(folder: Path) -> int:
    """Count how often the states of a cut were written in parts."""
    return sum(record.kind == Kind.PARTS for record in records(folder))


def test_changes_of_one_millisecond_are_kept_as_often_as_they_were_said(tmp_path: Path) -> None:
    """A venue that catches up says hundreds in a millisecond, and takes a level away, brings it back, takes it away."""
    with SimulatedVenue(markets=1, rate=0, keep_truth=True, duplicates=0, clock=lambda: 1_790_000_000_000) as sim:
        with managing(sim) as manager:
            manager.record(tmp_path / "night")
            manager.watch(sim.markets[0].slug)
            until_trusted(manager, 2)
            steps(sim, manager, 10)

        audit = Audit(sim, tmp_path / "night", tokens(sim))
        assert len(audit.kept) > len(set(audit.kept))
        assert audit.unkept == []
        assert audit.doubled == []
        assert audit.gaps.height == 0


def test_a_recording_that_begins_later_counts_only_the_checks_of_what_it_has(tmp_path: Path) -> None:
    with SimulatedVenue(markets=1, rate=0, duplicates=0) as sim, managing(sim) as manager:
        manager.watch(sim.markets[0].slug)
        until_trusted(manager, 2)
        steps(sim, manager, 10)
        manager.record(tmp_path / "night")
        steps(sim, manager, 2)
        manager.close()

    compared = table(tmp_path / "night", "checks")["bbo_ok"].sum()
    assert 0 < compared <= table(tmp_path / "night", "book_deltas").height


FAULTS: dict[str, list[tuple[FaultKind, dict[str, object]]]] = {
    "drop": [("drop", {"channel": "market"})],
    "close": [("close", {"channel": "market", "number": 1000})],
    "drop twice": [("drop", {"channel": "market", "times": 2})],
    "skip": [("skip", {"times": 2})],
    "lie": [("lie", {})],
    "lie often": [("lie", {"times": 60})],
    "lie of the best": [("lie_best", {"times": 60})],
    "duplicate": [("duplicate", {"times": 5}), ("duplicate", {"detail": "swapped", "times": 5})],
    "reorder": [("reorder", {"times": 3})],
    "garbage": [("garbage", {"times": 6})],
    "stall": [("stall", {"channel": "market", "seconds": 0.1})],
    "everything": [
        ("skip", {}),
        ("garbage", {"times": 6}),
        ("duplicate", {"times": 3}),
        ("reorder", {"times": 2}),
        ("lie", {"times": 2}),
        ("drop", {"channel": "market"}),
        ("skip", {}),
    ],
}


@pytest.mark.parametrize("name", FAULTS)
def test_what_a_fault_costs_is_told(name: str, tmp_path: Path) -> None:
    """Promise 1: every change is in the recording once, or in an interval that is marked."""
    with SimulatedVenue(markets=2, rate=250, keep_truth=True, duplicates=0) as sim:
        with managing(sim) as manager:
            manager.record(tmp_path / "night")
            manager.watch([market.slug for market in sim.markets])
            until_trusted(manager, 4)
            until_heard(manager, 60)
            for kind, options in FAULTS[name]:
                fault = sim.fault(kind, **options)  # pyright: ignore[reportArgumentType]
                times = options.get("times", 1)
                until_struck(fault, times if isinstance(times, int) else 1)
                until_heard(manager, 60)
            # A snapshot is asked for once a minute at most, so what ends a second gap may be the next trade's books.
            until_heard(manager, 120)

        audit = Audit(sim, tmp_path / "night", tokens(sim))
        assert len(audit.sent) > 200
        assert audit.unexplained == []
        assert audit.invented == []
        assert audit.doubled == []
        if name in ("duplicate", "lie"):
            assert audit.gaps.height == 0
        elif name == "skip":
            # A level that is soon set anew leaves a right book: its doubtful states say so, and there is no gap.
            assert audit.gaps.height > 0 or audit.overwritten == len(audit.withheld) > 0
        elif name != "reorder":
            assert audit.gaps.height > 0


def test_tables_are_what_the_log_of_the_same_recording_gives(tmp_path: Path) -> None:
    """Promise 5, over real sockets with reconnections and garbage."""
    folder = tmp_path / "night"
    with SimulatedVenue(markets=2, rate=0, story_every=0.05) as sim, managing(sim) as manager:
        given = sim.credentials
        manager.watch([market.slug for market in sim.markets])
        until_trusted(manager, 4)
        steps(sim, manager, 2)
        manager.record(folder)
        steps(sim, manager, 3)
        for kind in ("skip", "garbage", "lie_best"):
            sim.fault(kind, times=2)
            sim.step(50)
        sim.fault("drop", channel="market")
        sim.step(50)
        wait_until(lambda: sim.connections)
        manager.subscribe_activity(sim.markets[0].event_slug)
        manager.unsubscribe(manager.watch(sim.markets[0].slug))
        steps(sim, manager, 3)
        manager.close()
        assert given

    again = stored(rebuild(records(folder)))
    for name in STORED:
        assert_frame_equal(table(folder, name).sort("seq"), again[name], check_row_order=True)


def test_a_recording_is_continued_by_another_manager(tmp_path: Path) -> None:
    folder = tmp_path / "night"
    with SimulatedVenue(markets=1, rate=0, keep_truth=True, duplicates=0) as sim:
        for _ in range(3):
            with managing(sim) as manager:
                manager.record(folder)
                manager.watch(sim.markets[0].slug)
                until_trusted(manager, 2)
                steps(sim, manager, 3)

        gaps = table(folder, "gaps")
        # Of each later run one gap of everything, and one of each token up to its book.
        assert gaps["cause"].cast(pl.String).to_list() == ["restart"] * 6
        assert (gaps["ended"] > gaps["started"]).all()
        assert gaps["token_id"].null_count() == 2
        books = table(folder, "book_snapshots").filter("opening").select("token_id", ended="ts_recv")
        assert gaps.join(books, on=["token_id", "ended"]).height == 4
        numbers = [number for name in STORED for number in table(folder, name)["seq"]]
        assert len(set(numbers)) == len(numbers)
        snapshots = table(folder, "book_snapshots")
        assert snapshots.filter("opening")["conn"].n_unique() == 3
        # What one run kept, the next did not touch, and a replay of all gives what all of them wrote.
        again = stored(rebuild(records(folder)))
        for name in STORED:
            assert_frame_equal(table(folder, name).sort("seq"), again[name])
        assert Audit(sim, folder, tokens(sim)).unkept == []


def test_a_recording_may_stop_and_begin_again_while_the_stream_goes_on(tmp_path: Path) -> None:
    folder = tmp_path / "night"
    with SimulatedVenue(markets=1, rate=0, keep_truth=True, duplicates=0) as sim:
        with managing(sim) as manager:
            manager.watch(sim.markets[0].slug)
            until_trusted(manager, 2)
            manager.record(folder)
            with pytest.raises(ValueError, match="already recording"):
                manager.record(tmp_path / "other")
            steps(sim, manager, 3)
            manager.stop_recording()
            manager.stop_recording()
            steps(sim, manager, 3)
            manager.record(folder)
            steps(sim, manager, 3)

        audit = Audit(sim, folder, tokens(sim))
        assert audit.unkept != []
        assert [change for change in audit.unkept if audit.is_in_a_gap(change[0], change[4])]
        paused = audit.gaps.filter(pl.col("cause") == "restart")
        assert paused.height == 1
        assert audit.mismatches == 0
        again = stored(rebuild(records(folder)))
        for name in STORED:
            assert_frame_equal(table(folder, name).sort("seq"), again[name])


def test_what_is_recorded_does_not_depend_on_who_reads(tmp_path: Path) -> None:
    """Charts, cells and hung callbacks pull copies at their own pace."""
    hung = threading.Event()
    reading = threading.Event()

    with SimulatedVenue(markets=1, rate=0, keep_truth=True, duplicates=0) as sim:
        with managing(sim) as manager:
            manager.record(tmp_path / "night")
            manager.watch(sim.markets[0].slug, on_event=lambda _: hung.wait())
            until_trusted(manager, 2)

            def read() -> None:
                while not reading.is_set():
                    _ = manager.prices, manager.depth, manager.gaps, manager.status()

            readers = [threading.Thread(target=read) for _ in range(2)]
            for reader in readers:
                reader.start()
            try:
                steps(sim, manager, 15)
            finally:
                reading.set()
                hung.set()
                for reader in readers:
                    reader.join()

        audit = Audit(sim, tmp_path / "night", tokens(sim))
        assert audit.unkept == []
        assert audit.gaps.height == 0


def test_a_folder_that_another_manager_records_into_is_refused(tmp_path: Path) -> None:
    with SimulatedVenue(markets=1, rate=0) as sim, managing(sim) as first:
        first.record(tmp_path / "night")
        with Manager(address(sim), policy=QUICK) as second:
            with pytest.raises(pm.StoreError, match="record"):
                second.record(tmp_path / "night")

            second.record(tmp_path / "other")


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_night_of_random_faults_is_told_in_full(tmp_path: Path) -> None:
    seed = random.SystemRandom().getrandbits(32)
    chance = random.Random(seed)
    kinds: list[FaultKind] = [
        "drop",
        "close",
        "skip",
        "lie",
        "lie_best",
        "duplicate",
        "reorder",
        "garbage",
        "no_opening",
    ]
    with SimulatedVenue(markets=5, rate=400, seed=seed % 1000, keep_truth=True) as sim:
        with managing(sim) as manager:
            manager.record(tmp_path / "night")
            manager.watch([market.slug for market in sim.markets])
            until_trusted(manager, 10)
            for _ in range(40):
                kind = chance.choice(kinds)
                sim.fault(kind, channel="market", times=None if kind in ("drop", "close") else chance.randint(1, 4))
                before = heard(manager)
                wait_until(lambda before=before: heard(manager) > before + 300, 30)

        audit = Audit(sim, tmp_path / "night", tokens(sim))
        assert audit.unexplained == [], f"seed {seed}"
        assert audit.invented == [], f"seed {seed}"
        again = stored(rebuild(records(tmp_path / "night")))
        for name in STORED:
            assert_frame_equal(table(tmp_path / "night", name).sort("seq"), again[name])


def test_a_second_recording_of_one_manager_ends_as_the_first_does(tmp_path: Path) -> None:
    """Found by reading: what had ended once was taken for ended, and its last counts and books were not written."""
    with SimulatedVenue(markets=1, rate=0, duplicates=0) as sim, managing(sim) as manager:
        manager.watch(sim.markets[0].slug)
        until_trusted(manager, 2)
        for name in ("first", "second"):
            manager.record(tmp_path / name)
            steps(sim, manager, 3)
            manager.stop_recording()

    for name in ("first", "second"):
        night = pm.open_recording(tmp_path / name)
        assert night.verify().ok
        assert [record.kind for record in records(tmp_path / name) if record.kind in ("begin", "end")] == [
            "begin",
            "end",
        ]
        assert night.scan("checks").collect()["hash_verified"].sum() > 0
