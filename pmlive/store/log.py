"""The log: records, and the blocks that keep them through any crash.

A block is a header and a zstd frame of entries; an entry is a line ``seq recv conn kind length``, the exact bytes,
and a line end. The header is a zstd *skippable frame*, so ``zstdcat`` reads a log as it is. A checksum covers header
and frame: a block is whole or it is not there. Blocks of a segment are numbered from 0, so a missing one is noticed,
and one that was written twice (after a failed sync) counts once.
"""

import struct
from collections.abc import Iterator, Sequence
from zlib import crc32

import msgspec
import zstandard

from pmlive.errors import StoreError

__all__ = [
    "Block",
    "Damage",
    "Record",
    "decode_entries",
    "encode_block",
    "encode_entry",
    "read_blocks",
    "take_entries",
]

_HEADER = struct.Struct("<II4sIIIIQQqq")
# Frame magic, frame size, tag with the format's version: what a reader looks for after damage.
_MAGIC = struct.pack("<II4s", 0x184D2A5E, _HEADER.size - 8, b"PML1")
_COVERED = len(_MAGIC) + 4
# The largest frame of the venue is 16 MiB and a block is closed at 4 MiB, so more than this is not ours.
_LARGEST = 1 << 28


class Record(msgspec.Struct, frozen=True, gc=False):
    """One thing that happened, as it happened.

    ``seq`` is the arrival number: rows made of the record are numbered ``seq``, ``seq + 1`` and so on. ``recv`` is
    nanoseconds since 1970 by our clock, ``conn`` the connection epoch (0: none), ``kind`` one word, ``data`` the exact
    bytes.
    """

    seq: int
    recv: int
    conn: int
    kind: str
    data: bytes


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

    def entries(self) -> bytes:
        """Decompress the entries.

        Raises:
            StoreError: the frame is larger than any block of ours.
        """
        size = zstandard.frame_content_size(self.payload)
        if not 0 <= size <= _LARGEST:
            raise StoreError(f"block {self.number} states {size} bytes; ours have {_LARGEST} at most")
        return zstandard.ZstdDecompressor().decompress(self.payload)


class Damage(msgspec.Struct, frozen=True, gc=False):
    """Bytes that are no block; ``tail`` when nothing good follows in the file."""

    start: int
    size: int
    tail: bool


def encode_entry(record: Record) -> bytes:
    """Write one record as text line, data, line end."""
    data = record.data
    return b"%d %d %d %s %d\n%s\n" % (record.seq, record.recv, record.conn, record.kind.encode(), len(data), data)


def take_entries(text: bytes) -> tuple[list[Record], int]:
    """Read the whole entries a text begins with; return them and how many bytes they are.

    Raises:
        StoreError: the text is something else.
    """
    records: list[Record] = []
    position, size, find = 0, len(text), text.find
    while (end := find(b"\n", position)) >= 0:
        try:
            seq, recv, conn, kind, length = text[position:end].split(b" ")
            stop = end + 1 + int(length)
            if stop >= size:
                break
            records.append(Record(int(seq), int(recv), int(conn), kind.decode(), text[end + 1 : stop]))
        except ValueError as error:
            raise StoreError(f"no record at byte {position}: {text[position:end][:60]!r}") from error
        position = stop + 1
    return records, position


def decode_entries(text: bytes) -> list[Record]:
    """Read entries back.

    Raises:
        StoreError: the text ends within an entry or is something else.
    """
    records, used = take_entries(text)
    if used != len(text):
        raise StoreError(f"the text ends within a record: {len(text) - used} bytes are left over")
    return records


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
        payload=compressor.compress(b"".join(map(encode_entry, records))),
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
        yield Damage(position, end - position, tail=found is None)
        position = end


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
