"""Packed files, member by member, in pieces of bounded size.

A recorder that was killed leaves a member that ends in the middle, and one that is started again may append to it. So
where a new member begins is looked for before the bytes are unpacked: the broken one would go on with them, and give
text that nobody wrote.
"""

import bz2
import lzma
import re
import zlib
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import BinaryIO, Protocol

import msgspec
import zstandard

__all__ = ["PACKINGS", "Broken", "Packing", "unpacked"]

_PIECE = 256 << 10
_BLOCK = 1 << 20
# A member is known by its first bytes and what they unpack to; a zstd block has up to 128 KiB.
_AHEAD = 256 << 10
_SHOWN = 256
_LONGEST_MARK = 6
# What zstd unpacks at once cannot be limited, only what it is given: a block of 128 KiB may come of four bytes.
_ZSTD_STEP = 1 << 10
_XZ_MEMORY = 256 << 20
_DAMAGED = (EOFError, OSError, ValueError, zlib.error, lzma.LZMAError, zstandard.ZstdError)
_not_text = re.compile(rb"[\x01-\x08\x0e-\x1a\x1c-\x1f]").search


class Broken(msgspec.Struct, frozen=True):
    """A place in a file at which something is missing."""

    why: str


class _Member(Protocol):
    """One member: given packed bytes it gives text; at its end, ``rest`` is what it did not need."""

    is_whole: bool
    rest: bytes

    def feed(self, data: bytes | memoryview) -> Iterator[bytes]: ...


class Packing(msgspec.Struct, frozen=True):
    """One way to pack: how a member begins, how one is found among other bytes, and what unpacks it.

    ``is_sure`` says that so many bytes are not found by chance.
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


class _Limited:
    """What the standard library has for bz2 and xz, which give as much as they are asked for."""

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
        lambda: _Limited(bz2.BZ2Decompressor()),
        is_sure=True,
    ),
    Packing(
        "xz",
        re.compile(rb"\xfd7zXZ\x00"),
        re.compile(rb"\xfd7zXZ\x00\x00[\x00-\x0f]"),
        lambda: _Limited(lzma.LZMADecompressor(format=lzma.FORMAT_XZ, memlimit=_XZ_MEMORY)),
        is_sure=True,
    ),
)


def unpacked(file: BinaryIO, packing: Packing) -> Iterator[bytes | Broken]:
    """Unpack all members of a file; one that is damaged gives what can be read of it, and a word that it is."""
    unpacker = _Unpacker(packing)
    for piece, ahead in _pieces(file, packing.found):
        if ahead is not None:
            yield from unpacker.meet(ahead)
        yield from unpacker.take(piece)
    yield from unpacker.end()


class _Unpacker:
    def __init__(self, packing: Packing) -> None:
        self._packing = packing
        self._member: _Member | None = None
        # Bytes of no member, up to the next that begins.
        self._is_lost = False
        self._held = b""

    def meet(self, ahead: memoryview) -> Iterator[Broken]:
        """Look at bytes that a member may begin with, in the middle of another."""
        if (self._member is None and not self._is_lost) or not self._is_start(ahead):
            return
        if self._member is not None:
            yield Broken(f"a {self._packing.name} member ends in the middle, and another follows")
        self._member, self._is_lost = None, False

    def take(self, piece: memoryview) -> Iterator[bytes | Broken]:
        """Unpack the next bytes."""
        if self._is_lost:
            return
        data: bytes | memoryview = self._held + piece if self._held else piece
        self._held = b""
        try:
            while len(data):
                data = self._begun(data) if self._member is None else data
                if self._member is None:
                    return
                yield from self._member.feed(data)
                data = self._member.rest
                self._member = None if self._member.is_whole else self._member
        except _DAMAGED as error:
            self._member, self._is_lost = None, True
            yield Broken(f"the {self._packing.name} data is damaged ({str(error) or type(error).__name__})")

    def _begun(self, data: bytes | memoryview) -> bytes | memoryview:
        """Begin a member, once there is enough of it; zeros after a member are padding."""
        if data[:1] == b"\0":
            data = bytes(data).lstrip(b"\0")
        if len(data) < _LONGEST_MARK:
            self._held = bytes(data)
        elif self._packing.begins.match(data):
            self._member = self._packing.member()
        else:
            raise EOFError("what follows a member is none")
        return data

    def end(self) -> Iterator[Broken]:
        """Note the end of the file."""
        if self._member is not None or self._held.strip(b"\0"):
            yield Broken(f"the {self._packing.name} data ends in the middle")

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
