"""Sealed frames: blocks like those of the log, only larger, so that each is checked and found by itself.

A damaged byte costs the block it is in: the other blocks of a damaged file are salvaged. ``zstdcat`` reads a file as it
is. A file that is one zstd stream without blocks is read, too, and lost whole when it is damaged.
"""

import hashlib
import os
from collections.abc import Iterable, Iterator
from io import BufferedReader
from itertools import chain
from pathlib import Path

import msgspec
import zstandard

from pmlive.errors import StoreError
from pmlive.events import Gap
from pmlive.records import Loss, Record
from pmlive.store import disk
from pmlive.store.bounds import Meter, TooLargeError
from pmlive.store.log import LOST, Block, SegmentReading, loss_block, read_entries, read_segment
from pmlive.store.manifest import SealedFile

__all__ = [
    "SUFFIX",
    "Salvage",
    "WrittenFile",
    "check_sha256",
    "join_blocks",
    "read",
    "records",
    "renumber",
    "salvage",
    "sha256_of",
    "write_temporary",
]

SUFFIX = ".log.zst"
_READ_BYTES = 1 << 18
# Bytes of entries in a block.
_BLOCK_BYTES = 8 << 20
# Books and token numbers repeat over megabytes, hashes never: so look back 8 MiB, but for no match below 7 bytes, and
# remember 2**17 places, which stay near the processor. At level 1 that takes 55 bytes a level change in half the time
# of zstd's long-distance matching, which takes 50; with matches of 5 bytes it takes 63.
_WINDOW, _SHORTEST, _PLACES = 23, 7, 17


class WrittenFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file that was written, and what the manifest lists of it."""

    path: Path
    rows: int
    bytes: int
    sha256: str
    first_seq: int
    last_seq: int
    first_time: int
    last_time: int


class Salvage(msgspec.Struct, frozen=True, kw_only=True):
    """The readable rest of a damaged file: ``damaged`` counts bytes, ``missing`` the frames that were in them."""

    reading: SegmentReading
    damaged: int
    missing: int


def join_blocks(blocks: Iterable[Block], *, level: int) -> Iterator[Block]:
    """Join blocks of the log into larger ones that are compressed better."""
    parameters = zstandard.ZstdCompressionParameters(
        compression_level=level, window_log=_WINDOW, min_match=_SHORTEST, hash_log=_PLACES
    )
    compressor = zstandard.ZstdCompressor(compression_params=parameters)
    for number, joined in enumerate(_block_groups(blocks)):
        # Piece by piece: allocating memory for all of it would cost as much as compressing it.
        packing = compressor.compressobj(size=sum(block.size for block in joined))
        packed = [packing.compress(block.entries()) for block in joined]
        yield _joined_block(joined, number, b"".join((*packed, packing.flush())))


def renumber(blocks: Iterable[Block]) -> Iterator[Block]:
    """Yield blocks as they are, numbered from 0."""
    return (msgspec.structs.replace(block, number=number) for number, block in enumerate(blocks))


def write_temporary(path: Path, root: Path, blocks: Iterable[Block]) -> WrittenFile:
    """Write blocks, at least one, into a dot-file beside ``path``, sync it and read it back.

    Raises:
        OSError: it cannot be written.
        StoreError: what is read is not what was written.
    """
    sha256 = hashlib.sha256()
    size = 0
    written: list[Block] = []
    with disk.temporary(path, root) as (name, descriptor):
        for block in blocks:
            data = block.encode()
            disk.write_all(descriptor, data)
            sha256.update(data)
            size += len(data)
            written.append(msgspec.structs.replace(block, payload=b""))
    whole = _joined_block(written, 0, b"")
    check_sha256(name, root, sha256.hexdigest())
    return WrittenFile(
        path=name,
        rows=whole.count,
        bytes=size,
        sha256=sha256.hexdigest(),
        first_seq=whole.first_seq,
        last_seq=whole.last_seq,
        first_time=whole.first_recv,
        last_time=whole.last_recv,
    )


def sha256_of(file: BufferedReader) -> str:
    """Return the SHA-256 of an open file."""
    file.seek(0)
    return hashlib.file_digest(file, "sha256").hexdigest()


def check_sha256(path: Path, root: Path, sha256: str) -> None:
    """Read a file whole and compare its checksum.

    Raises:
        OSError: it cannot be read.
        StoreError: it is not what was written.
    """
    with disk.open_to_read(path, root) as file:
        found = sha256_of(file)
    if found != sha256:
        raise StoreError(f"{str(path)!r} is damaged: sha256 {found} is not {sha256}")


def read(path: Path, root: Path) -> Iterator[Record]:
    """Yield the records of a sealed file; call ``check_sha256`` first, since nothing is checked here.

    Raises:
        OSError: it cannot be read.
        StoreError: it is damaged.
    """
    with disk.open_to_read(path, root) as file:
        yield from records(file)


def records(file: BufferedReader) -> Iterator[Record]:
    """Yield the records of an open file; compare its SHA-256 first, since nothing is checked here.

    Raises:
        OSError: it cannot be read.
        StoreError: it is damaged.
    """
    file.seek(0)
    meter = Meter(repr(file.name), os.fstat(file.fileno()).st_size)
    stream = zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True, closefd=False)
    try:
        yield from chain.from_iterable(read_entries(BufferedReader(stream, _READ_BYTES), meter))
    except TooLargeError:
        raise
    except (zstandard.ZstdError, StoreError) as error:
        raise StoreError(f"{file.name!r} is damaged: {error}") from error


def salvage(data: bytes, file: SealedFile) -> Salvage:
    """Read what is left of a damaged file of frames; each block has a checksum of its own."""
    found = read_segment([data], since=file.first_time)
    kept = [block for block in found.blocks if block.number != LOST]
    missing = max(file.rows - sum(block.count for block in kept), 0)
    blocks = list(found.blocks)
    if found.torn or (missing and not found.lossy):
        between = (kept[-1].last_recv if kept else file.first_time, file.last_time)
        detail = f"{file.path}: {missing} frames are damaged or missing"
        gap = Gap(started=min(between), ended=max(between), cause="disk", detail=detail)
        lost = Loss(gap, beginning=not kept)
        blocks.append(loss_block(lost, seq=file.last_seq, recv=file.last_time, ends=True))
    return Salvage(reading=SegmentReading(blocks=blocks), damaged=found.damaged + found.torn, missing=missing)


def _block_groups(blocks: Iterable[Block]) -> Iterator[list[Block]]:
    """Group blocks by the size of their entries."""
    group: list[Block] = []
    size = 0
    for block in blocks:
        group.append(block)
        size += block.size
        if size >= _BLOCK_BYTES:
            yield group
            group, size = [], 0
    if group:
        yield group


def _joined_block(blocks: list[Block], number: int, payload: bytes) -> Block:
    return Block(
        number=number,
        count=sum(block.count for block in blocks),
        first_seq=blocks[0].first_seq,
        last_seq=blocks[-1].last_seq,
        # The clock may have been set back meanwhile.
        first_recv=min(min(block.first_recv, block.last_recv) for block in blocks),
        last_recv=max(max(block.first_recv, block.last_recv) for block in blocks),
        payload=payload,
    )
