"""A simulation of what limit orders would have met in a recording, for studies of market making.

``Simulation`` states what is assumed.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Literal, Protocol, TypeAlias, TypeVar

import msgspec
import polars as pl

from pmlive.analysis._intervals import TIME, Every, to_ns
from pmlive.analysis._simulated_market import (
    OTHER_SIDE,
    Cancellations,
    MarketEvent,
    Order,
    OrderType,
    Position,
    Side,
    SimulatedMarket,
    rounded,
)
from pmlive.analysis.arbitrage import FeesByToken, PricedMarket, fees_by_token
from pmlive.analysis.flow import with_mids

__all__ = ["JoinBest", "Mark", "MarketEvent", "Order", "Orders", "Simulation", "markouts", "simulate"]

# What inventory is worth: the middle of the book at the end, or what a share paid when its market was resolved.
Mark: TypeAlias = Literal["mid", "settlement"]

_PAIR = 2
_SIDE = pl.Enum(["buy", "sell"])
_FILLS = {
    "ts_recv": pl.Int64,
    "token_id": pl.String,
    "order_id": pl.Int64,
    "side": _SIDE,
    "price": pl.Float64,
    "size": pl.Float64,
    "maker": pl.Boolean,
    "fee": pl.Float64,
    "queue_ahead": pl.Float64,
    "mid": pl.Float64,
}
_PATH = {
    "ts_recv": pl.Int64,
    "token_id": pl.String,
    "inventory": pl.Float64,
    "cash": pl.Float64,
    "equity": pl.Float64,
}
_ORDERS = {
    "order_id": pl.Int64,
    "token_id": pl.String,
    "side": _SIDE,
    "price": pl.Float64,
    "size": pl.Float64,
    "filled": pl.Float64,
    "order_type": pl.Enum(["post_only", "limit", "ioc"]),
    "status": pl.Enum(["pending", "open", "filled", "cancelled", "rejected"]),
    "reason": pl.String,
    "placed": pl.Int64,
    "accepted": pl.Int64,
    "crossed": pl.Boolean,
}
_POSITIONS = {
    "token_id": pl.String,
    "inventory": pl.Float64,
    "cash": pl.Float64,
    "fees": pl.Float64,
    "volume": pl.Float64,
    "mid": pl.Float64,
    "settlement": pl.Float64,
    "pnl_mid": pl.Float64,
    "pnl_settlement": pl.Float64,
}
_E = TypeVar("_E", bound=MarketEvent)
_In_contra = TypeVar("_In_contra", bound=MarketEvent, contravariant=True)


class _Strategy(Protocol[_In_contra]):
    def on_event(self, event: _In_contra, orders: "Orders", /) -> object: ...


class Simulation(msgspec.Struct, frozen=True):
    """What became of a strategy's orders, as frames; prices are dollars a share, sizes shares, cash and fees dollars.

    What is assumed:

    - **Priority.** Better prices go first, and at one price who came first. An order that joins a price has all that is
      displayed there ahead of it.
    - **Queues.** Trades at the price come from the front. A size that decreases without a trade within ``trade_lag`` is
      a cancellation: of those behind us as far as there are any (``pessimistic``, the default), or of everybody alike
      (``proportional``). A trade that explains a decrease from before our order came is of no use to it.
    - **Makers** are filled by trades alone: at their price by what a trade leaves after the queue, at a better price
      than the trade's before all others, and never by more than was traded. An order that the displayed book comes to
      cross without a trade is not filled, so that some fills, which would be bad ones, are missing: ``orders`` tells
      which were ``crossed``.
    - **Takers** walk the displayed book, up to their limit. What they take is there again for the next: our orders do
      not move the market. They do not meet each other either.
    - **Latency.** Orders and cancellations reach the venue so long after the event at which they were given, and meet
      the book as of then. A fill until then counts. The strategy is told of events when they were received, and of
      fills at once.
    - **Fees.** Takers pay by the venue's formula (``taker_fee``), makers nothing; they are not given rebates.
    - **Gaps.** While a book cannot be trusted nothing is filled. Where a gap begins, the orders of the token are
      cancelled, and so are those that arrive in it. Gaps begin where books were last known to be right, which was found
      out later.
    - **Inventory** may be negative: who sells what he has not splits a dollar into a set and keeps the other outcome.
      Neither the dollars that this takes nor tick sizes or least sizes limit a strategy.

    The books of two outcomes are one book on the venue, which tells of a trade for one of them only. ``pairs`` names
    them, so that a trade of one at ``p`` is a trade of the other at ``1 - p`` with the sides swapped; all that it fills
    is at most its size.

    What there is:

    - ``fills``: ``ts_recv`` (of the event that filled), ``token_id``, ``order_id``, ``side``, ``price``, ``size``,
      ``maker``, ``fee``, ``queue_ahead`` (what was ahead when the order came; null for a taker) and ``mid`` (of the
      book then; null if a side was empty).
    - ``path``: after each fill, ``ts_recv``, ``token_id`` and its ``inventory``, ``cash`` of all tokens, and
      ``equity``, which is cash and all inventories at their mids (null while one that is held has none).
    - ``positions``: at the end, by token: ``inventory``, ``cash``, ``fees``, ``volume`` (shares), ``mid`` (null where
      the book is not to be trusted or a side is empty), ``settlement`` (dollars a share, null if not known),
      ``pnl_mid`` and ``pnl_settlement``: cash and the inventory at that price (null without one, unless nothing is
      held).
    - ``orders``: ``order_id``, ``token_id``, ``side``, ``price``, ``size``, ``filled``, ``order_type``, ``status``,
      ``reason``, ``placed``, ``accepted`` and ``crossed`` (by the displayed book, while it rested).

    >>> from pmlive import open_recording, sample
    >>> night = open_recording(sample())
    >>> yes, no = night.markets[0].token_ids
    >>> def join_bid(event, orders):
    ...     if event.book.trusted and event.book.bids and not orders.live(event.token_id):
    ...         orders.place(event.token_id, "buy", price=event.book.best_bid, size=20)
    >>> fees = dict.fromkeys((yes, no), night.markets[0].fees)
    >>> made = simulate(night.events([yes, no]), join_bid, latency="50ms", fees=fees, pairs=[(yes, no)])
    >>> made.fills.height, made.fills["maker"].all()
    (12, True)
    """

    fills: pl.DataFrame
    path: pl.DataFrame
    positions: pl.DataFrame
    orders: pl.DataFrame

    def pnl(self, mark: Mark = "mid") -> float | None:
        """Return profit and loss of all tokens after fees, in dollars; None if one that is held has no such price."""
        column = self.positions[f"pnl_{mark}"]
        return None if column.null_count() else float(column.sum())


class Orders:
    """A strategy's orders and what it holds; it places and cancels here, with effect after the latency."""

    def __init__(self, market: SimulatedMarket) -> None:
        self._market = market

    def place(
        self, token_id: str, side: Side, *, price: float, size: float, order_type: OrderType = "post_only"
    ) -> Order:
        """Place a limit order.

        Args:
            token_id: its token, whose events are among those of the simulation.
            side: ``"buy"`` or ``"sell"``.
            price: dollars a share.
            size: shares.
            order_type: ``"post_only"`` is rejected where it would trade at once, ``"limit"`` trades at once as far as
                it can and rests with what is left, ``"ioc"`` (immediate or cancel) rests with nothing.

        Raises:
            ValueError: the side or the type is not one of these words, the price is not between 0 and 1, the size is
                not above 0, or the token has no schedule of fees.
        """
        if side not in OTHER_SIDE or order_type not in {"post_only", "limit", "ioc"}:
            raise ValueError(
                f"invalid side {side!r} or order_type {order_type!r}; expected 'buy' or 'sell', and 'post_only', "
                "'limit' or 'ioc'"
            )
        if not 0 < price < 1 or not 0 < size < float("inf"):
            raise ValueError(f"invalid price {price!r} or size {size!r}; expected 0 < price < 1 and a size above 0")
        return self._market.place(token_id, side, price=rounded(price), size=size, order_type=order_type)

    def cancel(self, order: Order) -> None:
        """Cancel an order; what is filled until that takes effect counts. One that is over stays as it is."""
        self._market.cancel(order)

    def cancel_all(self, token_id: str | None = None) -> None:
        """Cancel the orders of a token, or all."""
        for order in self.live(token_id):
            self._market.cancel(order)

    def live(self, token_id: str | None = None) -> list[Order]:
        """List the orders of a token, or all, that rest or are on their way; a token's as they were placed."""
        if token_id is not None:
            return list(self._market.live[token_id].values())
        return [order for orders in self._market.live.values() for order in orders.values()]

    def inventory(self, token_id: str) -> float:
        """Return the shares held of a token, below 0 if more were sold than bought."""
        return self._market.positions[token_id].inventory

    @property
    def cash(self) -> float:
        """The dollars received less those paid, fees included, since the beginning."""
        return self._market.total_cash()


