"""The canvas backend: widgets that our scripts draw in the browser, from views that the kernel sends."""

# ipywidgets says nothing of its types.
# pyright: reportUnknownMemberType=false

import asyncio
import math
import threading
import time
from collections.abc import Callable, Collection, Mapping
from importlib.resources import files
from typing import Generic, Literal, TypeAlias, TypedDict, TypeVar

import anywidget
import msgspec
import numpy as np
import traitlets

from pmlive.analysis.palette import DARK, LIGHT
from pmlive.logs import get_logger
from pmlive.manager import Manager
from pmlive.manager.snapshots import Cursor, Query, Snapshot
from pmlive.widgets.base import ManagerWidget, cursors_of
from pmlive.widgets.displays import CSS, Scripted
from pmlive.widgets.scales import SCALES
from pmlive.widgets.views import Numbers, View

__all__ = [
    "TICK_SLACK_S",
    "CanvasWidget",
    "Channel",
    "LoopProbe",
    "Message",
    "pack",
    "script",
]


# --- the channel to the browser ---
# The messages between one widget and its views in the browser; without a widget and without a clock.
#
# Messages are numbered. An *append* holds what came since the number before, a *whole* holds everything. A view that
# missed one asks for a whole; so that it also learns that it missed the last one, the number is sent again when nothing
# more comes. The views report how late they draw, which slows a widget down when the browser lags.
#
# A kernel that is busy with a cell cannot hear them; so silence is no reason to stop, but as long as nothing was heard
# at all, a whole is sent now and then, for a view that was opened after the first messages. A view that says nothing
# though the kernel could hear it is gone with its page: the notebook's server would keep all that is still sent to it.

MessageKind: TypeAlias = Literal["whole", "append"]

# A browser that draws what was sent more than a second ago is sent less, down to a message each two seconds.
_LATE_S = 1.0
_SLOWEST_S = 2.0
# When everything is sent to views that were not heard yet: soon, for a view is made within a second, then less often.
_KEYFRAMES_S = (0.5, 5.0)
# Ticks come a little early or late.
TICK_SLACK_S = 0.005
# When the last number is sent again, since nothing came after it.
_REMINDERS_S = (2.0, 60.0)
# A view that is open says so each ten seconds.
_GONE_S = 60.0


class Message(TypedDict):
    """What is sent; ``grows`` names the arrays that are added to those before, up to ``capacity`` rows.

    ``sent`` is the time of the channel's clock.
    """

    kind: MessageKind
    number: int
    sent: float
    values: dict[str, object]
    arrays: list[tuple[str, int, int]]
    grows: list[str]
    capacity: int


