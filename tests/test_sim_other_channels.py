"""The simulated user channel, the two price sockets and REST, over real connections."""

import asyncio
import contextlib
import time
from collections.abc import Callable, Generator, Iterable

import httpx
import msgspec
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from pmlive import _wire
from pmlive._wire import decode, decode_book
from pmlive.events import Activity, Channel, Comment, Event, ReferencePrice, UserOrder, UserTrade
from pmlive.sim import HOSTILE_TITLE, Market, SimulatedVenue

_PATIENCE = 60.0


@contextlib.contextmanager
def client(url: str, *frames: str) -> Generator[ClientConnection]:
    with connect(url, compression=None, ping_interval=None, close_timeout=0.2) as socket:
        for frame in frames:
            socket.send(frame)
        yield socket


def events_until(socket: ClientConnection, channel: Channel, wanted: Callable[[list[Event]], bool]) -> list[Event]:
    events: list[Event] = []
    end = time.monotonic() + _PATIENCE
    while not wanted(events):
        events += decode(channel, str(socket.recv(timeout=end - time.monotonic())))
    return events


def credentials(venue: SimulatedVenue) -> dict[str, str]:
    return msgspec.structs.asdict(venue.credentials)


def statuses(events: Iterable[Event]) -> list[str]:
    return [event.status for event in events if isinstance(event, UserTrade)]


def test_a_filled_order_is_placed_matched_mined_and_confirmed() -> None:
    with SimulatedVenue(rate=0, story_every=60) as venue:
        market, other, *_ = venue.markets
        frame = _wire.subscribe_user([market.condition_id], credentials(venue))
        with client(venue.urls.clob_ws + "/user", frame, "PING") as socket:
            assert socket.recv(timeout=_PATIENCE) == "PONG"
            venue.user_order(other, "filled")
            venue.user_order(market, "filled")
            events = events_until(socket, "user", lambda events: "CONFIRMED" in statuses(events))
        assert statuses(events) == ["MATCHED", "MINED", "CONFIRMED"]
        orders = [event for event in events if isinstance(event, UserOrder)]
        assert [order.type for order in orders] == ["PLACEMENT", "UPDATE"]
        assert {event.market for event in events if isinstance(event, UserOrder | UserTrade)} == {market.condition_id}


def test_a_killed_order_has_empty_texts_and_a_cancelled_one_matched_nothing() -> None:
    with SimulatedVenue(rate=0, story_every=60) as venue:
        frame = _wire.subscribe_user(None, credentials(venue))
        with client(venue.urls.clob_ws + "/user", frame, "PING") as socket:
            assert socket.recv(timeout=_PATIENCE) == "PONG"
            venue.user_order(venue.markets[0], "killed")
            (killed,) = events_until(socket, "user", lambda events: len(events) == 1)
            venue.user_order(venue.markets[0], "cancelled")
            _, cancelled = events_until(socket, "user", lambda events: len(events) == 2)
        assert isinstance(killed, UserOrder)
        assert (killed.size_matched, killed.outcome, killed.created_at) == ("", "", "")
        assert isinstance(cancelled, UserOrder)
        assert (cancelled.type, cancelled.status, cancelled.size_matched) == ("CANCELLATION", "CANCELED", "0")


def test_wrong_credentials_are_cut_off_without_a_reason() -> None:
    wrong = {"api_key": "a", "secret": "b", "passphrase": "c"}
    with (
        SimulatedVenue(rate=0) as venue,
        client(venue.urls.clob_ws + "/user", _wire.subscribe_user(None, wrong)) as socket,
    ):
        with pytest.raises(ConnectionClosed) as caught:
            socket.recv(timeout=_PATIENCE)
        assert caught.value.rcvd is None


def test_orders_come_by_themselves_from_time_to_time() -> None:
    with SimulatedVenue(rate=0, story_every=0.05) as venue:
        frame = _wire.subscribe_user(None, credentials(venue))
        with client(venue.urls.clob_ws + "/user", frame) as socket:
            assert events_until(socket, "user", lambda events: len(events) > 3)


def test_activity_of_subscribed_events_names_taker_and_maker() -> None:
    with SimulatedVenue(rate=0) as venue:
        slug = venue.markets[0].event_slug
        with client(venue.urls.live_data, _wire.subscribe_realtime("activity", slug), "PING") as socket:
            assert socket.recv(timeout=_PATIENCE) == ""
            venue.step(300)
            events = events_until(socket, "realtime", lambda events: len(events) >= 6)
        activity = [event for event in events if isinstance(event, Activity)]
        assert len(activity) == len(events)
        assert {event.event_slug for event in activity} == {slug}
        assert [event.type for event in activity[:3]] == ["orders_matched", "trades", "trades"]
        assert activity[1].side != activity[2].side


