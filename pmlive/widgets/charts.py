"""The charts: price, depth and liquidity of one token."""

from abc import abstractmethod
from collections.abc import Mapping
from html import escape
from typing import ClassVar, cast

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pmlive.manager import Manager, Replay
from pmlive.manager.glance import Asked, Glance, Mark, short_label
from pmlive.widgets.drawn import Drawn
from pmlive.widgets.figures import draw_depth, draw_heat, draw_price, new_figure, png
from pmlive.widgets.live import LiveWidget, script
from pmlive.widgets.shown import Bundle, png_bundle
from pmlive.widgets.views import DepthView, HeatView, PriceView, View, depth_view, heat_view, price_view

__all__ = ["Chart", "Depth", "DepthChart", "Heat", "HeatMap", "OfToken", "Price", "PriceChart"]

# A manager that keeps what is newer than six hours has not more to show, in seconds.
_EVERYTHING = 6 * 3600.0
_SLICES = 600
_NOTHING = "no market is watched yet"


class OfToken(Drawn):
    """A widget that shows one token, which may be changed while it is shown.

    Args:
        manager: whose token.
        token_id: the token, by default the first that is watched.
        rate: the most drawings a second.
    """

    def __init__(self, manager: Manager, token_id: str | None = None, *, rate: float = 10.0) -> None:
        self._token_id = token_id or next(iter(manager.glance([Asked()])[0].labels), None)
        super().__init__(manager, rate=rate)

    @property
    def token_id(self) -> str | None:
        """The token that is shown; None until there is one."""
        return self._token_id

    @token_id.setter
    def token_id(self, token_id: str | None) -> None:
        self._token_id = token_id
        self._anew()

    @property
    def label(self) -> str:
        """The question and the outcome."""
        return str(self._kept.get("label", ""))

    def _chosen(self, glance: Glance) -> str:
        """Give the token to show; once there is a first one, it is asked for and shown with the next message."""
        chosen = self._token_id
        if chosen is None and glance.labels:
            self.token_id = next(iter(glance.labels))
        return chosen or ""

    def __repr__(self) -> str:
        """Say what is shown, in one line."""
        return f"<{type(self).__name__} of {self.label or 'nothing yet'}{', closed' if self.closed else ''}>"

    def _named(self, glance: Glance, token_id: str) -> tuple[str, str]:
        """Give the label of a token and what there is against it."""
        if not token_id:
            return "", _NOTHING
        return glance.labels.get(token_id) or short_label(token_id), glance.doubt


class Chart(OfToken):
    """A chart of one token."""

    def figure(self) -> Figure:
        """Draw what it shows now as a matplotlib figure."""
        return self._figure(self._look())

    @abstractmethod
    def _draw(self, axes: Axes, view: View) -> None:
        """Draw a view."""

    def draw_on(self, axes: Axes) -> None:
        """Draw what it shows now on matplotlib axes."""
        self._draw(axes, self._look())

    def _figure(self, view: View) -> Figure:
        figure, (axes,) = new_figure()
        self._draw(axes, view)
        return figure

    def _still(self, view: View) -> Bundle:
        return png_bundle(png(self._figure(view)), repr(self))

    def _repr_html_(self) -> str:
        return f"<p><b>{escape(type(self).__name__)}</b> {escape(self.label or 'nothing yet')}</p>"


class _OverTime(Chart):
    """A chart over time."""

    def __init__(
        self,
        manager: Manager,
        token_id: str | None = None,
        *,
        window: float | None = 300.0,
        rate: float = 10.0,
    ) -> None:
        self._window = _checked(window)
        super().__init__(manager, token_id, rate=rate)

    @property
    def window(self) -> float | None:
        """How many of the last seconds are shown; None shows everything."""
        return self._window

    @window.setter
    def window(self, window: float | None) -> None:
        self._window = _checked(window)
        self._anew()

    def _asked(self, marks: Mapping[str, Mark | None]) -> Asked:
        # Of the book, only whether it can be trusted.
        return Asked(tables=marks, token_id=self._token_id, depth=0)


