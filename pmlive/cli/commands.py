"""The commands: their parser and options, the run of one, the library's log meanwhile, and the exit codes of errors."""

import argparse
import logging
import math
import sys
import threading
import traceback
import warnings
from argparse import Namespace
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn, TypeAlias, TypeVar, cast, overload

from pmlive import __version__, logs
from pmlive.cli.terminal import Output, Stop, discard_output
from pmlive.errors import PmliveError
from pmlive.settings import SECRET_NAMES, Variables
from pmlive.times import interval

__all__ = [
    "Parser",
    "Subparsers",
    "add_command",
    "add_recording_command",
    "duration",
    "parser",
    "positive_number",
    "run",
    "run_one_of",
    "seconds_above_0",
    "whole_number",
]


# --- parser ---
# The parser of commands: it knows what a mistyped word was meant to be, and shows examples under the help.

N = TypeVar("N")


class Parser(argparse.ArgumentParser):
    """A parser that reports bad usage in one sentence, with the nearest of the words that it knows."""

    @property
    def actions(self) -> list[argparse.Action]:
        """The arguments and options, in the order of the help."""
        return self._actions

    @property
    def commands(self) -> "dict[str, Parser]":
        """The parsers of commands by name, if there are any."""
        for action in self._actions:
            choices = cast("dict[str, Parser] | tuple[object, ...] | None", action.choices)
            if isinstance(choices, dict):
                return choices
        return {}

    def error(self, message: str) -> NoReturn:
        """Print the message and exit with code 2."""
        Output("text").problem(f"{message}; see: {self.prog} --help")
        raise SystemExit(2)

    @overload
    def parse_known_args(
        self, args: Iterable[str] | None = None, namespace: None = None
    ) -> tuple[argparse.Namespace, list[str]]: ...

    @overload
    def parse_known_args(self, args: Iterable[str] | None, namespace: N) -> tuple[N, list[str]]: ...

    @overload
    def parse_known_args(self, *, namespace: N) -> tuple[N, list[str]]: ...

    def parse_known_args(self, args: Iterable[str] | None = None, namespace: object = None) -> tuple[Any, list[str]]:
        """Parse arguments, after a look whether all options are known: one that is not hides what else is wrong."""
        given = sys.argv[1:] if args is None else list(args)
        for option in self._unknown_options(given):
            near = get_close_matches(option, self._option_string_actions, n=1)
            self.error(f"no option {option!r}" + (f"; did you mean {near[0]}?" if near else ""))
        return super().parse_known_args(given, namespace)

    def _unknown_options(self, args: Sequence[str]) -> Iterable[str]:
        for arg in args:
            # After a first word that is no option, options are those of the command that it names.
            if arg == "--" or (self._subparsers is not None and not arg.startswith("-")):
                return
            option = arg.partition("=")[0]
            if arg.startswith("--") and " " not in option and option not in self._option_string_actions:
                yield option

    def _check_value(self, action: argparse.Action, value: object) -> None:
        choices = [str(each) for each in action.choices or ()]
        if not choices or str(value) in choices:
            return
        names_command = bool(self.commands) and list(self.commands) == choices
        problem = f"no command {value!r}" if names_command else f"invalid choice {value!r}"
        near = get_close_matches(str(value), choices, n=1)
        told = f"did you mean {near[0]}?" if near else f"there are {', '.join(choices)}"
        raise argparse.ArgumentError(None if names_command else action, f"{problem}; {told}")


