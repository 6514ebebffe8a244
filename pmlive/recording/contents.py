"""The contents of a recording at one moment: sealed files and the rows of the log, together and in order."""

import time
from collections.abc import Container, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TypeAlias

import msgspec
import polars as pl

from pmlive.errors import PmliveError
from pmlive.logs import get_logger
from pmlive.pipeline.journal import rebuild
from pmlive.store import Manifest, Record, SealedFile, diagnosis
from pmlive.store.manifest import MissingPart
from pmlive.store.reader import Stamp, UnsealedSegment, find_missing, is_missing, read_tail, stamp, table_paths
from pmlive.tables import SCHEMAS, STORED, Digest

__all__ = ["Contents", "ContentsCache", "check_table", "collect", "conformed", "digest", "time_literal"]

logger = get_logger(__name__)

# The first numbers of a stamp are the manifest's.
_MANIFEST_NUMBERS = 3

Rows: TypeAlias = Mapping[str, pl.DataFrame]


class Contents:
    """A recording as it was at one moment; what is added later is in a later object."""

    def __init__(
        self,
        folder: Path,
        manifest: Manifest,
        unsealed: Sequence[UnsealedSegment],
        rows: Sequence[Rows],
        *,
        left_out: Sequence[SealedFile] = (),
    ) -> None:
        self.folder = folder
        self._left_out = left_out
        self.manifest = manifest
        self.unsealed = unsealed
        self._files = {table: manifest.of(table) for table in (*STORED, "raw")}
        self._unsealed_rows = rows
        self._rows = {table: [each[table] for each in rows if table in each] for table in STORED}

    def without(self, paths: Container[str]) -> "Contents":
        """Return the contents without sealed files that cannot be read."""
        left = [file for file in self.manifest.files if file.path not in paths]
        left_out = [file for file in self.manifest.files if file.path in paths]
        manifest = msgspec.structs.replace(self.manifest, files=left)
        return Contents(self.folder, manifest, self.unsealed, self._unsealed_rows, left_out=left_out)

    def lost_files(self, tables: Sequence[str]) -> list[SealedFile]:
        """List the sealed files of some tables that are missing or were left out."""
        missing = [file for table in tables for file in self._files[table] if is_missing(self.folder, file)]
        return [*missing, *(file for file in self._left_out if file.table in tables)]

    @cached_property
    def missing(self) -> list[MissingPart]:
        """The parts that were sealed and that the manifest does not list."""
        return find_missing(self.folder, self.manifest, left_out=self._left_out)

    def files(self, table: str, *, since: int | None = None, until: int | None = None) -> list[SealedFile]:
        """List the sealed files that may have rows received within two times, both included, in order of arrival."""
        return [
            file
            for file in self._files[table]
            if (since is None or file.last_time >= since) and (until is None or file.first_time <= until)
        ]

    def scan(self, table: str, *, since: int | None = None, until: int | None = None) -> pl.LazyFrame:
        """Scan the rows of a table that were received within two times, both included."""
        parts = [self._sealed(table, self.files(table, since=since, until=until))]
        parts += [rows.lazy() for rows in self._rows[table]]
        whole = pl.concat(parts) if len(parts) > 1 else parts[0]
        if since is not None:
            whole = whole.filter(pl.col("ts_recv") >= time_literal(since))
        if until is not None:
            whole = whole.filter(pl.col("ts_recv") <= time_literal(until))
        return whole

    def scan_sealed(self, table: str, first: int, stop: int | None) -> pl.LazyFrame:
        """Scan the sealed rows of a table with numbers from ``first`` on and below ``stop``."""
        files = self._files[table]
        selected = [file for file in files if file.last_seq >= first and (stop is None or file.first_seq < stop)]
        rows = self._sealed(table, selected).filter(pl.col("seq") >= first)
        return rows if stop is None else rows.filter(pl.col("seq") < stop)

    def scan_numbered(self, table: str, first: int, stop: int) -> pl.LazyFrame:
        """Scan the rows of a table, sealed or not, with numbers from ``first`` on and below ``stop``."""
        numbered = pl.col("seq").is_between(first, stop, closed="left")
        return pl.concat(
            [self.scan_sealed(table, first, stop), *(rows.lazy().filter(numbered) for rows in self._rows[table])]
        )

    def rows(self, table: str) -> list[pl.DataFrame]:
        """List the rows that are not sealed, by segment of the log."""
        return self._rows[table]

    def records(self) -> list[Record]:
        """List the records that are not sealed."""
        return [record for segment in self.unsealed for record in segment.records]

    def last_recv(self) -> int | None:
        """Return the latest receive time of a record."""
        times = [file.last_time for file in self._files["raw"]]
        times += [segment.records[-1].recv for segment in self.unsealed if segment.records]
        if self.manifest.last_recv is not None:
            times.append(self.manifest.last_recv)
        return max(times, default=None)

    def recv_of_last(self) -> int | None:
        """Return the receive time of the last record; an earlier run whose clock was ahead may have later ones."""
        for segment in reversed(self.unsealed):
            if segment.records:
                return segment.records[-1].recv
        return self.last_recv() if self.manifest.last_recv is None else self.manifest.last_recv

    def first_recv(self) -> int | None:
        """Return the receive time of the first record, or of the first row where raw records were given up."""
        times = [file.first_time for file in self.manifest.files if file.table != "checks"]
        times += [segment.records[0].recv for segment in self.unsealed if segment.records]
        return min(times, default=None)

    def _sealed(self, table: str, files: Sequence[SealedFile]) -> pl.LazyFrame:
        schema = SCHEMAS[table]
        there = table_paths(self.folder, files)
        if not there:
            return pl.LazyFrame(schema=schema)
        found = pl.scan_parquet(there, glob=False, hive_partitioning=False).select(schema.names())
        # What needs no other type is left alone, so that filters on it reach the files.
        enums = [pl.col(name).cast(dtype) for name, dtype in schema.items() if isinstance(dtype, pl.Enum)]
        return found.with_columns(enums) if enums else found


