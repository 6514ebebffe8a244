"""The walk through a market's trades, from the newest to older ones, which begins where an earlier one ended.

The venue gives pages by cursors, each of which continues after a certain trade, however many come later. What one
cursor leads to never changes once it is old enough, so it is kept under that cursor in pieces of some pages. A walk
that is interrupted, or that wants older trades than the last one, finds the pieces again and continues behind them. The
newest trades have no cursor: of each walk, they are a piece that is named by the time up to which it was final, and
the next walk goes down to that time and joins it.
"""

import hashlib
from collections.abc import Awaitable, Callable, Sequence
from itertools import pairwise

import msgspec
import polars as pl

from pmlive.errors import ProtocolError
from pmlive.history.pages import Page, Trade
from pmlive.history.shelf import SETTLED_NS, Shelf
from pmlive.logs import get_logger
from pmlive.markets.http import InvalidRequestError

__all__ = ["TRADES", "Ask", "Walk", "Walked"]

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
