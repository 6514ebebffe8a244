"""Commands about recordings: ``ls`` lists them, the others show, check or repair one.

``info``, ``verify``, ``quality`` and ``book`` change nothing. ``repair`` and ``compact`` change a recording that is not
being recorded into.
"""

from argparse import Namespace
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from datetime import time as datetime_time
from pathlib import Path

import msgspec

from pmlive import times
from pmlive.cli.commands import Subparsers, add_command, add_recording_command, positive_number
from pmlive.cli.summary import missed_in, missed_lines, proved_lines
from pmlive.cli.terminal import (
    SECTION_WIDTH,
    Output,
    ProgressLine,
    Stop,
    fitted_lines,
    fitted_table,
    format_count,
    format_duration,
    format_size,
    format_time,
    section,
)
from pmlive.errors import StoreError
from pmlive.markets import clean
from pmlive.pipeline.journal import rebuild
from pmlive.recording import (
    RecordedMarket,
    Recording,
    RecordingSummary,
    info,
    open_recording,
    recordings,
)
from pmlive.settings import data_dir
from pmlive.store import Compaction, RecordingInfo, Repaired, compact, repair

__all__ = ["add", "add_repair"]

# What is left out of tables in a terminal that is narrow, the first of it first.
_SPARE_OF_LIST = ("unsealed", "markets", "rows", "created")
_SPARE_OF_TABLES = ("files", "first", "last", "size")
# The least room for lines beside the names of what they are about.
_LEAST_ROOM = 20


def add(subparsers: Subparsers) -> None:
    """Add the commands that change nothing."""
    command = add_command(
        subparsers,
        "ls",
        _list,
        summary="List the recordings in a folder",
        examples=["pmlive ls", "pmlive ls data -o json"],
    )
    command.add_argument(
        "folder", nargs="?", type=Path, metavar="DIR", help="the folder (default: that of all recordings)"
    )
    add_recording_command(
        subparsers,
        "info",
        _info,
        summary="Show what a recording holds",
        examples=["pmlive info data/tonight"],
        more="The exit code is 1 if it has gaps or mismatches.",
    )
    add_recording_command(
        subparsers,
        "verify",
        _verify,
        summary="Check every file of a recording, and every row against the raw records",
        examples=["pmlive verify data/tonight"],
        more="The exit code is 1 if anything is not as it was recorded.",
    )
    add_recording_command(
        subparsers,
        "quality",
        _quality,
        summary="Show how far a recording can be trusted, and what is missing",
        examples=["pmlive quality data/tonight", "pmlive quality data/tonight -o json"],
        more="The exit code is 1 if it has gaps, mismatches or damaged files.",
    )
    _add_book(subparsers)


def add_repair(subparsers: Subparsers) -> None:
    """Add the commands that change a recording."""
    add_recording_command(
        subparsers,
        "repair",
        _repair,
        summary="Rebuild damaged or missing tables from the raw frames",
        examples=["pmlive repair data/tonight"],
        more="Damaged files are kept beside the new ones. The exit code is 1 if something is lost, which is a gap.",
    )
    command = add_recording_command(
        subparsers,
        "compact",
        _compact,
        summary="Merge the small files of a recording",
        examples=["pmlive compact data/tonight", "pmlive compact data/tonight --grace 60"],
        more="A recorder does this itself; the command is for recordings whose recorder was stopped early.",
    )
    command.add_argument(
        "--grace",
        type=positive_number,
        metavar="SECONDS",
        help="keep the former files this long for programs that read them; run it again after that (default: 0)",
    )


