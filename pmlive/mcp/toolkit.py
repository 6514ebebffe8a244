"""The toolkit of one manager and of recordings: tools, resources and prompts, and notifications for who listens.

Nothing here knows a protocol; servers, also other people's, pull from it.
"""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeAlias, TypeVar

import anyio
import anyio.to_thread
import msgspec
from msgspec import Struct

from pmlive.errors import PmliveError
from pmlive.logs import get_logger
from pmlive.manager import Manager
from pmlive.mcp.definitions import (
    TOOLS,
    FindMarkets,
    GetBook,
    GetQuality,
    GetStatus,
    QueryRecording,
    SubscribeBooks,
    SubscribeMarkets,
    SubscribeUser,
    Unsubscribe,
)
from pmlive.mcp.events import EventBuffer, ResourceChange, is_urgent
from pmlive.mcp.history import HistoryTools
from pmlive.mcp.realtime import Realtime
from pmlive.mcp.safety import RefusalError, Row, is_private, public_status, refusal, safe_row, utc_now
from pmlive.mcp.specs import (
    INSTRUCTIONS,
    INTERNAL_ERROR,
    Caller,
    Progress,
    PromptArgument,
    PromptSpec,
    ResourceSpec,
    TemplateSpec,
    ToolResult,
    ToolSpec,
)

__all__ = [
    "PROMPTS",
    "Toolkit",
    "fill_prompt",
]


# --- resources ---
# Resources that can be read by address, and prompts for what a researcher asks again and again.

_JSON = "application/json"
_STATUS = "polymarket://websocket-status"
_URI = re.compile(r"polymarket://(websocket-status|(subscription|book|recording)/([A-Za-z0-9._-]{1,128}))")

_RESOURCES = [
    ResourceSpec(
        uri=_STATUS,
        name="websocket-status",
        title="Status of the live feed",
        description="Connections, subscriptions, statistics, books and the recording, as the manager reports them.",
        mime_type=_JSON,
    )
]
_TEMPLATES = [
    TemplateSpec(
        uri_template="polymarket://subscription/{subscription_id}",
        name="subscription",
        title="One subscription",
        description="What one active subscription is and has received.",
        mime_type=_JSON,
    ),
    TemplateSpec(
        uri_template="polymarket://book/{token_id}",
        name="book",
        title="Order book of a subscribed token",
        description="The best ten levels now, or why the book cannot be trusted.",
        mime_type=_JSON,
    ),
    TemplateSpec(
        uri_template="polymarket://recording/{name}",
        name="recording",
        title="Quality of a recording",
        description="Coverage, gaps and their causes, checks and latency of one recording.",
        mime_type=_JSON,
    ),
]

PROMPTS = [
    PromptSpec(
        name="review_recording",
        title="Review a recording",
        description="Judge what a recording is worth before it is used: coverage, gaps, checks, minutes to leave out.",
        arguments=(
            PromptArgument(
                name="recording", description="Name of the recording, as listed by get_recording_quality", required=True
            ),
        ),
    ),
    PromptSpec(
        name="explain_move",
        title="Explain a price move",
        description="Find out what happened to a book around a time of a recording: trades, depth, spread, and gaps.",
        arguments=(
            PromptArgument(name="recording", description="Name of the recording", required=True),
            PromptArgument(name="token_id", description="Token whose price moved", required=True),
            PromptArgument(name="time", description="About when, ISO 8601, UTC", required=True),
        ),
    ),
]

