"""One line of a capture: a frame as received, an envelope around one, or a word about the connection.

Recorders write what they please: ``{"ts_recv": …, "raw": "…"}``, ``{"received_at": …, "msg": {…}}``, ``[time, frame]``,
a time before the frame, Python's way of writing a dictionary. So an envelope is known by its keys, and by the frame in
it being one; a message of the venue that has such keys itself is known by being one.

What a client sends to subscribe to its own orders holds its keys, and the answers hold the owner: the first is never
kept, and the second are of the user channel, whatever was said, and kept without it.
"""

import re
from collections.abc import Iterator

import msgspec

from pmlive import _wire
from pmlive.captures.fields import (
    Fields,
    Stamp,
    at_path,
    connection_of,
    counter_of,
    fields_of,
    items_of,
    json_of,
    keys_of,
    named_stamp,
    repeated_key,
    stamp_of,
    text_of,
    unquoted,
)
from pmlive.captures.naming import Layout, Naming, layout
from pmlive.captures.times import nanoseconds, nanoseconds_in
from pmlive.captures.words import Word, is_header, word_of
from pmlive.events import Channel, Control, Event, Malformed, StreamReply, Unknown, UserOrder, UserTrade

__all__ = ["Line", "is_understood", "read_line"]

_CHANNELS: dict[str, Channel] = {
    "market": "market",
    "user": "user",
    "realtime": "realtime",
    "rtds": "realtime",
    "prices": "prices",
    "sports": "sports",
}
# Envelopes are in envelopes when a capture was sent on by somebody.
_DEEPEST = 3
_NOTES: frozenset[Word] = frozenset(("note", "failed", "stopped"))

_TIME = (
    rb"([0-9]{4}[-/][0-9]{2}[-/][0-9]{2}[T ][0-9]{2}:[0-9]{2}(?::[0-9]{2})?(?:[.,][0-9]{1,20})?"
    rb"(?: ?(?:Z|UTC|GMT|[+-][0-9]{2}(?::?[0-9]{2})?)(?![0-9A-Za-z]))?|[0-9][0-9.]{9,30})"
)
_prefixed = re.compile(rb"(?:\[" + _TIME + rb"\]|" + _TIME + rb"(?=[\s,;|:]))[\s,;|:]*", re.IGNORECASE).match
# What a log writes between the time and the frame: levels, names, arrows.
_label = re.compile(rb"""[^\[{"]{0,80}?(?:\[[A-Za-z0-9_.:/ -]{0,40}\][^\[{"]{0,80}?)*(?=[\[{])""").match
_is_word = re.compile(rb"[A-Za-z]{2,10}").fullmatch
_is_timed_array = re.compile(rb"""\[\s*["0-9]""").match
_is_python = re.compile(rb"\[?\s*\{\s*'").match
_names_keys = re.compile(rb"""["'](\w*auth|api_?key|secret|passphrase)["']\s*:""", re.IGNORECASE).search
_names_owner = re.compile(rb"""["'](\w*owner)["']\s*:""", re.IGNORECASE).search


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """What a line says: a frame with the events in it, or a ``word`` about the connection.

    ``weakly`` received is what a key said that the venue has too. ``counter`` is the number that the recorder gave to
    the line, and ``repeated`` a key that an object in it has twice. Of a line that is not understood, ``keys`` are its
    keys and ``perhaps`` is the one of them that frames are under.
    """

    channel: Channel
    frame: bytes = b""
    events: list[Event] = []
    received: int | None = None
    weakly: bool = False
    connection: str = ""
    word: Word = ""
    counter: int | None = None
    repeated: str | None = None
    keys: tuple[str, ...] = ()
    perhaps: str = ""


