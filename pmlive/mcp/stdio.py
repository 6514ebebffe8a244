"""Service to one client over pipes: its first messages are answered at once, the rest when everything is loaded.

Two habits of hosts need that. The SDK takes more than a second to load, and some give up sooner. And some ask
``server/discover``, the newer era's first request, and then go on with ``initialize``, the older era's; the SDK takes
the first request for a decision, and refuses the other era from then on. So the first requests are answered here, as
the SDK would, and only what follows them decides. A test compares every word with the SDK's.

A read that waits for a client and a write to one that does not read cannot be given up; they have threads of their own
that the program does not wait for, so that it ends promptly.
"""

import asyncio
import os
import sys
from collections.abc import Callable, Coroutine
from concurrent.futures import CancelledError
from contextlib import AbstractContextManager, ExitStack, suppress
from importlib import import_module
from queue import SimpleQueue
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import msgspec
from msgspec import Struct

from pmlive.logs import get_logger
from pmlive.mcp.specs import INSTRUCTIONS, NAME, TITLE, VERSION
from pmlive.threads import single

if TYPE_CHECKING:
    from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
    from mcp.shared.message import SessionMessage

    from pmlive.mcp.specs import ToolkitLike

__all__ = ["HANDSHAKE_VERSIONS", "MODERN_VERSIONS", "Handshake", "Pipes", "claim_pipes", "run_stdio"]

logger = get_logger(__name__)

# Versions of the protocol that are served: with a first handshake, and with an envelope around each request.
HANDSHAKE_VERSIONS = ("2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25")
MODERN_VERSIONS = ("2026-07-28",)

# Lines of a client that wait for the server.
_MOST_LINES = 64
# How often it is asked whether to stop.
_LOOK = 0.05
# A client that writes its questions and closes the pipe is answered what can be answered in this time.
_LAST_ANSWERS = 0.5
# What is cancelled has so long to end.
_PATIENCE = 1.0
_CHUNK = 1 << 16
# Longer than anything a client has to say.
_LONGEST_LINE = 1 << 22

_ENVELOPE = "io.modelcontextprotocol/"
_VERSION, _CLIENT, _CAPABILITIES = (
    f"{_ENVELOPE}{key}" for key in ("protocolVersion", "clientInfo", "clientCapabilities")
)
_SERVER = f"{_ENVELOPE}serverInfo"
# Error codes of the protocol.
_PARSE_ERROR, _INVALID_REQUEST, _UNKNOWN_METHOD, _INVALID_PARAMS = -32700, -32600, -32601, -32602
_UNSUPPORTED_VERSION = -32022

_INFO = {"name": NAME, "title": TITLE, "version": VERSION}

_Object: TypeAlias = dict[str, object]


class Pipes(NamedTuple):
    """Descriptors of the pipes from and to a client."""

    reading: int
    writing: int


def claim_pipes() -> Pipes:
    """Take standard input and output for the protocol alone.

    Whatever is printed from now on, by this process or what it starts, goes to the standard error, and the standard
    input is empty.
    """
    sys.stdout.flush()
    pipes = Pipes(os.dup(0), os.dup(1))
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    try:
        os.dup2(2, 1)
    except OSError:  # there is no standard error
        os.dup2(null, 1)
    os.close(null)
    return pipes


def run_stdio(
    pipes: Pipes, opening: Callable[[], AbstractContextManager["ToolkitLike"]], stop: Callable[[], bool]
) -> None:
    """Serve until the client closes its pipe or it is time to stop, and then close what was opened.

    Args:
        pipes: the pipes, claimed before anything else was loaded.
        opening: loads and opens a toolkit, in another thread, while the client's first messages are answered.
        stop: returns whether to stop; called many times a second.

    Raises:
        Exception: what ``opening`` raised.
    """
    with ExitStack() as opened:
        asyncio.run(_run(pipes, lambda: None if stop() else _load(opening, opened), stop))


def _load(opening: Callable[[], AbstractContextManager["ToolkitLike"]], opened: ExitStack) -> "ToolkitLike":
    """Load what serving needs, the SDK first, whose loading every host waits for."""
    import_module("pmlive.mcp.server")
    return opened.enter_context(opening())


async def _run(pipes: Pipes, load: Callable[[], "ToolkitLike | None"], stop: Callable[[], bool]) -> None:
    writer = _PipeWriter(pipes.writing)
    serving = asyncio.ensure_future(_StdioSession(writer).serve(pipes, load))
    while not (serving.done() or writer.broken or stop()):
        await asyncio.wait({serving}, timeout=_LOOK)
    if serving.done():
        return serving.result()
    writer.broken = True
    serving.cancel()
    await asyncio.wait({serving}, timeout=_PATIENCE)
    if serving.done() and not serving.cancelled() and (error := serving.exception()) is not None:
        # The SDK is not prepared for pipes that are cut.
        logger.debug("what was going on was cut off: %r", error)
    return None


