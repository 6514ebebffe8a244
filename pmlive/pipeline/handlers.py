"""What takes each kind of event, found when one first comes, and how many came."""

from collections.abc import Callable
from typing import Any, TypeAlias

from pmlive.events import Control, Malformed

__all__ = ["Handler", "Handlers", "Take"]

# Takes an event, the connection that brought it, and when it came.
Take: TypeAlias = Callable[[Any, int, int], None]


class Handler:
    """What takes a kind of event, how many came, and whether it is data that was asked for and may be repeated."""

    __slots__ = ("count", "repeatable", "take", "telling")

    def __init__(self, take: Take, *, telling: bool, repeatable: bool) -> None:
        self.take = take
        self.telling = telling
        self.repeatable = repeatable
        self.count = 0


class Handlers(dict[type, Handler]):
    """Handlers by kind of event, found when one first comes."""

    def __init__(self, find: Callable[[type], Handler]) -> None:
        self._find = find

    def __missing__(self, kind: type) -> Handler:
        self[kind] = found = self._find(kind)
        return found

    def counts(self) -> dict[str, int]:
        """Return the number of messages by the name of their event."""
        counts: dict[str, int] = {}
        for kind, its in self.items():
            if kind is not Malformed:
                name = _name(kind)
                counts[name] = counts.get(name, 0) + its.count
        return counts


def _name(kind: type) -> str:
    """Name a kind of event as the venue's status keys do; every word of a connection is one kind."""
    name = Control.__name__ if issubclass(kind, Control) else kind.__name__
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name).lstrip("_")
