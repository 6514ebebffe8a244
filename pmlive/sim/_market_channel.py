"""The market channel: it answers subscriptions with opening books, and acknowledges nothing."""

import asyncio
import time
from random import Random

import msgspec

from pmlive.sim._connections import Hub, SocketClient, text_frame
from pmlive.sim._exchange import Exchange
from pmlive.sim._offline import Script

__all__ = ["MarketChannel"]

# Seconds without a new subscription after which a script begins.
_QUIET = 0.25
_GIANT_SIZE = 17 * 1024 * 1024
# Messages of a script that are written together, and the unread bytes above which the next ones wait.
_CHUNK = 256
_MAX_PENDING = 1024 * 1024


class _MarketRequest(msgspec.Struct):
    type: str = ""
    operation: str = ""
    assets_ids: list[str] | None = None
    custom_feature_enabled: bool | None = None
    initial_dump: bool = True


_DECODER = msgspec.json.Decoder(_MarketRequest)


class MarketChannel:
    """The channel at ``/ws/market``; with a script, each client gets it once its subscriptions stop changing."""

    def __init__(self, exchange: Exchange, hub: Hub, *, seed: int, script: Script | None = None) -> None:
        self._exchange = exchange
        self._hub = hub
        self._rng = Random(f"{seed}/shuffle")
        self._script = script
        self._last_request: dict[int, float] = {}

    async def serve(self, client: SocketClient) -> None:
        """Serve one client until it disconnects."""
        subscribed = False
        async for text in client.socket:
            client.last_active = time.monotonic()
            if subscribed and text == "PING":
                client.send_control("PONG")
            elif subscribed:
                self._next_request(client, str(text))
            elif not (subscribed := self._first_request(client, str(text))):
                client.close(1008, "invalid subscription payload")

    def _first_request(self, client: SocketClient, text: str) -> bool:
        try:
            request = _DECODER.decode(text)
        except msgspec.DecodeError:
            return False
        if request.type.lower() != "market" or request.assets_ids is None:
            return False
        self._subscribe(client, request)
        return True

    def _next_request(self, client: SocketClient, text: str) -> None:
        try:
            request = _DECODER.decode(text)
        except msgspec.DecodeError:
            client.send_control("INVALID MESSAGE")
            return
        if request.operation == "unsubscribe":
            self._hub.unsubscribe(client, request.assets_ids or [])
        elif request.operation == "subscribe" or request.type.lower() == "market":
            self._subscribe(client, request)
        else:
            client.send_control("INVALID OPERATION")

    def _subscribe(self, client: SocketClient, request: _MarketRequest) -> None:
        # The flag takes effect even when every token is a duplicate.
        if request.custom_feature_enabled is not None:
            client.custom_features = request.custom_feature_enabled
        tokens = request.assets_ids or []
        if len(tokens) > self._hub.limits.frame_ids:
            client.close(1009, "message too big")
            return
        added = self._hub.subscribe(client, tokens)
        if request.initial_dump and (added or not tokens):
            self._send_opening_books(client, added)
        if self._script is not None and added:
            self._start_script(client)

    def _send_opening_books(self, client: SocketClient, added: list[str]) -> None:
        if len(client.tokens) > self._hub.limits.opening_limit:
            return
        books = [book for token in added if (book := self._opening_book(token)) is not None]
        self._rng.shuffle(books)
        opening = f"[{','.join(books)}]\n"
        giant = self._hub.faults.find("giant", "market", added)
        if giant is not None and len(books) > (giant.number or 1):
            giant.struck()
            # Trailing spaces are valid JSON; a control frame is exempt from the limit of the send buffer.
            client.send_control(opening.ljust(_GIANT_SIZE))
        else:
            client.send(opening)

    def _opening_book(self, token: str) -> str | None:
        faults = self._hub.faults
        if faults and (faults.strike("no_opening", "market", (token,)) or faults.find("silent", "market", (token,))):
            return None
        if self._script is not None:
            return self._script.opening.get(token)
        market = self._exchange.market_of_token(token)
        if market is None or self._exchange.is_settled(token):
            return None
        return self._exchange.model(market).state.opening_book(market.token_ids.index(token))

    def _start_script(self, client: SocketClient) -> None:
        first = client.id not in self._last_request
        self._last_request[client.id] = time.monotonic()
        if first:
            client.spawn(self._play_script(client))

    async def _play_script(self, client: SocketClient) -> None:
        """Send the client's part of the script at full speed, once its subscriptions stop changing."""
        while time.monotonic() - self._last_request[client.id] < _QUIET:  # noqa: ASYNC110  # requests move the time
            await asyncio.sleep(_QUIET / 5)
        messages = self._script.messages if self._script else []
        texts = [message.text for message in messages if not client.tokens.isdisjoint(message.tokens)]
        for at in range(0, len(texts), _CHUNK):
            await self._until_writable(client)
            if not client.is_open:
                return
            chunk = texts[at : at + _CHUNK]
            client.transport.write(b"".join(map(text_frame, chunk)))
            client.sent += len(chunk)
            client.last_active = time.monotonic()
            if client.delivered is not None:
                client.delivered.extend(chunk)
            await asyncio.sleep(0)

    async def _until_writable(self, client: SocketClient) -> None:
        while client.is_open and (  # noqa: ASYNC110  # no event tells that a buffer was sent
            client.transport.get_write_buffer_size() > _MAX_PENDING
            or self._hub.faults.find("stall", "market", client.tokens)
        ):
            await asyncio.sleep(0.001)
