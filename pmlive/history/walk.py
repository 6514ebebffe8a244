"""The walk through a market's trades, from the newest to older ones, which begins where an earlier one ended.

The venue gives pages by cursors, each of which continues after a certain trade, however many come later. What one
cursor leads to never changes once it is old enough, so it is kept under that cursor in pieces of some pages. A walk
that is interrupted, or that wants older trades than the last one, finds the pieces again and continues behind them. The
newest trades have no cursor: of each walk, they are a piece that is named by the time up to which it was final, and
the next walk goes down to that time and joins it.
"""

import hashlib
from collections.abc import Awaitable, Callable, Iterator, Sequence
from itertools import pairwise
from typing import Generic, TypeAlias, TypeVar

import msgspec
import polars as pl

from pmlive.errors import ProtocolError
from pmlive.history.shelf import SETTLED_NS, Shelf
from pmlive.logs import get_logger
from pmlive.markets.http import InvalidRequestError

__all__ = [
    "PRICES",
    "TRADES",
    "Ask",
    "Page",
    "Point",
    "Priced",
    "Trade",
    "Walk",
    "Walked",
    "kept_for",
    "prices",
    "prices_page",
    "trades_page",
]


# --- pages ---
# The pages of the venue's data API: their shapes, and the rows read from them.
#
# A time is a number of seconds there; milliseconds, as the venue's other services write them, are told apart by their
# size. A number may be text. One that is null is unknown, and stays so.

T = TypeVar("T")
Number: TypeAlias = float | str | None

# A number below the first is seconds since 1970, below the second milliseconds: either is a year from 1973 to 5138.
_MILLISECONDS, _MICROSECONDS = 10**11, 10**14
_SIDES = {"BUY": "buy", "SELL": "sell"}


class Trade(msgspec.Struct, frozen=True, gc=False):
    """A fill on its taker's side; ``time`` is that of its block, in nanoseconds, exact to the second."""

    time: int
    token_id: str
    price: float | None
    size: float | None
    side: str | None
    transaction_hash: str | None
    proxy_wallet: str | None


class Point(msgspec.Struct, frozen=True, gc=False):
    """A price that was observed from ``time`` on (nanoseconds), within ``seconds``; 0 for that very second."""

    time: int
    price: float | None
    seconds: int


class Page(msgspec.Struct, Generic[T], frozen=True):
    """Rows as they came, and the cursor of the next page, if there is one."""

    rows: list[T]
    following: str | None


class _Pagination(msgspec.Struct):
    has_more: bool = False
    next_cursor: str | None = None


class _TradeRow(msgspec.Struct):
    token_id: str
    condition_id: str
    timestamp: int | float | str
    side: str | None = None
    price: Number = None
    size: Number = None
    transaction_hash: str | None = None
    proxy_wallet: str | None = None


class _PointRow(msgspec.Struct):
    timestamp: int | float | str
    price: Number = None
    resolution_seconds: int = 0


class _Trades(msgspec.Struct):
    data: list[_TradeRow]
    pagination: _Pagination


class _Points(msgspec.Struct):
    data: list[_PointRow]
    pagination: _Pagination


_TRADES, _POINTS = msgspec.json.Decoder(_Trades), msgspec.json.Decoder(_Points)


def trades_page(body: bytes, *, condition_id: str) -> Page[Trade]:
    """Read a page of the trades of one market.

    Raises:
        ProtocolError: something else was answered, or there are trades of another market.
    """
    found = _decoded(_TRADES, body)
    others = {row.condition_id for row in found.data if row.condition_id.casefold() != condition_id.casefold()}
    if others:
        raise ProtocolError(
            f"the venue was asked for the trades of market {condition_id} and answered with trades of "
            f"{min(others)[:80]!r}; nothing of it was used"
        )
    return Page([_trade(row) for row in found.data], _following(found.pagination))


def prices_page(body: bytes) -> Page[Point]:
    """Read a page of the prices of a token.

    Raises:
        ProtocolError: something else was answered.
    """
    found = _decoded(_POINTS, body)
    points = [Point(_time(row.timestamp), _number(row.price), row.resolution_seconds) for row in found.data]
    return Page(points, _following(found.pagination))


