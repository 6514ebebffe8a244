"""Lookups in the catalogue while markets are followed: next markets of a series, markets without tokens, outcomes.

The socket may never tell a resolution, or tell it while we are away. So every market that is followed is looked up now
and then; at once where its books emptied or REST has none of it any more, and often where it is past its end.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from zlib import crc32

import msgspec
from msgspec.structs import replace

from pmlive.errors import PmliveError, UnknownMarketError
from pmlive.events import MarketResolved, NewMarket
from pmlive.logs import get_logger
from pmlive.manager.source import Source
from pmlive.manager.subscriptions import Subscription
from pmlive.markets import Catalogue, Market, Series, is_token_id
from pmlive.pipeline import Token
from pmlive.retries import doubled

__all__ = ["Begin", "Followed", "Listing", "Outcomes", "Plan", "Waits", "follow", "followed", "resolution"]

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
