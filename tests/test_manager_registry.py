"""Which new rows and messages belong to which of many subscriptions."""

from collections.abc import Mapping, Sequence
from typing import cast

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pmlive.events import Channel
from pmlive.manager.delivery import Registry, deliver
from pmlive.manager.subscriptions import TABLES, Mailbox, Subscription, SubscriptionType

VALUES = st.sampled_from([*"abcd"])
ROWS = st.lists(st.fixed_dictionaries(dict.fromkeys(("token_id", "market", "event_slug", "symbol", "topic"), VALUES)))
LEVELS = ("bid_prices", "bid_sizes", "ask_prices", "ask_sizes")
COLUMNS = ("token_id", "market", "event_slug", "symbol", "topic", "kind", "number", *LEVELS)
FRAMES = st.dictionaries(st.sampled_from(sorted({table for tables, _ in TABLES.values() for table in tables})), ROWS)
WANTED = st.lists(st.tuples(st.sampled_from(list(TABLES)), st.none() | st.sets(VALUES)), max_size=8)


def table(rows: Sequence[Mapping[str, str]]) -> pl.DataFrame:
    """Make a table in which some markets were resolved and others are new."""
    kinds = ("market_resolved", "new_market")
    levels = {name: [0.5] for name in LEVELS}
    made: list[dict[str, object]] = [
        {**row, **levels, "number": at, "kind": kinds[at % 2]} for at, row in enumerate(rows)
    ]
    return pl.DataFrame(made) if made else pl.DataFrame(schema=dict.fromkeys(COLUMNS, pl.String))


def subscription(type_: SubscriptionType, selects: set[str] | None) -> Subscription:
    if selects and type_ == "reference_prices":
        selects = {f"{topic}|{symbol}" for symbol in selects for topic in "ab"}
    made = Subscription(type_, "market", sorted(selects or ()), selects=selects)
    made.mailboxes.append(Mailbox(10_000))
    return made


def belonging(one: Subscription, frames: Mapping[str, pl.DataFrame]) -> list[tuple[str, object]]:
    """Find by filters what belongs to a subscription: of prices and books, the newest of each token."""
    found: list[tuple[str, object]] = []
    tables, column = TABLES[one.type]
    for name in (name for name in tables if name in frames):
        value = pl.concat_str("topic", "symbol", separator="|") if one.type == "reference_prices" else pl.col(column)
        rows = frames[name].filter(pl.lit(one.selects is None) | value.is_in(sorted(one.selects or ())))
        if one.type == "market_resolution":
            rows = rows.filter(pl.col("kind") == "market_resolved")
        if name in ("prices", "depth"):
            rows = rows.unique("token_id", keep="last", maintain_order=True)
        found += [(name, number) for number in rows["number"]]
    return found


def taken(one: Subscription) -> list[tuple[object, object]]:
    """Take what lies in the mailbox of a subscription."""
    (mailbox,) = one.mailboxes
    mailbox.closed = True
    updates = iter(mailbox.get, None)
    return [(update["table"], update["number"]) for update in updates]


@given(FRAMES, WANTED)
def test_each_subscription_gets_what_a_filter_would_give_it(
    rows: dict[str, list[dict[str, str]]], wanted: list[tuple[SubscriptionType, set[str] | None]]
) -> None:
    frames = {name: table(each) for name, each in rows.items()}
    registry, subscriptions = Registry(), [subscription(*each) for each in wanted]
    for one in subscriptions:
        registry.add(one)
    gone = subscriptions[::3]
    for one in gone:
        registry.remove(one.id)

    deliver(registry, frames, {}, {})

    for one in subscriptions:
        assert sorted(taken(one), key=str) == ([] if one in gone else sorted(belonging(one, frames), key=str))


def test_messages_count_for_whoever_follows_their_tokens() -> None:
    registry = Registry()
    books = subscription("orderbook_updates", {"a", "b"})
    watch, prices = subscription("watch", {"b", "c"}), subscription("market_prices", {"a"})
    for one in (books, watch, prices):
        registry.add(one)
    registry.select(watch, ["d"])

    deliver(registry, {}, {}, {"a": 1, "b": 20, "c": 300, "d": 4000})

    assert [one.events_received for one in (books, watch, prices)] == [21, 4320, 0]


@pytest.mark.parametrize("channel", ["market", "user"])
def test_a_key_is_wanted_until_its_last_subscription_is_gone(channel: str) -> None:
    registry = Registry()
    first, second = (Subscription("watch", cast("Channel", channel), [*keys], selects=keys) for keys in ("ab", "bc"))
    registry.add(first)
    registry.add(second)

    _, unwanted = registry.remove(first.id)

    assert unwanted == ["a"]
    # What it does not have cannot be taken from it.
    assert registry.shrink(second, ["a", "x"]) == []
    assert [registry.wants(cast("Channel", channel), key) for key in "abc"] == [False, True, True]
    assert sorted(registry.remove(second.id)[1]) == ["b", "c"]
