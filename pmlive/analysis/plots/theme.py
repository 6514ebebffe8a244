"""The look of figures in papers: widths, fonts, colours, the shapes that double colours, and axes of times."""

# matplotlib's stubs leave the types of data open.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from collections.abc import Sequence
from contextlib import ExitStack
from contextvars import ContextVar
from datetime import datetime, timedelta
from functools import cache
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt
import polars as pl
from cycler import cycler
from matplotlib import rcParams
from matplotlib.axes import Axes
from matplotlib.dates import HOURLY, MINUTELY, MONTHLY, SECONDLY, AutoDateLocator, date2num, num2date
from matplotlib.font_manager import FontProperties, findfont, get_font
from matplotlib.style import use
from matplotlib.textpath import text_to_path
from matplotlib.ticker import Formatter

from pmlive.analysis.palette import LIGHT

__all__ = [
    "APART",
    "ASK",
    "BID",
    "HEIGHTS",
    "LINES",
    "MARKERS",
    "NOTE",
    "PRINTED_DPI",
    "SERIES",
    "SIZES",
    "WIDTHS",
    "Style",
    "Width",
    "dates",
    "fitted",
    "label_width",
    "length_points",
    "printable",
    "show_times",
    "style",
]

# A column of a page with two, or the text of a page with one.
Width: TypeAlias = Literal["column", "page"]

WIDTHS: dict[Width, float] = {"column": 3.4, "page": 7.0}

# Any two differ by 34 or more in CIE Lab (1976), and so does each from white, also for eyes that lack one of the three
# kinds of cones.
SERIES = ("#1f4e79", "#d96f1e", "#10a898", "#502818", "#b088e8")
# The same as in charts of the browser.
BID, ASK = LIGHT.bid, LIGHT.ask
LINES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)))
MARKERS = ("o", "s", "^", "D", "v")

# What stands in every figure, beside its title.
NOTE: ContextVar[str] = ContextVar("NOTE", default="")

HEIGHTS: dict[Width, float] = {"column": 2.4, "page": 2.9}
# A figure is printed in its own size, so its letters have the size that the page gives to captions and notes.
SIZES: dict[Width, tuple[float, float]] = {"column": (8.0, 7.0), "page": (9.0, 8.0)}
# Pixels of an inch in print, and on a screen, where a column would be too small to read.
_DPI: dict[Width, float] = {"column": 160.0, "page": 110.0}
PRINTED_DPI = 300.0


class Style(ExitStack):
    """A style that is applied, and taken back at the end of a ``with`` block."""

    def __init__(self, width: Width) -> None:
        super().__init__()
        self.width: Width = width

    def __repr__(self) -> str:
        """Name the width."""
        return f"<Style of figures {WIDTHS[self.width]} inches wide>"


def style(width: Width = "page", *, height: float | None = None, note: str = "") -> Style:
    """Apply the style of papers to all figures and tables from now on, or in a ``with`` block.

    New figures are as wide as a column (3.4 inches) or a page (7 inches) and ``height`` inches high, to be printed in
    that size: letters are 7 to 9 points. Fonts are embedded as TrueType in PDF, as journals demand. The colours can be
    told apart by people who are colour-blind, and each line has a pattern of its own. Frames print without their shape
    and types. A ``note``, such as ``"simulated"``, stands beside the title of each figure of this package, so that a
    picture that is taken out of its page still says it.

    Raises:
        ValueError: ``width`` is not one of its two words, or ``height`` is not above 0.

    >>> from matplotlib import pyplot
    >>> with style("column"):
    ...     pyplot.rcParams["figure.figsize"]
    [3.4, 2.4]
    """
    if width not in WIDTHS:
        raise ValueError(f"invalid width {width!r}; expected 'column' or 'page'")
    if height is not None and not height > 0:
        raise ValueError(f"invalid height {height!r}; expected inches above 0")
    settings = _settings(width, HEIGHTS[width] if height is None else height)
    applied = Style(width)
    before = {name: value for name, value in rcParams.items() if name in settings}
    applied.callback(use, before)
    use(settings)
    applied.callback(NOTE.set, NOTE.get())
    NOTE.set(note)
    applied.push(
        pl.Config(
            tbl_hide_dataframe_shape=True,
            tbl_hide_column_data_types=True,
            fmt_str_lengths=60,
            tbl_cols=12,
            tbl_width_chars=120,
        )
    )
    return applied


