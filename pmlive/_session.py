"""One connection to the venue, as a state machine without a socket or a clock.

Its methods are called with what happened and when; it returns what to send and what else needs doing. The venue
acknowledges nothing, so the only proof that a subscription worked is its opening book: one that stays away is asked for
again, then by REST. An answer to a ping proves that the server is there, not that data flows, so silence is judged by
data alone.
"""

import math
import re
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
_FOR_EVER_NS = 1 << 62
_TURN_S = 0.05
# Events that say nothing of the tokens that were asked for: every connection gets every new market.
_NO_DATA = (Control, NewMarket)
# Nor do those that cannot be read: a feed that sends nothing else is as good as frozen.
_NO_SIGN = (*_NO_DATA, Malformed, Unknown)
# What says when it was sent.
_TIMED = (PriceChange, Trade)
# How a ping is answered: on the real-time socket by an empty frame.
_PONGS = ("PONG", "pong", "")
# Events that may hold the venue's words that something is wrong.
_MAY_COMPLAIN = (Control, Malformed, Unknown)
# How the venue refuses credentials without a word or an end of the connection.
UNANSWERED = "it answered them with silence"
# A pause between two ticks that is longer than this is our own: the process was stopped, or the clock was set.
_PAUSE_NS = 5 * _S
# Of text that the venue repeats, a word that may be a credential is not shown.
_SHORTEST_SECRET = 4
_WORD = re.compile(rf"[^\s'\",;:()]{{{_SHORTEST_SECRET},}}")
_KEY = re.compile(r"(?=\S*\d)[A-Za-z0-9+/_=-]{20,}")
_MOST_COMPLAINTS = 100
# What comes later than this after the venue's time of it tells of a wrong clock and not of a long way.
_LONGEST_WAY_NS = 120 * _S
# What takes longer may have been sent just now, and our clock be ahead; several tell, since one may have a wrong time.
_LONG_WAY_NS, _WAYS = 1 * _S, 5
# The venue cuts a connection that names a few thousand ids in one frame.
_IDS_PER_FRAME = 100


class State(Enum):
    """Where a connection stands."""

    CLOSED = "closed"
    OPENING = "opening"
    LIVE = "live"
    SILENT = "silent"


class Timing(msgspec.Struct, frozen=True):
    """The waits of a session, in nanoseconds."""

    # The venue wants a ping at least so often; after a shorter quiet one is sent to see whether the server is there.
    ping: int = 10 * _S
    quiet: int = 4 * _S
    # After that ping, any byte is an answer; a busy socket's own answer may queue behind data for 9.5 s.
    answer: int = 9_500_000_000
    # Credentials that are good are answered with a pong, to a ping that follows them.
    greeting: int = 1 * _S
    verdict: int = 3_500_000_000
    opening: int = 10 * _S
    silence: int = 30 * _S
    # A connection that carries nothing but one event's activity may be quiet for long.
    calm: int = 600 * _S


class FetchBooks(msgspec.Struct, frozen=True):
    """Fetch these books by REST: the socket sent none, twice."""

    token_ids: list[str]


class Late(msgspec.Struct, frozen=True):
    """These tokens were asked for at ``since`` and still have no book."""

    token_ids: list[str]
    since: int


class Witness(msgspec.Struct, frozen=True):
    """Compare with REST: there has been no data since then, which is calm or a frozen feed."""

    since: int


class Redial(msgspec.Struct, frozen=True):
    """Replace this connection by another."""

    reason: str


class Refused(msgspec.Struct, frozen=True):
    """End this connection for good: the venue refuses the credentials, and says why."""

    reason: str


class Complaint(msgspec.Struct, frozen=True):
    """The venue says in these words that something is wrong, or is not as it was asked for."""

    words: str


Todo: TypeAlias = FetchBooks | Late | Witness | Redial | Refused | Complaint


class _Opening(msgspec.Struct):
    """A token whose opening book has not come."""

    asked: int
    since: int
    times: int = 1


