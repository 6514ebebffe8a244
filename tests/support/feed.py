"""Connections of the real feed in a test's own loop, and a note of all that they report."""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager

from pmlive._session import Timing
from pmlive.errors import PmliveError
from pmlive.events import BookSnapshot, Cause, Channel, Event
from pmlive.feed import Clock, FeedConnection, Policy, Pool

__all__ = ["PROMPT", "QUICK", "SECRETS", "Notes", "pooled", "times"]

S = 1_000_000_000
# Impatient in everything but the number of dials, so that no test waits.
QUICK = Policy(
    first=0.01,
    most=0.05,
    stable=0.2,
    window=1.0,
    dials=50,
    spacing=0.001,
    refused=0.3,
    refused_most=1.0,
    open_timeout=2,
    tick=0.01,
)
SECRETS = {"api_key": "key-canary", "secret": "secret-canary", "passphrase": "passphrase-canary"}


def times(**seconds: float) -> dict[Channel, Timing]:
    """Make the same timing for all channels."""
    timing = Timing(**{name: int(value * S) for name, value in seconds.items()})
    return {"market": timing, "user": timing, "realtime": timing, "prices": timing}


PROMPT = times(ping=0.05, answer=0.3, opening=0.15, silence=0.4, calm=0.6)


class Notes:
    """A sink that notes everything, in order."""

    def __init__(self) -> None:
        self.said: list[tuple[str, Channel, object]] = []
        self.events: list[Event] = []
        self.frames: list[bytes] = []
        self.at: dict[str, list[float]] = {}
        self.causes: list[tuple[Channel, Cause | None, str]] = []
        self.errors: list[PmliveError] = []
        self.epochs: list[int] = []

    def _note(self, what: str, connection: FeedConnection, detail: object) -> None:
        self.said.append((what, connection.channel, detail))
        self.at.setdefault(what, []).append(time.monotonic())

    def opened(self, connection: FeedConnection, conn: int, now: int) -> None:
        del now
        self.epochs.append(conn)
        self._note("opened", connection, conn)

    def received(self, connection: FeedConnection, data: bytes, events: Sequence[Event], now: int) -> None:
        del connection, now
        self.frames.append(data)
        self.events.extend(events)

    def closed(self, connection: FeedConnection, cause: Cause | None, detail: str, now: int) -> None:
        del now
        self.causes.append((connection.channel, cause, detail))
        self._note("closed", connection, (cause, detail))

    def late(self, connection: FeedConnection, token_ids: Sequence[str], since: int) -> None:
        self._note("late", connection, (list(token_ids), since))

    def fetch(self, connection: FeedConnection, token_ids: Sequence[str]) -> None:
        self._note("fetch", connection, list(token_ids))

    def witness(self, connection: FeedConnection, since: int) -> None:
        self._note("witness", connection, since)

    def failed(self, connection: FeedConnection, error: PmliveError) -> None:
        self.errors.append(error)
        self._note("failed", connection, error)

    def count(self, what: str, channel: Channel | None = None) -> int:
        return sum(said == what and channel in (None, each) for said, each, _ in self.said)

    @property
    def books(self) -> set[str]:
        return {event.token_id for event in self.events if isinstance(event, BookSnapshot)}


@asynccontextmanager
async def pooled(
    url: str,
    notes: Notes,
    *,
    policy: Policy = QUICK,
    timing: dict[Channel, Timing] | None = None,
    tokens_per_connection: int = 200,
    clock: Callable[[], int] | None = None,
    **urls: str,
) -> AsyncGenerator[Pool]:
    """Run a pool against one server, or several by channel, and see that nothing is left of it."""
    channels: tuple[Channel, ...] = ("market", "user", "realtime", "prices")
    before = asyncio.all_tasks()
    pool = Pool(
        {channel: urls.get(channel, url) for channel in channels},
        notes,
        clock=clock or Clock(),
        policy=policy,
        timing=timing,
        credentials=lambda: SECRETS,
        tokens_per_connection=tokens_per_connection,
    )
    try:
        yield pool
    finally:
        async with asyncio.timeout(5):
            await pool.stop()
        assert asyncio.all_tasks() == before
