"""Where one fault is tried: a simulated venue here, a recorder in a process of its own, and what its books say."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Collection
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec

from pmlive.cli.faults.row import Row
from pmlive.cli.faults.sight import Sight
from pmlive.cli.faults.stderrs import ErrorStream, error_stream
from pmlive.sim import SimulatedVenue

__all__ = ["NotInTimeError", "Scene", "slowness"]

_LOOK = 0.02
_PATIENCE = 20.0
_LONG = "3600"
_LINES = msgspec.json.Decoder(Sight)
_WORK = 4_000_000


class NotInTimeError(Exception):
    """What was waited for did not come."""


def slowness() -> float:
    """Measure how many times slower than alone a computation is on this computer now, from 1 to 5."""
    wall, cpu = time.perf_counter(), time.thread_time()
    sum(range(_WORK))
    return min(5.0, max(1.0, (time.perf_counter() - wall) / max(time.thread_time() - cpu, 1e-6)))


class Scene:
    """One trial: ``sim`` is the venue, ``tape`` the recording; complaints are what went wrong on the way."""

    def __init__(self, row: Row, folder: Path, stopping: threading.Event) -> None:
        self.row = row
        self.folder = folder
        self.tape = folder / "tape"
        self.sim = SimulatedVenue(markets=row.markets, rate=row.rate, duplicates=0.0, keep_truth=True)
        self.sights: list[Sight] = []
        self.complaints: list[str] = []
        self.codes: list[int] = []
        self.process: subprocess.Popen[bytes] | None = None
        # Seconds of CPU are shared with others, so that everything may take so many times longer.
        self.slow = slowness()
        self.settled = self.began = self.over = self.rung = 0
        self.recovered_after: float | None = None
        self.gone: set[str] = set()
        self.resting: list[tuple[int, int]] = []
        self._stopping = stopping
        self._bell = folder / "bell"
        self._stream: ErrorStream | None = None

    def __enter__(self) -> Self:
        self.sim.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.kill()
            self.process.wait()
        if self._stream is not None:
            self._stream.close()
        self.sim.stop()

    # --- the recorder ---

    @property
    def tokens(self) -> list[str]:
        """List the tokens that are recorded and whose markets go on."""
        return [token for market in self.sim.markets for token in market.token_ids if token not in self.gone]

    @property
    def pid(self) -> int:
        """Give the recorder's process."""
        return self.running().pid

    def running(self) -> "subprocess.Popen[bytes]":
        """Give the recorder, which must run."""
        if self.process is None or self.process.poll() is not None:
            raise NotInTimeError(f"the recorder has ended by itself; it said: {self.said()[-300:]!r}")
        return self.process

    def start(self) -> None:
        """Start the recorder, also after it was killed."""
        self._bell.unlink(missing_ok=True)
        self._stream = error_stream(self.row.stderr, self.folder)
        ear, mouth = os.pipe()
        self.process = self._spawn(mouth, self._stream)
        os.close(mouth)
        threading.Thread(target=self._listen, args=(ear,), name="sights", daemon=True).start()

    def _spawn(self, mouth: int, stream: ErrorStream) -> "subprocess.Popen[bytes]":
        variables = {**os.environ, **self.sim.environment(), "PMLIVE_DATA_DIR": str(self.folder)}
        setting = self.row.setting(self) if self.row.setting is not None else {}
        with (self.folder / "stdout.txt").open("ab") as out:
            return subprocess.Popen(  # noqa: S603  # our own program
                [*stream.prefix, *_PROGRAM, str(mouth), str(self._bell), *self.arguments()],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=stream.given,
                pass_fds=(mouth,),
                env=variables | setting,
                start_new_session=True,
            )

    def arguments(self) -> list[str]:
        """Give the arguments of the command that records."""
        slugs = [market.slug for market in self.sim.markets]
        return ["record", *slugs, "--out", str(self.tape), "--seconds", _LONG, "-o", "json"]

    def lose_stderr(self) -> None:
        """Leave the recorder without anybody who reads its standard error."""
        if self._stream is not None:
            self._stream.lose()

    def kill(self) -> None:
        """Kill the recorder."""
        self.running().kill()
        self.running_ended()

    def running_ended(self) -> int:
        """Wait until the recorder has ended; give its exit code."""
        if self.process is None:
            raise NotInTimeError("the recorder was not started")
        try:
            return self.process.wait(_PATIENCE * self.slow)
        except subprocess.TimeoutExpired as late:
            raise NotInTimeError("the recorder does not end") from late

    def ring(self) -> None:
        """Tell the recorder that it is time, and wait for its end."""
        self.rung = time.time_ns()
        self._bell.touch()
        self.codes.append(self.running_ended())

    def said(self) -> str:
        """Give what the recorder wrote on its standard error, as far as anybody got it."""
        path = self.folder / "stderr.txt"
        return path.read_text(errors="replace") if path.exists() else ""

    def _listen(self, ear: int) -> None:
        with os.fdopen(ear, "rb") as lines:
            for line in lines:
                self.sights.append(_LINES.decode(line))

    # --- the venue ---

    def hold_off(self) -> None:
        """Let the next dial be refused for a second, so that there is time to see what the books say meanwhile."""
        self.sim.fault("refuse", channel="market", number=503, detail="1", times=1)

    # --- waiting ---

    def until(self, condition: Callable[[], object], what: str, seconds: float = _PATIENCE) -> None:
        """Wait for something.

        Raises:
            NotInTimeError: it does not come.
        """
        deadline = time.monotonic() + seconds * self.slow
        while not condition():
            if time.monotonic() > deadline:
                raise NotInTimeError(f"{what} did not come within {seconds * self.slow:.0f} s")
            self.calm(_LOOK)

    @property
    def is_stopping(self) -> bool:
        """Tell whether nobody wants the result any more."""
        return self._stopping.is_set()

    def calm(self, seconds: float = 1.0) -> None:
        """Let time pass.

        Raises:
            NotInTimeError: nobody wants the result any more.
        """
        if self._stopping.wait(seconds):
            raise NotInTimeError("interrupted")

    def until_given(self, tokens: Collection[str] | None = None, *, since: int = 0) -> None:
        """Wait until all these books are given in one look."""
        self.until(lambda: self._seen(tokens, since, given=True), "that every book is given")

    def until_refused(self, tokens: Collection[str] | None = None) -> None:
        """Wait until all these books refuse in one look that began after the fault did."""
        self.until(lambda: self._seen(tokens, self.began, given=False), "that the books refuse")

    def _seen(self, tokens: Collection[str] | None, since: int, *, given: bool) -> bool:
        wanted = self.tokens if tokens is None else tokens
        return any(
            all(token in sight.books and (sight.books[token] is not None) is given for token in wanted)
            for sight in self.sights[-20:]
            if sight.since >= since
        )


_PROGRAM = [sys.executable, "-m", "pmlive.cli.faults"]
