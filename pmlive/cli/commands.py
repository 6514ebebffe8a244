"""All commands of the program, and what becomes of their errors."""

import sys
import traceback
from argparse import Namespace
from collections.abc import Sequence

from pmlive.cli import browse, demo, doctor, examine, export, logs, mend, play, record, simulate
from pmlive.cli.options import Parser, parser
from pmlive.cli.output import Output, quiet_broken_pipe
from pmlive.cli.signals import Stop
from pmlive.errors import PmliveError

__all__ = ["run"]

_GROUPS = (demo, record, browse, examine, play, export, mend, simulate, doctor)


def run(arguments: Sequence[str] | None, stop: Stop) -> int:
    """Run the command that the arguments name, and give its exit code."""
    commands = _parser()
    try:
        options = commands.parse_args(arguments)
    except SystemExit as end:  # --help, --version and bad usage were answered already
        return end.code if isinstance(end.code, int) else 2
    if not hasattr(options, "run"):
        commands.print_help(sys.stderr)
        return 2
    return _run(options, stop)


def _parser() -> Parser:
    commands = parser()
    places = commands.add_subparsers(title="commands", metavar="COMMAND")
    for group in _GROUPS:
        group.add(places)
    return commands


def _run(options: Namespace, stop: Stop) -> int:
    out = Output(options.output)
    try:
        with logs.shown(out, verbose=options.verbose):
            return options.run(options, out, stop)
    except BrokenPipeError:
        quiet_broken_pipe()
        return 0
    except (PmliveError, ValueError, OSError) as error:
        out.problem(str(error))
    except Exception as error:  # noqa: BLE001  # a user is told in a sentence, and where with -v
        out.problem(f"failed by a fault of its own: {type(error).__name__}: {error}; -v shows where")
        if options.verbose:
            out.note(traceback.format_exc())
    finally:
        out.end_progress()
    return 2
