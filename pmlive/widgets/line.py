"""What one widget says to its views in the browser, and what they say back; neither a widget nor a clock in it.

Messages are numbered. An *append* holds what came since the number before, a *whole* holds everything. A view that
missed one asks for a whole. The views tell how far they have drawn, which slows a widget down when the browser lags. A
kernel that is busy with a cell cannot hear them; so silence is no reason to stop, but as long as nothing was heard at
all, a whole is sent now and then, for a view that came to be after the first messages.
"""

import math
import threading
from collections import deque
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


class Message(TypedDict):
    """What is sent; ``grows`` names the arrays that are added to those before, up to ``capacity`` rows."""

    kind: Kind
    number: int
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

    def __init__(self, grows: Collection[str] = (), *, capacity: int = 20_000, every: float = 0.1) -> None:
        self.number = 0
        self.every = self._every = every
        self._grows = sorted(grows)
        self._capacity = capacity
        self._lock = threading.Lock()
        self._views: dict[str, bool] = {}
        self._wanted = False
        self._last: Packed | None = None
        self._last_at = self._whole_at = -math.inf
        self._keyframe = _KEYFRAMES[0] / 2
        self._heard = False
        self._sent: deque[tuple[int, float]] = deque(maxlen=256)

    # --- what the views say ---

    def heard(self, content: Mapping[str, object], now: float) -> None:
        """Take a message of a view; what is none is ignored, since pages may be older than the kernel."""
        with self._lock:
            self._heard = True
            match content:
                case {"kind": "look"}:
                    self._wanted = True
                case {"kind": "visible", "view": str() as view, "visible": bool() as visible}:
                    self._views[view] = visible
                case {"kind": "seen", "number": int() as number}:
                    self._note_seen(number, now)
                case _:
                    pass

    def _note_seen(self, number: int, now: float) -> None:
        sent = next((at for sent, at in self._sent if sent >= number), now)
        while self._sent and self._sent[0][0] <= number:
            self._sent.popleft()
        late = now - sent > _LATE
        self.every = min(2 * self.every, _SLOWEST) if late else max(self.every / 2, self._every)

    # --- what is said ---

    @property
    def watched(self) -> bool:
        """Whether somebody looks, as far as is known."""
        return not self._views or any(self._views.values())

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
        packed, rest = pack(view), pack(view, without=self._grows)
        grown = any(rows for name, rows, _ in packed["arrays"] if name in self._grows)
        if not grown and rest == self._last:
            return None
        self._last = rest
        return self._said("append", packed, now)

    def _said(self, kind: Kind, packed: Packed, now: float) -> tuple[Message, bytes]:
        self.number += 1
        self._last_at = now
        self._sent.append((self.number, now))
        return {
            "kind": kind,
            "number": self.number,
            "values": packed["values"],
            "arrays": packed["arrays"],
            "grows": self._grows,
            "capacity": self._capacity,
        }, packed["buffer"]
