"""The frames of a recording that stand for tables that it has not: read when they are used, and callable for parts."""

from collections.abc import Callable

import polars as pl

from pmlive.analysis import Touched
from pmlive.times import Interval, Time

__all__ = ["DepthFrame", "PricesFrame"]


class _ReadLater(pl.DataFrame):
    """A frame that is read when it is first used; what polars makes of it is a plain ``pl.DataFrame``."""

    def __init__(self, read: Callable[[], pl.DataFrame], part: Callable[..., pl.DataFrame]) -> None:
        self._read = read
        self._part = part

    def __reduce__(self) -> tuple[type[pl.DataFrame], tuple[list[pl.Series]]]:
        """Copy the rows, and leave the recording out."""
        return pl.DataFrame, (self.get_columns(),)

    def __getattr__(self, name: str) -> object:
        """Read the rows: what polars keeps them in is missing until then."""
        read = self.__dict__.get("_read")
        if read is None:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        super().__init__(read())
        del self._read
        return getattr(self, name)


class PricesFrame(_ReadLater):
    """Every change of the best prices of all books, as ``live.prices`` has them; call it for a part or a grid."""

    def __call__(
        self,
        token: str | None = None,
        every: Interval | None = None,
        *,
        outcome: str | None = None,
        start: Time | None = None,
        end: Time | None = None,
        gaps: Touched = "flag",
    ) -> pl.DataFrame:
        """Return each change of the best prices of a book, or of all; with ``every``, those at interval ends.

        Intervals are left-closed and named by their start in ``time``. Where a book could not be trusted at the end
        of an interval, its prices are null: nothing is carried over a gap. With ``gaps="drop"`` the interval is left
        out, and with ``"exclude"`` it has the last prices in it that could be trusted, and ``covered`` says in which
        share of the interval, 0 to 1, the book could be. ``pmlive.analysis.time_weighted_mean`` has averages.

        Args:
            token: a token, as ``book_at`` takes it.
            every: the length of an interval, such as ``"500ms"`` or ``"1m"``.
            outcome: the outcome, where ``token`` is a market's slug or condition id.
            start: the first time, by default that of the first record.
            end: the time before which it ends, by default after the last record.
            gaps: what becomes of an interval at whose end the book could not be trusted.

        Raises:
            UnknownMarketError: no recorded token matches, or several do.
            ValueError: the interval is not positive, there are too many, or there is none and ``gaps`` is given.
        """
        return self._part(token, every, outcome=outcome, start=start, end=end, gaps=gaps)


class DepthFrame(_ReadLater):
    """The best ten levels of all books, a row for each change that lasted for a tenth of a second; call it for a grid.

    Of a long recording a row is for each change that lasted longer, so that there are 200,000 a book at most.
    """

    def __call__(
        self,
        token: str,
        every: Interval = "1s",
        levels: int = 10,
        *,
        outcome: str | None = None,
        start: Time | None = None,
        end: Time | None = None,
    ) -> pl.DataFrame:
        """Return the best levels of a book at the end of each interval; ``time`` is the interval's start.

        Intervals are left-closed: what came exactly at an interval's end is in the next one. Where the book could not
        be trusted at the end of an interval, its lists are null and ``quality`` is ``stale``; an empty list is an
        empty side. ``token_id``, ``slug`` and ``outcome`` come last, so that the rows of several books can be put
        together with ``pl.concat``.

        Args:
            token: a token, as ``book_at`` takes it.
            every: the length of an interval, such as ``"500ms"`` or ``"1m"``.
            levels: the largest number of levels on a side.
            outcome: the outcome, where ``token`` is a market's slug or condition id.
            start: the first interval has this time; by default the first record's.
            end: the last interval begins before this time; by default with the last record.

        Raises:
            UnknownMarketError: no recorded token matches, or several do.
            ValueError: the interval or the number of levels is not positive, or there are too many intervals.
        """
        return self._part(token, every, levels, outcome=outcome, start=start, end=end)
