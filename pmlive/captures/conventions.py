"""Conventions of recorders: their keys for frames, receive times, connections and notes, and the forms of times.

Keys are compared without their spelling (``receivedAt`` is ``received_at``) and without the unit at their end
(``recv_ts_ns``), which is kept.
"""

import ast
import json
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from functools import lru_cache, reduce
from itertools import islice
from typing import Literal, TypeAlias

import msgspec

from pmlive.events import SECONDS_BELOW

__all__ = [
    "FRAME_KEYS",
    "PER_SECOND",
    "TIME_KEYS",
    "Fields",
    "KeyRoles",
    "Losses",
    "NamedKeys",
    "ReceiveTime",
    "Unit",
    "at_path",
    "column_of_frames",
    "connection_of",
    "counter_of",
    "fields_of",
    "items_of",
    "json_of",
    "keys_of",
    "losses_of",
    "named_receive_time",
    "nanoseconds",
    "nanoseconds_in",
    "receive_time_of",
    "repeated_key",
    "roles_of",
    "says_some",
    "text_of",
    "unquoted",
]

Unit: TypeAlias = Literal["ns", "us", "ms", "s"]
_SECOND_NS = 1_000_000_000
PER_SECOND: dict[Unit, int] = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": _SECOND_NS}
# From September 2001 on; a smaller number is not a time, or in a unit that cannot be told from the others.
_FIRST_S = 1_000_000_000
# In the order in which they are preferred: what was received as it was comes before what was made of it.
FRAME_KEYS = (
    *("raw", "raw_message", "raw_payload", "raw_msg", "raw_data", "raw_text", "raw_json"),
    *("frame", "msg", "message", "text", "payload", "data", "body", "content"),
)
# The verbatim text beside one of those, which is then only a decoded form of it.
_VERBATIM = "rawframe"
TIME_KEYS = (
    *("recv", "received", "receive", "ts_recv", "recv_ts", "recv_time", "recv_at", "recv_timestamp"),
    *("receive_time", "receive_ts", "receive_timestamp", "receive_wall", "recv_wall", "wall_recv", "wall_time"),
    *("received_at", "received_ts", "received_time", "received_timestamp", "receipt_time", "receipt_timestamp"),
    *("timestamp_recv", "timestamp_received", "time_received", "ts_received", "ts_receive", "time_recv"),
    *("local_timestamp", "local_ts", "local_time", "ts_local", "timestamp_local"),
    *("captured_at", "capture_time", "capture_ts", "collected_at", "collected_ts", "recorded_at", "record_time"),
    *("arrived_at", "arrival_time", "arrival_ts", "ingest_time", "ingest_ts", "ingest_timestamp", "ingested_at"),
    *("ingest_at", "ingestion_time", "rx_time", "rx_ts", "rx"),
)
# The venue says some of these itself, so they count around a frame only, and after the others.
_WEAK_TIMES = ("ts", "timestamp", "time", "t", "at", "datetime", "created_at", "logged_at", "log_time", "epoch")
_CONNECTIONS = ("conn", "connection", "conn_id", "connection_id", "connection_number")
_EPOCHS = ("connection_epoch", "conn_epoch", "epoch_id")
_SESSIONS = ("session_id", "session", "observer_session_id", "run_id")
_WORDS = ("type", "event", "kind", "record", "record_type", "eventType", "entry_type", "op", "action", "lifecycle", "t")
# Keys with the meaning of a note whose word does not have it.
_STATES = ("state", "status", "phase", "new_state", "connection_state", "conn_state", "ws_state")
_LEVELS = ("level", "severity", "log_level", "levelname")
_DIRECTIONS = ("direction", "dir", "flow")
_CHANNELS = ("channel", "stream")
# The numbers that a recorder gives to its lines.
_COUNTERS = (
    *("seq", "seq_no", "seq_num", "sequence", "sequence_number", "recv_seq", "local_seq", "frame_seq", "msg_seq"),
    *("line", "line_no", "line_number", "frame_no", "frame_number", "frame_index", "msg_no", "message_number"),
    *("record_no", "record_number", "row", "row_id", "row_number", "n", "index", "idx", "counter", "offset", "id"),
)
# How many frames a recorder dropped, so far or before a line, or that it did.
_DROPPED = (
    *("dropped", "drops", "dropped_frames", "frames_dropped", "dropped_messages", "messages_dropped", "dropped_count"),
    *(
        "drop_count",
        "total_dropped",
        "dropped_total",
        "num_dropped",
        "n_dropped",
        "dropped_before",
        "dropped_since_last",
    ),
    *(
        "queue_dropped",
        "dropped_lines",
        "lines_dropped",
        "dropped_events",
        "events_dropped",
        "is_dropped",
        "has_dropped",
    ),
    *("missed", "missed_frames", "frames_missed", "missed_messages", "messages_missed", "missed_count", "num_missed"),
    *("lost", "lost_frames", "frames_lost", "lost_messages", "messages_lost", "lost_count", "num_lost", "data_loss"),
    *("overflow", "overflows", "overflowed", "queue_overflow", "queue_overflows", "overflow_count", "overruns"),
)
# What is a sign of loss if it is true; as a number it may be something else.
_LOSS_FLAGS = (
    *("gap", "gaps", "is_gap", "has_gap", "gap_before", "gap_detected", "after_gap", "sequence_gap", "missing"),
    *("truncated", "is_truncated", "incomplete", "partial", "corrupt", "corrupted", "skipped", "loss", "lossy"),
)
# What says in a text what a note is about.
_TEXTS = ("message", "msg", "text", "detail", "details", "reason", "comment", "note", "description")
# What says that something is wrong, unless it is empty.
_ERRORS = ("error", "errors", "exception", "err", "error_message", "error_msg", "exc_info", "traceback")
# What says that a line is about the capture, if there is nothing else in it.
_HEADERS = ("schema", "schema_version", "format", "format_version", "version", "recorder", "recorder_version")
# Objects beside the frame with what the recorder adds to it.
_META = ("ingress", "meta", "metadata", "header", "headers", "envelope", "context", "recorder", "capture", "timing")
_SECONDS = ("created_at", "seconds", "sec", "secs", "tv_sec")
_PARTS = {
    "millisecondofsecond": 1_000_000,
    "microsecondofmillisecond": 1_000,
    "nanosecondofmicrosecond": 1,
    "nanos": 1,
    "nsec": 1,
    "nanoseconds": 1,
    "tvnsec": 1,
    "tvusec": 1_000,
    "usec": 1_000,
}
_UNIT_NAMES: dict[Unit, tuple[str, ...]] = {
    "ns": ("ns", "nano", "nanos", "nsec", "nanosecond", "nanoseconds"),
    "us": ("us", "micro", "micros", "usec", "microsecond", "microseconds"),
    "ms": ("ms", "milli", "millis", "msec", "millisecond", "milliseconds"),
    "s": ("s", "sec", "secs", "second", "seconds"),
}
_UNITS: dict[str, Unit] = {name: unit for unit, names in _UNIT_NAMES.items() for name in names}
# The finest is preferred, and a time without a unit, which may be ISO text, to a coarse one.
_FINEST: tuple[Unit | None, ...] = ("ns", "us", None, "ms", "s")
_FILLERS = {"unix", "utc"}
_is_number = re.compile(r"[0-9]{1,20}(\.[0-9]{1,20})?([eE][+-]?[0-9]{1,2})?", re.ASCII).fullmatch
_iso = re.compile(
    r"(\d{4})([-/])(\d\d)\2(\d\d)[T ](\d\d:\d\d(?::\d\d)?)(?:[.,](\d{1,20}))? ?(Z|UTC|GMT|[+-]\d\d(?::?\d\d)?)?",
    re.ASCII | re.IGNORECASE,
).fullmatch
_words = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+").findall


