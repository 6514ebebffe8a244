"""The price streams: credentials, then one symbol after another, each answered; and what their numbers tell.

The frames of ``polybolt-2026-09-08`` are the venue's own.
"""

import contextlib
import json
import time
from collections.abc import Callable, Generator
from itertools import pairwise
from pathlib import Path
from typing import cast

import msgspec
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.examples import examples
from support.feed import QUICK
from support.live import address
from support.night import Night, now, stored
from support.waiting import wait_until as wait
from websockets.exceptions import ConnectionClosed
from websockets.frames import Close
from websockets.sync.client import ClientConnection, connect

import pmlive as pm
from pmlive import _wire
from pmlive._session import Complaint, Redial, Refused, Session, State, Timing, Todo
from pmlive.errors import AuthError, FeedError
from pmlive.events import ReferencePrice, StreamReply
from pmlive.feed import Backoff, Policy
from pmlive.feed.dialling import fatal_error
from pmlive.pipeline.journal import rebuild
from pmlive.sim import SimulatedVenue

S = 1_000_000_000
SECRETS = {"api_key": "key", "secret": "hidden", "passphrase": "words"}
BTC = "price.crypto|btcusd"
_PATIENCE = 10.0


# --- what one connection says, by an invented clock ---


def opened(*keys: str, timing: Timing | None = None) -> Session:
    session = Session("prices", timing=timing, credentials=lambda: SECRETS)
    session.want(keys, 0)
    session.connected(0)
    return session


def said(session: Session, at: float) -> list[dict[str, object]]:
    session.tick(round(at * S))
    return [json.loads(text) for text in session.to_send()]


def answer(session: Session, at: float, **fields: object) -> None:
    session.received(json.dumps(fields), round(at * S))


def authed(*keys: str) -> Session:
    session = opened(*keys)
    session.to_send()
    answer(session, 0, op="authed", rid="auth")
    return session


def todo(session: Session, at: float) -> list[Todo]:
    session.tick(round(at * S))
    return session.to_do()


def test_nothing_is_asked_for_before_the_credentials_were_accepted() -> None:
    session = opened(BTC, "price.crypto.twap|btcusd")

    first = [json.loads(text) for text in session.to_send()]
    waiting = [*said(session, 1), *said(session, 2)]
    answer(session, 2, op="authed", rid="auth")
    asked = [*said(session, 2), *said(session, 2.2)]

    assert [frame["op"] for frame in first] == ["auth"]
    assert waiting == []
    assert [frame["subscriptions"] for frame in asked] == [
        [{"channel": "price.crypto", "filter": {"symbol": "btcusd"}}],
        [{"channel": "price.crypto.twap", "filter": {"symbol": "btcusd", "window_seconds": 60}}],
    ]


def test_requests_keep_their_distance_and_their_order() -> None:
    keys = [f"price.equity|s{number}" for number in range(64)]
    session = authed(*keys)

    times: list[float] = []
    rids: list[object] = []
    for step in range(1, 2_000):
        for frame in said(session, step / 100):
            if frame["op"] == "subscribe":
                times.append(step / 100)
                rids.append(frame["rid"])
                answer(session, step / 100, op="subscribed", channel="price.equity", rid=frame["rid"])

    assert rids == [key.replace("|", ":") for key in keys]
    assert min(later - sooner for sooner, later in pairwise(times)) >= 0.109
    assert session.state is State.LIVE


def test_what_is_taken_back_before_its_turn_is_never_asked_for() -> None:
    session = authed("price.equity|a", "price.equity|b")
    (first,) = said(session, 1)

    session.unwant(["price.equity|b"])
    session.unwant(["price.equity|a"])

    assert first["rid"] == "price.equity:a"
    assert [frame["op"] for frame in said(session, 2) + said(session, 3)] == ["unsubscribe"]


def test_a_second_connection_authenticates_again() -> None:
    session = authed(BTC)
    said(session, 1)

    session.disconnected()
    session.connected(5 * S)

    assert [json.loads(text)["op"] for text in session.to_send()] == ["auth"]
    assert said(session, 6) == []


