"""Candle charts drawn with matplotlib: candles above, the shares that were traded below, on one axis of time."""

# matplotlib's stubs leave the types of data open.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false

from functools import partial
from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.dates import date2num
from matplotlib.ticker import FuncFormatter

from pmlive.analysis.palette import LIGHT
from pmlive.manager.token_view import TokenView
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
from pmlive.widgets.figures import Extent, TimePlot, label_of, new_figure
from pmlive.widgets.spans import Flags
from pmlive.widgets.views import Numbers

__all__ = ["CandlePlot", "plot_candles"]

_ROSE, _FELL, _QUIET = LIGHT.bid, LIGHT.ask, LIGHT.quiet
# The kinds of candles: their names, colours, and whether they are filled. Gaps are hatched besides.
_KINDS: Final = (("rose", _ROSE, False), ("fell", _FELL, True), ("in part a gap", _QUIET, False))
_HATCH = "/////"
# The share of an interval that a candle is wide, and of the height: of volumes, the space above them, and that on top.
_WIDE, _VOLUMES, _APART, _ABOVE = 0.7, 0.2, 0.1, 0.05
# Prices that stand still are shown with this much around them.
_LEAST = 0.005


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
        self._most = axes.text(0.006, _VOLUMES + _APART / 2, "", transform=axes.transAxes, fontsize=7, color=_QUIET)
        collections = [*self._wicks, *self._bodies, *self._volumes]
        for collection in collections:
            axes.add_collection(collection, autolim=False)
        super().__init__(axes, [*collections, self._most])
        axes.legend(handles=self._bodies, loc="lower right", bbox_to_anchor=(1, 1), ncols=3, fontsize=8, frameon=False)

    def update(self, view: CandleView) -> Extent:
        """Show candles, those that a gap touches in grey."""
        candles = np.concatenate([view["candles"], view["forming"]])
        now = max(view["now"], float(candles[-1, START])) if len(candles) else view["now"]
        begin = now - view["window"] if view["window"] else -np.inf
        candles = candles[candles[:, START] + view["length"] > begin]
        self._axes.set_xlabel(f"UTC; {view['every']} of {view['of']}")
        most = float(candles[:, VOLUME].max(initial=0.0))
        self._most.set_text(f"shares traded, {most:,.0f} at most" if most else "nothing traded")
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
        first = float(candles[0, START]) if len(candles) else now - 1000
        end = float(candles[-1, START]) + view["length"] if len(candles) else now
        left, right = _dates(np.array([first, max(end, now)]))
        prices = candles[:, [LOW, HIGH]]
        finite = prices[np.isfinite(prices)]
        low, high = (float(finite.min()), float(finite.max())) if len(finite) else (0.0, 1.0)
        low, high = low - _LEAST, high + _LEAST
        self._axes.yaxis.set_major_formatter(FuncFormatter(partial(_price_text, low)))
        below = (_VOLUMES + _APART) / (1 - _VOLUMES - _APART - _ABOVE)
        above = _ABOVE / (1 - _VOLUMES - _APART - _ABOVE)
        return Extent(float(left), float(right), low - below * (high - low), high + above * (high - low))


def _price_text(low: float, price: float, _: object) -> str:
    """Write a price, but none where volumes are."""
    return f"{price:g}" if price >= low else ""


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
    lefts, rights = _dates(candles[:, START] + beside), _dates(candles[:, START] + length - beside)
    corners = np.stack([lefts, low, lefts, high, rights, high, rights, low], axis=1).reshape(-1, 4, 2)
    return list(corners[np.isfinite(corners).all(axis=(1, 2))])


def _wicks(candles: Numbers, length: float) -> list[Numbers]:
    """Draw the lines from a body to the lowest and to the highest price."""
    middle = _dates(candles[:, START] + length / 2)
    bodies = np.sort(candles[:, [OPEN, CLOSE]])
    ends = ((candles[:, LOW], bodies[:, 0]), (bodies[:, 1], candles[:, HIGH]))
    lines = np.concatenate([np.stack([middle, low, middle, high], axis=1).reshape(-1, 2, 2) for low, high in ends])
    return list(lines[np.isfinite(lines).all(axis=(1, 2))])


def _dates(times: Numbers) -> Numbers:
    return np.asarray(date2num(times.astype("datetime64[ms]")), dtype=np.float64)
