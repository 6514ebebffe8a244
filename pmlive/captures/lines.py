"""One line of a capture: a frame as received, an envelope around one, or a word about the connection.

Recorders write what they please: ``{"ts_recv": …, "raw": "…"}``, ``{"received_at": …, "msg": {…}}``, a number before
the frame, Python's way of writing a dictionary. So an envelope is known by its keys, and by the frame in it being one;
a message of the venue that has such keys itself is known by being one.

What a client sends to subscribe to its own orders holds its keys, and the answers hold the owner: the first is never
kept, and the second are of the user channel, whatever was said, and kept without it.
"""

import ast
import re
from collections.abc import Mapping
from typing import Literal, TypeAlias

import msgspec

from pmlive import _wire
from pmlive.captures.times import nanoseconds
from pmlive.events import Channel, Control, Event, Malformed, Unknown, UserOrder, UserTrade

__all__ = ["Line", "read_line"]

Word: TypeAlias = Literal["", "opened", "closed", "sent"]
Fields: TypeAlias = Mapping[str, msgspec.Raw]

_FRAME_KEYS = ("raw", "raw_message", "frame", "msg", "message", "payload", "data", "body")
_TIME_KEYS = (
    *("ts_recv", "recv_ts", "recv_ns", "recv_us", "recv_ms", "recv_time", "receive_time", "received_at"),
    *("received_ns", "received_us", "received_ms", "received_ts", "received", "timestamp_received"),
    *("local_timestamp", "local_ts", "local_time", "captured_at", "collected_at", "recorded_at", "arrived_at"),
)
# The venue says some of these itself, so they count around a frame only.
_ENVELOPE_TIME_KEYS = (*_TIME_KEYS, "ts_ns", "ts_us", "ts_ms", "ts", "timestamp", "time", "t")
_CONNECTION_KEYS = ("conn", "connection", "conn_id", "connection_id")
_WORD_KEYS = ("type", "event", "kind", "record")
_TELLING_KEYS = frozenset((*_FRAME_KEYS, *_WORD_KEYS))
_OPENED = {"connect", "connected", "open", "opened", "reconnect", "reconnected", "wsopen", "onopen", "connectionopened"}
_CLOSED = {"disconnect", "disconnected", "close", "closed", "wsclose", "onclose", "connectionclosed", "connectionlost"}
_SENT = {"client", "out", "outgoing", "send", "sent", "tx"}
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
# As in the wire: the decoder must not recurse as deep as a hostile line wants it to.
_MOST_LEVELS = 10_000

_FIELDS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_UNREADABLE = (msgspec.DecodeError, RecursionError, UnicodeError)
_stamped = re.compile(rb"([0-9][0-9.]{9,30})[\s,;|]+(?=[\[{])").match
_is_python = re.compile(rb"\[?\s*\{\s*'").match
_not_letters = re.compile(r"[^a-z]")
_names_keys = re.compile(rb"""["'](\w*auth|api_?key|secret|passphrase)["']\s*:""", re.IGNORECASE).search
_names_owner = re.compile(rb"""["'](\w*owner)["']\s*:""", re.IGNORECASE).search


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """What a line says: a frame with the events in it, or a ``word`` about the connection."""

    channel: Channel
    frame: bytes = b""
    events: list[Event] = []
    received: int | None = None
    connection: str = ""
    word: Word = ""


def read_line(text: bytes, channel: Channel) -> Line:
    """Read a line; what is neither a frame nor an envelope is a frame that is malformed."""
    text = text.strip()
    received: int | None = None
    if (stamp := _stamped(text)) is not None:
        received, text = nanoseconds(stamp[1].decode()), text[stamp.end() :]
    if _is_python(text):
        text = _json_of(text)
    return _discreet(_read(text, channel, received, _DEEPEST))


def _discreet(line: Line) -> Line:
    """Leave out what the client said of itself, and see to it that its owner is withheld."""
    is_users = any(isinstance(event, UserOrder | UserTrade) for event in line.events)
    if is_users or _is_data(line.events):
        return msgspec.structs.replace(line, channel="user") if is_users else line
    if _names_keys(line.frame):
        return Line(channel=line.channel, received=line.received, connection=line.connection, word="sent")
    return msgspec.structs.replace(line, channel="user") if _names_owner(line.frame) else line


