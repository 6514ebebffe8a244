"""The same records give the same rows: replayed, rebuilt after a crash, cut anywhere, continued by another run."""

from collections.abc import Iterable, Mapping, Sequence
from random import Random

import msgspec
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal
from support.examples import examples
from support.night import MS, NOON, Night, now, stored
from support.story import Story
from support.venue import Venue

from pmlive.events import Gap
from pmlive.integrity import Counts
from pmlive.pipeline import Pipeline
from pmlive.pipeline.journal import apply, rebuild
from pmlive.records import Loss
from pmlive.store import Record
from pmlive.tables import SCHEMAS

seeds = st.integers(0, 2**32 - 1)


def told(random: Random, steps: int = 60) -> Story:
    story = Story(random)
    story.begin()
    for _ in range(steps):
        story.step()
    return story


def ended(story: Story) -> Night:
    story.night.end(story.at + random_pause(story.random))
    return story.night


def random_pause(random: Random) -> float:
    return random.choice((0, 5, 150, 1200, 61_000))


def equal(these: Mapping[str, pl.DataFrame], those: Mapping[str, pl.DataFrame]) -> None:
    left, right = stored(these), stored(those)
    for name in left:
        assert_frame_equal(left[name], right[name])


def replayed(records: Iterable[Record], ticks: Sequence[float] = ()) -> dict[str, pl.DataFrame]:
    """Tell a fresh pipeline the records, looking at it now and then in between, at times of no grid."""
    pipeline = Pipeline()
    glances = iter(ticks)
    frames: dict[str, list[pl.DataFrame]] = {}
    last = None
    for record in records:
        if last is not None:
            for _ in range(3):
                glance = next(glances, None)
                if glance is not None:
                    last = last + round(glance * (record.recv - last))
                    pipeline.tick(last)
                    for name, frame in pipeline.drain().items():
                        frames.setdefault(name, []).append(frame)
        apply(pipeline, record)
        last = record.recv
    for name, frame in pipeline.drain().items():
        frames.setdefault(name, []).append(frame)
    return {name: pl.concat(kept) for name, kept in frames.items()}


def joined(*parts: Mapping[str, pl.DataFrame]) -> dict[str, pl.DataFrame]:
    return {name: pl.concat([part.get(name, SCHEMAS[name].to_frame()) for part in parts]) for name in SCHEMAS}


@examples(20)
@given(seeds, st.lists(st.floats(0, 1), max_size=200))
def test_records_that_are_replayed_give_the_rows_that_they_gave(seed: int, ticks: list[float]) -> None:
    night = ended(told(Random(seed)))

    again = replayed(night.records, ticks)

    equal(again, night.frames())
    # What is shown and not stored is the same as well.
    for name in ("depth", "prices"):
        assert_frame_equal(again.get(name, SCHEMAS[name].to_frame()), night.table(name))


@examples(20)
@given(seeds, st.lists(st.floats(0, 1), max_size=60))
def test_looking_at_a_pipeline_changes_nothing(seed: int, glances: list[float]) -> None:
    quiet, watched = told(Random(seed)), Story(Random(seed))
    watched.begin()
    for number in range(60):
        before = watched.at
        watched.step()
        if number < len(glances):
            watched.night.tick(before + glances[number] * (watched.at - before))
            watched.night.tick(watched.at)
            watched.night.drain()

    equal(ended(watched).frames(), ended(quiet).frames())
    assert watched.night.records == quiet.night.records


@examples(15)
@given(seeds)
def test_tables_can_be_rebuilt_from_records(seed: int) -> None:
    night = ended(told(Random(seed)))

    equal(rebuild(night.records), night.frames())


@examples(20)
@given(seeds, st.integers(0, 60))
def test_tables_can_be_rebuilt_from_the_state_at_any_cut(seed: int, cut: int) -> None:
    """A segment of the log begins with the whole state, so that it can be read without those before it."""
    random = Random(seed)
    story = told(random, cut)
    night = story.night
    story.at += random.choice((0, 1, 90))
    night.note(story.at, "cut", b"", 0)
    first, first_rows = list(night.records), night.frames()
    second = night.journal.keyframes(now(story.at))
    for _ in range(60 - cut):
        story.step()
    ended(story)

    equal(rebuild(first), first_rows)
    equal(joined(rebuild(first), rebuild([*second, *night.records[len(first) :]])), night.frames())


