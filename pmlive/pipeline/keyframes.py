"""The state that a segment begins with, where it comes in parts: what of it is to come, and its rows of ``keyframes``.

To write the books of all tokens takes seconds where there are many, so it is done between other things. The state of a
token comes before the first record that changes it: whenever it comes, it is that of the beginning.
"""

import polars as pl

from pmlive.records import Parts

__all__ = ["StateParts"]


class StateParts:
    """Which states are to come; their rows are held until all of them came.

    A reader takes rows that are not ``alone`` for those of all tokens, so where some stay away the others are alone.
    """

    def __init__(self) -> None:
        self._told: Parts | None = None
        self._first = 0
        self._left = 0
        self._came: set[str | int] = set()
        self._held: list[pl.DataFrame] = []
        # The numbers of rows that were to be those of all tokens and are not.
        self._incomplete: list[range] = []

    def begin(self, told: Parts, seq: int) -> None:
        """Expect states from the record with this number on; those of their rows come before it."""
        self.give_up()
        self._first, self._left = seq - told.places, told.tokens + told.links
        self._told = told if self._left else None

    def row(self, place: int) -> int:
        """Return the number of the row of a token by its place, which begins with 1."""
        return self._first + place - 1

    def note(self, key: str | int, at: int) -> bool:
        """Note the state of a token or a connection that came, and when it was so (0: now).

        Return whether it is part of a whole state. One of another time says that no others will come.
        """
        if self._told is None or at != self._told.at:
            self.give_up()
            return not at
        self._came.add(key)
        self._left -= 1
        if not self._left:
            self._end()
        return True

    def lacks(self, token_id: str, place: int) -> bool:
        """Return whether the state of a token is yet to come."""
        return self._told is not None and place <= self._told.places and token_id not in self._came

    def lacks_link(self, conn: int, opened: int) -> bool:
        """Return whether the state of a connection is yet to come."""
        return self._told is not None and opened <= self._told.at and conn not in self._came

    @property
    def awaited(self) -> bool:
        """Whether states are yet to come."""
        return self._told is not None

    def give_up(self) -> None:
        """Note that no more will come."""
        if self._told is not None:
            self._incomplete.append(range(self._first, self._first + self._told.places))
            self._end()

    def forget(self) -> None:
        """Forget what is to come and the rows that are held."""
        self._end()
        self._held, self._incomplete = [], []

    def take(self, rows: pl.DataFrame | None, *, parts: bool) -> pl.DataFrame | None:
        """Take new rows of ``keyframes``, and return those that are complete, or with ``parts`` all that there are."""
        if rows is not None:
            self._held.append(rows)
        if not self._held or (self._told is not None and not parts):
            return None
        whole, self._held = pl.concat(self._held), []
        for numbers in self._incomplete:
            is_part = pl.col("seq").is_between(numbers.start, numbers.stop, closed="left")
            whole = whole.with_columns(alone=pl.col("alone") | is_part)
        self._incomplete = []
        return whole

    def _end(self) -> None:
        self._told, self._left = None, 0
        self._came = set()
