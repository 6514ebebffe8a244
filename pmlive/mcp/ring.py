"""The last events, numbered, so that a reader who comes back gets what came since, and is told what it missed."""

import threading
from collections import deque
from collections.abc import Callable

from msgspec import Struct

from pmlive.mcp.texts import Row

__all__ = ["Past", "Ring"]


class Past(Struct, frozen=True):
    """Events after a cursor, the next cursor, whether some were lost before them, and whether more are there."""

    events: list[tuple[int, Row]]
    cursor: int
    gap: bool
    more: bool


class Ring:
    """The newest events; any thread may add and read.

    Args:
        size: how many are kept.
    """

    def __init__(self, size: int = 1000) -> None:
        if size < 1:
            raise ValueError(f"a ring keeps 1 event or more; got {size}")
        self._events: deque[tuple[int, Row]] = deque(maxlen=size)
        self._lock = threading.Lock()
        self._newest = 0

    @property
    def newest(self) -> int:
        """The number of the newest event, 0 before the first."""
        return self._newest

    def add(self, event: Row) -> int:
        """Keep an event, and give its number."""
        with self._lock:
            self._newest += 1
            self._events.append((self._newest, event))
            return self._newest

    def since(self, cursor: int, limit: int, wanted: Callable[[Row], bool]) -> Past:
        """Give the first events after a cursor that are wanted.

        A cursor that is newer than the newest event is of another run: what it stands for is lost.
        """
        with self._lock:
            kept, newest = list(self._events), self._newest
        oldest = newest - len(kept) + 1
        if cursor > newest:
            cursor, gap = oldest - 1, True
        else:
            gap = cursor < oldest - 1
        after = [(number, event) for number, event in kept if number > cursor and wanted(event)]
        given = after[:limit]
        more = len(after) > limit
        return Past(given, given[-1][0] if more else newest, gap, more)
