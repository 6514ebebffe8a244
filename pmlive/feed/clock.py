"""Receive times: the wall clock, but never backwards."""

import time
from collections.abc import Callable

__all__ = ["Clock", "elapsed"]

# The wall clock may be this far from ours before ours gives in (nanoseconds).
_TOLERANCE = 1_000_000_000


# Goes on while the machine sleeps, where the system has such a clock.
_BOOT = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def elapsed() -> int:
    """Count the nanoseconds that pass, also while the process is stopped or the machine sleeps."""
    return time.clock_gettime_ns(_BOOT)


class Clock:
    """Nanoseconds since 1970, carried by the monotonic clock.

    The order of receiving must survive a wall clock that is set back, so ours then waits; one that jumps ahead is
    followed.
    """

    def __init__(
        self, wall: Callable[[], int] = time.time_ns, monotonic: Callable[[], int] = time.monotonic_ns
    ) -> None:
        self._wall = wall
        self._monotonic = monotonic
        self._offset = wall() - monotonic()
        self._checked = monotonic()

    def __call__(self) -> int:
        """Give the time."""
        now = self._monotonic()
        if now - self._checked >= _TOLERANCE:
            self._checked = now
            self._follow(self._wall() - now - self._offset)
        return now + self._offset

    def follow(self) -> None:
        """Compare with the wall clock now, as after a pause."""
        self._checked = self._monotonic()
        self._follow(self._wall() - self._checked - self._offset)

    def _follow(self, error: int) -> None:
        """Move towards the wall clock: at once if it is ahead, by at most half a millisecond a second if behind."""
        self._offset += error if error > 0 else max(error, -_TOLERANCE // 2_000)
