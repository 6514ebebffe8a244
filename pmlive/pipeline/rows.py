"""Rows of the tables: made of messages and books, numbered in order of arrival, and buffered until frames are made."""

from collections.abc import Iterable
from functools import lru_cache
from struct import Struct
from typing import Any, Literal, NamedTuple, TypeAlias

import msgspec
import numpy as np
import polars as pl

from pmlive.book import PRICES, SIZES, Book, price, size
from pmlive.errors import ProtocolError
from pmlive.events import (
    SECONDS_BELOW,
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
from pmlive.tables import LEVELS, SCHEMAS

__all__ = [
    "PACKED",
    "BookRows",
    "Making",
    "PackedRows",
    "RowBuffers",
    "Rows",
    "StringTable",
    "activity",
    "ladder",
    "market_event",
    "reference_price",
    "trade",
    "user_order",
    "user_trade",
]

# Rows of level changes and books are for recordings: "all" makes them, "rolling" does not, and "numbered" does not, but
# numbers the other rows as if they were there.
Making: TypeAlias = Literal["all", "rolling", "numbered"]
_SIDES = {"BUY": "buy", "SELL": "sell"}
_LARGEST = 2**63 - 1

# Nearly every message makes a row of these tables, so they are packed: bytes are cheapest to keep and to convert.
PACKED: tuple[str, ...] = ("prices", "book_deltas")

_Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]

_DOUBLE = 8
# Of up to this many rows all ladders are converted at once, of more one by one, which takes less memory.
_FEW_ROWS = 1_000

# Computed from the best prices when rows are taken: null where a side is empty, and rounded because prices have at most
# four decimals and sums of floats are not exact.
_DERIVED = ("mid", "spread")
_ALIGNMENT = "0Q"


class RowBuffers:
    """One buffer of rows per table, and the number that the next row or frame gets."""

    def __init__(self, *, making: Making = "all") -> None:
        self.seq = 1
        self.make(making)
        self.names = StringTable()
        self.prices, self.book_deltas = self.packed = [PackedRows(name, self.names) for name in PACKED]
        self.rows = {name: Rows(name) for name in SCHEMAS if name not in PACKED}

    def make(self, making: Making) -> None:
        """Choose which rows are made from now on."""
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

        The caller increases ``seq``, since level changes take numbers even if no rows are made of them. A change that
        is not ``checked``, or whose book is in a gap, has no check.
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
            ProtocolError: the tick size or the last trade price is not a number.
        """
        tick = PRICES[event.tick_size] if event.tick_size else None
        last = PRICES[event.last_trade_price] if event.last_trade_price else None
        if self._buffers.storing:
            values = (token.id, event.market, *_ladders(book), event.hash, token.conn != conn, tick, last)
            self._buffers.put("book_snapshots", epoch_ns(event.timestamp), recv, conn, values)
        else:
            self._buffers.seq += self._buffers.numbers

    def top(self, token: Token, timestamp: int, recv: int) -> None:
        """Write the top of a book if it changed."""
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

        The row takes no number of its own, because recordings do not have it and must be numbered the same without it.
        """
        common = (self._buffers.seq, epoch_ns(token.timestamp), at, token.conn)
        self._buffers.rows["depth"].put((*common, token.id, token.market, *_ladders(token.book, depth)))

    def keyframe(self, token: Token, now: int, *, alone: bool, seq: int = 0) -> None:
        """Write a book and its state, with all others or alone; it may have a number that was set aside for it."""
        gap = token.gap
        reason = (None, None, None) if gap is None else (gap.started, gap.cause, gap.detail)
        values = (token.id, token.market, *_ladders(token.book), token.state, *reason, alone)
        ts_event = epoch_ns(token.timestamp) if token.timestamp else None
        if seq:
            self._buffers.rows["keyframes"].put((seq, ts_event, now, token.conn, *values))
        else:
            self._buffers.put("keyframes", ts_event, now, token.conn, values)

    def checks(self, token: Token, minute: int) -> tuple[int, ...]:
        """Write, reset and return the counts of a minute (nanoseconds since 1970)."""
        values = token.counts.values()
        if any(values):
            self._buffers.put("checks", None, minute, token.conn, (token.id, *values))
            token.checked += sum(values)
            token.counts = Counts()
        return values


