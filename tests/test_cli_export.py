"""``pmlive export`` and ``import``."""

import json
from pathlib import Path
from typing import Any

import pytest
from commands import run
from recorded import frames
from support.venue import START, Venue

from pmlive import sample
from pmlive.cli import main

_FRAMES = Path(__file__).parent / "frames"


def printed(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    return json.loads(capsys.readouterr().out)


def capture(folder: Path, *lines: str) -> Path:
    path = folder / "capture.jsonl"
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


def good(folder: Path) -> Path:
    """Write a capture of which everything can be verified."""
    venue = Venue("1")
    frames_of = [venue.opening(), venue.change("bid", "0.41", "7", 5)]
    return capture(folder, *(json.dumps({"ts_recv": START + 9, "raw": frame}) for frame in frames_of))


# --- export ---


@pytest.mark.parametrize(
    ("to", "made"), [("hftbacktest", 8), ("csv", 12), ("duckdb", 1)], ids=["hftbacktest", "csv", "duckdb"]
)
def test_a_recording_is_exported(to: str, made: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"

    assert main(["export", str(sample()), "--to", to, str(out)]) == 0
    text = capsys.readouterr().out
    assert main(["export", str(sample()), str(tmp_path / "again"), "--to", to, "-o", "json"]) == 0
    done = printed(capsys)

    assert str(out) in text
    assert f"in {made} file" in text
    assert done["format"] == to
    assert len(done["files"]) == made
    assert done["rows"] == sum(file["rows"] for file in done["files"])
    assert done["bytes"] == sum(Path(file["path"]).stat().st_size for file in done["files"])
    assert done["skipped"] == []
    assert done["whole"] is True


def test_one_token_is_exported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", str(sample()), "-o", "json"]) == 1  # it has a gap
    token = printed(capsys)["tokens"][0]

    code = main(["export", str(sample()), "--to", "hftbacktest", str(tmp_path / "o"), "--token", token, "-o", "json"])

    assert code == 0
    assert [one["token_id"] for one in printed(capsys)["tokens"]] == [token]
    assert [path.name for path in (tmp_path / "o").iterdir()] == [f"{token}.npz"]


def test_what_is_left_out_of_an_export_is_a_finding(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = [Venue("1").opening(), Venue("2").trade("0.5", 1), Venue("1").trade("0.5", 9)]
    assert main(["import", str(capture(tmp_path, *lines)), "--out", str(tmp_path / "tape")]) == 1
    capsys.readouterr()

    assert main(["export", str(tmp_path / "tape"), "--to", "hftbacktest", str(tmp_path / "out")]) == 1

    assert "token 2: no book of it was recorded" in capsys.readouterr().out


def test_json_shows_a_terminal_nothing_that_it_obeys_or_hides(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hostile = "7\u009b31m\u202e\u200b\u2028\x7f\U000e0041é"
    lines = [Venue("1").opening(), Venue(hostile).trade("0.5", 1)]
    main(["import", str(capture(tmp_path, *lines)), "--out", str(tmp_path / "tape")])
    capsys.readouterr()

    main(["export", str(tmp_path / "tape"), "--to", "hftbacktest", str(tmp_path / "out"), "-o", "json"])

    text = capsys.readouterr().out
    assert text.rstrip("\n").isprintable()
    assert [one["token_id"] for one in json.loads(text)["skipped"]] == [hostile]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["{sample}", "--to", "csv", "{tmp}/full"], "exists and is not empty"),
        (["{sample}", "--to", "duckdb", "{tmp}/full"], "exists and is not empty"),
        (["{sample}", "--to", "hftbacktest", "{tmp}/full"], "exists and is not empty"),
        (["{tmp}", "--to", "csv", "{tmp}/out"], "is not a recording"),
        (["{sample}", "--to", "hftbacktest", "{tmp}/out", "--token", "7"], "no token '7'"),
        (["{sample}", "--to", "csv", "{tmp}/out", "--token", "7"], "--token goes with"),
        (["{sample}", "--to", "xml", "{tmp}/out"], "invalid choice"),
        (["{sample}", "{tmp}/out"], "--to"),
        (["{sample}", "--to", "csv"], "OUT"),
        (["{sample}", "--to", "csv", "{tmp}/full/mine/out"], "could not be written"),
    ],
)
def test_a_refused_export_is_one_sentence_and_makes_nothing(
    arguments: list[str], sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").write_text("mine")

    assert main(["export", *(each.format(sample=sample(), tmp=tmp_path) for each in arguments)]) == 2

    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("pmlive: ")
    assert captured.err.count("\n") == 1
    assert sentence in captured.err
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["full", "mine"]


# --- import ---


def test_a_capture_is_imported_and_proved(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["import", str(good(tmp_path)), "--out", str(tmp_path / "tape")]) == 0
    text = capsys.readouterr().out
    assert main(["import", str(good(tmp_path)), "--out", str(tmp_path / "again"), "-o", "json"]) == 0
    done = printed(capsys)

    assert "2 frames in 2 lines" in text
    assert "2 verified, 0 unverifiable, 0 mismatches" in text
    assert "nothing was missed" in text
    assert (done["frames"], done["malformed"], done["own_times"]) == (2, 0, 2)
    assert done["proved"]["hash_verified"] == 2
    assert done["missed"] == []
    assert main(["info", str(tmp_path / "tape")]) == 0


def test_real_frames_are_imported_with_what_was_missed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Three frames of a public Go module named Polybot; between the second and the third something was not recorded."""
    source = _FRAMES / "polybot-2025-12-23.jsonl"

    assert main(["import", str(source), "--out", str(tmp_path / "tape")]) == 1

    text = capsys.readouterr().out
    assert "5 verified, 0 unverifiable, 0 mismatches" in text
    assert "1 gap by mismatch" in text
    assert "without a receive time: the venue's was taken" in text


def test_several_files_of_another_channel_are_imported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    prices = [frame["frame"] for frame in frames("polybolt-2026-09-08").values()]
    for name, lines in (("a", prices[:4]), ("b", prices[4:])):
        (tmp_path / name).write_text("\n".join(lines))

    sources = [str(tmp_path / name) for name in "ab"]
    code = main(["import", *sources, "--channel", "prices", "--out", str(tmp_path / "tape"), "-o", "json"])

    done = printed(capsys)
    assert code == (1 if done["unknown"] else 0)
    assert done["sources"] == sources
    assert (done["frames"], done["malformed"]) == (len(prices), 0)


def test_lines_that_cannot_be_read_are_a_finding(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["import", str(capture(tmp_path, Venue("1").opening(), "{")), "--out", str(tmp_path / "tape")]) == 1

    assert "1 of them malformed, kept as they are" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["{tmp}/missing", "--out", "{tmp}/tape"], "cannot be read"),
        (["{tmp}", "--out", "{tmp}/tape"], "cannot be read"),
        (["{tmp}/full/mine", "--out", "{tmp}/tape"], "is a frame or an envelope"),
        (["{tmp}/capture.jsonl", "--out", "{tmp}/full"], "exists and is not empty"),
        (["{tmp}/capture.jsonl", "--out", "{tmp}/tape", "--channel", "weather"], "invalid choice"),
        (["{tmp}/capture.jsonl"], "--out"),
        (["--out", "{tmp}/tape"], "FILE"),
    ],
)
def test_a_refused_import_is_one_sentence_and_makes_nothing(
    arguments: list[str], sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good(tmp_path)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").write_text("mine")

    assert main(["import", *(each.format(tmp=tmp_path) for each in arguments)]) == 2

    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("pmlive: ")
    assert captured.err.count("\n") == 1
    assert sentence in captured.err
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["capture.jsonl", "full", "mine"]


@pytest.mark.parametrize("command", ["export", "import"])
def test_the_commands_have_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, "--help"]) == 0
    assert f"usage: pmlive {command}" in capsys.readouterr().out


def test_a_capture_becomes_arrays_with_two_commands(tmp_path: Path) -> None:
    good(tmp_path)

    imported = run("import", "capture.jsonl", "--out", "tape", cwd=tmp_path)
    exported = run("export", "tape", "--to", "hftbacktest", "arrays", cwd=tmp_path)

    assert (imported.code, exported.code) == (0, 0)
    assert (imported.err, exported.err) == ("", "")
    assert [path.name for path in (tmp_path / "arrays").iterdir()] == ["1.npz"]
