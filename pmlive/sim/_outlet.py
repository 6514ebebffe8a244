"""One client's connection, as the server holds it: what it gets, how fast, and what was sent to it."""

import asyncio
import itertools
import socket as sockets
import struct
import time
from collections import deque
from collections.abc import Callable, Coroutine, MutableSet
from typing import cast

import msgspec
from websockets.asyncio.server import ServerConnection
from websockets.protocol import State

from pmlive.sim._faults import FaultChannel, Faults

__all__ = ["Connection", "Outlet", "Pace", "Spawn", "paced", "text_frame"]

Spawn = Callable[[Coroutine[object, object, None]], object]
Pace = Callable[[], int | None]

_numbers = itertools.count(1)
_TRICKLE = 0.02
_HALF_FRAME = b'\x81\x64{"event_type":"book","asset_id":"1"'
_SHORT, _MEDIUM = 126, 65_536


class Connection(msgspec.Struct, frozen=True):
    """A client's connection at one moment; ``opened`` is by the monotonic clock, ``sent`` counts data frames."""

    id: int
    channel: FaultChannel
    path: str
    opened: float
    tokens: frozenset[str]
    sent: int


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


def paced(pace: Pace, connections: MutableSet[ServerConnection]) -> type[ServerConnection]:
    """Make the class of connections whose every byte goes at the pace in force, and list them."""

    class PacedConnection(ServerConnection):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            connections.add(self)
            shaped = _PacedTransport(cast("asyncio.Transport", transport), pace)
            super().connection_made(cast("asyncio.Transport", shaped))

    return PacedConnection


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
