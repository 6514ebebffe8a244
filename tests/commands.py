"""Runs of the program as a user starts it: in a process of its own, with its output."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from queue import Queue
from typing import Any

from pmlive.sim import SimulatedVenue

# For a program that hangs; a busy computer takes its time to start one.
PATIENCE = 150.0

_PROGRAM = [sys.executable, "-m", "pmlive"]


def milliseconds() -> int:
    """Return the time as the venue's clock does."""
    return time.time_ns() // 1_000_000


class Done:
    """A run that has ended."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code = code
        self.out = out
        self.err = err

    @property
    def object(self) -> dict[str, Any]:
        """The one object that a program reads."""
        found = json.loads(self.out)
        assert isinstance(found, dict)
        return found  # pyright: ignore[reportUnknownVariableType]  # whatever the command says


class Running:
    """A run that has not ended."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.process = process
        self._lines: Queue[str | None] = Queue()
        self._seen: list[str] = []
        threading.Thread(target=self._follow, daemon=True).start()

    def wait_for(self, text: str) -> str:
        """Wait for a line of the standard error that has this text."""
        while (line := self._lines.get(timeout=PATIENCE)) is not None:
            if text in line:
                return line
        raise AssertionError(f"ended without saying {text!r}; it said {self._seen}")

    def wait_until(self, condition: Callable[[], bool]) -> None:
        """Wait for something else to happen while the program runs."""
        deadline = time.monotonic() + PATIENCE
        while not condition():
            assert self.process.poll() is None, self._seen
            assert time.monotonic() < deadline
            time.sleep(0.01)

    def send(self, number: signal.Signals) -> None:
        """Send a signal."""
        self.process.send_signal(number)

    def end(self) -> Done:
        """Wait for the end."""
        assert self.process.stdout is not None
        out = self.process.stdout.read()
        return Done(self.process.wait(PATIENCE), out, "".join(self._seen))

    def _follow(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self._seen.append(line)
            self._lines.put(line)
        self._lines.put(None)


def run(*arguments: object, cwd: Path, env: Mapping[str, str] | None = None) -> Done:
    """Run a command to its end."""
    done = subprocess.run(
        [*_PROGRAM, *map(str, arguments)],
        capture_output=True,
        check=False,
        cwd=cwd,
        encoding="utf-8",
        env={**os.environ, **(env or {})},
        timeout=PATIENCE,
    )
    return Done(done.returncode, done.stdout, done.stderr)


@contextmanager
def running(*arguments: object, cwd: Path, env: Mapping[str, str] | None = None) -> Generator[Running]:
    """Run a command beside the test; it is killed if the test leaves it behind."""
    process = subprocess.Popen(
        [*_PROGRAM, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=cwd,
        encoding="utf-8",
        env={**os.environ, **(env or {})},
    )
    with process:
        try:
            yield Running(process)
        finally:
            process.kill()


@contextmanager
def venue(
    *, hostile_titles: bool = False, clock: Callable[[], int] = milliseconds, v2: int = 0
) -> Generator[SimulatedVenue]:
    """Run a simulated venue of two markets in this process, for commands in theirs."""
    with SimulatedVenue(markets=2, rate=50.0, hostile_titles=hostile_titles, clock=clock, v2=v2) as sim:
        yield sim
