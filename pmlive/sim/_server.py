"""The simulated venue's servers: six listeners, and the tasks that move the markets, in one event loop."""

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

from pmlive.sim._clob_channels import MarketChannel, UserChannel
from pmlive.sim._connections import Dial, Hub, paced
from pmlive.sim._data_api import DataApi
from pmlive.sim._exchange import Exchange
from pmlive.sim._faults import Fault, FaultChannel
from pmlive.sim._offline import Script
from pmlive.sim._prices import PricesChannel, ReferencePrices
from pmlive.sim._realtime_channel import RealtimeChannel
from pmlive.sim._rest import (
    ClobApi,
    GammaApi,
    HttpRequest,
    HttpResponse,
    RestServer,
    json_response,
    reason_phrase,
    stop_accepting,
)

__all__ = ["Urls", "VenueServer"]

_HOST = "127.0.0.1"
# Seconds between steps and between checks of the connections, and of steps without a pause.
_TICK, _EXPIRE_EVERY, _MAX_BURST = 0.005, 0.05, 0.02
_SLOW_PACE = 200
_REDIRECTION = 3
_MAX_FRAME = 4 * 1024 * 1024
# The channels of each address, by path.
_CLOB: dict[str, FaultChannel] = {"/ws/market": "market", "/ws/user": "user"}
_LIVE_DATA: dict[str, FaultChannel] = {"/": "realtime"}
_PRICES: dict[str, FaultChannel] = {"/ws": "prices"}


class Urls(msgspec.Struct, frozen=True):
    """The addresses of a simulated venue, the same six as those of the real one."""

    clob_ws: str
    live_data: str
    prices_ws: str
    clob: str
    gamma: str
    data: str


