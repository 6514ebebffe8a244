"""Service over HTTP to clients of this computer, from the process that holds the manager, such as a notebook's kernel.

Other users of this computer, and pages in its browsers, can reach what listens on it. So every request must bear a
token that is made here, and that only the caller of ``serve_mcp`` gets. Pages do not have it either; that foreign names
and origins are refused, too, is a second lock.
"""

import asyncio
import hmac
import json
import os
import re
import secrets
import shlex
import socket
import tempfile
import threading
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

import httpx2
import uvicorn
from mcp.client.streamable_http import streamable_http_client
from mcp.server.lowlevel import Server
from mcp.server.subscriptions import ListenHandler
from mcp.server.transport_security import TransportSecuritySettings
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from pmlive.mcp.connections import ConnectionLimiter, ConnectionLimits, SessionLimiter
from pmlive.mcp.notifications import Notifier
from pmlive.mcp.server import build_server
from pmlive.mcp.toolkit import Toolkit
from pmlive.settings import Secret
from pmlive.threads import single

if TYPE_CHECKING:
    from mcp.client._transport import TransportStreams

    from pmlive.manager import Manager

__all__ = ["HttpServer", "McpEndpoint", "bearer", "serve"]

ConfigKind: TypeAlias = Literal["all", "code", "json"]

_HOST = "127.0.0.1"
_PATH = "/mcp"
# Sessions of the older era that nobody ends are ended when they were silent for so long, or when there are more.
_IDLE = 15 * 60.0
_MOST_SESSIONS = 100
# 256 bits.
_TOKEN_BYTES = 32
# Seconds: for answers that are on their way, and then for the thread.
_GRACE = 1
_PATIENCE = 5.0
# Streams say nothing for as long as nothing happens.
_CLIENT = httpx2.Timeout(30.0, read=300.0)

_SCHEME = b"bearer"
# Whole and exact: a prefix would take http://localhost:80@evil.example for this computer.
_HOST_HEADER = re.compile(rb"(?:localhost|127\.0\.0\.1|\[::1\])(?::[0-9]{1,5})?", re.IGNORECASE)
_ORIGIN_HEADER = re.compile(rb"https?://" + _HOST_HEADER.pattern, re.IGNORECASE)

# What is refused costs as little as can be: nothing more is read from that connection.
_CLOSE = {"connection": "close"}

_endpoints: "dict[Manager, McpEndpoint]" = {}
_opening = threading.Lock()


class McpEndpoint:
    """A manager that MCP clients of this computer can reach, if they are told ``url`` and ``token``."""

    def __init__(self, toolkit: Toolkit, port: int) -> None:
        self._toolkit = toolkit
        self._server = HttpServer(build_server(toolkit), port)
        self.url = self._server.url
        self.port = self._server.port
        self.private = toolkit.private
        self.closed = False

    @property
    def token(self) -> str:
        """The token that every request must bear; who has it has this manager."""
        return self._server.token

    @property
    def headers(self) -> dict[str, str]:
        """The header that bears the token."""
        return bearer(self.token)

    def transport(self) -> "AbstractAsyncContextManager[TransportStreams]":
        """Return what connects a client of the SDK: ``Client(served.transport())``."""
        return self._server.transport()

    def config(self, kind: ConfigKind = "all") -> str:
        """Return what makes clients connect, with the token: a command for Claude Code, and JSON for others.

        Raises:
            ValueError: there is no such kind.
        """
        return _config(self.url, self.token, kind)

    def write_config(self, path: str | Path) -> Path:
        """Write the JSON into a file that only its owner can read, as for ``claude --mcp-config FILE``."""
        return _write_config(Path(path), self.url, self.token)

    def close(self) -> None:
        """Stop serving; the manager goes on. Closing again does nothing."""
        with _opening:
            if self.closed:
                return
            self.closed = True
            del _endpoints[self._toolkit.manager]
        self._server.stop()
        self._toolkit.close()

    def __repr__(self) -> str:
        """Return the address; the token is not shown, for what a cell shows is saved with the notebook."""
        if self.closed:
            return f"<MCP server, closed, that was at {self.url}>"
        return f"<MCP server at {self.url}; print its config() for what clients need, the token among it>"


