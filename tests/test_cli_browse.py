"""``pmlive search``, ``ls`` and ``info``."""

import json
from pathlib import Path

import pytest
from commands import run
from support.terminal import PROGRAM, terminal

from pmlive.cli import main


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("recordings")
    done = run("demo", "--seconds", 1, "--out", "tape", cwd=root)
    assert done.code == 0, done.err
    return root / "tape"


def test_search_finds_markets_with_every_id(tmp_path: Path) -> None:
    text = run("search", "fed", "decision", "--venue", "sim", cwd=tmp_path)
    shown = run("search", "fed", "decision", "--venue", "sim", "-o", "json", cwd=tmp_path).object

    assert text.code == 0
    for market in shown["markets"]:
        ids = [market["slug"], market["condition_id"], *market["token_ids"]]
        assert all(named in text.out.split() for named in ids)
        assert market["question"] in text.out
    assert len(shown["markets"]) == 2


def test_search_that_finds_nothing_says_so(tmp_path: Path) -> None:
    done = run("search", "zebra", "crossings", "--venue", "sim", "-o", "json", cwd=tmp_path)

    assert done.code == 0
    assert done.object == {"markets": []}
    assert "no market was found" in done.err


def test_ls_lists_the_recordings_of_a_folder(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ls", str(folder.parent)]) == 0
    text = capsys.readouterr().out
    assert main(["ls", str(folder.parent), "-o", "json"]) == 0
    shown = json.loads(capsys.readouterr().out)

    assert str(folder) in text
    assert [one["path"] for one in shown["recordings"]] == [str(folder)]
    assert shown["recordings"][0]["rows"] > 0


def test_ls_of_an_empty_folder_says_what_to_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ls", str(tmp_path)]) == 0

    captured = capsys.readouterr()
    assert captured.out == ""
    assert "pmlive demo" in captured.err


def test_ls_of_no_folder_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ls", str(tmp_path / "nowhere")]) == 2

    assert "is not a folder" in capsys.readouterr().err


def test_info_describes_a_recording(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", str(folder)]) == 0
    text = capsys.readouterr().out
    assert main(["info", str(folder), "-o", "json"]) == 0
    shown = json.loads(capsys.readouterr().out)

    assert "nothing was missed" in text
    assert "book_deltas" in text
    assert shown["checks"]["hash_mismatch"] == 0
    assert shown["gaps"] == []
    assert len(shown["markets"]) == 3
    assert shown["rows"] == sum(table["rows"] for table in shown["tables"] if table["table"] != "raw")


@pytest.mark.parametrize("name", ["empty", "missing", "broken"])
def test_info_of_no_recording_is_one_sentence(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "manifest.json").write_text("{")

    assert main(["info", str(tmp_path / name)]) == 2

    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("pmlive: ")
    assert captured.err.count("\n") == 1


@pytest.mark.parametrize("columns", [60, 80, 200])
@pytest.mark.parametrize("command", ["ls", "info"])
def test_what_is_listed_fits_the_terminal(command: str, columns: int, folder: Path) -> None:
    where = folder.parent if command == "ls" else folder
    with terminal((*PROGRAM, command, str(where)), cwd=folder.parent, size=(columns, 50)) as shown:
        assert shown.end() in (0, 1)

    lines = shown.written.decode().split("\r\n")
    # Words stay whole, so that they can be copied: of a line that is wider the last word has all the room.
    assert all(len(line) <= columns or len(line.split()[-1]) > columns - 13 for line in lines)
    assert folder.name in shown.written.decode(), lines
    assert "size" in shown.written.decode()


def test_what_is_listed_into_a_pipe_is_whole(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", str(folder)]) in (0, 1)

    assert "table" in (said := capsys.readouterr().out)
    assert "files" in said
    assert "last" in said
