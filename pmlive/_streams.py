"""The requests of one connection to the price streams, sent one at a time: credentials first, then the symbols.

The streams answer every request, and close a connection that sends too fast or presents credentials too often. So each
frame waits for its turn, and nothing is requested before the credentials are accepted. ``refused`` holds refusals of
single symbols, ``rejected`` that of the credentials.
"""

from collections import deque
from collections.abc import Callable, Iterable

import msgspec

from pmlive import _wire
from pmlive.events import StreamReply

__all__ = ["PriceStreams"]

_S = 1_000_000_000
# At most 20 frames a second are allowed.
_SPACING_NS = 110_000_000
# Credentials that cannot be checked now are presented again after longer and longer delays; the venue closes the
# connection at the ninth attempt.
_FIRST_RETRY_NS, _LONGEST_RETRY_NS = _S, 30 * _S
_ATTEMPTS = 8
_MOST_TIMES_ASKED = 2

# The codes of refusals in words.
_MEANING = {
    "bad_op": "the request could not be read",
    "bad_channel": "there is no such channel",
    "bad_filter": "there is no such symbol, or none from this provider",
    "sub_limit": "the connection has too many subscriptions",
    "rate_limited": "the connection asked too fast",
    "auth_required": "credentials are needed first",
    "auth_expired": "the credentials have expired",
    "auth_unavailable": "credentials cannot be checked now",
    "auth_invalid": "the credentials are wrong",
    "auth_attempts": "credentials were presented too often",
}
_REJECTIONS = frozenset(("auth_expired", "auth_invalid", "auth_attempts"))


class _Pending(msgspec.Struct):
    """A symbol that was requested and has no answer: when it was last, and how often."""

    at: int
    times: int = 1


class PriceStreams:
    """The requests of one connection since it was opened; keys are ``channel|symbol`` or ``channel|symbol|provider``.

    Args:
        credentials: returns the credentials to present.
        patience_ns: how long an answer may take.
    """

    def __init__(self, credentials: Callable[[], dict[str, str]], *, patience_ns: int) -> None:
        self._credentials = credentials
        self._patience_ns = patience_ns
        self.authenticated = False
        # Why the venue does not accept the credentials, once it said so.
        self.rejected = ""
        # By key: why it is refused; which provider serves it.
        self.refused: dict[str, str] = {}
        self.providers: dict[str, str] = {}
        # Answers that are not reported yet; and why the connection must be replaced.
        self.news: list[str] = []
        self.broken = ""
        self._queue: deque[tuple[str, str]] = deque()
        self._asked: dict[str, _Pending] = {}
        self._attempts = 0
        self._authenticate_ns: int | None = None
        self._presented_ns = 0
        self._next_ns = 0

    # --- what is wanted ---

    def ask(self, keys: Iterable[str]) -> None:
        """Queue subscriptions."""
        self._queue.extend((key, "subscribe") for key in keys)

    def withdraw(self, keys: Iterable[str]) -> None:
        """Queue unsubscriptions, and drop subscriptions that were not sent yet."""
        for key in keys:
            self._asked.pop(key, None)
            self.refused.pop(key, None)
            self.providers.pop(key, None)
            if (key, "subscribe") in self._queue:
                self._queue.remove((key, "subscribe"))
            else:
                self._queue.append((key, "unsubscribe"))

    # --- what happens ---

    def connected(self, now: int) -> None:
        """Note an open socket: nothing has been sent on it."""
        self.authenticated, self.broken = False, ""
        self._queue.clear()
        self._asked, self.refused = {}, {}
        self._attempts, self._authenticate_ns, self._next_ns = 0, now, now

    def answered(self, reply: StreamReply, now: int) -> None:
        """Note an answer."""
        key = next((key for key in self._asked if _rid(key) == reply.rid), "")
        if reply.word == "authed":
            self.authenticated = True
        elif reply.word == "subscribed" and key:
            del self._asked[key]
            self._note_provider(key, reply.provider)
        elif reply.word == "error":
            self._refuse(reply, key, now)

    def to_send(self, now: int) -> list[str]:
        """Return the frame whose turn it is, if any."""
        if now < self._next_ns or self.broken or self.rejected:
            return []
        if self._authenticate_ns is not None and now >= self._authenticate_ns:
            return [self._present(now)]
        if not self.authenticated:
            self._check_silence(now)
            return []
        self._ask_again(now)
        if not self._queue:
            return []
        self._next_ns = now + _SPACING_NS
        return [self._request(*self._queue.popleft(), now)]

    @property
    def is_waiting(self) -> bool:
        """Whether a frame waits for its turn."""
        return self.authenticated and bool(self._queue)

    @property
    def is_settled(self) -> bool:
        """Whether every request was answered."""
        return self.authenticated and not self._queue and not self._asked

    # --- inside ---

    def _present(self, now: int) -> str:
        self._attempts += 1
        self._authenticate_ns, self._presented_ns = None, now
        self._next_ns = now + _SPACING_NS
        return _wire.authenticate(self._credentials())

    def _check_silence(self, now: int) -> None:
        if self._authenticate_ns is None and now - self._presented_ns >= self._patience_ns:
            self.broken = "the credentials were not answered"

    def _request(self, key: str, operation: str, now: int) -> str:
        if operation == "unsubscribe":
            return _wire.unsubscribe_prices(*key.split("|"))
        asked = self._asked.get(key)
        self._asked[key] = _Pending(now) if asked is None else _Pending(now, asked.times + 1)
        return _wire.subscribe_prices(*key.split("|"))

    def _ask_again(self, now: int) -> None:
        queued = {key for key, _ in self._queue}
        for key, asked in self._asked.items():
            if now - asked.at < self._patience_ns or key in queued:
                continue
            if asked.times >= _MOST_TIMES_ASKED:
                self.broken = f"{key} was not answered"
            else:
                self._queue.append((key, "subscribe"))

    def _note_provider(self, key: str, provider: str) -> None:
        if not provider:
            return
        wanted = key.split("|")[2:]
        if wanted and wanted != [provider] and self.providers.get(key) != provider:
            self.news.append(f"{_name(key)} was asked of {wanted[0]} and comes from {provider}")
        self.providers[key] = provider

    def _refuse(self, reply: StreamReply, key: str, now: int) -> None:
        words = f"{reply.code} ({_MEANING[reply.code]})" if reply.code in _MEANING else reply.code[:60] or "no reason"
        if reply.code in _REJECTIONS:
            self.rejected = words
        elif reply.code == "auth_unavailable" and self._attempts < _ATTEMPTS:
            self._authenticate_ns = now + min(_FIRST_RETRY_NS << (self._attempts - 1), _LONGEST_RETRY_NS)
            self.news.append(f"the price streams answer {words}; they are asked again")
        elif reply.code in ("auth_unavailable", "auth_required"):
            self.broken = words
        elif key and reply.code != "rate_limited":
            del self._asked[key]
            self.refused[key] = words
            self.news.append(f"{_name(key)} is refused by the price streams: {words}")
        else:
            # A request that was sent too fast is sent again when its answer is overdue.
            self.news.append(f"the price streams refuse a request for {reply.channel or 'nothing'}: {words}")


def _rid(key: str) -> str:
    """Return the id that the request for a key has on the wire."""
    return key.replace("|", ":")


def _name(key: str) -> str:
    channel, symbol, *_ = key.split("|")
    return f"{symbol} of {channel}"
