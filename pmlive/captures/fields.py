"""The JSON objects of a capture, read one level at a time, so that their values stay as they are written."""

import ast
import json
import re
from collections.abc import Iterator, Mapping
from functools import reduce
from itertools import islice
from typing import TypeAlias

import msgspec

from pmlive.captures.conventions import NamedKeys, Unit, nanoseconds, nanoseconds_in, roles_of

__all__ = [
    "Fields",
    "Losses",
    "ReceiveTime",
    "at_path",
    "connection_of",
    "counter_of",
    "fields_of",
    "items_of",
    "json_of",
    "keys_of",
    "losses_of",
    "named_receive_time",
    "receive_time_of",
    "repeated_key",
    "says_some",
    "text_of",
    "unquoted",
]

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
