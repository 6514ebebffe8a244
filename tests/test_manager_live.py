"""Silence, missing books and lost changes against the simulated venue, noticed and mended."""

import asyncio
import time
from collections.abc import Callable, Coroutine
from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest
from support.feed import times
from support.live import closed_gaps, living, subscribe, trusted, until_trusted
from support.night import NOON
from support.waiting import until

from pmlive._session import Timing
from pmlive.errors import BookError
from pmlive.events import Channel, Gap, MarketResolved
from pmlive.gaps import GapIndex
from pmlive.manager import Manager
from pmlive.manager.ingest import Ingest
from pmlive.manager.live import CrossCheckPolicy, Live
from pmlive.manager.snapshots import book_view
from pmlive.pipeline import Token
from pmlive.settings import Variables, Venue
from pmlive.sim import SimulatedVenue
from pmlive.store import Record, scan
from pmlive.times import moment

S = 1_000_000_000
Watching = Callable[[Live, SimulatedVenue], Coroutine[object, object, None]]
# Silence is doubted after 0.4 s; the books have time to come.
DOUBTING = times(ping=0.1, answer=3, opening=2, silence=0.4, calm=0.6)
# And soon asked for anew.
UNSURE = times(ping=0.1, answer=3, opening=0.5, silence=0.4, calm=0.6)
PATIENT = times(ping=5, answer=5, opening=5, silence=60)


def fetching() -> list[str]:
    """List the calls of REST books that are under way."""
    return [name for task in asyncio.all_tasks() if "_fetch" in (name := repr(task.get_coro()))]


def tokens_of(sim: SimulatedVenue) -> list[str]:
    return [token for market in sim.markets for token in market.token_ids]


def same_as_rest(live: Live, sim: SimulatedVenue) -> bool:
    """Tell whether every book has the hash that REST states now."""
    books = live.ingest.pipeline.books.tokens.values()
    return all(token.stated in sim.book(token.id) for token in books)


async def until_same(live: Live, sim: SimulatedVenue) -> None:
    await until(lambda: all(trusted(live)) and same_as_rest(live, sim), what="that the books are the venue's")


def causes(live: Live) -> set[str]:
    return set(live.ingest.frame("gaps")["cause"].cast(pl.String))


def test_a_quiet_and_healthy_market_raises_no_gap() -> None:
    """A false alarm each half minute would teach everybody to look away."""

    async def watch() -> None:
        async with living(sim, timing=DOUBTING, cross_check=CrossCheckPolicy(quiet=0.5, grace=0.1)) as live:
            subscribe(live, tokens_of(sim))
            await until_trusted(live, 4)
            asked = len(sim.dials)
            # Doubted more than once, as a connection and token by token.
            await until(lambda: len(sim.dials) >= asked + 12)
            assert live.ingest.frame("gaps").height == 0
            assert live.reconnects == 0
            assert all(trusted(live))

    with SimulatedVenue(markets=2, rate=0) as sim:
        asyncio.run(watch())


def test_a_frozen_stream_is_found_with_the_help_of_rest() -> None:
    """PINGs are answered and nothing comes (py-clob-client#292).

    Found by reading: the comparison with REST always failed by a fault of ours, so no silence was ever found.
    """

    async def watch() -> None:
        async with living(sim, timing=DOUBTING) as live:
            subscribe(live, tokens_of(sim))
            await until_trusted(live, 4)
            sim.step(20)
            await until_same(live, sim)
            sim.fault("stall", channel="market")
            sim.step(20)
            await until(lambda: live.reconnects >= 1 or "silence" in causes(live))
            assert not all(trusted(live))
            sim.clear_faults()
            await until_same(live, sim)
            gaps = closed_gaps(live)
            assert set(gaps["cause"].cast(pl.String)) >= {"silence"}
            assert set(gaps["token_id"]) == {None, *tokens_of(sim)}

    with SimulatedVenue(markets=2, rate=0) as sim:
        asyncio.run(watch())


def test_one_token_that_the_stream_forgot_is_a_gap_of_that_token() -> None:
    """Some assets never get another event while their siblings flow (nautilus_trader#4901)."""

    async def watch() -> None:
        async with living(sim, timing=PATIENT, cross_check=CrossCheckPolicy(quiet=0.4, grace=0.2)) as live:
            subscribe(live, tokens_of(sim))
            await until_trusted(live, 4)
            forgotten = tokens_of(sim)[0]
            sim.fault("silent", token_id=forgotten)
            await until(lambda: "silence" in causes(live))
            open_ = live.ingest.frame("gaps").filter(pl.col("cause") == "silence")
            assert set(open_["token_id"]) == {forgotten}
            assert live.reconnects == 0
            sim.clear_faults()
            await until(lambda: closed_gaps(live).height >= 1)
            await until(lambda: all(trusted(live)))

    with SimulatedVenue(markets=2, rate=100) as sim:
        asyncio.run(watch())


