"""When to dial again, and when not to."""

import random
import ssl
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import msgspec
from websockets.exceptions import ConnectionClosed, InvalidStatus

from pmlive.errors import AuthError, FeedError, PmliveError

__all__ = ["Backoff", "Policy", "close_code", "fatal", "retry_after"]

# A server that wants to be left alone for longer is asked again all the same, in seconds.
_LONGEST = 3600.0
_REDIRECTION = 3
# Why the price streams close: wrong credentials, a reader that is slow, a server that goes, a client that misbehaves.
_REJECTED, _SLOW, _DRAINING, _MISBEHAVED = 4001, 4002, 4003, 4008
# Doubling further would leave the numbers that a float can hold.
_DOUBLINGS = 60


class Policy(msgspec.Struct, frozen=True):
    """How patiently to dial, in seconds.

    The delay before a dial is drawn evenly from nothing to ``first``, doubled with each failure up to ``most``. Only
    a connection that proved useful and lasted ``stable`` makes the next delay short again. In any ``window``, one
    connection is dialled at most ``dials`` times, whatever happens; all connections together keep ``spacing`` between
    two dials. A server that goes is left alone for up to ``draining``, one that was offended for ``refused``.
    """

    first: float = 1.0
    most: float = 60.0
    stable: float = 30.0
    window: float = 60.0
    dials: int = 6
    spacing: float = 0.1
    refused: float = 60.0
    draining: float = 10.0
    open_timeout: float = 10.0
    tick: float = 0.25


class Backoff:
    """The dials of one connection: how long to wait before the next."""

    def __init__(self, policy: Policy, draw: Callable[[float, float], float] = random.uniform) -> None:  # noqa: S311  # jitter, no secret
        self._policy = policy
        self._draw = draw
        self._dialled: deque[float] = deque(maxlen=policy.dials)
        self._failures = 0
        self._not_before = 0.0

    def delay(self, now: float) -> float:
        """Say how many seconds to wait before dialling; times are monotonic."""
        policy = self._policy
        doublings = min(self._failures - 1, _DOUBLINGS)
        wait = self._draw(0, min(policy.most, policy.first * 2**doublings)) if self._failures else 0.0
        if len(self._dialled) == policy.dials:
            wait = max(wait, self._dialled[0] + policy.window - now)
        return max(wait, self._not_before - now, 0.0)

    def dialled(self, now: float) -> None:
        """Note an attempt."""
        self._dialled.append(now)

    def failed(self, error: BaseException, now: float) -> None:
        """Note that no connection came of it; a server that says when to come back is believed."""
        self._failures += 1
        wait = retry_after(error, self._policy.refused)
        if wait is not None:
            self._not_before = now + wait

    def ended(self, lasted: float, *, useful: bool) -> None:
        """Note the end of a connection and whether it had been of use."""
        self._failures = 1 if useful and lasted >= self._policy.stable else self._failures + 1

    def closed(self, code: int | None, now: float) -> None:
        """Note the code that the server closed with, after the end."""
        if code == _DRAINING:
            # All clients of a server that goes are asked to come back at different times.
            self._failures = 0
            self._not_before = now + self._draw(0, self._policy.draining)
        elif code == _MISBEHAVED:
            self._not_before = now + self._policy.refused
        elif code == _SLOW:
            self._failures += 1


def close_code(error: BaseException) -> int | None:
    """Read the code that the server closed a connection with; None where it said none."""
    return error.rcvd.code if isinstance(error, ConnectionClosed) and error.rcvd is not None else None


def retry_after(error: BaseException, otherwise: float) -> float | None:
    """Read how long a server that is busy (429, 503) wants to be left alone, in seconds; None for other errors."""
    if not isinstance(error, InvalidStatus) or error.response.status_code not in (429, 503):
        return None
    text = next(iter(error.response.headers.get_all("Retry-After")), "").strip()
    if text.isascii() and text.isdigit():
        return min(float(text), _LONGEST)
    try:
        return min(max(0.0, (parsedate_to_datetime(text) - datetime.now(UTC)).total_seconds()), _LONGEST)
    except (TypeError, ValueError):
        return otherwise


def fatal(error: BaseException, url: str) -> PmliveError | None:
    """Tell an error that dialling again cannot mend, as one of ours."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return FeedError(f"{url} has no certificate that can be trusted ({error.verify_message}); not dialled again")
    if close_code(error) == _REJECTED:
        return AuthError(f"{url} refused the credentials (closed with {error}); check the API key")
    if not isinstance(error, InvalidStatus):
        return None
    status = error.response.status_code
    if status in (401, 403):
        return AuthError(
            f"{url} refused the connection with HTTP {status}; check credentials and country, then reconnect"
        )
    if status // 100 == _REDIRECTION:
        return FeedError(
            f"{url} redirects elsewhere (HTTP {status}), which is not followed; set the address that is right"
        )
    return None
