"""The dashboard: charts, tables and controls of one manager, made by one of two backends."""

# ipywidgets says nothing of its types.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportMissingTypeStubs=false

import math
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from html import escape
from importlib import import_module
from typing import Final, Literal, NamedTuple, TypeAlias, cast

import ipywidgets
from matplotlib.figure import Figure

from pmlive.analysis.plots.theme import Width
from pmlive.manager import Manager, Replay
from pmlive.manager.snapshots import Key, key_parts
from pmlive.markets import Market
from pmlive.widgets import charts as canvas_charts
from pmlive.widgets import image, tables
from pmlive.widgets.base import close_children
from pmlive.widgets.charts import BaseCandleChart, BaseOutcomesChart, BasePriceChart, OutcomesChart, outcomes_beside
from pmlive.widgets.controls import MarketSearch, ReplayControls, TokenPicker, TraitChange
from pmlive.widgets.displays import Bundle, Displays, png_bundle
from pmlive.widgets.figures import align_times, new_figure, png
from pmlive.widgets.ladder import text_picture
from pmlive.widgets.render_loop import render_loop_of

__all__ = [
    "Cell",
    "Dashboard",
]

BackendName: TypeAlias = Literal["canvas", "image"]

_WINDOWS = (
    ("1 minute", 60.0),
    ("5 minutes", 300.0),
    ("15 minutes", 900.0),
    ("1 hour", 3600.0),
    ("6 hours", 21600.0),
    ("1 day", 86400.0),
    ("everything", 0.0),
)
# Whose trades are shown.
_SCOPES = ("of this token", "of all markets")
# How wide the columns of a page of marimo are at least, of which the second has the ladder with all its columns, and
# their shares of the room. A page is 708 pixels wide by default, as wide as the window, or as narrow as a telephone.
_PAGE_COLUMNS = (("420px", 5.0), ("360px", 3.0))
# What the columns beside charts over time need: a ladder has all of its columns in it.
_BESIDE_LEAST = "360px"
# As many as there is room for beside the status.
_TRADES = 16

# The dashboards that are open, and the lock that guards them.
_open: "list[Dashboard]" = []
_opening = threading.Lock()


