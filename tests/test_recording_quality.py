"""The quality of a recording: each fault once, with its interval and cause, and nothing that did not happen."""

import json
import re
import shutil
import time
from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path
from random import Random

import polars as pl
import pytest
from support.night import MS, NOON, Night
from support.taping import Tape
from support.venue import Venue
from test_manager_recording import managing, steps, until_heard, until_struck, until_trusted
from test_recording_moments import known

import pmlive as pm
from pmlive.events import Cause
from pmlive.recording import Quality
from pmlive.recording.quality import quality
from pmlive.sim import FaultKind, SimulatedVenue

S = 1_000 * MS


def causes(found: Quality) -> list[Cause]:
    return [fault.cause for fault in found.faults]


def record_with(folder: Path, kind: str, **options: object) -> tuple[Quality, int, int]:
    """Record a venue that one fault befalls; give the quality, and the times between which it struck."""
    with SimulatedVenue(markets=2, rate=250, duplicates=0) as sim, managing(sim) as manager:
        manager.record(folder)
        manager.watch([market.slug for market in sim.markets])
        until_trusted(manager, 4)
        until_heard(manager, 60)
        before = time.time_ns()
        fault = sim.fault(kind, **options)  # pyright: ignore[reportArgumentType]
        times = options.get("times", 1)
        until_struck(fault, times if isinstance(times, int) else 1)
        after = time.time_ns()
        until_heard(manager, 200)
        until_trusted(manager, 4)
    return pm.open_recording(folder).quality(), before, after


@pytest.mark.parametrize(
    ("kind", "options", "cause", "tokens"),
    [
        ("drop", {"channel": "market"}, "disconnect", 4),
        ("stall", {"channel": "market", "seconds": 0.15}, "mismatch", 4),
        # Nobody can say whose a frame was that cannot be read at all.
        ("garbage", {"detail": "json"}, "malformed", 4),
        ("garbage", {"detail": "nan"}, "malformed", 2),
    ],
)
def test_a_fault_is_named_with_its_interval_and_nothing_else(
    kind: str, options: dict[str, object], cause: Cause, tokens: int, tmp_path: Path
) -> None:
    found, before, after = record_with(tmp_path / "night", kind, **options)

    _is_the_one_fault(found, cause, tokens, before, after)


@pytest.mark.parametrize(("kind", "size"), [("lie_best", 1), ("skip", 2)])
def test_what_is_wrong_with_one_change_is_named_when_its_millisecond_is_past(
    kind: FaultKind, size: int, tmp_path: Path
) -> None:
    # At a rate, another change of the same level or millisecond may take its place, and nothing is wrong.
    with SimulatedVenue(markets=2, rate=0, duplicates=0) as sim, managing(sim) as manager:
        manager.record(tmp_path / "night")
        manager.watch([market.slug for market in sim.markets])
        until_trusted(manager, 4)
        steps(sim, manager, 15, size=size)
        before = time.time_ns()
        fault = sim.fault(kind)
        steps(sim, manager, 10, size=size)
        after = time.time_ns()
        until_struck(fault, 1)
        until_trusted(manager, 4)
        steps(sim, manager, 15, size=size)

    _is_the_one_fault(pm.open_recording(tmp_path / "night").quality(), "mismatch", 2, before, after)


def _is_the_one_fault(found: Quality, cause: Cause, tokens: int, before: int, after: int) -> None:
    assert causes(found) == [cause]
    (fault,) = found.faults
    assert len(fault.token_ids) <= tokens
    assert fault.ended is not None
    # It may reach back to the last proof before it, and ends soon after.
    assert before - 2 * S < fault.started < after + S
    assert fault.ended > before
    assert not found.ok
    assert found.coverage is not None
    assert 0.2 < found.coverage < 1


