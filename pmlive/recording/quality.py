"""The quality of a recording: what can be trusted, what is missing, what was proved, and how late messages came."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from html import escape
from importlib import import_module
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import numpy.typing as npt
import polars as pl

from pmlive.errors import StoreError
from pmlive.events import Cause
from pmlive.gaps import ENDLESS, GapIndex, GapInterval
from pmlive.integrity import Counts
from pmlive.progress import Parts, Progress, unwatched
from pmlive.recording.contents import Contents, collect
from pmlive.recording.index import RecordingIndex
from pmlive.recording.latency import Delays, Latency
from pmlive.recording.mirror import Mirror, mirror
from pmlive.recording.trust import distrusted_minutes, followed, trust_intervals
from pmlive.store import FileProblem, verify_files
from pmlive.store.reader import diagnosed
from pmlive.times import moment, utc
from pmlive.words import counted

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = [
    "Fault",
    "Latency",
    "Mirror",
    "Quality",
    "TokenQuality",
    "faults",
    "mirror",
    "not_understood",
    "quality",
]

# Causes that concern a connection or everything: all that one of them touches is one fault.
_BROAD_CAUSES = ("disconnect", "silence", "restart", "disk", "overflow")
# Causes of wrong books: a frame that could not be read, and the mismatch that it leads to.
_CONTENT_CAUSES = ("malformed", "mismatch")
_MINUTE_NS = 60_000_000_000
_TIMES = ("ts_event", "ts_recv")
_COUNTED = ("book_deltas", "book_snapshots", "trades")
_MOST_LISTED = 20
# Of the work of an assessment.
_PARTS = 8


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """One fault: its interval in nanoseconds since 1970 (None: no known end), its cause, and the tokens it touched.

    Without tokens it concerned a whole connection, or everything.
    """

    started: int
    ended: int | None
    cause: Cause
    detail: str
    token_ids: list[str]


class _FaultGroup:
    """The gaps of one fault, while they are collected."""

    def __init__(self, first: GapInterval) -> None:
        self.first = self.cause = first
        self.conns = {first.conn}
        self.until = first.until
        self.ended = first.ended
        self.tokens: dict[str, None] = {}
        # When connections that broke were dialled again.
        self._dialled: set[int] = set()
        self.add(first)

    def add(self, gap: GapInterval) -> None:
        self.conns.add(gap.conn)
        if gap.until >= self.until:
            self.until, self.ended = gap.until, gap.ended
        if gap.token_id is None:
            self._dialled.add(gap.until)
        else:
            self.tokens[gap.token_id] = None
        if gap.cause == "malformed":
            # A frame that could not be read is the reason why the books were wrong.
            self.cause = gap

    def includes(self, gap: GapInterval) -> bool:
        """Return whether a gap, which begins no earlier, belongs to this fault."""
        if gap.started > self.until:
            return False
        if self.first.cause in _BROAD_CAUSES:
            # Each try to dial again begins where the one before it failed.
            again = gap.token_id is None and gap.cause in _BROAD_CAUSES and gap.started in self._dialled
            return again or gap.conn in self.conns
        alike = (gap.cause, self.first.cause)
        return gap.conn in self.conns and (alike[0] == alike[1] or all(cause in _CONTENT_CAUSES for cause in alike))

    def fault(self) -> Fault:
        return Fault(
            started=self.first.started,
            ended=None if self.until == ENDLESS else self.ended,
            cause=self.cause.cause,
            detail=self.cause.detail,
            token_ids=sorted(self.tokens),
        )


def faults(gaps: Iterable[GapInterval]) -> list[Fault]:
    """Group gaps by the fault that they belong to, in order of their beginning."""
    groups: list[_FaultGroup] = []
    lasting: list[_FaultGroup] = []
    for gap in sorted(gaps, key=lambda one: (one.started, one.token_id is not None)):
        lasting = [group for group in lasting if group.until >= gap.started]
        matching = next((group for group in lasting if group.includes(gap)), None)
        if matching is None:
            matching = _FaultGroup(gap)
            groups.append(matching)
            lasting.append(matching)
        else:
            matching.add(gap)
    return [group.fault() for group in groups]


class TokenQuality(msgspec.Struct, frozen=True, kw_only=True):
    """One token: the share of the time it was followed in which its book could be trusted, and its checks."""

    token_id: str
    label: str
    coverage: float
    followed: float
    trusted: float
    checks: Counts


class Quality(msgspec.Struct, frozen=True, kw_only=True):
    """The quality of a recording.

    Attributes:
        path: the folder.
        first_time: when the first record came, in nanoseconds since 1970.
        last_time: when the last one came.
        coverage: the share of the time that tokens were followed in which their books could be trusted.
        tokens: each token by itself.
        faults: the faults of the recording, each once.
        checks: the outcomes of all checks of books.
        latency: how late level changes came.
        rates: rows of level changes, whole books and trades per ``minute``.
        skipped: level changes that were not applied, because they came early, late, or without a trusted book.
        skipped_in_gaps: how many of those came in gaps.
        mirror: whether the two books of a market mirror each other, as they should.
        intervals: ``token_id``, ``start``, ``end`` and ``trusted``: the time that each token was followed, cut where
            trust in its book begins or ends.
        distrust: ``token_id`` and ``minute`` of each minute in which a book could not be trusted throughout.
        damaged: sealed files that do not have their checksum, are missing or cannot be read. Whether the rows of the
            others are such as a recorder writes, ``verify`` tells.
        unsealed: the number of records that are only in the log.
    """

    path: str
    first_time: int | None
    last_time: int | None
    coverage: float | None
    tokens: list[TokenQuality]
    faults: list[Fault]
    checks: Counts
    latency: Latency
    rates: pl.DataFrame
    skipped: int
    skipped_in_gaps: int
    mirror: Mirror
    intervals: pl.DataFrame
    distrust: pl.DataFrame
    damaged: list[FileProblem]
    unsealed: int

    @property
    def mismatches(self) -> int:
        """The number of checks that found a book wrong."""
        return self.checks.mismatches

    @property
    def ok(self) -> bool:
        """Whether nothing was missed, found wrong or damaged."""
        return not (self.faults or self.mismatches or self.damaged)

    def to_dict(self) -> dict[str, object]:
        """Return everything as values that JSON can hold, times as ISO text."""
        return {
            "path": self.path,
            "coverage": self.coverage,
            "tokens": msgspec.to_builtins(self.tokens),
            "checks": msgspec.to_builtins(self.checks),
            "ok": self.ok,
            "first_time": _iso(self.first_time),
            "last_time": _iso(self.last_time),
            "faults": [_fault(fault) for fault in self.faults],
            "rates": self.rates.with_columns(pl.col("minute").dt.to_string("iso:strict")).to_dicts(),
            "skipped": {"all": self.skipped, "in_gaps": self.skipped_in_gaps},
            "intervals": self.intervals.with_columns(pl.col("start", "end").dt.to_string("iso:strict")).to_dicts(),
            "distrust": self.distrust.with_columns(pl.col("minute").dt.to_string("iso:strict")).to_dicts(),
            "latency": msgspec.to_builtins(self.latency),
            "mirror": msgspec.to_builtins(self.mirror),
            "damaged": msgspec.to_builtins(self.damaged),
            "unsealed": self.unsealed,
        }

    def figure(self) -> "Figure":
        """Draw when each token was followed and could be trusted, and the faults of the recording.

        Raises:
            ImportError: the extra ``pmlive[jupyter]`` is not installed.
        """
        return import_module("pmlive.widgets").coverage_figure(self)

    def __repr__(self) -> str:
        """Return a page of text."""
        return _text(self)

    def _repr_html_(self) -> str:
        return _html(self)


def not_understood(gaps: GapIndex) -> list[str]:
    """Describe the messages that could not be read, a line for each kind, with their times."""
    kinds: dict[str, list[GapInterval]] = {}
    for gap in gaps.all:
        if gap.cause == "malformed":
            kinds.setdefault(gap.detail, []).append(gap)
    return [_malformed_line(detail, of_it) for detail, of_it in kinds.items()]


def _malformed_line(detail: str, gaps: Sequence[GapInterval]) -> str:
    times = sorted({gap.started for gap in gaps})
    tokens = {gap.token_id for gap in gaps if gap.token_id is not None}
    when = utc(times[0]) if len(times) == 1 else f"{len(times)} times from {utc(times[0])} to {utc(times[-1])}"
    whose = f"; {len(tokens)} books could not be trusted until they were sent again or proved" if tokens else ""
    return f"{detail}: {when} UTC{whose}"


def _fault(fault: Fault) -> dict[str, object]:
    return msgspec.to_builtins(fault) | {"started": _iso(fault.started), "ended": _iso(fault.ended)}


def _iso(time: int | None) -> str | None:
    return None if time is None else moment(time).isoformat()


def quality(index: RecordingIndex, progress: Progress = unwatched) -> Quality:
    """Assess the quality of a recording, as far as its files can be read; progress is counted in parts of the work."""
    parts, folder = Parts(_PARTS, progress), index.contents.folder
    damaged = parts.done(verify_files(folder, rows=False))
    try:
        with diagnosed(folder):
            return _assessed(index, damaged, parts)
    except StoreError:
        # A file may have its checksum and not be one that a recorder writes.
        found = verify_files(folder)
        if found == damaged:
            raise
        parts = Parts(_PARTS, progress)
        return _assessed(index, parts.done(found), parts)


def _assessed(index: RecordingIndex, damaged: list[FileProblem], parts: Parts) -> Quality:
    index = index.without({one.path for one in damaged})
    contents = index.contents
    tokens = parts.done(list(_tokens(index)))
    followed_s = sum(token.followed for token in tokens)
    changes = parts.done(_Changes(index))
    rates = parts.done(_rates(contents, changes.minutes))
    return Quality(
        path=str(contents.folder),
        first_time=contents.first_recv(),
        last_time=contents.last_recv(),
        coverage=sum(token.trusted for token in tokens) / followed_s if followed_s else None,
        tokens=tokens,
        faults=faults(index.gaps.all),
        checks=Counts.total(token.checks for token in tokens),
        latency=parts.done(changes.latency()),
        rates=rates,
        skipped=changes.skipped,
        skipped_in_gaps=changes.skipped_in_gaps,
        mirror=parts.done(mirror(index)),
        intervals=parts.done(trust_intervals(index.timelines)),
        distrust=parts.done(distrusted_minutes(index.timelines, rates["minute"].dt.epoch("ns").to_list())),
        damaged=damaged,
        unsealed=len(contents.records()),
    )


def _tokens(index: RecordingIndex) -> Iterator[TokenQuality]:
    names = Counts.names()
    sums = index.contents.scan("checks").group_by("token_id").agg(pl.col(*names).cast(pl.Int64).sum())
    checks = {
        str(row.pop("token_id")): msgspec.convert(row, type=Counts)
        for row in collect(index.contents, "checks", sums).iter_rows(named=True)
    }
    for token_id in sorted(index.timelines.keys() | checks.keys()):
        timeline = index.timelines.get(token_id)
        wanted = [] if timeline is None else followed(timeline)
        followed_ns = sum(span.end - span.start for span in wanted)
        trusted_ns = 0 if timeline is None else sum(span.end - span.start for span in timeline.spans())
        yield TokenQuality(
            token_id=token_id,
            label=index.names.label(token_id),
            coverage=trusted_ns / followed_ns if followed_ns else 0.0,
            followed=followed_ns / 1e9,
            trusted=trusted_ns / 1e9,
            checks=checks.get(token_id, Counts()),
        )


class _Changes:
    """What is counted of level changes while they are read once."""

    def __init__(self, index: RecordingIndex) -> None:
        self._index = index
        self._delays = Delays()
        self.minutes: Counter[int] = Counter()
        self.changes = self.skipped = self.skipped_in_gaps = 0
        for rows in index.contents.batches("book_deltas", ("seq", *_TIMES, "check")):
            self.changes += rows.height
            self.minutes.update(_minutes(rows))
            self._delays.add(_delays(rows))
            numbers = rows["seq"].filter(rows["check"] == "skipped")
            self.skipped += len(numbers)
            if len(numbers):
                self.skipped_in_gaps += self._skipped_in_gaps(numbers[0], numbers[-1])

    def latency(self) -> Latency:
        """Return the latency, for which the times are read again."""
        contents = self._index.contents
        return self._delays.latency(self.changes, lambda: map(_delays, contents.batches("book_deltas", _TIMES)))

    def _skipped_in_gaps(self, first: int, last: int) -> int:
        """Count the changes in gaps that were not applied, between two numbers; only of these tokens are read."""
        contents = self._index.contents
        rows = contents.scan_numbered("book_deltas", first, last + 1).filter(
            pl.col("check").cast(pl.String) == "skipped"
        )
        found = collect(contents, "book_deltas", rows.select("token_id", pl.col("ts_recv").dt.epoch("ns")))
        timelines = ((self._index.timelines.get(token_id), recv) for token_id, recv in found.iter_rows())
        return sum(timeline is not None and timeline.gap(recv) is not None for timeline, recv in timelines)


def _delays(rows: pl.DataFrame) -> npt.NDArray[np.int64]:
    return (rows["ts_recv"] - rows["ts_event"]).drop_nulls().to_physical().to_numpy()


def _minutes(rows: pl.DataFrame) -> dict[int, int]:
    """Count rows by the minute in which they came, in nanoseconds since 1970."""
    minutes, counts = np.unique(rows["ts_recv"].to_physical().to_numpy() // _MINUTE_NS, return_counts=True)
    return dict(zip((minutes * _MINUTE_NS).tolist(), counts.tolist(), strict=True))


def _rates(contents: Contents, changes: Counter[int]) -> pl.DataFrame:
    counted = {table: Counter[int]() for table in _COUNTED} | {"book_deltas": changes}
    for table in _COUNTED[1:]:
        for rows in contents.batches(table, ("ts_recv",)):
            counted[table].update(_minutes(rows))
    minutes = sorted({minute for counts in counted.values() for minute in counts})
    columns = {table: [counts[minute] for minute in minutes] for table, counts in counted.items()}
    frame = pl.DataFrame({"minute": minutes, **columns}).cast(pl.Int64)
    return frame.with_columns(pl.col("minute").cast(pl.Datetime("ns", "UTC")))


def _text(page: Quality) -> str:
    """Return a page of text."""
    return "\n".join(
        f"{name if number == 0 else '':<10} {line}".rstrip()
        for name, lines in _sections(page)
        for number, line in enumerate(lines)
    )


def _html(page: Quality) -> str:
    """Return a page for a notebook; texts by strangers are escaped."""
    rows = "".join(
        f"<tr><th style='text-align:left;vertical-align:top'>{escape(name)}</th>"
        f"<td style='text-align:left'>{'<br>'.join(map(escape, lines))}</td></tr>"
        for name, lines in _sections(page)
    )
    return f"<table>{rows}</table>"


def _sections(page: Quality) -> Iterator[tuple[str, list[str]]]:
    yield "recording", [page.path, f"{_moment(page.first_time)} to {_moment(page.last_time)} UTC"]
    yield "trusted", _trusted_lines(page)
    yield "missed", _missed_lines(page)
    yield "proved", list(_proved_lines(page.checks))
    yield "latency", _latency_lines(page.latency)
    yield "rates", _rate_lines(page)
    yield (
        "skipped",
        [f"{page.skipped:,} level changes were not applied, {page.skipped_in_gaps:,} of them in gaps"],
    )
    yield "mirror", _mirror_lines(page.mirror)
    yield "distrust", _distrust_lines(page)
    if page.damaged:
        yield "damaged", [f"{one.path}: {one.problem}" for one in page.damaged]
    if page.unsealed:
        yield "log", [f"{page.unsealed:,} records are not sealed yet"]


def _trusted_lines(page: Quality) -> list[str]:
    if page.coverage is None:
        return ["no book came"]
    worst = sorted(page.tokens, key=lambda token: (round(token.coverage, 5), token.label))
    lines = [f"{page.coverage:.3%} of the time, over {counted(len(page.tokens), 'token')}"]
    lines += [f"{token.coverage:.3%}  {token.label}" for token in worst[:_MOST_LISTED] if token.coverage < 1]
    return lines


def _missed_lines(page: Quality) -> list[str]:
    if not page.faults:
        return ["nothing"]
    lines = [_fault_line(fault) for fault in page.faults[:_MOST_LISTED]]
    return lines + ([f"and {len(page.faults) - _MOST_LISTED} more"] if len(page.faults) > _MOST_LISTED else [])


def _fault_line(fault: Fault) -> str:
    whose = counted(len(fault.token_ids), "token") if fault.token_ids else "no book"
    until = "no known end" if fault.ended is None else _moment(fault.ended)
    return f"{_moment(fault.started)} to {until}  {fault.cause}, {whose}{f': {fault.detail}' if fault.detail else ''}"


def _proved_lines(checks: Counts) -> Iterator[str]:
    yield (
        f"hash of the venue   {checks.hash_verified:,} verified, {checks.hash_unverifiable:,} unverifiable, "
        f"{checks.hash_mismatch:,} mismatches"
    )
    yield f"best bid and ask    {checks.bbo_ok:,} as stated, {checks.bbo_mismatch:,} mismatches"
    yield f"fresh snapshots     {checks.snapshot_ok:,} equal to the book, {checks.snapshot_mismatch:,} mismatches"


def _latency_lines(latency: Latency) -> list[str]:
    if latency.median is None:
        return ["no level change came"]
    figures = ", ".join(
        f"{name} {value:,.1f} ms"
        for name, value in (
            ("median", latency.median),
            ("p95", latency.p95),
            ("p99", latency.p99),
            ("most", latency.most),
        )
        if value is not None
    )
    return [figures, "from the venue's clock to ours; the offset between the two is included"]


def _rate_lines(page: Quality) -> list[str]:
    if page.rates.is_empty():
        return ["nothing came"]
    rows = page.rates.select(pl.sum_horizontal(_COUNTED)).to_series()
    return [f"{rows.sum() / len(rows):,.0f} rows a minute, {rows.max():,} at most"]


def _mirror_lines(mirror: Mirror) -> list[str]:
    if not mirror.moments:
        return ["no market has two books that were trusted at once"]
    return [
        f"{mirror.mirrored / mirror.moments:.3%} of {mirror.moments:,} changes of a top, worst {mirror.worst:g} dollars"
    ]


def _distrust_lines(page: Quality) -> list[str]:
    if page.distrust.is_empty():
        return ["no minute"]
    minutes = page.distrust["minute"].dt.epoch("ns").unique().sort()
    return [
        f"{counted(len(minutes), 'minute')} from {utc(minutes[0])} on, of "
        + counted(page.distrust["token_id"].n_unique(), "token")
    ]


def _moment(time: int | None) -> str:
    return "-" if time is None else utc(time)
