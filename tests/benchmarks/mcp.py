"""Ask a manager that takes 5,000 messages a second, from eight callers at once, and time how long hosts wait at first.

The venue, the manager and the callers are a process each. A caller asks again as soon as it is answered, which is as
much as a server of one core can be asked, or at its own pace, which is what models do.
"""

import argparse
import asyncio
import json
import logging
import os
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from itertools import count, product
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

import httpx
import msgspec

import pmlive as pm
from pmlive.mcp import Toolkit

from . import figures
from .load import Served, served, wait

if TYPE_CHECKING:
    from pmlive.mcp.http import McpEndpoint

_CALLERS = 8
# Seconds between two questions of a caller; 0 is as soon as it is answered.
_PACES = {0.0: "at once", 0.25: "4 a second each"}
_RATE = 5_000
_SECONDS = 5.0
_SERVED = 600
_STARTS = 5
_PATIENCE = 60.0
# Callers are told the token so, for others can read command lines.
_TOKEN = "PMLIVE_MCP_TOKEN"
_CLIENT = {"name": "benchmark", "version": "1"}
_CLIENTS = ("plain", "legacy", "2026-07-28")

# Calls a tool with arguments; tells whether it failed.
Call: TypeAlias = Callable[[str, dict[str, object]], Awaitable[bool]]


class Waits(msgspec.Struct):
    """How long callers waited, in seconds."""

    seconds: list[float]


class Statistics(msgspec.Struct):
    """What the manager says that it has received."""

    total_events: int


class Asked(NamedTuple):
    """What is asked, and how it is told of in the table."""

    tool: str
    arguments: dict[str, object]
    words: str


def main() -> None:
    """Print the figures."""
    options = _options()
    if options.call:
        asyncio.run(_call(*options.call))
        return
    with served("--seconds", str(_SERVED), "--rate", str(_RATE)) as venue:
        rows = _calls(venue)
    head = (
        "asked",
        "over",
        "asking again",
        "calls a second",
        "median, ms",
        "99 of 100 within, ms",
        "messages a second meanwhile",
    )
    made_with = figures.setting("mcp", "pydantic", "uvicorn")
    figures.show("mcp", f"{made_with}:\n\n{figures.table(head, rows)}\n\n{_starts()}", options)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.mcp", description=__doc__)
    parser.add_argument("--call", nargs=5, metavar=("URL", "ERA", "TOOL", "ARGUMENTS", "PACE"), help=argparse.SUPPRESS)
    figures.add_options(parser)
    return parser.parse_args()


def _calls(venue: Served) -> list[tuple[object, ...]]:
    with pm.Manager(venue=venue.venue, rows=20_000) as live:
        live.subscribe_orderbook_updates(venue.token_ids)
        endpoint = live.serve_mcp()
        wait(lambda: _messages(live) > _RATE, patience=_PATIENCE)
        asked = (
            Asked("get_realtime_status", {}, "status"),
            Asked("get_book", {"token": venue.token_ids[0]}, "book"),
        )
        ways: dict[str, Callable[[Asked, float], Waits]] = {"no transport": partial(_direct, live)}
        ways |= {f"HTTP, {client}": partial(_apart, endpoint, client) for client in _CLIENTS}
        return [_timed(live, way, one, pace) for one, pace, way in product(asked, _PACES, ways.items())]


def _timed(
    live: pm.Manager, way: tuple[str, Callable[[Asked, float], Waits]], asked: Asked, pace: float
) -> tuple[object, ...]:
    over, call = way
    before, began = _messages(live), time.monotonic()
    waits = sorted(call(asked, pace).seconds)
    rate = (_messages(live) - before) / (time.monotonic() - began)
    speed = (
        f"{len(waits) / _SECONDS:.0f}",
        f"{statistics.median(waits) * 1e3:.1f}",
        f"{waits[int(len(waits) * 0.99)] * 1e3:.0f}",
        f"{rate:,.0f}",
    )
    return (asked.words, over, _PACES[pace], *speed)


def _messages(live: pm.Manager) -> int:
    return msgspec.convert(live.status()["statistics"], Statistics).total_events


def _direct(live: pm.Manager, asked: Asked, pace: float) -> Waits:
    """Call in this process, without a client."""
    toolkit = Toolkit(live)

    async def ask() -> bool:
        return (await toolkit.call(asked.tool, asked.arguments)).failed

    try:
        return asyncio.run(_repeated([ask] * _CALLERS, pace))
    finally:
        toolkit.close()


def _apart(endpoint: "McpEndpoint", era: str, asked: Asked, pace: float) -> Waits:
    """Call from a process of its own."""
    words = [endpoint.url, era, asked.tool, json.dumps(asked.arguments), str(pace)]
    done = subprocess.run(
        [sys.executable, "-m", f"{__package__}.mcp", "--call", *words],
        stdout=subprocess.PIPE,
        check=True,
        env={**os.environ, _TOKEN: endpoint.token},
    )
    return msgspec.json.decode(done.stdout, type=Waits)


