"""Dialling: how a socket is opened, how long to wait before the next dial, and which errors end it."""

import logging
import random
import ssl
from collections import deque
from collections.abc import Callable
from typing import Any, cast
from urllib.parse import urlsplit

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidProxyStatus, InvalidStatus, WebSocketException

from pmlive import retries
from pmlive.errors import AuthError, FeedError, PmliveError
from pmlive.feed.sockets import MAX_MESSAGE, Socket
from pmlive.logs import get_logger
from pmlive.proxies import Proxy, proxy_for, tls
from pmlive.retries import DialPolicy, doubled

__all__ = [
    "Backoff",
    "SocketDial",
    "close_code",
    "dial",
    "fatal_error",
    "is_refusal",
    "is_trouble",
    "probe",
    "retry_after",
]

_SIGN_IN = 401
# Codes that the price streams close with: wrong credentials, a slow reader, a server that goes, a misbehaving client.
_REJECTED, _SLOW, _DRAINING, _MISBEHAVED = 4001, 4002, 4003, 4008
# Codes with which any server says that it goes, fails, restarts, or is busy, or that one behind it does.
_IN_TROUBLE = frozenset({1001, 1011, 1012, 1013, 1014})
# A server that refuses is left alone for up to a quarter longer, at random.
_JITTER = 1.25

# The library logs whole frames at DEBUG, the one with credentials among them.
_quiet = get_logger(f"{__name__}.socket")
_quiet.setLevel(logging.INFO)


class SocketDial(connect):
    """A dial that follows no redirect, which would carry credentials to another origin."""

    async def __aenter__(self) -> Socket:
        """Open the socket."""
        return cast("Socket", await super().__aenter__())

    def process_redirect(self, exc: Exception) -> Exception | str:
        """Return the redirect as an error."""
        return exc


def dial(url: str, proxy: Proxy | None, *, open_timeout: float) -> SocketDial:
    """Prepare to open a socket, through a proxy if there is one.

    Raises:
        FeedError: the certificates that a variable names cannot be read.
    """
    options: dict[str, Any] = {"ssl": tls()} if url.startswith("wss:") else {}
    if proxy is not None and proxy.address.reveal().startswith("https:"):
        options["proxy_ssl"] = tls()
    return SocketDial(
        url,
        create_connection=Socket,
        max_size=MAX_MESSAGE,
        ping_interval=None,
        compression=None,
        open_timeout=open_timeout,
        close_timeout=1,
        logger=_quiet,
        proxy=None if proxy is None else proxy.address.reveal(),
        **options,
    )


async def probe(url: str, *, timeout: float) -> str | None:  # noqa: ASYNC109  # the handshake has its own deadline
    """Dial once and send nothing; return what went wrong, or None where the server answered as a socket does.

    A refusal of a client that is not signed in is an answer, too.
    """
    try:
        async with dial(url, proxy_for(url), open_timeout=timeout):
            return None
    except InvalidStatus as error:
        status = error.response.status_code
        return None if status == _SIGN_IN else f"{urlsplit(url).netloc} answered HTTP {status}"
    except TimeoutError:
        return f"{urlsplit(url).netloc} did not answer in {timeout:g} s"
    except FeedError as error:
        return str(error)
    except (OSError, EOFError, WebSocketException) as error:
        return f"{urlsplit(url).netloc}: {error or type(error).__name__}"


class Backoff:
    """The delay before each dial of one connection; times are monotonic, in seconds."""

    def __init__(self, policy: DialPolicy, draw: Callable[[float, float], float] = random.uniform) -> None:  # noqa: S311  # jitter, no secret
        self._policy = policy
        self._draw = draw
        self._dialled: deque[float] = deque(maxlen=policy.dials)
        self._failures = 0
        self._refusals = 0
        self._not_before = 0.0

    def delay(self, now: float) -> float:
        """Return how many seconds to wait before dialling."""
        policy = self._policy
        wait = self._draw(0, doubled(policy.first, policy.most, self._failures - 1)) if self._failures else 0.0
        if len(self._dialled) == policy.dials:
            wait = max(wait, self._dialled[0] + policy.window - now)
        return max(wait, self._not_before - now, 0.0)

    def dialled(self, now: float) -> None:
        """Note an attempt."""
        self._dialled.append(now)

    def failed(self, error: BaseException, now: float, *, slowly: bool = False) -> None:
        """Note that a dial failed; a server that says when to come back is dialled no earlier.

        One that refuses is dialled ``slowly``.
        """
        wait = retry_after(error, self._policy.refused)
        if slowly:
            wait = max(self._refused(), wait or 0.0)
        else:
            self._failures += 1
        if wait is not None:
            self._not_before = now + wait

    def ended(self, lasted: float, *, useful: bool) -> None:
        """Note the end of a connection, how many seconds it lasted, and whether it was useful."""
        self._refusals = 0
        self._failures = 1 if useful and lasted >= self._policy.stable else self._failures + 1

    def closed(self, code: int | None, now: float) -> None:
        """Note the code that the server closed the connection with, after ``ended``."""
        if code == _DRAINING:
            # All clients of a server that goes should come back at different times.
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
        longest = min(policy.refused_most, wait * _JITTER)
        return self._draw(min(wait, longest / _JITTER), longest)


def close_code(error: BaseException) -> int | None:
    """Return the code that the server closed a connection with, or None without one."""
    return error.rcvd.code if isinstance(error, ConnectionClosed) and error.rcvd is not None else None


def is_trouble(error: BaseException) -> bool:
    """Return whether the server closed a connection because of trouble of its own, whoever the client is."""
    return close_code(error) in _IN_TROUBLE


def is_refusal(error: BaseException) -> bool:
    """Return whether a handshake was refused, by the venue or a proxy, so that dialling again soon is of no use."""
    return isinstance(error, InvalidStatus | InvalidProxyStatus) and retries.is_refusal(error.response.status_code)


def retry_after(error: BaseException, otherwise: float) -> float | None:
    """Return the seconds for which a server wants to be left alone, or None if it did not say.

    For one that is busy (429, 503) and does not say, return ``otherwise``.
    """
    if not isinstance(error, InvalidStatus | InvalidProxyStatus):
        return None
    stated = retries.retry_after(next(iter(error.response.headers.get_all("Retry-After")), None))
    return otherwise if stated is None and error.response.status_code in (429, 503) else stated


def fatal_error(error: BaseException, url: str, *, shown: str = "") -> PmliveError | None:
    """Return the error to raise where dialling again cannot help, else None; ``shown`` is what may be shown of it."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return FeedError(f"{url} has no trusted certificate ({error.verify_message}); it is not dialled again")
    if close_code(error) == _REJECTED:
        return AuthError(f"{url} refused the credentials (closed with {shown or error}); check the API key")
    return None
