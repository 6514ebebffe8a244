"""Faults of the recorder's process, of its standard error, and of the disk."""

import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from pmlive.cli.faults.cases import Expected, FaultCase, Stderr
from pmlive.cli.faults.trial import Trial

__all__ = ["PROCESSES"]

_STOPPED_SECONDS = 7.0
_LOGGED_SECONDS = 5.0
_FULL_SECONDS = 6.0
_FIRST_BLOCKS = 4096
_UNUSABLE = 2
_NOT_RUNNING = Expected(
    causes=frozenset({"silence"}), refused="any", max_age=3.0 + _STOPPED_SECONDS, before=4.0, after=6.0
)
_RESTARTED = Expected(causes=frozenset({"restart"}), refused="any", before=4.0, after=6.0)
_DAMAGED = Expected(causes=frozenset({"restart", "disk"}), refused="any", before=60.0, after=6.0)
_DISCONNECTED = Expected(causes=frozenset({"disconnect"}))


def _stopped(trial: Trial) -> None:
    """Stop the process for some seconds, as a closed laptop or a debugger does."""
    os.kill(trial.pid, signal.SIGSTOP)
    trial.sleep(_STOPPED_SECONDS)
    os.kill(trial.pid, signal.SIGCONT)


def _stderr_closed(trial: Trial) -> None:
    """Close the standard error's other end, then cut the connection, which the recorder reports."""
    trial.close_stderr()
    trial.cut()


def _stderr_full(trial: Trial) -> None:
    """Keep cutting the connection, which the recorder reports, while its standard error is full."""
    for _ in range(8):
        trial.sim.fault("drop", channel="market")
        trial.sleep(1.0)


def _killed(trial: Trial) -> None:
    trial.kill()
    trial.sleep(1.0)
    trial.start()


def _damaged(damage: Callable[[Path], None], trial: Trial) -> None:
    """Damage the first blocks of the log of a recorder that was killed, and start it again."""
    trial.kill()
    damage(min((trial.recording / "wal").glob("*.*")))
    trial.start()


def _start_and_fill_log(trial: Trial) -> None:
    """Record for long enough that the log has more than may still be on its way to it."""
    trial.start()
    trial.wait_for_books()
    trial.ready_ns = time.time_ns()
    trial.sleep(_LOGGED_SECONDS * trial.slowness)


def _flip(path: Path) -> None:
    """Flip some bits of the first blocks, which hold the opening of the connection."""
    data = bytearray(path.read_bytes())
    for at in range(100, min(len(data), _FIRST_BLOCKS), 200):
        data[at] ^= 0x10
    path.write_bytes(data)


def _overwrite(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(b"\xa5" * _FIRST_BLOCKS + data[_FIRST_BLOCKS:])


def _halve(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[len(data) // 2 :])


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _full_disk(trial: Trial, meanwhile: Callable[[Trial], object] = lambda _: None) -> None:
    """Let no file of the recorder grow for some seconds, as on a disk without room, while something else happens."""
    _, most = resource.prlimit(trial.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(trial.pid, resource.RLIMIT_FSIZE, (0, most))
    meanwhile(trial)
    trial.sleep(_FULL_SECONDS)
    resource.prlimit(trial.pid, resource.RLIMIT_FSIZE, (most, most))
    trial.sleep(2.0)


def _second_recorder(trial: Trial) -> None:
    """Start another recorder on the same folder: it is refused, and the first one goes on."""
    done = subprocess.run(  # noqa: S603  # our own program
        [sys.executable, "-m", "pmlive", *trial.arguments()],
        env={**os.environ, **trial.sim.environment()},
        capture_output=True,
        text=True,
        check=False,
        timeout=60 * trial.slowness,
    )
    if done.returncode != _UNUSABLE or str(trial.pid) not in done.stderr:
        trial.complaints.append(f"a second recorder ends with {done.returncode}: {done.stderr[-200:]!r}")


def _without_stderr(stderr: Stderr, name: str, inject: Callable[[Trial], None]) -> FaultCase:
    return FaultCase(
        name=f"standard error: {name}", group="process", inject=inject, expected=_DISCONNECTED, stderr=stderr
    )


def _with_damage(name: str, damage: Callable[[Path], None]) -> FaultCase:
    return FaultCase(
        name=f"first blocks of the log {name}",
        group="disk",
        inject=partial(_damaged, damage),
        expected=_DAMAGED,
        start=_start_and_fill_log,
    )


PROCESSES: tuple[FaultCase, ...] = (
    FaultCase(name="stopped for 7 s, little comes", group="process", inject=_stopped, expected=_NOT_RUNNING, rate=5.0),
    FaultCase(name="stopped for 7 s, much comes", group="process", inject=_stopped, expected=_NOT_RUNNING, rate=300.0),
    _without_stderr("pipe", "reader gone", _stderr_closed),
    _without_stderr("terminal", "terminal closed", _stderr_closed),
    _without_stderr("closed", "closed from the beginning", Trial.cut),
    _without_stderr("full disk", "on a full disk", Trial.cut),
    _without_stderr("unread pipe", "read by nobody", _stderr_full),
    FaultCase(name="killed, and resumed", group="process", inject=_killed, expected=_RESTARTED),
    FaultCase(
        name="disk full for 6 s",
        group="disk",
        inject=_full_disk,
        stderr="pipe",
        expected=Expected(causes=frozenset({"disk"}), gaps="any", refused="any", code=None),
    ),
    FaultCase(
        name="disk full for 6 s, the program's log on it",
        group="disk",
        inject=partial(_full_disk, meanwhile=Trial.cut),
        expected=Expected(causes=frozenset({"disk", "disconnect"})),
    ),
    _with_damage("have flipped bits", _flip),
    _with_damage("overwritten", _overwrite),
    _with_damage("halved", _halve),
    _with_damage("emptied", _empty),
    FaultCase(
        name="two recorders on one folder",
        group="process",
        inject=_second_recorder,
        expected=Expected(causes=frozenset(), gaps="none", refused="none", code=0),
    ),
)
