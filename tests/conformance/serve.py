"""A notebook's kernel in short: a manager of the simulated venue, served until the standard input ends.

Two lines say where: an address that adds the token to what comes, for programs that cannot bear one, and then the
server's own with the token that it wants.
"""

import asyncio
import contextlib
import re
import sys
import threading

from pmlive import Manager
from pmlive.mcp.http import McpEndpoint

_LENGTH = re.compile(rb"(?im)^content-length:\s*(\d+)")


def main() -> None:
    """Serve, and say where."""
    with Manager(venue="sim") as manager:
        served = manager.serve_mcp()
        ports: list[int] = []
        ready = threading.Event()
        threading.Thread(target=lambda: asyncio.run(_add_tokens(served, ports, ready)), daemon=True).start()
        ready.wait(30)
        sys.stdout.write(f"http://127.0.0.1:{ports[0]}/mcp\n{served.url} {served.token}\n")
        sys.stdout.flush()
        sys.stdin.read()


async def _add_tokens(served: McpEndpoint, ports: list[int], ready: threading.Event) -> None:
    ((name, value),) = served.headers.items()

    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            from_server, to_server = await asyncio.open_connection("127.0.0.1", served.port)
            asking = asyncio.ensure_future(_ask(reader, to_server, f"{name}: {value}\r\n".encode()))
            try:
                while answer := await from_server.read(65536):
                    writer.write(answer)
                    await writer.drain()
            finally:
                asking.cancel()
                to_server.close()
        writer.close()

    async with await asyncio.start_server(forward, "127.0.0.1", 0) as listener:
        ports.append(listener.sockets[0].getsockname()[1])
        ready.set()
        await listener.serve_forever()


async def _ask(reader: asyncio.StreamReader, to_server: asyncio.StreamWriter, header: bytes) -> None:
    """Pass requests on as they are, and one more header with each."""
    with contextlib.suppress(OSError, asyncio.IncompleteReadError):
        while True:
            first, _, rest = (await reader.readuntil(b"\r\n\r\n")).partition(b"\r\n")
            length = _LENGTH.search(rest)
            body = await reader.readexactly(int(length[1])) if length else b""
            to_server.write(first + b"\r\n" + header + rest + body)
            await to_server.drain()
    to_server.close()


if __name__ == "__main__":
    main()
