"""The recorder is killed at random; what it said was on the disk has to be there, once and in order."""

import random
import subprocess
import sys
from pathlib import Path

import pytest
from storing import logged, recording, stored

from pmlive.store import records, verify_files

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


def _kill(folder: Path, times: int, seed: int) -> None:
    chance = random.Random(seed)
    acknowledged = max(_run_and_kill(folder, chance.uniform(0.0, 0.15)) for _ in range(times))
    with recording(folder):
        pass
    found = [item.seq for item in records(folder)]
    assert found[:acknowledged] == [*range(1, acknowledged + 1)]
    assert found == sorted(set(found))
    assert stored(folder) == logged(folder)
    assert verify_files(folder) == []


def test_ten_kills_lose_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    _kill(tmp_path, 10, seed=1)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_thousand_kills_lose_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    for part in range(20):
        _kill(tmp_path / str(part), 50, seed=part)
