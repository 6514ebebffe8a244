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
from contextlib import nullcontext
from io import BytesIO
from os import PathLike
from textwrap import fill
from typing import IO, Any, Final, Generic, NamedTuple, TypeAlias, TypeVar

import numpy as np
from matplotlib import rc_context, rcParams
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.colors import to_rgba
from matplotlib.dates import date2num
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter

from pmlive.analysis.palette import LIGHT, over_white
from pmlive.analysis.plots.theme import (
    HEIGHTS,
    PRINTED_DPI,
    SIZES,
    WIDTHS,
    Width,
    fitted,
    length_points,
    printable,
    show_times,
)
from pmlive.manager.snapshots import TokenView
from pmlive.samples import SIMULATED
from pmlive.widgets.lines import between, corners
from pmlive.widgets.own import BUYS, END, FAILED, PRICE, SINCE, latest
from pmlive.widgets.scales import (
    SCALES,
    begin_ms,
    depth_limits,
    heat_limits,
    level_share,
    opacity,
    price_limits,
)
from pmlive.widgets.views import LEVELS, ChartView, DepthView, GapView, HeatView, Numbers, PriceView

__all__ = [
    "DPI",
    "DRAWING",
    "GAP",
    "PAPER",
    "SIZE",
    "DepthPlot",
    "Extent",
    "HeatPlot",
    "NotebookFigure",
    "OwnMarks",
    "Pixels",
    "Plot",
    "PricePlot",
    "TimePlot",
    "align_times",
    "dates_of",
    "explain",
    "label_of",
    "letters_of",
    "new_figure",
    "png",
    "price_text",
    "set_limits",
    "set_title",
]

C = TypeVar("C", bound=ChartView)
# Rows, columns and colours of a picture.
Pixels: TypeAlias = "np.ndarray[tuple[int, ...], np.dtype[np.uint8]]"

# Inches of one chart, and pixels of an inch.
SIZE, DPI = (9.0, 2.9), 100
# Letters in a line of text across a chart.
_LINE = 100
# Held while drawing: fonts are not safe to use in several threads at once.
DRAWING = threading.Lock()
# Nothing is known of what was in a gap: what is drawn through it is covered.
GAP: dict[str, Any] = {"facecolor": over_white(LIGHT.gap), "edgecolor": LIGHT.gap, "hatch": "////", "linewidth": 0}
_TAKERS = ((LIGHT.bid, "^"), (LIGHT.ask, "v"))
# Own orders and fills, of those who buy and those who sell: their colours, patterns of lines and marks, as of trades.
_OWN_SIDES: Final = ((LIGHT.bid, "-", "^"), (LIGHT.ask, (0, (4, 1.5)), "v"))
_OWN_MARK = 10.0
# Points of the width of a line of an own order, and of its length where the order rested but an instant.
_WIDE, _SHORTEST = 2.2, 9.0
# How wide the lines of prices are.
_PRICES = {"bid": 1.25, "ask": 1.25, "mid": 1.5}
# The share of the axes' width that a title may take, and what a reason for doubt is found by.
_TITLE_ROOM, _REASON = 1.0, "reason"
# Behind texts that stand on what is drawn.
PAPER: dict[str, Any] = {"facecolor": LIGHT.ground, "edgecolor": "none", "alpha": 0.85, "pad": 1.5}
# Into so many parts the height of a tick is divided where a level has but a share of it.
_PARTS = 24
# The place of the key of shades, right of the axes, as shares of the axes.
_KEY = (1.012, 0.18, 0.018, 0.62)
# Marks of one size are drawn at once; a trade of 10 shares or more has the second size, of 1,000 or more the third.
_MARKS, _LARGER = (3.8, 5.2, 6.8), (10.0, 1000.0)


class Letters(NamedTuple):
    """Points of titles, of the names of axes, and of all else."""

    title: float
    axis: float
    small: float


_SCREEN = Letters(10.0, 9.0, 8.0)


