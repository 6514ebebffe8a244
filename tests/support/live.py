"""The live feed against a simulated venue, in a test's own loop."""

import asyncio
from collections.abc import AsyncGenerator, Iterable
from contextlib import asynccontextmanager
from datetime import timedelta

import polars as pl
from support.feed import QUICK
from support.waiting import until

from pmlive._session import Timing
from pmlive.events import Channel
from pmlive.feed import Clock, Policy
from pmlive.manager.live import CrossCheckPolicy, Live
from pmlive.markets import Catalogue
from pmlive.settings import Variables, Venue
from pmlive.sim import SimulatedVenue

__all__ = ["address", "living", "subscribe", "trusted"]


def address(sim: SimulatedVenue) -> Venue:
    return Venue.from_environment(Variables(sim.environment()))


@asynccontextmanager
async def living(
    sim: SimulatedVenue,
    *,
    policy: Policy = QUICK,
    timing: dict[Channel, Timing] | None = None,
    cross_check: CrossCheckPolicy | None = None,
    clock: Clock | None = None,
) -> AsyncGenerator[Live]:
    """Run the feed that a manager runs, and see that no task is left of it."""
    before = asyncio.all_tasks()
    venue = address(sim)
    names = ("api_key", "secret", "passphrase")
    live = Live(
        venue,
        Catalogue(venue),
        credentials=lambda: {name: getattr(sim.credentials, name) for name in names},
        policy=policy,
        rows=100_000,
        age=timedelta(hours=1),
        depth=10,
        timing=timing,
        cross_check=cross_check or CrossCheckPolicy(grace=0.3),
        clock=clock,
    )
    live.spawn(live.run())
    try:
        yield live
    finally:
        async with asyncio.timeout(8):
            await live.stop()
        assert asyncio.all_tasks() == before


def subscribe(live: Live, tokens: Iterable[str], channel: Channel = "market") -> None:
    live.ingest.keys("subscribe", channel, live.pool.want(channel, tokens))


def trusted(live: Live) -> list[bool]:
    return [token.trusted() for token in live.ingest.pipeline.books.tokens.values()]


async def until_trusted(live: Live, count: int, seconds: float = 10) -> None:
    await until(lambda: len(trusted(live)) == count and all(trusted(live)), seconds, what="that every book is trusted")


def closed_gaps(live: Live) -> pl.DataFrame:
    return live.ingest.frame("gaps").filter(pl.col("ended").is_not_null())