@pytest.mark.parametrize("code", ["auth_invalid", "auth_expired", "auth_attempts"])
def test_credentials_that_are_refused_are_presented_no_more(code: str) -> None:
    session = opened(BTC)
    session.to_send()

    answer(session, 1, op="error", rid="auth", code=code)

    (refused,) = [each for each in todo(session, 1) if isinstance(each, Refused)]
    assert code in refused.reason
    assert [frame["op"] for frame in said(session, 40)] == ["ping"]


def test_credentials_that_cannot_be_checked_now_are_presented_again_later_and_later() -> None:
    session = opened(BTC, timing=Timing(opening=3600 * S, ping=3600 * S, quiet=3600 * S))
    session.to_send()
    answer(session, 0, op="error", rid="auth", code="auth_unavailable")

    times: list[int] = []
    for second in range(1, 200):
        if said(session, second):
            times.append(second)
            answer(session, second, op="error", rid="auth", code="auth_unavailable")

    assert times == [1, 3, 7, 15, 31, 61, 91]
    assert any(isinstance(each, Redial) for each in todo(session, 200))


@pytest.mark.parametrize("code", ["bad_filter", "bad_channel", "sub_limit", "bad_op", "made_up"])
def test_a_refusal_of_one_symbol_is_told_and_costs_no_other(code: str) -> None:
    session = authed("price.equity|nope", BTC)
    said(session, 1)
    said(session, 2)

    answer(session, 3, op="error", channel="price.equity", rid="price.equity:nope", code=code)
    answer(session, 3, op="subscribed", channel="price.crypto", rid="price.crypto:btcusd")

    (told,) = [each for each in todo(session, 4) if isinstance(each, Complaint)]
    assert "nope" in told.words
    assert code in told.words
    assert list(session.refused) == ["price.equity|nope"]
    assert session.state is State.LIVE
    assert session.useful


def test_a_request_that_is_not_answered_is_made_once_more_and_then_the_connection_is_left() -> None:
    session = authed(BTC)
    asked = said(session, 1)

    again = [frame for second in range(2, 20) for frame in said(session, second) if frame["op"] == "subscribe"]

    assert again == asked
    assert any(isinstance(each, Redial) for second in range(20, 25) for each in todo(session, second))


def test_credentials_that_are_not_answered_end_the_connection() -> None:
    session = opened(BTC)
    session.to_send()

    assert any(isinstance(each, Redial) for each in todo(session, 11))


def test_the_provider_that_is_served_is_told_where_it_is_another() -> None:
    session = authed("price.equity|aapl|chainlink")
    said(session, 1)

    answer(session, 1, op="subscribed", channel="price.equity", rid="price.equity:aapl:chainlink", provider="pyth")

    assert session.streams is not None
    assert session.streams.providers == {"price.equity|aapl|chainlink": "pyth"}
    (told,) = [each for each in todo(session, 2) if isinstance(each, Complaint)]
    assert "aapl of price.equity was asked of chainlink and comes from pyth" in told.words


@pytest.mark.parametrize(("key", "silent"), [(BTC, True), ("price.equity|aapl", False)])
def test_crypto_never_rests_and_the_markets_of_equities_do(key: str, silent: bool) -> None:  # noqa: FBT001
    session = authed(key)
    said(session, 1)
    answer(session, 1, op="subscribed", channel=key.partition("|")[0], rid=key.replace("|", ":"))

    for second in range(2, 900):
        session.tick(second * S)
        session.received('{"op":"pong"}', second * S)

    assert any(isinstance(each, Redial) for each in session.to_do()) is silent


# --- how a connection ends ---


@pytest.mark.parametrize(
    ("code", "least", "most"), [(4003, 0.0, 10.0), (4008, 60.0, 60.0), (4002, 0.0, 2.0), (1006, 0.0, 1.0)]
)
def test_each_close_code_has_its_patience(code: int, least: float, most: float) -> None:
    waits: list[float] = []
    for share in (0.0, 1.0):
        backoff = Backoff(Policy(), draw=lambda low, high, share=share: low + (high - low) * share)
        backoff.ended(100, useful=True)
        backoff.closed(code, 1000.0)
        waits.append(backoff.delay(1000.0))

    assert waits == [least, most]


