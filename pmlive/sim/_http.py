"""A small HTTP/1.1 server: one request after another, JSON answers."""

import asyncio
import socket
from asyncio.trsock import TransportSocket
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from http import HTTPStatus
from typing import TypeAlias
from urllib.parse import parse_qs, unquote, urlsplit

import msgspec

from pmlive.logs import get_logger

__all__ = ["Answer", "HttpServer", "Request", "Responder", "json_answer", "phrase", "stop_accepting"]

logger = get_logger(__name__)
_MOST_HEAD, _MOST_BODY = 64 * 1024, 8 * 1024 * 1024
_PATIENCE = 60.0


class Request(msgspec.Struct, frozen=True):
    """A request as far as it matters here; ``query`` keeps repeated names."""

    method: str
    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]
    body: bytes

    def one(self, name: str, default: str = "") -> str:
        """Give the first value of a query name."""
        return self.query.get(name, [default])[0]


class Answer(msgspec.Struct, frozen=True):
    """An answer: status, body, and headers beyond the usual ones."""

    status: int
    body: bytes
    headers: dict[str, str] = {}


Responder: TypeAlias = Callable[[Request], Awaitable[Answer]]


class HttpServer:
    """A listener that answers each request by ``respond``."""

    def __init__(self, respond: Responder) -> None:
        self._respond = respond
        self._server: asyncio.Server | None = None
        self._closing = False
        self._talks: dict[asyncio.StreamWriter, asyncio.Task[None]] = {}

    async def start(self, host: str, port: int) -> int:
        """Listen; tell the port."""
        self._server = await asyncio.start_server(self._admit, host, port, limit=_MOST_HEAD)
        address: tuple[str, int] = self._server.sockets[0].getsockname()
        return address[1]

    async def close(self) -> None:
        """Stop listening and end what is going on."""
        self._closing = True
        if self._server is not None:
            await stop_accepting(self._server.sockets)
            self._server.close()
        for writer, task in self._talks.items():
            task.cancel()
            # A task that has not begun ends without a chance to do it.
            writer.transport.abort()
        if self._talks:
            await asyncio.wait(self._talks.values(), timeout=1)

    def _admit(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._closing:
            writer.transport.abort()
            return
        self._talks[writer] = task = asyncio.create_task(self._serve(reader, writer))
        task.add_done_callback(lambda _: self._talks.pop(writer))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with suppress(TimeoutError, ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
                await _converse(reader, writer, self._respond)
        except asyncio.CancelledError:
            # Python 3.11 reports a cancelled conversation as an error of its own.
            if not self._closing:
                raise
        except ValueError as error:
            logger.info("a request that is not HTTP: %s", error)
        finally:
            writer.close()


def json_answer(value: object, *, status: int = 200) -> Answer:
    """Answer with a value as JSON."""
    return Answer(status, msgspec.json.encode(value))


def phrase(status: int) -> str:
    """Name a status; one that only a proxy in front of a server has (520) has no name.

    >>> phrase(404), phrase(520)
    ('Not Found', 'Unknown')
    """
    return HTTPStatus(status).phrase if status in set(HTTPStatus) else "Unknown"


async def stop_accepting(listeners: Iterable[TransportSocket | socket.socket]) -> None:
    """Accept nothing more, and let the loop hand over what was accepted: a task, then a transport, then its protocol.

    A server that closes before that loses it: sockets that nobody has nor closes.
    """
    loop = asyncio.get_running_loop()
    for listener in listeners:
        loop.remove_reader(listener.fileno())
    for _ in range(3):
        await asyncio.sleep(0)


async def _converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, respond: Responder) -> None:
    while True:
        async with asyncio.timeout(_PATIENCE):
            request = await _read(reader)
        answer = await respond(request)
        async with asyncio.timeout(_PATIENCE):
            writer.write(_head(answer) + (b"" if request.method == "HEAD" else answer.body))
            await writer.drain()
        if request.headers.get("connection", "").lower() == "close":
            return


async def _read(reader: asyncio.StreamReader) -> Request:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head.rstrip("\r\n").split("\r\n")
    method, target, _ = first.split(" ")
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    size = int(headers.get("content-length", "0"))
    if not 0 <= size <= _MOST_BODY:
        raise ValueError(f"a body of {size} bytes")
    url = urlsplit(target)
    query = parse_qs(url.query, keep_blank_values=True)
    return Request(method, unquote(url.path), query, headers, await reader.readexactly(size))


def _head(answer: Answer) -> bytes:
    usual = {"Content-Type": "application/json", "Content-Length": str(len(answer.body))}
    lines = [f"HTTP/1.1 {answer.status} {phrase(answer.status)}"]
    lines += [f"{name}: {value}" for name, value in (usual | answer.headers).items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
