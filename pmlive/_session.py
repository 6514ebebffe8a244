"""One connection to the venue, as a state machine without a socket or a clock.

Its methods are called with what happened and when; it returns what to send and what else needs doing. The venue
acknowledges nothing, so the only proof that a subscription worked is its opening book: one that does not come is
requested again, then by REST. An answer to a ping proves that the server is there, not that data flows, so silence is
judged by data alone.
"""

import math
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from enum import Enum
from statistics import median_low
from typing import TypeAlias

import msgspec

from pmlive import _wire
from pmlive._streams import PriceStreams
from pmlive.events import (
    BookSnapshot,
    Channel,
    Control,
    Event,
    Malformed,
    NewMarket,
    PriceChange,
    StreamReply,
    Trade,
    Unknown,
    epoch_ns,
)
from pmlive.times import CLOCK_ERROR_NS, LONGEST_LATENCY_NS

__all__ = [
    "UNANSWERED",
    "Complaint",
    "FetchBooks",
    "Late",
    "Redial",
    "Refused",
    "Session",
    "State",
    "Timing",
    "Todo",
    "Witness",
]

_S = 1_000_000_000
_NEVER_NS = 1 << 62
_TURN_S = 0.05
# Events that say nothing of the tokens that were asked for: every connection gets every new market.
_NO_DATA = (Control, NewMarket)
# Nor do those that cannot be read: a feed that sends nothing else is as good as frozen.
_NO_SIGN = (*_NO_DATA, Malformed, Unknown)
# Events that say when they were sent.
_TIMED = (PriceChange, Trade)
# The answers to a ping; that of the real-time socket is an empty frame.
_PONGS = ("PONG", "pong", "")
# Events that may be a complaint of the venue's.
_MAY_COMPLAIN = (Control, Malformed, Unknown)
# The reason when the venue neither answers credentials nor ends the connection.
UNANSWERED = "it answered them with silence"
# A longer pause between two ticks is our own: the process was stopped, or the clock was set.
_PAUSE_NS = 5 * _S
_MOST_COMPLAINTS = 100
# Latencies whose median shows how far our clock is off; one alone may have a wrong timestamp.
_LATENCIES = 5
# The venue cuts a connection that names a few thousand ids in one frame.
_IDS_PER_FRAME = 100


class State(Enum):
    """The state of a connection."""

    CLOSED = "closed"
    OPENING = "opening"
    LIVE = "live"
    SILENT = "silent"


class Timing(msgspec.Struct, frozen=True):
    """The waits of a session, in nanoseconds."""

    # The venue requires a ping at least this often; after ``quiet`` without a byte, one tests the connection.
    ping: int = 10 * _S
    quiet: int = 4 * _S
    # Any byte after that ping is an answer; the answer itself may queue behind a busy socket's data for 9.5 s.
    answer: int = 9_500_000_000
    # The answer within ``verdict`` to a ping ``greeting`` after the credentials shows that they are valid.
    greeting: int = 1 * _S
    verdict: int = 3_500_000_000
    opening: int = 10 * _S
    silence: int = 30 * _S
    # The same for a connection that carries only the activity of an event, which may be quiet for long.
    calm: int = 600 * _S


class FetchBooks(msgspec.Struct, frozen=True):
    """Fetch these books by REST: two requests on the socket brought none."""

    token_ids: list[str]


class Late(msgspec.Struct, frozen=True):
    """Report that these tokens were subscribed at ``since`` and still have no book."""

    token_ids: list[str]
    since: int


class Witness(msgspec.Struct, frozen=True):
    """Compare with REST: no data has come since then, so the market is calm or the feed is frozen."""

    since: int


class Redial(msgspec.Struct, frozen=True):
    """Replace this connection by another."""

    reason: str


class Refused(msgspec.Struct, frozen=True):
    """End this connection for good: the venue refuses the credentials, for this reason."""

    reason: str


