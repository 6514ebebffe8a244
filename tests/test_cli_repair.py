"""``pmlive repair`` and ``compact``."""

import json
import shutil
from pathlib import Path

import pytest
from commands import run
from polars.testing import assert_frame_equal

import pmlive as pm
from pmlive.cli import main
from pmlive.store import read_manifest


@pytest.fixture
def night(tmp_path: Path) -> Path:
    return shutil.copytree(pm.sample(), tmp_path / "night")


def test_a_damaged_table_is_rebuilt(night: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = pm.open_recording(night).scan("trades").collect()
    (file,) = read_manifest(night).of("trades")
    (night / file.path).write_bytes(b"spoilt")
    assert main(["verify", str(night), "-o", "json"]) == 1
    assert "pmlive repair" in json.loads(capsys.readouterr().out)["findings"][0]["advice"]

    assert main(["repair", str(night)]) == 0
    assert f"{file.path}: is damaged" in capsys.readouterr().out

    assert_frame_equal(pm.open_recording(night).scan("trades").collect(), before)
    assert main(["verify", str(night)]) == 0


def test_what_cannot_be_rebuilt_is_a_finding(night: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.rmtree(night / "raw")

    assert main(["repair", str(night), "-o", "json"]) == 1

    shown = json.loads(capsys.readouterr().out)
    assert shown["lost"] > 0
    assert [one["table"] for one in shown["repaired"]] == ["raw"]


def test_small_files_are_merged(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    night = tmp_path / "night"
    for _ in range(2):
        assert run("record", "--venue", "sim", "--seconds", "0.7", "--out", night, cwd=tmp_path).code in (0, 1)
    before = pm.open_recording(night).scan("prices").collect()
    assert len(read_manifest(night).of("prices")) == 2

    assert main(["compact", str(night), "-o", "json"]) == 0

    assert json.loads(capsys.readouterr().out)["outputs"] > 0
    assert len(read_manifest(night).of("prices")) == 1
    assert_frame_equal(pm.open_recording(night).scan("prices").collect(), before)
    assert main(["verify", str(night)]) == 0


@pytest.mark.parametrize("command", ["repair", "compact"])
def test_a_folder_that_is_not_a_recording_is_refused(command: str, tmp_path: Path) -> None:
    done = run(command, tmp_path, cwd=tmp_path)

    assert done.code == 2
    assert "is not a recording" in done.err
    assert list(tmp_path.iterdir()) == []


def test_raw_frames_are_kept_for_as_long_as_asked(tmp_path: Path) -> None:
    done = run("record", "--venue", "sim", "--seconds", "0.5", "--keep-raw", "12", "--out", "night", cwd=tmp_path)
    refused = run("record", "--venue", "sim", "--keep-raw", "0", "--out", "other", cwd=tmp_path)

    assert done.code == 0
    assert read_manifest(tmp_path / "night").of("raw")
    assert refused.code == 2
    assert "above 0" in refused.err
