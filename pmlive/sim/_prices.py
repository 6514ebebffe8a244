"""The reference prices of crypto assets, equities and currencies, and the channel that streams them.

Prices are random walks. The channel wants authentication first, answers every request, and numbers its messages.
"""

import time
from collections import Counter, deque
from collections.abc import Sequence
from random import Random

import msgspec

from pmlive.sim._clob_channels import CREDENTIALS
from pmlive.sim._connections import Hub, SocketClient
from pmlive.sim._faults import Fault, FaultKind

__all__ = ["PricePoint", "PricesChannel", "ReferencePrices", "asset_of"]

_CRYPTO_PRICES = {
    "btc": 65_000.0,
    "eth": 2_500.0,
    "sol": 150.0,
    "xrp": 0.6,
    "doge": 0.12,
    "bnb": 900.0,
    "hype": 40.0,
    "zec": 300.0,
}
_EQUITY_PRICES = {"aapl": 316.0, "nvda": 240.0, "tsla": 410.0, "spy": 690.0}
_OTHER_PRICES = {
    "eurusd": 1.08,
    "gbpusd": 1.27,
    "usdcad": 1.38,
    "usdjpy": 152.0,
    "usdkrw": 1_390.0,
    "xauusd": 2_650.0,
    "xagusd": 31.0,
    "cll": 71.0,
    "hn": 3.1,
    "cc3m": 4.1,
}
# Seconds of prices that are sent, and the window of the averages, which go that much further back.
_HISTORY, _WINDOW = 120, 60
_KEPT = _HISTORY + _WINDOW
_SCALE = 100_000_000

_CRYPTO = ("btc", "eth", "sol", "doge", "xrp", "bnb")
_CURRENCIES = ("eurusd", "gbpusd", "usdcad", "usdjpy", "usdkrw", "xauusd", "xagusd")
_EQUITIES = ("aapl", "nvda", "tsla", "spy", "cll", "hn", "cc3m")
# The asset of each symbol, by channel.
_CHANNELS: dict[str, dict[str, str]] = {
    "price.crypto": {f"{asset}usd": asset for asset in _CRYPTO},
    "price.crypto.twap": {f"{asset}usd": asset for asset in (*_CRYPTO, "hype", "zec")},
    "price.equity": {symbol: symbol for symbol in (*_CURRENCIES, *_EQUITIES)},
    "price.equity.twap": {symbol: symbol for symbol in ("eurusd", "usdjpy")},
}
_MAX_AUTH_ATTEMPTS, _MAX_SUBSCRIPTIONS, _MAX_REQUESTS, _MAX_FRAME = 8, 64, 20, 65_536
# Close codes.
_AUTH_FAILED, _POLICY_VIOLATION = 4001, 4008


class PricePoint(msgspec.Struct, frozen=True):
    """A price at a time in milliseconds; ``exact`` is its value as text, with all digits."""

    timestamp: int
    value: float
    exact: str


class ReferencePrices:
    """The latest prices of every asset, for two minutes back."""

    def __init__(self, *, seed: int, now: int) -> None:
        self._rng = Random(f"{seed}/reference")
        self._levels = {
            asset: int(price * _SCALE) for asset, price in (_CRYPTO_PRICES | _EQUITY_PRICES | _OTHER_PRICES).items()
        }
        self._points: dict[str, deque[PricePoint]] = {asset: deque(maxlen=_KEPT) for asset in self._levels}
        for second in range(_KEPT, 0, -1):
            self.step(now - second * 1000)

    def step(self, now: int) -> None:
        """Move every price once."""
        for asset, level in self._levels.items():
            self._levels[asset] = moved = max(1, int(level * (1 + self._rng.gauss(0, 0.0002))))
            exact = f"{moved // _SCALE}.{moved % _SCALE:08d}"
            self._points[asset].append(PricePoint(now, float(exact), exact))

    def latest(self, asset: str) -> PricePoint:
        """Return the latest price."""
        return self._points[asset][-1]

    def recent(self, asset: str) -> list[PricePoint]:
        """Return the prices of the last two minutes, oldest first."""
        return list(self._points[asset])[-_HISTORY:]

    def averages(self, asset: str) -> list[PricePoint]:
        """Return the one-minute averages of the last two minutes, oldest first."""
        points = list(self._points[asset])
        return [_mean(points[at - _WINDOW + 1 : at + 1]) for at in range(_WINDOW, len(points))]


def asset_of(symbol: str, kind: str) -> str | None:
    """Return the asset of a symbol (``btcusdt``, ``btc/usd``, ``btcusd``, ``aapl``), None for an unknown one.

    >>> asset_of("btc/usd", "crypto"), asset_of("AAPL", "equity"), asset_of("aapl", "crypto")
    ('btc', 'aapl', None)
    """
    name = symbol.lower()
    if kind == "equity":
        return name if name in _EQUITY_PRICES or name in _OTHER_PRICES else None
    base = name.removesuffix("t").removesuffix("usd").removesuffix("/")
    return base if base in _CRYPTO_PRICES and base != name else None


