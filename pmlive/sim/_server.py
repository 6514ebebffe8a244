"""The simulated venue as it runs in its event loop: five listeners, one pulse."""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from http import HTTPStatus
from weakref import WeakSet

import msgspec
from websockets.asyncio.server import Server as SocketServer
from websockets.asyncio.server import ServerConnection, serve
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request as Handshake
from websockets.http11 import Response
from websockets.protocol import State

from pmlive.sim._connections import Dial, Hub, paced
from pmlive.sim._exchange import Exchange
from pmlive.sim._faults import Fault, FaultChannel
from pmlive.sim._http import Answer, HttpServer, Request, json_answer, phrase, stop_accepting
from pmlive.sim._market_channel import MarketChannel
from pmlive.sim._offline import Script
from pmlive.sim._prices_channel import PricesChannel
from pmlive.sim._realtime_channel import RealtimeChannel
from pmlive.sim._reference_prices import Quotes
from pmlive.sim._rest import Clob, Gamma
from pmlive.sim._user_channel import UserChannel

__all__ = ["Server", "Urls"]

_HOST = "127.0.0.1"
_BEAT, _SWEEP, _STRETCH = 0.005, 0.05, 0.02
_SLOW_PACE = 200
_REDIRECTION = 3
_MAX_FRAME = 4 * 1024 * 1024
_CLOB: dict[str, FaultChannel] = {"/ws/market": "market", "/ws/user": "user"}
_LIVE_DATA: dict[str, FaultChannel] = {"/": "realtime"}
_PRICES: dict[str, FaultChannel] = {"/ws": "prices"}


class Urls(msgspec.Struct, frozen=True):
    """Where a client finds the simulated venue; the same five addresses as the real one has."""

    clob_ws: str
    live_data: str
    prices_ws: str
    clob: str
    gamma: str


