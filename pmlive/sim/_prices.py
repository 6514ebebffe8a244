"""The reference prices of crypto assets, equities and currencies, and the channel that streams them.

Prices are random walks. The channel wants authentication first, answers every request, and numbers its messages.
"""

import time
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from math import ceil, exp, floor, log
from random import Random
from typing import NamedTuple

import msgspec

from pmlive.sim._clob_channels import CREDENTIALS
from pmlive.sim._connections import Hub, SocketClient
from pmlive.sim._faults import Fault, FaultKind

__all__ = [
    "Beliefs",
    "Decided",
    "PricePoint",
    "PricesChannel",
    "Quote",
    "ReferencePrices",
    "asset_of",
    "decided_events",
]

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


# --- beliefs ---
# Beliefs about events with several outcomes, and the quotes of many decided events that follow them; pure.
#
# One outcome is true, drawn from the prior. Evidence of ``i`` nats is a normal random number of variance ``2 * i`` for
# each outcome, with a mean of ``2 * i`` for the true one and 0 for the others, and beliefs follow it by Bayes' rule. So
# the probabilities are calibrated and a martingale by construction, at every time and for any number of outcomes, and
# the results of an analysis can be checked against them.

# The greatest gap between two outcomes' log-probabilities; floats would round further evidence away.
_MAX_SCORE_GAP = 30.0

_HOUR = 3_600_000_000_000
# Evidence comes faster towards the end: so much, in nats, each time the remaining life shrinks by a factor of e.
_EVIDENCE = 0.22
# The probability of news in an hour, and the most nats of evidence that news has.
_NEWS, _NEWS_SIZE = 0.015, 0.4
_MIN_CHANCE = 0.0005
# The venue's tick sizes, and the prices beyond which it uses the fine one.
_COARSE, _FINE = 0.01, 0.001
_FINE_ABOVE, _FINE_BELOW = 0.96, 0.04


class Beliefs:
    """The probabilities of the outcomes of one event, which add up to 1; ``truth`` is the outcome that is true.

    >>> beliefs = Beliefs([0.5, 0.25, 0.25], seed=7)
    >>> beliefs.chances
    [0.5, 0.25, 0.25]
    >>> beliefs.learn(0.1)
    >>> round(sum(beliefs.chances), 9), beliefs.truth
    (1.0, 2)
    """

    def __init__(self, prior: Sequence[float], *, seed: int | str) -> None:
        if len(prior) < 2 or min(prior) <= 0 or abs(sum(prior) - 1) > 1e-9:  # noqa: PLR2004  # one outcome is no question
            raise ValueError(f"invalid prior {list(prior)!r}; expected two or more positive numbers that sum to 1")
        self._rng = Random(f"{seed}/beliefs")
        self._scores = [log(chance) for chance in prior]
        self.truth: int = self._rng.choices(range(len(prior)), prior)[0]

    @property
    def chances(self) -> list[float]:
        """Return the present probabilities, in the order of the prior."""
        best = max(self._scores)
        weights = [exp(score - best) for score in self._scores]
        total = sum(weights)
        return [weight / total for weight in weights]

    def learn(self, evidence: float) -> None:
        """Update with evidence, in nats: a tenth or more for news, a ten-thousandth for a quiet second."""
        spread = (2 * evidence) ** 0.5
        for outcome in range(len(self._scores)):
            self._scores[outcome] += self._rng.gauss(0, spread) + 2 * evidence * (outcome == self.truth)
        best = max(self._scores)
        self._scores = [max(score - best, -_MAX_SCORE_GAP) for score in self._scores]


class Quote(NamedTuple):
    """The best prices of a book at a time, in nanoseconds since 1970; ``mid`` is null where a side is empty."""

    token_id: str
    ts_recv: int
    best_bid: float | None
    best_ask: float | None
    mid: float | None


class Decided(NamedTuple):
    """The result of one outcome of an event: ``outcome`` is 1 for the true one, ``ts_recv`` is the event's end."""

    event: str
    token_id: str
    ts_recv: int
    outcome: int


def decided_events(
    number: int,
    *,
    seed: int = 7,
    hours: int = 192,
    start: int = 1_793_059_200_000_000_000,
    stretch: float = 1.0,
) -> tuple[list[Quote], list[Decided]]:
    """Make events of two to six outcomes: a quote of every Yes each hour, and how each event ended.

    The beliefs are calibrated by construction (``Beliefs``). The quotes are these to the power of ``stretch``, over the
    sum of such powers: below 1, long shots are too expensive, above 1, too cheap, and at 1 prices are fair. An event of
    two outcomes is a plain market, of which only Yes is quoted.

    >>> quotes, outcomes = decided_events(2, seed=1, hours=24)
    >>> quotes[0].best_bid, quotes[0].mid, quotes[0].best_ask
    (0.09, 0.1, 0.11)
    >>> len(quotes) == 24 * len(outcomes), {each.event for each in outcomes} == {"event 0", "event 1"}
    (True, True)
    """
    quotes, outcomes = list[Quote](), list[Decided]()
    for event in range(number):
        rng = Random(f"{seed}/event/{event}")
        beliefs = Beliefs(_prior(rng), seed=f"{seed}/event/{event}")
        quoted_outcomes = len(beliefs.chances) if len(beliefs.chances) > len(("Yes", "No")) else 1
        tokens = [f"{event}-{outcome}" for outcome in range(quoted_outcomes)]
        for hour, chances in enumerate(_hourly_chances(beliefs, rng, hours)):
            at = start + hour * _HOUR
            quoted = _stretch(chances, stretch)
            quotes += [_quote(token, at, chance) for token, chance in zip(tokens, quoted, strict=False)]
        end = start + hours * _HOUR
        outcomes += [Decided(f"event {event}", token, end, int(beliefs.truth == at)) for at, token in enumerate(tokens)]
    return quotes, outcomes


def _prior(rng: Random) -> list[float]:
    weights = [rng.gammavariate(0.9, 1.0) + 0.03 for _ in range(rng.choice((2, 2, 2, 3, 4, 6)))]
    return [weight / sum(weights) for weight in weights]


def _hourly_chances(beliefs: Beliefs, rng: Random, hours: int) -> Iterator[list[float]]:
    for hour in range(hours):
        yield beliefs.chances
        left = hours - hour
        beliefs.learn(_EVIDENCE * (log(left) - log(max(left - 1, 0.5))))
        if rng.random() < _NEWS:
            beliefs.learn(_NEWS_SIZE * rng.random())


def _stretch(chances: Sequence[float], stretch: float) -> list[float]:
    powers = [max(chance, _MIN_CHANCE) ** stretch for chance in chances]
    return [power / sum(powers) for power in powers]


def _quote(token_id: str, at: int, chance: float) -> Quote:
    """Quote about a tick below and above, on the grid; a side whose price would be 0 or 1 is empty."""
    steps = round(1 / (_COARSE if _FINE_BELOW <= chance <= _FINE_ABOVE else _FINE))
    low, high = floor(chance * steps - 0.5), ceil(chance * steps + 0.5)
    bid = low / steps if low > 0 else None
    ask = high / steps if high < steps else None
    return Quote(token_id, at, bid, ask, None if bid is None or ask is None else (bid + ask) / 2)