class Dashboard(ipywidgets.VBox):
    """Everything that a manager has to show; ``close()`` leaves a picture of it in the notebook.

    Args:
        manager: whose.
        token_id: the token to begin with, as charts take it; by default the first that is watched.
        rate: the most drawings a second of each chart, 30 at most.
        charts: ``"canvas"``, or ``"image"`` for front ends that load no script of ours: charts are pictures then, drawn
            in the kernel at most five times a second, and tables HTML.
    """

    # Until it is made: a widget whose construction fails is closed, too, when Python collects it.
    _closed = True

    def __init__(
        self, manager: Manager, token_id: Key | None = None, *, rate: float = 10.0, charts: BackendName = "canvas"
    ) -> None:
        backend = _backend_of(charts)
        self.manager = manager
        self.price = backend.price(manager, token_id, rate=backend.limited(rate))
        self.depth = backend.depth(manager, token_id, rate=backend.limited(rate))
        self.heat = backend.heat(manager, token_id, rate=min(rate, 2.0))
        self.heat.group = self.price.group
        self.main = _MainChart(
            self.price, partial(backend.candles, rate=min(rate, 2.0)), partial(backend.outcomes, rate=min(rate, 5.0))
        )
        self.ladder = backend.ladder(manager, token_id, rate=min(rate, 5.0), on_mark=self._show_mark)
        self.tape = backend.tape(manager, self.price.token_id, rows=_TRADES, rate=min(rate, 4.0))
        self._trades = ipywidgets.Dropdown(options=_SCOPES, description="trades", layout={"width": "210px"})
        self._trades.observe(self._scope_set, names="value")
        self.status = backend.status(manager)
        self.recording = backend.recording(manager)
        self.search = MarketSearch(manager, self._show_market)
        self.picker = TokenPicker(manager, self.show)
        if self.price.token_id is not None:
            self.picker.pick(self.price.token_id)
        self._show_trades()
        self.controls = ReplayControls(manager) if isinstance(manager, Replay) else None
        self._window = ipywidgets.Dropdown(options=_WINDOWS, value=300.0, layout={"width": "110px"})
        self._window.observe(self._window_set, names="value")
        self.cell = _current_cell()
        super().__init__(self._rows())
        script = self.price if isinstance(self.price, canvas_charts.PriceChart) else None
        self._displays = Displays(self, render_loop_of(manager), script)
        # Before the charts are closed one by one, the picture of all of them is taken.
        self._unregister = manager.at_close(self.close)
        self._closed = False

    @classmethod
    def of(
        cls, manager: Manager, token_id: Key | None = None, *, rate: float = 10.0, charts: BackendName = "canvas"
    ) -> "Dashboard":
        """Make a dashboard, and close those in whose place it comes, since a cell that runs again shows them no more.

        These are the ones that the same cell made when it ran before, whatever their manager. Where no cell runs, as in
        a script, it is the one of the same token of the same manager.
        """
        made = cls(manager, token_id, rate=rate, charts=charts)
        with _opening:
            replaced = [each for each in _open if made._replaces(each)]
            _open.append(made)
        for each in replaced:
            each.close()
        return made

    def _replaces(self, other: "Dashboard") -> bool:
        """Check whether this one comes in the place of another."""
        if self.cell is not None:
            return other.cell is not None and other.cell.name == self.cell.name and other.cell.run != self.cell.run
        return other.cell is None and other.manager is self.manager and other.price.token_id == self.price.token_id

    def _rows(self) -> list[object]:
        controls = [] if self.controls is None else [self.controls]
        reports = _column([self.status, self.recording], _BESIDE_LEAST)
        return [
            ipywidgets.HBox(
                [self.picker, self.main.chooser, self._window, self.search], layout={"flex_flow": "row wrap"}
            ),
            *controls,
            _beside(_column([self.main, self.heat], "560px", 5.0), _column([self.depth, self.ladder], _BESIDE_LEAST)),
            _beside(_column([self._trades, self.tape], "560px", 5.0), reports),
        ]

    def show(self, token_id: Key) -> None:
        """Show another token in all charts.

        Raises:
            UnknownMarketError: no such token was subscribed, or several are meant.
        """
        token_id = self.manager.token(*key_parts(token_id))
        self.picker.pick(token_id)
        if token_id != self.price.token_id:
            self.mark(None)
        self.main.show(token_id)
        for widget in (self.depth, self.heat, self.ladder):
            widget.token_id = token_id
        self._show_trades()

    def mark(self, price: float | None) -> None:
        """Mark a price in the ladder and in the charts over time; None takes the mark away."""
        self.ladder.marked = price
        self._show_mark(price)

    def figure(self, *, width: Width | None = None) -> Figure:
        """Draw the main chart, liquidity and depth as they are now as one matplotlib figure.

        Args:
            width: ``"column"`` or ``"page"`` for a paper; by default it is as wide as a notebook.
        """
        charts = (self.main.chart, self.heat, self.depth)
        figure, axes = new_figure(len(charts), width=width)
        for chart, chart_axes in zip(charts, axes, strict=True):
            chart.draw_on(chart_axes)
        align_times(axes[:2])
        return figure

    def draw_for(self, seconds: float) -> None:
        """Draw in this cell for a while; only needed where what a thread draws is not shown, as on Colab."""
        render_loop_of(self.manager).draw_for(seconds)

    async def draw_for_async(self, seconds: float) -> None:
        """Draw in this cell for a while, as ``draw_for``, and let other tasks of its loop run meanwhile."""
        await render_loop_of(self.manager).draw_for_async(seconds)

    @property
    def closed(self) -> bool:
        """Whether it is rendered no more."""
        return self._closed

    def close(self) -> None:
        """Stop rendering, and leave a picture wherever it was displayed; closing again does nothing."""
        if self._closed:
            return
        self._closed = True
        self._unregister()
        with _opening:
            if self in _open:
                _open.remove(self)
        self._displays.close()
        super().close()
        close_children(self)

    def _show_market(self, market: Market) -> None:
        if market.token_ids:
            self.show(market.token_ids[0])

    def _show_mark(self, price: float | None) -> None:
        self.heat.marked = price
        self.main.mark(price)

    def _scope_set(self, _change: TraitChange[object]) -> None:
        self._show_trades()

    def _show_trades(self) -> None:
        # There is nothing to choose while nothing is watched.
        self._trades.layout.display = "none" if self.price.token_id is None else None
        self.tape.token_id = self.price.token_id if self._trades.value == _SCOPES[0] else None

    def _window_set(self, change: TraitChange[float]) -> None:
        self.heat.window = change["new"] or None
        self.main.look_back(change["new"])

    def still(self) -> Bundle:
        """Draw what remains of it, as it is now, in a notebook that is read without a kernel."""
        return png_bundle(png(self.figure()), str(self))

    def _ipython_display_(self, **_: object) -> None:
        """Display it; of a closed one, and where a program runs the cells, a picture."""
        self._displays.publish()

    def __repr__(self) -> str:
        """Show whose it is in one line."""
        return f"<Dashboard of {self.manager!r}{', closed' if self._closed else ''}>"

    def _display_(self) -> object:
        """Return what marimo shows in its place: the charts and tables live, or of a closed one a picture.

        Its pages run widgets that bring their own script, which those of ``charts="image"`` and the controls do not.
        """
        marimo = import_module("marimo")
        if self._closed or not isinstance(self.price, canvas_charts.PriceChart):
            return marimo.image(png(self.figure()))
        rows = (
            ([self.price, self.heat], [self.depth, self.ladder]),
            ([self.tape], [self.status, self.recording]),
        )
        return marimo.vstack(
            [marimo.Html(_wrapping_row([marimo.vstack(column).text for column in row])) for row in rows]
        )

    def __str__(self) -> str:
        """Return its name, the recent prices as a line, and the book as a ladder."""
        picture = text_picture(self.manager, self.price.token_id)
        return f"{self!r}\n{picture}" if picture else repr(self)

    def _repr_html_(self) -> str:
        return f"<p>{escape(repr(self))}</p>"


