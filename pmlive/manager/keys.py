"""What sockets are asked for, from what a user names: tokens of markets, looked up, and streams of prices.

A symbol's channel is looked up and never guessed from its ending: ``btcusd`` is crypto, ``eurusd`` a currency, and both
end alike. Equities and funds are too many to list, so whatever looks like a ticker is one.
"""

import asyncio
import re
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import Literal, TypeAlias, cast
from zlib import crc32

import msgspec
from msgspec.structs import replace

from pmlive.errors import PmliveError, UnknownMarketError
from pmlive.events import MarketResolved, NewMarket
from pmlive.logs import get_logger
from pmlive.manager.ingest import Names, Source
from pmlive.manager.subscriptions import Subscription
from pmlive.markets import Catalogue, Found, Market, Series, is_long_token_id, is_token_id, reference, tradable
from pmlive.pipeline import Token
from pmlive.retries import doubled

__all__ = [
    "Begin",
    "Followed",
    "Listing",
    "MarketId",
    "Outcomes",
    "Plan",
    "Provider",
    "Waits",
    "Wanted",
    "follow",
    "followed",
    "market_list",
    "price_keys",
    "resolution",
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


# --- lookups ---
# Lookups in the catalogue while markets are followed: next markets of a series, markets without tokens, outcomes.
#
# The socket may never tell a resolution, or tell it while we are away. So every market that is followed is looked up
# now and then; at once where its books emptied or REST has none of it any more, and often where it is past its end.

logger = get_logger(__name__)
# The next market is subscribed this share of a step before the present one ends, at most this many seconds before.
_LEAD_SHARE = 0.5
_LEAD_MOST = 60.0
# A market that ended is kept until it was settled, which the venue does within minutes.
_KEPT_AFTER = 600.0
_RETRY_S = 2.0
# A catalogue that cannot be asked, or refuses, is asked less and less often.
_RETRY_MOST_S = 60.0
_NAMED = 10
_S = 1_000_000_000
# So many markets are asked for in one request, as the catalogue does by itself, and so many in one turn.
_BATCH = 50
_MOST_A_TURN = 20 * _BATCH
# The share of its time that a market may be looked up early, to fill a request.
_EARLY = 0.1
# So many tokens or markets are looked at before others of the thread go on.
_AT_ONCE = 500


async def follow(
    series: Series,
    catalogue: Catalogue,
    add: Callable[[Market], Awaitable[None]],
    drop: Callable[[Market], Awaitable[None]],
) -> None:
    """Subscribe the market of a series that runs now, and each next one before its time; drop ended ones later."""
    kept: dict[str, Market] = {}
    slug = series.slug_at(time.time())
    lead = min(_LEAD_MOST, series.step * _LEAD_SHARE)
    while True:
        await asyncio.sleep(max(0.0, series.start_of(slug) - lead - time.time()))
        market = await _when_listed(catalogue, slug, until=series.end_of(slug))
        if market is not None:
            kept[slug] = market
            await add(market)
        for ended in [one for one in kept if series.end_of(one) + _KEPT_AFTER < time.time()]:
            await drop(kept.pop(ended))
        slug = series.following(slug)


async def _when_listed(catalogue: Catalogue, slug: str, *, until: float) -> Market | None:
    """Wait for a market to appear in the catalogue with its tokens; give up when it has ended."""
    failures = 0
    while time.time() < until:
        try:
            market = await catalogue.market(slug)
        except UnknownMarketError:
            failures = 0
            logger.debug("market %s is not listed yet", slug)
        except PmliveError as error:
            failures += 1
            logger.warning("the next market of a series cannot be looked up, trying again: %s", error)
        else:
            failures = 0
            if market.token_ids:
                return market
        await asyncio.sleep(doubled(_RETRY_S, _RETRY_MOST_S, failures))
    logger.warning("market %s was not listed before it ended; it is missing", slug)
    return None


def resolution(market: Market, now: int) -> MarketResolved | None:
    """Return a market's resolution, at our time in nanoseconds, from its catalogue entry; None while there is none.

    One that was settled by a split has no winner.
    """
    if not market.resolved:
        return None
    winner = market.winner or ""
    return MarketResolved(
        market=market.condition_id,
        timestamp=now // 1_000_000,
        token_ids=market.token_ids,
        winning_token_id=market.tokens.get(winner, ""),
        winning_outcome=winner,
        id=market.id,
        question=market.question,
        slug=market.slug,
        outcomes=market.outcomes,
    )


# Lets a subscription have a market that it waited for.
Begin = Callable[[Subscription, Market], None]


class Listing:
    """Adds markets to the subscriptions that wait for them, as soon as the venue says which tokens they have.

    Everything happens in the loop of the feed. The catalogue is asked each ``every`` seconds while anybody waits.
    """

    def __init__(self, source: Source, begin: Begin, every: float) -> None:
        self._source = source
        self._begin = begin
        self._every = every
        self._waiting: dict[str, tuple[Market, list[Subscription]]] = {}

    def add(self, subscription: Subscription, markets: Sequence[Market]) -> None:
        """Make a subscription wait for markets."""
        if not markets:
            return
        for market in markets:
            self._waiting.setdefault(_name(market), (market, []))[1].append(subscription)
        subscription.awaited = [_name(market) for market in markets]
        self._source.on_new_market = self._take_message
        logger.warning(
            "%d markets are listed without token ids for now, and are followed as soon as they have them: %s",
            len(markets),
            ", ".join(subscription.awaited[:_NAMED]),
        )

    async def run(self) -> None:
        """Ask the catalogue, until cancelled."""
        while True:
            await asyncio.sleep(self._every)
            self._forget_closed()
            if self._waiting:
                await self._ask()

    async def _ask(self) -> None:
        wanted = [market for market, _ in self._waiting.values()]
        try:
            found = await self._source.catalogue.now(wanted, "open")
        except PmliveError as error:
            logger.warning("markets that have no token ids yet could not be looked up, trying again: %s", error)
            return
        for market in found:
            if market.token_ids:
                self._take(market)

    def _take_message(self, event: NewMarket) -> None:
        known = next((self._waiting[name] for name in (event.slug, event.market) if name in self._waiting), None)
        if known is None or not event.token_ids or not all(map(is_token_id, event.token_ids)):
            return
        self._take(replace(known[0], token_ids=event.token_ids, outcomes=event.outcomes or known[0].outcomes))

    def _take(self, market: Market) -> None:
        _, subscriptions = self._waiting.pop(_name(market), (market, []))
        for subscription in subscriptions:
            subscription.awaited = [name for name in subscription.awaited if name != _name(market)]
            if not subscription.closed:
                self._begin(subscription, market)
        if subscriptions:
            logger.info("market %s has token ids now, and is followed", _name(market))
        self._forget_closed()

    def _forget_closed(self) -> None:
        """Wait for nothing on behalf of subscriptions that ended."""
        self._waiting = {
            name: (market, waiting)
            for name, (market, subscriptions) in self._waiting.items()
            if (waiting := [one for one in subscriptions if not one.closed])
        }
        if not self._waiting:
            self._source.on_new_market = None


def _name(market: Market) -> str:
    return market.slug or market.condition_id


class Waits(msgspec.Struct, frozen=True):
    """How long a market waits to be looked up again, in seconds; the books are looked at each ``turn``.

    Any market waits ``every`` at most, and one that is past its end ``over``. A doubtful one, whose books are empty or
    gone, is looked up at once, and then again after twice ``doubt``, which doubles up to ``doubted``. What fails is
    tried again after ``again``.
    """

    turn: float = 1.0
    every: float = 600.0
    over: float = 60.0
    doubt: float = 5.0
    doubted: float = 120.0
    again: float = 30.0


class Followed(msgspec.Struct, frozen=True):
    """A market that is followed, and what speaks for its being resolved."""

    condition_id: str
    doubtful: bool = False
    over: bool = False


class _Past(msgspec.Struct):
    """When a market was looked up last (ns), how often while it was doubtful, and when it may be again."""

    asked: int
    doubts: int = 0
    not_before: int = 0


class Plan:
    """When each market is looked up; times are given (ns), and nothing is asked here."""

    def __init__(self, waits: Waits) -> None:
        self._waits = waits
        self._every, self._over = _seconds(waits.every), _seconds(waits.over)
        self._pasts: dict[str, _Past] = {}

    def due(self, markets: Iterable[Followed], now: int) -> list[str]:
        """List the markets to be looked up now, the most urgent first; whatever is not named here is forgotten."""
        known, self._pasts = self._pasts, {}
        # A request that is made anyway is filled with those whose time is near.
        soon = now + _seconds(self._waits.every * _EARLY)
        times: list[tuple[int, str]] = []
        for market in markets:
            past = known.get(market.condition_id) or self._new(market.condition_id, now)
            self._pasts[market.condition_id] = past
            at = max(past.asked + self._wait(market, past), past.not_before)
            if at <= soon:
                times.append((at, market.condition_id))
        times.sort()
        due = sum(at <= now for at, _ in times)
        full = -(-due // _BATCH) * _BATCH
        return [condition_id for _, condition_id in times[: min(full, _MOST_A_TURN)]]

    def asked(self, condition_ids: Iterable[str], now: int) -> None:
        """Note that markets were looked up."""
        for condition_id in condition_ids:
            past = self._pasts[condition_id]
            past.asked, past.doubts = now, past.doubts + 1

    def failed(self, condition_ids: Iterable[str], now: int) -> None:
        """Note that markets could not be looked up."""
        for condition_id in condition_ids:
            self._pasts[condition_id].not_before = now + _seconds(self._waits.again)

    def _new(self, condition_id: str, now: int) -> _Past:
        """Spread the markets of one moment over the time in which each has its turn."""
        share = crc32(condition_id.encode()) / 2**32
        return _Past(now - _seconds(max(share * self._waits.every, self._waits.doubt)))

    def _wait(self, market: Followed, past: _Past) -> int:
        waits = self._waits
        if not market.doubtful:
            past.doubts = 0
            return self._over if market.over else self._every
        doubted = doubled(waits.doubt, waits.doubted, past.doubts)
        return min(_seconds(doubted), self._over if market.over else self._every)


async def followed(source: Source, markets: Mapping[str, Market], market_of: Mapping[str, str]) -> list[Followed]:
    """List the markets that a source has tokens of and whose outcome is not known; others go on meanwhile."""
    now = source.clock() / _S
    tokens: dict[str, list[Token]] = {}
    for number, token in enumerate(list(source.ingest.pipeline.books.tokens.values())):
        if condition_id := token.market or market_of.get(token.id, ""):
            tokens.setdefault(condition_id, []).append(token)
        if number % _AT_ONCE == 0:
            await asyncio.sleep(0)
    listed: list[Followed] = []
    for number, (condition_id, of_it) in enumerate(tokens.items()):
        if not source.told_resolution(condition_id):
            doubtful = _is_doubtful(source.gone, of_it)
            listed.append(Followed(condition_id, doubtful, _is_over(markets.get(condition_id), now)))
        if number % _AT_ONCE == 0:
            await asyncio.sleep(0)
    return listed


def _is_doubtful(gone: Mapping[str, int], tokens: Sequence[Token]) -> bool:
    """Return whether REST has no book of one of these tokens, or all books are empty."""
    if gone and any(token.heard <= gone[token.id] for token in tokens if token.id in gone):
        return True
    return all(token.conn and not token.book.bids.keys and not token.book.asks.keys for token in tokens)


def _is_over(market: Market | None, now: float) -> bool:
    return market is not None and market.end_date is not None and market.end_date.timestamp() <= now


class Outcomes:
    """Asks the catalogue for the outcomes of markets when their time comes; runs in the loop of the feed."""

    def __init__(self, source: Source, look: Callable[[], Awaitable[list[Followed]]], waits: Waits) -> None:
        self._source = source
        self._look = look
        self._waits = waits
        self._plan = Plan(waits)

    async def run(self) -> None:
        """Look at the books each turn, until cancelled."""
        while True:
            await asyncio.sleep(self._waits.turn)
            try:
                await self.turn()
            except Exception:
                # The others are to be told all the same, and this one the next time.
                logger.exception("looking up the outcomes of markets failed by a fault of ours, and goes on")

    async def turn(self) -> None:
        """Look up what is due now."""
        due = self._plan.due(await self._look(), self._source.clock())
        for start in range(0, len(due), _BATCH):
            await self._ask(due[start : start + _BATCH])

    async def _ask(self, condition_ids: Sequence[str]) -> None:
        source = self._source
        wanted = [Market(condition_id=condition_id) for condition_id in condition_ids]
        try:
            found = await source.catalogue.now(wanted, "closed")
        except PmliveError as error:
            self._plan.failed(condition_ids, source.clock())
            logger.warning(
                "the outcomes of %d markets could not be looked up, and are again in %.0f s: %s",
                len(condition_ids),
                self._waits.again,
                error,
            )
            return
        self._plan.asked(condition_ids, source.clock())
        for market in found:
            self._tell(market)

    def _tell(self, market: Market) -> None:
        source = self._source
        told = resolution(market, source.clock())
        if told is not None and not source.told_resolution(market.condition_id):
            logger.info("market %s was resolved, as the catalogue says", market.slug or market.condition_id)
            source.ingest.journal.note("resolved", 0, told, source.clock())


def _seconds(seconds: float) -> int:
    return int(seconds * _S)