class Complaint(msgspec.Struct, frozen=True):
    """Report the venue's own words that something is wrong, or differs from what was requested."""

    words: str


Todo: TypeAlias = FetchBooks | Late | Witness | Redial | Refused | Complaint


class _Opening(msgspec.Struct):
    """A token whose opening book has not come: when it was requested last and first, and how often."""

    asked: int
    since: int
    times: int = 1


class Session:
    """The state of one connection: what is subscribed, what has come, and what is awaited.

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
        self._quiet = min(self._timing.quiet, self._timing.ping)
        self._credentials = credentials
        self.streams: PriceStreams | None = None
        if channel == "prices" and credentials is not None:
            self.streams = PriceStreams(credentials, patience_ns=self._timing.opening)
        self._outbox: list[str] = []
        self._todo: list[Todo] = []
        self._opening: dict[str, _Opening] = {}
        self._subscribed = self._pinged = False
        # The times of the last byte, of the last tick, of what was asked for and came last, and of the next ping.
        self._alive = self._ticked = self._asked = self._data = self._next_ping = 0
        self._useful = self._answered = self._had_data = self._accepted = self._excused = False
        self._newest: Event | None = None
        # When the newest opening book was requested, until something comes that says when it was sent.
        self._requested: int | None = None
        # The latency of the newest event that has a timestamp, by the venue's clock and ours, and some before it.
        self._latency, self._latencies = 0, deque[int](maxlen=_LATENCIES)
        self._suspect = False
        # When the oldest unanswered ping was sent; the time before which everything that was sent has come.
        self._ping_sent: int | None = None
        self._complete = self._witness_asked = 0
        self._refusal = ""

    # --- what is wanted ---

    def want(self, keys: Iterable[str], now: int) -> None:
        """Add keys and subscribe to the new ones."""
        fresh = [key for key in dict.fromkeys(keys) if key not in self.wanted]
        self.wanted.update(dict.fromkeys(fresh))
        if self.state is not State.CLOSED and fresh:
            self._ask(fresh, now)

    def unwant(self, keys: Iterable[str]) -> None:
        """Drop keys and unsubscribe from them, or the venue goes on counting them."""
        gone = [key for key in dict.fromkeys(keys) if key in self.wanted]
        for key in gone:
            del self.wanted[key]
            self._opening.pop(key, None)
        if self.state is not State.CLOSED and gone:
            self._outbox.extend(self._unsubscriptions(gone))
        self._settle()

    def resync(self, token_ids: Iterable[str], now: int) -> None:
        """Request the opening books of subscribed tokens again."""
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
        """Note an open socket, and subscribe to every key."""
        self.state = State.OPENING
        self._outbox, self._todo, self._opening = [], [], {}
        self._subscribed = self._useful = self._pinged = self._answered = self._had_data = False
        self._excused = self._suspect = False
        self._refusal = ""
        self._note_latency()
        self._data = self._alive = self._ticked = self._complete = self._witness_asked = now
        self._newest = self._ping_sent = self._requested = None
        self._next_ping = now + self._timing.ping
        if self.streams is not None:
            self.streams.connected(now)
            self._outbox.extend(self.streams.to_send(now))
        if self.wanted or self.everything:
            self._ask(list(self.wanted), now)

    def received(self, data: str | bytes, now: int) -> list[Event]:
        """Note a frame, and return the events in it."""
        self._alive, self._pinged = now, False
        events = self._read(data)
        # Nearly every frame tells of nothing but changes.
        if len(events) != 1 or not isinstance(events[0], PriceChange):
            self._note_others(data, events, now)
        else:
            self._note_data(events[0], now)
        if self._opening:
            self._note_books(events)
        if self.streams is not None:
            self._note_replies(self.streams, events, now)
        return events

    def alive(self, now: int) -> None:
        """Note that bytes came, a whole frame or not: the server is there."""
        self._alive, self._pinged = now, False

    def booked(self, token_id: str) -> None:
        """Note a book that came otherwise than on this connection."""
        self._opening.pop(token_id, None)
        self._settle()

    def witnessed(self, now: int) -> None:
        """Note that REST had nothing newer at that time: the market is calm and the connection works."""
        self._note_latency()
        self._requested = None
        self._note_data(None, max(self._data, now))
        self._complete = max(self._complete, now)

    def tick(self, now: int) -> None:
        """Note the time: ping, request books again, or report a silent connection."""
        if self.state is State.CLOSED:
            return
        if now - self._ticked >= _PAUSE_NS:
            # What came during the pause is not read yet, so the server gets more time to answer.
            self._alive = max(self._alive, now - self._quiet)
            self._asked = max(self._asked, now - self._timing.greeting)
        self._ticked = now
        self._note_latency()
        self._heartbeat(now)
        self._check_verdict(now)
        self._ask_again(now)
        if self.streams is not None:
            self._advance(self.streams, now)
        is_open = self.state in (State.LIVE, State.SILENT)
        if is_open and self.wanted and now - max(self._data, self._witness_asked) >= self.patience:
            self._fall_silent(now)

    def disconnected(self) -> None:
        """Note the end of the socket."""
        self.state = State.CLOSED
        self._outbox, self._opening = [], {}

    # --- what to do ---

    def to_send(self) -> list[str]:
        """Return the frames to send, and forget them."""
        frames, self._outbox = self._outbox, []
        return frames

    def to_do(self) -> list[Todo]:
        """Return what else needs doing, and forget it."""
        todo, self._todo = self._todo, []
        return todo

    @property
    def is_pending(self) -> bool:
        """Whether there is something to send or to do."""
        return bool(self._outbox or self._todo)

    @property
    def useful(self) -> bool:
        """Whether this connection has proved useful: a book came, or data on a channel without books.

        A user may have no orders for hours, so there an answer to a ping counts, which refused credentials do not get.
        """
        return self._useful

    @property
    def refusal(self) -> str:
        """The venue's words when it refused the credentials of this connection; empty if it did not."""
        return self._refusal

    @property
    def accepted(self) -> bool:
        """Whether the credentials were ever accepted, on this connection or an earlier one."""
        return self._accepted

    @property
    def excused(self) -> bool:
        """Whether the venue reported trouble of its own, so that the end of this connection is not a refusal."""
        return self._excused

    def shown(self, words: str) -> str:
        """Return the venue's words in one line, with everything masked that may repeat a credential."""
        words = _wire.readable([words])
        if not self.sends_credentials or self._credentials is None:
            return words
        return _wire.without_secrets(words, self._credentials().values())

    @property
    def sends_credentials(self) -> bool:
        """Whether the first frame of a connection holds credentials."""
        return self._credentials is not None and self.channel in ("user", "prices")

    @property
    def patience(self) -> int:
        """How long the connection may carry no data before it counts as silent, in nanoseconds."""
        if self.streams is not None and not any(key.startswith("price.crypto") for key in self._served()):
            # Markets of equities and currencies close; until they open only answers to pings come.
            return _NEVER_NS
        busy = self.channel == "market" or any(not key.startswith("activity|") for key in self.wanted)
        return self._timing.silence if busy else self._timing.calm

    @property
    def complete_until(self) -> int:
        """The time (nanoseconds) before which everything that the venue sent has come, by its clock and ours."""
        return self.complete(0)

    def complete(self, ahead: int) -> int:
        """Return ``complete_until`` for a clock that is known to be ``ahead`` by so many nanoseconds.

        TCP keeps the order. When data came, everything sent before it had come, so its latency is subtracted, or that
        of the last data with a timestamp, as all may have waited to be read. An opening book was sent at any time after
        it was requested. When the answer to a ping came, everything sent before that ping had come, unless the feed may
        be frozen. A latency of seconds may mean that our clock is ahead, and then the times of pings are too late by
        the venue's clock.
        """
        self._note_latency()
        latency = self._latency if 0 < self._latency <= LONGEST_LATENCY_NS else 0
        flowed = self._data - max(0 if self._newest is None else latency, ahead)
        if self._requested is not None:
            flowed = min(flowed, self._requested)
        if self._suspect:
            return flowed
        return max(flowed, self._complete - max(latency if latency > CLOCK_ERROR_NS else 0, ahead))

    @property
    def offset(self) -> int | None:
        """By how many nanoseconds data comes after the venue's time of it, or before; None until several told."""
        return median_low(self._latencies) if len(self._latencies) == _LATENCIES else None

    def _note_latency(self) -> None:
        """Keep the latency of the newest event for when none has a timestamp."""
        newest = self._newest if isinstance(self._newest, _TIMED) else None
        latency = self._latency
        if newest is not None and newest.timestamp:
            latency, self._requested = self._data - epoch_ns(newest.timestamp), None
        if latency != self._latency:
            self._latency = latency
            self._latencies.append(latency)

    @property
    def refused(self) -> dict[str, str]:
        """The keys that the venue refuses, each with its words."""
        return {} if self.streams is None else {key: self.shown(words) for key, words in self.streams.refused.items()}

    @property
    def providers(self) -> dict[str, str]:
        """The provider that serves each key."""
        return {} if self.streams is None else self.streams.providers

    @property
    def pause(self) -> float:
        """The most seconds until the next ``tick``; fewer while a frame waits for its turn."""
        return _TURN_S if self.streams is not None and self.streams.is_waiting else math.inf

    @property
    def waiting(self) -> list[str]:
        """The tokens whose opening book has not come."""
        return list(self._opening)

    # --- inside ---

    def _ask(self, keys: list[str], now: int) -> None:
        self._outbox.extend(self._subscriptions(keys))
        if not self._subscribed:
            self._subscribed = True
            self._asked = self._alive = now
            self._next_ping = now + (self._timing.greeting if self.channel == "user" else self._timing.ping)
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
        first = None if self._subscribed else 0
        return [_wire.subscribe_market(chunk, first=i == first) for i, chunk in enumerate(_chunks(keys))]

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

    def _note_books(self, events: Sequence[Event]) -> None:
        for event in events:
            if isinstance(event, BookSnapshot):
                self._useful = True
                opening = self._opening.pop(event.token_id, None)
                if opening is not None:
                    self._requested = opening.since
        self._settle()

    def _note_replies(self, streams: PriceStreams, events: Iterable[Event], now: int) -> None:
        for event in events:
            if isinstance(event, StreamReply):
                streams.answered(event, now)
                self._useful = self._useful or event.word == "subscribed"
                self._settle()

    def _advance(self, streams: PriceStreams, now: int) -> None:
        """Send the request whose turn it is, and report the answers to earlier ones."""
        self._outbox.extend(streams.to_send(now))
        self._todo.extend(Complaint(self.shown(words)) for words in streams.news)
        streams.news.clear()
        if streams.rejected:
            self._todo.append(Refused(self.shown(streams.rejected)))
        elif streams.broken:
            self._todo.append(Redial(self.shown(streams.broken)))

    def _settle(self) -> None:
        is_answered = self.streams is None or self.streams.is_settled
        if not self._opening and is_answered and self.state is State.OPENING:
            self.state = State.LIVE

    def _heartbeat(self, now: int) -> None:
        """Ping when it is time, or early when nothing comes; silence counts from the last byte, not from the ping."""
        if not self._subscribed:
            return
        silent = now - self._alive
        if silent >= self._quiet + self._timing.answer:
            self._todo.append(Redial(f"nothing came for {silent / _S:.0f} s, not even an answer to a ping"))
            self._alive = now
        if now >= self._next_ping or (silent >= self._quiet and not self._pinged):
            self._outbox.append(_wire.ping(self.channel))
            self._next_ping = now + self._timing.ping
            self._pinged = True
            self._ping_sent = now if self._ping_sent is None else self._ping_sent

    def _check_verdict(self, now: int) -> None:
        """Check whether credentials got any answer in time; the price streams check theirs themselves."""
        if self.streams is not None:
            return
        waiting = self.sends_credentials and self._subscribed and not (self._answered or self._accepted)
        if waiting and not self._refusal and now - self._asked >= self._timing.verdict:
            self._refuse(UNANSWERED)

    def _note_others(self, data: str | bytes, events: Sequence[Event], now: int) -> None:
        """Note a frame that tells of something else than changes."""
        self._answered = self._answered or bool(data)
        if not events or isinstance(events[0], _MAY_COMPLAIN) or _complaint_among(events) is not None:
            self._note_words(data, events)
        elif self.channel != "market":
            self._useful = self._had_data = self._accepted = True
        if events and not isinstance(events[0], _NO_SIGN):
            if not isinstance(events[0], _TIMED):
                self._note_latency()
            self._note_data(events[0], now)

    def _note_data(self, event: Event | None, now: int) -> None:
        self._data, self._newest, self._suspect = now, event, False
        if self.state is State.SILENT:
            self.state = State.LIVE

    def _note_words(self, data: str | bytes, events: Sequence[Event]) -> None:
        """Note what the venue says of the connection: a complaint, or an answer."""
        is_reply = bool(events) and isinstance(events[0], StreamReply)
        words = None if is_reply else _complaint_among(events) or _wire.complaint(data)
        if words is None:
            self._note_greeting(events)
            return
        words = self.shown(words)
        if len(self._todo) < _MOST_COMPLAINTS:
            self._todo.append(Complaint(words))
        if not self.sends_credentials or self._had_data or self.streams is not None:
            return
        if _wire.refuses_credentials(self.channel, words):
            self._refuse(words)
        else:
            self._excused = True

    def _note_greeting(self, events: Sequence[Event]) -> None:
        """Note an answer to a ping or to credentials."""
        word = events[0].word if events and isinstance(events[0], Control) else None if events else ""
        if word in _PONGS and self._ping_sent is not None:
            self._complete, self._ping_sent = max(self._complete, self._ping_sent), None
        if self.channel == "user" and (word == "PONG" or not events) and not self._refusal:
            self._useful = self._accepted = True
        elif self.channel == "prices" and word == "authed":
            self._accepted = True

    def _refuse(self, words: str) -> None:
        self._refusal, self._useful = words, False
        self._todo.append(Redial(f"the credentials were refused: {words}"))

    def _ask_again(self, now: int) -> None:
        """Request overdue opening books again: once on the socket, then by REST."""
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

    def _fall_silent(self, now: int) -> None:
        self.state, self._witness_asked, self._suspect = State.SILENT, now, True
        if self.channel == "market":
            self._todo.append(Witness(self.complete_until))
        elif self.channel in ("realtime", "prices"):
            self._todo.append(Redial(f"no data for {self.patience / _S:.0f} s"))

    def _served(self) -> list[str]:
        refused = {} if self.streams is None else self.streams.refused
        return [key for key in self.wanted if key not in refused]


def _complaint_among(events: Sequence[Event]) -> str | None:
    """Return the venue's words of the first error among events; the price streams' answers are not errors here."""
    words = (event.detail for event in events if type(event) is Control and event.word == "error")
    return next(words, None)


def _chunks(keys: Sequence[str]) -> list[Sequence[str]]:
    return [keys[at : at + _IDS_PER_FRAME] for at in range(0, len(keys), _IDS_PER_FRAME)]


def _split(key: str) -> tuple[str, str]:
    topic, _, name = key.partition("|")
    return topic, name
