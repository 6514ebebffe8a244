"""All subscriptions of a manager: which keys are still wanted, and which new rows and messages belong to which."""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import polars as pl

from pmlive.events import Channel
from pmlive.manager.subscriptions import TABLES, Subscription, SubscriptionType

__all__ = ["BY_MESSAGE", "Registry", "Routes", "Share"]

# Subscriptions whose events are the messages of their tokens, most of which make no row that is handed out.
BY_MESSAGE: tuple[SubscriptionType, ...] = ("orderbook_updates", "watch")


class Share(NamedTuple):
    """The numbers of the new rows of a table that belong to a subscription."""

    subscription: Subscription
    table: str
    frame: pl.DataFrame
    numbers: Sequence[int]


class Routes:
    """Which subscriptions want the rows of which value: what is new costs by who wants it, not by who is there."""

    def __init__(self) -> None:
        # By type, those that want every row, and those that want the rows of a value.
        self._all: dict[SubscriptionType, list[Subscription]] = {}
        self._by_value: dict[SubscriptionType, dict[str, tuple[Subscription, ...]]] = {}

    def add(self, subscription: Subscription) -> None:
        """Hand rows to one more subscription."""
        if subscription.selects is None:
            self._all.setdefault(subscription.type, []).append(subscription)
        else:
            self.extend(subscription, subscription.selects)

    def extend(self, subscription: Subscription, values: Iterable[str]) -> None:
        """Hand a subscription the rows of further values."""
        by_value = self._by_value.setdefault(subscription.type, {})
        # Nearly every value has one reader, and all those share this.
        alone = (subscription,)
        for value in values:
            readers = by_value.get(value, ())
            if subscription not in readers:
                by_value[value] = (*readers, subscription) if readers else alone

    def remove(self, subscription: Subscription) -> None:
        """Hand rows to a subscription no more."""
        if subscription.selects is None:
            self._all[subscription.type].remove(subscription)
            return
        by_value = self._by_value.get(subscription.type, {})
        for value in subscription.selects:
            readers = tuple(one for one in by_value.pop(value, ()) if one is not subscription)
            if readers:
                by_value[value] = readers

    def shares(self, frames: Mapping[str, pl.DataFrame], types: Collection[SubscriptionType]) -> Iterator[Share]:
        """Yield the new rows of each subscription of some types, table by table."""
        for type_, (tables, column) in TABLES.items():
            if type_ not in types:
                continue
            everyone, by_value = self._all.get(type_, ()), self._by_value.get(type_, {})
            for table in tables:
                if table not in frames:
                    continue
                frame = _of_type(type_, frames[table])
                yield from (Share(one, table, frame, range(frame.height)) for one in tuple(everyone))
                numbers = _numbers(_values(type_, frame, column), by_value)
                yield from (Share(one, table, frame, its) for one, its in numbers.items())

    def messages(self, heard: Mapping[str, int]) -> Counter[Subscription]:
        """Count the new messages of each subscription that is to count messages, of those of each token."""
        counts: Counter[Subscription] = Counter()
        for type_ in BY_MESSAGE:
            by_value = self._by_value.get(type_, {})
            for token_id, messages in heard.items():
                for one in by_value.get(token_id, ()):
                    counts[one] += messages
        return counts


def _of_type(type_: SubscriptionType, frame: pl.DataFrame) -> pl.DataFrame:
    return frame.filter(pl.col("kind") == "market_resolved") if type_ == "market_resolution" else frame


def _values(type_: SubscriptionType, frame: pl.DataFrame, column: str) -> Sequence[str | None]:
    """List the values by which rows are wanted."""
    if type_ == "reference_prices":
        # One symbol is had of several topics, such as a price and its average.
        return frame.select(pl.concat_str("topic", column, separator="|")).to_series().to_list()
    return frame[column].to_list()


def _numbers(
    values: Sequence[str | None], by_value: Mapping[str, tuple[Subscription, ...]]
) -> dict[Subscription, list[int]]:
    """Return the numbers of the rows that each subscription wants."""
    numbers: dict[Subscription, list[int]] = {}
    for at, value in enumerate(values):
        for one in () if value is None else by_value.get(value, ()):
            numbers.setdefault(one, []).append(at)
    return numbers


class Registry:
    """All subscriptions, and how many of them want each key."""

    def __init__(self) -> None:
        self.active: dict[str, Subscription] = {}
        self.routes = Routes()
        self._wanted: Counter[tuple[Channel, str]] = Counter()

    def add(self, subscription: Subscription) -> None:
        """Count one more reader of its keys."""
        self.active[subscription.id] = subscription
        self.routes.add(subscription)
        self.extend(subscription, subscription.keys, new=False)

    def extend(self, subscription: Subscription, keys: Iterable[str], *, new: bool = True) -> None:
        """Count further keys of a subscription."""
        for key in keys:
            self._wanted[subscription.channel_of(key), key] += 1
            if new:
                subscription.keys.append(key)

    def select(self, subscription: Subscription, values: Sequence[str]) -> None:
        """Add rows that belong to a subscription, unless all do."""
        if subscription.selects is not None:
            subscription.selects.update(values)
            self.routes.extend(subscription, values)

    def shrink(self, subscription: Subscription, keys: Iterable[str]) -> list[str]:
        """Count keys of a subscription off; return those that nobody wants any more."""
        unwanted: list[str] = []
        named = set(keys)
        gone = [key for key in subscription.keys if key in named]
        subscription.keys[:] = [key for key in subscription.keys if key not in named]
        for key in gone:
            wanted = subscription.channel_of(key), key
            self._wanted[wanted] -= 1
            if not self._wanted[wanted]:
                del self._wanted[wanted]
                unwanted.append(key)
        return unwanted

    def remove(self, subscription_id: str) -> tuple[Subscription, list[str]]:
        """Forget a subscription; return it, and the keys that nobody wants any more.

        Raises:
            ValueError: there is none with this id.
        """
        subscription = self.active.pop(subscription_id, None)
        if subscription is None:
            known = ", ".join(self.active) or "none"
            raise ValueError(f"no subscription {subscription_id!r}; active are: {known}")
        self.routes.remove(subscription)
        return subscription, self.shrink(subscription, list(subscription.keys))

    def wants(self, channel: Channel, key: str) -> bool:
        """Return whether a subscription wants a key."""
        return (channel, key) in self._wanted

    def uses(self, channel: Channel) -> bool:
        """Return whether a subscription is left on a channel."""
        return any(one.channel == channel for one in self.active.values())