class _Form(NamedTuple):
    """The format of a packed value, as ``struct`` and as numpy write it."""

    letter: str
    array: str


# Native formats, aligned, padded to a multiple of eight: the fastest for both, and the same offsets in both.
_FORMS: dict[type[pl.DataType], _Form] = {
    pl.UInt64: _Form("Q", "u8"),
    pl.Datetime: _Form("q", "i8"),
    pl.UInt32: _Form("I", "u4"),
    pl.Float64: _Form("d", "f8"),
    pl.String: _Form("I", "u4"),
    pl.Enum: _Form("B", "u1"),
}


class Rows:
    """Rows of one table as one flat list of values: ``put(values)`` takes a row in the order of the columns."""

    __slots__ = ("_flat", "_ladders", "_schema", "put")

    def __init__(self, table: str) -> None:
        self._schema = SCHEMAS[table]
        self._ladders = [name for name, dtype in self._schema.items() if dtype == LEVELS]
        self._flat: list[Any] = []
        self.put = self._flat.extend

    def __len__(self) -> int:
        return len(self._flat) // len(self._schema)

    def take(self) -> pl.DataFrame:
        """Remove the rows and return them."""
        flat, width = self._flat.copy(), len(self._schema)
        self._flat.clear()
        values = {name: flat[at::width] for at, name in enumerate(self._schema)}
        made: dict[str, pl.Series] = {}
        together = [self._ladders] if len(flat) <= _FEW_ROWS * width else [[name] for name in self._ladders]
        for names in filter(None, together):
            made |= _lists({name: values[name] for name in names})
        return pl.DataFrame(
            [made[name] if name in made else _series(name, values[name], dtype) for name, dtype in self._schema.items()]
        )


class StringTable(dict[str, int]):
    """Strings that occur often, each with a number."""

    def __init__(self) -> None:
        super().__init__()
        self._texts = pl.Series(dtype=pl.String)

    def __missing__(self, text: str) -> int:
        number = self[text] = len(self)
        return number

    def texts(self) -> pl.Series:
        """Return the strings in the order of their numbers."""
        if len(self._texts) < len(self):
            self._texts = pl.Series(list(self), dtype=pl.String)
        return self._texts


class PackedRows:
    """Rows of one table as bytes: ``put(pack(…))`` takes a row in the order of the columns.

    A missing number is NaN, a string its number in ``names``, a word of an enum its number in ``words``, and the
    venue's time in the unit in which it was sent.
    """

    __slots__ = ("_dtype", "_offsets", "_schema", "_width", "buffer", "names", "pack", "put", "taken", "words")

    def __init__(self, table: str, names: StringTable) -> None:
        self._schema = SCHEMAS[table]
        given = {name: dtype for name, dtype in self._schema.items() if name not in _DERIVED}
        forms = {name: _FORMS[type(dtype)] for name, dtype in given.items()}
        self._dtype = np.dtype([(name, form.array) for name, form in forms.items()], align=True)
        self._width = self._dtype.itemsize
        self.names = names
        self._offsets = {name: field[1] for name, field in (self._dtype.fields or {}).items()}
        self.buffer = bytearray()
        # How many bytes were removed so far. A row's place is its offset in bytes from the first row ever: that of the
        # next row is ``taken + len(buffer)``.
        self.taken = 0
        self.pack = Struct("".join(form.letter for form in forms.values()) + _ALIGNMENT).pack
        self.put = self.buffer.extend
        self.words = {
            name: {word: number for number, word in enumerate(dtype.categories)}
            for name, dtype in given.items()
            if isinstance(dtype, pl.Enum)
        }

    def __len__(self) -> int:
        return len(self.buffer) // self._width

    def amend(self, place: int, column: str, word: int) -> None:
        """Set a word in a row that was not removed yet."""
        self.buffer[place - self.taken + self._offsets[column]] = word

    def take(self, before: int | None = None) -> pl.DataFrame:
        """Remove and return the rows whose place is below ``before``, by default all."""
        end = len(self.buffer) if before is None else before - self.taken
        rows = np.frombuffer(self.buffer[:end], dtype=self._dtype)
        del self.buffer[:end]
        self.taken += end
        columns = {name: np.ascontiguousarray(rows[name]) for name in rows.dtype.names or ()}
        columns["ts_event"] *= _unit_ns(columns["ts_event"])
        if len(columns) < len(self._schema):
            bid, ask = columns["best_bid"], columns["best_ask"]
            columns |= {"mid": np.round((bid + ask) / 2, 6), "spread": np.round(ask - bid, 6)}
        return pl.DataFrame([self._column(columns[name], dtype).alias(name) for name, dtype in self._schema.items()])

    def _column(self, values: _Array, dtype: pl.DataType) -> pl.Series:
        # Without expressions, whose overhead is greater than the work itself.
        match dtype:
            case pl.String():
                return self.names.texts()[values]
            case pl.Enum():
                return pl.Series(dtype.categories, dtype=dtype)[values]
            case pl.Float64():
                return pl.Series(values, nan_to_null=True)
            case _:
                return pl.Series(values).cast(dtype)


