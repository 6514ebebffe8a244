"""Unpacking of captures into lines: gzip, zstd, bzip2 and xz by their members, any Unicode, lines of bounded size.

A recorder that was killed leaves a member that ends in the middle, and one that is started again may append to it. So
the beginnings of members are searched before the bytes are unpacked: the broken one would go on with those of the
next, and yield text that was never written.
"""

import bz2
import codecs
import lzma
import re
import zlib
from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise
from typing import BinaryIO, Protocol, TypeAlias

import msgspec
import zstandard

__all__ = ["LONGEST", "PACKINGS", "Defect", "Fragment", "Packing", "Piece", "as_utf8", "split_lines", "unpack"]

_PIECE = 256 << 10
_BLOCK = 1 << 20
# A member is known by its first bytes and what they unpack to; a zstd block has up to 128 KiB.
_AHEAD = 256 << 10
_SHOWN = 256
_LONGEST_MARK = 6
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
