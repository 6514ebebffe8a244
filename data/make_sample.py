# ruff: noqa: INP001  # a script, and no part of a package
"""Make ``data/sample``, the recording that comes with pmlive: four simulated markets for a minute and a half.

The simulated venue drops the connection once and answers nobody for a few seconds, so the recording has a gap. Markets
and prices come from the seed; times are those of the day it is run. Run it as ``python data/make_sample.py``.
"""

import logging
import shutil
import time
from pathlib import Path

from pmlive import Credentials, Manager, Venue
from pmlive.recording import info
from pmlive.settings import Variables
from pmlive.sim import SimulatedVenue

SAMPLE = Path(__file__).parent / "sample"
SECONDS = 90.0
DROPPED_AT = 35.0
DROPPED_FOR = 4.0


def main() -> None:
    """Record the sample anew."""
    logging.basicConfig(level=logging.WARNING)
    logging.getLogger("websockets.server").setLevel(logging.CRITICAL)
    shutil.rmtree(SAMPLE, ignore_errors=True)
    with SimulatedVenue(markets=4, seed=7, rate=40.0) as sim:
        venue = Venue.from_environment(Variables(sim.environment()))
        user = Credentials(sim.credentials.api_key, sim.credentials.secret, sim.credentials.passphrase)
        with Manager(venue, credentials=user) as live:
            record(live, sim)
    tidy()
    print(info(SAMPLE))  # noqa: T201


def record(live: Manager, sim: SimulatedVenue) -> None:
    """Subscribe to everything there is, and disturb it once."""
    live.record(SAMPLE)
    live.watch([market.slug for market in sim.markets])
    live.subscribe_user_orders()
    live.subscribe_user_trades()
    live.subscribe_activity([sim.markets[0].event_slug])
    live.subscribe_reference_prices("btc/usd")
    time.sleep(DROPPED_AT)
    sim.fault("drop", channel="market", seconds=DROPPED_FOR)
    time.sleep(SECONDS - DROPPED_AT)


def tidy() -> None:
    """Leave out what only a recorder needs."""
    (SAMPLE / ".lock").unlink(missing_ok=True)
    if (SAMPLE / "wal").is_dir() and not any((SAMPLE / "wal").iterdir()):
        (SAMPLE / "wal").rmdir()


if __name__ == "__main__":
    main()
