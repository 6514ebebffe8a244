"""Many books from level changes at once, with arrays: what each held after so many changes.

Changes are in the order in which they apply. A *reset* at a position empties a token's book before the change there: a
whole book is a reset followed by its levels, of which there has to be one, if only of no size. Each price of each side
of each token is one cell of an array; many changes are then one assignment, of which the last to a cell counts.
"""

from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
import polars as pl

__all__ = ["Changes", "Floats", "Ladders", "Resets", "Whole", "lists"]

Floats: TypeAlias = npt.NDArray[np.float64]
Whole: TypeAlias = npt.NDArray[np.int64]

# Nearly all prices are on this grid, where cells are found without sorting.
_GRID = 10_000


class Changes(NamedTuple):
    """Level changes: a token's number, whether it is a bid, a price, and the new total there (0: none)."""

    token: Whole
    bid: npt.NDArray[np.bool_]
    price: Floats
    size: Floats


class Resets(NamedTuple):
    """Where books begin anew: before the change at each position (ascending) the token's book is empty."""

    position: Whole
    token: Whole


class Ladders:
    """The books of ``tokens`` tokens, after none of the changes at first."""

    def __init__(self, changes: Changes, resets: Resets, *, tokens: int) -> None:
        self._token, self._size, self._resets, self._tokens = changes.token, changes.size, resets, tokens
        price, self._cell, bounds = _cells(changes, tokens)
        self._price = price
        # Where the cells of each side of each token begin, best price first: the bids of token n are side 2n.
        self._bounds = bounds
        self._held: Floats = np.zeros(len(price))
        self._at = self._reset_at = 0

    def advance(self, position: int) -> None:
        """Apply the changes before a position, which is not before the last one."""
        start, self._at = self._at, max(self._at, position)
        first = self._reset_at
        self._reset_at = int(np.searchsorted(self._resets.position, self._at))
        if self._reset_at > first:
            self._forget(start, first)
            return
        self._held[self._cell[start : self._at]] = self._size[start : self._at]

    def best(self, levels: int) -> tuple[Floats, Floats]:
        """Give prices and sizes of the best levels, a row for each side of each token, filled up with NaN."""
        alive = np.flatnonzero(self._held)
        bounds = np.searchsorted(alive, self._bounds)
        column = np.arange(levels)
        there = column < (bounds[1:] - bounds[:-1])[:, None]
        if not len(alive):
            nothing = np.full(there.shape, np.nan)
            return nothing, nothing
        cells = alive[np.minimum(bounds[:-1, None] + column, len(alive) - 1)]
        return np.where(there, self._price[cells], np.nan), np.where(there, self._held[cells], np.nan)

    def levels(self) -> int:
        """Count the levels of all books."""
        return int(np.count_nonzero(self._held))

    def _forget(self, start: int, first: int) -> None:
        """Apply changes among which books begin anew: what came before the last beginning does not matter."""
        last = np.zeros(self._tokens, dtype=np.int64)
        tokens = self._resets.token[first : self._reset_at]
        last[tokens] = self._resets.position[first : self._reset_at]
        for token in np.unique(tokens):
            self._held[self._bounds[2 * token] : self._bounds[2 * token + 2]] = 0.0
        part = slice(start, self._at)
        kept = np.arange(start, self._at) >= last[self._token[part]]
        self._held[self._cell[part][kept]] = self._size[part][kept]


def _cells(changes: Changes, tokens: int) -> tuple[Floats, Whole, Whole]:
    """Number the levels that occur, best first: give their prices, each change's level, and where sides begin."""
    tick = np.rint(changes.price * _GRID).astype(np.int64)
    width = _GRID + 1
    if not np.array_equal(tick / _GRID, changes.price):
        prices, tick = np.unique(changes.price, return_inverse=True)
        width = max(1, len(prices))
    else:
        prices = np.arange(width) / _GRID
    rank = np.where(changes.bid, width - 1 - tick, tick)
    key = (2 * changes.token + ~changes.bid) * width + rank
    seen = np.zeros(2 * tokens * width, dtype=np.bool_)
    seen[key] = True
    found = np.flatnonzero(seen)
    number = np.cumsum(seen, dtype=np.int32)
    side, rank = np.divmod(found, width)
    bounds = np.searchsorted(found, np.arange(2 * tokens + 1) * width)
    cells: Whole = (number[key] - 1).astype(np.int64)
    return prices[np.where(side % 2 == 0, width - 1 - rank, rank)], cells, bounds


def lists(values: Floats) -> pl.Series:
    """Write rows that are filled up with NaN as lists without it."""
    return (
        pl.Series(values, dtype=pl.Array(pl.Float64, values.shape[1])).arr.to_list().list.eval(pl.element().drop_nans())
    )