def _settings(width: Width, height: float) -> dict[str, object]:
    large, small = SIZES[width]
    return {
        "figure.figsize": (WIDTHS[width], height),
        "figure.dpi": _DPI[width],
        "figure.constrained_layout.use": True,
        "savefig.dpi": PRINTED_DPI,
        "pdf.fonttype": 42,
        "ps.fonttype": 42,
        "font.size": large,
        "axes.titlesize": large,
        "axes.labelsize": large,
        "xtick.labelsize": small,
        "ytick.labelsize": small,
        "legend.fontsize": small,
        "axes.titlelocation": "left",
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.linewidth": 0.6,
        "xtick.major.width": 0.6,
        "ytick.major.width": 0.6,
        "lines.linewidth": 1.2,
        "lines.markersize": 3.5,
        "legend.frameon": False,
        "axes.prop_cycle": cycler(color=SERIES, linestyle=LINES),
        "image.cmap": "cividis",
        "date.converter": "concise",
    }


# --- texts ---
# Texts in figures: what their font can write, and how wide a label is.

# Labels are apart if their distance is so many times their width.
APART = 1.15
_POINTS = 72.0


def printable(text: str) -> str:
    """Replace letters that the font does not have by a mark."""
    drawable = _drawable(*rcParams["font.family"])
    return "".join(letter if ord(letter) in drawable else "\N{WHITE SQUARE}" for letter in text)


def _text_width(text: str, size: float) -> float:
    """Return how many points a text is wide in letters of ``size`` points."""
    return text_to_path.get_text_width_height_descent(text, FontProperties(size=size), ismath=False)[0]


def label_width(ax: Axes, text: str) -> float:
    """Return how many points a label of the horizontal axis is wide."""
    size = ax.xaxis.get_tick_params().get("labelsize", rcParams["xtick.labelsize"])
    return _text_width(text, FontProperties(size=size).get_size_in_points())


def fitted(text: str, size: float, room: float) -> str:
    """Shorten a text until it is no wider than ``room`` points; what follows its last " - ", an outcome, stays.

    >>> fitted("Will it rain in London on New Year's Eve? - No", 10, 150)
    'Will it rain in London o… - No'
    >>> fitted("Will it rain in London on New Year's Eve?", 10, 150)
    'Will it rain in London on Ne…'
    """
    question, dash, outcome = text.rpartition(" - ") if " - " in text else (text, "", "")
    shown, letters = text, len(question)
    while letters and _text_width(shown, size) > room:
        letters -= 1
        shown = f"{question[:letters].rstrip()}…{dash}{outcome}"
    return shown


def length_points(ax: Axes) -> float:
    """Return how many points axes are long."""
    return ax.bbox.width * _POINTS / float(ax.figure.dpi) or 1.0


@cache
def _drawable(*families: str) -> frozenset[int]:
    return frozenset(get_font(findfont(FontProperties(family=list(families)))).get_charmap())


# --- axes of times ---
# Axes of times, in UTC.

_Floats: TypeAlias = npt.NDArray[np.float64]

# So many ticks are tried, the most that have room are taken.
_TICKS = (7, 6, 5, 4, 3, 2)
# Steps between ticks, up to one of the next unit, so that there is always one that is long enough.
_STEPS = {
    MONTHLY: [1, 2, 3, 4, 6, 12],
    HOURLY: [1, 2, 3, 4, 6, 12, 24],
    MINUTELY: [1, 2, 5, 10, 15, 30, 60],
    SECONDLY: [1, 2, 5, 10, 15, 30, 60],
}


def dates(times: pl.Series) -> _Floats:
    """Return times as matplotlib counts them, in days."""
    return np.asarray(date2num(times.dt.epoch("us").to_numpy().astype("datetime64[us]")), dtype=np.float64)


