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
from pmlive.mcp.resources import PROMPTS, RESOURCES, TEMPLATES, fill_prompt, resource_reader, uris_of
from pmlive.mcp.safety import RefusalError, Row, is_private, refusal
from pmlive.mcp.specs import (
    INSTRUCTIONS,
    INTERNAL_ERROR,
    Caller,
    Progress,
    PromptSpec,
    ResourceSpec,
    TemplateSpec,
    ToolResult,
    ToolSpec,
)

__all__ = ["Toolkit"]

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
    resources: list[ResourceSpec] = RESOURCES
    templates: list[TemplateSpec] = TEMPLATES
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
        read = resource_reader(uri, self.manager, self._history, private=self.private)
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
            uris=uris_of(update),
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
