"""The object a researcher holds, against the simulated venue over real sockets."""

import asyncio
import json
import logging
import math
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import cast

import msgspec
import polars as pl
import pytest
from support.feed import QUICK
from support.live import address
from support.waiting import until, wait_until
from support.ws import Peer, serving_sockets

import pmlive as pm
from pmlive.errors import BookError
from pmlive.feed import Policy
from pmlive.manager import BookView, Manager, Subscription
from pmlive.manager.live import CrossCheckPolicy
from pmlive.manager.subscriptions import Handler, Mailbox, Update
from pmlive.sim import Limits, SimulatedVenue


@contextmanager
def managing(sim: SimulatedVenue, **options: object) -> Generator[Manager]:
    """Make a manager of the venue, and see that no thread is left of it."""
    before = set(threading.enumerate())
    manager = Manager(address(sim), **({"policy": QUICK} | options))  # pyright: ignore[reportArgumentType]
    try:
        yield manager
    finally:
        manager.close()
        wait_until(lambda: set(threading.enumerate()) <= before, what="that no thread is left")


def credentials(sim: SimulatedVenue) -> pm.Credentials:
    given = sim.credentials
    return pm.Credentials(given.api_key, given.secret, given.passphrase)


def tokens(sim: SimulatedVenue) -> list[str]:
    return [token for market in sim.markets for token in market.token_ids]


def slugs(sim: SimulatedVenue) -> list[str]:
    return [market.slug for market in sim.markets]


def part(status: dict[str, object], *path: str) -> dict[str, object]:
    for name in path:
        status = cast("dict[str, object]", status[name])
    return status


def until_trusted(manager: Manager, count: int) -> None:
    wait_until(lambda: part(manager.status(), "books")["trusted"] == count, what=f"that {count} books are trusted")


# --- what is there ---


def test_watching_a_market_fills_prices_depth_and_trades() -> None:
    with SimulatedVenue(markets=2, rate=300) as sim, managing(sim) as manager:
        manager.watch(slugs(sim))
        wait_until(lambda: manager.trades.height > 5 and manager.depth.height > 5 and manager.prices.height > 5)

        for frame in (manager.prices, manager.depth, manager.trades):
            assert set(frame["token_id"]) <= set(tokens(sim))
            assert frame["seq"].is_sorted()
        assert manager.gaps.height == 0
        assert {market.slug for market in manager.markets} == set(slugs(sim))


def test_a_frame_that_was_given_does_not_change() -> None:
    with SimulatedVenue(markets=1, rate=300) as sim, managing(sim) as manager:
        manager.watch(slugs(sim))
        wait_until(lambda: manager.prices.height > 3)
        given = manager.prices
        copy = given.clone()

        wait_until(lambda: manager.prices.height > given.height + 5)

        assert given.equals(copy)


def test_a_book_is_found_by_token_by_outcome_and_by_market() -> None:
    with SimulatedVenue(markets=1, rate=0) as sim, managing(sim) as manager:
        (market,) = sim.markets
        manager.watch(market.slug)
        until_trusted(manager, 2)

        by_outcome = manager.book("yes")
        assert by_outcome == manager.book(market.token_ids[0]) == manager.book(market.slug, "Yes")
        assert by_outcome == manager.book(market.condition_id, "yes")
        assert market.question in by_outcome.label
        assert by_outcome.state == "verified"
        rest = json.loads(sim.book(market.token_ids[0]))
        assert [(float(level["price"]), float(level["size"])) for level in rest["bids"][::-1]] == by_outcome.bids
        assert len(manager.book("no", depth=3).asks) == 3
        assert by_outcome.frame().columns == ["side", "price", "size"]
        assert abs((datetime.now(UTC) - by_outcome.ts_recv).total_seconds()) < 60


def test_a_book_with_an_empty_side_has_no_middle() -> None:
    now = datetime.now(UTC)
    book = BookView(
        token_id="1", market="0xm", label="<b>", bids=[], asks=[(0.5, 1.0)], state="verified", ts_event=now, ts_recv=now
    )

    assert (book.best_bid, book.mid, book.spread) == (None, None, None)
    assert "<b>" not in book._repr_html_()  # pyright: ignore[reportPrivateUsage]  # what a notebook calls


