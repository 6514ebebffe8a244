import shutil
import subprocess
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from io import BytesIO
from itertools import accumulate
from pathlib import Path

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st
from storing import record, single_entry

from pmlive.errors import StoreError
from pmlive.records import Loss, Record, read_note
from pmlive.store.log import (
    LOST,
    Block,
    Damage,
    SegmentReading,
    decode_entries,
    encode_block,
    encode_entries,
    read_blocks,
    read_entries,
    read_segment,
    read_segments,
)

_records = st.builds(
    Record,
    seq=st.integers(0, 2**63),
    recv=st.integers(0, 2**62),
    conn=st.integers(0, 2**32 - 1),
    kind=st.sampled_from(["market", "user", "open", "state"]),
    data=st.binary(max_size=200),
)
_compressor = zstandard.ZstdCompressor(level=1)

read = partial(read_segment, since=0)


def _block(number: int, *numbers: int) -> bytes:
    return encode_block([record(n) for n in numbers], number=number, compressor=_compressor)


def _entry(item: Record) -> bytes:
    return encode_entries([item])


_LOG = [_block(0, 1, 2), _block(1, 3), _block(2, 4, 5, 6)]
_WHOLE = b"".join(_LOG)


def _numbers(reading: SegmentReading) -> list[int]:
    return [item.seq for item in reading.records() if item.kind == "market"]


def _gaps(reading: SegmentReading) -> list[int]:
    return [item.seq for item in reading.records() if item.kind == "loss"]


@given(st.lists(_records, max_size=20))
def test_entries_come_back_as_they_were(given_records: list[Record]) -> None:
    assert decode_entries(encode_entries(given_records)) == given_records


@given(st.lists(st.tuples(st.booleans(), st.lists(_records, max_size=5)), max_size=5))
def test_entries_with_a_line_of_their_own_come_back_beside_others(parts: list[tuple[bool, list[Record]]]) -> None:
    text = b"".join(
        b"".join(map(single_entry, given_records)) if single else encode_entries(given_records)
        for single, given_records in parts
    )
    assert decode_entries(text) == [item for _, given_records in parts for item in given_records]


@given(st.lists(st.lists(_records, min_size=1, max_size=5), max_size=5))
def test_blocks_come_back_as_they_were(batches: list[list[Record]]) -> None:
    data = b"".join(encode_block(batch, number=n, compressor=_compressor) for n, batch in enumerate(batches))
    assert list(read([data]).records()) == [item for batch in batches for item in batch]


@pytest.mark.parametrize("write", [single_entry, _entry])
@given(st.lists(_records, min_size=1, max_size=5), st.integers(0, 400))
def test_entries_are_read_as_far_as_they_are_whole(
    write: Callable[[Record], bytes], given_records: list[Record], size: int
) -> None:
    written = list(map(write, given_records))
    ends = list(accumulate(map(len, written)))
    torn = size < ends[-1] and size not in (0, *ends)
    found: list[Record] = []

    with pytest.raises(StoreError) if torn else nullcontext():
        for together in read_entries(BytesIO(b"".join(written)[:size])):
            found += together

    assert found == given_records[: sum(end <= size for end in ends)]


def test_of_entries_that_are_listed_together_none_is_taken_before_all_are_there() -> None:
    text = encode_entries([record(1), record(2)])
    with pytest.raises(StoreError, match="a record does not end"):
        next(read_entries(BytesIO(text[:-1])))
    assert [item.seq for item in next(read_entries(BytesIO(text)))] == [1, 2]


def test_text_that_is_no_entry_is_refused() -> None:
    with pytest.raises(StoreError, match="not a record"):
        decode_entries(b"hello\n")
    for listed in (b"[[1]]\n", b"[[1],[1],[1],[],[0]]\n\n", b'[[1],[1],[1],["a"],[-99]]\n\n', b"1 1 1 a -99\n\n"):
        with pytest.raises(StoreError, match="not a record"):
            decode_entries(listed)
    with pytest.raises(StoreError, match="a record does not end"):
        decode_entries(encode_entries([record(1)])[:-1])


def test_a_log_cut_at_any_byte_gives_every_block_before_it() -> None:
    ends = [len(b"".join(_LOG[:n])) for n in range(4)]
    kept = [[], [1, 2], [1, 2, 3], [1, 2, 3, 4, 5, 6]]
    for size in range(len(_WHOLE) + 1):
        reading = read([_WHOLE[:size]])
        blocks = sum(end <= size for end in ends) - 1
        assert _numbers(reading) == kept[blocks]
        assert (reading.torn, reading.damaged, reading.lossy) == (size - ends[blocks], 0, False)


