"""The simulated exchange: its markets, how each of them moves and when it ends, and the record of what was true when.

A market's own seed and the number of its steps decide everything; the time goes only into the messages, and into the
belief that a market follows, where it has one.
"""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterator
from math import exp
from random import Random
from typing import Literal, TypeAlias

import msgspec

from pmlive.sim._markets import DOLLAR, SHARE, Market, MarketMessage, MarketState, rolling_market

__all__ = ["Change", "Exchange", "GroundTruth", "History", "MarketModel"]

# Seconds before the start and after it in which a market of a rolling series can be requested.
_LOOK_AHEAD, _LOOK_BACK = 6 * 3600, 24 * 3600
# Beyond these prices the venue changes a coarse tick size to the fine one.
_FINE_ABOVE, _FINE_BELOW = 9_600, 400
_FINE_TICK = 10

# The log-odds' standard deviation in each step, and the probability and the size of a jump.
_DRIFT, _JUMP, _JUMP_SIZE = 0.012, 0.002, 0.9
# Probabilities of what a step does.
_TRADE, _BURST, _REPUBLISH, _SEND_BEST = 0.06, 0.05, 0.01, 0.7
_CORRECTION = 0.85
_MAX_LEVELS, _FEW_LEVELS = 60, 10

_Side: TypeAlias = Literal["bid", "ask"]
# The levels of both sides, best first.
Levels: TypeAlias = tuple[tuple[tuple[float, float], ...], tuple[tuple[float, float], ...]]


