"""Updates of a manager as events: numbered, kept for callers who come back, and short enough for a model to read."""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Literal

from msgspec import Struct

from pmlive.markets.market import Directory
from pmlive.mcp.safety import Row, is_list, pick, safe_row, token_row

__all__ = ["EventBuffer", "EventPage", "ResourceChange", "concerns", "concise", "detailed", "is_urgent"]

# The values of a concise event, by table.
_CONCISE: dict[str, tuple[str, ...]] = {
    "prices": ("best_bid", "best_ask", "mid"),
    "trades": ("price", "size", "side"),
    "market_events": ("kind", "market", "winning_token_id", "untrusted_winning_outcome", "new_tick_size"),
    "user_orders": ("id", "type", "status", "side", "price", "original_size", "size_matched"),
    "user_trades": ("id", "status", "side", "price", "size"),
    "activity": ("side", "price", "size", "untrusted_title", "untrusted_outcome"),
    "reference_prices": ("symbol", "value", "source"),
    "gaps": ("state", "cause", "started", "ended"),
}


class ResourceChange(Struct, frozen=True, kw_only=True):
    """What clients may be notified of: resources that changed, and the event that changed them."""

    uris: tuple[str, ...]
    update: Row | None
    callback_type: Literal["notification", "log"] | None
    urgent: bool

    def safe_update(self) -> Row | None:
        """Return the event as clients may see it; few are sent, so none is cleaned before."""
        return None if self.update is None else safe_row(self.update)


class EventPage(Struct, frozen=True):
    """Events after a cursor, the next cursor, whether some were lost before them, and whether there are more."""

    events: list[tuple[int, Row]]
    cursor: int
    gap: bool
    more: bool


class EventBuffer:
    """The newest events, numbered; any thread may add and read.

    Args:
        size: how many are kept.
    """

    def __init__(self, size: int = 1000) -> None:
        if size < 1:
            raise ValueError(f"invalid number of events {size}; expected 1 or more")
        self._events: deque[tuple[int, Row]] = deque(maxlen=size)
        self._lock = threading.Lock()
        self._newest = 0

    @property
    def newest(self) -> int:
        """The number of the newest event, 0 before the first."""
        return self._newest

    def add(self, event: Row) -> int:
        """Keep an event and return its number."""
        with self._lock:
            self._newest += 1
            self._events.append((self._newest, event))
            return self._newest

    def since(self, cursor: int, limit: int, wanted: Callable[[Row], bool]) -> EventPage:
        """Return the first events after a cursor that are wanted.

        A cursor that is newer than the newest event is of another run: what it stands for is lost.
        """
        with self._lock:
            kept, newest = list(self._events), self._newest
        oldest = newest - len(kept) + 1
        if cursor > newest:
            cursor, gap = oldest - 1, True
        else:
            gap = cursor < oldest - 1
        after = [(number, event) for number, event in kept if number > cursor and wanted(event)]
        events = after[:limit]
        more = len(after) > limit
        return EventPage(events, events[-1][0] if more else newest, gap, more)


def is_urgent(update: Row) -> bool:
    """Return whether an update is a gap or an outcome, of which clients are notified at once."""
    return update["type"] == "gap" or update.get("kind") == "market_resolved"


def concerns(subscription_id: str, keys: Sequence[str]) -> Callable[[Row], bool]:
    """Return a test whether an update is of a subscription; gaps are of whoever has their token, or of all."""
    tokens = set(keys)

    def test(update: Row) -> bool:
        if update["type"] == "gap":
            return update["token_id"] is None or update["token_id"] in tokens
        return update["subscription_id"] == subscription_id

    return test


def detailed(page: EventPage) -> list[Row]:
    """Return all values of events."""
    return [{"n": number, **safe_row(update)} for number, update in page.events]


def concise(page: EventPage, directory: Directory) -> tuple[list[Row], list[Row]]:
    """Return the values that matter, and apart from them the tokens, to which ``token`` points by position."""
    positions: dict[str, int] = {}
    events = [_concise(number, update, positions) for number, update in page.events]
    return events, [token_row(directory, token_id) for token_id in positions]


def _concise(number: int, update: Row, positions: dict[str, int]) -> Row:
    table = str(update["table"])
    row = safe_row(update)
    event: Row = {"n": number, "type": update["type"], "at": row.get("ts_recv")}
    if isinstance(token_id := update.get("token_id"), str):
        event["token"] = positions.setdefault(token_id, len(positions))
    event |= _best_levels(row) if table == "depth" else pick(row, _CONCISE.get(table, ()))
    return {name: value for name, value in event.items() if value is not None}


def _best_levels(row: Row) -> Row:
    """Return the best level of each side, and how many levels there are."""
    best: Row = {}
    for side in ("bid", "ask"):
        prices, sizes = row[f"{side}_prices"], row[f"{side}_sizes"]
        if is_list(prices) and is_list(sizes):
            best[side] = [prices[0], sizes[0]] if prices else None
            best[f"{side}_levels"] = len(prices)
    return best