class ContentsCache:
    """The contents of a folder, read again once it has grown.

    The rows of the log are rebuilt whenever it has grown. A reader that asks again and again gets contents that are a
    moment old, so that rebuilding takes at most half of its time.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._stamp: Stamp | None = None
        self._contents: Contents | None = None
        self._rebuilt: dict[tuple[int, int], Rows] = {}
        self._refresh_at = 0.0

    def current(self, *, fresh: bool = False) -> Contents:
        """Return what the recording holds now, or held a moment ago unless that must be ``fresh``.

        Raises:
            StoreError: the folder is not a recording.
        """
        now = stamp(self.folder)
        if self._contents is None or self._is_old(now) or (fresh and now != self._stamp):
            began = time.monotonic()
            tail = read_tail(self.folder)
            rows = {(one.number, one.size): self._rows(one) for one in tail.segments}
            self._contents = Contents(self.folder, tail.manifest, tail.segments, list(rows.values()))
            self._stamp, self._rebuilt = now, rows
            self._refresh_at = 2 * time.monotonic() - began
        return self._contents

    def _is_old(self, now: Stamp) -> bool:
        """Return whether something was sealed, or the log has grown and may be read again."""
        sealed = self._stamp is None or now[:_MANIFEST_NUMBERS] != self._stamp[:_MANIFEST_NUMBERS]
        return sealed or (now != self._stamp and time.monotonic() >= self._refresh_at)

    def _rows(self, segment: UnsealedSegment) -> Rows:
        known = self._rebuilt.get((segment.number, segment.size))
        if known is not None:
            return known
        try:
            frames = rebuild(segment.records)
        except (PmliveError, LookupError, ValueError, TypeError, OverflowError) as error:
            # What the rest depends on is damaged. The next recorder will refuse this log, and keep it.
            logger.warning("segment %d of the log in %s cannot be decoded: %r", segment.number, self.folder, error)
            frames = {"gaps": _undecodable_gap(segment)}
        return {table: conformed(table, frame) for table, frame in frames.items()}


def _undecodable_gap(segment: UnsealedSegment) -> pl.DataFrame:
    first, last = segment.records[0], segment.records[-1]
    detail = f"segment {segment.number} of the log cannot be decoded"
    row = (first.seq, None, last.recv, 0, None, first.recv, last.recv, "disk", detail)
    return pl.DataFrame([row], schema=SCHEMAS["gaps"], orient="row")


def conformed(table: str, frame: pl.DataFrame) -> pl.DataFrame:
    """Return rows with exactly the columns and types of their table, in order of arrival."""
    return frame.select(pl.col(name).cast(dtype) for name, dtype in SCHEMAS[table].items()).sort("seq")


def check_table(table: str) -> None:
    """Check that recordings have a table.

    Raises:
        ValueError: there is no such table.
    """
    if table not in STORED:
        raise ValueError(f"no table {table!r}; there are {', '.join(STORED)}")


def collect(contents: Contents, table: str, frame: pl.LazyFrame) -> pl.DataFrame:
    """Collect a frame of a table.

    Raises:
        StoreError: a file is damaged.
    """
    return diagnosis.collect(contents.folder, table, frame)


def time_literal(time: int) -> pl.Expr:
    """Return a time (nanoseconds since 1970) as an expression."""
    return pl.lit(time).cast(pl.Datetime("ns", "UTC"))


def digest(contents: Contents) -> str:
    """Return the fingerprint of all tables, computed file by file, so that a day fits into memory.

    Raises:
        StoreError: a file is damaged.
    """
    found = Digest()
    for table in STORED:
        for file in contents.files(table):
            found.add(table, collect(contents, table, contents.scan_sealed(table, file.first_seq, file.last_seq + 1)))
        for rows in contents.rows(table):
            found.add(table, rows)
    return found.hexdigest()