def _decoded(decoder: msgspec.json.Decoder[T], body: bytes) -> T:
    try:
        return decoder.decode(body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise ProtocolError(f"the data API answered something else than expected: {error}") from None


def _following(pagination: _Pagination) -> str | None:
    if pagination.has_more and not pagination.next_cursor:
        raise ProtocolError("the data API says that there is another page, and not how to ask for it")
    return pagination.next_cursor if pagination.has_more else None


def _trade(row: _TradeRow) -> Trade:
    return Trade(
        time=_time(row.timestamp),
        token_id=row.token_id,
        price=_number(row.price),
        size=_number(row.size),
        side=_SIDES.get((row.side or "").upper()),
        transaction_hash=row.transaction_hash or None,
        proxy_wallet=row.proxy_wallet or None,
    )


def _time(value: float | str) -> int:
    try:
        number = int(value)
    except (ValueError, OverflowError):
        raise ProtocolError(f"the time of a row is {str(value)[:40]!r}, not a number of seconds") from None
    if not 0 < number < _MICROSECONDS:
        raise ProtocolError(f"the time of a row is {number}, which is neither seconds nor milliseconds since 1970")
    return number * 10**9 if number < _MILLISECONDS else number * 10**6


def _number(value: Number) -> float | None:
    if value is None or value == "":
        return None
    try:
        number = float(value)
    except ValueError:
        raise ProtocolError(f"{str(value)[:40]!r} is not a number") from None
    return number if number - number == 0 else None  # neither infinite nor NaN


# --- walk ---

logger = get_logger(__name__)

TRADES: dict[str, pl.DataType | type[pl.DataType]] = {
    "time": pl.Int64,
    "token_id": pl.String,
    "price": pl.Float64,
    "size": pl.Float64,
    "side": pl.String,
    "transaction_hash": pl.String,
    "proxy_wallet": pl.String,
}
# Requests the page after a cursor, or the newest one.
Ask = Callable[[str | None], Awaitable[Page[Trade]]]

_HEAD = "newest-"
# Trades of a piece: ten pages.
_PIECE = 10_000
# Rows at a border that are compared: a page.
_BORDER = 1_000
_S = 10**9


class _Piece(msgspec.Struct, frozen=True):
    """Trades, the newest first, and what continues them: a cursor, the name of a newest piece, or nothing."""

    rows: pl.DataFrame
    # Of the last trade, 0 without one.
    low: int
    asked: int
    cursor: str | None = None
    joins: str | None = None
    repeated: int = 0


class Walked(msgspec.Struct, frozen=True, kw_only=True):
    """The trades of a walk, the newest first; ``ended`` says that the venue had no older ones at the time ``asked``."""

    rows: pl.DataFrame
    ended: bool
    asked: int
    requests: int
    cached: int
    repeated: int


class Walk:
    """One walk at a time ``now``, down to a time ``since``, both in nanoseconds."""

    def __init__(self, ask: Ask, shelf: Shelf, *, since: int, now: int, piece: int = _PIECE) -> None:
        """Prepare it; ``piece`` is the number of trades that are kept together."""
        self._ask = ask
        self._shelf = shelf
        self._since = since
        self._now = now
        self._piece_size = piece
        self._settled = (now - SETTLED_NS) // _S * _S
        self._requests = self._cached = 0
        self._anew = False
        self._heads: list[int] = []
        self._border: list[Trade] = []

    async def run(self) -> Walked:
        """Fetch what is not known yet.

        Raises:
            FeedError: the venue cannot be asked.
            ProtocolError: its answer is not understood, or contradicts itself.
        """
        try:
            return await self._all()
        except InvalidRequestError:
            # The venue may not know a cursor of an earlier day any more.
            if not self._cached:
                raise
        except _LostError as lost:
            logger.warning("the trades kept as %s cannot be read; all are fetched again", lost)
        self._anew, self._border, self._cached = True, [], 0
        return await self._all()

    async def _all(self) -> Walked:
        # What this walk keeps itself is not to be joined.
        self._heads = self._known_heads()
        pieces = [await self._newest()]
        while (last := pieces[-1]).low >= self._since or not last.low:
            if last.joins is not None:
                pieces.append(self._joined(last.joins))
            elif last.cursor is not None:
                low = next((piece.low for piece in reversed(pieces) if piece.low), self._now)
                pieces.append(self._known(_name(last.cursor)) or await self._fetch(last.cursor, low))
            else:
                break
        return Walked(
            rows=pl.concat([piece.rows for piece in pieces]),
            ended=pieces[-1].cursor is None and pieces[-1].joins is None,
            asked=pieces[-1].asked,
            requests=self._requests,
            cached=self._cached,
            repeated=sum(piece.repeated for piece in pieces),
        )

    async def _newest(self) -> _Piece:
        """Fetch the newest trades, down to those that an earlier walk has, and keep those that are final."""
        piece = await self._requested(None, self._now)
        final = piece.rows.filter(pl.col("time") <= self._settled)
        if not final.is_empty():
            self._keep(f"{_HEAD}{self._settled // _S:012d}", msgspec.structs.replace(piece, rows=final))
        return piece

    async def _fetch(self, cursor: str, low: int) -> _Piece:
        piece = await self._requested(cursor, low)
        self._keep(_name(cursor), piece)
        return piece

    async def _requested(self, begin: str | None, below: int) -> _Piece:
        head = next((time for time in self._heads if time < below), None)
        rows, cursor, repeated, joins = list[Trade](), begin, 0, None
        while True:
            page = await self._ask(cursor)
            self._requests += 1
            again = self._check(page, cursor)
            fresh, cursor = page.rows[again:], page.following
            repeated += again
            low = fresh[-1].time if fresh else None
            if head is not None and (cursor is None or (low is not None and low <= head)):
                rows += [row for row in fresh if row.time > head]
                joins, cursor = f"{_HEAD}{head // _S:012d}", None
                break
            rows += fresh
            # Only what is final may be kept under a cursor.
            is_piece = len(rows) >= self._piece_size and rows[-1].time <= self._settled
            if cursor is None or is_piece or (low is not None and low < self._since):
                break
        low = rows[-1].time if rows else 0
        return _Piece(_frame(rows), low, self._now, cursor, joins, repeated)

    def _known_heads(self) -> list[int]:
        """List the times up to which the newest trades of earlier walks were final, the latest first."""
        names = [name for name in self._shelf.names() if name.startswith(_HEAD)]
        times = [int(name.removeprefix(_HEAD)) * _S for name in names if name.removeprefix(_HEAD).isdigit()]
        return [] if self._anew else [time for time in sorted(times, reverse=True) if time <= self._settled]

    def _check(self, page: Page[Trade], cursor: str | None) -> int:
        """Return how many rows at the beginning of a page were at the end of the one before.

        A taker's order is one trade, so rows of two pages that are equal are one that came twice.
        """
        if page.following is not None and page.following == cursor:
            raise ProtocolError("the data API leads from a page of trades to the same page again")
        rows, border = page.rows, self._border
        longest = min(len(rows), len(border))
        again = next((count for count in range(longest, 0, -1) if border[-count:] == rows[:count]), 0)
        if any(row.time > before.time for before, row in pairwise(border[-1:] + rows[again:])):
            raise ProtocolError("the data API gave newer trades after older ones, so some may be missing; try again")
        if again == len(rows) and rows and page.following is not None:
            raise ProtocolError("the data API gave a page of trades again that it had given already")
        self._border = rows[-_BORDER:] if rows else border
        return again

    def _keep(self, name: str, piece: _Piece) -> None:
        notes = {"low": piece.low, "asked": piece.asked, "cursor": piece.cursor, "joins": piece.joins}
        self._shelf.keep(name, piece.rows, notes | {"repeated": piece.repeated})

    def _joined(self, name: str) -> _Piece:
        piece = self._known(name)
        if piece is None:
            raise _LostError(name)
        return piece

    def _known(self, name: str) -> _Piece | None:
        found = None if self._anew else self._shelf.get(name)
        if found is None:
            return None
        rows, notes = found
        piece = msgspec.convert(notes | {"rows": rows}, _Piece)
        # What it continues with must be there; or else it is fetched by its cursor.
        if piece.joins is not None and piece.joins not in self._shelf.names():
            return None
        self._cached += rows.height
        self._border = [Trade(*row) for row in rows.tail(_BORDER).rows()]
        return piece


class _LostError(Exception):
    """A piece that others join is there and cannot be read."""


def _name(cursor: str) -> str:
    return hashlib.sha256(cursor.encode()).hexdigest()[:40]


def _frame(rows: Sequence[Trade]) -> pl.DataFrame:
    columns = {name: [getattr(row, name) for row in rows] for name in TRADES}
    return pl.DataFrame(columns, schema=TRADES)


# --- prices in windows ---
# A token's prices in buckets of time, fetched window by window; windows that are over are kept.
#
# The venue serves at most 15 days at once, and keeps narrow buckets for days or weeks only. So a window that was kept
# may have what it has no more. Only whole buckets are taken: the last price of all, and the payout that ends the prices
# of a resolved market, stand beside the grid, and the payout may be dated to the end of a window that ends before it
# was known.

PRICES: dict[str, pl.DataType | type[pl.DataType]] = {"time": pl.Int64, "price": pl.Float64, "seconds": pl.Int64}
# Requests a page of a window, which begins and ends at these seconds, after a cursor.
_AskPrices = Callable[[int, int, str | None], Awaitable[Page[Point]]]

_DAY = 86_400
_LONGEST_WINDOW = 15 * _DAY
# Of a window, so that it is one page.
_MOST_POINTS = 7_200
# For how long the venue keeps buckets at least that are narrower than this (seconds); wider ones are kept for good.
_KEPT = ((300, 7), (1_800, 60), (10_800, 90))


class Priced(msgspec.Struct, frozen=True):
    """The prices of a token, the oldest first, and how they came."""

    rows: pl.DataFrame
    requests: int
    cached: int


def kept_for(bucket: int) -> int | None:
    """Return for how many days the venue keeps buckets of this many seconds at least; None is for good.

    >>> kept_for(60), kept_for(3_600), kept_for(10_800)
    (7, 90, None)
    """
    return next((days for below, days in _KEPT if bucket < below), None)


async def prices(ask: _AskPrices, shelf: Shelf, *, bucket: int, start: int, end: int, now: int) -> Priced:
    """Fetch the whole buckets of ``bucket`` seconds that begin in an interval; times are in nanoseconds.

    Raises:
        FeedError: the venue cannot be asked.
        ProtocolError: its answer is not understood.
    """
    parts: list[pl.DataFrame] = [pl.DataFrame(schema=PRICES)]
    requests = cached = 0
    until = min(end, now)
    for first, last in _windows(bucket, start, until):
        name, final = f"{first:012d}", last * _S <= now - SETTLED_NS
        known = shelf.get(name) if final else None
        if known is None:
            rows, asked = await _window(ask, first, min(last, now // _S), bucket)
            requests += asked
            # A window without a price may be one that the venue has not filled in yet.
            if final and not rows.is_empty():
                shelf.keep(name, rows, {"asked": now})
        else:
            rows = known[0]
            cached += rows.height
        parts.append(rows)
    is_wanted = (pl.col("time") >= start) & (pl.col("time") < end)
    is_over = pl.col("time") + pl.col("seconds") * _S <= now
    return Priced(pl.concat(parts).filter(is_wanted & is_over), requests, cached)


def _windows(bucket: int, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Cut an interval along windows that are the same for whatever is asked for, in seconds."""
    length = min(_LONGEST_WINDOW, _MOST_POINTS * bucket) // bucket * bucket
    first = start // _S // length * length
    while first * _S < end:
        yield first, first + length
        first += length


async def _window(ask: _AskPrices, first: int, last: int, bucket: int) -> tuple[pl.DataFrame, int]:
    points: list[Point] = []
    cursor, requests = None, 0
    while first < last:
        page = await ask(first, last, cursor)
        requests += 1
        points += page.rows
        if page.following is None:
            break
        if page.following == cursor:
            raise ProtocolError("the data API leads from a page of prices to the same page again")
        cursor = page.following
    others = {point.seconds for point in points} - {0, bucket}
    if others:
        raise ProtocolError(f"the data API was asked for prices each {bucket} s and gave some each {min(others)} s")
    grid = {point.time: point for point in points if point.seconds == bucket}
    rows = [grid[time] for time in sorted(grid)]
    columns = {name: [getattr(row, name) for row in rows] for name in PRICES}
    return pl.DataFrame(columns, schema=PRICES), requests
