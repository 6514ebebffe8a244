"""The events of a recording are all of its rows, and the book at each is the one of that moment, or says why not."""

from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import islice, takewhile
from pathlib import Path
from random import Random

import msgspec
import polars as pl
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from support.examples import examples
from support.moments import Books
from support.taping import TOKENS, Tape, told
from test_recording_moments import cut_night, known

import pmlive as pm
from pmlive.recording import EventBook, RecordedEvent
from pmlive.recording.event_walk import EventWalk
from pmlive.recording.index import IndexCache, RecordingIndex
from pmlive.store.maintenance import compact

seeds = st.integers(0, 2**32 - 1)


def walked(
    index: RecordingIndex, tokens: Iterable[str] | None = TOKENS, *, start: int | None = None, numbers: int = 65_536
) -> Iterator[RecordedEvent]:
    chosen = None if tokens is None else list(tokens)
    return EventWalk(index, lambda: index.contents, chosen, start=start, numbers=numbers).events()


def moments(events: Iterable[RecordedEvent]) -> Iterator[tuple[int, dict[str, EventBook]]]:
    """Give each time at which something happened, with a copy of every token's book after all of it."""
    books: dict[str, EventBook] = {}
    now: int | None = None
    for event in events:
        if now is not None and event.ts_recv > now:
            yield now, dict(books)
        books[event.token_id], now = event.book.copy(), event.ts_recv
    if now is not None:
        yield now, books


def agree(books: dict[str, EventBook], recorded: Books, time: int) -> Counter[str]:
    """Compare the books of a moment with those that the recording says it had, and count them by their state."""
    told: Counter[str] = Counter()
    for token_id, book in books.items():
        then = recorded.book_at(token_id, time)
        assert book.trusted == (then.quality != "stale"), f"{book}, but {then}"
        if book.trusted:
            assert (book.bids, book.asks, book.mid, book.spread) == (then.bids, then.asks, then.mid, then.spread)
        elif book.cause is not None:
            assert book.why == then.why
        told[book.state] += 1
    return told


def plain(event: RecordedEvent) -> dict[str, object]:
    """Lay open an event but for its book, and for the number that one has which no row tells of."""
    said: dict[str, object] = {"kind": event.kind, **msgspec.structs.asdict(event)}
    del said["book"]
    if event.kind in {"gap_begin", "gap_end", "book_end"}:
        del said["seq"]
    return said


@examples(8)
@given(seeds, st.sampled_from([7, 65_536]))
def test_the_book_at_any_event_is_the_one_of_that_moment(seed: int, numbers: int) -> None:
    random = Random(seed)
    index = known(cut_night(random, steps=30, cuts=random.randint(0, 3)))

    for time, books in moments(walked(index, numbers=numbers)):
        if random.random() < 0.25:
            agree(books, index, time)


@pytest.mark.slow
@pytest.mark.timeout(900)
@examples(60)
@given(seeds)
def test_the_book_at_any_event_is_the_one_of_that_moment_in_long_nights(seed: int) -> None:
    random = Random(seed)
    index = known(cut_night(random, steps=100, cuts=random.randint(0, 5)))

    for time, books in moments(walked(index)):
        if random.random() < 0.3:
            agree(books, index, time)


@examples(8)
@example(2)
@given(seeds)
def test_events_from_a_time_on_are_the_last_of_all_events(seed: int) -> None:
    random = Random(seed)
    index = known(cut_night(random, steps=40, cuts=random.randint(1, 3)))
    whole = [(event.ts_recv, plain(event)) for event in walked(index)]
    some = random.choice(whole)[0]

    for start in (some - 1, some, some + 1, *index.keyframe_times):
        found = [plain(event) for event in walked(index, start=start)]

        last = [said for time, said in whole if time >= start]
        opening = found[: len(found) - len(last)]
        assert found[len(opening) :] == last
        assert {said["kind"] for said in opening} <= {"book", "gap_begin"}
        assert {said["ts_recv"] for said in opening} <= {start}
    for time, books in moments(walked(index, start=some)):
        if random.random() < 0.2:
            agree(books, index, time)


@examples(8)
@given(seeds)
def test_books_where_events_begin_are_those_of_that_time(seed: int) -> None:
    random = Random(seed)
    index = known(cut_night(random, steps=40, cuts=random.randint(0, 3)))
    first, last = index.contents.first_recv(), index.contents.last_recv()
    assert first is not None
    assert last is not None
    start = random.randint(first, last)

    opening = takewhile(lambda event: event.ts_recv == start, walked(index, start=start))
    books = {event.token_id: event.book.copy() for event in opening}

    agree(books, index, start)
    assert {token for token, book in books.items() if book.trusted} == {
        token for token in TOKENS if index.book_at(token, start).quality != "stale"
    }