class _Backend(NamedTuple):
    """What makes each part of a dashboard; ``fastest`` limits its charts where they could be drawn more often."""

    price: Callable[..., canvas_charts.BasePriceChart]
    candles: Callable[..., canvas_charts.BaseCandleChart]
    outcomes: Callable[..., BaseOutcomesChart]
    heat: Callable[..., canvas_charts.BaseHeatMap]
    depth: Callable[..., canvas_charts.BaseDepthChart]
    ladder: Callable[..., tables.BaseLadder]
    tape: Callable[..., tables.BaseTape]
    status: Callable[..., tables.BaseStatusPanel]
    recording: Callable[..., tables.BaseRecordingPanel]
    fastest: float | None = None

    def limited(self, rate: float) -> float:
        """Lower a rate that is higher than the backend allows."""
        return rate if self.fastest is None else min(rate, self.fastest)


_BACKENDS: dict[str, _Backend] = {
    "canvas": _Backend(
        canvas_charts.PriceChart,
        canvas_charts.CandleChart,
        OutcomesChart,
        canvas_charts.HeatMap,
        canvas_charts.DepthChart,
        tables.Ladder,
        tables.Tape,
        tables.StatusPanel,
        tables.RecordingPanel,
    ),
    # A picture costs the kernel some twenty times what numbers do.
    "image": _Backend(
        image.PriceChart,
        image.CandleChart,
        image.OutcomesChart,
        image.HeatMap,
        image.DepthChart,
        image.Ladder,
        image.Tape,
        image.StatusPanel,
        image.RecordingPanel,
        fastest=5.0,
    ),
}


