"""The charts of one token (price, candles, depth, liquidity) and of all outcomes, for either backend."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from html import escape
from typing import ClassVar, NamedTuple, TypeVar
from uuid import uuid4

import traitlets
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pmlive.analysis.plots.theme import Width
from pmlive.errors import UnknownMarketError
from pmlive.manager import Manager, Replay
from pmlive.manager.snapshots import Cursor, Key, Query, Snapshot
from pmlive.times import Interval
from pmlive.times import interval as interval_ns
from pmlive.widgets.base import NOTHING_WATCHED, ManagerWidget, TokenWidget, origin_of
from pmlive.widgets.candles import CANDLE_ROWS, Candles, CandleView, Measured, candle_view, interval_text
from pmlive.widgets.canvas import CanvasWidget, script
from pmlive.widgets.displays import Bundle, png_bundle
from pmlive.widgets.figures import DepthPlot, HeatPlot, Plot, PricePlot, new_figure, png
from pmlive.widgets.lines import (
    LINE_ROWS,
    MOST_LINES,
    Ending,
    Keys,
    Lines,
    LinesView,
    Quoted,
    endings,
    lines_of,
    lines_view,
    meant,
)
from pmlive.widgets.more_figures import CandlePlot, OutcomesPlot
from pmlive.widgets.own import OWN_ROWS, Own
from pmlive.widgets.views import (
    HEAT_ROWS,
    PRICE_ROWS,
    SLICES,
    ChartView,
    DepthView,
    HeatView,
    PriceView,
    depth_view,
    first_of,
    heat_view,
    price_view,
)

__all__ = [
    "BaseCandleChart",
    "BaseChart",
    "BaseDepthChart",
    "BaseHeatMap",
    "BaseOutcomesChart",
    "BasePriceChart",
    "CandleChart",
    "DepthChart",
    "Drawn",
    "HeatMap",
    "OutcomesChart",
    "PriceChart",
    "Windowed",
    "outcomes_beside",
    "valid_window",
    "whole_second_ms",
]

C = TypeVar("C", bound=ChartView)

# The scripts that every chart has.
PARTS = ("link", "theme", "times", "vector", "axes", "stage", "toolbar")

# A manager that keeps what is newer than six hours has not more to show.
_EVERYTHING_S = 6 * 3600.0
# The slices of liquidity fill at least so many seconds, unless less is to be shown.
_FEWEST_S = 300.0


class Drawn(ManagerWidget[C]):
    """A chart, which is a figure, too."""

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
    def _plot(self, axes: Axes) -> Plot[C]:
        """Make the plot of its views on matplotlib axes."""

    def draw_on(self, axes: Axes) -> None:
        """Draw what it shows now on matplotlib axes."""
        self._plot(axes).draw(self._current_view())

    def _figure_of(self, view: C, width: Width | None = None) -> Figure:
        figure, (axes,) = new_figure(width=width)
        self._plot(axes).draw(view)
        return figure

    def _picture(self, view: C) -> Bundle:
        return png_bundle(png(self._figure_of(view)), repr(self))

    def _repr_html_(self) -> str:
        label = self._last_view["label"]
        return f"<p><b>{escape(type(self).__name__)}</b> {escape(label or 'nothing yet')}</p>"


class BaseChart(Drawn[C], TokenWidget[C]):
    """A chart of one token."""


class Windowed(Drawn[C]):
    """A chart over a window of time; those of the same ``group`` show the same span of it, and share a pointer."""

    group = traitlets.Unicode().tag(sync=True)

    _window: float | None

    @traitlets.default("group")
    def _group_of_its_own(self) -> str:
        return uuid4().hex

    @property
    def window(self) -> float | None:
        """How many of the last seconds are shown; None shows everything."""
        return self._window

    @window.setter
    def window(self, window: float | None) -> None:
        self._window = valid_window(window)
        self._refresh()


class _TimeChart(Windowed[C], BaseChart[C]):
    """A chart of one token over time."""

    def __init__(
        self, manager: Manager, token_id: Key | None = None, *, window: float | None = 300.0, rate: float | None = None
    ) -> None:
        self._window = valid_window(window)
        # The price that is marked with a dashed line; the next drawing shows it.
        self.marked: float | None = None
        super().__init__(manager, token_id, rate=rate)

    def _request_since(self, cursors: Mapping[str, Cursor | None]) -> Query:
        # Of the book only whether it can be trusted.
        return Query(tables=cursors, token_id=self._token_id, depth=0)


class BasePriceChart(_TimeChart[PriceView]):
    """A chart of prices, for either backend."""

    _tables: ClassVar[tuple[str, ...]] = ("prices", "trades", "user_orders", "user_trades")
    _grows: ClassVar[tuple[str, ...]] = (*PRICE_ROWS, *OWN_ROWS)

    # What is known of the user's own orders, once something was rendered.
    _own: Own | None = None

    def _view(self, snapshot: Snapshot) -> PriceView:
        return self._continued(Own(self._chosen_token(snapshot)), snapshot)

    def _next_view(self, snapshot: Snapshot) -> PriceView:
        own, token_id = self._own, self._chosen_token(snapshot)
        if own is None or own.token_id != token_id or any(rows.whole for rows in snapshot.tables.values()):
            own = self._own = Own(token_id)
        return self._continued(own, snapshot)

    def _continued(self, own: Own, snapshot: Snapshot) -> PriceView:
        token_id = own.token_id
        label, doubt = self._label_and_doubt(snapshot, token_id)
        tables = snapshot.tables
        its = own.take(tables["user_orders"].frame, tables["user_trades"].frame, snapshot.gaps)
        view = price_view(
            snapshot.tables["prices"].frame,
            snapshot.tables["trades"].frame,
            snapshot.gaps,
            token_id=token_id,
            label=label,
            now_ms=whole_second_ms(snapshot.now),
            window_ms=(self._window or 0.0) * 1000,
            doubt=doubt,
        )
        return {**view, **its, "marked": self.marked}

    def _plot(self, axes: Axes) -> PricePlot:
        return PricePlot(axes)


class PriceChart(BasePriceChart, CanvasWidget[PriceView]):
    """Best bid and ask, the band between them, their middle, trades as marks, and gaps shaded.

    Where the manager has subscribed to the user's own orders and trades, orders are lines at their price for as long as
    they rest, and fills are marks with an edge. They are in its pictures, too, which a notebook keeps.

    Args:
        manager: whose token.
        token_id: the token, by default the first that is watched.
        window: how many of the last seconds are shown, None for everything.
        rate: the most drawings a second, 30 at most; by default 10.
    """

    _esm = script(*PARTS, "viewport", "pointer", "chart", "steps", "fills", "price")


class BaseCandleChart(_TimeChart[CandleView]):
    """A chart of candles, for either backend."""

    _tables: ClassVar[tuple[str, ...]] = ("prices", "trades")
    _grows: ClassVar[tuple[str, ...]] = CANDLE_ROWS
    _rate: ClassVar[float] = 2.0

    def __init__(  # all but two are by name
        self,
        manager: Manager,
        token_id: Key | None = None,
        *,
        every: Interval = "1m",
        of: Measured = "mid",
        window: float | None = 3600.0,
        rate: float | None = None,
    ) -> None:
        if of not in ("mid", "trade"):
            raise ValueError(f"of {of!r} is neither 'mid' nor 'trade'")
        self._length = interval_ns(every)
        self._of: Measured = of
        self._made: Candles | None = None
        super().__init__(manager, token_id, window=window, rate=rate)

    @property
    def interval(self) -> str:
        """The length of the interval of a candle, such as ``"1m"``."""
        return interval_text(self._length)

    @interval.setter
    def interval(self, every: Interval) -> None:
        self._length, self._made = interval_ns(every), None
        self._refresh()

    def _view(self, snapshot: Snapshot) -> CandleView:
        return self._continued(self._begun(self._chosen_token(snapshot)), snapshot)

    def _next_view(self, snapshot: Snapshot) -> CandleView:
        made, token_id = self._made, self._chosen_token(snapshot)
        if made is None or made.token_id != token_id or any(rows.whole for rows in snapshot.tables.values()):
            made = self._made = self._begun(token_id)
        elif not made.agree(snapshot.gaps):
            # What is known now of gaps changes candles that were sent.
            self._refresh()
        return self._continued(made, snapshot)

    def _begun(self, token_id: str) -> Candles:
        return Candles(token_id, self._length, of=self._of, window=round((self._window or 0.0) * 1e9))

    def _continued(self, candles: Candles, snapshot: Snapshot) -> CandleView:
        label, doubt = self._label_and_doubt(snapshot, candles.token_id)
        view = candle_view(
            candles,
            snapshot.tables["prices"].frame,
            snapshot.tables["trades"].frame,
            snapshot.gaps,
            label=label,
            now_ms=whole_second_ms(snapshot.now),
            window_ms=(self._window or 0.0) * 1000,
            doubt=doubt,
        )
        return {**view, "marked": self.marked}

    def _plot(self, axes: Axes) -> CandlePlot:
        return CandlePlot(axes)


class CandleChart(BaseCandleChart, CanvasWidget[CandleView]):
    """What a price did in each interval, and under it how many shares were traded.

    A candle is hollow where the price rose or stayed, and filled where it fell. One that a gap touches is grey and
    hatched: it is made of what is known outside of the gap, and no price is carried through one. A mid counts for as
    long as it stands, so there is a candle also where nothing changed; of trades there is none where none was made.

    Args:
        manager: whose token.
        token_id: the token, by default the first that is watched.
        every: the length of an interval, such as ``"1m"`` or ``"15s"``; intervals begin at whole multiples of it.
        of: ``"mid"``, or ``"trade"`` for the prices of trades.
        window: how many of the last seconds are shown, None for everything.
        rate: the most drawings a second, 30 at most; by default 2.

    Raises:
        ValueError: the interval is not one above 0, or ``of`` is not one of its two words.
    """

    _esm = script(*PARTS, "viewport", "pointer", "chart", "candles")


class BaseHeatMap(_TimeChart[HeatView]):
    """A chart of liquidity, for either backend."""

    _tables: ClassVar[tuple[str, ...]] = ("depth",)
    _grows: ClassVar[tuple[str, ...]] = HEAT_ROWS
    _rate: ClassVar[float] = 2.0

    # When the first ladder came (nanoseconds since 1970) that is known, and how long the slices are that were sent.
    _first: int | None = None
    _slice_ms = 0

    def _view(self, snapshot: Snapshot) -> HeatView:
        return self._sliced(snapshot, self._fitting_ms(self._first_ns(snapshot), snapshot.now))

    def _next_view(self, snapshot: Snapshot) -> HeatView:
        if snapshot.tables["depth"].whole:
            self._first = self._first_ns(snapshot)
            self._slice_ms = self._fitting_ms(self._first, snapshot.now)
        else:
            if self._first is None:
                self._first = self._first_ns(snapshot)
            if self._fitting_ms(self._first, snapshot.now) != self._slice_ms:
                self._refresh()
        return self._sliced(snapshot, self._slice_ms)

    def _sliced(self, snapshot: Snapshot, slice_ms: int) -> HeatView:
        token_id = self._chosen_token(snapshot)
        label, doubt = self._label_and_doubt(snapshot, token_id)
        view = heat_view(
            snapshot.tables["depth"].frame,
            snapshot.gaps,
            token_id=token_id,
            label=label,
            now_ms=whole_second_ms(snapshot.now),
            window_ms=(self._window or 0.0) * 1000,
            slice_ms=slice_ms,
            doubt=doubt,
        )
        return {**view, "marked": self.marked}

    def _first_ns(self, snapshot: Snapshot) -> int | None:
        return first_of(snapshot.tables["depth"].frame, self._chosen_token(snapshot))

    def _fitting_ms(self, first: int | None, now: int) -> int:
        """Return how long slices are that fill what is known of the past, or the span where that is shorter.

        They become twice as long each time that more is known than they fill.
        """
        known_s, fills_s = 0.0 if first is None else (now - first) / 1e9, _FEWEST_S
        while fills_s < known_s:
            fills_s *= 2
        return max(100, round(min(self._span_s(), fills_s) / SLICES * 1000))

    def _span_s(self) -> float:
        """Return how many seconds are to be shown."""
        if self._window is None and isinstance(self.manager, Replay):
            return (self.manager.last_time - self.manager.first_time).total_seconds()
        return self._window or _EVERYTHING_S

    def _plot(self, axes: Axes) -> HeatPlot:
        return HeatPlot(axes)


class HeatMap(BaseHeatMap, CanvasWidget[HeatView]):
    """How much rested at each price over time.

    Args:
        manager: whose token.
        token_id: the token, by default the first that is watched.
        window: how many of the last seconds are shown, None for everything.
        rate: the most drawings a second, 30 at most; by default 2.
    """

    _esm = script(*PARTS, "viewport", "pointer", "chart", "heat")

    def _span_s(self) -> float:
        # Slices become longer while a view shows more than the window.
        return max(super()._span_s(), self._channel.reach)


class BaseDepthChart(BaseChart[DepthView]):
    """A chart of cumulative depth, for either backend."""

    def _request_since(self, cursors: Mapping[str, Cursor | None]) -> Query:
        return Query(tables=cursors, token_id=self._token_id)

    def _view(self, snapshot: Snapshot) -> DepthView:
        label, doubt = self._label_and_doubt(snapshot, self._chosen_token(snapshot))
        return depth_view(snapshot.book, label=label, doubt=doubt)

    def _plot(self, axes: Axes) -> DepthPlot:
        return DepthPlot(axes)


class DepthChart(BaseDepthChart, CanvasWidget[DepthView]):
    """Cumulative depth: how many shares rest up to each price.

    Args:
        manager: whose token.
        token_id: the token, by default the first that is watched.
        rate: the most drawings a second, 30 at most; by default 10.
    """

    _esm = script(*PARTS, "depth")


def whole_second_ms(now_ns: int) -> float:
    """Return the last whole second in milliseconds, so that a chart changes by time alone at most once a second."""
    return float(now_ns // 1_000_000_000 * 1000)


def valid_window(window: float | None) -> float | None:
    """Return a window as it is.

    Raises:
        ValueError: it is neither a number of seconds above 0 nor None.
    """
    if window is not None and not window > 0:
        raise ValueError(f"window {window!r} is neither a number of seconds above 0 nor None")
    return window


# --- outcomes ---
# Charts of several outcomes, as a base class for either backend and for the canvas.

# A slot is this share of the window, and a tenth of a second at least.
_SLOTS, _LEAST_SLOT_NS = 3_000, 100_000_000
# A view in the browser keeps some more rows; before it forgets any, everything is sent anew.
_MOST_ROWS = 40_000


class _Titled(NamedTuple):
    """Lines, what they have in common, and what they show."""

    label: str
    of: Quoted
    lines: Lines
    ended: dict[str, Ending]


class BaseOutcomesChart(Windowed[LinesView]):
    """A chart of several outcomes, for either backend."""

    _tables: ClassVar[tuple[str, ...]] = ("prices", "market_events")
    _grows: ClassVar[tuple[str, ...]] = LINE_ROWS
    _rate: ClassVar[float] = 5.0

    def __init__(
        self,
        manager: Manager,
        keys: Keys | None = None,
        *,
        of: Quoted | None = None,
        window: float | None = 300.0,
        rate: float | None = None,
    ) -> None:
        if of not in (None, "mid", "mirror"):
            raise ValueError(f"of {of!r} is neither 'mid' nor 'mirror'")
        self._window = valid_window(window)
        self._of: Quoted | None = of
        self._token_ids = [] if keys is None else _tokens(manager, keys)
        self._made: _Titled | None = None
        # What cannot be drawn is refused before there is a widget.
        lines_of(self._token_ids, manager.markets, of if self._token_ids else None)
        super().__init__(manager, rate=rate)

    @property
    def token_ids(self) -> list[str]:
        """The tokens that are shown, in order; none until there are some."""
        return list(self._token_ids)

    @property
    def label(self) -> str:
        """The title of the event, or the question of the market."""
        return self._last_view["label"]

    def _request_since(self, cursors: Mapping[str, Cursor | None]) -> Query:
        return Query(tables=cursors, trusted=tuple(self._token_ids))

    def _view(self, snapshot: Snapshot) -> LinesView:
        return self._continued(None, snapshot)[1]

    def _next_view(self, snapshot: Snapshot) -> LinesView:
        before = None if any(rows.whole for rows in snapshot.tables.values()) else self._made
        if before is not None and (before.lines.made > _MOST_ROWS or not before.lines.agree(snapshot.gaps)):
            # What is known now of gaps changes lines that were sent.
            self._refresh()
        self._made, view = self._continued(before, snapshot)
        return view

    def _continued(self, before: "_Titled | None", snapshot: Snapshot) -> "tuple[_Titled, LinesView]":
        """Continue lines, or begin new ones."""
        if not self._token_ids and snapshot.labels:
            self._token_ids = outcomes_beside(self.manager, next(iter(snapshot.labels)))
            self._refresh()
        made = self._begun() if before is None else before
        made.ended.update(endings(snapshot.tables["market_events"].frame) | made.ended)
        view = lines_view(
            made.lines,
            snapshot.tables["prices"].frame,
            snapshot.gaps,
            label=made.label,
            of=made.of,
            doubts=snapshot.doubts,
            ended=made.ended,
            now_ms=whole_second_ms(snapshot.now),
            window_ms=(self._window or 0.0) * 1000,
        )
        if not self._token_ids:
            return made, {**view, "label": "", "doubt": NOTHING_WATCHED}
        return made, {**view, "label": f"{origin_of(self.manager, self._token_ids)}{view['label']}"}

    def _begun(self) -> "_Titled":
        label, of, lines = lines_of(self._token_ids, self.manager.markets, self._of if self._token_ids else None)
        rest = len(lines) - MOST_LINES
        window = round((self._window or 0.0) * 1e9)
        slot = max(_LEAST_SLOT_NS, round((self._window or _EVERYTHING_S) / _SLOTS * 1e9))
        begun = Lines(lines[:MOST_LINES], window=window, slot=slot)
        return _Titled(f"{label} ({rest} more are not shown)" if rest > 0 else label, of, begun, {})

    def _plot(self, axes: Axes) -> OutcomesPlot:
        return OutcomesPlot(axes)

    def __repr__(self) -> str:
        """Show kind and label in one line."""
        return f"<{type(self).__name__} of {self.label or 'nothing yet'}{', closed' if self.closed else ''}>"


class OutcomesChart(BaseOutcomesChart, CanvasWidget[LinesView]):
    """The mids of several outcomes, each named at the end of its line; gaps are hatched, those of one line where it is.

    Of the two outcomes of one market the first's best prices are shown instead, and beside them, dashed, what those of
    the other say of it: 1 - ask of No is a bid for Yes, and 1 - bid of No is an ask.

    Args:
        manager: whose tokens.
        keys: the slug of an event, for the first outcome of each of its markets; the slug of a market, for all of its
            outcomes; or a list of those, of token ids, and of a market and its outcome, such as
            ``[("will-it-rain", "Yes")]``. By default the event of the first token that is watched.
        of: ``"mid"`` or ``"mirror"`` to have either where the other would be shown.
        window: how many of the last seconds are shown, None for everything.
        rate: the most drawings a second, 30 at most; by default 5.

    Raises:
        UnknownMarketError: no such token was subscribed, or several are meant.
        ValueError: ``of`` is not one of its two words, or ``"mirror"`` of other than the two outcomes of one market.
    """

    _esm = script(*PARTS, "viewport", "pointer", "chart", "steps", "outcomes")


def outcomes_beside(manager: Manager, token_id: str) -> list[str]:
    """Return the outcomes of the event of a token that are subscribed; of its market, if it has no event."""
    market = next((one for one in manager.markets if token_id in one.token_ids), None)
    names = [] if market is None else [market.event_slug, market.slug]
    for name in filter(None, names):
        found = _tokens(manager, name)
        if found:
            return found
    return [token_id]


def _tokens(manager: Manager, keys: Keys) -> list[str]:
    """Find the tokens that are meant.

    Raises:
        UnknownMarketError: no such token was subscribed, several are meant, or nothing is named.
    """
    asked: Sequence[Key] = [keys] if isinstance(keys, str) else keys
    if not asked:
        raise UnknownMarketError("no outcome is named; give a market, an event, or a list of tokens")
    return list(dict.fromkeys(manager.token(*_parts(each)) for each in meant(asked, manager.markets)))


def _parts(key: str | tuple[str, str | None]) -> tuple[str, str | None]:
    return (key, None) if isinstance(key, str) else key
