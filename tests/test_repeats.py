"""Messages that the venue sends again are applied once and counted: from any connection, and after any cut."""

import json
from collections.abc import Mapping
from random import Random

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal
from support.examples import examples
from support.night import Night, now, stored
from support.venue import START, Venue

from pmlive import _wire
from pmlive.events import Channel, Event
from pmlive.pipeline.journal import rebuild
from pmlive.pipeline.repeats import Repeats

Message = dict[str, object]

TRADE: Message = {
    "event_type": "last_trade_price",
    "market": "0xm",
    "asset_id": "1",
    "price": "0.5",
    "size": "2.46",
    "side": "SELL",
    "timestamp": str(START),
    "transaction_hash": "0x6c83",
    "fee_rate_bps": "0",
}
TICK: Message = {
    "event_type": "tick_size_change",
    "market": "0xm",
    "asset_id": "1",
    "old_tick_size": "0.01",
    "new_tick_size": "0.001",
    "timestamp": str(START),
}
NEW: Message = {
    "event_type": "new_market",
    "market": "0xnew",
    "timestamp": str(START),
    "assets_ids": ["8", "9"],
    "fee_schedule": {"rate": 0.07, "exponent": 1},
}
RESOLVED: Message = {
    "event_type": "market_resolved",
    "market": "0xm",
    "timestamp": str(START),
    "assets_ids": ["1", "2"],
    "winning_asset_id": "1",
    "winning_outcome": "Yes",
}
ORDER: Message = {
    "event_type": "order",
    "id": "0xo",
    "market": "0xm",
    "asset_id": "1",
    "timestamp": str(START),
    "type": "PLACEMENT",
    "side": "BUY",
    "price": "0.5",
    "original_size": "5",
    "status": "LIVE",
}
FILL: Message = {
    "event_type": "trade",
    "id": "t-1",
    "market": "0xm",
    "asset_id": "1",
    "side": "BUY",
    "price": "0.5",
    "size": "5",
    "status": "MATCHED",
    "timestamp": str(START),
}
ACTIVITY: Message = {
    "asset": "1",
    "conditionId": "0xm",
    "timestamp": START // 1000,
    "price": 0.5,
    "size": 3.0,
    "side": "BUY",
    "proxyWallet": "0xw",
    "transactionHash": "0x6c83",
    "name": "heron",
}
PRICE: Message = {"symbol": "btc/usd", "timestamp": START, "value": 67234.5}


def topical(topic: str, payload: Message, kind: str = "update") -> Message:
    return {"topic": topic, "type": kind, "timestamp": START, "payload": payload}


# One message of each kind, its channel, its table, and a change that makes it another.
KINDS: dict[str, tuple[Channel, Message, str, Message]] = {
    "trade": ("market", TRADE, "trades", {"size": "2.47"}),
    "trade without a transaction": ("market", TRADE | {"transaction_hash": ""}, "trades", {"side": "BUY"}),
    "tick size": ("market", TICK, "market_events", {"new_tick_size": "0.1"}),
    "new market": ("market", NEW, "market_events", {"market": "0xother"}),
    "resolution": ("market", RESOLVED, "market_events", {"market": "0xother", "assets_ids": ["8", "9"]}),
    "order": ("user", ORDER, "user_orders", {"status": "MATCHED", "size_matched": "5"}),
    "fill": ("user", FILL, "user_trades", {"status": "MINED"}),
    "activity": ("realtime", topical("activity", ACTIVITY, "trades"), "activity", {"type": "orders_matched"}),
    "price": (
        "realtime",
        topical("crypto_prices_chainlink", PRICE),
        "reference_prices",
        {"payload": PRICE | {"value": 67234.6}},
    ),
}


def listening() -> Night:
    night, venue = Night(), Venue()
    night.open(0, 1, ["1"])
    for conn, channel in enumerate(("market", "user", "realtime", "prices"), 2):
        night.open(0, conn, [], channel=channel)  # pyright: ignore[reportArgumentType]
    night.frame(0, venue.opening())
    return night


def hear(night: Night, at: float, message: Mapping[str, object], channel: Channel, conn: int | None = None) -> None:
    conns = {"market": 1, "user": 3, "realtime": 4, "prices": 5}
    night.frame(at, json.dumps(message), conn=conn or conns[channel], channel=channel)


