"""A state that is written in parts, while the feed goes on, is the state of the time at which it began."""

import json
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from random import Random
from typing import TypeAlias

import msgspec
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal
from support.examples import examples
from support.moments import faithful
from support.night import Night, now, stored
from support.story import Story
from support.taping import TOKENS, Tape, told
from support.venue import Venue, price_change

import pmlive as pm
from pmlive.events import Gap
from pmlive.manager.replay import Replay
from pmlive.pipeline import Pipeline
from pmlive.pipeline.journal import Journal, apply, rebuild
from pmlive.records import Kind, Loss, Parts, Record, read_note
from pmlive.store import records, scan, span
from pmlive.tables import SCHEMAS
from pmlive.times import moment

seeds = st.integers(0, 2**32 - 1)
Frames: TypeAlias = Mapping[str, pl.DataFrame]


class Crowd:
    """Two random stories on two connections of one journal, which writes states in parts."""

    def __init__(self, random: Random, *, at: float = 0, conn: int = 1, seq: int = 1) -> None:
        self.random = random
        self.night = night = Night()
        night.pipeline.seq = seq
        night.journal = Journal(night.pipeline, at_once=0)
        night.journal.keep = night.records.append
        night.records.append(night.journal.beginning(now(at)))
        self.stories = [
            Story(random, night, at=at, conn=conn),
            Story(random, night, at=at, conn=conn + 100, markets="34"),
        ]
        for story in self.stories:
            story.begin()

    @property
    def at(self) -> float:
        return max(story.at for story in self.stories)

    def steps(self, count: int, *, parts: float = 0) -> None:
        """Let things happen on either connection, and states be written between them."""
        for _ in range(count):
            story = self.random.choice(self.stories)
            story.at = self.at
            if self.random.random() < 0.3:
                self.random.choice((self._tell, self._tell, Story.spoil, Story.word))(story)
            else:
                story.step()
            while self.night.journal.is_writing and self.random.random() < parts:
                self.night.journal.write_states(1, now(self.at))

    def _tell(self, story: Story) -> None:
        """Tell what concerns more than one token."""
        name = self.random.choice(story.markets)
        market, yes, at = f"0xm{name}", f"{name}1", str(int(self.at))
        ticks = {"asset_id": yes, "old_tick_size": "0.01", "new_tick_size": "0.001"}
        outcome = {"id": "1", "assets_ids": [yes, f"{name}2"], "winning_asset_id": yes, "winning_outcome": "Yes"}
        kind, said = self.random.choice(
            [("tick_size_change", ticks), ("weather", {}), ("market_resolved", outcome), ("weather", {"market": ""})]
        )
        text = json.dumps({"event_type": kind, "market": market, "timestamp": at} | said)
        self.night.frame(self.at, text, story.conn)

    def cut(self) -> list[Record]:
        """End a segment and begin the next; give the records of the first."""
        self.night.journal.cut(now(self.at))
        self.night.drain()
        first = list(self.night.records)
        begun = self.night.journal.state(now(self.at))
        self.night.records.clear()
        self.night.records.extend(begun)
        return first

    def end(self) -> None:
        self.night.journal.end(now(self.at + self.random.choice((0, 5, 150, 61_000))))


def equal(these: Frames, those: Frames) -> None:
    left, right = stored(these), stored(those)
    for name in left:
        assert_frame_equal(left[name], right[name])


def since(frames: Frames, skipped: Frames) -> Frames:
    return {name: frame.slice(skipped[name].height if name in skipped else 0) for name, frame in frames.items()}


def joined(*parts: Frames) -> Frames:
    return {name: pl.concat([part.get(name, SCHEMAS[name].to_frame()) for part in parts]) for name in SCHEMAS}


def replayed(told: Iterable[Record], random: Random) -> Frames:
    """Tell another pipeline the records, and take what is complete now and then."""
    again = Night()
    for record in told:
        apply(again.pipeline, record)
        if random.random() < 0.2:
            again.drain()
    return again.frames()


@examples(60)
@given(seeds, st.floats(0, 0.9))
def test_a_segment_is_rebuilt_from_a_state_in_parts(seed: int, parts: float) -> None:
    random = Random(seed)
    crowd = Crowd(random)
    crowd.steps(random.randrange(40))
    first = crowd.cut()
    rows = crowd.night.frames()
    crowd.steps(random.randrange(60), parts=parts)
    crowd.end()

    equal(rebuild(first), rows)
    equal(rebuild(crowd.night.records), since(crowd.night.frames(), rows))