def test_a_close_for_wrong_credentials_is_an_error_for_good() -> None:
    error = ConnectionClosed(Close(4001, "authentication failed"), None, rcvd_then_sent=None)

    reason = fatal_error(error, "wss://prices")

    assert isinstance(reason, AuthError)
    assert "authentication failed" in str(reason)


# --- what the numbers tell ---


def price(number: int, *, channel: str = "price.crypto", dropped: int | None = None) -> str:
    payload = {"symbol": "btcusd", "timestamp": 1_788_886_177_000 + number, "value": 100.0 + number}
    return json.dumps({"v": 1, "channel": channel, "seq": number, "dropped": dropped, "payload": payload})


def streaming() -> Night:
    night = Night()
    night.open(0, 5, [], channel="prices")
    return night


def test_consecutive_numbers_are_no_gap_in_any_channel() -> None:
    night = streaming()

    for number in range(1, 6):
        night.frame(number * 10, price(number), conn=5, channel="prices")
        night.frame(number * 10, price(number, channel="price.crypto.twap"), conn=5, channel="prices")

    assert night.gaps() == []
    assert night.table("reference_prices").height == 10


@pytest.mark.parametrize(
    ("first", "second", "dropped", "lost"),
    [
        (1, 4, None, "2 messages"),
        (1, 3, None, "1 message"),
        (1, 2, 3, "3 messages"),
        (1, 5, 3, "3 messages"),
        (1, 5, 7, "7 messages"),
    ],
)
def test_a_number_that_jumps_and_messages_that_were_dropped_are_a_gap(
    first: int, second: int, dropped: int | None, lost: str
) -> None:
    night = streaming()

    night.frame(10, price(first), conn=5, channel="prices")
    night.frame(700, price(second, dropped=dropped), conn=5, channel="prices")

    (row,) = night.table("gaps").to_dicts()
    assert night.gaps() == [(None, "overflow", 10, 700)]
    assert row["conn"] == 5
    assert lost in row["detail"]
    assert "price.crypto" in row["detail"]


@pytest.mark.parametrize(("dropped", "gaps"), [(None, []), (2, [(None, "overflow", 0, 30)])])
def test_a_capture_may_begin_with_any_number(dropped: int | None, gaps: list[tuple[object, ...]]) -> None:
    night = streaming()

    night.frame(30, price(3, dropped=dropped), conn=5, channel="prices")

    assert night.gaps() == gaps


def test_a_number_that_came_before_is_a_repeat_and_no_gap() -> None:
    night = streaming()

    for number in (1, 2, 3, 2, 3, 4):
        night.frame(number, price(number, dropped=1 if number == 2 else None), conn=5, channel="prices")

    assert len(night.gaps()) == 1
    assert night.table("reference_prices").height == 4
    assert night.pipeline.duplicates == {"reference_prices": 2}


def test_another_connection_numbers_anew() -> None:
    night = streaming()
    night.frame(10, price(1), conn=5, channel="prices")
    night.frame(20, price(2), conn=5, channel="prices")
    night.close(30, 5)
    night.open(40, 6, [], channel="prices", old=5)

    night.frame(50, price(1), conn=6, channel="prices")

    assert [gap[1] for gap in night.gaps()] == ["disconnect"]


