"""The numbers of the price streams' messages: one that is missing is a gap of its connection."""

from collections.abc import Mapping

from pmlive.events import Gap, StreamNumber
from pmlive.records import Standing

__all__ = ["Sequences"]

_MOST_CHANNELS = 64
_LONGEST_NAME = 40


class Sequences:
    """How far each channel of each connection was numbered."""

    def __init__(self) -> None:
        self._last: dict[int, dict[str, Standing]] = {}

    def missing(self, event: StreamNumber, conn: int, recv: int, *, opened: int) -> Gap | None:
        """Note a number; give the gap before it, if messages were lost there.

        The first of a channel is whatever it is, since a capture may begin anywhere. What the venue says it dropped may
        or may not have had numbers, so the larger of the two is what was lost. A number that came before is a repeat.
        """
        channels = self._last.setdefault(conn, {})
        first = 1 if event.number is None else event.number
        last, since = channels.get(event.word, (first - 1, opened))
        number = last + 1 if event.number is None else event.number
        if number > last and (event.word in channels or len(channels) < _MOST_CHANNELS):
            channels[event.word] = number, recv
        lost = max(number - last - 1, event.dropped if number > last else 0)
        if lost <= 0:
            return None
        who = "the venue dropped" if event.dropped else "there are no"
        messages = "1 message" if lost == 1 else f"{lost} messages"
        detail = f"{who} {messages} of {event.word[:_LONGEST_NAME]} before number {number}"
        return Gap(started=min(since, recv), ended=recv, cause="overflow", detail=detail, conn=conn)

    def drop(self, conn: int) -> None:
        """Forget a connection that ended: the next begins with 1."""
        self._last.pop(conn, None)

    def clear(self) -> None:
        """Forget every connection."""
        self._last.clear()

    def save(self, conn: int) -> dict[str, Standing]:
        """Write down how far a connection was numbered."""
        return dict(self._last.get(conn, {}))

    def load(self, conn: int, standings: Mapping[str, Standing]) -> None:
        """Go on from what was written down."""
        if standings:
            self._last[conn] = dict(standings)
