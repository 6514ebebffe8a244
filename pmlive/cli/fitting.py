"""Texts that fit the width of a terminal: tables with fewer columns, and lines that are broken between words.

Where the width is not known, as in a pipe, all of a text is there as it is.
"""

from collections.abc import Iterable, Sequence
from textwrap import TextWrapper

from pmlive.cli.terminal import format_table

__all__ = ["fitted_lines", "fitted_table"]

# What tells that a text was cut, and the least that is left of it.
_CUT, _LEAST = "...", 16


def fitted_table(
    head: Sequence[str],
    rows: Iterable[Sequence[str]],
    columns: int | None,
    *,
    right: Iterable[int] = (),
    spare: Sequence[str] = (),
) -> list[str]:
    """Return the lines of a table that is no wider than so many characters, if that is possible.

    Args:
        head: the names of the columns.
        rows: what is in them.
        columns: how many characters there are room for; None for any number.
        right: the numbers of the columns that are aligned to the right.
        spare: the names of columns that are left out where there is no room, the first of them first. Then the first
            column is cut, of which the end is kept.

    >>> fitted_table(["table", "rows"], [["market_events", "7"]], 9, spare=["rows"])
    ['table', 'market_events']
    """
    kept, cells, numbers = list(range(len(head))), [list(row) for row in rows], set(right)
    left_out = [head.index(name) for name in spare]

    def lines() -> list[str]:
        aligned = [at for at, column in enumerate(kept) if column in numbers]
        return format_table(
            [head[column] for column in kept], [[row[column] for column in kept] for row in cells], right=aligned
        )

    while columns is not None and _width(lines()) > columns and left_out:
        kept.remove(left_out.pop(0))
    if columns is not None and (beyond := _width(lines()) - columns) > 0 and cells:
        room = max(_LEAST, max(len(row[0]) for row in cells) - beyond)
        for row in cells:
            row[0] = _end_of(row[0], room)
    return lines()


def fitted_lines(lines: Iterable[str], columns: int | None) -> list[str]:
    """Break lines that are wider than so many characters between words; what goes on is indented.

    A word that is wider stays whole, so that it can be copied.

    >>> fitted_lines(["12 rows of trades", "3 files"], 12)
    ['12 rows of', '  trades', '3 files']
    """
    if columns is None:
        return list(lines)
    between_words = TextWrapper(columns, subsequent_indent="  ", break_on_hyphens=False, break_long_words=False)
    return [part for line in lines for part in between_words.wrap(line) or [""]]


def _width(lines: Sequence[str]) -> int:
    return max(map(len, lines), default=0)


def _end_of(text: str, room: int) -> str:
    return text if len(text) <= room else f"{_CUT}{text[len(_CUT) - room :]}"