@pytest.mark.parametrize("name", KINDS)
def test_a_message_that_comes_again_is_one_row_and_one_that_differs_is_another(name: str) -> None:
    channel, message, table, change = KINDS[name]
    night = listening()

    for at in (10, 12, 14, 600):
        hear(night, at, message, channel)
    hear(night, 605, message | change, channel)
    hear(night, 606, message, channel)

    assert night.table(table).height == 2
    assert night.pipeline.duplicates == {table: 4}


def test_a_trade_is_told_by_its_transaction_whatever_comes_between_and_by_which_connection() -> None:
    """Seen twice 2 ms apart; an outcome's trades come to whoever has the other, too."""
    night = listening()

    hear(night, 10, TRADE, "market")
    hear(night, 11, NEW, "market")
    hear(night, 12, TRADE | {"price": "0.500", "fee_rate_bps": ""}, "market")
    hear(night, 60_000, TRADE, "market", conn=2)

    assert night.table("trades").height == 1
    assert night.pipeline.duplicates == {"trades": 2}


@pytest.mark.parametrize(
    "difference",
    [
        {"transaction_hash": "0x6c84"},
        {"price": "0.51"},
        {"size": "2.45"},
        {"side": "BUY"},
        {"timestamp": str(START + 1)},
    ],
)
def test_a_trade_that_differs_in_anything_that_tells_it_is_another(difference: Message) -> None:
    night = listening()

    hear(night, 10, TRADE, "market")
    hear(night, 10, TRADE | difference, "market")

    assert night.table("trades").height == 2
    assert night.pipeline.duplicates == {}


def test_trades_without_a_transaction_are_the_same_only_on_one_connection_and_within_a_second() -> None:
    night = listening()
    bare = TRADE | {"transaction_hash": ""}

    hear(night, 10, bare, "market")
    hear(night, 900, bare, "market")
    hear(night, 901, bare, "market", conn=2)
    hear(night, 2_000, bare, "market")

    assert night.table("trades").height == 3
    assert night.pipeline.duplicates == {"trades": 1}


@pytest.mark.parametrize("told", [{}, {"winning_outcome": ""}, {"timestamp": str(START + 900)}, {"assets_ids": ["1"]}])
@pytest.mark.parametrize("token_ids", [["1", "2"], ["8", "9"]])
def test_a_resolution_that_is_told_in_other_words_is_the_same(token_ids: list[str], told: Message) -> None:
    """Of a market that is followed, and of one that is not."""
    night = listening()
    first = RESOLVED | {"assets_ids": token_ids}

    hear(night, 10, first, "market")
    hear(night, 20, first | told, "market", conn=2)
    night.open(40, 6, ["1"])
    hear(night, 50, first | told, "market", conn=6)

    assert night.table("market_events").height == 1
    assert night.pipeline.duplicates == {"market_events": 2}


def test_a_repeated_trade_does_not_announce_its_price_again() -> None:
    night = listening()

    hear(night, 10, TRADE, "market")
    hear(night, 11, TRADE | {"price": "0.52", "transaction_hash": "0x2"}, "market")
    hear(night, 12, TRADE, "market")

    assert night.token().proof.announced == "0.52"


def test_a_repeated_change_of_the_tick_size_does_not_undo_a_later_one() -> None:
    night = listening()
    back = TICK | {"old_tick_size": "0.001", "new_tick_size": "0.01", "timestamp": str(START + 5)}

    hear(night, 10, TICK, "market")
    hear(night, 15, back, "market")
    hear(night, 16, TICK, "market")

    assert night.token().proof.facts.tick_size == "0.01"


def test_each_new_market_is_one_row_however_often_every_connection_is_told() -> None:
    """146 copies of one message were seen within 45 s."""
    night = listening()

    for copy in range(146):
        hear(night, 10 + copy * 300, NEW, "market", conn=1 + copy % 2)

    assert night.table("market_events").height == 1
    assert night.pipeline.duplicates == {"market_events": 145}


