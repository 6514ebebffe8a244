"""The libraries to compare with, each in an environment of its own beside ours.

Their requirements contradict each other's (the official client holds websockets below 16), hence one environment each.
"""

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import NamedTuple

import platformdirs

__all__ = ["PEERS", "Peer", "python"]

_ROOT = Path(__file__).parents[2]
_PYTHONS = ("python3.13", "python3.12")


class Peer(NamedTuple):
    """A library, what is measured of it, and how many times its message rate is aimed at."""

    case: str
    requirement: str
    does: str
    aim: float


PEERS = (
    Peer("polymarket-client", "polymarket-client==0.14.0", "decode alone", 5),
    Peer("nautilus-trader", "nautilus_trader[polymarket]==1.231.0", "decode, objects, book (client alone)", 7),
    Peer("polymarket-apis", "polymarket-apis==2.3.0", "decode, book store", 10),
)


def python(peer: Peer) -> Path:
    """Give the interpreter of a peer's environment, which is made first if it is not there."""
    home = _home() / peer.case
    interpreter = home / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    made_of, wanted = home / "requirements.txt", "\n".join([peer.requirement, *_our_requirements()])
    if not made_of.exists() or made_of.read_text() != wanted:
        _run(_base(), "-m", "venv", "--clear", str(home))
        _run(str(interpreter), "-m", "pip", "install", "--quiet", peer.requirement, "--editable", str(_ROOT))
        made_of.write_text(wanted)
    return interpreter


def _our_requirements() -> list[str]:
    return tomllib.loads((_ROOT / "pyproject.toml").read_text())["project"]["dependencies"]


def _run(*command: str) -> None:
    subprocess.run(command, check=True)


def _home() -> Path:
    return Path(os.environ.get("PMLIVE_BENCHMARK_ENVS") or platformdirs.user_cache_path("pmlive-benchmarks"))


def _base() -> str:
    """Find a Python that the peers can run on.

    Raises:
        RuntimeError: there is none.
    """
    candidates = (os.environ.get("PMLIVE_BENCHMARK_PYTHON"), *map(shutil.which, _PYTHONS))
    chosen = next((python for python in candidates if python and _runs(python)), None)
    if chosen:
        return chosen
    if sys.version_info >= (3, 12):
        return sys.executable
    raise RuntimeError("the peers need Python 3.12 or later: name one in PMLIVE_BENCHMARK_PYTHON")


def _runs(python: str) -> bool:
    # A version manager puts programs on the path for versions that it then refuses to run.
    return not subprocess.run([python, "--version"], check=False, capture_output=True).returncode
