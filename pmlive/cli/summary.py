"""Summaries of a recording and of a run: what was kept, what was proved, what was missed."""

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from itertools import islice
from typing import Literal

import msgspec

from pmlive._session import Timing
from pmlive.cli.terminal import counted, duration, lines_of, moment, size
from pmlive.integrity import Counts
from pmlive.recording import RecordedGap, RecordingSummary

__all__ = ["Kept", "Missed", "Run", "Trouble", "missed_in", "missed_lines", "proved_lines", "run_of", "run_text"]

_MOST_GAPS = 12


class Trouble(msgspec.Struct, frozen=True):
    """The problems at the end of a run: with the disk or a thread (``ours``), and with the connection (``venue``)."""

    ours: str | None
    venue: str | None


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """Counts of what is on the disk; ``unsealed`` is bytes of log that the tables do not have yet."""

    rows: dict[str, int]
    frames: int
    bytes: int
    files: int
    unsealed: int


class Missed(msgspec.Struct, frozen=True, kw_only=True):
    """One gap; if it has no end, its seconds are those up to the last frame."""

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
    # Whether any of this is a finding, which exit code 1 stands for: a run that was ended at once waited for nothing.
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
    # The summary does not know which tokens unsealed records have.
    without_book = [] if summary.unsealed else sorted(set(wanted) - set(summary.tokens))
    # A signal may end a run before a book is late, or a venue that is away is a gap.
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
        found=lacking or bool(lost or trouble.ours or summary.unsealed) or _wrong(summary.checks) > 0,
    )


def missed_in(summary: RecordingSummary) -> list[Missed]:
    """List the gaps of a recording with their lengths."""
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
    """Write the summary of a run for people."""
    lines = [
        title,
        "",
        *lines_of("kept", _kept_lines(run.kept)),
        *lines_of("proved", proved_lines(run.proved)),
        *lines_of("missed", _run_missed_lines(run)),
        *lines_of("folder", [run.folder]),
        *after,
    ]
    return "\n".join(lines)


def proved_lines(checks: Counts) -> list[str]:
    """Write the counts of the three checks."""
    hashes = f"{checks.hash_verified:,} verified, {checks.hash_unverifiable:,} unverifiable"
    return [
        f"hash of the venue   {hashes}, {_mismatches(checks.hash_mismatch)}",
        f"best bid and ask    {checks.bbo_ok:,} as stated, {_mismatches(checks.bbo_mismatch)}",
        f"fresh snapshots     {checks.snapshot_ok:,} equal to the book, {_mismatches(checks.snapshot_mismatch)}",
    ]


def _was_awaited(gap: Missed, ended: datetime) -> bool:
    """Return whether a run ended while an opening book was awaited that was not late yet."""
    is_open = gap.cause == "late opening book" and gap.ended is None
    return is_open and ended - gap.started < timedelta(microseconds=Timing().opening // 1000)


def missed_lines(missed: Sequence[Missed], *, unsealed: int) -> list[str]:
    """Write the gaps: how many by cause, and the first of them one by one."""
    if not missed:
        return ["no gap in what is sealed; the log was not checked" if unsealed else "nothing was missed"]
    causes = Counter(gap.cause for gap in missed)
    lines = [", ".join(f"{counted(number, 'gap')} by {cause}" for cause, number in causes.most_common())]
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
        lines.append(f"{counted(run.log_lines_lost, 'line')} of the log could not be written; no data depends on them")
    if run.without_book:
        lines.append(f"no book came for {counted(len(run.without_book), 'token')} of those that were subscribed")
    if lines and not run.missed:
        return lines
    return lines + missed_lines(run.missed, unsealed=run.kept.unsealed)


def _gap_line(alike: Sequence[Missed]) -> str:
    gap = alike[0]
    length = duration(gap.seconds) + (" until the end" if gap.ended is None else "")
    return f"{moment(gap.started)}  {gap.cause}, {length}, {_whose(alike)}{f': {gap.detail}' if gap.detail else ''}"


def _whose(alike: Sequence[Missed]) -> str:
    token_id = alike[0].token_id
    if token_id is None:
        return "a whole connection"
    return f"token {token_id[:12]}…" if len(alike) == 1 else counted(len(alike), "token")


def _kept_lines(kept: Kept) -> list[str]:
    what = f"{counted(kept.frames, 'frame')}, {counted(sum(kept.rows.values()), 'row')}"
    lines = [
        f"{what}, {size(kept.bytes)} in {counted(kept.files, 'file')}",
        ", ".join(f"{name} {rows:,}" for name, rows in kept.rows.items()) or "no rows",
    ]
    if kept.unsealed:
        lines.append(f"{size(kept.unsealed)} are in the log alone; recording into the folder again seals them")
    return lines


def _length(gap: RecordedGap, last: datetime | None) -> timedelta:
    until = gap.ended or last or gap.started
    return max(timedelta(), until - gap.started)


def _wrong(checks: Counts) -> int:
    return checks.hash_mismatch + checks.bbo_mismatch + checks.snapshot_mismatch


def _mismatches(number: int) -> str:
    return f"{number:,} mismatch{'' if number == 1 else 'es'}"
