"""``pmlive demo``: a simulated venue, recorded over real sockets, with what was kept and how it was proved."""

import shlex
from argparse import Namespace
from datetime import UTC, datetime
from pathlib import Path

from pmlive import Manager
from pmlive.cli.options import Places, add_command, amount
from pmlive.cli.output import Output
from pmlive.cli.session import record, tell
from pmlive.cli.signals import Stop
from pmlive.cli.text import duration, lines_of
from pmlive.cli.venues import simulated
from pmlive.settings import data_dir
from pmlive.sim import SimulatedVenue

__all__ = ["add"]

_SECONDS = 20.0
_MARKETS = 3
_RATE = 100.0


def add(places: Places) -> None:
    """Add the command."""
    command = add_command(
        places,
        "demo",
        _demo,
        summary="Record a simulated venue, and show what was kept and how it was proved",
        more="Everything stays on this computer: no network and no account are needed.",
    )
    command.add_argument("--seconds", type=amount, default=_SECONDS, help="how long to record (default: %(default)g)")
    command.add_argument("--out", type=Path, metavar="DIR", help="where to (default: a new folder with the others)")


def _demo(options: Namespace, out: Output, stop: Stop) -> int:
    folder: Path = options.out or data_dir() / f"demo-{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
    with stop.held(), SimulatedVenue(markets=_MARKETS, rate=_RATE) as sim:
        slugs = [market.slug for market in sim.markets]

        def begin(live: Manager) -> None:
            live.watch(slugs)
            live.subscribe_reference_prices("btc/usd")

        run = record(simulated(sim), folder, begin, out, stop, seconds=options.seconds)
        title = f"recorded {len(slugs)} simulated markets over real sockets for {duration(run.seconds)}"
        named = shlex.quote(run.folder)
        following = [f"pmlive info {named}", "pmlive search fed decision", "pmlive record MARKET"]
        return tell(run, title, ["", *lines_of("next", following)], out=out, stop=stop)
