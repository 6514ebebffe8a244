"""What one widget says to its views in the browser, and what they say back; neither a widget nor a clock in it.

Messages are numbered. An *append* holds what came since the number before, a *whole* holds everything. A view that
missed one asks for a whole; so that it also learns that it missed the last one, the number is said again when nothing
more comes. The views tell how late they draw, which slows a widget down when the browser lags.

A kernel that is busy with a cell cannot hear them; so silence is no reason to stop, but as long as nothing was heard at
all, a whole is sent now and then, for a view that came to be after the first messages. A view that says nothing though
the kernel could hear it is gone with its page: what is sent to nobody, the notebook's server would keep, all night.
"""

import math
import threading
from collections.abc import Collection, Mapping
from typing import Literal, TypeAlias, TypedDict

from pmlive.widgets.packing import Packed, pack
from pmlive.widgets.views import View

__all__ = ["Line", "Message"]

Kind: TypeAlias = Literal["whole", "append"]

# A browser that draws what was sent more than a second ago is given less, down to a message each two seconds.
_LATE = 1.0
_SLOWEST = 2.0
# When everything is sent to whoever has not spoken yet: soon, for a view is made within a second, and then less often.
_KEYFRAMES = (0.5, 5.0)
# Ticks come a little early or late.
_SLACK = 0.005
# When the last number is said again, since nothing came after it.
_REMINDERS = (2.0, 60.0)
# A view that is there says so each ten seconds.
_GONE = 60.0


class Message(TypedDict):
    """What is sent; ``grows`` names the arrays that are added to those before, up to ``capacity`` rows.

    ``sent`` is the time of the line's clock.
    """

    kind: Kind
    number: int
    sent: float
    values: dict[str, object]
    arrays: list[tuple[str, int, int]]
    grows: list[str]
    capacity: int


class Line:
    """The line between a widget and its views; ``now`` is any clock of seconds.

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
        self._opened: float | None = None
        self._free = -math.inf
        self._wanted = False
        self._last: Packed | None = None
        self._last_at = self._whole_at = self._said_at = -math.inf
        self._keyframe = _KEYFRAMES[0] / 2
        self._heard = False
        self._remind_after = _REMINDERS[0]

    # --- what the views say ---

    def heard(self, content: Mapping[str, object], now: float) -> None:
        """Take a message of a view; what is none is ignored, since pages may be older than the kernel."""
        with self._lock:
            self._heard = True
            match content:
                case {"kind": "look", "view": str() as view}:
                    self._wanted = True
                    self._note(view, now)
                case {"kind": "visible", "view": str() as view, "visible": bool() as visible}:
                    self._views[view] = visible, now
                case {"kind": "here", "view": str() as view}:
                    self._note(view, now)
                case {"kind": "seen", "view": str() as view, "lag": int() | float() as lag}:
                    self._note(view, now)
                    self.every = min(2 * self.every, _SLOWEST) if lag > _LATE else max(self.every / 2, self._every)
                case _:
                    pass

    def _note(self, view: str, now: float) -> None:
        visible, _ = self._views.get(view, (True, now))
        self._views[view] = visible, now

    def could_hear(self, asked: float) -> None:
        """Note that whatever was said until then would have been heard by now."""
        with self._lock:
            self._free = asked

    # --- what is said ---

    @property
    def watched(self) -> bool:
        """Whether somebody looks, as far as is known."""
        with self._lock:
            since = self._free - _GONE
            if not self._views:
                return self._opened is None or self._opened >= since
            return any(visible and heard >= since for visible, heard in self._views.values())

    def due(self, now: float) -> bool:
        """Tell whether it is time for a message, and somebody looks."""
        return self.watched and (self._wanted or now - self._last_at >= self.every - _SLACK)

    def wish(self) -> None:
        """Let the next message be a whole."""
        with self._lock:
            self._wanted = True

    def take_wish(self, now: float) -> bool:
        """Tell whether the next message is to be a whole; what is wished later is for the one after it."""
        # Also when no message comes of it, for nothing changed or it failed, the next one keeps its distance.
        self._last_at = now
        with self._lock:
            wanted, self._wanted = self._wanted, False
        return wanted or (not self._heard and now - self._whole_at >= self._keyframe)

    def whole(self, view: View, now: float) -> tuple[Message, bytes]:
        """Say everything."""
        self._last, self._whole_at = pack(view, without=self._grows), now
        self._keyframe = min(2 * self._keyframe, _KEYFRAMES[1])
        return self._said("whole", pack(view), now)

    def append(self, view: View, now: float) -> tuple[Message, bytes] | None:
        """Say what is new: arrays that grow hold only that; nothing if there is nothing."""
        self._last_at = now
        if not self._grows:
            return self._replace(view, now)
        rest, new = pack(view, without=self._grows), pack({name: view[name] for name in self._grows})
        if rest == self._last and not any(rows for _, rows, _ in new["arrays"]):
            return None
        self._last = rest
        return self._said("append", _joined(rest, new), now)

    def remind(self, now: float) -> int | None:
        """Give the number of the last message, if it is time to say it again."""
        if now - self._said_at < self._remind_after:
            return None
        self._said_at, self._remind_after = now, min(2 * self._remind_after, _REMINDERS[1])
        return self.number

    def _replace(self, view: View, now: float) -> tuple[Message, bytes] | None:
        """Say everything, if anything of it changed; who missed the message before needs it no more."""
        packed = pack(view)
        if packed == self._last:
            return None
        self._last = packed
        return self._said("whole", packed, now)

    def _said(self, kind: Kind, packed: Packed, now: float) -> tuple[Message, bytes]:
        self.number += 1
        self._last_at = self._said_at = now
        self._remind_after = _REMINDERS[0]
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


def _joined(one: Packed, other: Packed) -> Packed:
    return {
        "values": one["values"] | other["values"],
        "arrays": one["arrays"] + other["arrays"],
        "buffer": one["buffer"] + other["buffer"],
    }