def test_a_book_of_several_meanings_or_none_is_an_unknown_market() -> None:
    with SimulatedVenue(markets=2, rate=0) as sim, managing(sim) as manager:
        with pytest.raises(pm.UnknownMarketError, match="none yet"):
            manager.book("Yes")
        manager.watch(slugs(sim))
        until_trusted(manager, 4)

        with pytest.raises(
            pm.UnknownMarketError, match="2 subscribed tokens are named 'Yes'; give a market and its outcome"
        ):
            manager.book("Yes")
        with pytest.raises(LookupError, match="no subscribed market or token is named 'Perhaps'"):
            manager.book("Perhaps")
        with pytest.raises(pm.UnknownMarketError, match="outcome"):
            manager.book(slugs(sim)[0], "Perhaps")


def test_a_stale_book_refuses_and_says_why() -> None:
    with SimulatedVenue(markets=1, rate=0) as sim, managing(sim) as manager:
        manager.watch(slugs(sim))
        until_trusted(manager, 2)
        sim.fault("refuse", channel="market", number=503)
        sim.fault("drop", channel="market")
        wait_until(lambda: part(manager.status(), "books")["trusted"] == 0)

        with pytest.raises(pm.BookError, match=r"since 20.*disconnect"):
            manager.book("Yes")
        assert set(manager.gaps["cause"].cast(pl.String)) == {"disconnect"}
        assert manager.gaps["ended"].null_count() == manager.gaps.height
        sim.clear_faults()
        until_trusted(manager, 2)
        assert manager.book("Yes").best_bid


def test_a_book_that_has_not_come_is_no_unknown_market() -> None:
    """Found by reading: before the first connection a token that is subscribed was called unknown."""
    with SimulatedVenue(markets=1, rate=0) as sim, managing(sim) as manager:
        sim.fault("refuse", channel="market", number=503)
        manager.watch(slugs(sim))

        for name in ("Yes", tokens(sim)[0]):
            with pytest.raises(pm.BookError, match="not come yet"):
                manager.book(name, patience=0)


def test_a_book_that_is_on_its_way_is_waited_for() -> None:
    with SimulatedVenue(markets=1, rate=0) as sim, managing(sim) as manager:
        manager.watch(slugs(sim))

        assert manager.book("Yes").best_bid


# --- subscriptions ---


def test_each_kind_of_subscription_gets_its_own_events() -> None:
    with (
        SimulatedVenue(markets=2, rate=200, story_every=0.2) as sim,
        managing(sim, credentials=credentials(sim)) as manager,
    ):
        first, second = sim.markets
        kinds = {
            "market_prices": manager.subscribe_market_prices(first.slug),
            "orderbook_updates": manager.subscribe_orderbook_updates([second.token_ids[0]], depth=3),
            "market_resolution": manager.subscribe_market_resolution(second.slug),
            "user_orders": manager.subscribe_user_orders(),
            "user_trades": manager.subscribe_user_trades(),
            "activity": manager.subscribe_activity([first.event_slug, second.event_slug]),
            "reference_prices": manager.subscribe_reference_prices(["btc/usd", "btcusdt"]),
            "watch": manager.watch(first.condition_id),
        }
        streamed = manager.subscribe_reference_prices("btcusd")
        wait_until(lambda: all(one.events_received for name, one in kinds.items() if name != "market_resolution"), 20)
        wait_until(lambda: streamed.events_received)
        sim.resolve(second, winner="No")
        wait_until(lambda: kinds["market_resolution"].events_received)

        status = manager.status()
        assert part(status, "subscriptions", "by_type") == dict.fromkeys(kinds, 1) | {"reference_prices": 2}
        assert set(manager.user_orders["market"]) <= {first.condition_id, second.condition_id}
        assert set(manager.reference_prices["symbol"]) >= {"btc/usd", "btcusdt", "btcusd"}
        assert set(manager.activity["event_slug"]) <= {first.event_slug, second.event_slug}
        resolved = manager.market_events.filter(pl.col("kind") == "market_resolved")
        assert resolved["winning_outcome"].to_list() == ["No"]
        assert kinds["market_resolution"].events_received == 1
        assert part(status, "connections", "clob")["connected"]
        assert part(status, "connections", "realtime")["connected"]


