"""Record a flood from a loopback socket to synced parquet: the rate, what was lost, and the trend of memory.

Without `--minutes`, frames come as fast as they are read; with it, `--rate` of them a second for so long.
"""

import argparse
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import msgspec

import pmlive as pm
from pmlive.store import scan

from . import figures
from .load import Served, resident, served, slope, wait

_PATIENCE = 120.0
# So few that the rolling frames are full, and memory should be flat, long before the end.
_ROLLING_ROWS = 20_000
# Table, the kind of message that its rows come from, and how many rows one makes.
_ROWS = {"book_deltas": ("price_change", 2), "book_snapshots": ("book", 1), "trades": ("trade", 1)}


class Started(msgspec.Struct):
    """When the first frame went out, in nanoseconds since 1970."""

    started: int


class Statistics(msgspec.Struct):
    """What the manager says that it has received."""

    events_by_type: dict[str, int]


class Books(msgspec.Struct):
    """What the manager says of its books."""

    duplicates: int


class Outcome(NamedTuple):
    """What came of one run."""

    frames: int
    seconds: float
    lost: int
    gaps: int
    memory: float
    trend: float


def main() -> None:
    """Print the figures."""
    options = _options()
    serving = ("--frames", str(options.frames), "--rate", str(options.rate if options.minutes else 0))
    with served(*serving, "--seconds", str(options.minutes * 60)) as venue, tempfile.TemporaryDirectory() as folder:
        outcome = _record(venue, folder, patience=options.minutes * 60 + _PATIENCE, nap=options.nap)
    text = _report(outcome, options)
    figures.show("minutes" if options.minutes else "socket", text, options)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.socket_rate", description=__doc__)
    parser.add_argument("--frames", type=int, default=400_000, help="prepared frames")
    parser.add_argument("--minutes", type=float, default=0, help="go on for so long with frames written meanwhile")
    parser.add_argument("--rate", type=int, default=20_000, help="frames a second of a run of minutes")
    parser.add_argument(
        "--nap", type=float, default=0, help="a consumer of every update sleeps so many seconds each time"
    )
    figures.add_options(parser)
    return parser.parse_args()


def _record(venue: Served, folder: str, *, patience: float, nap: float) -> Outcome:
    samples: list[tuple[float, float]] = []
    with pm.Manager(venue=venue.venue, rows=_ROLLING_ROWS) as live:
        live.record(folder)
        live.subscribe_orderbook_updates(venue.token_ids, on_event=lambda _event: time.sleep(nap) if nap else None)
        started = venue.hear(Started).started
        sent = _watch(venue, samples, patience=patience)
        expected = _messages(sent, len(venue.token_ids))
        wait(lambda: _received(live) >= sum(expected.values()), patience=_PATIENCE)
        # Some chance changes equal another of their millisecond to the letter; they are taken for repetitions.
        repeated = msgspec.convert(live.status()["books"], Books).duplicates
    seconds = time.time() - started / 1e9
    kept = {table: scan(Path(folder), table).collect().height for table in (*_ROWS, "gaps")}
    lost = sum(max(0, expected[kind] * times - kept[table]) for table, (kind, times) in _ROWS.items()) - repeated
    return Outcome(sum(sent.values()), seconds, lost, kept["gaps"], max(size for _, size in samples), slope(samples))


def _watch(venue: Served, samples: list[tuple[float, float]], *, patience: float) -> dict[str, int]:
    """Note the memory each second until everything has been sent."""

    def noted() -> bool:
        samples.append((time.monotonic(), resident()))
        return sent.done()

    with ThreadPoolExecutor(1) as listener:
        sent = listener.submit(venue.hear, dict[str, int])
        wait(noted, patience=patience, every=1)
        return sent.result()


def _messages(sent: dict[str, int], tokens: int) -> dict[str, int]:
    """Count messages by kind: an array holds both books of a market, and each token had an opening book."""
    books = sent.get("book", 0) + 2 * sent.get("books", 0) + tokens
    return {"price_change": sent.get("price_change", 0), "trade": sent.get("trade", 0), "book": books}


def _received(live: pm.Manager) -> int:
    statistics = msgspec.convert(live.status()["statistics"], Statistics)
    return sum(statistics.events_by_type.get(kind, 0) for kind, _ in _ROWS.values())


def _report(outcome: Outcome, options: argparse.Namespace) -> str:
    napping = f"consumer sleeps {options.nap} s" if options.nap else "no consumer"
    head = ("frames", "seconds", "frames a second", "rows lost", "gaps", "memory, MB", "its trend, MB in 10 minutes")
    row = (
        outcome.frames,
        f"{outcome.seconds:.1f}",
        f"{outcome.frames / outcome.seconds:,.0f}",
        outcome.lost,
        outcome.gaps,
        f"{outcome.memory:.0f}",
        f"{outcome.trend:+.2f}" if options.minutes else "(run of minutes only)",
    )
    made_with = figures.setting("msgspec", "polars", "websockets", "pyarrow")
    return f"{made_with}; {napping}:\n\n{figures.table(head, [row])}"


if __name__ == "__main__":
    main()
