"""The clients' connections: their subscriptions, and the delivery of messages to them."""

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

from pmlive.sim._exchange import GroundTruth
from pmlive.sim._faults import FaultChannel, Faults, MessageFaults
from pmlive.sim._markets import MarketMessage

__all__ = ["Connection", "Dial", "Hub", "Limits", "SocketClient", "paced", "text_frame"]

Spawn = Callable[[Coroutine[object, object, None]], object]
# Returns the bytes a second in force; None means no limit.
Pace = Callable[[], int | None]

# Kinds that are sent only to connections with ``custom_feature_enabled``.
_CUSTOM_FEATURE_KINDS = frozenset(("best_bid_ask", "new_market", "market_resolved"))
# Frames kept of each connection.
_MAX_DELIVERED = 500_000
_PACE_INTERVAL = 0.02
_HALF_FRAME = b'\x81\x64{"event_type":"book","asset_id":"1"'
# Payload sizes from which a frame states its length in two and in eight bytes.
_MEDIUM_FRAME, _LONG_FRAME = 126, 65_536
_ids = itertools.count(1)


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """The venue's limits for its clients; times in seconds.

    ``idle``: time without data or PING after which a connection is cut. ``opening_limit``: tokens on one connection
    above which no opening books are sent. ``frame_ids``: ids in one frame above which the connection is closed.
    ``send_buffer``: unread bytes above which a client counts as too slow. ``settled``: time after which a connection is
    closed that has settled markets only. ``connections``: open sockets; further ones are refused with 429.
    """

    idle: float = 125.0
    opening_limit: int = 500
    frame_ids: int = 2_000
    send_buffer: int = 8 * 1024 * 1024
    settled: float = 60.0
    connections: int = 10_000


class Dial(msgspec.Struct, frozen=True):
    """An attempt to connect: its time (monotonic clock), channel and path, and the HTTP status it got."""

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


class SocketClient:
    """One client's connection as the server holds it; sending never waits."""

    def __init__(
        self,
        socket: ServerConnection,
        channel: FaultChannel,
        *,
        path: str,
        faults: Faults,
        spawn: Spawn,
        max_pending: int,
        delivered: deque[str] | None = None,
    ) -> None:
        self.id = next(_ids)
        self.channel: FaultChannel = channel
        self.socket = socket
        self.path = path
        self.opened = self.last_active = time.monotonic()
        self.tokens: set[str] = set()
        self.custom_features = False
        self.sent = 0
        self.delivered = delivered
        self.spawn = spawn
        self._faults = faults
        self._max_pending = max_pending
        self._closing = False
        # Frames written in one turn of the loop go to the transport together, which saves most of the system calls.
        self._frames: list[bytes] = []
        self._pending = 0

    @property
    def transport(self) -> asyncio.Transport:
        """Return the transport, for writing raw frames."""
        return self.socket.transport

    @property
    def is_open(self) -> bool:
        """Return whether anything can still be sent."""
        return self.socket.state is State.OPEN and not self._closing

    def snapshot(self) -> Connection:
        """Return the connection as it is now."""
        return Connection(self.id, self.channel, self.path, self.opened, frozenset(self.tokens), self.sent)

    def send(self, text: str, *, binary: bool = False) -> None:
        """Send a message, unless a fault withholds it; close the connection of a client that reads too slowly."""
        if not self.is_open or self._is_stalled():
            return
        self._write(text, binary=binary)
        self.sent += 1
        if self.delivered is not None:
            self.delivered.append(text)
        if self._pending + self.transport.get_write_buffer_size() > self._max_pending:
            self.close(1013, "slow consumer: send buffer full")

    def send_control(self, text: str) -> None:
        """Send an answer of the connection itself, such as PONG, which no stall withholds."""
        if self.is_open:
            self._write(text)

    def close(self, code: int, reason: str = "") -> None:
        """Close the connection with a close code."""
        if self.is_open:
            self._flush()
            self._closing = True
            self.spawn(self.socket.close(code, reason))

    def abort(self) -> None:
        """Abort the TCP connection."""
        self._closing = True
        self.transport.abort()

    def cut(self, manner: str) -> None:
        """Cut the TCP connection: with FIN, with RST, or in the middle of a frame; otherwise as ``abort``."""
        if manner == "reset":
            raw: sockets.socket = self.transport.get_extra_info("socket")
            raw.setsockopt(sockets.SOL_SOCKET, sockets.SO_LINGER, struct.pack("ii", 1, 0))
        elif manner in ("fin", "half frame"):
            self._flush()
            self.transport.write(_HALF_FRAME if manner == "half frame" else b"")
            self._closing = True
            self.transport.close()
            return
        self.abort()

    def _is_stalled(self) -> bool:
        return bool(self._faults) and self._faults.strike("stall", self.channel, self.tokens) is not None

    def _write(self, text: str, *, binary: bool = False) -> None:
        if not self._frames:
            asyncio.get_running_loop().call_soon(self._flush)
        frame = text_frame(text, binary=binary)
        self._frames.append(frame)
        self._pending += len(frame)
        self.last_active = time.monotonic()

    def _flush(self) -> None:
        if self._frames and self.is_open:
            self.transport.write(b"".join(self._frames))
        self._frames.clear()
        self._pending = 0