class VenueServer:
    """The servers of one exchange's channels and REST calls; ``rate`` is in messages a second."""

    def __init__(
        self, exchange: Exchange, hub: Hub, *, seed: int, rate: float, story_every: float, script: Script | None
    ) -> None:
        self.exchange = exchange
        self.hub = hub
        self._rate = 0.0 if script is not None else rate
        self._story_every = story_every
        self._reference_prices = ReferencePrices(seed=seed, now=exchange.clock())
        self.user = UserChannel(exchange, hub, seed=seed)
        self.realtime = RealtimeChannel(exchange, hub, self._reference_prices, seed=seed)
        self._market = MarketChannel(exchange, hub, seed=seed, script=script)
        self._prices = PricesChannel(hub, self._reference_prices)
        self._clob = ClobApi(exchange, script=script)
        self._gamma = GammaApi(exchange, hub.faults)
        self._data = DataApi(exchange)
        self._group = asyncio.TaskGroup()

    async def run(self, port: int, stopping: asyncio.Event, started: Callable[[Urls], None]) -> None:
        """Listen on six ports from ``port`` on (0: any), report the addresses, and serve until ``stopping`` is set."""
        async with self._group as group, AsyncExitStack() as stack:
            urls = await self._listen(stack, port)
            tasks = [
                group.create_task(work)
                for work in (
                    self._run_markets(),
                    self._expire_connections(),
                    self._run_reference_prices(),
                    self.user.run_orders(self._story_every),
                )
            ]
            started(urls)
            await stopping.wait()
            for task in tasks:
                task.cancel()

    def step(self) -> int:
        """Do one random thing in one market; return the number of its messages."""
        messages = self.exchange.step()
        self.hub.publish(messages)
        self.realtime.publish_trades(messages)
        self._data.note(messages)
        return len(messages)

    def publish_due(self) -> None:
        """Send the announcements of new markets, and end the markets whose time has come."""
        announced, self.exchange.announcements = self.exchange.announcements, []
        self.hub.publish([*announced, *self.exchange.end_due_markets()])

    async def _listen(self, stack: AsyncExitStack, port: int) -> Urls:
        ports = [port + number if port else 0 for number in range(6)]
        sockets = [
            await stack.enter_async_context(self._socket_server(channels, at))
            for channels, at in zip((_CLOB, _LIVE_DATA, _PRICES), ports[:3], strict=True)
        ]
        clob_ws, live_data, prices_ws = (server.sockets[0].getsockname()[1] for server in sockets)
        return Urls(
            clob_ws=f"ws://{_HOST}:{clob_ws}/ws",
            live_data=f"ws://{_HOST}:{live_data}",
            prices_ws=f"ws://{_HOST}:{prices_ws}/ws",
            clob=f"http://{_HOST}:{await self._http_server(stack, 'clob', ports[3])}",
            gamma=f"http://{_HOST}:{await self._http_server(stack, 'gamma', ports[4])}",
            data=f"http://{_HOST}:{await self._http_server(stack, 'data', ports[5])}",
        )

    @asynccontextmanager
    async def _socket_server(self, channels: dict[str, FaultChannel], port: int) -> AsyncGenerator[SocketServer]:
        async def handle(socket: ServerConnection) -> None:
            await self._serve(socket, channels[_path(socket.request)])

        async def admit(socket: ServerConnection, handshake: Handshake) -> Response | None:
            channel = channels.get(_path(handshake))
            if channel is not None and (fault := self.hub.faults.strike("no_http", channel)):
                self.hub.dials.append(Dial(time.monotonic(), channel, _path(handshake), 0))
                return await _answer_without_http(socket, fault)
            return self._admit(socket, channel, _path(handshake))

        def pace() -> int | None:
            faults = self.hub.faults
            if any(faults.find("dead", channel) for channel in channels.values()):
                return 0
            slow = next((fault for channel in channels.values() if (fault := faults.strike("slow", channel))), None)
            return None if slow is None else slow.number or _SLOW_PACE

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

    async def _http_server(self, stack: AsyncExitStack, channel: FaultChannel, port: int) -> int:
        async def respond(request: HttpRequest) -> HttpResponse:
            return await self._respond(channel, request)

        server = RestServer(respond)
        stack.push_async_callback(server.close)
        return await server.start(_HOST, port)

    async def _respond(self, channel: FaultChannel, request: HttpRequest) -> HttpResponse:
        faults = self.hub.faults
        refusal = faults.strike("refuse", channel)
        status = 200 if refusal is None else refusal.number or 429
        self.hub.dials.append(Dial(time.monotonic(), channel, request.path, status))
        if refusal is not None:
            response = json_response({"error": reason_phrase(status)}, status=status)
            return msgspec.structs.replace(response, headers=_refusal_headers(status, refusal.detail))
        while faults.find("stall", channel) or faults.find("dead", channel):  # noqa: ASYNC110  # a fault ends by the clock
            await asyncio.sleep(_TICK)
        services = {"clob": self._clob, "gamma": self._gamma, "data": self._data}
        response = services[channel].respond(request)
        if slow := faults.strike("slow", channel):
            await asyncio.sleep(len(response.body) / (slow.number or _SLOW_PACE))
        return response

    def _admit(self, socket: ServerConnection, channel: FaultChannel | None, path: str) -> Response | None:
        if channel is None:
            return socket.respond(HTTPStatus.NOT_FOUND, "not a channel\n")
        refusal = self.hub.faults.strike("refuse", channel)
        crowded = len(self.hub.clients) >= self.hub.limits.connections
        status = int((refusal.number if refusal else None) or HTTPStatus.TOO_MANY_REQUESTS)
        admitted = refusal is None and not crowded
        self.hub.dials.append(Dial(time.monotonic(), channel, path, 101 if admitted else status))
        if admitted:
            return None
        return _refusal_response(status, _refusal_headers(status, refusal.detail if refusal else ""))

    async def _serve(self, socket: ServerConnection, channel: FaultChannel) -> None:
        client = self.hub.add(socket, channel, self._group.create_task)
        if fault := self.hub.faults.strike("drop", channel):
            client.cut(fault.detail)
        elif fault := self.hub.faults.strike("close", channel):
            client.close(fault.number or 1012, fault.detail)
        channels = {"market": self._market, "user": self.user, "realtime": self.realtime, "prices": self._prices}
        try:
            with suppress(ConnectionClosed):
                await channels[channel].serve(client)
        finally:
            self.hub.remove(client)

    async def _run_markets(self) -> None:
        """Step the markets at the rate, in short bursts, so that the loop can serve clients in between."""
        debt, last = 0.0, time.monotonic()
        while True:
            await asyncio.sleep(_TICK)
            now = time.monotonic()
            debt = min(debt + (now - last) * self._rate, max(4.0, self._rate / 2))
            last = now
            while debt >= 1 and time.monotonic() - now < _MAX_BURST:
                debt -= self.step() or debt
            self.publish_due()

    async def _expire_connections(self) -> None:
        while True:
            await asyncio.sleep(_EXPIRE_EVERY)
            self.hub.expire(self.exchange.settled_tokens())

    async def _run_reference_prices(self) -> None:
        while True:
            await asyncio.sleep(1.0)
            self._reference_prices.step(self.exchange.clock())
            self.realtime.publish_prices()
            self._prices.publish()


def _refusal_headers(status: int, detail: str) -> dict[str, str]:
    """Return the header of a refusal: where to go instead, or when to come back."""
    if status // 100 == _REDIRECTION:
        return {"Location": detail or "/"}
    return {"Retry-After": detail or "1"}


def _refusal_response(status: int, more: dict[str, str]) -> Response:
    body = b"refused\n"
    headers = Headers({**more, "Content-Length": str(len(body)), "Connection": "close"})
    return Response(status, reason_phrase(status), headers, body)


async def _answer_without_http(socket: ServerConnection, fault: Fault) -> Response:
    """Answer a handshake with words of another protocol, or with nothing while the fault is in force."""
    if fault.detail:
        socket.transport.write(fault.detail.encode())
        socket.transport.close()
    while not fault.detail and fault.in_force(time.monotonic()):  # noqa: ASYNC110  # a fault ends by the clock
        await asyncio.sleep(_TICK)
    return _refusal_response(400, {})


def _path(request: Handshake | None) -> str:
    return "" if request is None else request.path.partition("?")[0]
