"""A real WebSocket server on loopback that does as a test says, in a thread of its own."""

import asyncio
import json
import socket
import ssl
import struct
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Generator, Mapping
from contextlib import contextmanager
from typing import TypeAlias

from websockets.asyncio.server import ServerConnection, serve
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

__all__ = ["Peer", "Refusal", "SocketServer", "books", "serving_sockets"]

# What answers a handshake instead of a socket: status and headers.
Refusal: TypeAlias = tuple[int, Mapping[str, str]]
Script: TypeAlias = Callable[["Peer"], Coroutine[object, object, None]]
Admit: TypeAlias = Callable[[int], Refusal | None]

_TOKEN_BOOK = {
    "event_type": "book",
    "market": "0xm",
    "bids": [{"price": "0.4", "size": "10"}],
    "asks": [{"price": "0.6", "size": "10"}],
    "hash": "",
    "timestamp": "1790000000000",
}


def books(token_ids: list[str], *, market: str = "0xm", timestamp: int = 1_790_000_000_000) -> str:
    """Write an opening array."""
    each = {"market": market, "timestamp": str(timestamp)}
    return json.dumps([_TOKEN_BOOK | each | {"asset_id": token_id} for token_id in token_ids])


class Peer:
    """One client, from the server's side."""

    def __init__(self, connection: ServerConnection, number: int, heard: list[str]) -> None:
        self.number = number
        self.heard = heard
        self._connection = connection

    async def receive(self) -> str:
        text = str(await self._connection.recv())
        self.heard.append(text)
        return text

    async def messages(self) -> AsyncIterator[str]:
        try:
            while True:
                yield await self.receive()
        except ConnectionClosed:
            return

    async def send(self, text: str) -> None:
        await self._connection.send(text)

    async def answer(self, *, pong: bool = True, without: frozenset[str] = frozenset()) -> None:
        """Do as the venue does: opening books for who subscribes, PONG for a PING; until the client leaves."""
        async for text in self.messages():
            if text == "PING":
                if pong:
                    await self.send("PONG")
                continue
            frame = json.loads(text)
            if frame.get("operation") != "unsubscribe" and "assets_ids" in frame:
                await self.send(books([token for token in frame["assets_ids"] if token not in without]))

    async def ping(self) -> None:
        """Send a ping of the protocol, and wait for its answer."""
        await (await self._connection.ping())

    @property
    def close_code(self) -> int | None:
        """The code that the client closed with."""
        return self._connection.close_code

    async def close(self, code: int, reason: str = "") -> None:
        await self._connection.close(code, reason)

    def reset(self) -> None:
        """Cut the connection with a TCP RST."""
        raw: socket.socket = self._connection.transport.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._connection.transport.abort()

    def half_frame(self) -> None:
        """Send the first bytes of a frame of 100, and no more."""
        self._connection.transport.write(b'\x81\x64{"event_type":"book","asset_id":"1"')
        self._connection.transport.close()

    def raw(self, data: bytes) -> None:
        """Send bytes as they are."""
        self._connection.transport.write(data)

    async def gone(self) -> None:
        await self._connection.wait_closed()


class SocketServer:
    """What a test sees of the server: ``dials`` are the times of handshakes, ``heard`` the texts of each client."""

    def __init__(self) -> None:
        self.url = ""
        self.dials: list[float] = []
        self.heard: list[list[str]] = []
        self.here = 0
        self._loop = asyncio.new_event_loop()

    @property
    def texts(self) -> list[str]:
        return [text for heard in self.heard for text in heard]

    def most_dials_within(self, seconds: float) -> int:
        return max((sum(first <= at < first + seconds for at in self.dials) for first in self.dials), default=0)


@contextmanager
def serving_sockets(
    script: Script, *, admit: Admit | None = None, tls: ssl.SSLContext | None = None
) -> Generator[SocketServer]:
    """Serve every client with a script; ``admit`` may refuse the handshake of a given number, counted from 0."""
    server = SocketServer()
    transports: list[asyncio.BaseTransport] = []
    loop, stopping, ready = server._loop, asyncio.Event(), threading.Event()  # noqa: SLF001

    def refuse(_: ServerConnection, request: Request) -> Response | None:
        del request
        server.dials.append(time.monotonic())
        refusal = admit(len(server.dials) - 1) if admit is not None else None
        if refusal is None:
            return None
        status, headers = refusal
        return Response(status, "", Headers({**headers, "Content-Length": "2", "Connection": "close"}), b"no")

    async def handle(connection: ServerConnection) -> None:
        heard: list[str] = []
        server.heard.append(heard)
        server.here += 1
        try:
            await script(Peer(connection, len(server.heard) - 1, heard))
        except ConnectionClosed:
            pass
        finally:
            server.here -= 1

    async def main() -> None:
        async with serve(
            handle,
            "127.0.0.1",
            0,
            process_request=refuse,
            ping_interval=None,
            compression=None,
            ssl=tls,
            close_timeout=0.2,
            create_connection=_remembering(transports),
        ) as listener:
            port = listener.sockets[0].getsockname()[1]
            server.url = f"{'wss' if tls else 'ws'}://127.0.0.1:{port}"
            ready.set()
            await stopping.wait()

    def run() -> None:
        asyncio.set_event_loop(loop)
        try:
            loop.run_until_complete(main())
            loop.run_until_complete(_let_go(transports))
        finally:
            loop.close()
            ready.set()

    thread = threading.Thread(target=run, name="test server")
    thread.start()
    ready.wait(10)
    try:
        yield server
    finally:
        loop.call_soon_threadsafe(stopping.set)
        thread.join(10)


def _remembering(transports: list[asyncio.BaseTransport]) -> type[ServerConnection]:
    """Make the class of connections that are let go of at the end, even if they left in the middle of a handshake."""

    class Remembered(ServerConnection):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            transports.append(transport)
            super().connection_made(transport)

    return Remembered


async def _let_go(transports: list[asyncio.BaseTransport]) -> None:
    left = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)
    for transport in transports:
        transport.close()
    # A transport closes its socket in the next turn of the loop.
    await asyncio.sleep(0)
    await asyncio.sleep(0)
