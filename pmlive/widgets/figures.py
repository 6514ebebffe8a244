"""The charts as matplotlib figures, for papers and for notebooks that are read without a kernel.

A figure has a canvas of its own and pyplot knows nothing of it, so figures can be made in any thread.
"""

# matplotlib's stubs leave the types of data open.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false

import threading
from functools import cache
from io import BytesIO
from typing import cast

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.dates import date2num
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, get_font

from pmlive.widgets.views import DepthView, HeatView, Numbers, PriceView
from pmlive.widgets.views.common import GapView
from pmlive.widgets.views.heat import LEVELS

__all__ = ["draw_depth", "draw_heat", "draw_price", "new_figure", "png"]

_BID, _ASK, _MID, _GAP = "#0f8a6d", "#cf3f55", "#3267c8", "#f58c00"
_DPI = 100
# Of several threads that draw at once, fonts are not safe.
_drawing = threading.Lock()


def new_figure(rows: int = 1) -> tuple[Figure, list[Axes]]:
    """Make a figure of charts under each other."""
    figure = Figure(figsize=(9, 2.9 * rows), dpi=_DPI, layout="constrained")
    FigureCanvasAgg(figure)
    return figure, [figure.add_subplot(rows, 1, row + 1) for row in range(rows)]


def png(figure: Figure) -> bytes:
    """Draw a figure."""
    file = BytesIO()
    with _drawing:
        figure.savefig(file, format="png")
    return file.getvalue()


def draw_price(axes: Axes, view: PriceView) -> None:
    """Draw prices, trades and gaps."""
    now = _end(view["now"], view["times"])
    # The last prices hold until now.
    times = _dates(np.append(view["times"], np.full_like(view["times"][-1:], now)))
    bids, asks, mids = (np.append(prices, prices[-1:]) for prices in (view["bids"], view["asks"], view["mids"]))
    axes.fill_between(times, bids, asks, step="post", color=_MID, alpha=0.12, linewidth=0)
    for name, prices, colour in (("bid", bids, _BID), ("ask", asks, _ASK), ("mid", mids, _MID)):
        axes.step(times, prices, where="post", color=colour, linewidth=1, label=name)
    for buys, colour, mark in ((1.0, _BID, "^"), (0.0, _ASK, "v")):
        which = view["trade_buys"] == buys
        sizes = 8 + 12 * np.log10(1 + view["trade_sizes"][which])
        axes.scatter(
            _dates(view["trade_times"][which]), view["trade_prices"][which], s=sizes, c=colour, marker=mark, zorder=3
        )
    _finish(axes, view, now, view["times"])
    axes.set_ylabel("price, $ a share")
    axes.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=3, fontsize=8, frameon=False)
    _title(axes, view["label"], view["doubt"])


def draw_depth(axes: Axes, view: DepthView) -> None:
    """Draw cumulative depth."""
    for prices, totals, colour, name in (
        (view["bid_prices"], view["bid_totals"], _BID, "bid"),
        (view["ask_prices"], view["ask_totals"], _ASK, "ask"),
    ):
        axes.fill_between(prices, totals, step="post", color=colour, alpha=0.25)
        axes.step(prices, totals, where="post", color=colour, linewidth=1, label=name)
    axes.set_ylim(bottom=0)
    axes.set_xlabel("price, $ a share")
    axes.set_ylabel("shares up to it")
    _title(axes, view["label"], view["doubt"])


def draw_heat(axes: Axes, view: HeatView) -> None:
    """Draw liquidity over time."""
    now = _end(view["now"], view["times"])
    if len(view["times"]):
        _draw_slices(axes, view, now)
    _finish(axes, view, now, view["times"])
    axes.set_ylabel("price, $ a share")
    _title(axes, view["label"], view["doubt"])


def _draw_slices(axes: Axes, view: HeatView, now: float) -> None:
    ticks = np.diff(np.unique(view["prices"][np.isfinite(view["prices"])].round(6)))
    tick = float(ticks.min()) if len(ticks) else 0.01
    low, high = float(np.nanmin(view["prices"])), float(np.nanmax(view["prices"]))
    # Slices as evenly spaced columns, each as it was last.
    columns = np.arange(view["times"][0], now + view["slice"], view["slice"])
    shown = np.searchsorted(view["times"], columns, side="right") - 1
    axes.xaxis_date("UTC")
    spanned = _dates(columns[[0, -1]] + [0, view["slice"]])
    first, last = cast("list[float]", date2num(spanned))
    for half, colours in ((slice(0, LEVELS), "Greens"), (slice(LEVELS, None), "Reds")):
        grid = _grid(view["prices"][shown, half], view["sizes"][shown, half], low, high, tick)
        axes.imshow(
            np.log1p(grid),
            extent=(first, last, low - tick / 2, high + tick / 2),
            origin="lower",
            aspect="auto",
            cmap=colours,
            interpolation="none",
        )


def _grid(prices: Numbers, sizes: Numbers, low: float, high: float, tick: float) -> Numbers:
    """Spread levels over the rows of a picture, one a tick."""
    grid = np.full((round((high - low) / tick) + 1, len(prices)), np.nan)
    column, level = np.nonzero(np.isfinite(prices))
    row = np.rint((prices[column, level] - low) / tick).astype(int)
    grid[row, column] = sizes[column, level]
    return grid


def _end(now: float, times: Numbers) -> float:
    return max(now, float(times[-1])) if len(times) else now


def _finish(axes: Axes, view: PriceView | HeatView, now: float, times: Numbers) -> None:
    """Shade what cannot be trusted, and show the time that was asked for, but none before there was anything."""
    first = min(float(times[0]) if len(times) else now, now - 1000)
    begin, end = _dates(np.array([max(first, now - view["window"]) if view["window"] else first, now]))
    _shade(axes, view, now)
    axes.set_xlim(begin, end)
    axes.set_xlabel("UTC")


def _shade(axes: Axes, view: GapView, now: float) -> None:
    ends = np.where(np.isnan(view["gap_ends"]), now, view["gap_ends"])
    for start, end in zip(_dates(view["gap_starts"]), _dates(ends), strict=True):
        axes.axvspan(start, end, color=_GAP, alpha=0.22, linewidth=0)


def _title(axes: Axes, label: str, doubt: str) -> None:
    # Titles are strangers' text: no formulas are read out of them.
    axes.set_title(_printable(label), fontsize=10, loc="left", parse_math=False)
    if doubt:
        axes.set_facecolor("#e0e0e0")
        axes.text(0.5, 0.5, _printable(doubt), transform=axes.transAxes, ha="center", wrap=True, parse_math=False)


def _dates(times: Numbers) -> np.ndarray[tuple[int, ...], np.dtype[np.datetime64]]:
    return times.astype("datetime64[ms]")


@cache
def _drawable() -> frozenset[int]:
    return frozenset(get_font(findfont(FontProperties())).get_charmap())


def _printable(text: str) -> str:
    """Put a mark in place of letters that the font does not have."""
    return "".join(letter if ord(letter) in _drawable() else "\N{WHITE SQUARE}" for letter in text)
