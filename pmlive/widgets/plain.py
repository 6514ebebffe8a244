"""The charts and tables made of Jupyter's own widgets, for front ends that load no script of ours.

They have the names and parameters of those in ``pmlive.widgets``. A chart is an ``Image``: a picture that is drawn in
the kernel, for the same view by the same drawing as the figures; a table is ``HTML``. Nothing comes back from the
browser, so they are drawn whether somebody looks or not, at most five times a second by default.
"""

# ipywidgets says nothing of its types.
# pyright: reportUnknownMemberType=false
# pyright: reportMissingTypeStubs=false

import time
from abc import abstractmethod
from collections.abc import Collection, Mapping
from html import escape
from typing import cast

import ipywidgets
import numpy as np

from pmlive.logs import get_logger
from pmlive.manager import Manager
from pmlive.manager.glance import Asked, Glance, Mark
from pmlive.widgets.charts import Chart, Depth, Heat, Price
from pmlive.widgets.drawings import DepthDrawing, HeatDrawing, PriceDrawing
from pmlive.widgets.drawn import Drawn, marks_of
from pmlive.widgets.easel import Easel
from pmlive.widgets.packing import pack
from pmlive.widgets.panels import Levels, Recording, Status, Table, Trades
from pmlive.widgets.views import Numbers, View

__all__ = ["DepthChart", "HeatMap", "Ladder", "PriceChart", "RecordingPanel", "StatusPanel", "Tape"]

logger = get_logger(__name__)

# So many of the last rows are drawn.
_CAPACITY = 20_000
# Ticks come a little early or late.
_SLACK = 0.005


class Plain(Drawn):
    """Something whose value is replaced when what it shows has changed."""

    def _prepare(self, every: float) -> None:
        self._every = every
        self._drawn_at = time.monotonic()
        self._wanted = self._whole = False

    def _opening(self, view: View) -> dict[str, object]:
        self._packed = pack(view)
        return {"value": self._value(view), **self._made_with()}

    @abstractmethod
    def _value(self, view: View, problem: str = "") -> object:
        """Make what is sent of a view, with what went wrong."""

    @abstractmethod
    def _made_with(self) -> dict[str, object]:
        """Give the traits that stay as they are."""

    def _anew(self) -> None:
        self._wanted = True

    @property
    def every(self) -> float:
        """The least seconds between two drawings."""
        return self._every

    def due(self, now: float) -> bool:
        """Tell whether to draw now."""
        return self._wanted or now - self._drawn_at >= self._every - _SLACK

    def asks(self, now: float) -> Asked:
        """Ask for what is new, or for everything."""
        self._drawn_at = now
        self._whole, self._wanted = self._wanted, False
        marks: Mapping[str, Mark] = {} if self._whole else self._marks
        return self._asked({table: marks.get(table) for table in self._tables})

    def paint(self, glance: Glance, now: float) -> None:
        """Draw and send, if anything changed."""
        del now
        view, self._marks = self._view(glance), marks_of(glance)
        if not (self._whole or any(news.whole for news in glance.news.values())):
            view = _grown(self._kept, view, self._grows)
        packed = pack(view)
        if packed == self._packed and not self._problem:
            return
        self._kept, self._packed, self._problem = view, packed, ""
        self._give(self._value(view))

    def fail(self, error: Exception) -> None:
        """Show why it could not be drawn."""
        self._anew()
        problem = f"this could not be drawn: {type(error).__name__}: {error}"
        if problem != self._problem:
            logger.error("a widget could not be drawn", exc_info=error)
            self._problem = problem
            self._give(self._value(self._kept, problem))

    def _give(self, value: object) -> None:
        self.set_trait("value", value)


class Picture(Plain, Chart, ipywidgets.Image):
    """A chart that is drawn in the kernel."""

    _easel: Easel

    def _value(self, view: View, problem: str = "") -> object:
        return self._easel.draw({**view, "doubt": problem} if problem else view)

    def _made_with(self) -> dict[str, object]:
        # Beside something higher it keeps its shape.
        return {"format": "png", "layout": {"width": "100%", "object_fit": "contain", "align_self": "flex-start"}}


class Page(Plain, Table, ipywidgets.HTML):
    """A table that is made in the kernel."""

    def _value(self, view: View, problem: str = "") -> object:
        said = f"<p style='color: #c62828'>{escape(problem)}</p>" if problem else ""
        return f"{view['html']}{said}"

    def _made_with(self) -> dict[str, object]:
        return {}


class PriceChart(Price, Picture):
    """Best bid and ask, the band between them, their middle, trades as marks, and gaps shaded.

    Args:
        manager: whose token.
        token_id: the token, by default the first that is watched.
        window: how many of the last seconds are shown, None for everything.
        rate: the most drawings a second, 30 at most.
    """

    def __init__(
        self, manager: Manager, token_id: str | None = None, *, window: float | None = 300.0, rate: float = 5.0
    ) -> None:
        self._easel = Easel(PriceDrawing, over_time=True)
        super().__init__(manager, token_id, window=window, rate=rate)


class HeatMap(Heat, Picture):
    """How much rested at each price over time.

    Args:
        manager: whose token.
        token_id: the token, by default the first that is watched.
        window: how many of the last seconds are shown, None for everything.
        rate: the most drawings a second, 30 at most.
    """

    def __init__(
        self, manager: Manager, token_id: str | None = None, *, window: float | None = 300.0, rate: float = 2.0
    ) -> None:
        self._easel = Easel(HeatDrawing, over_time=True)
        super().__init__(manager, token_id, window=window, rate=rate)


class DepthChart(Depth, Picture):
    """Cumulative depth: how many shares rest up to each price.

    Args:
        manager: whose token.
        token_id: the token, by default the first that is watched.
        rate: the most drawings a second, 30 at most.
    """

    def __init__(self, manager: Manager, token_id: str | None = None, *, rate: float = 5.0) -> None:
        self._easel = Easel(DepthDrawing, over_time=False)
        super().__init__(manager, token_id, rate=rate)


class StatusPanel(Status, Page):
    """Connections, subscriptions, rate, lag, checks and gaps."""


class RecordingPanel(Recording, Page):
    """What was written: rows, bytes, files, and the space that is left on the disk."""


class Tape(Trades, Page):
    """The last trades of everything that is watched, or of one token."""


class Ladder(Levels, Page):
    """The best levels of a book."""


def _grown(before: View, new: View, grows: Collection[str]) -> View:
    """Add rows to those before; a slice that comes again replaces the one before."""
    grown = dict(new)
    again = "slice" in new and _comes_again(cast("Numbers", before["times"]), cast("Numbers", new["times"]))
    for name in grows:
        rows = cast("Numbers", before[name])
        grown[name] = np.concatenate([rows[:-1] if again else rows, cast("Numbers", new[name])])[-_CAPACITY:]
    return grown


def _comes_again(before: Numbers, new: Numbers) -> bool:
    return len(before) > 0 and len(new) > 0 and bool(before[-1] == new[0])