@examples(30)
@given(seeds, st.floats(0, 0.9))
def test_a_replay_of_all_segments_gives_what_was_live(seed: int, parts: float) -> None:
    random = Random(seed)
    crowd = Crowd(random)
    told: list[Record] = []
    for _ in range(3):
        crowd.steps(random.randrange(40), parts=parts)
        crowd.night.journal.write_states(100, now(crowd.at))
        told += crowd.cut()
    crowd.steps(random.randrange(40), parts=parts)
    crowd.end()

    equal(replayed([*told, *crowd.night.records], random), crowd.night.frames())


@examples(40)
@given(seeds, st.floats(0, 0.9))
def test_a_run_may_be_killed_before_all_states_are_written(seed: int, parts: float) -> None:
    random = Random(seed)
    first = Crowd(random)
    first.steps(random.randrange(40))
    told = first.cut()
    rows = first.night.frames()
    first.steps(random.randrange(12), parts=parts)
    begun = list(first.night.records)
    lost = rebuild(begun)
    numbers = [number for frame in (*lost.values(), *rows.values()) for number in frame["seq"]]
    seq = 1 + max(*numbers, *(record.seq for record in begun))
    second = Crowd(random, at=first.at + 90_000, conn=500, seq=seq)
    second.steps(20)
    second.end()

    equal(replayed([*told, *begun, *second.night.records], random), joined(rows, lost, second.night.frames()))
    # Readers take rows that are not alone for those of all tokens.
    told_first = next(read_note(record) for record in begun if record.kind == Kind.PARTS)
    assert isinstance(told_first, Parts)
    came = sum(record.kind in (Kind.STATE, Kind.LINK) for record in begun)
    together = lost["keyframes"].filter(~pl.col("alone")).height if "keyframes" in lost else 0
    assert together == (told_first.tokens if came == told_first.tokens + told_first.links else 0)


@examples(20)
@given(seeds, st.floats(0, 0.9))
def test_where_a_part_of_a_state_is_lost_nothing_is_trusted(seed: int, parts: float) -> None:
    random = Random(seed)
    crowd = Crowd(random)
    crowd.steps(20)
    crowd.cut()
    crowd.steps(30, parts=parts)
    crowd.end()
    ends = next(number for number, record in enumerate(crowd.night.records) if record.kind == Kind.END)
    states = [number for number, one in enumerate(crowd.night.records[:ends]) if one.kind == Kind.STATE]
    lost = random.choice(states)
    before, after = crowd.night.records[:lost], crowd.night.records[lost + 1 :]
    gap = Gap(started=before[-1].recv, ended=after[0].recv, cause="disk", detail="damaged")
    loss = Record(after[0].seq, after[0].recv, 0, Kind.LOSS, msgspec.json.encode(Loss(gap)))

    rows = rebuild([*before, loss, *after])["gaps"].filter(pl.col("token_id").is_null(), detail="damaged")

    assert rows["ended"].dt.epoch("ns").to_list()[-1] in (None, crowd.night.records[ends].recv)


@pytest.mark.quick(1)
@pytest.mark.parametrize("parts", [0.1, 0.0, 0.4])
def test_books_of_a_recording_are_those_of_its_records(tmp_path: Path, parts: float) -> None:
    logged = told(tmp_path / "night", 7, segments=4, parts=parts)
    night = pm.open_recording(tmp_path / "night")

    compared = faithful(logged, night, TOKENS, moments(Random(1), logged))

    assert compared.equal > 40
    assert not night.verify().findings
    with night.replay(prove=True, speed="max") as replay:
        assert replay.digest() == night.digest()


@pytest.mark.quick(1)
@pytest.mark.parametrize("parts", [0.1, 0.0, 0.4])
def test_records_since_a_time_show_the_books_of_that_time(tmp_path: Path, parts: float) -> None:
    logged = told(tmp_path / "night", 8, segments=4, parts=parts)

    for time in moments(Random(2), logged):
        assert states(records(tmp_path / "night", since=time), time) == states(logged, time)


def test_a_recording_that_is_killed_before_all_states_are_written_knows_its_books(tmp_path: Path) -> None:
    first = Tape(tmp_path / "first", Random(3), parts=0)
    first.steps(40)
    for venue in first.story.venues.values():
        first.story.night.frame(first.story.at, venue.later(), first.story.conn)
    first.cut()
    first.story.change()
    first.steps(0)
    assert first.story.night.journal.is_writing
    assert first.recorder.flush(10)
    shutil.copytree(tmp_path / "first", tmp_path / "night", ignore=shutil.ignore_patterns(".lock"))
    killed = list(first.records)
    first.recorder.close()
    second = Tape(tmp_path / "night", Random(4), at=first.story.at + 90_000, conn=first.story.conn + 1, parts=0.1)
    second.steps(60)
    second.end()
    night = pm.open_recording(tmp_path / "night")

    compared = faithful([*killed, *second.records], night, TOKENS, moments(Random(5), [*killed, *second.records]))

    assert compared.equal > 40
    last = killed[-1].recv - 1
    assert "stale" not in {night.book_at(token, last).quality for token in TOKENS}
    assert states(records(tmp_path / "night", since=last), last) == states(killed, last)
    earlier = second.recorder.earlier
    assert earlier is not None
    assert earlier.tokens == set(TOKENS)


