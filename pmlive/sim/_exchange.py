"""The simulated exchange: its markets, how each of them moves, and when it ends.

Everything is decided by the market's own seed and by the number of steps taken; the time only goes into the messages,
and into what somebody else believes, where a market follows that.
"""

from collections.abc import Callable, Iterator
from math import exp
from random import Random

from pmlive.sim._markets import ONE, SHARE, Market, rolling_market
from pmlive.sim._order_book import Message, State

__all__ = ["Exchange", "Model"]

# A series' markets can be asked for so long before they start and after they end, in seconds.
_AHEAD, _BEHIND = 6 * 3600, 24 * 3600
_FINE_TICK = 10
# Beyond these prices the venue refines a coarse grid.
_FINE_ABOVE, _FINE_BELOW = 9_600, 400
# Chances in each step.
_JUMP, _DRIFT, _JUMP_SIZE = 0.002, 0.012, 0.9
_TRADE, _BURST, _REPUBLISH, _TOP_TOLD = 0.06, 0.05, 0.01, 0.7
_CORRECT = 0.85
_MOST_LEVELS, _FEW_LEVELS = 60, 10


class Model:
    """One market that moves a step at a time; each step is one or more messages, to be sent in their order.

    ``belief`` tells the chance of the first outcome at a time in milliseconds; without it the chance wanders by itself.
    """

    def __init__(self, market: Market, *, depth: int, now: int, belief: Callable[[int], float] | None = None) -> None:
        self.state = State(market, now=now)
        self.winner: int | None = None
        self.closed = 0
        # The latest time in any message: times do not go back when the clock does.
        self._now = now
        self._belief = belief
        self._depth = min(depth, _MOST_LEVELS)
        self._rng = Random(market.seed)
        self._score = self._rng.gauss(0, 1.3)
        self._urgency = 1.0
        self._shown = (0, 0)
        for outcome in (0, 1):
            self._populate(outcome)
        self.state.last_trade = self._near(0)
        self._shown = self._tops()

    @property
    def market(self) -> Market:
        """Give the market that moves."""
        return self.state.market

    @property
    def probability(self) -> float:
        """Give the chance of the first outcome that orders gather around."""
        if self._belief is not None:
            return self._belief(self._now)
        logit = max(-9.0, min(9.0, self._score * self._urgency))
        return 1 / (1 + exp(-logit))

    def step(self, now: int, *, progress: float = 0.0) -> list[Message]:
        """Let one thing happen; ``progress`` (0 to 1) is how much of the market's life is over.

        A market whose books were closed does nothing any more.
        """
        if self.closed:
            return []
        self._now = max(now, self._now)
        self._urgency = max(1 - progress, 0.02) ** -0.5
        self._drift()
        return self._with_tops(self._refine(self._now) or self._act(self._now))

    def requote(self, now: int) -> list[Message]:
        """Let makers follow what is believed at once: nobody pays more than the chance, and somebody just less."""
        if self.closed:
            return []
        self._now = max(now, self._now)
        refined = self._refine(self._now)
        levels = [level for outcome in (0, 1) for level in self._leave(outcome)]
        levels += [level for outcome in (0, 1) for level in self._come(outcome)]
        return self._with_tops(refined + (self._changed(levels, self._now) if levels else []))

    def withdraw(self, now: int, levels: int) -> list[Message]:
        """Let makers leave until they know more: the best levels of both sides go, but never all."""
        if self.closed:
            return []
        self._now = max(now, self._now)
        best = [
            (outcome, price) for outcome in (0, 1) for price in self.state.book.buyers[outcome].prices[1:][-levels:]
        ]
        for outcome, price in best:
            self.state.book.buyers[outcome].put(price, 0)
        return self._with_tops(self._changed(best, self._now) if best else [])

    def close(self, now: int) -> list[Message]:
        """Take every order away, as happens when a market has ended."""
        if self.closed:
            return []
        self.closed = max(now, self._now)
        levels = [(outcome, price) for outcome in (0, 1) for price in self.state.book.buyers[outcome].prices]
        for outcome, price in levels:
            self.state.book.buyers[outcome].put(price, 0)
        self.state.changed = self.closed
        return [self.state.price_change(levels)] if levels else []

    def resolve(self, now: int, *, winner: int | None = None) -> list[Message]:
        """Close the books if they are open and name the winner: by default the outcome that is ahead."""
        if self.winner is not None:
            return []
        messages = self.close(now)
        self.winner = int(self.probability < 1 / 2) if winner is None else winner
        return [*messages, self.state.market_resolved(self.winner, now=max(now, self.closed))]

    def _with_tops(self, messages: list[Message]) -> list[Message]:
        tops = self._tops()
        if tops != self._shown and self._rng.random() < _TOP_TOLD:
            messages += [self.state.best_bid_ask(outcome, now=self.state.changed) for outcome in (0, 1)]
        self._shown = tops
        return messages

    def _leave(self, outcome: int) -> list[tuple[int, int]]:
        fair, buyers = self._fair(outcome), self.state.book.buyers[outcome]
        late = [price for price in buyers.prices if price > fair]
        for price in late:
            buyers.put(price, 0)
        return [(outcome, price) for price in late]

    def _come(self, outcome: int) -> list[tuple[int, int]]:
        near, buyers = self._near(outcome), self.state.book.buyers[outcome]
        if not buyers.best < near < ONE - self.state.book.buyers[1 - outcome].best:
            return []
        buyers.put(near, self._amount())
        return [(outcome, near)]

    def _drift(self) -> None:
        self._score += self._rng.gauss(0, _DRIFT)
        if self._rng.random() < _JUMP:
            self._score += self._rng.gauss(0, _JUMP_SIZE)

    def _refine(self, now: int) -> list[Message]:
        old = self.state.tick
        prices = [price for price in self._tops() if 0 < price < ONE]
        if old <= _FINE_TICK or not any(price >= _FINE_ABOVE or price <= _FINE_BELOW for price in prices):
            return []
        self.state.tick = _FINE_TICK
        return self.state.tick_size_changes(old, now=now)

    def _act(self, now: int) -> list[Message]:
        rng = self._rng
        late = [outcome for outcome in (0, 1) if self.state.book.buyers[outcome].best > self._fair(outcome)]
        if late and rng.random() < _CORRECT:
            return self._sweep(late[0], now) if rng.random() < 1 / 2 else self._withdraw(late[0], now)
        chance = rng.random()
        if chance < _TRADE:
            return self._take(rng.randrange(2), now)
        if chance < _TRADE + _REPUBLISH:
            return self.state.books()
        if chance < _TRADE + _REPUBLISH + _BURST:
            return self._changed([self._order(rng.randrange(2)) for _ in range(rng.randint(2, 4))], now)
        return self._changed([self._order(rng.randrange(2))], now)

    def _order(self, outcome: int) -> tuple[int, int]:
        """Place or cancel, so that the number of levels stays near what is wanted; tell the level."""
        buyers = self.state.book.buyers[outcome]
        crowded = len(buyers.prices) / self._depth
        if buyers.prices and self._rng.random() < 0.42 * crowded:
            price = self._rng.choice(buyers.prices)
            rest = 0 if self._rng.random() < 1 / 2 * crowded else self._part(buyers.size_at(price))
            buyers.put(price, rest)
            return outcome, price
        price = self._place(outcome)
        if not price:
            return self._thin(1 - outcome)
        buyers.put(price, buyers.size_at(price) + self._amount())
        return outcome, price

    def _thin(self, outcome: int) -> tuple[int, int]:
        buyers = self.state.book.buyers[outcome]
        price = buyers.best
        buyers.put(price, self._part(buyers.sizes[-1]))
        return outcome, price

    def _place(self, outcome: int) -> int:
        """Choose a price, 0 when the other side leaves no room for any."""
        tick, reach = self.state.tick, self._depth / 4 * self._rng.choice((0.3, 1.0, 2.5))
        price = self._near(outcome) - int(self._rng.expovariate(1 / reach)) * tick
        room = ONE - self.state.book.buyers[1 - outcome].best - tick
        return min(max(tick, price), room // tick * tick)

    def _sweep(self, outcome: int, now: int) -> list[Message]:
        """Let somebody hit every buyer who still pays too much, six levels at most."""
        fair, buyers = self._fair(outcome), self.state.book.buyers[outcome]
        prices = [price for price in buyers.prices[-6:] if price > fair][::-1]
        sizes = [buyers.size_at(price) for price in prices]
        for price in prices:
            buyers.put(price, 0)
        return self._traded(outcome, prices, now, size=sum(sizes))

    def _take(self, outcome: int, now: int) -> list[Message]:
        buyers = self.state.book.buyers[outcome]
        if not buyers.prices:
            return self._changed([self._order(outcome)], now)
        price, total = buyers.prices[-1], buyers.sizes[-1]
        size = total if self._rng.random() < 1 / 4 else total - self._part(total) or total
        buyers.put(price, total - size)
        return self._traded(outcome, [price], now, size=size)

    def _traded(self, outcome: int, prices: list[int], now: int, *, size: int) -> list[Message]:
        """Announce a trade with the buyers of an outcome: half the takers sold it, the others bought the other one."""
        seller = self._rng.random() < 1 / 2
        token, side, price = (outcome, "SELL", prices[-1]) if seller else (1 - outcome, "BUY", ONE - prices[-1])
        self.state.last_trade = price
        changed = self._changed([(outcome, level) for level in prices], now)
        transaction = f"0x{self._rng.getrandbits(256):064x}"
        trade = self.state.trade(token, side, price=price, size=size, transaction=transaction)
        return [*changed, *self.state.books(), trade]

    def _withdraw(self, outcome: int, now: int) -> list[Message]:
        buyers = self.state.book.buyers[outcome]
        price = buyers.best
        buyers.put(price, 0)
        return self._changed([(outcome, price)], now)

    def _changed(self, levels: list[tuple[int, int]], now: int) -> list[Message]:
        self.state.changed = now
        return [self.state.price_change(dict.fromkeys(levels), first=self._rng.randrange(2))]

    def _populate(self, outcome: int) -> None:
        tick, buyers = self.state.tick, self.state.book.buyers[outcome]
        price = min(self._near(outcome), ONE - self.state.book.buyers[1 - outcome].best - tick)
        while price >= tick and len(buyers.prices) < self._depth:
            buyers.put(price, self._amount() * 2)
            price -= tick * (1 if self._depth > _FEW_LEVELS else self._rng.randint(1, 2))

    def _fair(self, outcome: int) -> float:
        return ONE * (self.probability if outcome == 0 else 1 - self.probability)

    def _near(self, outcome: int) -> int:
        tick = self.state.tick
        return max(tick, min(int((self._fair(outcome) - 0.3 * tick) / tick) * tick, ONE - tick))

    def _tops(self) -> tuple[int, int]:
        return self.state.book.best_bid(0), self.state.book.best_ask(0)

    def _amount(self) -> int:
        """Draw an order's size: mostly round, sometimes to a hundredth, now and then to the last digit."""
        shares = min(self._rng.lognormvariate(4.0, 1.3), 50_000.0)
        unit = self._rng.choice((5 * SHARE, SHARE, SHARE, SHARE // 100, SHARE // 100, 1))
        return max(5 * SHARE, int(shares * SHARE) // unit * unit)

    def _part(self, size: int) -> int:
        """Draw what is left of a size: some, never all nor nothing."""
        left = int(size * self._rng.uniform(0.1, 0.9)) // 10_000 * 10_000
        return left or max(1, size // 2)


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
