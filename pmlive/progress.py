"""How far a long piece of work has come, for whoever shows it."""

from collections.abc import Callable, Iterable, Iterator
from typing import TypeAlias, TypeVar

__all__ = ["Parts", "Progress", "reported", "unwatched"]

T = TypeVar("T")

# Called now and then with how much is done, and how much there is.
Progress: TypeAlias = Callable[[int, int], object]


def unwatched(done: int, total: int) -> None:
    """Show nothing."""
    del done, total


def reported(items: Iterable[tuple[T, int]], progress: Progress) -> Iterator[T]:
    """Yield items that have a weight each, and tell before each and after the last how much of the weight is done.

    >>> seen = []
    >>> list(reported([("a", 30), ("b", 10)], lambda done, total: seen.append((done, total)))), seen
    (['a', 'b'], [(0, 40), (30, 40), (40, 40)])
    """
    weighed = list(items)
    done, total = 0, sum(weight for _, weight in weighed)
    for item, weight in weighed:
        progress(done, total)
        yield item
        done += weight
    progress(done, total)


class Parts:
    """Work that has a known number of parts."""

    def __init__(self, number: int, progress: Progress) -> None:
        self._done = 0
        self._number = number
        self._progress = progress
        progress(0, number)

    def done(self, value: T) -> T:
        """Note that a part is done, and return what came of it."""
        self._done += 1
        self._progress(self._done, self._number)
        return value
