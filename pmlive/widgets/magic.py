"""The magic ``%pmlive`` of a notebook: ``%load_ext pmlive``, then ``%pmlive nest``.

``%pmlive nest`` allows event loops within event loops, for users whose own cells call ``asyncio.run``; pmlive itself
needs none. ``nest-asyncio`` 1.6.0 loses the cells that are queued behind such a call under ipykernel 7.3 and later:
they stay ``[*]`` while the kernel idles. Its maintained continuation, ``nest-asyncio2``, does not from 1.7.4 on.
"""

import asyncio
import re
from collections.abc import Callable
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import Protocol

__all__ = [
    "FIRST_KERNEL_LOSING_CELLS",
    "FIRST_NEST_WITHOUT_LOSS",
    "PlainText",
    "installed",
    "load",
    "pmlive",
    "refusal",
    "version_numbers",
]

# From this nest-asyncio2 on no queued cells are lost; from this ipykernel on they are with every other.
FIRST_NEST_WITHOUT_LOSS = (1, 7, 4)
FIRST_KERNEL_LOSING_CELLS = (7, 3)


def load(shell: "Shell") -> None:
    """Add the magic to a shell."""
    shell.register_magic_function(pmlive, "line", "pmlive")


def pmlive(line: str) -> "PlainText":
    """Run ``%pmlive nest``, which makes ``asyncio.run`` work in cells.

    Raises:
        UsageError: the word is not known, or it cannot be done.
    """
    from IPython.core.error import UsageError

    word = line.strip()
    if word not in _WORDS:
        raise UsageError(f"%pmlive {word[:40]!r} is not known; there is: %pmlive {', '.join(_WORDS)}")
    try:
        return PlainText(_WORDS[word]())
    except RuntimeError as error:
        raise UsageError(str(error)) from None


def nest() -> str:
    """Make ``asyncio.run`` work in cells, and return a sentence that says so.

    Raises:
        RuntimeError: that cannot be done safely; the message says why, and what to do.
    """
    found = {name: installed(name) for name in ("nest-asyncio2", "nest-asyncio", "ipykernel")}
    reason = refusal(found, patched=hasattr(asyncio, "_nest_patched") and not hasattr(asyncio, "_nest_asyncio2"))
    if reason:
        raise RuntimeError(reason)
    import_module("nest_asyncio2").apply()
    return f"nest-asyncio2 {found['nest-asyncio2']} is applied: asyncio.run works in cells of this kernel"


def refusal(found: dict[str, str | None], *, patched: bool) -> str:
    """Return why loops must not be nested, "" if they may be.

    Args:
        found: the versions that are installed of ``nest-asyncio2``, ``nest-asyncio`` and ``ipykernel``.
        patched: whether the original ``nest-asyncio`` was applied already.
    """
    new, old, kernel = (found[name] for name in ("nest-asyncio2", "nest-asyncio", "ipykernel"))
    loses = kernel is not None and version_numbers(kernel) >= FIRST_KERNEL_LOSING_CELLS
    why = f"nest-asyncio {old or ''} loses queued cells under ipykernel {kernel}: they stay [*] while the kernel idles"
    install = "run: pip install 'nest-asyncio2>=1.7.4', restart the kernel, and run %pmlive nest again"
    if patched and loses:
        return f"{why}; it was applied in this kernel: restart the kernel, and run %pmlive nest in its place"
    if new is None:
        return f"{why}; {install}" if old and loses else f"nest-asyncio2 is not installed; {install}"
    if version_numbers(new) < FIRST_NEST_WITHOUT_LOSS:
        return f"nest-asyncio2 {new} loses queued cells, as 1.7.4 does not any more; {install}"
    return ""


class Shell(Protocol):
    """What loads extensions: the shell of IPython."""

    def register_magic_function(self, func: Callable[[str], object], magic_kind: str, magic_name: str) -> None:
        """Add a magic."""
        ...


class PlainText(str):
    """Text that a cell shows without quotes."""

    __slots__ = ()

    def __repr__(self) -> str:
        """Return the text itself."""
        return str(self)


_WORDS = {"nest": nest}


def installed(name: str) -> str | None:
    """Return the version of a distribution that is installed, None where it is not."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def version_numbers(text: str) -> tuple[int, ...]:
    """Return the first three numbers of a version, to compare it with another."""
    return tuple(int(number) for number in re.findall(r"\d+", text)[:3])
