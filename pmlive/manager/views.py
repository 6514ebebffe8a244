"""A book of a manager, to look at."""

from collections.abc import Sequence
from datetime import datetime
from html import escape
from typing import Literal, TypeAlias

import msgspec
import polars as pl

from pmlive.errors import BookError
from pmlive.events import Gap, epoch_ns
from pmlive.pipeline import Token
from pmlive.times import moment, utc

__all__ = ["AwaitedError", "BookView", "view"]


class AwaitedError(BookError):
    """The opening book of a token is on its way."""


BookState: TypeAlias = Literal["verified", "unverifiable"]


class BookView(msgspec.Struct, frozen=True, kw_only=True):
    """A trusted book at one moment: levels are (price in dollars per share, size in shares), best first.

    ``state`` is ``verified`` when the venue's hash of this token's books can be reproduced. Empty sides have no price.
    """

    token_id: str
    market: str
    label: str
    bids: list[tuple[float, float]]
    asks: list[tuple[float, float]]
    state: BookState
    ts_event: datetime
    ts_recv: datetime

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

    def __repr__(self) -> str:
        """Show the top in one line."""
        return f"<Book of {self.label}: {self.best_bid} bid, {self.best_ask} ask, {self.state}>"

    def _repr_html_(self) -> str:
        cells = "".join(
            f"<tr><td>{bid}</td><td>{ask}</td></tr>"
            for bid, ask in zip(_lines(self.bids), _lines(self.asks), strict=False)
        )
        caption = f"{escape(self.label)} ({self.state})"
        return f"<table><caption>{caption}</caption><tr><th>bid</th><th>ask</th></tr>{cells}</table>"


def _lines(levels: Sequence[tuple[float, float]], most: int = 10) -> list[str]:
    lines = [f"{price:g} x {size:,.2f}" for price, size in levels[:most]]
    return lines + [""] * (most - len(lines))


def view(token: Token, label: str, depth: int | None, *, stopped: Gap | None = None) -> BookView:
    """Copy a book; while all that the process missed when it was ``stopped`` is not read yet there is none.

    Raises:
        BookError: the book cannot be trusted now.
    """
    if (gap := token.gap or stopped) is not None:
        back = "the next whole book or a hash that fits" if token.gap else "what was sent meanwhile has been read"
        raise BookError(
            f"the book of {label} cannot be trusted since {utc(gap.started)} UTC ({gap.cause}: {gap.detail}); "
            f"it is back after {back}",
            cause=gap.cause,
            since=moment(gap.started),
        )
    if token.over and not token.conn:
        raise BookError(f"the market of {label} was resolved; it has no book any more")
    if not token.conn:
        raise AwaitedError(f"the book of {label} has not come yet; try again in a moment")
    return BookView(
        token_id=token.id,
        market=token.market,
        label=label,
        bids=token.book.levels("bid", depth),
        asks=token.book.levels("ask", depth),
        state="verified" if token.proof.established else "unverifiable",
        ts_event=moment(epoch_ns(token.timestamp)),
        ts_recv=moment(token.heard),
    )
