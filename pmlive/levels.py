"""The two sides of a book as live and recorded books show them, and as a ladder in text."""

import sys
from collections.abc import Callable, Sequence
from html import escape
from itertools import zip_longest
from typing import Protocol

import msgspec
import polars as pl

__all__ = [
    "Levels",
    "Pretty",
    "ladder_lines",
    "pretty",
    "price_decimals",
    "price_digits",
    "share_count",
    "sparkline",
    "tick_of",
]

_SHOWN = 10
# The steps of prices that are tried where none was stated, the usual one first.
_TICKS = (0.01, 0.001, 0.0001)
# Prices are the same that differ by less than this share of a tick.
_SAME = 1e-3


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
        """Return the best levels as an HTML table, prices with the decimals of the book; the caption is escaped."""
        digits = price_digits(tick_of([price for price, _ in self.bids + self.asks]))
        lines = list(zip_longest(self.bids[:_SHOWN], self.asks[:_SHOWN]))
        rows = "".join(f"<tr>{''.join([*_cells(bid, digits)[::-1], *_cells(ask, digits)])}</tr>" for bid, ask in lines)
        names = "".join(f"<th scope='col'>{name}</th>" for name in ("bid shares", "bid, $", "ask, $", "ask shares"))
        return (
            f"<table><caption>{escape(caption)}</caption><thead><tr>{names}</tr></thead>"
            f"<tbody style='font-variant-numeric: tabular-nums'>{rows}</tbody></table>"
        )


def _cells(level: tuple[float, float] | None, digits: int) -> list[str]:
    """Write price and size; a side may have fewer levels than the other."""
    texts = ["", ""] if level is None else [f"{level[0]:.{digits}f}", share_count(level[1])]
    return [f"<td>{text}</td>" for text in texts]


def tick_of(prices: Sequence[float], stated: float | None = None) -> float:
    """Return the step of prices: the one that is stated, 0.01 by default, or a finer one if prices demand it.

    >>> tick_of([0.4, 0.41]), tick_of([0.4, 0.415]), tick_of([0.4, 0.5], 0.1)
    (0.01, 0.001, 0.1)
    """
    tried = [stated or _TICKS[0], *(tick for tick in _TICKS if stated is None or tick < stated)]
    return next((tick for tick in tried if all(map(_fits(tick), prices))), _TICKS[-1])


def _fits(tick: float) -> Callable[[float], bool]:
    return lambda price: abs(price / tick - round(price / tick)) < _SAME


def price_digits(tick: float) -> int:
    """Return the decimals that prices are written with, at least two.

    >>> price_digits(0.1), price_digits(0.001), price_digits(0.0025)
    (2, 3, 4)
    """
    return max(2, len(f"{tick:.6f}".rstrip("0").partition(".")[2]))


def price_decimals(prices: Sequence[float], *, tick_size: str | None = None) -> int:
    """Return with how many decimals to write prices, so that they stand under each other: cents at least.

    >>> price_decimals([0.4, 0.385]), price_decimals([0.4, 0.38]), price_decimals([0.4], tick_size="0.001")
    (3, 2, 3)
    """
    return price_digits(tick_of(prices, None if tick_size is None else float(tick_size)))


def share_count(shares: float) -> str:
    """Return a number of shares as text, with two decimals where it is not whole.

    >>> share_count(2134.0), share_count(57.254)
    ('2,134', '57.25')
    """
    return f"{shares:,.0f}" if shares.is_integer() else f"{shares:,.2f}"


# --- a ladder in text ---
# A book as text: the best levels of both sides beside each other, with bars as long as their sizes.

_LEVELS = 10
_BAR = 16
_STEPS = "▁▂▃▄▅▆▇█"
_ASCII_STEPS = "_.-=^"


