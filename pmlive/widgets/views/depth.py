"""The book of a token at one moment: its levels, and how much rests up to each price."""

from collections.abc import Sequence
from typing import TypedDict

import numpy as np

from pmlive.manager import BookView
from pmlive.widgets.views.common import Numbers

__all__ = ["DepthView", "depth_view"]


class DepthView(TypedDict):
    """Levels are best first; ``bid_totals`` sums the sizes from the best price on. ``doubt`` says why there are none.

    ``state`` is that of the book, such as ``verified``. Where a side is empty it has no price, and there is no ``mid``.
    """

    label: str
    doubt: str
    state: str
    mid: float | None
    spread: float | None
    bid_prices: Numbers
    bid_sizes: Numbers
    bid_totals: Numbers
    ask_prices: Numbers
    ask_sizes: Numbers
    ask_totals: Numbers


def depth_view(book: BookView | None, *, label: str, doubt: str = "") -> DepthView:
    """Show a book, or why it cannot be shown."""
    bids = _columns([] if book is None else book.bids)
    asks = _columns([] if book is None else book.asks)
    return {
        "label": label,
        "doubt": doubt,
        "state": "stale" if book is None else book.state,
        "mid": None if book is None else book.mid,
        "spread": None if book is None else book.spread,
        "bid_prices": bids[0],
        "bid_sizes": bids[1],
        "bid_totals": np.cumsum(bids[1]),
        "ask_prices": asks[0],
        "ask_sizes": asks[1],
        "ask_totals": np.cumsum(asks[1]),
    }


def _columns(levels: Sequence[tuple[float, float]]) -> tuple[Numbers, Numbers]:
    prices = np.array([price for price, _ in levels], dtype=np.float64)
    sizes = np.array([size for _, size in levels], dtype=np.float64)
    return prices, sizes
