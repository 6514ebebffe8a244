"""From the queue of the feed to packed blocks, in order; what waits here is counted, so that memory stays bounded."""

from collections import deque
from collections.abc import Sequence
from threading import Event
from typing import TypeAlias

import msgspec
import polars as pl
import zstandard

from pmlive.events import Gap
from pmlive.logs import get_logger
from pmlive.store.log import Record, encode_block
from pmlive.store.seal import Held
from pmlive.threads import note_fault

__all__ = ["OVERHEAD", "Cut", "End", "Flush", "Item", "Packer", "Rows", "Spoilt"]

logger = get_logger(__name__)

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


class Spoilt(msgspec.Struct, frozen=True):
    """Word that rows of the segment that is being filled are missing or wrong; they are made again of the log."""


class Flush(msgspec.Struct, frozen=True, eq=False):
    """A wish to know when everything before it is on the disk."""

    done: Event


class End(msgspec.Struct, frozen=True):
    """The end of a segment whose blocks are all before this in the backlog."""

    held: Held
    hole: Gap | None
    first_recv: int
    last_recv: int


Item: TypeAlias = Record | Rows | Spoilt | Cut | Flush


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
        self._batch: list[Record] = []
        self._size = 0
        self._compressor = zstandard.ZstdCompressor(level=1)

    def pack_all(self) -> None:
        """Move what is queued now to the backlog; what fails is still there the next time."""
        for _ in range(len(self.queue)):
            self._take(self.queue[0])
            self.queue.popleft()
        self._pack_batch()
        self._bound_rows()

    def lose(self, since: int) -> None:
        """Give up the segment that is being filled; the feed will note a hole from ``since`` on."""
        self._held.give_up()
        self.dropping = True
        self.broken = since

    def _take(self, item: Item) -> None:
        match item:
            case Record():
                self._batch.append(item)
                self._size += len(item.data) + OVERHEAD
                if self._size >= _BLOCK_BYTES:
                    self._pack_batch()
            case Rows():
                self._keep(item)
            case Spoilt():
                self._held.give_up()
            case Flush():
                self._pack_batch()
                self.backlog.append(item)
            case Cut():
                self._pack_batch()
                self._end(item)

    def _pack_batch(self) -> None:
        batch, size = self._batch, self._size
        self._batch, self._size = [], 0
        self._pack(batch, size)

    def _keep(self, rows: Rows) -> None:
        try:
            self._held.add(rows.table, rows.frame)
        except BaseException:
            # They can be made again of the log.
            self._held.give_up()
            logger.warning("rows of the table %s are made again when they are sealed", rows.table, exc_info=True)

    def _pack(self, batch: Sequence[Record], size: int) -> None:
        if not batch or self.dropping:
            self.released += size
            return
        try:
            data = encode_block(batch, number=self._block, compressor=self._compressor)
        except BaseException as error:  # noqa: BLE001  # a fault of ours, or no memory: the gap tells of it
            self.lose(batch[0].recv)
            self.released += size
            note_fault("pmlive-log", error)
            logger.error("%d records could not be packed and are lost", len(batch))  # noqa: TRY400  # told above
            return
        self.first_recv = batch[0].recv if self.first_recv is None else self.first_recv
        self._last_recv = batch[-1].recv
        self._block += 1
        self.records += len(batch)
        self.released += size - len(data)
        self.backlog.append(data)

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
