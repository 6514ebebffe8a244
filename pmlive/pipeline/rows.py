"""Rows of the tables: what messages and books are laid out as, numbered in order of arrival."""

from collections.abc import Iterable
from typing import Literal, TypeAlias

import msgspec
import polars as pl

from pmlive.book import PRICES, SIZES, Book, price, size
from pmlive.buffers import PACKED, PackedRows, Rows, StringTable, ladder
from pmlive.errors import ProtocolError
from pmlive.events import (
    Activity,
    BookSnapshot,
    LevelChange,
    MakerOrder,
    MarketResolved,
    NewMarket,
    ReferencePrice,
    TickSizeChange,
    Trade,
    UserOrder,
    UserTrade,
    epoch_ns,
)
from pmlive.integrity import Counts
from pmlive.pipeline.token import EMPTY, SIDES, Token
from pmlive.tables import SCHEMAS

__all__ = [
    "BookRows",
    "Making",
    "RowBuffers",
    "activity",
    "market_event",
    "reference_price",
    "trade",
    "user_order",
    "user_trade",
]

# Rows of level changes and books are in recordings only: "all" makes them, "rolling" does not, and "numbered" does not
# either but gives the others the numbers that they would have among them.
Making: TypeAlias = Literal["all", "rolling", "numbered"]
_SIDES = {"BUY": "buy", "SELL": "sell"}
_LARGEST = 2**63 - 1


class RowBuffers:
    """One buffer of rows per table, and the number that the next row or frame gets."""

    def __init__(self, *, making: Making = "all") -> None:
        self.seq = 1
        self.make(making)
        self.names = StringTable()
        self.prices, self.book_deltas = self.packed = [PackedRows(name, self.names) for name in PACKED]
        self.rows = {name: Rows(name) for name in SCHEMAS if name not in PACKED}

    def make(self, making: Making) -> None:
        """Make rows of so much from now on."""
        # Whether rows are made of level changes and books, and how many numbers each of these takes.
        self.storing = making == "all"
        self.numbers = int(making != "rolling")

    def put(self, table: str, ts_event: int | None, recv: int, conn: int, values: Iterable[object]) -> None:
        """Append one row."""
        self.rows[table].put((self.seq, ts_event, recv, conn, *values))
        self.seq += 1

    def take(self, unsettled: int | None) -> dict[str, pl.DataFrame]:
        """Remove and return complete rows: of ``book_deltas``, those before the first whose check is still open."""
        taken = {name: rows.take() for name, rows in self.rows.items() if len(rows)}
        if len(self.prices):
            taken["prices"] = self.prices.take()
        if len(self.book_deltas) and (deltas := self.book_deltas.take(unsettled)).height:
            taken["book_deltas"] = deltas
        return taken


class BookRows:
    """Writes level changes, books, tops, ladders and counts of checks into their tables."""

    def __init__(self, buffers: RowBuffers) -> None:
        self._buffers = buffers
        self._deltas, self._prices = buffers.book_deltas, buffers.prices
        sides, checks = self._deltas.words["side"], self._deltas.words["check"]
        self._side_numbers = {word: sides[side] for word, side in SIDES.items()}
        self._skipped, self._unchecked = checks["skipped"], checks["unverifiable"]

    def delta(  # a row has many columns
        self, token: Token, change: LevelChange, timestamp: int, conn: int, recv: int, *, checked: bool = True
    ) -> int:
        """Write a level change; return the place of its row, in which the outcome of its check is set later.

        The caller goes on to the next number of ``seq``, since level changes take numbers also where they make no rows.
        One that is not ``checked``, or is on a doubtful book, has no check.
        """
        deltas, bid, ask = self._deltas, change.best_bid, change.best_ask
        place = deltas.taken + len(deltas.buffer)
        row = deltas.pack(
            self._buffers.seq,
            timestamp,
            recv,
            conn,
            token.number,
            token.market_number,
            self._side_numbers[change.side],
            PRICES[change.price],
            SIZES[change.size],
            EMPTY if bid is None else bid,
            EMPTY if ask is None else ask,
            self._unchecked if checked and token.gap is None else self._skipped,
        )
        deltas.put(row)
        return place

    def snapshot(self, token: Token, event: BookSnapshot, book: Book, conn: int, recv: int) -> None:
        """Write a whole book.

        Raises:
            ProtocolError: one of its further numbers is none.
        """
        tick = PRICES[event.tick_size] if event.tick_size else None
        last = PRICES[event.last_trade_price] if event.last_trade_price else None
        if self._buffers.storing:
            values = (token.id, event.market, *_ladders(book), event.hash, token.conn != conn, tick, last)
            self._buffers.put("book_snapshots", epoch_ns(event.timestamp), recv, conn, values)
        else:
            self._buffers.seq += self._buffers.numbers

    def top(self, token: Token, timestamp: int, recv: int) -> None:
        """Write the top of a book, unless it is as it was."""
        bids, asks, buffers = token.book.bids, token.book.asks, self._buffers
        bid = bid_size = ask = ask_size = EMPTY
        if bids.keys:
            bid, bid_size = -bids.keys[0], bids.sizes[0]
        if asks.keys:
            ask, ask_size = asks.keys[0], asks.sizes[0]
        top = bid, bid_size, ask, ask_size
        if top == token.shown:
            return
        token.shown = top
        conn, number, market = token.conn, token.number, token.market_number
        row = self._prices.pack(buffers.seq, timestamp, recv, conn, number, market, bid, bid_size, ask, ask_size)
        self._prices.put(row)
        buffers.seq += 1

    def depth(self, token: Token, at: int, depth: int) -> None:
        """Write the best levels of a book.

        Such a row takes no number of its own: it is in no recording, and what is must be numbered the same without it.
        """
        common = (self._buffers.seq, epoch_ns(token.timestamp), at, token.conn)
        self._buffers.rows["depth"].put((*common, token.id, token.market, *_ladders(token.book, depth)))

    def keyframe(self, token: Token, now: int, *, alone: bool) -> None:
        """Write a book and its state, with all others or alone."""
        gap = token.gap
        reason = (None, None, None) if gap is None else (gap.started, gap.cause, gap.detail)
        values = (token.id, token.market, *_ladders(token.book), token.state, *reason, alone)
        ts_event = epoch_ns(token.timestamp) if token.timestamp else None
        self._buffers.put("keyframes", ts_event, now, token.conn, values)

    def checks(self, token: Token, minute: int) -> None:
        """Write and reset the counts of a minute (nanoseconds since 1970)."""
        values = token.counts.values()
        if any(values):
            self._buffers.put("checks", None, minute, token.conn, (token.id, *values))
            token.total = Counts.total((token.total, token.counts))
            token.counts = Counts()


