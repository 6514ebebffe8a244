"""The channel of the older real-time data socket: activity, reference prices and comments, by topic."""

import time
from collections.abc import Sequence
from random import Random

import msgspec

from pmlive.sim._connections import Hub, SocketClient
from pmlive.sim._exchange import Exchange
from pmlive.sim._markets import Market, MarketMessage
from pmlive.sim._prices import PricePoint, ReferencePrices, asset_of

__all__ = ["RealtimeChannel"]

_ASSET_KINDS = {"crypto_prices": "crypto", "crypto_prices_chainlink": "crypto", "equity_prices": "equity"}
_TOPICS = frozenset(("activity", "comments", *_ASSET_KINDS))
_REFUSED = '{"body":{"message":"invalid subscription filters"},"statusCode":400}'
_NAMES = ("Patient-Heron", "Quiet-Basalt", "Late-Lantern", "Even-Keel", "Distant-Sleet")


class _TopicSubscription(msgspec.Struct, frozen=True):
    topic: str
    type: str = "*"
    filters: str = ""

    def matches(self, topic: str, kind: str) -> bool:
        return self.topic == topic and self.type in ("*", kind)

    def fields(self) -> dict[str, str]:
        """Decode the filters; a bare list of symbols is valid for one topic only."""
        if not self.filters or self.topic == "comments":
            return {}
        if self.topic == "crypto_prices" and not self.filters.startswith("{"):
            return {"symbols": self.filters}
        return msgspec.json.decode(self.filters, type=dict[str, str])


class _RealtimeRequest(msgspec.Struct):
    action: str = ""
    subscriptions: list[_TopicSubscription] = []


_DECODER = msgspec.json.Decoder(_RealtimeRequest)


