"""What clients may end, and what of the user's own they are told: over HTTP, in both eras, and on a pipe."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

import httpx
import pytest
from mcp.client import Client
from mcp.shared.exceptions import MCPError
from support.live import address
from support.mcp import CLIENT, Era, client_of, eras, heard, text_of, watch
from support.toolkit import benched
from support.waiting import until, wait_until

import pmlive as pm
from pmlive.credentials import Credentials
from pmlive.mcp.http import McpEndpoint, bearer
from pmlive.mcp.specs import Caller
from pmlive.sim import SimulatedVenue

Ask: TypeAlias = Callable[[Client], Awaitable[None]]

JSON = {"accept": "application/json, text/event-stream", "content-type": "application/json"}
# The simulated user's, whom no real venue knows.
USER = Credentials(
    "00000000-0000-4000-8000-0000000051a0", "c2ltdWxhdGVkIHNlY3JldCwgb3BlbnMgbm90aGluZw==", "simulated-passphrase"
)
PATIENCE = 60


@contextmanager
def notebook() -> Generator[pm.Manager]:
    with SimulatedVenue(story_every=0.5) as sim, pm.Manager(address(sim), credentials=USER) as manager:
        yield manager


def run(served: McpEndpoint, era: Era, ask: Ask) -> None:
    async def connected() -> None:
        async with asyncio.timeout(PATIENCE), client_of(served, era) as client:
            await ask(client)

    asyncio.run(connected())


async def told(client: Client, tool: str, **arguments: object) -> dict[str, Any]:
    result = await client.call_tool(tool, arguments)
    assert not result.is_error, result
    assert result.structured_content is not None
    return result.structured_content


async def refused(client: Client, tool: str, **arguments: object) -> str:
    result = await client.call_tool(tool, arguments)
    assert result.is_error, result
    return text_of(result)


async def entries(client: Client) -> dict[str, dict[str, Any]]:
    status = await told(client, "get_realtime_status")
    return {one["id"]: one for one in status["subscriptions"]["active"]}


# --- what may be ended ---


@eras
def test_what_the_notebook_follows_is_the_notebook_s_to_end(era: Era, tmp_path: Path) -> None:
    with notebook() as live:
        slug = _slug(live)
        watched = live.watch(slug)
        prices = live.subscribe_market_prices(slug)
        live.record(tmp_path / "night")

        async def ask(client: Client) -> None:
            mine = (await told(client, "subscribe_market_prices", market_ids=[slug]))["subscription_id"]
            for own in (watched, prices):
                text = await refused(client, "unsubscribe_realtime", subscription_id=own.id)
                assert "notebook" in text
                assert "yours=true" in text
            active = await entries(client)
            assert {id_: one["yours"] for id_, one in active.items()} == {
                watched.id: False,
                prices.id: False,
                mine: True,
            }
            await told(client, "unsubscribe_realtime", subscription_id=mine)

        run(live.serve_mcp(), era, ask)

        assert {one.id for one in live.subscriptions} == {watched.id, prices.id}
        before = live.prices.height
        wait_until(lambda: live.prices.height > before, PATIENCE)
        assert live.gaps.height == 0


def _slug(live: pm.Manager) -> str:
    return next(market.slug for market in live.find("rain") if market.token_ids)


def test_what_one_client_follows_is_not_another_s_to_end_while_it_is_there() -> None:
    with notebook() as live:
        slug, served = _slug(live), live.serve_mcp()

        async def both() -> None:
            id_ = ""
            async with asyncio.timeout(PATIENCE), client_of(served, "legacy") as second:
                async with client_of(served, "legacy") as first, client_of(served, "2026-07-28") as newer:
                    id_ = (await told(first, "subscribe_market_prices", market_ids=[slug]))["subscription_id"]
                    for other in (second, newer):
                        assert "another client" in await refused(other, "unsubscribe_realtime", subscription_id=id_)
                        assert (await entries(other))[id_]["yours"] is False
                    assert (await entries(first))[id_]["yours"] is True
                # The first is going, and then nobody is left whose it is.
                while not (await entries(second))[id_]["yours"]:
                    pass
                await told(second, "unsubscribe_realtime", subscription_id=id_)

        asyncio.run(both())
        assert live.subscriptions == []


def test_a_subscription_that_two_clients_want_ends_with_the_second() -> None:
    with notebook() as live:
        slug, served = _slug(live), live.serve_mcp()

        async def both() -> None:
            async with (
                asyncio.timeout(PATIENCE),
                client_of(served, "legacy") as first,
                client_of(served, "legacy") as second,
            ):
                ids = [
                    (await told(one, "subscribe_market_prices", market_ids=[slug]))["subscription_id"]
                    for one in (first, second)
                ]
                assert ids[0] == ids[1]
                ended = await told(first, "unsubscribe_realtime", subscription_id=ids[0])
                assert "another client goes on with it" in ended["trust"]
                assert ended["active"] == 1
                assert "another client" in await refused(first, "unsubscribe_realtime", subscription_id=ids[0])
                assert len(live.subscriptions) == 1
                assert (await told(second, "unsubscribe_realtime", subscription_id=ids[0]))["active"] == 0

        asyncio.run(both())
        assert live.subscriptions == []


def test_requests_without_a_session_share_what_they_made() -> None:
    with notebook() as live:
        slug, served = _slug(live), live.serve_mcp()
        made: list[str] = []

        async def make(client: Client) -> None:
            made.append((await told(client, "subscribe_market_prices", market_ids=[slug]))["subscription_id"])

        async def end(client: Client) -> None:
            await told(client, "unsubscribe_realtime", subscription_id=made[0])

        run(served, "2026-07-28", make)
        run(served, "2026-07-28", end)
        assert live.subscriptions == []


def test_clients_that_went_leave_nothing_that_cannot_be_ended() -> None:
    """Whoever asks, of three that subscribe and unsubscribe in turn, the notebook's own is never touched."""
    with benched() as bench:
        own = bench.live.watch(bench.markets[0].slug)
        clients = [None, Caller(), Caller()]
        id_: object = None
        for client in clients:
            answer = bench.answer("subscribe_market_prices", {"market_ids": [bench.markets[0].slug]}, client)
            assert answer.structured is not None
            id_ = answer.structured["subscription_id"]
        for client in clients[1:]:
            assert client is not None
            client.gone = True
        assert not bench.answer("unsubscribe_realtime", {"subscription_id": id_}, Caller()).failed
        assert bench.answer("unsubscribe_realtime", {"subscription_id": own.id}, Caller()).failed
        assert [one.id for one in bench.live.subscriptions] == [own.id]