def serve(
    manager: "Manager", port: int = 0, *, recordings: str | Path | None = None, private: bool = False
) -> McpEndpoint:
    """Serve a manager to MCP clients of this computer until it is closed; the same again if it is served already.

    Args:
        manager: what clients see and subscribe with; the notebook sees the same.
        port: by default one that is free.
        recordings: the folder of recordings that clients may ask of, by default the one where recordings go.
        private: whether clients may read the user's own orders and trades.

    Raises:
        OSError: the port is not available.
        ValueError: the manager is served already, at another port, or without what is the user's own.
    """
    with _opening:
        served = _endpoints.get(manager)
        if served is None:
            toolkit = Toolkit(manager, None if recordings is None else Path(recordings), private=private)
            served = _endpoints[manager] = _endpoint(toolkit, port)
            manager.at_close(served.close)
        elif port not in (0, served.port):
            raise ValueError(f"this manager is served at {served.url} already; close that to serve it at {port}")
        elif private and not served.private:
            raise ValueError(
                f"this manager is served at {served.url} already, without the user's own orders and trades; close that "
                "to serve it with private=True"
            )
    return served


def _endpoint(toolkit: Toolkit, port: int) -> McpEndpoint:
    try:
        return McpEndpoint(toolkit, port)
    except BaseException:
        toolkit.close()
        raise


