"""Damaged files: what can be made again is, what cannot is said, and what was damaged is kept."""

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard
from storing import (
    Clock,
    CrashAt,
    CrashError,
    fast,
    feed,
    in_sight,
    logged,
    rebuild,
    record,
    recording,
    single_entry,
    stored,
)

from pmlive.errors import StoreError
from pmlive.store import RepairReport, compact, read_manifest, records, scan, verify_files
from pmlive.store import repair as repair_with
from pmlive.store.disk import inject_faults
from pmlive.store.manifest import MANIFEST


def repair(folder: Path, **options: Callable[[str], None]) -> RepairReport:
    return repair_with(folder, rebuild=rebuild, **options)  # pyright: ignore[reportArgumentType] - steps only


def _make(folder: Path, segments: int = 4) -> list[int]:
    with recording(folder, fast(merge_files=0)) as recorder:
        for start in range(0, segments * 10, 10):
            recorder.cut([record(start, kind="state")])
            feed(recorder, range(start + 1, start + 10))
    return stored(folder)


def _spoil(path: Path, *, at: float = 0.5) -> bytes:
    data = bytearray(path.read_bytes())
    data[int(len(data) * at)] ^= 1
    path.write_bytes(data)
    return bytes(data)


def _paths(folder: Path, table: str) -> list[Path]:
    return [folder / file.path for file in read_manifest(folder).of(table)]


def _kept(folder: Path) -> list[bytes]:
    return [path.read_bytes() for path in sorted(folder.rglob("*.damaged-*"))]


def test_a_whole_recording_is_left_as_it_is(tmp_path: Path) -> None:
    _make(tmp_path)
    before = (tmp_path / MANIFEST).read_bytes()
    report = repair(tmp_path)
    assert (report.checked, report.repaired, report.lost, report.damaged) == (8, [], 0, 0)
    assert (tmp_path / MANIFEST).read_bytes() == before


def test_a_damaged_table_is_made_again_and_the_damaged_file_is_kept(tmp_path: Path) -> None:
    numbers = _make(tmp_path)
    rows = scan(tmp_path, "trades").collect()
    path = _paths(tmp_path, "trades")[1]
    damaged = _spoil(path)

    (repaired,) = repair(tmp_path).repaired

    assert (repaired.table, repaired.rows, repaired.lost) == ("trades", 9, 0)
    assert repaired.was == path.relative_to(tmp_path).as_posix()
    assert "sha256" in repaired.problem
    assert repaired.kept is not None
    assert (tmp_path / repaired.kept).read_bytes() == damaged
    assert scan(tmp_path, "trades").collect().equals(rows)
    assert in_sight(tmp_path) == numbers
    assert verify_files(tmp_path) == []
    assert read_manifest(tmp_path).holes == []


def test_a_missing_table_is_made_again(tmp_path: Path) -> None:
    numbers = _make(tmp_path)
    _paths(tmp_path, "trades")[2].unlink()
    (repaired,) = repair(tmp_path).repaired
    assert repaired.kept is None
    assert stored(tmp_path) == in_sight(tmp_path) == numbers


@pytest.mark.parametrize("grace", [0.0, 600.0])
def test_a_damaged_merged_file_is_made_again_from_all_its_segments(tmp_path: Path, grace: float) -> None:
    numbers = _make(tmp_path)
    compact(tmp_path, grace=grace)
    (path,) = _paths(tmp_path, "trades")
    _spoil(path)

    (repaired,) = repair(tmp_path).repaired

    assert (repaired.rows, repaired.lost) == (36, 0)
    assert stored(tmp_path) == in_sight(tmp_path) == numbers
    assert verify_files(tmp_path) == []
    compact(tmp_path, grace=0)
    assert stored(tmp_path) == in_sight(tmp_path) == numbers
    assert read_manifest(tmp_path).replaced == []


def _make_large(folder: Path) -> None:
    """Record three large blocks of frames in one segment."""
    with recording(folder) as recorder:
        for number in range(1, 25):
            feed(recorder, [number], size=1_000_000)
            assert recorder.flush(10)


def test_damage_in_the_middle_of_frames_leaves_both_halves_and_a_gap(tmp_path: Path) -> None:
    _make_large(tmp_path)
    rows = stored(tmp_path)
    (path,) = _paths(tmp_path, "raw")
    damaged = _spoil(path)
    left = logged(tmp_path)

    (repaired,) = repair(tmp_path).repaired

    assert (repaired.rows, repaired.lost) == (len(left), 24 - len(left))
    assert 0 < repaired.damaged < len(damaged) / 2
    assert logged(tmp_path) == left
    assert {1, 24} <= set(left)
    missing = sorted(set(range(1, 25)) - set(left))
    assert missing == [*range(missing[0], missing[-1] + 1)]
    assert [item.seq for item in records(tmp_path) if item.kind == "loss"] == missing[-1:]
    assert stored(tmp_path) == rows  # they are whole, and say more than the frames now
    assert verify_files(tmp_path) == []
    assert _kept(tmp_path) == [damaged]


def test_frames_that_end_too_early_are_a_gap_at_the_end(tmp_path: Path) -> None:
    _make_large(tmp_path)
    (path,) = _paths(tmp_path, "raw")
    data = path.read_bytes()
    path.write_bytes(data[:-1])
    left = logged(tmp_path)
    assert left == [*range(1, len(left) + 1)]
    assert [item.seq for item in records(tmp_path) if item.kind != "cut"] == [*left, 24]

    (repaired,) = repair(tmp_path).repaired

    assert repaired.lost == 24 - len(left) > 0
    assert logged(tmp_path) == left


