"""The numbers that recorders give to the lines of captures, and the lines that are missing by them.

Numbers count all lines, those of one file, or those of a connection, in one file or continuing in the next. If most
steps are by one, they count lines, and a jump is a loss, unless the skipped lines come a little later: several threads
may write. Numbers begin again at 0 or 1; if they begin again at more, the lines before are missing.
"""

from collections import deque
from collections.abc import Iterable, Iterator

import msgspec

__all__ = ["CaptureNumbers", "LineNumbers", "MissingLines"]

# Numbers count lines if at least so many steps are by one, and so many times as many as are not: selected parts of a
# capture have other steps.
_ENOUGH, _MOSTLY = 3, 3
# Lines come late within so many jumps, and before the first line so many.
_MOST_OPEN, _LATE_AT_FIRST = 64, 8
# Where there are so many jumps, it is time to ask whether these are numbers of lines at all.
_MANY_JUMPS = 100_000
_BEFORE_THE_FIRST = -1
# So many known numbers in a row are a new beginning; fewer are lines that were written twice.
_BEGUN_ANEW = 3
_NO_STRAY = (-1, -1, 0)


class MissingLines(msgspec.Struct, frozen=True):
    """How many lines are missing before a line, and when the one before them was written (nanoseconds)."""

    count: int
    since: int


class _Jump(msgspec.Struct, frozen=True):
    """Numbers that were left out before the line ``index``."""

    first: int
    last: int
    index: int
    since: int


class LineNumbers:
    """The numbers of a series of lines."""

    def __init__(self) -> None:
        self._last: int | None = None
        self._time = 0
        self._ones = self._odd = 0
        # The latest jumps, whose lines may come late, and those before.
        self._open: deque[_Jump] = deque()
        self._jumps: list[_Jump] = []
        # Where numbers went back and go on from there: the first of them, its line, and how many there are.
        self._stray = _NO_STRAY

    def add(self, number: int, *, index: int, time: int) -> None:
        """Add the number of the line ``index``, which was written at a time (nanoseconds)."""
        last = self._last
        if last is None:
            self._jump(max(0, number - _LATE_AT_FIRST), number - 1, index=_BEFORE_THE_FIRST)
        elif number <= last:
            self._go_back(number, index)
            return
        elif number == last + 1:
            self._ones += 1
        else:
            self._jump(last + 1, number - 1, index=index)
        self._last, self._time, self._stray = number, time, _NO_STRAY

    @property
    def count_lines(self) -> bool:
        """Return whether these seem to count the lines, and not something else."""
        odd = self._odd + sum(1 for _ in self._confirmed())
        return self._ones > _ENOUGH and self._ones >= _MOSTLY * odd

    def missing(self) -> dict[int, MissingLines]:
        """Return what is missing, by the index of the line after it."""
        found: dict[int, MissingLines] = {}
        for jump in self._confirmed():
            before = found.get(jump.index, MissingLines(0, jump.since)).count
            found[jump.index] = MissingLines(before + jump.last - jump.first + 1, jump.since)
        return found

    def _confirmed(self) -> Iterator[_Jump]:
        return (jump for jumps in (self._jumps, self._open) for jump in jumps if jump.index != _BEFORE_THE_FIRST)

    def _go_back(self, number: int, index: int) -> None:
        """Take a number that is no larger: a line that comes late, one that came before, or a new beginning."""
        if self._is_late(number):
            self._odd += 1
            return
        first, began, count = self._stray
        self._stray = (first, began, count + 1) if number == first + count else (number, index, 1)
        first, began, count = self._stray
        if number > 1 and count < _BEGUN_ANEW:
            self._odd += 1
            return
        self._jumps.extend(self._open)
        self._open.clear()
        if first > 1:
            self._jump(1, first - 1, index=began)
            self._ones, self._odd = self._ones + count - 1, self._odd - count + 1
        self._last, self._stray = number, _NO_STRAY

    def _is_late(self, number: int) -> bool:
        """Take a number out of those that were left out, if it is one of them."""
        jump = next((each for each in self._open if each.first <= number <= each.last), None)
        if jump is None:
            return False
        self._open.remove(jump)
        rest = ((jump.first, number - 1), (number + 1, jump.last))
        self._open.extend(
            msgspec.structs.replace(jump, first=first, last=last) for first, last in rest if first <= last
        )
        return True

    def _jump(self, first: int, last: int, *, index: int) -> None:
        if first > last:
            return
        self._open.append(_Jump(first, last, index, self._time))
        if len(self._open) > _MOST_OPEN:
            self._jumps.append(self._open.popleft())
        if len(self._jumps) > _MANY_JUMPS and self._ones < _MOSTLY * len(self._jumps):
            # Numbers of something else; what was odd of them is remembered.
            self._odd += len(self._jumps)
            self._jumps.clear()


class CaptureNumbers:
    """The numbers of the lines of several files."""

    def __init__(self) -> None:
        self._all = LineNumbers()
        self._of_files: dict[int, LineNumbers] = {}
        self._of_connections: dict[str, LineNumbers] = {}
        self._of_both: dict[tuple[int, str], LineNumbers] = {}

    def add(self, number: int, series: tuple[int, str], *, index: int, time: int) -> None:
        """Add the number of a line that belongs to the series of a file and of a connection."""
        source, connection = series
        for numbers in (
            self._all,
            self._of_files.setdefault(source, LineNumbers()),
            self._of_connections.setdefault(connection, LineNumbers()),
            self._of_both.setdefault(series, LineNumbers()),
        ):
            numbers.add(number, index=index, time=time)

    def missing(self) -> dict[int, MissingLines]:
        """Return what is missing, by the index of the line after it."""
        found: dict[int, MissingLines] = {}
        for numbers in self._counting():
            found.update(numbers.missing())
        return found

    def _counting(self) -> Iterable[LineNumbers]:
        """Yield the numbers that count lines: of the longest series that have any, as those of files that go on."""
        if self._all.count_lines:
            yield self._all
            return
        for source, of_file in self._of_files.items():
            connections = [connection for its, connection in self._of_both if its == source]
            if of_file.count_lines and len(connections) > 1:
                yield of_file
                continue
            for connection in connections:
                series = (self._of_connections[connection], self._of_both[source, connection])
                yield from [numbers for numbers in series if numbers.count_lines][:1]