class HttpServer:
    """An HTTP server in a thread with a loop of its own, which no cell of a notebook can hold up.

    Args:
        server: what is served.
        port: by default one that is free.
        limits: how many connections are kept, and for how long.

    Raises:
        OSError: the port is not available.
    """

    def __init__(self, server: Server[Notifier], port: int, *, limits: ConnectionLimits | None = None) -> None:
        # It listens before it serves, so that a client can come as soon as the address is known.
        self._listener = _listening(port)
        self._token = Secret(secrets.token_urlsafe(_TOKEN_BYTES))
        self.port: int = self._listener.getsockname()[1]
        self.url = f"http://{_HOST}:{self.port}{_PATH}"
        self._served = server
        self._limits = limits or ConnectionLimits()
        self._loop = asyncio.new_event_loop()
        self._stopping = asyncio.Event()
        self._thread = single("pmlive mcp", self._run)
        self._thread.start()

    @property
    def token(self) -> str:
        """The token that every request must bear."""
        return self._token.reveal()

    @asynccontextmanager
    async def transport(self) -> "AsyncGenerator[TransportStreams]":
        """Connect a client of the SDK."""
        # No proxy of the environment is asked, for none can lead to this computer.
        async with (
            httpx2.AsyncClient(headers=bearer(self.token), timeout=_CLIENT, trust_env=False) as client,
            streamable_http_client(self.url, http_client=client) as streams,
        ):
            yield streams

    def stop(self) -> None:
        """End every stream, and stop serving."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stopping.set)
            self._thread.join(_PATIENCE)

    def _run(self) -> None:
        with self._listener, asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        # An answer is one JSON text: as a stream of one event it takes the server half as long again. Progress, which
        # only a stream can carry, is sent over stdio; no call waits longer than hosts do without it.
        app = self._served.streamable_http_app(
            streamable_http_path=_PATH,
            host=_HOST,
            json_response=True,
            session_idle_timeout=_IDLE,
            max_sessions=_MOST_SESSIONS + 2 * self._limits.connections,
            # AccessControl checks names and origins, and more closely.
            transport_security=TransportSecuritySettings(enable_dns_rebinding_protection=False),
        )
        # The log is the program's own, and signals are: in a thread that is not the main one, none is caught.
        server = uvicorn.Server(
            uvicorn.Config(
                AccessControl(SessionLimiter(app, _MOST_SESSIONS), self.token),
                http="h11",
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                timeout_graceful_shutdown=_GRACE,
            )
        )
        serving = asyncio.ensure_future(self._until_stopped(app, server))
        await server.serve(sockets=[])
        await serving

    async def _until_stopped(self, app: Starlette, server: uvicorn.Server) -> None:
        """Run what belongs to the app, and end its streams before the server waits for them to end."""
        try:
            async with app.router.lifespan_context(app), asyncio.TaskGroup() as group:
                accepting = group.create_task(ConnectionLimiter(server, self._listener, self._limits).run())
                await self._stopping.wait()
                accepting.cancel()
                listening = self._served.get_request_handler("subscriptions/listen")
                if listening is not None and isinstance(listening.handler, ListenHandler):
                    listening.handler.close()
        finally:
            server.should_exit = True


def _listening(port: int) -> socket.socket:
    # Only of a socket that says so does asyncio know that it is TCP, whose small answers are not to wait for others.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((_HOST, port))
        listener.listen()
    except OSError as error:
        listener.close()
        raise OSError(
            f"port {port} is not available ({error.strerror}); choose another, or leave it out to get a free one"
        ) from error
    return listener


# --- access ---


class AccessControl:
    """Lets those requests through that bear the token and ask this computer by its own name.

    Args:
        app: what gets the requests that are let through.
        token: what every request must bear.
    """

    def __init__(self, app: ASGIApp, token: str) -> None:
        self._app = app
        self._token = token.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer it here."""
        if scope["type"] != "http":
            return
        refusal = self._refusal(list(scope["headers"]))
        await (refusal or self._app)(scope, receive, send)

    def _refusal(self, headers: list[tuple[bytes, bytes]]) -> PlainTextResponse | None:
        if not self._bears_token(_values(headers, b"authorization")):
            challenge = {"www-authenticate": 'Bearer realm="pmlive"'}
            text = "this server wants its bearer token with every request; serve_mcp() gives it to whoever started it"
            return PlainTextResponse(text, 401, challenge | _CLOSE)
        hosts, origins = _values(headers, b"host"), _values(headers, b"origin")
        if len(hosts) != 1 or not _HOST_HEADER.fullmatch(hosts[0]):
            return PlainTextResponse("this is not the name of this computer", 421, _CLOSE)
        if len(origins) > 1 or not all(_ORIGIN_HEADER.fullmatch(origin) for origin in origins):
            return PlainTextResponse("pages from elsewhere get no answer", 403, _CLOSE)
        return None

    def _bears_token(self, given: list[bytes]) -> bool:
        if len(given) != 1:
            return False
        scheme, _, token = given[0].partition(b" ")
        return scheme.lower() == _SCHEME and hmac.compare_digest(token.strip(b" "), self._token)


def _values(headers: list[tuple[bytes, bytes]], name: bytes) -> list[bytes]:
    return [value for key, value in headers if key.lower() == name]


# --- what clients are told ---


def bearer(token: str) -> dict[str, str]:
    """Return the header that bears a token."""
    return {"Authorization": f"Bearer {token}"}


def _config(url: str, token: str, kind: ConfigKind) -> str:
    texts = {"code": _code(url, token), "json": _json(url, token)}
    texts["all"] = (
        f"Claude Code, in a terminal:\n\n{texts['code']}\n\nOthers, in their configuration:\n\n{texts['json']}"
    )
    if kind not in texts:
        raise ValueError(f"invalid kind {kind!r}; expected one of: {', '.join(sorted(texts))}")
    return texts[kind]


def _write_config(path: Path, url: str, token: str) -> Path:
    # It is made under another name, with its mode from the first byte, and follows no link that stands at the name.
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(f"{_json(url, token)}\n")
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    return path


def _json(url: str, token: str) -> str:
    return json.dumps({"mcpServers": {"pmlive": {"type": "http", "url": url, "headers": bearer(token)}}}, indent=2)


def _code(url: str, token: str) -> str:
    ((name, value),) = bearer(token).items()
    return shlex.join(["claude", "mcp", "add", "--transport", "http", "pmlive", url, "--header", f"{name}: {value}"])
