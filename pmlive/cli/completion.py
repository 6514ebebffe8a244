"""``pmlive completion``: scripts with which shells complete commands, options and paths."""

from argparse import Namespace
from importlib import import_module
from pathlib import Path
from types import ModuleType

from pmlive.cli.commands import Parser, Subparsers, add_command, parser
from pmlive.cli.terminal import Output, Stop
from pmlive.errors import PmliveError

__all__ = ["add"]

_SHELLS = ("bash", "zsh", "tcsh", "fish")
# What makes a shell complete from its next start on.
_LINES = (
    "pmlive completion bash > ~/.local/share/bash-completion/completions/pmlive",
    "pmlive completion zsh > ~/.zfunc/_pmlive  # with: fpath+=~/.zfunc; autoload -Uz compinit; compinit",
    "pmlive completion tcsh > ~/.pmlive.tcsh  # with: source ~/.pmlive.tcsh",
    "pmlive completion fish > ~/.config/fish/completions/pmlive.fish",
    'eval "$(pmlive completion bash)"  # in this shell only',
)


def add(subparsers: Subparsers) -> None:
    """Add the command."""
    command = add_command(
        subparsers,
        "completion",
        _completion,
        summary="Print the script with which a shell completes commands, options and paths",
        more="The lines below make a shell use it from its next start on; make the folder first if there is none.",
        examples=_LINES,
    )
    command.add_argument("shell", choices=_SHELLS, help="the shell that the script is for")


def _completion(options: Namespace, out: Output, _: Stop) -> int:
    shtab = _shtab()
    commands = parser()
    _complete_paths(commands, shtab)
    script: str = shtab.complete(commands, shell=options.shell)
    out.result({"shell": options.shell, "script": script}, script)
    return 0


def _shtab() -> ModuleType:
    try:
        return import_module("shtab")
    except ModuleNotFoundError as error:
        raise PmliveError("the scripts are written by shtab, which is not installed; run: pip install shtab") from error


def _complete_paths(commands: Parser, shtab: ModuleType) -> None:
    """Have folders completed wherever one is expected, and any path wherever a file may be."""
    for action in commands.actions:
        if action.type is Path:
            setattr(action, "complete", shtab.DIRECTORY if action.metavar == "DIR" else shtab.FILE)  # noqa: B010
    for command in commands.commands.values():
        _complete_paths(command, shtab)
