"""The magic ``%pmlive`` of a notebook: ``%load_ext pmlive``, then ``%pmlive nest``."""

from collections.abc import Callable
from typing import Protocol, cast

from pmlive.widgets.nesting import nest

__all__ = ["Said", "Shell", "load", "pmlive"]

_WORDS = {"nest": nest}


class Shell(Protocol):
    """What loads extensions."""

    def register_magic_function(self, func: Callable[[str], object], magic_kind: str, magic_name: str) -> None:
        """Add a magic."""
        ...


class Said(str):
    """Words that a cell shows as they are."""

    __slots__ = ()

    def __repr__(self) -> str:
        """Show the words without quotes."""
        return str(self)


def load(shell: object) -> None:
    """Add the magic to a shell."""
    cast("Shell", shell).register_magic_function(pmlive, "line", "pmlive")


def pmlive(line: str) -> Said:
    """``%pmlive nest`` lets ``asyncio.run`` work in cells, which pmlive itself does not need.

    Raises:
        UsageError: the word is none of these, or it cannot be done.
    """
    from IPython.core.error import UsageError

    word = line.strip()
    if word not in _WORDS:
        raise UsageError(f"%pmlive {word[:40]!r} is not known; there is: %pmlive {', '.join(_WORDS)}")
    try:
        return Said(_WORDS[word]())
    except RuntimeError as error:
        raise UsageError(str(error)) from None
