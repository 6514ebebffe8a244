"""The user channel: credentials in the first frame, then the simulated user's orders and trades."""

import asyncio
import time
from random import Random

import msgspec

from pmlive.sim._catalogue import Market
from pmlive.sim._credentials import CREDENTIALS
from pmlive.sim._exchange import Exchange
from pmlive.sim._hub import Hub
from pmlive.sim._orders import OrderStory, order_story
from pmlive.sim._outlet import Outlet

__all__ = ["UserChannel"]

_STORIES: tuple[OrderStory, ...] = ("filled", "partly", "cancelled", "killed")


class _Request(msgspec.Struct):
    type: str = ""
    operation: str = ""
    auth: dict[str, str] | None = None
    markets: list[str] | None = None


_DECODER = msgspec.json.Decoder(_Request)


class UserChannel:
    """Answers the clients of ``/ws/user``, and tells them a story each so many seconds."""

    def __init__(self, exchange: Exchange, hub: Hub, *, seed: int) -> None:
        self._exchange = exchange
        self._hub = hub
        self._rng = Random(f"{seed}/orders")
        # The condition ids each client named; None stands for all.
        self._wishes: dict[int, set[str] | None] = {}
        # Clients that are answered nothing at all.
        self._denied: set[int] = set()

    async def serve(self, outlet: Outlet) -> None:
        """Listen to one client until it leaves."""
        try:
            async for text in outlet.socket:
                outlet.heard = time.monotonic()
                if outlet.id in self._denied:
                    continue
                if outlet.id not in self._wishes:
                    self._first(outlet, str(text))
                elif text == "PING":
                    outlet.word("PONG")
                else:
                    self._later(outlet, str(text))
        finally:
            self._wishes.pop(outlet.id, None)
            self._denied.discard(outlet.id)

    async def tell(self, every: float) -> None:
        """Tell stories for as long as the venue runs."""
        while True:
            await asyncio.sleep(every)
            markets = list(self._exchange)
            if self._wishes and markets:
                self.story(self._rng.choice(markets), self._rng.choice(_STORIES))

    def story(self, market: Market, story: OrderStory) -> None:
        """Start one story: its messages come over the next second or so."""
        loop = asyncio.get_running_loop()
        for seconds, text in order_story(self._rng, market, story, now=self._exchange.clock()):
            loop.call_later(seconds, self._say, market.condition_id, text)

    def _say(self, condition_id: str, text: str) -> None:
        for outlet in self._hub.of("user"):
            wish = self._wishes.get(outlet.id, set())
            if wish is None or condition_id in wish:
                outlet.data(text)

    def _first(self, outlet: Outlet, text: str) -> None:
        try:
            request = _DECODER.decode(text)
        except msgspec.DecodeError:
            outlet.close(1008, "invalid subscription payload")
            return
        if request.type.lower() != "user":
            outlet.close(1008, "invalid subscription payload")
        elif denial := self._hub.faults.strike("deny", "user"):
            self._deny(outlet, denial.detail)
        elif not CREDENTIALS.match(request.auth):
            # The real venue gives no reason, not even a close frame.
            outlet.abort()
        else:
            self._wishes[outlet.id] = set(request.markets) if request.markets else None

    def _deny(self, outlet: Outlet, detail: str) -> None:
        """Refuse good credentials, by a close frame, in words, by silence, or by cutting the connection."""
        if detail == "close":
            outlet.close(1008, "invalid api key")
        elif detail in ("words", "silence"):
            self._denied.add(outlet.id)
            if detail == "words":
                outlet.word('{"error":"invalid api key"}')
        else:
            outlet.abort()

    def _later(self, outlet: Outlet, text: str) -> None:
        try:
            request = _DECODER.decode(text)
        except msgspec.DecodeError:
            outlet.word("INVALID MESSAGE")
            return
        wish, named = self._wishes[outlet.id], request.markets or []
        if wish is not None and request.operation == "subscribe":
            wish.update(named)
        elif wish is not None and request.operation == "unsubscribe":
            wish.difference_update(named)
