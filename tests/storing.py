"""What the tests of the store record: numbered records, each of which makes one row.

Run as a program it is a recorder to be killed: it records numbers from its ``next_seq`` on, in small segments that it
merges, and prints each number that is known to be on the disk; with a second word what
is replaced stays for a second, and with "few" old frames are given up.
With two numbers it is one recorder after another, each killed at a later change of the disk (the first, and every so
many after it), in folders of their own, until one is not reached.
"""

import os
import signal
import sys
import time
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec
import polars as pl
from support.waiting import wait_until

from pmlive.store import Record, Recorder, RecorderOptions, read_manifest, records, scan, verify_files
from pmlive.store.disk import inject_faults
from pmlive.tables import SCHEMAS

NOON = 1_795_262_400_000_000_000
SECOND = 1_000_000_000


def record(number: int, *, kind: str = "market", size: int = 20) -> Record:
    """Make the record of a number; numbers are a millisecond apart."""
    return Record(number, NOON + number * 1_000_000, 1, kind, b'{"n": %d}'.ljust(size) % number)


def single_entry(item: Record) -> bytes:
    """Write a record with a line of its own, as the bundled samples have it."""
    return b"%d %d %d %b %d\n%b\n" % (item.seq, item.recv, item.conn, item.kind.encode(), len(item.data), item.data)


def rebuild(given: Iterable[Record]) -> dict[str, pl.DataFrame]:
    """Make a trade of each frame of the market channel, and a row of each gap and each loss."""
    kept = list(given)
    return {
        "trades": _table("trades", [item for item in kept if item.kind == "market"]),
        "gaps": _table("gaps", [item for item in kept if item.kind in ("gap", "loss")]),
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


def in_sight(folder: Path) -> list[int]:
    """Read the numbers of the trades that are there for who reads files by their names."""
    paths = sorted(folder.glob("trades/*/*.parquet"))
    return sorted(number for path in paths for number in pl.read_parquet(path, hive_partitioning=False)["seq"])


def audit(folder: Path, acknowledged: int) -> list[int]:
    """Open a recording again and compare it with what was acknowledged; return the numbers that it has.

    Raises:
        AssertionError: a number is missing or doubled, or frames and tables differ, or a file is damaged.
    """
    with recording(folder):
        pass
    found = [item.seq for item in records(folder)]
    assert found[:acknowledged] == [*range(1, acknowledged + 1)]
    assert found == sorted(set(found))
    assert stored(folder) == in_sight(folder) == logged(folder)
    assert verify_files(folder) == []
    return found


def fast(**changes: float) -> RecorderOptions:
    """Shorten every wait."""
    waits: dict[str, float] = {"commit": 0.002, "sync": 0.05, "retry": 0.02, "patience": 0.3}
    return RecorderOptions(**(waits | changes))  # pyright: ignore[reportArgumentType] - some options are whole numbers


@contextmanager
def recording(
    folder: Path, options: RecorderOptions | None = None, *, clock: Callable[[], int] = time.time_ns
) -> Generator[Recorder]:
    """Record for the length of a block."""
    recorder = Recorder(folder, rebuild=rebuild, options=options or fast(), clock=clock)
    try:
        yield recorder
    finally:
        recorder.close()


def wait(condition: Callable[[], object], *, seconds: float = 10.0) -> None:
    """Wait for a condition.

    Raises:
        TimeoutError: it did not come true.
    """
    wait_until(condition, seconds)


def _say(number: int) -> None:
    sys.stdout.write(f"{number}\n")
    sys.stdout.flush()


def _record_until_killed(folder: Path, keeping: str) -> None:
    options = fast(segment_rows=60, merge_files=3, grace=1.0 if keeping else 0.05)
    if keeping == "few":
        options = msgspec.structs.replace(options, keep_raw=1.0)
    recorder = Recorder(folder, rebuild=rebuild, options=options)
    number = max(recorder.next_seq, 1)
    cuts = 0
    while True:
        feed(recorder, range(number, number + 10))
        number += 10
        # Not ahead of the sealing, so that there is time for merging.
        if recorder.poll() and recorder.status().segments == cuts:
            recorder.cut([record(number, kind="state")])
            number, cuts = number + 1, cuts + 1
        if recorder.flush(10):
            _say(number - 1)


def record_a_little(folder: Path, *, patience: float, said: Callable[[int], None]) -> None:
    """Record 30 numbers in three segments, which are merged, and tell each time what is on the disk."""
    options = fast(sync=0.005, retry=0.005, patience=0.02, merge_files=2, grace=0.0)
    with recording(folder, options) as recorder:
        for last in (10, 20, 30):
            feed(recorder, range(last - 9, last))
            recorder.cut([record(last, kind="state")])
            if recorder.flush(patience):
                said(last)
        with suppress(TimeoutError):
            wait(lambda: _is_merged(folder), seconds=min(patience, 0.3))


def _is_merged(folder: Path) -> bool:
    manifest = read_manifest(folder)
    return len(manifest.of("trades")) == 1 and not manifest.replaced


class CrashError(BaseException):
    """The end of the process, as far as the code can tell."""


class CrashAt:
    """A step, or a change of the disk, that ends the process when it has been taken so many times."""

    def __init__(self, number: int = -1) -> None:
        self.left = number
        self.taken: list[str] = []

    def __call__(self, name: str) -> None:
        self.taken.append(name)
        if self.left == len(self.taken):
            raise CrashError(name)


class Clock:
    """A clock that is set by hand."""

    def __init__(self, now: int = NOON) -> None:
        self.now = now

    def __call__(self) -> int:
        return self.now


class KillAt:
    """The end of the process at a change of the disk."""

    def __init__(self, number: int) -> None:
        self.left = number

    def __call__(self, _change: str) -> None:
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)


def _kill_at_every_change(parent: Path, *, first: int, every: int) -> None:
    number = first
    while True:
        child = os.fork()
        if child == 0:
            with inject_faults(KillAt(number)):
                record_a_little(parent / str(number), patience=10, said=_say)
            os._exit(0)
        if os.waitpid(child, 0)[1] == 0:
            return
        sys.stdout.write(f"{number} killed\n")
        sys.stdout.flush()
        number += every


if __name__ == "__main__":
    if len(sys.argv) <= 3:
        _record_until_killed(Path(sys.argv[1]), "".join(sys.argv[2:]))
    else:
        _kill_at_every_change(Path(sys.argv[1]), first=int(sys.argv[2]), every=int(sys.argv[3]))