# --- what is the user's own ---


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Record a night with orders and trades of the user's own."""
    folder = tmp_path_factory.mktemp("recordings") / "own"
    with notebook() as live:
        live.record(folder)
        live.watch(_slug(live))
        live.subscribe_user_orders()
        live.subscribe_user_trades()
        wait_until(lambda: live.user_orders.height and live.user_trades.height, PATIENCE)
    assert pm.open_recording(folder).scan("user_orders").collect().height
    return folder


@eras
def test_the_user_s_own_orders_and_trades_are_not_given_over_http(era: Era, recorded: Path) -> None:
    with notebook() as live:
        live.watch(_slug(live))
        orders, trades = live.subscribe_user_orders(), live.subscribe_user_trades()
        served = live.serve_mcp(recordings=recorded.parent)
        wait_until(lambda: orders.events_received and trades.events_received, PATIENCE)

        async def ask(client: Client) -> None:
            for tool in ("subscribe_user_orders", "subscribe_user_trades"):
                assert "serve_mcp(private=True)" in await refused(client, tool)
            for table in ("user_orders", "user_trades"):
                for more in ({}, {"aggregate": "count"}, {"columns": ["price"], "limit": 1}):
                    asked = {"recording": "own", "table": table, **more}
                    assert "serve_mcp(private=True)" in await refused(client, "query_recording", **asked)
            for own in (orders, trades):
                assert "no such subscription" in await refused(client, "get_realtime_status", subscription_id=own.id)
                assert "no such subscription" in await refused(client, "unsubscribe_realtime", subscription_id=own.id)
                with pytest.raises(MCPError, match="no such resource"):
                    await client.read_resource(f"polymarket://subscription/{own.id}")
            texts = [json.dumps(await told(client, "get_realtime_status", since=0, detail="detailed", limit=50))]
            texts.append((await client.read_resource("polymarket://websocket-status")).contents[0].model_dump_json())
            texts.append(json.dumps(await told(client, "get_recording_quality")))
            texts.append(json.dumps(await told(client, "get_recording_quality", recording="own")))
            for word in ("user_order", "user_trade", orders.id, trades.id):
                assert not [text for text in texts if word in text], word
            status = json.loads(texts[0])
            assert status["subscriptions"]["total"] == 1
            by_type = status["statistics"]["events_by_type"]
            assert status["statistics"]["total_events"] == sum(by_type.values()) - by_type.get("control", 0)

        run(served, era, ask)
        assert {orders.id, trades.id} <= {one.id for one in live.subscriptions}