class Hub:
    """The connected clients of all channels; it is used only from the venue's own event loop."""

    def __init__(self, faults: Faults, message_faults: MessageFaults, *, limits: Limits, keep_truth: bool) -> None:
        self.faults = faults
        self.limits = limits
        self.clients: dict[int, SocketClient] = {}
        self.dials: list[Dial] = []
        self.delivered: dict[int, deque[str]] = {}
        self.ground_truth: GroundTruth | None = None
        self._message_faults = message_faults
        self._keep_truth = keep_truth
        self._subscribers: defaultdict[str, set[SocketClient]] = defaultdict(set)
        self._settled_since: dict[int, float] = {}

    def add(self, socket: ServerConnection, channel: FaultChannel, spawn: Spawn) -> SocketClient:
        """Add a new connection."""
        delivered = deque[str](maxlen=_MAX_DELIVERED) if self._keep_truth else None
        client = SocketClient(
            socket,
            channel,
            path=socket.request.path if socket.request else "",
            faults=self.faults,
            spawn=spawn,
            max_pending=self.limits.send_buffer,
            delivered=delivered,
        )
        self.clients[client.id] = client
        if delivered is not None:
            self.delivered[client.id] = delivered
        return client

    def remove(self, client: SocketClient) -> None:
        """Remove a connection that has ended."""
        self.clients.pop(client.id, None)
        self._settled_since.pop(client.id, None)
        self.unsubscribe(client, tuple(client.tokens))

    def clients_of(self, channel: FaultChannel | None, token_id: str | None = None) -> list[SocketClient]:
        """List the clients of a channel, or those subscribed to a token."""
        return [
            client
            for client in self.clients.values()
            if channel in (None, client.channel) and (token_id is None or token_id in client.tokens)
        ]

    def connections(self) -> list[Connection]:
        """List the open connections."""
        return [client.snapshot() for client in list(self.clients.values()) if client.is_open]

    def subscribe(self, client: SocketClient, tokens: Iterable[str]) -> list[str]:
        """Subscribe a client to tokens; return those that are new to it."""
        added = [token for token in dict.fromkeys(tokens) if token not in client.tokens]
        client.tokens.update(added)
        for token in added:
            self._subscribers[token].add(client)
        self._settled_since.pop(client.id, None)
        return added

    def unsubscribe(self, client: SocketClient, tokens: Iterable[str]) -> None:
        """Unsubscribe a client from tokens."""
        for token in tokens:
            self._subscribers[token].discard(client)
            client.tokens.discard(token)

    def publish(self, step: list[MarketMessage]) -> None:
        """Send the messages of one step to their subscribers."""
        if self.ground_truth is not None:
            self.ground_truth.record(step)
        for message in self._message_faults.apply(step):
            for client in self._recipients(message):
                if client.custom_features or message.kind not in _CUSTOM_FEATURE_KINDS:
                    client.send(message.text, binary=message.binary)

    def drop_subscriptions(self, token_id: str | None) -> int:
        """Drop every subscription to a token, or all of them, unasked; return how many there were."""
        dropped = 0
        for client in self.clients_of("market"):
            tokens = [token for token in client.tokens if token_id in (None, token)]
            self.unsubscribe(client, tokens)
            dropped += len(tokens)
        return dropped

    def expire(self, settled: frozenset[str]) -> None:
        """Cut idle connections, and close those all of whose tokens are settled."""
        now = time.monotonic()
        for client in list(self.clients.values()):
            if now - client.last_active > self.limits.idle:
                client.abort()
            elif client.tokens and client.tokens <= settled:
                since = self._settled_since.setdefault(client.id, now)
                if now - since > self.limits.settled:
                    client.close(1000, "all markets settled")

    def _recipients(self, message: MarketMessage) -> Iterable[SocketClient]:
        if message.kind == "new_market":
            return self.clients_of("market")
        groups = [self._subscribers[token] for token in message.tokens if token in self._subscribers]
        if not groups:
            return ()
        return sorted(set[SocketClient]().union(*groups), key=lambda client: client.id)