def _backend_of(name: BackendName) -> _Backend:
    """Return a backend.

    Raises:
        ValueError: there is no such backend.
    """
    if name not in _BACKENDS:
        raise ValueError(f"charts {name!r} is neither 'canvas' nor 'image'")
    return _BACKENDS[name]


def _beside(*columns: object) -> ipywidgets.HBox:
    """Put columns beside each other, and under each other where there is no room."""
    return ipywidgets.HBox(columns, layout={"flex_flow": "row wrap", "width": "100%", "grid_gap": "0 20px"})


def _wrapping_row(columns: Sequence[str]) -> str:
    """Write HTML that puts two columns beside each other, and under each other where there is no room.

    Columns of marimo's own rows become narrower without end before they go under each other.
    """
    cells = (
        f"<div style='flex: {share:g} 1 min({least}, 100%); min-width: 0'>{column}</div>"
        for column, (least, share) in zip(columns, _PAGE_COLUMNS, strict=True)
    )
    return f"<div style='display: flex; flex-wrap: wrap; gap: 16px'>{''.join(cells)}</div>"


def _column(parts: Sequence[object], least: str, share: float = 3.0) -> ipywidgets.VBox:
    """Put widgets under each other, as wide as their share of the room, but not narrower than ``least``."""
    layout = {"flex": f"{share:g} 1 {least}", "min_width": "0", "overflow": "hidden"}
    return ipywidgets.VBox(parts, layout=layout)


# --- cells ---
# The cell that runs now, so that what it showed when it ran before can be told from what other cells show.


class Cell(NamedTuple):
    """A cell of a notebook, and which of its runs this is."""

    name: str
    run: str


def _current_cell() -> Cell | None:
    """Return the cell that runs now; None outside of one, as in a script, a terminal or a button's callback.

    A front end that does not say which cell it runs is one whose cells are told apart by their text.
    """
    # Where IPython was not imported, no cell runs.
    ipython = sys.modules.get("IPython")
    shell: object = None if ipython is None else ipython.get_ipython()
    get_parent = cast("Callable[[], object] | None", getattr(shell, "get_parent", None))
    return None if get_parent is None else cell_of(get_parent())


def cell_of(request: object) -> Cell | None:
    """Return the cell that a message of a front end asks to run.

    >>> cell_of({"header": {"msg_id": "7"}, "metadata": {"cellId": "a"}, "content": {"code": "1 + 1"}})
    Cell(name='id a', run='7')
    >>> cell_of({"header": {"msg_id": "8"}, "metadata": {}, "content": {"code": "1 + 1"}})
    Cell(name='text 1 + 1', run='8')
    >>> cell_of({"header": {"msg_id": "9"}, "content": {"comm_id": "a button"}})
    """
    parts = {name: _mapping(request, name) for name in ("header", "metadata", "content")}
    run, code = str(parts["header"].get("msg_id", "")), parts["content"].get("code")
    if not run or not isinstance(code, str):
        return None
    number = parts["metadata"].get("cellId")
    return Cell(f"id {number}" if number else f"text {code}", run)


def _mapping(message: object, name: str) -> Mapping[str, object]:
    part = cast("Mapping[str, object]", message).get(name) if isinstance(message, Mapping) else None
    return cast("Mapping[str, object]", part) if isinstance(part, Mapping) else {}


# --- the main chart ---
# The chart at the head of a dashboard: prices, candles, or the outcomes beside a token, one at a time.

