"""The contents of a recording at one moment, sealed files and the rows of the log in order; and their summary."""

import time
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import TypeAlias

import msgspec
import polars as pl

from pmlive.errors import PmliveError, StoreError
from pmlive.events import Cause
from pmlive.gaps import GapIndex, GapInterval
from pmlive.integrity import Counts
from pmlive.logs import get_logger
from pmlive.markets import FeeSchedule, Market, clean
from pmlive.pipeline.journal import rebuild
from pmlive.recording.batches import batches, most_rows
from pmlive.settings import data_dir
from pmlive.store import Manifest, Record, RecordingInfo, SealedFile, read_manifest, reader, scan
from pmlive.store import recordings as list_recordings
from pmlive.store.manifest import MissingPart
from pmlive.store.reader import (
    Stamp,
    UnsealedSegment,
    diagnosed,
    find_missing,
    is_missing,
    read_tail,
    stamp,
    table_paths,
)
from pmlive.tables import SCHEMAS, STORED, Digest
from pmlive.times import moment

__all__ = [
    "Contents",
    "ContentsCache",
    "RecordedGap",
    "RecordedMarket",
    "RecordingSummary",
    "TableSummary",
    "check_table",
    "collect",
    "conformed",
    "digest",
    "info",
    "markets_of",
    "recordings",
    "time_literal",
]

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

    def batches(self, table: str, columns: Sequence[str]) -> Iterator[pl.DataFrame]:
        """Yield columns of all rows of a table in order of arrival, a batch at a time.

        Raises:
            StoreError: a file cannot be read.
        """
        yield from batches(self.folder, table, self._files[table], columns)
        for rows in self._rows[table]:
            yield from rows.select(columns).iter_slices(most_rows(table))

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
    return reader.collect(contents.folder, table, frame)


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


# --- summaries ---
# Recordings on disk: the list of them, and a summary of one.
#
# Texts of a manifest were written by strangers, and a recording may come from somebody else: all texts are cleaned.


class RecordedMarket(msgspec.Struct, frozen=True, kw_only=True):
    """A market as its recording describes it; texts are cleaned, and still untrusted.

    A field is None where it was not known at the time of recording; ``fees`` are those of that time.
    """

    condition_id: str = ""
    slug: str = ""
    event_slug: str = ""
    question: str = ""
    outcomes: list[str] = []
    token_ids: list[str] = []
    version: str = "v1"
    tick_size: str | None = None
    min_order_size: str | None = None
    neg_risk: bool | None = None
    neg_risk_augmented: bool | None = None
    end_date: datetime | None = None
    fees: FeeSchedule | None = None

    def token_of(self, outcome: str) -> str:
        """Return the token of an outcome, ignoring the case of its name.

        Raises:
            UnknownMarketError: the market has no such outcome.
        """
        return Market(slug=self.slug, outcomes=self.outcomes, token_ids=self.token_ids).token_of(outcome)


class RecordedGap(msgspec.Struct, frozen=True, kw_only=True):
    """An interval that cannot be trusted.

    Without ``token_id`` it concerns all tokens, and without ``ended`` it lasts until the end of the recording.
    """

    started: datetime
    ended: datetime | None
    cause: Cause
    token_id: str | None
    detail: str

    @property
    def duration(self) -> timedelta | None:
        """The length of the interval, None while it has no end."""
        return None if self.ended is None else self.ended - self.started


class TableSummary(msgspec.Struct, frozen=True, kw_only=True):
    """The sealed files of one table (``raw`` for the frames), with the first and last receive time."""

    table: str
    rows: int
    bytes: int
    files: int
    first_time: datetime
    last_time: datetime


class RecordingSummary(msgspec.Struct, frozen=True, kw_only=True):
    """A summary of a recording; ``unsealed`` counts the bytes of the log that are not in the tables yet.

    ``tokens`` are those for which a book was received.
    """

    path: str
    created: str
    pmlive: str
    markets: list[RecordedMarket]
    tokens: list[str]
    tables: list[TableSummary]
    gaps: list[RecordedGap]
    checks: Counts
    unsealed: int

    @property
    def frames(self) -> int:
        """The number of frames and notes."""
        return sum(table.rows for table in self.tables if table.table == "raw")

    @property
    def rows(self) -> int:
        """The number of rows of all tables."""
        return sum(table.rows for table in self.tables if table.table != "raw")

    @property
    def bytes(self) -> int:
        """The bytes of all sealed files."""
        return sum(table.bytes for table in self.tables)

    @property
    def files(self) -> int:
        """The number of sealed files."""
        return sum(table.files for table in self.tables)

    @property
    def mismatches(self) -> int:
        """The number of checks that found a book wrong."""
        return self.checks.mismatches

    @property
    def first_time(self) -> datetime | None:
        """The time of the first sealed frame."""
        return next((table.first_time for table in self.tables if table.table == "raw"), None)

    @property
    def last_time(self) -> datetime | None:
        """The time of the last sealed frame."""
        return next((table.last_time for table in self.tables if table.table == "raw"), None)