class _Formatter(argparse.HelpFormatter):
    """Fills paragraphs, and leaves lines as they are that were set by hand, such as examples."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        if "\n" in text:
            return "".join(f"{indent}{line}\n" for line in text.splitlines())
        return super()._fill_text(text, width, indent)


def _with_examples(parser: Parser, examples: Sequence[str]) -> None:
    """Show examples, which are whole command lines, under the help of a command."""
    parser.formatter_class = _Formatter
    parser.epilog = "".join(["examples:\n", *(f"  {example}\n" for example in examples)])


# --- commands ---

# What commands are added to; argparse has no public name for it.
Subparsers: TypeAlias = "argparse._SubParsersAction[Parser]"  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
# Runs with the parsed options, and returns the exit code.
Command: TypeAlias = Callable[[argparse.Namespace, Output, Stop], int]

# Adds one or several commands.
AddCommands: TypeAlias = Callable[[Subparsers], None]

# The modules of the commands with the function that adds them, in the order of the help.
_MODULES: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("record", "add", ("demo", "record")),
    ("venue", "add_search", ("search",)),
    ("history", "add", ("history",)),
    ("recordings", "add", ("ls", "info", "verify", "quality", "book")),
    ("replay", "add", ("replay",)),
    ("export", "add", ("export", "import")),
    ("recordings", "add_repair", ("repair", "compact")),
    ("mcp", "add", ("mcp",)),
    ("venue", "add", ("sim",)),
    ("doctor", "add", ("doctor",)),
    ("completion", "add", ("completion",)),
)

# A simulated venue in this process logs each connection's beginning and end, which is noise in a demo. A client of the
# MCP server may ask for its updates in the log.
_LEVELS = {
    "pmlive": logging.WARNING,
    "pmlive.mcp.updates": logging.INFO,
    "mcp": logging.WARNING,
    "websockets.server": logging.WARNING,
    "asyncio": logging.ERROR,
}
# Shorter values may occur in a message as ordinary words.
_SHORTEST_SECRET = 6


def run(arguments: Sequence[str] | None, stop: Stop) -> int:
    """Run the command that the arguments name, and return its exit code."""
    return run_one_of(_adders(sys.argv[1:] if arguments is None else arguments), arguments, stop)


def run_one_of(adders: Iterable[AddCommands], arguments: Sequence[str] | None, stop: Stop) -> int:
    """Run the command that the arguments name, one of those that ``adders`` add, and return its exit code."""
    commands = _parser(adders)
    try:
        options = commands.parse_args(arguments)
    except SystemExit as end:  # --help, --version and bad usage have printed their answer
        return end.code if isinstance(end.code, int) else 2
    if not hasattr(options, "run"):
        commands.print_help(sys.stderr)
        return 2
    return _run(options, stop)


def add_command(
    subparsers: Subparsers, name: str, run: Command, *, summary: str, examples: Sequence[str], more: str = ""
) -> Parser:
    """Add a command with the options that all commands have; examples are whole command lines."""
    command = subparsers.add_parser(
        name,
        help=summary[0].lower() + summary[1:],
        description=f"{summary}. {more}".strip(),
        allow_abbrev=False,
    )
    _with_examples(command, examples)
    # What is not given here may stand before the name of the command.
    _add_common(command, default=argparse.SUPPRESS)
    command.set_defaults(run=run, tracebacks="asked")
    return command


def _add_common(parser: Parser, *, default: str | None) -> None:
    parser.add_argument(
        "-o",
        "--output",
        choices=("text", "json"),
        default=default or "text",
        help="what to print; json is one object for programs",
    )
    parser.add_argument(
        "-v",
        "--verbose",
        action="store_true",
        default=default or False,
        help="show more of what happens, on the standard error",
    )


def add_recording_command(
    subparsers: Subparsers, name: str, run: Command, *, summary: str, examples: Sequence[str], more: str
) -> Parser:
    """Add a command whose first argument is the folder of a recording."""
    command = add_command(subparsers, name, run, summary=summary, examples=examples, more=more)
    command.add_argument("folder", type=Path, metavar="DIR", help="the recording")
    return command


def positive_number(text: str) -> float:
    """Parse a number above 0.

    Raises:
        argparse.ArgumentTypeError: it is not a number above 0.
    """
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or value <= 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return value


def seconds_above_0(text: str) -> float:
    """Parse a number of seconds above 0.

    Raises:
        argparse.ArgumentTypeError: it is none; one that is a length of time belongs to ``--for``.
    """
    try:
        return positive_number(text)
    except argparse.ArgumentTypeError as error:
        try:
            duration(text)
        except argparse.ArgumentTypeError:
            raise error from None
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0; expected --for {text}") from error


def duration(text: str) -> float:
    """Parse a length of time, such as ``8h`` or ``1h30m``, into seconds.

    Raises:
        argparse.ArgumentTypeError: it is not one.
    """
    try:
        return interval(text) / 1e9
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def whole_number(least: int, most: int) -> Callable[[str], int]:
    """Return a parser of whole numbers from ``least`` to ``most``."""

    def read(text: str) -> int:
        if not (text.isascii() and text.isdigit() and least <= int(text[:20]) <= most):
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from {least} to {most}")
        return int(text)

    return read


def _adders(arguments: Sequence[str]) -> list[AddCommands]:
    """Load the command that the first argument names; all, where that is none of them.

    Loading all takes longer than most commands do, and the client of an MCP server waits for its first answer.
    """
    first = next(iter(arguments), "")
    if first == "--version":
        return []
    named = [entry for entry in _MODULES if first in entry[2]]
    return [getattr(import_module(f"pmlive.cli.{module}"), function) for module, function, _ in named or _MODULES]


def parser() -> Parser:
    """Return the parser of all commands."""
    return _parser(_adders(()))


def _parser(adders: Iterable[AddCommands]) -> Parser:
    commands = Parser(
        prog="pmlive",
        description="Record Polymarket's live order books, with every gap marked.",
        epilog="Exit codes: 0 success, 1 a finding such as a gap, 2 bad usage or a recording that cannot be used.",
        allow_abbrev=False,
    )
    commands.add_argument("--version", action="version", version=f"pmlive {__version__}")
    _add_common(commands, default=None)
    subparsers = commands.add_subparsers(title="commands", metavar="COMMAND")
    for add in adders:
        add(subparsers)
    return commands


def _run(options: Namespace, stop: Stop) -> int:
    out = Output(options.output)
    tracebacks = options.verbose or options.tracebacks == "always"
    try:
        with _log_shown(out, verbose=options.verbose, tracebacks=tracebacks):
            return options.run(options, out, stop)
    except BrokenPipeError:
        discard_output()
        return 0
    except (PmliveError, ValueError, OSError) as error:
        out.problem(str(error))
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # noqa: BLE001  # also a panic of polars; one sentence, and the traceback with -v
        out.problem(f"internal error: {type(error).__name__}: {error}; -v shows where")
        if tracebacks:
            out.note(traceback.format_exc())
    finally:
        out.end_progress()
    return 2


@contextmanager
def _log_shown(out: Output, *, verbose: bool, tracebacks: bool) -> Generator[None]:
    """Print the library's log and Python's warnings in this block, one plain line each; ``verbose`` adds info."""
    handler = _LogHandler(out, tracebacks=tracebacks)
    levels = _LEVELS | ({"pmlive": logging.INFO} if verbose else {})
    before = {name: (logging.getLogger(name).level, logging.getLogger(name).propagate) for name in levels}
    for name, level in levels.items():
        _direct(logging.getLogger(name), handler, level)
    hooks = sys.unraisablehook, threading.excepthook
    sys.unraisablehook, threading.excepthook = handler.show_unraisable, handler.show_ended_thread
    try:
        with warnings.catch_warnings():
            warnings.showwarning = handler.show_warning
            handler.secrets = _secrets()
            yield
    finally:
        logs.flush()
        sys.unraisablehook, threading.excepthook = hooks
        for name, (level, propagate) in before.items():
            logging.getLogger(name).removeHandler(handler)
            logging.getLogger(name).setLevel(level)
            logging.getLogger(name).propagate = propagate


def _direct(logger: logging.Logger, handler: logging.Handler, level: int) -> None:
    logger.addHandler(handler)
    logger.setLevel(level)
    logger.propagate = False


class _LogHandler(logging.Handler):
    def __init__(self, out: Output, *, tracebacks: bool) -> None:
        super().__init__()
        self.secrets: list[str] = []
        self._out = out
        self._tracebacks = tracebacks

    def handle(self, record: logging.LogRecord) -> bool:
        """Print a record without the handler's lock, which the log's thread would hold while it writes."""
        self.emit(record)
        return True

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if record.exc_info is not None and record.exc_info[1] is not None:
            text += f": {record.exc_info[1]!r}"
            if self._tracebacks:
                text += f"\n{logging.Formatter().formatException(record.exc_info)}"
        self._show(record.levelname.lower(), text)

    def show_warning(self, message: Warning | str, *_: object) -> None:
        """Print one of Python's warnings."""
        self._show("warning", str(message))

    def show_unraisable(self, failed: "sys.UnraisableHookArgs") -> None:
        """Print an error that no caller can receive, such as one in a finalizer."""
        self._show("warning", f"{failed.err_msg or 'ignored'}: {failed.exc_value!r}")

    def show_ended_thread(self, failed: threading.ExceptHookArgs) -> None:
        """Print the error that ended a thread of another library."""
        name = "?" if failed.thread is None else failed.thread.name
        self._show("error", f"the thread {name!r} ended: {failed.exc_value!r}")

    def _show(self, level: str, text: str) -> None:
        for secret in self.secrets:
            text = text.replace(secret, "***")
        self._out.note(f"pmlive: {level}: {text}")


def _secrets() -> list[str]:
    """List the secrets, which the library keeps out of its log; this keeps them out of the terminal, too."""
    variables = Variables.read()
    return [variables[name] for name in SECRET_NAMES if name in variables and len(variables[name]) >= _SHORTEST_SECRET]