def test_any_flipped_bit_costs_one_block_and_is_known() -> None:
    blocks = [[1, 2], [3], [4, 5, 6]]
    for bit in range(len(_WHOLE) * 8):
        data = bytearray(_WHOLE)
        data[bit // 8] ^= 1 << bit % 8
        hit = next(n for n in range(3) if bit // 8 < len(b"".join(_LOG[: n + 1])))

        reading = read([bytes(data)])

        assert _numbers(reading) == [n for block in blocks if block is not blocks[hit] for n in block]
        assert (reading.torn, reading.damaged)[hit < 2] == len(_LOG[hit])
        assert reading.lossy == (hit < 2)


@given(st.binary(max_size=300), st.binary(max_size=300))
def test_blocks_are_found_again_after_foreign_bytes(before: bytes, between: bytes) -> None:
    found = list(read_blocks(before + _LOG[0] + between + _LOG[1]))
    assert [item.number for item in found if isinstance(item, Block)] == [0, 1]
    assert sum(item.size for item in found if isinstance(item, Damage)) == len(before) + len(between)


def test_zeros_at_the_end_are_a_torn_tail() -> None:
    reading = read([_WHOLE + bytes(4096)])
    assert _numbers(reading) == [1, 2, 3, 4, 5, 6]
    assert (reading.torn, reading.damaged) == (4096, 0)


def test_a_missing_block_is_a_gap_numbered_just_before_what_follows() -> None:
    reading = read([_LOG[0] + _LOG[2]])

    (lost,) = [item for item in reading.records() if item.kind == "loss"]

    assert [item.seq for item in reading.records()] == [1, 2, 3, 4, 5, 6]
    assert lost.seq == 3
    assert b'"cause":"disk"' in lost.data
    assert [block.number for block in reading.blocks] == [0, LOST, 2]


def test_a_missing_first_block_is_a_gap_since_the_last_record_before_it() -> None:
    reading = read_segment([_LOG[1]], since=7)

    (lost,) = [read_note(item) for item in reading.records() if item.kind == "loss"]

    assert _gaps(reading) == [2]
    assert isinstance(lost, Loss)
    assert lost.beginning
    assert (lost.gap.started, lost.gap.ended) == (7, reading.blocks[-1].first_recv)


@pytest.mark.parametrize("kept", range(len(_LOG) + 1))
def test_whatever_is_cut_from_the_beginning_is_a_loss(kept: int) -> None:
    """A beginning tells what the books were, so without it they are unknown; a log that is empty tells nothing."""
    rest = b"".join(_LOG)[sum(map(len, _LOG[:kept])) + 3 :]

    reading = read_segment([rest], since=7)

    losses = [read_note(item) for item in reading.records() if item.kind == "loss"]
    assert all(isinstance(lost, Loss) and lost.beginning and lost.gap.started == 7 for lost in losses)
    assert bool(losses) == (kept + 1 < len(_LOG))
    assert reading.lossy or reading.damaged == len(rest)


def test_segments_are_read_one_after_the_other_and_one_that_is_missing_is_a_loss() -> None:
    whole = b"".join(_LOG)

    found = dict(read_segments({4: [whole], 6: [_block(0, 9)]}, since=0, sealed=3))

    assert not found[4].lossy
    (lost,) = [read_note(item) for item in found[6].records() if item.kind == "loss"]
    assert isinstance(lost, Loss)
    assert lost.beginning
    assert lost.gap.started == found[4].blocks[-1].last_recv


def test_an_empty_segment_before_another_is_a_loss_that_ends_with_it() -> None:
    found = dict(read_segments({4: [b""], 5: [b"".join(_LOG)]}, since=7, sealed=3))

    assert [item.kind for item in found[4].records()] == ["loss", "cut"]
    assert not found[5].lossy


def test_a_damaged_end_is_a_loss_when_the_log_goes_on_after_it() -> None:
    torn = _LOG[0] + _LOG[1][:-1]
    assert not read([torn]).lossy
    assert _gaps(read([torn], following=[_block(0, 9)])) == [8]


def test_a_block_that_was_written_twice_counts_once() -> None:
    reading = read([_LOG[0] + _LOG[1][:-5], _LOG[1] + _LOG[2]])
    again = read([_LOG[0] + _LOG[1], _LOG[1] + _LOG[2]])
    assert _numbers(reading) == _numbers(again) == [1, 2, 3, 4, 5, 6]
    assert not reading.lossy
    assert not again.lossy


def test_zstdcat_reads_a_log(tmp_path: Path) -> None:
    tool = shutil.which("zstdcat")
    if tool is None:
        pytest.skip("zstdcat is not installed")
    path = tmp_path / "000001.wal"
    path.write_bytes(_WHOLE)
    text = subprocess.run([tool, path], check=True, capture_output=True).stdout
    assert [item.seq for item in decode_entries(text)] == [1, 2, 3, 4, 5, 6]
