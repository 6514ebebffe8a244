"""The table of a recording's markets: what the manifest and the resolutions say, for readers that know no pmlive."""

import shutil
import threading
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import polars as pl
import pytest
from polars.testing import assert_frame_equal
from storing import fast, feed, rebuild, stored
from support.live import address
from support.waiting import wait_until

import pmlive as pm
from pmlive.manager import Manager
from pmlive.pipeline import journal
from pmlive.sim import SimulatedVenue
from pmlive.store import Recorder, read_manifest, repair
from pmlive.store.manifest import Manifest
from pmlive.store.markets_file import MARKETS_FILE, MarketsFile
from pmlive.tables import MARKETS
from pmlive.threads import faults, uninterrupted

RAIN: dict[str, object] = {
    "condition_id": "0xa",
    "slug": "rain",
    "event_slug": "weather",
    "question": "Rain?",
    "outcomes": ["Yes", "No"],
    "token_ids": ["1", "2"],
    "version": "v2",
    "tick_size": "0.001",
    "min_order_size": "5",
    "neg_risk": False,
    "end_date": "2027-01-01T00:00:00Z",
    "fees": {"enabled": True, "rate": 0.07, "exponent": 1.0, "taker_only": True, "kind": "crypto"},
}


def listed(folder: Path) -> pl.DataFrame:
    return pl.read_parquet(folder / MARKETS_FILE)


def test_a_recording_lists_its_tokens_with_what_is_known_of_their_markets(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "night", rebuild=rebuild, options=fast())
    recorder.markets([RAIN])
    feed(recorder, range(1, 10))
    recorder.close()

    rows = listed(tmp_path / "night")

    assert rows.schema == MARKETS
    assert rows["token_id"].to_list() == ["1", "2"]
    yes = rows.row(0, named=True)
    assert (yes["market"], yes["slug"], yes["outcome"], yes["version"]) == ("0xa", "rain", "Yes", "v2")
    assert (yes["tick_size"], yes["min_order_size"], yes["neg_risk"]) == (0.001, 5.0, False)
    assert yes["end_date"] == datetime(2027, 1, 1, tzinfo=UTC)
    assert yes["fees"]["rate"] == 0.07
    assert (yes["resolved"], yes["winner"]) == (False, None)


def test_it_tells_who_won_once_that_is_sealed(tmp_path: Path) -> None:
    with SimulatedVenue(markets=2, rate=20) as sim, Manager(address(sim)) as live:
        live.record(tmp_path / "night")
        live.watch([market.slug for market in sim.markets])
        live.first("prices")
        market = sim.markets[0]
        sim.resolve(market, winner=market.outcomes[1])
        wait_until(lambda: "market_resolved" in set(live.market_events["kind"]))

    rows = listed(tmp_path / "night")

    assert set(rows["token_id"]) == {token for each in sim.markets for token in each.token_ids}
    won = rows.filter(pl.col("slug") == market.slug)
    assert won["resolved"].to_list() == [True, True]
    assert won["winner"].to_list() == [market.outcomes[1]] * 2
    assert not rows.filter(pl.col("slug") != market.slug)["resolved"].any()


def test_what_a_stranger_s_manifest_has_in_another_form_is_null() -> None:
    odd: dict[str, object] = {**dict.fromkeys(RAIN, 7), "token_ids": ["1"], "tick_size": "a lot", "end_date": "soon"}
    manifest = Manifest(pmlive="", created="", markets=[odd, {}, {"token_ids": "1"}])

    rows = MarketsFile(Path("nowhere")).rows(manifest)

    assert rows.drop("token_id", "market", "resolved", "min_order_size").null_count().sum_horizontal()[0] == 10
    assert rows["min_order_size"].to_list() == [7.0]


def test_it_is_written_again_only_when_it_would_be_another(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, rebuild=rebuild, options=fast())
    recorder.markets([RAIN])
    feed(recorder, range(1, 10))
    wait_until(lambda: (tmp_path / MARKETS_FILE).exists() and listed(tmp_path).height == 2)
    inode = (tmp_path / MARKETS_FILE).stat().st_ino
    feed(recorder, range(10, 20))
    recorder.cut([])
    wait_until(lambda: recorder.status().segments >= 1)
    assert (tmp_path / MARKETS_FILE).stat().st_ino == inode

    recorder.markets([RAIN | {"slug": "sun"}])
    recorder.close()

    assert set(listed(tmp_path)["slug"]) == {"sun"}


def test_a_link_in_its_place_is_replaced_and_not_followed(tmp_path: Path) -> None:
    outside, night = tmp_path / "outside", tmp_path / "night"
    outside.write_text("precious")
    night.mkdir()
    recorder = Recorder(night, rebuild=rebuild, options=fast())
    recorder.close()
    (night / MARKETS_FILE).unlink(missing_ok=True)
    (night / MARKETS_FILE).symlink_to(outside)

    recorder = Recorder(night, rebuild=rebuild, options=fast())
    recorder.markets([RAIN])
    recorder.close()

    assert outside.read_text() == "precious"
    assert not (night / MARKETS_FILE).is_symlink()
    assert listed(night).height == 2


