"""Which markets were resolved without being told so: the catalogue is asked, and the sooner the likelier it is.

The socket may never tell a resolution, or tell it while we are away. So every market that is followed is looked up now
and then; at once where its books emptied or REST has none of it any more, and often where it is past its end.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from zlib import crc32

import msgspec

from pmlive.errors import PmliveError
from pmlive.logs import get_logger
from pmlive.manager.follow import resolution
from pmlive.manager.source import Source
from pmlive.markets import Market
from pmlive.pipeline import Token

__all__ = ["Followed", "Outcomes", "Plan", "Waits", "followed"]

logger = get_logger(__name__)

_S = 1_000_000_000
# So many markets are asked for in one request, as the catalogue does by itself, and so many in one turn.
_BATCH = 50
_MOST_A_TURN = 20 * _BATCH
# The share of its time that a market may be looked up early, to fill a request.
_EARLY = 0.1
_MOST_DOUBLINGS = 20
# So many tokens or markets are looked at before others of the thread go on.
_AT_ONCE = 500


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
        doubted = min(waits.doubted, waits.doubt * 2 ** min(past.doubts, _MOST_DOUBLINGS))
        return min(_seconds(doubted), self._over if market.over else self._every)


async def followed(source: Source, markets: Mapping[str, Market], market_of: Mapping[str, str]) -> list[Followed]:
    """List the markets that a source has tokens of and whose outcome is not known; others go on meanwhile."""
    now = source.clock() / _S
    tokens: dict[str, list[Token]] = {}
    for number, token in enumerate(list(source.desk.pipeline.books.tokens.values())):
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
    """Tell whether REST has no book of one of these tokens, or all books are empty."""
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
            source.desk.journal.note("resolved", 0, told, source.clock())


def _seconds(seconds: float) -> int:
    return int(seconds * _S)
