"""Rows of sealed tables a batch at a time, so that reading a day takes no more memory than reading an hour.

polars decodes several groups of rows at once, whole, and a merged file has as many as its day needs. pyarrow decodes a
batch at a time, and leaves texts that repeat as numbers of a dictionary.
"""

# pyarrow comes without types.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportUnknownParameterType=false
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import polars as pl

from pmlive.errors import StoreError
from pmlive.store import SealedFile, disk
from pmlive.store.reader import advice, table_paths
from pmlive.tables import SCHEMAS

if TYPE_CHECKING:
    from pyarrow import RecordBatch
    from pyarrow.parquet import FileMetaData

__all__ = ["RowGroup", "batches", "most_rows", "row_groups"]

_ROWS = 65_536
# Of tables with ladders, or with messages as they came.
_WIDE_ROWS = 4_096
# Texts of few kinds, beside those of enumerations.
_REPEATED = ("token_id", "market")


class RowGroup(NamedTuple):
    """A group of rows of a file, and the first receive time in it."""

    first_time: int
    rows: int


def most_rows(table: str) -> int:
    """Return the largest number of rows in a batch of a table."""
    schema = SCHEMAS[table]
    is_wide = "payload" in schema or any(isinstance(dtype, pl.List) for dtype in schema.values())
    return _WIDE_ROWS if is_wide else _ROWS


def batches(
    folder: Path, table: str, files: Sequence[SealedFile], columns: Sequence[str] | None = None
) -> Iterator[pl.DataFrame]:
    """Yield the rows of sealed files in order, at most ``most_rows`` at a time; files that are missing are logged.

    Args:
        folder: the recording.
        table: the table that the files are of.
        files: its sealed files, or some of them.
        columns: the columns to read, by default all.

    Raises:
        StoreError: a file cannot be read, or is not the one that is listed.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    names = list(SCHEMAS[table] if columns is None else columns)
    texts = [name for name in names if name in _REPEATED or isinstance(SCHEMAS[table][name], pl.Enum)]
    for path in table_paths(folder, files):
        try:
            with disk.open_to_read(path, folder) as file:
                reader = pq.ParquetFile(file, read_dictionary=texts)
                for batch in reader.iter_batches(batch_size=most_rows(table), columns=names, use_threads=False):
                    yield _frame(table, batch)
        except (OSError, pa.ArrowException) as error:
            raise StoreError(f"{str(path)!r} cannot be read: {_first_line(error)}; {advice(folder)}") from error


def row_groups(folder: Path, files: Sequence[SealedFile]) -> Iterator[RowGroup]:
    """Yield the groups of rows of sealed files, as their footers state them, in order.

    Raises:
        StoreError: a file cannot be read, or is not the one that is listed.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    for file in files:
        for path in table_paths(folder, [file]):
            try:
                with disk.open_to_read(path, folder) as opened:
                    yield from _stated_groups(pq.read_metadata(opened), file)
            except (OSError, pa.ArrowException) as error:
                raise StoreError(f"{str(path)!r} cannot be read: {_first_line(error)}; {advice(folder)}") from error


def _frame(table: str, batch: "RecordBatch") -> pl.DataFrame:
    columns: list[pl.Series] = []
    for name, values in zip(batch.schema.names, batch.columns, strict=True):
        dtype = SCHEMAS[table][name]
        if hasattr(values, "dictionary"):
            columns.append(pl.Series(name, values.dictionary).cast(dtype).gather(pl.Series(values.indices)))
        else:
            columns.append(pl.Series(name, values).cast(dtype))
    return pl.DataFrame(columns)


def _stated_groups(footer: "FileMetaData", file: SealedFile) -> Iterator[RowGroup]:
    names = [footer.schema.column(number).path for number in range(len(footer.schema))]
    place = names.index("ts_recv")
    for number in range(footer.num_row_groups):
        group = footer.row_group(number)
        stated = group.column(place).statistics
        first_time = file.first_time if stated is None or not stated.has_min_max else stated.min_raw
        yield RowGroup(first_time, group.num_rows)


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).splitlines()), "")[:200] or type(error).__name__