def test_every_row_of_a_token_is_an_event_in_order(tmp_path: Path) -> None:
    told(tmp_path / "night", 7, segments=4)
    night = pm.open_recording(tmp_path / "night")

    for token in TOKENS:
        events = list(night.events(token))
        levels = [
            (e.seq, e.ts_recv, e.ts_event, e.conn, e.side, e.price, e.size, e.check)
            for e in events
            if e.kind == "level"
        ]
        trades = [
            (e.seq, e.ts_recv, e.ts_event, e.price, e.size, e.side, e.transaction_hash)
            for e in events
            if e.kind == "trade"
        ]
        books = [
            (e.seq, e.bid_prices, e.ask_sizes, e.hash, e.opening)
            for e in events
            if e.kind == "book" and e.source == "venue"
        ]
        times = pl.col("ts_recv", "ts_event").dt.epoch("ns")
        deltas = night.scan("book_deltas", token=token).with_columns(times)
        assert (
            levels
            == deltas.select("seq", "ts_recv", "ts_event", "conn", "side", "price", "size", "check").collect().rows()
        )
        columns = ("seq", "ts_recv", "ts_event", "price", "size", "side", "transaction_hash")
        assert trades == night.scan("trades", token=token).with_columns(times).select(columns).collect().rows()
        snapshots = night.scan("book_snapshots", token=token).select(
            "seq", "bid_prices", "ask_sizes", "hash", "opening"
        )
        assert books == snapshots.collect().rows()
        assert len(levels) > 20
        assert [event.ts_recv for event in events] == sorted(event.ts_recv for event in events)
        assert [event.seq for event in events] == sorted(event.seq for event in events)


def test_the_gaps_of_a_token_are_those_of_the_index(tmp_path: Path) -> None:
    told(tmp_path / "night", 11, segments=4)
    night = pm.open_recording(tmp_path / "night")

    events = list(night.events("11"))
    begun = Counter((event.started, event.cause, event.detail) for event in events if event.kind == "gap_begin")
    ended = Counter((event.started, event.cause, event.detail) for event in events if event.kind == "gap_end")

    own = Counter((gap.started, gap.cause, gap.detail) for gap in night.gap_index.of("11", conns=()))
    assert own <= begun
    assert ended <= begun
    assert sum(begun.values()) > 3


@pytest.mark.parametrize("segments", [1, 4])
def test_a_replay_ends_with_the_books_that_the_last_events_have(tmp_path: Path, segments: int) -> None:
    told(tmp_path / "night", 12, segments=segments)
    night = pm.open_recording(tmp_path / "night")
    books = {event.token_id: event.book for event in night.events()}

    with night.replay(speed="max") as replay:
        for token, book in books.items():
            if not book.trusted:
                with pytest.raises(pm.BookError):
                    replay.book(token)
                continue
            view = replay.book(token)
            assert (view.bids, view.asks) == (book.bids, book.asks)
    assert any(book.trusted for book in books.values())


def test_a_run_whose_clock_is_behind_the_one_before_has_books_of_its_own(tmp_path: Path) -> None:
    first = Tape(tmp_path / "night", Random(3), at=900_000)
    first.steps(60)
    first.end()
    second = Tape(tmp_path / "night", Random(4), conn=first.story.conn + 1)
    second.steps(60)
    second.end()
    night = pm.open_recording(tmp_path / "night")

    events = list(night.events())

    assert [event.seq for event in events] == sorted(event.seq for event in events)
    books = {event.token_id: event.book for event in events}
    last = second.records[-1].recv
    assert {token for token, book in books.items() if book.trusted} == {
        token for token in TOKENS if night.book_at(token, last).quality != "stale"
    }
    trusted = {token: book for token, book in books.items() if book.trusted}
    for token, book in trusted.items():
        then = second.story.night.pipeline.books.tokens[token].book
        assert (book.bids, book.asks) == (then.levels("bid"), then.levels("ask"))
    assert len(trusted) > 1


def test_files_that_are_merged_meanwhile_are_found(tmp_path: Path) -> None:
    told(tmp_path / "night", 8, segments=5)
    cache = IndexCache(tmp_path / "night")
    wanted = [plain(event) for event in walked(cache.current(), None)]

    walk = EventWalk(cache.current(), lambda: cache.current().contents, None, numbers=50).events()
    found = [plain(event) for event in islice(walk, 40)]
    assert compact(tmp_path / "night", grace=0).outputs
    found += [plain(event) for event in walk]

    assert found == wanted


