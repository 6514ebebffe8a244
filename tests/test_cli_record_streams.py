"""``pmlive record`` whose output nobody takes: the recording goes on, and says what it missed."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Generator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import polars as pl
import pytest
from commands import PATIENCE, venue
from support.waiting import wait_until

import pmlive as pm
from pmlive.sim import SimulatedVenue

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="no such pipes and devices there")


@contextmanager
def closed() -> Generator[None]:
    """Yield no stream at all."""
    yield None


@contextmanager
def no_reader() -> Generator[int]:
    """Yield a pipe whose reader is gone."""
    reading, writing = os.pipe()
    os.close(reading)
    yield writing
    os.close(writing)


@contextmanager
def stuck() -> Generator[int]:
    """Yield a pipe that is full, and that nobody reads."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    try:
        while True:
            os.write(writing, b"x" * 4096)
    except BlockingIOError:
        os.set_blocking(writing, True)
    yield writing
    os.close(writing)
    os.close(reading)


@contextmanager
def full_disk() -> Generator[int]:
    """Yield a device that takes nothing."""
    device = os.open("/dev/full", os.O_WRONLY)
    yield device
    os.close(device)


STREAMS: dict[str, Callable[[], AbstractContextManager[int | None]]] = {
    "closed": closed,
    "without a reader": no_reader,
    "stuck": stuck,
}
if Path("/dev/full").exists():
    STREAMS["on a full disk"] = full_disk


@contextmanager
def started(
    arguments: list[str], *, out: int | None, err: int | None, cwd: Path, env: Mapping[str, str]
) -> Generator["subprocess.Popen[bytes]"]:
    """Run the program with these streams; a shell closes those that are None."""
    closing = " ".join([">&-"] * (out is None) + ["2>&-"] * (err is None))
    command = ["sh", "-c", f'exec "$0" "$@" {closing}', sys.executable, "-m", "pmlive", *arguments]
    process = subprocess.Popen(command, stdout=out, stderr=err, cwd=cwd, env={**os.environ, **env})
    with process:
        try:
            yield process
        finally:
            process.kill()


def market_connections(sim: SimulatedVenue) -> set[int]:
    return {one.id for one in sim.connections if one.channel == "market"}


def logged(tape: Path) -> int:
    return sum(path.stat().st_size for path in tape.glob("wal/*.wal"))


def wait(process: "subprocess.Popen[bytes]", condition: Callable[[], object], what: str) -> None:
    wait_until(lambda: condition() or process.poll() is not None, PATIENCE, what=what)
    assert process.poll() is None, f"it ended while waiting {what}"


def drop_and_go_on(process: "subprocess.Popen[bytes]", sim: SimulatedVenue, tape: Path) -> None:
    """Cut the connection, and wait until another one is recorded from."""
    wait(process, lambda: market_connections(sim) and logged(tape) > 2_000, "that it records")
    first = market_connections(sim)
    sim.fault("drop", channel="market")
    wait(process, lambda: market_connections(sim) - first, "that it dials again")
    size = logged(tape)
    wait(process, lambda: logged(tape) > size + 4_000, "that it records again")


def check(tape: Path) -> None:
    """Assert that the recording has the gap with its end, what came after it, and is sound."""
    night = pm.open_recording(tape)
    gaps = night.gaps
    assert set(gaps["cause"].cast(pl.String)) == {"disconnect"}
    assert gaps["ended"].null_count() == 0
    after = night.scan("book_deltas").filter(pl.col("ts_recv") > gaps["ended"].max()).collect()
    assert after.height > 0
    assert night.verify().ok


@pytest.mark.quick(1)
@pytest.mark.parametrize("state", STREAMS)
def test_a_standard_error_that_takes_nothing_stops_no_recording(state: str, tmp_path: Path) -> None:
    reading, writing = os.pipe()
    with venue() as sim, STREAMS[state]() as err:
        arguments = ["record", sim.markets[0].slug, "--out", "tape", "-o", "json"]
        with started(arguments, out=writing, err=err, cwd=tmp_path, env=sim.environment()) as process:
            os.close(writing)
            drop_and_go_on(process, sim, tmp_path / "tape")
            process.send_signal(signal.SIGINT)
            code = process.wait(PATIENCE)
    with os.fdopen(reading, "rb") as pipe:
        shown = json.loads(pipe.read())

    assert code == 1
    assert {gap["cause"] for gap in shown["missed"]} == {"disconnect"}
    assert shown["log_lines_lost"] > 0
    check(tmp_path / "tape")


@pytest.mark.quick(1)
@pytest.mark.parametrize("state", STREAMS)
def test_a_standard_output_that_takes_nothing_changes_no_exit_code(state: str, tmp_path: Path) -> None:
    with venue() as sim, STREAMS[state]() as out:
        arguments = ["record", sim.markets[0].slug, "--out", "tape"]
        with started(arguments, out=out, err=subprocess.DEVNULL, cwd=tmp_path, env=sim.environment()) as process:
            drop_and_go_on(process, sim, tmp_path / "tape")
            process.send_signal(signal.SIGTERM)
            code = process.wait(PATIENCE)

    assert code == 1
    check(tmp_path / "tape")
