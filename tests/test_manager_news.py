"""Listening to everything that a manager hands out."""

import threading

import polars as pl
from support.waiting import wait_until

import pmlive as pm
from pmlive.events import Gap
from pmlive.manager.delivery import News, Registry, deliver
from pmlive.manager.subscriptions import Consumer, Mailbox, Subscription
from pmlive.pipeline.checks import TokenGaps
from pmlive.pipeline.rows import RowBuffers


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

        wait_until(lambda: ("ended", "disconnect") in {(update.get("state"), update.get("cause")) for update in heard})
    told = [update for update in heard if update["type"] == "gap"]
    began = [_identity(update) for update in told if update["state"] == "began"]
    assert len(began) == len(set(began))
    for position, update in enumerate(told):
        if update["state"] == "ended":
            assert _identity(update) in [_identity(earlier) for earlier in told[:position]]
        else:
            assert update["ended"] is None


def test_a_listener_hears_of_the_beginning_of_a_gap_whenever_it_began() -> None:
    """A gap may begin and end between two turns, or have begun before anybody listened."""
    buffers = RowBuffers()
    short, long, other = (Gap(started=at, cause="disconnect", token_id=f"{at}", conn=7) for at in (5, 6, 8))
    TokenGaps(buffers).write(short, 9, ended=9)
    news, early, late = News(), list[dict[str, object]](), list[dict[str, object]]()
    news.add(Consumer(early.append))

    news.gaps([long], buffers.take(None)["gaps"], {"5": "Rain?"})
    news.add(Consumer(late.append))
    news.gaps([long, other], None, {})
    TokenGaps(buffers).write(long, 11, ended=11)
    news.gaps([other], buffers.take(None)["gaps"], {})

    wait_until(lambda: (len(early), len(late)) == (5, 3))
    states = [[(update["state"], update["token_id"]) for update in heard] for heard in (early, late)]
    assert states == [
        [("began", "5"), ("began", "6"), ("ended", "5"), ("began", "8"), ("ended", "6")],
        [("began", "6"), ("began", "8"), ("ended", "6")],
    ]
    assert [update["untrusted_label"] for update in early] == ["Rain?", "", "Rain?", "", ""]
    news.close()


def _identity(update: dict[str, object]) -> tuple[object, ...]:
    return tuple(update[name] for name in ("token_id", "started", "cause", "detail", "conn"))


def test_who_hears_no_more_holds_nothing_up() -> None:
    heard: list[dict[str, object]] = []
    with pm.Manager(venue="sim") as live:
        assert live.sim is not None
        stop = live.listen(heard.append)
        live.watch(live.sim.markets[0].slug)
        wait_until(lambda: heard)

        stop()
        stop()

        # What was on its way is told yet.
        wait_until(lambda: "pmlive consumer" not in {thread.name for thread in threading.enumerate()})
        before = len(heard)
        live.book(live.sim.markets[0].token_ids[0])
        live.sim.fault("drop", channel="market")
        wait_until(lambda: live.gaps.height)
        assert len(heard) == before


def test_of_many_books_the_newest_are_told_and_not_again_at_once() -> None:
    tokens = [f"{number}" for number in range(100)]
    subscription = Subscription("orderbook_updates", "market", tokens, selects=tokens)
    news, registry, heard = News(), Registry(), list[dict[str, object]]()
    registry.add(subscription)
    news.add(Consumer(heard.append))

    news.rows(registry, {"depth": books(tokens, bid=0.1)}, {})
    wait_until(lambda: len(heard) == 100)
    news.rows(registry, {"depth": books(tokens[:3], bid=0.2)}, {})
    news.rows(registry, {"depth": books(tokens[:2], bid=0.3)}, {})
    assert len(heard) == 100

    # A hundred updates were told: there is a fifth of a second until the next.
    wait_until(lambda: news.rows(registry, {}, {}) or len(heard) > 100)
    wait_until(lambda: len(heard) == 103)
    assert {update["token_id"]: update["bid_prices"] for update in heard[100:]} == {
        "0": [0.3],
        "1": [0.3],
        "2": [0.2],
    }
    news.close()


def test_where_nobody_listens_readers_of_a_subscription_are_told_once() -> None:
    """A listener may leave while rows are handed out."""
    subscription = Subscription("orderbook_updates", "market", ["1"], selects=["1"])
    mailbox, registry, frames = Mailbox(), Registry(), {"depth": books(["1"], bid=0.1)}
    subscription.mailboxes.append(mailbox)
    registry.add(subscription)

    deliver(registry, frames, {}, {})
    assert mailbox.get() is not None
    News().rows(registry, frames, {})

    mailbox.close()
    assert mailbox.get() is None


def books(tokens: list[str], bid: float) -> pl.DataFrame:
    levels = [[bid]] * len(tokens)
    sides = {f"{side}_{what}": levels for side in ("bid", "ask") for what in ("prices", "sizes")}
    return pl.DataFrame({"token_id": tokens, **sides})