def ladder_lines(levels: Levels, *, most: int = _LEVELS, unicode: bool | None = None) -> list[str]:
    """Return the lines of a ladder: sizes in shares, prices in dollars a share, best levels on top.

    Args:
        levels: the book.
        most: the most levels a side.
        unicode: whether blocks can be shown; by default, whether the standard output takes them.

    >>> book = Levels(bids=[(0.4, 30.0), (0.38, 7.5)], asks=[(0.42, 60.0)])
    >>> for line in ladder_lines(book, unicode=False):
    ...     print(line)
                       size   bid   ask   size
            ########  30.00  0.40  0.42  60.00  ################
                  ##   7.50  0.38
    """
    blocks = _is_unicode() if unicode is None else unicode
    bids, asks = levels.bids[:most], levels.asks[:most]
    decimals = price_decimals([price for price, _ in (*bids, *asks)])
    largest = max((size for _, size in (*bids, *asks)), default=0.0)
    places = 0 if all(size == int(size) for _, size in (*bids, *asks)) else 2
    sizes = [[f"{size:,.{places}f}" for _, size in side] for side in (bids, asks)]
    wide = [max(map(len, ("size", *side))) for side in sizes]
    price = max(len("bid"), len("0.") + decimals)
    lines = [f"{'':{_BAR}}  {'size':>{wide[0]}}  {'bid':>{price}}  {'ask':>{price}}  {'size':>{wide[1]}}"]
    for bid, bid_size, ask, ask_size in zip_longest(bids, sizes[0], asks, sizes[1]):
        left = f"{'':{_BAR}}  {'':{wide[0]}}  {'':{price}}"
        right = ""
        if bid is not None:
            bar = _bar(bid[1], largest, "█▐" if blocks else "##")[::-1]
            left = f"{bar:>{_BAR}}  {bid_size:>{wide[0]}}  {bid[0]:{price}.{decimals}f}"
        if ask is not None:
            bar = _bar(ask[1], largest, "█▌" if blocks else "##")
            right = f"  {ask[0]:{price}.{decimals}f}  {ask_size:>{wide[1]}}  {bar}"
        lines.append(f"{left}{right}".rstrip())
    return lines


def sparkline(values: Sequence[float | None], *, width: int = 60, unicode: bool | None = None) -> str:
    """Return a line of one character for each value, the last one of each part where they are more than ``width``.

    What is None leaves a space.

    >>> sparkline([0.40, 0.41, None, 0.44], unicode=True), sparkline([0.5, 0.5], unicode=True)
    ('▁▂ █', '▄▄')
    """
    steps = _STEPS if (_is_unicode() if unicode is None else unicode) else _ASCII_STEPS
    parts = min(width, len(values))
    shown = [values[(number + 1) * len(values) // parts - 1] for number in range(parts)]
    known = [value for value in shown if value is not None]
    low, high = min(known, default=0.0), max(known, default=0.0)

    def step(value: float) -> str:
        share = (value - low) / (high - low) if high > low else 0.5
        return steps[min(len(steps) - 1, int(share * len(steps) - (high == low)))]

    return "".join(" " if value is None else step(value) for value in shown)


class Pretty(Protocol):
    """What IPython gives to ``_repr_pretty_``."""

    stack: list[object]

    def text(self, obj: str) -> object:
        """Write a text."""
        ...


def pretty(thing: object, printer: Pretty) -> None:
    """Write a thing for IPython as ``print`` does if it stands alone, and in one line within others."""
    printer.text(str(thing) if len(printer.stack) <= 1 else repr(thing))


def _bar(size: float, largest: float, characters: str) -> str:
    """Return a bar in halves of a character, and at least a half for whatever there is."""
    halves = max(1, round(2 * _BAR * size / largest)) if size > 0 else 0
    return characters[0] * (halves // 2) + characters[1] * (halves % 2)


def _is_unicode() -> bool:
    encoding: str | None = getattr(sys.stdout, "encoding", None)
    return encoding is None or encoding.lower().replace("-", "").startswith("utf")
