"""Tables with frames in a column, CSV and Parquet: each row becomes an envelope, as other recorders write them."""

import re
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import msgspec
import polars as pl

from pmlive.captures.naming import FRAME_KEYS, Naming, column_of_frames
from pmlive.captures.packed import Broken
from pmlive.captures.splitting import LONGEST, Piece, Torn
from pmlive.errors import StoreError

__all__ = ["parquet_rows", "rows_of"]

_DELIMITERS = (b",", b"\t", b";", b"|")
_BATCH = 2_000
_MOST_NAMED = 24


class _Table(msgspec.Struct):
    columns: tuple[str, ...]
    frame: str
    delimiter: bytes
    cell: re.Pattern[bytes]


def rows_of(lines: Iterator[Piece], naming: Naming) -> Iterator[Piece]:
    """Give the rows of a CSV file as envelopes, or its lines if no header names a column of frames."""
    first = next(lines, None)
    table = _table(first, naming) if isinstance(first, bytes) else None
    if table is None:
        return lines if first is None else chain([first], lines)
    records = (_envelope(each, table) if isinstance(each, bytes) else each for each in _records(lines))
    # A blank for the header, so that the numbers of lines stay right.
    return chain([b""], records)


def _table(header: bytes, naming: Naming) -> _Table | None:
    if header.lstrip()[:1] in (b"{", b"[", b"#"):
        return None
    for delimiter in _DELIMITERS:
        cell = _cell(delimiter)
        columns = tuple(_text(text).strip() for text, _ in _cells(header, cell))
        frame = column_of_frames(columns, naming)
        if frame is not None and (len(columns) > 1 or naming.frame):
            return _Table(columns, frame, delimiter, cell)
    return None


def _cell(delimiter: bytes) -> re.Pattern[bytes]:
    mark = re.escape(delimiter)
    return re.compile(rb'(?:"((?:[^"]++|"")*+)"|([^' + mark + rb"]*))(" + mark + rb"|$)")


def _cells(record: bytes, cell: re.Pattern[bytes]) -> Iterator[tuple[bytes, int]]:
    """Yield each cell and where it begins."""
    start = 0
    record = record.rstrip(b"\r")
    while (found := cell.match(record, start)) is not None:
        quoted, plain, mark = found.groups()
        yield plain if quoted is None else quoted.replace(b'""', b'"'), start
        start = found.end()
        if not mark:
            return


def _records(lines: Iterator[Piece]) -> Iterator[Piece]:
    """Join lines up to the end of a cell in quotes; a blank stands for each line but the last."""
    parts: list[bytes] = []
    size = quotes = 0
    for line in lines:
        if isinstance(line, bytes):
            parts.append(line)
            size, quotes = size + len(line) + 1, quotes + line.count(b'"')
            if quotes % 2 and size <= LONGEST:
                yield b""
                continue
            yield b"\n".join(parts) if size <= LONGEST else Broken(f"a row is longer than {LONGEST:,} bytes")
        else:
            yield line
        parts, size, quotes = [], 0, 0
    if parts:
        yield Torn(b"\n".join(parts))


def _envelope(record: bytes, table: _Table) -> bytes:
    if not record.strip():
        return b""
    cells = list(_cells(record, table.cell))
    row = {name: text for name, (text, _) in zip(table.columns, cells, strict=False)}
    if len(cells) > len(table.columns) and table.columns[-1] == table.frame:
        # Written without quotes: the frame has the delimiter in it.
        row[table.frame] = record[cells[len(table.columns) - 1][1] :].strip()
    return msgspec.json.encode({name: _text(text) for name, text in row.items() if text})


def _text(text: bytes) -> str:
    return text.decode("utf-8", "backslashreplace")


def parquet_rows(path: Path, naming: Naming) -> Iterator[bytes]:
    """Give the rows of a Parquet file as envelopes.

    Raises:
        StoreError: it is damaged, or has no column of frames.
    """
    try:
        rows = pl.scan_parquet(path, glob=False, hive_partitioning=False)
        schema = rows.collect_schema()
        frame = column_of_frames(tuple(schema), naming)
        if frame is None:
            raise StoreError(_no_column(path, list(schema), naming))
        wanted = rows.select(_written(name, kind) for name, kind in schema.items() if name == frame or _is_flat(kind))
        for batch in wanted.collect_batches(chunk_size=_BATCH, maintain_order=True):
            yield from map(_row, batch.iter_rows(named=True))
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        raise StoreError(f"{str(path)!r} cannot be read as Parquet: {str(error).splitlines()[0][:200]}") from error


def _no_column(path: Path, columns: list[str], naming: Naming) -> str:
    seen = ", ".join(map(repr, columns[:_MOST_NAMED])) + (" …" if len(columns) > _MOST_NAMED else "")
    wanted = f"no column {naming.frame!r}" if naming.frame else "no column of frames"
    return f"{str(path)!r} has {wanted}; it has {seen}; known are {', '.join(FRAME_KEYS)}; name another with --frame"


def _is_flat(kind: pl.DataType) -> bool:
    return not kind.is_nested()


def _written(name: str, kind: pl.DataType) -> pl.Expr:
    column = pl.col(name)
    if isinstance(kind, pl.Datetime):
        in_utc = column if kind.time_zone is None else column.dt.convert_time_zone("UTC").dt.replace_time_zone(None)
        return in_utc.cast(pl.Datetime("ns")).dt.strftime("%Y-%m-%dT%H:%M:%S%.9fZ")
    if isinstance(kind, pl.Struct):
        return column.struct.json_encode()
    return column if isinstance(kind, pl.Binary) or kind.is_numeric() else column.cast(pl.String, strict=False)


def _row(row: dict[str, object]) -> bytes:
    return msgspec.json.encode(
        {name: _text(value) if isinstance(value, bytes) else value for name, value in row.items() if value is not None}
    )
