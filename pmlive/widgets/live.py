"""What every live widget is: drawn by the painter, followed by views in the browser, and a picture in the end."""

# ipywidgets says nothing of its types.
# pyright: reportUnknownMemberType=false

import asyncio
import math
import time
from collections.abc import Callable, Mapping
from importlib.resources import files

import anywidget
import traitlets

from pmlive.logs import get_logger
from pmlive.manager import Manager
from pmlive.manager.glance import Asked, Glance, Mark
from pmlive.widgets.drawn import Drawn, marks_of
from pmlive.widgets.line import Line, Message
from pmlive.widgets.views import View

__all__ = ["Ear", "LiveWidget", "script"]

logger = get_logger(__name__)

_ASK_EVERY = 10.0


def script(*names: str) -> str:
    """Join files of the package into one module for the browser."""
    folder = files("pmlive.widgets") / "js"
    return "\n".join((folder / f"{name}.js").read_text("utf-8") for name in names)


class LiveWidget(Drawn, anywidget.AnyWidget):
    """Something that shows what a manager has now; a subclass says what it needs, and makes a view of it."""

    # What a view in the browser begins with, also in a page that was saved. It is not sent when it changes.
    picture = traitlets.Dict().tag(sync=True)

    def __init__(self, manager: Manager, *, rate: float) -> None:
        super().__init__(manager, rate=rate)
        self.on_msg(self._hear)

    def _prepare(self, every: float) -> None:
        self._line = Line(self._grows, every=every)
        self._ear = Ear(self._line.could_hear)
        self._whole = True

    def _opening(self, view: View) -> dict[str, object]:
        return {"picture": _picture(*self._line.whole(view, time.monotonic()))}

    # --- drawing, in the painter's thread ---

    @property
    def every(self) -> float:
        """The least seconds between two drawings, more where the browser lags."""
        return self._line.every

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
        self._marks = marks_of(glance)
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

    def _anew(self) -> None:
        self._line.wish()


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
