"""The rows under way, numbered in order of arrival."""

from collections.abc import Iterable

import polars as pl

from pmlive.tables import SCHEMAS, Rows

__all__ = ["Sheets"]


class Sheets:
    """One buffer of rows per table, and the number that the next row or frame gets."""

    def __init__(self, *, storing: bool = True) -> None:
        self.seq = 1
        self.storing = storing
        self.tables = {name: Rows(name) for name in SCHEMAS}

    def put(self, table: str, ts_event: int | None, recv: int, conn: int, values: Iterable[object]) -> None:
        """Append one row."""
        self.tables[table].put((self.seq, ts_event, recv, conn, *values))
        self.seq += 1

    def take(self, unsettled: int | None) -> dict[str, pl.DataFrame]:
        """Give up what is complete: of ``book_deltas``, the rows before the first whose check is still open."""
        return {
            name: rows.take(unsettled if name == "book_deltas" else None)
            for name, rows in self.tables.items()
            if len(rows)
        }
