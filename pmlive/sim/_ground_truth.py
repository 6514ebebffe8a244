"""The venue's own account of what it did, whether or not anybody was told: every change, and every book there was."""

from bisect import bisect_right
from collections import defaultdict
from typing import Literal, TypeAlias

import msgspec

from pmlive.sim._exchange import Exchange
from pmlive.sim._order_book import Message

__all__ = ["Change", "History", "Ledger"]

_Side: TypeAlias = Literal["bid", "ask"]
# The levels of both sides, best first, as a client would show them.
Levels: TypeAlias = tuple[tuple[tuple[float, float], ...], tuple[tuple[float, float], ...]]


class Change(msgspec.Struct, frozen=True, gc=False):
    """One level as it became at a time in milliseconds; size 0 removed it."""

    at: int
    token_id: str
    side: _Side
    price: float
    size: float


class History:
    """The books that one token has had: which there were in an interval of milliseconds, and since when one was not."""

    def __init__(self, states: list[tuple[int, Levels]]) -> None:
        self._times = [at for at, _ in states]
        self._states = [levels for _, levels in states]

    @property
    def latest(self) -> Levels:
        """Give the bids and the asks as they are now, best first."""
        return self._states[-1]

    def had(self, bids: list[tuple[float, float]], asks: list[tuple[float, float]], *, since: int, until: int) -> bool:
        """Tell whether this was the book at some time between, both times included."""
        wanted = (tuple(bids), tuple(asks))
        first = max(0, bisect_right(self._times, since) - 1)
        return wanted in self._states[first : bisect_right(self._times, until)]


class _Level(msgspec.Struct):
    price: str
    size: str


class _Book(msgspec.Struct):
    bids: list[_Level]
    asks: list[_Level]


class _Entry(msgspec.Struct):
    asset_id: str
    price: str
    size: str
    side: str


class _PriceChange(msgspec.Struct):
    price_changes: list[_Entry]
    timestamp: str


_BOOK = msgspec.json.Decoder(_Book)
_CHANGE = msgspec.json.Decoder(_PriceChange)


class Ledger:
    """Notes the changes of an exchange's markets from now on; whoever asks reads them in their own thread."""

    def __init__(self, exchange: Exchange) -> None:
        self._began = exchange.clock()
        self._openings = {
            token: exchange.model(market).state.rest_book(outcome)
            for market in exchange
            for outcome, token in enumerate(market.token_ids)
        }
        self._texts: list[str] = []

    def note(self, step: list[Message]) -> None:
        """Note what a step changed."""
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
            for frame in map(_CHANGE.decode, self._texts.copy())
            for entry in frame.price_changes
        ]

    def history(self) -> dict[str, History]:
        """Follow every token's book from its opening."""
        of_token: defaultdict[str, list[Change]] = defaultdict(list)
        for change in self.changes():
            of_token[change.token_id].append(change)
        return {
            token: History(_followed(_BOOK.decode(opening), of_token[token], self._began))
            for token, opening in self._openings.items()
        }


def _followed(opening: _Book, changes: list[Change], began: int) -> list[tuple[int, Levels]]:
    sides: dict[_Side, dict[float, float]] = {
        "bid": {float(level.price): float(level.size) for level in opening.bids},
        "ask": {float(level.price): float(level.size) for level in opening.asks},
    }
    states = [(began, _levels(sides))]
    for change in changes:
        side = sides[change.side]
        side.pop(change.price, None)
        if change.size:
            side[change.price] = change.size
        states.append((change.at, _levels(sides)))
    return states


def _levels(sides: dict[_Side, dict[float, float]]) -> Levels:
    return tuple(sorted(sides["bid"].items(), reverse=True)), tuple(sorted(sides["ask"].items()))