def _ladders(book: Book, depth: int | None = None) -> tuple[bytes, ...]:
    bids, asks = book.bids, book.asks
    return tuple(map(ladder, (bids.keys[:depth], bids.sizes[:depth], asks.keys[:depth], asks.sizes[:depth])))


def trade(event: Trade) -> tuple[object, ...]:
    """Lay out a trade; its sign is the feed's own."""
    return (
        event.token_id,
        event.market,
        price(event.price),
        size(event.size),
        _SIDES.get(event.side) or _side(event.side),
        size(event.fee_rate_bps) if event.fee_rate_bps else None,
        event.transaction_hash or None,
        "feed",
    )


def market_event(event: TickSizeChange | NewMarket | MarketResolved) -> tuple[object, ...]:
    """Lay out what happened to a market, the whole message as JSON in its last column."""
    payload = msgspec.json.encode(event).decode()
    if isinstance(event, TickSizeChange):
        ticks = (_optional(event.old_tick_size), _optional(event.new_tick_size))
        return ("tick_size_change", event.token_id, event.market, *ticks, None, None, payload)
    if isinstance(event, NewMarket):
        return ("new_market", None, event.market, None, _optional(event.tick_size), None, None, payload)
    # One that was settled by a split has no winner.
    winner = (event.winning_token_id or None, event.winning_outcome or None)
    return ("market_resolved", winner[0], event.market, None, None, *winner, payload)


def user_order(event: UserOrder) -> tuple[object, ...]:
    """Lay out an order of the user's."""
    return (
        event.id,
        event.token_id,
        event.market,
        event.type,
        _side(event.side),
        price(event.price),
        size(event.original_size),
        _optional(event.size_matched),
        event.status,
        event.outcome,
        event.order_type,
        event.created_at,
        event.expiration,
        event.maker_address,
        event.associate_trades,
    )


def user_trade(event: UserTrade) -> tuple[object, ...]:
    """Lay out a trade of the user's."""
    return (
        event.id,
        event.token_id,
        event.market,
        _side(event.side),
        price(event.price),
        size(event.size),
        event.status,
        event.outcome,
        _optional(event.fee_rate_bps),
        event.taker_order_id,
        event.trader_side,
        event.match_time,
        event.last_update,
        event.transaction_hash or None,
        _whole(event.bucket_index),
        event.maker_address,
        [_maker(order) for order in event.maker_orders],
    )


def _maker(order: MakerOrder) -> dict[str, object]:
    return {
        "order_id": order.order_id,
        "token_id": order.token_id,
        "outcome": order.outcome,
        "outcome_index": _whole(order.outcome_index),
        "side": order.side,
        "price": price(order.price),
        "matched_amount": size(order.matched_amount),
        "fee_rate_bps": _optional(order.fee_rate_bps),
        "maker_address": order.maker_address,
    }


def activity(event: Activity) -> tuple[object, ...]:
    """Lay out a trade seen on the venue-wide feed."""
    return (
        event.type,
        event.token_id,
        event.market,
        event.price,
        event.size,
        _side(event.side),
        event.event_slug,
        event.slug,
        event.title,
        event.outcome,
        _whole(event.outcome_index),
        event.proxy_wallet,
        event.name,
        event.pseudonym,
        event.bio,
        event.icon,
        event.profile_image,
        event.transaction_hash,
    )


def reference_price(event: ReferencePrice) -> tuple[object, ...]:
    """Lay out a price from outside the venue."""
    return (
        event.topic,
        event.symbol,
        event.value,
        event.full_accuracy_value or None,
        None if event.received_at is None else event.received_at * 1_000_000,
        _whole(event.window_seconds),
        event.is_carried_forward,
        event.source or None,
        event.snapshot,
    )


def _side(text: str) -> str:
    try:
        return _SIDES[text.upper()]
    except KeyError:
        raise ProtocolError(f"side {text[:20]!r} is neither BUY nor SELL") from None


def _whole(number: int | None) -> int | None:
    """Take a whole number that a column can hold; JSON's may be of any length."""
    if number is not None and not -_LARGEST <= number <= _LARGEST:
        raise ProtocolError(f"a whole number of {number.bit_length()} bits is no index or number of seconds")
    return number


def _optional(text: str | None) -> float | None:
    """Read a number that the venue may leave empty."""
    return size(text) if text else None
