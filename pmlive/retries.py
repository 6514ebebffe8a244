"""Retry policies: how long to wait before trying again, and how often."""

import random
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import msgspec

__all__ = ["DialPolicy", "RequestPolicy", "doubled", "is_refusal", "retry_after"]

# Trying again soon does not help: credentials are needed, Cloudflare or a country blocks, or the address is wrong.
_REFUSALS = frozenset({401, 403, 404, 407, 451})
_REDIRECTION = 3
# The upper bound on Retry-After.
_LONGEST_RETRY_AFTER_S = 3600.0
# Further doubling would overflow a float.
_MOST_DOUBLINGS = 60


def doubled(first_s: float, most_s: float, times: int) -> float:
    """Return the delay after a number of failures: it doubles with each of them, up to a limit.

    >>> doubled(1.0, 60.0, 0), doubled(1.0, 60.0, 3), doubled(1.0, 60.0, 9)
    (1.0, 8.0, 60.0)
    """
    return min(most_s, first_s * 2 ** min(times, _MOST_DOUBLINGS))


def jittered(attempt: int) -> float:
    """Draw a delay before another request, in seconds, evenly from 0 to a limit that doubles with each attempt."""
    return random.uniform(0.0, doubled(0.5, 4.0, attempt))  # noqa: S311 - spreads load, hides nothing


class DialPolicy(msgspec.Struct, frozen=True):
    """The delays of dialling a socket, in seconds.

    The delay before a dial is drawn evenly from 0 to ``first``, doubled with each failure up to ``most``. Only a
    connection that proved useful and lasted ``stable`` resets it. After a refused handshake (403, say) the delay is
    ``refused``, doubled with each refusal in a row up to ``refused_most``; after a close for a policy violation it is
    ``refused``, after one by a server that shuts down up to ``draining``. In any ``window``, one connection is dialled
    at most ``dials`` times; all connections together keep ``spacing`` between two dials.
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
    """The timeouts and attempts of requests over HTTPS; all waits are in seconds.

    ``delays`` returns how long to wait after an attempt; attempts count from 0. If Retry-After is longer than
    ``longest_pause``, there is no further attempt.
    """

    timeout: float = 10.0
    attempts: int = 3
    longest_pause: float = 20.0
    delays: Callable[[int], float] = jittered


def is_refusal(status: int) -> bool:
    """Check whether an HTTP status means that the server will not answer, rather than that it cannot now.

    >>> is_refusal(403), is_refusal(302), is_refusal(429), is_refusal(503)
    (True, True, False, False)
    """
    return status in _REFUSALS or status // 100 == _REDIRECTION


def retry_after(text: str | None) -> float | None:
    """Convert the header ``Retry-After``, seconds or a date, to seconds from now, at most an hour.

    A value that is neither gives None.

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
