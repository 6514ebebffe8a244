"""What charts are shown of a manager at one moment."""

from datetime import timedelta

import polars as pl
import pytest
from support.feed import QUICK
from support.live import address
from support.waiting import wait_until

import pmlive as pm
from pmlive.manager import Manager, Replay
from pmlive.manager.snapshots import Query, Snapshot, short_label
from pmlive.sim import SimulatedVenue
from pmlive.store import scan
from pmlive.tables import LABELS, SCHEMAS, Rolling


def one(manager: Manager, asked: Query) -> Snapshot:
    (seen,) = manager.snapshots([asked])
    return seen


def row(seq: int) -> pl.DataFrame:
    return pl.DataFrame({"seq": [seq], "ts_recv": [seq]}).pipe(
        lambda frame: pl.concat([SCHEMAS["trades"].to_frame(), frame], how="diagonal_relaxed").cast(SCHEMAS["trades"])
    )


def test_the_rows_since_a_cursor_are_those_that_came_after_it() -> None:
    rolling = Rolling("trades", rows=100, age=timedelta(days=1))
    for seq in range(5):
        rolling.extend(row(seq))

    assert rolling.since(3)["seq"].to_list() == [3, 4]
    rolling.frame(10)
    assert rolling.since(1)["seq"].to_list() == [1, 2, 3, 4]
    assert rolling.since(rolling.added).schema == SCHEMAS["trades"]
    assert rolling.since(rolling.added).is_empty()


def test_rows_that_are_gone_are_not_given_since_a_cursor() -> None:
    rolling = Rolling("trades", rows=2, age=timedelta(days=1))
    for seq in range(5):
        rolling.extend(row(seq))

    assert rolling.since(0)["seq"].to_list() == [3, 4]


def test_rows_are_read_on_from_a_cursor_without_missing_or_repeating_any() -> None:
    with SimulatedVenue(markets=1, rate=300) as sim, Manager(address(sim), policy=QUICK) as manager:
        manager.watch(sim.markets[0].slug)
        first = one(manager, Query(tables={"prices": None})).tables["prices"]
        frames, cursor = [first.frame], first.cursor
        while sum(frame.height for frame in frames) < first.frame.height + 20:
            rows = one(manager, Query(tables={"prices": cursor})).tables["prices"]
            assert not rows.whole
            frames.append(rows.frame)
            cursor = rows.cursor

        read = pl.concat(frames)
        assert read.equals(manager.prices.drop(LABELS).head(read.height))


def test_a_replay_that_jumps_begins_its_rows_anew() -> None:
    with Replay(pm.sample(), speed="max") as replay:
        before = one(replay, Query(tables={"prices": None})).tables["prices"]
        assert one(replay, Query(tables={"prices": before.cursor})).tables["prices"].frame.is_empty()

        replay.seek(replay.first_time + timedelta(seconds=30))

        after = one(replay, Query(tables={"prices": before.cursor})).tables["prices"]
        assert after.whole
        assert after.cursor.era == before.cursor.era + 1
        assert 0 < after.frame.height < before.frame.height


def test_the_last_rows_of_a_table_can_be_asked_for() -> None:
    with Replay(pm.sample(), speed="max") as replay:
        rows = one(replay, Query(tables={"trades": 3})).tables["trades"]

        assert rows.frame.equals(replay.trades.drop(LABELS).tail(3))


def test_a_book_comes_with_its_label_or_with_the_reason_why_there_is_none() -> None:
    with SimulatedVenue(markets=1, rate=0) as sim, Manager(address(sim), policy=QUICK) as manager:
        (market,) = sim.markets
        token = market.token_ids[0]
        assert one(manager, Query(token_id=token)).unavailable_because == "no book of it has come yet"
        manager.watch(market.slug)
        wait_until(lambda: one(manager, Query(token_id=token)).book)

        seen = one(manager, Query(token_id=token, depth=2))
        assert seen.book is not None
        assert len(seen.book.bids) == 2
        assert market.question in seen.labels[token]
        sim.fault("refuse", channel="market", number=503)
        sim.fault("drop", channel="market")
        wait_until(lambda: "disconnect" in one(manager, Query(token_id=token)).unavailable_because)
        assert one(manager, Query(token_id=token)).book is None


def test_markets_of_a_replay_are_found_by_their_words() -> None:
    with Replay(pm.sample(), paused=True) as replay:
        assert [market.slug for market in replay.find("LONDON rain")] == ["will-it-rain-in-london-on-new-years-eve"]
        assert replay.find("nobody asked this") == []


def test_markets_of_a_live_manager_are_found_at_its_venue() -> None:
    with SimulatedVenue(markets=2, rate=0) as sim, Manager(address(sim), policy=QUICK) as manager:
        assert [market.slug for market in manager.find(sim.markets[1].slug)] == [sim.markets[1].slug]


def test_what_is_to_be_done_at_the_end_is_done_before_everything_ends() -> None:
    heights: list[int] = []
    manager = Replay(pm.sample(), speed="max")
    manager.at_close(lambda: heights.append(manager.trades.height))

    manager.close()
    manager.close()

    assert heights == [scan(pm.sample(), "trades").collect().height]


def test_what_fails_at_the_end_keeps_nothing_from_ending(caplog: pytest.LogCaptureFixture) -> None:
    manager = Replay(pm.sample(), paused=True)
    done: list[str] = []
    manager.at_close(lambda: done.append("first"))
    manager.at_close(lambda: 1 / 0)

    manager.close()

    assert done == ["first"]
    assert "before a manager closes failed" in caplog.text
    with pytest.raises(pm.FeedError, match="closed"):
        manager.status()


@pytest.mark.parametrize(("token_id", "label"), [("12", "token 12"), ("7" * 70 + "1234567", "token 777777…234567")])
def test_a_nameless_token_is_shown_by_its_ends(token_id: str, label: str) -> None:
    assert short_label(token_id) == label
