"""Summaries of a recording and of a run: what was kept, what was proved, what was missed."""

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from itertools import islice
from typing import Literal

import msgspec

from pmlive._session import Timing
from pmlive.cli.terminal import format_count, format_duration, format_size, format_time, section
from pmlive.integrity import Counts
from pmlive.recording import RecordedGap, RecordingSummary

__all__ = ["Run", "Trouble", "missed_in", "missed_lines", "proved_lines", "run_of", "run_text"]

_MOST_GAPS = 12


class Trouble(msgspec.Struct, frozen=True):
    """The problems at the end of a run: of the disk or a thread (``ours``) and of the connection (``venue``)."""

    ours: str | None
    venue: str | None


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """The contents of a recording; ``unsealed`` is the bytes of the log that are not in the tables yet."""

    rows: dict[str, int]
    frames: int
    bytes: int
    files: int
    unsealed: int


class Missed(msgspec.Struct, frozen=True, kw_only=True):
    """One gap; without an end, its seconds are those until the last frame."""

    started: datetime
    ended: datetime | None
    seconds: float
    cause: str
    token_id: str | None
    detail: str


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """One run of a command that recorded."""

    folder: str
    seconds: float
    ended_by: Literal["time", "signal"]
    markets: list[str]
    kept: Kept
    proved: Counts
    missed: list[Missed]
    without_book: list[str]
    trouble: str | None
    log_lines_lost: int
    # Whether the exit code is 1. What a run that was stopped early did not wait for is not a finding.
    found: bool


def run_of(
    summary: RecordingSummary,
    *,
    seconds: float,
    ended: datetime,
    ended_by: Literal["time", "signal"],
    markets: Sequence[str],
    wanted: Iterable[str],
    trouble: Trouble,
    log_lines_lost: int,
) -> Run:
    """Return the summary of a run."""
    missed = missed_in(summary)
    # The summary does not have the tokens of unsealed records.
    without_book = [] if summary.unsealed else sorted(set(wanted) - set(summary.tokens))
    # A signal may stop a run before a missing book is late, or before a venue out of reach is a gap.
    lacking = ended_by == "time" and bool(without_book or trouble.venue)
    lost = [gap for gap in missed if ended_by == "time" or not _was_awaited(gap, ended)]
    return Run(
        folder=summary.path,
        seconds=round(seconds, 3),
        ended_by=ended_by,
        markets=list(markets),
        kept=Kept(
            rows={table.table: table.rows for table in summary.tables if table.table != "raw"},
            frames=summary.frames,
            bytes=summary.bytes,
            files=summary.files,
            unsealed=summary.unsealed,
        ),
        proved=summary.checks,
        missed=missed,
        without_book=without_book,
        trouble=trouble.ours or trouble.venue,
        log_lines_lost=log_lines_lost,
        found=lacking or bool(lost or trouble.ours or summary.unsealed) or summary.checks.mismatches > 0,
    )


def missed_in(summary: RecordingSummary) -> list[Missed]:
    """List the gaps of a recording, with their lengths."""
    return [
        Missed(
            started=gap.started,
            ended=gap.ended,
            seconds=round(_length(gap, summary.last_time).total_seconds(), 3),
            cause=gap.cause,
            token_id=gap.token_id,
            detail=gap.detail,
        )
        for gap in summary.gaps
    ]


def run_text(run: Run, title: str, after: Sequence[str]) -> str:
    """Return the summary of a run as text."""
    lines = [
        title,
        "",
        *section("kept", _kept_lines(run.kept)),
        *section("proved", proved_lines(run.proved)),
        *section("missed", _run_missed_lines(run)),
        *section("folder", [run.folder]),
        *after,
    ]
    return "\n".join(lines)


def proved_lines(checks: Counts) -> list[str]:
    """Return lines with the counts of the three checks."""
    hashes = f"{checks.hash_verified:,} verified, {checks.hash_unverifiable:,} unverifiable"
    return [
        f"hash of the venue   {hashes}, {_mismatches(checks.hash_mismatch)}",
        f"best bid and ask    {checks.bbo_ok:,} as stated, {_mismatches(checks.bbo_mismatch)}",
        f"fresh snapshots     {checks.snapshot_ok:,} equal to the book, {_mismatches(checks.snapshot_mismatch)}",
    ]


def _was_awaited(gap: Missed, ended: datetime) -> bool:
    """Check whether a gap is an opening book that was not late yet when the run ended."""
    is_open = gap.cause == "late opening book" and gap.ended is None
    return is_open and ended - gap.started < timedelta(microseconds=Timing().opening // 1000)


def missed_lines(missed: Sequence[Missed], *, unsealed: int) -> list[str]:
    """Return lines with the number of gaps by cause, and the first of them one by one."""
    if not missed:
        return ["no gap in what is sealed; the log was not checked" if unsealed else "nothing was missed"]
    causes = Counter(gap.cause for gap in missed)
    lines = [", ".join(f"{format_count(number, 'gap')} by {cause}" for cause, number in causes.most_common())]
    if whole := sum(gap.token_id is None for gap in missed if len(missed) > 1):
        lines[0] += (
            f": {whole:,} of connections, {len(missed) - whole:,} of tokens; quality counts what has one cause once"
        )
    alike: dict[tuple[object, ...], list[Missed]] = {}
    for gap in missed:
        alike.setdefault((gap.token_id is None, gap.started, gap.ended, gap.cause, gap.detail), []).append(gap)
    lines += [_gap_line(gaps) for gaps in islice(alike.values(), _MOST_GAPS)]
    if len(alike) > _MOST_GAPS:
        lines.append("and more; -o json lists all")
    return lines


def _run_missed_lines(run: Run) -> list[str]:
    lines = [] if run.trouble is None else [run.trouble]
    if run.log_lines_lost:
        lines.append(
            f"{format_count(run.log_lines_lost, 'line')} of the log could not be written; no data depends on them"
        )
    if run.without_book:
        lines.append(f"no book came for {format_count(len(run.without_book), 'token')} of those that were subscribed")
    if lines and not run.missed:
        return lines
    return lines + missed_lines(run.missed, unsealed=run.kept.unsealed)


def _gap_line(alike: Sequence[Missed]) -> str:
    gap = alike[0]
    length = format_duration(gap.seconds) + (" until the end" if gap.ended is None else "")
    return (
        f"{format_time(gap.started)}  {gap.cause}, {length}, {_whose(alike)}{f': {gap.detail}' if gap.detail else ''}"
    )


def _whose(alike: Sequence[Missed]) -> str:
    token_id = alike[0].token_id
    if token_id is None:
        return "a whole connection"
    return f"token {token_id[:12]}…" if len(alike) == 1 else format_count(len(alike), "token")


def _kept_lines(kept: Kept) -> list[str]:
    what = f"{format_count(kept.frames, 'frame')}, {format_count(sum(kept.rows.values()), 'row')}"
    lines = [
        f"{what}, {format_size(kept.bytes)} in {format_count(kept.files, 'file')}",
        ", ".join(f"{name} {rows:,}" for name, rows in kept.rows.items()) or "no rows",
    ]
    if kept.unsealed:
        lines.append(f"{format_size(kept.unsealed)} are in the log alone; recording into the folder again seals them")
    return lines


def _length(gap: RecordedGap, last: datetime | None) -> timedelta:
    until = gap.ended or last or gap.started
    return max(timedelta(), until - gap.started)


def _mismatches(number: int) -> str:
    return f"{number:,} mismatch{'' if number == 1 else 'es'}"