class RealtimeChannel:
    """The channel at the live-data address; one invalid item in a request invalidates the whole request."""

    def __init__(self, exchange: Exchange, hub: Hub, reference_prices: ReferencePrices, *, seed: int) -> None:
        self._exchange = exchange
        self._hub = hub
        self._reference_prices = reference_prices
        self._rng = Random(f"{seed}/wallets")
        self._subscriptions: dict[int, list[_TopicSubscription]] = {}

    async def serve(self, client: SocketClient) -> None:
        """Serve one client until it disconnects."""
        subscriptions = self._subscriptions[client.id] = []
        try:
            async for text in client.socket:
                client.last_active = time.monotonic()
                if str(text).upper() == "PING":
                    client.send_control("")
                else:
                    self._handle(client, subscriptions, str(text))
        finally:
            del self._subscriptions[client.id]

    def publish_trades(self, messages: Sequence[MarketMessage]) -> None:
        """Send the trades among the market channel's messages."""
        if not self._subscriptions:
            return
        for message in messages:
            if message.kind == "last_trade_price":
                self._publish_trade(message)

    def publish_prices(self) -> None:
        """Send the latest reference prices."""
        for client in self._hub.clients_of("realtime"):
            for item in self._subscriptions.get(client.id, []):
                if item.matches(item.topic, "update") and (kind := _ASSET_KINDS.get(item.topic)):
                    self._send_price(client, item, kind)

    def comment(self, body: str, market: Market) -> None:
        """Send a comment on a market's event."""
        payload: dict[str, object] = {
            "body": body,
            "createdAt": "2026-01-01T00:00:00Z",
            "id": str(self._rng.randrange(10**6, 10**7)),
            "parentCommentID": None,
            "parentEntityID": int(market.event_id),
            "parentEntityType": "Event",
            "profile": {"name": self._rng.choice(_NAMES), "displayUsernamePublic": True},
            "reactionCount": 0,
            "replyAddress": None,
            "reportCount": 0,
            "userAddress": f"0x{self._rng.getrandbits(160):040x}",
        }
        text = self._envelope("comments", "comment_created", payload)
        for client in self._hub.clients_of("realtime"):
            subscriptions = self._subscriptions.get(client.id, [])
            if any(item.matches("comments", "comment_created") for item in subscriptions):
                client.send(text)

    def _handle(self, client: SocketClient, subscriptions: list[_TopicSubscription], text: str) -> None:
        try:
            request = _DECODER.decode(text)
            valid = all(_is_valid(item) for item in request.subscriptions)
        except msgspec.DecodeError:
            valid, request = False, _RealtimeRequest()
        if not valid:
            client.send_control(_REFUSED)
        elif request.action == "unsubscribe":
            subscriptions[:] = [item for item in subscriptions if item not in request.subscriptions]
        elif request.action == "subscribe":
            added = [item for item in request.subscriptions if item not in subscriptions]
            subscriptions += added
            for item in added:
                self._send_history(client, item)

    def _send_history(self, client: SocketClient, item: _TopicSubscription) -> None:
        kind = _ASSET_KINDS.get(item.topic)
        symbols = _symbols(item)
        if kind is None or len(symbols) != 1 or (asset := asset_of(symbols[0], kind)) is None:
            return
        data = [{"timestamp": point.timestamp, "value": point.value} for point in self._reference_prices.recent(asset)]
        client.send(self._envelope(item.topic, "subscribe", {"symbol": symbols[0], "data": data}))

    def _publish_trade(self, message: MarketMessage) -> None:
        trade: dict[str, str] = msgspec.json.decode(message.text, type=dict[str, str])
        market = self._exchange.market_of_token(trade["asset_id"])
        if market is None:
            return
        taker = self._activity_fields(market, trade, market.token_ids.index(trade["asset_id"]), trade["side"])
        maker_side = "SELL" if trade["side"] == "BUY" else "BUY"
        maker = self._activity_fields(market, trade, taker["outcomeIndex"] == 1, maker_side)
        for kind, payload in (("orders_matched", taker), ("trades", taker), ("trades", maker)):
            self._publish_activity(kind, payload, market)

    def _publish_activity(self, kind: str, payload: dict[str, object], market: Market) -> None:
        names = {"event_slug": market.event_slug, "market_slug": market.slug}
        text = self._envelope("activity", kind, payload)
        for client in self._hub.clients_of("realtime"):
            subscriptions = self._subscriptions.get(client.id, [])
            if any(item.matches("activity", kind) and item.fields().items() <= names.items() for item in subscriptions):
                client.send(text)

    def _activity_fields(self, market: Market, trade: dict[str, str], outcome: int, side: str) -> dict[str, object]:
        name = self._rng.choice(_NAMES)
        return {
            "asset": market.token_ids[outcome],
            "bio": "",
            "conditionId": market.condition_id,
            "eventSlug": market.event_slug,
            "icon": "",
            "name": name.lower(),
            "outcome": market.outcomes[outcome],
            "outcomeIndex": int(outcome),
            "price": float(trade["price"]),
            "profileImage": "",
            "proxyWallet": f"0x{self._rng.getrandbits(160):040x}",
            "pseudonym": name,
            "side": side,
            "size": float(trade["size"]),
            "slug": market.slug,
            "timestamp": int(trade["timestamp"]) // 1000,
            "title": market.question,
            "transactionHash": trade["transaction_hash"],
        }

    def _send_price(self, client: SocketClient, item: _TopicSubscription, kind: str) -> None:
        for symbol in _symbols(item) or _default_symbols(item.topic):
            if (asset := asset_of(symbol, kind)) is not None:
                payload = _price_fields(symbol, self._reference_prices.latest(asset), item.topic)
                client.send(self._envelope(item.topic, "update", payload))

    def _envelope(self, topic: str, kind: str, payload: dict[str, object]) -> str:
        now = self._exchange.clock()
        fields = {"connection_id": "simulated=", "topic": topic, "type": kind, "timestamp": now, "payload": payload}
        return msgspec.json.encode(fields).decode()


def _is_valid(item: _TopicSubscription) -> bool:
    fields = item.fields()
    return item.topic in _TOPICS and (item.topic != "activity" or fields.keys() <= {"event_slug", "market_slug"})


def _symbols(item: _TopicSubscription) -> list[str]:
    fields = item.fields()
    listed = fields.get("symbols", fields.get("symbol", ""))
    return [symbol.strip() for symbol in listed.split(",") if symbol.strip()]


def _default_symbols(topic: str) -> tuple[str, ...]:
    return {
        "crypto_prices": ("btcusdt", "ethusdt", "solusdt", "xrpusdt"),
        "crypto_prices_chainlink": ("btc/usd", "eth/usd", "sol/usd", "xrp/usd"),
    }.get(topic, ("aapl", "nvda", "tsla"))


def _price_fields(symbol: str, point: PricePoint, topic: str) -> dict[str, object]:
    payload: dict[str, object] = {"symbol": symbol, "timestamp": point.timestamp, "value": point.value}
    if topic == "crypto_prices_chainlink":
        return payload | {"full_accuracy_value": point.exact.replace(".", "") + "0" * 10}
    payload["full_accuracy_value"] = point.exact
    if topic == "equity_prices":
        payload |= {"received_at": point.timestamp + 5, "is_carried_forward": False}
    return payload