class NotebookFigure(Figure):
    """A figure that notebooks show as a picture, which they do to pyplot's alone otherwise."""

    letters = _SCREEN

    def savefig(self, fname: str | PathLike[Any] | IO[Any], *, transparent: bool | None = None, **how: object) -> None:
        """Write it to a file; into PDF and PostScript with its fonts as TrueType, as journals demand."""
        vector = str(how.get("format") or fname).rpartition(".")[2].lower() in {"pdf", "ps", "eps"}
        # These settings are everybody's, and pictures are drawn in several threads.
        with rc_context({"pdf.fonttype": 42, "ps.fonttype": 42}) if vector else nullcontext():
            super().savefig(fname, transparent=transparent, **how)

    def _repr_png_(self) -> bytes:
        return png(self)


def new_figure(
    rows: int = 1, *, height: float | None = None, width: Width | None = None
) -> tuple[NotebookFigure, list[Axes]]:
    """Make a figure of charts under each other, each ``height`` inches high.

    Args:
        rows: how many charts.
        height: by default as high as its width demands.
        width: ``"column"`` or ``"page"`` of a paper; by default as wide as a notebook.

    Raises:
        ValueError: ``width`` is not one of its two words.
    """
    if width is not None and width not in WIDTHS:
        raise ValueError(f"invalid width {width!r}; expected 'column' or 'page'")
    inches, usual = (WIDTHS[width], HEIGHTS[width]) if width else SIZE
    dpi = PRINTED_DPI if width else DPI
    figure = NotebookFigure(figsize=(inches, (height or usual) * rows), dpi=dpi, layout="constrained")
    if width:
        large, small = SIZES[width]
        figure.letters = Letters(large, large, small)
    FigureCanvasAgg(figure)
    return figure, [figure.add_subplot(rows, 1, row + 1) for row in range(rows)]


def png(figure: Figure) -> bytes:
    """Draw a figure and return it as PNG."""
    file = BytesIO()
    with DRAWING:
        figure.savefig(file, format="png")
    return file.getvalue()


def label_of(token: TokenView[object]) -> str:
    """Return the label of a token, of a simulated market with that word before it."""
    return f"{SIMULATED if token.simulated else ''}{token.label}"


class Extent(NamedTuple):
    """How far axes reach; times are in days, as matplotlib counts."""

    left: float
    right: float
    low: float
    high: float


class Plot(ABC, Generic[C]):
    """The artists on axes that show a kind of view."""

    # What its axes are titled, before the market.
    name = ""
    # Whether what cannot be told apart is left out.
    _thins = True

    def __init__(self, axes: Axes, artists: Sequence[Artist]) -> None:
        self.artists = artists
        self._axes = axes
        letters = letters_of(axes)
        axes.tick_params(labelsize=letters.small)
        for axis in (axes.xaxis, axes.yaxis):
            axis.label.set_fontsize(letters.axis)
            axis.offsetText.set_fontsize(letters.small)
        axes.spines[["top", "right"]].set_visible(False)

    @abstractmethod
    def update(self, view: C) -> Extent:
        """Show a view, and return how far it reaches."""

    def draw(self, view: C) -> None:
        """Show all of a view on axes that reach as far and have its title."""
        self._thins = False
        set_limits(self._axes, self.update(view))
        set_title(self._axes, view["label"], view["doubt"], self.name)


