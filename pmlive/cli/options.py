"""The parser of the command line, and the options that its commands share."""

import argparse
import math
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn, TypeAlias

from pmlive import __version__
from pmlive.cli.output import Output
from pmlive.cli.signals import Stop

__all__ = [
    "Command",
    "Parser",
    "Subparsers",
    "add_command",
    "add_recording_command",
    "amount",
    "number",
    "parser",
]

# Where commands are added; argparse has no public name for it.
Subparsers: TypeAlias = "argparse._SubParsersAction[Parser]"  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
# Runs with the options that were given, and returns the exit code.
Command: TypeAlias = Callable[[argparse.Namespace, Output, Stop], int]


class Parser(argparse.ArgumentParser):
    """A parser that answers bad usage with one sentence."""

    def error(self, message: str) -> NoReturn:
        """Print what is wrong and end with exit code 2."""
        Output("text").problem(f"{message}; see: {self.prog} --help")
        raise SystemExit(2)


def parser() -> Parser:
    """Return the parser that commands are added to."""
    root = Parser(
        prog="pmlive",
        description="Record Polymarket's live order books, with every gap marked.",
        epilog="Exit codes: 0 success, 1 a finding such as a gap, 2 bad usage or a recording that cannot be used.",
        allow_abbrev=False,
    )
    root.add_argument("--version", action="version", version=f"pmlive {__version__}")
    return root


def add_command(subparsers: Subparsers, name: str, run: Command, *, summary: str, more: str = "") -> Parser:
    """Add a command, with the options that every command has."""
    command = subparsers.add_parser(
        name,
        help=summary[0].lower() + summary[1:],
        description=f"{summary}. {more}".strip(),
        allow_abbrev=False,
    )
    command.add_argument(
        "-o",
        "--output",
        choices=("text", "json"),
        default="text",
        help="what to print; json is one object for programs",
    )
    command.add_argument(
        "-v", "--verbose", action="store_true", help="show more of what happens, on the standard error"
    )
    command.set_defaults(run=run, tracebacks="asked")
    return command


def add_recording_command(subparsers: Subparsers, name: str, run: Command, *, summary: str, more: str) -> Parser:
    """Add a command whose first argument is the folder of a recording."""
    command = add_command(subparsers, name, run, summary=summary, more=more)
    command.add_argument("folder", type=Path, metavar="DIR", help="the recording")
    return command


def amount(text: str) -> float:
    """Read a number above zero.

    Raises:
        argparse.ArgumentTypeError: it is not a number above zero.
    """
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or value <= 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return value


def number(least: int, most: int) -> Callable[[str], int]:
    """Return a reader of whole numbers from ``least`` to ``most``."""

    def read(text: str) -> int:
        if not (text.isascii() and text.isdigit() and least <= int(text[:20]) <= most):
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from {least} to {most}")
        return int(text)

    return read
