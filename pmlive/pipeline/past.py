"""The last price changes of a connection: they tell a repeated one from a late one, and what a snapshot has not yet."""

from collections import deque
from collections.abc import Iterable, Iterator

from pmlive import _wire
from pmlive.book import PRICES, SIZES
from pmlive.errors import ProtocolError
from pmlive.events import LevelChange, PriceChange
from pmlive.records import Change

__all__ = ["Past"]

# How many messages are remembered; repeated ones come within some milliseconds of the first.
_REMEMBERED = 64


class Past:
    """What one connection said of levels last, in order of arrival.

    Messages are kept as received, and read again when that is asked for, which is seldom.
    """

    __slots__ = ("_messages", "note")

    def __init__(self, messages: Iterable[bytes] = ()) -> None:
        self._messages: deque[bytes] = deque(messages, maxlen=_REMEMBERED)
        # Remembers a message, once its changes were taken.
        self.note = self._messages.append

    def repeats(self, event: PriceChange, change: LevelChange) -> bool:
        """Tell whether this very change came before, of the same state of the book: its hash tells."""
        said = (change.size, change.hash)
        return any(
            past.timestamp == event.timestamp and _is_same_level(other, change) and (other.size, other.hash) == said
            for past, other in self._before(event, change)
        )

    def overtakes(self, event: PriceChange, change: LevelChange) -> bool:
        """Tell whether a newer word on the same level came before, or came so long before that it is forgotten."""
        if len(self._messages) == _REMEMBERED and event.timestamp < next(self._events()).timestamp:
            return True
        return any(
            past.timestamp > event.timestamp and _is_same_level(other, change)
            for past, other in self._before(event, change)
        )

    def since(self, token_id: str, timestamp: int) -> list[Change]:
        """List the changes of a token that are newer than a time, but for those that were refused."""
        return [
            (past.timestamp, change.side, change.price, change.size)
            for past in self._events()
            if past.timestamp > timestamp
            for change in past.changes
            if change.token_id == token_id and _is_sound(change)
        ]

    def save(self) -> list[bytes]:
        """Write down what is remembered."""
        return list(self._messages)

    def _events(self) -> Iterator[PriceChange]:
        for message in self._messages:
            yield from (event for event in _wire.decode("market", message) if isinstance(event, PriceChange))

    def _before(self, event: PriceChange, change: LevelChange) -> Iterator[tuple[PriceChange, LevelChange]]:
        for past in self._events():
            yield from ((past, other) for other in past.changes)
        for other in event.changes:
            if other is change:
                return
            yield event, other


def _is_same_level(one: LevelChange, other: LevelChange) -> bool:
    return one.token_id == other.token_id and one.price == other.price and one.side == other.side


def _is_sound(change: LevelChange) -> bool:
    try:
        _ = PRICES[change.price], SIZES[change.size]
    except ProtocolError:
        return False
    return True