class _StdioSession:
    """One client, from its first line to its last."""

    def __init__(self, writer: "_PipeWriter") -> None:
        self._writer = writer
        self._handshake = Handshake()
        self._lines: asyncio.Queue[bytes | None] = asyncio.Queue(_MOST_LINES)
        self._unanswered: set[str | int] = set()
        self._all_answered = asyncio.Event()

    async def serve(self, pipes: Pipes, load: Callable[[], "ToolkitLike | None"]) -> None:
        _LineReader(pipes.reading, self._received)
        toolkit = await asyncio.get_running_loop().run_in_executor(None, load)
        if toolkit is not None:
            await self._serve(toolkit)

    async def _received(self, line: bytes | None) -> None:
        if line is None:
            await self._lines.put(None)
            return
        handled = self._handshake.handle(line)
        if handled.answer is not None:
            await self._writer.write(handled.answer)
        if handled.forward:
            await self._lines.put(line)

    async def _serve(self, toolkit: "ToolkitLike") -> None:
        import anyio
        from mcp.shared.message import SessionMessage

        from pmlive.mcp.server import build_server

        server = build_server(toolkit)
        to_server, from_client = anyio.create_memory_object_stream[SessionMessage | Exception]()
        to_client, from_server = anyio.create_memory_object_stream[SessionMessage]()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._forward_requests(to_server))
            group.create_task(self._forward_answers(from_server))
            await server.run(from_client, to_client, server.create_initialization_options())

    async def _forward_requests(self, to_server: "MemoryObjectSendStream[SessionMessage | Exception]") -> None:
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

    async def _forward_answers(self, from_server: "MemoryObjectReceiveStream[SessionMessage]") -> None:
        from mcp_types import JSONRPCError, JSONRPCResponse

        async with from_server:
            async for each in from_server:
                message = each.message
                answered = message.id if isinstance(message, JSONRPCResponse | JSONRPCError) else None
                if answered is None or not self._handshake.is_repeated(answered):
                    text = message.model_dump_json(by_alias=True, exclude_unset=True)
                    await self._writer.write(text.encode() + b"\n")
                if answered is not None:
                    self._note_answer(answered)

    def _note_answer(self, message_id: str | int) -> None:
        self._unanswered.discard(message_id)
        if not self._unanswered:
            self._all_answered.set()


class _Id(Struct):
    id: str | int


def _refusal(line: bytes) -> bytes:
    """Return the refusal of an invalid message, with its id if it has one; the SDK would leave the client waiting."""
    try:
        message_id = msgspec.json.decode(line, type=_Id).id
    except (msgspec.DecodeError, RecursionError):
        message_id = None
    error = {"code": _PARSE_ERROR, "message": "invalid message; expected JSON-RPC 2.0"}
    if message_id is not None:
        error["code"] = _INVALID_REQUEST
    return msgspec.json.encode({"jsonrpc": "2.0", "id": message_id, "error": error}) + b"\n"


# --- the first messages ---


class _Handled(Struct, frozen=True):
    """The answer to a line, if it is known, and whether the server is to have the line, too."""

    answer: bytes | None
    forward: bool


class Handshake:
    """Answers a client's lines until the first that only the server can answer."""

    def __init__(self) -> None:
        self._opened = False
        self._answered: object = None

    def handle(self, line: bytes) -> _Handled:
        """Answer a line if it is one of the first requests."""
        message = None if self._opened else _message(line)
        if message is None or "method" not in message or "id" not in message:
            return _Handled(None, forward=True)
        if message["method"] == "server/discover":
            return _Handled(_line(message["id"], _discovered(message)), forward=False)
        self._opened = True
        result = _initialized(message) if message["method"] == "initialize" else None
        if result is None:
            return _Handled(None, forward=True)
        self._answered = message["id"]
        return _Handled(_line(message["id"], result), forward=True)

    def is_repeated(self, message_id: object) -> bool:
        """Return whether the server repeats an answer that was given here; it does so once."""
        repeated = self._answered is not None and message_id == self._answered
        if repeated:
            self._answered = None
        return repeated


def _message(line: bytes) -> _Object | None:
    try:
        return msgspec.json.decode(line, type=_Object)
    except (msgspec.DecodeError, RecursionError):
        # Invalid messages are refused by the server.
        return None


def _object(value: object) -> _Object | None:
    try:
        return msgspec.convert(value, _Object)
    except msgspec.ValidationError:
        return None


def _line(message_id: object, body: _Object) -> bytes:
    return msgspec.json.encode({"jsonrpc": "2.0", "id": message_id} | body) + b"\n"


