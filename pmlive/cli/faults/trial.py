"""The trial of one case: a simulated venue in this process, a recorder in another one, and its observed books.

The recorder is ``pmlive record`` with short delays, started with ``FD FILE record …``. It writes its books to that file
descriptor, a line for each observation, and ends as if its time were over once the file exists.
"""

import fcntl
import os
import pty
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from datetime import timedelta
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Literal, Self, TypeAlias, TypeVar

import msgspec

from pmlive import Manager
from pmlive._session import Timing
from pmlive.cli.commands import run_one_of
from pmlive.cli.record import add_record
from pmlive.cli.terminal import Stop
from pmlive.credentials import Credentials
from pmlive.errors import BookError, FeedError, UnknownMarketError
from pmlive.events import Channel
from pmlive.manager.engine import Engine, Options
from pmlive.manager.live import CrossCheckPolicy
from pmlive.retries import DialPolicy
from pmlive.settings import Venue
from pmlive.sim import FaultKind, SimulatedVenue
from pmlive.threads import single

__all__ = [
    "Expected",
    "FastManager",
    "FaultCase",
    "Observation",
    "ObservedBook",
    "Scope",
    "Stderr",
    "Trial",
    "TrialError",
    "main",
]

Scope: TypeAlias = Literal["all", "some", "at least one", "none", "any"]
Stderr: TypeAlias = Literal["file", "pipe", "unread pipe", "closed", "full disk", "terminal"]

_PROGRAM = [sys.executable, "-c", f"from {__name__} import main; raise SystemExit(main())"]
# Longer than any trial, which the stop file ends.
_RECORDED_SECONDS = "3600"
_POLL_S = 0.02
_TIMEOUT_S = 20.0
# The length of the sum whose time shows how slow this computer is.
_WORK = 4_000_000
# The bytes that are left free in an unread pipe.
_PIPE_ROOM = 400

Delays = TypeVar("Delays", DialPolicy, CrossCheckPolicy)

_INTERVAL_S = 0.1
_S = 1_000_000_000
# Delays are divided by this, except those below, which a loaded computer needs.
_FASTER = 20
_POLICY = {"first": 0.1, "most": 2.0, "stable": 2.0, "window": 6.0, "spacing": 0.01, "open_timeout": 3.0, "tick": 0.05}
_CROSS_CHECK = {"quiet": 4.0, "frozen": 4.0, "answer": 3.0, "grace": 4.0, "settled": 3.0, "pause": 5.0}
_TIMING = Timing(ping=_S, answer=3 * _S, opening=2 * _S, silence=3 * _S, calm=60 * _S)


class Expected(msgspec.Struct, frozen=True, kw_only=True):
    """What must follow a fault.

    Args:
        causes: the causes that gaps may have; one of them must occur unless ``gaps`` is none or any.
        gaps: the tokens that have a gap: all, some but not all, at least one, or none.
        refused: the tokens whose books are refused at some time during the fault.
        code: the exit code of ``pmlive record`` when its time is over; None for any.
        recovers: whether every book comes back.
        max_age: the greatest age in seconds of a book that is given during the fault.
        lag: how many seconds a message may take to arrive.
        before: how many seconds before the fault a gap may begin.
        after: how many seconds after every book is back a gap may end.
    """

    causes: frozenset[str]
    gaps: Scope = "all"
    refused: Scope = "all"
    code: int | None = 1
    recovers: bool = True
    max_age: float = 3.0
    lag: float = 1.0
    before: float = 3.0
    after: float = 4.0


class FaultCase(msgspec.Struct, frozen=True, kw_only=True):
    """One fault.

    ``inject`` causes it, waits for what must be observed during it, and ends it. ``environment`` returns variables for
    the recorder, and ``start`` replaces its usual start. Unless it is ``recorded`` there is no recorder, and ``inject``
    does everything.
    """

    name: str
    group: str
    inject: "Callable[[Trial], None]"
    expected: Expected
    markets: int = 2
    rate: float = 40.0
    stderr: Stderr = "file"
    environment: "Callable[[Trial], dict[str, str]] | None" = None
    start: "Callable[[Trial], None] | None" = None
    recorded: bool = True


class ObservedBook(msgspec.Struct, frozen=True):
    """A book that the recorder gave, best level first."""

    state: str
    bids: list[tuple[float, float]]
    asks: list[tuple[float, float]]


class Observation(msgspec.Struct, frozen=True, kw_only=True):
    """The books of all tokens between two times (nanoseconds); None for one that was refused."""

    since: int
    until: int
    books: dict[str, ObservedBook | None]


_DECODER = msgspec.json.Decoder(Observation)


class TrialError(Exception):
    """A trial waited in vain."""


