"""A simulated venue: the real one's sockets and REST calls on loopback, seeded, with faults on command.

``SimulatedVenue.fault`` takes these kinds. ``channel`` and ``token_id`` limit where they strike, ``times`` and
``seconds`` how often and how long.

================= =====================================================================================================
``drop``          cut TCP connections (``detail``: fin, reset or half frame); with ``times`` or ``seconds`` also later
                  ones
``close``         the same with a close frame: code ``number`` (1012), reason ``detail``
``stall``         send no data, still answer PING; REST does not answer
``dead``          send no byte and cut nothing, as when the network is down: no PONG, no handshake, no REST
``slow``          send ``number`` (200) bytes a second
``refuse``        answer handshakes and REST with HTTP status ``number`` (429), ``Retry-After: detail`` (1); a
                  redirection leads to ``detail``
``no_http``       answer handshakes with ``detail`` instead of HTTP, or not at all
``deny``          reject the user's credentials: close, words, silence, or cut by default (``detail``); answer requests
                  to the price streams with the error ``detail`` (auth_unavailable)
``silent``        send nothing about ``token_id``
``forget``        drop the present subscriptions to ``token_id``, or all of them, without a word
``no_opening``    leave tokens out of the next opening array
``giant``         make opening arrays of more than ``number`` (1) books 17 MiB long
``garbage``       corrupt a change: ``detail`` is json, element, nan, negative, above one or unknown (each in turn); or
                  utf8, deep, nul, empty, kind, renamed, unnamed, missing, torn, negative size, or binary, which only
                  sends it as a binary frame
``lie``           state a wrong hash
``lie_best``      state a wrong best bid
``cross``         state a bid above the best ask
``duplicate``     send a change twice; ``detail="swapped"`` reverses the copy's entries, ``"trade"`` repeats trades
``reorder``       send a change after the next one of its market
``skip``          do not send a change
``no_resolution`` do not send over the socket which outcome won; Gamma states it
``no_ids``        list a market without token ids, as a market that was only just created
================= =====================================================================================================

On ``channel="prices"``, ``duplicate`` sends a price twice, and ``skip`` drops one, which the next message states; with
``detail="silently"`` it is not stated, and the sequence numbers have a gap.
"""

from pmlive.sim._clob_channels import Credentials, OrderStory
from pmlive.sim._connections import Connection, Dial, Limits
from pmlive.sim._exchange import Change, History
from pmlive.sim._faults import Fault, FaultChannel, FaultKind, Script, Tape, write_script
from pmlive.sim._markets import HOSTILE_TITLE, Market, event_markets, rolling_market
from pmlive.sim._prices import Beliefs, Decided, Quote, decided_events
from pmlive.sim._venue import SimulatedVenue, Urls

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