def _discovered(message: _Object) -> _Object:
    """Answer ``server/discover``; also what is wrong with it, so that no era is decided by a question that failed."""
    meta = _object((_object(message.get("params")) or {}).get("_meta"))
    if meta is None or _VERSION not in meta:
        return _error(_UNKNOWN_METHOD, "Method not found", data="server/discover")
    if _CAPABILITIES not in meta:
        return _error(_INVALID_PARAMS, f"params._meta is missing the required envelope key(s): {_CAPABILITIES}")
    if not isinstance(meta[_VERSION], str):
        return _error(_INVALID_PARAMS, "the protocol-version envelope value must be a string")
    if meta[_VERSION] not in MODERN_VERSIONS:
        return _error(
            _UNSUPPORTED_VERSION,
            "Unsupported protocol version",
            data={"supported": list(MODERN_VERSIONS), "requested": meta[_VERSION]},
        )
    if not _are_capabilities(meta[_CAPABILITIES]) or not (_CLIENT not in meta or _is_client(meta[_CLIENT])):
        return _error(_INVALID_PARAMS, "Invalid request parameters", data="")
    return {
        "result": {
            "supportedVersions": list(MODERN_VERSIONS),
            "capabilities": _capabilities(lists_change=True),
            "instructions": INSTRUCTIONS,
            "resultType": "complete",
            "ttlMs": 0,
            "cacheScope": "private",
            "_meta": {_SERVER: _INFO},
        }
    }


def _initialized(message: _Object) -> _Object | None:
    """Answer ``initialize`` where it is plain; the rest is left to the server."""
    params = _object(message.get("params")) or {}
    plain = (
        params.get("protocolVersion") in HANDSHAKE_VERSIONS
        and params.keys() == {"protocolVersion", "capabilities", "clientInfo"}
        and _are_capabilities(params["capabilities"])
        and _is_client(params["clientInfo"])
        and isinstance(message["id"], str | int)
    )
    if not plain:
        return None
    return {
        "result": {
            "protocolVersion": params["protocolVersion"],
            "capabilities": _capabilities(lists_change=False),
            "serverInfo": _INFO,
            "instructions": INSTRUCTIONS,
        }
    }


def _capabilities(*, lists_change: bool) -> _Object:
    return {
        "logging": {},
        "prompts": {"listChanged": lists_change},
        "resources": {"listChanged": lists_change, "subscribe": True},
        "tools": {"listChanged": lists_change},
    }


def _is_client(value: object) -> bool:
    client = _object(value) or {}
    return isinstance(client.get("name"), str) and isinstance(client.get("version"), str)


def _are_capabilities(value: object) -> bool:
    capabilities = _object(value)
    return capabilities is not None and all(isinstance(each, dict) for each in capabilities.values())


def _error(code: int, message: str, **more: object) -> _Object:
    return {"error": {"code": code, "message": message} | more}


# --- pipes ---


class _LineReader:
    """Passes the lines of a descriptor to a coroutine of the running loop, and None after the last.

    The next line is read once the one before is taken. A line that is too long comes as an empty one.
    """

    def __init__(self, descriptor: int, take: Callable[[bytes | None], Coroutine[object, object, None]]) -> None:
        self._descriptor = descriptor
        self._take = take
        self._loop = asyncio.get_running_loop()
        single("pmlive mcp reader", self._read).start()

    def _read(self) -> None:
        rest, too_long = b"", False
        try:
            while chunk := self._chunk():
                *whole, rest = (rest + chunk).split(b"\n")
                for line in whole:
                    self._put(b"" if too_long else line)
                    too_long = False
                if len(rest) > _LONGEST_LINE:
                    rest, too_long = b"", True
            self._put(None)
        except (RuntimeError, CancelledError):  # the loop has ended, and nobody listens
            return

    def _chunk(self) -> bytes:
        try:
            return os.read(self._descriptor, _CHUNK)
        except OSError:  # the other side is gone
            return b""

    def _put(self, line: bytes | None) -> None:
        taking = self._take(line)
        try:
            taken = asyncio.run_coroutine_threadsafe(taking, self._loop)
        except RuntimeError:
            taking.close()
            raise
        taken.result()


class _PipeWriter:
    """Writes to a descriptor; whoever writes waits, and nobody else does."""

    def __init__(self, descriptor: int) -> None:
        self.broken = False
        self._descriptor = descriptor
        self._loop = asyncio.get_running_loop()
        self._waiting: SimpleQueue[tuple[bytes, asyncio.Future[None]]] = SimpleQueue()
        single("pmlive mcp writer", self._write).start()

    async def write(self, data: bytes) -> None:
        """Write it all; to a client that is gone, nothing."""
        if not self.broken:
            written = self._loop.create_future()
            self._waiting.put((data, written))
            await written

    def _write(self) -> None:
        while True:
            data, written = self._waiting.get()
            try:
                while data:
                    data = data[os.write(self._descriptor, data) :]
            except OSError:
                self.broken = True
            try:
                self._loop.call_soon_threadsafe(_done, written)
            except RuntimeError:  # the loop has ended
                return


def _done(written: asyncio.Future[None]) -> None:
    if not written.done():
        written.set_result(None)