@examples(40)
@given(
    st.lists(st.tuples(st.sampled_from(("price.crypto", "price.equity")), st.integers(0, 3)), max_size=30), st.data()
)
def test_gaps_between_numbers_are_found_in_parts_that_are_read_alone(
    steps: list[tuple[str, int]], data: st.DataObject
) -> None:
    cut = data.draw(st.integers(0, len(steps)))
    night, numbers = streaming(), {"price.crypto": 1, "price.equity": 1}
    for channel in numbers:
        night.frame(0, price(1, channel=channel), conn=5, channel="prices")
    keyframes, mark = night.journal.keyframes(now(0)), 0
    for at, (channel, skipped) in enumerate(steps):
        if at == cut:
            night.note(at * 10, "cut", b"", 0)
            keyframes, mark = night.journal.keyframes(now(at * 10)), len(night.records)
        numbers[channel] += 1 + skipped
        night.frame(at * 10 + 1, price(numbers[channel], channel=channel), conn=5, channel="prices")
    night.end(10_000)

    found = stored(night.frames())["gaps"]
    assert found.height == sum(skipped > 0 for _, skipped in steps)
    if mark:
        parts = rebuild(night.records[:mark]), rebuild([*keyframes, *night.records[mark:]])
        assert pl.concat([stored(part)["gaps"] for part in parts]).drop("seq").equals(found.drop("seq"))


# --- the simulated streams, in the words of the real ones ---


@contextlib.contextmanager
def client(venue: SimulatedVenue, *frames: str) -> Generator[ClientConnection]:
    with connect(venue.urls.prices_ws, compression=None, ping_interval=None, close_timeout=0.2) as socket:
        # Who is turned away in the middle of that learns it when it listens.
        with contextlib.suppress(ConnectionClosed):
            for frame in frames:
                socket.send(frame)
        yield socket


def replies(socket: ClientConnection, until: Callable[[StreamReply], bool]) -> list[StreamReply]:
    heard: list[StreamReply] = []
    end = time.monotonic() + _PATIENCE
    while not heard or not until(heard[-1]):
        events = _wire.decode("prices", str(socket.recv(timeout=end - time.monotonic())))
        heard += [event for event in events if isinstance(event, StreamReply)]
    return heard


def heard_to_the_end(socket: ClientConnection) -> None:
    while True:
        socket.recv(timeout=_PATIENCE)


def signed(venue: SimulatedVenue) -> str:
    return _wire.authenticate(msgspec.structs.asdict(venue.credentials))


def test_the_simulated_streams_speak_as_the_real_ones_were_captured() -> None:
    lines = (Path(__file__).parent / "frames" / "polybolt-2026-09-08.jsonl").read_text(encoding="utf-8").splitlines()
    captured = {frame["name"]: json.loads(frame["frame"]) for frame in map(json.loads, lines)}
    keys: dict[str, set[str]] = {}
    with SimulatedVenue(rate=0) as venue:
        asks = [
            _wire.subscribe_prices("price.crypto", "btcusd"),
            _wire.subscribe_prices("price.equity", "aapl"),
            _wire.subscribe_prices("price.crypto.twap", "btcusd"),
            _wire.subscribe_prices("price.crypto", "nope"),
            '{"op":"dance"}',
            _wire.ping("prices"),
        ]
        with client(venue, signed(venue), *asks) as socket:
            end = time.monotonic() + _PATIENCE
            while len(keys) < 11:
                frame = json.loads(socket.recv(timeout=end - time.monotonic()))
                payload = frame.get("payload", {})
                name = frame.get("op") or f"{frame['channel']}{' snapshot' if frame.get('snapshot') else ''}"
                name += f" {frame.get('code', '')}".rstrip()
                keys[name] = {*frame, *payload} - {"source", "is_carried_forward"}

    for ours, theirs in {
        "error bad_op": "bad op",
        "error bad_filter": "bad filter",
        "pong": "pong",
        "price.crypto": "crypto btc",
        "price.crypto snapshot": "crypto snapshot",
        "price.equity": "equity",
        "price.equity snapshot": "equity snapshot",
        "price.crypto.twap": "twap",
    }.items():
        assert keys[ours] == {*captured[theirs], *captured[theirs].get("payload", {})}, ours


