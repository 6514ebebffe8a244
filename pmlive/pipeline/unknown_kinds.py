"""Messages of unknown kinds: their number by kind, and the kinds of each connection that have a row of ``gaps``.

The sender chooses the names of kinds, so both are bounded: further kinds are counted together, and one row of ``gaps``
says that there are more.
"""

from collections import defaultdict
from collections.abc import Iterable

__all__ = ["OTHER_KINDS", "UnknownKinds", "shortened"]

# The name under which further kinds are counted.
OTHER_KINDS = "(other kinds)"
_MOST = 100
_LONGEST = 60


def shortened(kind: str) -> str:
    """Return a kind as it is counted and shown; its name may be as long as a message."""
    return kind[:_LONGEST]


class UnknownKinds:
    """The unknown kinds of messages: how many came of each, and which of a connection are in ``gaps``."""

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}
        self._reported: defaultdict[int, set[str]] = defaultdict(set)

    def count(self, kind: str) -> None:
        """Count a message."""
        if kind not in self.counts and len(self.counts) >= _MOST:
            kind = OTHER_KINDS
        self.counts[kind] = self.counts.get(kind, 0) + 1

    def new_detail(self, conn: int, kind: str, reason: str) -> str | None:
        """Return the detail of the row that a kind gets in ``gaps``: its ``reason``, or that more kinds follow.

        A kind that the connection brought before has its row, and one beyond the bound gets none: None.
        """
        reported = self._reported[conn]
        if kind in reported or len(reported) > _MOST:
            return None
        reported.add(kind)
        if len(reported) <= _MOST:
            return reason
        return f"messages of more than {_MOST} unknown kinds came; further kinds get no row"

    def save(self, conn: int) -> list[str]:
        """Return the kinds of a connection that have their rows, for a reader that begins here."""
        return sorted(self._reported.get(conn, ()))

    def load(self, conn: int, kinds: Iterable[str]) -> None:
        """Go on from kinds that were saved."""
        self._reported[conn].update(kinds)

    def drop(self, conn: int) -> None:
        """Forget a connection."""
        self._reported.pop(conn, None)

    def clear(self) -> None:
        """Forget every connection."""
        self._reported.clear()
