"""The image backend: charts as pictures that the kernel draws, and tables as HTML, by Jupyter's own widgets.

They are for front ends that load no script of ours, and have the names and parameters of those in ``pmlive.widgets``.
A chart is an ``Image``: a picture of the same view by the same plot as the figures; a table is ``HTML``. Nothing comes
back from the browser, so they are drawn whether they are in sight or not, at most five times a second by default.
"""

# ipywidgets says nothing of its types, and matplotlib's stubs leave the types of data open.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportMissingTypeStubs=false

import math
import time
from abc import abstractmethod
from collections.abc import Callable, Mapping
from html import escape
from io import BytesIO
from typing import ClassVar, Generic, TypeVar

import ipywidgets
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from PIL import Image

from pmlive.logs import get_logger
from pmlive.manager.snapshots import Cursor, Query, Snapshot
from pmlive.widgets.base import ManagerWidget, cursors_of
from pmlive.widgets.candles import CandleView, append_candles
from pmlive.widgets.canvas import TICK_SLACK_S, pack
from pmlive.widgets.charts import (
    BaseCandleChart,
    BaseDepthChart,
    BaseHeatMap,
    BaseOutcomesChart,
    BasePriceChart,
    Drawn,
    Windowed,
)
from pmlive.widgets.figures import (
    DPI,
    DRAWING,
    SIZE,
    Extent,
    NotebookFigure,
    Pixels,
    Plot,
    set_limits,
    set_title,
)
from pmlive.widgets.lines import LinesView, append_lines
from pmlive.widgets.own import OWN_ROWS, append_own
from pmlive.widgets.tables import BaseLadder, BaseRecordingPanel, BaseStatusPanel, BaseTable, BaseTape
from pmlive.widgets.views import (
    ChartView,
    DepthView,
    HeatView,
    PriceView,
    View,
    append_prices,
    append_slices,
)

__all__ = [
    "CandleChart",
    "DepthChart",
    "HeatMap",
    "HtmlTable",
    "ImageChart",
    "ImageRenderer",
    "ImageWidget",
    "Ladder",
    "OutcomesChart",
    "PriceChart",
    "RecordingPanel",
    "StatusPanel",
    "Tape",
]

logger = get_logger(__name__)

V = TypeVar("V", bound=View)
C = TypeVar("C", bound=ChartView)

# So many of the last rows are drawn.
_CAPACITY = 20_000
# Left, bottom, width and height of the axes: a layout that fits the labels takes longer than all the rest. Beside them
# is room for a key.
_AXES_BOX = (0.075, 0.165, 0.86, 0.685)
# The axes reach a little further than what is shown, so that they can stand still for a while: ahead by a share of the
# time, at least some seconds (in days, as matplotlib counts), and of prices to either side.
_MARGIN_AHEAD, _LEAST_MARGIN_DAYS, _MARGIN_BESIDE = 1 / 20, 5 / 86_400, 0.1
# A palette takes an eighth of the bytes, and less time; in lines and shades of three colours it does not show.
_COLOURS, _OCTREE = 64, 2
_COMPRESSION = 1
# The extent of axes that were not drawn yet.
_NOWHERE = Extent(math.nan, math.nan, math.nan, math.nan)


