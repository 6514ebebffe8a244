"""The market channel: subscriptions in, opening books out; nothing is ever acknowledged."""

import asyncio
import time
from random import Random

import msgspec

from pmlive.sim._connections import Hub, Outlet, text_frame
from pmlive.sim._exchange import Exchange
from pmlive.sim._offline import Script

__all__ = ["MarketChannel"]

_QUIET = 0.25
_GIANT = 17 * 1024 * 1024
_AT_ONCE = 256
_MOST_WAITING = 1024 * 1024


class _Request(msgspec.Struct):
    type: str = ""
    operation: str = ""
    assets_ids: list[str] | None = None
    custom_feature_enabled: bool | None = None
    initial_dump: bool = True


_DECODER = msgspec.json.Decoder(_Request)


class MarketChannel:
    """Answers the clients of ``/ws/market``; with a script, plays it to each of them once it has asked for enough."""

    def __init__(self, exchange: Exchange, hub: Hub, *, seed: int, script: Script | None = None) -> None:
        self._exchange = exchange
        self._hub = hub
        self._rng = Random(f"{seed}/shuffle")
        self._script = script
        self._asked: dict[int, float] = {}

    async def serve(self, outlet: Outlet) -> None:
        """Listen to one client until it leaves."""
        begun = False
        async for text in outlet.socket:
            outlet.heard = time.monotonic()
            if begun and text == "PING":
                outlet.word("PONG")
            elif begun:
                self._later(outlet, str(text))
            elif not (begun := self._first(outlet, str(text))):
                outlet.close(1008, "invalid subscription payload")

    def _first(self, outlet: Outlet, text: str) -> bool:
        try:
            request = _DECODER.decode(text)
        except msgspec.DecodeError:
            return False
        if request.type.lower() != "market" or request.assets_ids is None:
            return False
        self._subscribe(outlet, request)
        return True

    def _later(self, outlet: Outlet, text: str) -> None:
        try:
            request = _DECODER.decode(text)
        except msgspec.DecodeError:
            outlet.word("INVALID MESSAGE")
            return
        if request.operation == "unsubscribe":
            self._hub.unsubscribe(outlet, request.assets_ids or [])
        elif request.operation == "subscribe" or request.type.lower() == "market":
            self._subscribe(outlet, request)
        else:
            outlet.word("INVALID OPERATION")

    def _subscribe(self, outlet: Outlet, request: _Request) -> None:
        # The flag takes effect even when every token is a duplicate.
        if request.custom_feature_enabled is not None:
            outlet.flagged = request.custom_feature_enabled
        asked = request.assets_ids or []
        if len(asked) > self._hub.limits.frame_ids:
            outlet.close(1009, "message too big")
            return
        fresh = self._hub.subscribe(outlet, asked)
        if request.initial_dump and (fresh or not asked):
            self._open_books(outlet, fresh)
        if self._script is not None and fresh:
            self._play_soon(outlet)

    def _open_books(self, outlet: Outlet, fresh: list[str]) -> None:
        if len(outlet.tokens) > self._hub.limits.opening_limit:
            return
        books = [book for token in fresh if (book := self._opening_book(token)) is not None]
        self._rng.shuffle(books)
        opening = f"[{','.join(books)}]\n"
        giant = self._hub.faults.find("giant", "market", fresh)
        if giant is not None and len(books) > (giant.number or 1):
            giant.struck()
            # Spaces are JSON too, and no send buffer is meant to hold such a frame.
            outlet.word(opening.ljust(_GIANT))
        else:
            outlet.data(opening)

    def _opening_book(self, token: str) -> str | None:
        faults = self._hub.faults
        if faults and (faults.strike("no_opening", "market", (token,)) or faults.find("silent", "market", (token,))):
            return None
        if self._script is not None:
            return self._script.opening.get(token)
        market = self._exchange.of_token(token)
        if market is None or self._exchange.settled(token):
            return None
        return self._exchange.model(market).state.opening_book(market.token_ids.index(token))

    def _play_soon(self, outlet: Outlet) -> None:
        first = outlet.id not in self._asked
        self._asked[outlet.id] = time.monotonic()
        if first:
            outlet.spawn(self._play(outlet))

    async def _play(self, outlet: Outlet) -> None:
        """Wait until the client has asked for all it wants, then send its part of the script at its own pace."""
        while time.monotonic() - self._asked[outlet.id] < _QUIET:  # noqa: ASYNC110  # each new wish moves the moment
            await asyncio.sleep(_QUIET / 5)
        messages = self._script.messages if self._script else []
        texts = [message.text for message in messages if not outlet.tokens.isdisjoint(message.tokens)]
        for at in range(0, len(texts), _AT_ONCE):
            await self._until_taken(outlet)
            if not outlet.is_open:
                return
            chunk = texts[at : at + _AT_ONCE]
            outlet.transport.write(b"".join(map(text_frame, chunk)))
            outlet.sent += len(chunk)
            outlet.heard = time.monotonic()
            if outlet.truth is not None:
                outlet.truth.extend(chunk)
            await asyncio.sleep(0)

    async def _until_taken(self, outlet: Outlet) -> None:
        while outlet.is_open and (  # noqa: ASYNC110  # a transport's buffer tells nobody
            outlet.transport.get_write_buffer_size() > _MOST_WAITING
            or self._hub.faults.find("stall", "market", outlet.tokens)
        ):
            await asyncio.sleep(0.001)
