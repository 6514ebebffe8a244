"""Counting and handing out what subscriptions get, from rows that are complete: never on the hot path."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

import polars as pl

from pmlive.manager.mailbox import Update
from pmlive.manager.subscriptions import TABLES, Subscription, SubscriptionType

__all__ = ["deliver"]

# What is handed out, where that is not every row that counts; of these tables, the newest row of each token is enough.
_HANDED_OUT: dict[SubscriptionType, tuple[str, ...]] = {
    "orderbook_updates": ("depth",),
    "watch": ("prices", "depth", "trades", "market_events"),
}
_NEWEST = ("prices", "depth")


def deliver(
    subscriptions: Iterable[Subscription], frames: Mapping[str, pl.DataFrame], labels: Mapping[str, str]
) -> None:
    """Give each subscription its share of new rows."""
    for subscription in subscriptions:
        _count(subscription, frames)
        if subscription.mailboxes:
            _hand_out(subscription, frames, labels)


def _mine(subscription: Subscription, frame: pl.DataFrame, column: str) -> pl.DataFrame:
    if subscription.type == "market_resolution":
        frame = frame.filter(pl.col("kind") == "market_resolved")
    if subscription.selects is None:
        return frame
    return frame.filter(pl.col(column).is_in(list(subscription.selects)))


def _count(subscription: Subscription, frames: Mapping[str, pl.DataFrame]) -> None:
    tables, column = TABLES[subscription.type]
    for table in tables:
        if table not in frames:
            continue
        mine = _mine(subscription, frames[table], column)
        if mine.height:
            subscription.events_received += mine.height
            subscription.last_event = datetime.now(UTC)


def _hand_out(subscription: Subscription, frames: Mapping[str, pl.DataFrame], labels: Mapping[str, str]) -> None:
    tables, column = TABLES[subscription.type]
    for table in _HANDED_OUT.get(subscription.type, tables):
        if table not in frames:
            continue
        mine = _mine(subscription, frames[table], column)
        if table in _NEWEST:
            mine = mine.unique("token_id", keep="last", maintain_order=True)
        for row in mine.iter_rows(named=True):
            update = _update(subscription, table, row, labels)
            for mailbox in tuple(subscription.mailboxes):
                mailbox.put(update, key=(table, row["token_id"]) if table in _NEWEST else None)


def _update(subscription: Subscription, table: str, row: dict[str, object], labels: Mapping[str, str]) -> Update:
    values = {name: value.isoformat() if isinstance(value, datetime) else value for name, value in row.items()}
    if table == "depth":
        for name in ("bid_prices", "bid_sizes", "ask_prices", "ask_sizes"):
            values[name] = values[name][: subscription.depth]  # pyright: ignore[reportIndexIssue]  # a list column
    label = labels.get(str(row.get("token_id")), "")
    told = {"subscription_id": subscription.id, "table": table, "untrusted_label": label}
    return {"type": subscription.type, **values, **told}
