"""What every widget that shows a manager is, whatever it is shown with: it looks, and leaves a picture in the end."""

# ipywidgets says nothing of its types.
# pyright: reportUnknownMemberType=false
# pyright: reportMissingTypeStubs=false

from abc import abstractmethod
from collections.abc import Mapping
from typing import ClassVar, cast

import ipywidgets

from pmlive.errors import FeedError
from pmlive.logs import get_logger
from pmlive.manager import Manager
from pmlive.manager.glance import Asked, Glance, Mark
from pmlive.widgets.painter import FASTEST, painter_of
from pmlive.widgets.parts import close_parts
from pmlive.widgets.shown import Bundle, Shown, widget_bundle
from pmlive.widgets.views import View

__all__ = ["Drawn", "marks_of"]

logger = get_logger(__name__)


class Drawn(ipywidgets.DOMWidget):
    """Something that shows what a manager has now: one subclass says what, another how it comes to the browser."""

    # The tables that are followed, and the arrays of the view that have a row for each of their rows.
    _tables: ClassVar[tuple[str, ...]] = ()
    _grows: ClassVar[tuple[str, ...]] = ()

    # Until it is made: what fails to be made is closed, too, when Python lets go of it.
    _closed = True

    def __init__(self, manager: Manager, *, rate: float) -> None:
        if not 0 < rate <= FASTEST:
            raise ValueError(f"rate {rate!r} is not between 0 and {FASTEST:g} drawings a second")
        self.manager = manager
        self._shown = Shown()
        self._problem = ""
        self._prepare(1 / rate)
        glance = self._glance()
        self._kept, self._marks = self._view(glance), marks_of(glance)
        super().__init__(**self._opening(self._kept))
        self._painter = painter_of(manager)
        self._painter.add(self)
        self._closed = False

    # --- what is shown ---

    def _asked(self, marks: Mapping[str, Mark | None]) -> Asked:
        """Say what is needed, with rows from these marks on."""
        return Asked(tables=marks)

    @abstractmethod
    def _view(self, glance: Glance) -> View:
        """Make a view of what was seen."""

    @abstractmethod
    def _still(self, view: View) -> Bundle:
        """Make what is left of it in a notebook that is read without a kernel."""

    # --- how it is shown ---

    @abstractmethod
    def _prepare(self, every: float) -> None:
        """Be ready to be drawn, with at least so many seconds from one time to the next."""

    @abstractmethod
    def _opening(self, view: View) -> dict[str, object]:
        """Give the traits that it begins with."""

    @property
    @abstractmethod
    def every(self) -> float:
        """The least seconds between two drawings."""

    @abstractmethod
    def due(self, now: float) -> bool:
        """Tell whether to draw now."""

    @abstractmethod
    def asks(self, now: float) -> Asked:
        """Ask for what is new, or for everything."""

    @abstractmethod
    def paint(self, glance: Glance, now: float) -> None:
        """Draw, if anything changed."""

    @abstractmethod
    def fail(self, error: Exception) -> None:
        """Show why it could not be drawn."""

    @abstractmethod
    def _anew(self) -> None:
        """Show everything with the next drawing, since something else is to be shown."""

    def _glance(self) -> Glance:
        """See everything, now."""
        (glance,) = self.manager.glance([self._asked(dict.fromkeys(self._tables))])
        return glance

    def _look(self) -> View:
        """Make a view of everything; once it is closed, or the manager is, of what was seen last."""
        if self._closed:
            return self._kept
        try:
            return self._view(self._glance())
        except FeedError:
            return self._kept

    # --- where it is shown, and the end ---

    @property
    def closed(self) -> bool:
        """Whether it is drawn no more."""
        return self._closed

    def close(self) -> None:
        """Draw no more, and leave a picture where it was shown; again does nothing."""
        if self._closed:
            return
        self._kept = self._last_look()
        self._closed = True
        self._painter.remove(self)
        if self._shown:
            self._shown.freeze(self._still(self._kept))
        super().close()
        close_parts(self)

    def _last_look(self) -> View:
        try:
            return self._look()
        except Exception:
            # It ends all the same, and so does the manager that may be closing.
            logger.exception("a widget could not be drawn for the last time")
            return self._kept

    def _ipython_display_(self, **_: object) -> None:
        """Display it with a picture for those who cannot run it; of a closed one the picture alone."""
        still = self._still(self._look())
        alive = {} if self._closed else widget_bundle(cast("str", self.model_id))
        self._shown.publish(alive | still)


def marks_of(glance: Glance) -> dict[str, Mark]:
    """Tell how far each table was read."""
    return {table: news.mark for table, news in glance.news.items()}