@pytest.mark.parametrize(
    ("topic", "key"), [("crypto_prices_chainlink", "btc/usd"), ("crypto_prices", "btcusdt"), ("equity_prices", "aapl")]
)
def test_reference_prices_open_with_two_minutes_and_go_on(topic: str, key: str) -> None:
    with SimulatedVenue(rate=0) as venue, client(venue.urls.live_data, _wire.subscribe_realtime(topic, key)) as socket:
        if topic == "crypto_prices":
            events = events_until(socket, "realtime", lambda events: len(events) > 120)
        else:
            events = events_until(socket, "realtime", lambda events: len(events) > 121)
        prices = [event for event in events if isinstance(event, ReferencePrice)]
        assert [price.snapshot for price in prices[:121]] == [True] * 120 + [False]
        assert {price.symbol for price in prices} == {key}
        assert all(price.value > 0 for price in prices)


@pytest.mark.parametrize(
    "frame",
    [
        _wire.subscribe_realtime("activity", "x").replace("event_slug", "slug"),
        '{"action":"subscribe","subscriptions":[{"topic":"crypto_prices_chainlink","type":"*","filters":"btc"}]}',
        '{"action":"subscribe","subscriptions":[{"topic":"weather","type":"*"}]}',
        "{",
    ],
)
def test_one_bad_item_refuses_a_whole_request(frame: str) -> None:
    with SimulatedVenue(rate=0) as venue, client(venue.urls.live_data, frame) as socket:
        assert msgspec.json.decode(socket.recv(timeout=_PATIENCE))["statusCode"] == 400


def test_comments_reach_their_subscribers() -> None:
    frame = '{"action":"subscribe","subscriptions":[{"topic":"comments","type":"*"}]}'
    with SimulatedVenue(rate=0) as venue, client(venue.urls.live_data, frame, "PING") as socket:
        assert socket.recv(timeout=_PATIENCE) == ""
        venue.comment("<b>well</b>", venue.markets[0])
        (comment,) = events_until(socket, "realtime", lambda events: len(events) == 1)
        assert isinstance(comment, Comment)
        assert comment.payload["body"] == "<b>well</b>"


def test_rest_returns_the_same_book_as_the_socket() -> None:
    with SimulatedVenue(rate=0) as venue:
        venue.step(50)
        market = venue.markets[0]
        token = market.token_ids[0]
        answer = httpx.get(f"{venue.urls.clob}/book", params={"token_id": token})
        book = decode_book(answer.content)
        assert answer.text == venue.book(token)
        assert (book.min_order_size, book.neg_risk, book.token_id) == ("5", True, token)
        wanted = [{"token_id": token}, {"token_id": "1"}, {"token_id": market.token_ids[1]}]
        books = httpx.post(f"{venue.urls.clob}/books", json=wanted).json()
        assert [entry["asset_id"] for entry in books] == list(market.token_ids)


def test_rest_answers_the_small_calls() -> None:
    with SimulatedVenue(rate=0) as venue:
        market = venue.markets[0]
        token, clob = market.token_ids[0], venue.urls.clob

        def got(path: str) -> object:
            return httpx.get(f"{clob}{path}").json()

        assert abs(int(httpx.get(f"{clob}/time").text) - time.time()) < 5
        assert got(f"/tick-size?token_id={token}") == {"minimum_tick_size": 0.01}
        assert got(f"/neg-risk?token_id={token}") == {"neg_risk": True}
        by_token = httpx.get(f"{clob}/markets-by-token/{token}").json()
        assert by_token["condition_id"] == market.condition_id
        assert httpx.get(f"{clob}/markets/{market.condition_id}").json()["market_slug"] == market.slug
        for answer in (httpx.post(f"{clob}/auth/api-key"), httpx.get(f"{clob}/auth/derive-api-key")):
            assert answer.json()["apiKey"] == venue.credentials.api_key


def test_an_unknown_or_settled_token_has_no_book() -> None:
    with SimulatedVenue(rate=0) as venue:
        market = venue.markets[0]
        venue.resolve(market)
        for token in ("1", *market.token_ids):
            answer = httpx.get(f"{venue.urls.clob}/book", params={"token_id": token})
            assert answer.status_code == 404
            assert answer.json() == {"error": "No orderbook exists for the requested token id"}


def gamma(venue: SimulatedVenue, path: str) -> list[dict[str, object]]:
    return httpx.get(f"{venue.urls.gamma}{path}").json()