@pytest.mark.parametrize("kind", ["lie", "lie_best"])
def test_lies_about_one_token_are_faults_of_that_token_alone(kind: str, tmp_path: Path) -> None:
    with SimulatedVenue(markets=1, rate=0) as sim:
        token = sim.markets[0].token_ids[0]

    found, before, _ = record_with(tmp_path / "night", kind, times=20, token_id=token)

    # A lie about the hash of a whole book makes hashes doubtful and not the book: that is counted, and no fault.
    assert found.mismatches > 0
    assert found.faults or kind == "lie"
    assert {fault.cause for fault in found.faults} <= {"mismatch"}
    assert {tuple(fault.token_ids) for fault in found.faults} <= {(token,)}
    assert all(fault.ended is not None and fault.ended > before for fault in found.faults)
    assert not found.ok


def test_a_clean_recording_has_nothing_to_tell(tmp_path: Path) -> None:
    found, _, _ = record_with(tmp_path / "night", "duplicate")

    assert found.ok
    assert found.faults == []
    assert found.coverage == 1
    assert found.distrust.height == 0
    assert found.mismatches == 0
    assert found.skipped == 0
    assert found.checks.hash_verified > 100
    assert found.mirror.moments > 10
    assert found.mirror.share == 1
    assert found.mirror.worst == 0
    assert found.latency.median is not None
    assert 0 <= found.latency.median < 1000
    assert found.rates["book_deltas"].sum() == found.latency.changes
    assert "missed     nothing" in repr(found)


def test_a_connection_that_is_dialled_again_and_again_is_one_fault() -> None:
    found = pm.open_recording(pm.sample()).quality()

    assert causes(found) == ["disconnect"]
    assert len(found.faults[0].token_ids) == 8
    assert all(0.8 < token.coverage < 1 for token in found.tokens)
    assert found.distrust["token_id"].n_unique() == 8
    # The connection was away for some seconds, which may lie in two minutes.
    assert found.distrust["minute"].n_unique() in (1, 2)


def test_quality_is_a_page_for_people_and_an_object_for_programs() -> None:
    found = pm.open_recording(pm.sample()).quality()

    told = json.loads(json.dumps(found.to_dict()))
    assert told["faults"][0]["cause"] == "disconnect"
    assert told["checks"]["hash_verified"] == found.checks.hash_verified
    assert len(told["distrust"]) in (8, 16)
    assert [line.split()[0] for line in repr(found).splitlines() if line[0] != " "] == [
        "recording",
        "trusted",
        "missed",
        "proved",
        "latency",
        "rates",
        "skipped",
        "mirror",
        "distrust",
    ]
    # All tokens were away at once: those of a market stand beside each other.
    listed = re.findall(r"%  (.* - (?:Yes|No))$", repr(found), re.MULTILINE)
    assert len(listed) == 8
    assert listed == sorted(listed)
    html = found._repr_html_()  # pyright: ignore[reportPrivateUsage]
    assert html.startswith("<table>")
    assert "<td style='text-align:left'>" in html


def gapped(*causes: tuple[Cause, int, int, str | None]) -> Quality:
    """Judge a night of one market in which gaps were told."""
    night, venue = Night(), Venue()
    night.open(0, 1, ["1"])
    night.frame(0, venue.opening())
    for cause, since, until, token in causes:
        night.gap(until, cause, token, since=since, ended=until)
    night.end(10_000)
    return quality(known([night.records], pm.sample()))


