"""Receive times as people write them: ISO text, or a number whose unit is named, or told by its magnitude."""

import re
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Literal, TypeAlias

from pmlive.events import SECONDS_BELOW

__all__ = ["PER_SECOND", "Unit", "nanoseconds", "nanoseconds_in"]

Unit: TypeAlias = Literal["ns", "us", "ms", "s"]

_BILLION = 1_000_000_000
PER_SECOND: dict[Unit, int] = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": _BILLION}
# From September 2001 on; what is smaller is no time, or in no unit that can be told from the others.
_FIRST = 1_000_000_000
_is_number = re.compile(r"[0-9]{1,20}(\.[0-9]{1,20})?([eE][+-]?[0-9]{1,2})?", re.ASCII).fullmatch
_iso = re.compile(
    r"(\d{4})([-/])(\d\d)\2(\d\d)[T ](\d\d:\d\d(?::\d\d)?)(?:[.,](\d{1,20}))? ?(Z|UTC|GMT|[+-]\d\d(?::?\d\d)?)?",
    re.ASCII | re.IGNORECASE,
).fullmatch


def nanoseconds(text: str) -> int | None:
    """Read a time as nanoseconds since 1970, or None if it is none.

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


def _of_number(text: str, unit: Unit) -> int | None:
    try:
        number = Decimal(text)
    except InvalidOperation:
        return None
    per_second = PER_SECOND[unit]
    is_time = _FIRST * per_second <= number < SECONDS_BELOW * per_second
    return int(number * (_BILLION // per_second)) if is_time else None


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
    return seconds * _BILLION + int((fraction or "")[:9].ljust(9, "0")) if seconds >= _FIRST else None
