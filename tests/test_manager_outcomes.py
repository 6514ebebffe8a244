"""Resolutions that the socket never told are learnt from the catalogue, and end what was open of their markets."""

from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager
from itertools import pairwise
from pathlib import Path
from typing import cast

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.feed import QUICK, times
from support.live import address
from support.waiting import wait_until

from pmlive.errors import BookError
from pmlive.events import Channel, Gap, MarketResolved
from pmlive.manager import Manager
from pmlive.manager.keys import Followed, Plan, Waits, resolution
from pmlive.manager.live import CrossCheckPolicy
from pmlive.markets import Market
from pmlive.pipeline import Pipeline
from pmlive.recording import open_recording
from pmlive.sim import Market as SimulatedMarket
from pmlive.sim import SimulatedVenue
from pmlive.store import scan

S = 1_000_000_000
NOW = 1_790_000_000 * S
WAITS = Waits()
# Looked at often, and never looked up but for what is to be tried.
SELDOM = Waits(turn=0.05, every=3600, over=3600, doubt=0.1, again=0.1)
OFTEN = Waits(turn=0.05, every=0.2, over=3600, doubt=3600, doubted=3600, again=0.1)


Managing = Callable[[SimulatedVenue, Waits], AbstractContextManager[Manager]]


@pytest.fixture
def managing(monkeypatch: pytest.MonkeyPatch) -> Managing:
    """Make managers that are impatient with silence, and with outcomes as told."""
    monkeypatch.setattr("pmlive.feed.pool._TIMING", times(ping=5, answer=5, opening=0.2, silence=60))
    monkeypatch.setattr("pmlive.manager.live.CrossCheckPolicy", lambda: CrossCheckPolicy(quiet=0.3, grace=0.1))

    @contextmanager
    def make(sim: SimulatedVenue, waits: Waits) -> Generator[Manager]:
        monkeypatch.setattr("pmlive.manager.engine.Waits", lambda: waits)
        with Manager(address(sim), policy=QUICK) as manager:
            yield manager

    return make


def resolutions(manager: Manager) -> pl.DataFrame:
    return manager.market_events.filter(pl.col("kind") == "market_resolved")


def asked(sim: SimulatedVenue) -> int:
    return sum(dial.channel == "gamma" for dial in sim.dials)


def trusted(manager: Manager) -> int:
    return cast("dict[str, int]", manager.status()["books"])["trusted"]


# --- what is due when ---


def test_every_market_is_looked_up_at_least_each_ten_minutes_and_not_much_oftener() -> None:
    plan, markets = Plan(WAITS), [Followed(f"0x{number:064x}") for number in range(2_000)]
    last, requests, longest = dict.fromkeys((market.condition_id for market in markets), 0), 0, 0

    for now in range(0, 3600 * S, 10 * S):
        due = plan.due(markets, now)
        plan.asked(due, now)
        requests += -(-len(due) // 50)
        longest = max(longest, *(now - last[each] for each in due), 0)
        last.update(dict.fromkeys(due, now))

    assert longest <= 610 * S
    assert all(3600 * S - each <= 610 * S for each in last.values())
    # 40 requests in ten minutes are the least there can be; the venue lets 300 pass in ten seconds.
    assert 6 * 40 <= requests <= 8 * 40


def test_a_doubtful_market_is_looked_up_at_once_and_then_ever_more_seldom() -> None:
    plan, times_asked = Plan(WAITS), list[int]()
    plan.due([Followed("0x1")], 0)

    for now in range(6 * S, 1206 * S, S):
        due = plan.due([Followed("0x1", doubtful=True)], now)
        plan.asked(due, now)
        times_asked += [now // S] * len(due)

    assert times_asked[0] == 6
    steps = [later - earlier for earlier, later in pairwise(times_asked)]
    assert steps == [10, 20, 40, 80, *[120] * (len(steps) - 4)]


def test_a_market_past_its_end_is_looked_up_each_minute() -> None:
    plan, number = Plan(WAITS), 0

    for now in range(0, 3600 * S, S):
        due = plan.due([Followed("0x1", over=True)], now)
        plan.asked(due, now)
        number += len(due)

    assert 60 <= number <= 61


def test_what_failed_is_tried_again_after_half_a_minute() -> None:
    plan, market = Plan(WAITS), Followed("0x1", doubtful=True)

    assert plan.due([market], 0) == ["0x1"]
    plan.failed(["0x1"], 0)
    assert plan.due([market], 29 * S) == []
    assert plan.due([market], 30 * S) == ["0x1"]


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=300))
def test_no_market_waits_longer_than_its_state_allows(states: list[tuple[bool, bool]]) -> None:
    plan, last = Plan(WAITS), 0

    for step, (doubtful, over) in enumerate(states):
        now = step * 10 * S
        due = plan.due([Followed("0x1", doubtful=doubtful, over=over)], now)
        if due:
            plan.asked(due, now)
            last = now
        allowed = 120 if doubtful else 60 if over else 600
        assert now - last <= allowed * S