class NamedKeys(msgspec.Struct, frozen=True):
    """The keys (or paths such as ``a.b``) of frame and receive time that the user names, and the unit of the time."""

    frame: str = ""
    received: str = ""
    unit: Unit | None = None


class KeyRoles(msgspec.Struct, frozen=True):
    """The keys of an object by role, each in order of preference; times with the unit in their name."""

    frames: tuple[str, ...]
    times: tuple[tuple[str, Unit | None], ...]
    weak_times: tuple[tuple[str, Unit | None], ...]
    seconds: tuple[str, ...]
    parts: tuple[tuple[str, int], ...]
    connections: tuple[str, ...]
    epochs: tuple[str, ...]
    sessions: tuple[str, ...]
    words: tuple[str, ...]
    states: tuple[str, ...]
    levels: tuple[str, ...]
    directions: tuple[str, ...]
    channels: tuple[str, ...]
    counters: tuple[str, ...]
    dropped: tuple[str, ...]
    loss_flags: tuple[str, ...]
    texts: tuple[str, ...]
    errors: tuple[str, ...]
    headers: tuple[str, ...]
    metas: tuple[str, ...]


@lru_cache(maxsize=1024)
def roles_of(keys: tuple[str, ...]) -> KeyRoles:
    """Return the keys of an object by role."""
    stems = {key: _stem(key) for key in keys}
    whole = {key: _whole(key) for key in keys}
    return KeyRoles(
        frames=_frames(whole),
        times=_times(stems, TIME_KEYS),
        weak_times=_times(stems, _WEAK_TIMES),
        seconds=_named(whole | {key: stem for key, (stem, unit) in stems.items() if unit == "s"}, _SECONDS),
        parts=tuple((key, _PARTS[name]) for key, name in whole.items() if name in _PARTS),
        connections=_named(whole, _CONNECTIONS),
        epochs=_named(whole, _EPOCHS),
        sessions=_named(whole, _SESSIONS),
        words=_named(whole, _WORDS),
        states=_named(whole, _STATES),
        levels=_named(whole, _LEVELS),
        directions=_named(whole, _DIRECTIONS),
        channels=_named(whole, _CHANNELS),
        counters=_named(whole, _COUNTERS),
        dropped=_named(whole, _DROPPED),
        loss_flags=_named(whole, _LOSS_FLAGS),
        texts=_named(whole, _TEXTS),
        errors=_named(whole, _ERRORS),
        headers=_named(whole, _HEADERS),
        metas=_named(whole, _META),
    )


