"""The player of a timeline: at its own speed, faster, or step by step."""

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from operator import attrgetter
from typing import Literal, Protocol, TypeAlias

from pmlive.records import FRAMES, Record
from pmlive.replay.timeline import Timeline
from pmlive.times import moment

__all__ = ["PlaybackTarget", "Player", "Speed"]

Speed: TypeAlias = float | Literal["max"]

# How long records are played before the event loop gets its turn, and after how many frames that is checked.
_SLICE_NS = 20_000_000
_FRAMES_PER_CHECK = 64
# How many records are read at a time: reading a few takes twice as long, because of the processor's caches.
_READ_AHEAD = 4_096
# How often ``turn`` is called while records are always due.
_TURN_NS = 250_000_000
# How long to wait while the target has no room, and at most for the next record.
_FULL_WAIT_S = 0.02
_LONGEST_WAIT_S = 0.05
# A time that was rounded may lie this far outside a recording.
_TOLERANCE_NS = 1_000_000_000
_recv = attrgetter("recv")


class PlaybackTarget(Protocol):
    """What a player plays records to."""

    def take(self, frames: Sequence[Record]) -> None:
        """Take one or more consecutive frames that are due."""
        ...

    def note(self, record: Record) -> None:
        """Take a record that is not a frame."""
        ...

    def restart(self) -> None:
        """Forget everything: the next record does not follow the last one."""
        ...

    def finish(self, now: int) -> None:
        """Note the end of the records, at the time of the last one."""
        ...

    def turn(self) -> None:
        """Do periodic work."""
        ...

    def has_room(self) -> bool:
        """Return whether more can be taken now."""
        ...


