"""The output of exports: new files and folders, whole or not at all, their report, and tables as files.

Nothing that exists is overwritten.
"""

# duckdb is an extra, its types are not complete, and pyarrow has none.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownParameterType=false

import os
import secrets
import stat
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Literal, TypeAlias

import msgspec
import polars as pl

from pmlive.errors import StoreError
from pmlive.progress import Progress, reported, unwatched
from pmlive.recording.batches import batches
from pmlive.store import read_manifest, recordings
from pmlive.store.leftovers import new_locked_folder, remove_aside, remove_leftovers
from pmlive.store.reader import diagnosed, is_missing
from pmlive.tables import SCHEMAS, STORED

if TYPE_CHECKING:
    import pyarrow as pa
    from duckdb import DuckDBPyConnection

__all__ = [
    "Exported",
    "ExportedFile",
    "ExportedToken",
    "Format",
    "SkippedToken",
    "missing_files",
    "new_file",
    "new_folder",
    "sealed_rows",
    "to_csv",
    "to_duckdb",
    "unsealed_bytes",
]

Format: TypeAlias = Literal["hftbacktest", "nautilus", "csv", "duckdb"]

# A recording may hold one's own orders, so nobody else reads what comes of it, whatever the umask.
_FILE, _FOLDER = 0o600, 0o700


class ExportedFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file that was written."""

    path: str
    rows: int
    bytes: int


class ExportedToken(msgspec.Struct, frozen=True, kw_only=True):
    """The events of one token; times are nanoseconds since 1970, by the recorder's clock after the shift.

    ``breaks`` counts the times that the book was cleared because it could not be trusted, ``split`` the events that
    are there twice because they came late. ``tick_size`` is the finest that was stated, None where none was.
    """

    token_id: str
    path: str
    events: int
    breaks: int
    split: int
    tick_size: float | None
    first_time: int
    last_time: int


class SkippedToken(msgspec.Struct, frozen=True):
    """A token that was left out, and why."""

    token_id: str
    reason: str


class Exported(msgspec.Struct, frozen=True, kw_only=True):
    """What was written.

    ``tables`` are rows by table, ``tokens`` the arrays of hftbacktest or the instruments of nautilus_trader. ``shift``
    is by how many nanoseconds receive times were moved so that nothing is received before it happened. Not in it are
    ``unsealed`` bytes of log, which the tables do not have yet, and the rows of the ``missing`` files.
    """

    out: str
    format: Format
    files: list[ExportedFile]
    tables: dict[str, int] = {}
    tokens: list[ExportedToken] = []
    skipped: list[SkippedToken] = []
    shift: int = 0
    unsealed: int = 0
    missing: list[str] = []

    @property
    def rows(self) -> int:
        """Return the rows of all files."""
        return sum(file.rows for file in self.files)

    @property
    def bytes(self) -> int:
        """Return the bytes of all files."""
        return sum(file.bytes for file in self.files)

    @property
    def whole(self) -> bool:
        """Whether everything that was recorded is in it."""
        return not (self.skipped or self.unsealed or self.missing)


def unsealed_bytes(folder: Path) -> int:
    """Count the bytes of log that the tables of a recording do not have yet."""
    return sum(one.unsealed for one in recordings(folder) if one.path == str(folder))


def missing_files(folder: Path) -> list[str]:
    """List the files of tables that the manifest names and the folder does not have.

    Raises:
        StoreError: the folder is not a recording.
    """
    files = (file for file in read_manifest(folder).files if file.table in STORED)
    return [file.path for file in files if is_missing(folder, file)]


def sealed_rows(folder: Path, table: str, columns: Sequence[str] | None = None) -> Iterator[pl.DataFrame]:
    """Yield the sealed rows of a table, or columns of them, in order of arrival and a batch at a time.

    Raises:
        StoreError: the folder is not a recording, or a file cannot be read.
    """
    return batches(folder, table, read_manifest(folder).of(table), columns)


@contextmanager
def new_folder(out: Path) -> Generator[Path]:
    """Yield a folder to fill, which gets the name ``out`` at the end, or is removed when something fails.

    Raises:
        StoreError: there is something already, or it cannot be written.
    """
    place = _tidied(out)
    _refuse(out, is_free=not place.exists() or (place.is_dir() and not any(place.iterdir())))
    with _temporary_folder(place) as temporary:
        folder = temporary / place.name
        folder.mkdir(mode=_FOLDER)
        yield folder
        _sync(folder)
        if place.exists():
            folder.chmod(stat.S_IMODE(place.stat().st_mode))
            place.rmdir()
        folder.rename(place)


@contextmanager
def new_file(out: Path) -> Generator[Path]:
    """Yield a path to write to, in a folder of its own; the file gets the name ``out`` at the end, or is removed.

    What else is written into that folder is removed in any case.

    Raises:
        StoreError: there is something already, or it cannot be written.
    """
    place = _tidied(out)
    _refuse(out, is_free=_is_free(place))
    with _temporary_folder(place) as temporary:
        folder = temporary / place.name
        folder.mkdir(mode=_FOLDER)
        yield folder / place.name
        _sync(folder)
        _refuse(out, is_free=_is_free(place))
        (folder / place.name).replace(place)


def _tidied(out: Path) -> Path:
    """Return a place, after removing what killed processes left beside it, even if nothing can be made there now."""
    place = out.resolve()
    remove_leftovers(place)
    return place


def _is_free(place: Path) -> bool:
    return not place.exists() or (place.is_file() and place.stat().st_size == 0)


def _refuse(out: Path, *, is_free: bool) -> None:
    if not is_free:
        raise StoreError(f"{str(out)!r} exists and is not empty; choose another place")


@contextmanager
def _temporary_folder(place: Path) -> Generator[Path]:
    parents = [path for path in place.parents if not path.exists()]
    temporary = place.with_name(f".{place.name}.{secrets.token_hex(4)}.tmp")
    try:
        for path in reversed(parents):
            path.mkdir(mode=_FOLDER, exist_ok=True)
        with new_locked_folder(temporary, _FOLDER):
            yield temporary
            remove_aside(temporary, place.name)
    except BaseException as error:
        with suppress(OSError):
            remove_aside(temporary, place.name)
        for path in parents:
            with suppress(OSError):
                path.rmdir()
        if isinstance(error, OSError | pl.exceptions.PolarsError):
            raise StoreError(f"{str(place)!r} could not be written: {error}") from error
        raise


def _sync(folder: Path) -> None:
    """Wait until what was written is on the disk, so that a name is never there before its content."""
    for path in folder.rglob("*"):
        if path.is_file():
            path.chmod(_FILE)
            descriptor = os.open(path, os.O_RDWR)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)


# --- tables as files ---
# The tables of a recording as CSV files or as a DuckDB database.
#
# Times in CSV are ISO 8601 with nanoseconds, and lists JSON text. In DuckDB times are ``TIMESTAMP_NS`` and UTC: its own
# type with a zone has microseconds only, in the versions that all have.
#
# Texts were written by the venue or by strangers, and other programs show them. Characters that control a terminal or
# end a line become a space, and those that hide or turn round what is beside them go, in both formats. In CSV a text
# that a spreadsheet would take for a formula is preceded by an apostrophe, as its own users do it; numbers and times
# are columns of their own kind and stay as they are.

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
# One thread keeps the fewest rows in flight, and it is as fast as rows are read.
_DUCKDB: dict[str, str | int] = {"memory_limit": "128MB", "threads": 1}
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
                _write_csv(source, table, unfinished / f"{table}.csv")
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
            with duckdb.connect(str(unfinished), config=dict(_DUCKDB)) as database:
                tables = {table: _fill(database, table, source) for table in reported(listed.items(), progress)}
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


def _write_csv(source: Path, table: str, path: Path) -> None:
    with path.open("wb") as file:
        _csv_rows(table, SCHEMAS[table].to_frame()).write_csv(file)
        for rows in sealed_rows(source, table):
            _csv_rows(table, rows).write_csv(file, include_header=False)


def _csv_rows(table: str, rows: pl.DataFrame) -> pl.DataFrame:
    texts = [name for name, dtype in SCHEMAS[table].items() if isinstance(dtype, pl.String)]
    return rows.with_columns(_each_once(rows[name], _quoted) for name in texts).select(_csv_columns(table))


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
    return column


# --- DuckDB ---


def _duckdb() -> ModuleType:
    try:
        import duckdb
    except ModuleNotFoundError as error:
        raise StoreError("a DuckDB file needs duckdb, which is not installed; run: pip install duckdb") from error
    return duckdb


def _fill(database: "DuckDBPyConnection", table: str, source: Path) -> int:
    columns = ", ".join(f'"{name}" {_sql_type(dtype)}' for name, dtype in SCHEMAS[table].items())
    database.execute(f'CREATE TABLE "{table}" ({columns})')
    stream = _Stream(source, table)
    database.register("stream", stream.reader)
    try:
        # One statement for all rows: only then they go to the disk on the way.
        database.execute(f'INSERT INTO "{table}" SELECT * FROM stream')  # noqa: S608  # our names
    except Exception:
        if stream.error is not None:
            raise stream.error from None
        raise
    finally:
        database.unregister("stream")
    counted = database.execute(f'SELECT count(*) FROM "{table}"').fetchone()  # noqa: S608  # our names
    return 0 if counted is None else int(counted[0])


class _Stream:
    """The rows of a table as a database takes them, a batch after the other."""

    def __init__(self, source: Path, table: str) -> None:
        self._source = source
        self._table = table
        # What went wrong while rows were read: the database tells only that something did.
        self.error: Exception | None = None
        schema = _sql_rows(table, SCHEMAS[table].to_frame()).schema
        self.reader = import_module("pyarrow").RecordBatchReader.from_batches(schema, self._batches())

    def _batches(self) -> "Iterator[pa.RecordBatch]":
        try:
            with diagnosed(self._source, (self._table,)):
                for rows in sealed_rows(self._source, self._table):
                    yield from _sql_rows(self._table, rows).to_batches()
        except Exception as error:
            self.error = error
            raise


def _sql_rows(table: str, rows: pl.DataFrame) -> "pa.Table":
    schema = SCHEMAS[table]
    times = [name for name, dtype in schema.items() if isinstance(dtype, pl.Datetime)]
    enums = [name for name, dtype in schema.items() if isinstance(dtype, pl.Enum)]
    texts = [_each_once(rows[name], _visible) for name, dtype in schema.items() if isinstance(dtype, pl.String)]
    nested = {name: dtype for name, dtype in schema.items() if isinstance(dtype, pl.List) and _has_text(dtype)}
    return rows.with_columns(
        pl.col(times).dt.replace_time_zone(None),
        pl.col(enums).cast(pl.String),
        *texts,
        *(_visible_within(pl.col(name), dtype).alias(name) for name, dtype in nested.items()),
    ).to_arrow()


def _sql_type(dtype: object) -> str:
    if isinstance(dtype, pl.List):
        return f"{_sql_type(dtype.inner)}[]"
    if isinstance(dtype, pl.Struct):
        fields = (f'"{field.name}" {_sql_type(field.dtype)}' for field in dtype.fields)
        return f"STRUCT({', '.join(fields)})"
    return _SQL_TYPES[dtype if isinstance(dtype, type) else type(dtype)]


# --- texts ---


def _each_once(texts: pl.Series, change: Callable[[pl.Expr], pl.Expr]) -> pl.Series:
    """Change each text once, however often it is there: most tokens and markets are in many rows."""
    known = texts.unique()
    changed = known.to_frame().select(change(pl.col(texts.name)).alias(texts.name)).to_series()
    return texts if changed.equals(known) else texts.replace(known, changed)


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
