"""The player of a timeline: in its own time, faster, or step by step."""

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

# How long records are taken in one go (ns), and after how many frames the clock is looked at.
_GO = 20_000_000
_LOOK = 64
# How many records are read in one go: reading a few at a time costs twice as much, of the processor's caches.
_AHEAD = 4_096
# While records are always due, how often ``turn`` is called all the same (ns).
_TURN = 250_000_000
# How long to wait for whoever takes the records, and at most for the next one, in seconds.
_FULL = 0.02
_NAP = 0.05
# A time that was rounded may lie so far outside a recording (ns).
_NEARLY = 1_000_000_000
_recv = attrgetter("recv")


class PlaybackTarget(Protocol):
    """What records are played to."""

    def take(self, frames: Sequence[Record]) -> None:
        """Take frames in a row whose time has come, at least one."""
        ...

    def note(self, record: Record) -> None:
        """Take a record of what happened besides frames."""
        ...

    def restart(self) -> None:
        """Forget everything: the next records are not those that follow the last one."""
        ...

    def finish(self, now: int) -> None:
        """Note that there are no more records, at the time of the last."""
        ...

    def turn(self) -> None:
        """Do what is done from time to time."""
        ...

    def has_room(self) -> bool:
        """Return whether more can be taken now."""
        ...


class Player:
    """Plays a timeline; every method but ``run`` returns at once, and all belong to one event loop.

    Args:
        timeline: the records.
        target: what it is played to.
        speed: seconds of the recording in one second; ``"max"`` plays as fast as records can be taken.
        paused: whether to wait for ``resume``.
        clock: nanoseconds that pass.
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
        self._speed = _parsed(speed)
        self.paused = paused
        self.finished = False
        self.failed: Exception | None = None
        self._records: Iterator[Record] = timeline.records()
        # Those that come next, some of them at a time.
        self._ahead: deque[Record] = deque()
        # The time that playing has come to; and a time that it had come to, with when (by ``clock``) that was.
        self._at = timeline.first
        self._anchor = (self._at, clock())
        # Everything up to this time is played at once, also while paused.
        self._seek_to: int | None = None
        self._turned = clock()
        self._woken = asyncio.Event()
        self._rested = asyncio.Event()

    # --- controls ---

    @property
    def position(self) -> int:
        """The time of the recording that playing has come to, in nanoseconds since 1970."""
        if self.paused or self.finished or self._seek_to is not None or self._speed == math.inf:
            return self._at
        # Never past a record that has not been taken, or what is judged by the clock would be judged without it.
        following = self._ahead[0].recv if self._ahead else self.timeline.last
        return max(self._at, min(int(self._due()), following))

    @property
    def speed(self) -> Speed:
        """Seconds of the recording in one second, or ``"max"``."""
        return "max" if self._speed == math.inf else self._speed

    def set_speed(self, speed: Speed) -> None:
        """Play faster or slower from now on.

        Raises:
            ValueError: it is neither ``"max"`` nor above 0.
        """
        number = _parsed(speed)
        self._hold()
        self._speed = number
        self._wake()

    def pause(self) -> None:
        """Stand still."""
        self._hold()
        self.paused = True
        self._rested.set()

    def resume(self) -> None:
        """Go on from where it stands."""
        self._hold()
        self.paused = False
        self._wake()

    def seek(self, at: int) -> None:
        """Go to a time: what the books were comes from the last place before it where they were written down.

        What is played as fast as can be stands still there, or it would be over before anybody looked.

        Raises:
            ValueError: the recording has no such time.
        """
        first, last = self.timeline.first, self.timeline.last
        if not first - _NEARLY <= at <= last + _NEARLY:
            wished, begin, end = (moment(time).isoformat() for time in (at, first, last))
            raise ValueError(f"the recording has no time {wished}; it goes from {begin} to {end}")
        self._seek_to = min(max(at, first), last)
        self.paused = self.paused or self._speed == math.inf
        self.finished = False
        self._records = self.timeline.records(self._seek_to)
        self._ahead.clear()
        # Time goes with what is taken until it is there: nothing is judged by a clock that runs ahead of the records.
        self._at = first
        self._target.restart()
        self._wake()

    def step(self, frames: int = 1) -> int:
        """Take a number of frames, paused or not, with what was noted between them; return how many there were."""
        taken = 0
        while taken < frames and self._peek() is not None:
            taken += self._take(math.inf, most=frames - taken)
        self._hold()
        self._target.turn()
        return taken

    async def rested(self) -> None:
        """Wait until it stands still: played to its end, paused, or where it was sent.

        Raises:
            PmliveError: the recording could not be played to its end.
        """
        await self._rested.wait()
        if self.failed is not None:
            raise self.failed

    async def arrived(self) -> None:
        """Wait until it is where it was sent.

        Raises:
            PmliveError: the recording could not be played as far.
        """
        while self._seek_to is not None:
            if self.failed is not None:
                raise self.failed
            await asyncio.sleep(0.001)

    # --- playing ---

    async def run(self) -> None:
        """Play, until cancelled."""
        while True:
            try:
                nap = self._go()
            except Exception as error:  # noqa: BLE001  # raised to whoever waits
                self.failed, nap = error, None
            if nap is None:
                self._rested.set()
                await self._woken.wait()
            elif nap:
                await _either(self._woken, nap)
            else:
                await asyncio.sleep(0)
            self._woken.clear()

    def _go(self) -> float | None:
        """Play what is due, for a moment; return how long to wait for more, None until woken."""
        if self.failed is not None or self.finished or (self.paused and self._seek_to is None):
            return None
        if not self._target.has_room():
            return _FULL
        until = self._clock() + _GO
        while self._clock() < until:
            limit = self._due() if self._seek_to is None else self._seek_to
            record = self._peek()
            if record is None:
                return self._end()
            if record.recv > limit:
                return self._wait_for(record)
            self._take(limit, most=_LOOK)
        if self._clock() - self._turned >= _TURN:
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
            self._hold()
            self._target.turn()
            return None if self.paused else 0.0
        self._target.turn()
        return min(max((record.recv - self._due()) / self._speed / 1e9, 0.001), _NAP)

    def _end(self) -> None:
        self._seek_to = None
        self._at = max(self._at, self.timeline.last)
        self.finished = True
        self._target.finish(self._at)
        self._target.turn()

    def _peek(self) -> Record | None:
        if not self._ahead:
            self._ahead.extend(islice(self._records, _AHEAD))
        return self._ahead[0] if self._ahead else None

    def _take(self, limit: float, *, most: int) -> int:
        """Take the next record, with the frames that follow a frame and are due; return how many frames they were."""
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

    def _hold(self) -> None:
        self._at = self.position
        self._anchor = (self._at, self._clock())

    def _wake(self) -> None:
        self.failed = None
        self._rested.clear()
        self._woken.set()


async def _either(woken: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await woken.wait()
    except TimeoutError:
        pass


def _parsed(speed: Speed) -> float:
    """Read a speed.

    Raises:
        ValueError: it is neither ``"max"`` nor above 0.
    """
    if speed == "max":
        return math.inf
    if isinstance(speed, str) or not 0 < speed < math.inf:
        raise ValueError(f"invalid speed {speed!r}; expected 'max' or a number above 0, such as 1 or 60")
    return float(speed)
