"""Recordings while somebody sets the clock: what may be missing lies in gaps, by the venue's time and by ours."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import polars as pl
import pytest
from support.feed import times
from support.live import closed_gaps, living, subscribe, until_trusted
from support.night import NOON
from support.waiting import until

import pmlive as pm
from pmlive.feed import Clock, elapsed
from pmlive.gaps import GapIndex, GapInterval
from pmlive.manager.live import Live
from pmlive.pipeline.journal import rebuild
from pmlive.recording.trust import TrustEvent, TrustTimeline, distrusted_minutes
from pmlive.sim import SimulatedVenue
from pmlive.store import Recorder, records, scan

S = 1_000_000_000
MINUTE = 60 * S
HOUR = 3600 * S
YEAR = 365 * 24 * HOUR
# The venue's times are in whole milliseconds, and a message takes its way.
SLACK = S // 20
CALM = times(ping=0.2, answer=5, opening=5, silence=60)
Act = Callable[["Scene", Live], Awaitable[None]]


class Hands:
    """The true time, which may be made to pass, and a wall clock that is off by so much."""

    def __init__(self) -> None:
        self.off = 0
        self._more = 0

    def true(self) -> int:
        return elapsed() - _BEGAN + NOON + self._more

    def wall(self) -> int:
        return self.true() + self.off

    def pass_(self, seconds: float) -> None:
        self._more += round(seconds * S)

    def clock(self) -> Clock:
        return Clock(self.wall, self.true)


_BEGAN = elapsed()


class Scene:
    """A venue and a folder that are there for longer than one run."""

    def __init__(self, sim: SimulatedVenue, folder: Path, hands: Hands) -> None:
        self.sim, self.folder, self.hands = sim, folder, hands
        self.tokens = [token for market in sim.markets for token in market.token_ids]

    @asynccontextmanager
    async def run(self) -> AsyncGenerator[Live]:
        """Record with a new clock, as a program that is started does, until the books are there and were changed."""
        async with living(self.sim, timing=CALM, clock=self.hands.clock()) as live:
            live.ingest.record(Recorder(self.folder, rebuild=rebuild, clock=self.hands.wall))
            subscribe(live, self.tokens)
            await until_trusted(live, len(self.tokens))
            await self.hear(live)
            yield live
            recorder = live.ingest.end_recording()
            assert recorder is not None
            recorder.close()

    async def hear(self, live: Live, times: int = 5) -> None:
        """Let things happen, each of which is heard."""
        for _ in range(times):
            before = live.ingest.pipeline.seq
            self.sim.step(10)
            await until(lambda before=before: live.ingest.pipeline.seq > before + 10, what="that changes are heard")

    async def cut(self, live: Live) -> None:
        """Break the connection while things happen, a second long."""
        before, (token, *_) = live.reconnects, self.tokens
        self.sim.fault("drop", channel="market")
        self.sim.fault("refuse", channel="market", number=503, times=2)
        self.sim.step(10)
        await until(lambda: not live.ingest.pipeline.books.tokens[token].conn, what="that the connection is gone")
        for _ in range(4):
            self.sim.step(10)
            self.hands.pass_(0.25)
        await until(lambda: live.reconnects > before, what="that it is back")
        await until_trusted(live, len(self.tokens))
        await self.hear(live)

    async def last(self, live: Live, seconds: float) -> None:
        """Let time pass in which the clocks are looked at."""
        for _ in range(round(seconds)):
            self.hands.pass_(1)
            live.clock()
            self.sim.step(2)
            await asyncio.sleep(0)
        await self.hear(live)

    async def until_told(self, live: Live) -> None:
        """Wait until it is known that the clock was set ahead, and all is read that was sent until then."""
        await until(
            lambda: closed_gaps(live).filter(pl.col("detail").str.contains("set ahead")).height > 0,
            what="that all is read",
        )

    # --- what was recorded ---

    @property
    def gaps(self) -> list[GapInterval]:
        return GapIndex(scan(self.folder, "gaps").collect()).all

    def missing(self) -> list[tuple[str, int]]:
        """List the changes between the first and the last row of which there is none, by token and time (ns)."""
        rows = scan(self.folder, "book_deltas").select("token_id", "side", "price", "size", at="ts_event").collect()
        kept = set(rows.with_columns(pl.col("at").dt.epoch("ms")).iter_rows())
        last, first = max(row[4] for row in kept), min(row[4] for row in kept)
        return [
            (change.token_id, change.at * 1_000_000)
            for change in self.sim.changes()
            if first < change.at < last
            and (change.token_id, change.side, change.price, change.size, change.at) not in kept
        ]

    def uncovered(self) -> list[tuple[str, int]]:
        """List what is missing and lies in no gap by the venue's time."""
        return [
            (token, at)
            for token, at in self.missing()
            if not any(
                gap.token_id in (None, token) and gap.started - SLACK <= at < gap.until + SLACK for gap in self.gaps
            )
        ]

    def received(self) -> list[int]:
        """List the receive times in order of arrival."""
        return [record.recv for record in records(self.folder)]

    def quality_at(self, time: int) -> set[str]:
        recording = pm.open_recording(self.folder)
        return {recording.book_at(token, time).quality for token in self.tokens}


