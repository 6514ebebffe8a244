"""The notebook's own manager over HTTP: what clients see is what the notebook sees."""

import asyncio
import socket
import threading
from collections.abc import Generator
from contextlib import contextmanager

import httpx
import pytest
from mcp.client import Client
from mcp.server.lowlevel import Server
from mcp.shared.subscriptions import ResourceUpdated
from support.mcp import CLIENT, Era, Log, asking, client_of, eras, heard, set_level, watch
from support.toy import STATUS, Toy, change
from support.waiting import until, wait_until

from pmlive import Manager
from pmlive.mcp.events import ResourceChange
from pmlive.mcp.http import HttpServer, bearer
from pmlive.mcp.notifications import Notifier
from pmlive.mcp.server import build_server

JSON = {"accept": "application/json, text/event-stream", "content-type": "application/json"}


@contextmanager
def notebook() -> Generator[Manager]:
    with Manager(venue="sim") as manager:
        yield manager


@contextmanager
def site(made: Server[Notifier]) -> Generator[HttpServer]:
    served = HttpServer(made, 0)
    try:
        yield served
    finally:
        served.stop()


@eras
def test_a_client_subscribes_with_the_manager_of_the_notebook(era: Era) -> None:
    with notebook() as manager:
        assert manager.sim is not None
        slug = manager.sim.markets[0].slug

        async def ask(client: Client) -> None:
            result = await client.call_tool("subscribe_market_prices", {"market_ids": [slug]})
            assert not result.is_error
            assert result.structured_content is not None
            (one,) = manager.subscriptions
            assert result.structured_content["subscription_id"] == one.id

        asking(manager.serve_mcp(), era, ask)


def test_a_manager_is_served_once() -> None:
    with notebook() as manager:
        served = manager.serve_mcp()

        assert manager.serve_mcp() is served
        assert manager.serve_mcp(served.port) is served
        with pytest.raises(ValueError, match="served at http"):
            manager.serve_mcp(served.port + 1)
        assert served.url in repr(served)


def test_it_can_be_closed_and_served_anew_and_ends_with_the_manager() -> None:
    with notebook() as manager:
        first = manager.serve_mcp()
        first.close()
        first.close()
        second = manager.serve_mcp(first.port)

    assert "closed" in repr(first)
    assert second.closed
    with pytest.raises(httpx.ConnectError):
        httpx.get(second.url)


def test_a_port_that_is_taken_is_told() -> None:
    with notebook() as manager, socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match=f"port {port} is not available"):
            manager.serve_mcp(port)


def test_it_ends_at_once_while_clients_of_both_eras_listen() -> None:
    async def listening(manager: Manager) -> None:
        served = manager.serve_mcp()
        async with (
            asyncio.timeout(30),
            client_of(served, "legacy"),
            client_of(served, "2026-07-28") as newer,
            newer.listen(resource_subscriptions=[STATUS]) as stream,
        ):
            await asyncio.to_thread(manager.close)
            assert [event async for event in stream if not isinstance(event, ResourceUpdated)] == []

    with notebook() as manager:
        asyncio.run(listening(manager))


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"host": "evil.example"}, 421),
        ({"origin": "http://evil.example"}, 403),
        ({"origin": "http://127.0.0.1:1234"}, 200),
        ({}, 200),
    ],
)
def test_only_this_computer_is_answered(headers: dict[str, str], status: int) -> None:
    params = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": CLIENT}
    message = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params}
    with site(build_server(Toy())) as served:
        sent = httpx.post(served.url, json=message, headers=JSON | bearer(served.token) | headers)
        assert sent.status_code == status


def test_changes_reach_clients_of_both_eras() -> None:
    async def told(toy: Toy, served: HttpServer) -> None:
        uris, logs = list[str](), list[Log]()
        async with (
            heard(served, logs, uris) as older,
            client_of(served, "2026-07-28") as newer,
            newer.listen(resource_subscriptions=[STATUS]) as stream,
        ):
            await watch(older, STATUS)
            toy.happens(change(1, urgent=True))
            async with asyncio.timeout(20):
                assert await anext(aiter(stream)) == ResourceUpdated(STATUS)
            await until(lambda: uris == [STATUS] and len(logs) == 1)

    toy = Toy()
    with site(build_server(toy)) as served:
        asyncio.run(told(toy, served))


def test_strangers_words_in_a_change_are_marked_and_cleaned() -> None:
    logs: list[Log] = []

    async def told(toy: Toy, served: HttpServer) -> None:
        async with heard(served, logs, []) as client:
            await watch(client, STATUS)
            update: dict[str, object] = {"table": "trades", "token_id": "t1", "outcome": "Yes\n\u202e<b>"}
            toy.happens(ResourceChange(uris=(STATUS,), update=update, callback_type="notification", urgent=True))
            await until(lambda: logs)

    toy = Toy()
    with site(build_server(toy)) as served:
        asyncio.run(told(toy, served))
    assert logs[0].data == {"table": "trades", "token_id": "t1", "untrusted_outcome": "Yes <b>"}


def test_nothing_is_left_of_clients_that_went() -> None:
    counts: list[int] = []

    class Counting(Toy):
        async def read(self, uri: str) -> str:
            counts.append(readers())
            return await super().read(uri)

    def readers() -> int:
        return sum("_Recipient.run" in repr(task) for task in asyncio.all_tasks())

    async def come_and_go(served: HttpServer) -> None:
        for _ in range(5):
            async with asyncio.timeout(20), client_of(served, "legacy") as client:
                await set_level(client, "error")
                await watch(client, STATUS)
        async with asyncio.timeout(20), client_of(served, "2026-07-28") as client:
            await client.read_resource(STATUS)

    with site(build_server(Counting())) as served:
        asyncio.run(come_and_go(served))

    # Those of the streams of the newer era and of the log.
    assert counts == [2]


def opened(client: httpx.Client, url: str) -> dict[str, str]:
    """Open a session of the older era by hand; give the headers that name it."""
    params = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": CLIENT}
    answer = client.post(url, json={"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params})
    session = {"mcp-session-id": answer.headers["mcp-session-id"]}
    client.post(url, json={"jsonrpc": "2.0", "method": "notifications/initialized"}, headers=session)
    return session


def test_a_client_that_stops_reading_holds_up_nobody_and_is_told_later_how_much_it_missed() -> None:
    toy = Toy()
    last = 1_500

    async def others(served: HttpServer) -> None:
        logs: list[Log] = []
        async with heard(served, logs, []) as client:
            for number in range(last + 1):
                toy.happens(change(number, urgent=True, padding=20_000))
                if number % 50 == 0:
                    await client.list_tools()
            await until(lambda: logs and logs[-1].data.get("number") == last, 30)

    with (
        site(build_server(toy)) as served,
        httpx.Client(headers=JSON | bearer(served.token), timeout=30) as client,
        client.stream("GET", served.url, headers=opened(client, served.url)) as stream,
    ):
        asyncio.run(others(served))
        assert any('"missed"' in line for line in stream.iter_lines())


def test_it_runs_in_a_thread_of_its_own_and_leaves_none() -> None:
    with notebook() as manager:
        served = manager.serve_mcp()
        assert "pmlive mcp" in {thread.name for thread in threading.enumerate()}

        served.close()

        wait_until(lambda: "pmlive mcp" not in {thread.name for thread in threading.enumerate()})
