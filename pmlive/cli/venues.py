"""Which venue a command is about: the environment's, or a simulated one that lives as long as the command."""

from collections.abc import Generator
from contextlib import contextmanager

from pmlive.cli.options import Parser
from pmlive.settings import Variables, Venue
from pmlive.sim import SimulatedVenue

__all__ = ["add_venue", "simulated", "venue"]


def add_venue(command: Parser) -> None:
    """Add the option that names the venue."""
    command.add_argument(
        "--venue",
        choices=("sim",),
        help="a simulated venue in this process, which needs no network, instead of the real one",
    )


@contextmanager
def venue(name: str | None) -> Generator[Venue]:
    """Give the addresses of the venue that the option names."""
    if name is None:
        yield Venue.from_environment()
        return
    with SimulatedVenue() as sim:
        yield simulated(sim)


def simulated(sim: SimulatedVenue) -> Venue:
    """Give the addresses of a simulated venue."""
    return Venue.from_environment(Variables(sim.environment()))