@contextmanager
def scene(folder: Path) -> Generator[Scene]:
    hands = Hands()
    with SimulatedVenue(
        markets=1, rate=0, keep_truth=True, duplicates=0, clock=lambda: hands.true() // 1_000_000
    ) as sim:
        yield Scene(sim, folder / "night", hands)


def play(folder: Path, act: Act, *, off: int = 0) -> Scene:
    """Play something in one run that begins with a clock that is off."""

    async def all_of_it() -> None:
        async with it.run() as live:
            await act(it, live)

    with scene(folder) as it:
        it.hands.off = off
        asyncio.run(all_of_it())
    return it


@pytest.mark.quick(1)
@pytest.mark.parametrize(
    "off", [MINUTE, -HOUR, *(pytest.param(off, marks=pytest.mark.slow) for off in (-MINUTE, HOUR, -50 * YEAR))]
)
def test_a_wall_clock_that_is_wrong_for_three_seconds_leaves_no_trace(tmp_path: Path, off: int) -> None:
    async def act(it: Scene, live: Live) -> None:
        it.hands.off = off
        await it.last(live, 3)
        it.hands.off = 0
        await it.last(live, 3)
        assert abs(live.clock() - it.hands.true()) < SLACK
        await it.cut(live)

    it = play(tmp_path, act)

    assert it.missing()
    assert it.uncovered() == []
    assert {gap.cause for gap in it.gaps} == {"disconnect"}
    assert max(gap.until - gap.started for gap in it.gaps) < MINUTE


@pytest.mark.parametrize(
    "off", [MINUTE, *(pytest.param(off, marks=pytest.mark.slow) for off in (5 * S, 5 * MINUTE, HOUR))]
)
def test_a_clock_that_was_ahead_and_is_set_back_comes_right_and_gaps_cover_both_times(tmp_path: Path, off: int) -> None:
    async def act(it: Scene, live: Live) -> None:
        it.hands.off = 0
        await it.last(live, 12)
        ahead.append(live.clock.ahead)
        await it.cut(live)
        it.hands.pass_(2 * off / S)
        await it.last(live, 3)
        ahead.append(live.clock.ahead)
        assert abs(live.clock() - it.hands.true()) < SLACK

    ahead: list[int] = []
    it = play(tmp_path, act, off=off)

    assert 0 < ahead[0] <= off
    assert ahead[1] < SLACK
    assert it.missing()
    assert it.uncovered() == []
    assert it.received() == sorted(it.received())
    # It is told, and makes no book doubtful.
    (told,) = [gap for gap in it.gaps if "the clock was set back" in gap.detail]
    assert told.started == told.until
    assert max(gap.until - gap.started for gap in it.gaps) < off + MINUTE


