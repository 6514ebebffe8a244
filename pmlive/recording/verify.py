"""Verification of a recording: its files and rows compared with its raw records, and tables rebuilt from them."""

from collections.abc import Iterator, Mapping
from html import escape
from pathlib import Path

import msgspec
import polars as pl

from pmlive.errors import StoreError
from pmlive.integrity import Counts
from pmlive.markets import clean
from pmlive.pipeline.journal import rebuild
from pmlive.progress import Progress, unwatched
from pmlive.recording.contents import Contents, collect, conformed
from pmlive.recording.index import RecordingIndex
from pmlive.recording.quality import not_understood
from pmlive.records import Kind, Loss, read_note
from pmlive.store import Record, SealedFile, records, verify_files
from pmlive.store.leftovers import unlisted_files
from pmlive.store.maintenance import RebuiltRecording
from pmlive.store.manifest import MANIFEST, contradictions, read_manifest
from pmlive.store.markets_file import MARKETS_FILE, MarketsFile
from pmlive.store.reader import log_files, read_raw
from pmlive.tables import SCHEMAS, STORED
from pmlive.times import utc

__all__ = ["Finding", "Verification", "rebuild_into", "rebuild_tables", "stored_tables", "verify"]

# After so many records the progress is told.
_PROGRESS_EVERY = 2_000
_RESTORE = "restore the file from a copy, or run: pmlive repair"
_REWRITE = "the manifest has all of it; to write the file again, run: pmlive repair"
_LIST = f"restore {MANIFEST} and what it lists from a copy; until then that time is a gap"
_UNLISTED = f"no reader uses it: restore the {MANIFEST} that lists it, or move it away"
_REBUILD = "keep the folder, and rebuild its tables with rebuild(into=...)"


def rebuild_tables(folder: Path) -> dict[str, pl.DataFrame]:
    """Rebuild every table from all records."""
    return stored_tables(rebuild(records(folder)))


def stored_tables(frames: Mapping[str, pl.DataFrame]) -> dict[str, pl.DataFrame]:
    """Return every stored table, also without rows, with its columns in order and its rows in order of arrival."""
    return {table: conformed(table, frames.get(table, SCHEMAS[table].to_frame())) for table in STORED}


def rebuild_into(contents: Contents, into: Path) -> None:
    """Rebuild a recording into another folder, segment by segment.

    Raises:
        StoreError: a file of raw records is damaged or missing, or the new folder holds something.
    """
    fresh = RebuiltRecording(into)
    for file in contents.files("raw"):
        fresh.add(contents.folder, file, stored_tables(rebuild(read_raw(contents.folder, file))))
    fresh.copy_log(contents.folder, log_files(contents.folder, contents.manifest))
    fresh.finish(contents.manifest)


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """A fault of a recording: the file or table it is in, what is wrong, and what to do."""

    where: str
    what: str
    advice: str


class Verification(msgspec.Struct, frozen=True, kw_only=True):
    """The outcome of verifying a recording: what was checked, and what was found wrong.

    ``not_understood`` lists messages that could not be read, and ``unchecked`` what could not be checked, such as
    tables whose raw records were given up.
    """

    path: str
    files: int
    segments: int
    records: int
    rows: int
    gaps: int
    checks: Counts
    findings: list[Finding]
    not_understood: list[str]
    unchecked: list[str]

    @property
    def ok(self) -> bool:
        """Return whether nothing was found wrong and everything was understood."""
        return not (self.findings or self.not_understood)

    def to_dict(self) -> dict[str, object]:
        """Return everything as values that JSON can hold."""
        return {"ok": self.ok, **msgspec.to_builtins(self)}

    def __repr__(self) -> str:
        """Return what was checked and found, as lines of text."""
        return "\n".join(self._lines())

    def _repr_html_(self) -> str:
        return f"<pre>{escape(repr(self))}</pre>"

    def _lines(self) -> Iterator[str]:
        found = f"{len(self.findings)} findings" if self.findings else "sound, but not everything was understood"
        yield f"{self.path}: {'sound' if self.ok else found}"
        segments = f"{self.records:,} raw records in {self.segments} segments"
        yield f"checked    {self.files} files, {segments}, {self.rows:,} rows"
        passed = self.checks.hash_verified + self.checks.bbo_ok + self.checks.snapshot_ok
        failed = self.checks.mismatches
        yield f"books      {passed:,} checks passed, {failed:,} failed, {self.gaps} gaps, all in the tables"
        for finding in self.findings:
            yield f"wrong      {finding.where}: {finding.what}; {finding.advice}"
        for text in self.not_understood:
            yield f"not read   {text}"
        for text in self.unchecked:
            yield f"unchecked  {text}"


