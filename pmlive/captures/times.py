"""Receive times as people write them: ISO text, or seconds, milli-, micro- or nanoseconds told by their magnitude."""

import re
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation

from pmlive.events import SECONDS_BELOW

__all__ = ["nanoseconds"]

# From September 2001 on; what is smaller is no time, or in no unit that can be told from the others.
_FIRST = 1_000_000_000
_BILLION = 1_000_000_000
_is_number = re.compile(r"[0-9]{1,20}(\.[0-9]{1,20})?([eE][+-]?[0-9]{1,2})?", re.ASCII).fullmatch
_iso = re.compile(
    r"(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d(?::\d\d)?)(?:[.,](\d{1,20}))? ?(Z|UTC|[+-]\d\d:?\d\d)?", re.ASCII | re.IGNORECASE
).fullmatch


def nanoseconds(text: str) -> int | None:
    """Read a time as nanoseconds since 1970, or None if it is none.

    >>> nanoseconds("1761179883.5"), nanoseconds("1761179883500"), nanoseconds("2025-10-23T00:38:03.5Z")
    (1761179883500000000, 1761179883500000000, 1761179883500000000)
    """
    text = text.strip()
    return _of_number(text) if _is_number(text) else _of_iso(text)


def _of_number(text: str) -> int | None:
    try:
        number = Decimal(text)
    except InvalidOperation:
        return None
    units = (1, 1_000, 1_000_000, _BILLION)
    unit = next((unit for unit in units if _FIRST * unit <= number < SECONDS_BELOW * unit), None)
    return None if unit is None else int(number * (_BILLION // unit))


def _of_iso(text: str) -> int | None:
    found = _iso(text)
    if found is None:
        return None
    day, clock, fraction, zone = found.groups()
    try:
        moment = datetime.fromisoformat(f"{day}T{clock}")
        offset = datetime.fromisoformat(f"{day}T{clock}{zone}") if zone and zone[0] in "+-" else None
    except ValueError:
        return None
    seconds = int((offset or moment.replace(tzinfo=UTC)).timestamp())
    return seconds * _BILLION + int((fraction or "")[:9].ljust(9, "0")) if seconds >= _FIRST else None
