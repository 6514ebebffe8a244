"""Updates and gaps, from rows that are complete, for subscriptions and for those who hear of everything."""

import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import cast

import polars as pl

from pmlive.events import Gap
from pmlive.manager.mailbox import Consumer, Mailbox, Update
from pmlive.manager.subscriptions import TABLES, Subscription, SubscriptionType
from pmlive.times import moment

__all__ = ["NEWEST", "News", "deliver", "hand_out"]

# Of these tables, the newest row of each token is enough.
NEWEST = frozenset({"prices", "depth"})
# Subscriptions whose events are the messages of their tokens, most of which make no row that is handed out.
_BY_MESSAGE: tuple[SubscriptionType, ...] = ("orderbook_updates", "watch")
# Prices and books of many tokens change faster than anybody reads: each update puts the next hand-out off by so many
# seconds, but never for longer than the second.
_PUT_OFF = 0.002
_LONGEST = 1.0


def deliver(
    subscriptions: Iterable[Subscription],
    frames: Mapping[str, pl.DataFrame],
    labels: Mapping[str, str],
    heard: Mapping[str, int],
) -> None:
    """Give each subscription its share of new rows; ``heard`` counts the new messages of each token."""
    for subscription in subscriptions:
        if subscription.type in _BY_MESSAGE:
            subscription.count(sum(heard.get(token_id, 0) for token_id in subscription.keys))
        else:
            _count(subscription, frames)
        if subscription.mailboxes:
            hand_out(subscription, frames, labels, tuple(subscription.mailboxes))


def _mine(subscription: Subscription, frame: pl.DataFrame, column: str) -> pl.DataFrame:
    if subscription.type == "market_resolution":
        frame = frame.filter(pl.col("kind") == "market_resolved")
    if subscription.selects is None:
        return frame
    if subscription.type == "reference_prices":
        # One symbol is had of several topics, such as a price and its average.
        return frame.filter(pl.concat_str("topic", "symbol", separator="|").is_in(list(subscription.selects)))
    return frame.filter(pl.col(column).is_in(list(subscription.selects)))


def _count(subscription: Subscription, frames: Mapping[str, pl.DataFrame]) -> None:
    tables, column = TABLES[subscription.type]
    for table in tables:
        if table not in frames:
            continue
        subscription.count(_mine(subscription, frames[table], column).height)


def hand_out(
    subscription: Subscription,
    frames: Mapping[str, pl.DataFrame],
    labels: Mapping[str, str],
    mailboxes: Sequence[Mailbox],
) -> int:
    """Leave a subscription's share of new rows in mailboxes; tell how many updates it was."""
    given = 0
    tables, column = TABLES[subscription.type]
    for table in tables:
        if table not in frames:
            continue
        mine = _mine(subscription, frames[table], column)
        if table in NEWEST:
            mine = mine.unique("token_id", keep="last", maintain_order=True)
        for row in mine.iter_rows(named=True):
            update = _update(subscription, table, row, labels)
            key = (subscription.id, table, row["token_id"]) if table in NEWEST else None
            for mailbox in mailboxes:
                mailbox.put(update, key=key)
        given += mine.height
    return given


def _update(subscription: Subscription, table: str, row: dict[str, object], labels: Mapping[str, str]) -> Update:
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
        self._open: set[Gap] = set()
        # Rows of which the newest of each token are handed out when their time comes.
        self._waiting: dict[str, list[pl.DataFrame]] = {}
        self._due = 0.0

    def add(self, consumer: Consumer) -> None:
        """Let one more hear."""
        self._consumers = (*self._consumers, consumer)

    def remove(self, consumer: Consumer) -> None:
        """Let one hear no more; again does nothing."""
        self._consumers = tuple(one for one in self._consumers if one is not consumer)
        consumer.mailbox.close()
        if not self._consumers:
            self._waiting = {}

    def listened(self) -> bool:
        """Tell whether anybody hears."""
        return bool(self._consumers)

    def mailboxes(self) -> list[Mailbox]:
        """List where updates go."""
        return [consumer.mailbox for consumer in self._consumers]

    def rows(
        self, subscriptions: Iterable[Subscription], frames: Mapping[str, pl.DataFrame], labels: Mapping[str, str]
    ) -> None:
        """Tell what subscriptions get, which of prices and books is the newest row of each token in its time."""
        at_once = dict(frames)
        for table in NEWEST & at_once.keys():
            self._waiting.setdefault(table, []).append(at_once.pop(table))
        now = time.monotonic()
        if now >= self._due:
            at_once |= {table: pl.concat(waiting) for table, waiting in self._waiting.items()}
            self._waiting.clear()
        given = sum(hand_out(one, at_once, labels, self.mailboxes()) for one in subscriptions)
        if now >= self._due:
            self._due = now + min(given * _PUT_OFF, _LONGEST)

    def gaps(self, still_open: Iterable[Gap], written: pl.DataFrame | None, labels: Mapping[str, str]) -> None:
        """Tell of gaps that began since the last call, and of those that ended."""
        now_open = set(still_open)
        for gap in sorted(now_open - self._open, key=lambda gap: gap.started):
            self._tell(_began(gap), labels)
        self._open = now_open
        if written is not None:
            for row in written.filter(pl.col("ended").is_not_null()).iter_rows(named=True):
                self._tell(_ended(row), labels)

    def close(self) -> None:
        """Let nobody hear any more."""
        for consumer in self._consumers:
            self.remove(consumer)

    def _tell(self, told: Update, labels: Mapping[str, str]) -> None:
        update = {"type": "gap", **told, "untrusted_label": labels.get(str(told["token_id"]), "")}
        for mailbox in self.mailboxes():
            mailbox.put(update)


def _began(gap: Gap) -> Update:
    return {
        "table": "gaps",
        "state": "began",
        "token_id": gap.token_id,
        "started": moment(gap.started).isoformat(),
        "ended": None,
        "cause": gap.cause,
        "detail": gap.detail,
        "conn": gap.conn,
    }


def _ended(row: Mapping[str, object]) -> Update:
    times = {name: cast("datetime", row[name]).isoformat() for name in ("started", "ended")}
    rest = {name: row[name] for name in ("token_id", "cause", "detail", "conn")}
    return {"table": "gaps", "state": "ended", **rest, **times}