class _Around(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a frame from outside it."""

    channel: Channel
    naming: Naming
    stamp: Stamp | None = None
    connection: str = ""
    counter: int | None = None
    deepest: int = _DEEPEST

    def line(self, frame: bytes, events: list[Event]) -> Line:
        """Make a line of a frame."""
        return self._line(frame, events, "")

    def say(self, word: Word) -> Line:
        """Make a line of a word; a note's own time counts only if it is surely one."""
        line = self._line(b"", [], word)
        return msgspec.structs.replace(line, received=None) if word in _NOTES and line.weakly else line

    def _line(self, frame: bytes, events: list[Event], word: Word) -> Line:
        stamp = self.stamp
        return Line(
            channel=self.channel,
            frame=frame,
            events=events,
            word=word,
            received=None if stamp is None else stamp.time,
            weakly=stamp is not None and stamp.rank == 0,
            connection=self.connection,
            counter=self.counter,
        )


def read_line(text: bytes, channel: Channel, naming: Naming = Naming()) -> Line:  # noqa: B008  # frozen
    """Read a line; what is neither a frame nor an envelope is a frame that is malformed."""
    text = _element(text.strip())
    around = _Around(channel=channel, naming=naming)
    if text.startswith((b"#", b"//")) or text in (b"[", b"]", b"],"):
        return around.say("note")
    stamp, text = _behind_time(text, naming)
    around = msgspec.structs.replace(around, stamp=stamp)
    line = _discreet(_read(_as_json(text), around))
    if is_understood(line):
        repeated = _repeated(text, line)
        return line if repeated is None else msgspec.structs.replace(line, repeated=repeated)
    return msgspec.structs.replace(line, keys=keys_of(text), perhaps=_perhaps(text, channel))


def _repeated(text: bytes, line: Line) -> str | None:
    """Return a key that stands twice, in the line as it is written or in a frame that is quoted in it."""
    if text[:1] not in (b"{", b"["):
        return None
    found = repeated_key(text)
    return found if found is not None or line.frame in text else repeated_key(line.frame)


def _perhaps(text: bytes, channel: Channel) -> str:
    """Find a frame under a key that is not known."""
    fields = fields_of(text) or {}
    for key in fields:
        content = _content(bytes(fields[key]))
        if content is not None and _is_data(_wire.decode(channel, _as_json(content))):
            return key
    return ""


def is_understood(line: Line) -> bool:
    """Tell whether nothing in a line is unknown or malformed."""
    return bool(line.word) or _is_known(line.events)


def _element(text: bytes) -> bytes:
    """Leave out the comma behind an element of an array that has one a line."""
    return text[:-1] if text[:1] in (b"{", b"[") and text.endswith((b"},", b"],")) else text


def _as_json(text: bytes) -> bytes:
    return json_of(text) if _is_python(text) else text


def _behind_time(text: bytes, naming: Naming) -> tuple[Stamp | None, bytes]:
    """Take the time that a line begins with, if a frame follows."""
    prefix = _prefixed(text)
    if prefix is None:
        return None, text
    said = (prefix[1] or prefix[2]).decode()
    time = nanoseconds(said) if naming.unit is None else nanoseconds_in(said, naming.unit)
    frame = _behind_label(text[prefix.end() :].strip())
    return (None, text) if time is None or frame is None else (Stamp(time, 1), frame)


def _behind_label(rest: bytes) -> bytes | None:
    if rest[:1] in (b"{", b"[") and not _label_only(rest):
        return rest
    if rest[:1] == b'"':
        quoted = unquoted(rest).encode() if not rest.startswith(b'""') else rest
        inside = quoted if quoted[:1] in (b"{", b"[") else rest[1:-1].replace(b'""', b'"')
        return inside if inside[:1] in (b"{", b"[") or _is_word(inside) else None
    if _is_word(rest):
        return rest
    label = _label(rest)
    return None if label is None else rest[label.end() :].rstrip(b"'\"` ")


def _label_only(rest: bytes) -> bool:
    """Tell a name in brackets from an array."""
    return rest[:1] == b"[" and rest[1:2].isalpha()


def _discreet(line: Line) -> Line:
    """Leave out what the client said of itself, and see to it that its owner is withheld."""
    is_users = any(isinstance(event, UserOrder | UserTrade) for event in line.events)
    if is_users or _is_data(line.events):
        return msgspec.structs.replace(line, channel="user") if is_users else line
    if _names_keys(line.frame):
        return msgspec.structs.replace(line, frame=b"", events=[], word="sent")
    return msgspec.structs.replace(line, channel="user") if _names_owner(line.frame) else line


def _read(text: bytes, around: _Around) -> Line:
    fields = fields_of(text)
    if fields is None:
        return _array(text, around)
    inner = _envelope(fields, around) if around.deepest else None
    if inner is not None and _is_known(inner.events):
        return inner
    events = _wire.decode(around.channel, text)
    # A complaint of the venue's and what a recorder says of a connection look alike.
    if _is_known(events) and not _complains(events[0]):
        return _bare(text, fields, around, events)
    inner = inner or (_container(fields, around) if around.deepest else None)
    is_kind = any(isinstance(event, Unknown) and event.kind for event in events)
    if inner is not None and (inner.word or not is_kind):
        return inner
    is_note = is_header(fields) and not any(map(_complains, events))
    return around.say("note") if is_note else _bare(text, fields, around, events)


def _complains(event: Event) -> bool:
    # An answer of the price streams has a form of its own.
    return isinstance(event, Control) and not isinstance(event, StreamReply) and event.word == "error"


def _bare(text: bytes, fields: Fields, around: _Around, events: list[Event]) -> Line:
    """Take a frame that recorders have added something to, if anything."""
    stamp = around.stamp if around.naming.received else around.stamp or stamp_of(fields, weak=False)
    connection = around.connection or connection_of(fields)
    # The price streams number their messages themselves.
    counter = around.counter
    if counter is None and around.channel == "market":
        counter = counter_of(fields, is_message=True)
    return msgspec.structs.replace(around, stamp=stamp, connection=connection, counter=counter).line(text, events)


def _array(text: bytes, around: _Around) -> Line:
    """Read what is no object: several messages, ``[time, frame]``, or a word."""
    events = _wire.decode(around.channel, text)
    if _is_known(events) or text[:1] != b"[" or not around.deepest:
        return around.line(text, events)
    items = items_of(text)
    if not 2 <= len(items) <= 4:  # noqa: PLR2004  # a time, a frame, and what else there is to say of it
        return around.line(text, events)
    return _timed(items, around) or around.line(text, events)


def _timed(items: list[bytes], around: _Around) -> Line | None:
    unit = around.naming.unit
    said = [text_of(item) for item in items if item[:1] not in (b"{", b"[")]
    times = [nanoseconds(text) if unit is None else nanoseconds_in(text, unit) for text in said]
    time = next((time for time in times if time is not None), None)
    contents = [inside for item in items if (inside := _content(item)) is not None]
    frame = next((inside for inside in contents if inside[:1] in (b"{", b"[")), None)
    if time is None or frame is None:
        return None
    inside = msgspec.structs.replace(around, stamp=Stamp(time, 1), deepest=around.deepest - 1)
    return _read(_as_json(frame), inside)


def _envelope(fields: Fields, around: _Around) -> Line | None:
    """Take what is in an envelope, if this is one."""
    keys = layout(tuple(fields))
    named = at_path(fields, around.naming.frame) if around.naming.frame else None
    word = word_of(fields, keys)
    if not (named or keys.frames or word):
        return None
    inside = _inside(fields, around)
    if word == "sent":
        return inside.say("sent")
    held = [named] if around.naming.frame else [fields[key] for key in keys.frames]
    contents = (_content(bytes(value)) for value in held if value is not None)
    content = next((content for content in contents if content is not None), None)
    line = None if content is None else _read(_as_json(content), inside)
    if line is not None and line.word == "sent":
        return line
    if word and (line is None or not _is_data(line.events)):
        return inside.say(word)
    return line


def _inside(fields: Fields, around: _Around) -> _Around:
    """Note what an envelope says; the innermost is who received it, but a time that is surely one comes first."""
    naming = around.naming
    stamp = named_stamp(fields, naming) if naming.received else stamp_of(fields, weak=True)
    if stamp is None or (around.stamp is not None and around.stamp.rank > stamp.rank):
        stamp = around.stamp
    keys = layout(tuple(fields))
    return _Around(
        channel=_channel_of(fields, keys, around.channel),
        naming=naming,
        stamp=stamp,
        connection=connection_of(fields) or around.connection,
        counter=counter_of(fields) if around.counter is None else around.counter,
        deepest=around.deepest - 1,
    )


def _channel_of(fields: Fields, keys: Layout, otherwise: Channel) -> Channel:
    for key in keys.channels:
        name = text_of(bytes(fields[key])).lower()
        if name in _CHANNELS:
            return _CHANNELS[name]
    return otherwise


def _container(fields: Fields, around: _Around) -> Line | None:
    """Look one level deeper for an envelope, under a key of any name."""
    if around.naming.frame:
        return None
    for value in _objects(fields):
        inner = fields_of(value)
        if inner is not None and layout(tuple(inner)).frames:
            line = _read(value, _inside(fields, around))
            if _is_known(line.events):
                return line
    return None


def _objects(fields: Fields) -> Iterator[bytes]:
    return (text for value in fields.values() if (text := bytes(value))[:1] == b"{")


def _content(value: bytes) -> bytes | None:
    """Give the frame that a value may be: an object or an array as it is written, or the text that is quoted."""
    if value[:1] in (b"{", b"["):
        return value
    return unquoted(value).encode() if value[:1] == b'"' and value != b'""' else None


def _is_known(events: list[Event]) -> bool:
    return bool(events) and not any(isinstance(event, Unknown | Malformed) for event in events)


def _is_data(events: list[Event]) -> bool:
    return any(not isinstance(event, Unknown | Malformed | Control) for event in events)
