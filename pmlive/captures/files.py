"""The files of captures: lines of text or rows of a table, and the bounds on what may come out of them."""

import bz2
import codecs
import lzma
import re
import stat
import zlib
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from itertools import chain, pairwise
from pathlib import Path
from typing import BinaryIO, Protocol, TypeAlias

import msgspec
import polars as pl
import zstandard

from pmlive.captures.conventions import FRAME_KEYS, NamedKeys, column_of_frames
from pmlive.errors import StoreError

__all__ = [
    "LONGEST",
    "PACKINGS",
    "Defect",
    "Fragment",
    "Packing",
    "Piece",
    "as_utf8",
    "check_size",
    "read_pieces",
    "split_lines",
    "unpack",
]


# --- unpacking ---
# Unpacking of captures into lines: gzip, zstd, bzip2 and xz by their members, any Unicode, lines of bounded size.
#
# A recorder that was killed leaves a member that ends in the middle, and one that is started again may append to it. So
# the beginnings of members are searched before the bytes are unpacked: the broken one would go on with those of the
# next, and yield text that was never written.

_PIECE = 256 << 10
_BLOCK = 1 << 20
# A member is known by its first bytes and what they unpack to; a zstd block has up to 128 KiB.
_AHEAD = 256 << 10
_SHOWN, _LONGEST_MARK = 256, 6
# The output of a step of zstd cannot be limited, only its input: four bytes may unpack to a block of 128 KiB.
_ZSTD_STEP = 1 << 10
_XZ_MEMORY = 256 << 20
_DAMAGED = (EOFError, OSError, ValueError, zlib.error, lzma.LZMAError, zstandard.ZstdError)
# The venue's frames have 16 MiB at most.
LONGEST = 16 << 20
_UTF8 = codecs.BOM_UTF8
# The marks of UTF-32 begin as those of UTF-16 do.
_ENCODINGS = (
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
    (b"{\0", "utf-16-le"),
    (b"[\0", "utf-16-le"),
    (b"\0{", "utf-16-be"),
    (b"\0[", "utf-16-be"),
)
_not_text = re.compile(rb"[\x01-\x08\x0e-\x1a\x1c-\x1f]").search


class Defect(msgspec.Struct, frozen=True):
    """A place in a file at which something is missing."""

    why: str


class Fragment(msgspec.Struct, frozen=True):
    """The beginning of a line whose end is missing."""

    text: bytes


Piece: TypeAlias = bytes | Fragment | Defect


class _Member(Protocol):
    """One member of a packed file; at its end, ``rest`` are the bytes that it did not need."""

    is_whole: bool
    rest: bytes

    def feed(self, data: bytes | memoryview) -> Iterator[bytes]: ...


class Packing(msgspec.Struct, frozen=True):
    """One way to pack: how a member begins, how one is found among other bytes, and what unpacks it.

    ``is_sure`` says that these bytes are too many to be found by chance.
    """

    name: str
    begins: re.Pattern[bytes]
    found: re.Pattern[bytes]
    member: Callable[[], _Member]
    is_sure: bool


class _Gzip:
    def __init__(self) -> None:
        self.is_whole, self.rest = False, b""
        self._stream = zlib.decompressobj(wbits=31)

    def feed(self, data: bytes | memoryview) -> Iterator[bytes]:
        text = b""
        while data or len(text) == _PIECE:
            text = self._stream.decompress(data, _PIECE)
            data = self._stream.unconsumed_tail
            if text:
                yield text
            if self._stream.eof:
                self.is_whole, self.rest = True, self._stream.unused_data
                return


class _BoundedStream:
    """A member of bzip2 or xz, whose decoders return no more than they are asked for."""

    def __init__(self, stream: bz2.BZ2Decompressor | lzma.LZMADecompressor) -> None:
        self.is_whole, self.rest = False, b""
        self._stream = stream

    def feed(self, data: bytes | memoryview) -> Iterator[bytes]:
        text = self._stream.decompress(data, _PIECE)
        while text or not (self._stream.needs_input or self._stream.eof):
            yield text
            text = b"" if self._stream.eof else self._stream.decompress(b"", _PIECE)
        if self._stream.eof:
            self.is_whole, self.rest = True, self._stream.unused_data


