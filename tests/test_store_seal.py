import json
import logging
import random
import shutil
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec
import polars as pl
import pytest
import zstandard
from storing import (
    NOON,
    SECOND,
    CrashAt,
    CrashError,
    fast,
    feed,
    logged,
    rebuild,
    record,
    recording,
    single_entry,
    stored,
    wait,
)

from pmlive.errors import StoreError
from pmlive.store import Record, Recorder, read_manifest, records, scan, verify_files
from pmlive.store.log import Block, decode_entries, encode_block, read_blocks
from pmlive.store.manifest import MANIFEST
from pmlive.store.markets_file import MARKETS_FILE


def _blocks(first: int, last: int, *, size: int = 7) -> Iterator[bytes]:
    compressor = zstandard.ZstdCompressor()
    for number, start in enumerate(range(first, last, size)):
        batch = [record(n) for n in range(start, min(start + size, last))]
        yield encode_block(batch, number=number, compressor=compressor)


def _leave_log(folder: Path) -> None:
    """Leave the log of a recorder that was killed: two segments, one in two files, the last with a torn tail."""
    with recording(folder) as recorder:
        feed(recorder, range(1, 50))
    number = read_manifest(folder).sealed + 1
    first, *rest = _blocks(50, 100)
    (folder / f"wal/{number:06d}.wal").write_bytes(first)
    (folder / f"wal/{number:06d}.1.wal").write_bytes(first + b"".join(rest))
    (folder / f"wal/{number + 1:06d}.wal").write_bytes(b"".join(_blocks(100, 150)) + b"\x5e\x2a\x4d\x18half a head")


def _single_entry_blocks(first: int, last: int) -> Iterator[bytes]:
    """Write the blocks of ``_blocks`` with a line for each entry."""
    for block in read_blocks(b"".join(_blocks(first, last))):
        assert isinstance(block, Block)
        entries = b"".join(map(single_entry, decode_entries(block.entries())))
        yield msgspec.structs.replace(block, payload=zstandard.ZstdCompressor().compress(entries)).encode()


def _reopen(folder: Path, step: CrashAt) -> Recorder:
    return Recorder(folder, rebuild=rebuild, step=step)


def test_a_crash_at_any_step_of_sealing_loses_nothing_and_doubles_nothing(tmp_path: Path) -> None:
    _leave_log(tmp_path / "count")
    counted = CrashAt(-1)
    _reopen(tmp_path / "count", counted).close()
    assert len(counted.taken) >= 10
    for number in range(1, len(counted.taken) + 1):
        folder = tmp_path / str(number)
        _leave_log(folder)

        with pytest.raises(CrashError):
            _reopen(folder, CrashAt(number))

        assert logged(folder) == [*range(1, 150)], counted.taken[number - 1]
        for _ in range(2):
            with recording(folder) as recorder:
                assert recorder.next_seq == 150
            assert logged(folder) == stored(folder) == [*range(1, 150)], counted.taken[number - 1]
        assert verify_files(folder) == []
        assert {str(path.relative_to(folder)) for path in folder.rglob("*.*") if path.is_file()} == {
            ".lock",
            MANIFEST,
            MARKETS_FILE,
            *(file.path for file in read_manifest(folder).files),
        }


def test_crash_after_crash_still_loses_nothing(tmp_path: Path) -> None:
    _leave_log(tmp_path)
    for number in (5, 4, 3, 2, 1, 6, 5, 4, 3, 2, 1):
        with pytest.raises(CrashError):
            _reopen(tmp_path, CrashAt(number))
    with recording(tmp_path):
        assert logged(tmp_path) == stored(tmp_path) == [*range(1, 150)]


def test_recovery_tells_what_it_found(tmp_path: Path) -> None:
    _leave_log(tmp_path)
    with recording(tmp_path) as recorder:
        found = recorder.recovery
        assert (found.segments, found.records, found.torn, found.damaged) == (2, 100, 15, 0)
        assert recorder.last_recv == NOON + 149_000_000


