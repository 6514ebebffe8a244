"""What the tests of the store record: numbered records, each of which makes one row.

Run as a program it is a recorder to be killed: it records numbers from its ``next_seq`` on and prints each one that is
known to be on the disk.
"""

import sys
import time
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import contextmanager
from pathlib import Path

import polars as pl

from pmlive.store import Record, Recorder, RecorderOptions, records, scan
from pmlive.tables import SCHEMAS

NOON = 1_795_262_400_000_000_000
SECOND = 1_000_000_000


def record(number: int, *, kind: str = "market", size: int = 20) -> Record:
    """Make the record of a number; numbers are a millisecond apart."""
    return Record(number, NOON + number * 1_000_000, 1, kind, b'{"n": %d}'.ljust(size) % number)


def rebuild(given: Iterable[Record]) -> dict[str, pl.DataFrame]:
    """Make a trade of each frame of the market channel, and a row of each gap."""
    kept = list(given)
    return {
        "trades": _table("trades", [item for item in kept if item.kind == "market"]),
        "gaps": _table("gaps", [item for item in kept if item.kind == "gap"]),
    }


def trades(given: Iterable[Record]) -> pl.DataFrame:
    """Make the rows that belong to records."""
    return rebuild(given)["trades"]


def _table(name: str, kept: list[Record]) -> pl.DataFrame:
    columns: Mapping[str, list[object]] = {
        "seq": [item.seq for item in kept],
        "ts_recv": [item.recv for item in kept],
        "conn": [item.conn for item in kept],
        "token_id": [str(item.seq % 7) * 77 for item in kept],
    }
    empty = pl.DataFrame(schema=SCHEMAS[name])
    given = pl.DataFrame({key: pl.Series(key, column, dtype=SCHEMAS[name][key]) for key, column in columns.items()})
    return pl.concat([empty, given], how="diagonal")


def feed(recorder: Recorder, numbers: Iterable[int], *, size: int = 20) -> None:
    """Log numbered records with their rows."""
    made = [record(number, size=size) for number in numbers]
    for item in made:
        recorder.log(item)
    recorder.rows("trades", trades(made))


def logged(folder: Path) -> list[int]:
    """Read the numbers of the market records of a recording."""
    return [item.seq for item in records(folder) if item.kind == "market"]


def stored(folder: Path) -> list[int]:
    """Read the numbers of the sealed trades."""
    return scan(folder, "trades").collect()["seq"].to_list()


def fast(**changes: float) -> RecorderOptions:
    """Shorten every wait."""
    waits: dict[str, float] = {"commit": 0.002, "sync": 0.05, "retry": 0.02, "patience": 0.3}
    return RecorderOptions(**(waits | changes))  # pyright: ignore[reportArgumentType] - some options are whole numbers


@contextmanager
def recording(folder: Path, options: RecorderOptions | None = None) -> Generator[Recorder]:
    """Record for the length of a block."""
    recorder = Recorder(folder, rebuild=rebuild, options=options or fast())
    try:
        yield recorder
    finally:
        recorder.close()


def wait(condition: Callable[[], object], *, seconds: float = 10.0) -> None:
    """Wait for a condition.

    Raises:
        TimeoutError: it did not come true.
    """
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not true after {seconds} s")
        time.sleep(0.002)


def _record_until_killed(folder: Path) -> None:
    options = fast(segment_rows=300)
    recorder = Recorder(folder, rebuild=rebuild, options=options)
    number = max(recorder.next_seq, 1)
    while True:
        feed(recorder, range(number, number + 10))
        number += 10
        if recorder.due:
            recorder.cut([record(number, kind="state")])
            number += 1
        if recorder.flush(10):
            sys.stdout.write(f"{number - 1}\n")
            sys.stdout.flush()


if __name__ == "__main__":
    _record_until_killed(Path(sys.argv[1]))