class Trial:
    """One case being tried: ``sim`` is the venue, ``recording`` the folder, ``complaints`` what went wrong so far.

    Times are in nanoseconds: when every book had come, when the fault began and ended, when the recorder was stopped.
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
        # The processor may be shared, so that everything takes this many times longer.
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
        """The recorded tokens whose markets are not resolved."""
        return [token for market in self.sim.markets for token in market.token_ids if token not in self.resolved]

    @property
    def pid(self) -> int:
        """The recorder's process id."""
        return self.running().pid

    def running(self) -> "subprocess.Popen[bytes]":
        """Return the recorder's process.

        Raises:
            TrialError: it is not running.
        """
        if self.process is None or self.process.poll() is not None:
            raise TrialError(f"the recorder has ended by itself; it wrote: {self.stderr_text()[-300:]!r}")
        return self.process

    def start(self) -> None:
        """Start the recorder, or start it again after it was killed."""
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
        """Close this end of the recorder's standard error: a pipe loses its reader, a terminal is closed."""
        if self._stderr is not None:
            self._stderr.close()

    def stderr_text(self) -> str:
        """Return what the recorder wrote to its standard error, if that is a file."""
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
        """End the market connection, and wait until every book is refused.

        The next dial is refused for a second, so that there is time to observe it.
        """
        self.sim.fault("refuse", channel="market", number=503, detail="1", times=1)
        self.sim.fault(kind, channel="market", number=number, detail=detail)
        self.wait_for_refusals()

    # --- waiting ---

    @property
    def is_cancelled(self) -> bool:
        """Whether the trial was cancelled."""
        return self._cancelled.is_set()

    def sleep(self, seconds: float = 1.0) -> None:
        """Sleep.

        Raises:
            TrialError: the trial was cancelled.
        """
        if self._cancelled.wait(seconds):
            raise TrialError("interrupted")

    def wait_until(self, condition: Callable[[], object], what: str, seconds: float = _TIMEOUT_S) -> None:
        """Wait until a condition holds; ``what`` names it in the complaint.

        Raises:
            TrialError: it does not hold in time.
        """
        deadline = time.monotonic() + seconds * self.slowness
        while not condition():
            if time.monotonic() > deadline:
                raise TrialError(f"{what} did not come within {seconds * self.slowness:.0f} s")
            self.sleep(_POLL_S)

    def wait_for_books(self, *, since: int = 0) -> None:
        """Wait for an observation that began after this time (nanoseconds) and has every book."""
        self.wait_until(lambda: self._observed(self.tokens, since, given=True), "every book")

    def wait_for_refusals(self, tokens: Collection[str] | None = None) -> None:
        """Wait for an observation after the fault began in which these books, by default all, are refused."""
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


class FastManager(Manager):
    """A manager that notices silence, dials and retries within seconds."""

    def __init__(self, venue: Venue, credentials: Credentials | None = None) -> None:
        channels: tuple[Channel, ...] = ("market", "user", "realtime", "prices")
        options = Options(
            rows=200_000,
            age=timedelta(hours=1),
            depth=10,
            policy=_shortened(DialPolicy(), _POLICY),
            timing=dict.fromkeys(channels, _TIMING),
            cross_check=_shortened(CrossCheckPolicy(), _CROSS_CHECK),
        )
        self._begin(Engine(venue, credentials, options), {"notification": None, "log": None})


def main() -> int:
    """Run the recorder with the program's arguments, and return its exit code."""
    descriptor, stop_file, *arguments = sys.argv[1:]
    with _FileStop(Path(stop_file)) as stop:
        add = partial(add_record, make=partial(_observed_manager, int(descriptor)))
        return run_one_of([add], arguments, stop)


def _slowness() -> float:
    """Return how many times slower than on an idle computer a computation is now, from 1 to 5."""
    wall, cpu = time.perf_counter(), time.thread_time()
    sum(range(_WORK))
    return min(5.0, max(1.0, (time.perf_counter() - wall) / max(time.thread_time() - cpu, 1e-6)))


class _ErrorStream:
    """A standard error for a process: ``descriptor`` is passed to it, ``prefix`` is the command that runs it."""

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
    """Fill a pipe up to room for a line or two."""
    room = fcntl.fcntl(writer, fcntl.F_GETPIPE_SZ)
    os.write(writer, b"." * (room - _PIPE_ROOM))


class _FileStop(Stop):
    """A ``Stop`` whose waits also end when a file exists, as if the time were over."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self._file = file

    def wait(self, seconds: float) -> bool:
        until = time.monotonic() + seconds
        while not self._file.exists():
            left = until - time.monotonic()
            if super().wait(min(max(left, 0.0), _INTERVAL_S)):
                return True
            if left <= 0:
                return False
        return True


def _shortened(usual: Delays, given: dict[str, float]) -> Delays:
    fields = msgspec.structs.asdict(usual)
    seconds = {name: value / _FASTER for name, value in fields.items() if isinstance(value, float)}
    return msgspec.structs.replace(usual, **seconds | given)


def _observed_manager(descriptor: int, venue: Venue) -> Manager:
    live = FastManager(venue)
    single("observations", partial(_observe, live, descriptor)).start()
    return live


def _observe(live: Manager, descriptor: int) -> None:
    """Write observations of the books until the manager is closed or the reader is gone."""
    try:
        for observation in _observations(live):
            os.write(descriptor, msgspec.json.encode(observation) + b"\n")
            time.sleep(_INTERVAL_S)
    except FeedError:
        return
    except OSError:
        # The trial is gone, and nothing else would end this recorder.
        os.kill(os.getpid(), signal.SIGTERM)


def _observations(live: Manager) -> Iterator[Observation]:
    while True:
        since = time.time_ns()
        tokens = {key for one in live.subscriptions if one.channel == "market" for key in one.keys}
        books = {token: _observed_book(live, token) for token in sorted(tokens)}
        yield Observation(since=since, until=time.time_ns(), books=books)


def _observed_book(live: Manager, token: str) -> ObservedBook | None:
    try:
        book = live.book(token, patience=0)
    except (BookError, UnknownMarketError):
        return None
    return ObservedBook(book.state, book.bids, book.asks)
