"""How new rows and gaps reach the readers of subscriptions and those who listen to everything."""

import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from itertools import groupby

import msgspec
import polars as pl

from pmlive.events import Gap
from pmlive.manager.registry import BY_MESSAGE, Registry, Share
from pmlive.manager.subscriptions import Consumer, Mailbox, Subscription, SubscriptionType, Update
from pmlive.times import moment

__all__ = ["NEWEST", "News", "deliver"]

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
        one.type for one in registry.active.values() if one.mailboxes or one.type not in BY_MESSAGE
    }
    shares = list(registry.routes.shares(frames, needed))
    for share in shares:
        if share.subscription.type not in BY_MESSAGE:
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
