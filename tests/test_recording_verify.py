"""Whether a recording is what it says: every file, every record, every row; and tables made anew."""

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from random import Random

import polars as pl
import pytest
from polars.testing import assert_frame_equal
from support.night import stored
from support.taping import Tape, told
from test_recording_quality import damage

import pmlive as pm
from pmlive.pipeline.journal import rebuild
from pmlive.store import parquet, records
from pmlive.tables import STORED


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recordings") / "night"
    told(folder, 21)
    return folder


@pytest.fixture
def folder(recorded: Path, tmp_path: Path) -> Path:
    shutil.copytree(recorded, tmp_path / "night", ignore=shutil.ignore_patterns(".lock"))
    return tmp_path / "night"


def first(folder: Path, table: str) -> Path:
    return min(folder.glob(f"{table}/*/*"))


def relist(folder: Path, path: Path) -> None:
    """List a file as it is now, so that its checksum is right."""
    manifest = json.loads((folder / "manifest.json").read_text())
    data = path.read_bytes()
    for file in manifest["files"]:
        if file["path"] == path.relative_to(folder).as_posix():
            file |= {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
    (folder / "manifest.json").write_text(json.dumps(manifest))


def rewrite(folder: Path, table: str, change: Callable[[pl.DataFrame], pl.DataFrame]) -> None:
    path = first(folder, table)
    rows = pm.open_recording(folder).scan(table).filter(pl.col("seq") <= pl.read_parquet(path)["seq"].max()).collect()
    path.write_bytes(parquet.encode(table, change(rows)).data)
    relist(folder, path)


def test_a_sound_recording_is_found_sound(folder: Path) -> None:
    found = pm.open_recording(folder).verify()

    assert found.ok
    assert found.findings == []
    assert found.unchecked == []
    assert found.segments == 3
    assert found.rows == sum(one.rows for one in pm.open_recording(folder).info().tables if one.table != "raw")
    assert "sound" in repr(found)
    assert json.loads(json.dumps(found.to_dict()))["ok"] is True


@pytest.mark.parametrize("table", ["raw", "trades", "book_deltas", "keyframes"])
def test_a_byte_that_changed_is_found(folder: Path, table: str) -> None:
    path = first(folder, table)
    damage(path, [path.stat().st_size // 2])

    found = pm.open_recording(folder).verify()

    assert [finding.where for finding in found.findings] == [path.relative_to(folder).as_posix()]
    assert "sha256" in found.findings[0].what
    assert "restore" in found.findings[0].advice
    assert not found.ok


@pytest.mark.parametrize("table", ["gaps", "checks"])
def test_a_file_that_is_no_parquet_any_more_is_found(folder: Path, table: str) -> None:
    for path in folder.glob(f"{table}/*/*"):
        path.write_bytes(b"PAR1 and no more")

    found = pm.open_recording(folder).verify()

    assert {finding.where.split("/")[0] for finding in found.findings} == {table}


def test_a_file_that_is_missing_is_found(folder: Path) -> None:
    first(folder, "prices").unlink()

    found = pm.open_recording(folder).verify()

    assert [finding.what for finding in found.findings] == ["cannot be read: No such file or directory"]


def priced_anew(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.with_columns(price=pl.lit(0.5))


def mirrored(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.with_columns(bid_sizes=pl.col("ask_sizes"))


def shortened(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.head(rows.height - 1)


@pytest.mark.parametrize(
    ("table", "change", "problem"),
    [
        ("trades", priced_anew, "0 rows of its raw records are missing, 0 are too many"),
        ("keyframes", mirrored, "differ"),
        ("book_deltas", shortened, "1 rows of its raw records are missing, 0 are too many, 0 differ"),
        ("gaps", shortened, "1 rows of its raw records are missing"),
    ],
)
def test_rows_that_are_not_those_of_the_records_are_found(
    folder: Path, table: str, change: Callable[[pl.DataFrame], pl.DataFrame], problem: str
) -> None:
    rewrite(folder, table, change)

    found = pm.open_recording(folder).verify()

    assert [finding.where.split(",")[0] for finding in found.findings] == [table]
    assert problem in found.findings[0].what
    assert "rebuild" in found.findings[0].advice
    assert table in repr(found)


def test_tables_whose_records_were_given_up_are_said_to_be_unchecked(folder: Path) -> None:
    path = first(folder, "raw")
    manifest = json.loads((folder / "manifest.json").read_text())
    name = path.relative_to(folder).as_posix()
    manifest["raw_from"] = next(file["last_time"] for file in manifest["files"] if file["path"] == name) + 1
    manifest["files"] = [file for file in manifest["files"] if file["path"] != name]
    (folder / "manifest.json").write_text(json.dumps(manifest))
    path.unlink()

    found = pm.open_recording(folder).verify()

    assert found.ok
    assert found.segments == 2
    assert len(found.unchecked) == 1
    assert "their raw records were given up" in found.unchecked[0]
    night = pm.open_recording(folder)
    assert night.first_time is not None
    assert night.book_at("21", night.first_time).label == "token 21"


def test_a_log_that_is_not_sealed_is_no_fault(tmp_path: Path) -> None:
    tape = Tape(tmp_path / "night", Random(1))
    tape.steps(20)
    assert tape.recorder.flush(10)
    shutil.copytree(tmp_path / "night", tmp_path / "killed", ignore=shutil.ignore_patterns(".lock"))
    tape.recorder.close()

    found = pm.open_recording(tmp_path / "killed").verify()

    assert found.ok
    assert "only in the log" in found.unchecked[0]


def test_tables_made_anew_are_those_that_were_stored(folder: Path) -> None:
    again = pm.open_recording(folder).rebuild()

    assert list(again) == list(STORED)
    for table, rows in stored(rebuild(records(folder))).items():
        assert_frame_equal(again[table], rows)


def test_a_recording_made_anew_is_whole_and_mends_its_tables(folder: Path, tmp_path: Path) -> None:
    rewrite(folder, "trades", priced_anew)
    night = pm.open_recording(folder)
    assert not night.verify().ok

    mended = night.rebuild(into=tmp_path / "mended")

    assert mended.verify().ok
    assert_frame_equal(mended.scan("trades").collect(), night.rebuild()["trades"])
    assert mended.folder == tmp_path / "mended"
    with pytest.raises(pm.StoreError, match="is not an empty folder"):
        night.rebuild(into=tmp_path / "mended")


def test_a_recording_that_is_not_sealed_is_made_anew_with_its_log(tmp_path: Path) -> None:
    tape = Tape(tmp_path / "night", Random(1))
    tape.steps(20)
    tape.cut()
    tape.steps(20)
    assert tape.recorder.flush(10)
    shutil.copytree(tmp_path / "night", tmp_path / "killed", ignore=shutil.ignore_patterns(".lock"))
    tape.recorder.close()
    night = pm.open_recording(tmp_path / "killed")

    again = night.rebuild(into=str(tmp_path / "again"))

    for table in STORED:
        assert_frame_equal(again.scan(table).collect(), night.scan(table).collect())
