"""What was subscribed to and its state, and how updates reach slow code without holding up the feed."""

import asyncio
import inspect
import threading
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Literal, TypeAlias
from uuid import uuid4

import msgspec

from pmlive.events import Channel, Gap
from pmlive.integrity import Counts
from pmlive.logs import get_logger, lost
from pmlive.manager.ingest import Connections, Dialling, ReplayStatus, Source
from pmlive.store import RecorderStatus
from pmlive.threads import ThreadFault, faults, repeating
from pmlive.times import clock

__all__ = [
    "TABLES",
    "BackgroundTask",
    "BookCounts",
    "CallbackType",
    "Consumer",
    "Handler",
    "Mailbox",
    "Statistics",
    "Status",
    "Subscription",
    "SubscriptionStatus",
    "SubscriptionType",
    "Subscriptions",
    "Update",
    "status_of",
]

logger = get_logger(__name__)

SubscriptionType: TypeAlias = Literal[
    "market_prices",
    "orderbook_updates",
    "user_orders",
    "user_trades",
    "market_resolution",
    "activity",
    "reference_prices",
    "watch",
]
CallbackType: TypeAlias = Literal["notification", "log"]
Update: TypeAlias = dict[str, object]
Handler: TypeAlias = Callable[[Update], object] | Callable[[Update], Awaitable[object]]

# The tables whose rows a subscription is given, and the column that its keys are found in.
TABLES: dict[SubscriptionType, tuple[tuple[str, ...], str]] = {
    "market_prices": (("prices", "trades"), "token_id"),
    "orderbook_updates": (("depth",), "token_id"),
    "user_orders": (("user_orders",), "market"),
    "user_trades": (("user_trades",), "market"),
    "market_resolution": (("market_events",), "market"),
    "activity": (("activity",), "event_slug"),
    "reference_prices": (("reference_prices",), "symbol"),
    "watch": (("prices", "depth", "trades", "market_events"), "token_id"),
}
# What each is called, and what its keys are where they are neither outcomes nor markets.
_WORDS: dict[SubscriptionType, str] = {
    "market_prices": "prices and trades",
    "orderbook_updates": "books",
    "user_orders": "own orders",
    "user_trades": "own trades",
    "market_resolution": "resolutions",
    "activity": "trades with wallets",
    "reference_prices": "prices from outside",
    "watch": "prices, books, trades and resolutions",
}
_NOUNS: dict[SubscriptionType, str] = {"activity": "event", "reference_prices": "symbol"}
_SOCKETS: dict[Channel, str] = {"market": "clob", "user": "clob", "realtime": "realtime", "prices": "realtime"}


class Mailbox:
    """Updates waiting for one consumer: a newer one replaces an older of its key, and the oldest key goes first."""

    def __init__(self, size: int = 1024) -> None:
        self._size = size
        self._updates: dict[object, Update] = {}
        self._changed = threading.Condition()
        self._number = 0
        self._waker: Callable[[], object] | None = None
        self.closed = False
        self.coalesced = 0
        self.dropped = 0

    def put(self, update: Update, key: object = None) -> None:
        """Leave an update; without a key it replaces nothing."""
        with self._changed:
            self._number += 1
            key = self._number if key is None else key
            if self._updates.pop(key, None) is not None:
                self.coalesced += 1
            elif len(self._updates) >= self._size:
                del self._updates[next(iter(self._updates))]
                self._note_drop()
            self._updates[key] = update
            self._changed.notify()
        self._wake()

    def get(self) -> Update | None:
        """Wait for an update; None once the mailbox is closed and empty."""
        with self._changed:
            self._changed.wait_for(lambda: bool(self._updates) or self.closed)
            return self._pop()

    async def next(self) -> Update | None:
        """Wait for an update in the caller's own event loop; None once the mailbox is closed and empty."""
        loop, arrived = asyncio.get_running_loop(), asyncio.Event()
        self._waker = partial(loop.call_soon_threadsafe, arrived.set)
        try:
            while True:
                with self._changed:
                    update = self._pop()
                if update is not None or self.closed:
                    return update
                await arrived.wait()
                arrived.clear()
        finally:
            self._waker = None

    def close(self) -> None:
        """Close the mailbox, and let whoever waits go on."""
        with self._changed:
            self.closed = True
            self._changed.notify_all()
        self._wake()

    def _wake(self) -> None:
        """Wake who waits in an event loop, if that loop is still there."""
        waker = self._waker
        if waker is None:
            return
        try:
            waker()
        except RuntimeError:
            self._waker = None

    def _pop(self) -> Update | None:
        if not self._updates:
            return None
        return self._updates.pop(next(iter(self._updates)))

    def _note_drop(self) -> None:
        if self.dropped == 0:
            logger.warning(
                "a consumer is too slow: its oldest updates are dropped and counted; the recording loses nothing"
            )
        self.dropped += 1


