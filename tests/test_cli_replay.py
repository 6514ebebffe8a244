"""``pmlive replay``."""

import json
from pathlib import Path

import pytest
from commands import run

import pmlive as pm
from pmlive.cli import main
from pmlive.store import scan

SAMPLE = pm.sample()


def test_a_recording_is_played_and_proved_again(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["replay", str(SAMPLE), "--speed", "max", "-o", "json"]) == 1  # the sample has gaps
    shown = json.loads(capsys.readouterr().out)

    assert shown["finished"] is True
    assert shown["position"] == shown["last_time"]
    assert shown["trades"] == scan(SAMPLE, "trades").collect().height
    assert shown["gaps"] == scan(SAMPLE, "gaps").collect().height
    assert shown["books"]["checks"]["hash_verified"] == scan(SAMPLE, "checks").collect()["hash_verified"].sum()
    assert shown["folders"] == [str(SAMPLE)]


def test_trades_and_gaps_run_through_the_terminal_as_they_did(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["replay", str(SAMPLE), "--speed", "200"]) == 1
    lines = capsys.readouterr().out.splitlines()

    trades = [line for line in lines if " at 0." in line]
    assert len(trades) == scan(SAMPLE, "trades").collect().height
    assert [line[:12] for line in trades] == sorted(line[:12] for line in trades)
    assert sum("gap   disconnect" in line for line in lines) > 0
    assert any(line.startswith("played     all of it: 1 min 30 s") for line in lines)


def test_it_may_begin_anywhere(capsys: pytest.CaptureFixture[str]) -> None:
    last = scan(SAMPLE, "trades").collect()["ts_recv"].to_list()[-5]

    main(["replay", str(SAMPLE), "--speed", "100", "--from", last.isoformat()])
    lines = capsys.readouterr().out.splitlines()

    # Those before are on the books and in the frames, for the part of the recording that began before.
    assert sum(" at 0." in line for line in lines) >= 5
    assert any("all of it" in line for line in lines)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--speed", "0"], "neither max nor a number above 0"),
        (["--from", "yesterday"], "invalid time 'yesterday'"),
        (["--from", "2001-01-01"], "the recording has no time"),
    ],
)
def test_what_cannot_be_played_is_refused_in_one_sentence(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["replay", str(SAMPLE), *arguments]) == 2

    assert said in capsys.readouterr().err


def test_a_folder_that_is_not_a_recording_is_refused(tmp_path: Path) -> None:
    done = run("replay", tmp_path, cwd=tmp_path)

    assert done.code == 2
    assert "is not a recording" in done.err
    assert list(tmp_path.iterdir()) == []
