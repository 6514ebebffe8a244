"""The rows under way, numbered in order of arrival."""

from collections.abc import Iterable

import polars as pl

from pmlive.buffers import PACKED, Names, Packed, Rows
from pmlive.tables import SCHEMAS

__all__ = ["Sheets"]


class Sheets:
    """One buffer of rows per table, and the number that the next row or frame gets."""

    def __init__(self, *, storing: bool = True) -> None:
        self.seq = 1
        self.storing = storing
        self.names = Names()
        self.prices, self.book_deltas = self.packed = [Packed(name, self.names) for name in PACKED]
        self.rows = {name: Rows(name) for name in SCHEMAS if name not in PACKED}

    def put(self, table: str, ts_event: int | None, recv: int, conn: int, values: Iterable[object]) -> None:
        """Append one row."""
        self.rows[table].put((self.seq, ts_event, recv, conn, *values))
        self.seq += 1

    def take(self, unsettled: int | None) -> dict[str, pl.DataFrame]:
        """Give up what is complete: of ``book_deltas``, the rows before the first whose check is still open."""
        taken = {"prices": self.prices.take(), "book_deltas": self.book_deltas.take(unsettled)}
        taken |= {name: rows.take() for name, rows in self.rows.items() if len(rows)}
        return {name: frame for name, frame in taken.items() if frame.height}
