"""Dashboards where there is no notebook: in plain Python and in the IPython of a terminal."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SHOWN = """
import pmlive as pm
replay = pm.open_recording(pm.sample()).replay(speed="max")
dashboard = replay.dashboard(charts="image")
dashboard.draw_for(0.2)
dashboard = replay.dashboard()
dashboard
dashboard.price
dashboard.status
print(repr(dashboard))
dashboard.figure().savefig("shown.png")
print("there", len(pm.managers()))
dashboard.close()
"""
TERMINALS = {"python": ["-"], "ipython": ["-m", "IPython", "--no-banner", "--simple-prompt", "--colors=nocolor"]}


def run(command: list[str], program: str, folder: Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, *command],
        input=program,
        capture_output=True,
        check=True,
        text=True,
        timeout=50,
        cwd=folder,
        env=dict(os.environ) | {"IPYTHONDIR": str(folder), "TERM": "dumb"},
    )


@pytest.mark.parametrize("terminal", [pytest.param("python", marks=pytest.mark.slow), "ipython"])
def test_a_dashboard_in_a_terminal_has_a_name_and_is_a_figure(terminal: str, tmp_path: Path) -> None:
    done = run(TERMINALS[terminal], SHOWN, tmp_path)

    assert "<Dashboard of <Replay of " in done.stdout
    assert "there 1" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr
    assert (tmp_path / "shown.png").read_bytes().startswith(b"\x89PNG")
    # What is closed is not printed once more.
    assert "Dashboard" not in done.stdout.partition("there 1")[2]
    if terminal == "ipython":
        assert "<PriceChart of simulated: Will the Fed cut rates by 25 bps in December? - Yes>" in done.stdout
        assert "<StatusPanel>" in done.stdout
