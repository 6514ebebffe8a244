"""What a killed import or export leaves beside its place is removed by the next, and nothing else is."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from recorded import frames
from support.venue import START, Venue

import pmlive as pm
from pmlive.captures import import_capture
from pmlive.cli import main
from pmlive.pipeline.journal import rebuild
from pmlive.store import repair
from pmlive.store.disk import inject_faults
from pmlive.store.leftovers import locked_folder, new_locked_folder, remove_leftovers

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


# Runs a command in children, each killed at a later change of the disk, and each followed by one that is not killed.
_KILLING = """
import json, os, shutil, signal, sys
from pathlib import Path
from pmlive.cli import main

place, parts, command = Path(sys.argv[1]), sys.argv[2], sys.argv[3:]
seen = fatal = 0

def note(event, given):
    global seen
    if event in {"os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.link"} or (
        event == "open" and (given[2] or 0) & os.O_CREAT
    ):
        seen += 1
        if seen == fatal:
            os.kill(os.getpid(), signal.SIGKILL)

def run(at):
    global fatal
    come, go = os.pipe()
    if child := os.fork():
        os.close(go)
        with open(come) as told:
            counted = told.read()
        os.waitpid(child, 0)
        return int(counted or 0)
    fatal = at
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    os.dup2(1, 2)
    sys.addaudithook(note)
    main([*command, str(place / "made")])
    os.write(go, str(seen).encode())
    os._exit(0)

def names():
    return sorted(path.name for path in place.iterdir())

every = range(1, run(0) + 1)
for at in every if parts == "all" else [every[len(every) // 2]]:
    shutil.rmtree(place)
    place.mkdir()
    if ended := run(at):
        # Its threads met at other moments than in the first run and wrote the manifest once less.
        assert ended < at
        continue
    left = names()
    run(0)
    print(json.dumps([at, left, names()]))
"""
_COMMANDS = {
    "import": ["import", "{capture}", "--out"],
    "csv": ["export", "{sample}", "--to", "csv"],
    "duckdb": ["export", "{sample}", "--to", "duckdb"],
    "hftbacktest": ["export", "{sample}", "--to", "hftbacktest"],
}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    ("command", "parts"),
    [
        ("import", "some"),
        *(pytest.param(command, "all", marks=pytest.mark.slow) for command in _COMMANDS),
    ],
)
def test_wherever_a_command_is_killed_the_next_removes_what_it_left(tmp_path: Path, command: str, parts: str) -> None:
    if command == "duckdb":
        pytest.importorskip("duckdb")
    place = tmp_path / "place"
    place.mkdir()
    told = {"capture": str(capture(tmp_path)), "sample": str(pm.sample())}
    words = [word.format(**told) for word in _COMMANDS[command]]

    run = [sys.executable, "-c", _KILLING, str(place), parts, *words]
    done = subprocess.run(run, capture_output=True, text=True, timeout=1500, check=False)

    assert done.returncode == 0, done.stderr
    kills = [json.loads(line) for line in done.stdout.splitlines()]
    assert [left for _, left, _ in kills if left not in ([], ["made"])]
    assert [(at, after) for at, _, after in kills if after != ["made"]] == []


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


@pytest.mark.io  # it locks a folder
def test_a_folder_that_was_only_just_made_is_made_again_if_another_process_removes_it(tmp_path: Path) -> None:
    aside = tmp_path / ".tape.0123abcd.tmp"
    removed: list[list[str]] = []

    def remove(change: str) -> None:
        if change == "lock" and not removed:
            removed.append(remove_leftovers(tmp_path / "tape"))

    with inject_faults(remove), new_locked_folder(aside, 0o700):
        assert removed == [[aside.name]]
        assert names(aside) == [".lock"]
        assert remove_leftovers(tmp_path / "tape") == []


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