def test_of_very_many_markets_a_turn_looks_up_so_many_as_it_has_time_for() -> None:
    plan, markets = Plan(WAITS), [Followed(f"0x{number:x}", doubtful=True) for number in range(10_000)]
    seen, now = set[str](), 0

    while len(seen) < 10_000:
        due = plan.due(markets, now)
        assert 0 < len(due) <= 1000
        plan.asked(due, now)
        seen.update(due)
        now += S

    assert now == 10 * S


# --- how it is learnt ---


def emptied(_manager: Manager, sim: SimulatedVenue, market: SimulatedMarket) -> None:
    """End a market whose end the socket shows, but does not tell."""
    sim.fault("no_resolution", seconds=3600)
    sim.resolve(market, winner=market.outcomes[1])


def gone(manager: Manager, sim: SimulatedVenue, market: SimulatedMarket) -> None:
    """End a market while we are away, so that neither its books nor its outcome are ever seen."""
    sim.fault("refuse", channel="market", number=503, seconds=3600)
    sim.fault("drop", channel="market")
    wait_until(lambda: not trusted(manager))
    sim.resolve(market, winner=market.outcomes[1])
    sim.clear_faults()


def silent(_manager: Manager, sim: SimulatedVenue, market: SimulatedMarket) -> None:
    """End a market of which the socket says nothing any more, so that its books look as before."""
    for token in market.token_ids:
        sim.fault("silent", token_id=token, seconds=3600)
    sim.resolve(market, winner=market.outcomes[1])


def away(manager: Manager, sim: SimulatedVenue, market: SimulatedMarket) -> None:
    """End a market while nothing of the CLOB can be reached, and keep it so."""
    for channel in ("market", "clob"):
        sim.fault("refuse", channel=channel, number=503, seconds=3600)
    sim.fault("drop", channel="market")
    wait_until(lambda: not trusted(manager))
    sim.resolve(market, winner=market.outcomes[1])


@pytest.mark.quick(4)
@pytest.mark.parametrize(
    ("end", "waits"),
    [(emptied, SELDOM), (gone, SELDOM), (silent, SELDOM), (silent, OFTEN), (away, OFTEN), (emptied, OFTEN)],
)
@pytest.mark.parametrize("v2", [0, 2])
def test_a_resolution_that_the_socket_never_told_is_learnt_and_ends_the_gaps_of_its_market(
    managing: Managing,
    end: Callable[[Manager, SimulatedVenue, SimulatedMarket], None],
    waits: Waits,
    *,
    v2: int,
    tmp_path: Path,
) -> None:
    with SimulatedVenue(markets=2, rate=0, v2=v2) as sim, managing(sim, waits) as manager:
        over, going = sim.markets
        manager.watch([over.slug, going.slug])
        manager.record(tmp_path)
        wait_until(lambda: trusted(manager) == 4)

        end(manager, sim, over)
        wait_until(lambda: resolutions(manager).height, what="that the resolution is known")

        [row] = resolutions(manager).to_dicts()
        assert (row["market"], row["winning_token_id"], row["winning_outcome"]) == (
            over.condition_id,
            over.token_ids[1],
            over.outcomes[1],
        )
        gaps = manager.gaps.filter(pl.col("token_id").is_in(list(over.token_ids)))
        assert all(ended is not None and ended <= row["ts_recv"] for ended in gaps["ended"])
        manager.stop_recording()

    night = open_recording(tmp_path)
    told = scan(tmp_path, "market_events").filter(pl.col("kind") == "market_resolved").collect()
    assert told.height == 1
    assert night.gaps.filter(pl.col("token_id").is_in(list(over.token_ids)) & pl.col("ended").is_null()).height == 0
    with night.replay(speed="max", prove=True) as again:
        assert again.digest() == night.digest()
        assert resolutions(again).height == 1
    assert {market.version for market in night.markets} == {"v2" if v2 else "v1"}


