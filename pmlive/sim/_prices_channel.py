"""The new price streams: credentials first, answers to every request, numbered messages."""

import time
from collections import Counter, deque

import msgspec

from pmlive.sim._connections import Hub, Outlet
from pmlive.sim._faults import Fault, FaultKind
from pmlive.sim._reference_prices import Point, Quotes
from pmlive.sim._user_channel import CREDENTIALS

__all__ = ["PricesChannel"]

_CRYPTO = ("btc", "eth", "sol", "doge", "xrp", "bnb")
_CURRENCIES = ("eurusd", "gbpusd", "usdcad", "usdjpy", "usdkrw", "xauusd", "xagusd")
_EQUITIES = ("aapl", "nvda", "tsla", "spy", "cll", "hn", "cc3m")
# By channel, the asset of each symbol.
_CHANNELS: dict[str, dict[str, str]] = {
    "price.crypto": {f"{asset}usd": asset for asset in _CRYPTO},
    "price.crypto.twap": {f"{asset}usd": asset for asset in (*_CRYPTO, "hype", "zec")},
    "price.equity": {symbol: symbol for symbol in (*_CURRENCIES, *_EQUITIES)},
    "price.equity.twap": {symbol: symbol for symbol in ("eurusd", "usdjpy")},
}
_WINDOW = 60
_ATTEMPTS, _MOST, _FRAMES, _LONGEST = 8, 64, 20, 65_536
_REJECTED, _POLICY = 4001, 4008


class _Filter(msgspec.Struct, frozen=True):
    symbol: str = ""
    window_seconds: int | None = None
    provider: object = None


class _Item(msgspec.Struct, frozen=True):
    channel: str = ""
    filter: _Filter = _Filter()

    @property
    def symbol(self) -> str:
        return self.filter.symbol.lower()

    @property
    def asset(self) -> str | None:
        return _CHANNELS.get(self.channel, {}).get(self.symbol)

    @property
    def is_choosable(self) -> bool:
        return self.channel.startswith("price.equity")

    @property
    def provider(self) -> str:
        """Say who serves it: Chainlink what is traded as currencies are, if asked for; an average always."""
        if self.channel == "price.crypto.twap":
            return "chainlink"
        chosen = self.is_choosable and self.filter.provider == "chainlink" and self.symbol in _CURRENCIES
        return "chainlink" if chosen else "pyth"

    @property
    def key(self) -> tuple[str, str, str]:
        return self.channel, self.symbol, self.provider


class _Request(msgspec.Struct):
    op: str = ""
    rid: str = ""
    auth: dict[str, str] | None = None
    subscriptions: list[_Item] | None = None
    channel: str = ""
    filter: _Filter = _Filter()

    def items(self) -> list[_Item]:
        return [_Item(self.channel, self.filter)] if self.subscriptions is None else self.subscriptions


_DECODER = msgspec.json.Decoder(_Request)


class _Client:
    """What one client has shown and asked for, and how many messages it got on each channel."""

    def __init__(self, outlet: Outlet) -> None:
        self.outlet = outlet
        self.authed = False
        self.attempts = 0
        self.wishes: dict[tuple[str, str, str], _Item] = {}
        self.requests: deque[float] = deque(maxlen=_FRAMES + 1)
        self.dropped = Counter[str]()
        self._numbers = Counter[str]()

    def reply(self, **fields: str) -> None:
        self.outlet.word(msgspec.json.encode({name: text for name, text in fields.items() if text}).decode())

    def data(self, channel: str, ts: int, payload: object, *, opening: bool = False) -> str:
        self._numbers[channel] += 1
        first: dict[str, object] = {"v": 1, "channel": channel, "seq": self._numbers[channel], "ts": ts}
        if opening:
            first["snapshot"] = True
        if dropped := self.dropped.pop(channel, 0):
            first["dropped"] = dropped
        text = msgspec.json.encode(first | {"payload": payload}).decode()
        self.outlet.data(text)
        return text

    def skip(self, channel: str) -> None:
        self._numbers[channel] += 1

    def is_too_fast(self, now: float) -> bool:
        self.requests.append(now)
        return len(self.requests) > _FRAMES and now - self.requests[0] < 1


