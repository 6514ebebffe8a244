"""The render loop: one thread for all widgets of a manager, so that nothing else writes to any of them."""

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
from pmlive.manager.lifecycle import the_end
from pmlive.manager.snapshots import Query, Snapshot
from pmlive.threads import repeating

__all__ = ["FASTEST", "Renderable", "render_loop_of", "step"]

# The most renderings a second that a widget may ask for.
FASTEST = 30.0
# Between two turns other threads run for so long at least, and a request waits for a turn no longer than that.
_PAUSE_S, _LONGEST_S = 0.005, 0.1


class Renderable(Protocol):
    """What a render loop renders."""

    @property
    def every(self) -> float:
        """The least seconds between two renderings."""
        ...

    def due(self, now: float) -> bool:
        """Check whether to render now (seconds of a clock that only goes forward)."""
        ...

    def request(self, now: float) -> Query:
        """Return what the rendering needs of the manager."""
        ...

    def render(self, snapshot: Snapshot, now: float, /) -> None:
        """Render what was read."""
        ...

    def fail(self, error: Exception) -> None:
        """Show why rendering failed."""
        ...

    def close(self) -> None:
        """Leave a last picture and end."""
        ...


class _NextTurn:
    """When the next turn of a thread is."""

    def __init__(self, at: float) -> None:
        self.at = at


class RenderLoop:
    """Renders the widgets of one manager in a thread, which is there while there are any."""

    def __init__(self, manager: Manager) -> None:
        # The widgets keep the manager; a loop without any does not.
        self._manager = weakref.ref(manager)
        self._lock = threading.Lock()
        self._widgets: list[Renderable] = []
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        # How many callers render in their own threads.
        self._callers = 0

    def add(self, widget: Renderable) -> None:
        """Render one more widget."""
        with self._lock:
            self._widgets.append(widget)
            self._start()

    def remove(self, widget: Renderable) -> None:
        """Render a widget no more; with the last, the thread ends."""
        with self._lock:
            if widget in self._widgets:
                self._widgets.remove(widget)
            thread = None if self._widgets else self._let_go()
        _join(thread)

    def close(self) -> None:
        """Close all widgets."""
        for widget in tuple(self._widgets):
            widget.close()

    def draw_for(self, seconds: float) -> None:
        """Render in the caller's thread for a while, and not in the loop's own."""
        with self._here():
            until = time.monotonic() + seconds
            while (left := until - time.monotonic()) > 0 and self._widgets and self._turn(time.monotonic()):
                time.sleep(min(1 / FASTEST, left))

    async def draw_for_async(self, seconds: float) -> None:
        """Render in the caller's event loop for a while, and not in a thread."""
        with self._here():
            until = time.monotonic() + seconds
            while (left := until - time.monotonic()) > 0 and self._widgets and self._turn(time.monotonic()):  # noqa: ASYNC110  # it waits for the clock
                await asyncio.sleep(min(1 / FASTEST, left))

    @contextmanager
    def _here(self) -> Generator[None]:
        """Leave the rendering to the caller."""
        with self._lock:
            self._callers += 1
            thread = self._let_go()
        try:
            _join(thread)
            yield
        finally:
            with self._lock:
                self._callers -= 1
                if self._widgets:
                    self._start()

    def _start(self) -> None:
        if self._thread is None and not self._callers:
            self._ended = ended = threading.Event()
            # Some kernels find the cell that output belongs to by the context, so the thread takes it along.
            run = contextvars.copy_context().run
            turn = partial(self._wait_and_turn, ended, _NextTurn(time.monotonic()))
            self._thread = repeating("pmlive charts", partial(run, turn), pause=_LONGEST_S)
            self._thread.start()

    def _let_go(self) -> threading.Thread | None:
        thread, self._thread = self._thread, None
        self._ended.set()
        return thread

    def _wait_and_turn(self, ended: threading.Event, next_turn: _NextTurn) -> bool:
        """Wait for the next turn and take it; False when it was the last."""
        if ended.wait(max(_PAUSE_S, next_turn.at - time.monotonic())) or the_end.is_set():
            return False
        # By the time that it should be: a turn that comes a little late must not make the next one seem early.
        if self._turn(next_turn.at):
            # The time that rendering takes does not put the next turn off, unless it takes longer than there is.
            every = [widget.every for widget in tuple(self._widgets)]
            next_turn.at = max(next_turn.at + step(every), time.monotonic())
            return True
        if not ended.is_set() and not the_end.is_set():
            self.close()
        return False

    def _turn(self, now: float) -> bool:
        """Render what is due; False once there is nothing to look at any more."""
        due = [widget for widget in tuple(self._widgets) if widget.due(now)]
        return not due or self._render(due, now)

    def _render(self, due: Sequence[Renderable], now: float) -> bool:
        manager = self._manager()
        if manager is None:
            return False
        requests = [widget.request(now) for widget in due]
        try:
            snapshots = manager.snapshots(requests)
        except FeedError:
            return False
        except Exception:  # noqa: BLE001  # it is shown where it belongs: in the widget whose request fails
            for widget, request in zip(due, requests, strict=True):
                _render_one(widget, partial(_read, manager, request), now)
            return True
        for widget, snapshot in zip(due, snapshots, strict=True):
            _render_one(widget, lambda snapshot=snapshot: snapshot, now)
        return True


def step(every: Sequence[float]) -> float:
    """Return the seconds between turns: no more turns than the fastest widget needs, since each wakes the process.

    >>> step([0.1, 0.5]), step([1.0]), step([])
    (0.1, 0.1, 0.1)
    """
    fastest = min(every, default=_LONGEST_S)
    return fastest / math.ceil(fastest / _LONGEST_S)


def _join(thread: threading.Thread | None) -> None:
    if thread is not None and thread is not threading.current_thread():
        thread.join(timeout=5)


def _read(manager: Manager, request: Query) -> Snapshot:
    (snapshot,) = manager.snapshots([request])
    return snapshot


def _render_one(widget: Renderable, read: Callable[[], Snapshot], now: float) -> None:
    try:
        widget.render(read(), now)
    except Exception as error:  # noqa: BLE001  # it is shown where the drawing would be
        widget.fail(error)


_loops: "weakref.WeakKeyDictionary[Manager, RenderLoop]" = weakref.WeakKeyDictionary()
_making = threading.Lock()


def render_loop_of(manager: Manager) -> RenderLoop:
    """Return the render loop of a manager, made when it is first asked for."""
    with _making:
        loop = _loops.get(manager)
        if loop is None:
            loop = _loops[manager] = RenderLoop(manager)
            manager.at_close(loop.close)
        return loop
