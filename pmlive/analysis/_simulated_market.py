"""The venue as a simulation of orders has it: orders on their way, their places in queues, fills, and what is held."""

from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Sequence
from typing import Literal, Protocol, TypeAlias

import msgspec

from pmlive.analysis.arbitrage import FeesByToken, taker_fee

__all__ = [
    "OTHER_SIDE",
    "Cancellations",
    "FillRow",
    "Key",
    "MarketEvent",
    "Order",
    "OrderStatus",
    "OrderType",
    "PathRow",
    "Position",
    "Queues",
    "Side",
    "SimulatedMarket",
    "rounded",
    "shared",
]


# --- queues ---
# Queues of a book: what is ahead of our orders at a price, moved on by trades and by cancellations.
#
# The venue tells of sizes, not of orders, and of a trade only after the book has changed. So a size that decreases
# waits for a trade that explains it, and is a cancellation once none came for a time; a trade that came first explains
# a later decrease in the same way.

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


# --- the simulated market ---

# Prices have at most four decimals: further ones of a difference are rounding errors.
_DECIMALS = 6
_SIDES_OF_BOOK: dict[Literal["bid", "ask"], Side] = {"bid": "buy", "ask": "sell"}
OTHER_SIDE: dict[Side, Side] = {"buy": "sell", "sell": "buy"}


class _Book(Protocol):
    @property
    def trusted(self) -> bool: ...
    @property
    def mid(self) -> float | None: ...
    @property
    def best_bid(self) -> float | None: ...
    @property
    def best_ask(self) -> float | None: ...
    @property
    def bids(self) -> list[tuple[float, float]]: ...
    @property
    def asks(self) -> list[tuple[float, float]]: ...
    def size(self, side: Literal["bid", "ask"], price: float) -> float: ...
    def copy(self) -> "_Book": ...


class _Common(Protocol):
    @property
    def token_id(self) -> str: ...
    @property
    def ts_recv(self) -> int: ...
    @property
    def book(self) -> _Book: ...


class _Level(_Common, Protocol):
    @property
    def kind(self) -> Literal["level"]: ...
    @property
    def side(self) -> Literal["bid", "ask"]: ...
    @property
    def price(self) -> float: ...


class _Trade(_Common, Protocol):
    @property
    def kind(self) -> Literal["trade"]: ...
    @property
    def side(self) -> Side: ...
    @property
    def price(self) -> float: ...
    @property
    def size(self) -> float: ...


class _Resolution(_Common, Protocol):
    @property
    def kind(self) -> Literal["resolution"]: ...
    @property
    def payout(self) -> float | None: ...


class _Whole(_Common, Protocol):
    @property
    def kind(self) -> Literal["book"]: ...


class _Other(_Common, Protocol):
    @property
    def kind(self) -> Literal["book_end", "gap_begin", "gap_end", "tick_size"]: ...


# What ``Recording.events`` yields.
MarketEvent: TypeAlias = _Level | _Trade | _Resolution | _Whole | _Other


class FillRow(msgspec.Struct, frozen=True, gc=False):
    """A fill, as the frame of fills has it."""

    ts_recv: int
    token_id: str
    order_id: int
    side: Side
    price: float
    size: float
    maker: bool
    fee: float
    queue_ahead: float | None
    mid: float | None


class PathRow(msgspec.Struct, frozen=True, gc=False):
    """What is held after a fill."""

    ts_recv: int
    token_id: str
    inventory: float
    cash: float
    equity: float | None


class Position(msgspec.Struct):
    """What is held of a token, what it brought and cost, and what a share paid if its market was resolved."""

    inventory: float = 0.0
    cash: float = 0.0
    fees: float = 0.0
    volume: float = 0.0
    payout: float | None = None
    is_resolved: bool = False


def rounded(price: float) -> float:
    """Return a price without the rounding errors of a difference."""
    return round(price, _DECIMALS)


class _Action(msgspec.Struct, frozen=True):
    """An order on its way to the venue, or its cancellation."""

    due: int
    order: Order
    kind: Literal["place", "cancel"]


