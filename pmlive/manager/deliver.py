"""Counting and handing out what subscriptions get, from rows that are complete: never on the hot path."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

import polars as pl

from pmlive.manager.mailbox import Mailbox, Update
from pmlive.manager.subscriptions import TABLES, Subscription, SubscriptionType

__all__ = ["NEWEST", "deliver", "hand_out"]

# Of these tables, the newest row of each token is enough.
NEWEST = frozenset({"prices", "depth"})
# Subscriptions whose events are the messages of their tokens, most of which make no row that is handed out.
_BY_MESSAGE: tuple[SubscriptionType, ...] = ("orderbook_updates", "watch")


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
