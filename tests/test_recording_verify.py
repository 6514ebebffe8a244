"""Whether a recording is what it says: every file, every record, every row; and tables made anew."""

import hashlib
import json
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any, Literal

import polars as pl
import pytest
from polars.testing import assert_frame_equal
from support.night import stored
from support.taping import Tape, copied, first, told
from test_recording_quality import damage

import pmlive as pm
from pmlive.errors import StoreError
from pmlive.pipeline.journal import rebuild
from pmlive.recording import Verification
from pmlive.store import parquet, records
from pmlive.tables import STORED


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recordings") / "night"
    told(folder, 21)
    return folder


@pytest.fixture
def folder(recorded: Path, tmp_path: Path) -> Path:
    return copied(recorded, tmp_path)


def relist(folder: Path, path: Path) -> None:
    """List a file as it is now, so that its checksum is right, and its rows where it is a table."""
    manifest = json.loads((folder / "manifest.json").read_text())
    data, name = path.read_bytes(), path.relative_to(folder).as_posix()
    (listed,) = (file for file in manifest["files"] if file["path"] == name)
    listed |= {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
    if path.suffix == ".parquet":
        rows = pl.read_parquet(path, hive_partitioning=False)
        times = rows["ts_recv"].dt.epoch("ns")
        listed |= {"rows": rows.height, "first_seq": rows["seq"].min(), "last_seq": rows["seq"].max()}
        listed |= {"first_time": times.min(), "last_time": times.max()}
        (segment,) = (one for one in manifest["segments"] if f"-{one['number']:06d}." in name)
        segment["rows"][listed["table"]] = rows.height
    (folder / "manifest.json").write_text(json.dumps(manifest))


def rewrite(folder: Path, table: str, change: Callable[[pl.DataFrame], pl.DataFrame]) -> None:
    path = first(folder, table)
    rows = pm.open_recording(folder).scan(table).head(pl.read_parquet(path).height).collect()
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
    return rows.with_columns(bid_prices=pl.col("ask_prices"), bid_sizes=pl.col("ask_sizes"))


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


def edited(folder: Path, edit: Callable[[dict[str, Any]], object]) -> Verification:
    """Verify a recording after its manifest was edited."""
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text())
    edit(manifest)
    path.write_text(json.dumps(manifest))
    return pm.open_recording(folder).verify()


def of(manifest: dict[str, Any], table: str) -> dict[str, Any]:
    """Return what is listed of the first file of a table."""
    return min((file for file in manifest["files"] if file["table"] == table), key=lambda file: file["first_seq"])


@pytest.mark.quick(4)
@pytest.mark.parametrize("table", ["raw", "book_deltas"])
@pytest.mark.parametrize("by", [-1, 5 * 10**9])
@pytest.mark.parametrize("name", ["rows", "bytes", "first_seq", "last_seq", "first_time", "last_time"])
def test_a_file_that_is_listed_with_another_number_is_found(folder: Path, table: str, name: str, by: int) -> None:
    """Readers choose files by what is listed of them."""

    def edit(manifest: dict[str, Any]) -> None:
        of(manifest, table)[name] += by

    assert not edited(folder, edit).ok


_DENIALS: list[Callable[[dict[str, Any]], object]] = [
    lambda it: it["segments"][0]["rows"].update(trades=it["segments"][0]["rows"]["trades"] - 1),
    lambda it: it["segments"][-1].update(number=it["segments"][-1]["number"] + 1),
    lambda it: it["segments"][-1].update(last_seq=it["segments"][-1]["last_seq"] + 9),
    lambda it: it["segments"][0].update(last_seq=it["segments"][1]["first_seq"] + 9),
    lambda it: it["replaced"].append({"path": of(it, "raw")["path"], "by": of(it, "prices")["path"], "since": 0}),
    lambda it: it.update(raw_from=of(it, "raw")["last_time"] + 1),
    lambda it: it.update(created="yesterday"),
]


@pytest.mark.quick(3)
@pytest.mark.parametrize(
    "edit",
    _DENIALS,
    ids=[
        *("rows of a segment", "number of a segment", "end of the last segment", "segments that overlap"),
        *("a replaced file", "frames that were given up", "the beginning"),
    ],
)
def test_lists_of_a_manifest_that_deny_each_other_are_found(
    folder: Path, edit: Callable[[dict[str, Any]], object]
) -> None:
    found = edited(folder, edit)

    assert "manifest.json" in [finding.where for finding in found.findings]


def test_a_file_that_is_listed_twice_with_other_numbers_is_refused(folder: Path) -> None:
    with pytest.raises(StoreError, match="lists a file twice"):
        edited(folder, lambda it: it["files"].append(of(it, "trades") | {"rows": 1}))


def restated(folder: Path, table: str, old: bytes, new: bytes) -> None:
    """Write something else into the footer of the first file of a table."""
    path = first(folder, table)
    data = path.read_bytes()
    begins = len(data) - 8 - int.from_bytes(data[-8:-4], "little")
    footer = data[begins:].replace(old, new)
    assert (len(footer), footer == data[begins:]) == (len(data) - begins, False)
    path.write_bytes(data[:begins] + footer)
    manifest = json.loads((folder / "manifest.json").read_text())
    of(manifest, table)["sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
    (folder / "manifest.json").write_text(json.dumps(manifest))


def _number(value: int) -> bytes:
    """Write a number of 64 bits as the footer of a parquet file does."""
    value <<= 1
    found = bytearray()
    while value > 127:
        found.append(value & 127 | 128)
        value >>= 7
    return bytes([*found, value])


@pytest.mark.quick(4)
@pytest.mark.parametrize(
    ("table", "column"),
    [
        *(("book_deltas", column) for column in ("seq", "ts_recv", "price", "token_id")),
        ("book_snapshots", "ts_event"),
        ("prices", "mid"),
    ],
)
@pytest.mark.parametrize("end", ["min", "max"])
def test_a_footer_that_states_another_bound_of_a_column_is_found(
    folder: Path, table: str, column: str, end: Literal["min", "max"]
) -> None:
    """Readers leave out groups of rows by such bounds."""
    values = pl.read_parquet(first(folder, table), hive_partitioning=False)[column].to_physical()
    least, most = values.min(), values.max()
    stated, other = (least, most) if end == "min" else (most, least)
    restated(folder, table, _plain(stated), _plain(other))

    found = pm.open_recording(folder).verify()

    assert [finding.where for finding in found.findings][:1] == [first(folder, table).relative_to(folder).as_posix()]
    assert "states" in found.findings[0].what


def _plain(value: object) -> bytes:
    if isinstance(value, str):
        return value.encode()
    return struct.pack("<d" if isinstance(value, float) else "<q", value)


@pytest.mark.parametrize("by", [-2, 2])
def test_a_footer_that_states_another_number_of_rows_is_found(folder: Path, by: int) -> None:
    rows = pl.read_parquet(first(folder, "book_deltas")).height
    restated(folder, "book_deltas", b"\x16" + _number(rows), b"\x16" + _number(rows + by))

    assert not pm.open_recording(folder).verify().ok


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