def test_a_recording_that_is_being_made_is_told_up_to_where_it_stood(tmp_path: Path) -> None:
    tape = Tape(tmp_path / "night", Random(5))
    tape.steps(40)
    tape.cut()
    tape.steps(40)
    assert tape.recorder.flush(10)
    night = pm.open_recording(tmp_path / "night")
    last = tape.records[-1].recv
    wanted = [plain(event) for event in night.events()]

    events = night.events()
    found = [plain(event) for event in islice(events, 30)]
    tape.steps(40)
    tape.cut()
    tape.end()
    found += [plain(event) for event in events]

    assert found == wanted
    later = [plain(event) for event in pm.open_recording(tmp_path / "night").events()]
    assert len(later) > len(wanted)
    rows = {"level", "trade", "book"}
    told_then = [each for each in wanted if each["kind"] in rows and "check" not in each]
    assert told_then == [each for each in later if each in told_then]
    assert max(event.ts_recv for event in night.events(end=last + 1)) <= last


@pytest.mark.quick(1)
@pytest.mark.parametrize("table", ["book_deltas", "book_snapshots", "keyframes"])
def test_where_a_file_is_lost_the_books_are_those_of_that_moment(tmp_path: Path, table: str) -> None:
    told(tmp_path / "night", 7, segments=4)
    sorted((tmp_path / "night").glob(f"{table}/*/*"))[1].unlink()
    night = pm.open_recording(tmp_path / "night")
    random, compared = Random(1), Counter[str]()

    for time, books in moments(night.events()):
        if random.random() < 0.4:
            compared += agree(books, night, time)

    assert compared["trusted"] > 20
    assert compared["stale"] > 20


def test_tick_sizes_and_resolutions_are_told_of_each_token() -> None:
    night = pm.open_recording(pm.sample("updown"))
    market = next(market for market in night.markets if market.slug == "btc-updown-5m-1784908800")

    events = list(night.events(market.token_ids))

    resolutions = {event.token_id: event for event in events if event.kind == "resolution"}
    assert {night.token(market.slug, "Up"): 1.0, night.token(market.slug, "Down"): 0.0} == {
        token: event.payout for token, event in resolutions.items()
    }
    ticks = [
        (event.token_id, event.old_tick_size, event.new_tick_size) for event in events if event.kind == "tick_size"
    ]
    assert sorted(ticks) == sorted((token, 0.01, 0.001) for token in market.token_ids)


def test_a_book_refuses_to_tell_its_levels_in_a_gap_and_says_why() -> None:
    night = pm.open_recording(pm.sample())
    event = next(event for event in night.events() if event.kind == "gap_begin" and event.cause == "disconnect")

    assert (event.book.trusted, event.book.state, event.book.cause) == (False, "stale", "disconnect")
    for name in ("best_bid", "best_ask", "mid", "spread", "bids", "asks"):
        with pytest.raises(pm.BookError, match="disconnect") as caught:
            getattr(event.book, name)
        assert caught.value.cause == "disconnect"


def test_a_book_goes_on_with_the_next_event_and_its_copy_does_not() -> None:
    night = pm.open_recording(pm.sample())
    events = night.events(night.markets[0].token_ids[0])
    event = next(event for event in events if event.book.trusted)
    copied, frame = event.book.copy(), event.book.frame()

    for _ in islice(events, 200):
        pass

    assert copied.frame().equals(frame)
    assert not event.book.frame().equals(frame)


def test_a_token_may_be_named_as_elsewhere() -> None:
    night = pm.open_recording(pm.sample())
    market = night.markets[0]

    with pytest.raises(pm.UnknownMarketError):
        night.events("no such token")
    with pytest.raises(ValueError, match="invalid time"):
        night.events(start="soon")
    assert {event.token_id for event in night.events(market.token_ids[0])} == {market.token_ids[0]}
    assert {event.token_id for event in night.events(market.token_ids)} == set(market.token_ids)


def test_a_recording_without_rows_has_no_events(tmp_path: Path) -> None:
    assert list(walked(known([]), None)) == []
    night = pm.open_recording(pm.sample())

    assert list(night.events(start=night.last_time, end=night.first_time)) == []
    assert list(night.events(start="2030-01-01")) == []
    assert list(night.events(end="2020-01-01")) == []
    assert not list(tmp_path.iterdir())