@examples(15)
@given(seeds)
def test_a_pause_in_the_recording_is_no_pause_of_the_books(seed: int) -> None:
    """Recording stops, the stream goes on, recording begins again: a reader must not go on from stale books.

    Found by reading: states were ignored for tokens that the reader knew already.
    """
    story = told(Random(seed), 30)
    night = story.night
    ended(story)
    story.at += 61_000
    before, rows = list(night.records), night.frames()
    night.journal.keep = None
    for _ in range(20):
        story.step()
    night.pipeline.settle(now(story.at))
    skipped = night.frames()
    continued = [night.journal.beginning(now(story.at)), *night.journal.keyframes(now(story.at))]
    night.records.clear()
    night.journal.keep = night.records.append
    for _ in range(30):
        story.step()
    ended(story)

    whole = night.frames()
    later = {name: frame.slice(skipped[name].height if name in skipped else 0) for name, frame in whole.items()}
    equal(replayed([*before, *continued, *night.records]), joined(rows, later))


@examples(15)
@given(seeds)
def test_another_run_goes_on_from_nothing(seed: int) -> None:
    """A run is killed and another continues the folder: its tables and the rebuilt ones together are the replay's."""
    random = Random(seed)
    first = told(random, 40)
    lost = rebuild(first.night.records)
    second = Night()
    second.pipeline.seq = 1 + max((number for frame in lost.values() for number in frame["seq"]), default=1)
    start = first.at + random.choice((3, 5_000, 130_000))
    second.records.append(second.journal.beginning(now(start)))
    story = Story(random, second, at=start, conn=first.conn)
    story.begin()
    for _ in range(30):
        story.step()
    ended(story)

    equal(replayed([*first.night.records, *second.records]), joined(lost, second.frames()))


def test_a_gap_that_a_crash_left_open_is_not_forgotten() -> None:
    """Found by reading: the rebuilt tables had no row of a gap that was open when the process was killed."""
    night, venue = Night(), Venue()
    night.open(0, 1, ["1"])
    night.frame(10, venue.opening())
    night.close(1000, 1)
    night.frame(5000, "PONG", conn=0)

    gaps = rebuild(night.records)["gaps"]

    assert gaps.select("token_id", "cause", "ended").rows() == [(None, "disconnect", None), ("1", "disconnect", None)]


def test_a_segment_that_was_cut_tells_open_gaps_and_leaves_counts_to_the_next() -> None:
    night, venue = Night(), Venue()
    night.open(0, 1, ["1"])
    night.frame(10, venue.opening())
    night.close(1000, 1)
    night.note(1500, "cut", b"", 0)

    tables = rebuild(night.records)

    assert tables["gaps"].select("token_id", "ended").rows() == [(None, None), ("1", None)]
    assert "checks" not in tables


def test_a_connection_that_is_down_at_a_cut_has_its_gap_in_the_next_segment() -> None:
    """Found by reading: the keyframe of a connection did not hold its gap."""
    night, venue = Night(), Venue()
    night.open(0, 1, ["1"])
    night.frame(10, venue.opening())
    night.close(1000, 1)
    night.note(1500, "cut", b"", 0)
    cut = len(night.records)
    keyframes = night.journal.keyframes(now(1500))
    night.open(2000, 2, ["1"], old=1)
    night.frame(2010, venue.opening(), conn=2)
    night.end(3000)

    gaps = rebuild([*keyframes, *night.records[cut:]])["gaps"]

    assert gaps.select("token_id", "cause").rows() == [(None, "disconnect"), ("1", "disconnect")]
    assert gaps["ended"].null_count() == 0


def test_no_records_make_no_rows() -> None:
    assert all(frame.height == 0 for frame in rebuild([]).values())


@pytest.mark.parametrize(
    ("kind", "data"), [("weather", b"sunny"), ("subscribe", b"{"), ("gap", b"[]"), ("book", b"none"), ("close", b"1")]
)
@pytest.mark.parametrize("conn", [0, 1])
def test_a_record_that_cannot_be_read_is_told_and_trusted_no_further(kind: str, data: bytes, conn: int) -> None:
    """A later version may write more kinds, and what they did to the books is not known."""
    night, venue = Night(), Venue()
    night.open(0, 1, ["1"])
    night.frame(10, venue.opening())
    night.note(20, kind, data, conn)
    night.frame(30, venue.change("bid", "0.43", "5", 30))
    night.frame(31, venue.change("bid", "0.43", "6", 31))
    night.end(1000)

    tables = rebuild(night.records)

    assert tables["book_deltas"]["check"].to_list()[0] == "skipped"
    (gap,) = tables["gaps"].select("token_id", "cause", "detail").rows()
    assert gap[:2] == ("1", "malformed")
    assert kind in gap[2]


