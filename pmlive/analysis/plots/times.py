"""Axes of times, in UTC."""

# matplotlib's stubs leave the types of data open.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import polars as pl
from matplotlib.axes import Axes
from matplotlib.dates import HOURLY, MINUTELY, MONTHLY, SECONDLY, AutoDateLocator, date2num, num2date
from matplotlib.ticker import Formatter

from pmlive.analysis.plots.lettering import APART, label_width, length_points

__all__ = ["dates", "show_times"]

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
