"""Serving one client over pipes: the first words at once, the rest when everything is loaded, and a prompt end."""

import asyncio
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, suppress
from importlib import import_module
from typing import TYPE_CHECKING

import msgspec

from pmlive.logs import get_logger
from pmlive.mcp.doorstep import Doorstep
from pmlive.mcp.wire import Lines, Wire, Writer

if TYPE_CHECKING:
    from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
    from mcp.shared.message import SessionMessage

    from pmlive.mcp.described import Kit

__all__ = ["run_stdio"]

logger = get_logger(__name__)

# Lines of a client that wait for the server.
_MOST_LINES = 64
# How often it is asked whether to stop.
_LOOK = 0.05
# A client that writes its questions and closes the pipe is answered what can be answered in this time.
_LAST_ANSWERS = 0.5
# What is cancelled has so long to end.
_PATIENCE = 1.0
_INVALID_REQUEST, _PARSE_ERROR = -32600, -32700


def run_stdio(wire: Wire, opening: Callable[[], AbstractContextManager["Kit"]], stop: Callable[[], bool]) -> None:
    """Serve until the client closes its pipe or it is time to stop, and then close what was opened.

    Args:
        wire: the pipes, claimed before anything else was loaded.
        opening: loads and opens a toolkit, in another thread, while the client's first words are answered.
        stop: tells whether to stop; asked many times a second.

    Raises:
        Exception: what ``opening`` raised.
    """
    with ExitStack() as opened:
        asyncio.run(_run(wire, lambda: None if stop() else _load(opening, opened), stop))


def _load(opening: Callable[[], AbstractContextManager["Kit"]], opened: ExitStack) -> "Kit":
    """Load what serving needs, the SDK first, whose loading every host waits for."""
    import_module("pmlive.mcp.server")
    return opened.enter_context(opening())


async def _run(wire: Wire, load: Callable[[], "Kit | None"], stop: Callable[[], bool]) -> None:
    writer = Writer(wire.writing)
    serving = asyncio.ensure_future(_Pipe(writer).serve(wire, load))
    while not (serving.done() or writer.broken or stop()):
        await asyncio.wait({serving}, timeout=_LOOK)
    if serving.done():
        return serving.result()
    writer.broken = True
    serving.cancel()
    await asyncio.wait({serving}, timeout=_PATIENCE)
    if serving.done() and not serving.cancelled() and (error := serving.exception()) is not None:
        # The SDK is taken by surprise when its pipes are cut.
        logger.debug("what was going on was cut off: %r", error)
    return None


class _Pipe:
    """One client, from its first line to its last."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self._door = Doorstep()
        self._lines: asyncio.Queue[bytes | None] = asyncio.Queue(_MOST_LINES)
        self._unanswered: set[str | int] = set()
        self._all_answered = asyncio.Event()

    async def serve(self, wire: Wire, load: Callable[[], "Kit | None"]) -> None:
        Lines(wire.reading, self._heard)
        kit = await asyncio.get_running_loop().run_in_executor(None, load)
        if kit is not None:
            await self._serve(kit)

    async def _heard(self, line: bytes | None) -> None:
        if line is None:
            await self._lines.put(None)
            return
        heard = self._door.hear(line)
        if heard.answer is not None:
            await self._writer.write(heard.answer)
        if heard.passed:
            await self._lines.put(line)

    async def _serve(self, kit: "Kit") -> None:
        import anyio
        from mcp.shared.message import SessionMessage

        from pmlive.mcp.server import server

        made = server(kit)
        to_server, from_client = anyio.create_memory_object_stream[SessionMessage | Exception]()
        to_client, from_server = anyio.create_memory_object_stream[SessionMessage]()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._take_in(to_server))
            group.create_task(self._give_out(from_server))
            await made.run(from_client, to_client, made.create_initialization_options())

    async def _take_in(self, to_server: "MemoryObjectSendStream[SessionMessage | Exception]") -> None:
        from mcp.shared.message import SessionMessage
        from mcp_types import JSONRPCRequest, jsonrpc_message_adapter
        from pydantic import ValidationError

        async with to_server:
            while (line := await self._lines.get()) is not None:
                try:
                    message = jsonrpc_message_adapter.validate_json(line, by_name=False)
                except ValidationError:
                    await self._writer.write(_refusal(line))
                    continue
                if isinstance(message, JSONRPCRequest):
                    self._unanswered.add(message.id)
                await to_server.send(SessionMessage(message))
            if self._unanswered:
                self._all_answered.clear()
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._all_answered.wait(), _LAST_ANSWERS)

    async def _give_out(self, from_server: "MemoryObjectReceiveStream[SessionMessage]") -> None:
        from mcp_types import JSONRPCError, JSONRPCResponse

        async with from_server:
            async for each in from_server:
                message = each.message
                answered = message.id if isinstance(message, JSONRPCResponse | JSONRPCError) else None
                if answered is None or not self._door.is_repeated(answered):
                    text = message.model_dump_json(by_alias=True, exclude_unset=True)
                    await self._writer.write(text.encode() + b"\n")
                if answered is not None:
                    self._note_answer(answered)

    def _note_answer(self, message_id: str | int) -> None:
        self._unanswered.discard(message_id)
        if not self._unanswered:
            self._all_answered.set()


class _Id(msgspec.Struct):
    id: str | int


def _refusal(line: bytes) -> bytes:
    """Refuse what is no message, by its number if it has one; the SDK would leave the client waiting."""
    try:
        message_id = msgspec.json.decode(line, type=_Id).id
    except (msgspec.DecodeError, RecursionError):
        message_id = None
    error = {"code": _PARSE_ERROR, "message": "this is no message of the protocol"}
    if message_id is not None:
        error["code"] = _INVALID_REQUEST
    return msgspec.json.encode({"jsonrpc": "2.0", "id": message_id, "error": error}) + b"\n"
