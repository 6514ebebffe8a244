"""From the queue of the feed to packed blocks, in order; what waits here is counted, so that memory stays bounded."""

import logging
from collections import deque
from collections.abc import Sequence
from threading import Event
from typing import TypeAlias

import msgspec
import polars as pl
import zstandard

from pmlive.events import Gap
from pmlive.store.log import Record, encode_block
from pmlive.store.seal import Held

__all__ = ["OVERHEAD", "Cut", "End", "Flush", "Item", "Packer", "Rows"]

logger = logging.getLogger(__name__)

# What a record costs in memory besides its data.
OVERHEAD = 150
_BLOCK_BYTES = 4 << 20


class Rows(msgspec.Struct, frozen=True, gc=False):
    """Rows of the segment that is being filled."""

    table: str
    frame: pl.DataFrame


class Cut(msgspec.Struct, frozen=True):
    """The end of a segment, and of the hole that preceded it."""

    hole: Gap | None = None


class Flush(msgspec.Struct, frozen=True, eq=False):
    """A wish to know when everything before it is on the disk."""

    done: Event


class End(msgspec.Struct, frozen=True):
    """The end of a segment whose blocks are all before this in the backlog."""

    held: Held
    hole: Gap | None
    first_recv: int
    last_recv: int


Item: TypeAlias = Record | Rows | Cut | Flush


class Packer:
    """Pack what the feed queued.

    ``released`` counts the bytes that left the memory. ``broken`` is the receive time from which on everything is lost,
    until the feed has noted the hole and takes it back; nothing is packed until the cut that ends that hole.
    """

    def __init__(self, *, rows_memory: int) -> None:
        self.queue: deque[Item] = deque()
        self.backlog: deque[bytes | End | Flush] = deque()
        self.released = 0
        self.records = 0
        self.ignored_cuts = 0
        self.broken: int | None = None
        self.dropping = False
        self.first_recv: int | None = None
        self._last_recv = 0
        self._block = 0
        self._rows_memory = rows_memory
        self._held = Held()
        self._holding: list[Held] = [self._held]
        self._compressor = zstandard.ZstdCompressor(level=1)

    def pack_all(self) -> None:
        """Move what is queued now to the backlog."""
        batch: list[Record] = []
        size = 0
        for _ in range(len(self.queue)):
            item = self.queue.popleft()
            if isinstance(item, Record):
                batch.append(item)
                size += len(item.data) + OVERHEAD
                if size < _BLOCK_BYTES:
                    continue
            elif isinstance(item, Rows):
                self._held.add(item.table, item.frame)
                continue
            self._pack(batch, size)
            batch, size = [], 0
            self._mark(item)
        self._pack(batch, size)
        self._bound_rows()

    def lose(self, since: int) -> None:
        """Give up the segment that is being filled; the feed will note a hole from ``since`` on."""
        self._held.give_up()
        self.dropping = True
        self.broken = since

    def _pack(self, batch: Sequence[Record], size: int) -> None:
        if not batch or self.dropping:
            self.released += size
            return
        try:
            data = encode_block(batch, number=self._block, compressor=self._compressor)
        except Exception:
            logger.exception("%d records could not be packed and are lost", len(batch))
            self.lose(batch[0].recv)
            self.released += size
            return
        self.first_recv = batch[0].recv if self.first_recv is None else self.first_recv
        self._last_recv = batch[-1].recv
        self._block += 1
        self.records += len(batch)
        self.released += size - len(data)
        self.backlog.append(data)

    def _mark(self, item: Record | Cut | Flush) -> None:
        if isinstance(item, Flush):
            self.backlog.append(item)
        elif isinstance(item, Cut):
            self._end(item)

    def _end(self, cut: Cut) -> None:
        if self.dropping and cut.hole is None:
            self.ignored_cuts += 1
            return
        first_recv = self._last_recv if self.first_recv is None else self.first_recv
        self.backlog.append(End(self._held, cut.hole, first_recv, self._last_recv))
        self._held = Held()
        self._holding.append(self._held)
        self._block, self.first_recv, self.dropping = 0, None, False

    def _bound_rows(self) -> None:
        self._holding = [held for held in self._holding if held.bytes or held is self._held]
        while sum(held.bytes for held in self._holding) > self._rows_memory:
            next(held for held in self._holding if held.bytes).give_up()