def test_user_messages_can_be_narrowed_to_markets() -> None:
    with (
        SimulatedVenue(markets=2, rate=0, story_every=600) as sim,
        managing(sim, credentials=credentials(sim)) as manager,
    ):
        first, second = sim.markets
        narrow = manager.subscribe_user_orders([first.slug])
        wait_until(lambda: part(manager.status(), "connections", "clob")["open"] == 1)
        wide = manager.subscribe_user_trades()
        wait_until(lambda: part(manager.status(), "connections", "clob")["open"] == 1 and len(sim.dials) >= 2)

        def own() -> int:
            return manager.user_orders.filter(pl.col("market") == first.condition_id).height

        def told() -> bool:
            sim.user_order(second, "filled")
            sim.user_order(first, "filled")
            return bool(narrow.events_received and wide.events_received)

        wait_until(told)
        wait_until(lambda: set(manager.user_trades["market"]) == {first.condition_id, second.condition_id})
        # The stories that were begun come to their end.
        wait_until(lambda: narrow.events_received == own() > 0 and wide.events_received == manager.user_trades.height)
        assert manager.user_orders.height > own()


def test_tokens_that_are_shared_are_counted() -> None:
    with SimulatedVenue(markets=1, rate=100) as sim, managing(sim) as manager:
        both = set(tokens(sim))
        watch = manager.watch(slugs(sim))
        one = manager.subscribe_orderbook_updates(tokens(sim)[:1])
        wait_until(lambda: sim.connections and set(sim.connections[0].tokens) == both)

        manager.unsubscribe(watch.id)
        wait_until(lambda: set(sim.connections[0].tokens) == set(tokens(sim)[:1]))
        before = one.events_received
        wait_until(lambda: one.events_received > before)
        manager.unsubscribe(one)
        wait_until(lambda: not sim.connections)

        assert manager.subscriptions == []
        with pytest.raises(ValueError, match="no subscription"):
            manager.unsubscribe(watch.id)


def test_a_user_socket_ends_with_its_last_subscription() -> None:
    with SimulatedVenue(markets=1, rate=0) as sim, managing(sim, credentials=credentials(sim)) as manager:
        orders, trades = manager.subscribe_user_orders(), manager.subscribe_user_trades()
        wait_until(lambda: len(sim.connections) == 1)

        manager.unsubscribe(orders)
        assert len(sim.connections) == 1
        manager.unsubscribe(trades)

        wait_until(lambda: not sim.connections)


def test_callbacks_get_updates_that_json_can_hold() -> None:
    got: dict[str, list[Update]] = {"notification": [], "log": [], "event": [], "async": []}

    async def on_event(update: Update) -> None:
        got["async"].append(update)

    with (
        SimulatedVenue(markets=1, rate=300) as sim,
        managing(sim, notification_callback=got["notification"].append, log_callback=got["log"].append) as manager,
    ):
        one = manager.subscribe_market_prices(slugs(sim))
        two = manager.subscribe_orderbook_updates(tokens(sim)[:1], 2, "log", on_event=got["event"].append)
        three = manager.watch(slugs(sim), on_event=on_event)
        wait_until(lambda: all(len(updates) > 3 for updates in got.values()))
        wait_until(lambda: any(update["table"] == "trades" for update in got["async"]))
        manager.unsubscribe(three)

    assert {update["subscription_id"] for update in got["log"]} == {two.id}
    assert {update["subscription_id"] for update in got["notification"]} == {one.id, three.id}
    depths = [update for update in got["event"] if update["table"] == "depth"]
    assert depths == got["event"]
    assert max(len(cast("list[float]", update["bid_prices"])) for update in depths) == 2
    for update in [update for updates in got.values() for update in updates]:
        assert json.loads(json.dumps(update)) == update
        assert update["type"] in ("market_prices", "orderbook_updates", "watch")


@pytest.mark.parametrize("handler", ["raising", "async raising"])
def test_a_callback_that_raises_is_reported_and_called_again(handler: str, caplog: pytest.LogCaptureFixture) -> None:
    calls: list[Update] = []

    def raising(update: Update) -> None:
        calls.append(update)
        raise RuntimeError(f"the user's own fault, {handler}")

    async def async_raising(update: Update) -> None:
        raising(update)

    with SimulatedVenue(markets=1, rate=300) as sim, managing(sim) as manager:
        manager.watch(slugs(sim), on_event=raising if handler == "raising" else async_raising)
        wait_until(lambda: len(calls) > 3)
        assert manager.gaps.height == 0

    assert any(f"own fault, {handler}" in str(record.exc_info) for record in caplog.records)