def test_what_the_socket_tells_after_the_catalogue_is_no_second_resolution(managing: Managing) -> None:
    with SimulatedVenue(markets=2, rate=0) as sim, managing(sim, SELDOM) as manager:
        over, going = sim.markets
        manager.watch([over.slug, going.slug])
        wait_until(lambda: trusted(manager) == 4)
        withheld = sim.fault("no_resolution", seconds=3600)
        sim.resolve(over)
        wait_until(lambda: resolutions(manager).height)
        withheld.clear()

        sim.release()
        assert sim.withheld == []
        before = manager.trades.height + manager.prices.height
        wait_until(lambda: sim.step() and manager.trades.height + manager.prices.height > before)

        assert resolutions(manager).height == 1


def test_what_the_socket_told_is_not_asked_for(managing: Managing) -> None:
    with SimulatedVenue(markets=1, rate=0) as sim, managing(sim, SELDOM) as manager:
        manager.watch(sim.markets[0].slug)
        wait_until(lambda: trusted(manager) == 2)
        sim.resolve(sim.markets[0])
        wait_until(lambda: resolutions(manager).height)
        before = asked(sim)

        assert resolutions(manager)["conn"].to_list() != [0]
        assert asked(sim) == before


def test_a_catalogue_that_fails_is_told_and_asked_again(managing: Managing, caplog: pytest.LogCaptureFixture) -> None:
    with SimulatedVenue(markets=1, rate=0) as sim, managing(sim, SELDOM) as manager:
        manager.watch(sim.markets[0].slug)
        wait_until(lambda: trusted(manager) == 2)
        sim.fault("no_resolution", seconds=3600)
        down = sim.fault("refuse", channel="gamma", number=403, seconds=3600)
        sim.resolve(sim.markets[0])
        wait_until(lambda: down.count >= 2, what="that it is asked again")
        assert resolutions(manager).height == 0
        down.clear()

        wait_until(lambda: resolutions(manager).height)

    assert any("outcomes of 1 markets could not be looked up" in record.message for record in caplog.records)


def test_a_market_whose_books_are_empty_and_that_is_open_is_not_taken_for_resolved(managing: Managing) -> None:
    waits = Waits(turn=0.05, every=3600, doubt=0.05, doubted=0.2)
    with SimulatedVenue(markets=1, rate=0) as sim, managing(sim, waits) as manager:
        manager.watch(sim.markets[0].slug)
        wait_until(lambda: trusted(manager) == 2)
        sim.empty(sim.markets[0])
        before = asked(sim)
        wait_until(lambda: asked(sim) >= before + 4)

        assert resolutions(manager).height == 0
        assert manager.gaps.height == 0
        assert trusted(manager) == 2


@pytest.mark.parametrize("subscribe", ["subscribe_market_prices", "subscribe_orderbook_updates", "watch"])
def test_any_subscription_learns_of_the_resolution_of_its_markets_also_by_bare_tokens(
    managing: Managing, subscribe: str
) -> None:
    with SimulatedVenue(markets=1, rate=0) as sim, managing(sim, SELDOM) as manager:
        [market] = sim.markets
        getattr(manager, subscribe)(market.token_ids[0])
        wait_until(lambda: trusted(manager) == 1)
        emptied(manager, sim, market)

        wait_until(lambda: resolutions(manager).height)


