"""The canvas backend: widgets that our scripts draw in the browser, from views that the kernel sends."""

# ipywidgets says nothing of its types.
# pyright: reportUnknownMemberType=false

import asyncio
import math
import time
from collections.abc import Callable, Mapping
from importlib.resources import files
from typing import Generic, TypeVar

import anywidget
import msgspec
import traitlets

from pmlive.analysis.palette import DARK, LIGHT
from pmlive.logs import get_logger
from pmlive.manager import Manager
from pmlive.manager.snapshots import Cursor, Query, Snapshot
from pmlive.widgets.base import ManagerWidget, cursors_of
from pmlive.widgets.channel import Channel, Message
from pmlive.widgets.displays import CSS, Scripted
from pmlive.widgets.scales import SCALES
from pmlive.widgets.views import View

__all__ = ["CanvasWidget", "LoopProbe", "script"]

logger = get_logger(__name__)

V = TypeVar("V", bound=View)

_PROBE_EVERY_S = 10.0


def script(*names: str) -> str:
    """Join files of the package into one module for the browser, behind what they share with figures."""
    folder = files("pmlive.widgets") / "js"
    shared = {"PALETTE": {"light": LIGHT, "dark": DARK}, "SCALES": SCALES}
    given = [f"const {name} = {msgspec.json.encode(value).decode()};" for name, value in shared.items()]
    return "\n".join([*given, *((folder / f"{name}.js").read_text("utf-8") for name in ("shared", *names))])


class CanvasWidget(ManagerWidget[V], anywidget.AnyWidget, Generic[V]):
    """A widget whose views are sent to the browser and drawn there."""

    _css = CSS
    # What a view in the browser begins with, also in a page that was saved. It is not sent when it changes.
    picture = traitlets.Dict().tag(sync=True)

    def __init__(self, manager: Manager, *, rate: float | None = None) -> None:
        super().__init__(manager, rate=rate)
        self.on_msg(self._receive)

    @property
    def _script(self) -> Scripted:
        return self

    def _prepare(self, every: float) -> None:
        self._channel = Channel(self._grows, every=every)
        self._probe = LoopProbe(self._channel.note_free)
        self._whole = True

    def _initial_traits(self, view: V) -> dict[str, object]:
        return {"picture": _with_buffer(*self._channel.whole(view, time.monotonic()))}

    # --- rendering, in the thread of the render loop ---

    @property
    def every(self) -> float:
        """The least seconds between two renderings, more where the browser lags."""
        return self._channel.every

    def due(self, now: float) -> bool:
        """Check whether to render now."""
        self._probe.run(now)
        return self._channel.due(now)

    def request(self, now: float) -> Query:
        """Request what is new, or everything if a view in the browser needs it."""
        self._whole = self._channel.take_request(now)
        cursors: Mapping[str, Cursor] = {} if self._whole else self._cursors
        return self._request_since({table: cursors.get(table) for table in self._tables})

    def render(self, snapshot: Snapshot, now: float) -> None:
        """Send what changed, if anything did."""
        view = self._next_view(snapshot)
        self._cursors = cursors_of(snapshot)
        if self._whole or (self._grows and any(rows.whole for rows in snapshot.tables.values())):
            self._last_view = view
            message, buffer = self._channel.whole(view, now)
            self.picture = _with_buffer(message, buffer)
        elif (sent := self._channel.append(view, now)) is not None:
            message, buffer = sent
        else:
            self._remind(now)
            return
        self._problem = ""
        self.send(message, [buffer])

    def _remind(self, now: float) -> None:
        if (number := self._channel.remind(now)) is not None:
            self.send({"kind": "at", "number": number})

    def fail(self, error: Exception) -> None:
        """Show why rendering failed, under what was drawn before."""
        self._channel.request_whole()
        problem = f"this could not be drawn: {type(error).__name__}: {error}"
        if problem != self._problem:
            logger.error("a widget could not be drawn", exc_info=error)
            self._problem = problem
            self.send({"kind": "problem", "text": problem})

    def _receive(self, _widget: object, content: Mapping[str, object], _buffers: object) -> None:
        self._channel.receive(content, time.monotonic())

    def _should_send_property(self, key: str, value: object) -> bool:
        """Keep the picture for whoever asks for the whole state: the messages have what it has."""
        return key != "picture" and bool(super()._should_send_property(key, value))

    def _refresh(self) -> None:
        self._channel.request_whole()


class LoopProbe:
    """Finds out when the kernel's event loop is free, and so has received whatever was sent to it before.

    Args:
        free: called with the time at which the loop was probed, once it has answered.
    """

    def __init__(self, free: Callable[[float], object]) -> None:
        self._free = free
        self._probed = -math.inf
        try:
            self._loop = asyncio.get_running_loop()
        except RuntimeError:
            # Nothing is known of a kernel without one.
            self._loop = None

    def run(self, now: float) -> None:
        """Probe the loop, unless that was done a moment ago."""
        if self._loop is None or now - self._probed < _PROBE_EVERY_S:
            return
        self._probed = now
        try:
            self._loop.call_soon_threadsafe(self._free, now)
        except RuntimeError:
            # It has ended.
            self._loop = None


def _with_buffer(message: Message, buffer: bytes) -> dict[str, object]:
    return {**message, "buffer": buffer}
