"""The log: records in blocks that survive any crash, in files that are written until their segment is sealed.

A block is a header and a zstd frame of entries: a line of JSON with what is known of each, then the exact bytes of each
and a line end. The header is a zstd *skippable frame*, so ``zstdcat`` reads a log as it is. A checksum covers header
and frame: a block is whole or it is not there. Blocks of a segment are numbered from 0, so a missing one is noticed,
and one that was written twice (after a failed sync) counts once. Some recordings, the bundled samples among them, have
a line ``seq recv conn kind length`` before the bytes of each entry instead; they are read, too.

``wal/000007.wal`` is segment 7, ``wal/000007.1.wal`` its continuation. A segment begins where the books are known (a
new recording, or keyframes after a cut), so each is rebuilt alone. It is continued in another file only when a file
could not be trusted any more.
"""

import os
import re
import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from io import BytesIO
from itertools import accumulate, chain
from operator import sub
from pathlib import Path
from typing import BinaryIO
from zlib import crc32

import msgspec
import zstandard

from pmlive.errors import StoreError
from pmlive.events import Gap
from pmlive.records import Kind, Loss, Record
from pmlive.store import disk
from pmlive.store.bounds import Meter

__all__ = [
    "LOST",
    "WAL",
    "Block",
    "Damage",
    "SegmentReading",
    "WalFile",
    "check_sizes",
    "decode_entries",
    "encode_block",
    "encode_entries",
    "has_second_name",
    "loss_block",
    "read_blocks",
    "read_entries",
    "read_segment",
    "read_segments",
    "segment_files",
]

WAL = "wal"
# The number of a block that stands for records that are lost.
LOST = -1
_FILE_NAME = re.compile(r"(\d{6,})(?:\.(\d+))?\.wal")

_HEADER = struct.Struct("<II4sIIIIQQqq")
# Frame magic, frame size, tag with the format's version: what a reader looks for after damage.
_MAGIC = struct.pack("<II4s", 0x184D2A5E, _HEADER.size - 8, b"PML1")
# Where the part of a header begins that the checksum covers.
_CHECKED_FROM = len(_MAGIC) + 4
# The largest frame of the venue is 16 MiB and a block is closed at 4 MiB, so no block of ours is larger.
_LARGEST_BLOCK = 64 << 20
# The line that lists the records of a block: some ten bytes for each of 28,000 records at most.
_LONGEST_LINE = 16 << 20


