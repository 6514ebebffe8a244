"""Files that are small and unpack to much: they are refused before they are unpacked, and the bound can be raised."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import msgspec
import polars as pl
import pytest
import zstandard
from storing import NOON, fast, logged, rebuild, record, recording, single_entry

import pmlive as pm
from pmlive.cli import main
from pmlive.errors import StoreError
from pmlive.pipeline import journal
from pmlive.store import Record, Recorder, read_manifest, records, scan, verify_files
from pmlive.store.bounds import VARIABLE
from pmlive.store.log import encode_block
from pmlive.store.manifest import SealedFile

_COMPRESSOR = zstandard.ZstdCompressor()
_RAW = "raw/date=2026-11-21/1-00000000-000001.log.zst"
_TRADES = "trades/date=2026-11-21/1-00000000-000001.parquet"


def _filled(number: int, size: int) -> bytes:
    return encode_block([Record(number, NOON, 1, "market", bytes(size))], number=number, compressor=_COMPRESSOR)


def _blocks() -> bytes:
    """Make blocks of 16 MiB of nothing, 96 MiB together."""
    return b"".join(_filled(number, 16 << 20) for number in range(6))


def _large_block() -> bytes:
    return _filled(0, 65 << 20)


def _stream_without_lines() -> bytes:
    return _COMPRESSOR.compress(bytes(80 << 20))


def _stream_of_small_entries() -> bytes:
    """Make records of no bytes, each with a line of its own."""
    return _COMPRESSOR.compress(single_entry(Record(1, NOON, 1, "market", b"")) * 100_000)


def _file(path: str, table: str, data: bytes, rows: int) -> SealedFile:
    return SealedFile(
        path=path,
        table=table,
        rows=rows,
        bytes=len(data),
        sha256=hashlib.sha256(data).hexdigest(),
        first_seq=0,
        last_seq=rows,
        first_time=NOON,
        last_time=NOON,
    )


def _listing(folder: Path, path: str, table: str, data: bytes, *, rows: int) -> Path:
    """Make a recording that has this file, with everything right that its manifest says of it."""
    with recording(folder):
        pass
    (folder / path).parent.mkdir(parents=True)
    (folder / path).write_bytes(data)
    manifest = read_manifest(folder)
    listed = msgspec.structs.replace(manifest, files=[_file(path, table, data, rows)])
    (folder / "manifest.json").write_bytes(msgspec.json.encode(listed))
    return folder


def _with_log(folder: Path, data: bytes) -> Path:
    with recording(folder):
        pass
    (folder / "wal/000009.wal").write_bytes(data)
    return folder


@pytest.mark.parametrize("bomb", [_blocks, _large_block])
def test_a_log_that_unpacks_to_too_much_is_refused_by_whoever_reads_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], bomb: Callable[[], bytes]
) -> None:
    folder = _with_log(tmp_path / "night", bomb())

    for command in ("verify", "quality"):
        assert main([command, str(folder)]) == 2
        assert "beyond the limit" in capsys.readouterr().err
    with pytest.raises(StoreError, match="beyond the limit"):
        list(records(folder))
    with pytest.raises(StoreError, match="beyond the limit"):
        Recorder(folder, rebuild=journal.rebuild, options=fast())
    assert (folder / "wal/000009.wal").read_bytes() == bomb()


@pytest.mark.parametrize("bomb", [_blocks, _stream_without_lines])
def test_frames_that_unpack_to_too_much_are_found_and_not_unpacked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], bomb: Callable[[], bytes]
) -> None:
    folder = _listing(tmp_path / "night", _RAW, "raw", bomb(), rows=6)

    assert main(["verify", str(folder)]) == 1

    assert "its records cannot be decoded" in capsys.readouterr().out
    with pytest.raises(StoreError):
        list(records(folder))


_MEASURED = """
import resource, sys
from pmlive.cli import main
code = main(sys.argv[1:])
print(code, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr)
"""


def _measured(*args: str) -> tuple[int, int]:
    """Run a command in a process of its own; give its exit code, and the most memory that it had (bytes)."""
    done = subprocess.run([sys.executable, "-c", _MEASURED, *args], capture_output=True, text=True, check=True)
    code, most = done.stderr.splitlines()[-1].split()
    return int(code), int(most) * 1024


@pytest.mark.skipif(sys.platform != "linux", reason="the unit of the figure is another one elsewhere")
@pytest.mark.slow
@pytest.mark.parametrize("place", ["log", "frames", "capture"])
def test_what_unpacks_to_gigabytes_is_refused_in_little_memory(tmp_path: Path, place: str) -> None:
    """A stranger's file must not end whoever looks at it; a sound recording tells what looking at one takes."""
    folder, sound = tmp_path / "night", tmp_path / "sound"
    _listing(sound, _TRADES, "trades", _repeated(10), rows=10)
    many = b"".join(_filled(number, 16 << 20) for number in range(128))
    if place == "log":
        _with_log(folder, many)
    elif place == "frames":
        _listing(folder, _RAW, "raw", many, rows=128)
    else:
        (tmp_path / "capture.jsonl.zst").write_bytes(_COMPRESSOR.compress(bytes(2 << 30)))
    command = ["verify", str(folder)]
    if place == "capture":
        command = ["import", str(tmp_path / "capture.jsonl.zst"), "--out", str(tmp_path / "made")]

    code, most = _measured(*command)

    assert code != 0
    assert most - _measured("verify", str(sound))[1] < 512 << 20


def test_records_count_besides_their_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "8000000")
    folder = _listing(tmp_path / "night", _RAW, "raw", _stream_of_small_entries(), rows=100_000)
    with pytest.raises(StoreError, match=VARIABLE):
        for _ in records(folder):
            pass


