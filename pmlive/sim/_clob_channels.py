"""The CLOB's channels: the market channel, and the user channel with the simulated user's orders and trades.

The market channel answers subscriptions with opening books, and acknowledges nothing.
"""

import asyncio
import time
import uuid
from random import Random
from typing import Literal, TypeAlias

import msgspec

from pmlive.sim._connections import Hub, SocketClient, text_frame
from pmlive.sim._exchange import Exchange
from pmlive.sim._faults import Script
from pmlive.sim._markets import DOLLAR, SHARE, Market, price_text, size_text

__all__ = ["CREDENTIALS", "Credentials", "MarketChannel", "OrderStory", "UserChannel"]

# Seconds without a new subscription after which a script begins.
_QUIET = 0.25
_GIANT_SIZE = 17 * 1024 * 1024
# Messages of a script that are written together, and the unread bytes above which the next ones wait.
_CHUNK = 256
_MAX_PENDING = 1024 * 1024

OrderStory: TypeAlias = Literal["filled", "partly", "cancelled", "killed"]

_WALLET = "0x00000000000000000000000000000000000051a0"
_KILLED = "CANCELED_order couldn't be fully filled. FOK orders are fully filled or killed."
_STORIES: tuple[OrderStory, ...] = ("filled", "partly", "cancelled", "killed")


class _MarketRequest(msgspec.Struct):
    type: str = ""
    operation: str = ""
    assets_ids: list[str] | None = None
    custom_feature_enabled: bool | None = None
    initial_dump: bool = True


_MARKET_DECODER = msgspec.json.Decoder(_MarketRequest)


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
            request = _MARKET_DECODER.decode(text)
        except msgspec.DecodeError:
            return False
        if request.type.lower() != "market" or request.assets_ids is None:
            return False
        self._subscribe(client, request)
        return True

    def _next_request(self, client: SocketClient, text: str) -> None:
        try:
            request = _MARKET_DECODER.decode(text)
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


class Credentials(msgspec.Struct, frozen=True):
    """API credentials of the simulated venue; they open nothing else."""

    api_key: str
    secret: str
    passphrase: str

    def environment(self) -> dict[str, str]:
        """Return the variables that hand them to a client."""
        return {
            "POLYMARKET_API_KEY": self.api_key,
            "POLYMARKET_SECRET": self.secret,
            "POLYMARKET_PASSPHRASE": self.passphrase,
        }

    def match(self, auth: dict[str, str] | None) -> bool:
        """Return whether a client's first frame presents them."""
        return auth is not None and auth == {
            "apiKey": self.api_key,
            "secret": self.secret,
            "passphrase": self.passphrase,
        }

    def answer(self) -> dict[str, str]:
        """Return them as REST does."""
        return {"apiKey": self.api_key, "secret": self.secret, "passphrase": self.passphrase}


# The secret is base64 of "simulated secret, opens nothing".
CREDENTIALS = Credentials(
    api_key="00000000-0000-4000-8000-0000000051a0",
    secret="c2ltdWxhdGVkIHNlY3JldCwgb3BlbnMgbm90aGluZw==",  # noqa: S106  # of the simulation
    passphrase="simulated-passphrase",  # noqa: S106  # of the simulation
)


_OWNER = CREDENTIALS.api_key


class _UserRequest(msgspec.Struct):
    type: str = ""
    operation: str = ""
    auth: dict[str, str] | None = None
    markets: list[str] | None = None


_USER_DECODER = msgspec.json.Decoder(_UserRequest)