def test_a_slow_consumer_loses_nothing_but_its_own_updates() -> None:
    """Promise 6: a hung chart costs the recorder nothing."""
    hung = threading.Event()

    def hang(_: Update) -> None:
        hung.wait()

    with SimulatedVenue(markets=1, rate=0, duplicates=0) as sim, managing(sim) as manager:
        watch = manager.subscribe_market_prices(slugs(sim), on_event=hang)
        until_trusted(manager, 2)
        try:
            wait_until(lambda: sim.step(400) and watch.dropped >= 5, 40)
            wait_until(lambda: part(manager.status(), "books")["trusted"] == 2)
        finally:
            hung.set()

        assert manager.gaps.height == 0
        status = manager.status()
        assert part(status, "books")["trusted"] == 2
        (active,) = cast("list[dict[str, object]]", part(status, "subscriptions")["active"])
        assert cast("int", active["dropped"]) >= 5
        wait_until(lambda: part(manager.status(), "statistics", "events_by_type")["trade"] == manager.trades.height)


def test_a_mailbox_keeps_the_newest_of_each_key_and_counts_what_it_drops() -> None:
    mailbox = Mailbox(size=3)
    for number in range(5):
        mailbox.put({"number": number}, key="same")
    for number in range(5, 9):
        mailbox.put({"number": number})
    mailbox.close()

    kept: list[object] = []
    while (update := mailbox.get()) is not None:
        kept.append(update["number"])

    assert kept == [6, 7, 8]
    assert (mailbox.coalesced, mailbox.dropped) == (4, 2)


def test_a_reader_whose_loop_is_gone_stops_nobody() -> None:
    """Found by reading: to wake a loop that was closed raised in the feed, which then gave up all its work."""
    with SimulatedVenue(markets=1, rate=300) as sim, managing(sim) as manager:
        watch = manager.watch(slugs(sim))
        loop = asyncio.new_event_loop()
        reader = watch.__aiter__()
        loop.run_until_complete(reader.__anext__())
        waiting = asyncio.ensure_future(reader.__anext__(), loop=loop)
        loop.run_until_complete(asyncio.sleep(0))
        waiting.cancel()
        loop.run_until_complete(asyncio.gather(waiting, return_exceptions=True))
        loop.close()

        before = manager.trades.height
        wait_until(lambda: manager.trades.height > before + 3)
        assert part(manager.status(), "background_task") == {"running": True, "task_exists": True}


def test_updates_can_be_iterated_in_any_event_loop() -> None:
    async def read(subscription: Subscription) -> list[Update]:
        updates: list[Update] = []
        async for update in subscription:
            updates.append(update)
            if len(updates) == 5:
                break
        return updates

    async def main() -> None:
        async with Manager(address(sim), policy=QUICK) as manager:
            # Every method is plain, with a loop running too.
            watch = manager.watch(slugs(sim))
            book = manager.subscribe_orderbook_updates(tokens(sim)[:1])
            first, second = await asyncio.gather(read(watch), read(book))
            assert {update["table"] for update in second} == {"depth"}
            assert len(first) == 5
            reader = asyncio.create_task(read(book))
            await asyncio.sleep(0)
            manager.unsubscribe(book)
            await until(reader.done)
            assert len(reader.result()) <= 5
        with pytest.raises(pm.FeedError):
            manager.status()

    with SimulatedVenue(markets=1, rate=300) as sim:
        asyncio.run(main())


def test_reading_an_ended_subscription_ends_at_once() -> None:
    async def read(subscription: Subscription) -> int:
        return len([update async for update in subscription])

    with SimulatedVenue(markets=1, rate=0) as sim, managing(sim) as manager:
        watch = manager.watch(slugs(sim))
        manager.unsubscribe(watch)

        assert asyncio.run(asyncio.wait_for(read(watch), 5)) == 0


def test_every_method_may_be_called_from_many_threads() -> None:
    failures: list[Exception] = []
    with SimulatedVenue(markets=3, rate=200) as sim, managing(sim) as manager:
        named, ids = slugs(sim), tokens(sim)

        def work(number: int) -> None:
            try:
                for turn in range(8):
                    watch = manager.watch(named[(number + turn) % 3])
                    book = manager.subscribe_orderbook_updates(ids[number % 6])
                    manager.status()
                    _ = manager.prices, manager.gaps, manager.subscriptions, manager.markets, repr(manager)
                    manager.unsubscribe(watch)
                    manager.unsubscribe(book.id)
            except Exception as error:  # noqa: BLE001  # whatever it is, the test shows it
                failures.append(error)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)

        assert failures == []
        assert manager.subscriptions == []
        wait_until(lambda: not sim.connections)
        # A book that was on its way when its token was given up may come once the token is wanted again. Changes in
        # between were not sent, so the next whole book shows that some are missing.
        assert set(manager.gaps["cause"]) <= {"mismatch"}
        assert manager.gaps["ended"].null_count() == 0


