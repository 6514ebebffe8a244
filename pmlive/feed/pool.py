"""The pool of connections: each channel has its own, tokens are spread over several, and dials are paced."""

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence

from pmlive._session import Session, Timing
from pmlive.events import Channel
from pmlive.feed.connection import FeedConnection, Sink
from pmlive.retries import DialPolicy

__all__ = ["Pool"]

# With more than some hundreds of tokens on one connection, the venue sends changes but no opening books.
TOKENS_PER_CONNECTION = 200
# The venue closes a connection with more subscriptions than this.
_SYMBOLS_PER_CONNECTION = 64
_SECOND_NS = 1_000_000_000
_TENTH_NS = _SECOND_NS // 10
_EPOCHS_BEGAN = 17_356_896_000  # 2025-01-01, in tenths of a second since 1970; 32 bits last for 13 years
_TIMING: dict[Channel, Timing] = {
    "market": Timing(),
    "user": Timing(),
    "realtime": Timing(ping=5 * _SECOND_NS),
    "prices": Timing(ping=30 * _SECOND_NS),
}


class Pool:
    """Keeps each subscribed key (a token, market or symbol) on one connection of its channel.

    Every method is called from the loop that the connections run on.
    """

    def __init__(
        self,
        urls: dict[Channel, str],
        sink: Sink,
        *,
        clock: Callable[[], int],
        policy: DialPolicy | None = None,
        timing: dict[Channel, Timing] | None = None,
        credentials: Callable[[], dict[str, str]] | None = None,
        tokens_per_connection: int = TOKENS_PER_CONNECTION,
    ) -> None:
        self.connections: list[FeedConnection] = []
        # Those of connections that were ended.
        self.past_dials = 0
        self.past_errors = 0
        self._urls = urls
        self._sink = sink
        self._clock = clock
        self._policy = policy or DialPolicy()
        self._timing = _TIMING | (timing or {})
        self._credentials = credentials
        self._limit = tokens_per_connection
        self._limits: dict[FeedConnection, int] = {}
        # The connection of each key.
        self._carriers: defaultdict[Channel, dict[str, FeedConnection]] = defaultdict(dict)
        # Connections that may have room for more keys.
        self._roomy: defaultdict[Channel, dict[FeedConnection, None]] = defaultdict(dict)
        self._ticking: asyncio.Task[None] | None = None
        self._turn = asyncio.Lock()
        self._last_dial = 0.0
        self._epoch = 0
        self._ending: set[asyncio.Task[None]] = set()

    def want(self, channel: Channel, keys: Iterable[str]) -> dict[int, list[str]]:
        """Subscribe to keys; return those that went to connections already open, by epoch."""
        placed: dict[int, list[str]] = {}
        carriers = self._carriers[channel]
        fresh = [key for key in dict.fromkeys(keys) if key not in carriers]
        start = 0
        while start < len(fresh):
            connection = self._with_room(channel)
            taken = fresh[start : start + self._room(connection)]
            start += len(taken)
            carriers.update(dict.fromkeys(taken, connection))
            connection.session.want(taken, self._clock())
            if connection.conn is not None:
                placed[connection.conn] = taken
            connection.poke()
        return placed

    def want_everything(self, channel: Channel) -> None:
        """Subscribe to every market of the user on a channel, without naming keys.

        A connection that named some cannot be widened, so it is replaced by one that names none.
        """
        connection = self._with_room(channel)
        named = connection.conn is not None and not connection.session.everything
        connection.session.everything = True
        if named:
            connection.give_up("dialled again to ask for every market", "disconnect")

    def unwant(self, channel: Channel, keys: Sequence[str]) -> dict[int, list[str]]:
        """Unsubscribe from keys; return them by their last epoch, 0 for none. A connection without keys ends."""
        carriers, left = self._carriers[channel], dict[int, list[str]]()
        dropped: defaultdict[FeedConnection, list[str]] = defaultdict(list)
        for key in [key for key in dict.fromkeys(keys) if key in carriers]:
            dropped[carriers.pop(key)].append(key)
        for connection, its in dropped.items():
            connection.session.unwant(its)
            self._roomy[channel][connection] = None
            connection.poke()
            left.setdefault(connection.conn or connection.previous or 0, []).extend(its)
            if not connection.session.wanted and not connection.session.everything:
                self._end(connection)
        return left

    def drop_channel(self, channel: Channel) -> None:
        """End every connection of a channel."""
        self._carriers[channel].clear()
        for connection in self.of(channel):
            self._end(connection)

    def resync(self, token_ids: Iterable[str]) -> None:
        """Request new opening books."""
        for token_id in token_ids:
            connection = self.find("market", token_id)
            if connection is not None:
                connection.session.resync([token_id], self._clock())
                connection.poke()

    def find(self, channel: Channel, key: str) -> FeedConnection | None:
        """Return the connection that carries a key, if any."""
        return self._carriers[channel].get(key)

    def of(self, channel: Channel) -> list[FeedConnection]:
        """List the connections of a channel."""
        return [connection for connection in self.connections if connection.channel == channel]

    def halve(self, connection: FeedConnection) -> dict[int, list[str]]:
        """Move half of a connection's tokens elsewhere, as ``want`` does: its opening frame was too big to receive."""
        keys = list(connection.session.wanted)
        self._limits[connection] = max(1, len(keys) // 2)
        surplus = keys[self._limits[connection] :]
        connection.session.unwant(surplus)
        for key in surplus:
            del self._carriers[connection.channel][key]
        return self.want(connection.channel, surplus)

    def complete_until(self, now: int) -> int:
        """Return the time (nanoseconds) before which everything that open connections of markets were sent has come.

        The user's connections do not count: one may be quiet for days, and REST cannot confirm that.
        """
        return min((one.session.complete_until for one in self.of("market") if one.connected), default=now)

    async def stop(self) -> None:
        """End every connection."""
        connections, self.connections = self.connections, []
        self._carriers.clear()
        self._roomy.clear()
        await asyncio.gather(*(connection.stop() for connection in connections), *self._ending)
        if self._ticking is not None:
            self._ticking.cancel()
            await asyncio.gather(self._ticking, return_exceptions=True)

    def _with_room(self, channel: Channel) -> FeedConnection:
        for connection in list(self._roomy[channel]):
            if self._room(connection) > 0:
                return connection
            del self._roomy[channel][connection]
        connection = FeedConnection(
            Session(channel, timing=self._timing[channel], credentials=self._credentials),
            self._urls[channel],
            sink=self._sink,
            clock=self._clock,
            policy=self._policy,
            pace=self._pace,
            next_conn=self._next_epoch,
        )
        self.connections.append(connection)
        self._roomy[channel][connection] = None
        connection.start()
        if self._ticking is None:
            self._ticking = asyncio.create_task(self._tick(), name="pmlive ticks")
        return connection

    async def _tick(self) -> None:
        """Tell all connections the time, at intervals: a timer for each would cost as much as what they say."""
        while True:
            now = self._clock()
            for connection in self.connections:
                connection.tick(now)
            await asyncio.sleep(self._policy.tick)

    def _room(self, connection: FeedConnection) -> int:
        limits = {"market": self._limit, "prices": _SYMBOLS_PER_CONNECTION}
        limit = limits.get(connection.channel, 1_000_000)
        return self._limits.get(connection, limit) - len(connection.session.wanted)

    def _end(self, connection: FeedConnection) -> None:
        self.connections.remove(connection)
        self._limits.pop(connection, None)
        self._roomy[connection.channel].pop(connection, None)
        self.past_dials, self.past_errors = self.past_dials + connection.dials, self.past_errors + connection.errors
        task = asyncio.create_task(connection.stop())
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)

    async def _pace(self) -> None:
        """Wait for a turn to dial."""
        async with self._turn:
            wait = self._last_dial + self._policy.spacing - time.monotonic()
            if wait > 0:
                await asyncio.sleep(wait)
            self._last_dial = time.monotonic()

    def _next_epoch(self) -> int:
        """Return a number for a connection, the tenth of a second by the clock, so that no run repeats one."""
        self._epoch = max(self._epoch + 1, self._clock() // _TENTH_NS - _EPOCHS_BEGAN)
        return self._epoch
