"""Numbers, times and tables written for people."""

from collections.abc import Iterable, Sequence
from datetime import datetime

from pmlive.times import utc

__all__ = ["counted", "duration", "lines_of", "moment", "size", "table"]

_MINUTE, _HOUR = 60, 3600
_KILO = 1000


def counted(number: int, noun: str) -> str:
    """Write a number of things.

    >>> counted(1, "gap"), counted(12345, "row")
    ('1 gap', '12,345 rows')
    """
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def size(number: float) -> str:
    """Write a number of bytes.

    >>> size(999), size(1_250_000)
    ('999 B', '1.2 MB')
    """
    if number < _KILO:
        return f"{number:.0f} B"
    for unit in ("kB", "MB", "GB"):
        number /= _KILO
        if number < _KILO:
            return f"{number:.1f} {unit}"
    return f"{number / _KILO:.1f} TB"


def duration(seconds: float) -> str:
    """Write a length of time.

    >>> duration(1.234), duration(75), duration(7325)
    ('1.2 s', '1 min 15 s', '2 h 02 min')
    """
    if seconds < _MINUTE:
        return f"{seconds:.1f} s"
    if seconds < _HOUR:
        return f"{seconds // _MINUTE:.0f} min {seconds % _MINUTE:02.0f} s"
    return f"{seconds // _HOUR:.0f} h {seconds % _HOUR // _MINUTE:02.0f} min"


def moment(time: datetime | None) -> str:
    """Write a time in UTC to the millisecond.

    >>> moment(datetime(2026, 11, 23, 2, 14, 7))
    '2026-11-23 02:14:07.000'
    """
    return "-" if time is None else utc(time)


def table(head: Sequence[str], rows: Iterable[Sequence[str]], *, right: Iterable[int] = ()) -> list[str]:
    """Align columns, those numbered in ``right`` to the right.

    >>> table(["table", "rows"], [["trades", "7"]], right=[1])
    ['table   rows', 'trades     7']
    """
    cells = [list(head), *(list(row) for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(head))]
    numbers = set(right)
    return [
        "  ".join(
            cell.rjust(width) if column in numbers else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in cells
    ]


def lines_of(name: str, lines: Sequence[str], *, width: int = 11) -> list[str]:
    """Put a name before the first of some lines and indent the others.

    >>> lines_of("kept", ["12 rows", "3 files"], width=6)
    ['kept  12 rows', '      3 files']
    """
    return [f"{name if number == 0 else '':<{width}}{line}".rstrip() for number, line in enumerate(lines)]
