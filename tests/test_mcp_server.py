"""The server as clients of both protocol eras meet it, without a transport between them."""

import asyncio
import logging

import mcp_types as types
import pytest
from mcp.client import Client
from mcp.shared.subscriptions import ResourceUpdated
from support.mcp import Era, Log, asking, eras, heard, refusal, set_level, unwatch, watch
from support.toy import STATUS, Toy, change
from support.waiting import until

from pmlive.mcp.server import build_server

BOOK = "polymarket://book/t1"


@eras
def test_tools_are_listed_with_all_that_is_known_of_them(era: Era) -> None:
    async def ask(client: Client) -> None:
        (echo, *_) = (await client.list_tools()).tools
        assert (echo.name, echo.title) == ("echo", "Echo")
        assert echo.input_schema["required"] == ["text"]
        assert echo.input_schema["additionalProperties"] is False
        assert echo.output_schema is not None
        assert echo.annotations == types.ToolAnnotations(
            title="Echo", read_only_hint=True, destructive_hint=False, idempotent_hint=True, open_world_hint=False
        )

    asking(build_server(Toy()), era, ask)


@eras
def test_an_answer_is_an_object_and_the_same_in_text(era: Era) -> None:
    async def ask(client: Client) -> None:
        result = await client.call_tool("echo", {"text": "hello"})
        assert not result.is_error
        assert result.structured_content == {"said": "hello"}
        assert [type(each) for each in result.content] == [types.TextContent]

    asking(build_server(Toy()), era, ask)


@eras
def test_a_failure_says_what_to_do(era: Era) -> None:
    async def ask(client: Client) -> None:
        result = await client.call_tool("echo", {"text": "a", "more": "b"})
        assert result.is_error
        assert result.structured_content is None
        assert result.content == [types.TextContent(text="give text, and nothing else")]

    asking(build_server(Toy()), era, ask)


@eras
def test_a_fault_is_told_in_the_log_and_not_to_the_client(era: Era, caplog: pytest.LogCaptureFixture) -> None:
    async def ask(client: Client) -> None:
        result = await client.call_tool("break", {})
        assert result.is_error
        assert "canary" not in str(result)
        error = await refusal(client.read_resource("polymarket://book/broken"))
        assert error.code == types.INTERNAL_ERROR
        assert "canary" not in str(error)

    asking(build_server(Toy()), era, ask)
    assert [record.exc_info is not None for record in caplog.records if record.levelno == logging.ERROR] == [True] * 2


@eras
def test_what_is_not_there_is_an_error_of_the_protocol_without_what_was_asked(era: Era) -> None:
    async def ask(client: Client) -> None:
        for asked in (
            client.call_tool("canary", {}),
            client.get_prompt("canary"),
            client.get_prompt("night", {"canary": "x"}),
            client.list_tools(cursor="canary"),
        ):
            error = await refusal(asked)
            assert error.code == types.INVALID_PARAMS
            assert "canary" not in f"{error.message} {error.data}"
        error = await refusal(client.read_resource("polymarket://canary/1"))
        assert error.code == types.INVALID_PARAMS
        assert "canary" not in error.message
        assert error.data == {"uri": "polymarket://canary/1"}  # the protocol wants it

    asking(build_server(Toy()), era, ask)


@eras
def test_resources_templates_and_prompts_are_listed_and_read(era: Era) -> None:
    async def ask(client: Client) -> None:
        assert [each.uri for each in (await client.list_resources()).resources] == [STATUS]
        (template,) = (await client.list_resource_templates()).resource_templates
        assert template.uri_template == "polymarket://book/{token_id}"
        (content,) = (await client.read_resource(BOOK)).contents
        assert isinstance(content, types.TextResourceContents)
        assert (content.mime_type, content.text) == ("application/json", '{"of":"t1"}')
        (prompt,) = (await client.list_prompts()).prompts
        assert [(each.name, each.required) for each in prompt.arguments or []] == [("recording", True)]
        (message,) = (await client.get_prompt("night", {"recording": "tonight"})).messages
        assert message.content == types.TextContent(text="Tell of tonight.")

    asking(build_server(Toy()), era, ask)


