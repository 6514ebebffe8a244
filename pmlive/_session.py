"""One connection to the venue, as a state machine without a socket or a clock.

It is told what happened and when; it says what to send and what else needs doing. The venue acknowledges nothing, so
the only proof that a subscription worked is its opening book: one that stays away is asked for again, then by REST.
An answer to a ping proves that somebody is there, not that data flows, so silence is judged by data alone.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from enum import Enum
from typing import TypeAlias

import msgspec

from pmlive import _wire
from pmlive._streams import PriceStreams
from pmlive.events import BookSnapshot, Channel, Control, Event, NewMarket, StreamReply

__all__ = ["FetchBooks", "Late", "Redial", "Refused", "Session", "State", "Timing", "Todo", "Told", "Witness"]

_S = 1_000_000_000
_FOR_EVER = 1 << 62
_TURN = 0.05

# What says nothing of the tokens that were asked for: every connection is told of every new market.
_NO_DATA = (Control, NewMarket)

# The venue cuts a connection that names a few thousand ids in one frame.
_IDS_PER_FRAME = 100


class State(Enum):
    """Where a connection stands."""

    CLOSED = "closed"
    OPENING = "opening"
    LIVE = "live"
    SILENT = "silent"


class Timing(msgspec.Struct, frozen=True):
    """How long to wait for what, in nanoseconds."""

    ping: int = 10 * _S
    # After a ping, any byte is an answer; a busy socket's own answer may queue behind data.
    answer: int = 10 * _S
    opening: int = 10 * _S
    silence: int = 30 * _S
    # A connection that carries nothing but one event's activity may be quiet for long.
    calm: int = 600 * _S


class FetchBooks(msgspec.Struct, frozen=True):
    """Get these books by REST: the socket sent none, twice."""

    token_ids: list[str]


class Late(msgspec.Struct, frozen=True):
    """These tokens were asked for at ``since`` and still have no book."""

    token_ids: list[str]
    since: int


class Witness(msgspec.Struct, frozen=True):
    """Compare with REST: there has been no data since then, which is calm or a frozen feed."""

    since: int


class Redial(msgspec.Struct, frozen=True):
    """Give this connection up for another."""

    reason: str


class Refused(msgspec.Struct, frozen=True):
    """Give this connection up for good: the venue does not take the credentials, and says why."""

    reason: str


class Told(msgspec.Struct, frozen=True):
    """Let people know what the venue said."""

    words: str


Todo: TypeAlias = FetchBooks | Late | Witness | Redial | Refused | Told


class _Opening(msgspec.Struct):
    """A token whose opening book has not come."""

    asked: int
    since: int
    times: int = 1


class Session:
    """What one connection wants, has, and waits for.

    Keys are token ids on ``market``, condition ids on ``user`` (none at all for every market), ``topic|key`` on
    ``realtime``, and ``channel|symbol`` or ``channel|symbol|provider`` on ``prices``.
    """

    def __init__(
        self,
        channel: Channel,
        *,
        timing: Timing | None = None,
        credentials: Callable[[], dict[str, str]] | None = None,
    ) -> None:
        self.channel: Channel = channel
        self.state = State.CLOSED
        self._read = _wire.reader(channel)
        self.wanted: dict[str, None] = {}
        self.everything = False
        self._timing = timing or Timing()
        self._credentials = credentials
        self.streams: PriceStreams | None = None
        if channel == "prices" and credentials is not None:
            self.streams = PriceStreams(credentials, patience=self._timing.opening)
        self._outbox: list[str] = []
        self._todo: list[Todo] = []
        self._opening: dict[str, _Opening] = {}
        self._subscribed = False
        self._next_ping = 0
        self._pinged: int | None = None
        self._data = 0
        self._useful = False

    # --- what is wanted ---

    def want(self, keys: Iterable[str], now: int) -> None:
        """Add keys, asking for those that are new."""
        fresh = [key for key in dict.fromkeys(keys) if key not in self.wanted]
        self.wanted.update(dict.fromkeys(fresh))
        if self.state is not State.CLOSED and fresh:
            self._ask(fresh, now)

    def unwant(self, keys: Iterable[str]) -> None:
        """Drop keys, telling the venue, which otherwise goes on counting them."""
        gone = [key for key in dict.fromkeys(keys) if key in self.wanted]
        for key in gone:
            del self.wanted[key]
            self._opening.pop(key, None)
        if self.state is not State.CLOSED and gone:
            self._outbox.extend(self._unsubscriptions(gone))
        self._settle()

    def resync(self, token_ids: Iterable[str], now: int) -> None:
        """Ask again for the opening books of tokens that are already subscribed."""
        again = [token_id for token_id in token_ids if token_id in self.wanted]
        if self.state is State.CLOSED or not again:
            return
        self._outbox.extend(self._unsubscriptions(again))
        self._outbox.extend(self._subscriptions(again))
        for token_id in again:
            opening = self._opening.setdefault(token_id, _Opening(now, now, 0))
            opening.asked, opening.times = now, opening.times + 1

    # --- what happened ---

    def connected(self, now: int) -> None:
        """Note an open socket: everything wanted is asked for."""
        self.state = State.OPENING
        self._outbox, self._todo, self._opening = [], [], {}
        self._subscribed = self._useful = False
        self._pinged = None
        self._data = now
        self._next_ping = now + self._timing.ping
        if self.streams is not None:
            self.streams.connected(now)
            self._outbox.extend(self.streams.to_send(now))
        if self.wanted or self.everything:
            self._ask(list(self.wanted), now)

    def received(self, data: str | bytes, now: int) -> list[Event]:
        """Note a frame; give the events in it."""
        self._pinged = None
        events = self._read(data)
        if events and not isinstance(events[0], _NO_DATA):
            self._data = now
            self._useful = self._useful or self.channel != "market"
            if self.state is State.SILENT:
                self.state = State.LIVE
        elif self.channel == "user":
            self._useful = True
        if self._opening:
            self._note_books(events)
        if self.streams is not None:
            self._note_replies(self.streams, events, now)
        return events

    def booked(self, token_id: str) -> None:
        """Note a book that came by another way."""
        self._opening.pop(token_id, None)
        self._settle()

    def witnessed(self, now: int) -> None:
        """Note that REST has nothing newer: the market is calm, the connection good."""
        self._data = now
        if self.state is State.SILENT:
            self.state = State.LIVE

    def tick(self, now: int) -> None:
        """Note the time: ping, ask again, or doubt the connection."""
        if self.state is State.CLOSED:
            return
        self._heartbeat(now)
        self._chase(now)
        if self.streams is not None:
            self._advance(self.streams, now)
        if self.state is State.LIVE and self.wanted and now - self._data >= self._patience():
            self._fall_silent()

    def disconnected(self) -> None:
        """Note the end of the socket."""
        self.state = State.CLOSED
        self._outbox, self._opening = [], {}

    # --- what to do ---

    def to_send(self) -> list[str]:
        """Hand over the frames to send, once."""
        frames, self._outbox = self._outbox, []
        return frames

    def to_do(self) -> list[Todo]:
        """Hand over what else needs doing, once."""
        todo, self._todo = self._todo, []
        return todo

    @property
    def useful(self) -> bool:
        """Tell whether this connection has proved itself: a book came, or data on a channel without books.

        A user may have no orders for hours, so there any answer is a proof: refused credentials get none.
        """
        return self._useful

    @property
    def complaints(self) -> dict[str, str]:
        """Say in the venue's words what it refuses, by key."""
        return {} if self.streams is None else self.streams.refused

    @property
    def pause(self) -> float:
        """Say how many seconds to let pass at most before the next ``tick``, since a frame waits for its turn."""
        return _TURN if self.streams is not None and self.streams.is_waiting else math.inf

    @property
    def waiting(self) -> list[str]:
        """List the tokens whose opening book has not come."""
        return list(self._opening)

    # --- inside ---

    def _ask(self, keys: list[str], now: int) -> None:
        self._outbox.extend(self._subscriptions(keys))
        if not self._subscribed:
            self._subscribed = True
            self._next_ping = now + self._timing.ping
        if self.channel == "market":
            self._opening.update({key: _Opening(now, now) for key in keys})
        self._settle()

    def _subscriptions(self, keys: Sequence[str]) -> list[str]:
        if self.channel == "realtime":
            return [_wire.subscribe_realtime(*_split(key)) for key in keys]
        if self.channel == "prices":
            if self.streams is not None:
                self.streams.ask(keys)
            return []
        if self.channel == "user":
            return self._user_subscription(keys)
        frames: list[str] = []
        for chunk in _chunks(keys):
            frames.append(_wire.subscribe_market(chunk, first=not (self._subscribed or frames)))
        return frames

    def _user_subscription(self, keys: Sequence[str]) -> list[str]:
        if self._subscribed:
            return [] if self.everything else [_wire.subscribe_user(keys, None)]
        credentials = self._credentials() if self._credentials is not None else {}
        return [_wire.subscribe_user(None if self.everything else keys, credentials)]

    def _unsubscriptions(self, keys: Sequence[str]) -> list[str]:
        if self.channel == "realtime":
            return [_wire.unsubscribe_realtime(*_split(key)) for key in keys]
        if self.channel == "prices":
            if self.streams is not None:
                self.streams.withdraw(keys)
            return []
        if self.channel == "user":
            return [] if self.everything else [_wire.unsubscribe_user(keys)]
        return [_wire.unsubscribe_market(chunk) for chunk in _chunks(keys)]

    def _note_books(self, events: Iterable[Event]) -> None:
        for event in events:
            if isinstance(event, BookSnapshot):
                self._useful = True
                self._opening.pop(event.token_id, None)
        self._settle()

    def _note_replies(self, streams: PriceStreams, events: Iterable[Event], now: int) -> None:
        for event in events:
            if isinstance(event, StreamReply):
                streams.answered(event, now)
                self._useful = self._useful or event.word == "subscribed"
                self._settle()

    def _advance(self, streams: PriceStreams, now: int) -> None:
        """Send what has its turn, and say what became of what was sent."""
        self._outbox.extend(streams.to_send(now))
        self._todo.extend(Told(words) for words in streams.news)
        streams.news.clear()
        if streams.rejected:
            self._todo.append(Refused(streams.rejected))
        elif streams.broken:
            self._todo.append(Redial(streams.broken))

    def _settle(self) -> None:
        is_answered = self.streams is None or self.streams.is_settled
        if not self._opening and is_answered and self.state is State.OPENING:
            self.state = State.LIVE

    def _heartbeat(self, now: int) -> None:
        if self._pinged is not None and now - self._pinged >= self._timing.answer:
            self._todo.append(Redial("nothing came after a ping"))
            self._pinged = None
        if self._subscribed and now >= self._next_ping:
            self._outbox.append(_wire.ping(self.channel))
            self._next_ping = now + self._timing.ping
            self._pinged = self._pinged or now

    def _chase(self, now: int) -> None:
        """Ask again for opening books that stay away: on the socket once, then by REST."""
        overdue = {
            key: opening for key, opening in self._opening.items() if now - opening.asked >= self._timing.opening
        }
        if not overdue:
            return
        self._report_late(overdue)
        again = [key for key, opening in overdue.items() if opening.times == 1]
        by_rest = [key for key, opening in overdue.items() if opening.times > 1]
        self.resync(again, now)
        if by_rest:
            self._todo.append(FetchBooks(by_rest))
        for key in by_rest:
            self._opening[key].asked = now

    def _report_late(self, overdue: dict[str, _Opening]) -> None:
        first = {key: opening.since for key, opening in overdue.items() if opening.times == 1}
        for since in sorted(set(first.values())):
            self._todo.append(Late([key for key, asked in first.items() if asked == since], since))

    def _fall_silent(self) -> None:
        self.state = State.SILENT
        if self.channel == "market":
            self._todo.append(Witness(self._data))
        elif self.channel in ("realtime", "prices"):
            self._todo.append(Redial(f"no data for {self._patience() / _S:.0f} s"))

    def _patience(self) -> int:
        if self.streams is not None and not any(key.startswith("price.crypto") for key in self._served()):
            # Markets of equities and currencies close; an answer to a ping is all that comes then.
            return _FOR_EVER
        busy = self.channel == "market" or any(not key.startswith("activity|") for key in self.wanted)
        return self._timing.silence if busy else self._timing.calm

    def _served(self) -> list[str]:
        refused = self.complaints
        return [key for key in self.wanted if key not in refused]


def _chunks(keys: Sequence[str]) -> list[Sequence[str]]:
    return [keys[at : at + _IDS_PER_FRAME] for at in range(0, len(keys), _IDS_PER_FRAME)]


def _split(key: str) -> tuple[str, str]:
    topic, _, name = key.partition("|")
    return topic, name
