"""The pipes to and from a client: kept for the protocol alone, and read and written in threads of their own.

A read that waits for a client and a write to one that does not read cannot be given up; in threads that the program
does not wait for, they hold nothing up.
"""

import asyncio
import os
import sys
from collections.abc import Callable, Coroutine
from concurrent.futures import CancelledError
from queue import SimpleQueue
from typing import NamedTuple

from pmlive.threads import single

__all__ = ["Lines", "Wire", "Writer", "claim"]

_CHUNK = 1 << 16
# Longer than anything a client has to say.
_LONGEST_LINE = 1 << 22


class Wire(NamedTuple):
    """Descriptors of the pipes."""

    reading: int
    writing: int


def claim() -> Wire:
    """Take standard input and output for the protocol alone.

    Whatever is printed from now on, by anybody in this process or started by it, goes to the standard error, and who
    reads the standard input finds it empty.
    """
    sys.stdout.flush()
    wire = Wire(os.dup(0), os.dup(1))
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    try:
        os.dup2(2, 1)
    except OSError:  # there is no standard error
        os.dup2(nothing, 1)
    os.close(nothing)
    return wire


class Lines:
    """Give the lines of a descriptor to a coroutine of the running loop, then None; the next is read once it has one.

    A line that is too long comes as an empty one.
    """

    def __init__(self, descriptor: int, give: Callable[[bytes | None], Coroutine[object, object, None]]) -> None:
        self._descriptor = descriptor
        self._give = give
        self._loop = asyncio.get_running_loop()
        single("pmlive mcp reader", self._read).start()

    def _read(self) -> None:
        rest, too_long = b"", False
        try:
            while chunk := self._chunk():
                *whole, rest = (rest + chunk).split(b"\n")
                for line in whole:
                    self._put(b"" if too_long else line)
                    too_long = False
                if len(rest) > _LONGEST_LINE:
                    rest, too_long = b"", True
            self._put(None)
        except (RuntimeError, CancelledError):  # the loop has ended, and nobody listens
            return

    def _chunk(self) -> bytes:
        try:
            return os.read(self._descriptor, _CHUNK)
        except OSError:  # the other side is gone
            return b""

    def _put(self, line: bytes | None) -> None:
        giving = self._give(line)
        try:
            given = asyncio.run_coroutine_threadsafe(giving, self._loop)
        except RuntimeError:
            giving.close()
            raise
        given.result()


class Writer:
    """Write to a descriptor; whoever writes waits, and nobody else does."""

    def __init__(self, descriptor: int) -> None:
        self.broken = False
        self._descriptor = descriptor
        self._loop = asyncio.get_running_loop()
        self._waiting: SimpleQueue[tuple[bytes, asyncio.Future[None]]] = SimpleQueue()
        single("pmlive mcp writer", self._write).start()

    async def write(self, data: bytes) -> None:
        """Write it all; to a client that is gone, nothing."""
        if not self.broken:
            written = self._loop.create_future()
            self._waiting.put((data, written))
            await written

    def _write(self) -> None:
        while True:
            data, written = self._waiting.get()
            try:
                while data:
                    data = data[os.write(self._descriptor, data) :]
            except OSError:
                self.broken = True
            try:
                self._loop.call_soon_threadsafe(_done, written)
            except RuntimeError:  # the loop has ended
                return


def _done(written: asyncio.Future[None]) -> None:
    if not written.done():
        written.set_result(None)