def test_an_opening_book_that_stays_away_comes_by_rest() -> None:
    async def watch() -> None:
        missing = tokens_of(sim)[1]
        sim.fault("no_opening", token_id=missing, times=2)
        async with living(sim, timing=times(ping=1, answer=5, opening=0.3, silence=60)) as live:
            subscribe(live, tokens_of(sim))
            await until(lambda: len(trusted(live)) == 4 and sum(trusted(live)) == 3)
            assert causes(live) == set()
            await until(lambda: "late opening book" in causes(live))
            await until_trusted(live, 4)
            (gap,) = closed_gaps(live).iter_rows(named=True)
            assert gap["token_id"] == missing
            assert gap["conn"] == live.pool.connections[0].conn
            sim.step(50)
            await until_same(live, sim)
        assert [dial.path for dial in sim.dials].count("/book") == 1

    with SimulatedVenue(markets=2, rate=0) as sim:
        asyncio.run(watch())


def test_a_change_that_was_lost_is_a_mismatch_until_a_new_snapshot() -> None:
    async def watch() -> None:
        async with living(sim, timing=PATIENT) as live:
            subscribe(live, tokens_of(sim))
            await until_trusted(live, 2)
            sim.fault("skip")
            await until(lambda: closed_gaps(live).height >= 1)
            await until(lambda: all(trusted(live)))
            assert set(closed_gaps(live)["cause"].cast(pl.String)) == {"mismatch"}
            assert live.reconnects == 0

    with SimulatedVenue(markets=1, rate=100, duplicates=0) as sim:
        asyncio.run(watch())


def test_a_message_that_cannot_be_read_is_a_gap_until_a_new_snapshot() -> None:
    async def watch() -> None:
        async with living(sim, timing=PATIENT) as live:
            subscribe(live, tokens_of(sim))
            await until_trusted(live, 2)
            sim.fault("garbage", detail="nan")
            await until(lambda: closed_gaps(live).filter(pl.col("cause") == "malformed").height >= 2)
            await until(lambda: all(trusted(live)))

    with SimulatedVenue(markets=1, rate=100) as sim:
        asyncio.run(watch())


@pytest.mark.parametrize("kind", ["drop", "close"])
def test_a_connection_that_is_cut_comes_back_with_the_venue_s_books(kind: str) -> None:
    async def watch() -> None:
        async with living(sim, timing=PATIENT) as live:
            subscribe(live, tokens_of(sim))
            await until_trusted(live, 4)
            sim.fault("drop" if kind == "drop" else "close", channel="market", number=1012)
            await until(lambda: live.reconnects == 1)
            await until_same(live, sim)
            gaps = closed_gaps(live)
            assert set(gaps["token_id"]) == {None, *tokens_of(sim)}
            assert set(gaps["cause"].cast(pl.String)) == {"disconnect"}
            assert live.last_reconnect is not None

    with SimulatedVenue(markets=2, rate=0) as sim:
        asyncio.run(watch())


def test_the_books_of_an_hour_are_the_venue_s() -> None:
    """Thousands of changes as fast as they come, some of them twice: nothing is doubted and nothing lost."""

    async def watch() -> None:
        async with living(sim, timing=PATIENT) as live:
            subscribe(live, tokens_of(sim))
            await until_trusted(live, 6)
            for _ in range(20):
                sim.step(200)
                await asyncio.sleep(0)
            await until_same(live, sim)
            books = live.ingest.pipeline.books
            assert live.ingest.frame("gaps").height == 0
            assert books.checked.hash_mismatch == 0
            assert books.duplicates > 0

    with SimulatedVenue(markets=3, rate=0, duplicates=0.02) as sim:
        asyncio.run(watch())


def test_the_realtime_socket_that_freezes_is_dialled_again() -> None:
    async def watch() -> None:
        async with living(sim, timing=times(ping=0.1, answer=3, opening=2, silence=0.4, calm=0.4)) as live:
            subscribe(live, ["crypto_prices|btcusdt"], "realtime")
            subscribe(live, tokens_of(sim)[:2])
            await until(lambda: live.ingest.frame("reference_prices").height > 0)
            market = live.pool.of("market")[0]
            sim.fault("stall", channel="realtime")
            await until(lambda: live.reconnects >= 1)
            sim.clear_faults()
            before = live.ingest.frame("reference_prices").height
            await until(lambda: live.ingest.frame("reference_prices").height > before + 2)
            assert market.dials == 1
            assert causes(live) == {"silence"}

    with SimulatedVenue(markets=1, rate=50) as sim:
        asyncio.run(watch())