def test_a_trade_of_ours_is_one_row_for_each_status_however_often_each_is_told() -> None:
    night = listening()

    for at, status in enumerate(("MATCHED", "MATCHED", "MINED", "MATCHED", "CONFIRMED", "CONFIRMED")):
        hear(night, 10 + at, FILL | {"status": status, "owner": f"canary {at}"}, "user")

    assert night.table("user_trades")["status"].to_list() == ["MATCHED", "MINED", "CONFIRMED"]


def test_a_snapshot_of_prices_adds_what_was_missed_and_nothing_twice() -> None:
    points = [{"timestamp": START + second * 1000, "value": 100.0 + second} for second in range(10)]
    night = listening()

    for point in points[:3]:
        hear(night, 10, topical("equity_prices", {"symbol": "aapl", **point}), "realtime")
    hear(night, 5_000, topical("equity_prices", {"symbol": "aapl", "data": points}, "subscribe"), "realtime")
    hear(night, 5_001, topical("equity_prices", {"symbol": "aapl", **points[-1]}), "realtime")

    prices = night.table("reference_prices")
    assert prices["value"].to_list() == [100.0 + second for second in range(10)]
    assert prices["snapshot"].to_list() == [False] * 3 + [True] * 7
    assert night.pipeline.duplicates == {"reference_prices": 4}


def test_so_much_is_remembered_and_no_more() -> None:
    repeats = Repeats()
    for number in range(5_000):
        assert not repeats.has("user_orders", _order(number), 1, number)

    assert not repeats.has("user_orders", _order(0), 1, 6_000)
    assert repeats.has("user_orders", _order(4_000), 1, 6_000)
    assert max(map(len, repeats.save().values())) < 100_000


def _order(number: int) -> Event:
    return _wire.decode("user", json.dumps(ORDER | {"id": f"0x{number}"}))[0]


def _numberless(frames: Mapping[str, pl.DataFrame]) -> dict[str, pl.DataFrame]:
    return {name: frame.drop("seq") for name, frame in stored(frames).items()}


def _told(seed: int, steps: int, *, doubled: bool, cut: int | None = None) -> tuple[Night, int, list[int]]:
    """Tell of random messages, each a second time soon after if they are to be doubled; give how many were."""
    random, night, copies, marks = Random(seed), listening(), 0, list[int]()
    for step in range(steps):
        if step == cut:
            night.note(step * 3_000, "cut", b"", 0)
            marks = [len(night.records)]
        channel, message, _, change = KINDS[random.choice(list(KINDS))]
        message = message | (change if random.random() < 0.3 else {})
        conn = random.choice((1, 2)) if channel == "market" and message.get("transaction_hash") else None
        hear(night, step * 3_000 + 1, message, channel, conn)
        copy_at = random.choice((0, 2, 400))
        if doubled:
            hear(night, step * 3_000 + 1 + copy_at, message, channel, conn)
            copies += 1
    night.end(steps * 3_000)
    return night, copies, marks


@examples(60)
@given(st.integers(0, 2**32 - 1), st.integers(1, 40))
def test_messages_that_are_all_said_twice_make_the_tables_of_those_said_once(seed: int, steps: int) -> None:
    once, _, _ = _told(seed, steps, doubled=False)
    twice, copies, _ = _told(seed, steps, doubled=True)

    left, right = _numberless(once.frames()), _numberless(twice.frames())
    for name in left:
        assert_frame_equal(left[name], right[name])
    counted = sum(twice.pipeline.duplicates.values()) - sum(once.pipeline.duplicates.values())
    assert counted == copies


@examples(25)
@given(st.integers(0, 2**32 - 1), st.integers(1, 30), st.integers(0, 29))
def test_a_repeat_is_known_in_a_part_that_is_read_alone(seed: int, steps: int, cut: int) -> None:
    night, _, marks = _told(seed, steps, doubled=True, cut=min(cut, steps - 1))
    (mark,) = marks
    again = Night()
    for record in night.records[:mark]:
        again.journal.replay(record)
    keyframes = again.journal.keyframes(now(min(cut, steps - 1) * 3_000))

    parts = rebuild(night.records[:mark]), rebuild([*keyframes, *night.records[mark:]])

    whole = _numberless(night.frames())
    for name, frame in whole.items():
        if name != "keyframes":
            joined = [stored(part)[name].drop("seq") for part in parts]
            assert_frame_equal(pl.concat(joined), frame)
