"""The recorder that faults are tried on: ``pmlive record`` with less patience, whose books are looked at as it runs.

``python -m pmlive.cli.faults FD BELL record …`` writes what its books say to a file descriptor, a line each
time, and ends as if it were time once the file BELL is there.
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
from pmlive.cli.faults.sight import Given, Sight
from pmlive.cli.record import add_record
from pmlive.cli.signals import Stop
from pmlive.credentials import Credentials
from pmlive.errors import BookError, FeedError, UnknownMarketError
from pmlive.events import Channel
from pmlive.feed import Policy
from pmlive.manager.engine import Engine, Options
from pmlive.manager.live import Doubts
from pmlive.settings import Venue
from pmlive.threads import single

__all__ = ["Bell", "ImpatientManager", "main"]

Patience = TypeVar("Patience", Policy, Doubts)

_EVERY = 0.1
_S = 1_000_000_000
# Waits that are minutes for a real venue are seconds here; those that a loaded computer needs stay as they are.
_FASTER = 20
_POLICY = {"first": 0.1, "most": 2.0, "stable": 2.0, "window": 6.0, "spacing": 0.01, "open_timeout": 3.0, "tick": 0.05}
_DOUBTS = {"quiet": 4.0, "frozen": 4.0, "answer": 3.0, "grace": 4.0, "settled": 3.0, "pause": 5.0}
_TIMING = Timing(ping=_S, answer=3 * _S, opening=2 * _S, silence=3 * _S, calm=60 * _S)


class Bell(Stop):
    """A wish to stop that also hears a bell: it is time, though nobody sent a signal."""

    def __init__(self, bell: Path) -> None:
        super().__init__()
        self._bell = bell

    def wait(self, seconds: float) -> bool:
        """Wait so long at most; tell whether to stop."""
        until = time.monotonic() + seconds
        while not self._bell.exists():
            left = until - time.monotonic()
            if super().wait(min(max(left, 0.0), _EVERY)):
                return True
            if left <= 0:
                return False
        return True


class ImpatientManager(Manager):
    """A manager that doubts, dials and asks again within seconds."""

    def __init__(self, venue: Venue, credentials: Credentials | None = None) -> None:
        channels: tuple[Channel, ...] = ("market", "user", "realtime", "prices")
        options = Options(
            rows=200_000,
            age=timedelta(hours=1),
            depth=10,
            policy=_hurried(Policy(), _POLICY),
            timing=dict.fromkeys(channels, _TIMING),
            doubts=_hurried(Doubts(), _DOUBTS),
        )
        self._begin(Engine(venue, credentials, options), {"notification": None, "log": None})


def main() -> int:
    """Record as the arguments say, and give the exit code."""
    told, bell, *arguments = sys.argv[1:]
    with Bell(Path(bell)) as stop:
        add = partial(add_record, make=partial(_watched, int(told)))
        return run_one_of([add], arguments, stop)


def _hurried(usual: Patience, given: dict[str, float]) -> Patience:
    fields = msgspec.structs.asdict(usual)
    seconds = {name: value / _FASTER for name, value in fields.items() if isinstance(value, float)}
    return msgspec.structs.replace(usual, **seconds | given)


def _watched(told: int, venue: Venue) -> Manager:
    live = ImpatientManager(venue)
    single("books seen", partial(_watch, live, told)).start()
    return live


def _watch(live: Manager, told: int) -> None:
    """Write what the books say, until the manager is closed or nobody listens."""
    try:
        for sight in _sights(live):
            os.write(told, msgspec.json.encode(sight) + b"\n")
            time.sleep(_EVERY)
    except FeedError:
        return
    except OSError:
        # Whoever tries faults is gone: nobody would ever end this recorder.
        os.kill(os.getpid(), signal.SIGTERM)


def _sights(live: Manager) -> Iterator[Sight]:
    while True:
        since = time.time_ns()
        tokens = {key for one in live.subscriptions if one.channel == "market" for key in one.keys}
        books = {token: _seen(live, token) for token in sorted(tokens)}
        yield Sight(since=since, until=time.time_ns(), books=books)


def _seen(live: Manager, token: str) -> Given | None:
    try:
        book = live.book(token, patience=0)
    except (BookError, UnknownMarketError):
        return None
    return Given(book.state, book.bids, book.asks)
