"""What is left of damaged frames: the blocks that are whole, and a loss in place of what is not."""

import msgspec

from pmlive.events import Gap
from pmlive.records import Loss
from pmlive.store import wal
from pmlive.store.manifest import SealedFile

__all__ = ["Salvage", "salvage"]


class Salvage(msgspec.Struct, frozen=True, kw_only=True):
    """The readable rest of a file; ``damaged`` is bytes that are no good, ``missing`` the frames that were in them."""

    reading: wal.Reading
    damaged: int
    missing: int


def salvage(data: bytes, file: SealedFile) -> Salvage:
    """Read what a damaged file of frames still has; each block is checked by its own checksum."""
    found = wal.read([data], since=file.first_time)
    kept = [block for block in found.blocks if block.number != wal.LOST]
    missing = max(file.rows - sum(block.count for block in kept), 0)
    blocks = list(found.blocks)
    if found.torn or (missing and not found.lossy):
        between = (kept[-1].last_recv if kept else file.first_time, file.last_time)
        detail = f"{file.path}: {missing} frames are damaged or missing"
        gap = Gap(started=min(between), ended=max(between), cause="disk", detail=detail)
        lost = Loss(gap, beginning=not kept)
        blocks.append(wal.loss(lost, seq=file.last_seq, recv=file.last_time, ends=True))
    return Salvage(reading=wal.Reading(blocks=blocks), damaged=found.damaged + found.torn, missing=missing)