async def _call(url: str, era: Literal["legacy", "2026-07-28", "plain"], tool: str, arguments: str, pace: str) -> None:
    # It says much when it is closed in the middle of a stream.
    logging.getLogger("mcp").setLevel(logging.CRITICAL)
    given: dict[str, object] = json.loads(arguments)
    async with AsyncExitStack() as stack:
        made = [
            await stack.enter_async_context(_plain(url) if era == "plain" else _client(url, era))
            for _ in range(_CALLERS)
        ]
        waits = await _repeated([partial(call, tool, given) for call in made], float(pace))
    sys.stdout.buffer.write(msgspec.json.encode(waits))


def _bearer() -> dict[str, str]:
    return {"Authorization": f"Bearer {os.environ[_TOKEN]}"}


@asynccontextmanager
async def _client(url: str, era: Literal["legacy", "2026-07-28"]) -> AsyncGenerator[Call]:
    """Connect as hosts do that are made with the SDK."""
    # The callers' own, which the manager's process does without.
    import httpx2
    from mcp.client import Client
    from mcp.client.streamable_http import streamable_http_client

    async with (
        httpx2.AsyncClient(headers=_bearer(), timeout=httpx2.Timeout(30.0, read=300.0)) as http,
        Client(streamable_http_client(url, http_client=http), mode=era) as client,
    ):

        async def call(tool: str, given: dict[str, object]) -> bool:
            return bool((await client.call_tool(tool, given)).is_error)

        yield call


@asynccontextmanager
async def _plain(url: str) -> AsyncGenerator[Call]:
    """Connect with little of a client, so that what is timed is the server."""
    said: dict[str, object] = {
        "protocolVersion": "2025-11-25",
        "capabilities": {},
        "clientInfo": {"name": "benchmark", "version": "1"},
    }
    numbers = count(1)
    headers = {"accept": "application/json, text/event-stream", **_bearer()}
    async with httpx.AsyncClient(headers=headers, timeout=30) as client:

        async def ask(method: str, params: dict[str, object]) -> httpx.Response:
            message = {"jsonrpc": "2.0", "id": next(numbers), "method": method, "params": params}
            return (await client.post(url, json=message)).raise_for_status()

        opened = await ask("initialize", said)
        client.headers["mcp-session-id"] = opened.headers["mcp-session-id"]
        await client.post(url, json={"jsonrpc": "2.0", "method": "notifications/initialized"})

        async def call(tool: str, given: dict[str, object]) -> bool:
            return b'"isError":true' in (await ask("tools/call", {"name": tool, "arguments": given})).content

        yield call


async def _repeated(asking: list[Callable[[], Awaitable[bool]]], pace: float) -> Waits:
    """Let callers ask and ask again for some seconds, not all at the same moment if they have a pace."""
    seconds: list[float] = []
    # With its first call a client reads what tools answer, which takes it longer than the call.
    for ask in asking:
        await ask()
    end = time.perf_counter() + _SECONDS

    async def caller(number: int, ask: Callable[[], Awaitable[bool]]) -> None:
        await asyncio.sleep(pace * number / len(asking))
        while (began := time.perf_counter()) < end:
            failed = await ask()
            seconds.append(time.perf_counter() - began)
            if failed:
                raise RuntimeError("a call failed, which would count as fast")
            await asyncio.sleep(max(0.0, began + pace - time.perf_counter()))

    await asyncio.gather(*(caller(number, ask) for number, ask in enumerate(asking)))
    return Waits(seconds)


def _starts() -> str:
    """Time what a host waits for when it starts the server: its greeting, and the list of tools."""
    times = [_start() for _ in range(_STARTS)]
    rows = [
        (what, f"{statistics.median(one[place] for one in times):.2f}")
        for place, what in enumerate(("first reply", "list of tools", "end, after the pipe is closed"))
    ]
    return figures.table(("the program is started, and gives", "seconds, median of 5"), rows)


def _start() -> tuple[float, float, float]:
    began = time.monotonic()
    command = [sys.executable, "-m", "pmlive", "mcp", "--venue", "sim"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        greeting = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": _CLIENT}
        said = [
            {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": greeting},
            {"jsonrpc": "2.0", "method": "notifications/initialized"},
            {"jsonrpc": "2.0", "id": 2, "method": "tools/list"},
        ]
        process.stdin.write(b"".join(json.dumps(each).encode() + b"\n" for each in said))
        process.stdin.flush()
        process.stdout.readline()
        first = time.monotonic() - began
        process.stdout.readline()
        listed = time.monotonic() - began
        ending = time.monotonic()
        process.stdin.close()
        process.wait(_PATIENCE)
        return first, listed, time.monotonic() - ending


if __name__ == "__main__":
    main()
