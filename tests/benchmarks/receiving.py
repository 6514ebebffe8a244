"""Receive frames from a loopback socket, and do nothing with them: through the library's queue, and past it."""

import argparse
import asyncio
import statistics
import time
from collections.abc import Sequence
from typing import NamedTuple

import msgspec
from websockets.asyncio.client import ClientConnection, connect

from pmlive.feed.sockets import MAX_MESSAGE, Socket, Take

from . import figures
from .load import Served, served
from .measure import relative

_PATIENCE = 120.0
_BOOKS_A_FRAME = 20
_WAYS = ("recv", "pass_on")
# Frames a second and how many are sent together; without a rate, as fast as they are read.
_PACES = {"5,000 a second, each by itself": ("5000", "0"), "as fast as they come": ("0", "0")}


class Cost(NamedTuple):
    """Microseconds of processor a frame, and frames a chunk of bytes."""

    micros: float
    together: float


class Queued(ClientConnection):
    """A connection of the library, received from as it offers it, with a pause now and then for other tasks."""

    chunks = 0

    def data_received(self, data: bytes) -> None:
        """Count a chunk."""
        self.chunks += 1
        super().data_received(data)

    async def pass_on(self, take: Take) -> None:
        """Receive frame by frame."""
        while True:
            for _ in range(50):
                take((await self.recv(decode=False),))
            await asyncio.sleep(0)


class Counter:
    """Counts frames after the opening books, and the processor time of its thread from the first to the last."""

    def __init__(self, socket: Socket | Queued, *, books: int, frames: int) -> None:
        self._socket = socket
        self._books = books
        self._last = books + frames
        self.came = 0
        self.done = asyncio.Event()

    def take(self, frames: Sequence[bytes]) -> None:
        """Count frames."""
        if self.came <= self._books < self.came + len(frames):
            self._began, self._chunks = time.thread_time(), self._socket.chunks
        self.came += len(frames)
        if self.came >= self._last:
            self._ended = time.thread_time()
            self.done.set()

    def cost(self) -> Cost:
        """Divide what it took by the frames."""
        frames = self._last - self._books
        return Cost(1e6 * (self._ended - self._began) / frames, frames / (self._socket.chunks - self._chunks))


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.receiving", description=__doc__)
    parser.add_argument("--frames", type=int, default=20_000, help="frames a round")
    parser.add_argument("--rounds", type=int, default=5)
    figures.add_options(parser)
    options = parser.parse_args()
    # Until a large block has been freed, which loading polars does, glibc asks the system for memory at each read.
    bytes(1 << 20)
    rows = [_row(pace, options) for pace in _PACES]
    head = ("frames come", "frames a chunk", "us through the queue", "us past it", "share")
    figures.show("receiving", f"{figures.setting('websockets')}:\n\n{figures.table(head, rows)}", options)


def _row(pace: str, options: argparse.Namespace) -> tuple[object, ...]:
    """Alternate both ways, another first in each round."""
    costs: dict[str, list[Cost]] = {way: [] for way in _WAYS}
    for at in range(options.rounds + 1):
        for way in _WAYS if at % 2 else _WAYS[::-1]:
            costs[way].append(_measure(way, pace, options.frames))
    library, ours = ([cost.micros for cost in costs[way][1:]] for way in _WAYS)
    together = statistics.median(cost.together for way in _WAYS for cost in costs[way][1:])
    each = (f"{statistics.median(micros):.1f}" for micros in (library, ours))
    return (pace, f"{together:.1f}", *each, relative(ours, library))


def _measure(way: str, pace: str, frames: int) -> Cost:
    rate, together = _PACES[pace]
    with served("--frames", str(frames), "--rate", rate, "--together", together) as venue:
        return asyncio.run(_receive(way, venue, frames))


async def _receive(way: str, venue: Served, frames: int) -> Cost:
    async with connect(
        f"{venue.venue.clob_ws}/market",
        create_connection=Socket if way == "pass_on" else Queued,
        max_size=MAX_MESSAGE,
        ping_interval=None,
        compression=None,
        close_timeout=1,
    ) as socket:
        assert isinstance(socket, Socket | Queued)
        counter = Counter(socket, books=-(-len(venue.token_ids) // _BOOKS_A_FRAME), frames=frames)
        reader = asyncio.create_task(socket.pass_on(counter.take))
        await socket.send(msgspec.json.encode({"type": "market", "assets_ids": venue.token_ids}).decode())
        async with asyncio.timeout(_PATIENCE):
            await counter.done.wait()
        reader.cancel()
        await asyncio.gather(reader, return_exceptions=True)
        return counter.cost()


if __name__ == "__main__":
    main()
