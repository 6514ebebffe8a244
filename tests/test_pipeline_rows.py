"""Every kind of message becomes its row, and no message whatever spoils the rows of others."""

import json
from random import Random
from typing import cast

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from recorded import Frame, every_frame
from support.examples import examples
from support.night import Night

from pmlive._wire import decode
from pmlive.events import Control
from pmlive.tables import SCHEMAS

_FRAMES = every_frame()
_TABLES = {
    "BookSnapshot": "book_snapshots",
    "PriceChange": "book_deltas",
    "Trade": "trades",
    "TickSizeChange": "market_events",
    "NewMarket": "market_events",
    "MarketResolved": "market_events",
    "UserOrder": "user_orders",
    "UserTrade": "user_trades",
    "Activity": "activity",
    "ReferencePrice": "reference_prices",
}
# What no field expects: numbers of any length, texts of any kind, other types.
_NASTY: list[object] = [
    *(None, True, 0, -1, 2**32, 2**63 - 1, 2**63, 2**64, -(2**63) - 1, 10**40, 1e308, 1.5, [], {}, ["a"], {"a": 1}),
    *("", "\ud800", "\x00", "NaN", "Infinity", "-0", "1e5", "9" * 41, "0." + "9" * 45, "1.0000001", "x" * 3000),
    *("8999999999999", 9_000_000_000, 8_999_999_999_999, 17_900_000_000_000_000_000),
]


def tokens_in(value: object) -> set[str]:
    if isinstance(value, dict):
        fields = cast("dict[str, object]", value)
        named = {field for key in ("asset_id", "asset") if isinstance(field := fields.get(key), str)}
        return named.union(*(tokens_in(field) for field in fields.values()))
    if isinstance(value, list):
        return set[str]().union(*map(tokens_in, cast("list[object]", value)))
    return set()


def told(frame: Frame) -> Night:
    night = Night()
    tokens = tokens_in(json.loads(frame["frame"])) if frame["channel"] == "market" else set[str]()
    night.open(0, 1, sorted(tokens), channel=frame["channel"])
    night.frame(1, frame["frame"], channel=frame["channel"])
    return night


def spoilt(random: Random, value: object) -> object:
    """Change something somewhere in a message."""
    if isinstance(value, dict) and value:
        fields = dict(cast("dict[str, object]", value))
        key = random.choice(list(fields))
        chance = random.random()
        if chance < 0.15:
            del fields[key]
        else:
            fields[key] = random.choice(_NASTY) if chance < 0.6 else spoilt(random, fields[key])
        return fields
    if isinstance(value, list) and value:
        items = list(cast("list[object]", value))
        at = random.randrange(len(items))
        items[at] = spoilt(random, items[at])
        return items
    return random.choice(_NASTY)


@pytest.mark.parametrize("name", _FRAMES)
def test_each_recorded_message_makes_its_rows(name: str) -> None:
    frame = _FRAMES[name]
    night = told(frame)
    night.end(5000)

    frames = night.frames()
    made = {table for table, rows in frames.items() if rows.height} - {"prices", "depth", "checks", "gaps"}

    # What is of a kind that nobody knows is told, and that the venue says that something is wrong.
    events = decode(frame["channel"], frame["frame"])
    is_told = bool(night.pipeline.unknown) or any(isinstance(one, Control) and one.word == "error" for one in events)
    told_of = ["late opening book", "malformed"] if is_told else ["late opening book"]
    assert "gaps" not in frames or frames["gaps"]["cause"].is_in(told_of).all()
    assert made == {_TABLES[kind] for kind in frame["events"] if kind in _TABLES}
    assert night.pipeline.counts.get("malformed", 0) == 0


@examples(400)
@given(st.integers(0, 2**32 - 1))
def test_a_spoilt_message_never_spoils_the_rows_of_others(seed: int) -> None:
    """Found so: a whole number of more than 64 bits made every later drain fail, and its rows were lost."""
    random = Random(seed)
    frame = _FRAMES[random.choice(list(_FRAMES))]
    night = told(frame)
    before = {table: rows.height for table, rows in night.frames().items()}
    text = json.dumps(spoilt(random, json.loads(frame["frame"])))

    night.frame(10, text, channel=frame["channel"])
    night.end(5000)

    after = night.frames()
    for table, height in before.items():
        assert after[table].height >= height
    for table, rows in after.items():
        assert rows.schema == SCHEMAS[table]
    seen = night.pipeline.counts
    assert sum(seen.values()) >= 1 or frame["events"] == []


def test_a_number_that_no_column_can_hold_is_malformed_and_told() -> None:
    frame = _FRAMES["nautilus_trader-2026-07-02: ws_user_trade"]
    message = json.loads(frame["frame"]) | {"bucket_index": 2**63}
    night = told(frame)

    night.frame(10, json.dumps(message), channel="user")
    night.frame(20, json.dumps(message | {"bucket_index": 2}), channel="user")

    assert night.table("user_trades").height == 2
    assert night.pipeline.counts["malformed"] == 1
    assert night.gaps() == [(message["asset_id"], "malformed", 10, 10)]


def test_sizes_and_prices_are_the_numbers_of_their_texts() -> None:
    night = told(_FRAMES["netqo-2026-08-14: trade"])
    text = json.loads(_FRAMES["netqo-2026-08-14: trade"]["frame"])

    row = night.table("trades").row(0, named=True)

    assert row["price"] == float(text["price"])
    assert row["size"] == float(text["size"])
    assert row["side"] == text["side"].lower()
    assert row["sign_source"] == "feed"
    assert night.table("trades")["ts_event"].cast(pl.Int64).to_list() == [int(text["timestamp"]) * 1_000_000]
