"""The files of the log that are not sealed yet: ``wal/000007.wal`` is segment 7, ``wal/000007.1.wal`` its continuation.

A segment begins where the books are known (a new recording, or keyframes after a cut), so each is rebuilt alone. It is
continued in another file only when a file could not be trusted any more.
"""

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import msgspec
import zstandard

from pmlive.events import Gap
from pmlive.records import Kind, Loss, Record
from pmlive.store import _files
from pmlive.store.bounds import Meter
from pmlive.store.log import Block, Damage, decode_entries, encode_entries, read_blocks

__all__ = ["LOST", "WAL", "Reading", "WalFile", "check_sizes", "loss", "read", "read_all", "segments"]

WAL = "wal"
LOST = -1
_NAME = re.compile(r"(\d{6,})(?:\.(\d+))?\.wal")


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """What a segment has: its blocks in order, one numbered ``LOST`` for each loss, and bytes that were no good.

    ``torn`` bytes at the very end are a write that a crash cut short; ``damaged`` bytes are anything else.
    """

    blocks: list[Block]
    torn: int = 0
    damaged: int = 0

    @property
    def lossy(self) -> bool:
        """Say whether records are known to be missing inside."""
        return any(block.number == LOST for block in self.blocks)

    def records(self) -> Iterator[Record]:
        """Yield the records, a ``loss`` record in place of each loss.

        Raises:
            StoreError: a block is no good, or they are more than the file of a recording has.
        """
        meter = Meter("the log", sum(len(block.payload) for block in self.blocks))
        for block in self.blocks:
            yield from decode_entries(block.entries(), meter)


def check_sizes(blocks: Iterable[Block]) -> None:
    """Refuse the blocks of a log that state more than the log of a recording has, before they are unpacked.

    Raises:
        StoreError: they do.
    """
    stated = list(blocks)
    meter = Meter("the log", sum(len(block.payload) for block in stated))
    for block in stated:
        meter.take(block.size, records=block.count)


class WalFile:
    """A file that blocks are appended to."""

    def __init__(self, folder: Path, *, segment: int, part: int) -> None:
        name = f"{segment:06d}.wal" if part == 0 else f"{segment:06d}.{part}.wal"
        self.path = folder / WAL / name
        self._descriptor = _files.create(self.path, folder)
        try:
            _files.sync_folder(self.path.parent, folder)
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
            _files.write_all(self._descriptor, block)
        except BaseException:
            self.torn = True
            _files.cut_off(self._descriptor, self.size)
            self.torn = False
            raise
        self.size += len(block)

    def sync(self) -> None:
        """Wait until what was appended is on the disk.

        Raises:
            OSError: what was appended since the last sync may be lost, and this file must not be used again.
        """
        _files.sync(self._descriptor)
        self._synced = self.size

    def abandon(self) -> None:
        """Cut off what was never synced, if that is possible, and close."""
        try:
            _files.cut_off(self._descriptor, self._synced)
        except OSError:
            pass  # then those blocks are there twice, and count once by their number
        finally:
            self.close()

    def close(self) -> None:
        """Close the file."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


def segments(folder: Path) -> dict[int, list[Path]]:
    """List the files of each unsealed segment, in order."""
    found: dict[int, list[tuple[int, Path]]] = {}
    for path in _files.paths(folder / WAL, folder):
        match = _NAME.fullmatch(path.name)
        if match:
            found.setdefault(int(match[1]), []).append((int(match[2] or 0), path))
    return {number: [path for _, path in sorted(found[number])] for number in sorted(found)}


def read_all(segments: Mapping[int, Sequence[bytes]], *, since: int, sealed: int) -> Iterator[tuple[int, Reading]]:
    """Read segments, by number, from the contents of their files.

    ``since`` is up to when everything is known without them (nanoseconds since 1970), ``sealed`` the last segment that
    is not among them. A number that is missing is a loss in the next one.
    """
    numbers = list(segments)
    for position, number in enumerate(numbers):
        following = segments[numbers[position + 1]] if position + 1 < len(numbers) else ()
        reading = read(segments[number], since=since, follows=number == sealed + 1, following=following)
        sealed = number
        if reading.blocks:
            since = reading.blocks[-1].last_recv
        yield number, reading


def read(contents: Sequence[bytes], *, since: int, follows: bool = True, following: Sequence[bytes] = ()) -> Reading:
    """Read a segment from the contents of its files.

    ``since`` is when the last record before it came, and ``follows`` whether it is in the segment before this one.
    ``following`` is what comes after the segment: with it, damage at the end is a loss too and not a torn tail, which
    the time between two runs accounts for.
    """
    blocks: list[Block] = []
    expected, pending, damaged, torn = 0, 0, 0, False
    for item in (item for content in contents for item in read_blocks(content)):
        if isinstance(item, Damage):
            pending, torn = pending + item.size, item.torn
        elif item.number >= expected:
            if item.number > expected or not (blocks or follows):
                blocks.append(_lost_before(item, blocks, since, pending))
            blocks.append(item)
            expected, damaged, pending = item.number + 1, damaged + pending, 0
    successor = next((item for content in following for item in read_blocks(content) if isinstance(item, Block)), None)
    if successor is not None and (pending or not blocks):
        blocks.append(_lost_before(successor, blocks, since, pending, ends=True))
        return Reading(blocks=blocks, damaged=damaged + pending)
    if blocks or torn:
        return Reading(blocks=blocks, damaged=damaged, torn=pending)
    return Reading(blocks=[], damaged=pending)


def _lost_before(after: Block, blocks: Sequence[Block], since: int, damaged: int, *, ends: bool = False) -> Block:
    # What was lost came just before ``after``, so the number below its first one was used there and is free now.
    started = blocks[-1].last_recv if blocks else since
    detail = f"{damaged} bytes of the log are damaged" if damaged else "a part of the log is missing"
    gap = Gap(started=min(started, after.first_recv), ended=after.first_recv, cause="disk", detail=detail)
    lost = Loss(gap, beginning=not blocks)
    return loss(lost, seq=max(after.first_seq - 1, 0), recv=after.first_recv, ends=ends)


def loss(lost: Loss, *, seq: int, recv: int, ends: bool) -> Block:
    """Make the block that stands for records that cannot be read; with ``ends`` the segment ended with them."""
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
