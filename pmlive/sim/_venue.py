"""The simulated venue as a user starts it: a server in a thread of its own, and the hands that disturb it."""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from typing import Self

from pmlive.sim._connections import Connection, Dial, Hub, Limits, Outlet
from pmlive.sim._exchange import Exchange
from pmlive.sim._faults import Fault, FaultChannel, FaultKind, Faults, Mischief
from pmlive.sim._ground_truth import Change, History, Ledger
from pmlive.sim._loop_thread import LoopThread
from pmlive.sim._markets import Market, markets, of_protocol_v2
from pmlive.sim._offline import Script, write_script
from pmlive.sim._server import Server, Urls
from pmlive.sim._user_channel import CREDENTIALS, Credentials, OrderStory

__all__ = ["SimulatedVenue"]

_FIREHOSE = 100_000


def _milliseconds() -> int:
    return time.time_ns() // 1_000_000


class SimulatedVenue:
    """A venue on loopback that speaks the real one's protocol; use it as a context manager, or start and stop it.

    The same seed gives the same markets and, while nobody asks for markets of a rolling series, the same messages but
    for their times. ``rate`` is in messages a second over all markets; None sends each subscriber a prepared
    ``script`` as fast as its socket takes it. ``port`` is the first of five, 0 takes any. ``depth`` is the number of
    levels a side. ``lifetime`` (seconds) ends the ordinary markets, ``resolve_after`` is how long after its end a
    market's winner is named. ``story_every`` is the time between the simulated user's orders. ``duplicates`` is the
    share of changes that the venue says twice. ``keep_truth`` keeps every frame sent, in ``delivered``, and every
    change made, in ``changes`` and ``history``. So many of the ordinary markets as ``v2`` says, the last ones, are of
    protocol V2: their tokens are Gamma's ``positionIds``, though it states ``clobTokenIds`` as well.

    >>> with SimulatedVenue(markets=2, seed=7, rate=0) as venue:
    ...     [market.question for market in venue.markets], sorted(venue.environment())[0]
    (['Will the Fed cut rates by 25 bps in December?', 'Will there be no change in Fed rates in December?'],
     'PMLIVE_CLOB_URL')
    """

    def __init__(  # noqa: PLR0913  # all but the first few have defaults that most leave alone
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
        clock: Callable[[], int] = _milliseconds,
    ) -> None:
        if rate is None and script is None:
            script = write_script(markets, seed=seed, messages=_FIREHOSE, depth=depth, start=clock())
        listed = script.markets if script is not None else _list(markets, seed, hostile=hostile_titles, v2=v2)
        self.credentials: Credentials = CREDENTIALS
        self._faults = Faults()
        self._mischief = Mischief(self._faults, seed=seed, duplicates=duplicates)
        self._hub = Hub(self._faults, self._mischief, limits=limits or Limits(), keep_truth=keep_truth)
        self._exchange = Exchange(
            listed, seed=seed, depth=depth, clock=clock, lifetime=lifetime, resolve_after=resolve_after
        )
        self._make = lambda: Server(
            self._exchange, self._hub, seed=seed, rate=rate or 0.0, story_every=story_every, script=script
        )
        if keep_truth and script is None:
            self._hub.ledger = Ledger(self._exchange)
        self._script = script
        self._port = port
        self._server: Server | None = None
        self._urls: Urls | None = None
        self._thread = LoopThread("pmlive-sim")

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
        self._thread.start(self._serve)

    def stop(self) -> None:
        """Close every connection and end the thread."""
        self._thread.stop()

    def run_forever(self) -> None:
        """Serve until the thread is interrupted (Ctrl-C)."""
        self.start()
        try:
            self._thread.wait()
        finally:
            self.stop()

    @property
    def urls(self) -> Urls:
        """Give the addresses.

        Raises:
            RuntimeError: the venue was not started.
        """
        if self._urls is None:
            raise RuntimeError("the simulated venue has no addresses before it is started; call start()")
        return self._urls

    def environment(self) -> dict[str, str]:
        """Give the variables that point pmlive at this venue."""
        urls = self.urls
        return {
            "PMLIVE_CLOB_WS_URL": urls.clob_ws,
            "PMLIVE_LIVE_DATA_URL": urls.live_data,
            "PMLIVE_PRICES_WS_URL": urls.prices_ws,
            "PMLIVE_CLOB_URL": urls.clob,
            "PMLIVE_GAMMA_URL": urls.gamma,
        }

    @property
    def markets(self) -> list[Market]:
        """List the markets there are now."""
        return self._thread.call(lambda: list(self._exchange))

    @property
    def connections(self) -> list[Connection]:
        """List the open connections."""
        return self._thread.call(self._hub.connections)

    @property
    def dials(self) -> list[Dial]:
        """List every attempt to connect and every REST call, oldest first."""
        return list(self._hub.dials)

    @property
    def delivered(self) -> dict[int, deque[str]]:
        """Give the data frames sent on each connection by its id; empty without ``keep_truth``."""
        return dict(self._hub.delivered)

    @property
    def withheld(self) -> list[str]:
        """List the messages that the faults ``skip`` and ``silent`` kept from everybody."""
        return [message.text for message in list(self._mischief.withheld)]

    def changes(self) -> list[Change]:
        """List every change of a level since the beginning, whether sent or not; empty without ``keep_truth``."""
        ledger = self._hub.ledger
        return [] if ledger is None else ledger.changes()

    def history(self) -> dict[str, History]:
        """Give the books that each token has had since the beginning; empty without ``keep_truth``."""
        ledger = self._hub.ledger
        return {} if ledger is None else ledger.history()

    @property
    def faults(self) -> list[Fault]:
        """List the faults there have been, with their counts."""
        return self._thread.call(lambda: list(self._faults))

    def market(self, slug: str) -> Market | None:
        """Find a market by its slug; one of a rolling series (``btc-updown-5m-…``) comes to be when asked for."""
        return self._thread.call(lambda: self._market(slug))

    def book(self, token_id: str) -> str:
        """Give a token's book now, as REST answers it.

        Raises:
            KeyError: no market has this token.
        """
        market = self._exchange.of_token(token_id)
        if market is None:
            raise KeyError(token_id)
        outcome = market.token_ids.index(token_id)
        return self._thread.call(lambda: self._exchange.model(market).state.rest_book(outcome))

    def step(self, count: int = 1) -> int:
        """Let so many things happen now, beside what ``rate`` brings; tell how many messages they made."""
        server = self._running()
        return self._thread.call(lambda: sum(server.step() for _ in range(count)))

    def resolve(self, market: Market, *, winner: str | None = None) -> None:
        """End a market now; the winner is an outcome's name, by default the one that is ahead.

        Raises:
            ValueError: the market has no such outcome.
        """
        index = None if winner is None else market.outcomes.index(winner)
        self._thread.call(lambda: self._hub.publish(self._exchange.resolve(market, winner=index)))

    def announce(self, market: Market) -> None:
        """Tell every flagged connection of a market as if it had been made just now."""
        self._thread.call(
            lambda: self._hub.publish([self._exchange.model(market).state.new_market(now=self._exchange.clock())])
        )

    def release(self) -> None:
        """Say what faults kept from everybody after all, late as it is."""
        self._thread.call(lambda: self._hub.publish(self._mischief.release()))

    def empty(self, market: Market) -> None:
        """Take every order of a market away; it stays open, though nothing happens to it any more."""
        self._thread.call(lambda: self._hub.publish(self._exchange.empty(market)))

    def user_order(self, market: Market, story: OrderStory = "filled") -> None:
        """Let the simulated user place an order that ends so; its messages come over the next second."""
        server = self._running()
        self._thread.call(lambda: server.user.story(market, story))

    def comment(self, body: str, market: Market) -> None:
        """Let somebody comment on a market's event."""
        server = self._running()
        self._thread.call(lambda: server.realtime.comment(body, market))

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
        """Disturb the clients; the table in the package's docstring tells what each kind does and takes."""
        return self._thread.call(
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
        self._thread.call(self._faults.clear)

    def _fault(self, fault: Fault, *, lasting: bool) -> Fault:
        if fault.kind == "forget":
            fault.count = self._hub.forget(fault.token_id)
            fault.clear()
        if fault.kind not in ("drop", "close"):
            return fault
        for outlet in self._hub.of(fault.channel, fault.token_id):
            if fault.in_force(time.monotonic()):
                fault.struck()
                _end(outlet, fault)
        if not lasting:
            fault.clear()
        return fault

    def _market(self, slug: str) -> Market | None:
        market = self._exchange.market(slug)
        if self._server is not None:
            self._server.due()
        return market

    def _running(self) -> Server:
        if self._server is None:
            raise RuntimeError("the simulated venue is not started; call start()")
        return self._server

    async def _serve(self, stopping: asyncio.Event, ready: Callable[[], None]) -> None:
        def started(urls: Urls) -> None:
            self._urls = urls
            ready()

        self._server = self._make()
        await self._server.run(self._port, stopping, started)


def _end(outlet: Outlet, fault: Fault) -> None:
    if fault.kind == "drop":
        outlet.cut(fault.detail)
    else:
        outlet.close(fault.number or 1012, fault.detail)


def _list(number: int, seed: int, *, hostile: bool, v2: int) -> list[Market]:
    made = markets(number, seed=seed, titles="hostile" if hostile else "plain")
    first = max(0, number - v2)
    return made[:first] + [of_protocol_v2(market) for market in made[first:]]