class JoinBest:
    """A market maker that keeps a post-only order at the best bid and one at the best ask, and moves them with these.

    It is the plainest there is, and no advice: it knows nothing of the price to come. While the book cannot be trusted
    it does nothing; the simulation cancels its orders then. It quotes one token, of which it also sells what it has
    not, as ``Simulation`` says.

    Args:
        token_id: the token.
        size: shares of an order.
        limit: the largest inventory, in shares, of either sign: an order is never for more than is left to it.

    Raises:
        ValueError: ``size`` or ``limit`` is not above 0.

    >>> from pmlive import open_recording, sample
    >>> night = open_recording(sample())
    >>> market = night.markets[0]
    >>> maker = JoinBest(market.token_ids[0], size=20, limit=100)
    >>> made = simulate(night.events(market.token_ids), maker, latency="50ms", markets=[market])
    >>> made.fills.height, made.fills["maker"].all()
    (15, True)
    """

    def __init__(self, token_id: str, *, size: float, limit: float) -> None:
        if not size > 0 or not limit > 0:
            raise ValueError(f"invalid size {size!r} or limit {limit!r}; expected shares above 0")
        self.token_id, self.size, self.limit = token_id, size, limit

    def on_event(self, event: MarketEvent, orders: Orders) -> None:
        """Move the orders, if it is an event of the token and its book can be trusted."""
        if event.token_id != self.token_id or not event.book.trusted:
            return
        held = orders.inventory(self.token_id)
        self._quote(orders, "buy", event.book.best_bid, self.limit - held)
        self._quote(orders, "sell", event.book.best_ask, self.limit + held)

    def _quote(self, orders: Orders, side: Side, price: float | None, room: float) -> None:
        live = [order for order in orders.live(self.token_id) if order.side == side]
        for order in live:
            if order.price != price or order.remaining > room:
                orders.cancel(order)
        if not live and price is not None and room > 0:
            orders.place(self.token_id, side, price=price, size=min(self.size, room))


