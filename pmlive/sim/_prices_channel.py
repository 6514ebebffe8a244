"""The new price streams: credentials first, answers to every request, numbered messages."""

import time
from collections import Counter

import msgspec

from pmlive.sim._credentials import CREDENTIALS
from pmlive.sim._exchange import Exchange
from pmlive.sim._hub import Hub
from pmlive.sim._outlet import Outlet
from pmlive.sim._reference import Point, Quotes, asset_of

__all__ = ["PricesChannel"]

_CHANNELS = {
    "price.crypto": "crypto",
    "price.crypto.twap": "crypto",
    "price.equity": "equity",
    "price.equity.twap": "equity",
}
_ATTEMPTS, _MOST = 8, 64


class _Item(msgspec.Struct, frozen=True):
    channel: str = ""
    filter: dict[str, str] = {}

    @property
    def symbol(self) -> str:
        return self.filter.get("symbol", "")


class _Request(msgspec.Struct):
    op: str = ""
    rid: str = ""
    auth: dict[str, str] | None = None
    subscriptions: list[_Item] = []


_DECODER = msgspec.json.Decoder(_Request)


class _Client:
    """What one client has shown and asked for, and how many messages it got on each channel."""

    def __init__(self, outlet: Outlet) -> None:
        self.outlet = outlet
        self.authed = False
        self.attempts = 0
        self.wishes: dict[tuple[str, str], str] = {}
        self._numbers = Counter[str]()

    def reply(self, **fields: str) -> None:
        self.outlet.word(msgspec.json.encode({name: text for name, text in fields.items() if text}).decode())

    def data(self, channel: str, ts: int, payload: object, *, opening: bool = False) -> None:
        self._numbers[channel] += 1
        first = {"v": 1, "channel": channel, "seq": self._numbers[channel], "ts": ts}
        told = {"snapshot": True} if opening else {}
        self.outlet.data(msgspec.json.encode(first | told | {"payload": payload}).decode())


class PricesChannel:
    """Answers the clients of the price streams."""

    def __init__(self, exchange: Exchange, hub: Hub, quotes: Quotes) -> None:
        self._exchange = exchange
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

    def _request(self, client: _Client, text: str) -> None:
        try:
            request = _DECODER.decode(text)
        except msgspec.DecodeError:
            request = _Request()
        if request.op == "ping":
            client.reply(op="pong", rid=request.rid)
        elif request.op == "auth":
            self._auth(client, request)
        elif request.op not in ("subscribe", "unsubscribe"):
            client.reply(op="error", rid=request.rid, code="bad_op")
        elif not client.authed:
            client.reply(op="error", rid=request.rid, code="auth_required")
        else:
            for item in request.subscriptions:
                self._item(client, request, item)

    def _auth(self, client: _Client, request: _Request) -> None:
        client.authed = CREDENTIALS.match(request.auth)
        client.attempts += 1
        if client.authed:
            client.reply(op="authed", rid=request.rid)
            return
        client.reply(op="error", rid=request.rid, code="auth_invalid")
        if client.attempts >= _ATTEMPTS:
            client.outlet.close(4001, "auth")

    def _item(self, client: _Client, request: _Request, item: _Item) -> None:
        asset = asset_of(item.symbol, _CHANNELS.get(item.channel, ""))
        if code := self._refusal(client, item, asset):
            client.reply(op="error", channel=item.channel, rid=request.rid, code=code)
        elif request.op == "unsubscribe":
            client.wishes.pop((item.channel, item.symbol), None)
            client.reply(op="unsubscribed", channel=item.channel, rid=request.rid)
        elif asset is not None:
            client.reply(op="subscribed", channel=item.channel, rid=request.rid)
            client.wishes[item.channel, item.symbol] = asset
            points = self._quotes.recent(asset)
            payload = {"data": [_told(point) for point in points], "symbol": item.symbol}
            client.data(item.channel, points[-1].timestamp, payload, opening=True)

    def _refusal(self, client: _Client, item: _Item, asset: str | None) -> str:
        if item.channel not in _CHANNELS:
            return "bad_channel"
        if asset is None:
            return "bad_filter"
        return "sub_limit" if len(client.wishes) >= _MOST else ""

    def quoted(self) -> None:
        """Pass on the newest prices."""
        for client in list(self._clients.values()):
            for (channel, symbol), asset in client.wishes.items():
                point = self._quotes.latest(asset)
                more: dict[str, object] = {"symbol": symbol}
                if channel.endswith("twap"):
                    more["window_seconds"] = 60
                elif channel == "price.equity":
                    more["received_at"] = point.timestamp
                client.data(channel, point.timestamp, _told(point) | more)


def _told(point: Point) -> dict[str, object]:
    return {"full_accuracy_value": point.exact, "timestamp": point.timestamp, "value": point.value}
