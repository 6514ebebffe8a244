"""How the program is called: help, bad usage, signals while it has nothing open."""

import argparse
import os
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
from commands import run

from pmlive import __version__, logs
from pmlive.cli import main
from pmlive.cli.commands import Subparsers, add_command, run_one_of
from pmlive.cli.terminal import Output, Stop

COMMANDS = [
    *("demo", "record", "search", "ls", "info", "verify", "quality", "book", "replay", "export", "import"),
    *("repair", "compact", "mcp", "sim", "doctor"),
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

    add_command(subparsers, "fail", fail, summary="Fail")


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
