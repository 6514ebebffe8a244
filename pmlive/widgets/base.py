"""The base classes of widgets that show a manager, on either backend."""

# ipywidgets says nothing of its types.
# pyright: reportUnknownMemberType=false
# pyright: reportMissingTypeStubs=false

from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import ClassVar, Generic, Protocol, TypeVar

import ipywidgets

from pmlive.errors import FeedError
from pmlive.logs import get_logger
from pmlive.manager import Manager
from pmlive.manager.snapshots import Cursor, Key, Query, Snapshot, key_parts, short_label
from pmlive.samples import SIMULATED
from pmlive.widgets.displays import Bundle, Displays, Scripted
from pmlive.widgets.render_loop import FASTEST, render_loop_of
from pmlive.widgets.views import View

__all__ = [
    "NOTHING_WATCHED",
    "ManagerWidget",
    "TokenWidget",
    "close_children",
    "cursors_of",
    "origin_of",
]

logger = get_logger(__name__)

V = TypeVar("V", bound=View)

NOTHING_WATCHED = 'no market is watched yet; type live.watch("a market\'s slug"); live.find("words") finds slugs'


class ManagerWidget(ipywidgets.DOMWidget, Generic[V]):
    """A widget that shows the present state of a manager: one subclass makes the view, another is the backend."""

    # The tables that are followed, and the arrays of the view that have a row for each of their rows.
    _tables: ClassVar[tuple[str, ...]] = ()
    _grows: ClassVar[tuple[str, ...]] = ()
    # The most drawings a second, unless others are asked for.
    _rate: ClassVar[float] = 10.0

    # Until it is made: a widget whose construction fails is closed, too, when Python collects it.
    _closed = True

    def __init__(self, manager: Manager, *, rate: float | None = None) -> None:
        rate = self._rate if rate is None else rate
        if not 0 < rate <= FASTEST:
            raise ValueError(f"rate {rate!r} is not between 0 and {FASTEST:g} drawings a second")
        self.manager = manager
        self._problem = ""
        self._prepare(1 / rate)
        snapshot = self._snapshot()
        self._last_view, self._cursors = self._next_view(snapshot), cursors_of(snapshot)
        super().__init__(**self._initial_traits(self._last_view))
        self._render_loop = render_loop_of(manager)
        self._displays = Displays(self, self._render_loop, self._script)
        self._render_loop.add(self)
        self._closed = False

    # --- what is shown ---

    def _request_since(self, cursors: Mapping[str, Cursor | None]) -> Query:
        """Return what the view is made of, with rows from these cursors on."""
        return Query(tables=cursors)

    @abstractmethod
    def _view(self, snapshot: Snapshot) -> V:
        """Make a view of the manager's state."""

    def _next_view(self, snapshot: Snapshot) -> V:
        """Make the view to be rendered, of what came since the one before; only the render loop calls it."""
        return self._view(snapshot)

    @abstractmethod
    def _picture(self, view: V) -> Bundle:
        """Make what remains in a notebook that is read without a kernel."""

    # --- how a backend shows it ---

    @property
    def _script(self) -> Scripted | None:
        """The widget, if it has a script in the page."""
        return None

    @abstractmethod
    def _prepare(self, every: float) -> None:
        """Prepare to be rendered, at least ``every`` seconds apart."""

    @abstractmethod
    def _initial_traits(self, view: V) -> dict[str, object]:
        """Return the traits that the widget is made with."""

    @property
    @abstractmethod
    def every(self) -> float:
        """The least seconds between two renderings."""

    @abstractmethod
    def due(self, now: float) -> bool:
        """Check whether to render now."""

    @abstractmethod
    def request(self, now: float) -> Query:
        """Return what the next rendering needs: what is new, or everything."""

    @abstractmethod
    def render(self, snapshot: Snapshot, now: float) -> None:
        """Render the state, if anything changed."""

    @abstractmethod
    def fail(self, error: Exception) -> None:
        """Show why rendering failed."""

    @abstractmethod
    def _refresh(self) -> None:
        """Render everything the next time, since something else is to be shown."""

    def _snapshot(self) -> Snapshot:
        """Read everything, now."""
        (snapshot,) = self.manager.snapshots([self._request_since(dict.fromkeys(self._tables))])
        return snapshot

    def _current_view(self) -> V:
        """Make a view of everything; once the widget or the manager is closed, return the last one."""
        if self._closed:
            return self._last_view
        try:
            return self._view(self._snapshot())
        except FeedError:
            return self._last_view

    # --- where it is displayed, and the end ---

    @property
    def closed(self) -> bool:
        """Whether it is rendered no more."""
        return self._closed

    def close(self) -> None:
        """Stop rendering, and leave a picture wherever it was displayed; closing again does nothing."""
        if self._closed:
            return
        self._last_view = self._final_view()
        self._closed = True
        self._render_loop.remove(self)
        self._displays.close()
        super().close()
        close_children(self)

    def _final_view(self) -> V:
        try:
            return self._current_view()
        except Exception:
            # It ends all the same, and so does the manager that may be closing.
            logger.exception("a widget could not be drawn for the last time")
            return self._last_view

    def still(self) -> Bundle:
        """Make what remains of it, as it is now, in a notebook that is read without a kernel."""
        return self._picture(self._current_view())

    def _ipython_display_(self, **_: object) -> None:
        """Display it; of a closed one, and where a program runs the cells, a picture."""
        self._displays.publish()