class Player:
    """Plays a timeline. All methods belong to one event loop, and only the coroutines wait.

    Args:
        timeline: the records.
        target: what takes them.
        speed: seconds of the recording per second; ``"max"`` plays as fast as the target takes records.
        paused: whether to wait for ``resume``.
        clock: a monotonic clock, in nanoseconds.
    """

    def __init__(
        self,
        timeline: Timeline,
        target: PlaybackTarget,
        *,
        speed: Speed = 1.0,
        paused: bool = False,
        clock: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self.timeline = timeline
        self._target = target
        self._clock = clock
        self._speed = _read_speed(speed)
        self.paused = paused
        self.finished = False
        self.failed: Exception | None = None
        self._records: Iterator[Record] = timeline.records()
        # The next records, which are read some at a time.
        self._ahead: deque[Record] = deque()
        # The position (a time of the recording); and a position with the time of ``clock`` at which it was reached.
        self._at = timeline.first
        self._anchor = (self._at, clock())
        # Everything up to this time is played without delay, also while paused.
        self._seek_to: int | None = None
        self._turned = clock()
        self._wake_up = asyncio.Event()
        self._idle = asyncio.Event()

    # --- controls ---

    @property
    def position(self) -> int:
        """The time of the recording that is reached, in nanoseconds since 1970."""
        if self.paused or self.finished or self._seek_to is not None or self._speed == math.inf:
            return self._at
        # Never past a record that was not taken, or checks by this clock would not know of it.
        following = self._ahead[0].recv if self._ahead else self.timeline.last
        return max(self._at, min(int(self._due()), following))

    @property
    def speed(self) -> Speed:
        """Seconds of the recording per second, or ``"max"``."""
        return "max" if self._speed == math.inf else self._speed

    def set_speed(self, speed: Speed) -> None:
        """Set the speed from now on.

        Raises:
            ValueError: it is neither ``"max"`` nor above 0.
        """
        number = _read_speed(speed)
        self._anchor_here()
        self._speed = number
        self._wake()

    def pause(self) -> None:
        """Stop playing until ``resume``."""
        self._anchor_here()
        self.paused = True
        self._idle.set()

    def resume(self) -> None:
        """Continue from the current position."""
        self._anchor_here()
        self.paused = False
        self._wake()

    def seek(self, at: int) -> None:
        """Go to a time, by playing everything since the last record of whole books before it.

        At the speed ``"max"`` it pauses there, or it would be over before anybody looked.

        Raises:
            ValueError: the time is not within the recording.
        """
        first, last = self.timeline.first, self.timeline.last
        if not first - _TOLERANCE_NS <= at <= last + _TOLERANCE_NS:
            wished, begin, end = (moment(time).isoformat() for time in (at, first, last))
            raise ValueError(f"the recording has no time {wished}; it goes from {begin} to {end}")
        self._seek_to = min(max(at, first), last)
        self.paused = self.paused or self._speed == math.inf
        self.finished = False
        self._records = self.timeline.records(self._seek_to)
        self._ahead.clear()
        # The position follows the records until it arrives, so that no clock runs ahead of them.
        self._at = first
        self._target.restart()
        self._wake()

    def step(self, frames: int = 1) -> int:
        """Play a number of frames with the notes between them, paused or not; return how many frames there were."""
        taken = 0
        while taken < frames and self._peek() is not None:
            taken += self._take(math.inf, most=frames - taken)
        self._anchor_here()
        self._target.turn()
        return taken

    async def wait_until_idle(self) -> None:
        """Wait until nothing is played: at the end, paused, or paused after a seek.

        Raises:
            PmliveError: the recording cannot be played further.
        """
        await self._idle.wait()
        if self.failed is not None:
            raise self.failed

    async def wait_for_seek(self) -> None:
        """Wait until the time of ``seek`` is reached.

        Raises:
            PmliveError: the recording cannot be played that far.
        """
        while self._seek_to is not None:
            if self.failed is not None:
                raise self.failed
            await asyncio.sleep(0.001)

    # --- playing ---

    async def run(self) -> None:
        """Play until cancelled."""
        while True:
            try:
                nap = self._play_due()
            except Exception as error:  # noqa: BLE001  # raised to whoever waits
                self.failed, nap = error, None
            if nap is None:
                self._idle.set()
                await self._wake_up.wait()
            elif nap:
                await _wait(self._wake_up, nap)
            else:
                await asyncio.sleep(0)
            self._wake_up.clear()

    def _play_due(self) -> float | None:
        """Play what is due, for a slice of time; return how long to wait for more, None until woken."""
        if self.failed is not None or self.finished or (self.paused and self._seek_to is None):
            return None
        if not self._target.has_room():
            return _FULL_WAIT_S
        until = self._clock() + _SLICE_NS
        while self._clock() < until:
            limit = self._due() if self._seek_to is None else self._seek_to
            record = self._peek()
            if record is None:
                return self._end()
            if record.recv > limit:
                return self._wait_for(record)
            self._take(limit, most=_FRAMES_PER_CHECK)
        if self._clock() - self._turned >= _TURN_NS:
            self._turned = self._clock()
            self._target.turn()
        return 0.0

    def _due(self) -> float:
        """Return the time up to which records are due."""
        at, since = self._anchor
        return at + (self._clock() - since) * self._speed

    def _wait_for(self, record: Record) -> float | None:
        if self._seek_to is not None:
            self._at, self._seek_to = self._seek_to, None
            self._anchor_here()
            self._target.turn()
            return None if self.paused else 0.0
        self._target.turn()
        return min(max((record.recv - self._due()) / self._speed / 1e9, 0.001), _LONGEST_WAIT_S)

    def _end(self) -> None:
        self._seek_to = None
        self._at = max(self._at, self.timeline.last)
        self.finished = True
        self._target.finish(self._at)
        self._target.turn()

    def _peek(self) -> Record | None:
        if not self._ahead:
            self._ahead.extend(islice(self._records, _READ_AHEAD))
        return self._ahead[0] if self._ahead else None

    def _take(self, limit: float, *, most: int) -> int:
        """Play the next record; with a frame, the frames after it that are due; return how many frames there were."""
        record = self._ahead.popleft()
        if record.kind not in FRAMES:
            self._target.note(record)
            self._at = max(self._at, record.recv)
            return 0
        ahead, frames = self._ahead, [record]
        while ahead and len(frames) < most and ahead[0].kind in FRAMES and ahead[0].recv <= limit:
            frames.append(ahead.popleft())
        self._target.take(frames)
        self._at = max(self._at, *map(_recv, frames))
        return len(frames)

    def _anchor_here(self) -> None:
        self._at = self.position
        self._anchor = (self._at, self._clock())

    def _wake(self) -> None:
        self.failed = None
        self._idle.clear()
        self._wake_up.set()


async def _wait(woken: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await woken.wait()
    except TimeoutError:
        pass


def _read_speed(speed: Speed) -> float:
    """Check a speed, and return it as a number.

    Raises:
        ValueError: it is neither ``"max"`` nor above 0.
    """
    if speed == "max":
        return math.inf
    if isinstance(speed, str) or not 0 < speed < math.inf:
        raise ValueError(f"invalid speed {speed!r}; expected 'max' or a number above 0, such as 1 or 60")
    return float(speed)
