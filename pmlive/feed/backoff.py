"""When to dial again, and when not to."""

import random
import ssl
from collections import deque
from collections.abc import Callable

from websockets.exceptions import ConnectionClosed, InvalidProxyStatus, InvalidStatus

from pmlive import retries
from pmlive.errors import AuthError, FeedError, PmliveError
from pmlive.retries import DialPolicy, doubled

__all__ = ["Backoff", "close_code", "fatal", "is_refusal", "retry_after"]

# Why the price streams close: wrong credentials, a reader that is slow, a server that goes, a client that misbehaves.
_REJECTED, _SLOW, _DRAINING, _MISBEHAVED = 4001, 4002, 4003, 4008
# A server that refuses is left alone for its time and up to a quarter more.
_SPREAD = 1.25


class Backoff:
    """The dials of one connection: how long to wait before the next."""

    def __init__(self, policy: DialPolicy, draw: Callable[[float, float], float] = random.uniform) -> None:  # noqa: S311  # jitter, no secret
        self._policy = policy
        self._draw = draw
        self._dialled: deque[float] = deque(maxlen=policy.dials)
        self._failures = 0
        self._refusals = 0
        self._not_before = 0.0

    def delay(self, now: float) -> float:
        """Say how many seconds to wait before dialling; times are monotonic."""
        policy = self._policy
        wait = self._draw(0, doubled(policy.first, policy.most, self._failures - 1)) if self._failures else 0.0
        if len(self._dialled) == policy.dials:
            wait = max(wait, self._dialled[0] + policy.window - now)
        return max(wait, self._not_before - now, 0.0)

    def dialled(self, now: float) -> None:
        """Note an attempt."""
        self._dialled.append(now)

    def failed(self, error: BaseException, now: float, *, slowly: bool = False) -> None:
        """Note that no connection came of it; a server that says when to come back is believed.

        One that refuses is to be asked ``slowly``.
        """
        wait = retry_after(error, self._policy.refused)
        if slowly:
            wait = max(self._refused(), wait or 0.0)
        else:
            self._failures += 1
        if wait is not None:
            self._not_before = now + wait

    def ended(self, lasted: float, *, useful: bool) -> None:
        """Note the end of a connection and whether it had been of use."""
        self._refusals = 0
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

    def _refused(self) -> float:
        policy = self._policy
        wait = doubled(policy.refused, policy.refused_most, self._refusals)
        self._refusals += 1
        longest = min(policy.refused_most, wait * _SPREAD)
        return self._draw(min(wait, longest / _SPREAD), longest)


def is_refusal(error: BaseException) -> bool:
    """Tell whether a handshake was refused, by the venue or by a proxy, so that dialling again soon is of no use."""
    return isinstance(error, InvalidStatus | InvalidProxyStatus) and retries.is_refusal(error.response.status_code)


def close_code(error: BaseException) -> int | None:
    """Read the code that the server closed a connection with; None where it said none."""
    return error.rcvd.code if isinstance(error, ConnectionClosed) and error.rcvd is not None else None


def retry_after(error: BaseException, otherwise: float) -> float | None:
    """Read how long a server wants to be left alone, in seconds; None if it did not say.

    One that is busy (429, 503) and does not say when is given ``otherwise``.
    """
    if not isinstance(error, InvalidStatus | InvalidProxyStatus):
        return None
    stated = retries.retry_after(next(iter(error.response.headers.get_all("Retry-After")), None))
    return otherwise if stated is None and error.response.status_code in (429, 503) else stated


def fatal(error: BaseException, url: str, *, said: str = "") -> PmliveError | None:
    """Tell an error that dialling again cannot mend, as one of ours; ``said`` is what may be shown of it."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return FeedError(f"{url} has no certificate that can be trusted ({error.verify_message}); not dialled again")
    if close_code(error) == _REJECTED:
        return AuthError(f"{url} refused the credentials (closed with {said or error}); check the API key")
    return None
