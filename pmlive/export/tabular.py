"""The tables of a recording as CSV files or as a DuckDB database.

Times in CSV are ISO 8601 with nanoseconds, and lists JSON text. In DuckDB times are ``TIMESTAMP_NS`` and UTC: its own
type with a zone has microseconds only, in the versions that all have.

Texts were written by the venue or by strangers, and other programs show them. Characters that control a terminal or end
a line become a space, and those that hide or turn round what is beside them go, in both formats. In CSV a text that a
spreadsheet would take for a formula is preceded by an apostrophe, as its own users do it; numbers and times are columns
of their own kind and stay as they are.
"""

# duckdb is an extra, and its types are not complete.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import polars as pl

from pmlive.errors import StoreError
from pmlive.export.output import Exported, ExportedFile, missing_files, new_file, new_folder, unsealed_bytes
from pmlive.progress import Progress, reported, unwatched
from pmlive.store import read_manifest, scan
from pmlive.store.diagnosis import diagnosed
from pmlive.tables import SCHEMAS, STORED

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

__all__ = ["to_csv", "to_duckdb"]

_TIME_FORMAT = "%Y-%m-%dT%H:%M:%S%.9fZ"
_SQL_TYPES: dict[object, str] = {
    pl.Boolean: "BOOLEAN",
    pl.Datetime: "TIMESTAMP_NS",
    pl.Enum: "VARCHAR",
    pl.Float64: "DOUBLE",
    pl.Int64: "BIGINT",
    pl.String: "VARCHAR",
    pl.UInt32: "UINTEGER",
    pl.UInt64: "UBIGINT",
}
_CONTROLS = r"[\p{Cc}\p{Zl}\p{Zp}]"
_HIDDEN = r"\p{Cf}"
# Spreadsheets take the wide forms for the others, and skip spaces before them.
_FORMULA = r"^\s*[=+\-@|%\x{FF1D}\x{FF0B}\x{FF0D}\x{FF20}]"


def to_csv(folder: str | Path, out: str | Path, *, progress: Progress = unwatched) -> Exported:
    """Write one CSV file per table into a new folder, also of tables without rows, as a stream.

    An empty field is null; prices and sizes are written so that reading them gives the same numbers. Texts that begin
    like a formula are preceded by an apostrophe, and what controls a terminal is left out.

    Args:
        folder: the recording.
        out: the folder to make.
        progress: called after each table with the number of rows that are written, and of all.

    Raises:
        StoreError: the folder is not a recording, or ``out`` has something in it or cannot be written.
    """
    source, target = Path(folder), Path(out)
    missing = missing_files(source)
    tables = _listed_rows(source, missing)
    with new_folder(target) as unfinished:
        for table in reported(tables.items(), progress):
            with diagnosed(source, (table,)):
                scan(source, table).select(_csv_columns(table)).sink_csv(unfinished / f"{table}.csv")
        sizes = {table: (unfinished / f"{table}.csv").stat().st_size for table in tables}
    return Exported(
        out=str(target),
        format="csv",
        files=[
            ExportedFile(path=str(target / f"{table}.csv"), rows=rows, bytes=sizes[table])
            for table, rows in tables.items()
        ],
        tables=tables,
        unsealed=unsealed_bytes(source),
        missing=missing,
    )


def to_duckdb(folder: str | Path, out: str | Path, *, progress: Progress = unwatched) -> Exported:
    """Write every table of a recording, also those without rows, into a new DuckDB file.

    Args:
        folder: the recording.
        out: the file to make.
        progress: called after each table with the number of rows that are written, and of all.

    Raises:
        StoreError: duckdb is not installed, the folder is not a recording, or ``out`` exists or cannot be written.
    """
    duckdb = _duckdb()
    source, target = Path(folder), Path(out)
    missing = missing_files(source)
    listed = _listed_rows(source, missing)
    with new_file(target) as unfinished:
        try:
            with duckdb.connect(str(unfinished)) as database:
                tables = {
                    table: _fill(database, table, source, unfinished.parent)
                    for table in reported(listed.items(), progress)
                }
        except duckdb.Error as error:
            raise StoreError(f"{str(target)!r} could not be written: {error}") from error
        size = unfinished.stat().st_size
    return Exported(
        out=str(target),
        format="duckdb",
        files=[ExportedFile(path=str(target), rows=sum(tables.values()), bytes=size)],
        tables=tables,
        unsealed=unsealed_bytes(source),
        missing=missing,
    )


