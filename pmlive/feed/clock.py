"""Receive times: the wall clock, but never backwards, and unaffected by a wall clock that is wrong for a moment."""

import time
from collections.abc import Callable
from functools import partial

import msgspec

__all__ = ["Clock", "ClockStep", "elapsed"]

_SECOND_NS = 1_000_000_000
# How often the wall clock is read.
_CHECK_EVERY_NS = 1 * _SECOND_NS
# A smaller difference is drift, which is followed at once; a larger one is a step of the wall clock.
_MOST_DRIFT_NS = _SECOND_NS // 10
# A step is followed once it has lasted this long.
_BELIEVED_AFTER_NS = 10 * _SECOND_NS
# While ours is ahead, it runs at half speed and never stops, so that pings and deadlines still come.
_SLOWDOWN = 2
# Runs on while the machine sleeps, where the system has such a clock.
_BOOT = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


# Returns nanoseconds of a clock that also runs while the process is stopped or the machine sleeps.
elapsed: Callable[[], int] = partial(time.clock_gettime_ns, _BOOT)


class ClockStep(msgspec.Struct, frozen=True, gc=False):
    """A step of the wall clock that was followed: its nanoseconds, and the receive time until which both clocks agreed.

    After a negative one, receive times are ahead until the wall clock has caught up.
    """

    by: int
    since: int


class Clock:
    """Nanoseconds since 1970, counted by a clock that runs on during sleep and compared with the wall clock.

    Receive times must never go back, and a wrong one cannot be taken back. So a step of the wall clock is followed only
    when it has lasted: a step ahead then at once, and after a step back this clock runs at half speed until both agree.
    """

    def __init__(self, wall: Callable[[], int] = time.time_ns, elapsed: Callable[[], int] = elapsed) -> None:
        self._wall = wall
        self._elapsed = elapsed
        # The offset from the elapsed time; by how much it is too large; the time at which both clocks agreed last.
        self._checked = elapsed()
        self._offset = wall() - self._checked
        self._ahead = 0
        self._agreed = self._checked + self._offset
        # The offset of the wall clock since it was set, and when that was first seen.
        self._claim: int | None = None
        self._claimed = 0
        # A wall clock with a smaller offset than this is wrong.
        self._least: int | None = None
        self._step: ClockStep | None = None

    def __call__(self) -> int:
        """Return the time."""
        now = self._elapsed()
        passed = now - self._checked
        if passed >= _CHECK_EVERY_NS:
            self._check(now, passed)
            passed = 0
        return now + self._offset - min(passed // _SLOWDOWN, self._ahead) if self._ahead else now + self._offset

    @property
    def ahead(self) -> int:
        """By how many nanoseconds receive times are ahead of the wall clock, since it was set back."""
        return self._ahead

    def not_before(self, time: int) -> None:
        """Note a time, stated by the venue, that is certainly past, even if the wall clock is before it."""
        least = time - self._elapsed()
        self._least = least if self._least is None else max(self._least, least)
        if least > self._offset - self._ahead:
            self._claim, self._agreed = None, time
            self._set(least)

    def step(self) -> ClockStep | None:
        """Return the last step that was followed, once."""
        step, self._step = self._step, None
        return step

    def _check(self, now: int, passed: int) -> None:
        slowed = min(passed // _SLOWDOWN, self._ahead)
        self._checked = now
        self._offset -= slowed
        self._ahead -= slowed
        adds, right = self._wall() - now, self._offset - self._ahead
        if self._least is not None:
            adds = max(adds, self._least)
        if abs(adds - right) <= _MOST_DRIFT_NS:
            self._claim, self._agreed = None, now + self._offset
            self._set(adds)
        elif self._claim is None or abs(adds - self._claim) > _MOST_DRIFT_NS:
            self._claim, self._claimed = adds, now
        elif now - self._claimed < _BELIEVED_AFTER_NS:
            self._claim = adds
        else:
            self._step = ClockStep(adds - right, self._agreed)
            self._claim, self._agreed = None, now + max(adds, self._offset)
            self._set(adds)

    def _set(self, right: int) -> None:
        """Follow the right offset at once, or slowly if it is smaller."""
        self._offset = max(self._offset, right)
        self._ahead = self._offset - right