def column_of_frames(columns: tuple[str, ...], naming: NamedKeys) -> str | None:
    """Return which column of a table holds the frames, if one does."""
    if naming.frame:
        return naming.frame if naming.frame in columns else None
    return next(iter(roles_of(columns).frames), None)


def nanoseconds(text: str) -> int | None:
    """Read a time as nanoseconds since 1970, or None if it is not one.

    >>> nanoseconds("1761179883.5"), nanoseconds("1761179883500"), nanoseconds("2025-10-23T00:38:03.5Z")
    (1761179883500000000, 1761179883500000000, 1761179883500000000)
    """
    text = text.strip()
    if not _is_number(text):
        return _of_iso(text)
    times = (_of_number(text, unit) for unit in PER_SECOND)
    return next((time for time in times if time is not None), None)


def nanoseconds_in(text: str, unit: Unit) -> int | None:
    """Read a time whose number is in this unit; ISO text has none.

    >>> nanoseconds_in("1761179883500", "ms"), nanoseconds_in("1761179883500", "s")
    (1761179883500000000, None)
    """
    text = text.strip()
    return _of_number(text, unit) if _is_number(text) else _of_iso(text)


def _frames(whole: dict[str, str]) -> tuple[str, ...]:
    known = _named(whole, FRAME_KEYS)
    return (*(key for key, name in whole.items() if known and name == _VERBATIM), *known)


def _named(names: dict[str, str], wanted: tuple[str, ...]) -> tuple[str, ...]:
    order = [_whole(key) for key in wanted]
    return tuple(sorted((key for key, name in names.items() if name in order), key=lambda key: order.index(names[key])))


