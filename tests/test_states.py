"""A state that is written in parts, while the feed goes on, is the state of the time at which it began."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal
from support.examples import examples
from support.night import Night, now, stored
from support.story import Story

from pmlive.pipeline import Pipeline
from pmlive.pipeline.journal import Journal, apply, rebuild
from pmlive.records import Kind, Parts, Record, read_note

seeds = st.integers(0, 2**32 - 1)


class Crowd:
    """Two random stories on two connections of one journal, which writes states in parts."""

    def __init__(self, random: Random, *, at_once: int = 0) -> None:
        self.random = random
        self.night = night = Night()
        night.journal = Journal(night.pipeline, at_once=at_once)
        night.journal.keep = night.records.append
        self.stories = [Story(random, night), Story(random, night, conn=101, markets="34")]
        for story in self.stories:
            story.begin()

    @property
    def at(self) -> float:
        return max(story.at for story in self.stories)

    def step(self) -> None:
        """Let one thing happen, on either connection or beside them."""
        story = self.random.choice(self.stories)
        story.at = self.at
        if self.random.random() < 0.3:
            self.random.choice((self._beside, self._beside, type(story).spoil, type(story).word))(story)
        else:
            story.step()

    def steps(self, count: int, *, parts: float = 0) -> None:
        """Let things happen, and states be written between them."""
        for _ in range(count):
            self.step()
            while self.night.journal.is_writing and self.random.random() < parts:
                self.night.journal.write_states(1, now(self.at))

    def _beside(self, story: Story) -> None:
        market = self.random.choice([venue.market for venue in story.venues.values()])
        tokens = [venue.token for venue in story.venues.values() if venue.market == market]
        text = self.random.choice(
            (
                f'{{"event_type":"tick_size_change","asset_id":"{tokens[0]}","market":"{market}",'
                f'"old_tick_size":"0.01","new_tick_size":"0.001","timestamp":"{int(self.at)}"}}',
                f'{{"event_type":"weather","market":"{market}"}}',
                '{"event_type":"thunder"}',
                f'{{"event_type":"market_resolved","id":"1","market":"{market}","assets_ids":{tokens},'
                f'"winning_asset_id":"{tokens[0]}","winning_outcome":"Yes","timestamp":"{int(self.at)}"}}'.replace(
                    "'", '"'
                ),
            )
        )
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


def equal(these: dict, those: dict) -> None:
    left, right = stored(these), stored(those)
    for name in left:
        assert_frame_equal(left[name], right[name])


def since(frames: dict, skipped: dict) -> dict:
    return {name: frame.slice(skipped[name].height if name in skipped else 0) for name, frame in frames.items()}


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
    records: list[Record] = []
    for _ in range(3):
        crowd.steps(random.randrange(40), parts=parts)
        crowd.night.journal.write_states(100, now(crowd.at))
        records += crowd.cut()
    crowd.steps(random.randrange(40), parts=parts)
    crowd.end()

    again = Night()
    for record in [*records, *crowd.night.records]:
        apply(again.pipeline, record)
        if random.random() < 0.2:
            again.drain()
    equal(again.frames(), crowd.night.frames())
