"""The last level changes of a connection: they tell a repeated one from a late one, and what a snapshot is too old for."""

from collections import deque
from collections.abc import Iterable, Iterator
from typing import Literal, TypeAlias

from pmlive.events import LevelChange, PriceChange

__all__ = ["Change", "Past", "Said"]

# A level change as it is written down: the venue's time of it (ms), its side, price and size.
Change: TypeAlias = tuple[int, str, str, str]
# A message as it is written down: its time, and of each change the token, side, price and size.
Said: TypeAlias = tuple[int, list[tuple[str, Literal["BUY", "SELL"], str, str]]]

# How many messages of a connection are remembered; repeated ones come within some milliseconds of the first.
_REMEMBERED = 64
# How many are where a segment of a recording ends, for a reader that goes on from there.
_CARRIED = 64


class Past:
    """What one connection said last, in order of arrival."""

    __slots__ = ("_events", "note")

    def __init__(self) -> None:
        self._events: deque[PriceChange] = deque(maxlen=_REMEMBERED)
        # Remembers a message before its changes are taken.
        self.note = self._events.append

    def repeats(self, event: PriceChange, change: LevelChange) -> bool:
        """Tell whether this very change came before."""
        return any(
            past.timestamp == event.timestamp and _is_same_level(other, change) and other.size == change.size
            for past, other in self._before(change)
        )

    def overtakes(self, event: PriceChange, change: LevelChange) -> bool:
        """Tell whether a newer word on the same level came before."""
        return any(
            past.timestamp > event.timestamp and _is_same_level(other, change) for past, other in self._before(change)
        )

    def since(self, token_id: str, timestamp: int) -> list[Change]:
        """List the changes of a token that are newer than a time."""
        return [
            (past.timestamp, change.side, change.price, change.size)
            for past in self._events
            if past.timestamp > timestamp
            for change in past.changes
            if change.token_id == token_id
        ]

    def trim(self) -> None:
        """Forget all but the very last."""
        while len(self._events) > _CARRIED:
            self._events.popleft()

    def save(self) -> list[Said]:
        """Write down what is remembered."""
        return [
            (past.timestamp, [(change.token_id, change.side, change.price, change.size) for change in past.changes])
            for past in self._events
        ]

    @classmethod
    def load(cls, said: Iterable[Said]) -> "Past":
        """Go on from what was written down."""
        past = cls()
        for timestamp, levels in said:
            changes = [
                LevelChange(token_id=token_id, side=side, price=price, size=size)
                for token_id, side, price, size in levels
            ]
            past.note(PriceChange(market="", timestamp=timestamp, changes=changes))
        return past

    def _before(self, change: LevelChange) -> Iterator[tuple[PriceChange, LevelChange]]:
        for past in self._events:
            for other in past.changes:
                if other is change:
                    return
                yield past, other


def _is_same_level(one: LevelChange, other: LevelChange) -> bool:
    return one.token_id == other.token_id and one.price == other.price and one.side == other.side