@pytest.mark.quick(1)
@pytest.mark.parametrize(
    "off", [-MINUTE, HOUR, *(pytest.param(off, marks=pytest.mark.slow) for off in (-HOUR, -2 * S, 5 * MINUTE))]
)
def test_a_clock_that_is_far_off_all_the_time_has_gaps_by_both_times(tmp_path: Path, off: int) -> None:
    async def act(it: Scene, live: Live) -> None:
        await until_known(it, live)
        await it.cut(live)
        await until_known(it, live)
        await until(
            lambda: closed_gaps(live)["detail"].str.contains("by the venue's time").any(),
            what="that it is told by the venue's time",
        )

    async def until_known(it: Scene, live: Live) -> None:
        (connection,) = live.pool.of("market")
        while connection.session.offset is None:
            await it.hear(live, 1)

    it = play(tmp_path, act, off=off)

    assert it.missing()
    assert it.uncovered() == []
    assert sum(gap.until - gap.started for gap in it.gaps) < 5 * MINUTE


@pytest.mark.parametrize("off", [MINUTE, *(pytest.param(off, marks=pytest.mark.slow) for off in (90 * S,))])
def test_a_clock_that_is_ahead_all_the_time_has_gaps_that_cover_both_times(tmp_path: Path, off: int) -> None:
    """Answers to pings came by our own time, and told that the venue's was covered, too."""

    async def act(it: Scene, live: Live) -> None:
        (connection,) = live.pool.of("market")
        heard = live.clock()
        await until(lambda: connection.session.complete_until > heard - off, what="that a ping is answered")
        await it.cut(live)

    it = play(tmp_path, act, off=off)

    assert it.missing()
    assert it.uncovered() == []
    assert max(gap.until - gap.started for gap in it.gaps) < off + MINUTE