def recordings(root: str | Path | None = None) -> list[RecordingInfo]:
    """List the recordings in a folder, by default the one that recordings are written to."""
    return list_recordings(data_dir() if root is None else Path(root))


def info(folder: str | Path, *, first_seq: int = 0) -> RecordingSummary:
    """Summarise a recording from an arrival number on; it may still be recorded.

    Raises:
        StoreError: the folder is not a recording, or one of its files cannot be read.
    """
    path = Path(folder)
    manifest = read_manifest(path)
    files = [file for file in manifest.files if file.first_seq >= first_seq]
    with diagnosed(path):
        tokens, gaps, checks = _tokens(path, first_seq), _gaps(path, manifest, first_seq), _checks(path, first_seq)
    return RecordingSummary(
        path=str(path),
        created=clean(manifest.created),
        pmlive=clean(manifest.pmlive),
        markets=markets_of(path, manifest),
        tokens=tokens,
        tables=list(_tables(files)),
        gaps=gaps,
        checks=checks,
        unsealed=sum(one.unsealed for one in list_recordings(path) if one.path == str(path)),
    )


def _tables(files: list[SealedFile]) -> Iterable[TableSummary]:
    for table in (*STORED, "raw"):
        listed = [file for file in files if file.table == table]
        if listed:
            yield TableSummary(
                table=table,
                rows=sum(file.rows for file in listed),
                bytes=sum(file.bytes for file in listed),
                files=len(listed),
                first_time=moment(min(file.first_time for file in listed)),
                last_time=moment(max(file.last_time for file in listed)),
            )


def markets_of(path: Path, manifest: Manifest) -> list[RecordedMarket]:
    """List the markets that a manifest names, their texts cleaned.

    Raises:
        StoreError: an entry is not a market.
    """
    try:
        markets = msgspec.convert(manifest.markets, type=list[RecordedMarket])
    except msgspec.ValidationError as error:
        raise StoreError(f"the markets in the manifest of {str(path)!r} cannot be read ({error})") from error
    return [
        msgspec.structs.replace(
            market,
            condition_id=clean(market.condition_id),
            slug=clean(market.slug),
            event_slug=clean(market.event_slug),
            question=clean(market.question),
            outcomes=[clean(outcome) for outcome in market.outcomes],
            token_ids=[clean(token_id) for token_id in market.token_ids],
            version=clean(market.version),
        )
        for market in markets
    ]


def _tokens(path: Path, first_seq: int) -> list[str]:
    books = scan(path, "book_snapshots").filter(pl.col("seq") >= first_seq).select(pl.col("token_id").unique().sort())
    return [clean(token_id) for token_id in reader.collect(path, "book_snapshots", books)["token_id"]]


def _gaps(path: Path, manifest: Manifest, first_seq: int) -> list[RecordedGap]:
    rows = reader.collect(path, "gaps", scan(path, "gaps").filter(pl.col("seq") >= first_seq))
    holes = [(hole.started, hole.ended, hole.cause, hole.detail) for hole in manifest.holes if first_seq == 0]
    holes += [
        (part.started, part.ended, "disk", part.detail)
        for part in find_missing(path, manifest)
        if part.seq >= first_seq
    ]
    schema = {"started": pl.Int64, "ended": pl.Int64, "cause": rows.schema["cause"], "detail": pl.String}
    frame = pl.DataFrame(holes, schema=schema, orient="row").with_columns(
        pl.col("started", "ended").cast(pl.Datetime("ns", "UTC")), conn=pl.lit(0, dtype=pl.UInt32)
    )
    return [_recorded_gap(gap) for gap in GapIndex(pl.concat([rows, frame], how="diagonal")).all]


def _recorded_gap(gap: GapInterval) -> RecordedGap:
    return RecordedGap(
        started=moment(gap.started),
        ended=None if gap.ended is None else moment(gap.ended),
        cause=gap.cause,
        token_id=None if gap.token_id is None else clean(gap.token_id),
        detail=clean(gap.detail, 500),
    )


def _checks(path: Path, first_seq: int) -> Counts:
    counted = (
        scan(path, "checks").filter(pl.col("seq") >= first_seq).select(pl.col(*Counts.names()).cast(pl.UInt64).sum())
    )
    return msgspec.convert(reader.collect(path, "checks", counted).row(0, named=True), type=Counts)
