"""A recording as CSV files: one per table, times as ISO 8601 with nanoseconds, lists as JSON text.

Texts are those of ``pmlive.export.texts``: one line of visible characters, with an apostrophe before what a spreadsheet
would calculate.
"""

from pathlib import Path

import polars as pl

from pmlive.export.aside import new_folder
from pmlive.export.report import Exported, ExportedFile, missing_files, unsealed_bytes
from pmlive.export.texts import quoted, visible
from pmlive.store import read_manifest, scan
from pmlive.tables import SCHEMAS, STORED

__all__ = ["to_csv"]

_TIME_FORMAT = "%Y-%m-%dT%H:%M:%S%.9fZ"


def to_csv(folder: str | Path, out: str | Path) -> Exported:
    """Write one CSV file per table into a new folder, also of tables without rows, as a stream.

    An empty field is null; prices and sizes are written so that reading them gives the same numbers. Texts that begin
    like a formula are preceded by an apostrophe, and what controls a terminal is left out.

    Raises:
        StoreError: the folder is no recording, or ``out`` has something in it or cannot be written.
    """
    source, target = Path(folder), Path(out)
    missing, manifest = missing_files(source), read_manifest(source)
    tables = {table: sum(file.rows for file in manifest.of(table) if file.path not in missing) for table in STORED}
    with new_folder(target) as aside:
        for table in tables:
            scan(source, table).select(_columns(table)).sink_csv(aside / f"{table}.csv")
        sizes = {table: (aside / f"{table}.csv").stat().st_size for table in tables}
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


def _columns(table: str) -> list[pl.Expr]:
    return [_as_text(name, dtype) for name, dtype in SCHEMAS[table].items()]


def _as_text(name: str, dtype: pl.DataType) -> pl.Expr:
    column = pl.col(name)
    if isinstance(dtype, pl.Datetime):
        return column.dt.to_string(_TIME_FORMAT)
    if isinstance(dtype, pl.List):
        # Only a struct can be written as JSON: what it begins and ends with is cut off again.
        opening = f'{{"{name}":'
        text = pl.struct(name).struct.json_encode().str.slice(len(opening)).str.strip_suffix("}")
        return pl.when(column.is_not_null()).then(visible(text)).alias(name)
    return quoted(column).alias(name) if isinstance(dtype, pl.String) else column
