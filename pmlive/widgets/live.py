"""What every live widget is: drawn by the painter, followed by views in the browser, and a picture in the end."""

# ipywidgets says nothing of its types.
# pyright: reportUnknownMemberType=false

import asyncio
import logging
import math
import time
from abc import abstractmethod
from collections.abc import Callable, Mapping
from importlib.resources import files
from typing import ClassVar, cast

import anywidget
import traitlets

from pmlive.errors import FeedError
from pmlive.manager import Manager
from pmlive.manager.glance import Asked, Glance, Mark
from pmlive.widgets.line import Line, Message
from pmlive.widgets.painter import FASTEST, painter_of
from pmlive.widgets.parts import close_parts
from pmlive.widgets.shown import Bundle, Shown, widget_bundle
from pmlive.widgets.views import View

__all__ = ["Ear", "LiveWidget", "script"]

logger = logging.getLogger(__name__)

_ASK_EVERY = 10.0


def script(*names: str) -> str:
    """Join files of the package into one module for the browser."""
    folder = files("pmlive.widgets") / "js"
    return "\n".join((folder / f"{name}.js").read_text("utf-8") for name in names)


class LiveWidget(anywidget.AnyWidget):
    """Something that shows what a manager has now; a subclass says what it needs, and makes a view of it."""

    # The tables that are followed, and the arrays of the view that have a row for each of their rows.
    _tables: ClassVar[tuple[str, ...]] = ()
    _grows: ClassVar[tuple[str, ...]] = ()

    # Until it is made: what fails to be made is closed, too, when Python lets go of it.
    _closed = True
    # What a view in the browser begins with, also in a page that was saved. It is not sent when it changes.
    picture = traitlets.Dict().tag(sync=True)

    def __init__(self, manager: Manager, *, rate: float) -> None:
        if not 0 < rate <= FASTEST:
            raise ValueError(f"rate {rate!r} is not between 0 and {FASTEST:g} drawings a second")
        self.manager = manager
        self._line = Line(self._grows, every=1 / rate)
        self._ear = Ear(self._line.could_hear)
        self._whole = True
        self._problem = ""
        self._shown = Shown()
        glance = self._glance()
        self._kept, self._marks = self._view(glance), _marks(glance)
        super().__init__(picture=_picture(*self._line.whole(self._kept, time.monotonic())))
        self.on_msg(self._hear)
        self._painter = painter_of(manager)
        self._painter.add(self)
        self._closed = False

    # --- what a subclass says ---

    def _asked(self, marks: Mapping[str, Mark | None]) -> Asked:
        """Say what is needed, with rows from these marks on."""
        return Asked(tables=marks)

    @abstractmethod
    def _view(self, glance: Glance) -> View:
        """Make a view of what was seen."""

    @abstractmethod
    def _still(self, view: View) -> Bundle:
        """Make what is left of it in a notebook that is read without a kernel."""

    # --- drawing, in the painter's thread ---

    def due(self, now: float) -> bool:
        """Tell whether to draw now."""
        self._ear.listen(now)
        return self._line.due(now)

    def asks(self, now: float) -> Asked:
        """Ask for what is new, or for everything if a view in the browser needs it."""
        self._whole = self._line.take_wish(now)
        marks: Mapping[str, Mark] = {} if self._whole else self._marks
        return self._asked({table: marks.get(table) for table in self._tables})

    def paint(self, glance: Glance, now: float) -> None:
        """Send what changed, if anything did."""
        view = self._view(glance)
        self._marks = _marks(glance)
        if self._whole or (self._grows and any(news.whole for news in glance.news.values())):
            self._kept = view
            message, buffer = self._line.whole(view, now)
            self.picture = _picture(message, buffer)
        elif (said := self._line.append(view, now)) is not None:
            message, buffer = said
        else:
            self._remind(now)
            return
        self._problem = ""
        self.send(message, [buffer])

    def _remind(self, now: float) -> None:
        if (number := self._line.remind(now)) is not None:
            self.send({"kind": "at", "number": number})

    def fail(self, error: Exception) -> None:
        """Show why it could not be drawn, under what was drawn before."""
        self._line.wish()
        problem = f"this could not be drawn: {type(error).__name__}: {error}"
        if problem != self._problem:
            logger.error("a widget could not be drawn", exc_info=error)
            self._problem = problem
            self.send({"kind": "problem", "text": problem})

    def _hear(self, _widget: object, content: Mapping[str, object], _buffers: object) -> None:
        self._line.heard(content, time.monotonic())

    def _should_send_property(self, key: str, value: object) -> bool:
        """Keep the picture for whoever asks for the whole state: the messages have what it has."""
        return key != "picture" and bool(super()._should_send_property(key, value))

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


class Ear:
    """Finds out whether the kernel is free to hear what is said to it: its loop comes round, with what was said before.

    Args:
        free: is given the time when it was asked whether the kernel is free, once it was.
    """

    def __init__(self, free: Callable[[float], object]) -> None:
        self._free = free
        self._asked = -math.inf
        try:
            self._loop = asyncio.get_running_loop()
        except RuntimeError:
            # Nothing is known of a kernel without one.
            self._loop = None

    def listen(self, now: float) -> None:
        """Ask now and then."""
        if self._loop is None or now - self._asked < _ASK_EVERY:
            return
        self._asked = now
        try:
            self._loop.call_soon_threadsafe(self._free, now)
        except RuntimeError:
            # It has ended.
            self._loop = None


def _picture(message: Message, buffer: bytes) -> dict[str, object]:
    return {**message, "buffer": buffer}


def _marks(glance: Glance) -> dict[str, Mark]:
    return {table: news.mark for table, news in glance.news.items()}
