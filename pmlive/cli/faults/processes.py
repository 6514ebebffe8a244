"""Faults of the process, of its standard error, and of the disk."""

import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from pmlive.cli.faults.row import Expected, Row, Stderr
from pmlive.cli.faults.scene import Scene

__all__ = ["PROCESSES"]

_STOPPED = 7.0
_UNUSABLE = 2
_LOGGED = 5.0
_FIRST = 4096
_NOT_RUNNING = Expected(causes=frozenset({"silence"}), refused="any", patience=3.0 + _STOPPED, before=4.0, after=6.0)
_RESTARTED = Expected(causes=frozenset({"restart"}), refused="any", before=4.0, after=6.0)
_DAMAGED = Expected(causes=frozenset({"restart", "disk"}), refused="any", before=60.0, after=6.0)
_CUT = Expected(causes=frozenset({"disconnect"}))
_UNTIL_BACK = 6.0


def _stopped(scene: Scene) -> None:
    """Stop the process for some seconds, as a laptop's lid or a debugger does."""
    os.kill(scene.pid, signal.SIGSTOP)
    scene.calm(_STOPPED)
    os.kill(scene.pid, signal.SIGCONT)


def _silenced(scene: Scene) -> None:
    """Take the reader of the standard error away, then let there be something to say."""
    scene.lose_stderr()
    scene.hold_off()
    scene.sim.fault("drop", channel="market")
    scene.until_refused()


def _unread(scene: Scene) -> None:
    """Let the standard error be full while there is more and more to say."""
    for _ in range(8):
        scene.sim.fault("drop", channel="market")
        scene.calm(1.0)


def _disconnected(scene: Scene) -> None:
    scene.hold_off()
    scene.sim.fault("drop", channel="market")
    scene.until_refused()


def _killed(scene: Scene) -> None:
    scene.kill()
    scene.calm(1.0)
    scene.start()


def _damaged(damage: Callable[[Path], None], scene: Scene) -> None:
    """Damage the first block of the log of a recorder that was killed, and go on."""
    scene.kill()
    first = min((scene.tape / "wal").glob("*.*"))
    damage(first)
    scene.start()


def _record_for_long(scene: Scene) -> None:
    """Record for so long that what is in the log is more than what may be on its way."""
    scene.start()
    scene.until_given()
    scene.settled = time.time_ns()
    scene.calm(_LOGGED * scene.slow)


def _flip(path: Path) -> None:
    """Flip some bits of what opened the connection, which is in the first blocks."""
    data = bytearray(path.read_bytes())
    for at in range(100, min(len(data), _FIRST), 200):
        data[at] ^= 0x10
    path.write_bytes(data)


def _overwrite(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(b"\xa5" * _FIRST + data[_FIRST:])


def _halve(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[len(data) // 2 :])


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _full_disk(scene: Scene) -> None:
    """Let no file grow for some seconds, as on a disk without room."""
    _, most = resource.prlimit(scene.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(scene.pid, resource.RLIMIT_FSIZE, (0, most))
    scene.calm(_UNTIL_BACK)
    resource.prlimit(scene.pid, resource.RLIMIT_FSIZE, (most, most))
    scene.calm(2.0)


def _full_disk_and_cut(scene: Scene) -> None:
    """Let no file grow, the log of the program neither, while there is something to say."""
    _, most = resource.prlimit(scene.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(scene.pid, resource.RLIMIT_FSIZE, (0, most))
    scene.sim.fault("drop", channel="market")
    scene.calm(_UNTIL_BACK)
    resource.prlimit(scene.pid, resource.RLIMIT_FSIZE, (most, most))
    scene.calm(2.0)


def _second(scene: Scene) -> None:
    """Let another recorder want the same folder: it is refused, and the first one notices nothing."""
    done = subprocess.run(  # noqa: S603  # our own program
        [sys.executable, "-m", "pmlive", *scene.arguments()],
        env={**os.environ, **scene.sim.environment()},
        capture_output=True,
        text=True,
        check=False,
        timeout=60 * scene.slow,
    )
    if done.returncode != _UNUSABLE or str(scene.pid) not in done.stderr:
        scene.complaints.append(f"a second recorder ends with {done.returncode}: {done.stderr[-200:]!r}")


def _without_stderr(stderr: Stderr, name: str, act: Callable[[Scene], None], expected: Expected = _CUT) -> Row:
    return Row(name=f"standard error: {name}", group="process", act=act, expected=expected, stderr=stderr)


def _with_damage(name: str, damage: Callable[[Path], None]) -> Row:
    return Row(
        name=f"first blocks of the log {name}",
        group="disk",
        act=partial(_damaged, damage),
        expected=_DAMAGED,
        begin=_record_for_long,
    )


PROCESSES: tuple[Row, ...] = (
    Row(name="stopped for 7 s, little comes", group="process", act=_stopped, expected=_NOT_RUNNING, rate=5.0),
    Row(name="stopped for 7 s, much comes", group="process", act=_stopped, expected=_NOT_RUNNING, rate=300.0),
    _without_stderr("pipe", "reader gone", _silenced),
    _without_stderr("terminal", "terminal closed", _silenced),
    _without_stderr("closed", "closed from the beginning", _disconnected),
    _without_stderr("full disk", "on a full disk", _disconnected),
    _without_stderr("unread pipe", "read by nobody", _unread),
    Row(name="killed, and resumed", group="process", act=_killed, expected=_RESTARTED),
    Row(
        name="disk full for 6 s",
        group="disk",
        act=_full_disk,
        stderr="pipe",
        expected=Expected(causes=frozenset({"disk"}), gaps="any", refused="any", code=None),
    ),
    Row(
        name="disk full for 6 s, the program's log on it",
        group="disk",
        act=_full_disk_and_cut,
        expected=Expected(causes=frozenset({"disk", "disconnect"})),
    ),
    _with_damage("have flipped bits", _flip),
    _with_damage("overwritten", _overwrite),
    _with_damage("halved", _halve),
    _with_damage("emptied", _empty),
    Row(
        name="two recorders on one folder",
        group="process",
        act=_second,
        expected=Expected(causes=frozenset(), gaps="none", refused="none", code=0),
    ),
)
