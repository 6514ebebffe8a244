"""The charts drawn with matplotlib: as figures, for papers and for notebooks that are read without a kernel.

A *figure* is a whole picture; it has a canvas of its own and pyplot knows nothing of it, so figures can be made in any
thread. A *plot* is what is drawn of a view on the axes of one: it is made once and updated after, since making its
artists anew takes longer than drawing them. It returns how far its axes should reach; whoever has the axes decides.
"""

# matplotlib's stubs leave the types of data open.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false

import itertools
import threading
from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cache
from io import BytesIO
from textwrap import fill
from typing import Generic, NamedTuple, TypeAlias, TypeVar

import numpy as np
from matplotlib import colormaps
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import PolyCollection
from matplotlib.dates import date2num
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, get_font
from matplotlib.lines import Line2D

from pmlive.manager.token_view import TokenView
from pmlive.widgets.figures_own import OwnMarks
from pmlive.widgets.views import LEVELS, ChartView, DepthView, GapView, HeatView, Numbers, PriceView, price_view

__all__ = [
    "DPI",
    "DRAWING",
    "LOST",
    "SIZE",
    "TRUSTED",
    "DepthPlot",
    "Extent",
    "HeatPlot",
    "Pixels",
    "Plot",
    "PricePlot",
    "TimePlot",
    "draw_depth",
    "draw_heat",
    "draw_price",
    "new_figure",
    "plot_token",
    "png",
    "printable",
    "set_limits",
    "set_title",
]

C = TypeVar("C", bound=ChartView)
# Rows, columns and colours of a picture.
Pixels: TypeAlias = "np.ndarray[tuple[int, ...], np.dtype[np.uint8]]"

# Inches of one chart, and pixels of an inch.
SIZE, DPI = (9.0, 2.9), 100
# The colours of time in which a book could be trusted, and of the rest.
TRUSTED, LOST = "#7da7d9", "#ff9800"
# What marks the text that says why a book cannot be trusted.
_DOUBT = "doubt"
# Letters in a line of text across a chart.
_LINE = 100
# Held while drawing: fonts are not safe to use in several threads at once.
DRAWING = threading.Lock()
# Room above and below what is shown, as a share of its height.
_ROOM = 0.04
_BID, _ASK, _MID, _GAP = "#0f8a6d", "#cf3f55", "#3267c8", "#f58c00"
# A chart is about twice as many pixels wide; of more points than three for each two, most are drawn over each other.
_COLUMNS = 400
# Prices that stand still are shown with this much around them.
_LEAST = 0.005
_TAKERS = ((_BID, "^"), (_ASK, "v"))
# Marks of one size are drawn at once; a trade of 10 shares or more has the second size, of 1,000 or more the third.
_MARKS, _LARGER = (3.8, 5.2, 6.8), (10.0, 1000.0)


class NotebookFigure(Figure):
    """A figure that notebooks show as a picture, which they do to pyplot's alone otherwise."""

    def _repr_png_(self) -> bytes:
        return png(self)