def test_a_symbol_is_acknowledged_each_time_and_has_one_snapshot() -> None:
    with SimulatedVenue(rate=0) as venue:
        ask = _wire.subscribe_prices("price.crypto", "btcusd")
        frames: list[dict[str, object]] = []
        with client(venue, ask, signed(venue), ask, ask) as socket:
            while len([frame for frame in frames if "seq" in frame]) < 3:
                frames.append(json.loads(socket.recv(timeout=_PATIENCE)))

    words = [frame.get("code") or frame["op"] for frame in frames if "op" in frame]
    numbered = [frame for frame in frames if "seq" in frame]
    assert words == ["auth_required", "authed", "subscribed", "subscribed"]
    assert [frame.get("snapshot") for frame in numbered] == [True, None, None]
    assert [frame["seq"] for frame in numbered] == [1, 2, 3]


@pytest.mark.parametrize(
    ("channel", "symbol", "provider", "code"),
    [
        ("price.weather", "btcusd", "", "bad_channel"),
        ("price.crypto", "nope", "", "bad_filter"),
        ("price.crypto", "hypeusd", "", "bad_filter"),
        ("price.equity", "btcusd", "", "bad_filter"),
        ("price.equity", "aapl", "massive", "bad_filter"),
        ("price.equity.twap", "aapl", "", "bad_filter"),
    ],
)
def test_the_price_streams_refuse_what_they_do_not_have(channel: str, symbol: str, provider: str, code: str) -> None:
    with (
        SimulatedVenue(rate=0) as venue,
        client(venue, signed(venue), _wire.subscribe_prices(channel, symbol, provider)) as socket,
    ):
        *_, last = replies(socket, lambda reply: reply.word != "authed")
    assert (last.word, last.code, last.channel) == ("error", code, channel)


@pytest.mark.parametrize(("symbol", "served"), [("eurusd", "chainlink"), ("aapl", "pyth")])
def test_the_acknowledgement_names_the_provider_and_each_price_its_source(symbol: str, served: str) -> None:
    sources: list[str] = []
    with (
        SimulatedVenue(rate=0) as venue,
        client(venue, signed(venue), _wire.subscribe_prices("price.equity", symbol, "chainlink")) as socket,
    ):
        *_, last = replies(socket, lambda reply: reply.word == "subscribed")
        while len(sources) < 121:
            events = _wire.decode("prices", str(socket.recv(timeout=_PATIENCE)))
            sources += [event.source for event in events if isinstance(event, ReferencePrice)]
    assert last.provider == served
    assert set(sources) == {served}


@pytest.mark.parametrize(
    ("frames", "code"),
    [
        ([_wire.authenticate({"api_key": "a", "secret": "b", "passphrase": "c"})], 4001),
        ([json.dumps({"op": "subscribe", "rid": "x" * 70_000})], 4008),
        (['{"op":"subscribe","subscriptions":[]}'] * 30, 4008),
    ],
)
def test_clients_that_misbehave_are_closed_with_the_codes_of_the_real_streams(frames: list[str], code: int) -> None:
    with (
        SimulatedVenue(rate=0) as venue,
        client(venue, *frames) as socket,
        pytest.raises(ConnectionClosed) as caught,
    ):
        heard_to_the_end(socket)
    assert caught.value.rcvd is not None
    assert caught.value.rcvd.code == code


# --- a manager and the streams ---


@contextlib.contextmanager
def managing(venue: SimulatedVenue) -> Generator[pm.Manager]:
    with pm.Manager(address(venue), policy=QUICK) as manager:
        yield manager


@pytest.fixture
def venue(monkeypatch: pytest.MonkeyPatch) -> Generator[SimulatedVenue]:
    for name in ("POLYMARKET_API_KEY", "POLYMARKET_SECRET", "POLYMARKET_PASSPHRASE", "POLYGON_PRIVATE_KEY"):
        monkeypatch.delenv(name, raising=False)
    with SimulatedVenue(rate=0) as started:
        yield started


