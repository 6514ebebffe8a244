"""Folders that are no recordings, and manifests that nobody of ours wrote."""

from collections.abc import Callable
from pathlib import Path

import pytest
from commands import run
from storing import fast, feed, rebuild

from pmlive.errors import StoreError
from pmlive.store import Recorder, read_manifest


def put(name: str) -> Callable[[Path], object]:
    def do(folder: Path) -> None:
        path = folder / name
        if name.endswith("/"):
            path.mkdir(parents=True)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("somebody's")

    return do


def record_into(folder: Path) -> None:
    recorder = Recorder(folder, rebuild=rebuild, options=fast())
    feed(recorder, range(1, 10))
    recorder.close()


@pytest.mark.parametrize(
    "name",
    [
        *("thesis.tex", "photos/", "manifest.yaml", "data.parquet", "old/manifest.json"),
        *("raw/2026/IMG_1.NEF", "wal/000000010000000000000001", "trades/2025.csv"),
    ],
)
def test_a_folder_of_other_things_is_refused_by_name_and_left_as_it_was(name: str, tmp_path: Path) -> None:
    put(name)(tmp_path)
    before = sorted(tmp_path.rglob("*"))

    with pytest.raises(StoreError, match=name.strip("/").split("/")[0]):
        record_into(tmp_path)

    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("name", [".DS_Store", ".git/", "Thumbs.db", "lost+found/", "wal/", "raw/"])
def test_what_systems_leave_in_a_folder_and_what_is_left_of_a_recording_is_no_hindrance(
    name: str, tmp_path: Path
) -> None:
    put(name)(tmp_path)

    record_into(tmp_path)

    assert read_manifest(tmp_path).next_seq == 10


def test_a_log_without_its_manifest_is_ours_beside_whatever_else_is_there(tmp_path: Path) -> None:
    put("wal/")(tmp_path)
    put("notes.txt")(tmp_path)

    record_into(tmp_path)

    assert read_manifest(tmp_path).next_seq == 10


def test_the_command_refuses_such_a_folder(tmp_path: Path) -> None:
    put("tape/thesis.tex")(tmp_path)

    done = run("record", "--venue", "sim", "--out", "tape", "--seconds", 1, cwd=tmp_path)

    assert done.code == 2
    assert "thesis.tex" in done.err
    assert done.err.count("\n") == 1
    assert [path.name for path in (tmp_path / "tape").iterdir()] == ["thesis.tex"]


DEEP = '{"schema": 1, "markets": [' + '{"a":' * 20_000 + "1" + "}" * 20_000 + "]}"


@pytest.mark.parametrize(
    "text",
    ['{"schema": -5}', '{"schema": 0}', '{"schema": "1"}', '{"schema": 1.5}', '{"schema": null}', "{}", "[]", "", DEEP],
    ids=lambda text: text[:20],
)
def test_a_manifest_that_is_none_is_refused_in_a_sentence(text: str, tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text(text)

    with pytest.raises(StoreError, match="not the manifest of a recording"):
        read_manifest(tmp_path)


def test_the_commands_say_so_of_a_manifest_that_is_too_deep(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text(DEEP)

    done = run("info", tmp_path, cwd=tmp_path)

    assert done.code == 2
    assert "fault of its own" not in done.err
    assert "not the manifest of a recording" in done.err
