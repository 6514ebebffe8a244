"""Print the tools of a server as JSON, as the linters read them."""

import asyncio
import json
import sys

from mcp.client import Client


async def main() -> None:
    """Ask once."""
    async with asyncio.timeout(30), Client(sys.argv[1], mode="2026-07-28") as client:
        tools = (await client.list_tools()).tools
    listed = [tool.model_dump(by_alias=True, mode="json", exclude_none=True) for tool in tools]
    json.dump(listed, sys.stdout)


if __name__ == "__main__":
    asyncio.run(main())
