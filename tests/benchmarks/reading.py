"""Measure what quality and exports of a day take, and of a quarter of it: processor time, and memory that is added.

Each is read in a process of its own: `python -m tests.benchmarks.reading --one WHAT FOLDER`.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pmlive as pm
from pmlive.export import to_csv, to_duckdb, to_hftbacktest
from pmlive.store import verify_files

from . import figures
from .day import make_day, write_day

_MB = 1024
_READERS: dict[str, Callable[[Path, Path], object]] = {
    "quality": lambda folder, _: pm.open_recording(folder).quality(),
    "CSV": to_csv,
    "DuckDB": to_duckdb,
    "hftbacktest, the busiest token": lambda folder, out: to_hftbacktest(folder, out, token_id=str(10**76)),
    "every checksum and row": lambda folder, _: verify_files(folder),
}


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.reading", description=__doc__)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    figures.add_options(parser)
    options = parser.parse_args()
    if options.one:
        print(*_read(*options.one))  # noqa: T201 - this is a program's output
        return
    day, head = make_day(options.rows), ("what", "level changes", "seconds of processor", "memory added, MB")
    with tempfile.TemporaryDirectory() as folder:
        rows: list[tuple[object, ...]] = []
        for part in (4, 1):
            write_day(Path(folder) / str(part), day, options.rows // part)
            rows += _measured(Path(folder) / str(part), options.rows // part)
    made_with = figures.setting("polars", "pyarrow", "duckdb")
    figures.show("reading", f"{made_with}:\n\n{figures.table(head, sorted(rows, key=_place))}", options)


def _place(row: tuple[object, ...]) -> int:
    return list(_READERS).index(str(row[0]))


def _measured(folder: Path, many: int) -> Iterator[tuple[object, ...]]:
    for what in _READERS:
        command = [sys.executable, "-m", "tests.benchmarks.reading", "--one", what, str(folder)]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        seconds, added = done.stdout.split()
        yield what, f"{many:,}", seconds, added


def _read(what: str, name: str) -> tuple[str, str]:
    """Return the seconds of processor time, and the most memory beyond that of an opened recording."""
    folder = Path(name)
    pm.open_recording(folder)
    with tempfile.TemporaryDirectory() as place:
        before, began = _most(), time.process_time()
        _READERS[what](folder, Path(place) / "out")
        return f"{time.process_time() - began:.1f}", f"{_most() - before:.0f}"


def _most() -> float:
    """Return the most memory that this process has had, in MB (Linux only)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / _MB


if __name__ == "__main__":
    main()
