"""Record generated frames through the real pipeline and recorder, and state what a level change takes on the disk.

Receive times are as a clock gives them: nanoseconds, after gaps of random length, with a mean of 0.2 ms.
"""

import argparse
import random
import tempfile
from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path

from pmlive import _wire
from pmlive.pipeline import Pipeline
from pmlive.pipeline.journal import Journal, rebuild
from pmlive.records import Opened
from pmlive.store import Manifest, Recorder, RecorderOptions, compact, read_manifest
from pmlive.tables import STORED

from . import figures
from .corpus import World

_CONN = 1
_START = 1_791_000_000_000_000_000
_MEAN = 200_000
_HAND_ON = 5_000
# Level change, of which a frame of price changes has two; the aims are bytes.
_DELTAS = "book_deltas"
_AIMS = {_DELTAS: "9", "raw": "55"}
# What is recorded is made as fast as possible, so the disk may be behind.
_OPTIONS = RecorderOptions(memory=1 << 30, patience=60.0, merge_files=0)


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.sizes", description=__doc__)
    parser.add_argument("--frames", type=int, default=1_000_000)
    figures.add_options(parser)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _record(folder, options.frames)
        before = read_manifest(folder)
        compact(folder, grace=0)
        rows = list(_rows(before, read_manifest(folder)))
    head = ("table", "rows", "files", "bytes a level change", "merged files", "bytes a level change, merged", "aim")
    made_with = figures.setting("polars", "pyarrow", "zstandard")
    text = f"{made_with}; {options.frames:,} frames:\n\n{figures.table(head, rows)}"
    figures.show("sizes", text, options)


def _rows(before: Manifest, after: Manifest) -> Iterable[Sequence[object]]:
    changes = sum(file.rows for file in before.of(_DELTAS))
    for table in (*STORED, "raw"):
        old, new = before.of(table), after.of(table)
        each, merged = (f"{sum(file.bytes for file in files) / changes:.2f}" for files in (old, new))
        if old:
            yield table, sum(file.rows for file in old), len(old), each, len(new), merged, _AIMS.get(table, "")


class _Recording:
    """A pipeline that is recorded, told frame by frame."""

    def __init__(self, recorder: Recorder, tokens: Iterable[str]) -> None:
        self._recorder = recorder
        self._rng = random.Random(1)
        self._now = _START
        self._pipeline = Pipeline()
        self._journal = Journal(self._pipeline)
        self._read = _wire.reader("market")
        recorder.log(self._journal.beginning(self._now))
        self._journal.keep = recorder.log
        self._journal.note("open", _CONN, Opened("market", "wss://generated", list(tokens)), self._now)

    def take(self, frame: bytes) -> None:
        self._now += int(self._rng.expovariate(1 / _MEAN))
        self._journal.frame("market", _CONN, frame, self._read(frame), self._now)

    def hand_on(self) -> None:
        for table, rows in self._pipeline.drain().items():
            if table in STORED:
                self._recorder.rows(table, rows)
        if self._recorder.poll():
            self._end("cut")

    def close(self) -> None:
        self._end("end")

    def _end(self, kind: str) -> None:
        self._journal.note(kind, 0, b"", self._now)
        for table, rows in self._pipeline.drain().items():
            if table in STORED:
                self._recorder.rows(table, rows)
        self._recorder.cut(self._journal.keyframes(self._now))


def _record(folder: Path, amount: int) -> None:
    world = World()
    recorder = Recorder(folder, rebuild=rebuild, options=_OPTIONS)
    recording = _Recording(recorder, [token.id for token in world.tokens])
    for frame in world.opening():
        recording.take(frame)
    for number, frame in enumerate(islice(world.frames(), amount), start=1):
        recording.take(frame)
        if number % _HAND_ON == 0:
            recording.hand_on()
    recording.close()
    recorder.close()
    if recorder.status().dropped:
        raise RuntimeError("the disk was too slow, so what was recorded is not whole; try again")


if __name__ == "__main__":
    main()
