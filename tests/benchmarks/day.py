"""Ask a day of ten million level changes, which nobody lived, for books and rows; and a quarter of it."""

import argparse
import hashlib
import random
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import NamedTuple

import msgspec
import numpy as np
import polars as pl

import pmlive as pm
from pmlive.recording import Recording
from pmlive.recording.grids import Changes, Ladders, Resets, to_lists
from pmlive.store import Manifest, SealedFile, parquet
from pmlive.tables import SCHEMAS

from . import figures

_MIDNIGHT = 1_795_219_200_000_000_000
_CREATED = "2026-11-21T00:00:00Z"
_SECOND = 1_000_000_000
_HOUR = 3600 * _SECOND
_DAY = 24 * _HOUR
_SEGMENT = 250_000
_TOKENS = [str(10**76 + 7919**18 * number) for number in range(600)]
_SHOWN = 60


class Day(NamedTuple):
    """Level changes in order, and when each came."""

    changes: Changes
    recv: np.ndarray[tuple[int], np.dtype[np.int64]]


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.day", description=__doc__)
    parser.add_argument("--rows", type=int, default=10_000_000)
    figures.add_options(parser)
    options = parser.parse_args()
    day = make_day(options.rows)
    rows = [_ladders(day)]
    with tempfile.TemporaryDirectory() as folder:
        for name, part in (("a quarter of the day", 4), ("the day", 1)):
            where = Path(folder) / str(part)
            write_day(where, day, len(day.recv) // part)
            rows += [(f"{what}, {name}", took) for what, took in _asked(pm.open_recording(where), part)]
    made_with = figures.setting("polars", "numpy", "pyarrow")
    text = f"{made_with}; {options.rows:,} level changes of 600 tokens:\n\n{figures.table(('what', 'takes'), rows)}"
    figures.show("day", text, options)


# --- what is measured ---


def _ladders(day: Day) -> tuple[str, str]:
    """Make every book anew from arrays in memory, and look at the best ten levels of all after each minute."""
    minutes = np.searchsorted(day.recv, _MIDNIGHT + np.arange(1, 1441) * 60 * _SECOND)
    took: list[float] = []
    for _ in range(3):
        began = time.process_time()
        books = Ladders(day.changes, _no_resets(), tokens=len(_TOKENS))
        for position in minutes:
            books.advance(int(position))
            books.best(10)
        took.append(time.process_time() - began)
    rate = len(day.recv) / median(took)
    return "all 600 books from arrays in memory, best 10 levels each minute", f"{rate:,.0f} changes a second"


def _asked(night: Recording, part: int) -> Iterator[tuple[str, str]]:
    chance = random.Random(part)
    length = _DAY // part
    times = [_MIDNIGHT + chance.randrange(_HOUR // 60, length) for _ in range(100)]
    tokens = [chance.choice(_TOKENS) for _ in times]
    cold = _seconds(lambda: night.book_at(tokens[0], times[0]))
    took = [
        _seconds(lambda token=token, at=at: night.book_at(token, at)) for token, at in zip(tokens, times, strict=True)
    ]
    yield "the first book", f"{cold * 1000:.0f} ms"
    yield "a book at any time", f"median {median(took) * 1000:.0f} ms, most {max(took) * 1000:.0f} ms"
    hours = [_MIDNIGHT + chance.randrange(length - _HOUR) for _ in range(10)]
    took = [_seconds(lambda hour=hour: _hour(night, chance.choice(_TOKENS), hour)) for hour in hours]
    yield "one token's changes of an hour", f"median {median(took) * 1000:.0f} ms, most {max(took) * 1000:.0f} ms"
    took = [_seconds(lambda hour=hour: night.depth(_TOKENS[0], start=hour, end=hour + _HOUR)) for hour in hours[:3]]
    yield "an hour of one token's depth, each second", f"median {median(took) * 1000:.0f} ms"


def _hour(night: Recording, token: str, start: int) -> pl.DataFrame:
    return night.scan("book_deltas", token=token, start=start, end=start + _HOUR).collect()


def _seconds(ask: Callable[[], object]) -> float:
    began = time.perf_counter()
    ask()
    return time.perf_counter() - began


# --- a day that nobody lived ---


def make_day(rows: int) -> Day:
    chance = np.random.default_rng(7)
    weight = 1 / (1 + np.arange(len(_TOKENS))) ** 0.7
    token = chance.choice(len(_TOKENS), rows, p=weight / weight.sum())
    middle = chance.integers(60, 940, len(_TOKENS))[token]
    bid = chance.random(rows) < 0.5
    away = np.minimum(chance.geometric(0.08, rows), 55)
    size = np.where(chance.random(rows) < 0.3, 0.0, chance.integers(1, 10_000, rows) / 4)
    changes = Changes(token, bid, np.where(bid, middle - away, middle + away) / 1000, size)
    recv = _MIDNIGHT + np.sort(chance.integers(0, _DAY, rows))
    return Day(changes, recv)


def _no_resets() -> Resets:
    return Resets(np.array([], dtype=np.int64), np.array([], dtype=np.int64))


def write_day(folder: Path, day: Day, rows: int) -> None:
    """Write the day, or the beginning of it, as a recorder would have: sealed each so many rows, with keyframes."""
    books = Ladders(day.changes, _no_resets(), tokens=len(_TOKENS))
    files: list[SealedFile] = []
    seq = 1
    for start in range(0, rows, _SEGMENT):
        stop = min(start + _SEGMENT, rows)
        books.advance(start)
        at = int(day.recv[start]) - 1
        frames = {"keyframes": _keyframes(books, seq, at)}
        seq += len(_TOKENS)
        frames["book_deltas"] = _deltas(day, slice(start, stop), seq)
        seq += stop - start
        frames["book_snapshots"] = _snapshots(frames["keyframes"], seq, int(day.recv[stop - 1]))
        seq += frames["book_snapshots"].height
        files += [_file(folder, table, frame, len(files)) for table, frame in frames.items()]
    books.advance(rows)
    files.append(_file(folder, "keyframes", _keyframes(books, seq, int(day.recv[rows - 1])), len(files)))
    last = int(day.recv[rows - 1])
    # Raw frames count as given up, so that none are missed.
    manifest = Manifest(pmlive="", created=_CREATED, files=files, sealed=1, last_recv=last, raw_from=last + 1)
    (folder / "manifest.json").write_bytes(msgspec.json.encode(manifest))


def _deltas(day: Day, part: slice, seq: int) -> pl.DataFrame:
    token, bid, price, size = (column[part] for column in day.changes)
    recv = day.recv[part]
    names = pl.Series(_TOKENS)
    frame = pl.DataFrame({"seq": np.arange(seq, seq + len(recv)), "ts_recv": recv, "price": price, "size": size})
    return _typed(
        "book_deltas",
        frame.with_columns(
            ts_event=pl.col("ts_recv") // 1_000_000 * 1_000_000,
            token_id=names.gather(pl.Series(token)),
            side=pl.when(pl.Series(bid)).then(pl.lit("bid")).otherwise(pl.lit("ask")),
            check=pl.lit("verified"),
        ),
    )


def _keyframes(books: Ladders, seq: int, at: int) -> pl.DataFrame:
    prices, sizes = books.best(_SHOWN)
    sides = {"bid_prices": prices[::2], "bid_sizes": sizes[::2], "ask_prices": prices[1::2], "ask_sizes": sizes[1::2]}
    columns = {name: to_lists(values) for name, values in sides.items()}
    frame = pl.DataFrame({"seq": np.arange(seq, seq + len(_TOKENS)), "token_id": _TOKENS, **columns})
    return _typed(
        "keyframes",
        frame.with_columns(
            ts_recv=pl.lit(at), ts_event=pl.lit(at), state=pl.lit("verified"), alone=pl.lit(value=False)
        ),
    )


def _snapshots(keyframes: pl.DataFrame, seq: int, at: int) -> pl.DataFrame:
    """Make whole books as they are sent after trades; they repeat what is known, so which they are does not matter."""
    several = pl.concat([keyframes] * 4)
    frame = several.select("token_id", "^(bid|ask)_.*$").with_columns(
        seq=pl.int_range(seq, seq + several.height),
        ts_recv=pl.lit(at),
        ts_event=pl.lit(at),
        opening=pl.lit(value=False),
    )
    return _typed("book_snapshots", frame)


def _typed(table: str, frame: pl.DataFrame) -> pl.DataFrame:
    given = {"conn": pl.lit(1), "market": pl.lit("0x" + "ab" * 32)}
    return frame.select(
        (pl.col(name) if name in frame.columns else given.get(name, pl.lit(None))).cast(dtype).alias(name)
        for name, dtype in SCHEMAS[table].items()
    )


def _file(folder: Path, table: str, frame: pl.DataFrame, number: int) -> SealedFile:
    encoded = parquet.encode(table, frame)
    path = folder / table / "date=2026-11-21" / f"{encoded.first_time}-00000000-{number:06d}.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encoded.data)
    fields = {name: getattr(encoded, name) for name in encoded.__struct_fields__ if name != "data"}
    sha256 = hashlib.sha256(encoded.data).hexdigest()
    name = path.relative_to(folder).as_posix()
    return SealedFile(path=name, table=table, bytes=len(encoded.data), sha256=sha256, **fields)


if __name__ == "__main__":
    main()
