"""Notifications of clients about what changed, without anybody waiting for them.

Every recipient has an outbox and a task that empties it at the recipient's own pace: each session of the older era, all
streams of the newer one together, and the server's log. One that stops reading holds up its own task and nothing else.
"""

import asyncio
import json
import threading
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Container, Sequence
from contextlib import asynccontextmanager
from typing import TypeAlias, get_args

import anyio
from anyio.abc import TaskGroup
from mcp.server.connection import Connection
from mcp.server.session import ServerSession
from mcp.server.subscriptions import InMemorySubscriptionBus, ResourceUpdated
from mcp_types import LoggingLevel
from msgspec import Struct

from pmlive.logs import get_logger
from pmlive.manager.delivery import NEWEST
from pmlive.mcp.events import ResourceChange
from pmlive.mcp.specs import Caller

__all__ = ["LegacySession", "Notice", "Notifier", "Outbox", "Update", "notifying"]

# Calls the function at each change, in a thread of its own, until what it returned is called.
Listen: TypeAlias = Callable[[Callable[[ResourceChange], object]], Callable[[], None]]

# Updates of subscriptions that asked for the log appear in it, whoever else is notified of them.
logger = get_logger("pmlive.mcp.updates")

_LEVELS: tuple[LoggingLevel, ...] = get_args(LoggingLevel)
_STATE_KEY = "pmlive"
# Twice a second: a model reads no faster, and a program that must know sooner holds the manager itself.
_EVERY = 0.5
_MOST_UPDATES = 256


class Update(Struct, frozen=True):
    """An event to be sent; ``missed`` counts those before it that were not, because the recipient was too slow."""

    change: ResourceChange
    missed: int = 0


# A resource that changed, by its address, or an event.
Notice: TypeAlias = str | Update


class Notifier:
    """Hands changes to whoever listens, for as long as a server runs.

    Args:
        group: where the recipients' tasks run.
        bus: carries changes to the streams of the newer era.
    """

    def __init__(self, group: TaskGroup, bus: InMemorySubscriptionBus) -> None:
        self._group = group
        self._bus = bus
        self._recipients: set[_Recipient] = set()
        self._loop = asyncio.get_running_loop()
        self._arrived: list[ResourceChange] = []
        self._arriving = threading.Lock()
        self._start(_Recipient(Outbox(None, lambda _: False), self._publish))
        self._start(_Recipient(Outbox((), lambda change: change.callback_type == "log"), _log))

    def arrived(self, change: ResourceChange) -> None:
        """Take a change in, from any thread."""
        with self._arriving:
            self._arrived.append(change)
            first = len(self._arrived) == 1
        if first:
            self._loop.call_soon_threadsafe(self._spread)

    def session(self, of: ServerSession) -> "LegacySession":
        """Return the session of a client of the older era; it is forgotten when the client goes."""
        connection = _connection(of)
        session = connection.state.get(_STATE_KEY)
        if not isinstance(session, LegacySession):
            session = connection.state[_STATE_KEY] = LegacySession(connection)
            self._start(session.recipient)
            connection.exit_stack.callback(self._left, session)
        return session

    def __len__(self) -> int:
        """Count the recipients; all streams of the newer era are one, and the log is another."""
        return len(self._recipients)

    def _start(self, recipient: "_Recipient") -> None:
        self._recipients.add(recipient)
        self._group.start_soon(recipient.run)

    def _left(self, session: "LegacySession") -> None:
        session.client.gone = True
        self._recipients.discard(session.recipient)
        session.recipient.scope.cancel()

    def _spread(self) -> None:
        with self._arriving:
            changes, self._arrived = self._arrived, []
        for recipient in self._recipients:
            for change in changes:
                recipient.put(change)

    async def _publish(self, notice: Notice) -> None:
        if isinstance(notice, str):
            await self._bus.publish(ResourceUpdated(notice))


@asynccontextmanager
async def notifying(listen: Listen, bus: InMemorySubscriptionBus) -> AsyncGenerator[Notifier]:
    """Notify of changes in this block."""
    async with anyio.create_task_group() as group:
        notifier = Notifier(group, bus)
        stop = listen(notifier.arrived)
        try:
            yield notifier
        finally:
            stop()
            group.cancel_scope.cancel()


