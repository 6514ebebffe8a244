"""More charts drawn with matplotlib: all outcomes of an event, candles, and the coverage of a recording."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

import math
from collections.abc import Sequence
from typing import Any, Final, Literal, NamedTuple

import numpy as np
import polars as pl
from matplotlib import rcParams
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.dates import date2num
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.markers import TICKLEFT
from matplotlib.patches import Patch
from matplotlib.ticker import AutoLocator

from pmlive.analysis.palette import LIGHT
from pmlive.analysis.plots.theme import dates, length_points, printable, show_times
from pmlive.levels import price_decimals
from pmlive.manager.snapshots import TokenView
from pmlive.recording.quality import Fault, Quality, TokenQuality
from pmlive.times import Interval, interval
from pmlive.widgets.candles import (
    CLOSE,
    HIGH,
    LOW,
    OPEN,
    START,
    TOUCHED,
    VOLUME,
    Candles,
    CandleView,
    candle_view,
)
from pmlive.widgets.figures import (
    GAP,
    PAPER,
    Extent,
    PricePlot,
    TimePlot,
    dates_of,
    explain,
    label_of,
    letters_of,
    new_figure,
)
from pmlive.widgets.lines import MOST_LINES, LinesView
from pmlive.widgets.scales import begin_ms, price_limits
from pmlive.widgets.spans import Flags
from pmlive.widgets.views import Numbers, price_view

__all__ = [
    "CandlePlot",
    "OutcomesPlot",
    "coverage_figure",
    "plot_candles",
    "plot_token",
]

# Each colour comes with each pattern, so that no two lines are the same.
_PATTERNS: Final = ((0, ()), (0, (6, 2)), (0, (2, 2)), (0, (6, 2, 2, 2)))
# Ask and bid of the first outcome, and over them, dashed, the same of it by the other one.
_MIRROR: Final = ((LIGHT.ask, 0), (LIGHT.bid, 0), (LIGHT.mid, 2), (LIGHT.mid, 2))
# Room for names at the right, as a share of axes that no layout makes narrower; letters of a name for each point of the
# axes, and at most; lines of text that the height has room for, and how large their letters are.
_NAMES, _LETTERS, _MOST_LETTERS, _ROWS, _NAME_SIZE = 0.21, 0.065, 24, 15, 7.5
# How far a gap of one line reaches above and below where the line was, as a share of the height.
_BESIDE = 1 / 40


class OutcomesPlot(TimePlot[LinesView]):
    """Stepped lines with names at their ends, and gaps; those of only some lines are as high as a line of text."""

    name = "Outcomes"

    def __init__(self, axes: Axes) -> None:
        self.blanks = PolyCollection([], **GAP)
        axes.add_collection(self.blanks, autolim=False)
        self._lines = [Line2D([], [], drawstyle="steps-post", linewidth=1.3) for _ in range(MOST_LINES)]
        beside = axes.get_yaxis_transform()
        self._names = [axes.text(1.008, 0, "", va="center", parse_math=False, transform=beside) for _ in self._lines]
        if axes.figure.get_layout_engine() is None:
            _leave_room(axes)
        for line in self._lines:
            axes.add_line(line)
        super().__init__(axes, [self.blanks, *self._lines, *self._names])
        explain(axes, [Patch(**GAP)], ["gap"])

    def update(self, view: LinesView) -> Extent:
        """Show lines, each holding its last value until now where its book can be trusted."""
        now = max(view["now"], float(view["times"][-1]) if len(view["times"]) else view["now"])
        begin = begin_ms(view["times"], now, view["window"])
        shown = [_points(view, number, now) for number in range(len(view["names"]))]
        for line, (times, values) in zip(self._lines, shown, strict=False):
            line.set_data(dates_of(times), values)
        seen = np.concatenate([values[_until_next(times, now) > begin] for times, values in shown] or [np.empty(0)])
        seen = seen[np.isfinite(seen)]
        low, high = (float(seen.min()), float(seen.max())) if len(seen) else (0.0, 1.0)
        left, right = (float(each) for each in dates_of(np.array([begin, now])))
        extent = Extent(left, right, *price_limits(low, high))
        self._name(view, [float(values[-1]) if len(values) else np.nan for _, values in shown], extent)
        self._shade(view, now)
        self._show_mark(None)
        self._hatch_blanks(view, shown, now, extent)
        return extent

    def _hatch_blanks(
        self, view: LinesView, shown: Sequence[tuple[Numbers, Numbers]], now: float, extent: Extent
    ) -> None:
        """Hatch the gaps of only some lines, where other lines may go through."""
        lefts, rights = dates_of(view["blank_starts"]), dates_of(np.nan_to_num(view["blank_ends"], nan=now))
        beside = (extent.high - extent.low) * _BESIDE
        boxes: list[list[tuple[float, float]]] = []
        for number, start, left, right in zip(view["blank_lines"], view["blank_starts"], lefts, rights, strict=True):
            middle = _value_near(*shown[int(number)], start)
            if np.isfinite(middle):
                low, high = middle - beside, middle + beside
                boxes.append([(left, low), (left, high), (right, high), (right, low)])
        self.blanks.set_verts(boxes)

    def _name(self, view: LinesView, ends: Sequence[float], extent: Extent) -> None:
        """Write each name beside the end of its line, or as near to it as there is room."""
        rows = max(_ROWS, len(ends))
        least = (extent.high - extent.low) / rows
        letters = min(_MOST_LETTERS, round(_LETTERS * length_points(self._axes)))
        places = spread(ends, least, extent.low + least / 2, extent.high - least / 2)
        for number, (line, text) in enumerate(zip(self._lines, self._names, strict=True)):
            is_shown = number < len(view["names"])
            line.set_visible(is_shown)
            text.set_visible(is_shown)
            if not is_shown:
                continue
            colour, pattern = _style(number, view["of"])
            state, is_empty = view["states"][number], bool(np.isnan(ends[number]))
            line.set(color=colour, linestyle=_PATTERNS[pattern])
            name = shortened(printable(view["names"][number]), letters)
            text.set(
                text=f"{name}  {state or _price_text(ends[number])}",
                color=LIGHT.quiet if state or is_empty else colour,
                y=places[number],
                fontsize=_NAME_SIZE * _ROWS / rows,
            )


def _leave_room(axes: Axes) -> None:
    """Make axes narrower, so that names have room beside them."""
    left, bottom, width, height = axes.get_position().bounds
    axes.set_position((left, bottom, (1 - _NAMES) * width, height))


def spread(wanted: Sequence[float], least: float, low: float, high: float) -> list[float]:
    """Move places apart by so much at least, in their order, from a lowest to a highest place; NaN is the lowest.

    >>> [round(one, 2) for one in spread([0.5, 0.52, 0.1], 0.1, 0.0, 1.0)]
    [0.5, 0.6, 0.1]
    """
    order = sorted(range(len(wanted)), key=lambda number: -1.0 if np.isnan(wanted[number]) else wanted[number])
    places = [0.0] * len(wanted)
    below = low - least
    for number in order:
        below = places[number] = max(low if np.isnan(wanted[number]) else wanted[number], below + least)
    above = high + least
    for number in reversed(order):
        above = places[number] = min(places[number], above - least)
    return places


def shortened(text: str, letters: int) -> str:
    """Shorten a text to so many letters.

    >>> shortened("25 bps decrease", 8)
    '25 bps…'
    """
    return text if len(text) <= letters else f"{text[: letters - 1].rstrip()}…"


def _price_text(price: float) -> str:
    return "none" if np.isnan(price) else f"{price:.{price_decimals([price])}f}"


def _value_near(times: Numbers, values: Numbers, time: float) -> float:
    """Return the value that a line had before a time, or has next, if it had none; NaN without any."""
    known = np.isfinite(values)
    before, after = values[known & (times <= time)], values[known & (times > time)]
    return float(np.concatenate([before[-1:], after[:1], [np.nan]])[0])


def _style(number: int, of: str) -> tuple[str, int]:
    if of == "mirror":
        return _MIRROR[number % len(_MIRROR)]
    return LIGHT.lines[number % len(LIGHT.lines)], number // len(LIGHT.lines) % len(_PATTERNS)


def _points(view: LinesView, number: int, now: float) -> tuple[Numbers, Numbers]:
    """Return where a line changes, and its value now if it holds."""
    its = view["lines"] == number
    times, values = view["times"][its], view["values"][its]
    if view["holds"][number] and len(times):
        return np.append(times, now), np.append(values, values[-1])
    return times, values


def _until_next(times: Numbers, now: float) -> Numbers:
    return np.append(times[1:], now)[: len(times)]


# --- candles ---
# Candle charts drawn with matplotlib: candles above, the shares that were traded below, on one axis of time.

_ROSE, _FELL, _QUIET = LIGHT.bid, LIGHT.ask, LIGHT.quiet
# The kinds of candles: their names, colours, and whether they are filled. Gaps are hatched besides.
_KINDS: Final = (("rose", _ROSE, False), ("fell", _FELL, True), ("in part a gap", _QUIET, False))
_HATCH = "/////"
# The share of an interval that a candle is wide, and of the height: of volumes, the space above them, and that on top.
_WIDE, _VOLUMES, _APART, _ABOVE = 0.7, 0.2, 0.1, 0.05
# Prices that stand still are shown with this much around them.
_LEAST_HEIGHT = 0.005
_COUNTS: Final = ((1e9, "B"), (1e6, "M"), (1e3, "k"))


def plot_token(token: TokenView[object], until: int, ax: Axes | None = None) -> Axes:
    """Draw the prices, trades and gaps of one token up to a time (ns); return the axes, new ones by default."""
    axes = new_figure()[1][0] if ax is None else ax
    prices, trades = token.prices, token.trades
    view = price_view(
        prices,
        trades,
        token.gaps,
        token_id=token.token_id,
        label=label_of(token),
        now_ms=until / 1e6,
        most=max(prices.height, 10 * trades.height),
    )
    PricePlot(axes).draw(view)
    return axes


def plot_candles(token: TokenView[object], until: int, ax: Axes | None = None, *, every: Interval = "1m") -> Axes:
    """Draw candles of the mid of one token up to a time (ns), the last 5,000; return the axes, new ones by default.

    Raises:
        ValueError: ``every`` is not an interval.
    """
    candles = Candles(token.token_id, interval(every))
    view = candle_view(candles, token.prices, token.trades, token.gaps, label=label_of(token), now_ms=until / 1e6)
    axes = new_figure()[1][0] if ax is None else ax
    CandlePlot(axes).draw(view)
    return axes


class CandlePlot(TimePlot[CandleView]):
    """Candles, volumes below them, and gaps."""

    name = "Candles"

    def __init__(self, axes: Axes) -> None:
        self._wicks = [LineCollection([], colors=colour, linewidths=1) for _, colour, _ in _KINDS]
        self._bodies = [_boxes(name, colour, filled=filled) for name, colour, filled in _KINDS]
        self._volumes = [_boxes(name, colour, filled=filled) for name, colour, filled in _KINDS]
        for volumes in self._volumes:
            volumes.set_transform(axes.get_xaxis_transform())
        self._most = axes.text(0.006, _VOLUMES + _APART / 2, "", transform=axes.transAxes, color=_QUIET, bbox=PAPER)
        self._most.set_fontsize(letters_of(axes).small)
        self._marks = _VolumeMarks(axes)
        self._prices = _AboveLocator()
        axes.yaxis.set_major_locator(self._prices)
        collections = [*self._wicks, *self._bodies, *self._volumes]
        for collection in collections:
            axes.add_collection(collection, autolim=False)
        super().__init__(axes, [*collections, self._most, *self._marks.artists])
        explain(axes, self._bodies, [name for name, _, _ in _KINDS])

    def update(self, view: CandleView) -> Extent:
        """Show candles, those that a gap touches in grey."""
        candles = np.concatenate([view["candles"], view["forming"]])
        now = max(view["now"], float(candles[-1, START])) if len(candles) else view["now"]
        begin = now - view["window"] if view["window"] else -np.inf
        candles = candles[candles[:, START] + view["length"] > begin]
        self._axes.set_xlabel(f"time, UTC; {view['every']} of {view['of']}", loc="left")
        most = float(candles[:, VOLUME].max(initial=0.0))
        self._most.set_text(f"shares traded, {most:,.0f} at most" if most else "nothing traded")
        self._marks.show(most)
        for kind, chosen in enumerate(_kinds(candles)):
            self._wicks[kind].set_segments(_wicks(candles[chosen], view["length"]))
            bodies = np.sort(candles[chosen][:, [OPEN, CLOSE]])
            self._bodies[kind].set_verts(_rectangles(candles[chosen], bodies[:, 0], bodies[:, 1], view["length"]))
            traded = candles[chosen & (candles[:, VOLUME] > 0)]
            heights = traded[:, VOLUME] / (most or 1.0) * _VOLUMES
            self._volumes[kind].set_verts(_rectangles(traded, np.zeros_like(heights), heights, view["length"]))
        self._shade(view, now)
        return self._reach(view, candles, now)

    def _reach(self, view: CandleView, candles: Numbers, now: float) -> Extent:
        """Reach over the candles, with room for the volumes below."""
        first = begin_ms(candles[:, START], now, 0.0) if len(candles) else begin_ms(candles, now, view["window"])
        end = float(candles[-1, START]) + view["length"] if len(candles) else now
        left, right = dates_of(np.array([first, max(end, now)]))
        prices = candles[:, [LOW, HIGH]]
        finite = prices[np.isfinite(prices)]
        low, high = (float(finite.min()), float(finite.max())) if len(finite) else (0.0, 1.0)
        low, high = low - _LEAST_HEIGHT, high + _LEAST_HEIGHT
        marked = view.get("marked")
        # Below the prices are the volumes.
        self._show_mark(marked if marked is not None and low <= marked <= high else None)
        self._prices.low = low
        below = (_VOLUMES + _APART) / (1 - _VOLUMES - _APART - _ABOVE)
        above = _ABOVE / (1 - _VOLUMES - _APART - _ABOVE)
        return Extent(float(left), float(right), low - below * (high - low), high + above * (high - low))


class _AboveLocator(AutoLocator):
    """Marks of prices, but none below the lowest, where volumes are."""

    def __init__(self) -> None:
        super().__init__()
        self.low = 0.0

    def __call__(self) -> Sequence[float]:
        return [price for price in np.asarray(super().__call__()).tolist() if price >= self.low]


class _VolumeMarks:
    """Beside volumes, where none and a round number of shares are; they change with every drawing."""

    def __init__(self, axes: Axes) -> None:
        mark: dict[str, Any] = {"linestyle": "none", "marker": TICKLEFT, "clip_on": False}
        self._ticks = Line2D([], [], transform=axes.transAxes, **mark)
        self._ticks.set(color=rcParams["ytick.color"], markersize=rcParams["ytick.major.size"])
        self._ticks.set_markeredgewidth(rcParams["ytick.major.width"])
        axes.add_line(self._ticks)
        how: dict[str, Any] = {"fontsize": letters_of(axes).small, "ha": "right", "va": "center"}
        away = -rcParams["ytick.major.size"] - rcParams["ytick.major.pad"]
        how |= {"xycoords": axes.transAxes, "textcoords": "offset points", "xytext": (away, 0)}
        self._none, self._some = axes.annotate("0", (0, 0), **how), axes.annotate("", (0, 0), **how)
        self.artists: list[Artist] = [self._ticks, self._none, self._some]

    def show(self, most: float) -> None:
        """Mark none and the largest of 1, 2 and 5 times a power of ten shares that is no more than ``most``."""
        for artist in self.artists:
            artist.set_visible(most > 0)
        if most > 0:
            some = round_below(most)
            height = some / most * _VOLUMES
            self._ticks.set_data([0, 0], [0, height])
            self._some.xy = (0, height)
            self._some.set_text(short_count(some))


def round_below(most: float) -> float:
    """Return the largest of 1, 2 and 5 times a power of ten that is no more than a number above 0.

    >>> [round_below(most) for most in (7_420, 2_000, 0.3)]
    [5000.0, 2000.0, 0.2]
    """
    power = math.floor(math.log10(most) + 1e-9)
    times = max(each for each in (1, 2, 5) if float(f"{each}e{power}") <= most * (1 + 1e-9))
    return float(f"{times}e{power}")


def short_count(count: float) -> str:
    """Write a round number shortly.

    >>> [short_count(count) for count in (0.5, 200, 5_000, 100_000, 2e6)]
    ['0.5', '200', '5k', '100k', '2M']
    """
    size, unit = next(((size, unit) for size, unit in _COUNTS if count >= size), (1, ""))
    return f"{count / size:g}{unit}"


def _boxes(name: str, colour: str, *, filled: bool) -> PolyCollection:
    hatch = _HATCH if colour == _QUIET else None
    face = colour if filled else "white"
    return PolyCollection([], facecolor=face, edgecolor=colour, linewidth=1, hatch=hatch, label=name, zorder=3)


def _kinds(candles: Numbers) -> list[Flags]:
    """Choose the candles of each kind."""
    touched, fell = candles[:, TOUCHED] > 0, candles[:, CLOSE] < candles[:, OPEN]
    return [~touched & ~fell, ~touched & fell, touched]


def _rectangles(candles: Numbers, low: Numbers, high: Numbers, length: float) -> list[Numbers]:
    """Outline what is between two heights in the middle of each interval."""
    beside = (1 - _WIDE) / 2 * length
    lefts, rights = dates_of(candles[:, START] + beside), dates_of(candles[:, START] + length - beside)
    corners = np.stack([lefts, low, lefts, high, rights, high, rights, low], axis=1).reshape(-1, 4, 2)
    return list(corners[np.isfinite(corners).all(axis=(1, 2))])


def _wicks(candles: Numbers, length: float) -> list[Numbers]:
    """Draw the lines from a body to the lowest and to the highest price."""
    middle = dates_of(candles[:, START] + length / 2)
    bodies = np.sort(candles[:, [OPEN, CLOSE]])
    ends = ((candles[:, LOW], bodies[:, 0]), (bodies[:, 1], candles[:, HIGH]))
    lines = np.concatenate([np.stack([middle, low, middle, high], axis=1).reshape(-1, 2, 2) for low, high in ends])
    return list(lines[np.isfinite(lines).all(axis=(1, 2))])


# --- coverage ---
# The coverage of a recording's tokens, as a matplotlib figure: when each was followed and could be trusted.

# The tokens that are drawn, those least covered first, and the faults that are named, the longest first.
_TOKENS = 40
_NAMED = 6
_LABEL = 56


class _Bar(NamedTuple):
    """How intervals are drawn: those in which the book could not be trusted are thinner, and hatched."""

    name: str
    height: float
    look: dict[str, Any]


_BARS = {
    True: _Bar("the book could be trusted", 0.7, {"facecolor": LIGHT.bid, "edgecolor": LIGHT.ground, "lw": 0}),
    False: _Bar("it could not", 0.34, {"facecolor": LIGHT.ask, "edgecolor": LIGHT.ground, "lw": 0, "hatch": "//////"}),
}


def coverage_figure(quality: Quality) -> Figure:
    """Draw a bar for each token, and name the longest faults of the recording above them."""
    tokens = sorted(quality.tokens, key=lambda token: (token.coverage, token.label))[:_TOKENS]
    figure, (axes,) = new_figure(height=1.1 + 0.26 * max(3, len(tokens)))
    for row, token in enumerate(tokens):
        intervals = quality.intervals.filter(pl.col("token_id") == token.token_id)
        for trusted, bar in _BARS.items():
            _draw_spans(axes, row, intervals.filter(pl.col("trusted") == trusted), bar)
    _label_axes(axes, tokens)
    first, last = quality.first_time or 0, quality.last_time or 1
    axes.set_xlim(_date(first), _date(last))
    for fault in sorted(quality.faults, key=_length_ns, reverse=True)[:_NAMED]:
        _name_fault(axes, fault, side="left" if fault.started < (first + last) / 2 else "right")
    return figure


def _draw_spans(axes: Axes, row: int, spans: pl.DataFrame, bar: _Bar) -> None:
    starts, ends = dates(spans["start"]), dates(spans["end"])
    axes.barh(np.full(len(starts), row), ends - starts, left=starts, **bar.look, height=bar.height)


def _label_axes(axes: Axes, tokens: list[TokenQuality]) -> None:
    show_times(axes)
    axes.tick_params(labelsize=8)
    for text in (axes.xaxis.label, axes.xaxis.offsetText):
        text.set_fontsize(8)
    axes.set_ylim(len(tokens) - 0.4, -0.6)
    names = [f"{_shortened(token.label)}  {token.coverage:.1%}" for token in tokens]
    axes.set_yticks(range(len(tokens)), names, fontsize=8, parse_math=False)
    axes.tick_params(axis="y", length=0)
    axes.spines[["top", "right", "left"]].set_visible(False)
    handles = [Patch(**bar.look, label=bar.name) for bar in _BARS.values()]
    axes.figure.legend(handles=handles, loc="outside lower right", ncols=2, fontsize=8, frameon=False)


def _name_fault(axes: Axes, fault: Fault, *, side: Literal["left", "right"]) -> None:
    length = "no known end" if fault.ended is None else f"{_length_ns(fault) / 1e9:.1f} s"
    axes.annotate(
        f"{fault.cause}, {length}",
        (_date(fault.started), 1),
        xycoords=("data", "axes fraction"),
        xytext=(0, 3),
        textcoords="offset points",
        ha=side,
        fontsize=8,
    )


def _date(time_ns: int) -> float:
    return float(date2num(np.datetime64(time_ns // 1000, "us")))


def _length_ns(fault: Fault) -> int:
    """Return the nanoseconds that a fault lasted; one without an end is the longest."""
    return 2**63 if fault.ended is None else fault.ended - fault.started


def _shortened(label: str) -> str:
    question, _, outcome = printable(label).rpartition(" - ")
    room = _LABEL - len(outcome)
    return f"{question if len(question) <= room else f'{question[: room - 1].rstrip()}…'} - {outcome}"
