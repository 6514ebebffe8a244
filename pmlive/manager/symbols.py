"""What prices from outside the venue are called, and where each is had.

A symbol's channel is looked up and never guessed from its ending: ``btcusd`` is crypto, ``eurusd`` a currency, and both
end alike. Equities and funds are too many to list, so whatever looks like a ticker is one.
"""

import re
from collections.abc import Iterable
from difflib import get_close_matches
from typing import Literal, TypeAlias

__all__ = ["Provider", "price_keys", "rows_of"]

Provider: TypeAlias = Literal["chainlink", "pyth"]

_PROVIDERS: tuple[Provider, ...] = ("chainlink", "pyth")
_CRYPTO = frozenset(("btcusd", "ethusd", "solusd", "dogeusd", "xrpusd", "bnbusd"))
_CRYPTO_AVERAGES = frozenset((*_CRYPTO, "hypeusd", "zecusd"))
_CURRENCIES = frozenset(("eurusd", "gbpusd", "usdcad", "usdjpy", "usdkrw"))
_METALS = frozenset(("xauusd", "xagusd"))
_CURRENCY_AVERAGES = frozenset(("eurusd", "usdjpy"))
_OTHER = frozenset(("cll", "hn", "cc3m"))
_AVERAGE = "@twap60"
# What comes in pairs besides those above: others of these may be quoted tomorrow.
_MONEY = frozenset(
    """aud brl cad chf clp cnh cny cop czk dkk eur gbp hkd huf idr ils inr jpy krw mxn myr nok nzd php pln ron sek sgd
    thb try twd usd zar xag xau xpd xpt""".split()  # noqa: SIM905  # a list of 36 literals is no easier to read
)
_PAIR = 6
_TICKER = re.compile(r"(?=.*[a-z])[a-z0-9]{1,5}([.-][a-z0-9]{1,2})?")
_CHAINLINK = re.compile(r"[a-z0-9]{2,10}/[a-z]{3,4}")
_BINANCE = re.compile(r"[a-z0-9]{2,10}usdt")
# By channel, the topics under which older recordings have the same symbols.
_ONCE_CALLED = {"price.equity": "equity_prices"}


def price_keys(symbols: Iterable[str], provider: str | None = None) -> list[str]:
    """Name the stream of each symbol, as ``channel|symbol`` or ``channel|symbol|provider``.

    >>> price_keys(["btcusd", "EURUSD", "btcusd@twap60"])
    ['price.crypto|btcusd', 'price.equity|eurusd', 'price.crypto.twap|btcusd']
    >>> price_keys(["btc/usd", "aapl"])
    ['crypto_prices_chainlink|btc/usd', 'price.equity|aapl']

    Raises:
        ValueError: there is no such symbol, or it is not had from a provider of choice.
    """
    if provider is not None and provider not in _PROVIDERS:
        raise ValueError(f"provider {provider!r} is neither 'chainlink' nor 'pyth'")
    keys = [_stream(symbol.lower()) for symbol in symbols]
    if provider is None:
        return keys
    fixed = [key.partition("|")[2] for key in keys if not key.startswith("price.equity")]
    if fixed:
        raise ValueError(
            f"provider= is for equities, currencies and metals; {', '.join(map(repr, fixed))} is had from one alone"
        )
    return [f"{key}|{provider}" for key in keys]


def rows_of(keys: Iterable[str]) -> list[str]:
    """Name the rows of streams, as ``topic|symbol``, in older recordings too."""
    found: list[str] = []
    for key in keys:
        channel, symbol, *_ = key.split("|")
        found += [f"{topic}|{symbol}" for topic in (channel, _ONCE_CALLED.get(channel)) if topic]
    return found


def _stream(symbol: str) -> str:
    name, mark, window = symbol.partition("@")
    if mark:
        return f"{_average(symbol, name, window)}|{name}"
    if _CHAINLINK.fullmatch(name):
        return f"crypto_prices_chainlink|{name}"
    if _BINANCE.fullmatch(name):
        return f"crypto_prices|{name}"
    return f"{_spot(name)}|{name}"


def _spot(name: str) -> str:
    if name in _CRYPTO:
        return "price.crypto"
    if name in _CURRENCIES | _METALS | _OTHER or _is_pair(name):
        return "price.equity"
    if name in _CRYPTO_AVERAGES:
        raise ValueError(f"of {name!r} there is an average only; ask for '{name}{_AVERAGE}'")
    if _TICKER.fullmatch(name):
        return "price.equity"
    raise ValueError(_unknown(name))


def _average(symbol: str, name: str, window: str) -> str:
    if f"@{window}" != _AVERAGE:
        raise ValueError(f"{symbol[:100]!r} is no average that there is; all are over 60 s, as 'btcusd{_AVERAGE}'")
    if name in _CRYPTO_AVERAGES:
        return "price.crypto.twap"
    if name in _CURRENCY_AVERAGES:
        return "price.equity.twap"
    raise ValueError(_unknown(symbol))


def _is_pair(name: str) -> bool:
    return len(name) == _PAIR and {name[:3], name[3:]} <= _MONEY and name[:3] != name[3:]


def _unknown(symbol: str) -> str:
    averages = [f"{name}{_AVERAGE}" for name in sorted(_CRYPTO_AVERAGES | _CURRENCY_AVERAGES)]
    known = [*averages] if "@" in symbol else sorted(_CRYPTO | _CURRENCIES | _METALS | _OTHER)
    nearest = get_close_matches(symbol, known, n=3, cutoff=0.5) or known[:6]
    return f"there is no price of {symbol[:100]!r}; nearest: {', '.join(nearest)}"
