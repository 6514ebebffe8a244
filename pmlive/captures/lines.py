"""One line of a capture: a frame as received, an envelope around one, or a note in any wording.

Recorders write in many forms: ``{"ts_recv": …, "raw": "…"}``, ``{"received_at": …, "msg": {…}}``, ``[time, frame]``,
a time before the frame, Python's way of writing a dictionary. So an envelope is known by its keys, and by the frame in
it being one; a message of the venue that has such keys itself is known by being one.

What a client sends to subscribe to its own orders holds its keys, and the answers hold the owner: the first is never
kept, and the second are of the user channel, whatever their envelope says, and kept without it.
"""

import re
from collections.abc import Iterator
from typing import Literal, TypeAlias

import msgspec

from pmlive import _wire
from pmlive.captures.conventions import (
    Fields,
    KeyRoles,
    Losses,
    NamedKeys,
    ReceiveTime,
    at_path,
    connection_of,
    counter_of,
    fields_of,
    items_of,
    json_of,
    keys_of,
    losses_of,
    named_receive_time,
    nanoseconds,
    nanoseconds_in,
    receive_time_of,
    repeated_key,
    roles_of,
    says_some,
    text_of,
    unquoted,
)
from pmlive.events import Channel, Control, Event, Malformed, StreamReply, Unknown, UserOrder, UserTrade

__all__ = [
    "Line",
    "Note",
    "is_understood",
    "meaning_of_text",
    "read_line",
]


# --- words ---
# What recorders say in words: the words of notes, comments between lines, and the texts beside a note's word.
#
# ``"lost"``: the recorder did not keep everything; ``"failed"``: it, or the venue, says that something is wrong;
# ``"restarted"``: it stopped or began, so frames before and after this are not of one run. ``"sent"`` is what the
# client sent, ``"note"`` whatever does not matter.

Note: TypeAlias = Literal["", "opened", "closed", "lost", "failed", "restarted", "sent", "note"]

_LOST_TEXT = (
    r"drop(?:s|ped|ping)?|lost|loss(?:es)?|loses?|miss(?:ed|es|ing)?|overflow(?:s|ed|ing)?|overrun|gaps?"
    r"|skip(?:s|ped|ping)?|discard(?:s|ed|ing)?|truncat(?:ed|ion)|torn|corrupt(?:ed|ion)?|incomplete"
)
_CLOSED_TEXT = (
    r"disconnect(?:s|ed|ion|ing)?|reconnect(?:s|ed|ion|ing)?"
    r"|(?:connection|socket|websocket|ws|stream)(?: was| is)? (?:closed|reset|broken|down|interrupted)"
)
_FAILED_TEXT = (
    r"error(?=:)|(?-i:ERROR)|exceptions?|traceback|fail(?:s|ed|ure|ures)?|fatal|crash(?:ed)?|panic|abort(?:ed)?"
)
_RESTARTED_TEXT = r"restart(?:s|ed|ing)?|resum(?:ed|es|ing)|killed|paus(?:ed?|ing)|suspended|started|stopped|shutdown"
_MEANINGS: tuple[tuple[Note, str], ...] = (
    ("lost", _LOST_TEXT),
    ("closed", _CLOSED_TEXT),
    ("failed", _FAILED_TEXT),
    ("restarted", _RESTARTED_TEXT),
)
# A word that is denied just before it says nothing, nor one of which there are none: the number after it counts, or the
# one before where none follows.
_DENIED = r"\b(?:no|not|none|never|nothing|without|zero)(?: [a-z]+){0,2} $"
_clauses = re.compile(r"[^.,;|\n]+(?:\.\d+)?").findall
_number = re.compile(r"\d+").search
_numbers = re.compile(r"\d+").findall
_is_denied = re.compile(_DENIED, re.IGNORECASE).search
_words: tuple[tuple[Note, re.Pattern[str]], ...] = tuple(
    (note, re.compile(rf"(?<![A-Za-z])(?:{words})(?![A-Za-z])", re.IGNORECASE)) for note, words in _MEANINGS
)


def meaning_of_text(text: str) -> Note:
    """Return what a text says of the recording.

    >>> meaning_of_text("dropped 5 frames"), meaning_of_text("received 90, dropped 0"), meaning_of_text("no gaps")
    ('lost', 'note', 'note')
    """
    for note, words in _words:
        if any(_says(clause, found) for clause in _clauses(text) for found in words.finditer(clause)):
            return note
    return "note"


