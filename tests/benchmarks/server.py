"""A venue that serves generated frames as fast as they are read, in a process of its own.

It answers a subscription with the opening books and, once every token is subscribed on one connection, sends the
frames. It prints its port, then when the first frame went out, then how many messages of each kind there were, each a
line of JSON.
"""

import argparse
import asyncio
import json
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from http import HTTPStatus
from itertools import chain, islice
from urllib.parse import parse_qs, urlsplit

from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.protocol import State

from .corpus import World

__all__ = ["main"]

# Frames that are sent together: so many as fast as they are taken, and at a rate those of some milliseconds.
_BATCH, _TOGETHER = 200, 0.01
_BOOKS_A_FRAME = 20
_TEXT_FRAME = 0x81


class Venue:
    """The books of a world as it opens, and what happens then.

    Args:
        frames: prepared before serving, so that writing them costs nothing.
        seconds: how long to go on with frames that are written while serving.
        rate: frames a second; 0 is as fast as they are read.
        together: at a rate, the seconds whose frames are sent together; 0 sends each by itself.
    """

    def __init__(self, world: World, *, frames: int, seconds: float, rate: int, together: float = _TOGETHER) -> None:
        self._markets = world.markets
        self._tokens = {token.id: token for token in world.tokens}
        self._opening = {token.id: token.opening() for token in world.tokens}
        self._frames = chain(list(islice(world.frames(), frames)), self._later(world, seconds))
        self._batch = max(1, min(_BATCH, int(rate * together))) if rate else _BATCH
        self._between = self._batch / rate if rate else 0
        self.sent: Counter[str] = Counter()

    async def serve(self, connection: ServerConnection) -> None:
        """Talk to one client until it leaves."""
        subscribed: set[str] = set()
        async with asyncio.TaskGroup() as group:
            with suppress(ConnectionClosed):
                async for text in connection:
                    if text == "PING":
                        await connection.send("PONG")
                        continue
                    asked: list[str] = json.loads(text).get("assets_ids", [])
                    await self._open(connection, asked)
                    if len(subscribed) < len(self._tokens) == len(subscribed.union(asked)):
                        group.create_task(self._flood(connection))
                    subscribed.update(asked)

    def answer(self, connection: ServerConnection, request: Request) -> Response | None:
        """Tell the catalogue's clients what they ask for; anything else that is not a socket is not found."""
        if "Upgrade" in request.headers:
            return None
        address = urlsplit(request.path)
        asked = {value for values in parse_qs(address.query).values() for value in values}
        if not address.path.endswith("/markets"):
            return connection.respond(HTTPStatus.NOT_FOUND, "not found\n")
        about = [market.about() for market in self._markets if asked & {market.id, *(t.id for t in market.tokens)}]
        return connection.respond(HTTPStatus.OK, json.dumps(about))

    def _later(self, world: World, seconds: float) -> Iterator[bytes]:
        """Write frames for so long; from now on books are asked for as they are, and no longer as they opened."""
        self._opening.clear()
        end = time.monotonic() + seconds
        frames = world.frames()
        while time.monotonic() < end:
            yield next(frames)

    async def _open(self, connection: ServerConnection, token_ids: list[str]) -> None:
        wanted = iter(token_ids)
        while some := [self._book(token_id) for token_id in islice(wanted, _BOOKS_A_FRAME)]:
            await connection.send(f"[{','.join(some)}]")

    def _book(self, token_id: str) -> str:
        return self._opening.get(token_id) or self._tokens[token_id].opening()

    async def _flood(self, connection: ServerConnection) -> None:
        _say({"started": time.time_ns()})
        due = time.monotonic()
        with suppress(ConnectionClosed):
            while batch := list(islice(self._frames, self._batch)):
                # Sent by hand: the library's own sending costs more than the client's receiving.
                if connection.state is not State.OPEN:
                    break
                connection.transport.write(b"".join(map(_framed, batch)))
                self.sent.update(map(_kind, batch))
                await connection.drain()
                due += self._between
                await asyncio.sleep(max(0.0, due - time.monotonic()))
        _say(dict(self.sent))


def _framed(frame: bytes) -> bytes:
    size = len(frame)
    if size < 126:
        return bytes((_TEXT_FRAME, size)) + frame
    if size < 1 << 16:
        return bytes((_TEXT_FRAME, 126)) + size.to_bytes(2) + frame
    return bytes((_TEXT_FRAME, 127)) + size.to_bytes(8) + frame


def _kind(frame: bytes) -> str:
    if frame.startswith(b"["):
        return "books"
    if frame.endswith(b'"price_change"}'):
        return "price_change"
    return "book" if frame.endswith(b'"book"}') else "trade"


def _say(what: object) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


async def main() -> None:
    """Serve until the standard input ends."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--markets", type=int, default=60)
    parser.add_argument("--frames", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=0)
    parser.add_argument("--rate", type=int, default=0)
    parser.add_argument("--together", type=float, default=_TOGETHER)
    options = parser.parse_args()
    world = World(markets=options.markets)
    venue = Venue(world, frames=options.frames, seconds=options.seconds, rate=options.rate, together=options.together)
    async with serve(
        venue.serve, "127.0.0.1", 0, process_request=venue.answer, compression=None, ping_interval=None
    ) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        _say({"port": port, "token_ids": [token.id for token in world.tokens]})
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main())
