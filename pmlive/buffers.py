"""Buffers of rows on their way into frames: appended one at a time, taken all at once."""

from functools import lru_cache
from struct import Struct
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import polars as pl

from pmlive.events import SECONDS_BELOW
from pmlive.tables import LEVELS, SCHEMAS

__all__ = ["PACKED", "PackedRows", "Rows", "StringTable", "ladder"]

_Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]

# The tables of which nearly every message makes a row are packed: bytes are the cheapest to keep and to convert.
PACKED: tuple[str, ...] = ("prices", "book_deltas")

_DOUBLE = 8
# The ladders of up to so many rows are made at once; of more one after another, which takes less memory.
_FEW = 1_000

# Computed from the best prices when rows are taken: null where a side is empty, and rounded since prices have
# at most four decimals and adding floats leaves dust.
_DERIVED = ("mid", "spread")


class _Form(NamedTuple):
    """The format of a packed value, as ``struct`` and as numpy write it."""

    letter: str
    array: str


# Native, aligned, and ended on a multiple of eight: so both pack fastest, and agree on where each value is.
_FORMS: dict[type[pl.DataType], _Form] = {
    pl.UInt64: _Form("Q", "u8"),
    pl.Datetime: _Form("q", "i8"),
    pl.UInt32: _Form("I", "u4"),
    pl.Float64: _Form("d", "f8"),
    pl.String: _Form("I", "u4"),
    pl.Enum: _Form("B", "u1"),
}
_ENDED = "0Q"


class Rows:
    """Rows of one table as one flat list of values: ``put(values)`` in the order of the columns, lists packed."""

    __slots__ = ("_flat", "_ladders", "_schema", "put")

    def __init__(self, table: str) -> None:
        self._schema = SCHEMAS[table]
        self._ladders = [name for name, dtype in self._schema.items() if dtype == LEVELS]
        self._flat: list[Any] = []
        self.put = self._flat.extend

    def __len__(self) -> int:
        return len(self._flat) // len(self._schema)

    def take(self) -> pl.DataFrame:
        """Remove the rows and return them."""
        flat, width = self._flat.copy(), len(self._schema)
        self._flat.clear()
        values = {name: flat[at::width] for at, name in enumerate(self._schema)}
        made: dict[str, pl.Series] = {}
        together = [self._ladders] if len(flat) <= _FEW * width else [[name] for name in self._ladders]
        for names in filter(None, together):
            made |= _lists({name: values[name] for name in names})
        return pl.DataFrame(
            [made[name] if name in made else _series(name, values[name], dtype) for name, dtype in self._schema.items()]
        )


class StringTable(dict[str, int]):
    """Strings that come again and again, each with its number."""

    def __init__(self) -> None:
        super().__init__()
        self._texts = pl.Series(dtype=pl.String)

    def __missing__(self, text: str) -> int:
        number = self[text] = len(self)
        return number

    def texts(self) -> pl.Series:
        """Return every string at the place of its number."""
        if len(self._texts) < len(self):
            self._texts = pl.Series(list(self), dtype=pl.String)
        return self._texts


