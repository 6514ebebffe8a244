"""A simulated venue: the real one's sockets and REST calls on loopback, seeded, with faults on command.

``SimulatedVenue.fault`` takes these kinds. ``channel`` and ``token_id`` narrow where they strike, ``times`` and
``seconds`` say how long they are in force.

================= =====================================================================================================
``drop``          cut TCP connections (``detail``: fin, reset or half frame); with ``times`` or ``seconds`` also those
                  that come later
``close``         the same with a close frame: code ``number`` (1012), reason ``detail``
``stall``         send no data, still answer PING; REST does not answer
``dead``          let no byte out and cut nothing, as a network that is gone: no PONG, no handshake, no REST
``slow``          let ``number`` (200) bytes a second through
``refuse``        answer handshakes and REST with HTTP status ``number`` (429), ``Retry-After: detail`` (1); a
                  redirection leads to ``detail``
``no_http``       answer handshakes with ``detail`` in place of HTTP, or with nothing at all
``deny``          take the user's credentials for wrong: close, words, silence, or cut by default (``detail``); answer
                  requests to the price streams with the error ``detail`` (auth_unavailable)
``silent``        send nothing about ``token_id``
``forget``        send nothing more about ``token_id``, or anything, to whoever asked for it so far
``no_opening``    leave tokens out of the next opening array
``giant``         make opening arrays of more than ``number`` (1) books 17 MiB long
``garbage``       spoil a change: ``detail`` is json, element, nan, negative, above one or unknown (each in turn); or
                  utf8, deep, nul, empty, kind, renamed, unnamed, missing, torn, negative size, or binary, which spoils
                  nothing
``lie``           state a wrong hash
``lie_best``      state a wrong best bid
``cross``         state a bid above the best ask
``duplicate``     say a change twice; ``detail="swapped"`` turns the copy's entries around, ``"trade"`` repeats trades
``reorder``       send a change after the next one of its market
``skip``          do not send a change
``no_resolution`` do not say over the socket which outcome won; Gamma knows it
``no_ids``        list a market without token ids, as one that was made just now
================= =====================================================================================================

On ``channel="prices"``, ``duplicate`` says a price twice, and ``skip`` drops one, which the next says; with
``detail="silently"`` it does not say so, and the numbers jump.
"""

from pmlive.sim._beliefs import Beliefs, Decided, Quote, decided_events
from pmlive.sim._connections import Connection, Dial, Limits
from pmlive.sim._faults import Fault, FaultChannel, FaultKind
from pmlive.sim._ground_truth import Change, History
from pmlive.sim._markets import HOSTILE_TITLE, Market, event_markets, rolling_market
from pmlive.sim._offline import Script, Tape, write_script
from pmlive.sim._server import Urls
from pmlive.sim._user_channel import Credentials, OrderStory
from pmlive.sim._venue import SimulatedVenue

__all__ = [
    "HOSTILE_TITLE",
    "Beliefs",
    "Change",
    "Connection",
    "Credentials",
    "Decided",
    "Dial",
    "Fault",
    "FaultChannel",
    "FaultKind",
    "History",
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
