"""The reference prices of crypto assets, equities and currencies, as random walks; pure."""

from collections import deque
from collections.abc import Sequence
from random import Random

import msgspec

__all__ = ["PricePoint", "ReferencePrices", "asset_of"]

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
# Seconds of prices that are sent; an average goes one minute further back.
_HISTORY, _WINDOW = 120, 60
_KEPT = _HISTORY + _WINDOW
_SCALE = 100_000_000


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