def ladder(numbers: list[float]) -> bytes:
    """Pack a list of numbers, because keeping lists makes the garbage collector ten times slower."""
    return _doubles(len(numbers)).pack(*numbers)


def _ladders(book: Book, depth: int | None = None) -> tuple[bytes, ...]:
    bids, asks = book.bids, book.asks
    return tuple(map(ladder, (bids.keys[:depth], bids.sizes[:depth], asks.keys[:depth], asks.sizes[:depth])))


def trade(event: Trade) -> tuple[object, ...]:
    """Return the values of a trade, whose sign is the feed's own."""
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
    """Return the values of a market's event, with the whole message as JSON in the last column."""
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
    """Return the values of an order of the user's."""
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
    """Return the values of a trade of the user's."""
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
    """Return the values of a trade on the venue-wide feed."""
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
    """Return the values of a price from outside the venue."""
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
    """Return a whole number if a column can hold it, since JSON's may be of any length."""
    if number is not None and not -_LARGEST <= number <= _LARGEST:
        raise ProtocolError(f"a whole number of {number.bit_length()} bits is no index or number of seconds")
    return number


def _optional(text: str | None) -> float | None:
    """Parse a number that the venue may leave empty."""
    return size(text) if text else None


def _unit_ns(times: _Array) -> _Array:
    """Return the unit of each time in nanoseconds, which its magnitude shows as in ``epoch_ns``."""
    edges = np.array([SECONDS_BELOW, 1_000 * SECONDS_BELOW, 1_000_000 * SECONDS_BELOW])
    return np.array([1_000_000_000, 1_000_000, 1_000, 1])[np.searchsorted(edges, times, side="right")]


@lru_cache(maxsize=1024)
def _doubles(amount: int) -> Struct:
    return Struct(f"{amount}d")


def _series(name: str, values: list[Any], dtype: pl.DataType) -> pl.Series:
    if isinstance(dtype, pl.Enum):
        # Converting words without this step takes twice as long.
        return pl.Series(name, values, dtype=pl.String).cast(dtype)
    return pl.Series(name, values, dtype=dtype)


def _lists(ladders: dict[str, list[bytes]]) -> dict[str, pl.Series]:
    """Make columns of lists by way of one matrix padded with NaN, which is many times faster than list by list."""
    values = [each for column in ladders.values() for each in column]
    lengths = np.fromiter(map(len, values), np.int64, len(values)) // _DOUBLE
    matrix = np.full((len(values), max(int(lengths.max(initial=0)), 1)), np.nan)
    matrix[np.arange(matrix.shape[1]) < lengths[:, None]] = np.frombuffer(b"".join(values))
    height = len(values) // len(ladders)
    begins = {name: at * height for at, name in enumerate(ladders)}
    if (begin := begins.get("bid_prices")) is not None:
        prices = matrix[begin : begin + height]
        np.subtract(0, prices, out=prices)  # a book's sort keys are negated
    lists = pl.Series(matrix.ravel(), nan_to_null=True).reshape(matrix.shape).cast(LEVELS)
    if (lengths < matrix.shape[1]).any():
        # Skipped if possible: this expression costs more than the rest.
        lists = lists.list.drop_nulls()
    return {name: lists.slice(begin, height).alias(name) for name, begin in begins.items()}