def _add_book(subparsers: Subparsers) -> None:
    command = add_recording_command(
        subparsers,
        "book",
        _book,
        summary="Show a book as it was at a time",
        examples=[
            "pmlive book data/tonight will-it-rain-in-london-on-new-years-eve --outcome Yes --at 02:14:07",
            "pmlive book data/tonight Yes --at 2026-11-23T02:14:07Z",
        ],
        more="The exit code is 1 if the book could not be trusted then.",
    )
    command.add_argument(
        "token", metavar="TOKEN", help="a token id, an outcome, or the slug of a market with --outcome"
    )
    command.add_argument("--outcome", metavar="NAME", help="the outcome, where TOKEN is a slug or a condition id")
    command.add_argument(
        "--at",
        required=True,
        metavar="TIME",
        help="such as 2026-11-23T02:14:07Z, or 02:14:07 where it was recorded then last; UTC without a zone",
    )


def _list(options: Namespace, out: Output, _: Stop) -> int:
    root: Path = options.folder or data_dir()
    if options.folder is not None and not root.is_dir():
        raise StoreError(f"{str(root)!r} is not a folder; give one that holds recordings")
    listed = sorted(recordings(root), key=lambda one: one.created)
    if not listed:
        out.note(f"no recordings in {root}; pmlive demo makes one")
    if out.mode == "json" or listed:
        head = ("recording", "created", "length", "markets", "rows", "size", "unsealed")
        rows = (_recording_row(one) for one in listed)
        lines = fitted_table(head, rows, out.columns, right=range(2, 7), spare=_SPARE_OF_LIST)
        out.result({"folder": str(root), "recordings": [_listed_object(one) for one in listed]}, "\n".join(lines))
    return 0


def _listed_object(one: RecordingInfo) -> dict[str, object]:
    readable: dict[str, object] = {
        "first_time": _time(one.first_time),
        "last_time": _time(one.last_time),
        "seconds": one.duration.total_seconds(),
    }
    return msgspec.structs.asdict(one) | readable


def _time(nanoseconds: int | None) -> datetime | None:
    return None if nanoseconds is None else times.moment(nanoseconds)


def _recording_row(one: RecordingInfo) -> Sequence[str]:
    created = clean(one.created).replace("T", " ").removesuffix("+00:00")
    length = format_duration(one.duration.total_seconds())
    return (
        one.path,
        created,
        length,
        str(one.markets),
        f"{one.rows:,}",
        format_size(one.bytes),
        format_size(one.unsealed),
    )


def _info(options: Namespace, out: Output, _: Stop) -> int:
    summary = info(options.folder)
    out.result(_info_object(summary), "\n".join(_info_lines(summary, out.columns)))
    return 1 if summary.gaps or summary.mismatches else 0


def _info_object(summary: RecordingSummary) -> dict[str, object]:
    totals = {name: getattr(summary, name) for name in ("frames", "rows", "bytes", "files", "first_time", "last_time")}
    return msgspec.structs.asdict(summary) | {"gaps": missed_in(summary)} | totals


def _info_lines(summary: RecordingSummary, columns: int | None) -> list[str]:
    room = None if columns is None else max(columns - SECTION_WIDTH, _LEAST_ROOM)
    totals = (
        f"{format_count(summary.frames, 'frame')}, {format_count(summary.rows, 'row')}, {format_size(summary.bytes)}"
    )
    unsealed = [f"{format_size(summary.unsealed)} of log, not sealed yet"] if summary.unsealed else []
    parts = {
        "recording": [summary.path, f"made by pmlive {summary.pmlive}, created {summary.created}"],
        "holds": [f"{totals} in {format_count(summary.files, 'file')}", *_span_lines(summary), *unsealed],
        "markets": [_market_line(market) for market in summary.markets] or ["none named"],
        "tables": _table_lines(summary, room) if summary.tables else ["none"],
        "proved": proved_lines(summary.checks),
        "missed": missed_lines(missed_in(summary), unsealed=summary.unsealed),
    }
    return [line for name, lines in parts.items() for line in section(name, fitted_lines(lines, room))]


