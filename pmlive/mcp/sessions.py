"""Sessions of the older era, of which a bounded number is kept: the one that was silent for the longest goes first.

The SDK refuses new sessions when there are as many as it keeps, so that a hundred which nobody ended would shut out
everybody until they time out. Here the oldest of them is ended instead, as its client would end it.
"""

import asyncio
from collections.abc import Generator
from contextlib import contextmanager

from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["Sessions"]

_ID = b"mcp-session-id"
_OK = range(200, 300)


class _Session:
    def __init__(self) -> None:
        self.asking = 0
        self.last = 0.0


class Sessions:
    """Notes which sessions are used, and ends those that are too many.

    Args:
        app: the SDK's.
        most: how many are kept; those with a request on its way are never ended.
    """

    def __init__(self, app: ASGIApp, most: int) -> None:
        self._app = app
        self._most = most
        self._sessions: dict[bytes, _Session] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and note which session it is of or opens."""
        session_id = _id_of(scope["headers"])
        if session_id is not None:
            with self._asking(session_id):
                await self._app(scope, receive, send)
            return
        opened: list[bytes] = []
        await self._app(scope, receive, _watching(send, opened))
        for session_id in opened:
            with self._asking(session_id, new=True):
                await self._make_room(scope)

    @contextmanager
    def _asking(self, session_id: bytes, *, new: bool = False) -> Generator[None]:
        session = self._sessions.setdefault(session_id, _Session()) if new else self._sessions.get(session_id)
        if session is None:
            yield
            return
        session.asking += 1
        try:
            yield
        finally:
            session.asking -= 1
            session.last = asyncio.get_running_loop().time()

    async def _make_room(self, scope: Scope) -> None:
        while len(self._sessions) > self._most:
            idle = {id_: session.last for id_, session in self._sessions.items() if not session.asking}
            if not idle:
                return
            oldest = min(idle, key=idle.__getitem__)
            del self._sessions[oldest]
            await self._end(oldest, scope)

    async def _end(self, session_id: bytes, scope: Scope) -> None:
        """Ask the SDK to end a session, in the words of the protocol."""
        host = [(name, value) for name, value in scope["headers"] if name == b"host"]
        asked: dict[str, object] = {**scope, "method": "DELETE", "headers": [*host, (_ID, session_id)]}
        await self._app(asked, _nothing, _nowhere)


def _id_of(headers: list[tuple[bytes, bytes]]) -> bytes | None:
    return next((value for name, value in headers if name.lower() == _ID), None)


def _watching(send: Send, opened: list[bytes]) -> Send:
    """Send what an answer is, and note the session that it opens."""

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