class LegacySession:
    """A client of the older era: which resources it watches, and from which level on it wants log messages."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.uris: set[str] = set()
        self.level: LoggingLevel = "info"
        self.client = Caller()
        self.recipient = _Recipient(Outbox(self.uris, _is_message), self._send)

    def unwatch(self, uri: str) -> None:
        """Notify no more of a resource."""
        self.uris.discard(uri)
        self.recipient.outbox.forget(uri)

    async def _send(self, notice: Notice) -> None:
        if isinstance(notice, str):
            if notice in self.uris:  # it may be watched no more
                await self._connection.send_resource_updated(notice)
            return
        change = notice.change
        if notice.missed:
            await self._send_message("warning", change, {"type": "missed", "updates": notice.missed})
        await self._send_message("notice" if change.urgent else "info", change, change.safe_update())

    async def _send_message(self, level: LoggingLevel, change: ResourceChange, data: object) -> None:
        if _LEVELS.index(level) >= _LEVELS.index(self.level):
            name = f"pmlive.{change.callback_type or 'notification'}"
            await self._connection.notify("notifications/message", {"level": level, "logger": name, "data": data})


def _is_message(change: ResourceChange) -> bool:
    """Return whether a client gets the event itself: of what clients subscribed, and of what everybody must know."""
    return change.callback_type is not None or change.urgent


async def _log(notice: Notice) -> None:
    if isinstance(notice, str):
        return
    if notice.missed:
        logger.warning("%d updates before this one are not shown", notice.missed)
    # In a thread: whoever reads the log may be slow, too.
    await anyio.to_thread.run_sync(logger.info, "%s", json.dumps(notice.change.safe_update()))


def _connection(session: ServerSession) -> Connection:
    """Return what lives as long as the client does; the session that a handler sees lives for one request."""
    # The SDK has no public name for it; its state and its exit stack are public.
    return session._connection  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]


class _Recipient:
    """An outbox, and the task that empties it."""

    def __init__(self, outbox: "Outbox", send: Callable[[Notice], Awaitable[None]]) -> None:
        self.outbox = outbox
        self.scope = anyio.CancelScope()
        self._send = send
        self._sooner = anyio.Event()

    def put(self, change: ResourceChange) -> None:
        """Leave a change for it."""
        if self.outbox.put(change, time.monotonic()):
            self._sooner.set()

    async def run(self) -> None:
        """Send what is due, for as long as the scope lasts."""
        with self.scope:
            while True:
                self._sooner = anyio.Event()
                due = self.outbox.due_at()
                with anyio.move_on_after(None if due is None else due - time.monotonic()):
                    await self._sooner.wait()
                for notice in self.outbox.take(time.monotonic()):
                    await self._try(notice)

    async def _try(self, notice: Notice) -> None:
        try:
            await self._send(notice)
        except Exception:
            logger.exception("a notification could not be sent")


class Outbox:
    """Changes waiting for one recipient: each resource once, newer events in place of older ones, none too often.

    Args:
        uris: the resources whose changes are sent, or None for all of them.
        updates: returns whether the event of a change is sent, too.
        every: seconds between two notices of a resource, and of updates that are not urgent.
        most: the most updates that wait, whether the recipient reads or not.
    """

    def __init__(
        self,
        uris: Container[str] | None,
        updates: Callable[[ResourceChange], bool],
        *,
        every: float = _EVERY,
        most: int = _MOST_UPDATES,
    ) -> None:
        self._watched = uris
        self._takes = updates
        self._every = every
        self._most = most
        self._sent: dict[str, float] = {}
        self._waiting: dict[str, float] = {}
        self._updates: dict[object, ResourceChange] = {}
        self._updates_sent = float("-inf")
        self._updates_due: float | None = None
        # The earliest of the times at which something is to be sent.
        self._due: float | None = None
        self._missed = 0
        self._number = 0

    def put(self, change: ResourceChange, now: float) -> bool:
        """Leave a change; return whether something is due earlier than before."""
        before = self._due
        for uri in change.uris:
            if self._watched is None or uri in self._watched:
                self._mark(uri, now if change.urgent else self._sent.get(uri, now - self._every) + self._every)
        if change.update is not None and self._takes(change):
            self._keep(change, now)
        return self._due is not None and (before is None or self._due < before)

    def forget(self, uri: str) -> None:
        """Send nothing more of a resource."""
        self._waiting.pop(uri, None)
        self._sent.pop(uri, None)
        self._due = self._earliest()

    def due_at(self) -> float | None:
        """Return the time when something is to be sent; None if nothing is."""
        return self._due

    def take(self, now: float) -> Sequence[Notice]:
        """Take what is to be sent now."""
        uris = [uri for uri, due in self._waiting.items() if due <= now]
        for uri in uris:
            del self._waiting[uri]
        # Older ones hold nothing up any more.
        self._sent = {uri: sent for uri, sent in self._sent.items() if sent > now - self._every}
        self._sent.update(dict.fromkeys(uris, now))
        notices = [*uris, *self._take_updates(now)]
        self._due = self._earliest()
        return notices

    def _mark(self, uri: str, due: float) -> None:
        self._waiting[uri] = min(due, self._waiting.get(uri, due))
        self._hasten(due)

    def _hasten(self, due: float) -> None:
        self._due = due if self._due is None else min(due, self._due)

    def _earliest(self) -> float | None:
        times = [*self._waiting.values(), *([] if self._updates_due is None else [self._updates_due])]
        return min(times, default=None)

    def _keep(self, change: ResourceChange, now: float) -> None:
        key = self._key(change)
        self._updates.pop(key, None)
        self._updates[key] = change
        if len(self._updates) > self._most:
            del self._updates[next(iter(self._updates))]
            self._missed += 1
        due = now if change.urgent else max(now, self._updates_sent + self._every)
        self._updates_due = due if self._updates_due is None else min(due, self._updates_due)
        self._hasten(due)

    def _key(self, change: ResourceChange) -> object:
        update = change.update or {}
        if update.get("table") in NEWEST:
            return (update.get("subscription_id"), update["table"], update.get("token_id"))
        self._number += 1
        return self._number

    def _take_updates(self, now: float) -> list[Update]:
        if self._updates_due is None or self._updates_due > now:
            return []
        changes, missed = list(self._updates.values()), self._missed
        self._updates.clear()
        self._updates_due, self._updates_sent, self._missed = None, now, 0
        return [Update(change, missed if number == 0 else 0) for number, change in enumerate(changes)]
