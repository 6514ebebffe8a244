"""A small HTTP/1.1 server: first request after another, JSON answers."""

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

__all__ = ["Handler", "HttpRequest", "HttpResponse", "HttpServer", "json_response", "reason_phrase", "stop_accepting"]

logger = get_logger(__name__)
_MAX_HEAD, _MAX_BODY = 64 * 1024, 8 * 1024 * 1024
_TIMEOUT = 60.0


class HttpRequest(msgspec.Struct, frozen=True):
    """The parts of a request that matter here; ``query`` keeps repeated names."""

    method: str
    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]
    body: bytes

    def first(self, name: str, default: str = "") -> str:
        """Return the first value of a query name."""
        return self.query.get(name, [default])[0]


class HttpResponse(msgspec.Struct, frozen=True):
    """A response: status, body, and headers beyond the usual ones."""

    status: int
    body: bytes
    headers: dict[str, str] = {}


Handler: TypeAlias = Callable[[HttpRequest], Awaitable[HttpResponse]]


class HttpServer:
    """A server that answers each request by ``respond``."""

    def __init__(self, respond: Handler) -> None:
        self._respond = respond
        self._server: asyncio.Server | None = None
        self._closing = False
        self._connections: dict[asyncio.StreamWriter, asyncio.Task[None]] = {}

    async def start(self, host: str, port: int) -> int:
        """Listen; return the port."""
        self._server = await asyncio.start_server(self._admit, host, port, limit=_MAX_HEAD)
        address: tuple[str, int] = self._server.sockets[0].getsockname()
        return address[1]

    async def close(self) -> None:
        """Stop listening and end all connections."""
        self._closing = True
        if self._server is not None:
            await stop_accepting(self._server.sockets)
            self._server.close()
        for writer, task in self._connections.items():
            task.cancel()
            # A task that is cancelled before it begins never closes its connection.
            writer.transport.abort()
        if self._connections:
            await asyncio.wait(self._connections.values(), timeout=1)

    def _admit(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._closing:
            writer.transport.abort()
            return
        self._connections[writer] = task = asyncio.create_task(self._serve(reader, writer))
        task.add_done_callback(lambda _: self._connections.pop(writer))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with suppress(TimeoutError, ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
                await _serve_requests(reader, writer, self._respond)
        except asyncio.CancelledError:
            # Python 3.11 reports a cancelled connection task as an unhandled error.
            if not self._closing:
                raise
        except ValueError as error:
            logger.info("invalid HTTP request: %s", error)
        finally:
            writer.close()


def json_response(value: object, *, status: int = 200) -> HttpResponse:
    """Return a response whose body is a value as JSON."""
    return HttpResponse(status, msgspec.json.encode(value))


def reason_phrase(status: int) -> str:
    """Return a status code's reason phrase; one that only proxies use (520) has none.

    >>> reason_phrase(404), reason_phrase(520)
    ('Not Found', 'Unknown')
    """
    return HTTPStatus(status).phrase if status in set(HTTPStatus) else "Unknown"


async def stop_accepting(listeners: Iterable[TransportSocket | socket.socket]) -> None:
    """Accept no more connections, and wait until the loop has handed those accepted to their server.

    A server that closes before that loses sockets, which then stay open.
    """
    loop = asyncio.get_running_loop()
    for listener in listeners:
        loop.remove_reader(listener.fileno())
    # One turn of the loop each for the task, its transport and the transport's protocol.
    for _ in range(3):
        await asyncio.sleep(0)


async def _serve_requests(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, respond: Handler) -> None:
    while True:
        async with asyncio.timeout(_TIMEOUT):
            request = await _read_request(reader)
        response = await respond(request)
        async with asyncio.timeout(_TIMEOUT):
            writer.write(_response_head(response) + (b"" if request.method == "HEAD" else response.body))
            await writer.drain()
        if request.headers.get("connection", "").lower() == "close":
            return


async def _read_request(reader: asyncio.StreamReader) -> HttpRequest:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    request_line, *lines = head.rstrip("\r\n").split("\r\n")
    method, target, _ = request_line.split(" ")
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    size = int(headers.get("content-length", "0"))
    if not 0 <= size <= _MAX_BODY:
        raise ValueError(f"invalid Content-Length {size}; expected 0 to {_MAX_BODY}")
    url = urlsplit(target)
    query = parse_qs(url.query, keep_blank_values=True)
    return HttpRequest(method, unquote(url.path), query, headers, await reader.readexactly(size))


def _response_head(response: HttpResponse) -> bytes:
    usual = {"Content-Type": "application/json", "Content-Length": str(len(response.body))}
    lines = [f"HTTP/1.1 {response.status} {reason_phrase(response.status)}"]
    lines += [f"{name}: {value}" for name, value in (usual | response.headers).items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