def _span_lines(summary: RecordingSummary) -> list[str]:
    first, last = summary.first_time, summary.last_time
    if first is None or last is None:
        return ["nothing is sealed yet"]
    return [f"{format_time(first)} to {format_time(last)} UTC, {format_duration((last - first).total_seconds())}"]


def _market_line(market: RecordedMarket) -> str:
    return f"{market.question or market.condition_id} ({' / '.join(market.outcomes)})  {market.slug}"


def _table_lines(summary: RecordingSummary, room: int | None) -> list[str]:
    rows = [
        (
            one.table,
            f"{one.rows:,}",
            format_size(one.bytes),
            str(one.files),
            format_time(one.first_time),
            format_time(one.last_time),
        )
        for one in summary.tables
    ]
    head = ("table", "rows", "size", "files", "first", "last")
    return fitted_table(head, rows, room, right=(1, 2, 3), spare=_SPARE_OF_TABLES)


def _verify(options: Namespace, out: Output, _: Stop) -> int:
    report = open_recording(options.folder).verify(progress=ProgressLine(out, "checking", "records"))
    out.result(report.to_dict(), repr(report))
    return 0 if report.ok else 1


def _quality(options: Namespace, out: Output, _: Stop) -> int:
    report = open_recording(options.folder).quality(progress=ProgressLine(out, "looking through it", "parts"))
    out.result(report.to_dict(), repr(report))
    return 0 if report.ok else 1


def _book(options: Namespace, out: Output, _: Stop) -> int:
    night = open_recording(options.folder)
    book = night.book_at(options.token, _time_meant(options.at, night), options.outcome)
    out.result(book.to_dict(), str(book))
    return 1 if book.quality == "stale" else 0


def _time_meant(text: str, night: Recording) -> times.Time:
    """Return the time that a text means: of a time of day, the last one that lies within the recording.

    Raises:
        ValueError: the recording has no such time of day.
    """
    try:
        clock = datetime_time.fromisoformat(text)
    except ValueError:
        return text
    first, last = night.first_time, night.last_time
    if first is None or last is None:
        raise ValueError("the recording is empty, so it has no time of day")
    when = datetime.combine(last.astimezone(clock.tzinfo or UTC).date(), clock, clock.tzinfo or UTC)
    if when > last:
        when -= timedelta(days=1)
    if when < first:
        raise ValueError(f"the recording has no {text}; it goes from {times.utc(first)} to {times.utc(last)} UTC")
    return when


def _repair(options: Namespace, out: Output, stop: Stop) -> int:
    with stop.deferred():
        report = repair(options.folder, rebuild=rebuild)
    head = f"{format_count(report.checked, 'file')} checked, {len(report.repaired):,} repaired"
    lines = [head, *map(_repaired_line, report.repaired)]
    lines += [
        f"{clean(name, 120)} is removed: left behind by an import or export that was killed" for name in report.removed
    ]
    totals = {"lost": report.lost, "damaged": report.damaged}
    out.result(msgspec.to_builtins(report) | totals, "\n".join(lines))
    return 1 if report.lost else 0


def _repaired_line(repaired: Repaired) -> str:
    rest = f"; {repaired.lost:,} are lost, which is a gap" if repaired.lost else ""
    kept = f"; the old file is kept as {repaired.kept}" if repaired.kept else ""
    return f"{repaired.was}: {repaired.problem}; it has {repaired.rows:,} rows again{rest}{kept}"


def _compact(options: Namespace, out: Output, stop: Stop) -> int:
    with stop.deferred():
        progress = ProgressLine(out, "merging", "rows")
        done = compact(options.folder, grace=options.grace or 0.0, progress=progress)
    out.result(done, "\n".join(_compact_lines(done)))
    return 1 if done.refused else 0


def _compact_lines(done: Compaction) -> list[str]:
    waiting = f", {done.waiting:,} of which wait for their turn" if done.waiting else ""
    return [f"{format_count(done.inputs, 'file')} became {done.outputs:,}{waiting}", *done.refused]
