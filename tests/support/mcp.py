"""Clients of the SDK in both protocol eras, and a client that writes its lines by hand."""

import asyncio
import json
import os
import sys
import threading
import warnings
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Mapping
from contextlib import asynccontextmanager, contextmanager
from queue import Queue
from typing import IO, Any, Literal, TypeAlias

import mcp_types as types
import pytest
from mcp import MCPDeprecationWarning, StdioServerParameters
from mcp.client import Client
from mcp.server.lowlevel import Server
from mcp.server.mcpserver import MCPServer
from mcp.shared.exceptions import MCPError

from pmlive.mcp.http import HttpServer, McpEndpoint
from pmlive.mcp.specs import ToolkitLike
from pmlive.mcp.stdio import Pipes, run_stdio

__all__ = [
    "CLIENT",
    "ENVELOPE",
    "Era",
    "Lines",
    "Log",
    "asking",
    "client_of",
    "eras",
    "heard",
    "piped",
    "program",
    "refusal",
    "set_level",
    "text_of",
    "unwatch",
    "watch",
]

Era: TypeAlias = Literal["legacy", "2026-07-28"]
Target: TypeAlias = Server[Any] | MCPServer | StdioServerParameters | HttpServer | McpEndpoint
Log: TypeAlias = types.LoggingMessageNotificationParams

PATIENCE = 120.0
CLIENT = {"name": "a test", "version": "1"}
ENVELOPE: dict[str, object] = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientCapabilities": {},
}

eras = pytest.mark.parametrize("era", ["legacy", "2026-07-28"])


def asking(target: Target, era: Era, ask: Callable[[Client], Awaitable[None]]) -> None:
    """Let a client of an era ask."""

    async def connected() -> None:
        async with asyncio.timeout(PATIENCE), client_of(target, era) as client:
            await ask(client)

    asyncio.run(connected())


def client_of(target: Target, era: Era) -> Client:
    return Client(target.transport() if isinstance(target, HttpServer | McpEndpoint) else target, mode=era)


async def refusal(asked: Awaitable[object]) -> types.ErrorData:
    with pytest.raises(MCPError) as refused:
        await asked
    return refused.value.error


def text_of(result: object) -> str:
    assert isinstance(result, types.CallToolResult)
    (content,) = result.content
    assert isinstance(content, types.TextContent)
    return content.text


def program(*arguments: object, **environment: str) -> StdioServerParameters:
    """Name the program, for a client that starts it."""
    words = ["-m", "pmlive", "mcp", *map(str, arguments)]
    return StdioServerParameters(command=sys.executable, args=words, env={**os.environ, **environment})


# --- what only the older era has ---


@asynccontextmanager
async def heard(target: Target, logs: list[Log], uris: list[str]) -> AsyncGenerator[Client]:
    """Connect a client of the older era that notes what it is told."""

    async def log(params: Log) -> None:
        logs.append(params)

    async def message(message: object) -> None:
        if isinstance(message, types.ResourceUpdatedNotification):
            uris.append(message.params.uri)

    to = target.transport() if isinstance(target, HttpServer | McpEndpoint) else target
    client = Client(to, mode="legacy", logging_callback=log, message_handler=message)
    async with asyncio.timeout(PATIENCE), client:
        yield client


@contextmanager
def _older() -> Generator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", MCPDeprecationWarning)
        yield


async def watch(client: Client, uri: str) -> None:
    with _older():
        await client.subscribe_resource(uri)  # pyright: ignore[reportDeprecated]  # clients of that era do it


async def unwatch(client: Client, uri: str) -> None:
    with _older():
        await client.unsubscribe_resource(uri)  # pyright: ignore[reportDeprecated]  # clients of that era do it


async def set_level(client: Client, level: types.LoggingLevel) -> None:
    with _older():
        await client.set_logging_level(level)  # pyright: ignore[reportDeprecated]  # clients of that era do it


# --- by hand ---


class Lines:
    """The client's side of two pipes."""

    def __init__(self, to_server: IO[bytes], from_server: IO[bytes]) -> None:
        self.to_server = to_server
        self.from_server = from_server
        self.lines: Queue[bytes] = Queue()

    def read(self) -> None:
        """Begin to read; a client that never does is one that has stopped."""

        def reading() -> None:
            for line in self.from_server:
                self.lines.put(line)
            self.lines.put(b"")

        threading.Thread(target=reading, daemon=True).start()

    def say(self, line: bytes) -> None:
        self.to_server.write(line + b"\n")
        self.to_server.flush()

    def ask(self, message_id: object, method: str, **params: object) -> None:
        message = {"jsonrpc": "2.0", "id": message_id, "method": method}
        self.say(json.dumps(message | ({"params": params} if params else {})).encode())

    def note(self, method: str, **params: object) -> None:
        self.say(json.dumps({"jsonrpc": "2.0", "method": method, "params": params}).encode())

    def initialize(self, version: str = "2025-11-25") -> Mapping[str, Any]:
        self.ask("first", "initialize", protocolVersion=version, capabilities={}, clientInfo=CLIENT)
        answer = self.hear()
        self.note("notifications/initialized")
        return answer

    def hear(self) -> dict[str, Any]:
        """Wait for the next message."""
        line = self.lines.get(timeout=PATIENCE)
        assert line, "the server has gone"
        return json.loads(line)

    def rest(self) -> list[dict[str, Any]]:
        """Wait for the end, and give all that came before it."""
        rest: list[dict[str, Any]] = []
        while line := self.lines.get(timeout=PATIENCE):
            rest.append(json.loads(line))
        return rest


class Piped(Lines):
    """Lines to a server that runs in a thread of this process."""

    def __init__(self, kit: ToolkitLike, *, loaded: threading.Event | None = None) -> None:
        (reading, to_server), (from_server, writing) = os.pipe(), os.pipe()
        super().__init__(os.fdopen(to_server, "wb"), os.fdopen(from_server, "rb"))
        self.stop = threading.Event()
        self.closed = threading.Event()
        self._ends = (reading, writing)

        @contextmanager
        def opened() -> Generator[ToolkitLike]:
            if loaded is not None:
                assert loaded.wait(PATIENCE)
            yield kit
            self.closed.set()

        def run() -> None:
            try:
                run_stdio(Pipes(reading, writing), opened, self.stop.is_set)
            finally:
                os.close(writing)

        self.thread = threading.Thread(target=run)
        self.thread.start()

    def end(self) -> None:
        if not self.to_server.closed:
            self.to_server.close()
        self.stop.set()
        self.thread.join(PATIENCE)
        assert not self.thread.is_alive()


@contextmanager
def piped(kit: ToolkitLike, *, loaded: threading.Event | None = None) -> Generator[Piped]:
    """Serve over pipes in this process; the toolkit is there once ``loaded`` is."""
    served = Piped(kit, loaded=loaded)
    try:
        yield served
    finally:
        served.end()
        served.from_server.close()