_PRICES, _CANDLES, _OUTCOMES = _KINDS = ("prices", "candles", "all outcomes")
# The candles of windows of up to so many seconds: some sixty, of a usual length; and of everything.
_LENGTHS: Final = (
    (60, "1s"),
    (300, "5s"),
    (900, "15s"),
    (3_600, "1m"),
    (21_600, "5m"),
    (86_400, "30m"),
    (math.inf, "1d"),
)
_OF_EVERYTHING: Final = "1m"

_Chart: TypeAlias = BasePriceChart | BaseCandleChart | BaseOutcomesChart


class _MainChart(ipywidgets.VBox):
    """A place for one of three charts; those but the first are made when they are first chosen.

    Args:
        price: the chart that is shown first; the others join its group and its window.
        candles: makes a chart of candles of a token.
        outcomes: makes a chart of several tokens.
    """

    def __init__(
        self,
        price: BasePriceChart,
        candles: Callable[..., BaseCandleChart],
        outcomes: Callable[..., BaseOutcomesChart],
    ) -> None:
        self.price = price
        self.candles: BaseCandleChart | None = None
        self.outcomes: BaseOutcomesChart | None = None
        self._make_candles, self._make_outcomes = candles, outcomes
        # What the user chooses with; whoever shows the chart places it.
        self.chooser = ipywidgets.Dropdown(options=_KINDS, layout={"width": "120px"})
        self.chooser.observe(self._chosen, names="value")
        super().__init__([price], layout={"min_width": "0", "overflow": "hidden"})

    @property
    def chart(self) -> _Chart:
        """The chart that is shown."""
        (shown,) = self.children
        return shown

    def show(self, token_id: str) -> None:
        """Show another token."""
        self.price.token_id = token_id
        if self.candles is not None:
            self.candles.token_id = token_id
        if self.outcomes is not None and token_id not in self.outcomes.token_ids:
            self.outcomes.close()
            self.outcomes = None
            self._place()

    def mark(self, price: float | None) -> None:
        """Mark a price of the token, or none."""
        self.price.marked = price
        if self.candles is not None:
            self.candles.marked = price

    def look_back(self, seconds: float) -> None:
        """Show so many of the last seconds; 0 shows everything."""
        for chart in (self.price, self.candles, self.outcomes):
            if chart is not None:
                chart.window = seconds or None
        if self.candles is not None:
            self.candles.interval = _candle_length(seconds or None)

    def close(self) -> None:
        """Close every chart, also those that are not shown."""
        for chart in (self.price, self.candles, self.outcomes):
            if chart is not None:
                chart.close()
        self.chooser.close()
        super().close()

    def _chosen(self, _change: TraitChange[object]) -> None:
        self._place()

    def _place(self) -> None:
        chart: _Chart = self.price
        if self.chooser.value == _CANDLES:
            chart = self._candles_made()
        elif self.chooser.value == _OUTCOMES:
            chart = self._outcomes_made()
        self.children = [chart]

    def _candles_made(self) -> BaseCandleChart:
        if self.candles is None:
            window, manager = self.price.window, self._manager
            every = _candle_length(window)
            self.candles = self._make_candles(manager, self.price.token_id, every=every, window=window)
            self.candles.group, self.candles.marked = self.price.group, self.price.marked
        return self.candles

    def _outcomes_made(self) -> BaseOutcomesChart:
        if self.outcomes is None:
            token_id, manager = self.price.token_id, self._manager
            keys = None if token_id is None else outcomes_beside(manager, token_id)
            self.outcomes = self._make_outcomes(manager, keys, window=self.price.window)
            self.outcomes.group = self.price.group
        return self.outcomes

    @property
    def _manager(self) -> Manager:
        return self.price.manager


def _candle_length(window: float | None) -> str:
    """Return the length of the candles of a window in seconds; None is everything.

    >>> [_candle_length(window) for window in (0.5, 300.0, 301.0, 1e9, None)]
    ['1s', '5s', '15s', '1d', '1m']
    """
    return _OF_EVERYTHING if window is None else next(length for most, length in _LENGTHS if window <= most)