def paced(pace: Pace, connections: MutableSet[ServerConnection]) -> type[ServerConnection]:
    """Return a connection class that writes at the current pace and adds each connection to ``connections``."""

    class PacedConnection(ServerConnection):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            connections.add(self)
            paced_transport = _PacedTransport(cast("asyncio.Transport", transport), pace)
            super().connection_made(cast("asyncio.Transport", paced_transport))

    return PacedConnection


def text_frame(text: str, *, binary: bool = False) -> bytes:
    r"""Write a text as one WebSocket frame from a server.

    >>> text_frame("PONG")
    b'\x81\x04PONG'
    """
    payload = text.encode(errors="surrogateescape")
    size, first = len(payload), 0x82 if binary else 0x81
    if size < _MEDIUM_FRAME:
        return struct.pack("!BB", first, size) + payload
    if size < _LONG_FRAME:
        return struct.pack("!BBH", first, 126, size) + payload
    return struct.pack("!BBQ", first, 127, size) + payload


class _PacedTransport:
    """A transport that writes at the current pace (bytes a second; None: no limit)."""

    def __init__(self, transport: asyncio.Transport, pace: Pace) -> None:
        self._transport = transport
        self._pace = pace
        self._pending = bytearray()
        self._flushing = False
        self._ended = False

    def __getattr__(self, name: str) -> object:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        if self._ended:
            return
        if not self._pending and self._pace() is None:
            self._transport.write(data)
            return
        self._pending += data
        self._flush_later()

    def write_eof(self) -> None:
        # Nothing can follow the end, and pending bytes are lost, as in a network that has gone down.
        self._ended = True
        self._pending.clear()
        self._transport.write_eof()

    def get_write_buffer_size(self) -> int:
        return len(self._pending) + self._transport.get_write_buffer_size()

    def _flush_later(self) -> None:
        if self._pending and not self._flushing and not self._transport.is_closing():
            self._flushing = True
            asyncio.get_running_loop().call_later(_PACE_INTERVAL, self._flush)

    def _flush(self) -> None:
        self._flushing = False
        pace = self._pace()
        size = len(self._pending) if pace is None else 0 if pace == 0 else max(1, int(pace * _PACE_INTERVAL))
        self._transport.write(bytes(self._pending[:size]))
        del self._pending[:size]
        self._flush_later()
