"""The pages of the venue's data API: their shapes, and the rows read from them.

A time is a number of seconds there; milliseconds, as the venue's other services write them, are told apart by their
size. A number may be text. One that is null is unknown, and stays so.
"""

from typing import Generic, TypeAlias, TypeVar

import msgspec

from pmlive.errors import ProtocolError

__all__ = ["Page", "Point", "Trade", "prices_page", "trades_page"]

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