class Block(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """Consecutive records, still compressed, and what is known of them without reading them."""

    number: int
    count: int
    first_seq: int
    last_seq: int
    first_recv: int
    last_recv: int
    payload: bytes

    def encode(self) -> bytes:
        """Return the bytes of the block: its header, then the frame."""
        span = (self.first_seq, self.last_seq, self.first_recv, self.last_recv)
        fields = (len(self.payload), self.number, self.count, *span)
        header = _HEADER.pack(*struct.unpack("<II4s", _MAGIC), 0, *fields)
        checksum = crc32(self.payload, crc32(header[_CHECKED_FROM:]))
        return b"".join((_MAGIC, checksum.to_bytes(4, "little"), header[_CHECKED_FROM:], self.payload))

    @property
    def size(self) -> int:
        """The size of its entries in bytes.

        Raises:
            StoreError: it is not a frame, or larger than any block of ours.
        """
        try:
            size = zstandard.frame_content_size(self.payload)
        except zstandard.ZstdError as error:
            raise StoreError(f"block {self.number} is damaged: {error}") from error
        if not 0 <= size <= _LARGEST_BLOCK:
            raise StoreError(f"block {self.number} states {size} bytes, beyond the limit of {_LARGEST_BLOCK}")
        return size

    def entries(self) -> bytes:
        """Decompress the entries.

        Raises:
            StoreError: it is not a frame, or larger than any block of ours.
        """
        try:
            return zstandard.ZstdDecompressor().decompress(self.payload, max_output_size=self.size)
        except zstandard.ZstdError as error:
            raise StoreError(f"block {self.number} is damaged: {error}") from error


class Damage(msgspec.Struct, frozen=True, gc=False):
    """Bytes that are not a block; ``tail`` when no block follows in the file.

    They are ``torn`` when they are the beginning of a longer block.
    """

    start: int
    size: int
    tail: bool
    torn: bool = False


def encode_block(records: Sequence[Record], *, number: int, compressor: zstandard.ZstdCompressor) -> bytes:
    """Encode records, at least one, as a block."""
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
    """Yield the blocks of a log in order, and the damage between them."""
    position = 0
    while position < len(data):
        block = _block_at(data, position)
        if block is not None:
            yield block
            position += _HEADER.size + len(block.payload)
            continue
        found = _next_block(data, position + 1)
        end = len(data) if found is None else found
        yield Damage(position, end - position, tail=found is None, torn=_is_torn(data[position:end]))
        position = end


def encode_entries(records: Sequence[Record]) -> bytes:
    """Encode records: the line that lists them, then the data of each and a line end."""
    data = [record.data for record in records]
    listed = _EntryList(
        _deltas([record.seq for record in records]),
        _deltas([record.recv for record in records]),
        [record.conn for record in records],
        [record.kind for record in records],
        list(map(len, data)),
    )
    return b"\n".join((msgspec.json.encode(listed), *data, b""))


def read_entries(stream: BinaryIO, meter: Meter | None = None) -> Iterator[list[Record]]:
    """Yield the records of a stream, those that one line lists at a time; ``meter`` counts them before they are read.

    Raises:
        StoreError: the stream ends within an entry or holds something else, or is larger than the meter allows.
    """
    while line := stream.readline(_LONGEST_LINE):
        try:
            listed = _read_line(line)
        except (ValueError, msgspec.MsgspecError) as error:
            raise StoreError(f"not a record: {line[:60]!r}") from error
        if meter is not None:
            meter.take(len(line) + sum(listed.sizes), records=len(listed.sizes))
        data: list[bytes] = []
        for size in listed.sizes:
            data.append(stream.read(size))
            if stream.read(1) != b"\n":
                raise StoreError(f"a record does not end after {data[-1][-60:]!r}")
        seqs, recvs = accumulate(listed.seqs), accumulate(listed.recvs)
        yield list(map(Record, seqs, recvs, listed.conns, listed.kinds, data))


def decode_entries(text: bytes, meter: Meter | None = None) -> list[Record]:
    """Return the records of a block's entries.

    Raises:
        StoreError: the text ends within an entry or holds something else, or is larger than the meter allows.
    """
    return list(chain.from_iterable(read_entries(BytesIO(text), meter)))


class SegmentReading(msgspec.Struct, frozen=True, kw_only=True):
    """The content of a segment: its blocks in order, one numbered ``LOST`` for each loss, and bytes that are damaged.

    ``torn`` bytes at the very end are a write that a crash cut short; ``damaged`` are all others.
    """

    blocks: list[Block]
    torn: int = 0
    damaged: int = 0

    @property
    def lossy(self) -> bool:
        """Whether records are known to be missing inside."""
        return any(block.number == LOST for block in self.blocks)

    def records(self) -> Iterator[Record]:
        """Yield the records, a ``loss`` record in place of each loss.

        Raises:
            StoreError: a block is damaged, or there are more records than a log of ours has.
        """
        meter = Meter("the log", sum(len(block.payload) for block in self.blocks))
        for block in self.blocks:
            yield from decode_entries(block.entries(), meter)


def read_segments(
    segments: Mapping[int, Sequence[bytes]], *, since: int, sealed: int, after: int = 0
) -> Iterator[tuple[int, SegmentReading]]:
    """Read segments, by number, from the contents of their files.

    ``since`` is when the last sealed record came (nanoseconds since 1970), ``sealed`` the last sealed segment and
    ``after`` the number of that record. A segment that is missing is a loss in the next one.
    """
    numbers = list(segments)
    for position, number in enumerate(numbers):
        following = segments[numbers[position + 1]] if position + 1 < len(numbers) else ()
        reading = read_segment(
            segments[number], since=since, after=after, follows=number == sealed + 1, following=following
        )
        sealed = number
        if reading.blocks:
            since = reading.blocks[-1].last_recv
            after = max(after, *(block.last_seq for block in reading.blocks))
        yield number, reading


def read_segment(
    contents: Sequence[bytes], *, since: int, after: int = 0, follows: bool = True, following: Sequence[bytes] = ()
) -> SegmentReading:
    """Read a segment from the contents of its files.

    ``since`` is when the last record before it came, ``after`` its number, and ``follows`` whether that is in the
    segment before this one. Records are numbered on, so a block of lower numbers is from another segment: it was copied
    here, and counts as damaged.
    ``following`` are the contents of the next segment: if there is one, damage at the end is a loss too, and not a torn
    tail, for which the time between two runs accounts.
    """
    blocks: list[Block] = []
    expected, pending, damaged, torn = 0, 0, 0, False
    for item in (item for content in contents for item in read_blocks(content)):
        if isinstance(item, Damage):
            pending, torn = pending + item.size, item.torn
        elif item.first_seq < after:
            pending, torn = pending + _HEADER.size + len(item.payload), False
        elif item.number >= expected:
            if item.number > expected or not (blocks or follows):
                blocks.append(_loss_before(item, blocks, since, pending))
            blocks.append(item)
            expected, damaged, pending = item.number + 1, damaged + pending, 0
    successor = next((item for content in following for item in read_blocks(content) if isinstance(item, Block)), None)
    if successor is not None and (pending or not blocks):
        blocks.append(_loss_before(successor, blocks, since, pending, ends=True))
        return SegmentReading(blocks=blocks, damaged=damaged + pending)
    if blocks or torn:
        return SegmentReading(blocks=blocks, damaged=damaged, torn=pending)
    return SegmentReading(blocks=[], damaged=pending)


def loss_block(lost: Loss, *, seq: int, recv: int, ends: bool) -> Block:
    """Return a block that stands for records that cannot be read; with ``ends`` the segment ended with them."""
    records = [Record(seq, recv, 0, Kind.LOSS, msgspec.json.encode(lost))]
    if ends:
        records.append(Record(seq, recv, 0, Kind.CUT, b""))
    return Block(
        number=LOST,
        count=len(records),
        first_seq=seq,
        last_seq=seq,
        first_recv=recv,
        last_recv=recv,
        payload=zstandard.ZstdCompressor().compress(encode_entries(records)),
    )


def check_sizes(blocks: Iterable[Block]) -> None:
    """Check what the blocks of a log state of their sizes, before they are unpacked.

    Raises:
        StoreError: it is more than a log of ours has.
    """
    stated = list(blocks)
    meter = Meter("the log", sum(len(block.payload) for block in stated))
    for block in stated:
        meter.take(block.size, records=block.count)


def segment_files(folder: Path) -> dict[int, list[Path]]:
    """List the files of each unsealed segment, in order."""
    found: dict[int, list[tuple[int, Path]]] = {}
    for path in disk.paths(folder / WAL, folder):
        match = _FILE_NAME.fullmatch(path.name)
        if match:
            found.setdefault(int(match[1]), []).append((int(match[2] or 0), path))
    return {number: [path for _, path in sorted(found[number])] for number in sorted(found)}


def has_second_name(path: Path, folder: Path) -> bool:
    """Return whether a damaged file of the log has a second name, under which it stays."""
    return any(kept.name.startswith(f"{path.name}.damaged-") for kept in disk.paths(path.parent, folder))


class WalFile:
    """A file of the log, which blocks are appended to."""

    def __init__(self, folder: Path, *, segment: int, part: int) -> None:
        name = f"{segment:06d}.wal" if part == 0 else f"{segment:06d}.{part}.wal"
        self.path = folder / WAL / name
        self._descriptor = disk.create(self.path, folder)
        try:
            disk.sync_folder(self.path.parent, folder)
        except OSError:
            self.close()
            raise
        self.size = 0
        self._synced = 0
        # A torn file ends in part of a block that could not be cut off.
        self.torn = False

    def append(self, block: bytes) -> None:
        """Write a block; when that fails, cut off what was written of it.

        Raises:
            OSError: it is not written.
        """
        try:
            disk.write_all(self._descriptor, block)
        except BaseException:
            self.torn = True
            disk.truncate(self._descriptor, self.size)
            self.torn = False
            raise
        self.size += len(block)

    def sync(self) -> None:
        """Flush what was appended to the disk.

        Raises:
            OSError: what was appended since the last sync may be lost, and this file must not be used again.
        """
        disk.sync(self._descriptor)
        self._synced = self.size

    def abandon(self) -> None:
        """Cut off what was never synced, if that is possible, and close."""
        try:
            disk.truncate(self._descriptor, self._synced)
        except OSError:
            pass  # then those blocks are there twice, and count once by their number
        finally:
            self.close()

    def close(self) -> None:
        """Close the file."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


class _EntryList(msgspec.Struct, frozen=True, array_like=True):
    """The line that lists entries, column by column; numbers that rise are written as differences."""

    seqs: list[int]
    recvs: list[int]
    conns: list[int]
    kinds: list[str]
    sizes: list[int]


_decode_entry_list = msgspec.json.Decoder(_EntryList).decode


def _read_line(line: bytes) -> _EntryList:
    """Read the line that lists the entries after it, or the line of a single entry."""
    if line.startswith(b"["):
        listed = _decode_entry_list(line)
    else:
        seq, recv, conn, kind, size = line.split()
        listed = _EntryList([int(seq)], [int(recv)], [int(conn)], [kind.decode()], [int(size)])
    if len(set(map(len, msgspec.structs.astuple(listed)))) != 1:
        raise ValueError("columns of different lengths")
    if min(listed.sizes, default=0) < 0 or sum(listed.sizes) > _LARGEST_BLOCK:
        raise ValueError("sizes that no record of ours has")
    return listed


def _deltas(numbers: list[int]) -> list[int]:
    """Return the first number, and the difference of each other from the one before: small numbers compress well."""
    return numbers[:1] + list(map(sub, numbers[1:], numbers))


def _is_torn(data: bytes) -> bool:
    if len(data) < _HEADER.size:
        return _MAGIC.startswith(data[: len(_MAGIC)])
    length = _HEADER.unpack_from(data)[4]
    return data.startswith(_MAGIC) and _HEADER.size + length > len(data)


def _next_block(data: bytes, start: int) -> int | None:
    position = data.find(_MAGIC, start)
    while position >= 0:
        if _block_at(data, position) is not None:
            return position
        position = data.find(_MAGIC, position + 1)
    return None


def _block_at(data: bytes, start: int) -> Block | None:
    if not data.startswith(_MAGIC, start) or len(data) - start < _HEADER.size:
        return None
    _, _, _, checksum, length, number, count, *span = _HEADER.unpack_from(data, start)
    body = start + _HEADER.size
    end = body + length
    if end > len(data) or crc32(memoryview(data)[body:end], crc32(data[start + _CHECKED_FROM : body])) != checksum:
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


def _loss_before(after: Block, blocks: Sequence[Block], since: int, damaged: int, *, ends: bool = False) -> Block:
    # What was lost came just before ``after``, so the number below its first one was used there and is free now.
    started = blocks[-1].last_recv if blocks else since
    detail = f"{damaged} bytes of the log are damaged" if damaged else "a part of the log is missing"
    gap = Gap(started=min(started, after.first_recv), ended=after.first_recv, cause="disk", detail=detail)
    lost = Loss(gap, beginning=not blocks)
    return loss_block(lost, seq=max(after.first_seq - 1, 0), recv=after.first_recv, ends=ends)
