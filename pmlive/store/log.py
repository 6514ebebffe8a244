"""The log: records, and the blocks that keep them through any crash.

A block is a header and a zstd frame of entries: a line of JSON with what is known of each, then the exact bytes of each
and a line end. The header is a zstd *skippable frame*, so ``zstdcat`` reads a log as it is. A checksum covers header
and frame: a block is whole or it is not there. Blocks of a segment are numbered from 0, so a missing one is noticed,
and one that was written twice (after a failed sync) counts once.

Entries of earlier versions each have a line ``seq recv conn kind length`` before their bytes, and are read, too.
"""

import struct
from collections.abc import Iterator, Sequence
from io import BytesIO
from itertools import accumulate, chain
from operator import sub
from typing import BinaryIO
from zlib import crc32

import msgspec
import zstandard

from pmlive.errors import StoreError
from pmlive.records import Record
from pmlive.store.bounds import Meter

__all__ = [
    "Block",
    "Damage",
    "Record",
    "decode_entries",
    "encode_block",
    "encode_entries",
    "read_blocks",
    "read_entries",
]

_HEADER = struct.Struct("<II4sIIIIQQqq")
# Frame magic, frame size, tag with the format's version: what a reader looks for after damage.
_MAGIC = struct.pack("<II4s", 0x184D2A5E, _HEADER.size - 8, b"PML1")
_COVERED = len(_MAGIC) + 4
# The largest frame of the venue is 16 MiB and a block is closed at 4 MiB, so more than this is not ours.
_LARGEST = 64 << 20
# A line lists what is in a block of the log: some ten bytes for each of 28,000 records at most.
_LONGEST_LINE = 16 << 20


