"""Every recorded message is read, and nothing that it says is lost."""

import json
from typing import TypeAlias, cast

import pytest
from recorded import Frame, every_frame, fields, frames

from pmlive import events
from pmlive._wire import decode, decode_book

Json: TypeAlias = dict[str, object]

_FRAMES = every_frame()

_OURS = {
    "asset_id": "token_id",
    "assets_ids": "token_ids",
    "winning_asset_id": "winning_token_id",
    "price_changes": "changes",
    "order_price_min_tick_size": "tick_size",
    "matchtime": "match_time",
}
_NUMBERS = {"best_bid", "best_ask"}
_NOT_KEPT = {"event_type", "owner", "order_owner", "trade_owner", "brand_new_field"}


def test_there_are_samples_of_every_kind() -> None:
    kinds = {kind for frame in _FRAMES.values() for kind in frame["events"]}

    assert len(_FRAMES) == 123
    assert kinds == {
        "BestBidAsk",
        "BookSnapshot",
        "Comment",
        "MarketResolved",
        "NewMarket",
        "PriceChange",
        "ReferencePrice",
        "StreamNumber",
        "StreamReply",
        "TickSizeChange",
        "Trade",
        "Unknown",
        "UserOrder",
        "UserTrade",
    }


@pytest.mark.parametrize("frame", _FRAMES.values(), ids=_FRAMES.keys())
def test_a_sample_holds_the_events_it_is_said_to(frame: Frame) -> None:
    read = decode(frame["channel"], frame["frame"])

    assert len(read) == len(frame["events"])
    assert all(isinstance(event, getattr(events, kind)) for event, kind in zip(read, frame["events"], strict=True))


@pytest.mark.parametrize("frame", _FRAMES.values(), ids=_FRAMES.keys())
def test_a_sample_is_read_from_bytes_as_from_text(frame: Frame) -> None:
    assert decode(frame["channel"], frame["frame"].encode()) == decode(frame["channel"], frame["frame"])


_FLAT = "nautilus_trader-2026-07-02: py price_change"
_KEPT_WHOLE = {
    name: frame
    for name, frame in _FRAMES.items()
    if frame["channel"] in ("market", "user") and name != _FLAT and "Unknown" not in frame["events"]
}


@pytest.mark.parametrize("frame", _KEPT_WHOLE.values(), ids=_KEPT_WHOLE.keys())
def test_every_field_of_a_sample_is_in_its_event(frame: Frame) -> None:
    message = cast("Json | list[Json]", json.loads(frame["frame"]))

    for said, event in zip(
        message if isinstance(message, list) else [message], decode(frame["channel"], frame["frame"]), strict=True
    ):
        expected = cast("Json", _in_our_words(said))
        if isinstance(event, events.UserTrade):
            assert expected.pop("type", "TRADE") == "TRADE"
        kept = cast("Json", _in_our_words(fields(event)))
        assert _part_of(kept, expected) == expected


def _part_of(kept: object, expected: object) -> object:
    if isinstance(kept, dict) and isinstance(expected, dict):
        there, asked = cast("Json", kept), cast("Json", expected)
        return {key: _part_of(there.get(key), asked[key]) for key in asked}
    if isinstance(kept, list) and isinstance(expected, list):
        pairs = zip(cast("list[object]", kept), cast("list[object]", expected), strict=True)
        return [_part_of(item, asked) for item, asked in pairs]
    return cast("object", kept)


def _in_our_words(value: object) -> object:
    if isinstance(value, dict):
        fields = cast("Json", value)
        return {
            _OURS.get(key, key): float(str(item)) if key in _NUMBERS else _in_our_words(item)
            for key, item in fields.items()
            if key not in _NOT_KEPT and item is not None
        }
    if isinstance(value, list):
        return [_in_our_words(item) for item in cast("list[object]", value)]
    return str(value)


