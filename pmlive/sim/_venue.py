"""The simulated venue as its users see it: a server in a thread of its own, and what they can do to it."""

import asyncio
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from http import HTTPStatus
from typing import Self
from weakref import WeakSet

import msgspec
from websockets.asyncio.server import Server as SocketServer
from websockets.asyncio.server import ServerConnection, serve
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request as Handshake
from websockets.http11 import Response
from websockets.protocol import State

from pmlive.sim._clob_channels import CREDENTIALS, Credentials, MarketChannel, OrderStory, UserChannel
from pmlive.sim._connections import Connection, Dial, Hub, Limits, SocketClient, paced
from pmlive.sim._data_api import DataApi
from pmlive.sim._exchange import Change, Exchange, GroundTruth, History
from pmlive.sim._faults import Fault, FaultChannel, FaultKind, Faults, MessageFaults, Script, write_script
from pmlive.sim._markets import Market, as_protocol_v2, markets
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
from pmlive.threads import Service

__all__ = [
    "SimulatedVenue",
    "Urls",
    "VenueServer",
]


# --- the server ---
# The simulated venue's servers: six listeners, and the tasks that move the markets, in one event loop.

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


# --- the venue ---

# Messages of the script that is written where ``rate`` is None.
_SCRIPT_MESSAGES = 100_000


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


