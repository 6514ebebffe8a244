"""What a killed import or export leaves beside its place is removed by the next, and nothing else is."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from recorded import frames
from support.venue import START, Venue

from pmlive.captures import import_capture
from pmlive.cli import main
from pmlive.pipeline.journal import rebuild
from pmlive.store import repair
from pmlive.store.leftovers import locked_folder, remove_leftovers

_KILLED = """
import os, signal, sys
from pmlive.captures import import_capture

def progress(lines, total):
    if total is not None:
        os.kill(os.getpid(), signal.SIGKILL)

import_capture(sys.argv[1], sys.argv[2], progress=progress)
"""


def capture(folder: Path) -> Path:
    path = folder / "capture.jsonl"
    path.write_text(json.dumps({"ts_recv": START, "raw": Venue("1").opening()}) + "\n")
    return path


def killed(folder: Path) -> None:
    """Import in a process that is killed when it has begun to write."""
    command = [sys.executable, "-c", _KILLED, str(capture(folder)), str(folder / "tape")]
    done = subprocess.run(command, check=False, timeout=120)
    assert done.returncode == -signal.SIGKILL


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
def test_the_next_import_removes_what_a_killed_one_left(tmp_path: Path) -> None:
    killed(tmp_path)
    assert len(names(tmp_path)) == 2

    import_capture(tmp_path / "capture.jsonl", tmp_path / "tape")

    assert names(tmp_path) == ["capture.jsonl", "tape"]


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
def test_repair_removes_what_a_killed_import_left(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    killed(tmp_path)

    assert main(["repair", str(tmp_path / "tape")]) == 0

    assert "is removed: left behind by an import or export that was killed" in capsys.readouterr().out
    assert names(tmp_path) == ["capture.jsonl"]
    import_capture(tmp_path / "capture.jsonl", tmp_path / "tape")
    assert repair(tmp_path / "tape", rebuild=rebuild).removed == []


@pytest.mark.parametrize(
    "made",
    [
        {".tape.0123abcd.tmp/.lock": "", ".tape.0123abcd.tmp/mine": ""},
        {".tape.0123abcd.tmp/tape": ""},
        {".tape.0123abcd.tmp": ""},
        {".tape.tmp/.lock": ""},
        {".tape.0123ABCDE.tmp/.lock": ""},
        {".tapes.0123abcd.tmp/.lock": ""},
        {"tape.0123abcd.tmp/.lock": ""},
    ],
    ids="+".join,
)
def test_what_is_not_surely_a_leftover_stays(made: dict[str, str], tmp_path: Path) -> None:
    for name, text in made.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    before = sorted(tmp_path.rglob("*"))

    assert remove_leftovers(tmp_path / "tape") == []

    assert sorted(tmp_path.rglob("*")) == before


def test_links_stay_and_are_not_followed(tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "kept").write_text("mine")
    (tmp_path / ".tape.00000000.tmp").symlink_to(mine)
    aside = tmp_path / ".tape.11111111.tmp"
    aside.mkdir()
    (aside / ".lock").symlink_to(mine / "kept")

    assert remove_leftovers(tmp_path / "tape") == []

    assert (mine / "kept").read_text() == "mine"


def test_what_a_running_process_holds_stays(tmp_path: Path) -> None:
    aside = tmp_path / ".tape.0123abcd.tmp"
    aside.mkdir()

    with locked_folder(aside):
        assert remove_leftovers(tmp_path / "tape") == []
        assert aside.exists()

    assert remove_leftovers(tmp_path / "tape") == [".tape.0123abcd.tmp"]
    assert not aside.exists()


def test_an_import_that_fails_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "a").write_text(next(iter(frames("polybot-2025-12-23").values()))["frame"] + "\n")
    (tmp_path / "tape").write_text("in the way")

    assert main(["import", str(tmp_path / "a"), "--out", str(tmp_path / "tape")]) == 2
    assert main(["import", str(tmp_path / "a"), "--out", str(tmp_path / "a" / "b")]) == 2

    assert names(tmp_path) == ["a", "tape"]
