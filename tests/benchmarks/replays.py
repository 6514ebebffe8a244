"""What a replay costs beside the live path without sockets, and what recording adds to receiving.

Each is run in turn with its counterpart, and processor times of all threads are divided round by round. The live path
is that of the layers' last row: read, keep books, verify every hash, extend the rolling frames.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from itertools import takewhile
from pathlib import Path

import msgspec

import pmlive as pm
from pmlive import _wire
from pmlive.manager import Replay
from pmlive.manager.desk import Desk
from pmlive.pipeline.journal import Opened, rebuild
from pmlive.store import Recorder

from . import cases, corpus, figures
from .load import served, wait

_START = 1_791_000_000_000_000_000
_RATE = 5_000
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
    parser.add_argument("--rounds", type=int, default=7)
    figures.add_options(parser)
    return parser.parse_args()


def _replay(folder: Path, options: argparse.Namespace) -> str:
    lines = corpus.write(folder / "corpus.jsonl", options.frames).read_bytes().splitlines()
    opening = list(takewhile(lambda line: line.startswith(b"["), lines))
    frames = lines[len(opening) :]
    _record(folder / "night", opening, frames)

    def live() -> None:
        case = cases.paced_hashes(opening)
        case.take(opening)
        for start in range(0, len(frames), case.every):
            case.take(frames[start : start + case.every])
            case.hand_on()
        assert case.finish() == 0

    def replay() -> None:
        with Replay(folder / "night", speed="max") as again:
            assert again.finished

    times = _alternate({"live": live, "replay": replay}, options.rounds)
    ratios = [one / other for one, other in zip(times["live"], times["replay"], strict=True)]
    rows = [
        (name, f"{1e6 * statistics.median(each) / len(frames):.1f}", f"{len(frames) / statistics.median(each):,.0f}")
        for name, each in times.items()
    ]
    table = figures.table(("path", "us of processor a frame", "frames a second of one core"), rows)
    spread = f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
    return f"{figures.setting('msgspec', 'polars')}; a replay goes at {spread} times the live rate:\n\n{table}"


def _record(folder: Path, opening: Sequence[bytes], frames: Sequence[bytes]) -> None:
    """Record frames as a manager does, at an invented time."""
    now = _START
    desk = Desk(clock=lambda: now, rows=200_000, age=timedelta(hours=6), depth=10)
    recorder = Recorder(folder, rebuild=rebuild, clock=lambda: now)
    desk.record(recorder)
    tokens = [message["asset_id"] for frame in opening for message in msgspec.json.decode(frame)]
    desk.journal.note("open", 1, Opened("market", "ws://127.0.0.1", tokens), now)
    read = _wire.reader("market")
    for number, frame in enumerate([*opening, *frames]):
        now += 1_000_000_000 // _RATE
        desk.journal.frame("market", 1, frame, read(frame), now)
        if number % _RATE == 0:
            desk.turn()
            desk.tend()
            recorder.flush(_PATIENCE)
    desk.end_recording()
    recorder.close()


def _recording(options: argparse.Namespace) -> str:
    times = _alternate(
        {"receive": lambda: _receive(None, options), "record": lambda: _receive("night", options)}, options.rounds
    )
    ratios = [one / other for one, other in zip(times["record"], times["receive"], strict=True)]
    rows = [(name, f"{1e6 * statistics.median(each) / options.frames:.1f}") for name, each in times.items()]
    added = [100 * (ratio - 1) for ratio in ratios]
    spread = f"{statistics.median(added):.0f} % ({min(added):.0f} to {max(added):.0f})"
    table = figures.table(("what is done", "us of processor a frame"), rows)
    made_with = figures.setting("msgspec", "polars", "websockets", "pyarrow")
    return f"{made_with}; recording adds {spread}:\n\n{table}"


def _receive(name: str | None, options: argparse.Namespace) -> None:
    """Take what a venue sends over a loopback socket as fast as it is read."""
    serving = served("--frames", str(options.frames))
    with serving as venue, tempfile.TemporaryDirectory() as folder, pm.Manager(venue=venue.venue) as live:
        if name is not None:
            live.record(Path(folder) / name)
        live.subscribe_orderbook_updates(venue.token_ids)
        venue.hear(dict[str, int])
        sent = sum(venue.hear(dict[str, int]).values())
        wait(lambda: _received(live) >= sent, patience=_PATIENCE, every=0.5)


def _received(live: pm.Manager) -> int:
    return msgspec.convert(live.status()["statistics"], _Statistics).total_events


def _alternate(work: dict[str, Callable[[], None]], rounds: int) -> dict[str, list[float]]:
    """Do each once a round, another one first each time; a round before the first warms up."""
    times: dict[str, list[float]] = {name: [] for name in work}
    names = list(work)
    for at in range(rounds + 1):
        for name in names[at % len(names) :] + names[: at % len(names)]:
            began = time.process_time()
            work[name]()
            times[name].append(time.process_time() - began)
    return {name: each[1:] for name, each in times.items()}


if __name__ == "__main__":
    main()
