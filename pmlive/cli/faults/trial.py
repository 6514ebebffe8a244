"""The trial of one case: a simulated venue here, a recorder in a process of its own, and what its books say."""

import fcntl
import os
import pty
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Collection, Sequence
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec

from pmlive.cli.faults.cases import FaultCase, Observation, Stderr
from pmlive.sim import FaultKind, SimulatedVenue
from pmlive.threads import single

__all__ = ["Trial", "TrialError"]

_PROGRAM = [sys.executable, "-m", "pmlive.cli.faults"]
# Longer than any trial; the stop file ends it.
_RECORDED_SECONDS = "3600"
_POLL_S = 0.02
_TIMEOUT_S = 20.0
_DECODER = msgspec.json.Decoder(Observation)
# What is added up to measure how slow this computer is.
_WORK = 4_000_000
# Bytes that are left free in a pipe that nobody reads.
_PIPE_ROOM = 400


class TrialError(Exception):
    """What a trial waited for did not come."""


class Trial:
    """One case being tried: ``sim`` is the venue, ``recording`` the folder; complaints are what went wrong so far.

    Times are in nanoseconds: when every book was there, when the fault began and was over, when the recorder was
    stopped.
    """

    def __init__(self, case: FaultCase, folder: Path, cancelled: threading.Event) -> None:
        self.case = case
        self.folder = folder
        self.recording = folder / "tape"
        self.sim = SimulatedVenue(markets=case.markets, rate=case.rate, duplicates=0.0, keep_truth=True)
        self.observations: list[Observation] = []
        self.complaints: list[str] = []
        self.exit_codes: list[int] = []
        self.process: subprocess.Popen[bytes] | None = None
        # The processor is shared with others, so that everything may take this many times longer.
        self.slowness = _slowness()
        self.ready_ns = self.began_ns = self.over_ns = self.stopped_ns = 0
        self.recovered_after: float | None = None
        self.resolved: set[str] = set()
        self._cancelled = cancelled
        self._stop_file = folder / "stop"
        self._stderr: _ErrorStream | None = None

    def __enter__(self) -> Self:
        self.sim.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.kill()
            self.process.wait()
        self.close_stderr()
        self.sim.stop()

    # --- the recorder ---

    @property
    def tokens(self) -> list[str]:
        """List the tokens that are recorded and whose markets are not resolved."""
        return [token for market in self.sim.markets for token in market.token_ids if token not in self.resolved]

    @property
    def pid(self) -> int:
        """The recorder's process id."""
        return self.running().pid

    def running(self) -> "subprocess.Popen[bytes]":
        """Return the recorder's process.

        Raises:
            TrialError: it does not run.
        """
        if self.process is None or self.process.poll() is not None:
            raise TrialError(f"the recorder has ended by itself; it wrote: {self.stderr_text()[-300:]!r}")
        return self.process

    def start(self) -> None:
        """Start the recorder, also after it was killed."""
        self._stop_file.unlink(missing_ok=True)
        self._stderr = _error_stream(self.case.stderr, self.folder)
        reader, writer = os.pipe()
        self.process = self._spawn(writer, self._stderr)
        os.close(writer)
        single("observations", partial(self._read_observations, reader)).start()

    def _spawn(self, writer: int, stderr: "_ErrorStream") -> "subprocess.Popen[bytes]":
        variables = {**os.environ, **self.sim.environment(), "PMLIVE_DATA_DIR": str(self.folder)}
        changed = self.case.environment(self) if self.case.environment is not None else {}
        with (self.folder / "stdout.txt").open("ab") as out:
            return subprocess.Popen(  # noqa: S603  # our own program
                [*stderr.prefix, *_PROGRAM, str(writer), str(self._stop_file), *self.arguments()],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=stderr.descriptor,
                pass_fds=(writer,),
                env=variables | changed,
                start_new_session=True,
            )

    def arguments(self) -> list[str]:
        """Return the arguments of the command that records."""
        slugs = [market.slug for market in self.sim.markets]
        return ["record", *slugs, "--out", str(self.recording), "--seconds", _RECORDED_SECONDS, "-o", "json"]

    def close_stderr(self) -> None:
        """Close the standard error here: a pipe has no reader any more, a terminal is closed."""
        if self._stderr is not None:
            self._stderr.close()

    def stderr_text(self) -> str:
        """Return what the recorder wrote on its standard error, if that is a file."""
        path = self.folder / "stderr.txt"
        return path.read_text(errors="replace") if path.exists() else ""

    def kill(self) -> None:
        """Kill the recorder."""
        self.running().kill()
        self._wait_for_exit()

    def stop(self) -> None:
        """Stop the recorder as if its time were over, and wait for its end."""
        self.stopped_ns = time.time_ns()
        self._stop_file.touch()
        self.exit_codes.append(self._wait_for_exit())

    def _wait_for_exit(self) -> int:
        if self.process is None:
            raise TrialError("the recorder was not started")
        try:
            return self.process.wait(_TIMEOUT_S * self.slowness)
        except subprocess.TimeoutExpired as late:
            raise TrialError("the recorder does not end") from late

    def _read_observations(self, reader: int) -> None:
        with os.fdopen(reader, "rb") as lines:
            for line in lines:
                self.observations.append(_DECODER.decode(line))

    # --- the venue ---

    def cut(self, kind: FaultKind = "drop", *, number: int | None = None, detail: str = "") -> None:
        """End the market connection, and wait until every book refuses.

        The next dial is refused for a second, so that there is time to see it.
        """
        self.sim.fault("refuse", channel="market", number=503, detail="1", times=1)
        self.sim.fault(kind, channel="market", number=number, detail=detail)
        self.wait_for_refusals()

    # --- waiting ---

    @property
    def is_cancelled(self) -> bool:
        """Whether the outcome is not wanted any more."""
        return self._cancelled.is_set()

    def sleep(self, seconds: float = 1.0) -> None:
        """Let time pass.

        Raises:
            TrialError: the outcome is not wanted any more.
        """
        if self._cancelled.wait(seconds):
            raise TrialError("interrupted")

    def wait_until(self, condition: Callable[[], object], what: str, seconds: float = _TIMEOUT_S) -> None:
        """Wait until a condition holds; ``what`` says for a complaint what comes then.

        Raises:
            TrialError: it does not hold in time.
        """
        deadline = time.monotonic() + seconds * self.slowness
        while not condition():
            if time.monotonic() > deadline:
                raise TrialError(f"{what} did not come within {seconds * self.slowness:.0f} s")
            self.sleep(_POLL_S)

    def wait_for_books(self, *, since: int = 0) -> None:
        """Wait until every book is given in one observation that began after this time (nanoseconds)."""
        self.wait_until(lambda: self._observed(self.tokens, since, given=True), "every book")

    def wait_for_refusals(self, tokens: Collection[str] | None = None) -> None:
        """Wait until these books, by default all, refuse in one observation that began after the fault did."""
        self.wait_until(
            lambda: self._observed(self.tokens if tokens is None else tokens, self.began_ns, given=False),
            "a refusal of the books",
        )

    def _observed(self, tokens: Collection[str], since: int, *, given: bool) -> bool:
        return any(
            all(token in seen.books and (seen.books[token] is not None) is given for token in tokens)
            for seen in self.observations[-20:]
            if seen.since >= since
        )


