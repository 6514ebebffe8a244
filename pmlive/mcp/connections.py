"""Limits of connections and sessions over HTTP, so that the feed never lacks a descriptor for them.

Connections are accepted here and handed to uvicorn, which itself would accept as many as come and keep those that never
say a word. When there are too many, the one that has waited for the longest without a request is closed; when all are
being answered, nobody else is accepted until one has ended, and the system lets the others wait.

The SDK refuses new sessions of the older era when there are as many as it keeps, so that a hundred which nobody ended
would shut out everybody until they time out. Here the one that was silent for the longest is ended instead, as its
client would end it.
"""

import asyncio
import logging
import socket
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import msgspec
import uvicorn
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from pmlive.logs import get_logger

__all__ = ["ConnectionLimiter", "ConnectionLimits", "SessionLimiter"]

logger = get_logger(__name__)

_MOST_CONNECTIONS = 64
# Of the descriptors that this process may have, a quarter at most is for clients.
_SHARE = 4
# Seconds between two looks at the connections, while there is no room for another, and before another attempt.
_LOOK = 0.5
_AGAIN = 0.05
_PAUSE = 0.5
# Of what goes wrong again and again, one line a minute is logged.
_QUIET = 60.0

_SESSION_ID = b"mcp-session-id"
_OK = range(200, 300)


# --- connections ---


