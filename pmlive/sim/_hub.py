"""Who is connected, who asked for what, and the delivery of messages to them."""

import time
from collections import defaultdict, deque
from collections.abc import Iterable

import msgspec
from websockets.asyncio.server import ServerConnection

from pmlive.sim._faults import FaultChannel, Faults
from pmlive.sim._frames import Message
from pmlive.sim._ledger import Ledger
from pmlive.sim._mischief import Mischief
from pmlive.sim._outlet import Connection, Outlet, Spawn

__all__ = ["Dial", "Hub", "Limits"]

# Kinds that only connections with ``custom_feature_enabled`` get.
_FLAGGED = frozenset(("best_bid_ask", "new_market", "market_resolved"))
_TRUTH = 500_000


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """How the venue treats its clients; times in seconds.

    ``idle``: a connection without data or PING is cut. ``opening_limit``: tokens on one connection past which opening
    books no longer come. ``frame_ids``: ids in one frame past which the connection is closed. ``send_buffer``: unread
    bytes past which a client is too slow. ``settled``: a connection all of whose markets are settled is closed.
    ``connections``: sockets at one time, more are refused with 429.
    """

    idle: float = 125.0
    opening_limit: int = 500
    frame_ids: int = 2_000
    send_buffer: int = 8 * 1024 * 1024
    settled: float = 60.0
    connections: int = 10_000


class Dial(msgspec.Struct, frozen=True):
    """One attempt to connect: when (monotonic clock), to which channel and path, and the HTTP status it got."""

    at: float
    channel: FaultChannel
    path: str
    status: int


class Hub:
    """The connections of all channels; everything happens on the venue's own loop."""

    def __init__(self, faults: Faults, mischief: Mischief, *, limits: Limits, keep_truth: bool) -> None:
        self.faults = faults
        self.limits = limits
        self.outlets: dict[int, Outlet] = {}
        self.dials: list[Dial] = []
        self.delivered: dict[int, deque[str]] = {}
        self.ledger: Ledger | None = None
        self._mischief = mischief
        self._keep_truth = keep_truth
        self._subscribers: defaultdict[str, set[Outlet]] = defaultdict(set)
        self._settled_since: dict[int, float] = {}

    def open(self, socket: ServerConnection, channel: FaultChannel, spawn: Spawn) -> Outlet:
        """Take up a new connection."""
        truth = deque[str](maxlen=_TRUTH) if self._keep_truth else None
        outlet = Outlet(
            socket,
            channel,
            path=socket.request.path if socket.request else "",
            faults=self.faults,
            spawn=spawn,
            most_waiting=self.limits.send_buffer,
            truth=truth,
        )
        self.outlets[outlet.id] = outlet
        if truth is not None:
            self.delivered[outlet.id] = truth
        return outlet

    def leave(self, outlet: Outlet) -> None:
        """Forget a connection that ended."""
        self.outlets.pop(outlet.id, None)
        self._settled_since.pop(outlet.id, None)
        self.unsubscribe(outlet, tuple(outlet.tokens))

    def of(self, channel: FaultChannel | None, token_id: str | None = None) -> list[Outlet]:
        """List the connections of a channel, or those that asked for a token."""
        return [
            outlet
            for outlet in self.outlets.values()
            if channel in (None, outlet.channel) and (token_id is None or token_id in outlet.tokens)
        ]

    def connections(self) -> list[Connection]:
        """List the open connections."""
        return [outlet.view() for outlet in list(self.outlets.values()) if outlet.is_open]

    def subscribe(self, outlet: Outlet, tokens: Iterable[str]) -> list[str]:
        """Note a client's wish; tell which tokens are new to it."""
        fresh = [token for token in dict.fromkeys(tokens) if token not in outlet.tokens]
        outlet.tokens.update(fresh)
        for token in fresh:
            self._subscribers[token].add(outlet)
        self._settled_since.pop(outlet.id, None)
        return fresh

    def unsubscribe(self, outlet: Outlet, tokens: Iterable[str]) -> None:
        """Note that a client no longer wants tokens."""
        for token in tokens:
            self._subscribers[token].discard(outlet)
            outlet.tokens.discard(token)

    def publish(self, step: list[Message]) -> None:
        """Send one step's messages to whoever gets them."""
        if self.ledger is not None:
            self.ledger.note(step)
        for message in self._mischief.treat(step):
            for outlet in self._audience(message):
                if outlet.flagged or message.kind not in _FLAGGED:
                    outlet.data(message.text, binary=message.binary)

    def forget(self, token_id: str | None) -> int:
        """Send nothing more of a token, or of all, to whoever asked for it; tell how many wishes that were."""
        forgotten = 0
        for outlet in self.of("market"):
            tokens = [token for token in outlet.tokens if token_id in (None, token)]
            self.unsubscribe(outlet, tokens)
            forgotten += len(tokens)
        return forgotten

    def _audience(self, message: Message) -> Iterable[Outlet]:
        if message.kind == "new_market":
            return self.of("market")
        groups = [self._subscribers[token] for token in message.tokens if token in self._subscribers]
        if not groups:
            return ()
        return sorted(set[Outlet]().union(*groups), key=lambda outlet: outlet.id)

    def sweep(self, settled: frozenset[str]) -> None:
        """Cut what is idle, and close what has nothing to wait for."""
        now = time.monotonic()
        for outlet in list(self.outlets.values()):
            if now - outlet.heard > self.limits.idle:
                outlet.abort()
            elif outlet.tokens and outlet.tokens <= settled:
                since = self._settled_since.setdefault(outlet.id, now)
                if now - since > self.limits.settled:
                    outlet.close(1000, "all markets settled")
