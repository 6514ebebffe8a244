"""Which keys are wanted by whom, and how new rows and gaps reach subscriptions and those who listen."""

import time
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import groupby
from typing import NamedTuple

import msgspec
import polars as pl

from pmlive.events import Channel, Gap
from pmlive.manager.subscriptions import TABLES, Consumer, Mailbox, Subscription, SubscriptionType, Update
from pmlive.times import moment

__all__ = [
    "NEWEST",
    "News",
    "Registry",
    "Share",
    "deliver",
]


# --- who wants what ---
# All subscriptions of a manager: which keys are still wanted, and which new rows and messages belong to which.

# Subscriptions whose events are the messages of their tokens, most of which make no row that is handed out.
_BY_MESSAGE: tuple[SubscriptionType, ...] = ("orderbook_updates", "watch")


class Share(NamedTuple):
    """The numbers of the new rows of a table that belong to a subscription."""

    subscription: Subscription
    table: str
    frame: pl.DataFrame
    numbers: Sequence[int]


class _Routes:
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
        for type_ in _BY_MESSAGE:
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
        self.routes = _Routes()
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


# --- delivery ---

# Of these tables, the newest row of each token is enough.
NEWEST = frozenset({"prices", "depth"})
# Prices and books of many tokens change faster than anybody reads: each update puts the next hand-out off by so many
# seconds, but never for longer than the second.
_PUT_OFF = 0.002
_LONGEST = 1.0


def deliver(
    registry: Registry, frames: Mapping[str, pl.DataFrame], labels: Mapping[str, str], heard: Mapping[str, int]
) -> None:
    """Hand each subscription its share of new rows; ``heard`` counts the new messages of each token."""
    counts = registry.routes.messages(heard)
    needed: set[SubscriptionType] = {
        one.type for one in registry.active.values() if one.mailboxes or one.type not in _BY_MESSAGE
    }
    shares = list(registry.routes.shares(frames, needed))
    for share in shares:
        if share.subscription.type not in _BY_MESSAGE:
            counts[share.subscription] += len(share.numbers)
    for subscription, events in counts.items():
        subscription.count(events)
    _hand_out([share for share in shares if share.subscription.mailboxes], labels)


def _hand_out(shares: Sequence[Share], labels: Mapping[str, str], mailboxes: Sequence[Mailbox] | None = None) -> int:
    """Leave new rows in the mailboxes of their subscriptions, or in given ones; return the number of updates."""
    given = 0
    for _, group in groupby(shares, key=lambda share: id(share.frame)):
        of_one_frame = list(group)
        rows = _named_rows(of_one_frame)
        for share in of_one_frame:
            given += _leave(
                share, rows, labels, tuple(share.subscription.mailboxes) if mailboxes is None else mailboxes
            )
    return given


def _named_rows(shares: Sequence[Share]) -> Mapping[int, Mapping[str, object]]:
    """Return the rows of a table that any share has, by their numbers: rows that several have are made once."""
    numbers = sorted({number for share in shares for number in share.numbers})
    return dict(zip(numbers, shares[0].frame[numbers].iter_rows(named=True), strict=True))


def _leave(
    share: Share, rows: Mapping[int, Mapping[str, object]], labels: Mapping[str, str], mailboxes: Sequence[Mailbox]
) -> int:
    subscription, table, numbers = share.subscription, share.table, share.numbers
    if table in NEWEST:
        numbers = sorted({rows[number]["token_id"]: number for number in numbers}.values())
    for number in numbers:
        row = rows[number]
        update = _update(subscription, table, row, labels)
        key = (subscription.id, table, row["token_id"]) if table in NEWEST else None
        for mailbox in mailboxes:
            mailbox.put(update, key=key)
    return len(numbers)