def states(told: Iterable[Record], time: int) -> dict[str, object]:
    """Return the books of a time."""
    pipeline = Pipeline()
    for record in told:
        if record.recv > time:
            break
        apply(pipeline, record)
    tokens = pipeline.books.tokens.values()
    return {token.id: (token.state, token.book.levels("bid"), token.book.levels("ask")) for token in tokens}


def moments(random: Random, told: Sequence[Record]) -> list[int]:
    return [random.choice(told).recv - random.choice((0, 1)) for _ in range(40)]


class Hole:
    """A keeper that loses states after some."""

    def __init__(self, room: int) -> None:
        self.records: list[Record] = []
        self._room = room

    def log(self, record: Record) -> None:
        self.records.append(record)

    def state(self, records: Sequence[Record]) -> bool:
        self._room -= len(records)
        return self._room >= 0


def test_states_that_cannot_be_kept_are_given_up() -> None:
    crowd = Crowd(Random(1))
    crowd.steps(20)
    journal = crowd.night.journal
    journal.begin(Hole(5), now(crowd.at))
    crowd.night.drain()

    journal.write_states(100, now(crowd.at))
    crowd.steps(20)
    crowd.night.drain()

    assert not journal.is_writing
    assert crowd.night.table("keyframes")["alone"].all()


def test_all_states_are_written_though_tokens_come_and_go_meanwhile() -> None:
    night = Night()
    night.journal = Journal(night.pipeline, at_once=0)
    night.journal.keep = night.records.append
    night.open(0, 1, [str(number) for number in range(500)])
    night.records += night.journal.state(now(1))
    random = Random(1)

    for number in range(500, 2_000):
        gone = random.choice(list(night.pipeline.books.tokens))
        night.note(2, "unsubscribe", [gone])
        night.note(2, "subscribe", [str(number)])
        night.journal.write_states(random.choice((0, 0, 1)), now(2))
    left = 0
    while night.journal.is_writing and left < 1_000:
        night.journal.write_states(50, now(3))
        left += 1

    written = [msgspec.json.decode(each.data)["token_id"] for each in night.records if each.kind == Kind.STATE]
    assert sorted(written, key=int) == [str(number) for number in range(500)]


class Pair:
    """A journal that writes states in parts, two tokens on connections of their own, and a cut."""

    def __init__(self, *, markets: tuple[str, str] = ("0xm", "0xm"), opened: str = "ab") -> None:
        self.night = night = Night()
        night.journal = Journal(night.pipeline, at_once=0)
        night.journal.keep = night.records.append
        self.venues = [Venue(name, market) for name, market in zip("ab", markets, strict=True)]
        for conn, venue in enumerate(self.venues, 1):
            night.open(0, conn, [venue.token])
            if venue.token in opened:
                night.frame(1, venue.opening(), conn)

    def cut(self) -> None:
        self.night.journal.cut(now(10))
        self._before = self.night.frames()
        self.night.records[:] = self.night.journal.state(now(10))

    def agree(self) -> None:
        """Check that the segment since the cut can be rebuilt, with its states where they are, or first."""
        self.night.journal.end(now(1000))
        live = since(self.night.frames(), self._before)
        equal(rebuild(self.night.records), live)


def test_a_resolution_ends_the_gaps_of_connections_in_their_order() -> None:
    pair = Pair()
    pair.night.close(5, 1)
    pair.cut()
    pair.night.close(20, 2)
    outcome = {"id": "1", "assets_ids": ["a", "b"], "winning_asset_id": "a", "winning_outcome": "Yes"}
    told = {"event_type": "market_resolved", "market": "0xm", "timestamp": "30"} | outcome
    pair.night.frame(30, json.dumps(told), 3)

    pair.agree()


