"""Connections over HTTP, few enough and each for a bounded time, so that the feed never lacks a descriptor for them.

They are taken here and handed to uvicorn, which itself would take as many as come and keep those that never say a word.
When there are too many, the one that has waited for the longest without a request is closed; when all are being
answered, nobody else is taken until one has ended, and the system lets the others wait.
"""

import asyncio
import logging
import socket
import sys
import time
from typing import Any

import msgspec
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from pmlive.logs import get_logger

__all__ = ["Connections", "Limits"]

logger = get_logger(__name__)

_MOST = 64
# Of the descriptors that this process may have, a quarter at most is for clients.
_SHARE = 4
# Seconds between two looks at the connections, while there is no room for another, and before another attempt.
_LOOK = 0.5
_AGAIN = 0.05
_PAUSE = 0.5
# Of what goes wrong again and again, one line a minute is told.
_QUIET = 60.0


def _share() -> int:
    if sys.platform == "win32":
        return _MOST
    import resource

    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _MOST if soft == resource.RLIM_INFINITY else max(4, min(_MOST, soft // _SHARE))


class Limits(msgspec.Struct, frozen=True):
    """How many connections are kept at one time, and how many seconds each has until its request is there.

    They are counted from the opening or the last answer, and once more from the first lines of a request with a body.
    """

    connections: int = msgspec.field(default_factory=_share)
    patience: float = 8.0


class _Seldom(logging.Filter):
    """Lets errors through, and of all else one line a minute: strangers cause it at will."""

    def __init__(self) -> None:
        super().__init__()
        self._told = float("-inf")

    def filter(self, record: logging.LogRecord) -> bool:
        if record.levelno >= logging.ERROR:
            return True
        now = time.monotonic()
        if now - self._told < _QUIET:
            return False
        self._told = now
        return True


_wire = get_logger(f"{__name__}.wire")
_wire.addFilter(_Seldom())


class _Connection(H11Protocol):
    """A connection that knows since when it waits for a request."""

    def __init__(self, config: uvicorn.Config, server_state: ServerState, app_state: dict[str, Any]) -> None:
        super().__init__(config, server_state, app_state)
        self.logger = _wire
        self.taken = self.since = self.loop.time()

    def data_received(self, data: bytes) -> None:
        before = self.cycle
        super().data_received(data)
        if self.cycle is not before:
            self.since = self.loop.time()

    def on_response_complete(self) -> None:
        self.since = self.loop.time()
        super().on_response_complete()

    def waits(self) -> bool:
        """Tell whether there is no whole request, or an answer that could not be sent before it was closed."""
        cycle = self.cycle
        # uvicorn says that there always is one, which it makes with the first request.
        return not cycle or cycle.response_complete or cycle.more_body or self.transport.is_closing()


class Connections:
    """Takes connections for a uvicorn server that listens to no socket itself.

    Args:
        site: the server.
        listener: what they come from; it stays open.
        limits: how many are kept, and for how long.
    """

    def __init__(self, site: uvicorn.Server, listener: socket.socket, limits: Limits) -> None:
        self._site = site
        self._listener = listener
        self._limits = limits
        self._told = float("-inf")

    async def run(self) -> None:
        """Take connections until this is cancelled."""
        self._listener.settimeout(0)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._look())
            group.create_task(self._take())

    async def _take(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                taken, _ = await loop.sock_accept(self._listener)
            except OSError as error:
                self._tell(error)
                await asyncio.sleep(_PAUSE)
                continue
            try:
                await loop.connect_accepted_socket(self._protocol, taken)
            except OSError:
                taken.close()
            await self._make_room()

    def _protocol(self) -> _Connection:
        return _Connection(self._site.config, self._site.server_state, {})

    async def _make_room(self) -> None:
        """Wait until there are no more than may be, closing those that wait for a request."""
        while len(there := self._there()) > self._limits.connections:
            # The newest has had no time to ask.
            newest = max(there, key=lambda one: one.taken)
            waiting = [one for one in there if one.waits() and one is not newest]
            longest = min(waiting, key=lambda one: one.since, default=None)
            if longest is None:
                await asyncio.sleep(_AGAIN)
            else:
                longest.transport.abort()
                await asyncio.sleep(0)

    async def _look(self) -> None:
        """Close those that have waited for too long."""
        while True:
            await asyncio.sleep(min(_LOOK, self._limits.patience / 4))
            now = asyncio.get_running_loop().time()
            for one in self._there():
                if one.waits() and now - one.since >= self._limits.patience:
                    one.transport.abort()

    def _there(self) -> list[_Connection]:
        return [one for one in self._site.server_state.connections if isinstance(one, _Connection)]

    def _tell(self, error: OSError) -> None:
        now = time.monotonic()
        if now - self._told >= _QUIET:
            self._told = now
            logger.warning(
                "clients cannot connect (%s); this goes on trying, and says so once a minute", error.strerror
            )