class TokenWidget(ManagerWidget[V]):
    """A widget that shows one token, which may be changed while it is shown.

    Args:
        manager: whose token.
        token_id: a token id, an outcome if only one watched token has it, or a market's slug with an outcome, as in
            ``("will-it-rain", "Yes")``; by default the first that is watched.
        rate: the most drawings a second.

    Raises:
        UnknownMarketError: no such token was subscribed, or several are meant.
    """

    def __init__(self, manager: Manager, token_id: Key | None = None, *, rate: float | None = None) -> None:
        first = next(iter(manager.snapshots([Query()])[0].labels), None)
        self._token_id = first if token_id is None else manager.token(*key_parts(token_id))
        super().__init__(manager, rate=rate)

    @property
    def token_id(self) -> str | None:
        """The token that is shown; None until there is one."""
        return self._token_id

    @token_id.setter
    def token_id(self, token_id: Key | None) -> None:
        self._token_id = None if token_id is None else self.manager.token(*key_parts(token_id))
        self._refresh()

    @property
    def label(self) -> str:
        """The question and the outcome; before them that the market is simulated, and who won once it is resolved."""
        return str(self._last_view.get("label", ""))

    def _chosen_token(self, snapshot: Snapshot) -> str:
        """Return the token to show; the first that comes to be watched is shown with the next rendering."""
        chosen = self._token_id
        if chosen is None and snapshot.labels:
            self.token_id = next(iter(snapshot.labels))
        return chosen or ""

    def _label_and_doubt(self, snapshot: Snapshot, token_id: str) -> tuple[str, str]:
        """Return the label of a token, and why its book cannot be trusted ("" if it can)."""
        if not token_id:
            return "", NOTHING_WATCHED
        label = snapshot.labels.get(token_id) or short_label(token_id)
        outcome = f"{snapshot.resolved}: " if snapshot.resolved else ""
        return f"{origin_of(self.manager, [token_id])}{outcome}{label}", snapshot.unavailable_because

    def __repr__(self) -> str:
        """Show kind and label in one line."""
        return f"<{type(self).__name__} of {self.label or 'nothing yet'}{', closed' if self.closed else ''}>"


def origin_of(manager: Manager, token_ids: Iterable[str]) -> str:
    """Return what a label of some tokens begins with: that they, or some of them, are simulated, if that is known.

    It is known of a simulated venue that the manager started, of what was recorded of one, and of the samples that come
    with pmlive. A recording of an earlier version, or of a venue that somebody else started, does not tell.
    """
    known = {manager.is_simulated(each) for each in token_ids} or {manager.simulated}
    if not any(known):
        return ""
    return SIMULATED if all(known) else f"partly {SIMULATED}"


def cursors_of(snapshot: Snapshot) -> dict[str, Cursor]:
    """Return how far each table was read."""
    return {table: rows.cursor for table, rows in snapshot.tables.items()}


class Closable(Protocol):
    """A widget within another, its layout or its style."""

    def close(self) -> None:
        """End it."""
        ...


def close_children(widget: object) -> None:
    """Close everything in a widget, at any depth: all of it lives on in the kernel until it is closed.

    A page that is loaded again asks for all that is open, and shows nothing at all if one part of that is closed.
    """
    children: Sequence[Closable] = getattr(widget, "children", ())
    for child in children:
        child.close()
        close_children(child)
    for name in ("layout", "style"):
        part: Closable | None = getattr(widget, name, None)
        if part is not None:
            part.close()