def test_a_rolling_series_subscribes_the_next_market_before_the_present_one_ends() -> None:
    with SimulatedVenue(markets=1, rate=200) as sim, managing(sim) as manager:
        other = manager.watch(slugs(sim))
        series = manager.watch("btc-updown-4s")

        def led() -> list[pm.Market]:
            """Return the markets of the series, but the first, whose prices came before their time."""
            markets = [market for market in manager.markets if market.slug.startswith("btc-updown-4s")]
            first = manager.prices.group_by("token_id").agg(pl.col("ts_recv").min().dt.epoch("ms"))
            seen = dict(first.iter_rows())
            return [m for m in markets[1:] if seen.get(m.token_ids[0], math.inf) < starts(m) * 1_000]

        def starts(market: pm.Market) -> int:
            return int(market.slug.rsplit("-", 1)[1])

        # Watched in the last moment of a market, the next one comes too late, and the one after it does not.
        wait_until(led, 60)
        markets = [market for market in manager.markets if market.slug.startswith("btc-updown-4s")]
        assert [starts(market) - starts(markets[0]) for market in markets] == [4 * n for n in range(len(markets))]
        # Its rows are its own, and nobody else's.
        series_tokens = {token for market in manager.markets if "updown" in market.slug for token in market.token_ids}
        rows = manager.prices.height + manager.trades.height
        assert 0 < series.events_received < rows * 20
        assert set(series.keys) == series_tokens
        assert other.selects == set(tokens(sim)[:2])
        assert series.selects == series_tokens
        manager.unsubscribe(series)
        wait_until(lambda: set(sim.connections[0].tokens) == set(tokens(sim)[:2]))


# --- status ---


def test_status_has_exactly_the_promised_keys_before_and_while_streaming() -> None:
    with SimulatedVenue(markets=1, rate=200) as sim, managing(sim) as manager:
        early = manager.status()
        manager.watch(slugs(sim))
        wait_until(lambda: part(manager.status(), "statistics")["total_events"])
        late = manager.status()

    for status in (early, late):
        assert {"connected", "authenticated", "url"} <= part(status, "connections", "clob").keys()
        assert {"connected", "url"} <= part(status, "connections", "realtime").keys()
        assert {"total", "by_type", "active"} == part(status, "subscriptions").keys()
        assert {
            "total_events",
            "events_by_type",
            "connection_errors",
            "reconnect_count",
            "last_reconnect",
        } <= part(status, "statistics").keys()
        assert {"running", "task_exists"} == part(status, "background_task").keys()
        assert json.loads(json.dumps(status)) == status
    (active,) = cast("list[dict[str, object]]", part(late, "subscriptions")["active"])
    assert {"id", "type", "channel", "created_at", "events_received", "last_event"} <= active.keys()
    assert active["channel"] == "clob"
    assert datetime.fromisoformat(str(active["created_at"])).tzinfo is not None
    assert part(late, "connections", "clob")["url"] == sim.urls.clob_ws + "/market"
    assert part(early, "statistics")["total_events"] == 0


def test_a_refused_channel_is_told_in_status_and_goes_on_when_it_is_not_refused_any_more() -> None:
    with SimulatedVenue(markets=2, rate=0) as sim, managing(sim) as manager:
        sim.fault("refuse", channel="market", number=403)
        manager.watch(slugs(sim)[:1])
        wait_until(lambda: "403" in str(part(manager.status(), "connections", "clob")["error"]))
        assert "asked again" in str(part(manager.status(), "connections", "clob")["error"])
        assert part(manager.status(), "connections", "clob")["given_up"] is False

        # The other channels go on, and others may be named meanwhile.
        manager.watch(slugs(sim)[1:])
        manager.subscribe_activity(sim.markets[0].event_slug)
        wait_until(lambda: part(manager.status(), "connections", "realtime")["connected"])

        sim.clear_faults()
        wait_until(lambda: part(manager.status(), "connections", "clob")["connected"])
        assert part(manager.status(), "connections", "clob")["error"] is None


