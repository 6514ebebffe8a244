"""The charts as matplotlib figures, for papers and for notebooks that are read without a kernel.

A figure has a canvas of its own and pyplot knows nothing of it, so figures can be made in any thread; a notebook shows
them all the same.
"""

# matplotlib's stubs leave the types of data open.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false

import threading
from functools import cache
from io import BytesIO
from textwrap import fill
from typing import TypeAlias, cast

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.dates import date2num
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, get_font

from pmlive.widgets.views import DepthView, HeatView, Numbers, PriceView
from pmlive.widgets.views.common import GapView
from pmlive.widgets.views.heat import LEVELS

Dates: TypeAlias = np.ndarray[tuple[int, ...], np.dtype[np.datetime64]]

__all__ = ["LOST", "TRUSTED", "Drawn", "draw_depth", "draw_heat", "draw_price", "new_figure", "png", "printable"]

_BID, _ASK, _MID, _GAP = "#2e7d32", "#c62828", "#1565c0", "#ff9800"
# What was known well, and what was not.
TRUSTED, LOST = "#7da7d9", _GAP
_DPI = 100
# Letters in a line of what is said across a chart.
_LINE = 100
# Of several threads that draw at once, fonts are not safe.
_drawing = threading.Lock()


class Drawn(Figure):
    """A figure that notebooks show as a picture, which they do to pyplot's alone otherwise."""

    def _repr_png_(self) -> bytes:
        return png(self)


def new_figure(rows: int = 1, *, height: float = 2.9) -> tuple[Figure, list[Axes]]:
    """Make a figure of charts under each other, each so many inches high."""
    figure = Drawn(figsize=(9, height * rows), dpi=_DPI, layout="constrained")
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
    times, (bids, asks, mids) = _corners(view, now)
    axes.fill_between(times, bids, asks, color=_MID, alpha=0.12, linewidth=0)
    for name, prices, colour in (("bid", bids, _BID), ("ask", asks, _ASK), ("mid", mids, _MID)):
        axes.plot(times, prices, color=colour, linewidth=1, label=name)
    for buys, colour, mark in ((1.0, _BID, "^"), (0.0, _ASK, "v")):
        which = view["trade_buys"] == buys
        sizes = 8 + 12 * np.log10(1 + view["trade_sizes"][which])
        axes.scatter(
            _dates(view["trade_times"][which]), view["trade_prices"][which], s=sizes, c=colour, marker=mark, zorder=3
        )
    _finish(axes, view, now, view["times"])
    axes.set_ylabel("price, $ a share")
    _legend(axes, 3)
    _title(axes, view["label"], view["doubt"])


def _corners(view: PriceView, now: float) -> tuple[Dates, list[Numbers]]:
    """Give bid, ask and middle where their lines turn: each holds until the next, the last until now, none in a gap."""
    times = np.unique(np.concatenate([view["times"], view["gap_starts"], view["gap_ends"], [now]]))
    times = times[np.isfinite(times)]
    # Before the first there is none, which is the one appended.
    last = np.searchsorted(view["times"], times, side="right") - 1
    untold = _in_gaps(view, times)
    prices = [np.where(untold, np.nan, np.append(view[name], np.nan)[last]) for name in ("bids", "asks", "mids")]
    return _dates(np.repeat(times, 2)[1:]), [np.repeat(each, 2)[:-1] for each in prices]


def _in_gaps(view: GapView, times: Numbers) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    ends = np.where(np.isnan(view["gap_ends"]), np.inf, view["gap_ends"])
    return np.logical_or.reduce((times >= view["gap_starts"][:, None]) & (times < ends[:, None]), axis=0)


def draw_depth(axes: Axes, view: DepthView) -> None:
    """Draw cumulative depth."""
    for prices, totals, colour, name in (
        (view["bid_prices"], view["bid_totals"], _BID, "bid"),
        (view["ask_prices"], view["ask_totals"], _ASK, "ask"),
    ):
        axes.fill_between(prices, totals, step="post", color=colour, alpha=0.25)
        axes.step(prices, totals, where="post", color=colour, linewidth=1, label=name)
    _legend(axes, 2)
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
    axes.set_title("darker: more shares, log scale", fontsize=8, loc="right")
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
    untold = _in_gaps(view, columns)
    for half, colours in ((slice(0, LEVELS), "Greens"), (slice(LEVELS, None), "Reds")):
        grid = _grid(view["prices"][shown, half], view["sizes"][shown, half], low, high, tick)
        grid[:, untold] = np.nan
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


def _legend(axes: Axes, columns: int) -> None:
    """Name the colours above the chart, where the title leaves room."""
    axes.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=columns, fontsize=8, frameon=False)


def _title(axes: Axes, label: str, doubt: str) -> None:
    # Titles are strangers' text: no formulas are read out of them.
    axes.set_title(printable(label), fontsize=10, loc="left", parse_math=False)
    if doubt:
        axes.set_facecolor("#e0e0e0")
        said = fill(printable(doubt), _LINE)
        paper = {"facecolor": "white", "edgecolor": "none", "alpha": 0.85}
        told = axes.text(0.5, 0.5, said, transform=axes.transAxes, ha="center", va="center", fontsize=9, bbox=paper)
        told.set_parse_math(False)
        # It is as wide as it is; the chart is not to shrink for it.
        told.set_in_layout(False)


def _dates(times: Numbers) -> Dates:
    return times.astype("datetime64[ms]")


@cache
def _drawable() -> frozenset[int]:
    return frozenset(get_font(findfont(FontProperties())).get_charmap())


def printable(text: str) -> str:
    """Put a mark in place of letters that the font does not have."""
    return "".join(letter if ord(letter) in _drawable() else "\N{WHITE SQUARE}" for letter in text)
