"""A recording that another run goes on with: what the last run knew of a token ends, up to its book in the new run."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import polars as pl
import pytest
from support.live import address
from support.waiting import wait_until

import pmlive as pm
from pmlive.analysis import touched_by
from pmlive.manager import Manager
from pmlive.recording import Recording
from pmlive.sim import SimulatedVenue

_STEPS = 60
# How a run of a recording begins to watch a market by its slug.
_Watch: TypeAlias = Callable[[Manager, Path, str], None]


def run(sim: SimulatedVenue, folder: Path, watch: _Watch, *, market: int = 0) -> None:
    """Record for a moment."""
    with Manager(address(sim)) as live:
        watch(live, folder, sim.markets[market].slug)
        before = live.prices.height
        wait_until(lambda: live.prices.height > before + 20, what="that prices come")


def trusted(live: Manager) -> int:
    books = live.report().books
    return 0 if books is None else books.trusted


def at_once(live: Manager, folder: Path, slug: str) -> None:
    live.record(folder)
    live.watch(slug)
    wait_until(lambda: trusted(live) == 2, what="that books are there")


def wanted_twice(live: Manager, folder: Path, slug: str) -> None:
    """Give up a market, most likely before its books came, and want it again."""
    live.record(folder)
    live.unsubscribe(live.watch(slug))
    at_once(live, folder, slug)


def watched_before(live: Manager, folder: Path, slug: str) -> None:
    """Go on with the recording when the books are there already."""
    live.watch(slug)
    wait_until(lambda: trusted(live) == 2, what="that books are there")
    live.record(folder)


def disagreements(night: Recording, token: str) -> list[tuple[int, bool, bool]]:
    """List times at which ``book_at`` and the table of gaps do not say the same of a token."""
    books = night.scan("book_snapshots").filter(pl.col("token_id") == token).collect()
    first, last = (
        int(books["ts_recv"].dt.epoch("ns")[0]),
        int(night.scan("prices").select(pl.col("ts_recv").max().dt.epoch("ns")).collect().item()),
    )
    times = [first + 1 + (last - first - 2) * step // _STEPS for step in range(_STEPS)]
    # Around each edge, where the two could differ by a rule of their own.
    edges = night.gaps.select(pl.col("started", "ended").dt.epoch("ns")).rows()
    times += [edge + by for span in edges for edge in span for by in (-2_000, 2_000) if first < edge + by < last]
    at = pl.Series(sorted(times)).cast(pl.Datetime("ns", "UTC"))
    moments = pl.DataFrame({"token_id": token, "start": at, "end": at})
    touched = touched_by(moments, night.gaps, conns=books)
    stale = [night.book_at(token, time).quality == "stale" for time in sorted(times)]
    return [each for each in zip(sorted(times), stale, touched, strict=True) if each[1] != each[2]]


@pytest.mark.quick(1)
@pytest.mark.parametrize(
    "second",
    [at_once, pytest.param(wanted_twice, marks=pytest.mark.slow), pytest.param(watched_before, marks=pytest.mark.slow)],
)
@pytest.mark.parametrize("left", ["closed", "killed", "killed with a large log"])
def test_what_was_known_of_a_token_ends_with_its_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, left: str, second: _Watch
) -> None:
    first, night = tmp_path / "first", tmp_path / "night"
    if left == "killed with a large log":
        monkeypatch.setattr("pmlive.store.opening._SEALED_AT_ONCE_BYTES", 0)

    def copied(live: Manager, folder: Path, slug: str) -> None:
        """Keep what a kill would leave now."""
        at_once(live, folder, slug)
        wait_until(lambda: sum(path.stat().st_size for path in (folder / "wal").iterdir()) > 20_000, what="a log")
        shutil.copytree(folder, night)

    with SimulatedVenue(markets=1, rate=200) as sim:
        run(sim, first, at_once if left == "closed" else copied)
        if left == "closed":
            shutil.move(first, night)
        run(sim, night, second)

        recording = pm.open_recording(night)
        for token in sim.markets[0].token_ids:
            assert disagreements(recording, token) == []
        restarts = recording.gaps.filter(pl.col("cause").cast(pl.String) == "restart")
        assert restarts.filter(pl.col("token_id").is_null()).height == 1
        assert recording.verify().ok


def test_a_token_that_no_earlier_run_followed_has_no_gap(tmp_path: Path) -> None:
    with SimulatedVenue(markets=2, rate=200) as sim:
        for market in (0, 1):
            run(sim, tmp_path / "night", at_once, market=market)

    gaps = pm.open_recording(tmp_path / "night").gaps
    assert gaps["token_id"].to_list() == [None]