class Session:
    """The state of one connection: what it wants, has, and waits for.

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
            self.streams = PriceStreams(credentials, patience_ns=self._timing.opening)
        self._outbox: list[str] = []
        self._todo: list[Todo] = []
        self._opening: dict[str, _Opening] = {}
        self._subscribed = False
        self._next_ping = 0
        self._pinged = False
        # The time of the last byte, and of the last tick.
        self._alive = 0
        self._ticked = 0
        self._asked = 0
        self._data = 0
        self._useful = self._answered = self._had_data = False
        self._newest: Event | None = None
        # How long after the venue's time of it what told that last had come, and what did before.
        self._way, self._ways = 0, deque[int](maxlen=_WAYS)
        self._suspect = False
        # When the oldest ping that has no answer was sent, and up to when everything had come that was sent before.
        self._ping_sent: int | None = None
        self._complete = self._witness_asked = 0
        self._accepted = self._excused = False
        self._refusal = ""

    # --- what is wanted ---

    def want(self, keys: Iterable[str], now: int) -> None:
        """Add keys, asking for those that are new."""
        fresh = [key for key in dict.fromkeys(keys) if key not in self.wanted]
        self.wanted.update(dict.fromkeys(fresh))
        if self.state is not State.CLOSED and fresh:
            self._ask(fresh, now)

    def unwant(self, keys: Iterable[str]) -> None:
        """Drop keys, and unsubscribe at the venue, which otherwise goes on counting them."""
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
        self._subscribed = self._useful = self._pinged = self._answered = self._had_data = False
        self._excused = self._suspect = False
        self._refusal = ""
        self._note_way()
        self._data = self._alive = self._ticked = self._complete = self._witness_asked = now
        self._newest = self._ping_sent = None
        self._next_ping = now + self._timing.ping
        if self.streams is not None:
            self.streams.connected(now)
            self._outbox.extend(self.streams.to_send(now))
        if self.wanted or self.everything:
            self._ask(list(self.wanted), now)

    def received(self, data: str | bytes, now: int) -> list[Event]:
        """Note a frame, and return the events in it."""
        self._alive, self._pinged, self._answered = now, False, True
        events = self._read(data)
        if (
            not events
            or isinstance(events[0], _MAY_COMPLAIN)
            or (len(events) > 1 and _complaint_among(events) is not None)
        ):
            self._note_words(data, events)
        elif self.channel != "market":
            self._useful = self._had_data = self._accepted = True
        if events and not isinstance(events[0], _NO_SIGN):
            if not isinstance(events[0], _TIMED):
                self._note_way()
            self._data, self._newest, self._suspect = now, events[0], False
            if self.state is State.SILENT:
                self.state = State.LIVE
        if self._opening:
            self._note_books(events)
        if self.streams is not None:
            self._note_replies(self.streams, events, now)
        return events

    def alive(self, now: int) -> None:
        """Note that bytes came: the server is there, whether or not they are a whole frame."""
        self._alive, self._pinged = now, False

    def booked(self, token_id: str) -> None:
        """Note a book that came by another way."""
        self._opening.pop(token_id, None)
        self._settle()

    def witnessed(self, now: int) -> None:
        """Note that REST, asked then, had nothing newer: the market is calm, the connection good."""
        self._note_way()
        self._data, self._newest, self._suspect = max(self._data, now), None, False
        self._complete = max(self._complete, now)
        if self.state is State.SILENT:
            self.state = State.LIVE

    def tick(self, now: int) -> None:
        """Note the time: ping, ask again, or doubt the connection."""
        if self.state is State.CLOSED:
            return
        if now - self._ticked >= _PAUSE_NS:
            # What came in the meantime is not read yet: the server gets another chance to answer.
            self._alive = max(self._alive, now - self._quiet)
            self._asked = max(self._asked, now - self._timing.greeting)
        self._ticked = now
        self._note_way()
        self._heartbeat(now)
        self._judge(now)
        self._chase(now)
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
        """Return the frames to send, once."""
        frames, self._outbox = self._outbox, []
        return frames

    def to_do(self) -> list[Todo]:
        """Return what else needs doing, once."""
        todo, self._todo = self._todo, []
        return todo

    @property
    def useful(self) -> bool:
        """Whether this connection has proved itself: a book came, or data on a channel without books.

        A user may have no orders for hours, so there an answer to a ping is a proof: refused credentials get none.
        """
        return self._useful

    @property
    def refusal(self) -> str:
        """The words in which the venue refused the credentials of this connection; empty if it did not."""
        return self._refusal

    @property
    def accepted(self) -> bool:
        """Whether the credentials were ever accepted, on this connection or an earlier one."""
        return self._accepted

    @property
    def excused(self) -> bool:
        """Whether the venue said that it is in trouble, so that the end of this connection refuses nothing."""
        return self._excused

    def shown(self, words: str) -> str:
        """Return the venue's words in one line, without what may be a credential that it repeats."""
        words = _wire.readable([words])
        if not self.sends_credentials or self._credentials is None:
            return words
        secrets = [secret for secret in self._credentials().values() if len(secret) >= _SHORTEST_SECRET]
        return _KEY.sub("***", _WORD.sub(lambda found: _unless_secret(found[0], secrets), words))

    @property
    def sends_credentials(self) -> bool:
        """Whether the first frame of a connection holds credentials."""
        return self._credentials is not None and self.channel in ("user", "prices")

    @property
    def patience(self) -> int:
        """How long data may stay away before that is doubted, in nanoseconds."""
        if self.streams is not None and not any(key.startswith("price.crypto") for key in self._served()):
            # Markets of equities and currencies close; an answer to a ping is all that comes then.
            return _FOR_EVER_NS
        busy = self.channel == "market" or any(not key.startswith("activity|") for key in self.wanted)
        return self._timing.silence if busy else self._timing.calm

    @property
    def complete_until(self) -> int:
        """Give the time (nanoseconds) before which everything that the venue sent has come, by its clock and ours."""
        return self.complete(0)

    def complete(self, ahead: int) -> int:
        """Give ``complete_until`` where our clock is known to be ``ahead`` by so much.

        TCP keeps the order: with data came what was sent before it, so its own way is taken off, or that of the last
        before it that told: all may have waited for us to read it. With the answer to a ping came what was sent before
        that ping, unless data stayed away for so long that it may be frozen. A way of seconds may be a clock of ours
        that is ahead, by which times of pings are too late for the venue's.
        """
        self._note_way()
        way = self._way if 0 < self._way <= _LONGEST_WAY_NS else 0
        flowed = self._data - max(0 if self._newest is None else way, ahead)
        return flowed if self._suspect else max(flowed, self._complete - max(way if way > _LONG_WAY_NS else 0, ahead))

    @property
    def offset(self) -> int:
        """Give by how much data comes after the venue's time of it, or before (nanoseconds); 0 until several told."""
        return median_low(self._ways) if len(self._ways) == _WAYS else 0

    def _note_way(self) -> None:
        """Keep how long what came last was on its way, for when nothing tells."""
        newest = self._newest if isinstance(self._newest, _TIMED) else None
        if newest is not None and newest.timestamp and (way := self._data - epoch_ns(newest.timestamp)) != self._way:
            self._way = way
            self._ways.append(way)

    @property
    def refused(self) -> dict[str, str]:
        """What the venue refuses, in its words, by key."""
        return {} if self.streams is None else {key: self.shown(words) for key, words in self.streams.refused.items()}

    @property
    def providers(self) -> dict[str, str]:
        """The provider of each key that has a choice of them."""
        return {} if self.streams is None else self.streams.providers

    @property
    def pause(self) -> float:
        """The most seconds before the next ``tick``, since a frame waits for its turn."""
        return _TURN_S if self.streams is not None and self.streams.is_waiting else math.inf

    @property
    def waiting(self) -> list[str]:
        """List the tokens whose opening book has not come."""
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
        """Send the request whose turn it is, and report what became of those that were sent."""
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

    @property
    def _quiet(self) -> int:
        return min(self._timing.quiet, self._timing.ping)

    def _heartbeat(self, now: int) -> None:
        """Ping when it is time, and early when nothing comes; the last byte decides, whenever the ping was."""
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

    def _judge(self, now: int) -> None:
        """Check whether credentials got any answer; the price streams wait for theirs themselves."""
        if self.streams is not None:
            return
        waiting = self.sends_credentials and self._subscribed and not (self._answered or self._accepted)
        if waiting and not self._refusal and now - self._asked >= self._timing.verdict:
            self._refuse(UNANSWERED)

    def _note_words(self, data: str | bytes, events: Sequence[Event]) -> None:
        """Note what the venue says of the connection: that something is wrong, or that it is there."""
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
        """Note an answer that only accepted credentials get."""
        word = events[0].word if events and isinstance(events[0], Control) else None if events else ""
        if word in _PONGS and self._ping_sent is not None:
            self._complete, self._ping_sent = max(self._complete, self._ping_sent), None
        if self.channel == "user" and word in ("PONG", "") and not self._refusal:
            self._useful = self._accepted = True
        elif self.channel == "prices" and word == "authed":
            self._accepted = True

    def _refuse(self, words: str) -> None:
        self._refusal, self._useful = words, False
        self._todo.append(Redial(f"the credentials were refused: {words}"))

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
    """Return what the venue says is wrong in a message; answers of the price streams are another matter."""
    words = (event.detail for event in events if type(event) is Control and event.word == "error")
    return next(words, None)


def _unless_secret(word: str, secrets: Sequence[str]) -> str:
    return "***" if any(word in secret or secret in word for secret in secrets) else word


def _chunks(keys: Sequence[str]) -> list[Sequence[str]]:
    return [keys[at : at + _IDS_PER_FRAME] for at in range(0, len(keys), _IDS_PER_FRAME)]


def _split(key: str) -> tuple[str, str]:
    topic, _, name = key.partition("|")
    return topic, name
