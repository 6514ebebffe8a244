"""The thread that draws a manager's widgets: one for all of them, so that nothing else writes to any."""

import asyncio
import contextvars
import math
import threading
import time
import weakref
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Protocol

from pmlive.errors import FeedError
from pmlive.manager import Manager
from pmlive.manager.glance import Asked, Glance
from pmlive.manager.lifecycle import the_end
from pmlive.threads import repeating

__all__ = ["FASTEST", "Painted", "Painter", "painter_of", "step"]

# The most drawings a second that a widget may ask for.
FASTEST = 30.0
# Between two turns others of the process come to their turn, and what is wished waits for one no longer, in seconds.
_PAUSE, _LONGEST = 0.005, 0.1


class Painted(Protocol):
    """What a painter draws."""

    @property
    def every(self) -> float:
        """The least seconds between two drawings."""
        ...

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


class _Due:
    """When the next turn of a thread is."""

    def __init__(self, at: float) -> None:
        self.at = at


class Painter:
    """Draws the widgets of one manager in a thread, which is there while there are any."""

    def __init__(self, manager: Manager) -> None:
        # What is drawn keeps the manager; a painter with nothing to draw does not.
        self._manager = weakref.ref(manager)
        self._lock = threading.Lock()
        self._painted: list[Painted] = []
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        # How many draw in their own threads.
        self._guests = 0

    def add(self, painted: Painted) -> None:
        """Draw one more."""
        with self._lock:
            self._painted.append(painted)
            self._start()

    def remove(self, painted: Painted) -> None:
        """Draw one no more; with the last, the thread ends."""
        with self._lock:
            if painted in self._painted:
                self._painted.remove(painted)
            thread = None if self._painted else self._let_go()
        _join(thread)

    def close(self) -> None:
        """Close all that is drawn."""
        for painted in tuple(self._painted):
            painted.close()

    def draw_for(self, seconds: float) -> None:
        """Draw in the caller's thread for a while, and not in one of its own."""
        with self._here():
            until = time.monotonic() + seconds
            while (left := until - time.monotonic()) > 0 and self._painted and self._turn(time.monotonic()):
                time.sleep(min(1 / FASTEST, left))

    async def draw_for_async(self, seconds: float) -> None:
        """Draw in the caller's event loop for a while, and not in a thread."""
        with self._here():
            until = time.monotonic() + seconds
            while (left := until - time.monotonic()) > 0 and self._painted and self._turn(time.monotonic()):  # noqa: ASYNC110  # it waits for the clock
                await asyncio.sleep(min(1 / FASTEST, left))

    @contextmanager
    def _here(self) -> Generator[None]:
        """Leave the drawing to the caller."""
        with self._lock:
            self._guests += 1
            thread = self._let_go()
        try:
            _join(thread)
            yield
        finally:
            with self._lock:
                self._guests -= 1
                if self._painted:
                    self._start()

    def _start(self) -> None:
        if self._thread is None and not self._guests:
            self._ended = ended = threading.Event()
            # Some kernels find the cell that output belongs to by the context, so the thread takes it along.
            run = contextvars.copy_context().run
            turning = partial(self._turning, ended, _Due(time.monotonic()))
            self._thread = repeating("pmlive charts", partial(run, turning), pause=_LONGEST)
            self._thread.start()

    def _let_go(self) -> threading.Thread | None:
        thread, self._thread = self._thread, None
        self._ended.set()
        return thread

    def _turning(self, ended: threading.Event, due: "_Due") -> bool:
        """Wait for the next turn and take it; False when it was the last."""
        if ended.wait(max(_PAUSE, due.at - time.monotonic())) or the_end.is_set():
            return False
        # By the time that it should be: a turn that comes a little late must not make the next one seem early.
        if self._turn(due.at):
            # What drawing takes does not put the next turn off, unless it takes longer than there is.
            every = [painted.every for painted in tuple(self._painted)]
            due.at = max(due.at + step(every), time.monotonic())
            return True
        if not ended.is_set() and not the_end.is_set():
            self.close()
        return False

    def _turn(self, now: float) -> bool:
        """Draw what is due; False once there is nothing to look at any more."""
        due = [painted for painted in tuple(self._painted) if painted.due(now)]
        return not due or self._draw(due, now)

    def _draw(self, due: Sequence[Painted], now: float) -> bool:
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


def step(every: Sequence[float]) -> float:
    """Give the seconds between turns: no more turns than the fastest needs, since each wakes the process.

    >>> step([0.1, 0.5]), step([1.0]), step([])
    (0.1, 0.1, 0.1)
    """
    fastest = min(every, default=_LONGEST)
    return fastest / math.ceil(fastest / _LONGEST)


def _join(thread: threading.Thread | None) -> None:
    if thread is not None and thread is not threading.current_thread():
        thread.join(timeout=5)


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
