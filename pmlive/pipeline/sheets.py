"""The rows under way, numbered in order of arrival."""

from collections.abc import Iterable
from typing import Literal, TypeAlias

import polars as pl

from pmlive.buffers import PACKED, PackedRows, Rows, StringTable
from pmlive.tables import SCHEMAS

__all__ = ["Making", "Sheets"]

# Rows of level changes and books are in recordings only: "all" makes them, "rolling" does not, and "numbered" does not
# either but gives the others the numbers that they would have among them.
Making: TypeAlias = Literal["all", "rolling", "numbered"]


class Sheets:
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
        """Give up what is complete: of ``book_deltas``, the rows before the first whose check is still open."""
        taken = {name: rows.take() for name, rows in self.rows.items() if len(rows)}
        if len(self.prices):
            taken["prices"] = self.prices.take()
        if len(self.book_deltas) and (deltas := self.book_deltas.take(unsettled)).height:
            taken["book_deltas"] = deltas
        return taken
