"""The first words of a client on a pipe, answered before anything heavy is loaded.

Two habits of hosts need it. The SDK takes more than a second to load, and some give up sooner. And some ask
``server/discover``, the newer era's first question, and then go on with ``initialize``, the older era's; the SDK takes
the first question for a decision, and refuses the other era from then on. So the first questions are answered here, as
the SDK would, and only what follows them decides. A test compares every word with the SDK's.
"""

from typing import TypeAlias, cast

import msgspec
from msgspec import Struct

from pmlive.mcp.card import INSTRUCTIONS, NAME, TITLE, VERSION

__all__ = ["MODERN", "OLDER", "Doorstep", "Heard"]

# Versions of the protocol that are served: with a first handshake, and with an envelope around each request.
OLDER = ("2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25")
MODERN = ("2026-07-28",)

_ENVELOPE = "io.modelcontextprotocol/"
_VERSION, _CLIENT, _CAPABILITIES = (
    f"{_ENVELOPE}{key}" for key in ("protocolVersion", "clientInfo", "clientCapabilities")
)
_SERVER = f"{_ENVELOPE}serverInfo"
_INVALID, _UNKNOWN, _UNSUPPORTED = -32602, -32601, -32022

_INFO = {"name": NAME, "title": TITLE, "version": VERSION}

Object: TypeAlias = dict[str, object]


class Heard(Struct, frozen=True):
    """What becomes of a line: the answer to it, if that is known, and whether the server is to have it, too."""

    answer: bytes | None
    passed: bool


class Doorstep:
    """Hear a client's lines until the first that only the server can answer."""

    def __init__(self) -> None:
        self._opened = False
        self._answered: object = None

    def hear(self, line: bytes) -> Heard:
        """Answer a line if it is one of the first words."""
        message = None if self._opened else _message(line)
        if message is None or "method" not in message or "id" not in message:
            return Heard(None, passed=True)
        if message["method"] == "server/discover":
            return Heard(_line(message["id"], _discovered(message)), passed=False)
        self._opened = True
        greeting = _initialized(message) if message["method"] == "initialize" else None
        if greeting is None:
            return Heard(None, passed=True)
        self._answered = message["id"]
        return Heard(_line(message["id"], greeting), passed=True)

    def is_repeated(self, message_id: object) -> bool:
        """Tell whether the server says what was said here already; it does so once."""
        repeated = self._answered is not None and message_id == self._answered
        if repeated:
            self._answered = None
        return repeated


def _message(line: bytes) -> Object | None:
    try:
        message: object = msgspec.json.decode(line)
    except (msgspec.DecodeError, RecursionError):
        return None
    # What is no message is the server's to refuse.
    return _object(message)


def _object(value: object) -> Object | None:
    return cast("Object", value) if isinstance(value, dict) else None


def _line(message_id: object, said: Object) -> bytes:
    return msgspec.json.encode({"jsonrpc": "2.0", "id": message_id} | said) + b"\n"


def _discovered(message: Object) -> Object:
    """Answer ``server/discover``; also what is wrong with it, so that no era is decided by a question that failed."""
    meta = _object((_object(message.get("params")) or {}).get("_meta"))
    if meta is None or _VERSION not in meta:
        return _error(_UNKNOWN, "Method not found", data="server/discover")
    if _CAPABILITIES not in meta:
        return _error(_INVALID, f"params._meta is missing the required envelope key(s): {_CAPABILITIES}")
    if not isinstance(meta[_VERSION], str):
        return _error(_INVALID, "the protocol-version envelope value must be a string")
    if meta[_VERSION] not in MODERN:
        return _error(
            _UNSUPPORTED,
            "Unsupported protocol version",
            data={"supported": list(MODERN), "requested": meta[_VERSION]},
        )
    if not _are_capabilities(meta[_CAPABILITIES]) or not (_CLIENT not in meta or _is_client(meta[_CLIENT])):
        return _error(_INVALID, "Invalid request parameters", data="")
    return {
        "result": {
            "supportedVersions": list(MODERN),
            "capabilities": _capabilities(lists_change=True),
            "instructions": INSTRUCTIONS,
            "resultType": "complete",
            "ttlMs": 0,
            "cacheScope": "private",
            "_meta": {_SERVER: _INFO},
        }
    }


def _initialized(message: Object) -> Object | None:
    """Answer ``initialize`` where it is plain; the rest is left to the server."""
    params = _object(message.get("params")) or {}
    plain = (
        params.get("protocolVersion") in OLDER
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


def _capabilities(*, lists_change: bool) -> Object:
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


def _error(code: int, message: str, **more: object) -> Object:
    return {"error": {"code": code, "message": message} | more}
