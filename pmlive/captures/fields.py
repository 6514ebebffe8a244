"""The objects of a capture, one level at a time: their values stay as they are written."""

import ast
import json
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import TypeAlias

import msgspec

from pmlive.captures.naming import Naming, layout
from pmlive.captures.times import Unit, nanoseconds, nanoseconds_in

__all__ = [
    "Fields",
    "Stamp",
    "at_path",
    "connection_of",
    "counter_of",
    "fields_of",
    "items_of",
    "json_of",
    "keys_of",
    "named_stamp",
    "repeated_key",
    "stamp_of",
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
_FIELDS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_ITEMS = msgspec.json.Decoder(list[msgspec.Raw])
_UNREADABLE = (msgspec.DecodeError, RecursionError, UnicodeError)
_NOT_PYTHON = (ValueError, SyntaxError, SyntaxWarning, MemoryError, RecursionError, TypeError)


class Stamp(msgspec.Struct, frozen=True):
    """A receive time in nanoseconds; of ``rank`` 0 under a key that the venue has too, 2 if the user named the key."""

    time: int
    rank: int


def fields_of(text: bytes) -> Fields | None:
    """Take an object apart."""
    if not text.startswith(b"{") or text.count(b"[") + text.count(b":{") + text.count(b": {") > _MOST_LEVELS:
        return None
    try:
        return _FIELDS.decode(text)
    except _UNREADABLE:
        return None


def items_of(text: bytes) -> list[bytes]:
    """Take an array apart; what is none has no items."""
    if text.count(b"[") + text.count(b":{") + text.count(b": {") > _MOST_LEVELS:
        return []
    try:
        return [bytes(item) for item in _ITEMS.decode(text)]
    except _UNREADABLE:
        return []


def text_of(value: bytes) -> str:
    """Give a value that is a text or a number."""
    if value[:1] == b'"':
        return unquoted(value)
    return "" if value[:1] in (b"{", b"[") or value == b"null" else value.decode("utf-8", "replace")


def unquoted(value: bytes) -> str:
    """Give the text that is quoted."""
    try:
        return msgspec.json.decode(value, type=str)
    except _UNREADABLE:
        return value.decode("utf-8", "replace")


def json_of(text: bytes) -> bytes:
    """Write what Python printed as JSON, or leave what cannot be read."""
    try:
        return msgspec.json.encode(ast.literal_eval(text.decode()))
    except _NOT_PYTHON:
        return text


def at_path(fields: Fields, path: str) -> msgspec.Raw | None:
    """Find the value of a key, or of a path of keys such as ``a.b``."""
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
    """Tell which connection an object names: by its name, its epoch, or both."""
    keys = layout(tuple(fields))
    epoch = _first(fields, keys.epochs)
    parts = [_first(fields, keys.connections), epoch]
    if epoch:
        # Two sessions have a first epoch each.
        parts.insert(0, _first(fields, keys.sessions))
    return "/".join(part for part in parts if part)


def counter_of(fields: Fields, *, is_message: bool = False) -> int | None:
    """Return the number that the recorder gave to a line, if it has one; a message has an ``id`` of the venue's."""
    for key in layout(tuple(fields)).counters:
        text = "" if is_message and key == "id" else text_of(bytes(fields[key]))
        if text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS:
            return int(text)
    return None


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


def named_stamp(fields: Fields, naming: Naming) -> Stamp | None:
    """Take the receive time under the key that the user named."""
    value = at_path(fields, naming.received)
    time = None if value is None else _moment(bytes(value), naming.unit, is_sure=naming.unit is not None)
    return None if time is None else Stamp(time, 2)


def stamp_of(fields: Fields, *, weak: bool) -> Stamp | None:
    """Find the receive time that an object says, itself or in an object beside the frame."""
    keys = layout(tuple(fields))
    stamp = _stamp(fields, keys.times, 1) or next(_beside(fields, keys.metas, weak=weak), None)
    return stamp or (_stamp(fields, keys.weak_times, 0) if weak else None)


def _stamp(fields: Fields, times: tuple[tuple[str, Unit | None], ...], rank: int) -> Stamp | None:
    moments = (_moment(bytes(fields[key]), unit, is_sure=False) for key, unit in times)
    return next((Stamp(time, rank) for time in moments if time is not None), None)


def _beside(fields: Fields, metas: tuple[str, ...], *, weak: bool) -> Iterator[Stamp]:
    if not weak:
        return
    for key, value in fields.items():
        text = bytes(value)
        inner = fields_of(text) if text[:1] == b"{" and len(text) <= _LONGEST_META else None
        if inner is None or layout(tuple(inner)).frames:
            continue
        keys = layout(tuple(inner))
        stamp = _stamp(inner, keys.times, 1)
        if stamp is None and key in metas:
            whole = _whole(inner)
            stamp = Stamp(whole, 1) if whole is not None else _stamp(inner, keys.weak_times, 1)
        if stamp is not None:
            yield stamp


def _moment(value: bytes, unit: Unit | None, *, is_sure: bool) -> int | None:
    """Read a time in a unit; the name of a key is not always right about it."""
    if value[:1] == b"{":
        inner = fields_of(value) or {}
        return nanoseconds(text_of(bytes(inner["$date"]))) if "$date" in inner else _whole(inner)
    text = text_of(value)
    time = None if unit is None else nanoseconds_in(text, unit)
    return time if time is not None or is_sure else nanoseconds(text)


def _whole(fields: Fields) -> int | None:
    """Put together a time that is written in parts."""
    keys = layout(tuple(fields))
    seconds = nanoseconds_in(text_of(bytes(fields[keys.seconds[0]])), "s") if keys.seconds and keys.parts else None
    parts = [(text_of(bytes(fields[key])), factor) for key, factor in keys.parts]
    if seconds is None or not all(text.isascii() and text.isdigit() for text, _ in parts):
        return None
    return seconds + sum(int(text[:10]) * factor for text, factor in parts)
