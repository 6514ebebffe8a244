"""What a recording on disk holds."""

from pathlib import Path

import pytest

import pmlive
from pmlive import StoreError
from pmlive.recording import info, recordings, sample


def test_the_sample_comes_with_a_disconnection_and_proved_books() -> None:
    summary = info(sample())

    assert {"disconnect"} == {gap.cause for gap in summary.gaps}
    assert all(gap.duration is not None and gap.duration.total_seconds() < 15 for gap in summary.gaps)
    assert summary.checks.hash_verified > 1_000
    assert summary.mismatches == 0
    assert len(summary.markets) == 4
    assert len(summary.tokens) == 8
    assert {"trades", "activity", "user_orders", "user_trades", "reference_prices"} <= {
        table.table for table in summary.tables
    }


def test_the_sample_is_small_and_whole() -> None:
    assert pmlive.sample() == sample()
    assert sum(path.stat().st_size for path in sample().rglob("*") if path.is_file()) < 2_000_000
    assert info(sample()).unsealed == 0
    assert sorted(path.name for path in sample().iterdir() if path.name.startswith(".")) == []


def test_times_and_sums_are_those_of_the_frames() -> None:
    summary = info(sample())

    assert summary.first_time is not None
    assert summary.last_time is not None
    assert 60 <= (summary.last_time - summary.first_time).total_seconds() <= 150
    assert summary.frames == next(table.rows for table in summary.tables if table.table == "raw")
    assert summary.files == sum(table.files for table in summary.tables)


def test_a_part_begins_at_an_arrival_number() -> None:
    nothing = info(sample(), first_seq=10**15)

    assert nothing.tables == []
    assert nothing.gaps == []
    assert nothing.checks.hash_verified == 0
    assert nothing.first_time is None


def test_recordings_are_those_of_the_data_folder_by_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PMLIVE_DATA_DIR", str(tmp_path))
    assert recordings() == []

    monkeypatch.setenv("PMLIVE_DATA_DIR", str(sample().parent))
    assert [one.path for one in recordings()] == [str(sample())]
    assert [one.path for one in recordings(str(sample()))] == [str(sample())]


def test_a_folder_without_a_manifest_is_no_recording(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="is not a recording"):
        info(tmp_path)


def test_a_table_that_is_damaged_is_told(tmp_path: Path) -> None:
    for path in sample().rglob("*"):
        if path.is_file():
            copy = tmp_path / path.relative_to(sample())
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(path.read_bytes())
    (gaps,) = tmp_path.glob("gaps/*/*.parquet")
    gaps.write_bytes(b"PAR1 and no more")

    with pytest.raises(StoreError, match=f"{gaps.name}.*check the recording with: pmlive verify"):
        info(tmp_path)