class UserChannel:
    """The channel at ``/ws/user``: the orders and trades of the simulated user."""

    def __init__(self, exchange: Exchange, hub: Hub, *, seed: int) -> None:
        self._exchange = exchange
        self._hub = hub
        self._rng = Random(f"{seed}/orders")
        # Each client's condition ids; None means all.
        self._subscriptions: dict[int, set[str] | None] = {}
        # Clients that get no answers.
        self._ignored: set[int] = set()

    async def serve(self, client: SocketClient) -> None:
        """Serve one client until it disconnects."""
        try:
            async for text in client.socket:
                client.last_active = time.monotonic()
                if client.id in self._ignored:
                    continue
                if client.id not in self._subscriptions:
                    self._authenticate(client, str(text))
                elif text == "PING":
                    client.send_control("PONG")
                else:
                    self._update_subscription(client, str(text))
        finally:
            self._subscriptions.pop(client.id, None)
            self._ignored.discard(client.id)

    async def run_orders(self, every: float) -> None:
        """Start a random order at each interval, for as long as the venue runs."""
        while True:
            await asyncio.sleep(every)
            markets = list(self._exchange)
            if self._subscriptions and markets:
                self.start_order(self._rng.choice(markets), self._rng.choice(_STORIES))

    def start_order(self, market: Market, story: OrderStory) -> None:
        """Start an order that ends as in ``story``; its messages follow over the next second or so."""
        loop = asyncio.get_running_loop()
        for seconds, text in _order_messages(self._rng, market, story, now=self._exchange.clock()):
            loop.call_later(seconds, self._send, market.condition_id, text)

    def _send(self, condition_id: str, text: str) -> None:
        for client in self._hub.clients_of("user"):
            conditions = self._subscriptions.get(client.id, set())
            if conditions is None or condition_id in conditions:
                client.send(text)

    def _authenticate(self, client: SocketClient, text: str) -> None:
        try:
            request = _USER_DECODER.decode(text)
        except msgspec.DecodeError:
            client.close(1008, "invalid subscription payload")
            return
        if request.type.lower() != "user":
            client.close(1008, "invalid subscription payload")
        elif denial := self._hub.faults.strike("deny", "user"):
            self._deny(client, denial.detail)
        elif not CREDENTIALS.match(request.auth):
            # The real venue sends no reason, not even a close frame.
            client.abort()
        else:
            self._subscriptions[client.id] = set(request.markets) if request.markets else None

    def _deny(self, client: SocketClient, detail: str) -> None:
        """Reject good credentials: by a close frame, in words, by silence, or by cutting the connection."""
        if detail == "close":
            client.close(1008, "invalid api key")
        elif detail in ("words", "silence"):
            self._ignored.add(client.id)
            if detail == "words":
                client.send_control('{"error":"invalid api key"}')
        else:
            client.abort()

    def _update_subscription(self, client: SocketClient, text: str) -> None:
        try:
            request = _USER_DECODER.decode(text)
        except msgspec.DecodeError:
            client.send_control("INVALID MESSAGE")
            return
        conditions, named = self._subscriptions[client.id], request.markets or []
        if conditions is not None and request.operation == "subscribe":
            conditions.update(named)
        elif conditions is not None and request.operation == "unsubscribe":
            conditions.difference_update(named)


class _Order(msgspec.Struct, frozen=True, kw_only=True):
    market: Market
    outcome: int
    id: str
    side: str
    price: int
    size: int
    kind: str
    created: int


def _order_messages(rng: Random, market: Market, story: OrderStory, *, now: int) -> list[tuple[float, str]]:
    """Return the messages of an order's life, each with the seconds after which it is sent."""
    order = _order(rng, market, story, now)
    if story == "killed":
        return [(0.0, _order_text(order, "CANCELLATION", _KILLED, now, matched=None))]
    first = (0.0, _order_text(order, "PLACEMENT", "LIVE", now, matched=0))
    if story == "cancelled":
        return [first, (0.4, _order_text(order, "CANCELLATION", "CANCELED", now + 400, matched=0))]
    matched = order.size if story == "filled" else order.size // 2 // SHARE * SHARE or order.size
    trade, maker = str(uuid.UUID(int=rng.getrandbits(128), version=4)), f"0x{rng.getrandbits(256):064x}"
    status = "MATCHED" if matched == order.size else "LIVE"
    messages = [
        first,
        (0.3, _order_text(order, "UPDATE", status, now + 300, matched=matched, trades=[trade])),
        (0.3, _trade_text(order, trade, maker, status="MATCHED", size=matched, now=now + 300)),
        (0.6, _trade_text(order, trade, maker, status="MINED", size=matched, now=now + 600)),
        (0.9, _trade_text(order, trade, maker, status="CONFIRMED", size=matched, now=now + 900)),
    ]
    if matched < order.size:
        rest = _order_text(order, "CANCELLATION", "CANCELED", now + 1200, matched=matched, trades=[trade])
        messages.append((1.2, rest))
    return messages