def _update(subscription: Subscription, table: str, row: Mapping[str, object], labels: Mapping[str, str]) -> Update:
    values = {name: value.isoformat() if isinstance(value, datetime) else value for name, value in row.items()}
    if table == "depth":
        for name in ("bid_prices", "bid_sizes", "ask_prices", "ask_sizes"):
            values[name] = values[name][: subscription.depth]  # pyright: ignore[reportIndexIssue]  # a list column
    label = labels.get(str(row.get("token_id")), "")
    told = {"subscription_id": subscription.id, "table": table, "untrusted_label": label}
    return {"type": subscription.type, **values, **told}


class News:
    """The listeners of a manager; all but ``add`` and ``remove`` run in its thread."""

    def __init__(self) -> None:
        # Replaced and never changed, so that one thread can read it while another adds.
        self._consumers: tuple[Consumer, ...] = ()
        # Rows of which the newest of each token are handed out when their time comes.
        self._waiting: dict[str, list[pl.DataFrame]] = {}
        self._due = 0.0

    def add(self, consumer: Consumer) -> None:
        """Add a listener."""
        self._consumers = (*self._consumers, consumer)

    def remove(self, consumer: Consumer) -> None:
        """Remove a listener; do nothing if it is removed already."""
        self._consumers = tuple(one for one in self._consumers if one is not consumer)
        consumer.mailbox.close()
        if not self._consumers:
            self._waiting = {}

    def listened(self) -> bool:
        """Return whether there is a listener."""
        return bool(self._consumers)

    def mailboxes(self) -> list[Mailbox]:
        """List where updates go."""
        return [consumer.mailbox for consumer in self._consumers]

    def rows(self, registry: Registry, frames: Mapping[str, pl.DataFrame], labels: Mapping[str, str]) -> None:
        """Hand on what is new to any subscription; of prices and books the newest of each token, when it is due."""
        at_once = dict(frames)
        for table in NEWEST & at_once.keys():
            self._waiting.setdefault(table, []).append(at_once.pop(table))
        now = time.monotonic()
        if now >= self._due:
            at_once |= {table: pl.concat(waiting) for table, waiting in self._waiting.items()}
            self._waiting.clear()
        types: set[SubscriptionType] = {one.type for one in registry.active.values()}
        given = _hand_out(list(registry.routes.shares(at_once, types)), labels, self.mailboxes())
        if now >= self._due:
            self._due = now + min(given * _PUT_OFF, _LONGEST)

    def gaps(self, still_open: Iterable[Gap], written: pl.DataFrame | None, labels: Mapping[str, str]) -> None:
        """Hand on the gaps that began since the last call, and those that ended: of each first that it began."""
        ended = [] if written is None else _ended(written)
        now_open = set(still_open)
        begun = now_open.union(msgspec.structs.replace(gap, ended=None) for gap in ended)
        for consumer in self._consumers:
            news = sorted(begun - consumer.open_gaps, key=lambda gap: gap.started)
            for gap in news + ended:
                consumer.mailbox.put(_gap_update(gap, labels))
            consumer.open_gaps = now_open

    def close(self) -> None:
        """Remove every listener."""
        for consumer in self._consumers:
            self.remove(consumer)


def _ended(written: pl.DataFrame) -> list[Gap]:
    """Return the gaps that ended, of new rows of the table ``gaps``."""
    rows = written.filter(pl.col("ended").is_not_null()).with_columns(pl.col("started", "ended").dt.epoch("ns"))
    return [Gap(**row) for row in rows.select(Gap.__struct_fields__).iter_rows(named=True)]


def _gap_update(gap: Gap, labels: Mapping[str, str]) -> Update:
    return {
        "type": "gap",
        "table": "gaps",
        "state": "began" if gap.ended is None else "ended",
        "token_id": gap.token_id,
        "started": moment(gap.started).isoformat(),
        "ended": None if gap.ended is None else moment(gap.ended).isoformat(),
        "cause": gap.cause,
        "detail": gap.detail,
        "conn": gap.conn,
        "untrusted_label": labels.get(str(gap.token_id), ""),
    }
