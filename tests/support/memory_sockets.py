"""A client's connection whose server is a list of chunks of bytes: what comes through it, and what is written back."""

import asyncio
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Literal, NamedTuple, TypeAlias

from websockets.asyncio.client import ClientConnection
from websockets.client import ClientProtocol
from websockets.exceptions import ConnectionClosed
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory
from websockets.frames import Frame, Opcode
from websockets.protocol import Protocol, Side, State
from websockets.uri import parse_uri
from websockets.utils import accept_key

from pmlive.feed.sockets import MAX_MESSAGE, Socket

__all__ = ["Conversation", "End", "Memory", "Outcome", "Server", "turns"]

# How the server ends: with or without the end of its stream.
End: TypeAlias = Literal["end of stream", "reset"]
_TURNS = 30


class Memory(asyncio.Transport):
    """A transport that keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written = bytearray()
        self.closed = self.half_closed = False
        self.reads = asyncio.Event()
        self.reads.set()
        self.lost: Callable[[], None] = lambda: None

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        del high, low

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += data

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.half_closed = True

    def is_closing(self) -> bool:
        return self.closed

    def is_reading(self) -> bool:
        return self.reads.is_set()

    def pause_reading(self) -> None:
        self.reads.clear()

    def resume_reading(self) -> None:
        self.reads.set()

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            asyncio.get_running_loop().call_soon(self.lost)

    abort = close


class Server(NamedTuple):
    """What a server does after its handshake, and what the client does at which chunk."""

    data: bytes
    # Where chunks of the answer and the data end, in thousandths of them.
    places: Sequence[int] = ()
    end: End = "end of stream"
    deflates: bool = False
    # Counted in chunks: when the client begins to read, and when it closes.
    reads_at: int = 0
    closes_at: int | None = None

    def chunks(self, answer: bytes) -> list[bytes]:
        whole = answer + self.data
        ends = [0, *sorted(len(whole) * place // 1000 for place in self.places), len(whole)]
        return [whole[start:end] for start, end in pairwise(ends) if start < end]


class Outcome(NamedTuple):
    """What came of it: the messages, how many had come after each chunk, what was written, and how it ended."""

    messages: list[bytes]
    counts: list[int]
    written: list[tuple[Opcode, bytes]]
    half_closed: bool
    ended: tuple[object, ...]


class Conversation:
    """A connection of the library or of ours, whose server sends its chunks."""

    def __init__(self, kind: type[ClientConnection], server: Server) -> None:
        extensions = [ClientPerMessageDeflateFactory()] if server.deflates else None
        self.protocol = ClientProtocol(parse_uri("ws://venue/"), extensions=extensions, max_size=MAX_MESSAGE)
        self.connection = kind(self.protocol, ping_interval=None, close_timeout=None)
        self.transport = Memory()
        self.transport.lost = lambda: self.connection.connection_lost(None)
        self.messages: list[bytes] = []
        self.counts: list[int] = []
        self.reader: asyncio.Task[None] | None = None
        self._server = server
        self._asked = 0

    async def run(self) -> Outcome:
        """Shake hands, receive everything, and see how it ends."""
        handshake, answer = await self._ask()
        closing = await self._send(self._server.chunks(answer))
        await handshake
        self.read()
        await turns()
        if self._server.end == "end of stream":
            self.connection.eof_received()
        self.transport.close()
        await asyncio.gather(*closing)
        return await self._outcome()

    async def open(self, place: int | None = None, *, with_it: bytes = b"") -> None:
        """Shake hands only; the answer may be parted at a place, and bytes may come with its end."""
        handshake, answer = await self._ask()
        at = len(answer) if place is None else place
        for chunk in filter(None, (answer[:at], answer[at:] + with_it)):
            self.connection.data_received(chunk)
        await handshake

    async def close(self) -> None:
        """Lose the connection, and let whoever reads it end."""
        if self.connection.state is not State.CLOSED:
            self.transport.close()
        if self.reader is not None:
            await asyncio.gather(self.reader, return_exceptions=True)

    @property
    def written(self) -> list[tuple[Opcode, bytes]]:
        """The frames that the client wrote."""
        return _frames(bytes(self.transport.written[self._asked :]))

    async def _ask(self) -> "tuple[asyncio.Task[None], bytes]":
        """Ask for the handshake; return the task that waits for it, and the answer."""
        self.connection.connection_made(self.transport)
        handshake = asyncio.create_task(self.connection.handshake())
        await turns()
        self._asked = len(self.transport.written)
        return handshake, _answer(self.protocol, deflates=self._server.deflates)

    def read(self) -> None:
        """Begin to read, if that has not begun."""
        self.reader = self.reader or asyncio.create_task(self._read())

    async def _read(self) -> None:
        if isinstance(self.connection, Socket):
            await self.connection.pass_on(self.messages.extend)
        while True:
            self.messages.append(await self.connection.recv(decode=False))

    async def _send(self, chunks: list[bytes]) -> "list[asyncio.Task[None]]":
        """Send chunks as a transport does, none while reading is paused; return the client's own closing."""
        closing: list[asyncio.Task[None]] = []
        for number, chunk in enumerate(chunks):
            if self.connection.response is not None:
                if number >= self._server.reads_at:
                    self.read()
                if number == self._server.closes_at:
                    closing.append(asyncio.create_task(self.connection.close(1000, "enough")))
                await turns()
            if self.reader is not None:
                await self.transport.reads.wait()
            self.connection.data_received(chunk)
            await turns()
            self.counts.append(len(self.messages))
        return closing

    async def _outcome(self) -> Outcome:
        assert self.reader is not None
        (ended,) = await asyncio.gather(self.reader, return_exceptions=True)
        return Outcome(self.messages, self.counts, self.written, self.transport.half_closed, _described(ended))


async def turns() -> None:
    """Let everything run that can."""
    for _ in range(_TURNS):
        await asyncio.sleep(0)


def _answer(protocol: ClientProtocol, *, deflates: bool) -> bytes:
    return (
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Accept: {accept_key(protocol.key)}\r\n"
        + ("Sec-WebSocket-Extensions: permessage-deflate\r\n" if deflates else "")
        + "\r\n"
    ).encode()


def _frames(data: bytes) -> list[tuple[Opcode, bytes]]:
    """Read the frames that a client wrote, without their random masks."""
    reader = Protocol(Side.SERVER)
    reader.receive_data(data)
    frames = [event for event in reader.events_received() if isinstance(event, Frame)]
    return [(frame.opcode, bytes(frame.data)) for frame in frames]


def _described(error: object) -> tuple[object, ...]:
    if not isinstance(error, ConnectionClosed):
        return (repr(error),)
    return type(error), error.rcvd, error.sent, error.rcvd_then_sent, repr(error.__cause__)
