"""A book as text: the best levels of both sides beside each other, with bars as long as their sizes."""

import sys
from collections.abc import Sequence
from itertools import zip_longest
from typing import Protocol

from pmlive.levels import Levels, price_decimals

__all__ = ["Pretty", "ladder_lines", "pretty", "sparkline"]

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
