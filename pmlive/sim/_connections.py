"""The clients' connections: what each asked for, and the delivery of messages to them."""

import asyncio
import itertools
import socket as sockets
import struct
import time
from collections import defaultdict, deque
from collections.abc import Callable, Coroutine, Iterable, MutableSet
from typing import cast

import msgspec
from websockets.asyncio.server import ServerConnection
from websockets.protocol import State

from pmlive.sim._faults import FaultChannel, Faults, Mischief
from pmlive.sim._ground_truth import Ledger
from pmlive.sim._order_book import Message

__all__ = ["Connection", "Dial", "Hub", "Limits", "Outlet", "Pace", "Spawn", "paced", "text_frame"]

Spawn = Callable[[Coroutine[object, object, None]], object]
Pace = Callable[[], int | None]
# Kinds that only connections with ``custom_feature_enabled`` get.
_FLAGGED = frozenset(("best_bid_ask", "new_market", "market_resolved"))
_TRUTH = 500_000
_numbers = itertools.count(1)
_TRICKLE = 0.02
_HALF_FRAME = b'\x81\x64{"event_type":"book","asset_id":"1"'
_SHORT, _MEDIUM = 126, 65_536


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


class Connection(msgspec.Struct, frozen=True):
    """A client's connection at one moment; ``opened`` is by the monotonic clock, ``sent`` counts data frames."""

    id: int
    channel: FaultChannel
    path: str
    opened: float
    tokens: frozenset[str]
    sent: int


class Outlet:
    """What the server knows of one connection; sending never waits."""

    def __init__(
        self,
        socket: ServerConnection,
        channel: FaultChannel,
        *,
        path: str,
        faults: Faults,
        spawn: Spawn,
        most_waiting: int,
        truth: deque[str] | None = None,
    ) -> None:
        self.id = next(_numbers)
        self.channel: FaultChannel = channel
        self.socket = socket
        self.path = path
        self.opened = self.heard = time.monotonic()
        self.tokens: set[str] = set()
        self.flagged = False
        self.sent = 0
        self.truth = truth
        self.spawn = spawn
        self._faults = faults
        self._most_waiting = most_waiting
        self._closing = False
        # What was written in this turn of the loop goes to the transport at once, which saves most of the system calls.
        self._frames: list[bytes] = []
        self._waiting = 0

    @property
    def transport(self) -> asyncio.Transport:
        """Give the transport, for whoever writes raw frames."""
        return self.socket.transport

    @property
    def is_open(self) -> bool:
        """Tell whether anything can still be sent."""
        return self.socket.state is State.OPEN and not self._closing

    def view(self) -> Connection:
        """Give the connection as it is now."""
        return Connection(self.id, self.channel, self.path, self.opened, frozenset(self.tokens), self.sent)

    def data(self, text: str, *, binary: bool = False) -> None:
        """Send a message, unless a fault withholds it; a client that reads too slowly is cut off."""
        if not self.is_open or self._stalled():
            return
        self._write(text, binary=binary)
        self.sent += 1
        if self.truth is not None:
            self.truth.append(text)
        if self._waiting + self.transport.get_write_buffer_size() > self._most_waiting:
            self.close(1013, "slow consumer: send buffer full")

    def word(self, text: str) -> None:
        """Send a word of the connection itself, which no stall withholds."""
        if self.is_open:
            self._write(text)

    def close(self, code: int, reason: str = "") -> None:
        """Close with a code."""
        if self.is_open:
            self._flush()
            self._closing = True
            self.spawn(self.socket.close(code, reason))

    def abort(self) -> None:
        """Cut the TCP connection."""
        self._closing = True
        self.transport.abort()

    def cut(self, manner: str) -> None:
        """Cut the TCP connection: with FIN, with RST, or in the middle of a frame; otherwise as ``abort``."""
        if manner == "reset":
            raw = cast("sockets.socket", self.transport.get_extra_info("socket"))
            raw.setsockopt(sockets.SOL_SOCKET, sockets.SO_LINGER, struct.pack("ii", 1, 0))
        elif manner in ("fin", "half frame"):
            self._flush()
            self.transport.write(_HALF_FRAME if manner == "half frame" else b"")
            self._closing = True
            self.transport.close()
            return
        self.abort()

    def _stalled(self) -> bool:
        return bool(self._faults) and self._faults.strike("stall", self.channel, self.tokens) is not None

    def _write(self, text: str, *, binary: bool = False) -> None:
        if not self._frames:
            asyncio.get_running_loop().call_soon(self._flush)
        frame = text_frame(text, binary=binary)
        self._frames.append(frame)
        self._waiting += len(frame)
        self.heard = time.monotonic()

    def _flush(self) -> None:
        if self._frames and self.is_open:
            self.transport.write(b"".join(self._frames))
        self._frames.clear()
        self._waiting = 0


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


def paced(pace: Pace, connections: MutableSet[ServerConnection]) -> type[ServerConnection]:
    """Make the class of connections whose every byte goes at the pace in force, and list them."""

    class PacedConnection(ServerConnection):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            connections.add(self)
            shaped = _PacedTransport(cast("asyncio.Transport", transport), pace)
            super().connection_made(cast("asyncio.Transport", shaped))

    return PacedConnection


def text_frame(text: str, *, binary: bool = False) -> bytes:
    r"""Write a text as one WebSocket frame from a server.

    >>> text_frame("PONG")
    b'\x81\x04PONG'
    """
    payload = text.encode(errors="surrogateescape")
    size, first = len(payload), 0x82 if binary else 0x81
    if size < _SHORT:
        return struct.pack("!BB", first, size) + payload
    if size < _MEDIUM:
        return struct.pack("!BBH", first, 126, size) + payload
    return struct.pack("!BBQ", first, 127, size) + payload


class _PacedTransport:
    """A transport that lets bytes through at the pace in force (bytes a second; None: at once)."""

    def __init__(self, transport: asyncio.Transport, pace: Pace) -> None:
        self._transport = transport
        self._pace = pace
        self._waiting = bytearray()
        self._flushing = False
        self._ended = False

    def __getattr__(self, name: str) -> object:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        if self._ended:
            return
        if not self._waiting and self._pace() is None:
            self._transport.write(data)
            return
        self._waiting += data
        self._later()

    def write_eof(self) -> None:
        # Nothing can follow the end, and what still waits for its turn is lost as in a network that is gone.
        self._ended = True
        self._waiting.clear()
        self._transport.write_eof()

    def get_write_buffer_size(self) -> int:
        return len(self._waiting) + self._transport.get_write_buffer_size()

    def _later(self) -> None:
        if self._waiting and not self._flushing and not self._transport.is_closing():
            self._flushing = True
            asyncio.get_running_loop().call_later(_TRICKLE, self._flush)

    def _flush(self) -> None:
        self._flushing = False
        pace = self._pace()
        size = len(self._waiting) if pace is None else 0 if pace == 0 else max(1, int(pace * _TRICKLE))
        self._transport.write(bytes(self._waiting[:size]))
        del self._waiting[:size]
        self._later()