def _order(rng: Random, market: Market, story: OrderStory, now: int) -> _Order:
    return _Order(
        market=market,
        outcome=rng.randrange(2),
        id=f"0x{rng.getrandbits(256):064x}",
        side=rng.choice(("BUY", "SELL")),
        price=rng.randrange(10, 90) * 100,
        size=rng.randrange(10, 200) * SHARE,
        kind="FOK" if story == "killed" else "GTC",
        created=now,
    )


def _order_text(
    order: _Order, kind: str, status: str, now: int, *, matched: int | None, trades: list[str] | None = None
) -> str:
    # A killed order has empty texts where others have values.
    killed = matched is None
    return _json(
        {
            "id": order.id,
            "owner": _OWNER,
            "market": order.market.condition_id,
            "asset_id": order.market.token_ids[order.outcome],
            "side": order.side,
            "order_owner": _OWNER,
            "original_size": size_text(order.size),
            "size_matched": "" if matched is None else size_text(matched),
            "price": price_text(order.price),
            "associate_trades": trades,
            "outcome": "" if killed else order.market.outcomes[order.outcome],
            "type": kind,
            "created_at": "" if killed else str(order.created // 1000),
            "expiration": "0",
            "order_type": order.kind,
            "status": status,
            "maker_address": _WALLET,
            "timestamp": str(now),
            "event_type": "order",
        }
    )


def _trade_text(order: _Order, trade: str, maker: str, *, status: str, size: int, now: int) -> str:
    return _json(
        {
            "type": "TRADE",
            "id": trade,
            "taker_order_id": order.id,
            "market": order.market.condition_id,
            "asset_id": order.market.token_ids[order.outcome],
            "side": order.side,
            "size": size_text(size),
            "fee_rate_bps": "0",
            "price": price_text(order.price),
            "status": status,
            "match_time": str((order.created + 300) // 1000),
            "last_update": str(now // 1000),
            "outcome": order.market.outcomes[order.outcome],
            "owner": _OWNER,
            "trade_owner": _OWNER,
            "maker_address": _WALLET,
            "transaction_hash": "" if status == "MATCHED" else f"0x{int(maker, 16) ^ 0x51A0:064x}",
            "bucket_index": 0,
            "maker_orders": [_maker_fields(order, maker, size)],
            "trader_side": "TAKER",
            "timestamp": str(now),
            "event_type": "trade",
        }
    )


def _maker_fields(order: _Order, maker: str, size: int) -> dict[str, object]:
    """Describe the resting order: the same side of the other outcome at the complement, as in a mint."""
    other = 1 - order.outcome
    return {
        "order_id": maker,
        "owner": "00000000-0000-4000-8000-00000000aaaa",
        "maker_address": "0x000000000000000000000000000000000000aaaa",
        "matched_amount": size_text(size),
        "price": price_text(DOLLAR - order.price),
        "fee_rate_bps": "0",
        "asset_id": order.market.token_ids[other],
        "outcome": order.market.outcomes[other],
        "outcome_index": other,
        "side": order.side,
    }


def _json(fields: dict[str, object]) -> str:
    return msgspec.json.encode(fields).decode()
