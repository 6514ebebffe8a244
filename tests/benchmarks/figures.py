"""Tables of figures, printed or written into README.md."""

import os
import platform
from argparse import ArgumentParser, Namespace
from collections.abc import Iterable, Sequence
from importlib.metadata import version
from pathlib import Path

__all__ = ["add_options", "setting", "show", "table"]

_README = Path(__file__).with_name("README.md")


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Lay out rows as a Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


def setting(*packages: str) -> str:
    """Name the versions that figures were made with, and the machine's size."""
    python = f"Python {platform.python_version()}, {os.cpu_count()} cores, {platform.system()} {platform.machine()}"
    return ", ".join([python, *(f"{name} {version(name)}" for name in packages)])


def add_options(parser: ArgumentParser) -> None:
    """Let the user say where figures go."""
    parser.add_argument("--write", action="store_true", help="put the figures into README.md, too")


def show(section: str, text: str, options: Namespace) -> None:
    """Print figures, and put them into a section of README.md if that was asked for."""
    print(text, end="\n\n", flush=True)  # noqa: T201 - this is a program's output
    if options.write:
        _keep(section, text)


def _keep(section: str, text: str) -> None:
    """Fill a section of README.md, which two comments delimit."""
    begin, end = f"<!-- {section} -->\n", f"<!-- end of {section} -->"
    before, _, rest = _README.read_text().partition(begin)
    _, found, after = rest.partition(end)
    if not found:
        raise ValueError(f"README.md has no section {section!r}; put {begin!r} and {end!r} where it belongs")
    _README.write_text(f"{before}{begin}{text}\n{end}{after}")
