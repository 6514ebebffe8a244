"""What a chart's axes and shades are, one rule for both renderers: scripts are given these numbers as ``SCALES``.

How opaque a level of the liquidity chart is goes with the square root of its size, since sizes differ by powers of ten.
``js/shared.js`` has the same functions, and a test compares the two.
"""

from typing import Final

import numpy as np

from pmlive.widgets.views import Numbers

__all__ = [
    "SCALES",
    "begin_ms",
    "depth_limits",
    "heat_limits",
    "level_share",
    "opacity",
    "price_limits",
]

# How much is shown of everything while nothing is known.
_UNKNOWN_MS = 60_000.0
# Prices that are closer are the same.
_SAME = 1e-6

SCALES: Final = {
    # The opacity of the smallest level; the largest that is shown has 1.
    "faintest": 0.06,
    # The most of the height of a liquidity chart that one level has.
    "tallest": 0.06,
    # The levels of liquidity beyond these shares of all are left out: one at 0.99 would leave the others no room.
    "farthest": 0.005,
    # The steps of prices where no two levels tell them.
    "tick": 0.01,
    # Room above and below prices, as a share of their height, and at least so many dollars.
    "room": 0.08,
    "least_room": 0.002,
    # The best levels of a side that the depth chart shows: a book reaches from 0.01 to 0.99.
    "depth_levels": 15,
    "depth_room": 0.08,
}


def opacity(sizes: Numbers, most: float) -> Numbers:
    """Return how opaque levels are, of which the largest has ``most`` shares."""
    faintest = SCALES["faintest"]
    return np.asarray(faintest + (1 - faintest) * np.sqrt(np.minimum(1.0, sizes / most)), dtype=np.float64)


def begin_ms(times: Numbers, now: float, window: float) -> float:
    """Return the time at which a chart begins, of a window (0: everything) that ends now, all in milliseconds.

    It begins not before the first of ``times``; where there are none, the window is shown as it will be.
    """
    if not len(times):
        return now - (window or _UNKNOWN_MS)
    first = min(float(times[0]), now - 1000)
    return max(first, now - window) if window else first


def price_limits(low: float, high: float) -> tuple[float, float]:
    """Return how far the axis of prices from ``low`` to ``high`` reaches."""
    room = max((high - low) * SCALES["room"], SCALES["least_room"])
    return max(0.0, low - room), min(1.0, high + room)


def heat_limits(prices: Numbers) -> tuple[float, float, float]:
    """Return the lowest and the highest price of a chart of ladders, and the step of prices.

    Args:
        prices: a row for each slice, the best bids and then the best asks; NaN where there are fewer levels.

    >>> low, high, tick = heat_limits(np.array([[0.4, 0.38, np.nan, 0.5, 0.52, np.nan]]))
    >>> round(low, 6), round(high, 6), round(tick, 6)
    (0.37, 0.53, 0.01)
    """
    steps = np.abs(np.diff(prices, axis=1))
    steps = steps[np.isfinite(steps) & (steps > _SAME)]
    tick = min(float(steps.min(initial=np.inf)), SCALES["tick"])
    levels = np.sort(prices[np.isfinite(prices)])
    if not len(levels):
        return 0.0, 1.0, tick
    first, last = (int(share * (len(levels) - 1) + 0.5) for share in (SCALES["farthest"], 1 - SCALES["farthest"]))
    return float(levels[first]) - tick, float(levels[last]) + tick, tick


def level_share(low: float, high: float, tick: float) -> float:
    """Return the share of the height of a tick that a level has: of few ticks, levels as high would be blocks."""
    return min(1.0, SCALES["tallest"] * (high - low) / tick)


def depth_limits(totals: Numbers) -> tuple[float, float]:
    """Return how far the axis of cumulative depth reaches."""
    return 0.0, (1 + SCALES["depth_room"]) * float(totals.max(initial=1.0))
