"""Reference prices that wander by themselves; pure."""

from collections import deque
from collections.abc import Sequence
from random import Random

import msgspec

__all__ = ["Point", "Quotes", "asset_of"]

_CRYPTO = {
    "btc": 65_000.0,
    "eth": 2_500.0,
    "sol": 150.0,
    "xrp": 0.6,
    "doge": 0.12,
    "bnb": 900.0,
    "hype": 40.0,
    "zec": 300.0,
}
_EQUITY = {"aapl": 316.0, "nvda": 240.0, "tsla": 410.0, "spy": 690.0}
_ELSE = {
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
# Two minutes are told; an average goes one further minute back.
_TOLD, _WINDOW = 120, 60
_KEPT = _TOLD + _WINDOW
_EXACT = 100_000_000


class Point(msgspec.Struct, frozen=True):
    """A price at one time, in milliseconds; ``exact`` is the value's whole text."""

    timestamp: int
    value: float
    exact: str


class Quotes:
    """The latest prices of every asset, two minutes of them."""

    def __init__(self, *, seed: int, now: int) -> None:
        self._rng = Random(f"{seed}/reference")
        self._levels = {asset: int(price * _EXACT) for asset, price in (_CRYPTO | _EQUITY | _ELSE).items()}
        self._points: dict[str, deque[Point]] = {asset: deque(maxlen=_KEPT) for asset in self._levels}
        for second in range(_KEPT, 0, -1):
            self.step(now - second * 1000)

    def step(self, now: int) -> None:
        """Move every price once."""
        for asset, level in self._levels.items():
            self._levels[asset] = moved = max(1, int(level * (1 + self._rng.gauss(0, 0.0002))))
            exact = f"{moved // _EXACT}.{moved % _EXACT:08d}"
            self._points[asset].append(Point(now, float(exact), exact))

    def latest(self, asset: str) -> Point:
        """Give the newest price."""
        return self._points[asset][-1]

    def recent(self, asset: str) -> list[Point]:
        """Give the last two minutes, oldest first."""
        return list(self._points[asset])[-_TOLD:]

    def averages(self, asset: str) -> list[Point]:
        """Give the averages over a minute of the last two, oldest first."""
        points = list(self._points[asset])
        return [_mean(points[at - _WINDOW + 1 : at + 1]) for at in range(_WINDOW, len(points))]


def _mean(points: Sequence[Point]) -> Point:
    value = sum(point.value for point in points) / len(points)
    return Point(points[-1].timestamp, value, f"{value:.18f}")


def asset_of(symbol: str, kind: str) -> str | None:
    """Find the asset that a symbol (``btcusdt``, ``btc/usd``, ``btcusd``, ``aapl``) means, None for one not quoted.

    >>> asset_of("btc/usd", "crypto"), asset_of("AAPL", "equity"), asset_of("aapl", "crypto")
    ('btc', 'aapl', None)
    """
    name = symbol.lower()
    if kind == "equity":
        return name if name in _EQUITY or name in _ELSE else None
    base = name.removesuffix("t").removesuffix("usd").removesuffix("/")
    return base if base in _CRYPTO and base != name else None