def test_gaps_apart_are_faults_apart_and_their_time_is_not_covered() -> None:
    found = gapped(("disk", 2000, 3000, None), ("disk", 5000, 5500, None), ("silence", 7000, 7500, "1"))

    told = [(fault.cause, fault.started, fault.ended, fault.token_ids) for fault in found.faults]
    assert told == [
        ("disk", NOON + 2 * S, NOON + 3 * S, []),
        ("disk", NOON + 5 * S, NOON + 5 * S + S // 2, []),
        ("silence", NOON + 7 * S, NOON + 7 * S + S // 2, ["1"]),
    ]
    assert found.coverage == pytest.approx(0.8)
    assert found.distrust.rows() == [("1", found.distrust["minute"][0])]


def test_the_time_that_a_token_was_followed_is_cut_where_trust_begins_or_ends() -> None:
    found = gapped(("disk", 2000, 3000, None), ("silence", 7000, 7500, "1")).intervals

    cuts = found.select(pl.col("start", "end").dt.epoch("ns") - NOON, "trusted").rows()
    assert found["token_id"].unique().to_list() == ["1"]
    assert cuts == [
        (0, 2 * S, True),
        (2 * S, 3 * S, False),
        (3 * S, 7 * S, True),
        (7 * S, 7 * S + S // 2, False),
        (7 * S + S // 2, 10 * S + 1, True),
    ]


def test_coverage_is_the_trusted_share_of_the_intervals() -> None:
    found = pm.open_recording(pm.sample()).quality()

    long = (pl.col("end") - pl.col("start")).dt.total_nanoseconds()
    trusted, whole = found.intervals.select(long.filter(pl.col("trusted")).sum(), whole=long.sum()).row(0)
    assert found.coverage == pytest.approx(trusted / whole)
    assert len(json.loads(json.dumps(found.to_dict()))["intervals"]) == found.intervals.height


def test_changes_that_were_not_applied_are_counted_apart_from_those_in_gaps(tmp_path: Path) -> None:
    night, venue = Night(), Venue()
    night.open(0, 1, ["1"])
    night.frame(0, venue.change("bid", "0.43", "5", 0))
    night.frame(10, venue.opening())
    night.frame(20, venue.change("bid", "0.44", "5", 20))
    night.gap(30, "silence", "1", since=25)
    night.frame(40, venue.change("bid", "0.44", "6", 40))
    night.end(1000)

    found = quality(known([night.records], pm.sample()))

    assert (found.skipped, found.skipped_in_gaps) == (2, 1)
    assert tmp_path.exists()


def test_a_pause_between_two_runs_is_not_covered(tmp_path: Path) -> None:
    folder = tmp_path / "night"
    first = Tape(folder, Random(11))
    first.story.at += 10_000
    first.end()
    second = Tape(folder, Random(12), at=first.story.at + 10_000, conn=9)
    second.story.at += 20_000
    second.end()

    found = pm.open_recording(folder).quality()

    assert causes(found).count("restart") == 1
    assert found.coverage is not None
    assert all(token.followed <= 40.001 for token in found.tokens)
    whole = [token for token in found.tokens if token.followed > 39.9]
    assert whole
    assert {round(token.coverage, 2) for token in whole} <= {0.75, 0.5, 0.25}


def test_damaged_files_are_named(tmp_path: Path) -> None:
    folder = tmp_path / "night"
    shutil.copytree(pm.sample(), folder)
    (trades,) = folder.glob("trades/*/*.parquet")
    (deltas,) = folder.glob("book_deltas/*/*.parquet")
    damage(trades, [100])
    deltas.write_bytes(b"PAR1 and no more")

    found = pm.open_recording(folder).quality()

    assert {one.path for one in found.damaged} == {path.relative_to(folder).as_posix() for path in (trades, deltas)}
    assert found.latency.changes == 0
    assert found.checks.hash_verified > 0
    assert not found.ok
    assert "damaged" in repr(found)


def damage(path: Path, places: Iterable[int]) -> None:
    data = bytearray(path.read_bytes())
    for place in places:
        data[place] ^= 1
    path.write_bytes(data)


def test_minutes_are_those_that_a_gap_reaches_into() -> None:
    night, venue = Night(), Venue()
    night.open(0, 1, ["1"])
    night.frame(0, venue.opening())
    night.gap(130_000, "disk", None, since=59_999, ended=120_000)
    night.end(300_000)

    found = quality(known([night.records], pm.sample())).distrust

    noon = pl.Series([NOON]).cast(pl.Datetime("ns", "UTC"))[0]
    assert found["minute"].to_list() == [noon, noon + timedelta(minutes=1)]
