"""The ground truth: every change and every book of the simulated markets, whether or not it was sent."""

from bisect import bisect_right
from collections import defaultdict
from typing import Literal, TypeAlias

import msgspec

from pmlive.sim._exchange import Exchange
from pmlive.sim._order_book import MarketMessage

__all__ = ["Change", "GroundTruth", "History"]

_Side: TypeAlias = Literal["bid", "ask"]
# The levels of both sides, best first.
Levels: TypeAlias = tuple[tuple[tuple[float, float], ...], tuple[tuple[float, float], ...]]


class Change(msgspec.Struct, frozen=True, gc=False):
    """One level as it was set at a time in milliseconds; size 0 removed it."""

    at: int
    token_id: str
    side: _Side
    price: float
    size: float


class History:
    """The books that one token has had, with their times in milliseconds."""

    def __init__(self, states: list[tuple[int, Levels]]) -> None:
        self._times = [at for at, _ in states]
        self._states = [levels for _, levels in states]

    @property
    def latest(self) -> Levels:
        """Return the present bids and asks, best first."""
        return self._states[-1]

    def had(self, bids: list[tuple[float, float]], asks: list[tuple[float, float]], *, since: int, until: int) -> bool:
        """Return whether this was the book at any time from ``since`` to ``until``, both included."""
        book = (tuple(bids), tuple(asks))
        first = max(0, bisect_right(self._times, since) - 1)
        return book in self._states[first : bisect_right(self._times, until)]


class _LevelFields(msgspec.Struct):
    price: str
    size: str


class _BookFields(msgspec.Struct):
    bids: list[_LevelFields]
    asks: list[_LevelFields]


class _EntryFields(msgspec.Struct):
    asset_id: str
    price: str
    size: str
    side: str


class _ChangeFields(msgspec.Struct):
    price_changes: list[_EntryFields]
    timestamp: str


_BOOK_DECODER = msgspec.json.Decoder(_BookFields)
_CHANGE_DECODER = msgspec.json.Decoder(_ChangeFields)


class GroundTruth:
    """The changes of an exchange's markets since its start; ``changes`` and ``history`` may run in any thread."""

    def __init__(self, exchange: Exchange) -> None:
        self._started_at = exchange.clock()
        self._opening_books = {
            token: exchange.model(market).state.rest_book(outcome)
            for market in exchange
            for outcome, token in enumerate(market.token_ids)
        }
        self._texts: list[str] = []

    def record(self, step: list[MarketMessage]) -> None:
        """Record the changes of one step."""
        self._texts += [message.text for message in step if message.kind == "price_change"]

    def changes(self) -> list[Change]:
        """List the changes, oldest first."""
        return [
            Change(
                at=int(frame.timestamp),
                token_id=entry.asset_id,
                side="bid" if entry.side == "BUY" else "ask",
                price=float(entry.price),
                size=float(entry.size),
            )
            for frame in map(_CHANGE_DECODER.decode, self._texts.copy())
            for entry in frame.price_changes
        ]

    def history(self) -> dict[str, History]:
        """Return every token's books since the opening."""
        changes_of: defaultdict[str, list[Change]] = defaultdict(list)
        for change in self.changes():
            changes_of[change.token_id].append(change)
        return {
            token: History(_replayed(_BOOK_DECODER.decode(opening), changes_of[token], self._started_at))
            for token, opening in self._opening_books.items()
        }


def _replayed(opening: _BookFields, changes: list[Change], started_at: int) -> list[tuple[int, Levels]]:
    sides: dict[_Side, dict[float, float]] = {
        "bid": {float(level.price): float(level.size) for level in opening.bids},
        "ask": {float(level.price): float(level.size) for level in opening.asks},
    }
    states = [(started_at, _levels(sides))]
    for change in changes:
        side = sides[change.side]
        side.pop(change.price, None)
        if change.size:
            side[change.price] = change.size
        states.append((change.at, _levels(sides)))
    return states


def _levels(sides: dict[_Side, dict[float, float]]) -> Levels:
    return tuple(sorted(sides["bid"].items(), reverse=True)), tuple(sorted(sides["ask"].items()))
