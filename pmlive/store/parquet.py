"""Typed tables as parquet: zstd, delta-coded times, page checksums, plain strings for every reader.

pyarrow writes, because polars' own writer cannot be told to delta-code ``seq`` and the times, which costs half as much
again. Its schema is not embedded: a reader then sees plain strings, lists and UTC nanoseconds, whatever it is.
"""

# pyarrow comes without types.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportUnknownParameterType=false
from collections.abc import Sequence

import msgspec
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from pmlive.errors import StoreError
from pmlive.store.manifest import SCHEMA
from pmlive.tables import SCHEMAS

__all__ = ["Encoded", "encode", "join", "rows_of"]

_DELTA = {"seq": "DELTA_BINARY_PACKED", "ts_event": "DELTA_BINARY_PACKED", "ts_recv": "DELTA_BINARY_PACKED"}
_ROW_GROUP = 131_072
_LEVEL = 3


class Encoded(msgspec.Struct, frozen=True, kw_only=True):
    """A parquet file in memory, and what is known of its rows."""

    data: bytes
    rows: int
    first_seq: int
    last_seq: int
    first_time: int
    last_time: int


def join(table: str, frames: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """Join the frames of a table in order of arrival, with exactly its columns and types."""
    schema = SCHEMAS[table]
    whole = pl.concat([frame.select(schema.names()) for frame in frames]).cast(pl.Schema(schema))
    return whole if whole["seq"].is_sorted() else whole.sort("seq", maintain_order=True)


def encode(table: str, frame: pl.DataFrame) -> Encoded:
    """Write rows, at least one, as a parquet file in memory."""
    seq, time = frame["seq"], frame["ts_recv"].dt.epoch("ns")
    sink = pa.BufferOutputStream()
    _write(table, _arrow(frame), sink)
    return Encoded(
        data=sink.getvalue().to_pybytes(),
        rows=frame.height,
        first_seq=_int(seq.min()),
        last_seq=_int(seq.max()),
        first_time=_int(time.min()),
        last_time=_int(time.max()),
    )


def rows_of(data: bytes) -> int:
    """Read a parquet file whole, checking its pages against their checksums; return the number of rows.

    Raises:
        StoreError: it is damaged.
    """
    try:
        file = pq.ParquetFile(pa.BufferReader(data), page_checksum_verification=True)
        return sum(batch.num_rows for batch in file.iter_batches(batch_size=_ROW_GROUP))
    except (OSError, pa.ArrowException) as error:
        raise StoreError(f"not a whole parquet file: {error}") from error


def _arrow(frame: pl.DataFrame) -> pa.Table:
    enums = [name for name, dtype in frame.schema.items() if isinstance(dtype, pl.Enum)]
    return frame.with_columns(pl.col(enums).cast(pl.String)).to_arrow(compat_level=pl.CompatLevel.oldest())


def _write(table: str, arrow: pa.Table, sink: pa.BufferOutputStream) -> None:
    leaves = [leaf for field in arrow.schema for leaf in _leaves(field.name, field.type)]
    with pq.ParquetWriter(
        sink,
        arrow.schema,
        version="2.6",
        compression="zstd",
        compression_level=_LEVEL,
        use_dictionary=[leaf for leaf in leaves if leaf not in _DELTA],  # pyright: ignore[reportArgumentType] - a list too
        column_encoding={leaf: _DELTA[leaf] for leaf in leaves if leaf in _DELTA},
        write_page_checksum=True,
        store_schema=False,
    ) as writer:
        writer.add_key_value_metadata({"pmlive.schema": str(SCHEMA), "pmlive.table": table})
        writer.write_table(arrow, row_group_size=_ROW_GROUP)


def _leaves(path: str, dtype: pa.DataType) -> list[str]:
    if pa.types.is_struct(dtype):
        return [leaf for field in dtype for leaf in _leaves(f"{path}.{field.name}", field.type)]
    if pa.types.is_list(dtype) or pa.types.is_large_list(dtype):
        return _leaves(f"{path}.list.element", dtype.value_type)
    return [path]


def _int(value: object) -> int:
    if not isinstance(value, int):
        raise StoreError(f"a row has {value!r} where a number or a time is needed; every row needs seq and ts_recv")
    return value
