"""Playing records in their own time, faster, or step by step."""

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

__all__ = ["Player", "Speed", "Stage"]

Speed: TypeAlias = float | Literal["max"]

# How long records are taken in one go, and how often the clock is looked at meanwhile.
_GO = 20_000_000
_LOOK = 64
# How many records are read in one go: reading a few at a time costs twice as much, of the processor's caches.
_AHEAD = 4_096
# While records are always due, how often to do what is done now and then.
_TURN = 250_000_000
# How long to wait for whoever takes the records, and at most for the next one, in seconds.
_FULL = 0.02
_NAP = 0.05
# A time that was rounded may lie so far outside a recording.
_NEARLY = 1_000_000_000
_recv = attrgetter("recv")


class Stage(Protocol):
    """Where records are played to."""

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
        """Do what is done now and then."""
        ...

    def has_room(self) -> bool:
        """Tell whether more can be taken now."""
        ...


class Player:
    """Plays a timeline; every method but ``run`` returns at once, and all belong to one event loop.

    Args:
        timeline: what is played.
        stage: where it is played to.
        speed: seconds of the recording in one second; ``"max"`` plays as fast as records can be taken.
        paused: whether to wait for ``resume``.
        clock: nanoseconds that pass.
    """

    def __init__(
        self,
        timeline: Timeline,
        stage: Stage,
        *,
        speed: Speed = 1.0,
        paused: bool = False,
        clock: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self.timeline = timeline
        self._stage = stage
        self._clock = clock
        self._speed = _number(speed)
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
        self._sought: int | None = None
        self._turned = clock()
        self._woken = asyncio.Event()
        self._rested = asyncio.Event()

    # --- what is asked of it ---

    @property
    def position(self) -> int:
        """The time of the recording that playing has come to, in nanoseconds since 1970."""
        if self.paused or self.finished or self._sought is not None or self._speed == math.inf:
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
            ValueError: it is neither "max" nor more than nothing.
        """
        number = _number(speed)
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
        self._sought = min(max(at, first), last)
        self.paused = self.paused or self._speed == math.inf
        self.finished = False
        self._records = self.timeline.records(self._sought)
        self._ahead.clear()
        # Time goes with what is taken until it is there: nothing is judged by a clock that runs ahead of the records.
        self._at = first
        self._stage.restart()
        self._wake()

    def step(self, frames: int = 1) -> int:
        """Take so many frames, paused or not, with what was noted between them; tell how many there were."""
        taken = 0
        while taken < frames and self._peek() is not None:
            taken += self._take(math.inf, most=frames - taken)
        self._hold()
        self._stage.turn()
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
        while self._sought is not None:
            if self.failed is not None:
                raise self.failed
            await asyncio.sleep(0.001)

    # --- the clockwork ---

    async def run(self) -> None:
        """Play, until cancelled."""
        while True:
            try:
                nap = self._go()
            except Exception as error:  # noqa: BLE001  # whoever waits is told
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
        """Play what is due, for a moment; tell how long to wait for more, None until woken."""
        if self.failed is not None or self.finished or (self.paused and self._sought is None):
            return None
        if not self._stage.has_room():
            return _FULL
        until = self._clock() + _GO
        while self._clock() < until:
            limit = self._due() if self._sought is None else self._sought
            record = self._peek()
            if record is None:
                return self._end()
            if record.recv > limit:
                return self._wait_for(record)
            self._take(limit, most=_LOOK)
        if self._clock() - self._turned >= _TURN:
            self._turned = self._clock()
            self._stage.turn()
        return 0.0

    def _due(self) -> float:
        """Give the time up to which records are due."""
        at, since = self._anchor
        return at + (self._clock() - since) * self._speed

    def _wait_for(self, record: Record) -> float | None:
        if self._sought is not None:
            self._at, self._sought = self._sought, None
            self._hold()
            self._stage.turn()
            return None if self.paused else 0.0
        self._stage.turn()
        return min(max((record.recv - self._due()) / self._speed / 1e9, 0.001), _NAP)

    def _end(self) -> None:
        self._sought = None
        self._at = max(self._at, self.timeline.last)
        self.finished = True
        self._stage.finish(self._at)
        self._stage.turn()

    def _peek(self) -> Record | None:
        if not self._ahead:
            self._ahead.extend(islice(self._records, _AHEAD))
        return self._ahead[0] if self._ahead else None

    def _take(self, limit: float, *, most: int) -> int:
        """Take the next record, with the frames that follow a frame and are due; tell how many frames it were."""
        record = self._ahead.popleft()
        if record.kind not in FRAMES:
            self._stage.note(record)
            self._at = max(self._at, record.recv)
            return 0
        ahead, frames = self._ahead, [record]
        while ahead and len(frames) < most and ahead[0].kind in FRAMES and ahead[0].recv <= limit:
            frames.append(ahead.popleft())
        self._stage.take(frames)
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


def _number(speed: Speed) -> float:
    """Read a speed.

    Raises:
        ValueError: it is neither "max" nor more than nothing.
    """
    if speed == "max":
        return math.inf
    if isinstance(speed, str) or not 0 < speed < math.inf:
        raise ValueError(f"speed {speed!r} is neither 'max' nor a number above 0, such as 1 or 60")
    return float(speed)
