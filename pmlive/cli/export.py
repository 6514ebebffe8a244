"""``pmlive export`` and ``import``: recordings written for other tools, and made of captures."""

from argparse import Namespace
from pathlib import Path

import msgspec

from pmlive.captures import ImportReport, import_capture
from pmlive.cli.commands import Subparsers, add_command, add_recording_command, whole_number
from pmlive.cli.summary import missed_in, missed_lines, proved_lines
from pmlive.cli.terminal import Output, ProgressLine, Stop, format_count, format_size, section
from pmlive.export import Exported, to_csv, to_duckdb, to_hftbacktest, to_nautilus
from pmlive.markets import clean
from pmlive.recording import RecordingSummary, info

__all__ = ["add"]

_MOST_LISTED = 12


def add(subparsers: Subparsers) -> None:
    """Add the commands."""
    _add_export(subparsers)
    _add_import(subparsers)


def _add_export(subparsers: Subparsers) -> None:
    command = add_recording_command(
        subparsers,
        "export",
        _export,
        summary="Write a recording for other tools",
        examples=[
            "pmlive export data/tonight --to csv out",
            "pmlive export data/tonight --to duckdb tonight.duckdb",
            "pmlive export data/tonight --to hftbacktest arrays",
        ],
        more="Nothing is overwritten. The exit code is 1 if something that was recorded is not in it.",
    )
    command.add_argument(
        "--to",
        choices=("hftbacktest", "nautilus", "csv", "duckdb"),
        required=True,
        help="a folder of arrays, one per token; a catalogue of nautilus_trader; a folder of CSV files, one per table; "
        "a DuckDB file",
    )
    command.add_argument("out", type=Path, metavar="OUT", help="the folder or file to make")
    command.add_argument("--token", metavar="ID", help="this token only (with --to hftbacktest or nautilus)")


def _add_import(subparsers: Subparsers) -> None:
    command = add_command(
        subparsers,
        "import",
        _import,
        summary="Make a recording of captured frames, one a line, and check them",
        examples=[
            "pmlive import capture.jsonl --out data/imported",
            "pmlive import a.jsonl.gz b.jsonl.gz --frame payload.raw --received ts --time-unit ms --out data/imported",
        ],
        more="Lines may be frames, envelopes around frames, [time, frame], a time before a frame, or rows of CSV and "
        "Parquet; files may be packed (gzip, zstd, bzip2, xz), and several are merged by time. The exit code is 1 if "
        "something was not understood or the books have gaps or mismatches.",
    )
    command.add_argument("files", nargs="+", type=Path, metavar="FILE", help="a capture")
    command.add_argument("--out", type=Path, metavar="DIR", required=True, help="the folder to make")
    command.add_argument(
        "--channel",
        choices=("market", "user", "realtime", "prices"),
        default="market",
        help="the channel of frames whose envelope names none (default: %(default)s)",
    )
    command.add_argument("--frame", metavar="KEY", help="the key of the frames, or a path such as payload.raw")
    command.add_argument("--received", metavar="KEY", help="the key of the receive times, or a path to them")
    command.add_argument("--time-unit", choices=("ns", "us", "ms", "s"), help="the unit of receive times")
    command.add_argument(
        "--max-bytes",
        type=whole_number(1, 1 << 60),
        metavar="N",
        help="the most bytes that one file may unpack to (default: 100 times its size, at least 64 MiB)",
    )


def _export(options: Namespace, out: Output, _: Stop) -> int:
    by_token = options.to in ("hftbacktest", "nautilus")
    if options.token is not None and not by_token:
        raise ValueError("--token goes with --to hftbacktest or nautilus only; tables are exported whole")
    progress = ProgressLine(out, "exporting", "tokens" if by_token else "rows")
    if options.to == "csv":
        done = to_csv(options.folder, options.out, progress=progress)
    elif options.to == "duckdb":
        done = to_duckdb(options.folder, options.out, progress=progress)
    elif options.to == "nautilus":
        done = to_nautilus(options.folder, options.out, token_id=options.token, progress=progress)
    else:
        done = to_hftbacktest(options.folder, options.out, token_id=options.token, progress=progress)
    totals = {"rows": done.rows, "bytes": done.bytes, "whole": done.whole}
    out.result(msgspec.structs.asdict(done) | totals, "\n".join(_export_lines(done)))
    return 0 if done.whole else 1


