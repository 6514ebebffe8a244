"""``pmlive sim``: the simulated venue by itself, for the user's own programs."""

import shlex
from argparse import Namespace

from pmlive.cli.options import Places, add_command, amount, number
from pmlive.cli.output import Output
from pmlive.cli.signals import Stop
from pmlive.errors import FeedError
from pmlive.sim import SimulatedVenue

__all__ = ["add"]

# The venue takes five ports in a row.
_LAST_PORT = 65_531
_MOST_MARKETS = 10_000
_SHOWN = 10


def add(places: Places) -> None:
    """Add the command."""
    command = add_command(
        places,
        "sim",
        _simulate,
        summary="Run a simulated venue until Ctrl-C, and print the variables that point a client at it",
        more="It listens on this computer only, and speaks the real venue's protocol.",
    )
    command.add_argument(
        "--port", type=number(0, _LAST_PORT), default=0, metavar="P", help="the first of five ports (default: any)"
    )
    command.add_argument(
        "--seed",
        type=number(0, 2**63),
        default=7,
        metavar="N",
        help="the same seed makes the same markets (default: 7)",
    )
    command.add_argument(
        "--markets", type=number(1, _MOST_MARKETS), default=3, metavar="N", help="how many markets (default: 3)"
    )
    command.add_argument(
        "--rate", type=amount, default=50.0, metavar="R", help="messages a second over all markets (default: 50)"
    )
    command.add_argument(
        "--v2", type=number(0, _MOST_MARKETS), default=0, metavar="N", help="how many are of protocol V2 (default: 0)"
    )


def _simulate(options: Namespace, out: Output, stop: Stop) -> int:
    sim = SimulatedVenue(
        port=options.port, seed=options.seed, markets=options.markets, rate=options.rate, v2=options.v2
    )
    try:
        sim.start()
    except OSError as error:
        advice = "choose another --port, or none for any that is free"
        raise FeedError(
            f"port {options.port} or one of the four after it cannot be had ({error.strerror}); {advice}"
        ) from error
    with stop.held(), sim:
        markets = sim.markets
        listed = [
            {
                "slug": each.slug,
                "question": each.question,
                "condition_id": each.condition_id,
                "token_ids": each.token_ids,
                "version": each.version,
            }
            for each in markets
        ]
        exports = [f"export {name}={shlex.quote(value)}" for name, value in sim.environment().items()]
        out.result({"environment": sim.environment(), "seed": options.seed, "markets": listed}, "\n".join(exports))
        out.note(f"running with seed {options.seed}, until Ctrl-C; its markets:")
        for market in markets[:_SHOWN]:
            out.note(f"  {market.slug}")
        while not stop.wait(1.0):
            pass
    return 0
