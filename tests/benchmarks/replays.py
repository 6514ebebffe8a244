"""What a replay costs beside the live path without sockets, and what recording adds to receiving.

A replay and the live path go on in turns, a second of frames each, on one core; the processor times of all threads are
divided round by round. The live path is that of the layers' last row: read, keep books, verify every hash, extend the
rolling frames.

Two managers receive the same frames at the same time from two venues, at a usual rate; one of them records. The times
are those of the threads of each, until everything is sealed.
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Generator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from datetime import timedelta
from itertools import takewhile
from pathlib import Path
from typing import Self

import msgspec

import pmlive as pm
from pmlive import _wire
from pmlive.manager import Replay
from pmlive.manager.ingest import Ingest
from pmlive.pipeline.journal import rebuild
from pmlive.records import Opened
from pmlive.store import Recorder

from . import cases, corpus, figures
from .load import served, wait
from .measure import relative

_START = 1_791_000_000_000_000_000
_RATE = 5_000
# Frames that a recorder writes in one go at that rate.
_WRITTEN = _RATE // 20
_PATIENCE = 120.0


class _Statistics(msgspec.Struct):
    total_events: int


def main() -> None:
    """Print the figures."""
    options = _options()
    with tempfile.TemporaryDirectory() as folder:
        figures.show("replay", _replay(Path(folder), options), options)
    figures.show("recording", _recording(options), options)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.replays", description=__doc__)
    parser.add_argument("--frames", type=int, default=100_000, help="generated frames")
    parser.add_argument("--rounds", type=int, default=11)
    figures.add_options(parser)
    return parser.parse_args()


def _replay(folder: Path, options: argparse.Namespace) -> str:
    lines = corpus.write(folder / "corpus.jsonl", options.frames).read_bytes().splitlines()
    opening = list(takewhile(lambda line: line.startswith(b"["), lines))
    frames = lines[len(opening) :]
    _record(folder / "night", opening, frames)

    with _one_core():
        rounds = [_in_turns(folder / "night", opening, frames) for _ in range(options.rounds + 1)][1:]
    times = {name: [taken[name] for taken in rounds] for name in ("live", "replay")}
    rows = [
        (name, f"{1e6 * statistics.median(each) / len(frames):.1f}", f"{len(frames) / statistics.median(each):,.0f}")
        for name, each in times.items()
    ]
    table = figures.table(("path", "us of processor a frame", "frames a second of one core"), rows)
    spread = relative(times["live"], times["replay"])
    return f"{figures.setting('msgspec', 'polars')}; a replay goes at {spread} times the live rate:\n\n{table}"


def _in_turns(night: Path, opening: Sequence[bytes], frames: Sequence[bytes]) -> dict[str, float]:
    """Take frames live and replay as many, a second of them at a time, so that noise is shared; give both times."""
    began = time.process_time()
    case = cases.paced_hashes(opening)
    case.take(opening)
    taken = {"live": time.process_time() - began}
    began = time.process_time()
    with Replay(night, speed="max", paused=True) as again:
        again.step(len(opening))
        taken["replay"] = time.process_time() - began

        def live(part: Sequence[bytes]) -> None:
            case.take(part)
            case.hand_on()

        def replay(part: Sequence[bytes]) -> None:
            again.step(len(part))

        work = [("live", live), ("replay", replay)]
        for start in range(0, len(frames), _RATE):
            for name, do in work:
                began = time.process_time()
                do(frames[start : start + _RATE])
                taken[name] += time.process_time() - began
            work.reverse()
        assert again.step() == 0
    assert case.finish() == 0
    return taken


def _record(folder: Path, opening: Sequence[bytes], frames: Sequence[bytes]) -> None:
    """Record frames as a manager does, at an invented time."""
    now = _START
    ingest = Ingest(clock=lambda: now, rows=200_000, age=timedelta(hours=6), depth=10)
    recorder = Recorder(folder, rebuild=rebuild, clock=lambda: now)
    ingest.record(recorder)
    tokens = [message["asset_id"] for frame in opening for message in msgspec.json.decode(frame)]
    ingest.journal.note("open", 1, Opened("market", "ws://127.0.0.1", tokens), now)
    read = _wire.reader("market")
    for number, frame in enumerate([*opening, *frames]):
        now += 1_000_000_000 // _RATE
        ingest.journal.frame("market", 1, frame, read(frame), now)
        if number % _WRITTEN == 0:
            ingest.turn()
            ingest.tend()
            recorder.flush(_PATIENCE)
    ingest.end_recording()
    recorder.close()


def _recording(options: argparse.Namespace) -> str:
    """Receive the same frames twice at the same time, kept and not kept, so that noise is shared.

    Whoever is there first takes a little more, so a round is one of each order.
    """
    times: dict[str, list[float]] = {"receive": [], "record": []}
    names = list(times)
    for at in range(options.rounds // 2 + 1):
        taken = [_receive(order, options) for order in (names, names[::-1])]
        for name, each in times.items() if at else ():
            each.append(statistics.mean(one[name] for one in taken))
    rows = [(name, f"{1e6 * statistics.median(each) / options.frames:.1f}") for name, each in times.items()]
    median, low, high = (100 * (ratio - 1) for ratio in relative(times["record"], times["receive"]))
    table = figures.table(("what is done", "us of processor a frame"), rows)
    made_with = figures.setting("msgspec", "polars", "websockets", "pyarrow")
    return f"{made_with}; recording adds {median:.0f} % ({low:.0f} to {high:.0f}):\n\n{table}"


def _receive(names: Sequence[str], options: argparse.Namespace) -> dict[str, float]:
    """Take what two venues send; give the processor time of the threads of each manager, until all is sealed."""
    taken: dict[str, float] = {}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        managers = {name: stack.enter_context(_Receiver(name, folder, options)) for name in names}
        for manager in managers.values():
            manager.take()
        for name, manager in managers.items():
            taken[name] = manager.finish()
    return taken


class _Receiver:
    """A manager that receives from a venue of its own."""

    def __init__(self, name: str, folder: Path, options: argparse.Namespace) -> None:
        self._name = name
        self._folder = folder
        self._options = options

    def __enter__(self) -> Self:
        others = set(_threads())
        self._stack = ExitStack()
        options = self._options
        self._venue = self._stack.enter_context(served("--frames", str(options.frames), "--rate", str(_RATE)))
        self._live = self._stack.enter_context(pm.Manager(venue=self._venue.venue))
        if self._name == "record":
            self._live.record(self._folder / "night")
        self._live.subscribe_orderbook_updates(self._venue.token_ids)
        self._own = set(_threads()) - others
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def take(self) -> None:
        """Wait until all was received."""
        self._venue.hear(dict[str, int])
        sent = sum(self._venue.hear(dict[str, int]).values())
        wait(lambda: _received(self._live) >= sent, patience=_PATIENCE, every=0.5)

    def finish(self) -> float:
        """End; give the seconds of processor that the manager took."""
        running = sum(seconds for thread, seconds in _threads().items() if thread in self._own)
        began = time.process_time()
        self._live.close()
        return running + time.process_time() - began


def _threads() -> dict[int, float]:
    """Give the seconds of processor that each thread of this process has taken (Linux only)."""
    tick = os.sysconf("SC_CLK_TCK")
    found: dict[int, float] = {}
    for task in Path("/proc/self/task").iterdir():
        with suppress(FileNotFoundError, ProcessLookupError):  # it ended just now
            fields = (task / "stat").read_text().rpartition(")")[2].split()
            found[int(task.name)] = (int(fields[11]) + int(fields[12])) / tick
    return found


def _received(live: pm.Manager) -> int:
    return msgspec.convert(live.status()["statistics"], _Statistics).total_events


@contextmanager
def _one_core() -> Generator[None, None, None]:
    """Keep threads from slowing each other on the two sides of one core."""
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, cores)


if __name__ == "__main__":
    main()