def _read(text: bytes, channel: Channel, received: int | None, deepest: int) -> Line:
    fields = _fields(text)
    if fields is None:
        return Line(channel=channel, frame=text, events=_wire.decode(channel, text), received=received)
    inner = _envelope(fields, channel, received, deepest) if deepest else None
    if inner is not None and _is_known(inner.events):
        return inner
    events = _wire.decode(channel, text)
    is_whole = _is_known(events) or any(isinstance(event, Unknown) and event.kind for event in events)
    if inner is not None and not is_whole:
        return inner
    received = received or _time(fields, _TIME_KEYS)
    return Line(channel=channel, frame=text, events=events, received=received, connection=_connection(fields))


def _envelope(fields: Fields, channel: Channel, received: int | None, deepest: int) -> Line | None:
    """Take what is in an envelope, if this is one."""
    if fields.keys().isdisjoint(_TELLING_KEYS):
        return None
    received = _time(fields, _ENVELOPE_TIME_KEYS) or received
    channel = _CHANNELS.get(_text(fields, "channel").lower(), channel)
    connection = _connection(fields)
    held = (_content(bytes(fields[key])) for key in _FRAME_KEYS if key in fields)
    content = next((inside for inside in held if inside is not None), None)
    line = None if content is None else _read(content, channel, received, deepest - 1)
    if line is None or not _is_data(line.events):
        word = _word(fields)
        if word:
            return Line(channel=channel, received=received, connection=connection, word=word)
    if line is None:
        return None
    word = "sent" if _text(fields, "direction").lower() in _SENT else line.word
    return msgspec.structs.replace(
        line, received=line.received or received, connection=line.connection or connection, word=word
    )


def _fields(text: bytes) -> Fields | None:
    if not text.startswith(b"{") or text.count(b"[") + text.count(b":{") + text.count(b": {") > _MOST_LEVELS:
        return None
    try:
        return _FIELDS.decode(text)
    except _UNREADABLE:
        return None


def _content(value: bytes) -> bytes | None:
    """Give the frame that a value may be: an object or an array as it is written, or the text that is quoted."""
    if value[:1] in (b"{", b"["):
        return value
    return _unquoted(value).encode() if value[:1] == b'"' else None


def _text(fields: Fields, key: str) -> str:
    """Give a value that is a text or a number."""
    if key not in fields:
        return ""
    value = bytes(fields[key])
    if value[:1] == b'"':
        return _unquoted(value)
    return "" if value[:1] in (b"{", b"[") or value == b"null" else value.decode("utf-8", "replace")


def _unquoted(value: bytes) -> str:
    try:
        return msgspec.json.decode(value, type=str)
    except _UNREADABLE:
        return value.decode("utf-8", "replace")


def _connection(fields: Fields) -> str:
    return next((text for key in _CONNECTION_KEYS if key in fields and (text := _text(fields, key))), "")


def _time(fields: Fields, keys: tuple[str, ...]) -> int | None:
    times = (nanoseconds(_text(fields, key)) for key in keys if key in fields)
    return next((time for time in times if time is not None), None)


def _word(fields: Fields) -> Word:
    for key in _WORD_KEYS:
        if key not in fields:
            continue
        said = _not_letters.sub("", _text(fields, key).lower())
        if said in _OPENED:
            return "opened"
        if said in _CLOSED:
            return "closed"
    return ""


def _is_known(events: list[Event]) -> bool:
    return bool(events) and not any(isinstance(event, Unknown | Malformed) for event in events)


def _is_data(events: list[Event]) -> bool:
    return any(not isinstance(event, Unknown | Malformed | Control) for event in events)


def _json_of(text: bytes) -> bytes:
    """Write what Python printed as JSON, or leave what cannot be read."""
    try:
        return msgspec.json.encode(ast.literal_eval(text.decode()))
    except (ValueError, SyntaxError, SyntaxWarning, MemoryError, RecursionError, TypeError):
        return text