@pytest.mark.quick(1)
@pytest.mark.parametrize(
    "off", [MINUTE, 56 * YEAR, *(pytest.param(off, marks=pytest.mark.slow) for off in (2 * S, HOUR))]
)
def test_a_clock_that_was_behind_and_is_set_right_leaves_a_gap_in_which_nothing_is_known(
    tmp_path: Path, off: int
) -> None:
    """A computer without a clock of its own begins in 1970, until somebody tells it the time."""

    async def act(it: Scene, live: Live) -> None:
        before.append(live.clock())
        it.hands.off = 0
        await it.last(live, 13)
        await it.until_told(live)
        await it.hear(live)
        assert abs(live.clock() - it.hands.true()) < SLACK
        after.append(live.clock())
        await it.hear(live)
        await it.cut(live)

    before: list[int] = []
    after: list[int] = []
    it = play(tmp_path, act, off=-off)

    assert it.uncovered() == []
    assert it.received() == sorted(it.received())
    (told,) = [gap for gap in it.gaps if gap.cause == "silence"]
    assert "the clock was set ahead" in told.detail
    assert before[0] - 2 * S <= told.started <= told.until <= after[0]
    assert it.quality_at((told.started + told.until) // 2) == {"stale"}
    assert it.quality_at(after[0]) == {"verified"}
    found = pm.open_recording(it.folder).quality()
    assert found.distrust.height < 20_000
    assert len(found.faults) == 2


def test_gaps_by_a_clock_that_was_behind_are_told_by_the_venue_s_time_too(tmp_path: Path) -> None:
    """By a clock that is a little behind for long, so that the time it leaves out is not that of its gaps."""

    async def act(it: Scene, live: Live) -> None:
        await it.cut(live)
        it.hands.pass_(300)
        await it.hear(live)
        it.hands.off = 0
        await it.last(live, 13)
        await it.until_told(live)
        await it.hear(live)

    it = play(tmp_path, act, off=-MINUTE)

    assert it.missing()
    assert it.uncovered() == []
    assert sum(gap.until - gap.started for gap in it.gaps) < 5 * MINUTE


@pytest.mark.parametrize(
    "off", [HOUR, *(pytest.param(off, marks=pytest.mark.slow) for off in (MINUTE, 30 * 24 * HOUR))]
)
def test_a_run_after_one_whose_clock_was_ahead_knows_nothing_of_the_time_between(tmp_path: Path, off: int) -> None:
    async def both() -> None:
        it.hands.off = off
        async with it.run():
            await asyncio.sleep(0)
        ended.append(it.hands.true())
        it.hands.off = 0
        it.sim.step(50)
        it.hands.pass_(10)
        it.sim.step(50)
        began.append(it.hands.true())
        async with it.run() as live:
            heard.append(live.clock())
            await it.hear(live)
            assert abs(live.clock() - it.hands.true()) < SLACK

    ended: list[int] = []
    began: list[int] = []
    heard: list[int] = []
    with scene(tmp_path) as it:
        asyncio.run(both())

    assert it.missing()
    assert it.uncovered() == []
    assert it.quality_at(ended[0] + SLACK) == it.quality_at((ended[0] + began[0]) // 2) == {"stale"}
    assert it.quality_at(began[0] - SLACK) == {"stale"}
    assert it.quality_at(heard[0]) == {"verified"}
    # When the second run is at the times of the first, nobody knows whose book is meant; nor after both have ended.
    assert it.quality_at(ended[0] + off - SLACK) == {"stale"}
    assert it.quality_at(ended[0] + off + MINUTE) == {"stale"}
    assert sum(gap.until - gap.started for gap in it.gaps) < 2 * MINUTE
    found = pm.open_recording(it.folder).quality()
    assert found.distrust.height < 20_000
    assert all(0 < token.trusted < token.followed < 2 * MINUTE / S for token in found.tokens)
    assert found.coverage is not None
    assert 0 < found.coverage < 1


@pytest.mark.parametrize("off", [56 * YEAR, *(pytest.param(off, marks=pytest.mark.slow) for off in (MINUTE, HOUR))])
def test_a_run_whose_clock_is_behind_the_last_one_goes_on_from_its_times(tmp_path: Path, off: int) -> None:
    """The clock of a computer without one of its own is that of its last hour, or of 1970."""

    async def both() -> None:
        async with it.run():
            await asyncio.sleep(0)
            ended.append(it.hands.true())
        it.hands.off = -off
        it.sim.step(50)
        it.hands.pass_(10)
        it.sim.step(50)
        async with it.run() as live:
            assert live.clock() >= ended[0] - S
            it.hands.off = 0
            await it.last(live, 13)
            await it.until_told(live)
            heard.append(live.clock())
            assert abs(heard[0] - it.hands.true()) < SLACK
            await it.hear(live)

    ended: list[int] = []
    heard: list[int] = []
    with scene(tmp_path) as it:
        asyncio.run(both())

    assert it.missing()
    assert it.uncovered() == []
    assert it.quality_at(heard[0]) == {"verified"}
    assert sum(gap.until - gap.started for gap in it.gaps) < 2 * MINUTE


def test_minutes_of_decades_in_which_nothing_was_heard_are_not_listed_one_by_one() -> None:
    began = 5 * MINUTE
    gap = GapInterval(seq=1, started=began, ended=NOON, until=NOON, cause="silence", detail="", token_id="7", conn=0)
    heard = [NOON - 40 * 24 * HOUR, NOON - 20 * 24 * HOUR]

    book = TrustEvent(NOON - MINUTE, 2, 1, "book")
    found = distrusted_minutes({"7": TrustTimeline("7", [book], [gap], NOON)}, heard)

    minutes = found["minute"].dt.epoch("ns").to_list()
    assert minutes[0] == began
    assert set(heard) < set(minutes)
    assert len(minutes) == 2 * 24 * 60 + 2
    assert minutes[-1] == NOON - MINUTE