class TimePlot(Plot[C]):
    """A plot over time, with gaps shaded and hatched, and the price that was marked."""

    def __init__(self, axes: Axes, artists: Sequence[Artist]) -> None:
        self.gaps = PolyCollection([], **GAP, label="gaps")
        self.gaps.set_transform(axes.get_xaxis_transform())
        axes.add_collection(self.gaps, autolim=False)
        self._mark = axes.axhline(0.0, color=LIGHT.text, lw=0.8, linestyle=(0, (5, 4)), visible=False)
        beside: dict[str, Any] = {"xytext": (3, 2), "textcoords": "offset points", "fontsize": letters_of(axes).small}
        self._marked = axes.annotate(
            "", (0, 0), xycoords=("axes fraction", "data"), color=LIGHT.text, bbox=PAPER, **beside
        )
        show_times(axes)
        axes.set_ylabel("price, $ a share")
        super().__init__(axes, [*artists, self.gaps, self._mark, self._marked])

    def _shade(self, view: GapView, now: float) -> None:
        starts, ends = dates_of(view["gap_starts"]), dates_of(np.nan_to_num(view["gap_ends"], nan=now))
        boxes = [[(start, 0), (start, 1), (end, 1), (end, 0)] for start, end in zip(starts, ends, strict=True)]
        self.gaps.set_verts(boxes)

    def _show_mark(self, price: float | None) -> None:
        for artist in (self._mark, self._marked):
            artist.set_visible(price is not None)
        if price is not None:
            self._mark.set_ydata([price, price])
            self._marked.xy = (0, price)
            self._marked.set_text(f"marked {price_text(price)}")

    def _extent(self, view: PriceView | HeatView, now: float, prices: Sequence[Numbers]) -> Extent:
        """Reach over the requested time in whole seconds, so that charts below each other reach as far."""
        left, right = dates_of(np.array([begin_ms(view["times"], now, view["window"]) // 1000, -(-now // 1000)]) * 1000)
        finite = np.concatenate([each[np.isfinite(each)] for each in prices])
        limits = price_limits(float(finite.min()), float(finite.max())) if len(finite) else (0.0, 1.0)
        return Extent(float(left), float(right), *limits)


class PricePlot(TimePlot[PriceView]):
    """Best prices, the band between them, trades and gaps."""

    name = "Price"

    def __init__(self, axes: Axes) -> None:
        self._band = PolyCollection([], color=LIGHT.band, linewidth=0, antialiased=False)
        axes.add_collection(self._band, autolim=False)
        self._lines = {name: _step(axes, name, getattr(LIGHT, name), wide) for name, wide in _PRICES.items()}
        self._trades = [[_marks(axes, taker, size) for size in _MARKS] for taker in _TAKERS]
        self._own = OwnMarks(axes)
        own = self._own.artists
        super().__init__(axes, [self._band, *self._lines.values(), *itertools.chain(*self._trades), *own])
        taken = [Line2D([], [], linestyle="none", marker=mark, color=each) for each, mark in _TAKERS]
        explain(axes, [*self._lines.values(), *taken, Patch(**GAP)], ["bid", "ask", "mid", "buy", "sell", "gap"])

    def update(self, view: PriceView) -> Extent:
        """Show prices, which hold until the next ones, the last until now, and none in a gap."""
        now = _end_ms(view["now"], view["times"])
        turns, prices = corners(view, now, thins=self._thins)
        times = dates_of(turns)
        self._band.set_verts(between(times, prices[0], prices[1]))
        for line, each in zip(self._lines.values(), prices, strict=True):
            line.set_data(times, each)
        self._show_trades(view)
        self._own.update(view, now)
        self._shade(view, now)
        self._show_mark(view.get("marked"))
        begin = begin_ms(view["times"], now, view["window"])
        held = max(int(np.searchsorted(turns, begin, side="right")) - 1, 0)
        traded = view["trade_prices"][view["trade_times"] >= begin]
        return self._extent(view, now, [prices[0][held:], prices[1][held:], traded])

    def _show_trades(self, view: PriceView) -> None:
        times, sizes = dates_of(view["trade_times"]), np.digitize(view["trade_sizes"], _LARGER)
        for buys, takers in zip((1.0, 0.0), self._trades, strict=True):
            for size, marks in enumerate(takers):
                which = (view["trade_buys"] == buys) & (sizes == size)
                marks.set_data(times[which], view["trade_prices"][which])


def _marks(axes: Axes, taker: tuple[str, str], size: float) -> Line2D:
    colour, mark = taker
    marks = Line2D([], [], linestyle="none", marker=mark, color=colour, markersize=size, markeredgewidth=0, zorder=3)
    axes.add_line(marks)
    return marks


class OwnMarks:
    """The artists that show own orders and fills on axes of prices."""

    def __init__(self, axes: Axes) -> None:
        self._orders = [
            LineCollection([], colors=c, linestyles=[p], linewidths=_WIDE, zorder=4) for c, p, _ in _OWN_SIDES
        ]
        for orders in self._orders:
            axes.add_collection(orders, autolim=False)
        # In the middle of each order, since one that rested but an instant would be a dot.
        self._middles = [
            Line2D([], [], linestyle="none", marker="_", color=colour, markersize=_SHORTEST, markeredgewidth=_WIDE)
            for colour, _, _ in _OWN_SIDES
        ]
        for middles in self._middles:
            middles.set_zorder(4)
            axes.add_line(middles)
        # Those that did not fail to settle, then those that did, which are empty.
        self._fills = [
            Line2D([], [], linestyle="none", marker=mark, color=colour, fillstyle=style, markersize=_OWN_MARK)
            for colour, _, mark in _OWN_SIDES
            for style in ("full", "none")
        ]
        for fills in self._fills:
            fills.set(markeredgecolor=LIGHT.text, zorder=5)
            axes.add_line(fills)
        self.artists: list[Artist] = [*self._orders, *self._middles, *self._fills]

    def update(self, view: PriceView, now: float) -> None:
        """Show orders, those that rest until now."""
        orders, fills = latest(view.get("orders", np.empty((0, 5)))), latest(view.get("fills", np.empty((0, 6))))
        for side, (lines, middles) in enumerate(zip(self._orders, self._middles, strict=True)):
            its = orders[orders[:, BUYS] == 1 - side]
            lefts, rights = dates_of(its[:, SINCE]), dates_of(np.nan_to_num(its[:, END], nan=now))
            ends = np.stack([lefts, its[:, PRICE], rights, its[:, PRICE]], axis=1).reshape(-1, 2, 2)
            lines.set_segments(list(ends))
            middles.set_data((lefts + rights) / 2, its[:, PRICE])
        for place, marks in enumerate(self._fills):
            side, failed = divmod(place, 2)
            its = fills[(fills[:, BUYS] == 1 - side) & (fills[:, FAILED] == failed)]
            marks.set_data(dates_of(its[:, SINCE]), its[:, PRICE])


class DepthPlot(Plot[DepthView]):
    """How many shares rest up to each price, of the best levels of both sides."""

    name = "Depth"

    def __init__(self, axes: Axes) -> None:
        sides = {"bids": LIGHT.bid, "asks": LIGHT.ask}
        self._areas = [PolyCollection([], color=colour, alpha=0.2, linewidth=0) for colour in sides.values()]
        for area in self._areas:
            axes.add_collection(area, autolim=False)
        self._lines = [_step(axes, name, colour, 1.5) for name, colour in sides.items()]
        axes.set_xlabel("price, $ a share", loc="left")
        axes.set_ylabel("shares, cumulative")
        axes.yaxis.set_major_formatter(FuncFormatter(_thousands))
        middle: dict[str, Any] = {
            "ha": "center",
            "va": "center",
            "transform": axes.transAxes,
            "fontsize": letters_of(axes).axis,
        }
        self._nobody = axes.text(0.5, 0.5, "nobody offers a price now", color=LIGHT.text, visible=False, **middle)
        super().__init__(axes, [*self._areas, *self._lines, self._nobody])
        explain(axes, self._lines, list(sides))

    def update(self, view: DepthView) -> Extent:
        """Show a book."""
        sides = [
            _steps(view["bid_prices"], view["bid_totals"], -1),
            _steps(view["ask_prices"], view["ask_totals"], 1),
        ]
        for area, line, (prices, totals) in zip(self._areas, self._lines, sides, strict=True):
            area.set_verts(between(prices, np.zeros_like(totals), totals))
            line.set_data(prices, totals)
        prices, totals = (np.concatenate(both) for both in zip(*sides, strict=True))
        self._nobody.set_visible(not len(prices) and not view["doubt"])
        if not len(prices):
            return Extent(0.0, 1.0, *depth_limits(totals))
        return Extent(float(prices.min()), float(prices.max()), *depth_limits(totals))


def _steps(prices: Numbers, totals: Numbers, away: int) -> tuple[Numbers, Numbers]:
    """Return the corners of a side, the last of them where its total ends: at the next level, or a tick farther."""
    most = int(SCALES["depth_levels"])
    shown, held = prices[:most], totals[:most]
    if not len(shown):
        return shown, held
    tick = float(np.abs(np.diff(shown)).min(initial=np.inf)) if len(shown) > 1 else SCALES["tick"]
    end = prices[most] if len(prices) > most else np.clip(shown[-1] + away * tick, 0.0, 1.0)
    return np.append(shown, end), np.append(held, held[-1])


class HeatPlot(TimePlot[HeatView]):
    """How much rested at each price over time."""

    name = "Liquidity"

    def __init__(self, axes: Axes) -> None:
        empty = np.zeros((1, 1, 4), dtype=np.uint8)
        self._image = axes.imshow(empty, origin="lower", aspect="auto", interpolation="none")
        self._key = _Key(axes)
        super().__init__(axes, [self._image, *self._key.artists])
        sides = [Patch(color=LIGHT.bid), Patch(color=LIGHT.ask)]
        explain(axes, [*sides, Patch(**GAP)], ["bids", "asks", "gap"])

    def update(self, view: HeatView) -> Extent:
        """Show slices as evenly spaced columns, each as it was last, with gaps over them."""
        times, now = view["times"], _end_ms(view["now"], view["times"])
        self._shade(view, now)
        self._show_mark(view.get("marked"))
        extent = self._extent(view, now, [np.empty(0)])
        self._image.set_visible(len(times) > 0)
        begin = max(int(np.searchsorted(times, begin_ms(view["times"], now, view["window"]), side="right")) - 1, 0)
        times, prices, sizes = times[begin:], view["prices"][begin:], view["sizes"][begin:]
        largest = float(np.nanmax(sizes, initial=1.0))
        self._key.show(largest, visible=bool(np.isfinite(prices).any()))
        if not len(times):
            return extent
        low, high, tick = heat_limits(prices)
        columns = np.arange(times[0], now + view["slice"], view["slice"])
        shown = np.searchsorted(times, columns, side="right") - 1
        picture = _coloured(prices[shown], opacity(sizes[shown], largest), low, high, tick)
        self._image.set_data(_apart(picture, level_share(low, high, tick)))
        first, last = dates_of(columns[[0, -1]] + [0, view["slice"]])
        self._image.set_extent((float(first), float(last), low - tick / 2, high + tick / 2))
        return extent._replace(low=low, high=high)


class _Key:
    """Right of the axes, which shades of bids and of asks are how many shares."""

    def __init__(self, axes: Axes) -> None:
        place = axes.inset_axes(_KEY)
        place.set_axis_off()
        shades = opacity(np.linspace(0.0, 1.0, 64), 1.0)
        picture = np.stack([_shaded(colour, shades) for colour in (LIGHT.bid, LIGHT.ask)], axis=1)
        place.imshow(picture, origin="lower", aspect="auto", interpolation="none", extent=(0, 1, 0, 1))
        how: dict[str, Any] = {"transform": place.transAxes, "fontsize": letters_of(axes).small, "color": LIGHT.quiet}
        self._most = place.text(0.0, 1.04, "", ha="left", va="bottom", **how)
        place.text(1.3, 0.0, "0", ha="left", va="bottom", **how)
        place.text(0.0, -0.05, "shares", ha="left", va="top", **how)
        self._place = place
        self.artists = [self._most]

    def show(self, largest: float, *, visible: bool) -> None:
        """Say how many shares the darkest shade is, if there are any."""
        self._place.set_visible(visible)
        self._most.set_text(_thousands(round(largest)))


def set_limits(axes: Axes, extent: Extent) -> None:
    """Make axes reach as far as an extent."""
    axes.set_xlim(extent.left, max(extent.right, extent.left + 1e-9))
    axes.set_ylim(extent.low, max(extent.high, extent.low + 1e-9))


def align_times(several: Sequence[Axes]) -> None:
    """Make axes of times reach equally far, so that what happened at one time stands at one place."""
    limits = [axes.get_xlim() for axes in several]
    for axes in several:
        axes.set_xlim(min(left for left, _ in limits), max(right for _, right in limits))


def set_title(axes: Axes, label: str, doubt: str, name: str = "") -> None:
    """Title axes, and grey them, with the reason, where the book cannot be trusted."""
    letters = letters_of(axes)
    text = printable(" \N{MIDDLE DOT} ".join(part for part in (name, label) if part))
    # Titles are strangers' text: no formulas are read out of them.
    shown = fitted(text, letters.title, _TITLE_ROOM * length_points(axes))
    axes.set_title(shown, fontsize=letters.title, loc="left", pad=2.1 * letters.small, parse_math=False)
    axes.set_facecolor(LIGHT.doubt if doubt else LIGHT.ground)
    for text in [text for text in axes.texts if text.get_gid() == _REASON]:
        text.remove()
    if doubt:
        reason = fill(printable(doubt), _LINE if letters is _SCREEN else _LINE // 2)
        middle: dict[str, Any] = {
            "transform": axes.transAxes,
            "ha": "center",
            "va": "center",
            "bbox": PAPER,
            "gid": _REASON,
        }
        text = axes.text(0.5, 0.5, reason, fontsize=letters.axis, color=LIGHT.text, **middle)
        text.set_parse_math(False)
        # It is as wide as it is; the chart is not to shrink for it.
        text.set_in_layout(False)


def explain(axes: Axes, shown: Sequence[Artist], names: Sequence[str]) -> None:
    """Say in a line above axes what is what."""
    axes.legend(
        shown,
        names,
        loc="lower left",
        bbox_to_anchor=(0.0, 1.0),
        borderaxespad=0.0,
        borderpad=0.2,
        ncols=len(names),
        columnspacing=1.2,
        handlelength=1.3,
        handletextpad=0.5,
        fontsize=letters_of(axes).small,
        frameon=False,
    )


def letters_of(axes: Axes) -> Letters:
    """Return how large letters are: as the figure demands, or as the settings of matplotlib are."""
    if isinstance(axes.figure, NotebookFigure):
        return axes.figure.letters
    sizes = (rcParams[name] for name in ("axes.titlesize", "axes.labelsize", "legend.fontsize"))
    return Letters(*(float(FontProperties(size=size).get_size_in_points()) for size in sizes))


def price_text(price: float) -> str:
    """Write a price with its cents, and finer where it is finer."""
    text = f"{price:.6f}".rstrip("0")
    return text + "0" * max(0, 2 - len(text.partition(".")[2]))


def _thousands(number: float, _place: int | None = None) -> str:
    return f"{number:,.0f}" if float(number).is_integer() else f"{number:,g}"


def _shaded(colour: str, shades: Numbers) -> Pixels:
    """Return a colour as opaque as each of the shades."""
    painted = np.tile(np.array(to_rgba(colour)), (len(shades), 1))
    painted[:, 3] = shades
    return np.rint(255 * painted).astype(np.uint8)


def _coloured(prices: Numbers, shades: Numbers, low: float, high: float, tick: float) -> Pixels:
    """Paint levels into the rows of a picture, one a tick, each as opaque as it is to be."""
    picture = np.zeros((round((high - low) / tick) + 1, len(prices), 4), dtype=np.uint8)
    for half, colour in ((slice(0, LEVELS), LIGHT.bid), (slice(LEVELS, None), LIGHT.ask)):
        row = np.rint((np.nan_to_num(prices[:, half], nan=-1.0) - low) / tick).astype(int)
        column, level = np.nonzero((row >= 0) & (row < len(picture)))
        picture[row[column, level], column] = _shaded(colour, shades[:, half][column, level])
    return picture


def _apart(picture: Pixels, share: float) -> Pixels:
    """Leave room above and below each row of a picture, which has a share of its height."""
    margin = round(_PARTS * (1 - share) / 2)
    if not margin:
        return picture
    parts = np.repeat(picture, _PARTS, axis=0)
    at = np.arange(len(parts)) % _PARTS
    parts[(at < margin) | (at >= _PARTS - margin)] = 0
    return parts


def _step(axes: Axes, name: str, colour: str, width: float) -> Line2D:
    line = Line2D([], [], drawstyle="steps-post", color=colour, linewidth=width, label=name)
    axes.add_line(line)
    return line


def _end_ms(now: float, times: Numbers) -> float:
    return max(now, float(times[-1])) if len(times) else now


def dates_of(times: Numbers) -> Numbers:
    """Return milliseconds since 1970 as the dates of matplotlib."""
    return np.asarray(date2num(times.astype("datetime64[ms]")), dtype=np.float64)