@eras
def test_a_long_call_tells_how_far_it_is(era: Era) -> None:
    told: list[tuple[float, float | None, str | None]] = []

    async def progress(progress: float, total: float | None, message: str | None) -> None:
        told.append((progress, total, message))

    async def ask(client: Client) -> None:
        await client.call_tool("wait", {"seconds": 2}, progress_callback=progress)
        await until(lambda: len(told) == 2)

    asking(build_server(Toy()), era, ask)
    assert told == [(1.0, 2.0, "waiting"), (2.0, 2.0, "waiting")]


def test_the_newer_era_is_told_how_long_a_list_holds() -> None:
    async def ask(client: Client) -> None:
        listed = await client.list_tools()
        assert (listed.ttl_ms, listed.cache_scope) == (3_600_000, "public")
        read = await client.read_resource(STATUS)
        assert (read.ttl_ms, read.cache_scope) == (0, "private")

    asking(build_server(Toy()), "2026-07-28", ask)


def test_an_older_client_is_told_of_the_resources_that_it_subscribed() -> None:
    async def connected() -> None:
        toy, uris = Toy(), list[str]()
        async with heard(build_server(toy), [], uris) as client:
            await watch(client, BOOK)
            toy.happens(change(1, STATUS, BOOK))
            await until(lambda: uris == [BOOK])
            await unwatch(client, BOOK)
            await watch(client, STATUS)
            toy.happens(change(2, STATUS, BOOK, urgent=True))
            await until(lambda: uris == [BOOK, STATUS])

    asyncio.run(connected())


def test_an_older_client_gets_updates_as_log_messages_from_the_level_that_it_set() -> None:
    async def connected() -> None:
        toy, logs = Toy(), list[Log]()
        async with heard(build_server(toy), logs, []) as client:
            await until(lambda: toy.listeners)
            await client.list_tools()
            toy.happens(change(1), change(2, callback_type="log"))
            await until(lambda: len(logs) == 2)
            await set_level(client, "notice")
            toy.happens(change(3), change(4, urgent=True))
            await until(lambda: len(logs) == 3)
        assert [(each.logger, each.level) for each in logs] == [
            ("pmlive.notification", "info"),
            ("pmlive.log", "info"),
            ("pmlive.notification", "notice"),
        ]
        assert [each.data["number"] for each in logs] == [1, 2, 4]

    asyncio.run(connected())


def test_a_newer_client_is_told_on_the_stream_that_it_opened() -> None:
    toy = Toy()

    async def ask(client: Client) -> None:
        async with client.listen(resource_subscriptions=[BOOK]) as stream:
            toy.happens(change(1, STATUS, BOOK))
            async for event in stream:
                assert event == ResourceUpdated(BOOK)
                return

    asking(build_server(toy), "2026-07-28", ask)


def test_what_no_tool_subscribed_is_no_log_message_unless_it_is_urgent() -> None:
    async def connected() -> None:
        toy, logs, uris = Toy(), list[Log](), list[str]()
        async with heard(build_server(toy), logs, uris) as client:
            await watch(client, STATUS)
            toy.happens(change(1, callback_type=None), change(2, callback_type=None, urgent=True))
            await until(lambda: uris == [STATUS] and logs)
        assert [(each.logger, each.data["number"]) for each in logs] == [("pmlive.notification", 2)]

    asyncio.run(connected())


@eras
def test_updates_that_asked_for_the_log_are_in_it(era: Era, caplog: pytest.LogCaptureFixture) -> None:
    toy = Toy()

    async def ask(client: Client) -> None:
        await client.list_tools()
        toy.happens(change(1), change(2, callback_type="log"))
        await until(lambda: len(caplog.records) > 0)

    with caplog.at_level(logging.INFO, "pmlive.mcp.updates"):
        asking(build_server(toy), era, ask)
    assert ['"number": 2' in record.getMessage() for record in caplog.records] == [True]


def test_a_toolkit_is_listened_to_for_as_long_as_somebody_is_served() -> None:
    toy = Toy()

    async def ask(client: Client) -> None:
        await client.list_tools()
        assert len(toy.listeners) == 1

    asking(build_server(toy), "legacy", ask)
    assert toy.listeners == []


def test_nobody_watches_more_than_a_thousand_resources() -> None:
    async def ask(client: Client) -> None:
        for number in range(1000):
            await watch(client, f"polymarket://book/{number}")
        error = await refusal(watch(client, BOOK))
        assert error.code == types.INVALID_PARAMS

    asking(build_server(Toy()), "legacy", ask)