_TEXTS = {
    "review_recording": (
        "Review the recording {recording}. Call get_recording_quality for it first. Then say, in this order: what "
        "share of the time its books can be trusted; each fault with its interval and cause; whether hashes, best "
        "prices and fresh snapshots agreed; how late messages came; and which minutes to leave out. For a fault "
        "longer than ten seconds, look with query_recording at prices just before and just after it, and say what may "
        "have been missed. State numbers with units, and what you could not find out."
    ),
    "explain_move": (
        "Explain what happened to the book of token {token_id} around {time} in the recording {recording}. First see "
        "with query_recording whether a gap touches the ten minutes around it; if one does, say what cannot be known. "
        "Then compare get_book one minute before, at the time and one minute after; read the trades of these minutes, "
        "aggregated by 10s; and tell which came first, trades or withdrawn orders. Distinguish what the data show from "
        "what you suppose."
    ),
}
# What may stand in a prompt: names, ids and times, and no sentences.
_ARGUMENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9.:+_-]{0,127}")


def _resource_reader(
    uri: str, manager: Manager, history: HistoryTools, *, private: bool = True
) -> Callable[[], Row | Struct]:
    """Return a function that reads a resource, what is the user's own only if ``private``; it blocks.

    Raises:
        LookupError: there is no such resource; the reading may raise it, too.
    """
    match = _URI.fullmatch(uri)
    if match is None:
        raise LookupError("there is no such resource; the list of resources and templates has those that are")
    kind, name = match[2], match[3]
    match kind:
        case "subscription":
            return lambda: _subscription(manager, name, private=private)
        case "book":
            return lambda: _read_or_raise(lambda: history.get_book(GetBook(token=name)))
        case "recording":
            return lambda: _read_or_raise(lambda: history.get_recording_quality(GetQuality(recording=name)))
        case _:
            return lambda: _status(manager, private=private)


def _uris_of(update: Row) -> tuple[str, ...]:
    """List the addresses of the resources that an update changes."""
    uris = [_STATUS]
    if isinstance(subscription_id := update.get("subscription_id"), str):
        uris.append(f"polymarket://subscription/{subscription_id}")
    if update.get("table") in ("prices", "depth", "gaps") and isinstance(token_id := update.get("token_id"), str):
        uris.append(f"polymarket://book/{token_id}")
    return tuple(uris)


def fill_prompt(name: str, arguments: Mapping[str, str]) -> str:
    """Fill in a prompt.

    Raises:
        LookupError: there is no such prompt.
        ValueError: an argument is missing, is not known, or is not a name, an id or a time.
    """
    prompt = next((each for each in PROMPTS if each.name == name), None)
    if prompt is None:
        raise LookupError(f"there is no such prompt; there are: {', '.join(each.name for each in PROMPTS)}")
    wanted = [argument.name for argument in prompt.arguments]
    if set(arguments) != set(wanted):
        raise ValueError(f"invalid arguments; this prompt takes exactly: {', '.join(wanted)}")
    for argument in wanted:
        if not _ARGUMENT.fullmatch(arguments[argument]):
            raise ValueError(f"invalid {argument}; expected a name, an id or a time, without spaces")
    return _TEXTS[name].format(**arguments)


def _status(manager: Manager, *, private: bool) -> Row:
    status = manager.report()
    return {**safe_row((status if private else public_status(status)).to_dict()), "as_of": utc_now()}


def _subscription(manager: Manager, name: str, *, private: bool) -> Row:
    for subscription in manager.subscriptions:
        if subscription.id == name and (private or not is_private(subscription.type)):
            return {**safe_row(subscription.to_dict()), "as_of": utc_now()}
    raise LookupError("there is no such subscription; polymarket://websocket-status lists those that are active")


def _read_or_raise(read: Callable[[], Struct]) -> Struct:
    try:
        return read()
    except RefusalError as error:
        raise LookupError(str(error)) from error


# --- toolkit ---

logger = get_logger(__name__)

P = TypeVar("P", bound=Struct)


class _Call(Struct, frozen=True):
    """A call of a tool, whose arguments were found valid."""

    params: Struct
    run: Callable[[], Struct]


# Checks the arguments of a call by a client.
_Tool: TypeAlias = Callable[[Mapping[str, object], Caller | None], _Call]