class SimulatedVenue:
    """A venue on loopback that speaks the real one's protocol; use it as a context manager, or start and stop it.

    The same seed gives the same markets and, as long as no market of a rolling series is requested, the same messages
    except for their times. ``rate`` is in messages a second over all markets; None sends each subscriber a prepared
    ``script`` as fast as its socket takes it. ``port`` is the first of six, 0 takes any. ``depth`` is the number of
    levels of each side. ``lifetime`` (seconds) is that of the ordinary markets, ``resolve_after`` (seconds) the time
    from a market's end to its resolution, ``story_every`` (seconds) that between the simulated user's orders.
    ``duplicates`` is the share of changes that the venue sends twice. ``keep_truth`` keeps every frame sent, in
    ``delivered``, and every change made, in ``changes`` and ``history``. The last ``v2`` of the ordinary markets are of
    protocol V2: their tokens are Gamma's ``positionIds``, though it states ``clobTokenIds`` as well.

    >>> with SimulatedVenue(markets=2, seed=7, rate=0) as venue:
    ...     [market.question for market in venue.markets], sorted(venue.environment())[0]
    (['Will the Fed cut rates by 25 bps in December?', 'Will there be no change in Fed rates in December?'],
     'PMLIVE_CLOB_URL')
    """

    def __init__(  # noqa: PLR0913  # most callers set the first few only
        self,
        *,
        markets: int = 3,
        seed: int = 7,
        rate: float | None = 50.0,
        port: int = 0,
        depth: int = 30,
        lifetime: float | None = None,
        resolve_after: float = 1.0,
        story_every: float = 3.0,
        duplicates: float = 0.001,
        keep_truth: bool = False,
        hostile_titles: bool = False,
        v2: int = 0,
        limits: Limits | None = None,
        script: Script | None = None,
        clock: Callable[[], int] = _now_ms,
    ) -> None:
        if rate is None and script is None:
            script = write_script(markets, seed=seed, messages=_SCRIPT_MESSAGES, depth=depth, start=clock())
        listed = script.markets if script is not None else _listed_markets(markets, seed, hostile=hostile_titles, v2=v2)
        self.credentials: Credentials = CREDENTIALS
        self._faults = Faults()
        self._message_faults = MessageFaults(self._faults, seed=seed, duplicates=duplicates)
        self._hub = Hub(self._faults, self._message_faults, limits=limits or Limits(), keep_truth=keep_truth)
        self._exchange = Exchange(
            listed, seed=seed, depth=depth, clock=clock, lifetime=lifetime, resolve_after=resolve_after
        )
        self._new_server = lambda: VenueServer(
            self._exchange, self._hub, seed=seed, rate=rate or 0.0, story_every=story_every, script=script
        )
        if keep_truth and script is None:
            self._hub.ground_truth = GroundTruth(self._exchange)
        self._port = port
        self._server: VenueServer | None = None
        self._urls: Urls | None = None
        self._service = Service("pmlive-sim")

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    async def __aenter__(self) -> Self:
        await asyncio.to_thread(self.start)
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.to_thread(self.stop)

    def start(self) -> None:
        """Listen, in a daemon thread; return once clients can connect.

        Raises:
            OSError: a port is taken.
        """
        self._service.start(self._serve)

    def stop(self) -> None:
        """Close every connection and end the thread."""
        self._service.stop()

    def run_forever(self) -> None:
        """Serve until the thread is interrupted (Ctrl-C)."""
        self.start()
        try:
            self._service.wait()
        finally:
            self.stop()

    @property
    def urls(self) -> Urls:
        """Return the addresses.

        Raises:
            RuntimeError: the venue was not started.
        """
        if self._urls is None:
            raise RuntimeError("the simulated venue has no addresses before it is started; call start()")
        return self._urls

    def environment(self) -> dict[str, str]:
        """Return the variables that point pmlive at this venue."""
        urls = self.urls
        return {
            "PMLIVE_CLOB_WS_URL": urls.clob_ws,
            "PMLIVE_LIVE_DATA_URL": urls.live_data,
            "PMLIVE_PRICES_WS_URL": urls.prices_ws,
            "PMLIVE_CLOB_URL": urls.clob,
            "PMLIVE_GAMMA_URL": urls.gamma,
            "PMLIVE_DATA_URL": urls.data,
        }

    @property
    def markets(self) -> list[Market]:
        """List the present markets."""
        return self._service.call(lambda: list(self._exchange))

    @property
    def connections(self) -> list[Connection]:
        """List the open connections."""
        return self._service.call(self._hub.connections)

    @property
    def dials(self) -> list[Dial]:
        """List every attempt to connect and every REST call, oldest first."""
        return list(self._hub.dials)

    @property
    def delivered(self) -> dict[int, deque[str]]:
        """Return the data frames sent on each connection, by its id; empty without ``keep_truth``."""
        return dict(self._hub.delivered)

    @property
    def withheld(self) -> list[str]:
        """List the messages that faults such as ``skip`` and ``silent`` withheld from everybody."""
        return [message.text for message in list(self._message_faults.withheld)]

    def changes(self) -> list[Change]:
        """List every change of a level since the start, whether sent or not; empty without ``keep_truth``."""
        ground_truth = self._hub.ground_truth
        return [] if ground_truth is None else ground_truth.changes()

    def history(self) -> dict[str, History]:
        """Return the books that each token has had since the start; empty without ``keep_truth``."""
        ground_truth = self._hub.ground_truth
        return {} if ground_truth is None else ground_truth.history()

    @property
    def faults(self) -> list[Fault]:
        """List all faults so far, with their counts."""
        return self._service.call(lambda: list(self._faults))

    def market(self, slug: str) -> Market | None:
        """Find a market by its slug; create one of a rolling series (``btc-updown-5m-…``) on first request."""
        return self._service.call(lambda: self._market(slug))

    def book(self, token_id: str) -> str:
        """Return a token's present book, as REST does.

        Raises:
            KeyError: no market has this token.
        """
        market = self._exchange.market_of_token(token_id)
        if market is None:
            raise KeyError(token_id)
        outcome = market.token_ids.index(token_id)
        return self._service.call(lambda: self._exchange.model(market).state.rest_book(outcome))

    def step(self, count: int = 1) -> int:
        """Do ``count`` random things now, besides those of ``rate``; return the number of their messages."""
        server = self._running_server()
        return self._service.call(lambda: sum(server.step() for _ in range(count)))

    def resolve(self, market: Market, *, winner: str | None = None) -> None:
        """Resolve a market now; the winner is an outcome's name, by default the one that is ahead.

        Raises:
            ValueError: the market has no such outcome.
        """
        index = None if winner is None else market.outcomes.index(winner)
        self._service.call(lambda: self._hub.publish(self._exchange.resolve(market, winner=index)))

    def announce(self, market: Market) -> None:
        """Announce a market as new to every connection with ``custom_feature_enabled``."""
        self._service.call(
            lambda: self._hub.publish([self._exchange.model(market).state.new_market(now=self._exchange.clock())])
        )

    def release(self) -> None:
        """Send what faults have withheld, late as it is."""
        self._service.call(lambda: self._hub.publish(self._message_faults.release()))

    def empty(self, market: Market) -> None:
        """Cancel every order of a market; it stays open, but nothing happens to it any more."""
        self._service.call(lambda: self._hub.publish(self._exchange.empty(market)))

    def user_order(self, market: Market, story: OrderStory = "filled") -> None:
        """Place an order of the simulated user that ends as in ``story``; its messages take about a second."""
        server = self._running_server()
        self._service.call(lambda: server.user.start_order(market, story))

    def comment(self, body: str, market: Market) -> None:
        """Send a comment on a market's event."""
        server = self._running_server()
        self._service.call(lambda: server.realtime.comment(body, market))

    def fault(
        self,
        kind: FaultKind,
        *,
        channel: FaultChannel | None = None,
        token_id: str | None = None,
        times: int | None = None,
        seconds: float | None = None,
        detail: str = "",
        number: int | None = None,
    ) -> Fault:
        """Disturb the clients; the table in the package's docstring lists the kinds and their parameters."""
        return self._service.call(
            lambda: self._fault(
                self._faults.add(
                    kind,
                    channel=channel,
                    token_id=token_id,
                    times=times,
                    seconds=seconds,
                    detail=detail,
                    number=number,
                ),
                lasting=times is not None or seconds is not None,
            )
        )

    def clear_faults(self) -> None:
        """End every fault."""
        self._service.call(self._faults.clear)

    def _fault(self, fault: Fault, *, lasting: bool) -> Fault:
        if fault.kind == "forget":
            fault.count = self._hub.drop_subscriptions(fault.token_id)
            fault.clear()
        if fault.kind not in ("drop", "close"):
            return fault
        for client in self._hub.clients_of(fault.channel, fault.token_id):
            if fault.in_force(time.monotonic()):
                fault.struck()
                _end_connection(client, fault)
        if not lasting:
            fault.clear()
        return fault

    def _market(self, slug: str) -> Market | None:
        market = self._exchange.market(slug)
        if self._server is not None:
            self._server.publish_due()
        return market

    def _running_server(self) -> VenueServer:
        if self._server is None:
            raise RuntimeError("the simulated venue is not started; call start()")
        return self._server

    async def _serve(self, stopping: asyncio.Event, ready: Callable[[], None]) -> None:
        def started(urls: Urls) -> None:
            self._urls = urls
            ready()

        self._server = self._new_server()
        await self._server.run(self._port, stopping, started)


def _end_connection(client: SocketClient, fault: Fault) -> None:
    if fault.kind == "drop":
        client.cut(fault.detail)
    else:
        client.close(fault.number or 1012, fault.detail)


def _listed_markets(number: int, seed: int, *, hostile: bool, v2: int) -> list[Market]:
    plain = markets(number, seed=seed, titles="hostile" if hostile else "plain")
    first = max(0, number - v2)
    return plain[:first] + [as_protocol_v2(market) for market in plain[first:]]
