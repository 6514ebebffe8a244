"""Commands about the venue: ``pmlive search`` finds its markets, ``sim`` runs a simulated one for other programs.

``--venue sim`` of other commands runs a simulated venue while they run.
"""

import shlex
from argparse import Namespace
from collections.abc import Generator
from contextlib import contextmanager

from pmlive.cli.commands import Parser, Subparsers, add_command, positive_number, whole_number
from pmlive.cli.terminal import Output, Stop
from pmlive.errors import FeedError
from pmlive.markets import Market, clean, find
from pmlive.settings import Variables, Venue
from pmlive.sim import SimulatedVenue

__all__ = ["add", "add_search", "add_venue", "venue", "venue_of"]

# The venue takes six consecutive ports.
_LAST_PORT = 65_530
_MOST_MARKETS = 10_000
_MOST_LISTED = 10


def add(subparsers: Subparsers) -> None:
    """Add the command that runs a simulated venue."""
    command = add_command(
        subparsers,
        "sim",
        _sim,
        summary="Run a simulated venue until Ctrl-C, and print the variables that point a client at it",
        more="It listens on this computer only, and speaks the real venue's protocol.",
        examples=["pmlive sim", "pmlive sim --markets 100 --rate 1000 --seed 1"],
    )
    for option, kind, default, metavar, what in (
        ("--port", whole_number(0, _LAST_PORT), 0, "P", "the first of six ports (default: any)"),
        ("--seed", whole_number(0, 2**63), 7, "N", "the same seed makes the same markets (default: 7)"),
        ("--markets", whole_number(1, _MOST_MARKETS), 3, "N", "how many markets (default: 3)"),
        ("--rate", positive_number, 50.0, "R", "messages a second over all markets (default: 50)"),
        ("--v2", whole_number(0, _MOST_MARKETS), 0, "N", "how many are of protocol V2 (default: 0)"),
    ):
        command.add_argument(option, type=kind, default=default, metavar=metavar, help=what)


def add_search(subparsers: Subparsers) -> None:
    """Add the command that finds markets."""
    command = add_command(
        subparsers,
        "search",
        _search,
        summary="Find markets, with the ids that record takes",
        more="Open markets come first.",
        examples=["pmlive search fed decision", "pmlive search rain london --venue sim"],
    )
    command.add_argument("words", nargs="+", metavar="WORDS", help="words of the title, or an address, a slug or an id")
    add_venue(command)


def add_venue(command: Parser) -> None:
    """Add the option ``--venue``, whose value ``venue`` takes."""
    command.add_argument(
        "--venue",
        choices=("sim",),
        help="a simulated venue in this process, which needs no network, instead of the real one",
    )


@contextmanager
def venue(name: str | None) -> Generator[Venue]:
    """Yield the addresses of the environment's venue, or of a simulated one that runs during the block."""
    if name is None:
        yield Venue.from_environment()
        return
    with SimulatedVenue() as sim:
        yield venue_of(sim)


def venue_of(sim: SimulatedVenue) -> Venue:
    """Return the addresses of a simulated venue."""
    return Venue.from_environment(Variables(sim.environment()))


def _search(options: Namespace, out: Output, _: Stop) -> int:
    with venue(options.venue) as where:
        markets = find(" ".join(options.words), where)
    if not markets:
        out.note("no market was found; try fewer or other words")
    blocks = ["\n".join(_market_lines(market)) for market in markets]
    if out.mode == "json" or markets:
        out.result({"markets": markets}, "\n\n".join(blocks))
    return 0


def _market_lines(market: Market) -> list[str]:
    rows = [("slug", market.slug), ("condition id", market.condition_id)]
    if market.event_slug and market.event_slug != market.slug:
        rows.append(("event", market.event_slug))
    prices = dict(zip(market.outcomes, market.outcome_prices, strict=False))
    for outcome, token_id in market.tokens.items():
        price = f"  at {prices[outcome]:g}" if outcome in prices else ""
        rows.append((outcome, f"{token_id}{price}"))
    lines = [f"  {clean(name, 24):<14}{clean(value)}" for name, value in rows if value]
    return [f"{clean(market.question) or clean(market.slug)}  [{_market_state(market)}]", *lines]


def _market_state(market: Market) -> str:
    if market.winner is not None:
        return f"won by {clean(market.winner, 40)}"
    if market.closed:
        return "closed"
    return "open" if market.end_date is None else f"open, ends {market.end_date:%Y-%m-%d %H:%M} UTC"


def _sim(options: Namespace, out: Output, stop: Stop) -> int:
    sim = SimulatedVenue(
        port=options.port, seed=options.seed, markets=options.markets, rate=options.rate, v2=options.v2
    )
    try:
        sim.start()
    except OSError as error:
        advice = "choose another --port, or leave it out for any that is free"
        raise FeedError(
            f"port {options.port} or one of the four after it is not available ({error.strerror}); {advice}"
        ) from error
    with stop.deferred(), sim:
        _print_venue(sim, options.seed, out)
        while not stop.wait(1.0):
            pass
    return 0


def _print_venue(sim: SimulatedVenue, seed: int, out: Output) -> None:
    listed = [
        {
            "slug": market.slug,
            "question": market.question,
            "condition_id": market.condition_id,
            "token_ids": market.token_ids,
            "version": market.version,
        }
        for market in sim.markets
    ]
    exports = [f"export {name}={shlex.quote(value)}" for name, value in sim.environment().items()]
    out.result({"environment": sim.environment(), "seed": seed, "markets": listed}, "\n".join(exports))
    out.note(f"running with seed {seed}, until Ctrl-C; its markets:")
    for market in sim.markets[:_MOST_LISTED]:
        out.note(f"  {market.slug}")
