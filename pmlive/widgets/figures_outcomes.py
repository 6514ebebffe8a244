"""Charts of several outcomes drawn with matplotlib, each line with its name at its end."""

# matplotlib's stubs leave the types of data open.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false

from collections.abc import Sequence
from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.dates import date2num
from matplotlib.lines import Line2D

from pmlive.analysis.palette import LIGHT
from pmlive.analysis.plots.lettering import printable
from pmlive.analysis.plots.times import show_times
from pmlive.levels import price_decimals
from pmlive.widgets.figures import Extent, Plot
from pmlive.widgets.lines import MOST_LINES, LinesView
from pmlive.widgets.views import Numbers

__all__ = ["OutcomesPlot"]

# Each colour comes with each pattern, so that no two lines are the same.
_PATTERNS: Final = ((0, ()), (0, (6, 2)), (0, (2, 2)), (0, (6, 2, 2, 2)))
# Ask and bid of the first outcome, and over them, dashed, the same of it by the other one.
_MIRROR: Final = ((LIGHT.ask, 0), (LIGHT.bid, 0), (LIGHT.mid, 2), (LIGHT.mid, 2))
# Room for names at the right, as a share of the time; letters of a name; lines of text that the height has room for.
_NAMES, _LETTERS, _ROWS = 0.27, 24, 15
# Prices that stand still are shown with this much around them, and more room is left above and below.
_LEAST, _ROOM = 0.005, 0.06


class OutcomesPlot(Plot[LinesView]):
    """Stepped lines with names at their ends."""

    name = "Outcomes"

    def __init__(self, axes: Axes) -> None:
        self._lines = [Line2D([], [], drawstyle="steps-post", linewidth=1.3) for _ in range(MOST_LINES)]
        self._names = [axes.text(0, 0, "", fontsize=7.5, va="center", parse_math=False) for _ in range(MOST_LINES)]
        for name in self._names:
            name.set_in_layout(False)
        for line in self._lines:
            axes.add_line(line)
        show_times(axes)
        axes.set_ylabel("price, $ a share")
        super().__init__(axes, [*self._lines, *self._names])

    def update(self, view: LinesView) -> Extent:
        """Show lines, each holding its last value until now where its book can be trusted."""
        now = max(view["now"], float(view["times"][-1]) if len(view["times"]) else view["now"])
        first = min(float(view["times"][0]) if len(view["times"]) else now, now - 1000)
        begin = max(first, now - view["window"]) if view["window"] else first
        shown = [_points(view, number, now) for number in range(len(view["names"]))]
        for line, (times, values) in zip(self._lines, shown, strict=False):
            line.set_data(_dates(times), values)
        seen = np.concatenate([values[_until_next(times, now) > begin] for times, values in shown] or [np.empty(0)])
        seen = seen[np.isfinite(seen)]
        low, high = (float(seen.min()), float(seen.max())) if len(seen) else (0.0, 1.0)
        room = _ROOM * (high - low) + _LEAST
        left, right = (float(each) for each in _dates(np.array([begin, now])))
        extent = Extent(left, right + _NAMES * (right - left), low - room, high + room)
        self._name(view, [float(values[-1]) if len(values) else np.nan for _, values in shown], right, extent)
        return extent

    def _name(self, view: LinesView, ends: Sequence[float], right: float, extent: Extent) -> None:
        """Write each name beside the end of its line, or as near to it as there is room."""
        least = (extent.high - extent.low) / _ROWS
        places = spread(ends, least, extent.low + least / 2, extent.high - least / 2)
        for number, (line, text) in enumerate(zip(self._lines, self._names, strict=True)):
            is_shown = number < len(view["names"])
            line.set_visible(is_shown)
            text.set_visible(is_shown)
            if not is_shown:
                continue
            colour, pattern = _style(number, view["of"])
            is_doubted, is_empty = not view["holds"][number], bool(np.isnan(ends[number]))
            line.set(color=colour, linestyle=_PATTERNS[pattern])
            name = shortened(printable(view["names"][number]), _LETTERS)
            text.set(
                text=f"{name}  {'not trusted' if is_doubted else _price_text(ends[number])}",
                color=LIGHT.quiet if is_doubted or is_empty else colour,
                position=(right + 0.008 * (extent.right - extent.left), places[number]),
            )


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


def _dates(times: Numbers) -> Numbers:
    return np.asarray(date2num(times.astype("datetime64[ms]")), dtype=np.float64)