def _says(clause: str, word: re.Match[str]) -> bool:
    before, after = clause[: word.start()], clause[word.end() :]
    if _is_denied(before):
        return False
    follows = _number(after)
    count = follows[0] if follows is not None else next(iter(reversed(_numbers(before))), "1")
    return int(count) > 0


# --- lines ---

_CHANNELS: dict[str, Channel] = {
    "market": "market",
    "user": "user",
    "realtime": "realtime",
    "rtds": "realtime",
    "prices": "prices",
}
# Channels of the venue that a recording does not have.
_OTHER_CHANNELS = {"sports", "perps", "perpetuals"}
# A capture that was passed on may have envelopes in envelopes.
_DEEPEST = 3
_OF_THE_RECORDER: frozenset[Note] = frozenset(("note", "failed", "restarted"))
_TIME = (
    rb"([0-9]{4}[-/][0-9]{2}[-/][0-9]{2}[T ][0-9]{2}:[0-9]{2}(?::[0-9]{2})?(?:[.,][0-9]{1,20})?"
    rb"(?: ?(?:Z|UTC|GMT|[+-][0-9]{2}(?::?[0-9]{2})?)(?![0-9A-Za-z]))?|[0-9][0-9.]{9,30})"
)
_OPENED = {"connect", "connected", "open", "opened", "reconnect", "reconnected", "wsopen", "onopen", "connectionopened"}
_CLOSED = {"disconnect", "disconnected", "close", "closed", "wsclose", "onclose", "connectionclosed"} | {
    "connectionlost",
    "reconnecting",
}
_LOST = {"gap", "sequencegap", "dropped", "framesdropped", "messagesdropped", "overflow", "queueoverflow", "lost"}
_SENT = {"out", "outgoing", "send", "sent", "tx", "subscribe", "unsubscribe"}
_OTHERS = (
    {"connecting", "subscribed", "subscribing", "subscription"}
    | {"unsubscribed", "resync", "resyncbegin", "resyncstart", "resyncend", "resyncdone", "resynced", "lifecycle"}
    | {"heartbeat", "keepalive", "ping", "pong", "pingsent", "pongreceived"}
)
# Words that a message of the venue might be called as well, which a line of the recorder is only without its keys.
_PERHAPS_OTHERS = (
    {"meta", "metadata", "header", "headers", "manifest", "session", "begin", "end"}
    | {"finish", "finished", "info", "log", "note", "comment", "status", "stats", "statistics", "summary", "checkpoint"}
    | {"rotate", "rotated", "config", "warning"}
)
_FAILED = {"error", "exception"}
_FAILED_LEVELS = {"error", "critical", "fatal", "panic", "emergency", "alert"}
_RESTARTED = {"sessionstart", "sessionend", "start", "started", "stop", "stopped", "shutdown"}
_NOTE_WORDS: tuple[tuple[Note, set[str]], ...] = (
    ("sent", _SENT),
    ("opened", _OPENED),
    ("closed", _CLOSED),
    ("lost", _LOST),
    ("note", _OTHERS),
)
_ALL_NOTE_WORDS: tuple[tuple[Note, set[str]], ...] = (
    *_NOTE_WORDS,
    ("failed", _FAILED),
    ("restarted", _RESTARTED),
    ("note", _PERHAPS_OTHERS),
)
# Words of notes that have a state of the connection. The state "open" may be repeated, so it has no meaning.
_OF_A_STATE = {"lifecycle", "status", "connection"}
_STATE_NOTES: tuple[tuple[Note, set[str]], ...] = (
    ("closed", _CLOSED),
    ("lost", _LOST),
    ("failed", _FAILED),
    ("restarted", _RESTARTED),
)
_prefixed = re.compile(rb"(?:\[" + _TIME + rb"\]|" + _TIME + rb"(?=[\s,;|:]))[\s,;|:]*", re.IGNORECASE).match
# What a log writes between the time and the frame: levels, names, arrows.
_label = re.compile(rb"""[^\[{"]{0,80}?(?:\[[A-Za-z0-9_.:/ -]{0,40}\][^\[{"]{0,80}?)*(?=[\[{])""").match
_is_word = re.compile(rb"[A-Za-z]{2,10}").fullmatch
_is_timed_array = re.compile(rb"""\[\s*["0-9]""").match
_is_python = re.compile(rb"\[?\s*\{\s*'").match
_names_keys = re.compile(rb"""["'](\w*auth|api_?key|secret|passphrase)["']\s*:""", re.IGNORECASE).search
_names_owner = re.compile(rb"""["'](\w*owner)["']\s*:""", re.IGNORECASE).search
_not_letters = re.compile(r"[^a-z]")


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """A line that was read: a frame with its events, or a ``note`` about the connection or the recorder.

    The time of ``received`` (nanoseconds) is ambiguous under a key that the venue uses too. ``counter`` is the number
    that the recorder gave to the line, ``losses`` what it says of frames that it dropped, and ``repeated`` a key that
    an object in the line has twice. Of a line that is not understood, ``keys`` are its keys and ``likely_key`` is the
    one of them that frames seem to be under.
    """

    channel: Channel
    frame: bytes = b""
    events: list[Event] = []
    received: int | None = None
    is_ambiguous: bool = False
    connection: str = ""
    note: Note = ""
    counter: int | None = None
    losses: Losses = Losses()
    repeated: str | None = None
    keys: tuple[str, ...] = ()
    likely_key: str = ""


