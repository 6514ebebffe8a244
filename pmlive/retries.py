"""Retry policies: how long to wait before trying again, and how often, for sockets, requests and lookups alike."""

import random
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import msgspec

__all__ = ["DialPolicy", "RequestPolicy", "doubled", "is_refusal", "jittered", "retry_after"]

# Trying again soon cannot mend these: a sign-in, a block by Cloudflare or a country, an address that is not there.
_REFUSALS = frozenset({401, 403, 404, 407, 451})
_REDIRECTION = 3
# A server that asks to be left alone for longer is asked again after this all the same.
_LONGEST_RETRY_AFTER_S = 3600.0
# Doubling further would leave the numbers that a float can hold.
_MOST_DOUBLINGS = 60


def doubled(first_s: float, most_s: float, times: int) -> float:
    """Return a delay that doubles with each failure, up to a limit.

    >>> doubled(1.0, 60.0, 0), doubled(1.0, 60.0, 3), doubled(1.0, 60.0, 9)
    (1.0, 8.0, 60.0)
    """
    return min(most_s, first_s * 2 ** min(times, _MOST_DOUBLINGS))


def jittered(attempt: int) -> float:
    """Draw a delay in seconds before another request, anywhere up to a limit that doubles."""
    return random.uniform(0.0, doubled(0.5, 4.0, attempt))  # noqa: S311 - spreads load, hides nothing


class DialPolicy(msgspec.Struct, frozen=True):
    """How patiently to dial a socket, in seconds.

    The delay before a dial is drawn evenly from nothing to ``first``, doubled with each failure up to ``most``. Only
    a connection that proved useful and lasted ``stable`` makes the next delay short again. A server that refuses the
    handshake (403, say) is left alone for ``refused``, doubled with each refusal in a row up to ``refused_most``; one
    that was offended for ``refused``, and one that goes for up to ``draining``. In any ``window``, one connection is
    dialled at most ``dials`` times, whatever happens; all connections together keep ``spacing`` between two dials.
    """

    first: float = 1.0
    most: float = 60.0
    stable: float = 30.0
    window: float = 60.0
    dials: int = 6
    spacing: float = 0.1
    refused: float = 60.0
    refused_most: float = 900.0
    draining: float = 10.0
    open_timeout: float = 10.0
    tick: float = 0.25


class RequestPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """How patiently to request something over HTTPS: seconds for each wait, and how often to ask.

    ``delays`` returns the seconds to wait after an attempt, the first of which is 0. A server that asks to be left
    alone for more than ``longest_pause`` is not asked again.
    """

    timeout: float = 10.0
    attempts: int = 3
    longest_pause: float = 20.0
    delays: Callable[[int], float] = jittered


def is_refusal(status: int) -> bool:
    """Check whether an HTTP status says that the server does not want to answer, and not that it cannot now.

    >>> is_refusal(403), is_refusal(302), is_refusal(429), is_refusal(503)
    (True, True, False, False)
    """
    return status in _REFUSALS or status // 100 == _REDIRECTION


def retry_after(text: str | None) -> float | None:
    """Read the header ``Retry-After``, seconds or a date, as seconds from now, an hour at most.

    What is neither is ignored.

    >>> retry_after("7"), retry_after("86400"), retry_after("soon"), retry_after(None)
    (7.0, 3600.0, None, None)
    """
    text = (text or "").strip()
    if text.isascii() and text.isdigit():
        return min(float(text), _LONGEST_RETRY_AFTER_S)
    try:
        return min(max(0.0, (parsedate_to_datetime(text) - datetime.now(UTC)).total_seconds()), _LONGEST_RETRY_AFTER_S)
    except (TypeError, ValueError, OverflowError):
        return None
