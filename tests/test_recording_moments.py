"""The book at a time is the one that the pipeline had then, to the number, or it is stale and says why."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from random import Random

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal
from support.examples import examples
from support.moments import faithful
from support.night import Night, now
from support.story import Story
from support.taping import TOKENS, Tape, told
from test_manager_recording import managing, until_heard, until_struck, until_trusted

import pmlive as pm
from pmlive.pipeline.journal import rebuild
from pmlive.recording.contents import Contents
from pmlive.recording.index import RecordingIndex
from pmlive.recording.trust import UnsubscriptionCache
from pmlive.sim import FaultKind, SimulatedVenue
from pmlive.store import Manifest, Record, records
from pmlive.store.maintenance import compact
from pmlive.store.reader import UnsealedSegment
from pmlive.tables import STORED

seeds = st.integers(0, 2**32 - 1)


def known(segments: Sequence[list[Record]], folder: Path = Path("nowhere")) -> RecordingIndex:
    """Open segments of a log that no folder has."""
    unsealed = [UnsealedSegment(number=number, size=0, records=records) for number, records in enumerate(segments)]
    rows = [rebuild(records) for records in segments]
    return RecordingIndex(Contents(folder, Manifest(pmlive="", created=""), unsealed, rows), UnsubscriptionCache(), {})


def cut_night(random: Random, *, steps: int, cuts: int) -> list[list[Record]]:
    """Tell a random story, in segments that each begin with the whole state."""
    story = Story(random)
    story.begin()
    night: Night = story.night
    segments: list[list[Record]] = []
    for _ in range(cuts):
        for _ in range(random.randint(0, steps)):
            story.step()
        night.note(story.at, "cut", b"", 0)
        segments.append(list(night.records))
        night.records.clear()
        night.records += night.journal.keyframes(now(story.at))
        story.at += 0.5
    for _ in range(steps):
        story.step()
    night.end(story.at)
    night.records += night.journal.keyframes(now(story.at))
    return [*segments, night.records]


def moments(random: Random, told: Sequence[Record], count: int) -> list[int]:
    """Choose times: any, and those at which something came or had not come yet."""
    first, last = told[0].recv, told[-1].recv
    return [
        random.choice((random.randint(first, last), random.choice(told).recv, random.choice(told).recv - 1))
        for _ in range(count)
    ]


@examples(8)
@example(9_017_027)
@given(seeds)
def test_a_book_is_the_one_that_the_pipeline_had(seed: int) -> None:
    random = Random(seed)
    segments = cut_night(random, steps=30, cuts=random.randint(0, 3))
    records = [record for segment in segments for record in segment]

    faithful(records, known(segments), TOKENS, moments(random, records, 12))


@pytest.mark.slow
@pytest.mark.timeout(600)
@examples(40)
@given(seeds)
def test_a_book_is_the_one_that_the_pipeline_had_in_long_nights(seed: int) -> None:
    random = Random(seed)
    segments = cut_night(random, steps=100, cuts=random.randint(0, 5))
    records = [record for segment in segments for record in segment]

    faithful(records, known(segments), TOKENS, moments(random, records, 60))


def test_the_files_of_a_recording_say_the_same_as_its_records(tmp_path: Path) -> None:
    logged = told(tmp_path / "night", 7, segments=4)

    compared = faithful(logged, pm.open_recording(tmp_path / "night"), TOKENS, moments(Random(1), logged, 25))

    assert compared.equal > 25
    assert compared.stale > 8


def test_a_recording_that_was_killed_and_continued_is_stale_in_between(tmp_path: Path) -> None:
    """The log of the first run is there when the second one begins; nothing of it may be carried over."""
    folder = tmp_path / "night"
    first = Tape(tmp_path / "first", Random(3))
    first.steps(40)
    first.cut()
    first.steps(40)
    assert first.recorder.flush(10)
    shutil.copytree(tmp_path / "first", folder, ignore=shutil.ignore_patterns(".lock"))
    first.recorder.close()
    second = Tape(folder, Random(4), at=first.story.at + 90_000, conn=first.story.conn + 1)
    second.steps(60)
    second.end()
    logged = [*first.records, *second.records]

    night = pm.open_recording(folder)
    pause = first.records[-1].recv + 1_000_000_000
    compared = faithful(logged, night, TOKENS, moments(Random(5), logged, 60))

    assert compared.equal > 40
    books = [night.book_at(token, pause) for token in TOKENS]
    assert {book.quality for book in books} == {"stale"}
    assert any("restart" in book.why for book in books)


FAULTS: list[tuple[FaultKind, dict[str, object]]] = [
    ("skip", {}),
    ("lie", {"times": 30}),
    ("garbage", {"times": 6}),
    ("reorder", {"times": 3}),
    ("duplicate", {"times": 3}),
    ("lie_best", {"times": 2}),
    ("stall", {"channel": "market", "seconds": 0.1}),
    ("no_opening", {}),
    ("drop", {"channel": "market"}),
    ("skip", {}),
]


def test_recordings_of_a_venue_with_every_fault_have_the_books_that_were_live(tmp_path: Path) -> None:
    folder = tmp_path / "night"
    with SimulatedVenue(markets=2, rate=250) as sim:
        tokens = [token for market in sim.markets for token in market.token_ids]
        with managing(sim) as manager:
            manager.record(folder)
            manager.watch([market.slug for market in sim.markets])
            until_trusted(manager, 4)
            for kind, options in FAULTS:
                fault = sim.fault(kind, **options)  # pyright: ignore[reportArgumentType]
                if kind != "no_opening":
                    until_struck(fault, 1)
                until_heard(manager, 40)
            manager.unsubscribe(manager.subscriptions[0])
            manager.watch(sim.markets[0].slug)
            until_trusted(manager, 2)
            until_heard(manager, 40)
            # As a kill would leave it: nothing is sealed.
            shutil.copytree(folder, tmp_path / "killed")

    logged = list(records(tmp_path / "killed"))
    unsealed = faithful(logged, pm.open_recording(tmp_path / "killed"), tokens, moments(Random(1), logged, 20))

    logged = list(records(folder))
    sealed = faithful(logged, pm.open_recording(folder), tokens, moments(Random(2), logged, 50))

    assert unsealed.equal > 10
    assert sealed.equal > 40
    assert sealed.stale > 5


def test_merged_files_have_the_same_books(tmp_path: Path) -> None:
    folder = tmp_path / "night"
    logged = told(folder, 8, segments=5)
    before = {table: pm.open_recording(folder).scan(table).collect() for table in STORED}

    assert compact(folder, grace=0).outputs

    night = pm.open_recording(folder)
    assert len(list(folder.glob("keyframes/*/*"))) == 1
    assert faithful(logged, night, TOKENS, moments(Random(1), logged, 12)).equal > 30
    for table, rows in before.items():
        assert_frame_equal(night.scan(table).collect(), rows)
    assert night.verify().findings == []
