"""The files of captures: lines of text or rows of a table, and the bounds on what may come out of them."""

import re
import stat
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import BinaryIO

import msgspec
import polars as pl

from pmlive.captures.conventions import FRAME_KEYS, NamedKeys, column_of_frames
from pmlive.captures.unpacking import LONGEST, PACKINGS, Defect, Fragment, Piece, as_utf8, split_lines, unpack
from pmlive.errors import StoreError

__all__ = ["check_size", "read_pieces"]

_CHUNK_BYTES = 256 << 10
_HEAD_BYTES = 512
_PARQUET = b"PAR1"
# Real captures unpack to five to fifty times their size; one that unpacks to much more is made to fill a disk.
_MOST_TIMES = 100
_MOST_OF_A_SMALL_FILE = 64 << 20
_KINDS = {
    stat.S_IFDIR: "a folder; name the files in it",
    stat.S_IFIFO: "a pipe, and captures are read twice; save it to a file first",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
# Formats that are known and not read, by their first bytes.
_OTHERS = (
    (b"PK\x03\x04", "a zip archive; unpack it first"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive; unpack it first"),
    (b"Rar!", "a RAR archive; unpack it first"),
    (b"\x1f\x9d", "packed with compress; unpack it first"),
    (b"\x04\x22\x4d\x18", "packed with lz4; unpack it first"),
    (b"\xff\x06\x00\x00sNaPpY", "packed with snappy; unpack it first"),
    (b"SQLite format 3\0", "an SQLite database; write its frames to a CSV file first"),
    (b"ARROW1", "an Arrow file; write it as Parquet first"),
    (b"ORC", "an ORC file; write it as Parquet first"),
    (b"Obj\x01", "an Avro file; write its frames as lines first"),
    (b"\xd4\xc3\xb2\xa1", "a capture of network packets; the frames in it are encrypted"),
    (b"\x0a\x0d\x0d\x0a", "a capture of network packets; the frames in it are encrypted"),
)
_TAR_AT, _TAR = 257, b"ustar"
_DELIMITERS = (b",", b"\t", b";", b"|")
_BATCH_ROWS = 2_000
_MOST_NAMED = 24


def check_size(path: Path, max_bytes: int | None) -> None:
    """Check how much a file unpacks to, which is quick, before its lines are read, which is not.

    Raises:
        StoreError: it is not a file, of a kind that is not read, or unpacks to too much.
        OSError: it cannot be read.
    """
    with _open(path) as file:
        head = file.read(_HEAD_BYTES)
        file.seek(0)
        if any(packing.begins.match(head) for packing in PACKINGS):
            deque(_chunks(file, path, head, max_bytes), maxlen=0)


def read_pieces(path: Path, naming: NamedKeys, max_bytes: int | None) -> Iterator[Piece]:
    """Yield the lines of a file, and its defects where they are.

    Raises:
        StoreError: it is not a file, of a kind that is not read, or unpacks to too much.
        OSError: it cannot be read.
    """
    with _open(path) as file:
        head = file.read(_HEAD_BYTES)
        file.seek(0)
        if head.startswith(_PARQUET):
            rows = _parquet_rows(path, naming)
            yield from _bounded(rows, path, max_bytes, packed=path.stat().st_size)
        else:
            yield from _csv_rows(split_lines(as_utf8(_chunks(file, path, head, max_bytes))), naming)


@contextmanager
def _open(path: Path) -> Generator[BinaryIO]:
    mode = path.stat().st_mode
    if not stat.S_ISREG(mode):
        raise StoreError(f"{str(path)!r} cannot be read: it is {_KINDS.get(stat.S_IFMT(mode), 'not a file')}")
    with path.open("rb") as file:
        yield file


def _chunks(file: BinaryIO, path: Path, head: bytes, max_bytes: int | None) -> Iterator[bytes | Defect]:
    packing = next((each for each in PACKINGS if each.begins.match(head)), None)
    if packing is None:
        _refuse_others(path, head, "is")
        yield from _bounded(iter(lambda: file.read(_CHUNK_BYTES), b""), path, max_bytes, packed=None)
        return
    texts = unpack(file, packing)
    first = next(texts, b"")
    if isinstance(first, bytes):
        again = next((f"packed with {each.name}" for each in PACKINGS if each.begins.match(first)), None)
        if again is not None:
            raise StoreError(f"{str(path)!r} holds a file that is {again} itself; unpack it once first")
        _refuse_others(path, first, "holds")
    yield from _bounded(chain([first], texts), path, max_bytes, packed=path.stat().st_size)


def _refuse_others(path: Path, head: bytes, verb: str) -> None:
    other = next((what for mark, what in _OTHERS if head.startswith(mark)), None)
    if head[_TAR_AT:].startswith(_TAR):
        other = "a tar archive; unpack it first"
    if other is not None:
        raise StoreError(f"{str(path)!r} {verb} {other}")


def _bounded(
    chunks: Iterable[bytes | Defect], path: Path, max_bytes: int | None, *, packed: int | None
) -> Iterator[bytes | Defect]:
    """Raise for more bytes than allowed; a file that is not packed has no bound but the user's."""
    most = max_bytes
    if most is None and packed is not None:
        most = max(_MOST_OF_A_SMALL_FILE, _MOST_TIMES * packed)
    size = 0
    for chunk in chunks:
        size += len(chunk) if isinstance(chunk, bytes) else 0
        if most is not None and size > most:
            origin = "" if packed is None else f" when it is unpacked, from {packed:,}"
            raise StoreError(f"{str(path)!r} has more than {most:,} bytes{origin}; allow more with --max-bytes N")
        yield chunk


def _parquet_rows(path: Path, naming: NamedKeys) -> Iterator[bytes]:
    """Yield the rows of a Parquet file as envelopes.

    Raises:
        StoreError: it is damaged, or has no column of frames.
    """
    try:
        rows = pl.scan_parquet(path, glob=False, hive_partitioning=False)
        schema = rows.collect_schema()
        frame = column_of_frames(tuple(schema), naming)
        if frame is None:
            raise StoreError(_no_column(path, list(schema), naming))
        wanted = rows.select(_as_text(name, kind) for name, kind in schema.items() if name == frame or _is_flat(kind))
        for batch in wanted.collect_batches(chunk_size=_BATCH_ROWS, maintain_order=True):
            yield from map(_row, batch.iter_rows(named=True))
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        raise StoreError(f"{str(path)!r} cannot be read as Parquet: {str(error).splitlines()[0][:200]}") from error


def _csv_rows(lines: Iterator[Piece], naming: NamedKeys) -> Iterator[Piece]:
    """Return the rows of a CSV file as envelopes, or its lines if no header names a column of frames."""
    first = next(lines, None)
    table = _table(first, naming) if isinstance(first, bytes) else None
    if table is None:
        return lines if first is None else chain([first], lines)
    records = (_envelope(each, table) if isinstance(each, bytes) else each for each in _records(lines))
    # A blank for the header, so that the numbers of lines stay right.
    return chain([b""], records)


class _Table(msgspec.Struct):
    columns: tuple[str, ...]
    frame: str
    delimiter: bytes
    cell: re.Pattern[bytes]


def _table(header: bytes, naming: NamedKeys) -> _Table | None:
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
            yield b"\n".join(parts) if size <= LONGEST else Defect(f"a row is longer than {LONGEST:,} bytes")
        else:
            yield line
        parts, size, quotes = [], 0, 0
    if parts:
        yield Fragment(b"\n".join(parts))


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


def _no_column(path: Path, columns: list[str], naming: NamedKeys) -> str:
    seen = ", ".join(map(repr, columns[:_MOST_NAMED])) + (" …" if len(columns) > _MOST_NAMED else "")
    wanted = f"no column {naming.frame!r}" if naming.frame else "no column of frames"
    return f"{str(path)!r} has {wanted}; it has {seen}; known are {', '.join(FRAME_KEYS)}; name another with --frame"


def _is_flat(kind: pl.DataType) -> bool:
    return not kind.is_nested()


def _as_text(name: str, kind: pl.DataType) -> pl.Expr:
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