def test_wrong_credentials_are_an_error_within_three_connections() -> None:
    wrong = pm.Credentials("11111111-1111-4111-8111-111111111111", "d3Jvbmcgc2VjcmV0IG9mIG5vYm9keQ==", "wrong")
    with SimulatedVenue(markets=1, rate=0) as sim, managing(sim, credentials=wrong) as manager:
        manager.subscribe_user_orders()
        wait_until(lambda: part(manager.status(), "connections", "clob")["error"])

        wait_until(lambda: "API key" in str(part(manager.status(), "connections", "clob")["error"]))
        assert not part(manager.status(), "connections", "clob")["authenticated"]
        with pytest.raises(pm.AuthError):
            manager.subscribe_user_trades()
        assert len([dial for dial in sim.dials if dial.channel == "user"]) == 3


@pytest.mark.parametrize("words", ['{"error":"invalid api key"}', None], ids=["in words", "with silence"])
def test_refused_credentials_are_an_error_with_the_venues_words_and_never_authenticated(words: str | None) -> None:
    """With the patience that everybody has; silence takes longest."""

    async def refusing(peer: Peer) -> None:
        await peer.receive()
        if words is not None:
            await peer.send(words)
        await peer.gone()

    key = pm.Credentials("11111111-1111-4111-8111-111111111111", "d3Jvbmcgc2VjcmV0IG9mIG5vYm9keQ==", "wrong")
    claimed: list[object] = []
    with serving_sockets(refusing) as server, Manager(pm.Venue(clob_ws=server.url), credentials=key) as manager:
        orders = manager.subscribe_user_orders()

        def refused() -> bool:
            clob = part(manager.status(), "connections", "clob")
            claimed.append(clob["authenticated"])
            return bool(clob["given_up"])

        wait_until(refused, 20)
        assert isinstance(manager.trouble(orders), pm.AuthError)
        with pytest.raises(pm.AuthError, match="invalid api key" if words else "silence"):
            manager.subscribe_user_trades()

    assert not any(claimed)
    assert len(server.dials) <= 3


def test_without_credentials_the_user_channel_is_refused_at_once() -> None:
    with (
        SimulatedVenue(markets=1, rate=0) as sim,
        managing(sim) as manager,
        pytest.raises(pm.AuthError, match="POLYMARKET_API_KEY"),
    ):
        manager.subscribe_user_orders()


# --- wrong arguments ---


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"venue": "real"}, ValueError),
        ({"venue": 5}, TypeError),
        ({"rows": 0}, ValueError),
        ({"rows": 1.5}, TypeError),
        ({"rows": True}, TypeError),
        ({"depth": -1}, ValueError),
        ({"age": 60}, TypeError),
        ({"age": timedelta(0)}, ValueError),
        ({"log_callback": "print"}, TypeError),
        ({"notification_callback": 1}, TypeError),
        ({"colour": "red"}, TypeError),
    ],
    ids=str,
)
def test_wrong_options_are_refused(options: dict[str, object], error: type[Exception]) -> None:
    threads = threading.active_count()

    with pytest.raises(error):
        Manager(**options)  # pyright: ignore[reportArgumentType]

    assert threading.active_count() == threads


def test_wrong_arguments_are_refused_and_leave_nothing() -> None:
    with SimulatedVenue(markets=1, rate=0) as sim, managing(sim) as manager:
        slug = slugs(sim)[0]
        token = tokens(sim)[0]
        bad: list[tuple[type[Exception] | tuple[type[Exception], ...], Callable[[], object]]] = [
            (TypeError, lambda: manager.watch(5)),  # pyright: ignore[reportArgumentType]
            (TypeError, lambda: manager.watch([slug, 5])),  # pyright: ignore[reportArgumentType]
            (TypeError, lambda: manager.watch(None)),  # pyright: ignore[reportArgumentType]
            (ValueError, lambda: manager.watch([])),
            (ValueError, lambda: manager.watch("")),
            (ValueError, lambda: manager.watch(slug, callback_type="email")),  # pyright: ignore[reportArgumentType]
            (TypeError, lambda: manager.watch(slug, on_event="print")),  # pyright: ignore[reportArgumentType]
            (ValueError, lambda: manager.subscribe_orderbook_updates(token, depth=0)),
            (ValueError, lambda: manager.subscribe_orderbook_updates(token, depth=11)),
            ((TypeError, ValueError), lambda: manager.subscribe_orderbook_updates(token, depth="3")),  # pyright: ignore[reportArgumentType]
            (ValueError, lambda: manager.subscribe_activity([])),
            (ValueError, lambda: manager.subscribe_activity("a b")),
            (ValueError, lambda: manager.subscribe_activity('x"}')),
            (TypeError, lambda: manager.subscribe_activity([5])),  # pyright: ignore[reportArgumentType]
            (ValueError, lambda: manager.subscribe_reference_prices("")),
            (ValueError, lambda: manager.unsubscribe("nobody")),
            (pm.UnknownMarketError, lambda: manager.watch("no-such-market-anywhere")),
            (pm.UnknownMarketError, lambda: manager.subscribe_market_resolution(f"0x{7:064x}")),
        ]

        for error, call in bad:
            with pytest.raises(error):
                call()

        assert manager.subscriptions == []


