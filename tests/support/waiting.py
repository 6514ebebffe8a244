"""Waits that end: on a condition, or with an error that says what was waited for."""

import asyncio
import time
from collections.abc import Callable

__all__ = ["until", "wait_until"]

_STEP = 0.005


def wait_until(condition: Callable[[], object], seconds: float = 10.0, *, what: str = "the condition") -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what} did not come true within {seconds} s")
        time.sleep(_STEP)


async def until(condition: Callable[[], object], seconds: float = 10.0, *, what: str = "the condition") -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what} did not come true within {seconds} s")
        await asyncio.sleep(_STEP)
