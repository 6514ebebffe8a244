"""Telling clients what changed, without anybody waiting for them.

Every reader has an outbox and a task that empties it at the reader's own pace: each session of the older era, all
streams of the newer one together, and the server's log. One that stops reading holds up its own task and nothing else.
"""

import asyncio
import json
import threading
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeAlias, get_args

import anyio
from anyio.abc import TaskGroup
from mcp.server.connection import Connection
from mcp.server.session import ServerSession
from mcp.server.subscriptions import InMemorySubscriptionBus, ResourceUpdated
from mcp_types import LoggingLevel

from pmlive.logs import get_logger
from pmlive.mcp.described import Change, Client
from pmlive.mcp.outbox import Outbox, Told

__all__ = ["Listen", "Pushes", "Session", "pushing"]

# Calls the function at each change, in a thread of its own, until what it gave back is called.
Listen: TypeAlias = Callable[[Callable[[Change], object]], Callable[[], None]]

# Updates of subscriptions that asked for the log appear in it, whoever else is told of them.
logger = get_logger("pmlive.mcp.updates")

_LEVELS: tuple[LoggingLevel, ...] = get_args(LoggingLevel)
_KEPT_AS = "pmlive"


class Reader:
    """An outbox, and the task that empties it."""

    def __init__(self, outbox: Outbox, tell: Callable[[Told], Awaitable[None]]) -> None:
        self.outbox = outbox
        self.scope = anyio.CancelScope()
        self._tell = tell
        self._sooner = anyio.Event()

    def put(self, change: Change) -> None:
        """Leave a change for it."""
        if self.outbox.put(change, time.monotonic()):
            self._sooner.set()

    async def run(self) -> None:
        """Tell what is due, for as long as the scope lasts."""
        with self.scope:
            while True:
                self._sooner = anyio.Event()
                due = self.outbox.due_at()
                with anyio.move_on_after(None if due is None else due - time.monotonic()):
                    await self._sooner.wait()
                for told in self.outbox.take(time.monotonic()):
                    await self._say(told)

    async def _say(self, told: Told) -> None:
        try:
            await self._tell(told)
        except Exception:
            logger.exception("a change could not be told")


class Session:
    """A client of the older era: which resources it watches, and from which level on it wants log messages."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.uris: set[str] = set()
        self.level: LoggingLevel = "info"
        self.client = Client()
        self.reader = Reader(Outbox(self.uris, _is_message), self._tell)

    def unwatch(self, uri: str) -> None:
        """Tell nothing more of a resource."""
        self.uris.discard(uri)
        self.reader.outbox.forget(uri)

    async def _tell(self, told: Told) -> None:
        if isinstance(told, str):
            if told in self.uris:  # it may have looked away meanwhile
                await self._connection.send_resource_updated(told)
            return
        if told.missed:
            await self._log("warning", told.change, {"type": "missed", "updates": told.missed})
        await self._log("notice" if told.change.urgent else "info", told.change, told.change.told())

    async def _log(self, level: LoggingLevel, change: Change, data: object) -> None:
        if _LEVELS.index(level) >= _LEVELS.index(self.level):
            name = f"pmlive.{change.callback_type or 'notification'}"
            await self._connection.notify("notifications/message", {"level": level, "logger": name, "data": data})


class Pushes:
    """Hand changes to whoever listens, for as long as a server runs.

    Args:
        group: where readers run.
        bus: carries changes to the streams of the newer era.
    """

    def __init__(self, group: TaskGroup, bus: InMemorySubscriptionBus) -> None:
        self._group = group
        self._bus = bus
        self._readers: set[Reader] = set()
        self._loop = asyncio.get_running_loop()
        self._arrived: list[Change] = []
        self._arriving = threading.Lock()
        self._start(Reader(Outbox(None, lambda _: False), self._publish))
        self._start(Reader(Outbox((), lambda change: change.callback_type == "log"), _note))

    def arrived(self, change: Change) -> None:
        """Take a change in, from any thread."""
        with self._arriving:
            self._arrived.append(change)
            first = len(self._arrived) == 1
        if first:
            self._loop.call_soon_threadsafe(self._spread)

    def session(self, of: ServerSession) -> Session:
        """Give the session of a client of the older era; it is forgotten when the client goes."""
        connection = _connection(of)
        session = connection.state.get(_KEPT_AS)
        if not isinstance(session, Session):
            session = connection.state[_KEPT_AS] = Session(connection)
            self._start(session.reader)
            connection.exit_stack.callback(self._left, session)
        return session

    def __len__(self) -> int:
        """Count the readers; all streams of the newer era are one, and the log is another."""
        return len(self._readers)

    def _start(self, reader: Reader) -> None:
        self._readers.add(reader)
        self._group.start_soon(reader.run)

    def _left(self, session: Session) -> None:
        session.client.gone = True
        self._readers.discard(session.reader)
        session.reader.scope.cancel()

    def _spread(self) -> None:
        with self._arriving:
            changes, self._arrived = self._arrived, []
        for reader in self._readers:
            for change in changes:
                reader.put(change)

    async def _publish(self, told: Told) -> None:
        if isinstance(told, str):
            await self._bus.publish(ResourceUpdated(told))


@asynccontextmanager
async def pushing(listen: Listen, bus: InMemorySubscriptionBus) -> AsyncGenerator[Pushes]:
    """Tell of changes in this block."""
    async with anyio.create_task_group() as group:
        pushes = Pushes(group, bus)
        stop = listen(pushes.arrived)
        try:
            yield pushes
        finally:
            stop()
            group.cancel_scope.cancel()


def _is_message(change: Change) -> bool:
    """Tell whether a client gets the event itself: of what clients subscribed, and of what everybody must know."""
    return change.callback_type is not None or change.urgent


async def _note(told: Told) -> None:
    if isinstance(told, str):
        return
    if told.missed:
        logger.warning("%d updates before this one are not shown", told.missed)
    # In a thread: whoever reads the log may be slow, too.
    await anyio.to_thread.run_sync(logger.info, "%s", json.dumps(told.change.told()))


def _connection(session: ServerSession) -> Connection:
    """Give what lives as long as the client does; the session that a handler sees lives for one request."""
    # The SDK has no public name for it; its state and its exit stack are public.
    return session._connection  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
