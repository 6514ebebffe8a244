"""``pmlive sim``: a venue for other programs."""

import json
import shlex
import signal
from pathlib import Path

from commands import run, running


def test_the_variables_are_printed_at_once_and_point_a_client_at_the_venue(tmp_path: Path) -> None:
    with running("sim", "--markets", 1, "--seed", 3, cwd=tmp_path) as program:
        assert program.process.stdout is not None
        lines = [program.process.stdout.readline() for _ in range(6)]
        variables = dict(shlex.split(line)[1].split("=", 1) for line in lines)
        searched = run("search", "fed", "-o", "json", cwd=tmp_path, env=variables)
        program.send(signal.SIGTERM)
        done = program.end()

    assert all(line.startswith("export PMLIVE_") for line in lines)
    assert len(searched.object["markets"]) == 1
    assert (done.code, done.out) == (0, "")


def test_programs_get_the_variables_and_the_markets_as_an_object(tmp_path: Path) -> None:
    with running("sim", "-o", "json", cwd=tmp_path) as program:
        assert program.process.stdout is not None
        shown = json.loads(program.process.stdout.readline())
        program.send(signal.SIGINT)
        done = program.end()

    assert min(shown["environment"]) == "PMLIVE_CLOB_URL"
    assert [len(market["token_ids"]) for market in shown["markets"]] == [2, 2, 2]
    assert done.code == 0


def test_a_port_that_is_taken_is_reported(tmp_path: Path) -> None:
    with running("sim", "-o", "json", cwd=tmp_path) as program:
        assert program.process.stdout is not None
        taken = json.loads(program.process.stdout.readline())["environment"]["PMLIVE_CLOB_URL"].rpartition(":")[2]
        done = run("sim", "--port", taken, cwd=tmp_path)

    assert done.code == 2
    assert done.out == ""
    assert f"port {taken}" in done.err
