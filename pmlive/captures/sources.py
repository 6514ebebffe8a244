"""The files of captures: which are read, how they are packed, and how much may come out of them."""

import stat
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import BinaryIO

from pmlive.captures.naming import Naming
from pmlive.captures.packed import PACKINGS, Broken, unpacked
from pmlive.captures.splitting import Piece, lines_of, text_of
from pmlive.captures.tabular import parquet_rows, rows_of
from pmlive.errors import StoreError

__all__ = ["check_size", "pieces"]

_CHUNK = 256 << 10
_HEAD = 512
_PARQUET = b"PAR1"
# Real captures become five to fifty times as long; what becomes much more is made to fill a disk.
_MOST_TIMES = 100
_MOST_OF_A_SMALL_FILE = 64 << 20
_KINDS = {
    stat.S_IFDIR: "a folder; name the files in it",
    stat.S_IFIFO: "a pipe, and captures are read twice; save it to a file first",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
# What is known and not read, by the first bytes.
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


def check_size(path: Path, max_bytes: int | None) -> None:
    """Unpack a file once, which is quick, before its lines are read, which is not.

    Raises:
        StoreError: it is no file, of a kind that is not read, or becomes too large.
        OSError: it cannot be read.
    """
    with _opened(path) as file:
        head = file.read(_HEAD)
        file.seek(0)
        if any(packing.begins.match(head) for packing in PACKINGS):
            deque(_chunks(file, path, head, max_bytes), maxlen=0)


def pieces(path: Path, naming: Naming, max_bytes: int | None) -> Iterator[Piece]:
    """Yield the lines of a file, and what is wrong with it where it is.

    Raises:
        StoreError: it is no file, of a kind that is not read, or becomes too large.
        OSError: it cannot be read.
    """
    with _opened(path) as file:
        head = file.read(_HEAD)
        file.seek(0)
        if head.startswith(_PARQUET):
            rows = parquet_rows(path, naming)
            yield from _bounded(rows, path, max_bytes, packed=path.stat().st_size)
        else:
            yield from rows_of(lines_of(text_of(_chunks(file, path, head, max_bytes))), naming)


@contextmanager
def _opened(path: Path) -> Generator[BinaryIO]:
    mode = path.stat().st_mode
    if not stat.S_ISREG(mode):
        raise StoreError(f"{str(path)!r} cannot be read: it is {_KINDS.get(stat.S_IFMT(mode), 'no file')}")
    with path.open("rb") as file:
        yield file


def _chunks(file: BinaryIO, path: Path, head: bytes, max_bytes: int | None) -> Iterator[bytes | Broken]:
    packing = next((each for each in PACKINGS if each.begins.match(head)), None)
    if packing is None:
        _refuse_others(path, head, "is")
        yield from _bounded(iter(lambda: file.read(_CHUNK), b""), path, max_bytes, packed=None)
        return
    texts = unpacked(file, packing)
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
    chunks: Iterable[bytes | Broken], path: Path, max_bytes: int | None, *, packed: int | None
) -> Iterator[bytes | Broken]:
    """Stop at what is too much; a file that is not packed is as large as it is, unless it is said otherwise."""
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
