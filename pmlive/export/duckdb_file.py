"""A recording as a DuckDB database: one table per table, with its types.

Times are ``TIMESTAMP_NS`` and UTC: DuckDB's own type with a zone has microseconds only, in the versions that all have.
"""

# duckdb is an extra, and its types are not complete.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import polars as pl

from pmlive.errors import StoreError
from pmlive.export.aside import new_file
from pmlive.export.report import Exported, ExportedFile, missing_files, unsealed_bytes
from pmlive.export.texts import visible
from pmlive.store import scan
from pmlive.tables import SCHEMAS, STORED

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

__all__ = ["to_duckdb"]

_TYPES: dict[object, str] = {
    pl.Boolean: "BOOLEAN",
    pl.Datetime: "TIMESTAMP_NS",
    pl.Enum: "VARCHAR",
    pl.Float64: "DOUBLE",
    pl.Int64: "BIGINT",
    pl.String: "VARCHAR",
    pl.UInt32: "UINTEGER",
    pl.UInt64: "UBIGINT",
}


def to_duckdb(folder: str | Path, out: str | Path) -> Exported:
    """Write every table of a recording, also those without rows, into a new DuckDB file.

    Raises:
        StoreError: duckdb is not installed, the folder is no recording, or ``out`` exists or cannot be written.
    """
    duckdb = _duckdb()
    source, target = Path(folder), Path(out)
    missing = missing_files(source)
    with new_file(target) as aside:
        try:
            with duckdb.connect(str(aside)) as database:
                tables = {table: _fill(database, table, source, aside.parent) for table in STORED}
        except duckdb.Error as error:
            raise StoreError(f"{str(target)!r} could not be made: {error}") from error
        size = aside.stat().st_size
    return Exported(
        out=str(target),
        format="duckdb",
        files=[ExportedFile(path=str(target), rows=sum(tables.values()), bytes=size)],
        tables=tables,
        unsealed=unsealed_bytes(source),
        missing=missing,
    )


def _duckdb() -> ModuleType:
    try:
        import duckdb
    except ModuleNotFoundError as error:
        raise StoreError("a DuckDB file needs duckdb, which is not installed; run: pip install duckdb") from error
    return duckdb


def _fill(database: "DuckDBPyConnection", table: str, source: Path, aside: Path) -> int:
    schema = SCHEMAS[table]
    columns = ", ".join(f'"{name}" {_type(dtype)}' for name, dtype in schema.items())
    database.execute(f'CREATE TABLE "{table}" ({columns})')
    # One table after the other goes through a file, so that none has to fit into memory.
    passing = aside / f"{table}.parquet"
    times = [name for name, dtype in schema.items() if isinstance(dtype, pl.Datetime)]
    enums = [name for name, dtype in schema.items() if isinstance(dtype, pl.Enum)]
    texts = [name for name, dtype in schema.items() if isinstance(dtype, pl.String)]
    lists = [name for name, dtype in schema.items() if dtype == pl.List(pl.String)]
    plain = [
        pl.col(times).dt.replace_time_zone(None),
        pl.col(enums).cast(pl.String),
        *(visible(pl.col(name)).alias(name) for name in texts),
        *(pl.col(name).list.eval(visible(pl.element())).alias(name) for name in lists),
    ]
    scan(source, table).with_columns(plain).sink_parquet(passing, compression="uncompressed")
    database.execute(f'INSERT INTO "{table}" SELECT * FROM read_parquet(?)', [str(passing)])  # noqa: S608  # our names
    passing.unlink()
    counted = database.execute(f'SELECT count(*) FROM "{table}"').fetchone()  # noqa: S608  # our names
    return 0 if counted is None else int(counted[0])


def _type(dtype: object) -> str:
    if isinstance(dtype, pl.List):
        return f"{_type(dtype.inner)}[]"
    if isinstance(dtype, pl.Struct):
        fields = (f'"{field.name}" {_type(field.dtype)}' for field in dtype.fields)
        return f"STRUCT({', '.join(fields)})"
    return _TYPES[dtype if isinstance(dtype, type) else type(dtype)]