@pytest.mark.parametrize("channel", ["market", "user", "realtime", "prices"])
def test_frames_are_kept_as_received(channel: str) -> None:
    night = Night()
    night.open(0, 1, [], channel=channel)  # pyright: ignore[reportArgumentType]
    data = b'[ {"odd":  1.50,"text":"\\u00e9" } ]'

    night.frame(10, data, channel=channel)  # pyright: ignore[reportArgumentType]

    record = night.records[-1]
    assert (record.kind, record.conn, record.recv) == (channel, 1, NOON + 10 * MS)
    if channel != "user":
        assert record.data == data


def test_the_owner_of_a_user_message_is_in_no_record() -> None:
    night = Night()
    night.open(0, 1, [], channel="user")
    order = (
        b'{"event_type":"order","id":"0x1","owner":"canary-key","order_owner":"canary-key","market":"0xm",'
        b'"asset_id":"1","timestamp":"1790000000","type":"PLACEMENT","side":"BUY","price":"0.5","original_size":"5"}'
    )

    night.frame(10, order, channel="user")
    night.frame(20, b"canary-key {", channel="user")

    assert all(b"canary" not in record.data for record in night.records)
    assert night.table("user_orders")["id"].to_list() == ["0x1"]


@pytest.mark.slow
@pytest.mark.timeout(600)
@examples(400)
@given(seeds, st.lists(st.floats(0, 1), max_size=600))
def test_long_nights_are_replayed_to_the_row(seed: int, ticks: list[float]) -> None:
    night = ended(told(Random(seed), 300))

    equal(replayed(night.records, ticks), night.frames())
    equal(rebuild(night.records), night.frames())


@pytest.mark.parametrize("beginning", [True, False])
def test_after_lost_records_no_book_is_trusted_until_it_comes_anew(*, beginning: bool) -> None:
    """Found by damaging the first block of a log: what came after it vanished, behind a gap of no length."""
    night, venue = Night(), Venue()
    night.open(0, 1, ["1"])
    night.frame(10, venue.opening())
    kept = [] if beginning else list(night.records)
    gap = Gap(started=now(10), ended=now(500), cause="disk", detail="bytes of the log are damaged")
    lost = Record(night.pipeline.seq, now(500), 0, "loss", msgspec.json.encode(Loss(gap, beginning=beginning)))
    night.records.clear()
    night.frame(600, venue.change("bid", "0.43", "5", 600))
    night.frame(700, venue.later())
    night.end(1000)

    tables = rebuild([*kept, lost, *night.records])

    assert tables["book_deltas"]["check"].to_list() == ["skipped"]
    rows = tables["gaps"].select("token_id", "cause", pl.col("started").dt.epoch("ns")).rows()
    assert set(rows) == {(None, "disk", now(10)), ("1", "disk", now(10))}
    assert (tables["gaps"]["ended"] > tables["gaps"]["started"]).all()


@examples(30)
@given(seeds)
def test_what_is_told_of_all_tokens_is_so_of_each_after_every_record(seed: int) -> None:
    random = Random(seed)
    night = ended(told(random, steps=90))
    pipeline, seen = Pipeline(), 0
    frames: list[pl.DataFrame] = []

    for record in night.records:
        apply(pipeline, record)
        if random.random() < 0.05:
            pipeline.tick(record.recv + round(random_pause(random) * MS))
        if random.random() < 0.02 and pipeline.books.tokens:
            token = random.choice(list(pipeline.books.tokens.values()))
            pipeline.unsubscribed(token.link, [token.id], record.recv)
        if random.random() < 0.1:
            pipeline.books.take_heard()
        books, tokens = pipeline.books, list(pipeline.books.tokens.values())
        had = [gap for token in tokens for gap in token.gaps]
        assert [gap for gap in pipeline.open_gaps() if gap.token_id is not None] == had
        waiting = [token.id for token in tokens if token.awaited and not token.gaps]
        assert [gap.token_id for gap in books.unmet(record.recv + 1)] == waiting
        frames.append(pipeline.drain().get("checks", SCHEMAS["checks"].to_frame()).select(Counts.names()))
        written = Counts(*pl.concat(frames).sum().row(0))
        assert books.checked == Counts.total([written, *(token.counts for token in tokens)])
        for token in tokens:
            siblings = {each.id for each in tokens if each.market == token.market}
            assert {each.id for each in books.of_market(token.market)} == siblings
        seen += len(had)

    assert seen