class Price(_OverTime):
    """The prices of a token, whatever they are shown with."""

    _tables: ClassVar[tuple[str, ...]] = ("prices", "trades")
    _grows: ClassVar[tuple[str, ...]] = (
        "times",
        "bids",
        "asks",
        "mids",
        "trade_times",
        "trade_prices",
        "trade_sizes",
        "trade_buys",
    )

    def _view(self, glance: Glance) -> View:
        token_id = self._chosen(glance)
        label, doubt = self._named(glance, token_id)
        return price_view(
            glance.news["prices"].frame,
            glance.news["trades"].frame,
            glance.gaps,
            token_id=token_id,
            label=label,
            now=_second(glance.now),
            window=(self._window or 0.0) * 1000,
            doubt=doubt,
        )

    def _draw(self, axes: Axes, view: View) -> None:
        draw_price(axes, cast("PriceView", view))


class PriceChart(Price, LiveWidget):
    """Best bid and ask, the band between them, their middle, trades as marks, and gaps shaded.

    Args:
        manager: whose token.
        token_id: the token, by default the first that is watched.
        window: how many of the last seconds are shown, None for everything.
        rate: the most drawings a second, 30 at most.
    """

    _esm = script("link", "theme", "axes", "price")


class Heat(_OverTime):
    """The liquidity of a token, whatever it is shown with."""

    _tables: ClassVar[tuple[str, ...]] = ("depth",)
    _grows: ClassVar[tuple[str, ...]] = ("times", "prices", "sizes")

    def __init__(
        self, manager: Manager, token_id: str | None = None, *, window: float | None = 300.0, rate: float = 2.0
    ) -> None:
        super().__init__(manager, token_id, window=window, rate=rate)

    def _view(self, glance: Glance) -> View:
        token_id = self._chosen(glance)
        label, doubt = self._named(glance, token_id)
        return heat_view(
            glance.news["depth"].frame,
            glance.gaps,
            token_id=token_id,
            label=label,
            now=_second(glance.now),
            window=(self._window or 0.0) * 1000,
            slice_ms=max(100, round(self._span() / _SLICES * 1000)),
            doubt=doubt,
        )

    def _span(self) -> float:
        """Give how many seconds the slices are to fill."""
        if self._window is None and isinstance(self.manager, Replay):
            return (self.manager.last_time - self.manager.first_time).total_seconds()
        return self._window or _EVERYTHING

    def _draw(self, axes: Axes, view: View) -> None:
        draw_heat(axes, cast("HeatView", view))


class HeatMap(Heat, LiveWidget):
    """How much rested at each price over time.

    Args:
        manager: whose token.
        token_id: the token, by default the first that is watched.
        window: how many of the last seconds are shown, None for everything.
        rate: the most drawings a second, 30 at most.
    """

    _esm = script("link", "theme", "axes", "heat")


class Depth(Chart):
    """The book of a token, whatever it is shown with."""

    def _asked(self, marks: Mapping[str, Mark | None]) -> Asked:
        return Asked(tables=marks, token_id=self._token_id)

    def _view(self, glance: Glance) -> View:
        label, doubt = self._named(glance, self._chosen(glance))
        return depth_view(glance.book, label=label, doubt=doubt)

    def _draw(self, axes: Axes, view: View) -> None:
        draw_depth(axes, cast("DepthView", view))


class DepthChart(Depth, LiveWidget):
    """Cumulative depth: how many shares rest up to each price.

    Args:
        manager: whose token.
        token_id: the token, by default the first that is watched.
        rate: the most drawings a second, 30 at most.
    """

    _esm = script("link", "theme", "axes", "depth")


def _second(now: int) -> float:
    """Give the last whole second in milliseconds, so that a chart changes by time alone at most once a second."""
    return float(now // 1_000_000_000 * 1000)


def _checked(window: float | None) -> float | None:
    if window is not None and not window > 0:
        raise ValueError(f"window {window!r} is no number of seconds above 0, nor None")
    return window
