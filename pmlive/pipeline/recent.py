"""The last changes of each market by connection: to know a repeated one, and to catch up with a late snapshot."""

from collections import deque
from collections.abc import Reversible

from pmlive.events import LevelChange, PriceChange

__all__ = ["Recent"]

# How many of a market's last messages are kept; repeated ones come within some milliseconds of the first.
_REMEMBERED = 64


class Recent:
    """Messages by connection and market; those of the connection that was heard last are at hand."""

    def __init__(self) -> None:
        self._by_conn: dict[int, dict[str, deque[PriceChange]]] = {}
        self._by_market: dict[str, deque[PriceChange]] = {}
        self._heard = -1

    def add(self, event: PriceChange, conn: int) -> None:
        """Keep a message."""
        if conn != self._heard:
            self._heard, self._by_market = conn, self._by_conn.setdefault(conn, {})
        recent = self._by_market.get(event.market)
        if recent is None:
            recent = self._by_market[event.market] = deque(maxlen=_REMEMBERED)
        recent.append(event)

    def has(self, event: PriceChange, change: LevelChange, conn: int) -> bool:
        """Tell whether this very change came before, at the same time of the venue."""
        earlier = self.of(conn, event.market)
        return any(one.timestamp == event.timestamp and _tells(one, change) for one in earlier)

    def ends_with(self, event: PriceChange, change: LevelChange, conn: int) -> bool:
        """Tell whether this very change was the last word on its level at that time: sizes may come and go and come."""
        level = (change.token_id, change.side, change.price)
        for one in reversed(self.of(conn, event.market)):
            for each in one.changes if one.timestamp == event.timestamp else ():
                if (each.token_id, each.side, each.price) == level:
                    return _values(each) == _values(change)
        return False

    def of(self, conn: int, market: str) -> Reversible[PriceChange]:
        """Give a market's last messages, oldest first."""
        return self._by_conn.get(conn, {}).get(market, ())

    def load(self, conn: int, market: str, events: list[PriceChange]) -> None:
        """Go on with messages that were written down, where they tell more than is known."""
        known = self._by_conn.setdefault(conn, {})
        if len(events) > len(known.get(market, ())):
            known[market] = deque(events, maxlen=_REMEMBERED)

    def forget(self, conn: int) -> None:
        """Forget a connection that ended: none of its changes belongs to another."""
        self._by_conn.pop(conn, None)
        if conn == self._heard:
            self._heard, self._by_market = -1, {}

    def clear(self) -> None:
        """Forget everything."""
        self._by_conn, self._by_market, self._heard = {}, {}, -1


def _tells(event: PriceChange, change: LevelChange) -> bool:
    """Tell whether a message has a change; one that was written down has lost the wire's type, and equals by value."""
    if type(event) is not PriceChange:
        return change in event.changes
    return _values(change) in [_values(each) for each in event.changes]


def _values(change: LevelChange) -> tuple[str, ...]:
    level = (change.token_id, change.side, change.price, change.size)
    return (*level, change.hash, change.best_bid, change.best_ask)
