"""A socket that hands on messages in batches, from where their bytes arrive."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Never, TypeAlias

from websockets.asyncio.client import ClientConnection
from websockets.client import ClientProtocol
from websockets.protocol import State

from pmlive.feed.deframing import Deframer

__all__ = ["MAX_MESSAGE", "Socket", "Take"]

Take: TypeAlias = Callable[[Sequence[bytes]], None]

MAX_MESSAGE = 16 * 1024 * 1024
# Messages that are handed on before other tasks run; they take some milliseconds.
_MESSAGES_PER_TURN = 50
# While more messages wait, nothing is read.
_MOST_WAITING = 16


class Socket(ClientConnection):
    """A connection whose plain frames do not go through the library's queue; all else is the library's, in order.

    The library has the handshakes and control frames. From the first frame on that is not plain, such as a fragment, it
    has everything, and its messages are received as usual.
    """

    def __init__(self, protocol: ClientProtocol, **options: Any) -> None:  # noqa: ANN401  # they are the library's
        super().__init__(protocol, **options)
        # Counted, so that a long frame on a slow line is a sign of life.
        self.chunks = 0
        self._deframer = Deframer(MAX_MESSAGE)
        # Messages that nobody has taken yet: there is no reader, or it is another task's turn.
        self._waiting: deque[bytes] = deque()
        self._take: Take | None = None
        self._reader: asyncio.Task[Any] | None = None
        self._error: Exception | None = None

    async def pass_on(self, take: Take) -> Never:
        """Call ``take`` with all messages, in order, until the connection ends or this task is cancelled.

        It is called where the bytes arrive, so it returns at once. It is not called again once it has raised.

        Raises:
            ConnectionClosed: the connection ended; everything that came before was handed on.
            Exception: ``take`` raised it.
        """
        self._take, self._reader = take, asyncio.current_task()
        try:
            take(self._taken(len(self._waiting)))
            while True:
                for _ in range(_MESSAGES_PER_TURN):
                    take([await self.recv(decode=False)])
                # Messages that have come already are returned without a pause, so let the other tasks run.
                await asyncio.sleep(0)
        except asyncio.CancelledError:
            if self._error is None:
                raise
            raise self._error from None
        finally:
            self._take = self._reader = None

    def data_received(self, data: bytes) -> None:
        """Hand on the messages in a chunk of bytes, and pass the rest to the library."""
        self.chunks += 1
        if self.state is not State.OPEN:
            data = self._after_answer(data)
        messages: list[bytes] = []
        others = self._deframer.feed(data, messages)
        if messages:
            self._hand_on(messages)
        if self._deframer.has_ended:
            self._hand_on_all()
        if others:
            super().data_received(others)

    def eof_received(self) -> None:
        """Let the library note the end, and within which frame it came."""
        self._pass_back()
        super().eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        """Hand on everything that came before the end, and let the library note it."""
        self._hand_on_all()
        self._pass_back()
        super().connection_lost(exc)

    def _after_answer(self, data: bytes) -> bytes:
        """Pass the answer to the handshake to the library, by lines, and return what follows, which begins a frame.

        Once a connection is closing, nothing is cut any more.
        """
        at = 0
        while at < len(data) and self.state is State.CONNECTING:
            end = data.find(b"\n", at) + 1 or len(data)
            super().data_received(data[at:end])
            at = end
        held = self._deframer.end() if self.state in (State.CLOSING, State.CLOSED) else b""
        return held + data[at:]

    def _pass_back(self) -> None:
        if held := self._deframer.end():
            super().data_received(held)

    # --- messages ---

    def _hand_on(self, messages: list[bytes]) -> None:
        """Hand on messages at once, or those beyond a turn in later ones, without reading more meanwhile."""
        idle = self._take is not None and not self._waiting
        if idle and len(messages) <= _MESSAGES_PER_TURN:
            self._give(messages)
            return
        self._waiting.extend(messages)
        if len(self._waiting) > _MOST_WAITING:
            self.transport.pause_reading()
        if idle:
            self._take_turn()

    def _take_turn(self) -> None:
        """Hand on some messages; once nobody reads any more, drop them, so that the end is not kept waiting."""
        self._give(self._taken(_MESSAGES_PER_TURN))
        if self._waiting:
            asyncio.get_running_loop().call_soon(self._take_turn)

    def _hand_on_all(self) -> None:
        if self._waiting and self._take is not None:
            self._give(self._taken(len(self._waiting)))

    def _taken(self, most: int) -> list[bytes]:
        """Remove some of the messages that wait; read again if few are left."""
        waiting = self._waiting
        were_many = len(waiting) > _MOST_WAITING
        taken = [waiting.popleft() for _ in range(min(most, len(waiting)))]
        if were_many and len(waiting) <= _MOST_WAITING:
            self.transport.resume_reading()
        return taken

    def _give(self, messages: list[bytes]) -> None:
        """Give messages to the reader; what it raises ends its task."""
        if self._take is None:
            return
        try:
            self._take(messages)
        except Exception as error:  # noqa: BLE001  # it is raised in the task of the reader
            self._take, self._error = None, error
            if self._reader is not None:
                self._reader.cancel()