def simulate(  # noqa: PLR0913  # each is an assumption of its own
    events: Iterable[_E],
    strategy: "Callable[[_E, Orders], object] | _Strategy[_E]",
    *,
    latency: Every,
    fees: FeesByToken | None = None,
    markets: Iterable[PricedMarket] = (),
    cancellations: Cancellations = "pessimistic",
    trade_lag: Every = "1s",
    pairs: Sequence[tuple[str, str]] = (),
    settlement: Mapping[str, float] | None = None,
) -> Simulation:
    """Return what became of a strategy's limit orders, under the assumptions that ``Simulation`` states.

    Args:
        events: what was recorded, such as ``Recording.events`` yields it.
        strategy: called with each event, after it took effect, and with ``Orders``, or an object whose ``on_event`` is.
        latency: how long an order or a cancellation takes to the venue, such as ``"50ms"``.
        fees: the schedule of each token that is traded, beside those of ``markets``.
        markets: those that are traded, such as of ``Recording.markets``: their fees, and their two tokens as ``pairs``.
        cancellations: where in a queue they are: ``"pessimistic"`` (behind us) or ``"proportional"``.
        trade_lag: how long a trade may come after the change of the book that it caused, or before.
        pairs: the tokens of the two outcomes of a market; events must have both.
        settlement: what a share pays (dollars), by token, where no resolution is among the events.

    Raises:
        ValueError: a length of time is invalid or below 0, ``cancellations`` is none of its words, a token is in two
            pairs, or the schedule of a token that is taken is enabled and has no formula.
    """
    lengths = _length("latency", latency), _length("trade_lag", trade_lag)
    traded = list(markets)
    schedules, pairs = fees_by_token(traded) | dict(fees or {}), [*pairs, *_pairs(traded)]
    market = SimulatedMarket(*lengths, fees=schedules, cancellations=cancellations, pairs=pairs)
    orders, tell = Orders(market), strategy if callable(strategy) else strategy.on_event
    for event in events:
        market.take(event)
        tell(event, orders)
        market.told(event)
    market.arrive(market.now + 1)
    return _result(market, settlement or {})


