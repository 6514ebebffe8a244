"""What the catalogue said lately, so that the same thing is not asked twice."""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable
from weakref import WeakValueDictionary

from pmlive.markets.market import Market

__all__ = ["Cache"]

_OPEN_FOR = 60.0
_MOST = 20_000


class Cache:
    """Remember markets under any key: open ones for a minute, closed ones while there is room.

    Whoever asks for a key that is just being asked for waits for that answer.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        """Start empty."""
        self._clock = clock
        self._kept: OrderedDict[str, tuple[float, list[Market]]] = OrderedDict()
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    def get(self, key: str) -> list[Market] | None:
        """Give what is still fresh."""
        until, markets = self._kept.get(key, (0.0, []))
        return markets if markets and self._clock() < until else None

    def keep(self, key: str, markets: list[Market]) -> None:
        """Remember an answer, unless there is none or tokens are still missing: that changes within moments."""
        if not key or not markets or any(not market.token_ids and not market.closed for market in markets):
            return
        settled = all(market.closed and market.winner is not None for market in markets)
        self._kept[key] = (float("inf") if settled else self._clock() + _OPEN_FOR, markets)
        self._kept.move_to_end(key)
        while len(self._kept) > _MOST:
            self._kept.popitem(last=False)

    def keep_each(self, markets: Iterable[Market]) -> None:
        """Remember markets under each of their own ids."""
        for market in markets:
            for key in (market.condition_id, *market.token_ids):
                self.keep(key, [market])

    async def get_or(self, key: str, ask: Callable[[], Awaitable[list[Market]]]) -> list[Market]:
        """Give what is fresh, or ask for it once however many want it."""
        lock = self._locks.setdefault(key, asyncio.Lock())
        async with lock:
            known = self.get(key)
            if known is None:
                known = await ask()
                self.keep(key, known)
                self.keep_each(known)
            return known
