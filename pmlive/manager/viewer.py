"""What a manager gives to those who look at it: glances, and the widgets."""

from collections.abc import Callable, Sequence
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast

from pmlive.logs import get_logger
from pmlive.manager.engine import Engine
from pmlive.manager.glance import Asked, Glance, glance
from pmlive.manager.mailbox import Handler
from pmlive.manager.subscribing import Subscriber
from pmlive.manager.subscriptions import CallbackType
from pmlive.markets import Market, find

if TYPE_CHECKING:
    from pmlive.manager.core import Manager
    from pmlive.mcp.http import Served
    from pmlive.widgets import Dashboard

__all__ = ["Viewer"]

logger = get_logger(__name__)


class Viewer(Subscriber):
    """The side of a manager that charts see."""

    def __init__(self, engine: Engine, handlers: dict[CallbackType, Handler | None]) -> None:
        super().__init__(engine, handlers)
        self._endings: list[Callable[[], object]] = []

    def dashboard(
        self, token_id: str | None = None, *, rate: float = 10.0, charts: Literal["canvas", "image"] = "canvas"
    ) -> "Dashboard":
        """Show live charts, tables and, for a replay, its controls; the dashboard shown before is closed.

        Args:
            token_id: the token to begin with, by default the first that is watched.
            rate: the most drawings a second of each chart, 30 at most.
            charts: ``"image"`` for front ends that load no script of ours; see ``pmlive.widgets.plain``.

        Raises:
            ImportError: the extra ``pmlive[jupyter]`` is not installed.
        """
        kind = cast("type[Dashboard]", import_module("pmlive.widgets").Dashboard)
        return kind.of(cast("Manager", self), token_id, rate=rate, charts=charts)

    def serve_mcp(self, port: int = 0, *, recordings: str | Path | None = None, private: bool = False) -> "Served":
        """Let Claude and other MCP clients of this computer use this manager; the same again if they may already.

        Every request must bear the ``token`` of what this gives, whose ``config()`` is what to tell clients.

        Args:
            port: by default one that is free.
            recordings: the folder of recordings that they may ask of, by default the one where recordings go.
            private: whether they may read the user's own orders and trades.

        Raises:
            ImportError: the extra ``pmlive[mcp]`` is not installed.
            OSError: the port cannot be had.
            ValueError: the manager is served already, at another port, or without what is the user's own.
        """
        serve = cast("Callable[..., Served]", import_module("pmlive.mcp").serve)
        return serve(self, port, recordings=recordings, private=private)

    def find(self, text: str) -> list[Market]:
        """Find what a text means at this manager's venue, as ``pmlive.find`` does; in a replay, what was recorded.

        Raises:
            ValueError: the text cannot name a market.
            UnknownMarketError: the venue does not know the id, the slug or the address.
            FeedError: the venue cannot be asked.
        """
        if not self._engine.call(self._engine.started).recorded:
            return find(text, self._engine.venue)
        words = text.casefold().split()
        return [market for market in self._engine.markets.values() if all(word in _said(market) for word in words)]

    def glance(self, asked: Sequence[Asked]) -> list[Glance]:
        """See what several ask for, all at one moment and in one visit to the feed thread."""
        return self._engine.call(partial(glance, self._engine, asked))

    def at_close(self, ending: Callable[[], object]) -> Callable[[], None]:
        """Do something before everything ends; charts take their last picture then. Give what calls it off."""
        self._endings.append(ending)

        def call_off() -> None:
            if ending in self._endings:
                self._endings.remove(ending)

        return call_off

    def _end_viewing(self) -> None:
        while self._endings:
            try:
                self._endings.pop()()
            except Exception:
                # No chart may keep a recording from being sealed.
                logger.exception("what was to be done before a manager closes failed")


def _said(market: Market) -> str:
    names = (market.question, market.slug, market.event_slug, market.condition_id, *market.outcomes, *market.token_ids)
    return " ".join(names).casefold()