def test_updates_of_the_user_s_own_are_not_pushed_over_http() -> None:
    with notebook() as live:
        orders = live.subscribe_user_orders(callback_type="log")
        live.watch(_slug(live))
        served = live.serve_mcp()
        uris: list[str] = []
        logs: list[Any] = []

        async def ask() -> None:
            async with heard(served, logs, uris) as client:
                await watch(client, f"polymarket://subscription/{orders.id}")
                await watch(client, "polymarket://websocket-status")
                before = orders.events_received
                await until(lambda: orders.events_received > before + 2 and len(uris) > 2, PATIENCE)

        asyncio.run(ask())
        assert set(uris) == {"polymarket://websocket-status"}
        assert not [one for one in logs if "user_" in str(one.data)]


@eras
def test_they_are_given_where_whoever_serves_says_so(era: Era, recorded: Path) -> None:
    with notebook() as live:
        served = live.serve_mcp(recordings=recorded.parent, private=True)
        assert live.serve_mcp() is live.serve_mcp(private=True) is served

        async def ask(client: Client) -> None:
            made = await told(client, "subscribe_user_orders")
            rows = await told(client, "query_recording", recording="own", table="user_orders")
            assert rows["rows"]
            assert made["subscription_id"] in await entries(client)
            await told(client, "unsubscribe_realtime", subscription_id=made["subscription_id"])

        run(served, era, ask)


def test_a_manager_that_is_served_without_them_is_not_served_with_them_by_asking_again() -> None:
    with notebook() as live:
        live.serve_mcp()
        with pytest.raises(ValueError, match="private=True"):
            live.serve_mcp(private=True)


def test_without_a_network_between_them_they_are_given(recorded: Path) -> None:
    with benched(recorded.parent, credentials=USER) as bench:
        assert bench.call("query_recording", recording="own", table="user_trades")["rows"]
        assert bench.call("subscribe_user_orders")["type"] == "user_orders"


# --- sessions that nobody ends ---


def test_abandoned_sessions_shut_nobody_out_and_the_longest_idle_goes_first() -> None:
    with notebook() as live:
        served = live.serve_mcp()
        initialize = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": CLIENT}
        message = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": initialize}
        ping = {"jsonrpc": "2.0", "id": 2, "method": "ping"}
        with httpx.Client(headers=JSON | bearer(served.token), timeout=PATIENCE, trust_env=False) as client:

            def opened() -> dict[str, str]:
                answer = client.post(served.url, json=message)
                assert answer.status_code == 200
                return {"mcp-session-id": answer.headers["mcp-session-id"]}

            def works(session: dict[str, str]) -> bool:
                return client.post(served.url, json=ping, headers=session).status_code == 200

            listening, first, second = opened(), opened(), opened()
            with client.stream("GET", served.url, headers=listening):
                for _ in range(90):
                    opened()
                assert works(first)
                for _ in range(30):
                    opened()
                assert works(listening)
                assert works(first)
                assert not works(second)
