"""Limits of the size of a recording's files, stored and unpacked: they may be made to fill memory.

A file has a gibibyte at most. What it unpacks to has 64 MiB and 256 bytes for each byte that is stored, and four
gibibytes at most; each record counts 150 bytes besides its data. Tables have one row for every 256 of those bytes.
What a recorder writes stays far below: a segment is cut at 64 MiB, and frames pack about 15 to 1.

``PMLIVE_MAX_FILE_BYTES`` takes the place of all of these, for recordings that are trusted.
"""

import os
from pathlib import Path

from pmlive.errors import StoreError

__all__ = [
    "OVERHEAD",
    "VARIABLE",
    "Meter",
    "TooLargeError",
    "check_stored",
    "check_table",
    "max_cells",
    "max_stored",
    "max_unpacked",
]

VARIABLE = "PMLIVE_MAX_FILE_BYTES"
# Bytes of memory that a record takes besides its data.
OVERHEAD = 150

_STORED = 1 << 30
_UNPACKED = 4 << 30
_FLOOR, _RATIO = 64 << 20, 256
# Bytes of memory that are assumed for a row.
_ROW = 256
# Bytes of a number in a column, or in a list of one; a row of a book has some hundreds of numbers.
_CELL = 8


class TooLargeError(StoreError):
    """Report a file that is too large to be read."""


class Meter:
    """Counts what a file of ``packed`` bytes unpacks to."""

    def __init__(self, what: str, packed: int) -> None:
        self._what = what
        self._left = self._most = max_unpacked(packed)

    def take(self, size: int, *, records: int = 0) -> None:
        """Count bytes that are about to be unpacked.

        Raises:
            TooLargeError: there are too many.
        """
        self._left -= size + records * OVERHEAD
        if self._left < 0:
            raise _refusal(f"{self._what} unpacks to more than {self._most:,} bytes")


def max_stored() -> int:
    """Return the largest size of a file in bytes."""
    return _override() or _STORED


def max_unpacked(packed: int) -> int:
    """Return how many bytes a file of ``packed`` bytes may unpack to."""
    return _override() or min(_UNPACKED, _FLOOR + _RATIO * packed)


def max_cells() -> int:
    """Return how many numbers and texts a table may have in all its columns."""
    return (_override() or _UNPACKED) // _CELL


def check_stored(path: Path, size: int, *, most: int | None = None) -> None:
    """Check that a file is not too large to be read whole.

    Raises:
        TooLargeError: it is too large.
    """
    limit = max_stored() if most is None else min(most, max_stored())
    if size > limit:
        raise _refusal(f"{str(path)!r} has {size:,} bytes, and {limit:,} at most are read")


def check_table(path: Path, *, rows: int, values: int, size: int) -> None:
    """Check that a table fits into memory; ``values`` are those of all columns, ``size`` is bytes as encoded.

    Raises:
        TooLargeError: it does not fit.
    """
    most = _override() or _UNPACKED
    if rows > most // _ROW or values > max_cells() or size > most:
        raise _refusal(f"{str(path)!r} states {rows:,} rows, {values:,} values and {size:,} bytes unpacked")


def _refusal(what: str) -> TooLargeError:
    return TooLargeError(f"{what}, beyond the limit for a recording; if you trust it, set {VARIABLE} to more bytes")


def _override() -> int:
    text = os.environ.get(VARIABLE, "").strip()
    if not text:
        return 0
    if not (text.isascii() and text.isdigit() and int(text)):
        raise StoreError(f"invalid {VARIABLE} {text!r}; expected a number of bytes, such as {_UNPACKED}")
    return int(text)