def verify(index: RecordingIndex, progress: Progress = unwatched) -> Verification:
    """Check everything that can be checked, segment by segment; progress is counted in raw records."""
    contents = index.contents
    damaged = [Finding(where=one.path, what=one.problem, advice=_RESTORE) for one in verify_files(contents.folder)]
    bad = {finding.where for finding in damaged}
    work = _SegmentChecks(contents, bad, progress)
    readable = index.without(bad)
    findings = [*damaged, *work.segments(), *_log(contents), *_holes(readable), *_listing(readable.contents)]
    findings += _markets(contents, bad)
    return Verification(
        path=str(contents.folder),
        files=len(contents.manifest.files),
        segments=len(contents.files("raw")) + len(contents.unsealed),
        records=work.records + len(contents.records()),
        rows=work.rows,
        gaps=readable.gaps.frame.height,
        checks=_checks(readable.contents),
        findings=findings,
        not_understood=not_understood(readable.gaps),
        unchecked=list(_unchecked(contents, bad)),
    )


class _SegmentChecks:
    """The checks of the sealed segments, one after the other."""

    def __init__(self, contents: Contents, bad: set[str], progress: Progress) -> None:
        self._contents = contents
        self._bad = bad
        self._progress = progress
        self._total = sum(file.rows for file in contents.files("raw") if file.path not in bad)
        self._losses: list[Loss] = []
        self.unreadable = [file for file in contents.manifest.files if file.path in bad]
        self.records = self.rows = 0

    def segments(self) -> Iterator[Finding]:
        files = self._contents.files("raw")
        stops = [*(file.first_seq for file in files[1:]), None]
        for file, stop in zip(files, stops, strict=False):
            if file.path not in self._bad:
                yield from self._segment(file, stop)
        for loss in self._losses:
            began = utc(loss.gap.started)
            yield Finding(
                where=f"raw, {began}", what=loss.gap.detail, advice="it is lost for good; it is a row of gaps"
            )

    def _segment(self, file: SealedFile, stop: int | None) -> Iterator[Finding]:
        summary = _RecordSummary()
        try:
            rebuilt = stored_tables(rebuild(self._counted(file, summary)))
        except (StoreError, msgspec.MsgspecError, LookupError, ValueError) as error:
            yield Finding(where=file.path, what=f"its records cannot be decoded: {clean(str(error))}", advice=_RESTORE)
            return
        self.records += summary.count
        self._progress(self.records, self._total)
        if (other := summary.difference(file)) is not None:
            yield Finding(where=MANIFEST, what=f"{file.path} is not as it is listed: {other}", advice=_LIST)
        for table in STORED:
            if any(one.table == table and _overlaps(one, file, stop) for one in self.unreadable):
                continue
            stored = self._stored(table, file, stop)
            self.rows += stored.height
            problem = _difference(rebuilt[table], stored)
            if problem is not None:
                yield Finding(where=f"{table}, {utc(file.first_time)}", what=problem, advice=_REBUILD)

    def _counted(self, file: SealedFile, summary: "_RecordSummary") -> Iterator[Record]:
        for record in read_raw(self._contents.folder, file):
            summary.add(record)
            if summary.count % _PROGRESS_EVERY == 0:
                self._progress(self.records + summary.count, self._total)
            if record.kind == Kind.LOSS and isinstance(loss := read_note(record), Loss):
                self._losses.append(loss)
            yield record

    def _stored(self, table: str, file: SealedFile, stop: int | None) -> pl.DataFrame:
        rows = self._contents.scan_sealed(table, file.first_seq, stop)
        return collect(self._contents, table, rows).sort("seq")


class _RecordSummary:
    """How many records a file has, and the numbers and times that they reach from and to."""

    def __init__(self) -> None:
        self.count = 0
        self._seqs = self._times = (0, 0)
        self._is_in_order = True

    def add(self, record: Record) -> None:
        """Add a record."""
        self.count += 1
        seq, recv = record.seq, record.recv
        first, least, most = (self._seqs[0], *self._times) if self.count > 1 else (seq, recv, recv)
        self._is_in_order = self._is_in_order and recv >= most
        self._seqs, self._times = (first, seq), (min(least, recv), max(most, recv))

    def difference(self, file: SealedFile) -> str | None:
        """Return what is not as listed, or None; after a clock was set back, listed times may be those of blocks."""
        if (file.rows, file.first_seq, file.last_seq) != (self.count, *self._seqs):
            return f"it has {self.count:,} records, numbered {self._seqs[0]} to {self._seqs[1]}"
        first, last = self._times
        is_equal = (file.first_time, file.last_time) == self._times
        if is_equal or (not self._is_in_order and first <= file.first_time <= file.last_time <= last):
            return None
        return f"its records came from {utc(first)} to {utc(last)}"


