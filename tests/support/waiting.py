"""Waits that end: on a condition, or with an error that says what was waited for."""

import asyncio
import time
from collections.abc import Callable

__all__ = ["Budget", "slowness", "until", "wait_until"]

_STEP = 0.005
_WORK = 4_000_000
_SLOWEST = 6.0


class Budget:
    """So many seconds on a computer of one's own; on one that others use, as many times more as it is slower.

    How slow it is is measured when the time is over, so that nobody pays for it whose wait ends.
    """

    def __init__(self, seconds: float, what: str) -> None:
        self._began = time.monotonic()
        self._seconds = seconds
        self._what = what
        self._measured = False

    def check(self) -> None:
        """Raise TimeoutError once everything is spent."""
        if time.monotonic() - self._began <= self._seconds:
            return
        if self._measured:
            raise TimeoutError(f"{self._what} did not come true within {self._seconds:.1f} s")
        self._measured = True
        self._seconds *= slowness()


def slowness() -> float:
    """Measure how many times longer a computation takes here now than its own time, from 1 to 6."""
    wall, own = time.perf_counter(), time.thread_time()
    sum(range(_WORK))
    return min(_SLOWEST, max(1.0, (time.perf_counter() - wall) / max(time.thread_time() - own, 1e-6)))


def wait_until(condition: Callable[[], object], seconds: float = 10.0, *, what: str = "the condition") -> None:
    budget = Budget(seconds, what)
    while not condition():
        budget.check()
        time.sleep(_STEP)


async def until(condition: Callable[[], object], seconds: float = 10.0, *, what: str = "the condition") -> None:
    budget = Budget(seconds, what)
    while not condition():
        budget.check()
        await asyncio.sleep(_STEP)
