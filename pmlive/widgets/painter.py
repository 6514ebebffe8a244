"""The thread that draws a manager's widgets: one for all of them, so that nothing else writes to any."""

import contextvars
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol

from pmlive.errors import FeedError
from pmlive.manager import Manager
from pmlive.manager.ending import the_end
from pmlive.manager.glance import Asked, Glance

__all__ = ["Painted", "Painter", "painter_of"]

# The most drawings a second that a widget may ask for.
FASTEST = 30.0


class Painted(Protocol):
    """What a painter draws."""

    def due(self, now: float) -> bool:
        """Tell whether to draw now (seconds of a clock that only goes forward)."""
        ...

    def asks(self, now: float) -> Asked:
        """Say what it needs to be drawn."""
        ...

    def paint(self, glance: Glance, now: float) -> None:
        """Draw what was seen."""
        ...

    def fail(self, error: Exception) -> None:
        """Show why it could not be drawn."""
        ...

    def close(self) -> None:
        """Take a last picture and end."""
        ...


class Painter:
    """Draws the widgets of one manager in a thread, which is there while there are any."""

    def __init__(self, manager: Manager) -> None:
        # What is drawn keeps the manager; a painter with nothing to draw does not.
        self._manager = weakref.ref(manager)
        self._lock = threading.Lock()
        self._painted: list[Painted] = []
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    def add(self, painted: Painted) -> None:
        """Draw one more."""
        with self._lock:
            self._painted.append(painted)
            if self._thread is None:
                self._ended = ended = threading.Event()
                # Some kernels find the cell that output belongs to by the context, so the thread takes it along.
                run = contextvars.copy_context().run
                self._thread = threading.Thread(target=run, args=(self._run, ended), name="pmlive charts", daemon=True)
                self._thread.start()

    def remove(self, painted: Painted) -> None:
        """Draw one no more; with the last, the thread ends."""
        with self._lock:
            if painted in self._painted:
                self._painted.remove(painted)
            if self._painted or self._thread is None:
                return
            thread, self._thread = self._thread, None
            self._ended.set()
        if thread is not threading.current_thread():
            thread.join(timeout=5)

    def close(self) -> None:
        """Close all that is drawn."""
        for painted in tuple(self._painted):
            painted.close()

    def _run(self, ended: threading.Event) -> None:
        while not ended.wait(1 / FASTEST) and not the_end.is_set():
            now = time.monotonic()
            due = [painted for painted in tuple(self._painted) if painted.due(now)]
            if due and not self._draw(due, now):
                break
        if not ended.is_set() and not the_end.is_set():
            self.close()

    def _draw(self, due: Sequence[Painted], now: float) -> bool:
        """Draw what is due; False once there is nothing to look at any more."""
        manager = self._manager()
        if manager is None:
            return False
        asked = [painted.asks(now) for painted in due]
        try:
            glances = manager.glance(asked)
        except FeedError:
            return False
        except Exception:  # noqa: BLE001  # it is shown where it belongs: in the one that asked for it
            for painted, its in zip(due, asked, strict=True):
                _paint(painted, partial(_see, manager, its), now)
            return True
        for painted, glance in zip(due, glances, strict=True):
            _paint(painted, lambda seen=glance: seen, now)
        return True


def _see(manager: Manager, asked: Asked) -> Glance:
    (glance,) = manager.glance([asked])
    return glance


def _paint(painted: Painted, see: Callable[[], Glance], now: float) -> None:
    try:
        painted.paint(see(), now)
    except Exception as error:  # noqa: BLE001  # it is shown where the drawing would be
        painted.fail(error)


_painters: "weakref.WeakKeyDictionary[Manager, Painter]" = weakref.WeakKeyDictionary()
_making = threading.Lock()


def painter_of(manager: Manager) -> Painter:
    """Give the painter of a manager, made when it is first asked for."""
    with _making:
        painter = _painters.get(manager)
        if painter is None:
            painter = _painters[manager] = Painter(manager)
            manager.at_close(painter.close)
        return painter