class PackedRows:
    """Rows of one table as bytes: ``put(pack(…))`` of the values in the order of the columns.

    An empty number is NaN, a string its number in ``names``, a word of an enum its number in ``words``, and the venue's
    time is as it was sent.
    """

    __slots__ = ("_dtype", "_offsets", "_schema", "_width", "buffer", "names", "pack", "put", "taken", "words")

    def __init__(self, table: str, names: StringTable) -> None:
        self._schema = SCHEMAS[table]
        given = {name: dtype for name, dtype in self._schema.items() if name not in _DERIVED}
        forms = {name: _FORMS[type(dtype)] for name, dtype in given.items()}
        self._dtype = np.dtype([(name, form.array) for name, form in forms.items()], align=True)
        self._width = self._dtype.itemsize
        self.names = names
        self._offsets = {name: field[1] for name, field in (self._dtype.fields or {}).items()}
        self.buffer = bytearray()
        # How many bytes were taken before those that are here. The place of a row is counted in bytes from the first
        # ever: that of the next is ``taken + len(buffer)``.
        self.taken = 0
        self.pack = Struct("".join(form.letter for form in forms.values()) + _ENDED).pack
        self.put = self.buffer.extend
        self.words = {
            name: {word: number for number, word in enumerate(dtype.categories)}
            for name, dtype in given.items()
            if isinstance(dtype, pl.Enum)
        }

    def __len__(self) -> int:
        return len(self.buffer) // self._width

    def amend(self, place: int, column: str, word: int) -> None:
        """Set a word in a row that is still here."""
        self.buffer[place - self.taken + self._offsets[column]] = word

    def take(self, before: int | None = None) -> pl.DataFrame:
        """Remove the rows whose place is below ``before``, all by default, and return them."""
        end = len(self.buffer) if before is None else before - self.taken
        rows = np.frombuffer(self.buffer[:end], dtype=self._dtype)
        del self.buffer[:end]
        self.taken += end
        columns = {name: np.ascontiguousarray(rows[name]) for name in rows.dtype.names or ()}
        columns["ts_event"] *= _per_unit(columns["ts_event"])
        if len(columns) < len(self._schema):
            bid, ask = columns["best_bid"], columns["best_ask"]
            columns |= {"mid": np.round((bid + ask) / 2, 6), "spread": np.round(ask - bid, 6)}
        return pl.DataFrame([self._column(columns[name], dtype).alias(name) for name, dtype in self._schema.items()])

    def _column(self, values: _Array, dtype: pl.DataType) -> pl.Series:
        # Without expressions, which cost more than they do here.
        match dtype:
            case pl.String():
                return self.names.texts()[values]
            case pl.Enum():
                return pl.Series(dtype.categories, dtype=dtype)[values]
            case pl.Float64():
                return pl.Series(values, nan_to_null=True)
            case _:
                return pl.Series(values).cast(dtype)


def ladder(numbers: list[float]) -> bytes:
    """Pack the numbers of one list; to keep lists of numbers costs the garbage collector ten times as much."""
    return _doubles(len(numbers)).pack(*numbers)


def _per_unit(times: _Array) -> _Array:
    """Return the unit of each time in nanoseconds, recognized by its size as in ``epoch_ns``."""
    edges = np.array([SECONDS_BELOW, 1_000 * SECONDS_BELOW, 1_000_000 * SECONDS_BELOW])
    return np.array([1_000_000_000, 1_000_000, 1_000, 1])[np.searchsorted(edges, times, side="right")]


@lru_cache(maxsize=1024)
def _doubles(amount: int) -> Struct:
    return Struct(f"{amount}d")


def _series(name: str, values: list[Any], dtype: pl.DataType) -> pl.Series:
    if isinstance(dtype, pl.Enum):
        # Words as they are cost twice as much.
        return pl.Series(name, values, dtype=pl.String).cast(dtype)
    return pl.Series(name, values, dtype=dtype)


def _lists(ladders: dict[str, list[bytes]]) -> dict[str, pl.Series]:
    """Make columns of lists from one matrix that is padded with NaN; one by one they cost many times as much."""
    values = [each for column in ladders.values() for each in column]
    lengths = np.fromiter(map(len, values), np.int64, len(values)) // _DOUBLE
    matrix = np.full((len(values), max(int(lengths.max(initial=0)), 1)), np.nan)
    matrix[np.arange(matrix.shape[1]) < lengths[:, None]] = np.frombuffer(b"".join(values))
    height = len(values) // len(ladders)
    begins = {name: at * height for at, name in enumerate(ladders)}
    if (begin := begins.get("bid_prices")) is not None:
        prices = matrix[begin : begin + height]
        np.subtract(0, prices, out=prices)  # they come as a book sorts them, negated
    lists = pl.Series(matrix.ravel(), nan_to_null=True).reshape(matrix.shape).cast(LEVELS)
    if (lengths < matrix.shape[1]).any():
        # An expression costs more than the rest.
        lists = lists.list.drop_nulls()
    return {name: lists.slice(begin, height).alias(name) for name, begin in begins.items()}