def new_figure(rows: int = 1, *, height: float = SIZE[1]) -> tuple[Figure, list[Axes]]:
    """Make a figure of charts under each other, each ``height`` inches high."""
    figure = NotebookFigure(figsize=(SIZE[0], height * rows), dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    return figure, [figure.add_subplot(rows, 1, row + 1) for row in range(rows)]


def png(figure: Figure) -> bytes:
    """Draw a figure and return it as PNG."""
    file = BytesIO()
    with DRAWING:
        figure.savefig(file, format="png")
    return file.getvalue()


def draw_price(axes: Axes, view: PriceView) -> None:
    """Draw prices, trades and gaps."""
    extent = PricePlot(axes).update(view)
    set_limits(axes, _padded(extent))
    set_title(axes, view["label"], view["doubt"])


def plot_token(token: TokenView[object], until: int, ax: Axes | None = None) -> Axes:
    """Draw the prices, trades and gaps of one token up to a time (ns); return the axes, new ones by default."""
    axes = new_figure()[1][0] if ax is None else ax
    prices, trades = token.prices, token.trades
    view = price_view(
        prices,
        trades,
        token.gaps,
        token_id=token.token_id,
        label=token.label,
        now_ms=until / 1e6,
        most=max(prices.height, 10 * trades.height),
    )
    draw_price(axes, view)
    return axes


def draw_depth(axes: Axes, view: DepthView) -> None:
    """Draw cumulative depth."""
    extent = DepthPlot(axes).update(view)
    set_limits(axes, _padded(extent)._replace(low=0.0))
    set_title(axes, view["label"], view["doubt"])


def draw_heat(axes: Axes, view: HeatView) -> None:
    """Draw liquidity over time."""
    set_limits(axes, HeatPlot(axes).update(view))
    set_title(axes, view["label"], view["doubt"])


class Extent(NamedTuple):
    """How far axes reach; times are in days, as matplotlib counts."""

    left: float
    right: float
    low: float
    high: float


class Plot(ABC, Generic[C]):
    """The artists on axes that show a kind of view."""

    def __init__(self, artists: Sequence[Artist]) -> None:
        self.artists = artists

    @abstractmethod
    def update(self, view: C) -> Extent:
        """Show a view, and return how far it reaches."""


class TimePlot(Plot[C]):
    """A plot over time, with gaps shaded."""

    def __init__(self, axes: Axes, artists: Sequence[Artist]) -> None:
        self._gaps = PolyCollection([], color=_GAP, alpha=0.22, linewidth=0, label="gaps")
        self._gaps.set_transform(axes.get_xaxis_transform())
        axes.add_collection(self._gaps, autolim=False)
        axes.xaxis_date("UTC")
        axes.set_xlabel("UTC")
        axes.set_ylabel("price, $ a share")
        super().__init__([*artists, self._gaps])

    def _shade(self, view: GapView, now: float) -> None:
        starts, ends = _dates(view["gap_starts"]), _dates(np.nan_to_num(view["gap_ends"], nan=now))
        boxes = [[(start, 0), (start, 1), (end, 1), (end, 0)] for start, end in zip(starts, ends, strict=True)]
        self._gaps.set_verts(boxes)

    def _extent(self, view: PriceView | HeatView, now: float, prices: Sequence[Numbers]) -> Extent:
        """Reach over the requested time, but not to before the first data."""
        first = min(float(view["times"][0]) if len(view["times"]) else now, now - 1000)
        begin = max(first, now - view["window"]) if view["window"] else first
        left, right = _dates(np.array([begin, now]))
        finite = np.concatenate([each[np.isfinite(each)] for each in prices])
        low, high = (float(finite.min()), float(finite.max())) if len(finite) else (0.0, 1.0)
        return Extent(float(left), float(right), low - _LEAST, high + _LEAST)


class PricePlot(TimePlot[PriceView]):
    """Best prices, the band between them, trades and gaps."""

    def __init__(self, axes: Axes) -> None:
        self._band = PolyCollection([], color=_MID, alpha=0.12, linewidth=0, antialiased=False)
        axes.add_collection(self._band, autolim=False)
        self._lines = [_step(axes, name, colour) for name, colour in (("bid", _BID), ("ask", _ASK), ("mid", _MID))]
        self._trades = [[_marks(axes, taker, size) for size in _MARKS] for taker in _TAKERS]
        self._own = OwnMarks(axes)
        super().__init__(axes, [self._band, *self._lines, *itertools.chain(*self._trades), *self._own.artists])
        axes.legend(handles=self._lines, loc="lower right", bbox_to_anchor=(1, 1), ncols=3, fontsize=8, frameon=False)

    def update(self, view: PriceView) -> Extent:
        """Show prices, which hold until the next ones, the last until now, and none in a gap."""
        now = _end_ms(view["now"], view["times"])
        corners, prices = _corners(view, now)
        times = _dates(corners)
        self._band.set_verts(_between(times, prices[0], prices[1]))
        for line, each in zip(self._lines, prices, strict=True):
            line.set_data(times, each)
        self._show_trades(view)
        self._own.update(view, now)
        self._shade(view, now)
        return self._extent(view, now, [*prices[:2], view["trade_prices"]])

    def _show_trades(self, view: PriceView) -> None:
        times, sizes = _dates(view["trade_times"]), np.digitize(view["trade_sizes"], _LARGER)
        for buys, takers in zip((1.0, 0.0), self._trades, strict=True):
            for size, marks in enumerate(takers):
                which = (view["trade_buys"] == buys) & (sizes == size)
                marks.set_data(times[which], view["trade_prices"][which])


def _marks(axes: Axes, taker: tuple[str, str], size: float) -> Line2D:
    colour, mark = taker
    marks = Line2D([], [], linestyle="none", marker=mark, color=colour, markersize=size, markeredgewidth=0, zorder=3)
    axes.add_line(marks)
    return marks


class DepthPlot(Plot[DepthView]):
    """How many shares rest up to each price."""

    def __init__(self, axes: Axes) -> None:
        self._areas = [PolyCollection([], color=colour, alpha=0.25, linewidth=0) for colour in (_BID, _ASK)]
        for area in self._areas:
            axes.add_collection(area, autolim=False)
        self._lines = [_step(axes, name, colour) for name, colour in (("bid", _BID), ("ask", _ASK))]
        axes.set_xlabel("price, $ a share")
        axes.set_ylabel("shares up to it")
        super().__init__([*self._areas, *self._lines])

    def update(self, view: DepthView) -> Extent:
        """Show a book."""
        sides = ((view["bid_prices"], view["bid_totals"]), (view["ask_prices"], view["ask_totals"]))
        for area, line, (prices, totals) in zip(self._areas, self._lines, sides, strict=True):
            area.set_verts(_between(prices, np.zeros_like(totals), totals))
            line.set_data(prices, totals)
        prices, totals = (np.concatenate(both) for both in zip(*sides, strict=True))
        if not len(prices):
            return Extent(0.0, 1.0, 0.0, 1.0)
        return Extent(float(prices.min()), float(prices.max()), 0.0, float(totals.max()))


class HeatPlot(TimePlot[HeatView]):
    """How much rested at each price over time."""

    def __init__(self, axes: Axes) -> None:
        empty = np.zeros((1, 1, 4), dtype=np.uint8)
        self._image = axes.imshow(empty, origin="lower", aspect="auto", interpolation="none")
        super().__init__(axes, [self._image])

    def update(self, view: HeatView) -> Extent:
        """Show slices as evenly spaced columns, each as it was last, and none in a gap."""
        times, prices = view["times"], view["prices"]
        now = _end_ms(view["now"], times)
        self._shade(view, now)
        extent = self._extent(view, now, [prices.ravel()])
        self._image.set_visible(len(times) > 0)
        if not len(times):
            return extent
        ticks = np.diff(np.unique(prices[np.isfinite(prices)].round(6)))
        tick = float(ticks.min()) if len(ticks) else 0.01
        low, high = extent.low + _LEAST, extent.high - _LEAST
        columns = np.arange(times[0], now + view["slice"], view["slice"])
        shown = np.searchsorted(times, columns, side="right") - 1
        visible = np.where(_in_gaps(view, columns)[:, None], np.nan, prices[shown])
        self._image.set_data(_coloured(visible, view["sizes"][shown], low, high, tick))
        first, last = _dates(columns[[0, -1]] + [0, view["slice"]])
        self._image.set_extent((float(first), float(last), low - tick / 2, high + tick / 2))
        return extent._replace(low=low - tick / 2, high=high + tick / 2)


def set_limits(axes: Axes, extent: Extent) -> None:
    """Make axes reach as far as an extent."""
    axes.set_xlim(extent.left, max(extent.right, extent.left + 1e-9))
    axes.set_ylim(extent.low, max(extent.high, extent.low + 1e-9))


def set_title(axes: Axes, label: str, doubt: str) -> None:
    """Title axes, and grey them, with the reason, where the book cannot be trusted."""
    # Titles are strangers' text: no formulas are read out of them.
    axes.set_title(printable(label), fontsize=10, loc="left", parse_math=False)
    axes.set_facecolor("#e0e0e0" if doubt else "#ffffff")
    for text in [text for text in axes.texts if text.get_gid() == _DOUBT]:
        text.remove()
    if doubt:
        reason = fill(printable(doubt), _LINE)
        paper = {"facecolor": "white", "edgecolor": "none", "alpha": 0.85}
        text = axes.text(0.5, 0.5, reason, transform=axes.transAxes, ha="center", va="center", fontsize=9, bbox=paper)
        text.set_gid(_DOUBT)
        text.set_parse_math(False)
        # It is as wide as it is; the chart is not to shrink for it.
        text.set_in_layout(False)


def printable(text: str) -> str:
    """Replace letters that the font does not have by a mark."""
    return "".join(letter if ord(letter) in _drawable() else "\N{WHITE SQUARE}" for letter in text)


def _padded(extent: Extent) -> Extent:
    """Add room above and below."""
    room = _ROOM * (extent.high - extent.low)
    return extent._replace(low=extent.low - room, high=extent.high + room)


@cache
def _drawable() -> frozenset[int]:
    return frozenset(get_font(findfont(FontProperties())).get_charmap())


def _coloured(prices: Numbers, sizes: Numbers, low: float, high: float, tick: float) -> Pixels:
    """Paint levels into the rows of a picture, one a tick: bids in greens, asks in reds."""
    picture = np.zeros((round((high - low) / tick) + 1, len(prices), 4), dtype=np.uint8)
    largest = np.log1p(np.nanmax(sizes, initial=0.0)) or 1.0
    for half, colours in ((slice(0, LEVELS), "Greens"), (slice(LEVELS, None), "Reds")):
        column, level = np.nonzero(np.isfinite(prices[:, half]))
        row = np.rint((prices[:, half][column, level] - low) / tick).astype(int)
        picture[row, column] = colormaps[colours](np.log1p(sizes[:, half][column, level]) / largest, bytes=True)
    return picture


def _step(axes: Axes, name: str, colour: str) -> Line2D:
    line = Line2D([], [], drawstyle="steps-post", color=colour, linewidth=1, label=name)
    axes.add_line(line)
    return line


def _corners(view: PriceView, now: float) -> tuple[Numbers, list[Numbers]]:
    """Return the times at which lines may turn, those of gaps among them, and bid, ask and mid from each on."""
    kept = _distinct(view["times"], view["bids"], view["asks"])
    times = np.unique(np.concatenate([view["times"][kept], view["gap_starts"], view["gap_ends"], [now]]))
    times = times[np.isfinite(times)]
    # Before the first price there is none: index -1 is the NaN that is appended.
    last = np.searchsorted(view["times"], times, side="right") - 1
    in_gap = _in_gaps(view, times)
    return times, [np.where(in_gap, np.nan, np.append(view[name], np.nan)[last]) for name in ("bids", "asks", "mids")]


def _in_gaps(view: GapView, times: Numbers) -> "np.ndarray[tuple[int, ...], np.dtype[np.bool_]]":
    ends = np.where(np.isnan(view["gap_ends"]), np.inf, view["gap_ends"])
    return np.logical_or.reduce((times >= view["gap_starts"][:, None]) & (times < ends[:, None]), axis=0)


def _between(at: Numbers, low: Numbers, high: Numbers) -> list[Numbers]:
    """Outline what is between two stepped lines, as far as both are there."""
    both = np.isfinite(low) & np.isfinite(high)
    begins, ends = np.flatnonzero(np.diff(np.concatenate([[0], both, [0]]).astype(int))).reshape(-1, 2).T
    outlines: list[Numbers] = []
    for begin, end in zip(begins, ends, strict=True):
        x = np.repeat(at[begin : end + 1], 2)[1:-1] if end < len(at) else np.repeat(at[begin:end], 2)[1:]
        top, bottom = (np.repeat(each[begin:end], 2)[: len(x)] for each in (high, low))
        outlines.append(np.column_stack([np.append(x, x[::-1]), np.append(top, bottom[::-1])]))
    return outlines


def _distinct(times: Numbers, lows: Numbers, highs: Numbers) -> "np.ndarray[tuple[int, ...], np.dtype[np.intp]]":
    """Choose the points that can be told apart: of each two columns of pixels the last, the lowest and the highest."""
    if len(times) <= 3 * _COLUMNS:
        return np.arange(len(times))
    column = ((times - times[0]) * (_COLUMNS / max(float(times[-1] - times[0]), 1.0))).astype(int)
    last = np.flatnonzero(np.diff(column, append=-1))
    outer = [np.lexsort(keys)[np.append(0, last[:-1] + 1)] for keys in ((lows, column), (-highs, column))]
    return np.unique(np.concatenate([last, *outer]))


def _end_ms(now: float, times: Numbers) -> float:
    return max(now, float(times[-1])) if len(times) else now


def _dates(times: Numbers) -> Numbers:
    return np.asarray(date2num(times.astype("datetime64[ms]")), dtype=np.float64)