def show_times(ax: Axes) -> None:
    """Label an axis of times in UTC, with the days that it covers at its end."""
    ax.xaxis_date("UTC")
    ax.xaxis.set_major_locator(_TimeLocator(ax))
    ax.xaxis.set_major_formatter(_TimeFormatter(ax))
    # The days stand at the other end.
    ax.set_xlabel("time, UTC", loc="left")


class _TimeLocator(AutoDateLocator):
    """Whole times, as many as there is room for, with labels that do not reach beyond the axis."""

    def __init__(self, ax: Axes) -> None:
        super().__init__(tz="UTC")
        self.intervald |= _STEPS
        self._ax = ax

    def __call__(self) -> Sequence[float]:
        found: _Floats = np.empty(0)
        for most in _TICKS:
            self.minticks, self.maxticks = most - 1, dict.fromkeys(self.maxticks, most)
            found = self._inside(np.asarray(super().__call__(), dtype=np.float64))
            if len(found) and self._are_apart(found):
                break
        return found.tolist()

    def _inside(self, ticks: _Floats) -> _Floats:
        left, right = sorted(self._ax.get_xlim())
        half = self._days(ticks) / 2
        return ticks[(ticks - half >= left) & (ticks + half <= right)]

    def _are_apart(self, ticks: _Floats) -> bool:
        width = self._days(ticks)
        return bool((np.diff(ticks) > APART * (width[1:] + width[:-1]) / 2).all())

    def _days(self, ticks: _Floats) -> _Floats:
        """Return the widths of labels, in days."""
        left, right = sorted(self._ax.get_xlim())
        widths = np.array([label_width(self._ax, label) for label in _labels(ticks)])
        return widths * (right - left) / length_points(self._ax)


class _TimeFormatter(Formatter):
    """Times of the day, days or months, whatever the ticks are, and which days or years the axis covers."""

    def __init__(self, ax: Axes) -> None:
        self._ax = ax
        self._format = ""

    def __call__(self, x: float, pos: int | None = None) -> str:
        del pos
        return _labels([x])[0]

    def format_ticks(self, values: Sequence[float]) -> list[str]:
        self._format = _format(list(map(_moment, values)))
        return _labels(values)

    def get_offset(self) -> str:
        left, right = sorted(map(_moment, self._ax.get_xlim()))
        if "%H" in self._format:
            return _days(left, max(left, right - timedelta(microseconds=1)))
        if "%d" in self._format:
            return str(left.year) if left.year == right.year else f"{left.year}\N{EN DASH}{right.year}"
        return ""


def _labels(values: Sequence[float] | _Floats) -> list[str]:
    """Write times as precisely as their ticks need, and a midnight among times of the day as the day."""
    times = list(map(_moment, values))
    form = _format(times)
    written = [
        f"{time:%d %b}" if form == "%H:%M" and not (time.hour or time.minute) else f"{time:{form}}" for time in times
    ]
    zeros = min((len(text) - len(text.rstrip("0")) for text in written), default=0) if form.endswith("%f") else 0
    return [text[: len(text) - zeros] for text in written]


def _format(times: Sequence[datetime]) -> str:
    if any(time.microsecond for time in times):
        return "%H:%M:%S.%f"
    if any(time.second for time in times):
        return "%H:%M:%S"
    if any(time.hour or time.minute for time in times):
        return "%H:%M"
    if any(time.day > 1 for time in times):
        return "%d %b"
    return "%b %Y" if any(time.month > 1 for time in times) else "%Y"


def _days(first: datetime, last: datetime) -> str:
    """Write the days from one to another, with month and year once if they are the same."""
    end = f"{last.day} {last:%b %Y}"
    if first.year != last.year:
        return f"{first.day} {first:%b %Y} \N{EN DASH} {end}"
    if first.month != last.month:
        return f"{first.day} {first:%b} \N{EN DASH} {end}"
    return end if first.day == last.day else f"{first.day}\N{EN DASH}{end}"


def _moment(days: float) -> datetime:
    return num2date(days, tz="UTC")