class SimulatedMarket:
    """Takes events and orders, and keeps fills and positions.

    Args:
        latency: how long an order or a cancellation takes to the venue (nanoseconds).
        lag: how long a trade may come after the decrease that it caused, or before (nanoseconds).
        fees: the schedules of takers.
        cancellations: where in a queue cancellations are.
        pairs: tokens whose books are one book.

    Raises:
        ValueError: ``cancellations`` is none of its words, or a token is in two pairs.
    """

    def __init__(
        self,
        latency: int,
        lag: int,
        *,
        fees: FeesByToken,
        cancellations: Cancellations,
        pairs: Sequence[tuple[str, str]],
    ) -> None:
        if cancellations not in {"pessimistic", "proportional"}:
            raise ValueError(f"invalid cancellations {cancellations!r}; expected 'pessimistic' or 'proportional'")
        self._latency, self._fees = latency, fees
        self._queues: defaultdict[str, Queues] = defaultdict(lambda: Queues(cancellations, lag))
        self._others = {one: other for pair in pairs for one, other in (pair, pair[::-1])}
        if len(self._others) != 2 * len(pairs):
            raise ValueError(f"invalid pairs {list(pairs)!r}; expected two tokens each, and no token twice")
        self.now = 0
        # Orders that rest or are on their way, by token and number.
        self.live: defaultdict[str, dict[int, Order]] = defaultdict(dict)
        self.positions: defaultdict[str, Position] = defaultdict(Position)
        # The mid of each book that an order was placed in, None where it cannot be trusted or a side is empty.
        self.mids: dict[str, float | None] = {}
        self._books: dict[str, _Book] = {}
        # Copies of the books that orders on their way will meet: those of the events have gone on by then.
        self._met: dict[str, _Book] = {}
        self._arriving: defaultdict[str, int] = defaultdict(int)
        self._actions: deque[_Action] = deque()
        self.orders: list[Order] = []
        self.fills: list[FillRow] = []
        self.path: list[PathRow] = []

    # --- what the strategy does ---

    def place(self, token_id: str, side: Side, *, price: float, size: float, order_type: OrderType) -> Order:
        """Send an order.

        Raises:
            ValueError: the token has no schedule of fees.
        """
        if token_id not in self._fees:
            raise ValueError(
                f"no fees for token {token_id!r}; if its market has none, pass a schedule that is not enabled"
            )
        number = len(self.orders) + 1
        order = Order(
            id=number,
            token_id=token_id,
            side=side,
            price=price,
            size=size,
            order_type=order_type,
            placed=self.now,
        )
        self.orders.append(order)
        self.live[token_id][number] = order
        self._arriving[token_id] += 1
        self._actions.append(_Action(self.now + self._latency, order, "place"))
        if token_id in self._books:
            self._met[token_id] = self._books[token_id].copy()
            self.mids[token_id] = _mid(self._met[token_id])
        return order

    def cancel(self, order: Order) -> None:
        """Send a cancellation."""
        if order.is_live:
            self._actions.append(_Action(self.now + self._latency, order, "cancel"))

    # --- what happens ---

    def take(self, event: MarketEvent) -> None:
        """Take an event, after all that reached the venue before it."""
        self.arrive(event.ts_recv)
        self.now, token_id, book = event.ts_recv, event.token_id, event.book
        self._books[token_id] = book
        if token_id in self.live:
            self.mids[token_id] = _mid(book)
        if event.kind == "resolution":
            self._resolve(token_id, event.payout)
        if not book.trusted:
            self._lose(token_id, "gap")
            return
        queues = self._queues[token_id]
        queues.settle_orders(self.now)
        if event.kind == "level" and queues.is_known:
            queues.put((_SIDES_OF_BOOK[event.side], event.price), book.size(event.side, event.price), self.now)
        elif event.kind != "trade" or not queues.is_known:
            queues.replace(_sizes(book), self.now)
        if event.kind == "trade":
            self._trade(event)
        elif queues.orders:
            queues.note_crossed(book.best_bid, book.best_ask)

    def told(self, event: MarketEvent) -> None:
        """Note that the strategy was told of an event: keep the book for orders that will meet it."""
        if self._arriving[event.token_id]:
            self._met[event.token_id] = event.book.copy()

    def arrive(self, before: int) -> None:
        """Let orders and cancellations reach the venue that are due before a time."""
        while self._actions and self._actions[0].due < before:
            action = self._actions.popleft()
            if action.kind == "place":
                self._arriving[action.order.token_id] -= 1
            if not action.order.is_live:
                continue
            if action.kind == "place":
                self._accept(action.order, action.due)
            else:
                self._end(action.order, "cancelled by the strategy")

    def _accept(self, order: Order, due: int) -> None:
        book = self._met.get(order.token_id)
        if self.positions[order.token_id].is_resolved:
            self._refuse(order, "market resolved")
        elif book is None or not book.trusted:
            self._refuse(order, "no trusted book")
        elif (crossed := _crossed(book, order)) and order.order_type == "post_only":
            self._refuse(order, "would trade at once")
        else:
            order.status, order.accepted = "open", due
            for price, size in crossed:
                self._fill(order, min(size, order.remaining), due, at=price)
            if order.order_type == "ioc":
                self._end(order, "did not rest")
            elif order.remaining:
                self._queues[order.token_id].rest(order)

    def _trade(self, trade: _Trade) -> None:
        """Share a trade among the orders that it reaches, in the books of both outcomes."""
        maker = OTHER_SIDE[trade.side]
        reached = [(order, trade.price) for order in self._at_or_better(trade.token_id, (maker, trade.price))]
        explained = {trade.token_id: self._queues[trade.token_id].trade((maker, trade.price), trade.size, self.now)}
        other = self._others.get(trade.token_id)
        if other is not None:
            mirrored = OTHER_SIDE[maker], rounded(1 - trade.price)
            explained[other] = self._queues[other].trade(mirrored, trade.size, self.now)
            reached += [(order, mirrored[1]) for order in self._at_or_better(other, mirrored)]
        reached.sort(key=lambda each: (-rounded(abs(each[0].price - each[1])), each[0].accepted, each[0].id))
        orders = [(order, order.price != price, explained[order.token_id]) for order, price in reached]
        for order, size in shared(orders, trade.size):
            self._fill(order, size, self.now)

    def _at_or_better(self, token_id: str, key: Key) -> Iterator[Order]:
        side, price = key
        for (each, at), orders in self._queues[token_id].orders.items():
            if each == side and (at >= price if side == "buy" else at <= price):
                yield from orders

    def _lose(self, token_id: str, reason: str) -> None:
        """Cancel the orders that rest for a token."""
        queues = self._queues[token_id]
        for order in [order for orders in queues.orders.values() for order in orders]:
            self._end(order, reason)
        queues.clear()

    def _resolve(self, token_id: str, payout: float | None) -> None:
        self.positions[token_id].payout, self.positions[token_id].is_resolved = payout, True
        self._lose(token_id, "market resolved")

    # --- what becomes of orders ---

    def _refuse(self, order: Order, reason: str) -> None:
        order.status, order.reason = "rejected", reason
        del self.live[order.token_id][order.id]

    def _end(self, order: Order, reason: str) -> None:
        """Cancel what is left of an order, if anything is."""
        if not order.is_live:
            return
        if order.status == "open":
            self._queues[order.token_id].remove(order)
        order.status, order.reason = "cancelled", reason
        del self.live[order.token_id][order.id]

    def _fill(self, order: Order, size: float, time: int, *, at: float | None = None) -> None:
        """Fill an order: a maker's at its own price, or a taker's ``at`` that of a level."""
        if not size:
            return
        price, token_id = order.price if at is None else at, order.token_id
        fee = 0.0 if at is None else taker_fee(self._fees[token_id], shares=size, price=price)
        sign = 1 if order.side == "buy" else -1
        held = self.positions[token_id]
        held.inventory += sign * size
        held.cash -= sign * size * price + fee
        held.fees += fee
        held.volume += size
        order.filled += size
        ahead = order.queue_ahead_placed if at is None else None
        mid, is_maker = self.mids.get(token_id), at is None
        self.fills.append(FillRow(time, token_id, order.id, order.side, price, size, is_maker, fee, ahead, mid))
        self.path.append(PathRow(time, token_id, held.inventory, self.total_cash(), self._equity()))
        if not order.remaining:
            self._queues[token_id].remove(order)
            order.status = "filled"
            del self.live[order.token_id][order.id]

    def total_cash(self) -> float:
        """Return the dollars received less those paid."""
        return sum(held.cash for held in self.positions.values())

    def _equity(self) -> float | None:
        equity = self.total_cash()
        for token_id, held in self.positions.items():
            mid = self.mids.get(token_id)
            if held.inventory and mid is None:
                return None
            equity += held.inventory * (mid or 0.0)
        return equity


def _mid(book: _Book) -> float | None:
    return book.mid if book.trusted else None


def _sizes(book: _Book) -> dict[Key, float]:
    sizes: dict[Key, float] = {("buy", price): size for price, size in book.bids}
    sizes.update({("sell", price): size for price, size in book.asks})
    return sizes


def _crossed(book: _Book, order: Order) -> list[tuple[float, float]]:
    """List the levels that an order would trade with at once, best first."""
    if order.side == "buy":
        return [level for level in book.asks if level[0] <= order.price]
    return [level for level in book.bids if level[0] >= order.price]
