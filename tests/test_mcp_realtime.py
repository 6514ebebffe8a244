"""The seven tools of the live feed, against the simulated venue over real sockets."""

import json
from typing import cast

import pytest
from support.toolkit import benched
from support.waiting import wait_until

from pmlive.credentials import Credentials
from pmlive.sim import SimulatedVenue

Rows = list[dict[str, object]]
# The simulated user's, whom no real venue knows.
_SECRET = "c2ltdWxhdGVkIHNlY3JldCwgb3BlbnMgbm90aGluZw=="
USER = Credentials("00000000-0000-4000-8000-0000000051a0", _SECRET, "simulated-passphrase")


def rows(answer: dict[str, object], name: str) -> Rows:
    return cast("Rows", answer[name])


@pytest.mark.parametrize("named", ["condition id", "slug", "token id", "address"])
def test_markets_are_named_in_any_way_and_come_back_with_their_tokens(named: str) -> None:
    with benched() as bench:
        market = bench.markets[0]
        names = {
            "condition id": market.condition_id,
            "slug": market.slug,
            "token id": market.token_ids[0],
            "address": f"https://polymarket.com/event/{market.event_slug}/{market.slug}",
        }

        answer = bench.call("subscribe_market_prices", market_ids=[names[named]])

        told = {token["token_id"]: token for token in rows(answer, "tokens")}
        assert set(told) == set(market.token_ids[:1] if named == "token id" else market.token_ids)
        yes = told[market.token_ids[0]]
        assert yes["trust"] == "verified"
        assert cast("float", yes["best_bid"]) < cast("float", yes["best_ask"])
        if named != "token id":
            assert (yes["condition_id"], yes["untrusted_outcome"]) == (market.condition_id, "Yes")


def test_all_five_subscriptions_get_events_and_are_counted_alike_everywhere() -> None:
    with benched(sim=SimulatedVenue(story_every=0.5), credentials=USER) as bench:
        first, second = bench.markets[:2]
        ids = [
            bench.call("subscribe_market_prices", market_ids=[first.slug])["subscription_id"],
            bench.call("subscribe_orderbook_updates", token_ids=[first.token_ids[0]], depth=3)["subscription_id"],
            bench.call("subscribe_market_resolution", market_ids=[second.slug])["subscription_id"],
            bench.call("subscribe_user_orders")["subscription_id"],
            bench.call("subscribe_user_trades")["subscription_id"],
        ]

        bench.sim.resolve(second, winner="Yes")
        for one in ids:
            bench.until_events(one)

        status = bench.call("get_realtime_status")
        active = {one["id"]: one for one in rows(cast("dict[str, object]", status["subscriptions"]), "active")}
        assert set(active) == set(ids) == {one.id for one in bench.live.subscriptions}
        assert all(cast("int", one["events_received"]) > 0 for one in active.values())


def test_the_depth_that_is_asked_for_is_the_depth_that_comes() -> None:
    with benched() as bench:
        token_id = bench.markets[0].token_ids[0]
        cursor = bench.call("get_realtime_status")["cursor"]

        answer = bench.call("subscribe_orderbook_updates", token_ids=[token_id], depth=2)
        bench.until_events(answer["subscription_id"])

        assert [len(rows(rows(answer, "tokens")[0], side)) for side in ("bids", "asks")] == [2, 2]
        heard = bench.call("get_realtime_status", since=cursor, wait_seconds=10, detail="detailed", limit=1)
        assert len(rows(rows(heard, "events")[0], "bid_prices")) == 2


def test_more_depth_than_the_manager_keeps_is_what_it_keeps_and_said() -> None:
    with benched(depth=5) as bench:
        answer = bench.call("subscribe_orderbook_updates", token_ids=[bench.markets[0].token_ids[0]], depth=50)
        assert answer["depth"] == 5


def test_subscribing_twice_gives_the_same_subscription() -> None:
    with benched() as bench:
        market = bench.markets[0]

        first = bench.call("subscribe_market_prices", market_ids=[market.slug])
        again = bench.call("subscribe_market_prices", market_ids=[market.condition_id])
        other = bench.call("subscribe_market_prices", market_ids=[market.slug], callback_type="log")

        assert (first["created"], again["created"], other["created"]) == (True, False, True)
        assert first["subscription_id"] == again["subscription_id"] != other["subscription_id"]
        assert len(bench.live.subscriptions) == 2


def test_a_subscription_of_the_notebook_is_left_to_the_notebook() -> None:
    with benched() as bench:
        market = bench.markets[0]
        own = bench.live.subscribe_market_prices(market.slug)

        answer = bench.call("subscribe_market_prices", market_ids=[market.slug])
        bench.call("unsubscribe_realtime", subscription_id=answer["subscription_id"])

        assert [one.id for one in bench.live.subscriptions] == [own.id]
        assert bench.live.book(market.token_ids[0]).bids