# No tool may take longer, in seconds: hosts give up on what does.
_DEADLINE = 25.0
_LOOK_AGAIN = 0.05
# The one complaint of the decoder that quotes what was given.
_QUOTED = re.compile(r"Invalid enum value \S+")
_PROGRESS = 1.0


class Toolkit:
    """The tools of a manager.

    Args:
        manager: whose subscriptions, books and status.
        recordings: the folder of recordings that may be read, by default the one that recordings go to.
        events: how many of the last events are kept for callers who come back.
        private: whether the user's own orders and trades are answered, too.
    """

    tools: list[ToolSpec] = TOOLS
    resources: list[ResourceSpec] = _RESOURCES
    templates: list[TemplateSpec] = _TEMPLATES
    prompts: list[PromptSpec] = PROMPTS
    instructions: str = INSTRUCTIONS

    def __init__(
        self, manager: Manager, recordings: Path | None = None, *, events: int = 1000, private: bool = True
    ) -> None:
        self.manager = manager
        self.private = private
        self._events = EventBuffer(events)
        self._realtime = Realtime(manager, self._events, private=private)
        self._history = HistoryTools(manager, recordings, private=private)
        self._listeners: tuple[Callable[[ResourceChange], object], ...] = ()
        self._stop = manager.listen(self._note)
        self._tools = self._live() | self._past()

    def _live(self) -> dict[str, _Tool]:
        realtime = self._realtime
        return {
            "subscribe_market_prices": _tool_by(SubscribeMarkets, realtime.subscribe_market_prices),
            "subscribe_orderbook_updates": _tool_by(SubscribeBooks, realtime.subscribe_orderbook_updates),
            "subscribe_user_orders": _tool_by(SubscribeUser, realtime.subscribe_user_orders),
            "subscribe_user_trades": _tool_by(SubscribeUser, realtime.subscribe_user_trades),
            "subscribe_market_resolution": _tool_by(SubscribeMarkets, realtime.subscribe_market_resolution),
            "get_realtime_status": _tool_by(GetStatus, realtime.get_realtime_status),
            "unsubscribe_realtime": _tool_by(Unsubscribe, realtime.unsubscribe_realtime),
        }

    def _past(self) -> dict[str, _Tool]:
        history = self._history
        return {
            "find_markets": _tool(FindMarkets, history.find_markets),
            "get_book": _tool(GetBook, history.get_book),
            "query_recording": _tool(QueryRecording, history.query_recording),
            "get_recording_quality": _tool(GetQuality, history.get_recording_quality),
        }

    def names(self) -> list[str]:
        """List the names of the tools."""
        return [tool.name for tool in self.tools]

    async def call(
        self,
        name: str,
        arguments: Mapping[str, object],
        progress: Progress | None = None,
        *,
        client: Caller | None = None,
    ) -> ToolResult:
        """Call a tool; what goes wrong is a result, too.

        Args:
            name: one of ``names()``.
            arguments: what its schema asks for; null is as good as left out.
            progress: called once a second of a wait, with how long it took and may take.
            client: who calls, if the protocol tells.

        Raises:
            LookupError: there is no such tool.
        """
        if name not in self._tools:
            raise LookupError(f"there is no such tool; there are: {', '.join(self.names())}")
        try:
            response = await self._respond(name, arguments, progress, client=client)
        except RefusalError as error:
            return ToolResult(structured=None, text=str(error), failed=True)
        except TimeoutError:
            text = "this took too long and was given up; ask for less, such as a shorter time range"
            return ToolResult(structured=None, text=text, failed=True)
        except (PmliveError, ValueError) as error:
            logger.info("the tool %s failed: %s", name, type(error).__name__)
            return ToolResult(structured=None, text=str(refusal(error)), failed=True)
        except Exception:
            logger.exception("internal error of the tool %s", name)
            return ToolResult(structured=None, text=INTERNAL_ERROR, failed=True)
        return _result(response)

    async def _respond(
        self, name: str, arguments: Mapping[str, object], progress: Progress | None, *, client: Caller | None
    ) -> Struct:
        call = self._tools[name](arguments, client)
        with anyio.fail_after(_DEADLINE + 5):
            if isinstance(call.params, GetStatus):
                await self._wait(call.params, progress)
            return await anyio.to_thread.run_sync(call.run, abandon_on_cancel=True)

    async def _wait(self, params: GetStatus, progress: Progress | None) -> None:
        """Wait for an event after the cursor, for as long as was asked."""
        if params.since is None or not params.wait_seconds:
            return
        wanted = self._realtime.filter_of(params)
        began = reported = anyio.current_time()
        while (now := anyio.current_time()) - began < params.wait_seconds:
            page = self._events.since(params.since, 1, wanted)
            if page.events or page.gap:
                return
            if progress is not None and now - reported >= _PROGRESS:
                reported = now
                await progress(now - began, params.wait_seconds, "waiting for events")
            await anyio.sleep(_LOOK_AGAIN)

    # --- resources and prompts ---

    async def read(self, uri: str) -> str:
        """Read a resource, as JSON text.

        Raises:
            LookupError: there is no such resource.
        """
        read = _resource_reader(uri, self.manager, self._history, private=self.private)
        with anyio.fail_after(_DEADLINE):
            values = await anyio.to_thread.run_sync(read, abandon_on_cancel=True)
        return msgspec.json.encode(values).decode()

    def prompt(self, name: str, arguments: Mapping[str, str]) -> str:
        """Fill in a prompt.

        Raises:
            LookupError: there is no such prompt.
            ValueError: an argument is missing or wrong.
        """
        return fill_prompt(name, arguments)

    # --- notifications ---

    def listen(self, tell: Callable[[ResourceChange], object]) -> Callable[[], None]:
        """Call a function at each change, in a thread of the toolkit's; return what ends this."""
        self._listeners = (*self._listeners, tell)

        def stop() -> None:
            self._listeners = tuple(each for each in self._listeners if each is not tell)

        return stop

    def _note(self, update: Row) -> None:
        if is_private(update.get("table")) and not self.private:
            return
        self._events.add(update)
        if not self._listeners:
            return
        change = ResourceChange(
            uris=_uris_of(update),
            update=update,
            callback_type=self._realtime.callback_type(update.get("subscription_id")),
            urgent=is_urgent(update),
        )
        for tell in self._listeners:
            try:
                tell(change)
            except Exception:
                logger.exception("a listener to changes raised")

    def close(self) -> None:
        """Stop listening to the manager, which goes on."""
        self._stop()
        self._listeners = ()


