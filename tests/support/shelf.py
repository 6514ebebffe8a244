"""Random nights, recorded into folders: with cuts, and with runs that end, are killed, or begin again."""

import shutil
from pathlib import Path
from random import Random

from support.night import NOON, Night, now
from support.story import Story
from support.waiting import wait_until

from pmlive.pipeline.journal import Journal, rebuild
from pmlive.store import Recorder, RecorderOptions
from pmlive.tables import STORED

__all__ = ["record_story", "recover"]

_OPTIONS = RecorderOptions(commit=0.002, sync=0.05, retry=0.02, patience=0.3)


def record_story(
    folder: Path,
    seed: int,
    *,
    steps: int = 60,
    cuts: int = 2,
    killed: bool = False,
    at: float = 0,
    conn: int = 1,
    parts: float | None = None,
) -> Story:
    """Record a random story, or go on with a folder by one; a killed run does not say that it ends.

    With ``parts`` the states after a cut are written in parts, each with this chance after a thing that happens.
    """
    random, chance = Random(seed), Random(seed)
    recorder = Recorder(folder, rebuild=rebuild, options=_OPTIONS, clock=lambda: NOON)
    story = Story(random, at=at, conn=conn)
    night = story.night
    if parts is not None:
        night.journal = Journal(night.pipeline, at_once=0)
    night.pipeline.seq = recorder.next_seq
    night.journal.keep = recorder.log
    recorder.log(night.journal.beginning(now(at)))
    story.begin()
    for number in range(1, steps + 1):
        story.step()
        while night.journal.is_writing and chance.random() < (parts or 0):
            night.journal.write_states(1, now(story.at))
        if number % (steps // (cuts + 1) + 1) == 0 and not night.journal.is_writing:
            night.journal.cut(now(story.at))
            _hand_over(night, recorder)
            recorder.cut(night.journal.state(now(story.at)))
    if killed:
        _hand_over(night, recorder)
        _kill(recorder, folder)
    else:
        story.at += random.choice((0, 5, 150, 61_000))
        night.end(story.at)
        for record in night.journal.keyframes(now(story.at)):
            recorder.log(record)
        _hand_over(night, recorder)
        recorder.close()
    return story


def _kill(recorder: Recorder, folder: Path) -> None:
    """Leave the folder as a process that is killed leaves it: what came after the last write never came."""
    assert recorder.flush(10)
    copy = folder.with_name(f"{folder.name} as it was")
    wait_until(lambda: not recorder.status().pending_bytes)
    shutil.copytree(folder, copy)
    recorder.close()
    shutil.rmtree(folder)
    copy.rename(folder)


def recover(folder: Path) -> None:
    """Finish what a killed run left, as the next start does."""
    Recorder(folder, rebuild=rebuild, options=_OPTIONS).close()


def _hand_over(night: Night, recorder: Recorder) -> None:
    for table, frame in night.pipeline.drain().items():
        if table in STORED:
            recorder.rows(table, frame)