class Server:
    """Runs the channels of one exchange until told to stop; ``rate`` is in messages a second."""

    def __init__(
        self, exchange: Exchange, hub: Hub, *, seed: int, rate: float, story_every: float, script: Script | None
    ) -> None:
        self.exchange = exchange
        self.hub = hub
        self._rate = 0.0 if script is not None else rate
        self._story_every = story_every
        self._quotes = Quotes(seed=seed, now=exchange.clock())
        self.user = UserChannel(exchange, hub, seed=seed)
        self.realtime = RealtimeChannel(exchange, hub, self._quotes, seed=seed)
        self._market = MarketChannel(exchange, hub, seed=seed, script=script)
        self._prices = PricesChannel(hub, self._quotes)
        self._clob = Clob(exchange, script=script)
        self._gamma = Gamma(exchange, hub.faults)
        self._group = asyncio.TaskGroup()

    async def run(self, port: int, stopping: asyncio.Event, started: Callable[[Urls], None]) -> None:
        """Listen on five ports from ``port`` on (0: any), tell where, and serve until ``stopping`` is set."""
        async with self._group as group, AsyncExitStack() as stack:
            urls = await self._listen(stack, port)
            tasks = [
                group.create_task(work)
                for work in (self._pulse(), self._sweep(), self._quote(), self.user.tell(self._story_every))
            ]
            started(urls)
            await stopping.wait()
            for task in tasks:
                task.cancel()

    def step(self) -> int:
        """Let one thing happen in one market; tell how many messages it made."""
        messages = self.exchange.step()
        self.hub.publish(messages)
        self.realtime.told(messages)
        return len(messages)

    async def _listen(self, stack: AsyncExitStack, port: int) -> Urls:
        ports = [port + number if port else 0 for number in range(5)]
        sockets = [
            await stack.enter_async_context(self._sockets(channels, at))
            for channels, at in zip((_CLOB, _LIVE_DATA, _PRICES), ports[:3], strict=True)
        ]
        clob_ws, live_data, prices_ws = (server.sockets[0].getsockname()[1] for server in sockets)
        return Urls(
            clob_ws=f"ws://{_HOST}:{clob_ws}/ws",
            live_data=f"ws://{_HOST}:{live_data}",
            prices_ws=f"ws://{_HOST}:{prices_ws}/ws",
            clob=f"http://{_HOST}:{await self._http(stack, 'clob', ports[3])}",
            gamma=f"http://{_HOST}:{await self._http(stack, 'gamma', ports[4])}",
        )

    @asynccontextmanager
    async def _sockets(self, channels: dict[str, FaultChannel], port: int) -> AsyncGenerator[SocketServer]:
        async def handle(socket: ServerConnection) -> None:
            await self._serve(socket, channels[_path(socket.request)])

        async def admit(socket: ServerConnection, handshake: Handshake) -> Response | None:
            channel = channels.get(_path(handshake))
            if channel is not None and (fault := self.hub.faults.strike("no_http", channel)):
                self.hub.dials.append(Dial(time.monotonic(), channel, _path(handshake), 0))
                return await _without_http(socket, fault)
            return self._admit(socket, channel, _path(handshake))

        def pace() -> int | None:
            faults = self.hub.faults
            if any(faults.find("dead", channel) for channel in channels.values()):
                return 0
            struck = next((fault for channel in channels.values() if (fault := faults.strike("slow", channel))), None)
            return None if struck is None else struck.number or _SLOW_PACE

        connections: WeakSet[ServerConnection] = WeakSet()
        server = serve(
            handle,
            _HOST,
            port,
            process_request=admit,
            compression=None,
            ping_interval=25 if channels is _PRICES else None,
            max_size=_MAX_FRAME,
            create_connection=paced(pace, connections),
        )
        async with server as listening:
            yield listening
            await stop_accepting(listening.sockets)
            for connection in connections:
                if connection.protocol.state is State.CONNECTING:
                    connection.transport.abort()

    async def _http(self, stack: AsyncExitStack, channel: FaultChannel, port: int) -> int:
        async def respond(request: Request) -> Answer:
            return await self._respond(channel, request)

        server = HttpServer(respond)
        stack.push_async_callback(server.close)
        return await server.start(_HOST, port)

    async def _respond(self, channel: FaultChannel, request: Request) -> Answer:
        faults = self.hub.faults
        refusal = faults.strike("refuse", channel)
        status = 200 if refusal is None else refusal.number or 429
        self.hub.dials.append(Dial(time.monotonic(), channel, request.path, status))
        if refusal is not None:
            answer = json_answer({"error": phrase(status)}, status=status)
            return msgspec.structs.replace(answer, headers=_advice(status, refusal.detail))
        while faults.find("stall", channel) or faults.find("dead", channel):  # noqa: ASYNC110  # a fault ends by the clock
            await asyncio.sleep(_BEAT)
        answer = (self._clob if channel == "clob" else self._gamma).answer(request)
        if slow := faults.strike("slow", channel):
            await asyncio.sleep(len(answer.body) / (slow.number or _SLOW_PACE))
        return answer

    def _admit(self, socket: ServerConnection, channel: FaultChannel | None, path: str) -> Response | None:
        if channel is None:
            return socket.respond(HTTPStatus.NOT_FOUND, "not a channel\n")
        refusal = self.hub.faults.strike("refuse", channel)
        crowded = len(self.hub.outlets) >= self.hub.limits.connections
        status = int((refusal.number if refusal else None) or HTTPStatus.TOO_MANY_REQUESTS)
        admitted = refusal is None and not crowded
        self.hub.dials.append(Dial(time.monotonic(), channel, path, 101 if admitted else status))
        return None if admitted else _refusal(status, _advice(status, refusal.detail if refusal else ""))

    async def _serve(self, socket: ServerConnection, channel: FaultChannel) -> None:
        outlet = self.hub.open(socket, channel, self._group.create_task)
        if fault := self.hub.faults.strike("drop", channel):
            outlet.cut(fault.detail)
        elif fault := self.hub.faults.strike("close", channel):
            outlet.close(fault.number or 1012, fault.detail)
        talks = {"market": self._market, "user": self.user, "realtime": self.realtime, "prices": self._prices}
        try:
            with suppress(ConnectionClosed):
                await talks[channel].serve(outlet)
        finally:
            self.hub.leave(outlet)

    async def _pulse(self) -> None:
        """Keep to the rate, a short stretch at a time, so that clients are heard in between."""
        debt, last = 0.0, time.monotonic()
        while True:
            await asyncio.sleep(_BEAT)
            now = time.monotonic()
            debt = min(debt + (now - last) * self._rate, max(4.0, self._rate / 2))
            last = now
            while debt >= 1 and time.monotonic() - now < _STRETCH:
                debt -= self.step() or debt
            self.due()

    def due(self) -> None:
        """Send what the clock or a newly made market brings."""
        announced, self.exchange.announcements = self.exchange.announcements, []
        self.hub.publish([*announced, *self.exchange.due()])

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(_SWEEP)
            self.hub.sweep(self.exchange.settled_tokens())

    async def _quote(self) -> None:
        while True:
            await asyncio.sleep(1.0)
            self._quotes.step(self.exchange.clock())
            self.realtime.quoted()
            self._prices.quoted()


def _advice(status: int, detail: str) -> dict[str, str]:
    """Write the header that goes with a refusal: where else to go, or when to come back."""
    if status // 100 == _REDIRECTION:
        return {"Location": detail or "/"}
    return {"Retry-After": detail or "1"}


def _refusal(status: int, advice: dict[str, str]) -> Response:
    body = b"refused\n"
    headers = Headers({**advice, "Content-Length": str(len(body)), "Connection": "close"})
    return Response(status, phrase(status), headers, body)


async def _without_http(socket: ServerConnection, fault: Fault) -> Response:
    """Answer a handshake with words of another protocol, or with nothing for as long as the fault is in force."""
    if fault.detail:
        socket.transport.write(fault.detail.encode())
        socket.transport.close()
    while not fault.detail and fault.in_force(time.monotonic()):  # noqa: ASYNC110  # a fault ends by the clock
        await asyncio.sleep(_BEAT)
    return _refusal(400, {})


def _path(request: Handshake | None) -> str:
    return "" if request is None else request.path.partition("?")[0]