class _Zstd:
    def __init__(self) -> None:
        self.is_whole, self.rest = False, b""
        self._stream = zstandard.ZstdDecompressor().decompressobj()

    def feed(self, data: bytes | memoryview) -> Iterator[bytes]:
        for start in range(0, len(data), _ZSTD_STEP):
            text = self._stream.decompress(data[start : start + _ZSTD_STEP])
            if text:
                yield text
            if self._stream.eof:
                self.is_whole = True
                self.rest = self._stream.unused_data + bytes(data[start + _ZSTD_STEP :])
                return


PACKINGS = (
    Packing(
        "gzip",
        re.compile(rb"\x1f\x8b"),
        re.compile(rb"\x1f\x8b\x08[\x00-\x1f].{4}[\x00\x02\x04][\x00-\x0d\xff]", re.DOTALL),
        _Gzip,
        is_sure=False,
    ),
    Packing(
        "zstd",
        re.compile(rb"\x28\xb5\x2f\xfd|[\x50-\x5f]\x2a\x4d\x18"),
        re.compile(rb"\x28\xb5\x2f\xfd"),
        _Zstd,
        is_sure=False,
    ),
    Packing(
        "bzip2",
        re.compile(rb"BZh[1-9]"),
        re.compile(rb"BZh[1-9](?:1AY&SY|\x17\x72\x45\x38\x50\x90)"),
        lambda: _BoundedStream(bz2.BZ2Decompressor()),
        is_sure=True,
    ),
    Packing(
        "xz",
        re.compile(rb"\xfd7zXZ\x00"),
        re.compile(rb"\xfd7zXZ\x00\x00[\x00-\x0f]"),
        lambda: _BoundedStream(lzma.LZMADecompressor(format=lzma.FORMAT_XZ, memlimit=_XZ_MEMORY)),
        is_sure=True,
    ),
)


def unpack(file: BinaryIO, packing: Packing) -> Iterator[bytes | Defect]:
    """Unpack all members of a file; of a damaged one, what can be read, and a defect."""
    unpacker = _Unpacker(packing)
    for piece, ahead in _pieces(file, packing.found):
        if ahead is not None:
            yield from unpacker.check_start(ahead)
        yield from unpacker.take(piece)
    yield from unpacker.end()


def as_utf8(chunks: Iterable[bytes | Defect]) -> Iterator[bytes | Defect]:
    """Yield text as UTF-8, from any encoding of Unicode."""
    decoder: codecs.IncrementalDecoder | None = None
    is_first = True
    for chunk in chunks:
        if isinstance(chunk, Defect):
            yield chunk
            decoder = None if decoder is None else type(decoder)(decoder.errors)
            continue
        if is_first:
            is_first = False
            name = next((name for mark, name in _ENCODINGS if chunk.startswith(mark)), None)
            # Bytes that are not Unicode stay wrong, so that the line is malformed and not silently another.
            decoder = None if name is None else codecs.getincrementaldecoder(name)("surrogatepass")
        yield chunk if decoder is None else _decode(decoder, chunk)


def split_lines(chunks: Iterable[bytes | Defect]) -> Iterator[Piece]:
    """Yield lines without their ends; one that is too long is a defect, one that is torn off a fragment."""
    line = _Line()
    for chunk in chunks:
        if isinstance(chunk, Defect):
            yield from line.torn()
            yield chunk
            continue
        first, *others = chunk.split(b"\n")
        line.add(first)
        for text in others:
            yield from line.take()
            line.add(text)
    yield from line.last()


