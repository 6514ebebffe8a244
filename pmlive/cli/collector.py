"""Python's garbage collector in a process that keeps many books.

A full collection visits every object, so with fifty thousand books it stops the feed for more than half a second, again
and again. Books stay and are no garbage, so once they have come the collector is told to leave them alone.
"""

import gc
from collections.abc import Generator
from contextlib import contextmanager

__all__ = ["BooksLeftAlone", "books_left_alone"]

# Fewer books take no time worth saving. After so many times as many as before, the new ones are left alone, too.
_FEW, _MORE = 1_000, 1.1


class BooksLeftAlone:
    """Has the collector leave alone what is there, whenever there are many more books than before."""

    def __init__(self) -> None:
        self._books = 0

    def note(self, books: int) -> None:
        """Note how many books there are."""
        if books >= max(_FEW, self._books * _MORE):
            gc.freeze()
            self._books = books


@contextmanager
def books_left_alone() -> Generator[BooksLeftAlone]:
    """Have the collector leave books alone, until the end of the block."""
    try:
        yield BooksLeftAlone()
    finally:
        gc.unfreeze()
