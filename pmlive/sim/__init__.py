"""A simulated venue: the real one's sockets and REST calls on loopback, seeded, with faults on command.

``SimulatedVenue.fault`` takes these kinds. ``channel`` and ``token_id`` narrow where they strike, ``times`` and
``seconds`` say how long they are in force.


``deny``          answer requests to the price streams with the error ``detail`` (auth_unavailable)
================= ===========================================================================================

On ``channel="prices"``, ``duplicate`` says a price twice, and ``skip`` drops one, which the next says; with
``detail="silently"`` it does not say so, and the numbers jump.
"""

from pmlive.sim._beliefs import Beliefs
from pmlive.sim._catalogue import HOSTILE_TITLE, Market, event_markets, rolling_market
from pmlive.sim._credentials import Credentials
from pmlive.sim._faults import Fault, FaultChannel, FaultKind
from pmlive.sim._histories import Decided, Quote, decided_events
from pmlive.sim._hub import Dial, Limits
from pmlive.sim._orders import OrderStory
from pmlive.sim._outlet import Connection
from pmlive.sim._script import Script, write_script
from pmlive.sim._server import Urls
from pmlive.sim._tape import Tape
from pmlive.sim._venue import SimulatedVenue

__all__ = [
    "HOSTILE_TITLE",
    "Beliefs",
    "Connection",
    "Credentials",
    "Decided",
    "Dial",
    "Fault",
    "FaultChannel",
    "FaultKind",
    "Limits",
    "Market",
    "OrderStory",
    "Quote",
    "Script",
    "SimulatedVenue",
    "Tape",
    "Urls",
    "decided_events",
    "event_markets",
    "rolling_market",
    "write_script",
]
