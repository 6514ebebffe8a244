"""Latency: how late level changes came, the exact ranks among any number of delays in memory that does not grow.

Delays are counted by their first digits while they are read once. Then they are read again, and only those that have
the digits of a wanted rank are kept; where these are too many, they are counted by their next digits first.
"""

from collections.abc import Callable, Iterable, Mapping
from math import ceil, floor
from typing import NamedTuple, TypeAlias

import msgspec
import numpy as np
import numpy.typing as npt

__all__ = ["Delays", "Latency"]

_Numbers: TypeAlias = npt.NDArray[np.int64]

# Up to here a whole number is exact as a float, of which the exponent and the first ten bits are the digits.
_EXACT = 1 << 53
_DROPPED_BITS = 42
_ONE = 1023 << (52 - _DROPPED_BITS)
_MOST_KEY = ((1023 + 53) << (52 - _DROPPED_BITS)) - _ONE + 1
_END = (1 << 63) - 1
# By so many bits numbers are counted that are too many to be kept.
_BITS = 16


class Latency(msgspec.Struct, frozen=True, kw_only=True):
    """Milliseconds from the venue's time of a level change to its arrival, the offset of the two clocks included."""

    changes: int
    median: float | None
    p95: float | None
    p99: float | None
    most: float | None


class _Part(NamedTuple):
    """Numbers from ``low`` on and below ``high``: how many there are, and how many are less."""

    low: int
    high: int
    below: int
    inside: int


class Delays:
    """Delays in nanoseconds, counted while they are read for the first time.

    Args:
        most_kept: the largest number of them that are kept to find a rank.
    """

    def __init__(self, *, most_kept: int = 1 << 19) -> None:
        self._most_kept = most_kept
        self._counts = np.zeros(2 * _MOST_KEY + 1, dtype=np.int64)
        self._most: int | None = None

    def add(self, delays: _Numbers) -> None:
        """Count delays."""
        if len(delays):
            self._counts += np.bincount(_keys(delays) + _MOST_KEY, minlength=len(self._counts))
            self._most = max(int(delays.max()), -_END if self._most is None else self._most)

    def latency(self, changes: int, read: Callable[[], Iterable[_Numbers]]) -> Latency:
        """Return the figures of so many changes, some of which may have no delay; ``read`` reads the delays again."""
        last = int(self._counts.sum()) - 1
        if self._most is None:
            return Latency(changes=changes, median=None, p95=None, p99=None, most=None)
        middle = (last // 2, (last + 1) // 2)
        nearest = tuple(floor(last * share + 0.5) for share in (0.95, 0.99))
        found = _ranked({rank: self._part(rank) for rank in (*middle, *nearest)}, read, self._most_kept)
        lower, upper, p95, p99 = (found[rank] / 1e6 for rank in (*middle, *nearest))
        return Latency(
            changes=changes, median=lower + (upper - lower) / 2, p95=p95, p99=p99, most=float(self._most) / 1e6
        )

    def _part(self, rank: int) -> _Part:
        position, below = _position(self._counts, rank)
        low, high = _limits(position - _MOST_KEY)
        return _Part(low, high, below, int(self._counts[position]))


def _keys(values: _Numbers) -> _Numbers:
    """Return the sign, the exponent and the first bits of numbers, in the order of the numbers."""
    if values.min() < 0 or values.max() > _EXACT:
        near = np.clip(values, -_EXACT, _EXACT)
        return np.sign(near) * _digits(np.abs(near))
    return _digits(values)


def _digits(values: _Numbers) -> _Numbers:
    return np.maximum((values.astype(np.float64).view(np.int64) >> _DROPPED_BITS) - (_ONE - 1), 0)


def _limits(key: int) -> tuple[int, int]:
    """Return the least number that has a key, and the least that has a greater one."""
    if key < 0:
        low, high = _limits(-key)
        return 1 - high, 1 - low
    return _least(key), _least(key + 1) if key < _MOST_KEY else _END


def _least(key: int) -> int:
    bits = np.array([(key + _ONE - 1) << _DROPPED_BITS], dtype=np.int64)
    return ceil(float(bits.view(np.float64)[0])) if key else 0


def _position(counts: _Numbers, rank: int) -> tuple[int, int]:
    """Return which count a rank is in, and the sum of those before it."""
    sums = np.cumsum(counts)
    position = int(np.searchsorted(sums, rank, side="right"))
    return position, int(sums[position] - counts[position])


def _ranked(parts: Mapping[int, _Part], read: Callable[[], Iterable[_Numbers]], most_kept: int) -> dict[int, int]:
    """Return the number of each rank, given the part it is in."""
    found: dict[int, int] = {}
    waiting = dict(parts)
    while waiting:
        counts = {part: _Narrowed(part, most_kept) for part in waiting.values()}
        for numbers in read():
            for count in counts.values():
                count.add(numbers)
        waiting = {rank: counts[part].part(rank) for rank, part in waiting.items()}
        found |= {rank: part.low for rank, part in waiting.items() if part.high - part.low == 1}
        waiting = {rank: part for rank, part in waiting.items() if rank not in found}
    return found


class _Narrowed:
    """The numbers of a part: all of them where they are few, else how many there are in parts of it."""

    def __init__(self, part: _Part, most_kept: int) -> None:
        self._whole = part
        self._is_kept = part.inside <= most_kept
        self._kept: list[_Numbers] = []
        self._shift = max((part.high - part.low).bit_length() - _BITS, 0)
        self._counts = np.zeros(((part.high - part.low) >> self._shift) + 1, dtype=np.int64)

    def add(self, numbers: _Numbers) -> None:
        inside = numbers[(numbers >= self._whole.low) & (numbers < self._whole.high)]
        if self._is_kept:
            self._kept.append(inside)
        elif len(inside):
            self._counts += np.bincount((inside - self._whole.low) >> self._shift, minlength=len(self._counts))

    def part(self, rank: int) -> _Part:
        """Return a lesser part that a rank is in."""
        low, high, below, _ = self._whole
        if self._is_kept:
            number = int(np.partition(np.concatenate(self._kept), rank - below)[rank - below])
            return _Part(number, number + 1, below, 1)
        position, less = _position(self._counts, rank - below)
        first = low + (position << self._shift)
        return _Part(first, min(first + (1 << self._shift), high), below + less, int(self._counts[position]))