def test_damage_in_a_leftover_log_is_a_gap_and_the_file_is_kept(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    _leave_log(tmp_path)
    path = max((tmp_path / "wal").glob("*.wal"))
    data = bytearray(path.read_bytes())
    data[len(next(_blocks(100, 150))) + 60] ^= 1
    path.write_bytes(data)

    with caplog.at_level(logging.WARNING), recording(tmp_path) as recorder:
        assert recorder.recovery.damaged > 0

    kept = [*range(1, 107), *range(114, 150)]
    assert logged(tmp_path) == stored(tmp_path) == kept
    assert [item.seq for item in records(tmp_path) if item.kind == "loss"] == [113]
    assert scan(tmp_path, "gaps").collect()["seq"].to_list() == [113]
    assert "bytes of the log are damaged" in caplog.text
    (damaged,) = (tmp_path / "wal").glob("*.damaged-*")
    assert damaged.read_bytes() == data


def test_a_crash_before_a_damaged_log_is_removed_keeps_the_damaged_file(tmp_path: Path) -> None:
    _leave_log(tmp_path / "made")
    path = max((tmp_path / "made/wal").glob("*.wal"))
    data = bytearray(path.read_bytes())
    data[len(next(_blocks(100, 150))) + 60] ^= 1
    path.write_bytes(data)
    counted = CrashAt()
    _reopen(shutil.copytree(tmp_path / "made", tmp_path / "count"), counted).close()
    for number in range(1, len(counted.taken) + 1):
        folder = shutil.copytree(tmp_path / "made", tmp_path / str(number))
        with pytest.raises(CrashError):
            _reopen(folder, CrashAt(number))

        with recording(folder):
            pass

        assert logged(folder) == stored(folder) == [*range(1, 107), *range(114, 150)]
        assert [kept.read_bytes() for kept in (folder / "wal").iterdir()] == [data]


def test_a_log_cut_at_any_byte_is_recovered_up_to_there(tmp_path: Path) -> None:
    log = list(_blocks(1, 22))
    ends = [sum(map(len, log[:count])) for count in range(4)]
    for size in range(0, ends[-1], 5):
        folder = tmp_path / str(size)
        (folder / "wal").mkdir(parents=True)
        (folder / "wal/000001.wal").write_bytes(b"".join(log)[:size])
        with recording(folder) as recorder:
            kept = sum(end <= size for end in ends) - 1
            assert recorder.recovery.torn == size - ends[kept]
        assert logged(folder) == stored(folder) == [*range(1, kept * 7 + 1)]


def test_a_log_with_a_line_for_each_entry_is_sealed(tmp_path: Path) -> None:
    (tmp_path / "wal").mkdir()
    (tmp_path / "wal/000001.wal").write_bytes(b"".join(_single_entry_blocks(1, 50)))

    with recording(tmp_path) as recorder:
        feed(recorder, range(recorder.next_seq, 100))

    assert logged(tmp_path) == stored(tmp_path) == [*range(1, 100)]


def test_a_large_log_is_recovered_block_by_block(tmp_path: Path) -> None:
    noise = random.Random(1).randbytes(100_000)
    compressor = zstandard.ZstdCompressor(level=1)
    (tmp_path / "wal").mkdir()
    with (tmp_path / "wal/000001.wal").open("wb") as log:
        for number in range(200):
            made = record(number + 1)
            item = Record(made.seq, made.recv, made.conn, made.kind, noise)
            log.write(encode_block([item], number=number, compressor=compressor))
    with recording(tmp_path) as recorder:
        assert recorder.recovery.records == 200
    assert logged(tmp_path) == stored(tmp_path) == [*range(1, 201)]
    assert verify_files(tmp_path) == []


def test_a_log_that_cannot_be_decoded_is_kept(tmp_path: Path) -> None:
    _leave_log(tmp_path)
    before = sorted(path.read_bytes() for path in (tmp_path / "wal").iterdir())

    def refuse(_: object) -> dict[str, object]:
        raise KeyError("conn")

    with pytest.raises(StoreError, match="cannot be decoded"):
        Recorder(tmp_path, rebuild=refuse)  # pyright: ignore[reportArgumentType] - it never returns

    assert sorted(path.read_bytes() for path in (tmp_path / "wal").iterdir()) == before
    with recording(tmp_path):
        assert stored(tmp_path) == [*range(1, 150)]


def test_a_log_too_large_to_wait_for_is_sealed_while_recording_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pmlive.store.opening._SEALED_AT_ONCE_BYTES", 0)
    _leave_log(tmp_path)
    may_decode = threading.Event()

    def patient(given: Iterable[Record]) -> dict[str, pl.DataFrame]:
        may_decode.wait(10)
        return rebuild(given)

    recorder = Recorder(tmp_path, rebuild=patient, options=fast())
    first = recorder.next_seq
    assert first >= 150
    assert recorder.recovery.records == 100
    assert recorder.last_recv == record(149).recv
    feed(recorder, range(first, first + 50))
    assert recorder.flush(10)
    assert logged(tmp_path) == [*range(1, 150), *range(first, first + 50)]
    may_decode.set()
    recorder.close()

    assert logged(tmp_path) == stored(tmp_path) == [*range(1, 150), *range(first, first + 50)]
    assert verify_files(tmp_path) == []


def test_a_large_log_that_cannot_be_decoded_is_set_aside_and_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("pmlive.store.opening._SEALED_AT_ONCE_BYTES", 0)
    _leave_log(tmp_path)
    before = sorted(path.read_bytes() for path in (tmp_path / "wal").iterdir())

    def refuse(given: Iterable[Record]) -> dict[str, pl.DataFrame]:
        kept = list(given)
        if kept[0].seq < 150:
            raise KeyError("conn")
        return rebuild(kept)

    recorder = Recorder(tmp_path, rebuild=refuse, options=fast())
    first = recorder.next_seq
    feed(recorder, range(first, first + 50))
    wait(lambda: len(read_manifest(tmp_path).holes) == 2)
    recorder.close()

    assert stored(tmp_path) == [*range(1, 50), *range(first, first + 50)]
    assert sorted(path.read_bytes() for path in (tmp_path / "wal").glob("*.undecodable-*")) == before
    holes = read_manifest(tmp_path).holes
    assert [(hole.started, hole.ended) for hole in holes] == [
        (record(50).recv, record(99).recv),
        (record(100).recv, record(149).recv),
    ]
    assert all("cannot be decoded" in hole.detail for hole in holes)
    assert "cannot be decoded" in caplog.text


def test_sealed_files_without_a_manifest_are_not_touched(tmp_path: Path) -> None:
    with recording(tmp_path) as recorder:
        feed(recorder, range(1, 5))
    (tmp_path / MANIFEST).unlink()
    before = sorted(tmp_path.rglob("*"))

    with pytest.raises(StoreError, match=r"sealed files and no manifest\.json"):
        Recorder(tmp_path, rebuild=rebuild)

    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("manifest", "words"),
    [
        ('{"schema": 2}', "newer pmlive"),
        ('{"name": "an extension"}', "not the manifest of a recording"),
        ("[1", "not the manifest of a recording"),
        ("", "not the manifest of a recording"),
    ],
)
def test_a_foreign_or_newer_manifest_is_refused(tmp_path: Path, manifest: str, words: str) -> None:
    (tmp_path / MANIFEST).write_text(manifest)
    with pytest.raises(StoreError, match=words):
        Recorder(tmp_path, rebuild=rebuild)
    assert [path.name for path in tmp_path.iterdir()] == [MANIFEST]


