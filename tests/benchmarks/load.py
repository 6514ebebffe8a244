"""What the load tests share: the serving process, the client's memory, and waiting."""

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TypeVar

import msgspec

from pmlive.settings import Venue

__all__ = ["Hello", "Served", "resident", "served", "slope", "wait"]

_STATM = Path("/proc/self/statm")
_MB = 1 << 20
T = TypeVar("T")


class Hello(msgspec.Struct):
    """Where the venue serves, and what."""

    port: int
    token_ids: list[str]


class Served:
    """A venue in another process, and what it said."""

    def __init__(self, said: IO[str]) -> None:
        self._said = said
        hello = self.hear(Hello)
        self.token_ids = hello.token_ids
        host = f"127.0.0.1:{hello.port}"
        self.venue = Venue(
            clob_ws=f"ws://{host}/ws",
            live_data=f"ws://{host}/live",
            prices_ws=f"ws://{host}/prices",
            clob=f"http://{host}",
            gamma=f"http://{host}",
        )

    def hear(self, kind: type[T]) -> T:
        """Wait for the next thing it says."""
        return msgspec.json.decode(self._said.readline(), type=kind)


@contextmanager
def served(*options: str) -> Generator[Served, None, None]:
    """Serve a generated venue from another process."""
    command = [sys.executable, "-m", f"{__package__}.server", *options]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield Served(process.stdout)
        finally:
            process.kill()


def resident() -> float:
    """Give this process's resident memory in MB (Linux only)."""
    return int(_STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / _MB


def slope(samples: Sequence[tuple[float, float]]) -> float:
    """Give the trend of memory after the first half, which warms up, in MB per 10 minutes."""
    times, sizes = zip(*samples[len(samples) // 2 :], strict=True)
    return statistics.linear_regression(times, sizes).slope * 600


def wait(done: Callable[[], bool], *, patience: float, every: float = 0.05) -> None:
    """Wait until something is so.

    Raises:
        TimeoutError: it is not, after so many seconds.
    """
    end = time.monotonic() + patience
    while not done():
        if time.monotonic() > end:
            raise TimeoutError(f"not done after {patience:.0f} seconds")
        time.sleep(every)
