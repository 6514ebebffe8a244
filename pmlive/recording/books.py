"""A book of a recording at one time, with its quality."""

from datetime import datetime
from html import escape
from typing import Literal, TypeAlias

import msgspec
import polars as pl

from pmlive.errors import BookError

__all__ = ["Levels", "RecordedBook", "RecordedQuality"]

RecordedQuality: TypeAlias = Literal["verified", "unverifiable", "stale"]

_SHOWN = 10


class Levels(msgspec.Struct, frozen=True, gc=False):
    """Both sides of a book: (price in dollars per share, size in shares), best first."""

    bids: list[tuple[float, float]]
    asks: list[tuple[float, float]]


class RecordedBook(msgspec.Struct, frozen=True, kw_only=True):
    """The book of a token after everything that was received up to a time.

    ``quality`` is ``verified`` when the venue's hash of this token's books had been reproduced, ``unverifiable`` when
    it could not be, and ``stale`` when the book could not be trusted: it then refuses to be read, and ``last_known``
    is the last one before that could be. ``proved`` is when the book was last known to be the venue's. ``ts_event``
    and ``ts_recv`` are those of the last change. An empty side has no price.
    """

    token_id: str
    market: str
    label: str
    at: datetime
    quality: RecordedQuality
    why: str
    proved: datetime | None = None
    ts_event: datetime | None = None
    ts_recv: datetime | None = None
    levels: Levels | None = None
    last_known: "RecordedBook | None" = None

    @property
    def bids(self) -> list[tuple[float, float]]:
        """List the bids, best first.

        Raises:
            BookError: the book is stale; so for all that is read of it.
        """
        return self._trusted().bids

    @property
    def asks(self) -> list[tuple[float, float]]:
        """List the asks, best first."""
        return self._trusted().asks

    @property
    def best_bid(self) -> float | None:
        """Give the highest bid, or None."""
        return self.bids[0][0] if self.bids else None

    @property
    def best_ask(self) -> float | None:
        """Give the lowest ask, or None."""
        return self.asks[0][0] if self.asks else None

    @property
    def mid(self) -> float | None:
        """Give the middle of the best prices, or None where a side is empty."""
        if self.best_bid is None or self.best_ask is None:
            return None
        return round((self.best_bid + self.best_ask) / 2, 6)

    @property
    def spread(self) -> float | None:
        """Give best ask less best bid, or None where a side is empty."""
        if self.best_bid is None or self.best_ask is None:
            return None
        return round(self.best_ask - self.best_bid, 6)

    def frame(self) -> pl.DataFrame:
        """Give the levels as rows of side, price and size, best first."""
        rows = [("bid", *level) for level in self.bids] + [("ask", *level) for level in self.asks]
        schema = {"side": pl.Enum(["bid", "ask"]), "price": pl.Float64, "size": pl.Float64}
        return pl.DataFrame(rows, schema=schema, orient="row")

    def to_dict(self) -> dict[str, object]:
        """Give everything as JSON can hold it; a stale book has null for its sides."""
        levels = self.levels
        return {
            "token_id": self.token_id,
            "market": self.market,
            "label": self.label,
            "at": self.at.isoformat(),
            "quality": self.quality,
            "why": self.why,
            "proved": _iso(self.proved),
            "ts_event": _iso(self.ts_event),
            "ts_recv": _iso(self.ts_recv),
            "best_bid": None if levels is None else self.best_bid,
            "best_ask": None if levels is None else self.best_ask,
            "mid": None if levels is None else self.mid,
            "spread": None if levels is None else self.spread,
            "bids": None if levels is None else [list(level) for level in levels.bids],
            "asks": None if levels is None else [list(level) for level in levels.asks],
            "last_known": None if self.last_known is None else self.last_known.to_dict(),
        }

    def __repr__(self) -> str:
        """Show the top, or why there is none, in one line."""
        top = f"stale, {self.why}" if self.levels is None else f"{self.best_bid} bid, {self.best_ask} ask"
        quality = "" if self.levels is None else f", {self.quality}"
        return f"<Book of {self.label} at {self.at.isoformat()}: {top}{quality}>"

    def _repr_html_(self) -> str:
        caption = f"{escape(self.label)} at {escape(self.at.isoformat())} ({self.quality})"
        why = f"<p>{escape(self.why)}</p>"
        if self.levels is None:
            return f"<p><b>{caption}</b></p>{why}"
        cells = "".join(f"<tr><td>{bid}</td><td>{ask}</td></tr>" for bid, ask in _lines(self.levels))
        return f"<table><caption>{caption}</caption><tr><th>bid</th><th>ask</th></tr>{cells}</table>{why}"

    def _trusted(self) -> Levels:
        if self.levels is None:
            raise BookError(f"the book of {self.label} at {self.at.isoformat()} cannot be trusted: {self.why}")
        return self.levels


def _lines(levels: Levels) -> list[tuple[str, str]]:
    sides = [[f"{price:g} x {size:,.2f}" for price, size in side[:_SHOWN]] for side in (levels.bids, levels.asks)]
    rows = max(map(len, sides))
    bids, asks = ([*side, *[""] * (rows - len(side))] for side in sides)
    return list(zip(bids, asks, strict=True))


def _iso(time: datetime | None) -> str | None:
    return None if time is None else time.isoformat()
