"""The recorder is killed at random; what it said was on the disk has to be there, once and in order.

The truth is what another process heard: this one.
"""

import os
import random
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from storing import audit

from pmlive.store import read_manifest

_CHILD = Path(__file__).with_name("storing.py")


def _run_and_kill(folder: Path, seconds: float) -> int:
    """Let a recorder work for so long after its first word; return the last number that it said was kept."""
    child = subprocess.Popen([sys.executable, _CHILD, folder], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    with child.stdout:
        said = [child.stdout.readline()]
        try:
            child.wait(seconds)
        except subprocess.TimeoutExpired:
            child.kill()
        said += child.stdout.read().splitlines(keepends=True)
        child.wait(10)
    return max(int(line) for line in said if line.endswith("\n"))


def _kill(folder: Path, times: int, seed: int) -> int:
    """Kill and resume a recorder; return how many numbers it has acknowledged, all of which were found."""
    chance = random.Random(seed)
    acknowledged = max(_run_and_kill(folder, chance.uniform(0.0, 0.15)) for _ in range(times))
    audit(folder, acknowledged)
    return acknowledged


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_ten_kills_lose_and_double_nothing_that_was_acknowledged(tmp_path: Path, seed: int) -> None:
    assert _kill(tmp_path, 10, seed=seed) > 100

    files = read_manifest(tmp_path).of("trades")
    assert any("to" in Path(file.path).stem for file in files)  # kills came between merges, too


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_thousand_kills_lose_and_double_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        parts = [pool.submit(_kill, tmp_path / str(part), 50, seed=100 + part) for part in range(20)]
        assert min(part.result() for part in parts) > 100


def _kill_at_changes(folder: Path, *, first: int, every: int) -> int:
    """Kill recorders at one change of the disk after another; return how many of them were reached."""
    command = [sys.executable, _CHILD, folder, str(first), str(every)]
    said = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=900, check=True).stdout
    killed = acknowledged = 0
    for word, *end in map(str.split, said.splitlines()):
        if end:
            audit(folder / word, acknowledged)
            killed, acknowledged = killed + 1, 0
        else:
            acknowledged = int(word)
    return killed


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_kill_at_any_sixteenth_change_of_the_disk_loses_nothing_acknowledged(tmp_path: Path) -> None:
    with ThreadPoolExecutor(2) as pool:
        parts = [pool.submit(_kill_at_changes, tmp_path, first=first, every=32) for first in (1, 17)]
        assert sum(part.result() for part in parts) > 5


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_kill_at_every_change_of_the_disk_loses_nothing_acknowledged(tmp_path: Path) -> None:
    assert _kill_at_changes(tmp_path, first=1, every=1) > 100
