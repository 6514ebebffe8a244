"""The user's own orders and fills drawn with matplotlib, over a chart of prices."""

# matplotlib's stubs leave the types of data open.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false

from typing import Final

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.dates import date2num
from matplotlib.lines import Line2D

from pmlive.analysis.palette import LIGHT
from pmlive.widgets.own import BUYS, END, FAILED, PRICE, SINCE, latest
from pmlive.widgets.views import Numbers, PriceView

__all__ = ["OwnMarks"]

_EDGE = LIGHT.text
# Those who buy and those who sell: their colours, patterns of lines and marks, as of trades.
_SIDES: Final = ((LIGHT.bid, "-", "^"), (LIGHT.ask, (0, (4, 1.5)), "v"))
_MARK = 10.0


class OwnMarks:
    """The artists that show own orders and fills on axes of prices."""

    def __init__(self, axes: Axes) -> None:
        self._orders = [LineCollection([], colors=c, linestyles=[p], linewidths=2.2, zorder=4) for c, p, _ in _SIDES]
        for orders in self._orders:
            axes.add_collection(orders, autolim=False)
        # Those that did not fail to settle, then those that did, which are empty.
        self._fills = [
            Line2D([], [], linestyle="none", marker=mark, color=colour, fillstyle=style, markersize=_MARK)
            for colour, _, mark in _SIDES
            for style in ("full", "none")
        ]
        for fills in self._fills:
            fills.set(markeredgecolor=_EDGE, zorder=5)
            axes.add_line(fills)
        self.artists: list[Artist] = [*self._orders, *self._fills]

    def update(self, view: PriceView, now: float) -> None:
        """Show orders, those that rest until now."""
        orders, fills = latest(view.get("orders", np.empty((0, 5)))), latest(view.get("fills", np.empty((0, 6))))
        for side, lines in enumerate(self._orders):
            its = orders[orders[:, BUYS] == 1 - side]
            lefts, rights = _dates(its[:, SINCE]), _dates(np.nan_to_num(its[:, END], nan=now))
            ends = np.stack([lefts, its[:, PRICE], rights, its[:, PRICE]], axis=1).reshape(-1, 2, 2)
            lines.set_segments(list(ends))
        for place, marks in enumerate(self._fills):
            side, failed = divmod(place, 2)
            its = fills[(fills[:, BUYS] == 1 - side) & (fills[:, FAILED] == failed)]
            marks.set_data(_dates(its[:, SINCE]), its[:, PRICE])


def _dates(times: Numbers) -> Numbers:
    return np.asarray(date2num(times.astype("datetime64[ms]")), dtype=np.float64)