def test_a_resolution_of_some_leaves_the_gap_of_a_connection_that_carried_more() -> None:
    pair = Pair(markets=("0xm", "0xn"), opened="")
    pair.night.open(0, 3, ["a", "b"])
    for venue in pair.venues:
        pair.night.frame(1, venue.opening(), 3)
    pair.night.close(5, 3)
    pair.cut()
    told = {"event_type": "market_resolved", "market": "0xm", "timestamp": "30", "id": "1", "assets_ids": ["a"]}
    pair.night.frame(30, json.dumps(told | {"winning_asset_id": "a", "winning_outcome": "Yes"}), 1)

    assert 3 in {gap.conn for gap in pair.night.pipeline.open_gaps()}
    pair.agree()


def test_a_token_that_comes_to_a_market_knows_whom_its_messages_name_besides() -> None:
    pair = Pair(opened="b")
    a, b = pair.venues
    stranger = {**b.entry("bid", "0.10", "1", 2), "asset_id": "S"}
    pair.night.frame(2, price_change(b.entry("bid", "0.11", "1", 2), stranger, at=2), 2)
    pair.cut()
    pair.night.frame(20, a.opening(), 1)
    pair.night.frame(21, price_change(stranger, at=21), 1)

    assert pair.night.token("a").trusted()
    pair.agree()


def test_the_end_of_a_connection_that_nobody_knows_is_about_all() -> None:
    pair = Pair()
    pair.cut()
    pair.night.close(20, 0)

    pair.agree()


def test_a_note_that_cannot_be_read_is_kept_with_the_states_before_it() -> None:
    pair = Pair()
    pair.cut()
    pair.night.note(20, "book", b"{")

    assert pair.night.token("a").state == "stale"
    pair.agree()


def _fail(token: object, now: int, *, row: int = 0) -> object:
    raise MemoryError(token, now, row)


@pytest.mark.parametrize("text", ["a change", "{"])
def test_states_that_cannot_be_written_are_lost_and_written_again(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pair = Pair()
    pair.cut()
    change = pair.venues[0].change("bid", "0.41", "5", 20)
    with monkeypatch.context() as broken:
        broken.setattr(pair.night.pipeline.books, "save", _fail)
        pair.night.frame(20, change if text == "a change" else text, 1)
    pair.night.frame(21, pair.venues[1].change("bid", "0.41", "5", 21), 2)
    journal, lost = pair.night.journal, list(pair.night.records)

    assert isinstance(journal.failure, MemoryError)
    assert not journal.is_writing
    assert [record.kind for record in lost][-3:] == ["loss", "market", "market"]
    rows = rebuild(lost)
    assert now(10) in rows["gaps"].filter(pl.col("token_id").is_null())["started"].dt.epoch("ns").to_list()
    pair.cut()
    pair.night.frame(30, pair.venues[0].change("bid", "0.42", "5", 30), 1)
    pair.agree()


@pytest.mark.parametrize("seek", [False, True])
def test_merged_recordings_are_proved_and_recorded(tmp_path: Path, seek: bool) -> None:  # noqa: FBT001  # a case
    for name, markets, seed in (("a", "12", 1), ("b", "34", 2)):
        tape = Tape(tmp_path / name, Random(seed), markets=markets, parts=0)
        for _ in range(2):
            tape.steps(40)
            tape.cut()
        tape.steps(40)
        tape.end()
    with Replay([tmp_path / "a", tmp_path / "b"], speed="max", paused=True, prove=not seek) as replay:
        if seek:
            spans = [span(tmp_path / name) or (0, 0) for name in "ab"]
            replay.seek(moment(min(last for _, last in spans) - 1_000_000_000))
            replay.step(3)
        replay.record(tmp_path / "copy")
        while replay.step(10):
            _ = replay.prices if seek else replay.digest()
        replay.stop_recording()
    numbers = scan(tmp_path / "copy", "keyframes").collect()["seq"]
    assert numbers.n_unique() == len(numbers) > 0


def test_a_copy_that_begins_between_states_has_none_of_before(tmp_path: Path) -> None:
    told(tmp_path / "night", 1, segments=3, parts=0)
    with Replay([tmp_path / "night"], speed="max", paused=True) as replay:
        while not replay._played.ingest.pipeline.parts.awaited:  # pyright: ignore[reportPrivateUsage]  # noqa: SLF001
            assert replay.step()
        replay.record(tmp_path / "copy")
        replay.resume()
        replay.wait()
        replay.stop_recording()

    begin = next(iter(records(tmp_path / "copy")))
    rows = scan(tmp_path / "copy", "keyframes").collect()
    assert rows.height
    assert rows.filter((pl.col("seq") < begin.seq) | (pl.col("ts_recv").dt.epoch("ns") < begin.recv)).is_empty()
    assert rows["seq"].n_unique() == rows.height
