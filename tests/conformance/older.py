"""The SDK's client as it was before the newer era, over both transports; run in an environment that has that SDK.

python older.py URL PROGRAM ARGUMENT…, with the token that URL wants in PMLIVE_MCP_TOKEN
"""
# The SDK that the other checks see is another.
# pyright: basic, reportAttributeAccessIssue=false, reportCallIssue=false, reportArgumentType=false
# pyright: reportMissingImports=false, reportGeneralTypeIssues=false, reportUnknownVariableType=false

import asyncio
import os
import sys
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

from mcp import ClientSession, McpError, StdioServerParameters, types
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import streamablehttp_client

PATIENCE = 60
STATUS = "polymarket://websocket-status"


async def check(name: str, connect: Callable[[], AbstractAsyncContextManager[tuple[object, ...]]]) -> None:
    """Ask everything that a host of that time asks, and be told of what happens."""
    logged, updated = asyncio.Event(), asyncio.Event()

    async def log(params: types.LoggingMessageNotificationParams) -> None:
        if params.logger == "pmlive.notification":
            logged.set()

    async def message(message: object) -> None:
        root = getattr(message, "root", None)
        if isinstance(root, types.ResourceUpdatedNotification) and str(root.params.uri) == STATUS:
            updated.set()

    async with (
        asyncio.timeout(PATIENCE),
        connect() as (read, write, *_),
        ClientSession(read, write, logging_callback=log, message_handler=message) as session,
    ):
        greeting = await session.initialize()
        assert greeting.protocolVersion == types.LATEST_PROTOCOL_VERSION, greeting.protocolVersion
        assert greeting.serverInfo.name == "pmlive"
        tools = (await session.list_tools()).tools
        assert len(tools) >= 7
        assert all(tool.outputSchema and tool.annotations for tool in tools)
        assert len((await session.list_resources()).resources) >= 1
        assert len((await session.list_prompts()).prompts) >= 1
        await session.set_logging_level("info")
        await session.subscribe_resource(STATUS)
        found = await session.call_tool("find_markets", {"query": "fed"})
        condition = found.structuredContent["markets"][0]["condition_id"]
        subscribed = await session.call_tool("subscribe_market_prices", {"market_ids": [condition]})
        assert not subscribed.isError, subscribed.content
        await logged.wait()
        await updated.wait()
        refused = await session.call_tool("get_book", {"token": ""})
        assert refused.isError
        (error,) = await asyncio.gather(session.call_tool("no_such_tool", {}), return_exceptions=True)
        assert isinstance(error, McpError)
        assert error.error.code == types.INVALID_PARAMS
    sys.stdout.write(f"mcp {name}: ok\n")


async def main() -> None:
    """Drive both transports."""
    url, command, *arguments = sys.argv[1:]
    program = StdioServerParameters(command=command, args=arguments, env={**os.environ})
    headers = {"Authorization": f"Bearer {os.environ['PMLIVE_MCP_TOKEN']}"}
    await check("over HTTP", lambda: streamablehttp_client(url, headers=headers))
    await check("over stdio", lambda: stdio_client(program))


if __name__ == "__main__":
    asyncio.run(main())