class _Unpacker:
    def __init__(self, packing: Packing) -> None:
        self._packing = packing
        self._member: _Member | None = None
        # Bytes of no member, up to the next that begins.
        self._is_lost = False
        self._held = b""

    def check_start(self, ahead: memoryview) -> Iterator[Defect]:
        """Check whether another member begins here, in the middle of one."""
        if (self._member is None and not self._is_lost) or not self._is_start(ahead):
            return
        if self._member is not None:
            yield Defect(f"a {self._packing.name} member ends in the middle, and another follows")
        self._member, self._is_lost = None, False

    def take(self, piece: memoryview) -> Iterator[bytes | Defect]:
        """Unpack the next bytes."""
        if self._is_lost:
            return
        data: bytes | memoryview = self._held + piece if self._held else piece
        self._held = b""
        try:
            while len(data):
                data = self._begin(data) if self._member is None else data
                if self._member is None:
                    return
                yield from self._member.feed(data)
                data = self._member.rest
                self._member = None if self._member.is_whole else self._member
        except _DAMAGED as error:
            self._member, self._is_lost = None, True
            yield Defect(f"the {self._packing.name} data is damaged ({str(error) or type(error).__name__})")

    def _begin(self, data: bytes | memoryview) -> bytes | memoryview:
        """Begin a member, once there is enough of it; zeros after a member are padding."""
        if data[:1] == b"\0":
            data = bytes(data).lstrip(b"\0")
        if len(data) < _LONGEST_MARK:
            self._held = bytes(data)
        elif self._packing.begins.match(data):
            self._member = self._packing.member()
        else:
            raise EOFError("what follows a member is not one")
        return data

    def end(self) -> Iterator[Defect]:
        """Check that the file does not end in the middle of a member."""
        if self._member is not None or self._held.strip(b"\0"):
            yield Defect(f"the {self._packing.name} data ends in the middle")

    def _is_start(self, ahead: memoryview) -> bool:
        member = self._packing.member()
        try:
            # In small steps, since this member may end in the middle as well.
            for start in range(0, len(ahead), _SHOWN):
                text = next(member.feed(ahead[start : start + _SHOWN]), b"")
                if text:
                    return self._packing.is_sure or not _not_text(text[:_SHOWN])
                if member.is_whole or self._packing.is_sure:
                    return True
        except _DAMAGED:
            pass
        return False


def _pieces(file: BinaryIO, found: re.Pattern[bytes]) -> Iterator[tuple[memoryview, memoryview | None]]:
    """Cut a file where a member may begin; such a piece comes with more of what is there."""
    held = b""
    while True:
        block = file.read(_BLOCK)
        held += block
        limit = len(held) - _AHEAD if block else len(held)
        if limit > 0:
            view = memoryview(held)
            starts = {match.start() for match in found.finditer(held) if match.start() < limit}
            for start, end in pairwise(sorted({0, *starts, limit})):
                yield view[start:end], view[start : start + _AHEAD] if start in starts else None
            held = held[limit:]
        if not block:
            return


def _decode(decoder: codecs.IncrementalDecoder, chunk: bytes) -> bytes:
    try:
        return decoder.decode(chunk).encode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        decoder.reset()
        return b"\xff" + chunk


class _Line:
    """The line that is being read."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._size = 0

    def add(self, text: bytes) -> None:
        """Add text, and keep no more of it than is allowed."""
        self._size += len(text)
        if self._size <= LONGEST:
            self._parts.append(text)
        else:
            del self._parts[1:]

    def take(self) -> Iterator[Piece]:
        """Yield the line, and begin the next."""
        text, size = b"".join(self._parts).removeprefix(_UTF8), self._size
        self._parts, self._size = [], 0
        if size > LONGEST:
            yield Defect(f"a line of {size:,} bytes is longer than {LONGEST:,}, and was left out")
            return
        if text.startswith(b"\0"):
            zeros = len(text) - len(text.lstrip(b"\0"))
            yield Defect(f"{zeros:,} bytes are zeros, as a crash of the machine leaves them")
        yield text.lstrip(b"\0")

    def torn(self) -> Iterator[Piece]:
        """Yield the line, whose end is missing."""
        if self._size:
            yield from (Fragment(piece) if isinstance(piece, bytes) else piece for piece in self.take())

    def last(self) -> Iterator[Piece]:
        """Yield the last line, which may have no end of line."""
        if self._size:
            yield from self.take()


# --- files ---

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