class Block(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """Some records in a row, still compressed, and what is known of them without reading them."""

    number: int
    count: int
    first_seq: int
    last_seq: int
    first_recv: int
    last_recv: int
    payload: bytes

    def encode(self) -> bytes:
        """Write the block: its header, then the frame."""
        span = (self.first_seq, self.last_seq, self.first_recv, self.last_recv)
        fields = (len(self.payload), self.number, self.count, *span)
        header = _HEADER.pack(*struct.unpack("<II4s", _MAGIC), 0, *fields)
        checksum = crc32(self.payload, crc32(header[_COVERED:]))
        return b"".join((_MAGIC, checksum.to_bytes(4, "little"), header[_COVERED:], self.payload))

    @property
    def size(self) -> int:
        """The bytes of its entries.

        Raises:
            StoreError: the frame is larger than any block of ours, or none.
        """
        try:
            size = zstandard.frame_content_size(self.payload)
        except zstandard.ZstdError as error:
            raise StoreError(f"block {self.number} is damaged: {error}") from error
        if not 0 <= size <= _LARGEST:
            raise StoreError(f"block {self.number} states {size} bytes; ours have {_LARGEST} at most")
        return size

    def entries(self) -> bytes:
        """Decompress the entries.

        Raises:
            StoreError: the frame is larger than any block of ours, or none.
        """
        try:
            return zstandard.ZstdDecompressor().decompress(self.payload, max_output_size=self.size)
        except zstandard.ZstdError as error:
            raise StoreError(f"block {self.number} is damaged: {error}") from error


class _Listed(msgspec.Struct, frozen=True, array_like=True):
    """What is known of entries, column by column; numbers that rise are written as steps."""

    seqs: list[int]
    recvs: list[int]
    conns: list[int]
    kinds: list[str]
    sizes: list[int]


_read_listed = msgspec.json.Decoder(_Listed).decode


class Damage(msgspec.Struct, frozen=True, gc=False):
    """Bytes that are no block; ``tail`` when nothing good follows in the file.

    They are ``torn`` when they begin as a block does that is longer than they are.
    """

    start: int
    size: int
    tail: bool
    torn: bool = False


def encode_entries(records: Sequence[Record]) -> bytes:
    """Write records as text: the line that lists them, then the data of each and a line end."""
    data = [record.data for record in records]
    listed = _Listed(
        _steps([record.seq for record in records]),
        _steps([record.recv for record in records]),
        [record.conn for record in records],
        [record.kind for record in records],
        list(map(len, data)),
    )
    return b"\n".join((msgspec.json.encode(listed), *data, b""))


def read_entries(stream: BinaryIO, meter: Meter | None = None) -> Iterator[list[Record]]:
    """Read entries to the end of a stream, those that one line lists at a time; a meter is told of them before.

    Raises:
        StoreError: the stream ends within an entry or is something else, or the meter says that it is enough.
    """
    while line := stream.readline(_LONGEST_LINE):
        try:
            listed = _read_line(line)
        except (ValueError, msgspec.MsgspecError) as error:
            raise StoreError(f"no record: {line[:60]!r}") from error
        if meter is not None:
            meter.take(len(line) + sum(listed.sizes), records=len(listed.sizes))
        data: list[bytes] = []
        for size in listed.sizes:
            data.append(stream.read(size))
            if stream.read(1) != b"\n":
                raise StoreError(f"no end of a record after {data[-1][-60:]!r}")
        seqs, recvs = accumulate(listed.seqs), accumulate(listed.recvs)
        yield list(map(Record, seqs, recvs, listed.conns, listed.kinds, data))


def _read_line(line: bytes) -> _Listed:
    """Read what a line tells of the entries after it; in earlier versions each had a line of its own."""
    if line.startswith(b"["):
        listed = _read_listed(line)
    else:
        seq, recv, conn, kind, size = line.split()
        listed = _Listed([int(seq)], [int(recv)], [int(conn)], [kind.decode()], [int(size)])
    if len(set(map(len, msgspec.structs.astuple(listed)))) != 1:
        raise ValueError("columns that do not belong together")
    if min(listed.sizes, default=0) < 0 or sum(listed.sizes) > _LARGEST:
        raise ValueError("sizes that nothing of ours has")
    return listed


def _steps(numbers: list[int]) -> list[int]:
    """Give the first of some numbers, and how much more each other is than the one before: small numbers pack well."""
    return numbers[:1] + list(map(sub, numbers[1:], numbers))


def decode_entries(text: bytes, meter: Meter | None = None) -> list[Record]:
    """Read entries back.

    Raises:
        StoreError: the text ends within an entry or is something else, or the meter says that it is enough.
    """
    return list(chain.from_iterable(read_entries(BytesIO(text), meter)))


def encode_block(records: Sequence[Record], *, number: int, compressor: zstandard.ZstdCompressor) -> bytes:
    """Pack at least one record into a block."""
    first, last = records[0], records[-1]
    block = Block(
        number=number,
        count=len(records),
        first_seq=first.seq,
        last_seq=last.seq,
        first_recv=first.recv,
        last_recv=last.recv,
        payload=compressor.compress(encode_entries(records)),
    )
    return block.encode()


def read_blocks(data: bytes) -> Iterator[Block | Damage]:
    """Yield the good blocks of a log in order, and the bytes between them that are none."""
    position = 0
    while position < len(data):
        block = _block(data, position)
        if block is not None:
            yield block
            position += _HEADER.size + len(block.payload)
            continue
        found = _next_block(data, position + 1)
        end = len(data) if found is None else found
        yield Damage(position, end - position, tail=found is None, torn=_is_torn(data[position:end]))
        position = end


def _is_torn(data: bytes) -> bool:
    if len(data) < _HEADER.size:
        return _MAGIC.startswith(data[: len(_MAGIC)])
    length = _HEADER.unpack_from(data)[4]
    return data.startswith(_MAGIC) and _HEADER.size + length > len(data)


def _next_block(data: bytes, start: int) -> int | None:
    position = data.find(_MAGIC, start)
    while position >= 0:
        if _block(data, position) is not None:
            return position
        position = data.find(_MAGIC, position + 1)
    return None


def _block(data: bytes, start: int) -> Block | None:
    if not data.startswith(_MAGIC, start) or len(data) - start < _HEADER.size:
        return None
    _, _, _, checksum, length, number, count, *span = _HEADER.unpack_from(data, start)
    body = start + _HEADER.size
    end = body + length
    if end > len(data) or crc32(memoryview(data)[body:end], crc32(data[start + _COVERED : body])) != checksum:
        return None
    first_seq, last_seq, first_recv, last_recv = span
    return Block(
        number=number,
        count=count,
        first_seq=first_seq,
        last_seq=last_seq,
        first_recv=first_recv,
        last_recv=last_recv,
        payload=data[body:end],
    )
