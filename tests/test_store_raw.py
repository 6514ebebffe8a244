"""Sealed frames: blocks of the log, joined into large ones."""

from itertools import pairwise

import pytest
import zstandard
from storing import record

from pmlive.records import Record
from pmlive.store import raw
from pmlive.store.log import Block, decode_entries, encode_block, read_blocks


def _filled(seq: int, size: int) -> Record:
    return Record(seq, seq, 1, "market", b"x" * size)


def _blocks(*batches: list[Record]) -> list[Block]:
    compressor = zstandard.ZstdCompressor()
    log = b"".join(encode_block(batch, number=at, compressor=compressor) for at, batch in enumerate(batches))
    return [block for block in read_blocks(log) if isinstance(block, Block)]


def test_blocks_are_joined_up_to_a_size_and_each_is_read_by_itself() -> None:
    given = _blocks(*([_filled(seq, 3 << 20)] for seq in range(1, 8)))

    large = list(raw.join_blocks(given, level=1))

    assert [(block.number, block.count) for block in large] == [(0, 3), (1, 3), (2, 1)]
    assert [(block.first_seq, block.last_seq) for block in large] == [(1, 3), (4, 6), (7, 7)]
    written = [block for block in read_blocks(b"".join(block.encode() for block in large)) if isinstance(block, Block)]
    assert [item.seq for block in written for item in decode_entries(block.entries())] == [*range(1, 8)]
    assert all(one.last_seq < other.first_seq for one, other in pairwise(written))


@pytest.mark.parametrize("count", [0, 1])
def test_few_blocks_make_one_or_none(count: int) -> None:
    given = _blocks(*([record(seq)] for seq in range(count)))

    assert [block.count for block in raw.join_blocks(given, level=1)] == [count] * (count > 0)