def test_a_token_the_catalogue_does_not_know_is_streamed_all_the_same(caplog: pytest.LogCaptureFixture) -> None:
    """The venue streams more than its catalogue lists; a wrong id shows as a missing opening book."""
    with SimulatedVenue(markets=1, rate=0) as sim, managing(sim) as manager:
        stranger = "7" * 77
        manager.subscribe_orderbook_updates([stranger])
        wait_until(lambda: sim.connections and stranger in sim.connections[0].tokens)

        wait_until(lambda: any("does not know token" in record.message for record in caplog.records))


# --- bounds ---


def test_rolling_frames_are_bounded_by_rows() -> None:
    with SimulatedVenue(markets=1, rate=0, duplicates=0) as sim, managing(sim, rows=50) as manager:
        manager.watch(slugs(sim))
        until_trusted(manager, 2)
        sim.step(1000)
        wait_until(lambda: manager.prices.height == 50)

        sim.step(1000)
        wait_until(lambda: cast("int", part(manager.status(), "statistics")["total_events"]) > 2500)
        assert manager.prices.height == 50
        assert manager.trades.height <= 50


def test_rolling_frames_are_bounded_by_age() -> None:
    with SimulatedVenue(markets=1, rate=0) as sim, managing(sim, age=timedelta(seconds=0.3)) as manager:
        manager.watch(slugs(sim))
        until_trusted(manager, 2)
        sim.step(200)

        wait_until(lambda: manager.prices.height == 0)


# --- the end ---


def test_a_closed_manager_refuses() -> None:
    with SimulatedVenue(markets=1, rate=0) as sim, managing(sim) as manager:
        manager.watch(slugs(sim))
        manager.close()
        manager.close()

        calls: list[Callable[[], object]] = [
            lambda: manager.watch(slugs(sim)),
            lambda: manager.subscribe_market_prices(tokens(sim)[0]),
            manager.status,
            lambda: manager.book("Yes"),
            lambda: manager.unsubscribe("1"),
        ]
        for call in calls:
            with pytest.raises(pm.FeedError, match="closed"):
                call()


def test_a_closed_manager_records_nothing_and_makes_no_folder(tmp_path: Path) -> None:
    """Found by reading: the folder was made and locked before the refusal."""
    with SimulatedVenue(markets=1, rate=0) as sim, managing(sim) as manager:
        manager.close()

        with pytest.raises(pm.FeedError, match="closed"):
            manager.record(tmp_path / "night")

        assert list(tmp_path.iterdir()) == []


def test_a_manager_that_did_nothing_closes() -> None:
    before = threading.active_count()

    Manager(policy=QUICK).close()

    assert threading.active_count() == before


@pytest.mark.parametrize("delay", [0, 0.001, 0.01, 0.03, 0.1])
def test_closing_while_another_thread_subscribes_hangs_nobody(delay: float) -> None:
    """Found by reading: a call that waited for the feed thread waited for ever once that had stopped."""
    outcomes: list[object] = []

    def subscribe(manager: Manager, slug: str) -> None:
        try:
            while True:
                manager.watch(slug)
        except Exception as error:  # noqa: BLE001  # whatever it is, the test shows it
            outcomes.append(error)

    with SimulatedVenue(markets=1, rate=500) as sim, managing(sim) as manager:
        threads = [threading.Thread(target=subscribe, args=(manager, slugs(sim)[0])) for _ in range(3)]
        for thread in threads:
            thread.start()
        time.sleep(delay)
        began = time.monotonic()
        manager.close()
        took = time.monotonic() - began
        for thread in threads:
            thread.join(5)

    assert [type(outcome) for outcome in outcomes] == [pm.FeedError] * 3
    assert took < 5