def with_keys(venue: SimulatedVenue, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in venue.credentials.environment().items():
        monkeypatch.setenv(name, value)


def wait_until(condition: Callable[[], object]) -> None:
    wait(condition, 40)


def realtime(manager: pm.Manager) -> dict[str, object]:
    return cast("dict[str, dict[str, object]]", manager.status()["connections"])["realtime"]


@pytest.mark.parametrize("symbols", ["btcusd", "eurusd", "aapl", "btcusd@twap60", ["btc/usd", "btcusd"]])
def test_what_needs_credentials_is_refused_by_the_call_without_them(
    venue: SimulatedVenue, symbols: str | list[str]
) -> None:
    with managing(venue) as manager:
        with pytest.raises(AuthError, match="POLYMARKET_API_KEY, POLYMARKET_SECRET and POLYMARKET_PASSPHRASE"):
            manager.subscribe_reference_prices(symbols)

        assert manager.subscriptions == []
        assert venue.dials == []


def test_the_old_names_need_none(venue: SimulatedVenue) -> None:
    with managing(venue) as manager:
        manager.subscribe_reference_prices(["BTC/USD", "btcusdt"])

        wait_until(lambda: set(manager.reference_prices["symbol"]) == {"btc/usd", "btcusdt"})


def test_a_mixed_list_goes_to_both_sockets_with_the_credentials_of_the_environment(
    venue: SimulatedVenue, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_keys(venue, monkeypatch)
    asked = {
        ("price.crypto", "btcusd"),
        ("price.crypto.twap", "btcusd"),
        ("price.equity", "eurusd"),
        ("price.equity.twap", "eurusd"),
        ("price.equity", "aapl"),
        ("crypto_prices_chainlink", "btc/usd"),
        ("crypto_prices", "btcusdt"),
    }
    with managing(venue) as manager:
        mixed = manager.subscribe_reference_prices(
            ["btcusd", "btcusd@twap60", "eurusd", "eurusd@twap60", "AAPL", "btc/usd", "btcusdt"]
        )
        average = manager.subscribe_reference_prices("btcusd@twap60")

        wait_until(lambda: set(manager.reference_prices.select("topic", "symbol").iter_rows()) == asked)
        wait_until(lambda: average.events_received > 120)
        rows = manager.reference_prices
        averages = rows.filter(pl.col("topic") == "price.crypto.twap", ~pl.col("snapshot"))
        manager.unsubscribe(mixed)
        wait_until(lambda: average.events_received < manager.reference_prices.height)

        assert mixed.events_received > average.events_received
        assert set(averages["window_seconds"]) <= {60}
        assert manager.trouble(average) is None
        assert {connection.channel for connection in venue.connections} == {"prices"}


def test_a_symbol_that_the_venue_does_not_know_is_told_in_status_and_log(
    venue: SimulatedVenue, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with_keys(venue, monkeypatch)
    with managing(venue) as manager:
        unknown = manager.subscribe_reference_prices(["zzzz", "aapl"])
        wait_until(lambda: manager.trouble(unknown))

        assert isinstance(manager.trouble(unknown), FeedError)
        assert "bad_filter" in cast("dict[str, str]", realtime(manager)["refused"])["price.equity|zzzz"]
        assert "zzzz" in str(realtime(manager)["error"])
        wait_until(lambda: any("zzzz" in record.getMessage() for record in caplog.records))
        wait_until(lambda: "aapl" in manager.reference_prices["symbol"])


def test_the_provider_that_is_served_is_in_the_status(venue: SimulatedVenue, monkeypatch: pytest.MonkeyPatch) -> None:
    with_keys(venue, monkeypatch)
    with managing(venue) as manager:
        manager.subscribe_reference_prices(["eurusd", "aapl"], provider="chainlink")

        wait_until(lambda: len(cast("dict[str, str]", realtime(manager)["providers"])) == 2)
        wait_until(lambda: set(manager.reference_prices["symbol"]) == {"aapl", "eurusd"})
        sources = dict(manager.reference_prices.select("symbol", "source").iter_rows())

        assert sources == {"eurusd": "chainlink", "aapl": "pyth"}


@pytest.mark.parametrize("code", ["auth_invalid", "auth_attempts"])
def test_refused_credentials_are_an_error_in_the_venues_words(
    venue: SimulatedVenue, monkeypatch: pytest.MonkeyPatch, code: str
) -> None:
    with_keys(venue, monkeypatch)
    venue.fault("deny", channel="prices", detail=code)
    with managing(venue) as manager:
        prices = manager.subscribe_reference_prices("btcusd")
        wait_until(lambda: manager.trouble(prices))

        assert isinstance(manager.trouble(prices), AuthError)
        assert code in str(manager.trouble(prices))
        assert realtime(manager)["given_up"] is True
        with pytest.raises(AuthError, match=code):
            manager.subscribe_reference_prices("ethusd")
        assert len(venue.dials) == 1


def test_wrong_credentials_are_an_error_and_are_not_tried_again(
    venue: SimulatedVenue, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_keys(venue, monkeypatch)
    monkeypatch.setenv("POLYMARKET_PASSPHRASE", "wrong-canary")
    with managing(venue) as manager:
        prices = manager.subscribe_reference_prices("btcusd")
        wait_until(lambda: manager.trouble(prices))

        assert isinstance(manager.trouble(prices), AuthError)
        assert "canary" not in str(manager.status())
        assert len(venue.dials) == 1


def test_credentials_that_cannot_be_checked_now_are_waited_for(
    venue: SimulatedVenue, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_keys(venue, monkeypatch)
    denied = venue.fault("deny", channel="prices", detail="auth_unavailable", times=1)
    with managing(venue) as manager:
        prices = manager.subscribe_reference_prices("btcusd")

        wait_until(lambda: prices.events_received)

        assert denied.count == 1
        assert len(venue.dials) == 1


@pytest.mark.parametrize("code", [4002, 4003, 1012])
def test_a_connection_that_the_venue_closes_comes_back(
    venue: SimulatedVenue, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    with_keys(venue, monkeypatch)
    policy = msgspec.structs.replace(QUICK, draining=0.1)
    with pm.Manager(address(venue), policy=policy) as manager:
        manager.subscribe_reference_prices("btcusd")
        wait_until(lambda: manager.reference_prices.height)
        venue.fault("close", channel="prices", number=code)
        wait_until(lambda: len(venue.dials) == 2 and len(venue.connections) == 1)
        wait_until(lambda: manager.gaps.filter(pl.col("ended").is_not_null()).height)
        seen = manager.reference_prices.height
        wait_until(lambda: manager.reference_prices.height > seen + 1)

        times = manager.reference_prices["ts_event"]
        assert times.n_unique() == len(times)


def test_dropped_and_lost_prices_are_gaps_that_concern_no_book(
    venue: SimulatedVenue, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_keys(venue, monkeypatch)
    with managing(venue) as manager:
        market = venue.markets[0]
        manager.watch(market.slug)
        manager.subscribe_reference_prices("btcusd")
        wait_until(lambda: manager.reference_prices.height)
        venue.fault("skip", channel="prices")
        wait_until(lambda: manager.gaps.height == 1)
        venue.fault("skip", channel="prices", detail="silently", times=2)
        wait_until(lambda: manager.gaps.height == 2)

        details = manager.gaps["detail"].to_list()
        assert "dropped 1 message of price.crypto" in details[0]
        assert "no 2 messages of price.crypto" in details[1]
        assert manager.book(market.slug, "Yes").bids


def test_more_symbols_than_a_connection_carries_are_spread_over_two(
    venue: SimulatedVenue, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_keys(venue, monkeypatch)
    tickers = [f"{first}{second}" for first in "abcdefghij" for second in "abcdefg"]
    with managing(venue) as manager:
        manager.subscribe_reference_prices([*tickers, "aapl"])
        wait_until(lambda: len(venue.connections) == 2)
        wait_until(lambda: "aapl" in manager.reference_prices["symbol"])

        wait_until(lambda: len(cast("dict[str, str]", realtime(manager)["refused"])) == 70)
        assert "sub_limit" not in str(manager.status())
        assert len(venue.dials) == 2
