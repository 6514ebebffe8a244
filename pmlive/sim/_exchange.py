"""All simulated markets together: which there are, which moves next, and when each ends."""

from collections.abc import Callable, Iterator
from random import Random

from pmlive.sim._catalogue import Market, rolling_market
from pmlive.sim._frames import Message
from pmlive.sim._model import Model

__all__ = ["Exchange"]

# A series' markets can be asked for so long before they start and after they end, in seconds.
_AHEAD, _BEHIND = 6 * 3600, 24 * 3600


class Exchange:
    """The markets and their models, made when first needed; ``clock`` gives milliseconds since 1970.

    ``lifetime`` (seconds) is how long an ordinary market lives, None for ever; ``resolve_after`` is the time between a
    market's end and the naming of its winner.
    """

    def __init__(
        self,
        markets: list[Market],
        *,
        seed: int,
        depth: int,
        clock: Callable[[], int],
        lifetime: float | None = None,
        resolve_after: float = 1.0,
    ) -> None:
        self.clock = clock
        self._seed = seed
        self._depth = depth
        self._lifetime = lifetime
        self._resolve_after = int(resolve_after * 1000)
        self._born = clock()
        self._rng = Random(f"{seed}/exchange")
        self._models: dict[str, Model] = {}
        self._live: list[Market] = []
        self._ending: list[Market] = []
        self._by_slug: dict[str, Market] = {}
        self._by_token: dict[str, Market] = {}
        self._by_condition: dict[str, Market] = {}
        self.announcements: list[Message] = []
        for market in markets:
            self._add(market)

    def __iter__(self) -> Iterator[Market]:
        return iter(list(self._by_slug.values()))

    def market(self, slug: str) -> Market | None:
        """Find a market by slug; one of a rolling series comes to be when asked for."""
        known = self._by_slug.get(slug)
        if known is not None:
            return known
        market = rolling_market(slug, seed=self._seed)
        now = self.clock() // 1000
        if market is None or market.start is None or not now - _BEHIND <= market.start <= now + _AHEAD:
            return None
        self._add(market)
        self.announcements += [self.model(market).state.new_market(now=self.clock())] * 2
        self.announcements += self.due()
        return market

    def of_token(self, token_id: str) -> Market | None:
        """Find the market of a token."""
        return self._by_token.get(token_id)

    def of_condition(self, condition_id: str) -> Market | None:
        """Find a market by its condition id."""
        return self._by_condition.get(condition_id)

    def model(self, market: Market) -> Model:
        """Give the model of a market, made on first use."""
        model = self._models.get(market.condition_id)
        if model is None:
            model = self._models[market.condition_id] = Model(market, depth=self._depth, now=self.clock())
        return model

    def settled(self, token_id: str) -> bool:
        """Tell whether a token's market is unknown or has its winner."""
        market = self._by_token.get(token_id)
        return market is None or self.ended(market)

    def ended(self, market: Market) -> bool:
        """Tell whether a market has its winner."""
        model = self._models.get(market.condition_id)
        return model is not None and model.winner is not None

    def settled_tokens(self) -> frozenset[str]:
        """Give the tokens that nothing will happen to any more."""
        done = (model.market for model in self._models.values() if model.winner is not None)
        return frozenset(token for market in done for token in market.token_ids)

    def step(self) -> list[Message]:
        """Let one thing happen in one of the open markets."""
        if not self._live:
            return []
        market = self._live[self._rng.randrange(len(self._live))]
        return self.model(market).step(self.clock(), progress=self._progress(market))

    def due(self) -> list[Message]:
        """Close the markets that have ended, and resolve those that ended a while ago."""
        now, messages = self.clock(), list[Message]()
        for market in list(self._ending):
            end = self._end(market)
            if end is None or now < end:
                continue
            messages += self.model(market).close(now)
            if market in self._live:
                self._live.remove(market)
            if now >= end + self._resolve_after:
                messages += self._resolve(market, None)
        return messages

    def resolve(self, market: Market, *, winner: int | None = None) -> list[Message]:
        """End a market now."""
        if market in self._live:
            self._live.remove(market)
        return self._resolve(market, winner)

    def empty(self, market: Market) -> list[Message]:
        """Take every order of a market away, and let nothing more happen to it."""
        if market in self._live:
            self._live.remove(market)
        return self.model(market).close(self.clock())

    def _resolve(self, market: Market, winner: int | None) -> list[Message]:
        if market in self._ending:
            self._ending.remove(market)
        return self.model(market).resolve(self.clock(), winner=winner)

    def _add(self, market: Market) -> None:
        self._by_slug[market.slug] = market
        self._by_condition[market.condition_id] = market
        for token in market.token_ids:
            self._by_token[token] = market
        self._live.append(market)
        if self._end(market) is not None:
            self._ending.append(market)

    def _end(self, market: Market) -> int | None:
        if market.end is not None:
            return market.end * 1000
        return None if self._lifetime is None else self._born + int(self._lifetime * 1000)

    def _progress(self, market: Market) -> float:
        end = self._end(market)
        if end is None:
            return 0.0
        start = self._born if market.start is None else market.start * 1000
        return max(0.0, min(1.0, (self.clock() - start) / (end - start)))
