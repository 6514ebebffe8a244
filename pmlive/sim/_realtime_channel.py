"""The old real-time data socket: activity, reference prices and comments, by topic."""

import time
from collections.abc import Sequence
from random import Random
from typing import cast

import msgspec

from pmlive.sim._connections import Hub, Outlet
from pmlive.sim._exchange import Exchange
from pmlive.sim._markets import Market
from pmlive.sim._order_book import Message
from pmlive.sim._reference_prices import Point, Quotes, asset_of

__all__ = ["RealtimeChannel"]

_KINDS = {"crypto_prices": "crypto", "crypto_prices_chainlink": "crypto", "equity_prices": "equity"}
_TOPICS = frozenset(("activity", "comments", *_KINDS))
_REFUSED = '{"body":{"message":"invalid subscription filters"},"statusCode":400}'
_NAMES = ("Patient-Heron", "Quiet-Basalt", "Late-Lantern", "Even-Keel", "Distant-Sleet")


class _Subscription(msgspec.Struct, frozen=True):
    topic: str
    type: str = "*"
    filters: str = ""

    def wants(self, topic: str, kind: str) -> bool:
        return self.topic == topic and self.type in ("*", kind)

    def fields(self) -> dict[str, str]:
        """Read the filters; a bare list of symbols is understood for one topic only."""
        if not self.filters or self.topic == "comments":
            return {}
        if self.topic == "crypto_prices" and not self.filters.startswith("{"):
            return {"symbols": self.filters}
        return msgspec.json.decode(self.filters, type=dict[str, str])


class _Request(msgspec.Struct):
    action: str = ""
    subscriptions: list[_Subscription] = []


_DECODER = msgspec.json.Decoder(_Request)


class RealtimeChannel:
    """Answers the clients of the live-data address; one bad item in a request silences the whole request."""

    def __init__(self, exchange: Exchange, hub: Hub, quotes: Quotes, *, seed: int) -> None:
        self._exchange = exchange
        self._hub = hub
        self._quotes = quotes
        self._rng = Random(f"{seed}/wallets")
        self._wishes: dict[int, list[_Subscription]] = {}

    async def serve(self, outlet: Outlet) -> None:
        """Listen to one client until it leaves."""
        wishes = self._wishes[outlet.id] = []
        try:
            async for text in outlet.socket:
                outlet.heard = time.monotonic()
                if str(text).upper() == "PING":
                    outlet.word("")
                else:
                    self._request(outlet, wishes, str(text))
        finally:
            del self._wishes[outlet.id]

    def _request(self, outlet: Outlet, wishes: list[_Subscription], text: str) -> None:
        try:
            request = _DECODER.decode(text)
            good = all(_is_good(item) for item in request.subscriptions)
        except msgspec.DecodeError:
            good, request = False, _Request()
        if not good:
            outlet.word(_REFUSED)
        elif request.action == "unsubscribe":
            wishes[:] = [known for known in wishes if known not in request.subscriptions]
        elif request.action == "subscribe":
            fresh = [item for item in request.subscriptions if item not in wishes]
            wishes += fresh
            for item in fresh:
                self._open(outlet, item)

    def _open(self, outlet: Outlet, item: _Subscription) -> None:
        kind = _KINDS.get(item.topic)
        symbols = _symbols(item)
        if kind is None or len(symbols) != 1 or (asset := asset_of(symbols[0], kind)) is None:
            return
        data = [{"timestamp": point.timestamp, "value": point.value} for point in self._quotes.recent(asset)]
        outlet.data(self._envelope(item.topic, "subscribe", {"symbol": symbols[0], "data": data}))

    def told(self, messages: Sequence[Message]) -> None:
        """Pass on the trades among the market channel's messages."""
        if not self._wishes:
            return
        for message in messages:
            if message.kind == "last_trade_price":
                self._trade(message)

    def _trade(self, message: Message) -> None:
        trade: dict[str, str] = msgspec.json.decode(message.text, type=dict[str, str])
        market = self._exchange.of_token(trade["asset_id"])
        if market is None:
            return
        taker = self._activity(market, trade, market.token_ids.index(trade["asset_id"]), trade["side"])
        maker_side = "SELL" if trade["side"] == "BUY" else "BUY"
        maker = self._activity(market, trade, taker["outcomeIndex"] == 1, maker_side)
        for kind, payload in (("orders_matched", taker), ("trades", taker), ("trades", maker)):
            self._publish(kind, payload, market)

    def _publish(self, kind: str, payload: dict[str, object], market: Market) -> None:
        names = {"event_slug": market.event_slug, "market_slug": market.slug}
        text = self._envelope("activity", kind, payload)
        for outlet in self._hub.of("realtime"):
            wishes = self._wishes.get(outlet.id, [])
            if any(wish.wants("activity", kind) and wish.fields().items() <= names.items() for wish in wishes):
                outlet.data(text)

    def _activity(self, market: Market, trade: dict[str, str], outcome: int, side: str) -> dict[str, object]:
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

    def quoted(self) -> None:
        """Pass on the newest reference prices."""
        for outlet in self._hub.of("realtime"):
            for wish in self._wishes.get(outlet.id, []):
                if wish.wants(wish.topic, "update") and (kind := _KINDS.get(wish.topic)):
                    self._quote(outlet, wish, kind)

    def _quote(self, outlet: Outlet, wish: _Subscription, kind: str) -> None:
        for symbol in _symbols(wish) or _usual(wish.topic):
            if (asset := asset_of(symbol, kind)) is not None:
                payload = _update(symbol, self._quotes.latest(asset), wish.topic)
                outlet.data(self._envelope(wish.topic, "update", payload))

    def comment(self, body: str, market: Market) -> None:
        """Let somebody comment on an event."""
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
        for outlet in self._hub.of("realtime"):
            if any(wish.wants("comments", "comment_created") for wish in self._wishes.get(outlet.id, [])):
                outlet.data(text)

    def _envelope(self, topic: str, kind: str, payload: dict[str, object]) -> str:
        now = self._exchange.clock()
        fields = {"connection_id": "simulated=", "topic": topic, "type": kind, "timestamp": now, "payload": payload}
        return msgspec.json.encode(fields).decode()


def _is_good(item: _Subscription) -> bool:
    fields = item.fields()
    return item.topic in _TOPICS and (item.topic != "activity" or fields.keys() <= {"event_slug", "market_slug"})


def _symbols(item: _Subscription) -> list[str]:
    fields = item.fields()
    listed = fields.get("symbols", fields.get("symbol", ""))
    return [symbol.strip() for symbol in listed.split(",") if symbol.strip()]


def _usual(topic: str) -> tuple[str, ...]:
    return {
        "crypto_prices": ("btcusdt", "ethusdt", "solusdt", "xrpusdt"),
        "crypto_prices_chainlink": ("btc/usd", "eth/usd", "sol/usd", "xrp/usd"),
    }.get(topic, ("aapl", "nvda", "tsla"))


def _update(symbol: str, point: Point, topic: str) -> dict[str, object]:
    payload: dict[str, object] = {"symbol": symbol, "timestamp": point.timestamp, "value": point.value}
    if topic == "crypto_prices_chainlink":
        return payload | {"full_accuracy_value": point.exact.replace(".", "") + "0" * 10}
    if topic == "equity_prices":
        more = {"received_at": point.timestamp + 5, "is_carried_forward": False}
        return payload | {"full_accuracy_value": point.exact} | cast("dict[str, object]", more)
    return payload | {"full_accuracy_value": point.exact}