def test_a_cursor_gives_each_event_once_and_in_order() -> None:
    with benched() as bench:
        answer = bench.call("subscribe_orderbook_updates", token_ids=bench.markets[0].token_ids)
        cursor = answer["cursor"]
        numbers: list[int] = []

        while len(numbers) < 12:
            heard = bench.call("get_realtime_status", since=cursor, wait_seconds=10, limit=3)
            assert heard["gap"] is False
            numbers += [cast("int", event["n"]) for event in rows(heard, "events")]
            cursor = heard["cursor"]

        assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))


def test_events_that_left_the_ring_are_a_gap_and_not_silence() -> None:
    with benched(events=2) as bench:
        bench.call("subscribe_orderbook_updates", token_ids=bench.markets[0].token_ids)
        wait_until(lambda: cast("int", bench.call("get_realtime_status")["cursor"]) > 4)

        heard = bench.call("get_realtime_status", since=0)

        assert heard["gap"] is True
        assert len(rows(heard, "events")) == 2


def test_a_cursor_of_another_run_is_a_gap() -> None:
    with benched() as bench:
        assert bench.call("get_realtime_status", since=10**9)["gap"] is True


def test_an_event_names_its_token_by_position_and_the_answer_names_it_whole() -> None:
    with benched() as bench:
        market = bench.markets[0]
        answer = bench.call("subscribe_market_prices", market_ids=[market.slug])

        heard = bench.call("get_realtime_status", since=answer["cursor"], wait_seconds=10)

        event, tokens = rows(heard, "events")[0], rows(heard, "tokens")
        assert tokens[cast("int", event["token"])]["token_id"] in market.token_ids
        assert {"n", "type", "at"} <= set(event)


def test_a_cut_connection_is_told_with_its_cause_and_the_book_refuses() -> None:
    with benched() as bench:
        token_id = bench.markets[0].token_ids[0]
        answer = bench.call("subscribe_orderbook_updates", token_ids=[token_id])
        bench.sim.fault("refuse", channel="market")
        bench.sim.fault("drop", channel="market")
        wait_until(lambda: bench.live.gaps.height)

        book = bench.call("get_book", token=token_id)
        heard = bench.call("get_realtime_status", since=answer["cursor"], limit=50)

        assert str(book["trust"]).startswith("stale: disconnect since")
        assert book["bids"] is None
        assert str(heard["trust"]).startswith("not connected")
        began = next(event for event in rows(heard, "events") if event["type"] == "gap")
        assert (began["state"], began["cause"]) == ("began", "disconnect")


def test_without_credentials_the_user_tools_say_which_variables_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("POLYMARKET_API_KEY", "POLYMARKET_SECRET", "POLYMARKET_PASSPHRASE", "POLYGON_PRIVATE_KEY"):
        monkeypatch.delenv(name, raising=False)
    with benched() as bench:
        bench.call("subscribe_market_prices", market_ids=[bench.markets[0].slug])
        for tool in ("subscribe_user_orders", "subscribe_user_trades"):
            text = bench.refusal(tool)
            assert "POLYMARKET_API_KEY" in text
            assert "POLYGON_PRIVATE_KEY" in text
        assert len(bench.live.subscriptions) == 1


def test_wrong_credentials_are_refused_by_the_venue_and_nothing_else_is_disturbed() -> None:
    with benched(credentials=Credentials("00000000-0000-4000-8000-0000000051a1", _SECRET, "wrong")) as bench:
        prices = bench.call("subscribe_market_prices", market_ids=[bench.markets[0].slug])

        text = bench.refusal("subscribe_user_orders")

        assert "the venue refused the credentials" in text
        assert [one.id for one in bench.live.subscriptions] == [prices["subscription_id"]]
        assert bench.live.gaps.filter(bench.live.gaps["token_id"].is_not_null()).height == 0
        assert bench.call("get_book", token=bench.markets[0].token_ids[0])["trust"] == "verified"


def test_a_status_of_five_subscriptions_is_short_enough_to_read() -> None:
    """A model pays for each byte; four of them are about one token."""
    with benched() as bench:
        for market in bench.markets[:3]:
            bench.call("subscribe_market_prices", market_ids=[market.slug])
        bench.call("subscribe_orderbook_updates", token_ids=bench.markets[0].token_ids)
        last = bench.call("subscribe_market_resolution", market_ids=[bench.markets[0].slug])
        bench.until_events(bench.live.subscriptions[0].id)

        status = bench.call("get_realtime_status")

        assert len(json.dumps(status, separators=(",", ":"))) < 4 * 600
        alone = bench.call("get_realtime_status", subscription_id=last["subscription_id"])
        assert [one["id"] for one in rows(cast("dict[str, object]", alone["subscriptions"]), "active")] == [
            last["subscription_id"]
        ]


def test_an_unknown_subscription_is_refused_with_the_next_step() -> None:
    with benched() as bench:
        assert "get_realtime_status" in bench.refusal("unsubscribe_realtime", subscription_id="0123456789")
        assert "subscription_id" in bench.refusal("get_realtime_status", subscription_id="0123456789")