def _listed_rows(source: Path, missing: list[str]) -> dict[str, int]:
    manifest = read_manifest(source)
    return {table: sum(file.rows for file in manifest.of(table) if file.path not in missing) for table in STORED}


# --- CSV ---


def _csv_columns(table: str) -> list[pl.Expr]:
    return [_csv_column(name, dtype) for name, dtype in SCHEMAS[table].items()]


def _csv_column(name: str, dtype: pl.DataType) -> pl.Expr:
    column = pl.col(name)
    if isinstance(dtype, pl.Datetime):
        return column.dt.to_string(_TIME_FORMAT)
    if isinstance(dtype, pl.List):
        # Only a struct can be written as JSON: what it begins and ends with is cut off again.
        opening = f'{{"{name}":'
        text = pl.struct(name).struct.json_encode().str.slice(len(opening)).str.strip_suffix("}")
        return pl.when(column.is_not_null()).then(_visible(text)).alias(name)
    return _quoted(column).alias(name) if isinstance(dtype, pl.String) else column


# --- DuckDB ---


def _duckdb() -> ModuleType:
    try:
        import duckdb
    except ModuleNotFoundError as error:
        raise StoreError("a DuckDB file needs duckdb, which is not installed; run: pip install duckdb") from error
    return duckdb


def _fill(database: "DuckDBPyConnection", table: str, source: Path, folder: Path) -> int:
    schema = SCHEMAS[table]
    columns = ", ".join(f'"{name}" {_sql_type(dtype)}' for name, dtype in schema.items())
    database.execute(f'CREATE TABLE "{table}" ({columns})')
    # One table after the other goes through a file, so that none has to fit into memory.
    temporary = folder / f"{table}.parquet"
    times = [name for name, dtype in schema.items() if isinstance(dtype, pl.Datetime)]
    enums = [name for name, dtype in schema.items() if isinstance(dtype, pl.Enum)]
    texts = {name: dtype for name, dtype in schema.items() if _has_text(dtype)}
    converted = [
        pl.col(times).dt.replace_time_zone(None),
        pl.col(enums).cast(pl.String),
        *(_visible_within(pl.col(name), dtype).alias(name) for name, dtype in texts.items()),
    ]
    with diagnosed(source, (table,)):
        scan(source, table).with_columns(converted).sink_parquet(temporary, compression="uncompressed")
    database.execute(f'INSERT INTO "{table}" SELECT * FROM read_parquet(?)', [str(temporary)])  # noqa: S608  # our names
    temporary.unlink()
    counted = database.execute(f'SELECT count(*) FROM "{table}"').fetchone()  # noqa: S608  # our names
    return 0 if counted is None else int(counted[0])


def _sql_type(dtype: object) -> str:
    if isinstance(dtype, pl.List):
        return f"{_sql_type(dtype.inner)}[]"
    if isinstance(dtype, pl.Struct):
        fields = (f'"{field.name}" {_sql_type(field.dtype)}' for field in dtype.fields)
        return f"STRUCT({', '.join(fields)})"
    return _SQL_TYPES[dtype if isinstance(dtype, type) else type(dtype)]


# --- texts ---


def _visible(text: pl.Expr) -> pl.Expr:
    """Keep the characters that can be seen, in one line."""
    return text.str.replace_all(_CONTROLS, " ").str.replace_all(_HIDDEN, "")


def _has_text(dtype: object) -> bool:
    if isinstance(dtype, pl.List):
        return _has_text(dtype.inner)
    if isinstance(dtype, pl.Struct):
        return any(_has_text(field.dtype) for field in dtype.fields)
    return dtype == pl.String


def _visible_within(values: pl.Expr, dtype: object) -> pl.Expr:
    """Do as ``_visible`` does in every text of a value, at any depth."""
    if isinstance(dtype, pl.List):
        return values.list.eval(_visible_within(pl.element(), dtype.inner)) if _has_text(dtype) else values
    if isinstance(dtype, pl.Struct):
        texts = [field for field in dtype.fields if _has_text(field.dtype)]
        return values.struct.with_fields(_visible_within(pl.field(each.name), each.dtype) for each in texts)
    return _visible(values)


def _quoted(text: pl.Expr) -> pl.Expr:
    """Keep the characters that can be seen, and let no spreadsheet calculate them."""
    shown = _visible(text)
    return pl.when(shown.str.contains(_FORMULA)).then(shown.str.replace("^", "'")).otherwise(shown)