class Channel:
    """The channel between a widget and its views; ``now`` is any clock of seconds.

    Args:
        grows: the names of arrays that only grow.
        capacity: the most rows of these that a view keeps.
        every: the least seconds between messages.
    """

    def __init__(self, grows: Collection[str] = (), *, capacity: int = 50_000, every: float = 0.1) -> None:
        self.number = 0
        self.every = self._every = every
        self._grows = sorted(grows)
        self._capacity = capacity
        self._lock = threading.Lock()
        # Of each view whether it is in sight, and when it was heard last.
        self._views: dict[str, tuple[bool, float]] = {}
        # How many of the last seconds each view shows, of those that show more than they are sent by themselves.
        self._reaches: dict[str, float] = {}
        self._opened: float | None = None
        self._free = -math.inf
        self._whole_requested = False
        self._last: Packed | None = None
        self._last_at = self._whole_at = self._sent_at = -math.inf
        self._keyframe = _KEYFRAMES_S[0] / 2
        self._heard = False
        self._remind_after = _REMINDERS_S[0]

    # --- received from the views ---

    def receive(self, content: Mapping[str, object], now: float) -> None:
        """Take a message of a view; anything else is ignored, since pages may be older than the kernel."""
        with self._lock:
            self._heard = True
            match content:
                case {"kind": "look", "view": str() as view}:
                    self._whole_requested = True
                    self._note(view, now)
                case {"kind": "visible", "view": str() as view, "visible": bool() as visible}:
                    self._views[view] = visible, now
                case {"kind": "here", "view": str() as view}:
                    self._note(view, now)
                case {"kind": "reach", "view": str() as view, "seconds": int() | float() as seconds}:
                    self._note(view, now)
                    self._whole_requested = True
                    self._reaches[view] = float(seconds)
                case {"kind": "seen", "view": str() as view, "lag": int() | float() as lag}:
                    self._note(view, now)
                    self.every = min(2 * self.every, _SLOWEST_S) if lag > _LATE_S else max(self.every / 2, self._every)
                case _:
                    pass

    def _note(self, view: str, now: float) -> None:
        visible, _ = self._views.get(view, (True, now))
        self._views[view] = visible, now

    def note_free(self, probed: float) -> None:
        """Note that whatever views sent until then was received."""
        with self._lock:
            self._free = probed

    # --- sent to the views ---

    @property
    def watched(self) -> bool:
        """Whether any view is in sight, as far as is known."""
        with self._lock:
            since = self._free - _GONE_S
            if not self._views:
                return self._opened is None or self._opened >= since
            return any(visible and heard >= since for visible, heard in self._views.values())

    @property
    def reach(self) -> float:
        """How many of the last seconds a view asks for, the most of all that are still there; 0 while none does."""
        with self._lock:
            since = self._free - _GONE_S
            return max(
                (self._reaches.get(view, 0.0) for view, (_, at) in self._views.items() if at >= since), default=0.0
            )

    def due(self, now: float) -> bool:
        """Check whether it is time for a message, and a view is in sight."""
        return self.watched and (self._whole_requested or now - self._last_at >= self.every - TICK_SLACK_S)

    def request_whole(self) -> None:
        """Make the next message a whole."""
        with self._lock:
            self._whole_requested = True

    def take_request(self, now: float) -> bool:
        """Return whether the next message is to be a whole; a later request is for the one after it."""
        # Also when no message comes of it, for nothing changed or it failed, the next one keeps its distance.
        self._last_at = now
        with self._lock:
            requested, self._whole_requested = self._whole_requested, False
        return requested or (not self._heard and now - self._whole_at >= self._keyframe)

    def whole(self, view: View, now: float) -> tuple[Message, bytes]:
        """Make a message of everything."""
        self._last, self._whole_at = pack(view, without=self._grows), now
        self._keyframe = min(2 * self._keyframe, _KEYFRAMES_S[1])
        return self._message("whole", pack(view), now)

    def append(self, view: View, now: float) -> tuple[Message, bytes] | None:
        """Make a message of what is new, the only rows of arrays that grow; None if nothing is."""
        self._last_at = now
        if not self._grows:
            return self._replace(view, now)
        rest, new = pack(view, without=self._grows), pack({name: view[name] for name in self._grows})
        if rest == self._last and not any(rows for _, rows, _ in new["arrays"]):
            return None
        self._last = rest
        return self._message("append", _joined(rest, new), now)

    def remind(self, now: float) -> int | None:
        """Return the number of the last message, if it is time to send it again."""
        if now - self._sent_at < self._remind_after:
            return None
        self._sent_at, self._remind_after = now, min(2 * self._remind_after, _REMINDERS_S[1])
        return self.number

    def _replace(self, view: View, now: float) -> tuple[Message, bytes] | None:
        """Make a message of everything, if anything changed; a view that missed the one before needs it no more."""
        packed = pack(view)
        if packed == self._last:
            return None
        self._last = packed
        return self._message("whole", packed, now)

    def _message(self, kind: MessageKind, packed: "Packed", now: float) -> tuple[Message, bytes]:
        self.number += 1
        self._last_at = self._sent_at = now
        self._remind_after = _REMINDERS_S[0]
        self._opened = now if self._opened is None else self._opened
        return {
            "kind": kind,
            "number": self.number,
            "sent": now,
            "values": packed["values"],
            "arrays": packed["arrays"],
            "grows": self._grows,
            "capacity": self._capacity,
        }, packed["buffer"]


class Packed(TypedDict):
    """Values by name, and names, rows and columns of the arrays that follow each other in ``buffer``."""

    values: dict[str, object]
    arrays: list[tuple[str, int, int]]
    buffer: bytes


def pack(view: View, *, without: Collection[str] = ()) -> Packed:
    """Pack a view, but for some of its names: values that JSON can hold, and all arrays in one buffer.

    >>> pack({"label": "Yes", "times": np.array([1.0, 2.0])})["arrays"]
    [('times', 2, 1)]
    """
    values: dict[str, object] = {}
    arrays: list[tuple[str, int, int]] = []
    buffer = bytearray()
    for name, value in view.items():
        if name in without:
            continue
        if isinstance(value, np.ndarray):
            numbers: Numbers = np.ascontiguousarray(value, dtype=np.float64)
            arrays.append((name, numbers.shape[0], math.prod(numbers.shape[1:])))
            buffer += numbers.tobytes()
        else:
            values[name] = value
    return {"values": values, "arrays": arrays, "buffer": bytes(buffer)}


def _joined(one: Packed, other: Packed) -> Packed:
    return {
        "values": one["values"] | other["values"],
        "arrays": one["arrays"] + other["arrays"],
        "buffer": one["buffer"] + other["buffer"],
    }


# --- the canvas ---

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
