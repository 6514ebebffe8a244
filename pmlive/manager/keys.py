"""What sockets are asked for, from what a user names: tokens of markets, and streams of prices.

A symbol's channel is looked up and never guessed from its ending: ``btcusd`` is crypto, ``eurusd`` a currency, and both
end alike. Equities and funds are too many to list, so whatever looks like a ticker is one.
"""

import re
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from typing import Literal, TypeAlias, cast

import msgspec

from pmlive.manager.source import Names
from pmlive.markets import Found, Market, Series, is_long_token_id, is_token_id, reference, tradable

__all__ = [
    "MarketId",
    "Provider",
    "Wanted",
    "market_list",
    "price_keys",
    "resolve",
    "rows_of",
    "series_of",
    "whole_markets",
]

MarketId: TypeAlias = str | Market
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


class Wanted(msgspec.Struct, frozen=True):
    """Tokens to subscribe, and the markets that are known of them.

    ``awaited`` are listed without tokens for now, and ``left_out`` tells why others cannot be taken.
    """

    token_ids: list[str]
    markets: list[Market]
    awaited: list[Market] = []
    left_out: list[str] = []

    @property
    def conditions(self) -> list[str]:
        """List the condition ids."""
        return [market.condition_id for market in self.markets]


def market_list(market_ids: object) -> list[MarketId]:
    """Take one id or several, refusing what is no list of them.

    Raises:
        TypeError: not a text, a market, or a sequence of these.
        ValueError: nothing is named.
    """
    if isinstance(market_ids, str | Market):
        return [market_ids]
    if not isinstance(market_ids, Iterable):
        raise TypeError(f"markets are named by text or Market, alone or in a list; got {type(market_ids).__name__}")
    ids: list[MarketId] = []
    for each in cast("Iterable[object]", market_ids):
        if not isinstance(each, str | Market):
            raise TypeError(f"a market is named by text or Market; got {type(each).__name__}")
        ids.append(each)
    if not ids:
        raise ValueError("no market is named; give at least one id, slug or address")
    return ids


def series_of(market_id: MarketId) -> Series | None:
    """Return the rolling series that a text names, if it names one."""
    if isinstance(market_id, Market) or reference(market_id).kind != "series":
        return None
    return Series.parse(reference(market_id).value)


async def resolve(catalogue: Names, market_ids: Sequence[MarketId]) -> Wanted:
    """Find every token that is meant; a token id stands for itself, and needs nobody to be asked.

    One of few digits is looked up all the same: it may also be the number of a market.
    """
    bare = [each for each in market_ids if isinstance(each, str) and is_long_token_id(each)]
    given = [each for each in market_ids if isinstance(each, Market)]
    named = [each for each in market_ids if isinstance(each, str) and each not in bare]
    found = await catalogue.found(named) if named else []
    markets, awaited = tradable([*given, *(market for each in found for market in each.markets)])
    token_ids = [*bare, *(token_id for market in given for token_id in market.token_ids)]
    token_ids += [token_id for each in found for token_id in _tokens(each)]
    left_out = [reason for each in found for reason in each.left_out]
    return Wanted(list(dict.fromkeys(token_ids)), _once(markets), _once(awaited), left_out)


async def whole_markets(catalogue: Names, given: Sequence[Market], named: Sequence[str]) -> Wanted:
    """Find the markets that are meant, and all of their tokens."""
    found = await catalogue.found(named) if named else []
    markets, awaited = tradable([*given, *(market for each in found for market in each.markets)])
    token_ids = [token_id for market in markets for token_id in market.token_ids]
    left_out = [reason for each in found for reason in each.left_out]
    return Wanted(list(dict.fromkeys(token_ids)), _once(markets), _once(awaited), left_out)


def _tokens(found: Found) -> list[str]:
    tokens = [token_id for market in found.markets for token_id in market.token_ids]
    named = found.text.strip()
    return [named] if is_token_id(named) and named in tokens else tokens


def _once(markets: Iterable[Market]) -> list[Market]:
    return list({market.condition_id or market.slug: market for market in markets}.values())


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
            f"provider= is for equities, currencies and metals; {', '.join(map(repr, fixed))} has a single provider"
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
    raise ValueError(_unknown_symbol(name))


def _average(symbol: str, name: str, window: str) -> str:
    if f"@{window}" != _AVERAGE:
        raise ValueError(
            f"{symbol[:100]!r} is no average that the venue has; averages are over 60 s, such as 'btcusd{_AVERAGE}'"
        )
    if name in _CRYPTO_AVERAGES:
        return "price.crypto.twap"
    if name in _CURRENCY_AVERAGES:
        return "price.equity.twap"
    raise ValueError(_unknown_symbol(symbol))


def _is_pair(name: str) -> bool:
    return len(name) == _PAIR and {name[:3], name[3:]} <= _MONEY and name[:3] != name[3:]


def _unknown_symbol(symbol: str) -> str:
    averages = [f"{name}{_AVERAGE}" for name in sorted(_CRYPTO_AVERAGES | _CURRENCY_AVERAGES)]
    known = [*averages] if "@" in symbol else sorted(_CRYPTO | _CURRENCIES | _METALS | _OTHER)
    nearest = get_close_matches(symbol, known, n=3, cutoff=0.5) or known[:6]
    return f"there is no price of {symbol[:100]!r}; nearest: {', '.join(nearest)}"
