"""Queues of a book: what is ahead of our orders at a price, moved on by trades and by cancellations.

The venue tells of sizes, not of orders, and of a trade only after the book has changed. So a size that decreases waits
for a trade that explains it, and is a cancellation once none came for a time; a trade that came first explains a later
decrease in the same way.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Literal, TypeAlias

import msgspec

__all__ = ["Cancellations", "Key", "Order", "OrderStatus", "OrderType", "Queues", "Side", "shared"]

Side: TypeAlias = Literal["buy", "sell"]
OrderType: TypeAlias = Literal["post_only", "limit", "ioc"]
OrderStatus: TypeAlias = Literal["pending", "open", "filled", "cancelled", "rejected"]
Cancellations: TypeAlias = Literal["pessimistic", "proportional"]

# A side of a book, as the orders that make it, and a price.
Key: TypeAlias = tuple[Side, float]

# Sizes have at most six decimals; what is left of a float below this is a rounding error.
_EPSILON = 1e-9


class Order(msgspec.Struct, kw_only=True, eq=False):
    """One of our orders, which the simulation alone changes.

    ``placed`` is when the strategy placed it and ``accepted`` when it reached the venue (nanoseconds since 1970), None
    before that. ``queue_ahead`` is what is ahead of it now (shares) and ``queue_ahead_placed`` what was when it came.
    ``crossed`` says that the displayed book came to cross it while it rested, ``reason`` why it was cancelled or
    rejected.
    """

    id: int
    token_id: str
    side: Side
    price: float
    size: float
    order_type: OrderType
    placed: int
    status: OrderStatus = "pending"
    reason: str = ""
    accepted: int | None = None
    filled: float = 0.0
    queue_ahead: float = 0.0
    queue_ahead_placed: float | None = None
    crossed: bool = False

    @property
    def remaining(self) -> float:
        """The shares that are not filled."""
        left = self.size - self.filled
        return left if left > _EPSILON else 0.0

    @property
    def is_live(self) -> bool:
        """Whether it rests, or is on its way."""
        return self.status in {"pending", "open"}


class _Part(msgspec.Struct):
    """A decrease that no trade explains yet, or a trade that no decrease shows yet."""

    time: int
    size: float


class Queues:
    """The levels of one token's book, and our orders there.

    Args:
        cancellations: whether they come from behind us, as far as possible, or from everywhere alike.
        lag: how long a trade may come after the decrease that it caused, or before (nanoseconds).
    """

    def __init__(self, cancellations: Cancellations, lag: int) -> None:
        self._cancellations, self._lag = cancellations, lag
        self.is_known = False
        self._sizes: dict[Key, float] = {}
        self._decreases: defaultdict[Key, list[_Part]] = defaultdict(list)
        self._trades: defaultdict[Key, list[_Part]] = defaultdict(list)
        self.orders: defaultdict[Key, list[Order]] = defaultdict(list)

    def size(self, key: Key) -> float:
        """Return the size displayed at a level."""
        return self._sizes.get(key, 0.0)

    def clear(self) -> None:
        """Forget everything: what happens next is not known to follow."""
        for known in (self._sizes, self._decreases, self._trades, self.orders):
            known.clear()
        self.is_known = False

    def replace(self, sizes: dict[Key, float], now: int) -> None:
        """Take a whole book; where levels are known, what is different has changed."""
        if not self.is_known:
            self._sizes, self.is_known = sizes, True
            return
        if sizes == self._sizes:
            # Most whole books repeat what is known.
            return
        for key in [key for key in self._sizes if key not in sizes]:
            self.put(key, 0.0, now)
        for key, size in sizes.items():
            self.put(key, size, now)

    def put(self, key: Key, size: float, now: int) -> None:
        """Take the new size of a level."""
        before = self._sizes.get(key, 0.0)
        if size < before:
            self.settle(key, now)
        if size:
            self._sizes[key] = size
        else:
            self._sizes.pop(key, None)
        if size < before:
            shown = sum(part.size for part in _taken(self._trades[key], before - size))
            self._wait(self._decreases[key], before - size - shown, now)

    def settle(self, key: Key, now: int) -> None:
        """Take decreases that no trade explained in time for cancellations, and forget trades that showed nowhere."""
        parts, traded = self._decreases.get(key, []), self._trades.get(key, [])
        while parts and parts[0].time + self._lag <= now:
            self._cancel(key, parts.pop(0).size)
        while traded and traded[0].time + self._lag <= now:
            traded.pop(0)

    def settle_orders(self, now: int) -> None:
        """Settle the levels at which we have orders."""
        for key in self.orders:
            self.settle(key, now)

    def trade(self, key: Key, size: float, now: int) -> list[tuple[int, float]]:
        """Take a trade; return the decreases that it explains, as time and size."""
        self.settle(key, now)
        explained = [(part.time, part.size) for part in _taken(self._decreases[key], size)]
        self._wait(self._trades[key], size - sum(part for _, part in explained), now)
        return explained

    def note_crossed(self, best_bid: float | None, best_ask: float | None) -> None:
        """Mark the orders that the best price of the other side has reached."""
        for (side, price), orders in self.orders.items():
            best = best_ask if side == "buy" else best_bid
            if best is not None and (best <= price if side == "buy" else best >= price):
                for order in orders:
                    order.crossed = True

    def rest(self, order: Order) -> None:
        """Put an order at the end of its queue."""
        key = (order.side, order.price)
        order.queue_ahead = order.queue_ahead_placed = self.size(key)
        self.orders[key].append(order)

    def remove(self, order: Order) -> None:
        """Take an order out of its queue, if it is in one."""
        key = (order.side, order.price)
        left = [each for each in self.orders.get(key, ()) if each is not order]
        if left:
            self.orders[key] = left
        else:
            self.orders.pop(key, None)

    def _wait(self, parts: list[_Part], size: float, now: int) -> None:
        if size > _EPSILON:
            parts.append(_Part(now, size))

    def _cancel(self, key: Key, size: float) -> None:
        """Let a cancellation shorten the queues."""
        after = self.size(key) + sum(part.size for part in self._decreases[key])
        share = after / (after + size) if self._cancellations == "proportional" else 1.0
        for order in self.orders.get(key, ()):
            order.queue_ahead = min(order.queue_ahead * share, after)


def _taken(parts: list[_Part], size: float) -> list[_Part]:
    """Take up to a size from parts, oldest first."""
    taken: list[_Part] = []
    while parts and size > _EPSILON:
        part = parts[0]
        amount = min(part.size, size)
        taken.append(_Part(part.time, amount))
        size -= amount
        part.size -= amount
        if part.size <= _EPSILON:
            parts.pop(0)
    return taken


def shared(orders: Iterable[tuple[Order, bool, list[tuple[int, float]]]], size: float) -> Iterator[tuple[Order, float]]:
    """Share a trade among our orders, best price first and at one price in order of time; move their queues on.

    Args:
        orders: the orders that the trade reaches, each with whether its price is better than the trade's, and with the
            decreases of its book that the trade explains: what went before an order came is of no use to it.
        size: the trade's.
    """
    used = 0.0
    for order, is_better, explained in orders:
        accepted = order.accepted or 0
        before = sum(part for time, part in explained if time <= accepted)
        usable = max(0.0, size - before - used)
        ahead = 0.0 if is_better else order.queue_ahead
        fill = min(order.remaining, max(0.0, usable - ahead))
        order.queue_ahead = max(0.0, ahead - usable)
        used += fill
        if fill > _EPSILON:
            yield order, fill