class ImageWidget(ManagerWidget[V]):
    """A widget whose value is replaced when what it shows has changed."""

    def _prepare(self, every: float) -> None:
        self._every = every
        self._rendered_at = time.monotonic()
        self._refresh_wanted = self._whole = False

    def _initial_traits(self, view: V) -> dict[str, object]:
        self._packed = pack(view)
        return {"value": self._value(view), **self._fixed_traits()}

    @abstractmethod
    def _value(self, view: V, problem: str = "") -> object:
        """Make the value of a view, with what went wrong."""

    @abstractmethod
    def _fixed_traits(self) -> dict[str, object]:
        """Return the traits that stay as they are."""

    def _refresh(self) -> None:
        self._refresh_wanted = True

    @property
    def every(self) -> float:
        """The least seconds between two renderings."""
        return self._every

    def due(self, now: float) -> bool:
        """Check whether to render now."""
        return self._refresh_wanted or now - self._rendered_at >= self._every - TICK_SLACK_S

    def request(self, now: float) -> Query:
        """Request what is new, or everything."""
        self._rendered_at = now
        self._whole, self._refresh_wanted = self._refresh_wanted, False
        cursors: Mapping[str, Cursor] = {} if self._whole else self._cursors
        return self._request_since({table: cursors.get(table) for table in self._tables})

    def render(self, snapshot: Snapshot, now: float) -> None:
        """Render and send, if anything changed."""
        del now
        view, self._cursors = self._next_view(snapshot), cursors_of(snapshot)
        if not (self._whole or any(rows.whole for rows in snapshot.tables.values())):
            view = self._appended(self._last_view, view)
        packed = pack(view)
        if packed == self._packed and not self._problem:
            return
        self._last_view, self._packed, self._problem = view, packed, ""
        self._set_value(self._value(view))

    def _appended(self, before: V, new: V) -> V:
        """Append what is new to the view before; by default all of it is new."""
        del before
        return new

    def fail(self, error: Exception) -> None:
        """Show why rendering failed."""
        self._refresh()
        problem = f"this could not be drawn: {type(error).__name__}: {error}"
        if problem != self._problem:
            logger.error("a widget could not be drawn", exc_info=error)
            self._problem = problem
            self._set_value(self._value(self._last_view, problem))

    def _set_value(self, value: object) -> None:
        self.set_trait("value", value)


class ImageChart(ImageWidget[C], Drawn[C], ipywidgets.Image, Generic[C]):
    """A chart that is drawn in the kernel."""

    def _prepare(self, every: float) -> None:
        super()._prepare(every)
        self._renderer = ImageRenderer(self._plot, over_time=isinstance(self, Windowed))

    def _value(self, view: C, problem: str = "") -> object:
        return self._renderer.draw(view, problem)

    def _fixed_traits(self) -> dict[str, object]:
        # Beside something higher it keeps its shape.
        return {"format": "png", "layout": {"width": "100%", "object_fit": "contain", "align_self": "flex-start"}}


class HtmlTable(ImageWidget[View], BaseTable, ipywidgets.HTML):
    """A table that is written in the kernel."""

    def _value(self, view: View, problem: str = "") -> object:
        shown_problem = f"<p style='color: #c62828'>{escape(problem)}</p>" if problem else ""
        return f"{view['html']}{shown_problem}"

    def _fixed_traits(self) -> dict[str, object]:
        return {}


class PriceChart(BasePriceChart, ImageChart[PriceView]):
    """Pictures of what ``pmlive.widgets.PriceChart`` shows, by default five a second at most."""

    _rate: ClassVar[float] = 5.0

    def _appended(self, before: PriceView, new: PriceView) -> PriceView:
        joined = append_prices(before, new, most=_CAPACITY)
        for name in OWN_ROWS:
            kept, added = before.get(name), new.get(name)
            if kept is not None and added is not None:
                joined[name] = append_own(kept, added, most=_CAPACITY)
        return joined


class CandleChart(BaseCandleChart, ImageChart[CandleView]):
    """Pictures of what ``pmlive.widgets.CandleChart`` shows, by default two a second at most."""

    def _appended(self, before: CandleView, new: CandleView) -> CandleView:
        return append_candles(before, new, most=_CAPACITY)


class OutcomesChart(BaseOutcomesChart, ImageChart[LinesView]):
    """Pictures of what ``pmlive.widgets.OutcomesChart`` shows, by default two a second at most."""

    _rate: ClassVar[float] = 2.0

    def _appended(self, before: LinesView, new: LinesView) -> LinesView:
        return append_lines(before, new, most=_CAPACITY)


class HeatMap(BaseHeatMap, ImageChart[HeatView]):
    """Pictures of what ``pmlive.widgets.HeatMap`` shows, by default two a second at most."""

    def _appended(self, before: HeatView, new: HeatView) -> HeatView:
        return append_slices(before, new, most=_CAPACITY)


class DepthChart(BaseDepthChart, ImageChart[DepthView]):
    """Pictures of what ``pmlive.widgets.DepthChart`` shows, by default five a second at most."""

    _rate: ClassVar[float] = 5.0


