"""Serving clients of this computer over HTTP from the process that holds the manager, such as a notebook's kernel."""

import asyncio
import socket
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import uvicorn
from mcp.server.lowlevel import Server
from mcp.server.subscriptions import ListenHandler
from starlette.applications import Starlette

from pmlive.mcp.pushes import Pushes
from pmlive.mcp.server import server
from pmlive.mcp.toolkit import Toolkit
from pmlive.threads import single

if TYPE_CHECKING:
    from pmlive.manager import Manager

__all__ = ["Served", "Site", "serve"]

_HOST = "127.0.0.1"
_PATH = "/mcp"
# Sessions of the older era that nobody ends are ended when they were silent for so long.
_IDLE = 15 * 60.0
_MOST_SESSIONS = 100
# Seconds: for answers that are on their way, and then for the thread.
_GRACE = 1
_PATIENCE = 5.0

_all: "dict[Manager, Served]" = {}
_opening = threading.Lock()


class Served:
    """A manager that MCP clients of this computer can reach; ``url`` is what to tell them."""

    def __init__(self, toolkit: Toolkit, port: int) -> None:
        self._toolkit = toolkit
        self._site = Site(server(toolkit), port)
        self.url = self._site.url
        self.port = self._site.port
        self.closed = False

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
        """Say where it is, and how Claude Code is told of it."""
        if self.closed:
            return f"<MCP server, closed, that was at {self.url}>"
        return f"<MCP server at {self.url}; claude mcp add --transport http pmlive {self.url}>"


def serve(manager: "Manager", port: int = 0, *, recordings: str | Path | None = None) -> Served:
    """Serve a manager to MCP clients of this computer until it is closed; the same again if it is served already.

    Args:
        manager: what clients see and subscribe with; the notebook sees the same.
        port: by default one that is free.
        recordings: the folder of recordings that clients may ask of, by default the one where recordings go.

    Raises:
        OSError: the port cannot be had.
        ValueError: the manager is served already, at another port.
    """
    with _opening:
        served = _all.get(manager)
        if served is None:
            served = _all[manager] = _served(manager, port, None if recordings is None else Path(recordings))
            manager.at_close(served.close)
        elif port not in (0, served.port):
            raise ValueError(f"this manager is served at {served.url} already; close that to serve it at {port}")
    return served


def _served(manager: "Manager", port: int, recordings: Path | None) -> Served:
    toolkit = Toolkit(manager, recordings)
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

    Raises:
        OSError: the port cannot be had.
    """

    def __init__(self, made: Server[Pushes], port: int) -> None:
        # It listens before it serves, so that a client can come as soon as the address is known.
        self._listener = _listening(port)
        self.port: int = self._listener.getsockname()[1]
        self.url = f"http://{_HOST}:{self.port}{_PATH}"
        self._made = made
        self._loop = asyncio.new_event_loop()
        self._stopping = asyncio.Event()
        self._thread = single("pmlive mcp", self._run)
        self._thread.start()

    def stop(self) -> None:
        """End every stream, and serve no more."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stopping.set)
            self._thread.join(_PATIENCE)

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        # An answer is one JSON text: as a stream of one event it takes the server half as long again. Progress, which
        # only a stream can carry, is told over stdio; no call waits longer than hosts do without it.
        app = self._made.streamable_http_app(
            streamable_http_path=_PATH,
            host=_HOST,
            json_response=True,
            session_idle_timeout=_IDLE,
            max_sessions=_MOST_SESSIONS,
        )
        # The log is the program's own, and signals are: in a thread that is not the main one, none is caught.
        config = uvicorn.Config(
            app, lifespan="off", log_config=None, access_log=False, ws="none", timeout_graceful_shutdown=_GRACE
        )
        site = uvicorn.Server(config)
        serving = asyncio.ensure_future(self._until_stopped(app, site))
        await site.serve(sockets=[self._listener])
        await serving

    async def _until_stopped(self, app: Starlette, site: uvicorn.Server) -> None:
        """Run what belongs to the app, and end its streams before the server waits for them to end."""
        async with app.router.lifespan_context(app):
            await self._stopping.wait()
            listening = self._made.get_request_handler("subscriptions/listen")
            if listening is not None and isinstance(listening.handler, ListenHandler):
                listening.handler.close()
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
