"""Receive times: the wall clock, but never backwards, and not misled by one that is wrong for a moment."""

import time
from collections.abc import Callable

import msgspec

__all__ = ["Clock", "ClockStep", "elapsed"]

_SECOND_NS = 1_000_000_000
# The wall clock is read so often.
_CHECK_EVERY_NS = 1 * _SECOND_NS
# What differs by no more than this is drift, which is followed as it comes; more is a step of the wall clock.
_MOST_DRIFT_NS = _SECOND_NS // 10
# A step is believed once it has lasted this long.
_BELIEVED_AFTER_NS = 10 * _SECOND_NS
# While ours is ahead it goes at half speed: nobody may wait for pings and patience until an hour has passed.
_SLOWDOWN = 2


# Goes on while the machine sleeps, where the system has such a clock.
_BOOT = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def elapsed() -> int:
    """Count the nanoseconds that pass, also while the process is stopped or the machine sleeps."""
    return time.clock_gettime_ns(_BOOT)


class ClockStep(msgspec.Struct, frozen=True, gc=False):
    """A step of the wall clock that was believed: by how many nanoseconds, and the receive time until which all agreed.

    A negative one leaves receive times ahead, until they have come right.
    """

    by: int
    since: int


class Clock:
    """Nanoseconds since 1970, carried by a clock that counts what passes, sleep included.

    The order of receiving must survive whatever is done to the wall clock, and a time that is wrong is never unsaid. So
    a step of the wall clock is believed only when it has lasted; one ahead is then followed at once, and after one back
    ours goes at half speed until both agree.
    """

    def __init__(self, wall: Callable[[], int] = time.time_ns, elapsed: Callable[[], int] = elapsed) -> None:
        self._wall = wall
        self._elapsed = elapsed
        # What is added to the time that has passed; by how much that is too much; when both were right last.
        self._checked = elapsed()
        self._offset = wall() - self._checked
        self._ahead = 0
        self._agreed = self._checked + self._offset
        # What the wall clock adds to the time that has passed since it was set, and when that was first seen.
        self._claim: int | None = None
        self._claimed = 0
        # The wall clock is known to be wrong where it adds less than this.
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
        """By how many nanoseconds receive times are known to be too late, since the wall clock was set back."""
        return self._ahead

    def not_before(self, time: int) -> None:
        """Note a time that is past for sure, whatever the wall clock says: the venue told it."""
        least = time - self._elapsed()
        self._least = least if self._least is None else max(self._least, least)
        if least > self._offset - self._ahead:
            self._claim, self._agreed = None, time
            self._set(least)

    def step(self) -> ClockStep | None:
        """Hand over the last step that was believed, once."""
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
        """Go on from what is right, or towards it if that is back."""
        self._offset = max(self._offset, right)
        self._ahead = self._offset - right