def _times(stems: dict[str, tuple[str, Unit | None]], wanted: tuple[str, ...]) -> tuple[tuple[str, Unit | None], ...]:
    names = [_whole(key) for key in wanted]
    found = [key for key, (stem, _) in stems.items() if stem in names]
    found.sort(key=lambda key: (_FINEST.index(stems[key][1]), names.index(stems[key][0])))
    return tuple((key, stems[key][1]) for key in found)


def _stem(key: str) -> tuple[str, Unit | None]:
    words = [word.lower() for word in _words(key)]
    unit = _UNITS.get(words[-1]) if len(words) > 1 else None
    words = words[:-1] if unit else words
    return "".join([word for word in words if word not in _FILLERS] or words), unit


def _whole(key: str) -> str:
    return "".join(_words(key)).lower()


def _of_number(text: str, unit: Unit) -> int | None:
    try:
        number = Decimal(text)
    except InvalidOperation:
        return None
    per_second = PER_SECOND[unit]
    is_time = _FIRST_S * per_second <= number < SECONDS_BELOW * per_second
    return int(number * (_SECOND_NS // per_second)) if is_time else None


def _of_iso(text: str) -> int | None:
    found = _iso(text)
    if found is None:
        return None
    year, _, month, day, clock, fraction, zone = found.groups()
    try:
        moment = datetime.fromisoformat(f"{year}-{month}-{day}T{clock}{zone if zone and zone[0] in '+-' else '+00:00'}")
    except ValueError:
        return None
    seconds = int(moment.astimezone(UTC).timestamp())
    return seconds * _SECOND_NS + int((fraction or "")[:9].ljust(9, "0")) if seconds >= _FIRST_S else None


# --- fields ---
# The JSON objects of a capture, read one level at a time, so that their values stay as they are written.

Fields: TypeAlias = Mapping[str, msgspec.Raw]

# As in the wire: the decoder must not recurse as deep as a hostile line wants it to.
_MOST_LEVELS = 10_000
_MOST_KEYS = 24
# What a recorder adds to a frame is short; a longer object beside it is a frame.
_LONGEST_META = 4096
_MOST_DIGITS = 18
_YES = {"true", "yes", "y"}
_numbers = re.compile(r"[0-9]+").findall
_NO = {"", "false", "no", "n", "none", "null", "nan", "nil", "off"}
_FIELDS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_ITEMS = msgspec.json.Decoder(list[msgspec.Raw])
_UNREADABLE = (msgspec.DecodeError, RecursionError, UnicodeError)
_NOT_PYTHON = (ValueError, SyntaxError, SyntaxWarning, MemoryError, RecursionError, TypeError)


class ReceiveTime(msgspec.Struct, frozen=True):
    """A receive time in nanoseconds; of ``rank`` 0 under a key that the venue has too, 2 if the user named the key."""

    time: int
    rank: int


def fields_of(text: bytes) -> Fields | None:
    """Split an object into its fields, or return None if it is not one."""
    if not text.startswith(b"{") or text.count(b"[") + text.count(b":{") + text.count(b": {") > _MOST_LEVELS:
        return None
    try:
        return _FIELDS.decode(text)
    except _UNREADABLE:
        return None


def items_of(text: bytes) -> list[bytes]:
    """Split an array into its items; what is not an array has none."""
    if text.count(b"[") + text.count(b":{") + text.count(b": {") > _MOST_LEVELS:
        return []
    try:
        return [bytes(item) for item in _ITEMS.decode(text)]
    except _UNREADABLE:
        return []


def text_of(value: bytes) -> str:
    """Return a value that is a text or a number."""
    if value[:1] == b'"':
        return unquoted(value)
    return "" if value[:1] in (b"{", b"[") or value == b"null" else value.decode("utf-8", "replace")


def unquoted(value: bytes) -> str:
    """Return the text that is quoted."""
    try:
        return msgspec.json.decode(value, type=str)
    except _UNREADABLE:
        return value.decode("utf-8", "replace")


def json_of(text: bytes) -> bytes:
    """Return what Python printed as JSON, or unchanged if it cannot be read."""
    try:
        return msgspec.json.encode(ast.literal_eval(text.decode()))
    except _NOT_PYTHON:
        return text


def at_path(fields: Fields, path: str) -> msgspec.Raw | None:
    """Return the value of a key, or of a path of keys such as ``a.b``."""
    if path in fields:
        return fields[path]
    first, _, rest = path.partition(".")
    inner = fields_of(bytes(fields[first])) if rest and first in fields else None
    return None if inner is None else at_path(inner, rest)


def keys_of(text: bytes) -> tuple[str, ...]:
    """List the keys of an object, and of the objects in it as paths."""
    return tuple(dict.fromkeys(islice(_paths(fields_of(text) or {}), _MOST_KEYS)))


def _paths(fields: Fields) -> Iterator[str]:
    for key, value in fields.items():
        yield key
        if (text := bytes(value))[:1] == b"{":
            yield from (f"{key}.{inner}" for inner in fields_of(text) or {})


def connection_of(fields: Fields) -> str:
    """Return the connection that an object names: by its name, its epoch, or both."""
    keys = roles_of(tuple(fields))
    epoch = _first(fields, keys.epochs)
    parts = [_first(fields, keys.connections), epoch]
    if epoch:
        # Two sessions have a first epoch each.
        parts.insert(0, _first(fields, keys.sessions))
    return "/".join(part for part in parts if part)


def counter_of(fields: Fields, *, is_message: bool = False) -> int | None:
    """Return the number that the recorder gave to a line, if it has one; a message has an ``id`` of the venue's."""
    keys = roles_of(tuple(fields)).counters
    return _number(fields, tuple(key for key in keys if key != "id") if is_message else keys)


class Losses(msgspec.Struct, frozen=True):
    """What a recorder says beside a frame of those that it dropped: how many, so far or before it, or that it did."""

    count: int | None = None
    flagged: bool = False

    def with_those_of(self, others: "Losses") -> "Losses":
        """Add what an object says around or inside of this one, whose own number counts first."""
        count = others.count if self.count is None else self.count
        return Losses(count, flagged=self.flagged or others.flagged)


def losses_of(fields: Fields) -> Losses:
    """Return what an object says of dropped frames, itself or in an object beside the frame."""
    keys = roles_of(tuple(fields))
    if not (keys.dropped or keys.loss_flags or keys.metas):
        return _NO_LOSSES
    found = [_loss(bytes(fields[key])) for key in keys.dropped]
    found += [Losses(flagged=text_of(bytes(fields[key])).lower() in _YES) for key in keys.loss_flags]
    inner = (fields_of(text) for key in keys.metas if (text := bytes(fields[key]))[:1] == b"{")
    found += [losses_of(each) for each in inner if each is not None and not roles_of(tuple(each)).frames]
    return reduce(Losses.with_those_of, found, _NO_LOSSES)


def _loss(value: bytes) -> Losses:
    text = text_of(value)
    is_number = text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS
    return Losses(int(text)) if is_number else Losses(flagged=says_some(value))


def says_some(value: bytes) -> bool:
    """Return whether a value says that there is some of what its key names: it is not empty, zero, or a denial.

    >>> says_some(b"true"), says_some(b'"5 frames"'), says_some(b"0.0"), says_some(b'{"queue": 0}'), says_some(b"null")
    (True, True, False, False, False)
    """
    if value[:1] in (b"[", b"{"):
        held = [*items_of(value), *map(bytes, (fields_of(value) or {}).values())]
        return any(each[:1] in (b"[", b"{") or says_some(each) for each in held)
    text = text_of(value)
    if text.startswith("-") or text.lower() in _NO:
        return False
    numbers = _numbers(text)
    return any(each.strip("0") for each in numbers) if numbers else True


def _number(fields: Fields, keys: tuple[str, ...]) -> int | None:
    for key in keys:
        text = text_of(bytes(fields[key]))
        if text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS:
            return int(text)
    return None


_NO_LOSSES = Losses()


class _RepeatedKeyError(Exception):
    """An object has a key twice."""


def repeated_key(text: bytes) -> str | None:
    """Return a key that an object in a text of JSON has twice, of which decoders silently take the last value.

    >>> repeated_key(b'[{"price": "0.5", "price": "0.6"}]'), repeated_key(b'{"a": {"a": 1}}')
    ('price', None)
    """
    try:
        # What is written again as it was cannot have lost anything.
        if msgspec.json.encode(msgspec.json.decode(text)) == msgspec.json.format(text, indent=-1):
            return None
    except _UNREADABLE:
        pass
    try:
        json.loads(text, object_pairs_hook=_checked, parse_int=str, parse_float=str)
    except _RepeatedKeyError as error:
        return str(error)
    except (ValueError, RecursionError):
        pass
    return None


def _checked(pairs: list[tuple[str, object]]) -> dict[str, object]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        keys = [key for key, _ in pairs]
        raise _RepeatedKeyError(next(key for key in keys if keys.count(key) > 1))
    return fields


def _first(fields: Fields, keys: tuple[str, ...]) -> str:
    return next((text for key in keys if (text := text_of(bytes(fields[key])))), "")


def named_receive_time(fields: Fields, naming: NamedKeys) -> ReceiveTime | None:
    """Return the receive time under the key that the user named."""
    value = at_path(fields, naming.received)
    time = None if value is None else _time(bytes(value), naming.unit, is_sure=naming.unit is not None)
    return None if time is None else ReceiveTime(time, 2)


def receive_time_of(fields: Fields, *, weak: bool) -> ReceiveTime | None:
    """Return the receive time in an object, itself or in an object beside the frame."""
    keys = roles_of(tuple(fields))
    received = _receive_time(fields, keys.times, 1) or next(_beside(fields, keys.metas, weak=weak), None)
    return received or (_receive_time(fields, keys.weak_times, 0) if weak else None)


def _receive_time(fields: Fields, times: tuple[tuple[str, Unit | None], ...], rank: int) -> ReceiveTime | None:
    times_found = (_time(bytes(fields[key]), unit, is_sure=False) for key, unit in times)
    return next((ReceiveTime(time, rank) for time in times_found if time is not None), None)


def _beside(fields: Fields, metas: tuple[str, ...], *, weak: bool) -> Iterator[ReceiveTime]:
    if not weak:
        return
    for key, value in fields.items():
        text = bytes(value)
        inner = fields_of(text) if text[:1] == b"{" and len(text) <= _LONGEST_META else None
        if inner is None or roles_of(tuple(inner)).frames:
            continue
        keys = roles_of(tuple(inner))
        received = _receive_time(inner, keys.times, 1)
        if received is None and key in metas:
            time = _time_of_parts(inner)
            received = ReceiveTime(time, 1) if time is not None else _receive_time(inner, keys.weak_times, 1)
        if received is not None:
            yield received


def _time(value: bytes, unit: Unit | None, *, is_sure: bool) -> int | None:
    """Read a time in a unit; the name of a key is not always right about it."""
    if value[:1] == b"{":
        inner = fields_of(value) or {}
        return nanoseconds(text_of(bytes(inner["$date"]))) if "$date" in inner else _time_of_parts(inner)
    text = text_of(value)
    time = None if unit is None else nanoseconds_in(text, unit)
    return time if time is not None or is_sure else nanoseconds(text)


def _time_of_parts(fields: Fields) -> int | None:
    """Read a time that is written in parts."""
    keys = roles_of(tuple(fields))
    seconds = nanoseconds_in(text_of(bytes(fields[keys.seconds[0]])), "s") if keys.seconds and keys.parts else None
    parts = [(text_of(bytes(fields[key])), factor) for key, factor in keys.parts]
    if seconds is None or not all(text.isascii() and text.isdigit() for text, _ in parts):
        return None
    return seconds + sum(int(text[:10]) * factor for text, factor in parts)