def test_gamma_finds_markets_by_slug_condition_and_token_in_the_venues_own_forms() -> None:
    with SimulatedVenue(rate=0) as venue:
        market = venue.markets[0]
        for query in (
            f"slug={market.slug}",
            f"condition_ids={market.condition_id}",
            f"clob_token_ids={market.token_ids[1]}&clob_token_ids={market.token_ids[0]}",
        ):
            (found,) = gamma(venue, f"/markets?{query}")
            assert msgspec.json.decode(str(found["clobTokenIds"])) == list(market.token_ids)
            assert found["outcomes"] == '["Yes", "No"]'
            assert found["orderPriceMinTickSize"] == 0.01
            assert found["negRisk"] is True
        event = httpx.get(f"{venue.urls.gamma}/events/slug/{market.event_slug}").json()
        assert [entry["slug"] for entry in event["markets"]] == [venue.markets[0].slug, venue.markets[1].slug]
        assert httpx.get(f"{venue.urls.gamma}/events/slug/nothing").status_code == 404


def test_gamma_lists_resolved_markets_on_request_only() -> None:
    with SimulatedVenue(rate=0) as venue:
        market = venue.markets[0]
        venue.resolve(market, winner="No")
        assert gamma(venue, f"/markets?slug={market.slug}") == []
        (found,) = gamma(venue, f"/markets?slug={market.slug}&closed=true")
        assert (found["closed"], found["outcomePrices"]) == (True, '["0", "1"]')
        assert found["umaResolutionStatus"] == "resolved"


def test_gamma_pages_through_every_market_once() -> None:
    with SimulatedVenue(markets=250, rate=0) as venue:
        slugs: list[str] = []
        cursor: str | None = ""
        while cursor is not None:
            params = {"limit": "100", **({"after_cursor": cursor} if cursor else {})}
            page = httpx.get(f"{venue.urls.gamma}/markets/keyset", params=params).json()
            slugs += [market["slug"] for market in page["markets"]]
            cursor = page["next_cursor"]
        assert slugs == [market.slug for market in venue.markets]


def test_gamma_searches_by_words_and_returns_hostile_titles_as_they_are() -> None:
    with SimulatedVenue(rate=0, hostile_titles=True) as venue:
        found = httpx.get(f"{venue.urls.gamma}/public-search", params={"q": "FED december"}).json()
        questions = [market["question"] for event in found["events"] for market in event["markets"]]
        assert HOSTILE_TITLE in questions


def test_a_rolling_market_is_created_when_gamma_is_asked() -> None:
    with SimulatedVenue(rate=0) as venue:
        start = int(time.time()) // 300 * 300
        event = httpx.get(f"{venue.urls.gamma}/events/slug/btc-updown-5m-{start}").json()
        assert event["markets"][0]["feeSchedule"]["rate"] == 0.07
        assert event["markets"][0]["outcomes"] == '["Up", "Down"]'
        assert isinstance(venue.market(f"btc-updown-5m-{start}"), Market)
        far = start + 300 * 1000
        assert httpx.get(f"{venue.urls.gamma}/markets/slug/btc-updown-5m-{far}").status_code == 404


@pytest.mark.parametrize("status", [401, 403, 429, 503])
def test_rest_refuses_on_command(status: int) -> None:
    with SimulatedVenue(rate=0) as venue:
        fault = venue.fault("refuse", channel="gamma", times=1, number=status)
        assert httpx.get(f"{venue.urls.gamma}/markets").status_code == status
        assert httpx.get(f"{venue.urls.gamma}/markets").status_code == 200
        assert (fault.count, [dial.status for dial in venue.dials]) == (1, [status, 200])


def test_the_environment_points_at_the_venue() -> None:
    with SimulatedVenue(rate=0) as venue:
        values = venue.environment()
        names = ("CLOB_WS", "LIVE_DATA", "PRICES_WS", "CLOB", "GAMMA", "DATA")
        assert set(values) == {f"PMLIVE_{name}_URL" for name in names}
        assert all("//127.0.0.1:" in value for value in values.values())


def test_a_venue_stops_at_once_while_a_request_hangs() -> None:
    with SimulatedVenue(rate=0) as venue:
        venue.fault("stall", channel="clob")
        with pytest.raises(httpx.ReadTimeout):
            httpx.get(f"{venue.urls.clob}/time", timeout=0.1)
        began = time.monotonic()
    assert time.monotonic() - began < 5


def test_a_venue_serves_inside_a_running_loop() -> None:
    async def asked() -> int:
        async with SimulatedVenue(rate=100) as venue, httpx.AsyncClient() as http:
            return (await http.get(f"{venue.urls.gamma}/markets")).status_code

    assert asyncio.run(asked()) == 200