class Consumer:
    """A thread that calls one handler with what comes to its mailbox; a handler that raises is reported and goes on."""

    def __init__(self, handler: Handler, loop: asyncio.AbstractEventLoop | None = None) -> None:
        self.mailbox = Mailbox()
        # Gaps of which the handler was told that they began, and not that they ended.
        self.open_gaps: set[Gap] = set()
        self._handler = handler
        self._loop = loop
        self._thread = repeating("pmlive consumer", self._turn, pause=0.0)
        self._thread.start()

    def _turn(self) -> bool:
        """Call the handler with the next update; the thread's guard reports what it raises."""
        update = self.mailbox.get()
        if update is not None:
            self._call(update)
        return update is not None

    def _call(self, update: Update) -> None:
        result = self._handler(update)
        if not inspect.iscoroutine(result):
            return
        if self._loop is not None and self._loop.is_running():
            asyncio.run_coroutine_threadsafe(result, self._loop).result()
        else:
            asyncio.run(result)


class SubscriptionStatus(msgspec.Struct, frozen=True, kw_only=True):
    """A subscription at one moment; times are in ISO 8601, ``dropped`` counts updates that slow readers lost."""

    id: str
    type: str
    channel: str
    created_at: str
    events_received: int
    last_event: str | None
    keys: int
    dropped: int
    awaited: list[str]
    left_out: list[str]


class Subscription:
    """One thing that was asked for; pass ``id`` to ``unsubscribe``, or iterate over it with ``async for``.

    Updates are dictionaries that JSON can hold. Iterating never holds up the feed: when the reader is slow, newer
    prices replace older ones of the same token, and ``dropped`` counts what was lost to it (the recording loses
    nothing).
    """

    def __init__(
        self,
        type_: SubscriptionType,
        channel: Channel,
        keys: Sequence[str],
        *,
        selects: Iterable[str] | None = None,
        depth: int = 10,
    ) -> None:
        self.id = uuid4().hex
        self.type: SubscriptionType = type_
        self.channel: Channel = channel
        # What the socket was asked for, and the values by which rows belong to this (None: all do).
        self.keys = list(keys)
        self.selects = None if selects is None else set(selects)
        self.depth = depth
        self.created_at = datetime.now(UTC)
        self.last_event: datetime | None = None
        self.events_received = 0
        self.mailboxes: list[Mailbox] = []
        self.consumers: list[Consumer] = []
        self.tasks: list[asyncio.Task[None]] = []
        # Markets that are listed without tokens for now, and why others could not be taken.
        self.awaited: list[str] = []
        # Whether it is given further markets in their time, and may have none before.
        self.growing = False
        self.left_out: list[str] = []
        self._past_dropped = 0
        self.closed = False

    @property
    def dropped(self) -> int:
        """Count the updates that slow readers did not get."""
        return self._past_dropped + sum(mailbox.dropped for mailbox in tuple(self.mailboxes))

    @property
    def by_market(self) -> bool:
        """Whether rows belong to this by their market, and not by their token."""
        return TABLES[self.type][1] == "market"

    @property
    def everything(self) -> bool:
        """Whether everything was asked for, and not what some keys name."""
        return self.selects is None and not self.keys

    def channel_of(self, key: str) -> Channel:
        """Return the channel that a key comes by; symbols of prices are spread over two."""
        if self.type != "reference_prices":
            return self.channel
        return "prices" if key.startswith("price.") else "realtime"

    def by_channel(self, keys: Iterable[str]) -> dict[Channel, list[str]]:
        """Split keys by the socket that they come by."""
        split: dict[Channel, list[str]] = {}
        for key in keys:
            split.setdefault(self.channel_of(key), []).append(key)
        return split

    def __repr__(self) -> str:
        """Return in words what of how many it is, since when, and what came."""
        noun = "outcome" if self.channel == "market" else _NOUNS.get(self.type, "market")
        number = f"all {noun}s" if self.everything else f"{len(self.keys)} {noun}{'' if len(self.keys) == 1 else 's'}"
        awaited = f", {len(self.awaited)} markets awaited" if self.awaited else ""
        came = f"{self.events_received:,} events since {clock(self.created_at)}"
        return f"<Subscription to {_WORDS[self.type]} of {number}{awaited}, {came}{', ended' if self.closed else ''}>"

    async def __aiter__(self) -> AsyncIterator[Update]:
        """Yield updates as they come."""
        mailbox = Mailbox()
        self.mailboxes.append(mailbox)
        if self.closed:
            mailbox.close()
        try:
            while (update := await mailbox.next()) is not None:
                yield update
        finally:
            self.mailboxes.remove(mailbox)
            self._past_dropped += mailbox.dropped

    def status(self) -> SubscriptionStatus:
        """Describe it as it is now."""
        return SubscriptionStatus(
            id=self.id,
            type=self.type,
            channel=_SOCKETS[self.channel],
            created_at=self.created_at.isoformat(),
            events_received=self.events_received,
            last_event=None if self.last_event is None else self.last_event.isoformat(),
            keys=len(self.keys),
            dropped=self.dropped,
            awaited=list(self.awaited),
            left_out=list(self.left_out),
        )

    def to_dict(self) -> dict[str, object]:
        """Return the entry of ``Manager.status()``."""
        return msgspec.to_builtins(self.status())

    def count(self, events: int) -> None:
        """Note so many new events."""
        if events:
            self.events_received += events
            self.last_event = datetime.now(UTC)

    def consume(self, consumer: Consumer) -> None:
        """Hand updates to one more consumer."""
        self.consumers.append(consumer)
        self.mailboxes.append(consumer.mailbox)

    def close(self) -> None:
        """End the readers."""
        self.closed = True
        for mailbox in tuple(self.mailboxes):
            mailbox.close()


