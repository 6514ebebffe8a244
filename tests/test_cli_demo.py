"""``pmlive demo``: the first thing that a user tries."""

import shlex
import signal
from pathlib import Path

from commands import run, running

from pmlive.recording import info


def test_the_demo_records_proves_and_says_what_to_try_next(tmp_path: Path) -> None:
    done = run("demo", "--seconds", 2, cwd=tmp_path, env={"PMLIVE_DATA_DIR": str(tmp_path / "my data")})

    assert done.code == 0, done.err
    assert "nothing was missed" in done.out
    assert "0 mismatches" in done.out
    (folder,) = (tmp_path / "my data").iterdir()
    assert folder.name.startswith("demo-")
    assert f"pmlive info {shlex.quote(str(folder))}" in done.out
    assert info(folder).checks.hash_verified > 0


def test_the_demo_gives_programs_one_object(tmp_path: Path) -> None:
    done = run("demo", "--seconds", 1, "--out", "tape", "-o", "json", cwd=tmp_path)

    assert done.code == 0, done.err
    assert done.object["folder"] == "tape"
    assert len(done.object["markets"]) == 3
    assert done.object["kept"]["rows"]["book_deltas"] > 0
    assert done.object["missed"] == []


def test_an_interrupted_demo_is_sealed_and_summarised(tmp_path: Path) -> None:
    with running("demo", "--out", "tape", cwd=tmp_path) as program:
        program.wait_for("recording into tape")
        program.send(signal.SIGINT)
        done = program.end()

    assert done.code == 0, done.err
    assert "folder     tape" in done.out
    assert info(tmp_path / "tape").unsealed == 0
