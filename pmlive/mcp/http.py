"""Serving clients of this computer over HTTP from the process that holds the manager, such as a notebook's kernel.

Other users of this computer, and pages in its browsers, can reach what listens on it. So every request must bear a
token that is made here, and that only the caller of ``serve_mcp`` is told.
"""

import asyncio
import secrets
import socket
import threading
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import httpx2
import uvicorn
from mcp.client.streamable_http import streamable_http_client
from mcp.server.lowlevel import Server
from mcp.server.subscriptions import ListenHandler
from mcp.server.transport_security import TransportSecuritySettings
from starlette.applications import Starlette

from pmlive.mcp.configuration import ConfigKind, bearer, config, write_config
from pmlive.mcp.connections import Connections, Limits
from pmlive.mcp.gate import Gate
from pmlive.mcp.pushes import Pushes
from pmlive.mcp.server import server
from pmlive.mcp.sessions import Sessions
from pmlive.mcp.toolkit import Toolkit
from pmlive.settings import Secret
from pmlive.threads import single

if TYPE_CHECKING:
    from mcp.client._transport import TransportStreams

    from pmlive.manager import Manager

__all__ = ["Served", "Site", "serve"]

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

_all: "dict[Manager, Served]" = {}
_opening = threading.Lock()


class Served:
    """A manager that MCP clients of this computer can reach, if they are told ``url`` and ``token``."""

    def __init__(self, toolkit: Toolkit, port: int) -> None:
        self._toolkit = toolkit
        self._site = Site(server(toolkit), port)
        self.url = self._site.url
        self.port = self._site.port
        self.private = toolkit.private
        self.closed = False

    @property
    def token(self) -> str:
        """Give the token that every request must bear; who has it has this manager."""
        return self._site.token

    @property
    def headers(self) -> dict[str, str]:
        """Give the header that bears the token."""
        return bearer(self.token)

    def transport(self) -> "AbstractAsyncContextManager[TransportStreams]":
        """Give what connects a client of the SDK: ``Client(served.transport())``."""
        return self._site.transport()

    def config(self, kind: ConfigKind = "all") -> str:
        """Write what makes clients connect, with the token: a command for Claude Code, and JSON for others.

        Raises:
            ValueError: there is no such kind.
        """
        return config(self.url, self.token, kind)

    def write_config(self, path: str | Path) -> Path:
        """Write the JSON into a file that only its owner can read, as for ``claude --mcp-config FILE``."""
        return write_config(Path(path), self.url, self.token)

    def close(self) -> None:
        """Serve no more; the manager goes on. Again does nothing."""
        with _opening:
            if self.closed:
                return
            self.closed = True
            del _all[self._toolkit.manager]
        self._site.stop()
        self._toolkit.close()

    def __repr__(self) -> str:
        """Say where it is; the token is not shown, for what a cell shows is saved with the notebook."""
        if self.closed:
            return f"<MCP server, closed, that was at {self.url}>"
        return f"<MCP server at {self.url}; print its config() for what clients need, the token among it>"


def serve(manager: "Manager", port: int = 0, *, recordings: str | Path | None = None, private: bool = False) -> Served:
    """Serve a manager to MCP clients of this computer until it is closed; the same again if it is served already.

    Args:
        manager: what clients see and subscribe with; the notebook sees the same.
        port: by default one that is free.
        recordings: the folder of recordings that clients may ask of, by default the one where recordings go.
        private: whether clients may read the user's own orders and trades.

    Raises:
        OSError: the port cannot be had.
        ValueError: the manager is served already, at another port, or without what is the user's own.
    """
    with _opening:
        served = _all.get(manager)
        if served is None:
            toolkit = Toolkit(manager, None if recordings is None else Path(recordings), private=private)
            served = _all[manager] = _served(toolkit, port)
            manager.at_close(served.close)
        elif port not in (0, served.port):
            raise ValueError(f"this manager is served at {served.url} already; close that to serve it at {port}")
        elif private and not served.private:
            raise ValueError(
                f"this manager is served at {served.url} already, without the user's own orders and trades; close that "
                "to serve it with private=True"
            )
    return served


def _served(toolkit: Toolkit, port: int) -> Served:
    try:
        return Served(toolkit, port)
    except BaseException:
        toolkit.close()
        raise


class Site:
    """An HTTP server in a thread with a loop of its own, which no cell of a notebook can hold up.

    Args:
        made: what is served.
        port: by default one that is free.
        limits: of connections.

    Raises:
        OSError: the port cannot be had.
    """

    def __init__(self, made: Server[Pushes], port: int, *, limits: Limits | None = None) -> None:
        # It listens before it serves, so that a client can come as soon as the address is known.
        self._listener = _listening(port)
        self._token = Secret(secrets.token_urlsafe(_TOKEN_BYTES))
        self.port: int = self._listener.getsockname()[1]
        self.url = f"http://{_HOST}:{self.port}{_PATH}"
        self._made = made
        self._limits = limits or Limits()
        self._loop = asyncio.new_event_loop()
        self._stopping = asyncio.Event()
        self._thread = single("pmlive mcp", self._run)
        self._thread.start()

    @property
    def token(self) -> str:
        """Give what every request must bear."""
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
        """End every stream, and serve no more."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stopping.set)
            self._thread.join(_PATIENCE)

    def _run(self) -> None:
        with self._listener, asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        # An answer is one JSON text: as a stream of one event it takes the server half as long again. Progress, which
        # only a stream can carry, is told over stdio; no call waits longer than hosts do without it.
        app = self._made.streamable_http_app(
            streamable_http_path=_PATH,
            host=_HOST,
            json_response=True,
            session_idle_timeout=_IDLE,
            max_sessions=_MOST_SESSIONS + 2 * self._limits.connections,
            # The gate looks at names and origins, and more closely.
            transport_security=TransportSecuritySettings(enable_dns_rebinding_protection=False),
        )
        # The log is the program's own, and signals are: in a thread that is not the main one, none is caught.
        site = uvicorn.Server(
            uvicorn.Config(
                Gate(Sessions(app, _MOST_SESSIONS), self.token),
                http="h11",
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                timeout_graceful_shutdown=_GRACE,
            )
        )
        serving = asyncio.ensure_future(self._until_stopped(app, site))
        await site.serve(sockets=[])
        await serving

    async def _until_stopped(self, app: Starlette, site: uvicorn.Server) -> None:
        """Run what belongs to the app, and end its streams before the server waits for them to end."""
        try:
            async with app.router.lifespan_context(app), asyncio.TaskGroup() as group:
                taking = group.create_task(Connections(site, self._listener, self._limits).run())
                await self._stopping.wait()
                taking.cancel()
                listening = self._made.get_request_handler("subscriptions/listen")
                if listening is not None and isinstance(listening.handler, ListenHandler):
                    listening.handler.close()
        finally:
            site.should_exit = True


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
            f"port {port} cannot be had ({error.strerror}); give another, or none for any that is free"
        ) from error
    return listener