def _export_lines(done: Exported) -> list[str]:
    what = "event" if done.tokens else "row"
    totals = f"{format_count(done.rows, what)} in {format_count(len(done.files), 'file')}, {format_size(done.bytes)}"
    left_out = _first_lines([f"token {clean(one.token_id, 24)}: {one.reason}" for one in done.skipped])
    left_out += [f"{path} is missing" for path in done.missing]
    if done.unsealed:
        left_out.append(
            f"{format_size(done.unsealed)} of log, not sealed yet; recording into the folder again seals it"
        )
    shift = [f"receive times are {done.shift / 1e6:,.3f} ms later, so that none is before the venue's time"]
    return [
        *section("wrote", [totals]),
        *section("into", [done.out]),
        *(section("moved", shift) if done.shift else []),
        *(section("left out", left_out) if left_out else []),
    ]


def _first_lines(lines: list[str]) -> list[str]:
    more = len(lines) - _MOST_LISTED
    return lines if more <= 0 else [*lines[:_MOST_LISTED], f"and {more:,} more; -o json lists all"]


def _import(options: Namespace, out: Output, _: Stop) -> int:
    # Captures are read twice: to learn what they are, and to record them.
    reading, importing = ProgressLine(out, "reading", "lines"), ProgressLine(out, "importing", "lines")

    def show(lines: int, total: int | None) -> None:
        (reading if total is None else importing)(lines, total)

    report = import_capture(
        options.files,
        options.out,
        channel=options.channel,
        frame=options.frame,
        received=options.received,
        time_unit=options.time_unit,
        max_bytes=options.max_bytes,
        progress=show,
    )
    summary = info(options.out)
    result = msgspec.to_builtins(report) | {"proved": summary.checks, "missed": missed_in(summary)}
    out.result(result, "\n".join(_import_lines(report, summary)))
    return 0 if report.whole and not (summary.gaps or summary.mismatches) else 1


def _import_lines(report: ImportReport, summary: RecordingSummary) -> list[str]:
    frames = [
        f"{format_count(report.frames, 'frame')} in {format_count(report.lines, 'line')}",
        *([f"{report.malformed:,} of them malformed, kept as they are"] if report.malformed else []),
        *([f"{report.unknown:,} of them of an unknown kind, kept as they are"] if report.unknown else []),
        *([f"{format_count(report.sent, 'line')} of what the client sent, left out"] if report.sent else []),
        *([f"{format_count(report.notes, 'note')} of the recorder"] if report.notes else []),
    ]
    made = (
        f"{format_count(summary.rows, 'row')} of {format_count(report.tokens, 'token')}, {format_size(summary.bytes)}"
    )
    return [
        *section("read", frames),
        *section("times", _time_lines(report)),
        *(section("not read", _not_understood_lines(report)) if report.not_understood else []),
        *(section("damaged", _first_lines([clean(each, 240) for each in report.damaged])) if report.damaged else []),
        *section("made", [made, report.folder]),
        *section("proved", proved_lines(summary.checks)),
        *section("missed", _missed_lines(report, summary)),
    ]


def _missed_lines(report: ImportReport, summary: RecordingSummary) -> list[str]:
    missed = missed_in(summary)
    if report.whole or missed:
        return missed_lines(missed, unsealed=summary.unsealed)
    return ["no gap in what was understood; what was not may be missing"]


def _not_understood_lines(report: ImportReport) -> list[str]:
    return [
        f"{format_count(one.lines, 'line')} {clean(one.problem, 160)}; the first is line {one.number:,} of "
        f"{clean(Path(one.source).name, 60)}: {clean(one.begins, 60)!r}"
        for one in report.not_understood
    ]


def _time_lines(report: ImportReport) -> list[str]:
    lines = [
        (report.own_times, "received at the capture's own times"),
        (report.venue_times, "without a receive time: the venue's was taken"),
        (report.guessed_times, "without any time: that of the line before was taken"),
        (report.backwards, "before the line before them: its time was taken"),
    ]
    listed = [f"{format_count(count, 'line')} {text}" for count, text in lines if count]
    return listed if report.own_times else [*listed, "no receive time was found, so latency is unknown"]