def _slowness() -> float:
    """Measure how many times slower than alone a computation is on this computer now, from 1 to 5."""
    wall, cpu = time.perf_counter(), time.thread_time()
    sum(range(_WORK))
    return min(5.0, max(1.0, (time.perf_counter() - wall) / max(time.thread_time() - cpu, 1e-6)))


class _ErrorStream:
    """A standard error for a process: ``descriptor`` is what it gets, ``prefix`` what runs the program."""

    def __init__(self, descriptor: int, *, reader: int | None = None, prefix: Sequence[str] = ()) -> None:
        self.descriptor = descriptor
        self.prefix = prefix
        self._open = [descriptor] if reader is None else [descriptor, reader]

    def close(self) -> None:
        while self._open:
            os.close(self._open.pop(0))


def _error_stream(kind: Stderr, folder: Path) -> _ErrorStream:
    if kind == "full disk":
        return _ErrorStream(os.open("/dev/full", os.O_WRONLY))
    if kind == "terminal":
        ours, theirs = pty.openpty()
        return _ErrorStream(theirs, reader=ours)
    if kind in ("pipe", "unread pipe"):
        reader, writer = os.pipe()
        if kind == "unread pipe":
            _fill(writer)
        return _ErrorStream(writer, reader=reader)
    prefix = ("sh", "-c", 'exec "$@" 2>&-', "sh") if kind == "closed" else ()
    path = folder / "stderr.txt"
    return _ErrorStream(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), prefix=prefix)


def _fill(writer: int) -> None:
    """Leave a pipe with room for a line or two."""
    room = fcntl.fcntl(writer, fcntl.F_GETPIPE_SZ)
    os.write(writer, b"." * (room - _PIPE_ROOM))
