"""The digest of a recording's tables: equal for the same rows, however they were batched, compressed or filed."""

import hashlib

import polars as pl

from pmlive.errors import ProtocolError
from pmlive.tables import SCHEMAS, STORED

__all__ = ["Digest"]


class Digest:
    """A digest of the rows of all tables; each table's rows are added in order of ``seq``."""

    def __init__(self) -> None:
        self._hashes = {table: hashlib.sha256() for table in STORED}
        self._last = dict.fromkeys(STORED, -1)
        self.rows = dict.fromkeys(STORED, 0)

    def add(self, table: str, frame: pl.DataFrame) -> None:
        """Add rows of a table.

        Raises:
            ProtocolError: a row belongs before those that were added already.
        """
        if not frame.height:
            return
        ordered = frame.select(SCHEMAS[table].names()).sort("seq", maintain_order=True)
        first, last = ordered["seq"][0], ordered["seq"][-1]
        if first <= self._last[table]:
            raise ProtocolError(
                f"row {first} of {table!r} comes after row {self._last[table]}; its digest is not defined"
            )
        self._last[table] = last
        self.rows[table] += ordered.height
        # One line of JSON a row: the text of a number is that of its bits, and nothing depends on how rows are batched.
        self._hashes[table].update(ordered.write_ndjson().encode())

    def hexdigest(self) -> str:
        """Return the digest of everything that was added: 64 hexadecimal digits."""
        whole = hashlib.sha256()
        for table in STORED:
            whole.update(f"{table} {self.rows[table]} {self._hashes[table].hexdigest()}\n".encode())
        return whole.hexdigest()
