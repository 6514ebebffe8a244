"""What one reader has still to be told: each resource once, updates that are old news not at all, and at which pace."""

from collections.abc import Callable, Container, Sequence
from typing import TypeAlias

from msgspec import Struct

from pmlive.mcp.described import Change

__all__ = ["Outbox", "Told", "Update"]

# Twice a second: a model reads no faster, and a program that must know sooner holds the manager itself.
_EVERY = 0.5
_MOST_UPDATES = 256
# Of these tables the newest row of each token is enough.
_NEWEST = ("prices", "depth")


class Update(Struct, frozen=True):
    """An event to be told; ``missed`` counts those before it that were not, because the reader was too slow."""

    change: Change
    missed: int = 0


Told: TypeAlias = str | Update


class Outbox:
    """Changes waiting for one reader, as many as there is room for, whether it reads or not.

    Args:
        uris: the resources whose changes are told, or None for all of them.
        updates: tells whether the event of a change is told, too.
        every: seconds between two tellings of a resource, and of updates that are not urgent.
        most: the most updates that wait.
    """

    def __init__(
        self,
        uris: Container[str] | None,
        updates: Callable[[Change], bool],
        *,
        every: float = _EVERY,
        most: int = _MOST_UPDATES,
    ) -> None:
        self._watched = uris
        self._takes = updates
        self._every = every
        self._most = most
        self._told: dict[str, float] = {}
        self._waiting: dict[str, float] = {}
        self._updates: dict[object, Change] = {}
        self._updates_told = float("-inf")
        self._updates_due: float | None = None
        # The earliest of the times at which something is to be told.
        self._due: float | None = None
        self._missed = 0
        self._number = 0

    def put(self, change: Change, now: float) -> bool:
        """Leave a change; tell whether something is due earlier than before."""
        before = self._due
        for uri in change.uris:
            if self._watched is None or uri in self._watched:
                self._mark(uri, now if change.urgent else self._told.get(uri, now - self._every) + self._every)
        if change.update is not None and self._takes(change):
            self._keep(change, now)
        return self._due is not None and (before is None or self._due < before)

    def forget(self, uri: str) -> None:
        """Tell nothing more of a resource."""
        self._waiting.pop(uri, None)
        self._told.pop(uri, None)
        self._due = self._earliest()

    def due_at(self) -> float | None:
        """Give the time when something is to be told; None if nothing is."""
        return self._due

    def take(self, now: float) -> Sequence[Told]:
        """Take what is to be told now."""
        uris = [uri for uri, due in self._waiting.items() if due <= now]
        for uri in uris:
            del self._waiting[uri]
        # Older tellings hold nothing up any more.
        self._told = {uri: told for uri, told in self._told.items() if told > now - self._every}
        self._told.update(dict.fromkeys(uris, now))
        told = [*uris, *self._take_updates(now)]
        self._due = self._earliest()
        return told

    def _mark(self, uri: str, due: float) -> None:
        self._waiting[uri] = min(due, self._waiting.get(uri, due))
        self._hasten(due)

    def _hasten(self, due: float) -> None:
        self._due = due if self._due is None else min(due, self._due)

    def _earliest(self) -> float | None:
        times = [*self._waiting.values(), *([] if self._updates_due is None else [self._updates_due])]
        return min(times, default=None)

    def _keep(self, change: Change, now: float) -> None:
        key = self._key(change)
        self._updates.pop(key, None)
        self._updates[key] = change
        if len(self._updates) > self._most:
            del self._updates[next(iter(self._updates))]
            self._missed += 1
        due = now if change.urgent else max(now, self._updates_told + self._every)
        self._updates_due = due if self._updates_due is None else min(due, self._updates_due)
        self._hasten(due)

    def _key(self, change: Change) -> object:
        update = change.update or {}
        if update.get("table") in _NEWEST:
            return (update.get("subscription_id"), update["table"], update.get("token_id"))
        self._number += 1
        return self._number

    def _take_updates(self, now: float) -> list[Update]:
        if self._updates_due is None or self._updates_due > now:
            return []
        changes, missed = list(self._updates.values()), self._missed
        self._updates.clear()
        self._updates_due, self._updates_told, self._missed = None, now, 0
        return [Update(change, missed if number == 0 else 0) for number, change in enumerate(changes)]