_FIELDS: list[tuple[str, str, Json]] = [
    (
        "netqo-2026-08-14",
        "book",
        {
            "market": "0x5dacb3919e3eb6372770cba85c42e0f980ddf18b1a767751de700ee272269233",
            "token_id": "63691357964355397861776339416833450653158434687925250159757815624217137833471",
            "timestamp": 1786728432337,
            "bids": [{"price": "0.001", "size": "2200.8"}, {"price": "0.004", "size": "100"}],
            "asks": [{"price": "0.999", "size": "50"}, {"price": "0.009", "size": "25"}],
            "hash": "924ec9bc1c6dd89f5db9b7b2b68cdab458cc2dc6",
            "tick_size": "0.001",
            "last_trade_price": "0.004",
            "min_order_size": None,
            "neg_risk": None,
        },
    ),
    ("netqo-2026-08-14", "REST book", {"min_order_size": "5", "neg_risk": True, "timestamp": 1786728198766}),
    (
        "netqo-2026-08-14",
        "trade",
        {
            "timestamp": 1786728467101,
            "price": "0.585",
            "size": "2.46",
            "side": "SELL",
            "fee_rate_bps": "0",
            "transaction_hash": "0x6c83cdd2cd59f46a116824aecc9d9b05fc58af1a8f9cfdf09033f5cdb77e0dcf",
        },
    ),
    ("netqo-2026-08-14", "best bid ask", {"best_bid": "0.585", "best_ask": "0.587", "spread": "0.002"}),
    ("netqo-2026-08-14", "new field", {"token_id": "111", "timestamp": 1, "best_bid": "0.5", "market": ""}),
    ("netqo-2026-08-14", "empty book", {"token_id": "123", "bids": [], "asks": []}),
    (
        "netqo-2026-08-14",
        "unknown kind",
        {
            "kind": "something_new",
            "raw": '{"event_type":"something_new","asset_id":"111","payload":{"a":1}}',
        },
    ),
    ("netqo-2026-08-14", "market resolved", {"winning_token_id": "7604307", "winning_outcome": "Yes"}),
    (
        "nautilus_trader-2026-07-02",
        "py price_change",
        {
            "timestamp": 1723967931411,
            "market": "0xdd22472e552920b8438158ea7238bfadfa4f736aa4cee91a6b86c39ead110917",
            "changes": [
                {
                    "token_id": "48331043336612883890938759509493159234755048973500640148014422747788308965732",
                    "price": "0.514",
                    "size": "21574.08",
                    "side": "SELL",
                    "hash": "bf32b3746fff40c76c98021b7f3f07261169dd26",
                    "best_bid": None,
                    "best_ask": None,
                }
            ],
        },
    ),
    (
        "nautilus_trader-2026-07-02",
        "ws_user_order_fok_killed",
        {"type": "CANCELLATION", "size_matched": "", "outcome": "", "created_at": "", "order_type": "FOK"},
    ),
    (
        "nautilus_trader-2026-07-02",
        "ws_market_new_market_msg",
        {"tick_size": "0.01", "active": True, "line": "", "tags": ["stocks"], "group_item_title": "NVDA above $240"},
    ),
    (
        "nautilus_trader-2026-07-02",
        "rtds_equity_prices_update",
        {
            "topic": "equity_prices",
            "symbol": "aapl",
            "value": 198.45,
            "full_accuracy_value": "198.4523",
            "received_at": 1711382400005,
            "snapshot": False,
        },
    ),
    (
        "official_docs-2026-04-09",
        "market L3078",
        {
            "hash": "0x0....",
            "bids": [
                {"price": f".{cents}", "size": size} for cents, size in (("48", "30"), ("49", "20"), ("50", "15"))
            ],
        },
    ),
    ("official_docs-2026-04-09", "market L3136", {"timestamp": 100000000, "new_tick_size": "0.001"}),
    ("official_docs-2026-04-09", "user L4045", {"timestamp": 1672290701, "match_time": "1672290701"}),
    (
        "official_docs-2026-04-09",
        "user L4102",
        {"timestamp": 1672290687, "type": "PLACEMENT", "status": "", "size_matched": "0"},
    ),
    (
        "official_docs-2026-04-09",
        "rtds L3597",
        {"topic": "crypto_prices_chainlink", "symbol": "eth/usd", "timestamp": 1753314064213, "value": 3456.78},
    ),
    (
        "polypy-2025-user",
        "order info maker buy placement",
        {"created_at": "1737678469", "expiration": "0", "timestamp": 1737678469623, "associate_trades": None},
    ),
    (
        "polypy-2025-user",
        "trade info maker buy confirmed",
        {"status": "CONFIRMED", "trader_side": "MAKER", "bucket_index": 0, "fee_rate_bps": "0", "size": "5"},
    ),
    ("polybolt-2026-09-08", "bad op", {"word": "error", "detail": "bad_op"}),
    ("polybolt-2026-09-08", "pong", {"word": "pong", "detail": ""}),
    (
        "polybolt-2026-09-08",
        "equity",
        {"topic": "price.equity", "symbol": "aapl", "value": 316.1, "received_at": 1788886176600},
    ),
    (
        "polybolt-2026-09-08",
        "twap",
        {
            "topic": "price.crypto.twap",
            "symbol": "btcusd",
            "timestamp": 1788886177000,
            "value": 78803.7152610941,
            "full_accuracy_value": "78803.715261094101516288",
            "window_seconds": 60,
        },
    ),
    ("polybolt-2026-09-08", "polymarket snapshot", {"kind": "price.polymarket"}),
]