@pytest.mark.parametrize("path", ["../outside.parquet", "/etc/passwd", "a/../../b", "C:\\x", "..\\x", "a\0b"])
def test_a_manifest_cannot_name_a_file_outside(tmp_path: Path, path: str) -> None:
    with recording(tmp_path) as recorder:
        feed(recorder, range(1, 5))
    manifest = json.loads((tmp_path / MANIFEST).read_bytes())
    manifest["files"][0]["path"] = path
    (tmp_path / MANIFEST).write_bytes(msgspec.json.encode(manifest))
    with pytest.raises(StoreError, match="outside the recording"):
        read_manifest(tmp_path)


def test_a_segment_is_filed_under_the_day_of_its_first_record(tmp_path: Path) -> None:
    midnight = NOON + 12 * 3600 * SECOND
    number = (midnight - NOON) // 1_000_000
    with recording(tmp_path) as recorder:
        feed(recorder, range(number - 2, number + 2))
        recorder.cut([record(number + 2, kind="state")])
        feed(recorder, range(number + 3, number + 5))
    dates = [file.path.split("/")[1] for file in read_manifest(tmp_path).of("trades")]
    assert dates == ["date=2026-11-21", "date=2026-11-22"]


def test_the_manifest_has_the_markets_soon(tmp_path: Path) -> None:
    with recording(tmp_path) as recorder:
        recorder.markets([{"question": "Will it?", "outcomes": ["Yes", "No"]}])
        wait(lambda: read_manifest(tmp_path).markets)
    assert read_manifest(tmp_path).markets == [{"question": "Will it?", "outcomes": ["Yes", "No"]}]
