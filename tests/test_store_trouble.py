"""A disk that refuses: it is said within a second, what was logged waits in memory, and nothing vanishes unsaid.

The recorder runs in a process of its own, because limits, mounts and injected faults are of a whole process.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pytest
from storing import audit, logged, recording, stored

from pmlive.store import read_manifest, records, verify_files

_HERE = Path(__file__).parent

_PRELUDE = """
import json, os, resource, sys, time
from pathlib import Path
from storing import fast, feed, rebuild, record, wait
from pmlive.errors import StoreError
from pmlive.store import Recorder
folder = Path(sys.argv[1])
def say(**words):
    print(json.dumps(words), flush=True)
"""

# The disk is full for a while; there is room in memory.
_LIMITED = """
recorder = Recorder(folder, rebuild=rebuild, options=fast())
feed(recorder, range(1, 100))
assert recorder.flush(10)
hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
resource.setrlimit(resource.RLIMIT_FSIZE, (2_000, hard))
began = time.monotonic()
for start in range(100, 1000, 100):
    feed(recorder, range(start, start + 100), size=200)
    time.sleep(0.01)
wait(lambda: recorder.status().trouble)
say(trouble=recorder.status().trouble, seconds=time.monotonic() - began, flushed=recorder.flush(0.2))
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
began = time.monotonic()
assert recorder.flush(10)
wait(lambda: recorder.status().trouble is None)
say(seconds=time.monotonic() - began, dropped=recorder.status().dropped)
recorder.close()
"""

# The disk is really full, for longer than the memory lasts; then space is made.
_FULL = """
ballast = folder.parent / "ballast"
ballast.write_bytes(b"x" * 3_000_000)
recorder = Recorder(folder, rebuild=rebuild, options=fast(memory=1_500_000))
noise = os.urandom(1_000_000).hex().encode()
number = 1
def big(n):
    made = record(n)
    return type(made)(n, made.recv, 1, "market", noise[n * 997 % 1_000_000 :][:20_000])
began = time.monotonic()
while not recorder.status().dropped:
    recorder.log(big(number))
    number += 1
    time.sleep(0.001)
assert recorder.status().trouble, "said"
say(trouble=recorder.status().trouble, due=recorder.poll(), pending=recorder.status().pending_bytes)
ballast.unlink()
began = time.monotonic()
wait(lambda: recorder.poll())
say(seconds=time.monotonic() - began)
recorder.cut([record(number, kind="state")])
feed(recorder, range(number + 1, number + 50))
(hole,) = recorder.holes()
say(cause=hole.cause, last=number + 49)
recorder.close()
"""

# Writes and syncs one by one, so that each is the last before some fault.
_STEPS = """
recorder = Recorder(folder, rebuild=rebuild, options=fast())
for start in range(1, 200, 20):
    feed(recorder, range(start, start + 20))
    assert recorder.flush(10)
    if len(sys.argv) > 2:
        say(kept=start + 19)
recorder.close()
"""


def _start(script: str, folder: Path, *words: str, prefix: Sequence[str] = ()) -> subprocess.CompletedProcess[str]:
    command = [*prefix, sys.executable, "-c", _PRELUDE + script, str(folder), *words]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(_HERE), str(_HERE.parent)])}
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=50, check=False)


def _run(script: str, folder: Path, *, prefix: Sequence[str] = ()) -> tuple[list[dict[str, object]], str]:
    done = _start(script, folder, prefix=prefix)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()], done.stderr


def test_a_write_that_is_refused_waits_and_comes_again(tmp_path: Path) -> None:
    (trouble, resumed), said = _run(_LIMITED, tmp_path)

    assert "File too large" in str(trouble["trouble"])
    assert isinstance(trouble["seconds"], float)
    assert trouble["seconds"] < 1
    assert trouble["flushed"] is False
    assert isinstance(resumed["seconds"], float)
    assert resumed["seconds"] < 5
    assert resumed["dropped"] == 0
    assert logged(tmp_path) == stored(tmp_path) == [*range(1, 1000)]
    assert list((tmp_path / "wal").iterdir()) == []  # half a block was cut off again, so nothing was damaged
    assert said.count("writing the log") == 2  # once when it began, once when it was over


def test_a_full_disk_is_a_hole_and_the_recorder_resumes_when_there_is_space(tmp_path: Path) -> None:
    disk, out = tmp_path / "disk", tmp_path / "out"
    disk.mkdir()
    mount = f'mount -t tmpfs -o size=4m none "{disk}" && "$@" && cp -r "{disk}/rec" "{out}"'

    (full, freed, hole), said = _run(_FULL, disk / "rec", prefix=[*_mounting(), "sh", "-c", mount, "sh"])

    assert "No space left" in str(full["trouble"])
    assert full["due"] is False
    assert isinstance(full["pending"], int)
    assert full["pending"] < 1_600_000
    assert isinstance(freed["seconds"], float)
    assert freed["seconds"] < 5
    assert hole["cause"] == "disk"
    assert "data is being lost" in said
    numbers = [item.seq for item in records(out)]
    keyframe = next(item.seq for item in records(out) if item.kind == "state")
    lost = sorted(set(range(1, int(str(hole["last"])) + 1)) - set(numbers))
    assert lost == [*range(lost[0], keyframe)]
    assert [item.ended for item in read_manifest(out).holes] == [
        next(i.recv for i in records(out) if i.seq == keyframe)
    ]
    assert stored(out) == [number for number in numbers if number > keyframe]
    assert verify_files(out) == []


# The folder becomes read-only for whatever is opened from then on, and writable again.
_READ_ONLY = """
import subprocess
def mount(*words):
    subprocess.run(words, check=True)