def _overlaps(one: SealedFile, file: SealedFile, stop: int | None) -> bool:
    return one.last_seq >= file.first_seq and (stop is None or one.first_seq < stop)


def _difference(rebuilt: pl.DataFrame, stored: pl.DataFrame) -> str | None:
    if rebuilt.equals(stored):
        return None
    lost = rebuilt.join(stored, on="seq", how="anti").height
    more = stored.join(rebuilt, on="seq", how="anti").height
    both = (
        rebuilt.join(stored.select("seq"), on="seq", how="semi"),
        stored.join(rebuilt.select("seq"), on="seq", how="semi"),
    )
    changed = 0
    if both[0].height == both[1].height:
        changed = sum(one != other for one, other in zip(both[0].iter_rows(), both[1].iter_rows(), strict=True))
    return f"{lost} rows of its raw records are missing, {more} are too many, {changed} differ"


def _log(contents: Contents) -> Iterator[Finding]:
    for segment in contents.unsealed:
        if segment.damaged:
            yield Finding(
                where=f"the log, segment {segment.number}",
                what=f"{segment.damaged} bytes are damaged",
                advice="record into the folder again, which seals the rest and notes the gap",
            )


def _holes(index: RecordingIndex) -> Iterator[Finding]:
    listed = {(gap.started, gap.cause) for gap in index.gaps.all if gap.token_id is None}
    for hole in index.contents.manifest.holes:
        if (hole.started, hole.cause) not in listed:
            yield Finding(where="gaps", what=f"the hole since {utc(hole.started)} is not in the table", advice=_REBUILD)


def _markets(contents: Contents, bad: set[str]) -> Iterator[Finding]:
    """Compare the table of markets with what it is made of, where that is whole and nobody is about to write it."""
    if contents.unsealed or any(file.path in bad for file in contents.manifest.of("market_events")):
        return
    problem = MarketsFile(contents.folder).problem(contents.manifest)
    if problem is not None and read_manifest(contents.folder) == contents.manifest:
        yield Finding(where=MARKETS_FILE, what=problem, advice=_REWRITE)


def _listing(contents: Contents) -> Iterator[Finding]:
    """Compare the manifest with what was sealed and with the files that exist."""
    for part in contents.missing:
        yield Finding(where=f"{MANIFEST}, {utc(part.started)}", what=part.detail, advice=_LIST)
    try:
        unlisted = unlisted_files(contents.folder)
    except StoreError as error:
        yield Finding(where=str(contents.folder), what=str(error), advice="then verify again")
    else:
        yield from (Finding(where=path, what=f"{MANIFEST} does not list it", advice=_UNLISTED) for path in unlisted)
    for what in contradictions(contents.manifest):
        yield Finding(where=MANIFEST, what=what, advice=_LIST)
    for segment in contents.unsealed:
        if segment.number <= contents.manifest.sealed:
            what = f"{MANIFEST} calls segment {segment.number} sealed and lists no records of it"
            yield Finding(where="the log", what=what, advice="record into the folder again, which seals it")


def _checks(contents: Contents) -> Counts:
    sums = contents.scan("checks").select(pl.col(*Counts.names()).cast(pl.UInt64).sum())
    return msgspec.convert(collect(contents, "checks", sums).row(0, named=True), type=Counts)


def _unchecked(contents: Contents, bad: set[str]) -> Iterator[str]:
    raw = contents.files("raw")
    first = min((file.first_seq for file in raw), default=None)
    tables = [file for file in contents.manifest.files if file.table != "raw"]
    early = [file for file in tables if first is None or file.first_seq < first]
    if early:
        until = utc(max(file.last_time for file in early))
        yield f"{len(early)} files of tables up to {until}: their raw records were given up"
    if any(file.path in bad for file in raw):
        yield "the tables of damaged raw records"
    if contents.unsealed:
        yield f"{len(contents.records()):,} records that are only in the log; the next recorder seals them"
