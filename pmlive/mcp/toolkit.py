"""All that is told of one manager and of recordings: tools, resources and prompts, and news for who listens.

Nothing here knows a protocol; servers, also other people's, pull from it.
"""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeAlias, cast

import anyio
import anyio.to_thread
import msgspec
from msgspec import Struct

from pmlive.errors import PmliveError
from pmlive.logs import get_logger
from pmlive.manager import Manager
from pmlive.mcp.answers import RefusalError, asked
from pmlive.mcp.asks import (
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
from pmlive.mcp.card import INSTRUCTIONS
from pmlive.mcp.catalogue import TOOLS
from pmlive.mcp.described import (
    Answer,
    Change,
    Client,
    Described,
    Progress,
    PromptDescribed,
    ResourceDescribed,
    TemplateDescribed,
)
from pmlive.mcp.events import is_urgent
from pmlive.mcp.history import History
from pmlive.mcp.library import Library
from pmlive.mcp.privacy import is_private
from pmlive.mcp.prompts import PROMPTS, fill
from pmlive.mcp.realtime import Realtime
from pmlive.mcp.resources import RESOURCES, TEMPLATES, reader
from pmlive.mcp.ring import Ring
from pmlive.mcp.texts import Row

__all__ = ["Toolkit"]

logger = get_logger(__name__)

_Table: TypeAlias = Mapping[str, tuple[type[Struct], Callable[..., Struct]]]
_Do: TypeAlias = Callable[[Struct, Client | None], Struct]

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
        private: whether the user's own orders and trades are told, too.
    """

    tools: list[Described] = TOOLS
    resources: list[ResourceDescribed] = RESOURCES
    templates: list[TemplateDescribed] = TEMPLATES
    prompts: list[PromptDescribed] = PROMPTS
    instructions: str = INSTRUCTIONS

    def __init__(
        self, manager: Manager, recordings: Path | None = None, *, events: int = 1000, private: bool = True
    ) -> None:
        self.manager = manager
        self.private = private
        self._ring = Ring(events)
        self._realtime = Realtime(manager, self._ring, private=private)
        self._library = Library(manager, recordings)
        self._history = History(manager, self._library, private=private)
        self._listeners: tuple[Callable[[Change], object], ...] = ()
        self._stop = manager.listen(self._note)
        # Those of the live feed are told who asks, as clients may end only what they began.
        self._does = _typed(self._live()) | {name: (kind, _whoever(do)) for name, (kind, do) in self._past().items()}

    def _live(self) -> _Table:
        realtime = self._realtime
        return {
            "subscribe_market_prices": (SubscribeMarkets, realtime.subscribe_market_prices),
            "subscribe_orderbook_updates": (SubscribeBooks, realtime.subscribe_orderbook_updates),
            "subscribe_user_orders": (SubscribeUser, realtime.subscribe_user_orders),
            "subscribe_user_trades": (SubscribeUser, realtime.subscribe_user_trades),
            "subscribe_market_resolution": (SubscribeMarkets, realtime.subscribe_market_resolution),
            "get_realtime_status": (GetStatus, realtime.get_realtime_status),
            "unsubscribe_realtime": (Unsubscribe, realtime.unsubscribe_realtime),
        }

    def _past(self) -> _Table:
        history = self._history
        return {
            "find_markets": (FindMarkets, history.find_markets),
            "get_book": (GetBook, history.get_book),
            "query_recording": (QueryRecording, history.query_recording),
            "get_recording_quality": (GetQuality, history.get_recording_quality),
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
        client: Client | None = None,
    ) -> Answer:
        """Call a tool; what goes wrong is an answer, too.

        Args:
            name: one of ``names()``.
            arguments: what its schema asks for; null is as good as left out.
            progress: is told how long was waited, of how long, once a second.
            client: who asks, if the protocol tells.

        Raises:
            LookupError: there is no such tool.
        """
        if name not in self._does:
            raise LookupError(f"there is no such tool; there are: {', '.join(self.names())}")
        try:
            answer = await self._do(name, arguments, progress, client=client)
        except RefusalError as error:
            return Answer(structured=None, text=str(error), failed=True)
        except TimeoutError:
            text = "this took too long and was given up; ask for less, such as a shorter time range"
            return Answer(structured=None, text=text, failed=True)
        except (PmliveError, ValueError) as error:
            logger.info("the tool %s failed: %s", name, type(error).__name__)
            return Answer(structured=None, text=str(asked(error)), failed=True)
        except Exception:
            logger.exception("the tool %s failed by a fault of ours", name)
            text = "this failed by a fault of the server, which its log tells; other tools go on"
            return Answer(structured=None, text=text, failed=True)
        return _answered(answer)

    async def _do(
        self, name: str, arguments: Mapping[str, object], progress: Progress | None, *, client: Client | None
    ) -> Struct:
        kind, do = self._does[name]
        ask = _read(arguments, kind)
        with anyio.fail_after(_DEADLINE + 5):
            if isinstance(ask, GetStatus):
                await self._wait(ask, progress)
            return await anyio.to_thread.run_sync(do, ask, client, abandon_on_cancel=True)

    async def _wait(self, ask: GetStatus, progress: Progress | None) -> None:
        """Wait for an event after the cursor, for as long as was asked."""
        if ask.since is None or not ask.wait_seconds:
            return
        wanted = self._realtime.concerned(ask)
        began = told = anyio.current_time()
        while (now := anyio.current_time()) - began < ask.wait_seconds:
            past = self._ring.since(ask.since, 1, wanted)
            if past.events or past.gap:
                return
            if progress is not None and now - told >= _PROGRESS:
                told = now
                await progress(now - began, ask.wait_seconds, "waiting for events")
            await anyio.sleep(_LOOK_AGAIN)

    # --- what is read ---

    async def read(self, uri: str) -> str:
        """Read a resource, as JSON text.

        Raises:
            LookupError: there is none of this name.
        """
        read = reader(uri, self.manager, self._history, private=self.private)
        with anyio.fail_after(_DEADLINE):
            values = await anyio.to_thread.run_sync(read, abandon_on_cancel=True)
        return msgspec.json.encode(values).decode()

    def prompt(self, name: str, arguments: Mapping[str, str]) -> str:
        """Fill in a prompt.

        Raises:
            LookupError: there is none of this name.
            ValueError: what it is filled with is missing or wrong.
        """
        return fill(name, arguments)

    # --- news ---

    def listen(self, tell: Callable[[Change], object]) -> Callable[[], None]:
        """Tell of changes from now on, in a thread of the toolkit; give the way to end it."""
        self._listeners = (*self._listeners, tell)

        def stop() -> None:
            self._listeners = tuple(one for one in self._listeners if one is not tell)

        return stop

    def _note(self, update: Row) -> None:
        if is_private(update.get("table")) and not self.private:
            return
        self._ring.add(update)
        if not self._listeners:
            return
        change = Change(
            uris=_touched(update),
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
        """Hear nothing more; the manager goes on."""
        self._stop()
        self._listeners = ()


def _typed(table: _Table) -> dict[str, tuple[type[Struct], _Do]]:
    return cast("dict[str, tuple[type[Struct], _Do]]", dict(table))


def _whoever(do: Callable[..., Struct]) -> _Do:
    """Do what is done alike for all clients."""
    return lambda ask, _client: do(ask)


def _read(arguments: Mapping[str, object], kind: type[Struct]) -> Struct:
    given = {name: value for name, value in arguments.items() if value is not None}
    try:
        return msgspec.convert(given, kind)
    except msgspec.ValidationError as error:
        raise RefusalError(f"the arguments are not what the schema asks for: {_said(error, kind)}") from error


def _said(error: msgspec.ValidationError, kind: type[Struct]) -> str:
    """Say what is wrong with arguments, and repeat nothing that was given."""
    text = str(error)
    if "unknown field" in text:
        return f"one of them is not known; there are: {', '.join(kind.__struct_fields__)}"
    return _QUOTED.sub("a value that is not among those allowed", text)


def _answered(answer: Struct) -> Answer:
    values = cast("Row", msgspec.to_builtins(answer))
    return Answer(structured=values, text=msgspec.json.encode(values).decode())


def _touched(update: Row) -> tuple[str, ...]:
    uris = ["polymarket://websocket-status"]
    if isinstance(subscription_id := update.get("subscription_id"), str):
        uris.append(f"polymarket://subscription/{subscription_id}")
    if update.get("table") in ("prices", "depth", "gaps") and isinstance(token_id := update.get("token_id"), str):
        uris.append(f"polymarket://book/{token_id}")
    return tuple(uris)
