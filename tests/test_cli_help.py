"""What helps whoever types a command: examples, the words that were meant, and completion by the shell."""

import argparse
import json
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import pmlive as pm
from pmlive.cli import main
from pmlive.cli.commands import parser

COMMANDS = parser().commands


def examples(command: argparse.ArgumentParser) -> list[str]:
    head, *lines = (command.epilog or "").splitlines()
    assert head == "examples:"
    return [line.strip() for line in lines]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_examples_that_its_help_shows_as_they_are_typed(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([name, "--help"]) == 0

    shown = capsys.readouterr().out.splitlines()
    assert examples(COMMANDS[name])
    assert [line.strip() for line in shown[shown.index("examples:") + 1 :]] == examples(COMMANDS[name])


@pytest.mark.parametrize("name", COMMANDS)
def test_every_example_is_a_command_line_that_is_understood(name: str) -> None:
    for example in examples(COMMANDS[name]):
        # Some are for a shell: what it substitutes, redirects or takes for a comment is not the command's.
        words = shlex.split(example.removeprefix("eval ").replace('"$(', "").replace(')"', ""), comments=True)
        words = words[: words.index(">")] if ">" in words else words

        options = parser().parse_args(words[1:])

        assert words[0] == "pmlive"
        assert words[1] == name
        assert callable(options.run)


@pytest.mark.quick(5)
@pytest.mark.parametrize(
    "example",
    [
        line
        for name in ("info", "verify", "quality", "book", "replay", "export", "ls")
        for line in examples(COMMANDS[name])
        if "--from" not in line and "--speed 60" not in line and "2026-11-23" not in line
    ],
)
def test_examples_about_recordings_run(
    example: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(pm.sample(), tmp_path / "data" / "tonight")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PMLIVE_DATA_DIR", str(tmp_path / "data"))

    code = main(shlex.split(example.replace("02:14:07", "22:35:20"))[1:])

    # One that is 1 has found the gaps of the sample.
    assert code in {0, 1}
    assert capsys.readouterr().out


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (["recrod", "x"], "no command 'recrod'; did you mean record?; see: pmlive --help"),
        (["verfy", "x"], "no command 'verfy'; did you mean verify?"),
        (["xyzzy"], "no command 'xyzzy'; there are demo, record, search,"),
        (["--verion"], "no option '--verion'; did you mean --version?; see: pmlive --help"),
        (["record", "--venu", "sim"], "no option '--venu'; did you mean --venue?; see: pmlive record --help"),
        (["record", "--sconds=3"], "no option '--sconds'; did you mean --seconds?"),
        (["record", "--frobnicate"], "no option '--frobnicate'; see: pmlive record --help"),
        # What is missing is told only of what was understood.
        (["book", "tape", "Yes", "--outcom", "x"], "no option '--outcom'; did you mean --outcome?"),
        (["replay", "tape", "--sped", "60"], "did you mean --speed?"),
        (["doctor", "-o", "jso"], "argument -o/--output: invalid choice 'jso'; did you mean json?"),
        (
            ["export", "tape", "--to", "xml", "out"],
            "invalid choice 'xml'; there are hftbacktest, nautilus, csv, duckdb",
        ),
    ],
)
def test_a_mistyped_word_is_answered_with_what_was_meant(
    typed: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(typed) == 2

    shown = capsys.readouterr()
    assert said in shown.err
    assert (shown.out, shown.err.count("\n")) == ("", 1)


@pytest.mark.parametrize("words", [["--", "--looks-like-one"], ["--looks like one"]])
def test_what_only_looks_like_an_option_is_a_word(words: list[str]) -> None:
    assert parser().parse_args(["search", *words]).words == [words[-1]]


BASH = shutil.which("bash") or ""
COMPLETED = """
source {script}
type() {{
  COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=(); COMP_LINE="$*"
  _shtab_pmlive
  echo "${{COMPREPLY[*]}}"
}}
{typed}
"""


@pytest.fixture(scope="module")
def completion(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write what the command prints for bash, once."""
    script = tmp_path_factory.mktemp("completion") / "pmlive.bash"
    command = [sys.executable, "-m", "pmlive", "completion", "bash"]
    script.write_bytes(subprocess.run(command, capture_output=True, check=True, timeout=60).stdout)
    return script


@pytest.mark.skipif(not BASH, reason="no bash here")
@pytest.mark.parametrize(
    ("typed", "completed"),
    [
        ("pmlive re", {"record", "replay", "repair"}),
        ("pmlive verify --ou", {"--output"}),
        ("pmlive export tape --to ''", {"hftbacktest", "nautilus", "csv", "duckdb"}),
        ("pmlive record --out ''", {"tape"}),
        ("pmlive verify ''", {"tape"}),
        ("pmlive import ''", {"tape", "a_file.txt"}),
        ("pmlive completion ''", {"bash", "zsh", "tcsh", "fish"}),
    ],
)
def test_bash_completes_commands_options_choices_and_paths(
    typed: str, completed: set[str], completion: Path, tmp_path: Path
) -> None:
    (tmp_path / "tape").mkdir()
    (tmp_path / "a_file.txt").touch()
    program = COMPLETED.format(script=shlex.quote(str(completion)), typed=f"type {typed}")

    done = subprocess.run(
        [BASH, "--norc", "-c", program], capture_output=True, check=True, text=True, timeout=60, cwd=tmp_path
    )

    assert set(done.stdout.split()) == completed


@pytest.mark.parametrize("shell", ["bash", "zsh", "tcsh", "fish"])
def test_each_shell_has_a_script_that_names_every_command(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", shell]) == 0
    script = capsys.readouterr().out
    assert main(["completion", shell, "-o", "json"]) == 0

    assert [name for name in COMMANDS if name not in script] == []
    assert json.loads(capsys.readouterr().out) == {"shell": shell, "script": script.removesuffix("\n")}
