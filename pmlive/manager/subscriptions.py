"""What was subscribed to, by whom it is read, and which keys are still wanted by somebody."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Sequence
from datetime import UTC, datetime
from typing import Literal, TypeAlias
from uuid import uuid4

import msgspec

from pmlive.events import Channel
from pmlive.manager.mailbox import Consumer, Mailbox, Update

__all__ = ["CallbackType", "Registry", "Subscription", "SubscriptionStatus", "SubscriptionType"]

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
_SOCKETS: dict[Channel, str] = {"market": "clob", "user": "clob", "realtime": "realtime", "prices": "realtime"}


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
        """Tell whether rows belong to this by their market, and not by their token."""
        return TABLES[self.type][1] == "market"

    @property
    def everything(self) -> bool:
        """Tell whether all there is was asked for, and not what some keys name."""
        return self.selects is None and not self.keys

    def channel_of(self, key: str) -> Channel:
        """Say by which socket a key comes; symbols of prices are spread over two."""
        if self.type != "reference_prices":
            return self.channel
        return "prices" if key.startswith("price.") else "realtime"

    def by_channel(self, keys: Iterable[str]) -> dict[Channel, list[str]]:
        """Split keys by the socket that they come by."""
        split: dict[Channel, list[str]] = {}
        for key in keys:
            split.setdefault(self.channel_of(key), []).append(key)
        return split

    def select(self, values: Iterable[str]) -> None:
        """Let further rows belong to this, unless all do."""
        if self.selects is not None:
            self.selects.update(values)

    def __repr__(self) -> str:
        """Say what it is and how many keys it has."""
        number = "all" if self.everything else str(len(self.keys))
        awaited = f", {len(self.awaited)} markets awaited" if self.awaited else ""
        return f"<Subscription {self.type} of {number}{awaited}, id {self.id}>"

    async def __aiter__(self) -> AsyncIterator[Update]:
        """Give updates as they come."""
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
        """Give updates to one more consumer."""
        self.consumers.append(consumer)
        self.mailboxes.append(consumer.mailbox)

    def close(self) -> None:
        """Let readers come to an end."""
        self.closed = True
        for mailbox in tuple(self.mailboxes):
            mailbox.close()


class Registry:
    """All subscriptions, and how many of them want each key."""

    def __init__(self) -> None:
        self.active: dict[str, Subscription] = {}
        self._wanted: Counter[tuple[Channel, str]] = Counter()

    def add(self, subscription: Subscription) -> None:
        """Count one more reader of its keys."""
        self.active[subscription.id] = subscription
        self.extend(subscription, subscription.keys, new=False)

    def extend(self, subscription: Subscription, keys: Iterable[str], *, new: bool = True) -> None:
        """Count further keys of a subscription."""
        for key in keys:
            self._wanted[subscription.channel_of(key), key] += 1
            if new:
                subscription.keys.append(key)

    def shrink(self, subscription: Subscription, keys: Iterable[str]) -> list[str]:
        """Count keys of a subscription off; give those that nobody wants any more."""
        unwanted: list[str] = []
        for key in keys:
            subscription.keys.remove(key)
            wanted = subscription.channel_of(key), key
            self._wanted[wanted] -= 1
            if not self._wanted[wanted]:
                del self._wanted[wanted]
                unwanted.append(key)
        return unwanted

    def remove(self, subscription_id: str) -> tuple[Subscription, list[str]]:
        """Forget a subscription; give it, and the keys that nobody wants any more.

        Raises:
            ValueError: there is none with this id.
        """
        subscription = self.active.pop(subscription_id, None)
        if subscription is None:
            known = ", ".join(self.active) or "none"
            raise ValueError(f"no subscription {subscription_id!r}; active are: {known}")
        return subscription, self.shrink(subscription, list(subscription.keys))

    def wants(self, channel: Channel, key: str) -> bool:
        """Tell whether a subscription wants a key."""
        return (channel, key) in self._wanted

    def uses(self, channel: Channel) -> bool:
        """Tell whether a subscription is left on a channel."""
        return any(one.channel == channel for one in self.active.values())
