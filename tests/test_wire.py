"""What the venue sends is read whatever it looks like, and what is sent to the venue has the form it expects."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from random import Random
from typing import TypeAlias, cast, get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from recorded import every_frame, fields, frames

from pmlive import _wire
from pmlive._wire import complaint, decode, decode_book, withhold_owner
from pmlive.errors import ProtocolError
from pmlive.events import (
    Activity,
    BookSnapshot,
    Channel,
    Comment,
    Control,
    Event,
    Malformed,
    MarketResolved,
    NewMarket,
    PriceChange,
    ReferencePrice,
    StreamNumber,
    Trade,
    Unknown,
    UserOrder,
    UserTrade,
    epoch_ns,
)

Json: TypeAlias = dict[str, object]

_CHANNELS: tuple[Channel, ...] = get_args(Channel)
_FRAMES = every_frame()
_MARKET_FRAMES = {name: frame for name, frame in _FRAMES.items() if frame["channel"] == "market"}

_TRADE = (
    '{"event_type":"last_trade_price","asset_id":"1","market":"0x1",'
    '"price":"0.5","size":"2","side":"BUY","timestamp":"1786728467101"}'
)
_OWNER = "4c9a2f5e-dead-beef-0000-5ec4e75ec4e7"

channels = st.sampled_from(_CHANNELS)
numbers = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
scalars = st.none() | st.booleans() | numbers | st.text()
names = st.sampled_from(
    [
        "event_type",
        "asset_id",
        "market",
        "price_changes",
        "changes",
        "price",
        "size",
        "side",
        "bids",
        "asks",
        "timestamp",
        "hash",
        "payload",
        "topic",
        "type",
        "data",
        "channel",
        "op",
        "symbol",
        "value",
        "owner",
        "maker_orders",
        "dropped",
        "gameId",
        "event_message",
    ]
)
anything = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names | st.text(), inner, max_size=6)
)


def one(channel: Channel, message: object) -> Event:
    [event] = decode(channel, json.dumps(message))
    return event


def message_of(source: str, name: str) -> Json:
    return cast("Json", json.loads(frames(source)[name]["frame"]))


def in_our_words(event: Event) -> Json:
    return cast("Json", fields(event))


@given(channels, st.binary())
def test_no_bytes_raise(channel: Channel, data: bytes) -> None:
    assert all(isinstance(event, Event) for event in decode(channel, data))


@given(channels, st.text())
def test_no_text_raises(channel: Channel, data: str) -> None:
    assert all(isinstance(event, Event) for event in decode(channel, data))


@given(channels, anything)
def test_no_json_raises(channel: Channel, message: object) -> None:
    assert all(isinstance(event, Event) for event in decode(channel, json.dumps(message)))


@given(st.sampled_from(sorted(_FRAMES)), st.data())
def test_a_frame_with_one_value_changed_does_not_raise(name: str, data: st.DataObject) -> None:
    frame = _FRAMES[name]
    message = json.loads(frame["frame"])
    node: object = message
    while isinstance(node, dict | list) and node:
        inner = cast("dict[str, object] | list[object]", node)
        keys = list(inner) if isinstance(inner, dict) else list(range(len(inner)))
        key = data.draw(st.sampled_from(cast("list[str]", keys)))
        child = cast("Json", inner)[key]
        if not isinstance(child, dict | list) or data.draw(st.booleans()):
            cast("Json", inner)[key] = data.draw(anything)
            break
        node = cast("object", child)

    assert all(isinstance(event, Event) for event in decode(frame["channel"], json.dumps(message)))


@given(st.sampled_from(sorted(_FRAMES)), st.data())
def test_a_frame_with_bytes_damaged_does_not_raise(name: str, data: st.DataObject) -> None:
    frame = _FRAMES[name]
    damaged = bytearray(frame["frame"].encode())
    for at in data.draw(st.lists(st.integers(0, len(damaged) - 1), min_size=1, max_size=4)):
        damaged[at] = data.draw(st.integers(0, 255))

    assert all(isinstance(event, Event) for event in decode(frame["channel"], bytes(damaged)))


@given(st.sampled_from(sorted(_MARKET_FRAMES)), anything)
def test_a_message_is_read_the_same_beside_a_broken_one(name: str, broken: object) -> None:
    text = _MARKET_FRAMES[name]["frame"]
    inside = text.strip().removeprefix("[").removesuffix("]") if text.startswith("[") else text

    beside = decode("market", f'[{{"event_type":"book"}},{inside},{json.dumps({"event_type": "x", "rest": broken})}]')

    assert isinstance(beside[0], Malformed)
    assert fields(beside[1:-1]) == fields(decode("market", text))
    assert isinstance(beside[-1], Unknown)


@pytest.mark.parametrize(
    "broken",
    [
        "1",
        "null",
        "[]",
        '"PONG"',
        "{}",
        '{"event_type":"book"}',
        '{"event_type":"book","asset_id":"7","market":"0x1","timestamp":"soon","bids":[],"asks":[]}',
        '{"event_type":"last_trade_price","asset_id":"7","price":1e400}',
        '{"event_type":"price_change","market":"0x1","timestamp":"1","price_changes":7}',
        '{"event_type":"new_market","x":' + "[" * 600 + "]" * 600 + "}",
    ],
)
def test_the_siblings_of_a_broken_message_survive(broken: str) -> None:
    first, refused, last = decode("market", f"[{_TRADE},{broken},{_TRADE}]")

    assert isinstance(refused, Malformed | Unknown)
    assert [first] == decode("market", _TRADE) == [last]


def test_a_broken_message_tells_its_token_and_its_own_text() -> None:
    broken = '{"event_type": "last_trade_price", "asset_id": "7", "market": "0x1"}'

    _, refused = decode("market", f"[{_TRADE}, {broken}]")

    assert isinstance(refused, Malformed)
    assert (refused.raw, refused.reason) == (broken, "Object missing required field `timestamp`")
    assert set(refused.names) == {"7", "0x1"}


@pytest.mark.parametrize("entry", ["7", "null", "{}", '{"asset_id":"7","price":"0.5"}', '{"asset_id":["7"]}'])
def test_the_siblings_of_a_broken_level_change_survive(entry: str) -> None:
    good = '{"asset_id":"1","price":"0.5","size":"3","side":"BUY"}'
    frame = f'{{"event_type":"price_change","market":"0x1","timestamp":"5","price_changes":[{good},{entry},{good}]}}'

    change, refused = decode("market", frame)

    assert isinstance(change, PriceChange)
    assert [level.price for level in change.changes] == ["0.5", "0.5"]
    assert isinstance(refused, Malformed)


def test_the_siblings_of_a_broken_point_survive() -> None:
    message = message_of("polybolt-2026-09-08", "equity snapshot")
    points = cast("list[object]", cast("Json", message["payload"])["data"])
    points[1:3] = [7, {"timestamp": 1788886176000, "value": "nan"}]

    kinds = [type(event) for event in decode("prices", json.dumps(message))]

    assert kinds == [ReferencePrice, Malformed, Malformed, ReferencePrice, StreamNumber]


def test_three_generations_of_a_level_change_are_one_event() -> None:
    level: Json = {"price": "0.514", "side": "SELL", "size": "21574.08"}
    which: Json = {"asset_id": "48", "hash": "bf32"}
    shared: Json = {"event_type": "price_change", "market": "0xdd", "timestamp": "1723967931411"}

    flat = one("market", shared | which | level)
    listed = one("market", shared | which | {"changes": [level]})
    current = one("market", shared | {"price_changes": [which | level]})

    assert flat == listed == current
    assert in_our_words(current)["changes"] == [
        {
            "token_id": "48",
            "price": "0.514",
            "size": "21574.08",
            "side": "SELL",
            "hash": "bf32",
            "best_bid": None,
            "best_ask": None,
        }
    ]


@given(st.sampled_from(sorted(_FRAMES)), st.randoms(use_true_random=False))
def test_the_order_of_keys_does_not_matter(name: str, random: Random) -> None:
    frame = _FRAMES[name]

    def shuffled(value: object) -> object:
        if isinstance(value, dict):
            items = list(cast("Json", value).items())
            random.shuffle(items)
            return {key: shuffled(item) for key, item in items}
        if isinstance(value, list):
            return [shuffled(item) for item in cast("list[object]", value)]
        return value

    message = json.loads(frame["frame"])

    again = decode(frame["channel"], json.dumps(shuffled(message)))

    assert [fields(event) for event in again if not isinstance(event, Unknown)] == [
        fields(event) for event in decode(frame["channel"], frame["frame"]) if not isinstance(event, Unknown)
    ]


@pytest.mark.quick(80)
@pytest.mark.parametrize("digits", [62, 64, 1, 40, 63])
@pytest.mark.parametrize("name", sorted(_MARKET_FRAMES))
def test_an_id_of_any_length_costs_no_meaning(name: str, digits: int) -> None:
    """Markets of protocol V2 have condition ids of 31 bytes and most frames are read by offsets."""
    text = _MARKET_FRAMES[name]["frame"]
    condition = f"0x{'0f' * 32}"[: 2 + digits]
    changed = re.sub(r"0x[0-9a-f]{64}(?=\",)", condition, text)
    changed = re.sub(r"(?<=\")[0-9]{70,78}(?=\")", lambda found: found[0][:21], changed)

    read = decode("market", changed.encode())

    assert [fields(event) for event in read] == [fields(event) for event in decode("market", changed)]
    assert [type(event).__mro__[1] for event in read] == [type(event).__mro__[1] for event in decode("market", text)]
    markets = {getattr(event, "market", condition) for event in read}
    assert markets <= {condition} or condition not in changed


def test_numbers_are_read_as_the_text_they_normally_come_in() -> None:
    book = one(
        "market",
        {
            "event_type": "book",
            "asset_id": 55404192439775628931124671719520886657525387168536821457706619003199189099864,
            "market": "0x1",
            "timestamp": 1791128503230,
            "bids": [{"price": 0.5, "size": 10}, {"price": 0.0001, "size": 0.000001}],
            "asks": [],
            "tick_size": 0.001,
        },
    )

    assert isinstance(book, BookSnapshot)
    assert book.token_id == "55404192439775628931124671719520886657525387168536821457706619003199189099864"
    assert [(level.price, level.size) for level in book.bids] == [("0.5", "10"), ("0.0001", "0.000001")]
    assert book.tick_size == "0.001"


def test_optional_numbers_may_be_empty_or_absent() -> None:
    entry: Json = {"asset_id": "1", "price": ".48", "size": "", "side": "BUY"}
    shared: Json = {"event_type": "price_change", "market": "0x1", "timestamp": "5"}

    empty = one("market", shared | {"price_changes": [entry | {"hash": "", "best_bid": "", "best_ask": ""}]})
    absent = one("market", shared | {"price_changes": [entry]})
    null = one("market", shared | {"price_changes": [entry | {"hash": None, "best_bid": None, "best_ask": None}]})

    assert empty == absent == null


@pytest.mark.parametrize("timestamp", ["1672290701", 1672290701, "1672290701000", 1672290701000])
def test_times_may_be_text_or_numbers_in_seconds_or_milliseconds(timestamp: str | int) -> None:
    trade = one("market", json.loads(_TRADE) | {"timestamp": timestamp})

    assert isinstance(trade, Trade)
    assert trade.timestamp == int(timestamp)


@pytest.mark.parametrize("timestamp", [1672290701000, 1672290701000001, 1672290701000000001])
def test_a_time_may_be_finer_than_the_venue_s(timestamp: int) -> None:
    trade = one("market", json.loads(_TRADE) | {"timestamp": timestamp})

    assert isinstance(trade, Trade)
    assert epoch_ns(trade.timestamp) == int(str(timestamp).ljust(19, "0"))


@pytest.mark.parametrize(
    "timestamp", ["-1", -1, "9000000000000000000", 10**19, 10**30, "", "soon", "1.5", None, [], True]
)
def test_a_time_that_no_table_could_hold_is_refused(timestamp: object) -> None:
    refused = one("market", json.loads(_TRADE) | {"timestamp": timestamp})

    assert isinstance(refused, Malformed)
    assert "1" in refused.names


@pytest.mark.parametrize(
    ("spelt", "usual", "source", "name"),
    [
        ("asset_ids", "assets_ids", "netqo-2026-08-14", "market resolved"),
        ("matchtime", "match_time", "polypy-2025-user", "trade info maker buy matched"),
    ],
)
def test_another_spelling_of_a_key_is_understood(spelt: str, usual: str, source: str, name: str) -> None:
    message = message_of(source, name)
    channel = frames(source)[name]["channel"]
    expected = one(channel, message)
    message[spelt] = message.pop(usual)

    assert one(channel, message) == expected


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("netqo-2026-08-14", "book"),
        ("netqo-2026-08-14", "price change"),
        ("netqo-2026-08-14", "trade"),
        ("netqo-2026-08-14", "tick size change"),
        ("netqo-2026-08-14", "market resolved"),
        ("nautilus_trader-2026-07-02", "py user_trade2"),
        ("nautilus_trader-2026-07-02", "py order_cancel"),
    ],
)
def test_a_message_without_its_kind_is_known_by_its_keys(source: str, name: str) -> None:
    message = message_of(source, name)
    channel = frames(source)[name]["channel"]
    expected = one(channel, message)
    del message["event_type"]

    assert fields(one(channel, message)) == fields(expected)


def test_the_last_of_two_equal_keys_counts() -> None:
    [trade] = decode("market", _TRADE.replace('"size":"2"', '"size":"2","size":"3"'))

    assert isinstance(trade, Trade)
    assert trade.size == "3"


def test_a_fee_schedule_keeps_its_numbers_however_the_message_is_read() -> None:
    message = message_of("netqo-2026-08-14", "new market") | {"fee_schedule": {"rate": 0.07, "exponent": 1}}

    plain = one("market", message)
    forgiven = one("market", message | {"taker_base_fee": 200})

    assert isinstance(plain, NewMarket)
    assert isinstance(forgiven, NewMarket)
    assert plain.fee_schedule == forgiven.fee_schedule == {"rate": 0.07, "exponent": 1}
    assert forgiven.taker_base_fee == "200"


@pytest.mark.parametrize("word", ["PONG", "PING", "ping", "Bye"])
@pytest.mark.parametrize("channel", _CHANNELS)
def test_words_of_the_connection_are_not_errors(channel: Channel, word: str) -> None:
    assert decode(channel, word) == [Control(word.strip())]


@pytest.mark.parametrize("words", ["INVALID OPERATION", "INVALID MESSAGE", "subscription limit exceeded"])
@pytest.mark.parametrize("channel", _CHANNELS)
def test_words_that_something_is_wrong_are_errors(channel: Channel, words: str) -> None:
    assert decode(channel, words) == [Control("error", words)]


def test_an_empty_array_holds_nothing() -> None:
    assert decode("market", "[]\n") == []


@pytest.mark.parametrize(
    "data",
    [
        b"\xef\xbb\xbf" + _TRADE.encode(),
        b"\xff\xfe\x00",
        b"\x00" * 40,
        b" " * 5000,
        b'{"event_type":"book"',
        b'{"price":NaN}',
        b"<html>503</html>",
        b"[" * 500,
        b"[" * 100_000,
        b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
        b"[" * 600 + b"]" * 600 + b",",
    ],
)
@pytest.mark.parametrize("channel", _CHANNELS)
def test_what_is_not_json_is_kept_in_part_and_told(channel: Channel, data: bytes) -> None:
    [event] = decode(channel, data)

    assert isinstance(event, Malformed)
    assert event.reason
    if channel != "user":
        assert event.raw == data[:1024].decode("utf-8", "replace")


def test_no_nesting_ends_the_process_where_a_library_has_raised_the_recursion_limit() -> None:
    """Regression: py_ecc, which eth-account imports, sets it to 100,000, and the decoder overflowed the C stack."""
    program = """if True:
        import sys
        from pmlive._wire import decode, withhold_owner
        sys.setrecursionlimit(100_000)
        for data in (
            b"[" * 90_000,
            b'{"a":' * 90_000,
            b'{"a": \\n' * 90_000,
            b'[{"a":' * 45_000,
            b'{"asset_ids":[1,' * 45_000,
            b'{"event_type":"book","x":' + b'[{"a":1},' * 60_000,
        ):
            for channel in ("market", "user", "realtime", "prices"):
                [event] = decode(channel, data)
                assert decode(channel, data.decode()) == [event]
            withhold_owner(data)
        print("alive")
    """

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=50, check=False)

    assert (done.stdout, done.stderr) == ("alive\n", "")


def test_a_large_opening_array_is_not_taken_for_nesting() -> None:
    levels = [{"price": f"{thousandths / 1000:.3f}", "size": "1"} for thousandths in range(999)]
    book = {"event_type": "book", "market": "0x1", "timestamp": "1", "bids": levels, "asks": levels}

    books = decode("market", json.dumps([book | {"asset_id": str(number)} for number in range(200)]))

    assert [event.token_id for event in books if isinstance(event, BookSnapshot)] == [str(n) for n in range(200)]


def test_a_lone_surrogate_is_kept_as_text_that_can_be_written() -> None:
    [event] = decode("market", '{"a":"\ud800"')

    assert isinstance(event, Malformed)
    assert event.raw.encode()


def test_only_the_beginning_of_an_unknown_message_is_kept() -> None:
    [event] = decode("market", json.dumps({"event_type": "news", "text": "é" * 5000}))

    assert isinstance(event, Unknown)
    assert event.kind == "news"
    assert len(event.raw) == 1024


@pytest.mark.parametrize("name", sorted(name for name, frame in _FRAMES.items() if frame["channel"] == "user"))
def test_no_owner_is_in_what_is_kept_of_a_user_message(name: str) -> None:
    text = _FRAMES[name]["frame"]
    assert "00000000-0000-0000-0000-0000000000" in text

    kept = withhold_owner(text)

    assert b"owner" not in kept
    assert b"00000000-0000-0000-0000-0000000000" not in kept
    assert withhold_owner(kept) == kept
    assert decode("user", kept) == decode("user", text)
    assert "00000000-0000-0000-0000-0000000000" not in repr(decode("user", text))


@pytest.mark.parametrize(
    "text",
    [
        f'{{"event_type":"news","owner":"{_OWNER}"}}',
        f'{{"event_type":"order","owner":"{_OWNER}"}}',
        f'{{"event_type":"trade","maker_orders":[{{"Owner":"{_OWNER}"}}]}}',
        f'[[{{"orderOwner":"{_OWNER}"}}],{{"a":{{"trade_owner":{{"id":"{_OWNER}"}}}}}}]',
        f'{{"auth":{{"apiKey":"{_OWNER}"}}}}',
        f'{{"api_key":"{_OWNER}","passphrase":"{_OWNER}","secret":"{_OWNER}"}}',
        f'{{"owner":"{_OWNER}","owner":"{_OWNER}"}}',
        f'{{"event_type":"order","owner":"{_OWNER}"',
        f'{{"owner":"{_OWNER}","x":1e400}}',
        f'{{"owner":"{_OWNER}","x":' + "[" * 700 + "]" * 700 + "}",
        f"owner {_OWNER}",
    ],
)
def test_no_owner_is_in_an_event_that_could_not_be_read(text: str) -> None:
    assert _OWNER not in withhold_owner(text).decode()
    assert _OWNER not in repr(decode("user", text))


def test_a_word_on_the_user_channel_stays_what_it_is() -> None:
    assert withhold_owner("PONG") == b"PONG"
    assert decode("user", withhold_owner(b"not json")) == [Control("not json")]


def test_activity_is_read_with_the_kind_of_its_envelope() -> None:
    payload: Json = {
        "asset": "7",
        "conditionId": "0x1",
        "eventSlug": "fed-decision",
        "outcomeIndex": 0,
        "price": 0.61,
        "proxyWallet": "0xab",
        "side": "BUY",
        "size": 12.5,
        "timestamp": 1790000000,
        "transactionHash": "0xcd",
        "title": None,
    }

    activity = one("realtime", {"topic": "activity", "type": "trades", "timestamp": 1790000000123, "payload": payload})

    assert isinstance(activity, Activity)
    assert (activity.type, activity.token_id, activity.market) == ("trades", "7", "0x1")
    assert (activity.event_slug, activity.outcome_index, activity.timestamp) == ("fed-decision", 0, 1790000000)
    assert (activity.price, activity.size, activity.proxy_wallet) == (0.61, 12.5, "0xab")


@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "Infinity"])
def test_activity_and_prices_are_finite(value: str) -> None:
    price: Json = {
        "topic": "crypto_prices",
        "type": "update",
        "timestamp": 1,
        "payload": {"symbol": "a", "timestamp": 1},
    }
    cast("Json", price["payload"])["value"] = value

    assert isinstance(one("realtime", price), Malformed)


def test_a_scaled_exact_value_is_kept_as_text() -> None:
    payload: Json = {
        "symbol": "btc/usd",
        "timestamp": 1,
        "value": 1.5,
        "window_s": 30,
        "full_accuracy_value": 15 * 10**17,
    }

    price = one(
        "realtime", {"topic": "crypto_prices_twap_thirty", "type": "update", "timestamp": 1, "payload": payload}
    )

    assert isinstance(price, ReferencePrice)
    assert (price.full_accuracy_value, price.window_seconds) == ("1500000000000000000", 30)


def test_a_comment_keeps_its_payload() -> None:
    comment = one("realtime", message_of("official_docs-2026-04-09", "rtds L3680"))

    assert isinstance(comment, Comment)
    assert (comment.type, comment.payload["id"]) == ("comment_created", "1763355")


def test_messages_that_the_venue_dropped_are_told() -> None:
    message = message_of("polybolt-2026-09-08", "crypto btc") | {"dropped": 3, "rid": 7}

    price, number = decode("prices", json.dumps(message))

    assert isinstance(price, ReferencePrice)
    assert number == StreamNumber("price.crypto", number=5, dropped=3)


def test_a_streamed_price_that_cannot_be_read_has_its_number_all_the_same() -> None:
    message = message_of("polybolt-2026-09-08", "crypto btc") | {"payload": {"symbol": "btcusd", "value": "much"}}

    assert [type(event) for event in decode("prices", json.dumps(message))] == [Malformed, StreamNumber]


@pytest.mark.parametrize("payload", [{"symbol": "aapl", "source": "pyth", "data": []}, {"symbol": "aapl"}])
def test_a_snapshot_may_be_empty(payload: Json) -> None:
    message = message_of("polybolt-2026-09-08", "equity snapshot") | {"payload": payload}

    assert decode("prices", json.dumps(message)) == [StreamNumber("price.equity", number=1)]


def test_the_source_of_a_snapshot_is_that_of_each_of_its_points() -> None:
    message = message_of("polybolt-2026-09-08", "equity snapshot")
    payload = cast("Json", message["payload"]) | {"source": "massive", "window_seconds": 60}

    read = decode("prices", json.dumps(message | {"payload": payload}))

    prices = [price for price in read if isinstance(price, ReferencePrice)]
    assert [(price.source, price.window_seconds, price.snapshot) for price in prices] == [("massive", 60, True)] * 4


@pytest.mark.parametrize("data", ["[]", "PONG", '{"error":"No orderbook exists for the requested token id"}', _TRADE])
def test_an_answer_that_is_no_book_is_refused(data: str) -> None:
    with pytest.raises(ProtocolError, match="the answer is not one book"):
        decode_book(data)


def test_events_are_values() -> None:
    [trade] = decode("market", _TRADE)

    assert isinstance(trade, Trade)
    assert trade == msgspec.structs.replace(trade)
    with pytest.raises(AttributeError, match="immutable"):
        trade.price = "0.6"  # pyright: ignore[reportAttributeAccessIssue]  # that is the point


def test_user_messages_are_read_by_their_kind() -> None:
    kinds = {name: type(one("user", message_of("polypy-2025-user", name))) for name in frames("polypy-2025-user")}

    assert all(issubclass(kind, UserOrder if "order info" in name else UserTrade) for name, kind in kinds.items())
    assert not issubclass(MarketResolved, tuple(kinds.values()))


def test_the_frames_sent_are_those_that_the_venue_documents() -> None:
    credentials = {"api_key": "k", "secret": "s", "passphrase": "p"}
    auth = {"apiKey": "k", "secret": "s", "passphrase": "p"}
    sent = {
        _wire.subscribe_market(["1", "2"], first=True): {
            "type": "market",
            "assets_ids": ["1", "2"],
            "custom_feature_enabled": True,
            "initial_dump": True,
            "level": 2,
        },
        _wire.subscribe_market(["3"], first=False): {
            "operation": "subscribe",
            "assets_ids": ["3"],
            "custom_feature_enabled": True,
        },
        _wire.unsubscribe_market(["3"]): {"operation": "unsubscribe", "assets_ids": ["3"]},
        _wire.subscribe_user(["0x1"], credentials): {"type": "user", "auth": auth, "markets": ["0x1"]},
        _wire.subscribe_user(None, credentials): {"type": "user", "auth": auth},
        _wire.subscribe_user(["0x1"], None): {"operation": "subscribe", "markets": ["0x1"]},
        _wire.unsubscribe_user(["0x1"]): {"operation": "unsubscribe", "markets": ["0x1"]},
        _wire.authenticate(credentials): {"op": "auth", "rid": "auth", "auth": auth},
        _wire.subscribe_prices("price.crypto", "btcusd"): {
            "op": "subscribe",
            "rid": "price.crypto:btcusd",
            "subscriptions": [{"channel": "price.crypto", "filter": {"symbol": "btcusd"}}],
        },
        _wire.subscribe_prices("price.equity.twap", "eurusd", "chainlink"): {
            "op": "subscribe",
            "rid": "price.equity.twap:eurusd:chainlink",
            "subscriptions": [
                {
                    "channel": "price.equity.twap",
                    "filter": {"symbol": "eurusd", "window_seconds": 60, "provider": "chainlink"},
                }
            ],
        },
        _wire.unsubscribe_prices("price.crypto", "btcusd"): {
            "op": "unsubscribe",
            "rid": "price.crypto:btcusd",
            "subscriptions": [{"channel": "price.crypto", "filter": {"symbol": "btcusd"}}],
        },
    }

    for text, expected in sent.items():
        assert json.loads(text) == expected


@pytest.mark.parametrize(
    ("topic", "key", "kind", "filters"),
    [
        ("activity", "fed-decision", "*", '{"event_slug":"fed-decision"}'),
        ("crypto_prices", "btcusdt", "update", "btcusdt"),
        ("crypto_prices_chainlink", "btc/usd", "*", '{"symbol":"btc/usd"}'),
    ],
)
def test_a_topic_is_asked_for_with_the_exact_text_of_its_filter(topic: str, key: str, kind: str, filters: str) -> None:
    item = {"topic": topic, "type": kind, "filters": filters}

    assert json.loads(_wire.subscribe_realtime(topic, key)) == {"action": "subscribe", "subscriptions": [item]}
    assert json.loads(_wire.unsubscribe_realtime(topic, key)) == {"action": "unsubscribe", "subscriptions": [item]}


def test_each_server_gets_the_heartbeat_it_answers() -> None:
    assert {channel: _wire.ping(channel) for channel in _CHANNELS} == {
        "market": "PING",
        "user": "PING",
        "realtime": "PING",
        "prices": '{"op":"ping","rid":"ping"}',
    }


# --- what the venue says is wrong ---


COMPLAINTS = {
    '{"error":"invalid api key"}': "invalid api key",
    '{"error":{"message":"deep","code":3}}': "deep; code 3",
    '{"errors":["a","b"]}': "a; b",
    '{"message":"Invalid request body","connectionId":"x","requestId":"y"}': "Invalid request body",
    '{"message":"Forbidden"}': "Forbidden",
    '{"type":"error","message":"nope"}': "nope",
    '{"type":"error"}': "error",
    '{"event":"error","data":{"message":"x"}}': "x; error",
    '{"status":"unauthorized"}': "unauthorized",
    '{"code":401,"reason":"no"}': "no; code 401",
    '{"success":false}': "an error without words",
    '{"op":"error","code":"auth_invalid","rid":"1"}': "auth_invalid",
    '[{"error":"in a list"}]': "in a list",
    '{"body":{"message":"Invalid request body"},"statusCode":400}': "Invalid request body",
    '{"statusCode":400,"body":"Bad Request"}': "Bad Request",
    '{"topic":"x","type":"error","payload":{"message":"no such topic"}}': "no such topic; error",
    '{"event_type":"ERROR","market":"0x1","message":"no such market"}': "no such market",
    "INVALID OPERATION": "INVALID OPERATION",
    "INVALID MESSAGE": "INVALID MESSAGE",
    "Unauthorized: bad key.": "Unauthorized: bad key.",
    '"unauthorized"': "unauthorized",
}
NO_COMPLAINTS = [
    "",
    "PONG",
    "[]",
    "garbage{",
    "hello there",
    '{"status":"ok"}',
    '{"message":"subscribed"}',
    '{"type":"welcome","message":"hello"}',
    '{"op":"authed"}',
    '{"message":5}',
    '{"event_type":"notice","message":"maintenance at noon"}',
    '{"event_type":"order","status":"INVALID","asset_id":"1","price":"0.5"}',
    '{"event_type":"trade","type":"TRADE","status":"error","asset_id":"1","price":"0.5"}',
    '{"topic":"activity","type":"trades","payload":{"error":"x"},"message":"a comment on an error"}',
    "9" * 5_000,
]


@pytest.mark.parametrize("text", COMPLAINTS)
@pytest.mark.parametrize("data", [str, str.encode], ids=["text", "bytes"])
def test_a_complaint_is_read_in_whatever_form_it_comes(text: str, data: Callable[[str], str | bytes]) -> None:
    assert complaint(data(text)) == COMPLAINTS[text]


@pytest.mark.parametrize("text", NO_COMPLAINTS)
def test_what_says_nothing_of_an_error_is_no_complaint(text: str) -> None:
    assert complaint(text) is None


@given(st.one_of(st.text(), st.binary(), st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["error", "message", "code", "type", "x"]), inner),
).map(json.dumps)))  # fmt: skip
def test_whatever_comes_is_a_short_readable_complaint_or_none(data: str | bytes) -> None:
    words = complaint(data)

    assert words is None or (0 < len(words) <= 200 and words.isprintable())


@pytest.mark.parametrize("channel", ["market", "user", "realtime", "prices"])
def test_a_complaint_as_json_is_an_event_with_its_words_on_every_channel(channel: Channel) -> None:
    assert decode(channel, '{"message": "Invalid request body"}') == [Control("error", "Invalid request body")]
