"""Markets that the venue lists without token ids: refused with a sentence, or awaited where their event has others."""

from collections.abc import Callable
from typing import cast

import pytest
from support.feed import QUICK
from support.live import address
from support.waiting import wait_until

from pmlive.errors import UnknownMarketError
from pmlive.manager import Manager, Subscription
from pmlive.manager.ingest import Source
from pmlive.manager.keys import Begin, Listing
from pmlive.sim import Market, SimulatedVenue

EVENT = "https://polymarket.com/event/fed-decision-in-december"
SEVERAL: dict[str, Callable[[Manager, str], Subscription]] = {
    "watch": lambda manager, text: manager.watch(text),
    "prices": lambda manager, text: manager.subscribe_market_prices(text),
    "books": lambda manager, text: manager.subscribe_orderbook_updates(text),
    "resolution": lambda manager, text: manager.subscribe_market_resolution(text),
}


def tokens(sim: SimulatedVenue) -> set[str]:
    return {token for connection in sim.connections for token in connection.tokens}


def hide(sim: SimulatedVenue, market: Market) -> None:
    sim.fault("no_ids", channel="gamma", token_id=market.token_ids[0], seconds=3600)


def look_each(seconds: float, monkeypatch: pytest.MonkeyPatch) -> None:
    def listing(source: Source, begin: Begin, _every: float) -> Listing:
        return Listing(source, begin, seconds)

    monkeypatch.setattr("pmlive.manager.engine.Listing", listing)


def awaited(manager: Manager) -> object:
    subscriptions = cast("dict[str, list[dict[str, object]]]", manager.status()["subscriptions"])
    return subscriptions["active"][0]["awaited"]


@pytest.mark.parametrize("subscribe", sorted(SEVERAL))
@pytest.mark.parametrize("v2", [0, 2])
def test_a_market_that_is_listed_without_token_ids_is_refused_and_subscribes_nothing(subscribe: str, v2: int) -> None:
    with SimulatedVenue(markets=2, rate=0, v2=v2) as sim, Manager(address(sim), policy=QUICK) as manager:
        bare = sim.markets[0]
        hide(sim, bare)

        for text in (bare.slug, f"{EVENT}/{bare.slug}"):
            with pytest.raises(UnknownMarketError, match=f"'{bare.slug}' is listed without token ids"):
                SEVERAL[subscribe](manager, text)

        assert manager.subscriptions == []
        assert not sim.connections


@pytest.mark.parametrize("subscribe", sorted(SEVERAL))
def test_an_event_of_which_no_market_has_token_ids_is_refused(subscribe: str) -> None:
    with SimulatedVenue(markets=2, rate=0) as sim, Manager(address(sim), policy=QUICK) as manager:
        sim.fault("no_ids", channel="gamma", seconds=3600)

        with pytest.raises(UnknownMarketError, match="are listed without token ids"):
            SEVERAL[subscribe](manager, EVENT)

        assert manager.subscriptions == []
        with pytest.raises(UnknownMarketError, match="listed without token ids"):
            manager.watch(manager.find(EVENT))


@pytest.mark.quick(6)
@pytest.mark.parametrize("subscribe", sorted(SEVERAL))
@pytest.mark.parametrize("how", ["catalogue", "announcement"])
@pytest.mark.parametrize("v2", [0, 2])
def test_a_market_of_an_event_is_followed_as_soon_as_it_has_token_ids(
    subscribe: str, how: str, v2: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    every = 0.1 if how == "catalogue" else 3600
    look_each(every, monkeypatch)
    with SimulatedVenue(markets=2, rate=0, v2=v2) as sim, Manager(address(sim), policy=QUICK) as manager:
        whole, bare = sim.markets
        hide(sim, bare)

        subscription = SEVERAL[subscribe](manager, EVENT)
        assert subscription.awaited == [bare.slug] == awaited(manager)
        assert "1 markets awaited" in repr(subscription)
        assert any("listed without token ids" in record.message for record in caplog.records)
        wait_until(lambda: tokens(sim) == set(whole.token_ids))

        if how == "catalogue":
            sim.clear_faults()
        else:
            sim.announce(bare)
        wait_until(lambda: tokens(sim) == {*whole.token_ids, *bare.token_ids}, what="that the other one is followed")
        assert subscription.awaited == [] == awaited(manager)
        assert set(subscription.keys) == {*whole.token_ids, *bare.token_ids}
        wait_until(lambda: cast("dict[str, int]", manager.status()["books"])["trusted"] == 4)
        assert manager.book(bare.token_ids[0]).market == bare.condition_id

        sim.resolve(bare)
        wait_until(lambda: subscription.events_received or subscribe == "prices")


def test_markets_that_were_found_beforehand_are_awaited_as_their_event_is() -> None:
    with SimulatedVenue(markets=2, rate=0) as sim, Manager(address(sim), policy=QUICK) as manager:
        whole, bare = sim.markets
        hide(sim, bare)
        found = manager.find(EVENT)
        assert [len(market.token_ids) for market in found] == [2, 0]

        assert manager.watch(found).awaited == [bare.slug]
        wait_until(lambda: tokens(sim) == set(whole.token_ids))
        with pytest.raises(UnknownMarketError, match=bare.slug):
            manager.watch(found[1])


def test_nothing_is_awaited_for_a_subscription_that_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    look_each(0.05, monkeypatch)
    with SimulatedVenue(markets=2, rate=0) as sim, Manager(address(sim), policy=QUICK) as manager:
        hide(sim, sim.markets[1])
        manager.unsubscribe(manager.watch(EVENT))
        other = manager.watch(EVENT)
        sim.clear_faults()

        wait_until(lambda: len(other.keys) == 4)
        manager.unsubscribe(other)
        wait_until(lambda: not sim.connections)


def test_a_subscription_of_nothing_says_so_and_of_all_says_that() -> None:
    assert "of all" in repr(Subscription("user_orders", "user", []))
    assert "of 0" in repr(Subscription("watch", "market", [], selects=[]))
    assert "of 2" in repr(Subscription("watch", "market", ["1", "2"], selects=["1", "2"]))


def test_a_series_that_has_no_market_yet_is_a_subscription_of_none_for_now() -> None:
    with SimulatedVenue(markets=1, rate=0) as sim, Manager(address(sim), policy=QUICK) as manager:
        sim.fault("refuse", channel="gamma", number=503, seconds=3600)

        assert "of 0" in repr(manager.watch("btc-updown-5m"))
        assert not sim.connections
