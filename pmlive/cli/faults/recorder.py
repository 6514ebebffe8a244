"""The recorder that faults are tried on: ``pmlive record`` with short delays, whose books are observed as it runs.

``python -m pmlive.cli.faults FD FILE record …`` writes what its books say to a file descriptor, a line each time, and
ends as if its time were over once the file is there.
"""

import os
import signal
import sys
import time
from collections.abc import Iterator
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TypeVar

import msgspec

from pmlive import Manager
from pmlive._session import Timing
from pmlive.cli.commands import run_one_of
from pmlive.cli.faults.cases import Observation, ObservedBook
from pmlive.cli.record import add_record
from pmlive.cli.signals import Stop
from pmlive.credentials import Credentials
from pmlive.errors import BookError, FeedError, UnknownMarketError
from pmlive.events import Channel
from pmlive.manager.engine import Engine, Options
from pmlive.manager.live import CrossCheckPolicy
from pmlive.retries import DialPolicy
from pmlive.settings import Venue
from pmlive.threads import single

__all__ = ["FastManager", "main"]

Delays = TypeVar("Delays", DialPolicy, CrossCheckPolicy)

_INTERVAL_S = 0.1
_S = 1_000_000_000
# Waits that are minutes for a real venue are seconds here; those that a loaded computer needs stay as they are.
_FASTER = 20
_POLICY = {"first": 0.1, "most": 2.0, "stable": 2.0, "window": 6.0, "spacing": 0.01, "open_timeout": 3.0, "tick": 0.05}
_CROSS_CHECKS = {"quiet": 4.0, "frozen": 4.0, "answer": 3.0, "grace": 4.0, "settled": 3.0, "pause": 5.0}
_TIMING = Timing(ping=_S, answer=3 * _S, opening=2 * _S, silence=3 * _S, calm=60 * _S)


class FastManager(Manager):
    """A manager that notices silence, dials and asks again within seconds."""

    def __init__(self, venue: Venue, credentials: Credentials | None = None) -> None:
        channels: tuple[Channel, ...] = ("market", "user", "realtime", "prices")
        options = Options(
            rows=200_000,
            age=timedelta(hours=1),
            depth=10,
            policy=_shortened(DialPolicy(), _POLICY),
            timing=dict.fromkeys(channels, _TIMING),
            cross_check=_shortened(CrossCheckPolicy(), _CROSS_CHECKS),
        )
        self._begin(Engine(venue, credentials, options), {"notification": None, "log": None})


def main() -> int:
    """Record as the arguments say, and return the exit code."""
    descriptor, stop_file, *arguments = sys.argv[1:]
    with _FileStop(Path(stop_file)) as stop:
        add = partial(add_record, make=partial(_observed_manager, int(descriptor)))
        return run_one_of([add], arguments, stop)


class _FileStop(Stop):
    """A request to stop that a file makes, too: the time is over, though no signal came."""

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
    """Write what the books say, until the manager is closed or the reader is gone."""
    try:
        for observation in _observations(live):
            os.write(descriptor, msgspec.json.encode(observation) + b"\n")
            time.sleep(_INTERVAL_S)
    except FeedError:
        return
    except OSError:
        # The trial is gone: nothing else would ever end this recorder.
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
