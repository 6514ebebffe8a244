import logging
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal
from storing import fast, feed, logged, record, recording, stored, wait

from pmlive.errors import StoreError
from pmlive.store import read_manifest, recordings, records, scan, verify_files
from pmlive.tables import SCHEMAS, STORED


def _make(folder: Path, last: int = 100) -> None:
    with recording(folder) as recorder:
        feed(recorder, range(1, 50))
        recorder.cut([record(50, kind="state")])
        feed(recorder, range(51, last))


@pytest.mark.parametrize("table", STORED)
def test_a_table_without_files_is_an_empty_frame_with_its_columns(tmp_path: Path, table: str) -> None:
    with recording(tmp_path):
        pass
    assert_frame_equal(scan(tmp_path, table).collect(), pl.DataFrame(schema=SCHEMAS[table]))


def test_a_table_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no table 'candles'; there are prices"):
        scan(tmp_path, "candles")


def test_a_folder_that_is_no_recording_is_refused(tmp_path: Path) -> None:
    for read in (read_manifest, verify_files, logged, stored):
        with pytest.raises(StoreError, match="is not a recording"):
            read(tmp_path)


def test_a_name_with_wildcards_is_read_as_it_is(tmp_path: Path) -> None:
    folder = tmp_path / "a [1] * {b}"
    _make(folder)
    assert logged(folder) == stored(folder)


def test_a_recording_is_read_while_it_is_written(tmp_path: Path) -> None:
    with recording(tmp_path, fast(segment_rows=50)) as recorder:
        number = 1
        for _ in range(40):
            feed(recorder, range(number, number + 20))
            number += 20
            if recorder.poll():
                recorder.cut([record(number, kind="state")])
                number += 1
            seen = [item.seq for item in records(tmp_path)]
            assert seen == [*range(1, len(seen) + 1)]
        assert recorder.flush(10)
        assert [item.seq for item in records(tmp_path)] == [*range(1, number)]
        wait(lambda: recorder.status().segments > 5)
        held = stored(tmp_path)
        assert held == logged(tmp_path)[: len(held)]


def test_a_half_written_block_at_the_end_is_not_there(tmp_path: Path) -> None:
    with recording(tmp_path) as recorder:
        feed(recorder, range(1, 20))
        assert recorder.flush(10)
        path = next((tmp_path / "wal").iterdir())
        data = path.read_bytes()
        for size in range(len(data) - 3, len(data)):
            path.write_bytes(data[:size])
            assert list(records(tmp_path)) == []
        path.write_bytes(data + data[:30])
        assert logged(tmp_path) == [*range(1, 20)]
        path.write_bytes(data)


def test_recordings_are_listed_with_what_they_have(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    _make(tmp_path / "b")
    _make(tmp_path / "a", last=60)
    (tmp_path / "other").mkdir()
    (tmp_path / "newer").mkdir()
    (tmp_path / "newer" / "manifest.json").write_text('{"schema": 9}')

    with caplog.at_level(logging.WARNING):
        first, second = recordings(tmp_path)

    assert [Path(first.path).name, Path(second.path).name] == ["a", "b"]
    assert (second.rows, second.unsealed, second.duration.total_seconds()) == (98, 0, 0.098)
    assert "newer pmlive" in caplog.text
    assert [item.path for item in recordings(tmp_path / "a")] == [first.path]
    assert recordings(tmp_path / "nowhere") == []


def test_a_damaged_file_is_reported_and_its_frames_are_a_gap(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    _make(tmp_path)
    assert verify_files(tmp_path) == []
    first, _ = read_manifest(tmp_path).of("raw")
    path = tmp_path / first.path
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)

    (problem,) = verify_files(tmp_path)
    with caplog.at_level(logging.WARNING):
        found = list(records(tmp_path))

    assert problem.path == first.path
    assert "sha256" in problem.problem
    assert [item.seq for item in found if item.kind != "cut"] == [49, *range(50, 100)]
    assert [item.kind for item in found[:4]] == ["loss", "cut", "state", "market"]
    assert "49 frames are a gap" in caplog.text


def test_a_missing_table_file_is_reported_and_the_others_are_read(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    _make(tmp_path)
    first, _ = read_manifest(tmp_path).of("trades")
    (tmp_path / first.path).unlink()
    assert [problem.path for problem in verify_files(tmp_path)] == [first.path]
    with caplog.at_level(logging.WARNING):
        assert stored(tmp_path) == [*range(51, 100)]
    assert "missing" in caplog.text
