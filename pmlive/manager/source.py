"""What a manager's rows come from: the live feed of a venue, or a recording that is played."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias

import msgspec

from pmlive.errors import PmliveError
from pmlive.events import Channel, NewMarket
from pmlive.manager.ingest import Ingest
from pmlive.markets import Found, Market, Series
from pmlive.replay import Speed
from pmlive.settings import Variables, Venue

if TYPE_CHECKING:
    from pmlive.sim import SimulatedVenue

__all__ = [
    "ClobConnection",
    "ConnectionStatus",
    "Connections",
    "Dialling",
    "Names",
    "ReplayStatus",
    "Source",
    "VenueName",
    "Visit",
    "venue_meant",
]

# Told of a market that begins, or ends, to be wanted.
Visit: TypeAlias = Callable[[Market], Awaitable[None]]
VenueName: TypeAlias = Literal["polymarket", "sim"]


class ConnectionStatus(msgspec.Struct, frozen=True, kw_only=True):
    """The sockets to one address: ``open`` of the ``sockets`` that should be.

    ``given_up`` means that dialling again cannot help: the credentials or the certificate were refused. ``complaints``
    holds the venue's last words by channel, ``refused`` its words on what it does not give, by key, and ``providers``
    who serves what has a choice of them.
    """

    connected: bool = False
    url: str | None = None
    open: int = 0
    sockets: int = 0
    error: str | None = None
    given_up: bool = False
    complaints: dict[str, str] = {}
    refused: dict[str, str] = {}
    providers: dict[str, str] = {}
    proxy: str | None = None


class ClobConnection(ConnectionStatus, frozen=True, kw_only=True):
    """The sockets of the market and the user channel."""

    user_connected: bool = False
    authenticated: bool = False


class Connections(msgspec.Struct, frozen=True, kw_only=True):
    """The sockets to all addresses."""

    clob: ClobConnection = ClobConnection()
    realtime: ConnectionStatus = ConnectionStatus()


class Dialling(msgspec.Struct, frozen=True, kw_only=True):
    """How often was dialled, and how often in vain; ``last_reconnect`` is in ISO 8601."""

    connection_errors: int = 0
    reconnect_count: int = 0
    last_reconnect: str | None = None
    dials: int = 0


class ReplayStatus(msgspec.Struct, frozen=True, kw_only=True):
    """How far a recording was played; times are in ISO 8601."""

    position: str
    first: str
    last: str
    speed: Speed
    paused: bool
    finished: bool
    folders: list[str]


class Names(Protocol):
    """Where markets are looked up."""

    async def markets(self, texts: Iterable[str]) -> list[Market]:
        """Find the markets that texts mean."""
        ...

    async def found(self, texts: Iterable[str]) -> list[Found]:
        """Find the markets that each text means, and what of it is not understood."""
        ...

    async def now(self, markets: Sequence[Market], state: Literal["open", "closed"], /) -> list[Market]:
        """List those of some markets that are open, or closed, as they are now."""
        ...

    async def by_tokens(self, token_ids: Sequence[str]) -> dict[str, Market]:
        """Find the markets of tokens, by token; unknown ones are left out."""
        ...


class Source(Protocol):
    """Fills an ingest; every method is called in the manager's thread."""

    clock: Callable[[], int]
    ingest: Ingest
    # What cannot be had any more, by channel, and the tokens whose markets are over.
    errors: dict[Channel, PmliveError]
    settled: set[str]
    # Tokens of which there is no book, and when they were last heard before that was known (ns).
    gone: dict[str, int]
    # Who is told of markets that were made just now, when somebody waits for one.
    on_new_market: Callable[[NewMarket], None] | None
    # Whether nobody is asked for anything, so that no credentials are needed.
    recorded: bool

    @property
    def refused(self) -> dict[str, str]:
        """Why the venue refuses some keys, in its words."""
        ...

    @property
    def catalogue(self) -> Names:
        """Where the markets of this source are looked up."""
        ...

    def want(self, channel: Channel, keys: Sequence[str]) -> None:
        """Ask for keys."""
        ...

    def want_everything(self, channel: Channel) -> None:
        """Ask for all there is."""
        ...

    def unwant(self, channel: Channel, keys: Sequence[str]) -> None:
        """Ask no more for keys."""
        ...

    def drop_channel(self, channel: Channel) -> None:
        """Ask for nothing of a channel any more."""
        ...

    def refresh(self) -> None:
        """Ask for every open book anew."""
        ...

    def follow(self, series: Series, add: Visit, drop: Visit, /) -> "asyncio.Task[None]":
        """Add each market of a series when its time comes, and drop it after."""
        ...

    def told_resolution(self, condition_id: str, /) -> bool:
        """Return whether a market's outcome is known already."""
        ...

    def spawn(self, coroutine: Coroutine[object, object, None]) -> "asyncio.Task[None]":
        """Run something beside; it is cancelled when the source ends."""
        ...

    async def run(self) -> None:
        """Keep time, until cancelled."""
        ...

    async def stop(self) -> None:
        """End everything."""
        ...

    def connections(self) -> Connections:
        """Describe the connections, for ``status()``."""
        ...

    def dialling(self) -> Dialling:
        """Count dials and their failures, for ``status()``."""
        ...

    def playing(self) -> ReplayStatus | None:
        """Return how far a recording was played, for ``status()``; None where none is."""
        ...


def venue_meant(venue: object) -> "tuple[SimulatedVenue | None, Venue]":
    """Return the addresses that are meant, and the simulated venue, started, if that is meant.

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