def _mean(points: Sequence[PricePoint]) -> PricePoint:
    value = sum(point.value for point in points) / len(points)
    return PricePoint(points[-1].timestamp, value, f"{value:.18f}")


class _Filter(msgspec.Struct, frozen=True):
    symbol: str = ""
    window_seconds: int | None = None
    provider: object = None


class _PriceSubscription(msgspec.Struct, frozen=True):
    channel: str = ""
    filter: _Filter = _Filter()

    @property
    def symbol(self) -> str:
        return self.filter.symbol.lower()

    @property
    def asset(self) -> str | None:
        return _CHANNELS.get(self.channel, {}).get(self.symbol)

    @property
    def has_provider_choice(self) -> bool:
        return self.channel.startswith("price.equity")

    @property
    def provider(self) -> str:
        """Return the source: Chainlink for crypto averages, and for currencies on request; otherwise Pyth."""
        if self.channel == "price.crypto.twap":
            return "chainlink"
        chosen = self.has_provider_choice and self.filter.provider == "chainlink" and self.symbol in _CURRENCIES
        return "chainlink" if chosen else "pyth"

    @property
    def key(self) -> tuple[str, str, str]:
        return self.channel, self.symbol, self.provider


class _PricesRequest(msgspec.Struct):
    op: str = ""
    rid: str = ""
    auth: dict[str, str] | None = None
    subscriptions: list[_PriceSubscription] | None = None
    channel: str = ""
    filter: _Filter = _Filter()

    def requested(self) -> list[_PriceSubscription]:
        return [_PriceSubscription(self.channel, self.filter)] if self.subscriptions is None else self.subscriptions


_DECODER = msgspec.json.Decoder(_PricesRequest)


class _Subscriber:
    """One client's authentication, subscriptions and sequence numbers by channel."""

    def __init__(self, client: SocketClient) -> None:
        self.client = client
        self.is_authenticated = False
        self.auth_attempts = 0
        self.subscriptions: dict[tuple[str, str, str], _PriceSubscription] = {}
        self.requests: deque[float] = deque(maxlen=_MAX_REQUESTS + 1)
        self.dropped = Counter[str]()
        self._sequence = Counter[str]()

    def reply(self, **fields: str) -> None:
        stated = {name: text for name, text in fields.items() if text}
        self.client.send_control(msgspec.json.encode(stated).decode())

    def send(self, channel: str, ts: int, payload: object, *, opening: bool = False) -> str:
        self._sequence[channel] += 1
        envelope: dict[str, object] = {"v": 1, "channel": channel, "seq": self._sequence[channel], "ts": ts}
        if opening:
            envelope["snapshot"] = True
        if dropped := self.dropped.pop(channel, 0):
            envelope["dropped"] = dropped
        text = msgspec.json.encode(envelope | {"payload": payload}).decode()
        self.client.send(text)
        return text

    def skip(self, channel: str) -> None:
        self._sequence[channel] += 1

    def is_over_rate_limit(self, now: float) -> bool:
        self.requests.append(now)
        return len(self.requests) > _MAX_REQUESTS and now - self.requests[0] < 1


