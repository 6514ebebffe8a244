"""``pmlive repair`` and ``compact``: changes to a recording that is not being recorded into."""

from argparse import Namespace

import msgspec

from pmlive.cli.options import Subparsers, add_recording_command, amount
from pmlive.cli.output import Output
from pmlive.cli.signals import Stop
from pmlive.cli.text import counted
from pmlive.markets import clean
from pmlive.pipeline.journal import rebuild
from pmlive.store import Compaction, Repaired, compact, repair

__all__ = ["add"]


def add(subparsers: Subparsers) -> None:
    """Add the commands."""
    add_recording_command(
        subparsers,
        "repair",
        _repair,
        summary="Rebuild damaged or missing tables from the raw frames",
        more="Damaged files are kept beside. The exit code is 1 if something is lost for good, which is a gap.",
    )
    command = add_recording_command(
        subparsers,
        "compact",
        _compact,
        summary="Merge the small files of a recording",
        more="A recorder does so by itself, so this is for recordings that were left early.",
    )
    command.add_argument(
        "--grace",
        type=amount,
        metavar="SECONDS",
        help="keep the merged files this long for whoever reads them; run it again after that (default: not at all)",
    )


def _repair(options: Namespace, out: Output, stop: Stop) -> int:
    with stop.held():
        report = repair(options.folder, rebuild=rebuild)
    head = f"{counted(report.checked, 'file')} checked, {len(report.repaired):,} repaired"
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
    with stop.held():
        done = compact(options.folder, grace=options.grace or 0.0)
    out.result(done, "\n".join(_compact_lines(done)))
    return 1 if done.refused else 0


def _compact_lines(done: Compaction) -> list[str]:
    waiting = f", {done.waiting:,} of which wait for their turn" if done.waiting else ""
    return [f"{counted(done.inputs, 'file')} became {done.outputs:,}{waiting}", *done.refused]
