"""Our tools in servers that others wrote."""

import asyncio

import mcp_types as types
import pytest
from mcp.client import Client
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import Server
from mcp.server.mcpserver import MCPServer
from mcp.shared.exceptions import MCPError
from support.mcp import Era, asking, eras, refusal, text_of
from support.toy import STATUS, Toy

from pmlive import Manager
from pmlive.mcp import mount, tools
from pmlive.mcp.mounting import Tools, add_to


def host() -> MCPServer:
    server = MCPServer("theirs", log_level="ERROR")

    @server.tool()
    def theirs(number: int) -> str:
        return f"theirs {number}"

    return server


@eras
def test_a_high_level_server_lists_our_schemas_beside_its_own_tools(era: Era) -> None:
    server = host()
    add_to(server, Toy())

    async def ask(client: Client) -> None:
        (theirs, echo, *_) = (await client.list_tools()).tools
        ours = Toy.tools[0]
        assert theirs.name == "theirs"
        assert (echo.name, echo.title, echo.description) == (ours.name, ours.title, ours.description)
        assert echo.input_schema["required"] == ["text"]
        listed = {name: {**schema} for name, schema in echo.input_schema["properties"].items()}
        for schema in listed.values():
            schema.pop("title", None)  # pydantic's
        assert listed == ours.input_schema["properties"]
        assert echo.output_schema == ours.output_schema
        assert echo.annotations is not None
        assert echo.annotations.read_only_hint

    asking(server, era, ask)


@eras
@pytest.mark.parametrize(
    "arguments", [{}, {"text": 7}, {"text": "a", "canary": "b"}, {"text": "a", "canary": None}, {"text": ["canary"]}]
)
def test_what_is_wrong_with_arguments_is_told_in_our_words_in_a_high_level_server(
    era: Era, arguments: dict[str, object]
) -> None:
    server, toy = host(), Toy()
    add_to(server, toy)

    async def ask(client: Client) -> None:
        result = await client.call_tool("echo", arguments)
        assert result.is_error
        assert text_of(result) == "give text, and nothing else"

    asking(server, era, ask)
    assert toy.arguments == [arguments]


@eras
def test_both_kinds_of_tools_answer_in_a_high_level_server(era: Era) -> None:
    server = host()
    add_to(server, Toy())
    told: list[float] = []

    async def progress(progress: float, total: float | None, message: str | None) -> None:
        del total, message
        told.append(progress)

    async def ask(client: Client) -> None:
        assert text_of(await client.call_tool("theirs", {"number": 1})) == "theirs 1"
        result = await client.call_tool("echo", {"text": "[1]", "copy": 2})
        assert result.structured_content == {"said": "[1]"}
        assert not (await client.call_tool("wait", {}, progress_callback=progress)).is_error
        broken = await client.call_tool("break", {})
        assert broken.is_error
        assert "canary" not in text_of(broken)

    asking(server, era, ask)
    assert told == [1.0, 2.0]


@eras
def test_resources_and_their_templates_are_read_in_a_high_level_server(era: Era) -> None:
    server = host()
    add_to(server, Toy())

    async def ask(client: Client) -> None:
        assert [each.uri for each in (await client.list_resources()).resources] == [STATUS]
        (template,) = (await client.list_resource_templates()).resource_templates
        assert template.uri_template == "polymarket://book/{token_id}"
        for uri, of in ((STATUS, "websocket-status"), ("polymarket://book/7", "7")):
            (content,) = (await client.read_resource(uri)).contents
            assert isinstance(content, types.TextResourceContents)
            assert (content.text, content.mime_type) == (f'{{"of":"{of}"}}', "application/json")
        error = await refusal(client.read_resource("polymarket://book/missing"))
        assert error.code == types.INVALID_PARAMS

    asking(server, era, ask)


def test_a_tool_may_be_called_without_any_request() -> None:
    server = host()
    add_to(server, Toy())

    result = asyncio.run(server.call_tool("echo", {"text": "hello"}))

    assert isinstance(result, types.CallToolResult)
    assert result.structured_content == {"said": "hello"}


def test_names_that_are_there_are_left_alone_and_nothing_is_added() -> None:
    server = host()

    @server.tool(name="wait")
    def theirs_too() -> str:
        return "theirs"

    @server.resource(STATUS)
    def status() -> str:
        return "theirs"

    with pytest.raises(ValueError, match=rf"has wait, {STATUS} already; nothing was added"):
        add_to(server, Toy())

    assert [tool.name for tool in asyncio.run(server.list_tools())] == ["theirs", "wait"]
    assert text_of(asyncio.run(server.call_tool("wait", {}))) == "theirs"


def test_mounting_works_where_a_loop_is_running() -> None:
    async def mounting() -> int:
        server = host()
        add_to(server, Toy())
        return len(await server.list_tools())

    assert asyncio.run(mounting()) == 4


@eras
def test_a_low_level_server_lists_and_calls_them(era: Era) -> None:
    ours = Tools(Toy())

    async def listed(
        context: ServerRequestContext[object], params: types.PaginatedRequestParams | None
    ) -> types.ListToolsResult:
        del context, params
        return types.ListToolsResult(tools=[*ours, types.Tool(name="theirs", input_schema={"type": "object"})])

    async def call(context: ServerRequestContext[object], params: types.CallToolRequestParams) -> types.CallToolResult:
        if params.name in ours.names():
            return await ours.call(params.name, params.arguments, context.session.report_progress)
        return types.CallToolResult(content=[types.TextContent(text="theirs")])

    async def ask(client: Client) -> None:
        assert [tool.name for tool in (await client.list_tools()).tools] == ["echo", "wait", "break", "theirs"]
        assert (await client.call_tool("echo", {"text": "hello"})).structured_content == {"said": "hello"}
        assert text_of(await client.call_tool("theirs", {})) == "theirs"

    asking(Server[object]("theirs", on_list_tools=listed, on_call_tool=call), era, ask)


@eras
def test_a_low_level_server_without_tools_of_its_own_takes_our_handlers(era: Era) -> None:
    ours = Tools(Toy())

    async def ask(client: Client) -> None:
        assert [tool.name for tool in (await client.list_tools()).tools] == ["echo", "wait", "break"]
        assert (await client.call_tool("echo", {"text": "hello"})).structured_content == {"said": "hello"}
        with pytest.raises(MCPError, match="there is no such tool"):
            await client.call_tool("theirs", {})

    server = Server[object]("theirs", on_list_tools=ours.on_list_tools, on_call_tool=ours.on_call_tool)
    asking(server, era, ask)


def test_a_name_that_is_not_ours_is_said_to_the_server_that_asked() -> None:
    with pytest.raises(LookupError):
        asyncio.run(Tools(Toy()).call("theirs"))


def test_the_same_subscriptions_are_seen_by_the_manager_and_by_both_kinds_of_servers() -> None:
    with Manager(venue="sim") as manager:
        server = MCPServer("theirs", log_level="ERROR")
        mount(server, manager)
        ours = tools(manager)
        assert manager.sim is not None
        slug = manager.sim.markets[0].slug

        async def subscribe() -> None:
            result = await server.call_tool("subscribe_market_prices", {"market_ids": [slug]})
            assert isinstance(result, types.CallToolResult)
            assert not result.is_error, text_of(result)
            status = await ours.call("get_realtime_status")
            assert status.structured_content is not None
            assert status.structured_content["subscriptions"]["total"] == 1

        asyncio.run(subscribe())
        assert [each.type for each in manager.subscriptions] == ["market_prices"]
        with pytest.raises(ValueError, match="subscribe_market_prices"):
            mount(server, manager)
