"""A token's prices in buckets of time, fetched window by window; windows that are over are kept.

The venue serves at most 15 days at once, and keeps narrow buckets for days or weeks only. So a window that was kept
may have what it has no more. Only whole buckets are taken: the last price of all, and the payout that ends the prices
of a resolved market, stand beside the grid, and the payout may be dated to the end of a window that ends before it was
known.
"""

from collections.abc import Awaitable, Callable, Iterator

import msgspec
import polars as pl

from pmlive.errors import ProtocolError
from pmlive.history.pages import Page, Point
from pmlive.history.shelf import SETTLED_NS, Shelf

__all__ = ["PRICES", "AskPrices", "Priced", "kept_for", "prices"]

PRICES: dict[str, pl.DataType | type[pl.DataType]] = {"time": pl.Int64, "price": pl.Float64, "seconds": pl.Int64}
# Requests a page of a window, which begins and ends at these seconds, after a cursor.
AskPrices = Callable[[int, int, str | None], Awaitable[Page[Point]]]

_S = 10**9
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


async def prices(ask: AskPrices, shelf: Shelf, *, bucket: int, start: int, end: int, now: int) -> Priced:
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


async def _window(ask: AskPrices, first: int, last: int, bucket: int) -> tuple[pl.DataFrame, int]:
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
