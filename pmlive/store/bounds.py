"""How large the files of a recording may be, as they are and unpacked: it may be a stranger's, and made to fill memory.

A file has a gibibyte at most. What it unpacks to has 64 MiB and 256 bytes for each byte that is stored, and four
gibibytes at most; each record counts 150 bytes besides its data. Tables have one row for every 256 of those bytes.
What a recorder writes stays far below: a segment is cut at 64 MiB, and frames pack about 15 to 1.

``PMLIVE_MAX_FILE_BYTES`` takes the place of all of these, for recordings that are trusted.
"""

import os
from pathlib import Path

from pmlive.errors import StoreError

__all__ = ["VARIABLE", "Meter", "TooLargeError", "cells", "check_stored", "check_table", "stored", "unpacked"]

VARIABLE = "PMLIVE_MAX_FILE_BYTES"

_STORED = 1 << 30
_UNPACKED = 4 << 30
_FLOOR, _RATIO = 64 << 20, 256
# What a record costs in memory besides its data, and a row at most as far as this reckons.
_RECORD, _ROW = 150, 256
# Numbers in the columns of a row, with those in its lists; a row of a book has some hundreds.
_CELL = 8


class TooLargeError(StoreError):
    """Report a file that is larger than is read."""


class Meter:
    """Counts what a file of so many bytes unpacks to."""

    def __init__(self, what: str, packed: int) -> None:
        self._what = what
        self._left = self._most = unpacked(packed)

    def take(self, size: int, *, records: int = 0) -> None:
        """Count bytes that are about to be unpacked.

        Raises:
            TooLargeError: they are too many.
        """
        self._left -= size + records * _RECORD
        if self._left < 0:
            raise _refusal(f"{self._what} unpacks to more than {self._most:,} bytes")


def stored() -> int:
    """Give the largest size of a file."""
    return _given() or _STORED


def unpacked(packed: int) -> int:
    """Give what so many bytes may unpack to."""
    return _given() or min(_UNPACKED, _FLOOR + _RATIO * packed)


def cells() -> int:
    """Give how many numbers and texts a table may have in all its columns."""
    return (_given() or _UNPACKED) // _CELL


def check_stored(path: Path, size: int, *, most: int | None = None) -> None:
    """Refuse a file that is too large to be read whole.

    Raises:
        TooLargeError: it is.
    """
    limit = stored() if most is None else min(most, stored())
    if size > limit:
        raise _refusal(f"{str(path)!r} has {size:,} bytes, and {limit:,} at most are read")


def check_table(path: Path, *, rows: int, values: int, size: int) -> None:
    """Refuse a table that would not fit into memory; ``values`` are those of all columns, ``size`` is encoded bytes.

    Raises:
        TooLargeError: it would not.
    """
    most = _given() or _UNPACKED
    if rows > most // _ROW or values > cells() or size > most:
        raise _refusal(f"{str(path)!r} states {rows:,} rows, {values:,} values and {size:,} bytes unpacked")


def _refusal(what: str) -> TooLargeError:
    return TooLargeError(f"{what}, which no recording of ours does; if you trust it, set {VARIABLE} to more bytes")


def _given() -> int:
    text = os.environ.get(VARIABLE, "").strip()
    if not text:
        return 0
    if not (text.isascii() and text.isdigit() and int(text)):
        raise StoreError(f"{VARIABLE} is {text!r}; it is a number of bytes, such as {_UNPACKED}")
    return int(text)
