"""Messages of unknown kinds: counted by kind, and told once a connection of each kind that names no book.

Whoever sends them chooses the names of their kinds, so both are bounded: what is beyond is counted together, and one
row of ``gaps`` tells that there is more.
"""

from collections import defaultdict
from collections.abc import Iterable

__all__ = ["OTHER_KINDS", "UnknownKinds", "shortened"]

# What kinds are counted under that came when there were so many already.
OTHER_KINDS = "(other kinds)"
_MOST = 100
_LONGEST = 60


def shortened(kind: str) -> str:
    """Return a kind as it is counted and shown, whose name may be as long as a message."""
    return kind[:_LONGEST]


class UnknownKinds:
    """The unknown kinds of messages: how many came of each, and which were told of each connection."""

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}
        self._told: defaultdict[int, set[str]] = defaultdict(set)

    def count(self, kind: str) -> None:
        """Count a message."""
        if kind not in self.counts and len(self.counts) >= _MOST:
            kind = OTHER_KINDS
        self.counts[kind] = self.counts.get(kind, 0) + 1

    def to_tell(self, conn: int, kind: str, reason: str) -> str | None:
        """Return what is told of a kind the first time that a connection brings it; None where nothing is."""
        told = self._told[conn]
        if kind in told or len(told) > _MOST:
            return None
        told.add(kind)
        if len(told) <= _MOST:
            return reason
        return f"messages of more than {_MOST} unknown kinds came; from here on no row tells of a further kind"

    def save(self, conn: int) -> list[str]:
        """Return what was told of a connection, for a reader that begins here."""
        return sorted(self._told.get(conn, ()))

    def load(self, conn: int, kinds: Iterable[str]) -> None:
        """Go on from what was written down."""
        self._told[conn].update(kinds)

    def drop(self, conn: int) -> None:
        """Forget a connection."""
        self._told.pop(conn, None)

    def clear(self) -> None:
        """Forget every connection."""
        self._told.clear()