def test_a_calm_stream_whose_books_are_sent_anew_needs_no_rest_to_be_trusted() -> None:
    async def watch() -> None:
        async with living(sim, timing=UNSURE) as live:
            subscribe(live, tokens_of(sim))
            await until_trusted(live, 2)
            sim.fault("refuse", channel="clob", number=403)
            compared = sum(token.counts.snapshot_ok for token in live.ingest.pipeline.books.tokens.values())
            await until(
                lambda: (
                    sum(token.counts.snapshot_ok for token in live.ingest.pipeline.books.tokens.values())
                    >= compared + 6
                )
            )
            assert all(trusted(live))
            assert causes(live) == set()
            assert live.reconnects == 0

    with SimulatedVenue(markets=1, rate=0) as sim:
        asyncio.run(watch())


def test_a_frozen_stream_is_a_gap_though_rest_is_down_too() -> None:
    """Both are Cloudflare's, and fail together."""

    async def watch() -> None:
        async with living(sim, timing=UNSURE, cross_check=CrossCheckPolicy(answer=0.5)) as live:
            subscribe(live, tokens_of(sim))
            await until_trusted(live, 2)
            await until(lambda: live.ingest.frame("prices").height > 20)
            frozen = time.time_ns()
            sim.fault("stall")
            await until(lambda: not any(trusted(live)))
            gaps = live.ingest.frame("gaps").filter(pl.col("token_id").is_not_null())
            assert set(gaps["cause"]) == {"silence"}
            assert gaps.height == 2
            assert max(gaps["started"].dt.epoch("ns")) < frozen + S // 10
            await until(lambda: live.reconnects >= 1)
            sim.clear_faults()
            await until_trusted(live, 2)

    with SimulatedVenue(markets=1, rate=50) as sim:
        asyncio.run(watch())


