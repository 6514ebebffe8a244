"""The two sides of a book, as live and recorded books show them."""

from collections.abc import Iterable
from html import escape

import msgspec
import polars as pl

__all__ = ["Levels", "price_decimals", "share_count"]

_SHOWN = 10
# Prices are shown with two decimals at least.
_CENTS = 2


class Levels(msgspec.Struct, frozen=True):
    """Both sides of a book: (price in dollars per share, size in shares), best first. An empty side has no price."""

    bids: list[tuple[float, float]]
    asks: list[tuple[float, float]]

    @property
    def best_bid(self) -> float | None:
        """The highest bid, or None."""
        return self.bids[0][0] if self.bids else None

    @property
    def best_ask(self) -> float | None:
        """The lowest ask, or None."""
        return self.asks[0][0] if self.asks else None

    @property
    def mid(self) -> float | None:
        """The middle of the best prices, or None where a side is empty."""
        if self.best_bid is None or self.best_ask is None:
            return None
        return round((self.best_bid + self.best_ask) / 2, 6)

    @property
    def spread(self) -> float | None:
        """Best ask less best bid, or None where a side is empty."""
        if self.best_bid is None or self.best_ask is None:
            return None
        return round(self.best_ask - self.best_bid, 6)

    @property
    def top(self) -> str:
        """The best prices in words, written alike."""
        best = [price for price in (self.best_bid, self.best_ask) if price is not None]
        decimals = price_decimals(best)
        bid, ask = (
            f"no {side}" if price is None else f"{price:.{decimals}f} {side}"
            for side, price in (("bid", self.best_bid), ("ask", self.best_ask))
        )
        return f"{bid}, {ask}"

    def frame(self) -> pl.DataFrame:
        """Return the levels as a frame with side, price and size, best first."""
        rows = [("bid", *level) for level in self.bids] + [("ask", *level) for level in self.asks]
        schema = {"side": pl.Enum(["bid", "ask"]), "price": pl.Float64, "size": pl.Float64}
        return pl.DataFrame(rows, schema=schema, orient="row")

    def html(self, caption: str) -> str:
        """Return the best levels as an HTML table; the caption is escaped."""
        shown = self.bids[:_SHOWN], self.asks[:_SHOWN]
        decimals = price_decimals(price for side in shown for price, _ in side)
        bids, asks = ([f"{price:.{decimals}f} x {share_count(size)}" for price, size in side] for side in shown)
        lines = max(len(bids), len(asks))
        padded = zip(*(side + [""] * (lines - len(side)) for side in (bids, asks)), strict=True)
        cells = "".join(f"<tr><td>{bid}</td><td>{ask}</td></tr>" for bid, ask in padded)
        return f"<table><caption>{escape(caption)}</caption><tr><th>bid</th><th>ask</th></tr>{cells}</table>"


def share_count(shares: float) -> str:
    """Return a number of shares as text, with two decimals where it is not whole.

    >>> share_count(2134.0), share_count(57.254)
    ('2,134', '57.25')
    """
    return f"{shares:,.0f}" if shares.is_integer() else f"{shares:,.2f}"


def price_decimals(prices: Iterable[float], *, tick_size: str | None = None) -> int:
    """Return with how many decimals to write prices, so that they stand under each other: cents at least.

    >>> price_decimals([0.4, 0.385]), price_decimals([0.4, 0.38]), price_decimals([0.4], tick_size="0.001")
    (3, 2, 3)
    """
    texts = [f"{price:.6f}".rstrip("0") for price in prices] + ([] if tick_size is None else [tick_size.rstrip("0")])
    return max([_CENTS, *(len(text.partition(".")[2]) for text in texts)])