def test_missing_frames_are_a_gap_and_the_tables_stay(tmp_path: Path) -> None:
    numbers = _make(tmp_path)
    _paths(tmp_path, "raw")[1].unlink()
    (repaired,) = repair(tmp_path).repaired
    assert (repaired.rows, repaired.lost, repaired.kept) == (0, 10, None)
    assert [item.seq for item in records(tmp_path) if item.kind != "cut"] == [*range(10), 19, *range(20, 40)]
    assert stored(tmp_path) == numbers
    assert verify_files(tmp_path) == []


def test_rows_whose_frames_are_damaged_too_are_a_hole_that_is_said(tmp_path: Path) -> None:
    numbers = _make(tmp_path)
    _spoil(_paths(tmp_path, "raw")[1])
    path = _paths(tmp_path, "trades")[1]
    file = read_manifest(tmp_path).of("trades")[1]
    damaged = _spoil(path)

    report = repair(tmp_path)

    assert [(one.table, one.lost) for one in report.repaired] == [("raw", 10), ("trades", 9)]
    assert report.repaired[1].path is None
    assert report.lost == 19
    assert stored(tmp_path) == in_sight(tmp_path) == [number for number in numbers if not 10 < number < 20]
    (hole,) = read_manifest(tmp_path).holes
    # What was lost may tell of anything since the segment before ended.
    before = max(one.last_time for one in read_manifest(tmp_path).files if one.last_seq < file.first_seq)
    assert before < file.first_time
    assert (hole.started, hole.ended, hole.cause) == (before, file.last_time + 1, "disk")
    assert "9 rows of trades" in hole.detail
    assert damaged in _kept(tmp_path)
    assert verify_files(tmp_path) == []
    assert repair(tmp_path).repaired == []


def test_rows_whose_frames_were_given_up_cannot_be_made_again(tmp_path: Path) -> None:
    numbers = _make(tmp_path)
    clock = Clock(read_manifest(tmp_path).of("raw")[-1].last_time + 1)
    with recording(tmp_path, fast(keep_raw=0.001), clock=clock) as recorder:
        feed(recorder, range(100, 105))
    assert [file.first_seq for file in read_manifest(tmp_path).of("raw")][-1] == 100
    _spoil(_paths(tmp_path, "trades")[0])

    (repaired,) = repair(tmp_path).repaired

    assert (repaired.path, repaired.rows, repaired.lost) == (None, 0, 9)
    assert stored(tmp_path) == [*numbers[9:], *range(100, 105)]


def test_a_recording_that_is_being_recorded_is_not_repaired(tmp_path: Path) -> None:
    with recording(tmp_path), pytest.raises(StoreError, match="is being recorded by process"):
        repair(tmp_path)
    with pytest.raises(StoreError, match="is not a recording"):
        repair(tmp_path / "nowhere")


def _crash_everywhere(tmp_path: Path, run: Callable[[Path, CrashAt], object]) -> int:
    """Crash repairs at one step after another, and repair again: nothing more is lost by it."""
    made = tmp_path / "made"
    numbers = _make(made)
    damaged = sorted([_spoil(_paths(made, "raw")[2]), _spoil(_paths(made, "trades")[0])])
    for number in range(1, 1000):
        folder = shutil.copytree(made, tmp_path / str(number))
        try:
            run(folder, CrashAt(number))
        except CrashError:
            pass
        else:
            return number - 1
        repair(folder)
        assert verify_files(folder) == []
        assert stored(folder) == in_sight(folder) == numbers
        assert logged(folder) == [seq for seq in numbers if not 20 < seq < 30]
        assert sorted(_kept(folder)) == damaged
    raise AssertionError("it never ends")


def test_a_crash_at_any_step_of_a_repair_loses_nothing_more(tmp_path: Path) -> None:
    assert _crash_everywhere(tmp_path, lambda folder, step: repair(folder, step=step)) >= 6


@pytest.mark.slow
def test_a_crash_at_any_change_of_the_disk_in_a_repair_loses_nothing_more(tmp_path: Path) -> None:
    def run(folder: Path, step: CrashAt) -> None:
        with inject_faults(step):
            repair(folder)

    assert _crash_everywhere(tmp_path, run) >= 15


def test_frames_without_blocks_are_read_and_lost_whole_when_they_are_damaged(tmp_path: Path) -> None:
    numbers = _make(tmp_path)
    manifest = (tmp_path / MANIFEST).read_text()
    path = _paths(tmp_path, "raw")[1]
    file = read_manifest(tmp_path).of("raw")[1]
    entries = b"".join(map(single_entry, list(records(tmp_path))[10:20]))
    path.write_bytes(zstandard.ZstdCompressor(write_checksum=True).compress(entries))
    packed = path.read_bytes()
    manifest = manifest.replace(file.sha256, hashlib.sha256(packed).hexdigest())
    manifest = manifest.replace(f'"bytes": {file.bytes}', f'"bytes": {len(packed)}')
    (tmp_path / MANIFEST).write_text(manifest)
    assert logged(tmp_path) == numbers
    assert verify_files(tmp_path) == []

    damaged = _spoil(path)

    assert [item.seq for item in records(tmp_path) if item.kind != "cut"] == [*range(10), 19, *range(20, 40)]
    (repaired,) = repair(tmp_path).repaired
    assert (repaired.lost, repaired.damaged) == (10, len(damaged))