def test_a_damaged_table_of_resolutions_is_told_and_keeps_nothing_from_being_sealed(tmp_path: Path) -> None:
    with SimulatedVenue(markets=1, rate=0) as sim, Manager(address(sim)) as live:
        live.record(tmp_path)
        live.watch(sim.markets[0].slug)
        live.first("prices", rows=2)
        sim.resolve(sim.markets[0])
        wait_until(lambda: live.market_events.height > 0)
    (file,) = read_manifest(tmp_path).of("market_events")
    (tmp_path / file.path).write_bytes(b"PAR1 nothing PAR1")

    recorder = Recorder(tmp_path, rebuild=rebuild, options=fast())
    first = recorder.next_seq
    feed(recorder, range(first, first + 5))
    wait_until(lambda: "market_events" in (recorder.status().trouble or ""))
    recorder.close()

    assert read_manifest(tmp_path).last_seq == first + 4
    assert msgspec.structs.asdict(recorder.status())["dropped"] == 0


# --- Ctrl-C, by which polars ends its queries in every thread ---


def test_what_ctrl_c_ends_in_another_thread_is_done_again() -> None:
    calls: list[int] = []

    def interrupted() -> str:
        calls.append(1)
        if len(calls) < 3:
            raise KeyboardInterrupt
        return "done"

    assert uninterrupted(interrupted) == "done"
    assert len(calls) == 3


@pytest.mark.quick(1)
@pytest.mark.parametrize("rows_memory", [0, 1 << 20], ids=["rows are rebuilt", "rows are in memory"])
def test_wherever_ctrl_c_ends_the_work_of_the_sealing_thread_it_is_done_again(rows_memory: int, tmp_path: Path) -> None:
    """Sealing, merging, listing: nothing of it says anything of a log or a file."""
    steps = interrupted_at(0, tmp_path / "count", rows_memory)
    assert {"wrote trades", "before the manifest", "removed a part of the log"} <= set(steps)
    before = faults()

    for number in range(1, len(steps) + 1):
        folder = tmp_path / str(number)
        interrupted_at(number, folder, rows_memory)

        manifest = read_manifest(folder)
        assert stored(folder) == [*range(1, 40)], steps[number - 1]
        assert (manifest.holes, list((folder / "wal").iterdir())) == ([], []), steps[number - 1]
        assert len(manifest.of("trades")) == 1, steps[number - 1]
    assert faults() == before


def interrupted_at(number: int, folder: Path, rows_memory: int) -> list[str]:
    """Record and merge, with a Ctrl-C in the sealing thread at a step, twice; list the steps of that thread."""
    steps: list[str] = []

    def interrupt(name: str) -> None:
        if threading.current_thread().name == "pmlive-seal":
            steps.append(name)
            if len(steps) in (number, number + 1):
                raise KeyboardInterrupt

    options = fast(rows_memory=rows_memory, merge_files=2, grace=0.0)
    recorder = Recorder(folder, rebuild=rebuild, options=options, step=interrupt)
    feed(recorder, range(1, 20))
    recorder.cut([])
    feed(recorder, range(20, 40))
    recorder.cut([])
    wait_until(lambda: recorder.status().segments == 2)
    wait_until(lambda: len(read_manifest(folder).of("trades")) == 1)
    recorder.close()
    assert recorder.status().trouble is None
    return steps


def test_the_frames_of_a_recording_name_the_tokens_as_its_table_does(tmp_path: Path) -> None:
    with SimulatedVenue(markets=1, rate=100) as sim, Manager(address(sim)) as live:
        live.record(tmp_path)
        live.watch(sim.markets[0].slug)
        live.first("prices", rows=5)

    prices, names = pm.open_recording(tmp_path).prices, listed(tmp_path)

    joined = prices.drop("slug", "outcome").join(names.select("token_id", "slug", "outcome"), on="token_id", how="left")
    assert_frame_equal(
        joined.select("token_id", "slug", "outcome"),
        prices.select("token_id", pl.col("slug", "outcome").cast(pl.String)),
    )
    assert isinstance(prices, pl.DataFrame)


def test_what_somebody_changed_in_it_is_found_and_written_again(tmp_path: Path) -> None:
    night = tmp_path / "night"
    shutil.copytree(pm.sample(), night)
    whole = listed(night)
    assert pm.open_recording(night).verify().ok

    for change in (
        lambda: whole.with_columns(winner=pl.lit("Yes")).write_parquet(night / MARKETS_FILE),
        lambda: (night / MARKETS_FILE).write_bytes(b"PAR1"),
    ):
        change()
        (finding,) = pm.open_recording(night).verify().findings
        assert finding.where == MARKETS_FILE
        assert "pmlive repair" in finding.advice
        repair(night, rebuild=journal.rebuild)
        assert_frame_equal(listed(night), whole)

    (night / MARKETS_FILE).unlink()
    assert pm.open_recording(night).verify().ok


def test_a_rebuilt_recording_has_it_too(tmp_path: Path) -> None:
    pm.open_recording(pm.sample()).rebuild(tmp_path / "again")

    assert_frame_equal(listed(tmp_path / "again"), listed(pm.sample()))