def markouts(
    fills: pl.DataFrame, prices: pl.DataFrame, horizons: Sequence[Every], *, gaps: pl.DataFrame | None = None
) -> pl.DataFrame:
    """Return how the mid moved after fills: adverse selection, where it is below 0.

    With ``q`` 1 for our buys and -1 for our sells, ``mid_move = q * (mid_after - mid_before)`` and
    ``markout = q * (mid_after - price)``, what a share gained by the horizon; both in dollars a share, before fees. The
    mids are those of ``with_mids``: null without a quote, across a gap, and where ``prices`` end before the horizon.

    Args:
        fills: those of a ``Simulation``.
        prices: rows of the table ``prices``.
        horizons: lengths of time above 0, such as ``["1s", "1m"]``.
        gaps: rows of the table ``gaps``.

    Returns:
        The columns of ``fills``, and ``horizon`` (a duration), ``mid_before``, ``mid_after``, ``touched``,
        ``mid_move`` and ``markout``; a row for each fill and horizon.

    Raises:
        ValueError: a horizon is not a length of time above 0, or there is none.
    """
    if not horizons:
        raise ValueError("no horizons; expected one or more, such as '1s'")
    sign = pl.when(pl.col("side").cast(pl.String) == "buy").then(1).otherwise(-1)
    return pl.concat(
        with_mids(fills, prices, after=horizon, gaps=gaps).with_columns(
            horizon=pl.duration(nanoseconds=to_ns(horizon), time_unit="ns"),
            mid_move=sign * (pl.col("mid_after") - pl.col("mid_before")),
            markout=sign * (pl.col("mid_after") - pl.col("price")),
        )
        for horizon in horizons
    )


def _pairs(markets: Iterable[PricedMarket]) -> list[tuple[str, str]]:
    tokens = [market.token_ids for market in markets]
    return [(each[0], each[1]) for each in tokens if len(each) == _PAIR]


def _length(name: str, length: Every) -> int:
    found = to_ns(length)
    if found < 0:
        raise ValueError(f"invalid {name} {length!r}; expected a length of time of 0 or more")
    return found


def _result(market: SimulatedMarket, settlement: Mapping[str, float]) -> Simulation:
    return Simulation(
        fills=_frame(map(msgspec.structs.astuple, market.fills), _FILLS),
        path=_frame(map(msgspec.structs.astuple, market.path), _PATH),
        positions=_positions(market, settlement),
        orders=_frame(map(_order_row, market.orders), _ORDERS),
    )


def _frame(rows: Iterable[tuple[object, ...]], schema: Mapping[str, pl.DataType | type[pl.DataType]]) -> pl.DataFrame:
    frame = pl.DataFrame(list(rows), schema=schema, orient="row")
    times = [name for name in ("ts_recv", "placed", "accepted") if name in schema]
    return frame.with_columns(pl.col(times).cast(TIME))


def _order_row(order: Order) -> tuple[object, ...]:
    return (
        order.id,
        order.token_id,
        order.side,
        order.price,
        order.size,
        order.filled,
        order.order_type,
        order.status,
        order.reason,
        order.placed,
        order.accepted,
        order.crossed,
    )


def _positions(market: SimulatedMarket, settlement: Mapping[str, float]) -> pl.DataFrame:
    traded = {order.token_id for order in market.orders}
    rows = (_position_row(market, token_id, market.positions[token_id], settlement) for token_id in sorted(traded))
    return _frame(rows, _POSITIONS)


def _position_row(
    market: SimulatedMarket, token_id: str, held: Position, settlement: Mapping[str, float]
) -> tuple[object, ...]:
    mid = market.mids.get(token_id)
    pays = settlement.get(token_id, held.payout)
    values = (_value(held, mid), _value(held, pays))
    return token_id, held.inventory, held.cash, held.fees, held.volume, mid, pays, *values


def _value(held: Position, price: float | None) -> float | None:
    """Return cash and inventory at a price; without inventory, no price is needed."""
    if not held.inventory:
        return held.cash
    return None if price is None else held.cash + held.inventory * price
