"""Charts of several outcomes, as a base class for either backend and for the canvas."""

from collections.abc import Mapping, Sequence
from typing import ClassVar, NamedTuple

from matplotlib.axes import Axes

from pmlive.errors import UnknownMarketError
from pmlive.manager import Manager
from pmlive.manager.snapshots import Cursor, Query, Snapshot
from pmlive.manager.token_view import Key
from pmlive.widgets.base import origin_of
from pmlive.widgets.canvas import CanvasWidget, script
from pmlive.widgets.charts import PARTS, Windowed, valid_window, whole_second_ms
from pmlive.widgets.figures_outcomes import OutcomesPlot
from pmlive.widgets.lines import (
    LINE_ROWS,
    MOST_LINES,
    Keys,
    Lines,
    LinesView,
    Quoted,
    lines_of,
    lines_view,
    meant,
)

__all__ = ["BaseOutcomesChart", "OutcomesChart", "outcomes_beside"]

# A slot is this share of the window, and a tenth of a second at least.
_SLOTS, _LEAST_SLOT_NS = 3_000, 100_000_000
_EVERYTHING_S = 6 * 3600.0
# A view in the browser keeps some more rows; before it forgets any, everything is sent anew.
_MOST_ROWS = 40_000
_NOTHING = "no market is watched yet"


class _Titled(NamedTuple):
    """Lines, what they have in common, and what they show."""

    label: str
    of: Quoted
    lines: Lines


class BaseOutcomesChart(Windowed[LinesView]):
    """A chart of several outcomes, for either backend."""

    _tables: ClassVar[tuple[str, ...]] = ("prices",)
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
        view = lines_view(
            made.lines,
            snapshot.tables["prices"].frame,
            snapshot.gaps,
            label=f"{origin_of(self.manager, self._token_ids)}{made.label}",
            of=made.of,
            doubts=snapshot.doubts,
            now_ms=whole_second_ms(snapshot.now),
            window_ms=(self._window or 0.0) * 1000,
        )
        return made, view if self._token_ids else {**view, "label": "", "doubt": _NOTHING}

    def _begun(self) -> "_Titled":
        label, of, lines = lines_of(self._token_ids, self.manager.markets, self._of if self._token_ids else None)
        rest = len(lines) - MOST_LINES
        window = round((self._window or 0.0) * 1e9)
        slot = max(_LEAST_SLOT_NS, round((self._window or _EVERYTHING_S) / _SLOTS * 1e9))
        begun = Lines(lines[:MOST_LINES], window=window, slot=slot)
        return _Titled(f"{label} ({rest} more are not shown)" if rest > 0 else label, of, begun)

    def _plot(self, axes: Axes) -> OutcomesPlot:
        return OutcomesPlot(axes)

    def __repr__(self) -> str:
        """Show kind and label in one line."""
        return f"<{type(self).__name__} of {self.label or 'nothing yet'}{', closed' if self.closed else ''}>"


class OutcomesChart(BaseOutcomesChart, CanvasWidget[LinesView]):
    """The mids of several outcomes, each named at the end of its line; a line is blank in a gap.

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
