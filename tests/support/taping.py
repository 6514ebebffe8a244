"""A random story that is recorded into a folder, in as many segments and runs as a test wants."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from random import Random

from storing import fast
from support.night import Night, now
from support.story import Story

from pmlive.pipeline.journal import Journal, rebuild
from pmlive.store import Record, Recorder

__all__ = ["TOKENS", "Tape", "copied", "first", "told"]

TOKENS = ("11", "12", "21", "22")


class Tape:
    """Records one run; ``records`` are those that it logged.

    With ``parts`` the states after a cut are written in parts, each with this chance after a thing that happens.
    """

    def __init__(
        self,
        folder: Path,
        random: Random,
        *,
        at: float = 0,
        conn: int = 1,
        markets: str = "12",
        parts: float | None = None,
    ) -> None:
        self._random, self._parts = Random(parts), parts or 0
        self.recorder = Recorder(folder, rebuild=rebuild, options=fast())
        self.records: list[Record] = []
        night = Night()
        if parts is not None:
            night.journal = Journal(night.pipeline, at_once=0)
        self.story = Story(random, night, at=at, conn=conn, markets=markets)
        night.pipeline.seq = self.recorder.next_seq
        self._log([night.journal.beginning(now(at))])
        night.journal.keep = self._keep
        if self.recorder.last_recv is not None:
            night.gap(at, "restart", since=(self.recorder.last_recv - now(0)) / 1e6, ended=at)
        self.story.begin()

    def _keep(self, record: Record) -> None:
        self._log([record])

    def _log(self, records: Sequence[Record]) -> None:
        self.records += records
        for record in records:
            self.recorder.log(record)

    def steps(self, count: int) -> None:
        """Let things happen."""
        for _ in range(count):
            self.story.step()
            self._write_states()
        self._flush()

    def _write_states(self) -> None:
        journal = self.story.night.journal
        while journal.is_writing and self._random.random() < self._parts:
            journal.write_states(1, now(self.story.at))

    def cut(self) -> None:
        """End a segment and begin the next."""
        journal = self.story.night.journal
        while journal.is_writing:
            journal.write_states(1, now(self.story.at))
        journal.cut(now(self.story.at))
        self._flush()
        keyframes = journal.state(now(self.story.at))
        self.records += keyframes
        self.recorder.cut(keyframes)
        self.story.at += 0.5

    def end(self) -> None:
        """End the run as a manager does."""
        night = self.story.night
        night.end(self.story.at)
        self._log(night.journal.keyframes(now(self.story.at)))
        self._flush()
        self.recorder.close()

    def _flush(self) -> None:
        for table, frame in self.story.night.pipeline.drain().items():
            if table != "depth":
                self.recorder.rows(table, frame)


def told(folder: Path, seed: int, *, segments: int = 3, steps: int = 40, parts: float | None = None) -> list[Record]:
    """Record a story in one run, and give its records."""
    tape = Tape(folder, Random(seed), parts=parts)
    for _ in range(segments - 1):
        tape.steps(steps)
        tape.cut()
    tape.steps(steps)
    tape.end()
    return tape.records


def copied(recording: Path, place: Path) -> Path:
    """Copy a recording into a folder, so that a test may damage it."""
    copy = place / recording.name
    shutil.copytree(recording, copy, ignore=shutil.ignore_patterns(".lock"))
    return copy


def first(folder: Path, table: str) -> Path:
    """Return the first file of a table."""
    return min(folder.glob(f"{table}/*/*"))