def test_the_book_of_a_market_that_was_resolved_while_we_were_away_says_so(managing: Managing) -> None:
    with SimulatedVenue(markets=2, rate=0) as sim, managing(sim, SELDOM) as manager:
        over, going = sim.markets
        manager.watch([over.slug, going.slug])
        wait_until(lambda: trusted(manager) == 4)
        gone(manager, sim, over)
        wait_until(lambda: resolutions(manager).height)

        with pytest.raises(BookError, match="was resolved"):
            manager.book(over.token_ids[0])


def test_a_market_that_was_split_is_resolved_without_a_winner() -> None:
    split = Market(condition_id="0xab", closed=True, split=True, outcomes=["Yes", "No"], token_ids=["1", "2"])
    told = resolution(split, 5_000_000)

    assert told is not None
    assert (told.winning_token_id, told.winning_outcome, told.token_ids) == ("", "", ["1", "2"])
    pipeline = Pipeline()
    pipeline.received(0, [told], NOW)
    row = pipeline.drain()["market_events"].to_dicts()[0]
    assert (row["token_id"], row["winning_token_id"], row["winning_outcome"]) == (None, None, None)
    assert resolution(Market(condition_id="0xab", closed=True), 0) is None


def test_nothing_can_be_missed_of_a_market_after_its_resolution() -> None:
    told = MarketResolved(
        market="0xm", timestamp=NOW // 1_000_000, token_ids=["1", "2"], winning_token_id="1", winning_outcome="Yes"
    )
    pipeline = Pipeline()
    pipeline.opened(7, "market", ["1", "2", "3"], NOW)
    pipeline.missed(Gap(started=NOW, cause="late opening book", token_id="1", conn=7), NOW + 5)
    pipeline.received(0, [told, told], NOW + 10)
    pipeline.missed(Gap(started=NOW, cause="late opening book", token_id="2", conn=7), NOW + 20)
    pipeline.missed(Gap(started=NOW, cause="late opening book", token_id="3", conn=7), NOW + 20)
    pipeline.finish(NOW + 30)

    rows = pipeline.drain()
    gaps = rows["gaps"].select("token_id", pl.col("ended").dt.epoch("ns")).rows()
    assert gaps == [("1", NOW + 10), ("3", None)]
    assert rows["market_events"].height == 1


@pytest.mark.parametrize(("started", "is_over"), [(NOW, True), (NOW + 5, False), (NOW - 5, False)])
def test_the_gap_of_a_stop_is_over_when_the_end_of_that_gap_is_told(*, started: int, is_over: bool) -> None:
    pipeline = Pipeline()
    pipeline.missed(Gap(started=NOW, cause="silence", detail="it did not run"), NOW + 10)

    pipeline.missed(Gap(started=started, ended=NOW + 20, cause="silence", detail="the clock was set"), NOW + 20)

    assert (pipeline.stopped is None) == is_over


def test_a_connection_that_carried_only_what_was_resolved_misses_nothing() -> None:
    told = MarketResolved(
        market="0xm", timestamp=NOW // 1_000_000, token_ids=["1"], winning_token_id="1", winning_outcome="Yes"
    )
    pipeline = Pipeline()
    links: list[tuple[int, Channel, list[str]]] = [(7, "market", ["1"]), (8, "market", ["2"]), (9, "user", [])]
    for conn, channel, tokens in links:
        pipeline.opened(conn, channel, tokens, NOW)
        pipeline.closed(conn, "disconnect", "cut", NOW + 5)
    pipeline.received(0, [told], NOW + 10)

    assert {gap.conn for gap in pipeline.open_gaps()} == {8, 9}
    pipeline.opened(10, "market", ["1"], NOW + 20, replaces=7)
    pipeline.closed(10, "disconnect", "the server closed the connection", NOW + 30)
    assert {gap.conn for gap in pipeline.open_gaps()} == {8, 9}
