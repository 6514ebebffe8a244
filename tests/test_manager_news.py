"""Listening to everything that a manager hands out."""

from support.waiting import wait_until

import pmlive as pm


def test_a_listener_gets_what_any_subscription_gets() -> None:
    heard: list[dict[str, object]] = []
    with pm.Manager(venue="sim") as live:
        assert live.sim is not None
        first, second = live.sim.markets[:2]

        live.listen(heard.append)
        prices = live.subscribe_market_prices(first.slug)
        books = live.subscribe_orderbook_updates(second.token_ids)

        wait_until(
            lambda: (
                {update["subscription_id"] for update in heard if "subscription_id" in update} == {prices.id, books.id}
            )
        )
    tables = {update["subscription_id"]: update["table"] for update in heard if "subscription_id" in update}
    assert tables[books.id] == "depth"
    assert tables[prices.id] in {"prices", "trades"}


def test_a_listener_hears_of_a_gap_when_it_begins_and_when_it_ends() -> None:
    heard: list[dict[str, object]] = []
    with pm.Manager(venue="sim") as live:
        assert live.sim is not None
        market = live.sim.markets[0]
        live.watch(market.slug)
        live.book(market.token_ids[0])

        live.listen(heard.append)
        live.sim.fault("drop", channel="market")

        wait_until(lambda: "ended" in {update.get("state") for update in heard})
    began = next(update for update in heard if update.get("state") == "began")
    ended = next(update for update in heard if update.get("state") == "ended")
    assert began["cause"] == ended["cause"] == "disconnect"
    assert (began["ended"], began["started"]) == (None, ended["started"])


def test_who_hears_no_more_holds_nothing_up() -> None:
    heard: list[dict[str, object]] = []
    with pm.Manager(venue="sim") as live:
        assert live.sim is not None
        stop = live.listen(heard.append)
        live.watch(live.sim.markets[0].slug)
        wait_until(lambda: heard)

        stop()
        stop()

        before = len(heard)
        live.book(live.sim.markets[0].token_ids[0])
        live.sim.fault("drop", channel="market")
        wait_until(lambda: live.gaps.height)
        assert len(heard) <= before + 1