def test_closing_while_nobody_answers_takes_no_longer() -> None:
    async def mute(peer: Peer) -> None:
        async for _ in peer.messages():
            pass

    with SimulatedVenue(markets=1, rate=0) as sim, serving_sockets(mute) as server:
        venue = msgspec.structs.replace(address(sim), clob_ws=server.url)
        manager = Manager(venue, policy=Policy())
        manager.watch(slugs(sim))
        wait_until(lambda: server.texts)

        began = time.monotonic()
        manager.close()

        assert time.monotonic() - began < 3


def test_the_simulated_venue_needs_no_network_and_ends_with_its_manager() -> None:
    before = threading.active_count()

    with Manager(venue="sim") as manager:
        assert manager.sim is not None
        manager.watch(manager.sim.markets[0].slug)
        wait_until(lambda: manager.prices.height > 2)

    wait_until(lambda: threading.active_count() == before)


def test_the_real_venue_by_name_is_that_whatever_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PMLIVE_CLOB_WS_URL", "ws://127.0.0.1:9/ws")

    with Manager(venue="polymarket") as named, Manager() as default:
        assert named.sim is None
        assert repr(named) == "<Manager of wss://ws-subscriptions-clob.polymarket.com/ws, nothing watched>"
        assert "ws://127.0.0.1:9/ws" in repr(default)


def test_a_venue_that_takes_no_more_connections_is_asked_again() -> None:
    with SimulatedVenue(markets=1, rate=50, limits=Limits(connections=1)) as sim, managing(sim) as manager:
        manager.subscribe_activity(sim.markets[0].event_slug)
        wait_until(lambda: len(sim.connections) == 1)
        manager.watch(slugs(sim))
        wait_until(lambda: any(dial.status == 429 for dial in sim.dials))

        manager.unsubscribe(manager.subscriptions[0])

        until_trusted(manager, 2)


# --- secrets ---


def test_secrets_are_in_no_repr_no_status_and_no_log(caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    caplog.set_level(logging.DEBUG)
    with SimulatedVenue(markets=1, rate=100, story_every=0.1) as sim:
        secrets = [sim.credentials.api_key, sim.credentials.secret, sim.credentials.passphrase]
        got: list[Update] = []
        handler: Handler = got.append
        with managing(sim, credentials=credentials(sim)) as manager:
            manager.record(tmp_path / "night")
            manager.watch(slugs(sim))
            orders = manager.subscribe_user_orders(on_event=handler)
            manager.subscribe_user_trades(on_event=handler)
            manager.subscribe_reference_prices("btcusd")
            wait_until(lambda: got and manager.reference_prices.height)
            sim.fault("drop", channel="user")
            wait_until(lambda: part(manager.status(), "statistics")["reconnect_count"])
            said = [
                repr(manager),
                repr(orders),
                json.dumps(manager.status()),
                repr(manager.user_orders),
                repr(vars(orders)),
            ]
            said += [json.dumps(got), repr(credentials(sim)), str(manager.user_trades.to_dicts())]

    ours = [record for record in caplog.records if not record.name.startswith("websockets")]
    said += [record.getMessage() + str(record.exc_text) + str(record.args) for record in ours]
    said += [path.read_bytes().decode("latin-1") for path in (tmp_path / "night").rglob("*") if path.is_file()]
    assert len(ours) > 5
    assert not [text[:200] for text in said if any(secret in text for secret in secrets)]


def test_the_book_of_a_resolved_market_is_refused_and_its_namesake_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Found by review: one resolved market made ``book("Yes")`` fail for all others."""
    monkeypatch.setattr("pmlive.manager.live.CrossCheckPolicy", lambda: CrossCheckPolicy(settled=0.3))
    with SimulatedVenue(markets=2, rate=0) as sim, Manager(address(sim), policy=QUICK) as manager:
        over, going = sim.markets
        manager.watch([over.slug, going.slug])
        assert manager.book(over.slug, "Yes").token_id == over.token_ids[0]

        sim.resolve(over)
        wait_until(lambda: part(manager.status(), "books")["tokens"] == 2)

        assert manager.book("Yes").token_id == going.token_ids[0]
        with pytest.raises(BookError, match="was resolved"):
            manager.book(over.slug, "Yes")
        with pytest.raises(BookError, match="was resolved"):
            manager.book(over.token_ids[0])