def test_the_bound_is_told_and_can_be_raised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = _listing(tmp_path / "night", _RAW, "raw", _blocks(), rows=6)
    with pytest.raises(StoreError, match=f"more than [0-9,]+ bytes, beyond .*set {VARIABLE}"):
        logged(folder)

    monkeypatch.setenv(VARIABLE, str(1 << 30))

    assert logged(folder) == [*range(6)]


@pytest.mark.parametrize("text", ["much", "-1", "0", "1e9"])
def test_a_bound_that_is_no_number_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    with recording(tmp_path):
        pass
    monkeypatch.setenv(VARIABLE, text)
    with pytest.raises(StoreError, match=VARIABLE):
        read_manifest(tmp_path)


@pytest.mark.skipif(os.name == "nt", reason="files have no holes there")
@pytest.mark.parametrize("place", ["manifest.json", "wal/000009.wal", _RAW])
def test_a_file_of_a_terabyte_of_holes_is_not_read(tmp_path: Path, place: str) -> None:
    folder = _listing(tmp_path / "night", _RAW, "raw", b"few", rows=1)
    (folder / place).touch()
    os.truncate(folder / place, 1 << 40)

    for command in ("verify", "quality"):
        assert main([command, str(folder)]) in (1, 2)
    with pytest.raises(StoreError, match="at most are read"):
        list(records(folder))


@pytest.mark.parametrize("text", [b'{"schema":1,"markets":' + b"[" * 200_000, b'{"schema":-5}', b'{"schema":0}'])
def test_a_manifest_that_is_none_is_refused(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "manifest.json").write_bytes(text)
    with pytest.raises(StoreError, match="manifest"):
        read_manifest(tmp_path)


_FAR = [
    ("files", "first_time", 2**63),
    ("files", "rows", -1),
    ("holes", "started", 2**63 - 1),
    ("holes", "ended", -(2**63)),
    ("holes", "conn", 2**32),
    ("", "next_seq", -1),
    ("", "last_recv", 2**63),
    ("", "raw_from", 2**63),
]


@pytest.mark.parametrize(("among", "name", "value"), _FAR)
def test_a_manifest_with_a_number_that_no_recorder_writes_is_refused_by_whoever_reads_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], among: str, name: str, value: int
) -> None:
    folder = tmp_path / "night"
    shutil.copytree(pm.sample(), folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["holes"] = [{"started": 0, "ended": 1, "cause": "disk", "conn": 0}]
    (manifest[among][0] if among else manifest)[name] = value
    (folder / "manifest.json").write_text(json.dumps(manifest))

    for command in (["info"], ["quality"], ["verify"], ["replay", "--speed", "max"], ["compact"], ["repair"]):
        assert main([command[0], str(folder), *command[1:]]) == 2
        said = capsys.readouterr().err
        assert "manifest.json" in said
        assert "internal error" not in said


def test_a_recording_that_was_made_in_no_time_that_a_clock_shows_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for created in ("9999-12-31T23:59:59+00:00", "0001-01-01T00:00:00"):
        folder = tmp_path / created[:4]
        shutil.copytree(pm.sample(), folder)
        manifest = json.loads((folder / "manifest.json").read_text())
        (folder / "manifest.json").write_text(json.dumps(manifest | {"created": created, "last_recv": None}))

        main(["quality", str(folder)])

        assert "internal error" not in capsys.readouterr().err


def _repeated(rows: int) -> bytes:
    """Make a table of rows that are all the same, which takes a few bytes."""
    file = BytesIO()
    pl.DataFrame({"seq": pl.repeat(1, rows, dtype=pl.UInt64, eager=True)}).write_parquet(file)
    return file.getvalue()


def test_a_table_with_too_many_rows_is_found_by_what_it_states(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = 17_000_000
    folder = _listing(tmp_path / "night", _TRADES, "trades", _repeated(rows), rows=rows)

    assert main(["verify", str(folder)]) == 1
    assert "states 17,000,000 rows" in capsys.readouterr().out
    with pytest.raises(StoreError, match=VARIABLE):
        scan(folder, "trades")
    assert main(["export", str(folder), "--to", "csv", str(tmp_path / "csv")]) == 2
    assert main(["quality", str(folder)]) == 1
    assert "states 17,000,000 rows" in capsys.readouterr().out


def test_a_table_whose_lists_have_too_many_values_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lists = pl.DataFrame({"bids": [[{"price": 0.5, "size": 1.0}] * 100_000]})
    lists.write_parquet(tmp_path / "lists.parquet")
    folder = _listing(tmp_path / "night", _TRADES, "trades", (tmp_path / "lists.parquet").read_bytes(), rows=1)
    (problem,) = verify_files(folder)
    assert "no column 'seq'" in problem.problem

    monkeypatch.setenv(VARIABLE, "1000000")

    (problem,) = verify_files(folder)
    assert "200,000 values" in problem.problem


def test_a_table_with_more_rows_than_are_listed_is_a_finding(tmp_path: Path) -> None:
    folder = _listing(tmp_path / "night", _TRADES, "trades", _repeated(6), rows=5)

    (problem,) = verify_files(folder)

    assert "states 6 rows where 5 are listed" in problem.problem


def test_what_a_recorder_writes_is_far_below_every_bound(tmp_path: Path) -> None:
    """A frame of 16 MiB is the largest that the venue sends, and it may be all the same."""
    large = [Record(number, NOON + number, 1, "market", b"x" * (16 << 20)) for number in range(1, 4)]
    recorder = Recorder(tmp_path, rebuild=rebuild, options=fast(memory=1 << 30))
    for item in [*large, *map(record, range(4, 5000))]:
        recorder.log(item)
    recorder.close()

    assert logged(tmp_path) == [*range(1, 5000)]
    assert verify_files(tmp_path) == []