class PricesChannel:
    """Answers the clients of the price streams."""

    def __init__(self, hub: Hub, quotes: Quotes) -> None:
        self._hub = hub
        self._quotes = quotes
        self._clients: dict[int, _Client] = {}

    async def serve(self, outlet: Outlet) -> None:
        """Listen to one client until it leaves."""
        client = self._clients[outlet.id] = _Client(outlet)
        try:
            async for text in outlet.socket:
                outlet.heard = time.monotonic()
                self._request(client, str(text))
        finally:
            del self._clients[outlet.id]

    # --- what is asked ---

    def _request(self, client: _Client, text: str) -> None:
        if len(text.encode()) > _LONGEST:
            client.outlet.close(_POLICY, "frame too large")
            return
        try:
            request = _DECODER.decode(text)
        except msgspec.DecodeError:
            request = _Request()
        denied = self._strike("deny")
        if denied is not None:
            client.attempts += request.op == "auth"
            channel = next((item.channel for item in request.items()), "")
            client.reply(op="error", channel=channel, rid=request.rid, code=denied.detail or "auth_unavailable")
        elif request.op == "ping":
            client.reply(op="pong", rid=request.rid)
        elif request.op == "auth":
            self._auth(client, request)
        elif request.op in ("subscribe", "unsubscribe"):
            self._items(client, request)
        else:
            client.reply(op="error", rid=request.rid, code="bad_op")

    def _auth(self, client: _Client, request: _Request) -> None:
        client.attempts += 1
        if client.attempts > _ATTEMPTS:
            client.reply(op="error", rid=request.rid, code="auth_attempts")
            client.outlet.close(_POLICY, "auth attempts")
        elif CREDENTIALS.match(request.auth):
            client.authed = True
            client.reply(op="authed", rid=request.rid)
        else:
            client.reply(op="error", rid=request.rid, code="auth_invalid")
            client.outlet.close(_REJECTED, "authentication failed")

    def _items(self, client: _Client, request: _Request) -> None:
        if client.is_too_fast(time.monotonic()):
            client.reply(op="error", rid=request.rid, code="rate_limited")
            client.outlet.close(_POLICY, "rate limited")
            return
        for item in request.items():
            code = _refusal(client, item, request.op)
            if code:
                client.reply(op="error", channel=item.channel, rid=request.rid, code=code)
            elif request.op == "unsubscribe":
                client.wishes.pop(item.key, None)
                client.reply(op="unsubscribed", channel=item.channel, rid=request.rid)
            else:
                self._subscribe(client, request, item)
            if code == "sub_limit":
                client.outlet.close(_POLICY, "subscription limit")
                return

    def _subscribe(self, client: _Client, request: _Request, item: _Item) -> None:
        provider = item.provider if item.is_choosable else ""
        client.reply(op="subscribed", channel=item.channel, rid=request.rid, provider=provider)
        if item.key in client.wishes:
            return
        client.wishes[item.key] = item
        points = self._points(item)
        payload = {"data": [_told(point) for point in points], "symbol": item.symbol, "source": item.provider}
        now = self._quotes.latest(item.asset or "").timestamp
        client.data(item.channel, now, payload, opening=True)

    def _points(self, item: _Item) -> list[Point]:
        """Give two minutes of prices; of averages over other windows there are none."""
        if not item.channel.endswith(".twap"):
            return self._quotes.recent(item.asset or "")
        return self._quotes.averages(item.asset or "") if item.filter.window_seconds == _WINDOW else []

    # --- what is told ---

    def quoted(self) -> None:
        """Pass on the newest prices."""
        for client in list(self._clients.values()):
            for item in client.wishes.values():
                points = self._points(item)[-1:]
                for point in points:
                    self._tell(client, item, point)

    def _tell(self, client: _Client, item: _Item, point: Point) -> None:
        skipped = self._strike("skip")
        if skipped is not None:
            _ = client.skip(item.channel) if skipped.detail else client.dropped.update([item.channel])
            return
        more: dict[str, object] = {"symbol": item.symbol, "source": item.provider}
        if item.channel.endswith("twap"):
            more["window_seconds"] = _WINDOW
        elif item.is_choosable:
            more |= {"received_at": point.timestamp, "is_carried_forward": False}
        text = client.data(item.channel, point.timestamp, _told(point) | more)
        if self._strike("duplicate"):
            client.outlet.data(text)

    def _strike(self, kind: FaultKind) -> Fault | None:
        """Find a fault that was meant for this channel, and count the blow."""
        fault = self._hub.faults.find(kind, "prices")
        if fault is None or fault.channel != "prices":
            return None
        fault.struck()
        return fault


def _refusal(client: _Client, item: _Item, op: str) -> str:
    if item.channel not in _CHANNELS:
        return "bad_channel"
    if not client.authed:
        return "auth_required"
    chosen = item.filter.provider
    if item.asset is None or (item.is_choosable and chosen not in (None, "chainlink", "pyth")):
        return "bad_filter"
    if item.channel.endswith(".twap") and (item.filter.window_seconds or 0) < 1:
        return "bad_filter"
    is_new = op == "subscribe" and item.key not in client.wishes
    return "sub_limit" if is_new and len(client.wishes) >= _MOST else ""


def _told(point: Point) -> dict[str, object]:
    return {"full_accuracy_value": point.exact, "timestamp": point.timestamp, "value": point.value}