class MarketModel:
    """A market that moves one step at a time; each step yields one or more messages, to be sent in order.

    ``belief`` returns the probability of the first outcome at a time in milliseconds; without it, the probability is a
    random walk.
    """

    def __init__(self, market: Market, *, depth: int, now: int, belief: Callable[[int], float] | None = None) -> None:
        self.state = MarketState(market, now=now)
        self.winner: int | None = None
        self.closed_at = 0
        # The latest time in any message: times never go back, even if the clock does.
        self._now = now
        self._belief = belief
        self._depth = min(depth, _MAX_LEVELS)
        self._rng = Random(market.seed)
        self._log_odds = self._rng.gauss(0, 1.3)
        self._urgency = 1.0
        self._last_best = (0, 0)
        for outcome in (0, 1):
            self._populate(outcome)
        self.state.last_trade = self._quote_price(0)
        self._last_best = self._best_prices()

    @property
    def market(self) -> Market:
        """Return the market that moves."""
        return self.state.market

    @property
    def probability(self) -> float:
        """Return the probability of the first outcome, around which orders gather."""
        if self._belief is not None:
            return self._belief(self._now)
        logit = max(-9.0, min(9.0, self._log_odds * self._urgency))
        return 1 / (1 + exp(-logit))

    def step(self, now: int, *, progress: float = 0.0) -> list[MarketMessage]:
        """Do one random thing; ``progress`` (0 to 1) is the part of the market's life that is over.

        A closed market does nothing.
        """
        if self.closed_at:
            return []
        self._now = max(now, self._now)
        self._urgency = max(1 - progress, 0.02) ** -0.5
        self._drift()
        return self._with_best_prices(self._refine_tick(self._now) or self._trade_or_quote(self._now))

    def requote(self, now: int) -> list[MarketMessage]:
        """Let makers follow the probability at once: cancel every bid above it, and quote just below it."""
        if self.closed_at:
            return []
        self._now = max(now, self._now)
        refined = self._refine_tick(self._now)
        levels = [level for outcome in (0, 1) for level in self._cancel_above_fair(outcome)]
        levels += [level for outcome in (0, 1) for level in self._quote_near_fair(outcome)]
        return self._with_best_prices(refined + (self._price_change(levels, self._now) if levels else []))

    def withdraw(self, now: int, levels: int) -> list[MarketMessage]:
        """Let makers withdraw under uncertainty: cancel the best levels of both sides, but never all."""
        if self.closed_at:
            return []
        self._now = max(now, self._now)
        best = [
            (outcome, price) for outcome in (0, 1) for price in self.state.book.buyers[outcome].prices[1:][-levels:]
        ]
        for outcome, price in best:
            self.state.book.buyers[outcome].put(price, 0)
        return self._with_best_prices(self._price_change(best, self._now) if best else [])

    def close(self, now: int) -> list[MarketMessage]:
        """Cancel every order, as at the end of a market."""
        if self.closed_at:
            return []
        self.closed_at = max(now, self._now)
        levels = [(outcome, price) for outcome in (0, 1) for price in self.state.book.buyers[outcome].prices]
        for outcome, price in levels:
            self.state.book.buyers[outcome].put(price, 0)
        self.state.changed_at = self.closed_at
        return [self.state.price_change(levels)] if levels else []

    def resolve(self, now: int, *, winner: int | None = None) -> list[MarketMessage]:
        """Close the books if they are open and name the winner: by default the outcome that is ahead."""
        if self.winner is not None:
            return []
        messages = self.close(now)
        self.winner = int(self.probability < 1 / 2) if winner is None else winner
        return [*messages, self.state.market_resolved(self.winner, now=max(now, self.closed_at))]

    def _with_best_prices(self, messages: list[MarketMessage]) -> list[MarketMessage]:
        best = self._best_prices()
        if best != self._last_best and self._rng.random() < _SEND_BEST:
            messages += [self.state.best_bid_ask(outcome, now=self.state.changed_at) for outcome in (0, 1)]
        self._last_best = best
        return messages

    def _cancel_above_fair(self, outcome: int) -> list[tuple[int, int]]:
        fair, buyers = self._fair_price(outcome), self.state.book.buyers[outcome]
        stale = [price for price in buyers.prices if price > fair]
        for price in stale:
            buyers.put(price, 0)
        return [(outcome, price) for price in stale]

    def _quote_near_fair(self, outcome: int) -> list[tuple[int, int]]:
        price, buyers = self._quote_price(outcome), self.state.book.buyers[outcome]
        if not buyers.best < price < DOLLAR - self.state.book.buyers[1 - outcome].best:
            return []
        buyers.put(price, self._order_size())
        return [(outcome, price)]

    def _drift(self) -> None:
        self._log_odds += self._rng.gauss(0, _DRIFT)
        if self._rng.random() < _JUMP:
            self._log_odds += self._rng.gauss(0, _JUMP_SIZE)

    def _refine_tick(self, now: int) -> list[MarketMessage]:
        old = self.state.tick
        prices = [price for price in self._best_prices() if 0 < price < DOLLAR]
        if old <= _FINE_TICK or not any(price >= _FINE_ABOVE or price <= _FINE_BELOW for price in prices):
            return []
        self.state.tick = _FINE_TICK
        return self.state.tick_size_changes(old, now=now)

    def _trade_or_quote(self, now: int) -> list[MarketMessage]:
        rng = self._rng
        stale = [outcome for outcome in (0, 1) if self.state.book.buyers[outcome].best > self._fair_price(outcome)]
        if stale and rng.random() < _CORRECTION:
            return self._sweep(stale[0], now) if rng.random() < 1 / 2 else self._cancel_best(stale[0], now)
        chance = rng.random()
        if chance < _TRADE:
            return self._hit_best(rng.randrange(2), now)
        if chance < _TRADE + _REPUBLISH:
            return self.state.books()
        if chance < _TRADE + _REPUBLISH + _BURST:
            return self._price_change([self._place_or_cancel(rng.randrange(2)) for _ in range(rng.randint(2, 4))], now)
        return self._price_change([self._place_or_cancel(rng.randrange(2))], now)

    def _place_or_cancel(self, outcome: int) -> tuple[int, int]:
        """Place or cancel an order, so that the number of levels stays near ``depth``; return its level."""
        buyers = self.state.book.buyers[outcome]
        crowded = len(buyers.prices) / self._depth
        if buyers.prices and self._rng.random() < 0.42 * crowded:
            price = self._rng.choice(buyers.prices)
            rest = 0 if self._rng.random() < 1 / 2 * crowded else self._partial_size(buyers.size_at(price))
            buyers.put(price, rest)
            return outcome, price
        price = self._choose_price(outcome)
        if not price:
            return self._reduce_best(1 - outcome)
        buyers.put(price, buyers.size_at(price) + self._order_size())
        return outcome, price

    def _reduce_best(self, outcome: int) -> tuple[int, int]:
        buyers = self.state.book.buyers[outcome]
        price = buyers.best
        buyers.put(price, self._partial_size(buyers.sizes[-1]))
        return outcome, price

    def _choose_price(self, outcome: int) -> int:
        """Choose a price; return 0 where the other side leaves no room."""
        tick, reach = self.state.tick, self._depth / 4 * self._rng.choice((0.3, 1.0, 2.5))
        price = self._quote_price(outcome) - int(self._rng.expovariate(1 / reach)) * tick
        room = DOLLAR - self.state.book.buyers[1 - outcome].best - tick
        return min(max(tick, price), room // tick * tick)

    def _sweep(self, outcome: int, now: int) -> list[MarketMessage]:
        """Hit every bid above the fair price, six levels at most."""
        fair, buyers = self._fair_price(outcome), self.state.book.buyers[outcome]
        prices = [price for price in buyers.prices[-6:] if price > fair][::-1]
        sizes = [buyers.size_at(price) for price in prices]
        for price in prices:
            buyers.put(price, 0)
        return self._trade_messages(outcome, prices, now, size=sum(sizes))

    def _hit_best(self, outcome: int, now: int) -> list[MarketMessage]:
        buyers = self.state.book.buyers[outcome]
        if not buyers.prices:
            return self._price_change([self._place_or_cancel(outcome)], now)
        price, total = buyers.prices[-1], buyers.sizes[-1]
        size = total if self._rng.random() < 1 / 4 else total - self._partial_size(total) or total
        buyers.put(price, total - size)
        return self._trade_messages(outcome, [price], now, size=size)

    def _trade_messages(self, outcome: int, prices: list[int], now: int, *, size: int) -> list[MarketMessage]:
        """Announce a trade with an outcome's buyers: half the takers sell it, the others buy the other outcome."""
        seller = self._rng.random() < 1 / 2
        token, side, price = (outcome, "SELL", prices[-1]) if seller else (1 - outcome, "BUY", DOLLAR - prices[-1])
        self.state.last_trade = price
        changed = self._price_change([(outcome, level) for level in prices], now)
        transaction = f"0x{self._rng.getrandbits(256):064x}"
        trade = self.state.trade(token, side, price=price, size=size, transaction=transaction)
        return [*changed, *self.state.books(), trade]

    def _cancel_best(self, outcome: int, now: int) -> list[MarketMessage]:
        buyers = self.state.book.buyers[outcome]
        price = buyers.best
        buyers.put(price, 0)
        return self._price_change([(outcome, price)], now)

    def _price_change(self, levels: list[tuple[int, int]], now: int) -> list[MarketMessage]:
        self.state.changed_at = now
        return [self.state.price_change(dict.fromkeys(levels), first=self._rng.randrange(2))]

    def _populate(self, outcome: int) -> None:
        tick, buyers = self.state.tick, self.state.book.buyers[outcome]
        price = min(self._quote_price(outcome), DOLLAR - self.state.book.buyers[1 - outcome].best - tick)
        while price >= tick and len(buyers.prices) < self._depth:
            buyers.put(price, self._order_size() * 2)
            price -= tick * (1 if self._depth > _FEW_LEVELS else self._rng.randint(1, 2))

    def _fair_price(self, outcome: int) -> float:
        return DOLLAR * (self.probability if outcome == 0 else 1 - self.probability)

    def _quote_price(self, outcome: int) -> int:
        tick = self.state.tick
        return max(tick, min(int((self._fair_price(outcome) - 0.3 * tick) / tick) * tick, DOLLAR - tick))

    def _best_prices(self) -> tuple[int, int]:
        return self.state.book.best_bid(0), self.state.book.best_ask(0)

    def _order_size(self) -> int:
        """Draw an order's size: mostly round, sometimes to a hundredth, rarely to the last digit."""
        shares = min(self._rng.lognormvariate(4.0, 1.3), 50_000.0)
        unit = self._rng.choice((5 * SHARE, SHARE, SHARE, SHARE // 100, SHARE // 100, 1))
        return max(5 * SHARE, int(shares * SHARE) // unit * unit)

    def _partial_size(self, size: int) -> int:
        """Draw the rest of a partly filled size: neither all nor nothing."""
        left = int(size * self._rng.uniform(0.1, 0.9)) // 10_000 * 10_000
        return left or max(1, size // 2)


class Exchange:
    """The markets and their models, each made on first use; ``clock`` returns milliseconds since 1970.

    ``lifetime`` (seconds) is that of an ordinary market, None for no end; ``resolve_after`` (seconds) is the time from
    a market's end to its resolution.
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
        self._opened_at = clock()
        self._rng = Random(f"{seed}/exchange")
        self._models: dict[str, MarketModel] = {}
        self._open: list[Market] = []
        self._scheduled: list[Market] = []
        self._by_slug: dict[str, Market] = {}
        self._by_token: dict[str, Market] = {}
        self._by_condition: dict[str, Market] = {}
        self.announcements: list[MarketMessage] = []
        for market in markets:
            self._add(market)

    def __iter__(self) -> Iterator[Market]:
        return iter(list(self._by_slug.values()))

    def market(self, slug: str) -> Market | None:
        """Find a market by slug; create one of a rolling series on first request."""
        known = self._by_slug.get(slug)
        if known is not None:
            return known
        market = rolling_market(slug, seed=self._seed)
        now = self.clock() // 1000
        if market is None or market.start is None or not now - _LOOK_BACK <= market.start <= now + _LOOK_AHEAD:
            return None
        self._add(market)
        self.announcements += [self.model(market).state.new_market(now=self.clock())] * 2
        self.announcements += self.end_due_markets()
        return market

    def market_of_token(self, token_id: str) -> Market | None:
        """Find the market of a token."""
        return self._by_token.get(token_id)

    def market_of_condition(self, condition_id: str) -> Market | None:
        """Find a market by its condition id."""
        return self._by_condition.get(condition_id)

    def model(self, market: Market) -> MarketModel:
        """Return the model of a market."""
        model = self._models.get(market.condition_id)
        if model is None:
            model = self._models[market.condition_id] = MarketModel(market, depth=self._depth, now=self.clock())
        return model

    def is_settled(self, token_id: str) -> bool:
        """Return whether a token's market is unknown or resolved."""
        market = self._by_token.get(token_id)
        return market is None or self.is_resolved(market)

    def is_resolved(self, market: Market) -> bool:
        """Return whether a market has its winner."""
        model = self._models.get(market.condition_id)
        return model is not None and model.winner is not None

    def settled_tokens(self) -> frozenset[str]:
        """Return the tokens of all resolved markets."""
        resolved = (model.market for model in self._models.values() if model.winner is not None)
        return frozenset(token for market in resolved for token in market.token_ids)

    def step(self) -> list[MarketMessage]:
        """Do one random thing in one of the open markets."""
        if not self._open:
            return []
        market = self._open[self._rng.randrange(len(self._open))]
        return self.model(market).step(self.clock(), progress=self._progress(market))

    def end_due_markets(self) -> list[MarketMessage]:
        """Close the markets that have ended, and resolve those whose result is due."""
        now, messages = self.clock(), list[MarketMessage]()
        for market in list(self._scheduled):
            end = self._end(market)
            if end is None or now < end:
                continue
            messages += self.model(market).close(now)
            if market in self._open:
                self._open.remove(market)
            if now >= end + self._resolve_after:
                messages += self._resolve(market, None)
        return messages

    def resolve(self, market: Market, *, winner: int | None = None) -> list[MarketMessage]:
        """Resolve a market now."""
        if market in self._open:
            self._open.remove(market)
        return self._resolve(market, winner)

    def empty(self, market: Market) -> list[MarketMessage]:
        """Cancel every order of a market, and stop it for good."""
        if market in self._open:
            self._open.remove(market)
        return self.model(market).close(self.clock())

    def _resolve(self, market: Market, winner: int | None) -> list[MarketMessage]:
        if market in self._scheduled:
            self._scheduled.remove(market)
        return self.model(market).resolve(self.clock(), winner=winner)

    def _add(self, market: Market) -> None:
        self._by_slug[market.slug] = market
        self._by_condition[market.condition_id] = market
        for token in market.token_ids:
            self._by_token[token] = market
        self._open.append(market)
        if self._end(market) is not None:
            self._scheduled.append(market)

    def _end(self, market: Market) -> int | None:
        if market.end is not None:
            return market.end * 1000
        return None if self._lifetime is None else self._opened_at + int(self._lifetime * 1000)

    def _progress(self, market: Market) -> float:
        end = self._end(market)
        if end is None:
            return 0.0
        start = self._opened_at if market.start is None else market.start * 1000
        return max(0.0, min(1.0, (self.clock() - start) / (end - start)))


class Change(msgspec.Struct, frozen=True, gc=False):
    """One level as it was set at a time in milliseconds; size 0 removed it."""

    at: int
    token_id: str
    side: _Side
    price: float
    size: float


class History:
    """The books that one token has had, with their times in milliseconds."""

    def __init__(self, states: list[tuple[int, Levels]]) -> None:
        self._times = [at for at, _ in states]
        self._states = [levels for _, levels in states]

    @property
    def latest(self) -> Levels:
        """Return the present bids and asks, best first."""
        return self._states[-1]

    def had(self, bids: list[tuple[float, float]], asks: list[tuple[float, float]], *, since: int, until: int) -> bool:
        """Return whether this was the book at any time from ``since`` to ``until``, both included."""
        book = (tuple(bids), tuple(asks))
        first = max(0, bisect_right(self._times, since) - 1)
        return book in self._states[first : bisect_right(self._times, until)]


class _LevelFields(msgspec.Struct):
    price: str
    size: str


class _BookFields(msgspec.Struct):
    bids: list[_LevelFields]
    asks: list[_LevelFields]


class _EntryFields(msgspec.Struct):
    asset_id: str
    price: str
    size: str
    side: str


class _ChangeFields(msgspec.Struct):
    price_changes: list[_EntryFields]
    timestamp: str


_BOOK_DECODER = msgspec.json.Decoder(_BookFields)


_CHANGE_DECODER = msgspec.json.Decoder(_ChangeFields)


class GroundTruth:
    """The changes of an exchange's markets since its start; ``changes`` and ``history`` may run in any thread."""

    def __init__(self, exchange: Exchange) -> None:
        self._started_at = exchange.clock()
        self._opening_books = {
            token: exchange.model(market).state.rest_book(outcome)
            for market in exchange
            for outcome, token in enumerate(market.token_ids)
        }
        self._texts: list[str] = []

    def record(self, step: list[MarketMessage]) -> None:
        """Record the changes of one step."""
        self._texts += [message.text for message in step if message.kind == "price_change"]

    def changes(self) -> list[Change]:
        """List the changes, oldest first."""
        return [
            Change(
                at=int(frame.timestamp),
                token_id=entry.asset_id,
                side="bid" if entry.side == "BUY" else "ask",
                price=float(entry.price),
                size=float(entry.size),
            )
            for frame in map(_CHANGE_DECODER.decode, self._texts.copy())
            for entry in frame.price_changes
        ]

    def history(self) -> dict[str, History]:
        """Return every token's books since the opening."""
        changes_of: defaultdict[str, list[Change]] = defaultdict(list)
        for change in self.changes():
            changes_of[change.token_id].append(change)
        return {
            token: History(_replayed(_BOOK_DECODER.decode(opening), changes_of[token], self._started_at))
            for token, opening in self._opening_books.items()
        }


def _replayed(opening: _BookFields, changes: list[Change], started_at: int) -> list[tuple[int, Levels]]:
    sides: dict[_Side, dict[float, float]] = {
        "bid": {float(level.price): float(level.size) for level in opening.bids},
        "ask": {float(level.price): float(level.size) for level in opening.asks},
    }
    states = [(started_at, _levels(sides))]
    for change in changes:
        side = sides[change.side]
        side.pop(change.price, None)
        if change.size:
            side[change.price] = change.size
        states.append((change.at, _levels(sides)))
    return states


def _levels(sides: dict[_Side, dict[float, float]]) -> Levels:
    return tuple(sorted(sides["bid"].items(), reverse=True)), tuple(sorted(sides["ask"].items()))