def _share() -> int:
    if sys.platform == "win32":
        return _MOST_CONNECTIONS
    import resource

    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _MOST_CONNECTIONS if soft == resource.RLIM_INFINITY else max(4, min(_MOST_CONNECTIONS, soft // _SHARE))


class ConnectionLimits(msgspec.Struct, frozen=True):
    """How many connections are kept at one time, and how many seconds each has until its request is there.

    They are counted from the opening or the last answer, and once more from the first lines of a request with a body.
    """

    connections: int = msgspec.field(default_factory=_share)
    patience: float = 8.0


class _OncePerMinute(logging.Filter):
    """Lets errors through, and of all else one line a minute: strangers cause it at will."""

    def __init__(self) -> None:
        super().__init__()
        self._warned = float("-inf")

    def filter(self, record: logging.LogRecord) -> bool:
        if record.levelno >= logging.ERROR:
            return True
        now = time.monotonic()
        if now - self._warned < _QUIET:
            return False
        self._warned = now
        return True


_wire = get_logger(f"{__name__}.wire")
_wire.addFilter(_OncePerMinute())


class _HttpConnection(H11Protocol):
    """A connection that knows since when it waits for a request."""

    def __init__(self, config: uvicorn.Config, server_state: ServerState, app_state: dict[str, Any]) -> None:
        super().__init__(config, server_state, app_state)
        self.logger = _wire
        self.accepted = self.since = self.loop.time()

    def data_received(self, data: bytes) -> None:
        before = self.cycle
        super().data_received(data)
        if self.cycle is not before:
            self.since = self.loop.time()

    def on_response_complete(self) -> None:
        self.since = self.loop.time()
        super().on_response_complete()

    def waits(self) -> bool:
        """Return whether there is no whole request, or an answer that could not be sent before it was closed."""
        cycle = self.cycle
        # uvicorn says that there always is one, which it makes with the first request.
        return not cycle or cycle.response_complete or cycle.more_body or self.transport.is_closing()


class ConnectionLimiter:
    """Accepts connections for a uvicorn server that listens to no socket itself.

    Args:
        server: uvicorn's.
        listener: where they come in; it stays open.
        limits: how many are kept, and for how long.
    """

    def __init__(self, server: uvicorn.Server, listener: socket.socket, limits: ConnectionLimits) -> None:
        self._server = server
        self._listener = listener
        self._limits = limits
        self._warned = float("-inf")

    async def run(self) -> None:
        """Accept connections until this is cancelled."""
        self._listener.settimeout(0)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._close_waiting())
            group.create_task(self._accept())

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                accepted, _ = await loop.sock_accept(self._listener)
            except OSError as error:
                self._warn(error)
                await asyncio.sleep(_PAUSE)
                continue
            try:
                await loop.connect_accepted_socket(self._protocol, accepted)
            except OSError:
                accepted.close()
            await self._make_room()

    def _protocol(self) -> _HttpConnection:
        return _HttpConnection(self._server.config, self._server.server_state, {})

    async def _make_room(self) -> None:
        """Wait until there are no more than may be, closing those that wait for a request."""
        while len(open_ := self._open()) > self._limits.connections:
            # The newest has had no time to ask.
            newest = max(open_, key=lambda one: one.accepted)
            waiting = [one for one in open_ if one.waits() and one is not newest]
            longest = min(waiting, key=lambda one: one.since, default=None)
            if longest is None:
                await asyncio.sleep(_AGAIN)
            else:
                longest.transport.abort()
                await asyncio.sleep(0)

    async def _close_waiting(self) -> None:
        """Close those that have waited for too long."""
        while True:
            await asyncio.sleep(min(_LOOK, self._limits.patience / 4))
            now = asyncio.get_running_loop().time()
            for one in self._open():
                if one.waits() and now - one.since >= self._limits.patience:
                    one.transport.abort()

    def _open(self) -> list[_HttpConnection]:
        return [one for one in self._server.server_state.connections if isinstance(one, _HttpConnection)]

    def _warn(self, error: OSError) -> None:
        now = time.monotonic()
        if now - self._warned >= _QUIET:
            self._warned = now
            logger.warning(
                "clients cannot connect (%s); this goes on trying, and says so once a minute", error.strerror
            )


# --- sessions ---


class SessionLimiter:
    """Ends sessions of the older era when there are too many.

    Args:
        app: the SDK's.
        most: how many are kept; those with a request on its way are never ended.
    """

    def __init__(self, app: ASGIApp, most: int) -> None:
        self._app = app
        self._most = most
        self._sessions: dict[bytes, _SessionUse] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and note which session it belongs to or opens."""
        session_id = _id_of(scope["headers"])
        if session_id is not None:
            with self._using(session_id):
                await self._app(scope, receive, send)
            return
        opened: list[bytes] = []
        await self._app(scope, receive, _noting(send, opened))
        for session_id in opened:
            with self._using(session_id, new=True):
                await self._make_room(scope)

    @contextmanager
    def _using(self, session_id: bytes, *, new: bool = False) -> Generator[None]:
        session = self._sessions.setdefault(session_id, _SessionUse()) if new else self._sessions.get(session_id)
        if session is None:
            yield
            return
        session.requests += 1
        try:
            yield
        finally:
            session.requests -= 1
            session.last = asyncio.get_running_loop().time()

    async def _make_room(self, scope: Scope) -> None:
        while len(self._sessions) > self._most:
            idle = {id_: session.last for id_, session in self._sessions.items() if not session.requests}
            if not idle:
                return
            oldest = min(idle, key=idle.__getitem__)
            del self._sessions[oldest]
            await self._end(oldest, scope)

    async def _end(self, session_id: bytes, scope: Scope) -> None:
        """Ask the SDK to end a session, as the protocol says."""
        host = [(name, value) for name, value in scope["headers"] if name == b"host"]
        request: dict[str, object] = {**scope, "method": "DELETE", "headers": [*host, (_SESSION_ID, session_id)]}
        await self._app(request, _nothing, _nowhere)


def _id_of(headers: list[tuple[bytes, bytes]]) -> bytes | None:
    return next((value for name, value in headers if name.lower() == _SESSION_ID), None)


def _noting(send: Send, opened: list[bytes]) -> Send:
    """Return a function that sends an answer, and notes the session that it opens."""

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start" and message["status"] in _OK:
            session_id = _id_of(list(message.get("headers", [])))
            if session_id is not None:
                opened.append(session_id)
        await send(message)

    return sending


async def _nothing() -> Message:
    return {"type": "http.request", "body": b"", "more_body": False}


async def _nowhere(message: Message) -> None:
    del message


class _SessionUse:
    def __init__(self) -> None:
        self.requests = 0
        self.last = 0.0
