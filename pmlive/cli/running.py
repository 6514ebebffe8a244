"""Running one command of several: its options, its log, and what becomes of its errors."""

import sys
import traceback
from argparse import Namespace
from collections.abc import Callable, Iterable, Sequence

from pmlive.cli import logs
from pmlive.cli.options import Parser, Places, parser
from pmlive.cli.output import Output, quiet_broken_pipe
from pmlive.cli.signals import Stop
from pmlive.errors import PmliveError

__all__ = ["run"]


def run(adding: Iterable[Callable[[Places], None]], arguments: Sequence[str] | None, stop: Stop) -> int:
    """Run the command that the arguments name, one of those that are added, and give its exit code."""
    commands = _parser(adding)
    try:
        options = commands.parse_args(arguments)
    except SystemExit as end:  # --help, --version and bad usage were answered already
        return end.code if isinstance(end.code, int) else 2
    if not hasattr(options, "run"):
        commands.print_help(sys.stderr)
        return 2
    return _run(options, stop)


def _parser(adding: Iterable[Callable[[Places], None]]) -> Parser:
    commands = parser()
    places = commands.add_subparsers(title="commands", metavar="COMMAND")
    for add in adding:
        add(places)
    return commands


def _run(options: Namespace, stop: Stop) -> int:
    out = Output(options.output)
    try:
        with logs.shown(out, verbose=options.verbose, tracebacks=options.tracebacks):
            return options.run(options, out, stop)
    except BrokenPipeError:
        quiet_broken_pipe()
        return 0
    except (PmliveError, ValueError, OSError) as error:
        out.problem(str(error))
    except Exception as error:  # noqa: BLE001  # a user is told in a sentence, and where with -v
        out.problem(f"internal error: {type(error).__name__}: {error}; -v shows where")
        if options.verbose or options.tracebacks == "always":
            out.note(traceback.format_exc())
    finally:
        out.end_progress()
    return 2
