"""The parser of commands: it knows what a mistyped word was meant to be, and shows examples under the help."""

import argparse
import sys
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from typing import Any, NoReturn, TypeVar, cast, overload

from pmlive.cli.terminal import Output

__all__ = ["Parser", "with_examples"]

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


def with_examples(parser: Parser, examples: Sequence[str]) -> None:
    """Show examples, which are whole command lines, under the help of a command."""
    parser.formatter_class = _Formatter
    parser.epilog = "".join(["examples:\n", *(f"  {example}\n" for example in examples)])
