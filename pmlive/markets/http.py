"""The HTTPS client for the venue's catalogue: rate limits, retries, and errors that say what to do.

Redirects are refused, certificates are always checked, and nothing secret is ever sent from here, so httpx's own log
lines show addresses only. Pages that Cloudflare answers with hold the user's address: only their status is passed on.
"""

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import TypeAlias
from urllib.parse import urlsplit

import httpx
import msgspec

from pmlive.errors import FeedError
from pmlive.proxies import for_https
from pmlive.retries import RequestPolicy, retry_after
from pmlive.words import counted

__all__ = ["Bucket", "HttpClient", "InvalidRequestError", "bucket_for"]

Parameters: TypeAlias = Mapping[str, str | Sequence[str]]

_ABSENT = frozenset({404, 422})
_INVALID = 400
# 425 is the matching engine's weekly restart.
_RETRIED = frozenset({408, 425, 429})
_LONGEST_RESPONSE = 64 * 1024 * 1024

_WINDOW_S = 10.0
# Requests in ten seconds, at most half of what the venue publishes, so that other programs of the user have theirs. The
# first prefix that fits a request's path counts.
_LIMITS = (
    ("/public-search", 150),
    ("/events", 250),
    ("/markets", 150),
    ("/book", 700),
    ("/time", 700),
    ("/v2/", 100),
    ("/", 100),
)


class HttpClient:
    """A client of one host that keeps its rate limits; use it from the event loop it was made in."""

    def __init__(self, url: str, policy: RequestPolicy) -> None:
        """Prepare the client, which connects when first used.

        Raises:
            FeedError: the proxy or the certificates that are configured cannot be used.
        """
        self._host = urlsplit(url).netloc
        self._policy = policy
        self._buckets: dict[str, Bucket] = {}
        self._client = httpx.AsyncClient(
            base_url=url,
            timeout=policy.timeout,
            **for_https(url),
            follow_redirects=False,
            headers={"accept": "application/json", "user-agent": "pmlive"},
        )

    async def get(self, path: str, parameters: Parameters | None = None) -> bytes | None:
        """Request a document; None means that the venue has no such thing.

        Raises:
            InvalidRequestError: the host does not accept the parameters.
            FeedError: the host cannot be reached, is overloaded, or refuses.
        """
        reason = ""
        for attempt in range(self._policy.attempts):
            try:
                return await self._request(path, parameters)
            except _RetryableError as failure:
                reason, pause = str(failure), failure.pause
            pause = self._policy.delays(attempt) if pause is None else pause
            if pause > self._policy.longest_pause:
                raise FeedError(f"{self._host} is busy ({reason}) and asks to be left alone for {pause:.0f} s")
            if attempt + 1 < self._policy.attempts:
                await asyncio.sleep(pause)
        raise FeedError(
            f"{self._host} cannot be reached after {counted(self._policy.attempts, 'attempt')} ({reason}); "
            "check the network, a proxy, or try again later"
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def _request(self, path: str, parameters: Parameters | None) -> bytes | None:
        await asyncio.sleep(bucket_for(path, self._buckets).reserve(time.monotonic()))
        try:
            async with asyncio.timeout(self._policy.timeout * 2):
                response, body = await self._receive(path, parameters)
        except (httpx.TransportError, httpx.DecodingError, TimeoutError) as error:
            raise _RetryableError(_described(error)) from None
        return self._checked(response, body)

    async def _receive(self, path: str, parameters: Parameters | None) -> tuple[httpx.Response, bytes]:
        body = bytearray()
        async with self._client.stream("GET", path, params=dict(parameters or {})) as response:
            async for piece in response.aiter_bytes():
                body += piece
                if len(body) > _LONGEST_RESPONSE:
                    raise FeedError(f"{self._host} answered {path} with more than {_LONGEST_RESPONSE >> 20} MiB")
        return response, bytes(body)

    def _checked(self, response: httpx.Response, body: bytes) -> bytes | None:
        status, trace = response.status_code, response.headers.get("cf-ray")
        reason = f"HTTP {status}" + (f", cf-ray {trace}" if trace else "")
        if status in _RETRIED or response.is_server_error:
            raise _RetryableError(reason, _retry_after(response))
        if status in _ABSENT:
            return None
        if response.is_redirect:
            raise FeedError(f"{self._host} redirects elsewhere ({reason}), which is not followed; check the address")
        if status == _INVALID:
            raise InvalidRequestError(f"{self._host} takes the request for invalid ({reason}): {_complaint(body)}")
        if not response.is_success:
            raise FeedError(f"{self._host} refused ({reason}); a network or a country may be blocked, try another")
        if "html" in response.headers.get("content-type", ""):
            raise FeedError(
                f"{self._host} answered with a web page ({reason}); a proxy or a sign-in page may be in between"
            )
        return body


class InvalidRequestError(FeedError):
    """The host does not accept the parameters of a request, such as a cursor that it no longer knows."""


class Bucket(msgspec.Struct):
    """A token bucket: allows bursts of up to ``size`` requests and ``rate`` of them a second in the long run."""

    size: float
    rate: float
    _tokens: float = 0.0
    _last: float | None = None

    def reserve(self, now: float) -> float:
        """Reserve a request and return how many seconds to wait before it."""
        passed = 0.0 if self._last is None else max(0.0, now - self._last)
        tokens = self.size if self._last is None else min(self.size, self._tokens + passed * self.rate)
        self._tokens, self._last = tokens - 1, now
        return max(0.0, -self._tokens / self.rate)


def bucket_for(path: str, buckets: dict[str, Bucket]) -> Bucket:
    """Return the bucket of a path, making it if it is new."""
    prefix, count = next((prefix, count) for prefix, count in _LIMITS if path.startswith(prefix))
    return buckets.setdefault(prefix, Bucket(size=count / _WINDOW_S, rate=count / _WINDOW_S))


class _RetryableError(Exception):
    """A failed request that may succeed when it is tried again."""

    def __init__(self, reason: str, pause: float | None = None) -> None:
        super().__init__(reason)
        self.pause = pause


class _Complaint(msgspec.Struct):
    error: str = ""


def _complaint(body: bytes) -> str:
    try:
        text = msgspec.json.decode(body, type=_Complaint).error
    except (msgspec.DecodeError, UnicodeDecodeError):
        text = ""
    return "".join(letter for letter in text if letter.isprintable())[:120] or "it gives no reason"


def _described(error: Exception) -> str:
    if isinstance(error, (httpx.TimeoutException, TimeoutError)):
        return "no answer in time"
    if isinstance(error, httpx.ConnectError):
        return "its certificate is not trusted" if "CERTIFICATE" in str(error) else "no connection"
    if isinstance(error, httpx.ProxyError):
        text = "".join(letter for letter in str(error) if letter.isprintable())[:80]
        return f"the proxy answered: {text}" if text else "no answer of the proxy"
    return type(error).__name__


def _retry_after(response: httpx.Response) -> float | None:
    return retry_after(next(iter(response.headers.get_list("retry-after")), None))
