"""Many small files become few, and nobody who reads meanwhile loses a row, sees one twice, or gets an exception."""

# pandas and duckdb come without types, or not at all.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
import json
import logging
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import polars as pl
import pytest
from storing import (
    NOON,
    SECOND,
    Clock,
    CrashAt,
    CrashError,
    fast,
    feed,
    in_sight,
    logged,
    record,
    recording,
    stored,
    wait,
)

from pmlive.errors import StoreError
from pmlive.store import SealedFile, compact, read_manifest, records, scan, verify_files
from pmlive.store.disk import inject_faults
from pmlive.store.manifest import Manifest
from pmlive.store.merging import MergeLimits, plan_merges

_GRACE = 600.0


def _make(folder: Path, segments: int = 5) -> list[int]:
    """Record numbers in segments of ten, the first of which has no row; return those with rows."""
    with recording(folder, fast(merge_files=0)) as recorder:
        for start in range(recorder.next_seq, recorder.next_seq + segments * 10, 10):
            recorder.cut([record(start, kind="state")])
            feed(recorder, range(start + 1, start + 10))
    return stored(folder)


def _names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*/*.parquet"))


def test_many_files_become_one_that_has_the_same_rows(tmp_path: Path) -> None:
    numbers = _make(tmp_path)
    before = scan(tmp_path, "trades").collect()

    done = compact(tmp_path, grace=0)

    assert (done.inputs, done.outputs, done.waiting, done.refused) == (5, 1, 0, [])
    (file,) = read_manifest(tmp_path).of("trades")
    assert (file.rows, file.first_seq, file.last_seq) == (45, numbers[0], numbers[-1])
    assert _names(tmp_path) == [file.path]
    assert scan(tmp_path, "trades").collect().equals(before)
    assert in_sight(tmp_path) == logged(tmp_path) == numbers
    assert len(read_manifest(tmp_path).of("raw")) == 5
    assert verify_files(tmp_path) == []
    assert not (tmp_path / "merged").exists()
    assert read_manifest(tmp_path).replaced == []
    assert compact(tmp_path, grace=0).outputs == 0


def test_a_recording_goes_on_after_it_was_compacted(tmp_path: Path) -> None:
    _make(tmp_path)
    compact(tmp_path)
    numbers = _make(tmp_path)
    compact(tmp_path, grace=0)
    assert logged(tmp_path) == in_sight(tmp_path) == numbers == stored(tmp_path)
    assert len(numbers) == 90


def test_frames_that_were_scanned_before_each_step_are_readable_until_the_grace_is_over(tmp_path: Path) -> None:
    clock = Clock()
    numbers = _make(tmp_path)
    scanned = [scan(tmp_path, "trades")]
    for age in (0, _GRACE - 1, 1, _GRACE - 1, 1):
        clock.now += int(age * SECOND)
        compact(tmp_path, grace=_GRACE, clock=clock)
        scanned.append(scan(tmp_path, "trades"))
        # Frames of the last ten minutes.
        for frame in scanned[-2:]:
            assert frame.collect()["seq"].to_list() == numbers
        assert in_sight(tmp_path) == numbers
    assert len(_names(tmp_path)) == 1


def test_inputs_stay_in_sight_until_the_merged_file_takes_their_place(tmp_path: Path) -> None:
    clock = Clock()
    _make(tmp_path)
    before = _names(tmp_path)

    assert compact(tmp_path, clock=clock).waiting == 1
    (merged,) = set(_names(tmp_path)) - set(before)
    assert merged.startswith("merged/trades/date=")
    clock.now += int(_GRACE * SECOND)
    assert compact(tmp_path, clock=clock).waiting == 0

    assert _names(tmp_path) == [merged, merged.removeprefix("merged/")]
    clock.now += int(_GRACE * SECOND)
    compact(tmp_path, clock=clock)
    assert _names(tmp_path) == [merged.removeprefix("merged/")]


def test_a_clock_that_was_set_back_keeps_inputs_longer(tmp_path: Path) -> None:
    clock = Clock()
    numbers = _make(tmp_path)
    compact(tmp_path, clock=clock)
    clock.now -= 3600 * SECOND
    assert compact(tmp_path, clock=clock).waiting == 1
    assert in_sight(tmp_path) == stored(tmp_path) == numbers


def _crash_everywhere(tmp_path: Path, run: Callable[[Path, CrashAt], None], *, finished: Callable[[Path], None]) -> int:
    """Crash at one step after another until none is left; what was recorded is there each time, and is finished."""
    numbers = _make(tmp_path / "made", segments=3)
    for number in range(1, 1000):
        folder = shutil.copytree(tmp_path / "made", tmp_path / str(number))
        step = CrashAt(number)
        try:
            run(folder, step)
        except CrashError:
            pass
        else:
            return number - 1
        assert stored(folder) == logged(folder) == numbers, step.taken[-1]
        finished(folder)
        assert stored(folder) == in_sight(folder) == logged(folder) == numbers, step.taken[-1]
        assert verify_files(folder) == []
    raise AssertionError("it never ends")


def _finish(folder: Path) -> None:
    compact(folder, grace=0)
    (file,) = read_manifest(folder).of("trades")
    assert _names(folder) == [file.path]


def test_a_crash_at_any_step_of_a_compaction_loses_nothing_and_doubles_nothing(tmp_path: Path) -> None:
    def run(folder: Path, step: CrashAt) -> None:
        compact(folder, grace=0, step=step)

    assert _crash_everywhere(tmp_path, run, finished=_finish) >= 8


@pytest.mark.slow
def test_a_crash_at_any_change_of_the_disk_loses_nothing_and_doubles_nothing(tmp_path: Path) -> None:
    def run(folder: Path, step: CrashAt) -> None:
        with inject_faults(step):
            compact(folder, grace=0)

    assert _crash_everywhere(tmp_path, run, finished=_finish) >= 25


def test_an_exchange_that_a_crash_interrupted_is_finished_whatever_the_grace(tmp_path: Path) -> None:
    def run(folder: Path, step: CrashAt) -> None:
        compact(folder, grace=0, step=step)

    def finished(folder: Path) -> None:
        with recording(folder):
            pass

    assert _crash_everywhere(tmp_path, run, finished=finished) >= 8


def test_a_recorder_puts_right_what_a_crash_left_of_a_compaction(tmp_path: Path) -> None:
    def run(folder: Path, step: CrashAt) -> None:
        compact(folder, grace=0, step=step)

    def finished(folder: Path) -> None:
        with recording(folder, fast(grace=0, merge_files=2)):
            wait(lambda: len(read_manifest(folder).of("trades")) == 1 and not read_manifest(folder).replaced)
        assert _names(folder) == [file.path for file in read_manifest(folder).of("trades")]

    assert _crash_everywhere(tmp_path, run, finished=finished) >= 8


def test_a_disk_that_refuses_any_one_change_leaves_a_whole_recording(tmp_path: Path) -> None:
    numbers = _make(tmp_path / "made", segments=3)
    for number in range(1, 1000):
        folder = shutil.copytree(tmp_path / "made", tmp_path / str(number))
        refusal = CrashAt(number)

        def refuse(change: str, refusal: CrashAt = refusal) -> None:
            try:
                refusal(change)
            except CrashError:
                raise OSError(28, f"No space left on device: {change}") from None

        try:
            with inject_faults(refuse):
                compact(folder, grace=0)
        except StoreError:
            assert stored(folder) == logged(folder) == numbers, refusal.taken[-1]
        if len(refusal.taken) < number:
            return
        _finish(folder)
        assert stored(folder) == in_sight(folder) == numbers


def test_a_recorder_merges_while_it_records(tmp_path: Path) -> None:
    with recording(tmp_path, fast(merge_files=3, grace=0)) as recorder:
        for start in range(1, 201, 10):
            feed(recorder, range(start, start + 9))
            recorder.cut([record(start + 9, kind="state")])
            assert recorder.flush(10)
            held = stored(tmp_path)
            assert held == logged(tmp_path)[: len(held)]
        wait(lambda: recorder.status().segments == 20)
        wait(lambda: len(read_manifest(tmp_path).of("trades")) <= 3)
        assert recorder.status().trouble is None
        assert recorder.status().rows["trades"] == 180
    assert stored(tmp_path) == in_sight(tmp_path) == logged(tmp_path)


def test_what_another_run_recorded_is_merged_by_itself(tmp_path: Path) -> None:
    numbers = _make(tmp_path)
    boundary = read_manifest(tmp_path).next_seq
    with recording(tmp_path, fast(merge_files=2, grace=0)) as recorder:
        feed(recorder, range(boundary, boundary + 5))
        recorder.cut([])
        feed(recorder, range(boundary + 5, boundary + 9))
        recorder.cut([])
        ends = [(1, numbers[-1]), (boundary, boundary + 8)]
        wait(lambda: [(file.first_seq, file.last_seq) for file in read_manifest(tmp_path).of("trades")] == ends)


def test_a_damaged_file_is_not_merged_and_is_named(tmp_path: Path) -> None:
    numbers = _make(tmp_path)
    path = tmp_path / read_manifest(tmp_path).of("trades")[2].path
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)

    (said,) = compact(tmp_path, grace=0).refused

    assert path.name in said
    assert path.read_bytes() == data
    assert len(numbers) == sum(file.rows for file in read_manifest(tmp_path).of("trades"))


def test_a_recorder_leaves_damaged_files_alone_and_goes_on(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    _make(tmp_path)
    path = tmp_path / read_manifest(tmp_path).of("trades")[0].path
    path.unlink()
    with caplog.at_level(logging.WARNING), recording(tmp_path, fast(merge_files=2, grace=0)) as recorder:
        wait(lambda: "is missing and is not merged" in caplog.text)
        feed(recorder, range(100, 110))
        recorder.cut([])
        wait(lambda: recorder.status().segments == 1)
        assert recorder.status().trouble is None


def test_a_recording_that_is_being_recorded_is_not_compacted(tmp_path: Path) -> None:
    with recording(tmp_path), pytest.raises(StoreError, match="is being recorded by process"):
        compact(tmp_path)
    with pytest.raises(StoreError, match="is not a recording"):
        compact(tmp_path / "nowhere")
    assert not (tmp_path / "nowhere").exists()


def _file(number: int, **changes: object) -> SealedFile:
    start = number * 1000
    known: dict[str, object] = {
        "path": f"trades/date=2026-11-21/{number}.parquet",
        "table": "trades",
        "rows": 100,
        "bytes": 1000,
        "sha256": "",
        "first_seq": start,
        "last_seq": start + 999,
        "first_time": NOON + start * 1_000_000,
        "last_time": NOON + (start + 999) * 1_000_000,
    }
    return msgspec.convert(known | changes, SealedFile)


def _planned(files: list[SealedFile], limits: MergeLimits | None = None, *, boundary: int = 0) -> list[list[int]]:
    manifest = Manifest(pmlive="", created="", files=files)
    runs = plan_merges(manifest, limits or MergeLimits(files=3), boundary=boundary)
    return [[file.first_seq // 1000 for file in run] for run in runs]


def test_few_young_files_are_left_alone() -> None:
    assert _planned([_file(1), _file(2)]) == []
    assert _planned([_file(1), _file(2), _file(3)]) == [[1, 2, 3]]
    assert _planned([_file(1), _file(2)], MergeLimits(files=3, seconds=1)) == [[1, 2]]
    assert _planned([_file(1), _file(2), _file(3)], MergeLimits(files=0)) == []


def test_a_merged_file_is_as_large_as_it_may_be_and_no_larger() -> None:
    by_rows = MergeLimits(files=3, rows=250)
    assert _planned([_file(number) for number in range(7)], by_rows) == [[0, 1], [2, 3], [4, 5]]
    assert _planned([_file(number) for number in range(7)], MergeLimits(files=3, bytes=3500)) == [[0, 1, 2], [3, 4, 5]]
    assert _planned([_file(1), _file(2, rows=200), _file(3), _file(4)], by_rows) == []


def test_days_tables_and_runs_are_not_mixed() -> None:
    other_day = [_file(number, path=f"trades/date=2026-11-22/{number}.parquet") for number in (3, 4, 5)]
    other_table = [_file(number, table="prices") for number in range(2)]
    frames = [_file(number, table="raw") for number in range(9)]
    assert _planned([_file(1), _file(2), *other_day, *other_table, *frames]) == [[3, 4, 5]]
    assert _planned([_file(number) for number in range(6)], boundary=3000) == [[0, 1, 2], [3, 4, 5]]
    assert _planned([_file(number) for number in range(6)], boundary=2000) == [[2, 3, 4, 5]]


def test_files_whose_numbers_overlap_are_not_merged() -> None:
    assert _planned([_file(1, last_seq=2500), _file(2), _file(3), _file(4)]) == [[2, 3, 4]]


def test_files_that_wait_are_not_merged_again() -> None:
    waiting = _file(2, path="merged/trades/date=2026-11-21/2.parquet")
    assert _planned([_file(0), _file(1), waiting, _file(3), _file(4)]) == []


def test_old_raw_frames_are_given_up_when_that_is_wished(tmp_path: Path) -> None:
    numbers = _make(tmp_path)
    frames = read_manifest(tmp_path).of("raw")
    clock = Clock(frames[2].last_time + 60 * SECOND)
    with recording(tmp_path, fast(keep_raw=60.0), clock=clock):
        wait(lambda: _raw_files(tmp_path) == 3)

    manifest = read_manifest(tmp_path)
    assert manifest.raw_from == frames[1].last_time + 1
    assert [file.first_seq for file in manifest.of("raw")] == [20, 30, 40]
    assert [item.seq for item in records(tmp_path)] == [*range(20, 50)]
    assert stored(tmp_path) == numbers
    assert verify_files(tmp_path) == []


def test_raw_frames_that_are_given_up_while_they_are_read_are_gaps(tmp_path: Path) -> None:
    _make(tmp_path)
    reading = records(tmp_path)
    assert next(reading).seq == 0
    last = read_manifest(tmp_path).of("raw")[-1].last_time
    with recording(tmp_path, fast(keep_raw=1.0), clock=Clock(last + 2 * SECOND)):
        wait(lambda: _raw_files(tmp_path) == 0)
    left = [(item.seq, item.kind) for item in reading if item.seq > 9]
    assert left == [(number, kind) for number in (19, 29, 39, 49) for kind in ("loss", "cut")]
    assert list(records(tmp_path)) == []


def _raw_files(folder: Path) -> int:
    """Count them; a folder that is removed meanwhile has none."""
    return sum(len(files) for _, _, files in os.walk(folder / "raw"))


def test_a_manifest_from_before_is_read(tmp_path: Path) -> None:
    numbers = _make(tmp_path)
    manifest = json.loads((tmp_path / "manifest.json").read_bytes())
    del manifest["replaced"], manifest["raw_from"]
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    assert stored(tmp_path) == numbers
    compact(tmp_path, grace=0)
    assert stored(tmp_path) == numbers


@pytest.mark.parametrize("path", ["../other/1-00000000-000001.parquet", "/etc/1-00000000-000001.parquet"])
def test_a_manifest_cannot_have_files_outside_removed(tmp_path: Path, path: str) -> None:
    _make(tmp_path)
    manifest = json.loads((tmp_path / "manifest.json").read_bytes())
    manifest["replaced"] = [{"path": path, "by": "x", "since": 0}]
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(StoreError, match="outside the recording"):
        compact(tmp_path, grace=0)


def test_a_manifest_cannot_have_files_removed_that_are_not_ours(tmp_path: Path) -> None:
    _make(tmp_path)
    mine = tmp_path / "notes.parquet"
    mine.write_text("mine")
    manifest = json.loads((tmp_path / "manifest.json").read_bytes())
    manifest["replaced"] = [{"path": "notes.parquet", "by": "x", "since": 0}]
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    compact(tmp_path, grace=0)
    assert mine.read_text() == "mine"


def test_a_manifest_cannot_have_files_removed_that_it_lists(tmp_path: Path) -> None:
    _make(tmp_path)
    manifest = json.loads((tmp_path / "manifest.json").read_bytes())
    listed = [file["path"] for file in manifest["files"] if file["table"] == "raw"]
    manifest["replaced"] = [{"path": path, "by": "x", "since": 0} for path in listed]
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))

    compact(tmp_path, grace=0)

    assert [path for path in listed if not (tmp_path / path).exists()] == []
    assert verify_files(tmp_path) == []


@pytest.mark.parametrize("grace", [0.0, 600.0])
def test_other_tools_read_a_compacted_table_with_one_line(tmp_path: Path, grace: float) -> None:
    pandas, duckdb = pytest.importorskip("pandas"), pytest.importorskip("duckdb")
    numbers = _make(tmp_path)
    compact(tmp_path, grace=grace)

    assert pl.read_parquet(tmp_path / "trades/*/*.parquet")["seq"].sort().to_list() == numbers
    assert sorted(pandas.read_parquet(tmp_path / "trades")["seq"]) == numbers
    with duckdb.connect() as connection:
        query = "SELECT seq FROM read_parquet(?) ORDER BY seq"
        found = connection.execute(query, [f"{tmp_path}/trades/*/*.parquet"]).fetchall()
    assert [seq for (seq,) in found] == numbers


