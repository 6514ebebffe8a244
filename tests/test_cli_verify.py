"""``pmlive verify``, ``quality`` and ``book``."""

import json
import shutil
from pathlib import Path

import pytest
from test_recording_quality import damage

import pmlive as pm
from pmlive.cli import main
from pmlive.store import records

AT = "2026-11-25T21:02:00Z"


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    code = main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def token() -> str:
    return pm.open_recording(pm.sample()).markets[0].token_ids[0]


def moment(share: float) -> str:
    night = pm.open_recording(pm.sample())
    assert night.first_time is not None
    assert night.last_time is not None
    return (night.first_time + share * (night.last_time - night.first_time)).isoformat()


def test_verify_of_a_sound_recording(capsys: pytest.CaptureFixture[str]) -> None:
    code, text, _ = run(capsys, "verify", pm.sample())
    shown = json.loads(run(capsys, "verify", pm.sample(), "-o", "json")[1])

    assert code == 0
    assert "sound" in text
    assert shown["ok"] is True
    assert shown["findings"] == []
    assert shown["records"] == sum(1 for _ in records(pm.sample()))


def test_verify_finds_damage_and_says_what_to_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(pm.sample(), tmp_path / "night")
    (path,) = (tmp_path / "night").glob("prices/*/*.parquet")
    damage(path, [50])

    code, text, _ = run(capsys, "verify", tmp_path / "night")
    shown = json.loads(run(capsys, "verify", tmp_path / "night", "-o", "json")[1])

    assert code == 1
    assert "restore the file from a copy" in text
    assert [finding["where"] for finding in shown["findings"]] == [path.relative_to(tmp_path / "night").as_posix()]


def test_gaps_set_the_exit_code_of_quality(capsys: pytest.CaptureFixture[str]) -> None:
    code, text, _ = run(capsys, "quality", pm.sample())
    shown = json.loads(run(capsys, "quality", pm.sample(), "-o", "json")[1])

    assert code == 1
    assert "disconnect, 8 tokens" in text
    assert [fault["cause"] for fault in shown["faults"]] == ["disconnect"]


def test_book_shows_the_levels_and_what_proved_them(capsys: pytest.CaptureFixture[str]) -> None:
    code, text, _ = run(capsys, "book", pm.sample(), token(), "--at", moment(0.9))
    shown = json.loads(run(capsys, "book", pm.sample(), token(), "--at", moment(0.9), "-o", "json")[1])

    assert code == 0
    assert "verified at" in text
    assert f"{shown['best_bid']:g}" in text
    assert shown["quality"] == "verified"
    assert shown["bids"][0][0] < shown["asks"][0][0]


def test_a_stale_book_is_a_finding(capsys: pytest.CaptureFixture[str]) -> None:
    gap = pm.open_recording(pm.sample()).gaps.row(0, named=True)
    code, text, _ = run(
        capsys, "book", pm.sample(), token(), "--at", (gap["started"] + (gap["ended"] - gap["started"]) / 2)
    )
    assert code == 1
    assert "stale at" in text
    assert "the last that could be trusted" in text


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("book", pm.sample(), "nobody", "--at", AT), "no recorded market or token is named 'nobody'"),
        (("book", pm.sample(), "Yes", "--at", AT), "4 recorded tokens are named 'Yes'"),
        (("book", pm.sample(), "Yes"), "--at"),
        (("verify", "nowhere"), "is not a recording"),
        (("quality", "nowhere"), "is not a recording"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(
    arguments: tuple[object, ...], problem: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, text, said = run(capsys, *arguments)

    assert code == 2
    assert text == ""
    assert problem in said
    assert said.count("\n") == 1


def test_an_invalid_time_is_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, said = run(capsys, "book", pm.sample(), token(), "--at", "yesterday")

    assert code == 2
    assert "invalid time 'yesterday'; expected ISO 8601" in said