@pytest.mark.parametrize(("at_once", "which"), [(1000, 0), (3, 0), (3, 3)])
def test_a_token_that_froze_while_its_siblings_flow_is_compared_soon(
    at_once: int, which: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pmlive.manager.live._LOOKED_AT", at_once)

    async def watch() -> None:
        odd = CrossCheckPolicy(quiet=300, frozen=0.4, grace=0.1)
        async with living(sim, timing=PATIENT, cross_check=odd) as live:
            subscribe(live, tokens_of(sim))
            await until_trusted(live, 4)
            frozen = tokens_of(sim)[which]
            sim.fault("silent", token_id=frozen)
            await until(lambda: live.ingest.pipeline.books.tokens[frozen].gap is not None)
            gap = live.ingest.pipeline.books.tokens[frozen].gap
            assert gap is not None
            assert gap.cause in {"silence", "mismatch"}

    with SimulatedVenue(markets=2, rate=50) as sim:
        asyncio.run(watch())


def test_a_token_whose_connection_is_not_had_is_told_while_it_lasts() -> None:
    async def watch() -> None:
        refusal = sim.fault("refuse", channel="market", number=503, detail="0")
        async with living(sim, timing=times(ping=5, answer=5, opening=0.2, silence=60)) as live:
            live.want("market", tokens_of(sim))
            await until(lambda: live.ingest.frame("gaps").height >= 2, what="that the missing books are told")
            gaps = live.ingest.frame("gaps")
            assert set(gaps["token_id"]) == set(tokens_of(sim))
            assert set(gaps["cause"].cast(pl.String)) == {"late opening book"}
            assert gaps["ended"].null_count() == gaps.height
            assert live.reconnects == 0
            refusal.clear()
            await until_trusted(live, 2)
            assert closed_gaps(live).height == 2

    with SimulatedVenue(markets=1, rate=0) as sim:
        asyncio.run(watch())


def test_an_opening_array_that_is_too_big_to_receive_is_halved() -> None:
    async def watch() -> None:
        sim.fault("giant", number=2)
        async with living(sim, timing=PATIENT) as live:
            subscribe(live, tokens_of(sim))
            await until_trusted(live, 4)
            assert sorted(len(one.tokens) for one in sim.connections) == [2, 2]
            sim.step(20)
            await until_same(live, sim)

    with SimulatedVenue(markets=2, rate=0) as sim:
        asyncio.run(watch())


def test_a_book_by_rest_that_comes_after_its_connection_was_replaced_is_not_taken() -> None:
    """The new connection asks for its own: the old book may be older than what it has missed since."""

    async def watch() -> None:
        (first, second) = tokens_of(sim)
        sim.fault("no_opening", token_id=first, times=100)
        stall = sim.fault("stall", channel="clob")
        async with living(sim, timing=times(ping=5, answer=5, opening=0.2, silence=60)) as live:
            subscribe(live, [first, second])
            await until(lambda: any(dial.path == "/book" for dial in sim.dials), what="that REST is asked")
            old = live.pool.connections[0].conn
            asked = sum(dial.path == "/book" for dial in sim.dials)
            sim.fault("drop", channel="market")
            await until(lambda: sum(dial.path == "/book" for dial in sim.dials) > asked, what="that it asks again")
            told = list[Record]()
            live.ingest.journal.keep = told.append
            stall.clear()
            await until_trusted(live, 2)
            await until(lambda: not fetching(), what="that both answers have come")
            books = {record.conn for record in told if record.kind == "book"}
            assert books == {live.pool.connections[0].conn}
            assert old not in books

    with SimulatedVenue(markets=1, rate=0) as sim:
        asyncio.run(watch())


def test_tokens_that_leave_and_come_back_begin_with_a_fresh_book() -> None:
    async def watch() -> None:
        async with living(sim, timing=PATIENT) as live:
            first, second, *_ = tokens = tokens_of(sim)
            subscribe(live, tokens)
            await until_trusted(live, 4)
            live.ingest.keys("unsubscribe", "market", live.pool.unwant("market", [first, second]))
            await until(lambda: sim.connections[0].tokens == frozenset(tokens[2:]))
            assert len(trusted(live)) == 2
            sim.step(50)
            subscribe(live, [first, second])
            await until_trusted(live, 4)
            await until_same(live, sim)
            assert live.ingest.frame("gaps").height == 0

    with SimulatedVenue(markets=2, rate=0) as sim:
        asyncio.run(watch())


def test_what_was_sent_while_the_process_did_not_run_is_a_gap_until_all_of_it_is_read() -> None:
    async def watch() -> None:
        cross_check = CrossCheckPolicy(pause=1.0)
        async with living(sim, timing=PATIENT, cross_check=cross_check) as live:
            subscribe(live, tokens_of(sim))
            await until_trusted(live, 4)
            began = time.time_ns()
            time.sleep(1.5)  # noqa: ASYNC251  # the loop does not run, as when the process is stopped
            woke = time.time_ns()
            await until(lambda: closed_gaps(live).height > 0, what="that all is read")
            read = time.time_ns()
            rows = live.ingest.frame("gaps")
            assert live.ingest.pipeline.stopped is None

        first = GapIndex(rows).all[0]
        assert (first.cause, first.token_id, first.conn) == ("silence", None, 0)
        assert first.started <= began + S // 2
        assert woke < first.until <= read
        # It is told at once, in case that the process ends before all is read.
        assert rows["ended"].to_list()[:1] == [None]

    with SimulatedVenue(markets=2, rate=200) as sim:
        asyncio.run(watch())


def test_a_stop_within_a_turn_of_the_loop_is_a_gap() -> None:
    """Whoever is handed rows may take long, or the process is stopped just there."""

    def stop(_: dict[str, pl.DataFrame]) -> None:
        if not stops:
            stops.append(time.time_ns())
            time.sleep(1.5)

    async def watch() -> None:
        async with living(sim, timing=PATIENT, cross_check=CrossCheckPolicy(pause=1.0)) as live:
            subscribe(live, tokens_of(sim))
            await until_trusted(live, 4)
            live.ingest.on_rows = stop
            await until(lambda: bool(stops), what="that it stops")
            await until(lambda: closed_gaps(live).height > 0, what="that all is read")
            first = GapIndex(live.ingest.frame("gaps")).all[0]

        assert (first.cause, first.token_id) == ("silence", None)
        assert first.started <= stops[0] + S // 2
        assert first.until >= stops[0] + 1.5 * S

    stops: list[int] = []
    with SimulatedVenue(markets=2, rate=200) as sim:
        asyncio.run(watch())


def test_the_gap_of_a_stop_ends_though_the_user_s_own_connection_is_quiet_for_long() -> None:
    async def watch() -> None:
        timing: dict[Channel, Timing] = {
            **PATIENT,
            "user": times(ping=0.1, answer=30, opening=5, silence=0.3, calm=0.3)["user"],
        }
        async with living(sim, timing=timing, cross_check=CrossCheckPolicy(pause=1.0)) as live:
            subscribe(live, tokens_of(sim))
            live.want("user", [market.condition_id for market in sim.markets])
            await until_trusted(live, 4)
            await until(lambda: any(one.connected for one in live.pool.of("user")), what="that the user is connected")
            (user,) = live.pool.of("user")
            await until(lambda: live.clock() - user.session.complete_until > S, what="that it is quiet")
            time.sleep(1.5)  # noqa: ASYNC251  # the loop does not run, as when the process is stopped
            await until(lambda: closed_gaps(live).height > 0, what="that all is read")
            assert live.ingest.pipeline.stopped is None

    with SimulatedVenue(markets=2, rate=50, story_every=3600) as sim:
        asyncio.run(watch())


def test_no_book_is_given_before_all_is_read_that_a_stopped_process_missed() -> None:
    stopped = Gap(started=NOON, cause="silence", detail="the process did not run for 60 s")

    with pytest.raises(BookError, match="it is back after what was sent meanwhile has been read") as raised:
        book_view(Token("7"), "Yes", 1, stopped=stopped)

    assert (raised.value.cause, raised.value.since) == ("silence", moment(NOON))


def test_by_default_a_token_is_doubted_after_five_minutes() -> None:
    assert CrossCheckPolicy() == CrossCheckPolicy(quiet=300.0, grace=5.0, sample=5)


def test_a_token_whose_connection_is_never_had_is_a_gap_of_the_recording(tmp_path: Path) -> None:
    with SimulatedVenue(rate=0) as sim:
        sim.fault("refuse", channel="market", number=503, seconds=600)
        with Manager(venue=Venue.from_environment(Variables(sim.environment()))) as live:
            live.record(tmp_path)
            live.watch(sim.markets[0].slug)

    gaps = scan(tmp_path, "gaps").collect()
    assert sorted(gaps["token_id"]) == sorted(sim.markets[0].token_ids)
    assert set(gaps["cause"]) == {"late opening book"}
    assert gaps["ended"].null_count() == gaps.height


def test_a_market_that_was_resolved_is_let_go_and_nobody_dials_for_it() -> None:
    """The venue ends a connection whose markets are all settled, and knows no book of them."""

    async def watch() -> None:
        async with living(sim, timing=PATIENT, cross_check=CrossCheckPolicy(settled=0.3)) as live:
            first, second = sim.markets
            subscribe(live, tokens_of(sim))
            await until_trusted(live, 4)

            sim.resolve(first)
            await until(lambda: live.settled == set(first.token_ids), what="that the first market is let go")
            assert set(live.ingest.pipeline.books.tokens) == set(second.token_ids)
            assert live.pool.connections[0].connected

            sim.resolve(second)
            await until(lambda: not live.pool.connections, what="that nothing is left to dial for")
            assert live.settled == set(tokens_of(sim))
            assert live.ingest.frame("gaps").height == 0
            assert live.reconnects == 0

    with SimulatedVenue(markets=2, rate=0) as sim:
        asyncio.run(watch())


def test_a_market_that_was_resolved_before_it_was_asked_for_is_let_go_too() -> None:
    """No book of it ever comes, so that nothing but the outcome tells which tokens it had."""

    async def watch() -> None:
        async with living(sim, timing=PATIENT, cross_check=CrossCheckPolicy(settled=0.3)) as live:
            over, going = sim.markets
            subscribe(live, going.token_ids)
            await until_trusted(live, 2)
            sim.resolve(over)
            subscribe(live, over.token_ids[:1])
            told = MarketResolved(
                market=over.condition_id,
                timestamp=live.clock() // 1_000_000,
                token_ids=list(over.token_ids),
                winning_token_id=over.token_ids[0],
                winning_outcome=over.outcomes[0],
            )
            live.ingest.journal.note("resolved", 0, told, live.clock())

            await until(
                lambda: set(live.ingest.pipeline.books.tokens) == set(going.token_ids), what="that it is let go"
            )

            assert live.settled == set(over.token_ids)
            assert all(trusted(live))

    with SimulatedVenue(markets=2, rate=0) as sim:
        asyncio.run(watch())


def test_counts_that_many_ask_for_at_once_are_made_once_in_a_twentieth_of_a_second() -> None:
    now, flushed = [NOON], list[int]()
    ingest = Ingest(clock=lambda: now[0], rows=10, age=timedelta(hours=1), depth=10, fresh=50_000_000)
    ingest.listened = lambda: True
    ingest.on_rows = lambda _frames: flushed.append(now[0] - NOON)

    for _ in range(12):
        ingest.freshen()
        now[0] += 10_000_000

    assert flushed == [0, 50_000_000, 100_000_000]