def read_line(text: bytes, channel: Channel, naming: NamedKeys = NamedKeys()) -> Line:  # noqa: B008  # frozen
    """Read a line; what is neither a frame nor an envelope is a frame that is malformed."""
    text = _without_comma(text.strip())
    context = _Context(channel=channel, naming=naming)
    if text.startswith((b"#", b"//")):
        return context.note_line(meaning_of_text(text.decode("utf-8", "replace")))
    if text in (b"[", b"]", b"],"):
        return context.note_line("note")
    received, text = _split_time(text, naming)
    context = msgspec.structs.replace(context, received=received)
    line = _without_secrets(_read(_as_json(text), context))
    if is_understood(line):
        repeated = _repeated(text, line)
        return line if repeated is None else msgspec.structs.replace(line, repeated=repeated)
    return msgspec.structs.replace(line, keys=keys_of(text), likely_key=_likely_key(text, channel))


def is_understood(line: Line) -> bool:
    """Return whether nothing in a line is unknown or malformed."""
    return bool(line.note) or _is_known(line.events)


class _Context(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a frame from outside it."""

    channel: Channel
    naming: NamedKeys
    received: ReceiveTime | None = None
    connection: str = ""
    counter: int | None = None
    losses: Losses = Losses()
    deepest: int = _DEEPEST

    def frame_line(self, frame: bytes, events: list[Event]) -> Line:
        """Return the line of a frame."""
        return self._line(frame, events, "")

    def note_line(self, note: Note) -> Line:
        """Return the line of a note; the time of one by the recorder counts only if its key is the recorder's."""
        line = self._line(b"", [], note)
        return msgspec.structs.replace(line, received=None) if note in _OF_THE_RECORDER and line.is_ambiguous else line

    def _line(self, frame: bytes, events: list[Event], note: Note) -> Line:
        received = self.received
        return Line(
            channel=self.channel,
            frame=frame,
            events=events,
            note=note,
            received=None if received is None else received.time,
            is_ambiguous=received is not None and received.rank == 0,
            connection=self.connection,
            counter=self.counter,
            losses=self.losses,
        )


def _repeated(text: bytes, line: Line) -> str | None:
    """Return a key that stands twice, in the line as it is written or in a frame that is quoted in it."""
    if text[:1] not in (b"{", b"["):
        return None
    found = repeated_key(text)
    return found if found is not None or line.frame in text else repeated_key(line.frame)


def _likely_key(text: bytes, channel: Channel) -> str:
    """Return the key, not a known one, that seems to hold a frame."""
    fields = fields_of(text) or {}
    for key in fields:
        content = _content(bytes(fields[key]))
        if content is not None and _is_data(_wire.decode(channel, _as_json(content))):
            return key
    return ""


def _without_comma(text: bytes) -> bytes:
    """Leave out the comma behind an element of an array that has one a line."""
    return text[:-1] if text[:1] in (b"{", b"[") and text.endswith((b"},", b"],")) else text


def _as_json(text: bytes) -> bytes:
    return json_of(text) if _is_python(text) else text


def _split_time(text: bytes, naming: NamedKeys) -> tuple[ReceiveTime | None, bytes]:
    """Split off the time that a line begins with, if a frame follows."""
    prefix = _prefixed(text)
    if prefix is None:
        return None, text
    stated = (prefix[1] or prefix[2]).decode()
    time = nanoseconds(stated) if naming.unit is None else nanoseconds_in(stated, naming.unit)
    frame = _without_label(text[prefix.end() :].strip())
    return (None, text) if time is None or frame is None else (ReceiveTime(time, 1), frame)


def _without_label(rest: bytes) -> bytes | None:
    if rest[:1] in (b"{", b"[") and not _is_label(rest):
        return rest
    if rest[:1] == b'"':
        quoted = unquoted(rest).encode() if not rest.startswith(b'""') else rest
        inside = quoted if quoted[:1] in (b"{", b"[") else rest[1:-1].replace(b'""', b'"')
        return inside if inside[:1] in (b"{", b"[") or _is_word(inside) else None
    if _is_word(rest):
        return rest
    label = _label(rest)
    return None if label is None else rest[label.end() :].rstrip(b"'\"` ")


def _is_label(rest: bytes) -> bool:
    """Return whether this is a name in brackets and not an array."""
    return rest[:1] == b"[" and rest[1:2].isalpha()


def _without_secrets(line: Line) -> Line:
    """Leave out a frame with credentials, and have the owner withheld in one that names it."""
    is_users = any(isinstance(event, UserOrder | UserTrade) for event in line.events)
    if is_users or _is_data(line.events):
        return msgspec.structs.replace(line, channel="user") if is_users else line
    if _names_keys(line.frame):
        return msgspec.structs.replace(line, frame=b"", events=[], note="sent")
    return msgspec.structs.replace(line, channel="user") if _names_owner(line.frame) else line


def _read(text: bytes, context: _Context) -> Line:
    fields = fields_of(text)
    if fields is None:
        return _array(text, context)
    inner = _envelope(fields, context) if context.deepest else None
    if inner is not None and _is_known(inner.events):
        return inner
    events = _wire.decode(context.channel, text)
    # A complaint of the venue's and what a recorder says of a connection look alike.
    if _is_known(events) and not _complains(events[0]):
        return _from_message(text, fields, context, events)
    inner = inner or (_nested_envelope(fields, context) if context.deepest else None)
    is_kind = any(isinstance(event, Unknown) and event.kind for event in events)
    if inner is not None and (inner.note or not is_kind):
        return inner
    is_note = _is_header(fields) and not any(map(_complains, events))
    return context.note_line("note") if is_note else _from_message(text, fields, context, events)


def _complains(event: Event) -> bool:
    # An answer of the price streams has a form of its own.
    return isinstance(event, Control) and not isinstance(event, StreamReply) and event.word == "error"


def _from_message(text: bytes, fields: Fields, context: _Context, events: list[Event]) -> Line:
    """Return the line of a message, to which a recorder may have added keys of its own."""
    received = context.received if context.naming.received else context.received or receive_time_of(fields, weak=False)
    connection = context.connection or connection_of(fields)
    # The price streams number their messages themselves.
    counter, losses = context.counter, context.losses
    if context.channel == "market":
        counter = counter_of(fields, is_message=True) if counter is None else counter
        losses = losses.with_those_of(losses_of(fields))
    context = msgspec.structs.replace(context, received=received, connection=connection, counter=counter, losses=losses)
    return context.frame_line(text, events)


def _array(text: bytes, context: _Context) -> Line:
    """Read what is not an object: several messages, ``[time, frame]``, or a word."""
    events = _wire.decode(context.channel, text)
    if _is_known(events) or text[:1] != b"[" or not context.deepest:
        return context.frame_line(text, events)
    items = items_of(text)
    if not 2 <= len(items) <= 4:  # noqa: PLR2004  # a time, a frame, and what else there is to say of it
        return context.frame_line(text, events)
    return _from_timed_array(items, context) or context.frame_line(text, events)


def _from_timed_array(items: list[bytes], context: _Context) -> Line | None:
    unit = context.naming.unit
    stated = [text_of(item) for item in items if item[:1] not in (b"{", b"[")]
    times = [nanoseconds(text) if unit is None else nanoseconds_in(text, unit) for text in stated]
    time = next((time for time in times if time is not None), None)
    contents = [inside for item in items if (inside := _content(item)) is not None]
    frame = next((inside for inside in contents if inside[:1] in (b"{", b"[")), None)
    if time is None or frame is None:
        return None
    inside = msgspec.structs.replace(context, received=ReceiveTime(time, 1), deepest=context.deepest - 1)
    return _read(_as_json(frame), inside)


def _envelope(fields: Fields, context: _Context) -> Line | None:
    """Read what is in an envelope, or None if this is not one."""
    keys = roles_of(tuple(fields))
    named = at_path(fields, context.naming.frame) if context.naming.frame else None
    note = _note_of(fields, keys)
    if not (named or keys.frames or note):
        return None
    inside = _inner_context(fields, context)
    if note == "sent":
        return inside.note_line("sent")
    if any(name in _OTHER_CHANNELS for name in _channels_in(fields, keys)):
        return inside.note_line("note")
    held = [named] if context.naming.frame else [fields[key] for key in keys.frames]
    contents = (_content(bytes(value)) for value in held if value is not None)
    content = next((content for content in contents if content is not None), None)
    line = None if content is None else _read(_as_json(content), inside)
    if line is not None and line.note == "sent":
        return line
    if note and (line is None or not _is_data(line.events)):
        return inside.note_line(note)
    return line


def _inner_context(fields: Fields, context: _Context) -> _Context:
    """Add what an envelope says; the innermost counts most, but a time that is not ambiguous comes first."""
    naming = context.naming
    received = named_receive_time(fields, naming) if naming.received else receive_time_of(fields, weak=True)
    if received is None or (context.received is not None and context.received.rank > received.rank):
        received = context.received
    keys = roles_of(tuple(fields))
    return _Context(
        channel=_channel_of(fields, keys, context.channel),
        naming=naming,
        received=received,
        connection=connection_of(fields) or context.connection,
        counter=counter_of(fields) if context.counter is None else context.counter,
        losses=context.losses.with_those_of(losses_of(fields)),
        deepest=context.deepest - 1,
    )


def _channel_of(fields: Fields, keys: KeyRoles, otherwise: Channel) -> Channel:
    named: list[Channel] = [_CHANNELS[name] for name in _channels_in(fields, keys) if name in _CHANNELS]
    return named[0] if named else otherwise


def _channels_in(fields: Fields, keys: KeyRoles) -> list[str]:
    return [text_of(bytes(fields[key])).lower() for key in keys.channels]


def _nested_envelope(fields: Fields, context: _Context) -> Line | None:
    """Read an envelope one level deeper, under a key of any name."""
    if context.naming.frame:
        return None
    for value in _objects(fields):
        inner = fields_of(value)
        if inner is not None and roles_of(tuple(inner)).frames:
            line = _read(value, _inner_context(fields, context))
            if _is_known(line.events):
                return line
    return None


def _objects(fields: Fields) -> Iterator[bytes]:
    return (text for value in fields.values() if (text := bytes(value))[:1] == b"{")


def _content(value: bytes) -> bytes | None:
    """Return the frame that a value may be: an object or an array as it is written, or the text that is quoted."""
    if value[:1] in (b"{", b"["):
        return value
    return unquoted(value).encode() if value[:1] == b'"' and value != b'""' else None


def _is_known(events: list[Event]) -> bool:
    return bool(events) and not any(isinstance(event, Unknown | Malformed) for event in events)


def _is_data(events: list[Event]) -> bool:
    return any(not isinstance(event, Unknown | Malformed | Control) for event in events)


def _note_of(fields: Fields, keys: KeyRoles) -> Note:
    """Return what an object says about the connection or the recorder, if anything."""
    directions = {text_of(bytes(fields[key])).lower() for key in keys.directions}
    if directions & (_SENT | {"client"}):
        return "sent"
    is_ours = not _wire.has_own_keys(fields)
    words = _words_under(fields, keys.words)
    note = _meaning(words, _ALL_NOTE_WORDS if is_ours else _NOTE_WORDS)
    if note in ("", "note") and is_ours:
        note = _detail_of(fields, keys, words) or note
        note = _text_of_note(fields, keys) if note == "note" else note
    return "sent" if not note and _wire.is_subscription(fields) else note


def _detail_of(fields: Fields, keys: KeyRoles, words: set[str]) -> Note:
    """Return what a note says of a state, or by its level, where its word says nothing of loss."""
    state = _meaning(_words_under(fields, keys.states), _STATE_NOTES)
    if state and words & _OF_A_STATE:
        return state
    return "failed" if _words_under(fields, keys.levels) & _FAILED_LEVELS else ""


def _text_of_note(fields: Fields, keys: KeyRoles) -> Note:
    """Return what a note says in its texts, where nothing else of it says anything."""
    if any(says_some(bytes(fields[key])) for key in keys.errors):
        return "failed"
    for key in keys.texts:
        note = meaning_of_text(text_of(bytes(fields[key])))
        if note != "note":
            return note
    return "note"


def _words_under(fields: Fields, keys: tuple[str, ...]) -> set[str]:
    return {_not_letters.sub("", text_of(bytes(fields[key])).lower()) for key in keys}


def _meaning(stated: set[str], table: tuple[tuple[Note, set[str]], ...]) -> Note:
    for note, words in table:
        if stated & words:
            return note
    return ""


def _is_header(fields: Fields) -> bool:
    """Return whether an object without a frame is about the capture."""
    keys = roles_of(tuple(fields))
    return bool(keys.headers) and not keys.frames and not _wire.has_own_keys(fields)
