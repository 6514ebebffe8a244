"""Which venue a manager is of."""

from typing import TYPE_CHECKING, Literal, TypeAlias

from pmlive.settings import Variables, Venue

if TYPE_CHECKING:
    from pmlive.sim import SimulatedVenue

__all__ = ["VenueName", "venue_meant"]

VenueName: TypeAlias = Literal["polymarket", "sim"]


def venue_meant(venue: object) -> "tuple[SimulatedVenue | None, Venue]":
    """Give the addresses that are meant, and the simulated venue, started, if it is that.

    Raises:
        TypeError: it is neither a name nor addresses.
        ValueError: no venue has this name.
    """
    if venue is None:
        return None, Venue.from_environment()
    if isinstance(venue, Venue):
        return None, venue
    if venue == "polymarket":
        return None, Venue()
    if venue == "sim":
        return _simulated()
    if not isinstance(venue, str):
        raise TypeError(f"venue must be 'sim', 'polymarket' or a pmlive.Venue; got {type(venue).__name__}")
    raise ValueError(f"venue {venue!r} is neither 'sim' nor 'polymarket'; for other addresses give a pmlive.Venue")


def _simulated() -> "tuple[SimulatedVenue, Venue]":
    """Start a simulated venue in this process."""
    from pmlive.sim import SimulatedVenue  # a server, needed by nobody else

    sim = SimulatedVenue()
    sim.start()
    return sim, Venue.from_environment(Variables(sim.environment()))
