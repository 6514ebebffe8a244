"""The charts of one token: price, depth and liquidity, as base classes for either backend and for the canvas."""

from abc import abstractmethod
from collections.abc import Mapping
from html import escape
from typing import ClassVar, TypeVar

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pmlive.analysis.plots.theme import Width
from pmlive.manager import Manager, Replay
from pmlive.manager.snapshots import Cursor, Query, Snapshot
from pmlive.manager.token_view import Key
from pmlive.widgets.base import Bundle, TokenWidget, png_bundle
from pmlive.widgets.canvas import CanvasWidget, script
from pmlive.widgets.figures import draw_depth, draw_heat, draw_price, new_figure, png
from pmlive.widgets.views import (
    HEAT_ROWS,
    PRICE_ROWS,
    SLICES,
    ChartView,
    DepthView,
    HeatView,
    PriceView,
    depth_view,
    heat_view,
    price_view,
)

__all__ = [
    "BaseChart",
    "BaseDepthChart",
    "BaseHeatMap",
    "BasePriceChart",
    "DepthChart",
    "HeatMap",
    "PriceChart",
]

C = TypeVar("C", bound=ChartView)

# A manager that keeps what is newer than six hours has not more to show.
_EVERYTHING_S = 6 * 3600.0


class BaseChart(TokenWidget[C]):
    """A chart of one token."""

    def figure(self, *, width: Width | None = None) -> Figure:
        """Draw what it shows now as a matplotlib figure, which can be saved as PNG, PDF or SVG.

        Args:
            width: ``"column"`` or ``"page"`` for a paper, in the sizes of ``pmlive.analysis.plots.style``; by default
                it is as wide as a notebook.

        Raises:
            ValueError: ``width`` is not one of its two words.
        """
        return self._figure_of(self._current_view(), width)

    @abstractmethod
    def _draw(self, axes: Axes, view: C) -> None:
        """Draw a view on matplotlib axes."""

    def draw_on(self, axes: Axes) -> None:
        """Draw what it shows now on matplotlib axes."""
        self._draw(axes, self._current_view())

    def _figure_of(self, view: C, width: Width | None = None) -> Figure:
        figure, (axes,) = new_figure(width=width)
        self._draw(axes, view)
        return figure

    def _picture(self, view: C) -> Bundle:
        return png_bundle(png(self._figure_of(view)), repr(self))

    def _repr_html_(self) -> str:
        return f"<p><b>{escape(type(self).__name__)}</b> {escape(self.label or 'nothing yet')}</p>"


class _TimeChart(BaseChart[C]):
    """A chart over time."""

    def __init__(
        self,
        manager: Manager,
        token_id: Key | None = None,
        *,
        window: float | None = 300.0,
        rate: float = 10.0,
    ) -> None:
        self._window = _valid_window(window)
        # The price that is marked with a dashed line; the next drawing shows it.
        self.marked: float | None = None
        super().__init__(manager, token_id, rate=rate)

    @property
    def window(self) -> float | None:
        """How many of the last seconds are shown; None shows everything."""
        return self._window

    @window.setter
    def window(self, window: float | None) -> None:
        self._window = _valid_window(window)
        self._refresh()

    def _request_since(self, cursors: Mapping[str, Cursor | None]) -> Query:
        # Of the book only whether it can be trusted.
        return Query(tables=cursors, token_id=self._token_id, depth=0)


class BasePriceChart(_TimeChart[PriceView]):
    """A chart of prices, for either backend."""

    _tables: ClassVar[tuple[str, ...]] = ("prices", "trades")
    _grows: ClassVar[tuple[str, ...]] = PRICE_ROWS

    def _view(self, snapshot: Snapshot) -> PriceView:
        token_id = self._chosen_token(snapshot)
        label, doubt = self._label_and_doubt(snapshot, token_id)
        view = price_view(
            snapshot.tables["prices"].frame,
            snapshot.tables["trades"].frame,
            snapshot.gaps,
            token_id=token_id,
            label=label,
            now_ms=_whole_second_ms(snapshot.now),
            window_ms=(self._window or 0.0) * 1000,
            doubt=doubt,
        )
        return {**view, "marked": self.marked}

    def _draw(self, axes: Axes, view: PriceView) -> None:
        draw_price(axes, view)


class PriceChart(BasePriceChart, CanvasWidget[PriceView]):
    """Best bid and ask, the band between them, their middle, trades as marks, and gaps shaded.

    Args:
        manager: whose token.
        token_id: the token, by default the first that is watched.
        window: how many of the last seconds are shown, None for everything.
        rate: the most drawings a second, 30 at most.
    """

    _esm = script("link", "theme", "axes", "price")


class BaseHeatMap(_TimeChart[HeatView]):
    """A chart of liquidity, for either backend."""

    _tables: ClassVar[tuple[str, ...]] = ("depth",)
    _grows: ClassVar[tuple[str, ...]] = HEAT_ROWS

    def __init__(
        self, manager: Manager, token_id: Key | None = None, *, window: float | None = 300.0, rate: float = 2.0
    ) -> None:
        super().__init__(manager, token_id, window=window, rate=rate)

    def _view(self, snapshot: Snapshot) -> HeatView:
        token_id = self._chosen_token(snapshot)
        label, doubt = self._label_and_doubt(snapshot, token_id)
        view = heat_view(
            snapshot.tables["depth"].frame,
            snapshot.gaps,
            token_id=token_id,
            label=label,
            now_ms=_whole_second_ms(snapshot.now),
            window_ms=(self._window or 0.0) * 1000,
            slice_ms=max(100, round(self._span_s() / SLICES * 1000)),
            doubt=doubt,
        )
        return {**view, "marked": self.marked}

    def _span_s(self) -> float:
        """Return how many seconds the slices are to fill."""
        if self._window is None and isinstance(self.manager, Replay):
            return (self.manager.last_time - self.manager.first_time).total_seconds()
        return self._window or _EVERYTHING_S

    def _draw(self, axes: Axes, view: HeatView) -> None:
        draw_heat(axes, view)


class HeatMap(BaseHeatMap, CanvasWidget[HeatView]):
    """How much rested at each price over time.

    Args:
        manager: whose token.
        token_id: the token, by default the first that is watched.
        window: how many of the last seconds are shown, None for everything.
        rate: the most drawings a second, 30 at most.
    """

    _esm = script("link", "theme", "axes", "heat")


class BaseDepthChart(BaseChart[DepthView]):
    """A chart of cumulative depth, for either backend."""

    def _request_since(self, cursors: Mapping[str, Cursor | None]) -> Query:
        return Query(tables=cursors, token_id=self._token_id)

    def _view(self, snapshot: Snapshot) -> DepthView:
        label, doubt = self._label_and_doubt(snapshot, self._chosen_token(snapshot))
        return depth_view(snapshot.book, label=label, doubt=doubt)

    def _draw(self, axes: Axes, view: DepthView) -> None:
        draw_depth(axes, view)


class DepthChart(BaseDepthChart, CanvasWidget[DepthView]):
    """Cumulative depth: how many shares rest up to each price.

    Args:
        manager: whose token.
        token_id: the token, by default the first that is watched.
        rate: the most drawings a second, 30 at most.
    """

    _esm = script("link", "theme", "axes", "depth")


def _whole_second_ms(now_ns: int) -> float:
    """Return the last whole second in milliseconds, so that a chart changes by time alone at most once a second."""
    return float(now_ns // 1_000_000_000 * 1000)


def _valid_window(window: float | None) -> float | None:
    if window is not None and not window > 0:
        raise ValueError(f"window {window!r} is neither a number of seconds above 0 nor None")
    return window