recorder = Recorder(folder, rebuild=rebuild, options=fast())
feed(recorder, range(1, 50))
assert recorder.flush(10)
mount("mount", "--bind", folder, folder)
mount("mount", "-o", "remount,bind,ro", folder)
feed(recorder, range(50, 100))
recorder.cut([record(100, kind="state")])
began = time.monotonic()
wait(lambda: recorder.status().trouble)
say(trouble=recorder.status().trouble, seconds=time.monotonic() - began)
mount("umount", folder)
began = time.monotonic()
wait(lambda: recorder.status().trouble is None and recorder.status().segments == 1)
feed(recorder, range(101, 150))
assert recorder.flush(10)
say(seconds=time.monotonic() - began, dropped=recorder.status().dropped)
recorder.close()
mount("mount", "--bind", folder, folder)
mount("mount", "-o", "remount,bind,ro", folder)
try:
    Recorder(folder, rebuild=rebuild)
except StoreError as error:
    say(error=str(error))
mount("umount", folder)
"""


def _mounting() -> list[str]:
    unshare = shutil.which("unshare")
    if unshare is None or subprocess.run([unshare, "-Urm", "true"], check=False, capture_output=True).returncode:
        pytest.skip("nothing can be mounted here (unshare -Urm)")
    return [unshare, "-Urm"]


def test_a_read_only_remount_is_said_and_costs_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "rec"
    folder.mkdir()

    (trouble, resumed, refused), said = _run(_READ_ONLY, folder, prefix=_mounting())

    assert "Read-only file system" in str(trouble["trouble"])
    assert isinstance(trouble["seconds"], float)
    assert trouble["seconds"] < 1
    assert isinstance(resumed["seconds"], float)
    assert resumed["seconds"] < 5
    assert resumed["dropped"] == 0
    assert "Read-only file system" in str(refused["error"])
    assert "resumed after" in said
    assert logged(folder) == stored(folder) == [*range(1, 100), *range(101, 150)]
    assert verify_files(folder) == []


_STRACE = shutil.which("strace")
# The number counts the calls of one thread: in the first the folder is made, in the others the log and the files.
_FAULTS = [
    pytest.param(call, fault, number, marks=[pytest.mark.slow] if at % 2 else [], id=f"{call}-{fault}-{number}")
    for call, fault, numbers in (
        ("fdatasync", "error=EIO", (1, 2, 4, 9)),
        ("fsync", "error=EIO", (1, 2, 3, 5, 8)),
        ("write", "error=ENOSPC", (2, 3, 5, 9)),
        ("renameat", "error=ENOSPC", (1, 2, 3)),
    )
    for at, number in enumerate(numbers)
]


@pytest.mark.quick(3)
@pytest.mark.skipif(_STRACE is None, reason="strace is not installed, so faults cannot be injected")
@pytest.mark.parametrize(("call", "fault", "number"), _FAULTS)
def test_an_injected_fault_costs_nothing(tmp_path: Path, call: str, fault: str, number: int) -> None:
    folder = tmp_path / "rec"
    prefix = [str(_STRACE), "-f", "-qq", "-o", str(tmp_path / "trace"), "-e", f"trace={call},openat"]
    prefix += ["-e", f"inject={call}:{fault}:when={number}"]

    done = _start(_STEPS, folder, prefix=prefix)

    assert "INJECTED" in (tmp_path / "trace").read_text()
    if done.returncode:
        assert "cannot be recorded into" in done.stderr
        assert not folder.exists()
        return
    # After a failed sync the system takes what it could not write for written: only a new file will do.
    assert ("000001.1.wal" in (tmp_path / "trace").read_text()) == (call == "fdatasync")
    assert logged(folder) == stored(folder) == [*range(1, 201)]
    assert verify_files(folder) == []


@pytest.mark.skipif(_STRACE is None, reason="strace is not installed, so faults cannot be injected")
@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("call", ["write", "fdatasync", "fsync", "renameat", "unlinkat"])
def test_a_kill_at_any_system_call_loses_nothing_acknowledged(tmp_path: Path, call: str) -> None:
    for number in range(1, 60):
        folder = tmp_path / str(number)
        kill = ["-e", f"trace={call}", "-e", f"inject={call}:signal=SIGKILL:when={number}"]
        done = _start(_STEPS, folder, "aloud", prefix=[str(_STRACE), "-f", "-qq", "-o", os.devnull, *kill])
        if done.returncode == 0:
            break
        acknowledged = max([0, *(json.loads(line).get("kept", 0) for line in done.stdout.splitlines())])
        with recording(folder):
            found = logged(folder)
        assert found == stored(folder) == [*range(1, len(found) + 1)]
        assert len(found) >= acknowledged


@pytest.mark.skipif(_STRACE is None, reason="strace is not installed, so faults cannot be injected")
@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("times", ["once", "for ever"])
@pytest.mark.parametrize(
    ("call", "error"),
    [("write", "ENOSPC"), ("fdatasync", "EIO"), ("fsync", "EIO"), ("renameat", "ENOSPC"), ("unlinkat", "EROFS")],
)
def test_a_fault_at_any_system_call_costs_nothing_acknowledged(
    tmp_path: Path, call: str, error: str, times: str
) -> None:
    for number in range(1, 100):
        folder, trace = tmp_path / str(number), tmp_path / "trace"
        # What is told of the recording is a write, too, and has to be heard.
        paths = [folder / "wal/000001.wal", folder / ".manifest.json.tmp"] if call == "write" else []
        strace = [str(_STRACE), "-f", "-qq", "-o", str(trace), *(word for path in paths for word in ("-P", str(path)))]
        inject = f"inject={call}:error={error}:when={number}{'' if times == 'once' else '+'}"
        done = _start(_STEPS, folder, "aloud", prefix=[*strace, "-e", f"trace={call}", "-e", inject])
        acknowledged = max([0, *(json.loads(line).get("kept", 0) for line in done.stdout.splitlines())])
        audit(folder, acknowledged)
        if "INJECTED" not in trace.read_text():
            return
    raise AssertionError("it never ends")


def _refuses_to_record(folder: Path, setup: str) -> str:
    script = (
        setup
        + """
try:
    Recorder(folder, rebuild=rebuild)
except StoreError as error:
    say(error=str(error))
"""
    )
    (said,), _ = _run(script, folder)
    return str(said["error"])


_DROP_RIGHTS = "os.setgid(65534); os.setuid(65534)\n" if hasattr(os, "geteuid") and os.geteuid() == 0 else ""


def test_a_folder_without_permission_is_refused_at_the_start() -> None:
    # Not in tmp_path, whose parents are private to one user.
    with tempfile.TemporaryDirectory() as parent:
        folder = Path(parent) / "rec"
        folder.mkdir()
        Path(parent).chmod(0o755)
        folder.chmod(0o555)
        assert "Permission denied" in _refuses_to_record(folder, _DROP_RIGHTS)
        assert list(folder.iterdir()) == []


def test_no_descriptors_left_is_refused_at_the_start(tmp_path: Path) -> None:
    setup = "resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3))\n"
    assert "Too many open files" in _refuses_to_record(tmp_path / "rec", setup)
    assert not (tmp_path / "rec").exists()
