"""How the program is called: help, bad usage, signals while it has nothing open."""

import argparse
import json
import os
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
from commands import run

import pmlive as pm
from pmlive import __version__, logs
from pmlive.cli import main
from pmlive.cli.commands import Subparsers, add_command, duration, run_one_of
from pmlive.cli.terminal import Output, Stop

COMMANDS = [
    *("demo", "record", "search", "history", "ls", "info", "verify", "quality", "book", "replay", "export", "import"),
    *("repair", "compact", "mcp", "sim", "doctor", "completion"),
]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, "--help"]) == 0

    assert f"usage: pmlive {command}" in capsys.readouterr().out


def test_the_program_names_its_commands_and_its_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    listed = capsys.readouterr().out

    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"pmlive {__version__}\n"
    assert all(f"    {command} " in listed for command in COMMANDS)


def test_a_command_waits_for_no_other_to_be_loaded() -> None:
    code = "import sys; from pmlive.cli import main; main(['--version']); main(['sim', '--help']); print(*sys.modules)"

    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()

    assert {"polars", "numpy", "pmlive.cli.record", "pmlive.cli.doctor"}.isdisjoint(loaded)
    assert "pmlive.cli.venue" in loaded


@pytest.mark.parametrize(
    "arguments",
    [
        ["--frobnicate"],
        ["frobnicate"],
        ["demo", "--seconds", "0"],
        ["demo", "--seconds", "nan"],
        ["demo", "--sec", "1"],
        ["demo", "-o", "yaml"],
        ["record", "--venue", "moon", "x"],
        ["record", "slug", "--seconds"],
        ["search"],
        ["info"],
        ["sim", "--port", "70000"],
        ["sim", "--markets", "0"],
        ["sim", "--rate", "-1"],
        ["sim", "--seed", "seven"],
    ],
)
def test_bad_usage_is_one_sentence_and_code_two(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2

    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("pmlive: ")
    assert captured.err.count("\n") == 1


def test_the_program_alone_shows_its_help_and_fails(tmp_path: Path) -> None:
    done = run(cwd=tmp_path)

    assert done.code == 2
    assert done.out == ""
    assert "record" in done.err


def test_an_unusable_address_is_reported_without_a_traceback(tmp_path: Path) -> None:
    done = run("record", "a-slug", "-o", "json", cwd=tmp_path, env={"PMLIVE_GAMMA_URL": "http://example.com"})

    assert done.code == 2
    assert done.out == ""
    assert "PMLIVE_GAMMA_URL" in done.err
    assert "Traceback" not in done.err


def test_a_reader_that_stops_reading_is_no_error(tmp_path: Path) -> None:
    read, write = os.pipe()
    os.close(read)

    with os.fdopen(write, "wb") as pipe:
        done = subprocess.run(
            [sys.executable, "-m", "pmlive", "doctor", "--venue", "sim"],
            stdout=pipe,
            stderr=subprocess.PIPE,
            check=False,
            cwd=tmp_path,
            timeout=40,
        )

    assert (done.returncode, done.stderr) == (0, b"")


def test_signal_handlers_are_restored_after_a_command(tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)

    assert main(["ls", str(tmp_path)]) == 0

    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


class _PanicError(BaseException):
    """What a library of compiled code raises; it is no `Exception`."""


def _failing(error: BaseException, subparsers: Subparsers) -> None:
    def fail(_options: argparse.Namespace, _out: Output, _stop: Stop) -> int:
        raise error

    add_command(subparsers, "fail", fail, summary="Fail", examples=["pmlive fail"])


@pytest.mark.parametrize("error", [RuntimeError("it broke"), _PanicError("it broke")])
def test_what_is_no_error_of_the_users_is_one_sentence(
    error: BaseException, capsys: pytest.CaptureFixture[str]
) -> None:
    with Stop() as stop:
        code = run_one_of([partial(_failing, error)], ["fail"], stop)
    logs.flush(10.0)

    assert code == 2
    assert capsys.readouterr().err == f"pmlive: internal error: {type(error).__name__}: it broke; -v shows where\n"


def test_an_interruption_is_not_taken_for_an_error() -> None:
    with Stop() as stop, pytest.raises(KeyboardInterrupt):
        run_one_of([partial(_failing, KeyboardInterrupt())], ["fail"], stop)


@pytest.mark.parametrize("where", ["before", "after", "both"])
def test_what_is_common_to_all_commands_may_stand_before_or_after_the_name(
    where: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = ["-o", "json"] if where == "before" else ["-o", "text"] if where == "both" else []
    after = [] if where == "before" else ["-o", "json"]

    code = main([*before, "info", str(pm.sample()), *after])

    assert code == 1
    assert json.loads(capsys.readouterr().out)["path"] == str(pm.sample())


@pytest.mark.parametrize("length", ["0s", "8", "eight hours", "-1h", ""])
def test_a_length_that_is_none_is_bad_usage(length: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["record", "rain", "--for", length]) == 2

    assert "argument --for" in capsys.readouterr().err


def test_how_long_to_record_is_said_once(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["record", "rain", "--for", "8h", "--seconds", "3"]) == 2

    assert "not allowed with" in capsys.readouterr().err


def test_a_length_is_read_as_people_write_it() -> None:
    assert (duration("90s"), duration("8h"), duration("1h30m"), duration("500ms")) == (90, 28_800, 5_400, 0.5)


@pytest.mark.parametrize(
    ("at", "meant"),
    [
        ("22:35:20", "2026-11-25T22:35:20"),
        ("22:35", "2026-11-25T22:35:00"),
        ("23:35:20+01:00", "2026-11-25T22:35:20"),
        ("2026-11-25T22:35:20Z", "2026-11-25T22:35:20"),
    ],
)
def test_a_time_of_day_is_the_last_one_that_was_recorded(
    at: str, meant: str, capsys: pytest.CaptureFixture[str]
) -> None:
    rain = "will-it-rain-in-london-on-new-years-eve"

    code = main(["-o", "json", "book", str(pm.sample()), rain, "--outcome", "Yes", "--at", at])

    assert code == 0
    assert json.loads(capsys.readouterr().out)["at"].startswith(meant)


def test_a_time_of_day_that_was_not_recorded_is_told_with_those_that_were(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["book", str(pm.sample()), "Yes", "--at", "03:00"]) == 2

    assert "the recording has no 03:00; it goes from 2026-11-25 22:34:5" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("8h", "'8h' is not a number above 0; expected --for 8h"),
        ("many", "'many' is not a number above 0; see"),
        ("-1", ""),
    ],
)
def test_a_length_of_time_that_is_given_in_seconds_is_told_where_it_belongs(
    given: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["record", "--venue", "sim", f"--seconds={given}"]) == 2

    assert said in capsys.readouterr().err