def _exchanged(folder: Path) -> bool:
    paths = [Path(file.path) for file in read_manifest(folder).of("trades")]
    return any("to" in path.stem and path.parts[0] == "trades" for path in paths)


@pytest.mark.quick(1)
@pytest.mark.parametrize("keeping", ["all", "few"])
def test_a_reader_never_meets_an_exception_while_a_recorder_seals_merges_and_gives_up_frames(
    tmp_path: Path, keeping: str
) -> None:
    command = [sys.executable, Path(__file__).with_name("storing.py"), tmp_path, keeping]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        try:
            child.stdout.readline()
            rounds, scanned, since = 0, scan(tmp_path, "trades"), time.monotonic()
            while rounds < 20 or not _exchanged(tmp_path):
                found = list(records(tmp_path))
                # Frames that are given up while they are read are gaps that stand for all numbers up to theirs.
                numbers = [item.seq for item in found if item.kind not in ("loss", "cut")]
                assert numbers == sorted(set(numbers))
                assert numbers == [*range(1, len(numbers) + 1)] or keeping == "few"
                if time.monotonic() - since < 0.5:  # of a second of grace
                    again = scanned.collect()["seq"].to_list()
                    assert stored(tmp_path)[: len(again)] == again
                assert verify_files(tmp_path) == []
                rounds, scanned, since = rounds + 1, scan(tmp_path, "trades"), time.monotonic()
        finally:
            child.kill()
