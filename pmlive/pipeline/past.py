"""The last frames of a connection: they tell a repeated change from a late one, and what a snapshot is too old for."""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeAlias

from pmlive import _wire
from pmlive.events import Event, LevelChange, PriceChange

__all__ = ["Change", "Past"]

# A level change as it is written down: the venue's time of it (ms), its side, price and size.
Change: TypeAlias = tuple[int, str, str, str]

# How many frames are remembered; repeated ones come within some milliseconds of the first.
_REMEMBERED = 64


class Past:
    """What one connection said last, in order of arrival.

    Frames are kept as received, and read again when that is asked for, which is seldom.
    """

    __slots__ = ("_frames", "note", "present")

    def __init__(self, frames: Iterable[bytes] = ()) -> None:
        self._frames: deque[bytes] = deque(frames, maxlen=_REMEMBERED)
        # Remembers a frame, once everything in it was taken.
        self.note = self._frames.append
        # What is in the frame that is being taken.
        self.present: Sequence[Event] = ()

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
            for past, change in self._before(None)
            if past.timestamp > timestamp and change.token_id == token_id
        ]

    def save(self) -> list[str]:
        """Write down what is remembered."""
        return [frame.decode("utf-8", "replace") for frame in self._frames]

    def _before(self, change: LevelChange | None) -> Iterator[tuple[PriceChange, LevelChange]]:
        remembered = (event for frame in self._frames for event in _wire.decode("market", frame))
        changes = (event for event in (*remembered, *self.present) if isinstance(event, PriceChange))
        for event in changes:
            for other in event.changes:
                if other is change:
                    return
                yield event, other


def _is_same_level(one: LevelChange, other: LevelChange) -> bool:
    return one.token_id == other.token_id and one.price == other.price and one.side == other.side
