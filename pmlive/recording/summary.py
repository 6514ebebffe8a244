"""Recordings on disk: the list of them, and a summary of one.

Texts of a manifest were written by strangers, and a recording may come from somebody else: all texts are cleaned.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta
from pathlib import Path

import msgspec
import polars as pl

from pmlive.errors import StoreError
from pmlive.events import Cause
from pmlive.gaps import GapIndex, GapInterval
from pmlive.integrity import Counts
from pmlive.markets import FeeSchedule, Market, clean
from pmlive.settings import data_dir
from pmlive.store import Manifest, RecordingInfo, SealedFile, read_manifest, scan
from pmlive.store import recordings as list_recordings
from pmlive.store.diagnosis import collect, diagnosed
from pmlive.store.reader import find_missing
from pmlive.tables import STORED
from pmlive.times import moment

__all__ = [
    "RecordedGap",
    "RecordedMarket",
    "RecordingSummary",
    "TableSummary",
    "info",
    "markets_of",
    "recordings",
]


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
    return [clean(token_id) for token_id in collect(path, "book_snapshots", books)["token_id"]]


def _gaps(path: Path, manifest: Manifest, first_seq: int) -> list[RecordedGap]:
    rows = collect(path, "gaps", scan(path, "gaps").filter(pl.col("seq") >= first_seq))
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
    return msgspec.convert(collect(path, "checks", counted).row(0, named=True), type=Counts)