# --- status ---
# The state of a manager: its connections, subscriptions, counts and books, and what it records or replays.


class Subscriptions(msgspec.Struct, frozen=True, kw_only=True):
    """The subscriptions, in the order in which they were made."""

    total: int
    by_type: dict[str, int]
    active: list[SubscriptionStatus]


class Statistics(Dialling, frozen=True, kw_only=True):
    """What came, by the name of the event; ``duplicates`` came again, by table."""

    total_events: int = 0
    events_by_type: dict[str, int] = msgspec.field(default_factory=dict[str, int])
    duplicates: dict[str, int] = msgspec.field(default_factory=dict[str, int])
    unknown_kinds: dict[str, int] = msgspec.field(default_factory=dict[str, int])


class BackgroundTask(msgspec.Struct, frozen=True, kw_only=True):
    """Whether the feed thread runs, and whether it has a source of events."""

    running: bool
    task_exists: bool


class BookCounts(msgspec.Struct, frozen=True, kw_only=True):
    """How many books are kept and trusted, and the outcomes of their checks."""

    tokens: int = 0
    trusted: int = 0
    open_gaps: int = 0
    checks: Counts = msgspec.field(default_factory=Counts)
    duplicates: int = 0
    out_of_order: int = 0
    before_snapshot: int = 0


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """Everything at one moment; ``books`` is None before anything was subscribed."""

    connections: Connections = msgspec.field(default_factory=Connections)
    subscriptions: Subscriptions
    statistics: Statistics
    background_task: BackgroundTask
    books: BookCounts | None = None
    recording: RecorderStatus | None = None
    replay: ReplayStatus | None = None
    trouble: list[ThreadFault] = []
    log_lines_lost: int = 0

    def to_dict(self) -> dict[str, object]:
        """Return it as JSON can hold it."""
        return msgspec.to_builtins(self) | ({} if self.books is not None else {"books": {}})


def status_of(source: Source | None, subscriptions: Sequence[Subscription], *, running: bool) -> Status:
    """Describe a source, None before anything was subscribed, and the subscriptions to it."""
    if source is not None:
        source.ingest.freshen()
    return Status(
        connections=Connections() if source is None else source.connections(),
        subscriptions=Subscriptions(
            total=len(subscriptions),
            by_type=dict(Counter(subscription.type for subscription in subscriptions)),
            active=[subscription.status() for subscription in subscriptions],
        ),
        statistics=Statistics() if source is None else _statistics(source),
        background_task=BackgroundTask(running=running, task_exists=source is not None),
        books=None if source is None else _books(source),
        recording=None if source is None or source.ingest.recorder is None else source.ingest.recorder.status(),
        replay=None if source is None else source.playing(),
        trouble=faults(),
        log_lines_lost=lost(),
    )


def _statistics(source: Source) -> Statistics:
    pipeline = source.ingest.pipeline
    counts = dict(pipeline.counts)
    return Statistics(
        total_events=sum(number for name, number in counts.items() if name != "control"),
        events_by_type=counts,
        duplicates=pipeline.duplicates,
        unknown_kinds=dict(pipeline.unknown),
        **msgspec.structs.asdict(source.dialling()),
    )


def _books(source: Source) -> BookCounts:
    pipeline = source.ingest.pipeline
    books, tokens = pipeline.books, pipeline.books.tokens.values()
    return BookCounts(
        tokens=len(tokens),
        trusted=0 if pipeline.stopped else sum(token.trusted() for token in tokens),
        open_gaps=len(pipeline.open_gaps()),
        checks=books.checked,
        duplicates=sum(pipeline.duplicates.values()),
        out_of_order=books.late,
        before_snapshot=books.early,
    )