def _tool(kind: type[P], do: Callable[[P], Struct]) -> _Tool:
    """Make a tool that does the same for all clients."""
    return _tool_by(kind, lambda params, _client: do(params))


def _tool_by(kind: type[P], do: Callable[[P, Caller | None], Struct]) -> _Tool:
    """Make a tool that is given its caller, as clients may end only what they began."""

    def check(arguments: Mapping[str, object], client: Caller | None) -> _Call:
        params = _params(arguments, kind)
        return _Call(params, lambda: do(params, client))

    return check


def _params(arguments: Mapping[str, object], kind: type[P]) -> P:
    given = {name: value for name, value in arguments.items() if value is not None}
    try:
        return msgspec.convert(given, kind)
    except msgspec.ValidationError as error:
        raise RefusalError(f"invalid arguments: {_complaint(error, kind)}") from error


def _complaint(error: msgspec.ValidationError, kind: type[Struct]) -> str:
    """Describe what is wrong with arguments, and repeat nothing that was given."""
    text = str(error)
    if "unknown field" in text:
        return f"unknown parameter; there are: {', '.join(kind.__struct_fields__)}"
    return _QUOTED.sub("a value that is not among those allowed", text)


def _result(response: Struct) -> ToolResult:
    values: Row = msgspec.to_builtins(response)
    return ToolResult(structured=values, text=msgspec.json.encode(values).decode())