@pytest.mark.parametrize(
    ("source", "name", "expected"), _FIELDS, ids=[f"{source}: {name}" for source, name, _ in _FIELDS]
)
def test_the_fields_of_a_sample_have_these_values(source: str, name: str, expected: Json) -> None:
    frame = frames(source)[name]
    [event, *numbers] = decode(frame["channel"], frame["frame"])
    assert all(isinstance(number, events.StreamNumber) for number in numbers)

    kept = cast("Json", fields(event))
    assert {key: kept[key] for key in expected} == expected


def test_the_points_of_a_snapshot_become_prices_of_their_own_times() -> None:
    frame = frames("polybolt-2026-09-08")["equity snapshot"]

    read = decode("prices", frame["frame"])

    assert [
        (price.symbol, price.timestamp, price.value, price.snapshot)
        for price in read
        if isinstance(price, events.ReferencePrice)
    ] == [
        ("aapl", 1788886175800, 316.095, True),
        ("aapl", 1788886176000, 316.095, True),
        ("aapl", 1788886176200, 316.09989, True),
        ("aapl", 1788886176400, 316.1, True),
    ]


def test_a_price_change_names_both_tokens_of_its_market() -> None:
    frame = frames("polybot-2025-12-23")["price change"]

    [change] = decode("market", frame["frame"])

    assert isinstance(change, events.PriceChange)
    assert change.timestamp == 1766481546776
    assert [
        (level.token_id[:4], level.side, level.price, level.size, level.best_bid, level.best_ask)
        for level in change.changes
    ] == [("2524", "BUY", "0.49", "55", 0.49, 0.5), ("2016", "SELL", "0.51", "55", 0.5, 0.51)]


def test_a_trade_keeps_the_resting_orders_of_both_tokens() -> None:
    frame = frames("polypy-2025-user")["trade info partitioned maker fill"]

    [trade] = decode("user", frame["frame"])

    assert isinstance(trade, events.UserTrade)
    assert [(order.token_id[:4], order.matched_amount, order.price, order.side) for order in trade.maker_orders] == [
        ("5443", "5", "0.99", "BUY"),
        ("1571", "2", "0.02", "SELL"),
    ]


@pytest.mark.parametrize(
    ("source", "name", "timestamp"),
    [
        ("netqo-2026-08-14", "REST book", 1786728198766),
        ("nautilus_trader-2026-07-02", "clob_book_response", 1703875200000),
    ],
)
def test_a_rest_answer_is_a_book(source: str, name: str, timestamp: int) -> None:
    assert decode_book(frames(source)[name]["frame"]).timestamp == timestamp