class StatusPanel(BaseStatusPanel, HtmlTable):
    """Connections, subscriptions, rate, lag, checks and gaps."""


class RecordingPanel(BaseRecordingPanel, HtmlTable):
    """What was recorded: rows, bytes, files, and the space that is left on the disk."""


class Tape(BaseTape, HtmlTable):
    """The last trades of everything that is watched, or of one token."""


class Ladder(BaseLadder, HtmlTable):
    """The best levels of a book."""


class ImageRenderer(Generic[C]):
    """Draws one chart as a picture, again and again: what stands still once, and the rest over it.

    Any thread may draw, one at a time.

    Args:
        make: makes the plot on its axes.
        over_time: whether it moves to the left as time passes.
    """

    def __init__(self, make: Callable[[Axes], Plot[C]], *, over_time: bool) -> None:
        self._figure = NotebookFigure(figsize=SIZE, dpi=DPI)
        self._canvas = FigureCanvasAgg(self._figure)
        self._axes = self._figure.add_axes(_AXES_BOX)
        self._plot = make(self._axes)
        self._over_time = over_time
        self._extent: Extent | None = None
        self._background_of: tuple[object, ...] = ()
        self._background: object = None
        for artist in self._plot.artists:
            # What is animated is left out when the canvas is drawn.
            artist.set_animated(True)

    def draw(self, view: C, problem: str = "") -> bytes:
        """Draw a view, greyed if there is a problem, and return it as PNG."""
        label, doubt = view["label"], problem or view["doubt"]
        with DRAWING:
            self._extent = self._steady_extent(self._plot.update(view))
            background_of = (self._extent, label, doubt)
            if background_of != self._background_of:
                self._draw_background(label, doubt, self._extent)
                self._background_of = background_of
            self._canvas.restore_region(self._background)
            for artist in sorted(self._plot.artists, key=lambda artist: artist.get_zorder()):
                self._axes.draw_artist(artist)
            return _png(np.asarray(self._canvas.buffer_rgba()))

    def _draw_background(self, label: str, doubt: str, extent: Extent) -> None:
        set_limits(self._axes, extent)
        set_title(self._axes, label, doubt, self._plot.name)
        self._canvas.draw()
        self._background = self._canvas.copy_from_bbox(self._figure.bbox)

    def _steady_extent(self, wanted: Extent) -> Extent:
        before = self._extent or _NOWHERE
        wide, tall = wanted.right - wanted.left, wanted.high - wanted.low
        beside = (
            (0.0, max(_MARGIN_AHEAD * wide, _LEAST_MARGIN_DAYS))
            if self._over_time
            else (_MARGIN_BESIDE * wide, _MARGIN_BESIDE * wide)
        )
        # There are no fewer shares than none.
        around = (_MARGIN_BESIDE * tall if wanted.low else 0.0, _MARGIN_BESIDE * tall)
        left, right = steady_limits((before.left, before.right), (wanted.left, wanted.right), beside)
        low, high = steady_limits((before.low, before.high), (wanted.low, wanted.high), around)
        return Extent(left, right, low, high)


def steady_limits(
    before: tuple[float, float], wanted: tuple[float, float], pads: tuple[float, float]
) -> tuple[float, float]:
    """Return limits of an axis that stay as they were while they show what is wanted, and not much more.

    Args:
        before: how far they reach.
        wanted: how far they should.
        pads: how much further they reach at either end, once they must move.

    >>> steady_limits((0.0, 12.0), (0.0, 11.0), (0.0, 1.0)), steady_limits((0.0, 12.0), (5.0, 15.0), (0.0, 1.0))
    ((0.0, 12.0), (5.0, 16.0))
    """
    low, high = wanted
    if before[0] <= low and high <= before[1] and before[1] - before[0] <= high - low + 3 * sum(pads):
        return before
    return low - pads[0], high + pads[1]


def _png(pixels: Pixels) -> bytes:
    picture = Image.fromarray(pixels).convert("RGB").quantize(_COLOURS, method=_OCTREE, dither=Image.Dither.NONE)
    file = BytesIO()
    picture.save(file, "png", compress_level=_COMPRESSION)
    return file.getvalue()
