"""``pmlive repair`` and ``compact``: what may be done to a recording that nobody records into."""

from argparse import Namespace
from pathlib import Path

import msgspec

from pmlive.cli.options import Places, add_command, amount
from pmlive.cli.output import Output
from pmlive.cli.signals import Stop
from pmlive.cli.text import counted
from pmlive.markets import clean
from pmlive.pipeline.journal import rebuild
from pmlive.store import Compaction, Repaired, compact, repair

__all__ = ["add"]


def add(places: Places) -> None:
    """Add the commands."""
    command = add_command(
        places,
        "repair",
        _repair,
        summary="Make damaged or missing tables anew from the raw frames",
        more="Damaged files are kept beside. The exit code is 1 if something is lost for good; that is a gap then.",
    )
    command.add_argument("folder", type=Path, metavar="DIR", help="the recording")
    command = add_command(
        places,
        "compact",
        _compact,
        summary="Merge the small files of a recording",
        more="A recorder does so by itself, so this is for recordings that were left early.",
    )
    command.add_argument("folder", type=Path, metavar="DIR", help="the recording")
    command.add_argument(
        "--grace",
        type=amount,
        metavar="SECONDS",
        help="leave the merged files to those who read them for so long; run it again after that (default: not at all)",
    )


def _repair(options: Namespace, out: Output, stop: Stop) -> int:
    with stop.held():
        report = repair(options.folder, rebuild=rebuild)
    head = f"{counted(report.checked, 'file')} checked, {len(report.repaired):,} repaired"
    lines = [head, *map(_line, report.repaired)]
    lines += [f"{clean(name, 120)} is removed: an import or export that was killed left it" for name in report.removed]
    told = msgspec.to_builtins(report) | {"lost": report.lost, "damaged": report.damaged}
    out.result(told, "\n".join(lines))
    return 1 if report.lost else 0


def _line(repaired: Repaired) -> str:
    rest = f"; {repaired.lost:,} are lost, which is a gap" if repaired.lost else ""
    kept = f"; what it was is kept as {repaired.kept}" if repaired.kept else ""
    return f"{repaired.was}: {repaired.problem}; it has {repaired.rows:,} rows again{rest}{kept}"


def _compact(options: Namespace, out: Output, stop: Stop) -> int:
    with stop.held():
        done = compact(options.folder, grace=options.grace or 0.0)
    out.result(done, "\n".join(_lines(done)))
    return 1 if done.refused else 0


def _lines(done: Compaction) -> list[str]:
    waiting = f", {done.waiting:,} of which wait for their turn" if done.waiting else ""
    return [f"{counted(done.inputs, 'file')} became {done.outputs:,}{waiting}", *done.refused]