class PricesChannel:
    """The channel of the price streams at ``/ws``."""

    def __init__(self, hub: Hub, reference_prices: ReferencePrices) -> None:
        self._hub = hub
        self._reference_prices = reference_prices
        self._subscribers: dict[int, _Subscriber] = {}

    async def serve(self, client: SocketClient) -> None:
        """Serve one client until it disconnects."""
        subscriber = self._subscribers[client.id] = _Subscriber(client)
        try:
            async for text in client.socket:
                client.last_active = time.monotonic()
                self._handle(subscriber, str(text))
        finally:
            del self._subscribers[client.id]

    def publish(self) -> None:
        """Send the latest prices."""
        for subscriber in list(self._subscribers.values()):
            for item in subscriber.subscriptions.values():
                points = self._points(item)[-1:]
                for point in points:
                    self._send_point(subscriber, item, point)

    def _handle(self, subscriber: _Subscriber, text: str) -> None:
        if len(text.encode()) > _MAX_FRAME:
            subscriber.client.close(_POLICY_VIOLATION, "frame too large")
            return
        try:
            request = _DECODER.decode(text)
        except msgspec.DecodeError:
            request = _PricesRequest()
        denied = self._strike_own("deny")
        if denied is not None:
            subscriber.auth_attempts += request.op == "auth"
            channel = next((item.channel for item in request.requested()), "")
            subscriber.reply(op="error", channel=channel, rid=request.rid, code=denied.detail or "auth_unavailable")
        elif request.op == "ping":
            subscriber.reply(op="pong", rid=request.rid)
        elif request.op == "auth":
            self._authenticate(subscriber, request)
        elif request.op in ("subscribe", "unsubscribe"):
            self._change_subscriptions(subscriber, request)
        else:
            subscriber.reply(op="error", rid=request.rid, code="bad_op")

    def _authenticate(self, subscriber: _Subscriber, request: _PricesRequest) -> None:
        subscriber.auth_attempts += 1
        if subscriber.auth_attempts > _MAX_AUTH_ATTEMPTS:
            subscriber.reply(op="error", rid=request.rid, code="auth_attempts")
            subscriber.client.close(_POLICY_VIOLATION, "auth attempts")
        elif CREDENTIALS.match(request.auth):
            subscriber.is_authenticated = True
            subscriber.reply(op="authed", rid=request.rid)
        else:
            subscriber.reply(op="error", rid=request.rid, code="auth_invalid")
            subscriber.client.close(_AUTH_FAILED, "authentication failed")

    def _change_subscriptions(self, subscriber: _Subscriber, request: _PricesRequest) -> None:
        if subscriber.is_over_rate_limit(time.monotonic()):
            subscriber.reply(op="error", rid=request.rid, code="rate_limited")
            subscriber.client.close(_POLICY_VIOLATION, "rate limited")
            return
        for item in request.requested():
            code = _refusal_code(subscriber, item, request.op)
            if code:
                subscriber.reply(op="error", channel=item.channel, rid=request.rid, code=code)
            elif request.op == "unsubscribe":
                subscriber.subscriptions.pop(item.key, None)
                subscriber.reply(op="unsubscribed", channel=item.channel, rid=request.rid)
            else:
                self._subscribe(subscriber, request, item)
            if code == "sub_limit":
                subscriber.client.close(_POLICY_VIOLATION, "subscription limit")
                return

    def _subscribe(self, subscriber: _Subscriber, request: _PricesRequest, item: _PriceSubscription) -> None:
        provider = item.provider if item.has_provider_choice else ""
        subscriber.reply(op="subscribed", channel=item.channel, rid=request.rid, provider=provider)
        if item.key in subscriber.subscriptions:
            return
        subscriber.subscriptions[item.key] = item
        points = self._points(item)
        payload = {"data": [_point_fields(point) for point in points], "symbol": item.symbol, "source": item.provider}
        now = self._reference_prices.latest(item.asset or "").timestamp
        subscriber.send(item.channel, now, payload, opening=True)

    def _points(self, item: _PriceSubscription) -> list[PricePoint]:
        """Return two minutes of prices; averages over other windows than a minute have none."""
        if not item.channel.endswith(".twap"):
            return self._reference_prices.recent(item.asset or "")
        return self._reference_prices.averages(item.asset or "") if item.filter.window_seconds == _WINDOW else []

    def _send_point(self, subscriber: _Subscriber, item: _PriceSubscription, point: PricePoint) -> None:
        skipped = self._strike_own("skip")
        if skipped is not None:
            _ = subscriber.skip(item.channel) if skipped.detail else subscriber.dropped.update([item.channel])
            return
        more: dict[str, object] = {"symbol": item.symbol, "source": item.provider}
        if item.channel.endswith("twap"):
            more["window_seconds"] = _WINDOW
        elif item.has_provider_choice:
            more |= {"received_at": point.timestamp, "is_carried_forward": False}
        text = subscriber.send(item.channel, point.timestamp, _point_fields(point) | more)
        if self._strike_own("duplicate"):
            subscriber.client.send(text)

    def _strike_own(self, kind: FaultKind) -> Fault | None:
        """Find a fault meant for this channel alone, and count a strike."""
        fault = self._hub.faults.find(kind, "prices")
        if fault is None or fault.channel != "prices":
            return None
        fault.struck()
        return fault


def _refusal_code(subscriber: _Subscriber, item: _PriceSubscription, op: str) -> str:
    if item.channel not in _CHANNELS:
        return "bad_channel"
    if not subscriber.is_authenticated:
        return "auth_required"
    chosen = item.filter.provider
    if item.asset is None or (item.has_provider_choice and chosen not in (None, "chainlink", "pyth")):
        return "bad_filter"
    if item.channel.endswith(".twap") and (item.filter.window_seconds or 0) < 1:
        return "bad_filter"
    is_new = op == "subscribe" and item.key not in subscriber.subscriptions
    return "sub_limit" if is_new and len(subscriber.subscriptions) >= _MAX_SUBSCRIPTIONS else ""


def _point_fields(point: PricePoint) -> dict[str, object]:
    return {"full_accuracy_value": point.exact, "timestamp": point.timestamp, "value": point.value}
