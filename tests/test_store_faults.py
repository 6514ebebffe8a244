"""A disk that refuses the N-th change of some kind, for every N until a run is untouched: once, and from then on."""

import errno
import os
import sys
import threading
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import pytest
from storing import NOON, audit, fast, feed, record_a_little, recording

from pmlive.errors import StoreError
from pmlive.store import compact, read_manifest
from pmlive.store.disk import check_fault, inject_faults
from pmlive.store.log import WAL, WalFile
from pmlive.store.manifest import ManifestFile, new_manifest

_KINDS = {
    "make folder": errno.EACCES,
    "create": errno.EMFILE,
    "lock": errno.EACCES,
    "write": errno.ENOSPC,
    "sync": errno.EIO,
    "sync folder": errno.EIO,
    "rename": errno.ENOSPC,
    "link": errno.EIO,
    "remove": errno.EROFS,
    "cut off": errno.EIO,
}


class _Refusal:
    """Refuse changes of one kind: those after so many, as many as are told."""

    def __init__(self, kind: str, *, after: int, times: float) -> None:
        self._kind = kind
        self._after = after
        self._times = times
        self._seen = 0
        self._lock = threading.Lock()

    @property
    def reached(self) -> bool:
        return self._seen > self._after

    def __call__(self, change: str) -> None:
        if change != self._kind:
            return
        with self._lock:
            self._seen += 1
            refused = 0 < self._seen - self._after <= self._times
        if refused:
            raise OSError(_KINDS[change], os.strerror(_KINDS[change]), change)


class _Heard:
    """What a recorder said was on the disk."""

    def __init__(self) -> None:
        self.last = 0

    def __call__(self, number: int) -> None:
        self.last = number


def _record(folder: Path, refusal: _Refusal, *, patience: float) -> int:
    heard = _Heard()
    with inject_faults(refusal):
        try:
            record_a_little(folder, patience=patience, said=heard)
        except StoreError as error:
            assert "cannot be recorded into" in str(error)  # noqa: PT017 - it may also not come
            assert heard.last == 0
    return heard.last


# Of the places where a fault may come, every sixth is quick to try.
_STEP = 6
_FIRST = pytest.mark.parametrize(
    "first", [0, *(pytest.param(first, marks=pytest.mark.slow) for first in range(1, _STEP))]
)


@_FIRST
@pytest.mark.parametrize("kind", [kind for kind in _KINDS if kind != "cut off"])
def test_one_refusal_of_any_change_costs_nothing(tmp_path: Path, kind: str, first: int) -> None:
    for number in range(first, 1000, _STEP):
        folder = tmp_path / str(number)
        refusal = _Refusal(kind, after=number, times=1)
        heard = _record(folder, refusal, patience=10)
        assert heard in (0, 30)
        assert len(audit(folder, heard)) == heard
        if not refusal.reached:
            assert heard == 30
            return


@pytest.mark.quick(5)
@_FIRST
@pytest.mark.parametrize("kind", [kind for kind in _KINDS if kind != "cut off"])
def test_refusal_from_any_change_on_costs_nothing_acknowledged(tmp_path: Path, kind: str, first: int) -> None:
    for number in range(first, 1000, _STEP):
        folder = tmp_path / str(number)
        refusal = _Refusal(kind, after=number, times=float("inf"))
        heard = _record(folder, refusal, patience=0.02)
        audit(folder, heard)
        if not refusal.reached:
            return


def test_writes_that_take_a_few_bytes_each_are_written_on(tmp_path: Path) -> None:
    def answer(change: str) -> int | None:
        return 7 if change == "write" else None

    with inject_faults(answer):
        record_a_little(tmp_path, patience=10, said=_Heard())

    assert len(audit(tmp_path, 30)) == 30


def test_a_block_that_was_written_in_part_is_cut_off_or_left_in_a_file_of_its_own(tmp_path: Path) -> None:
    for refused in ("", "cut off"):
        folder = tmp_path / f"without {refused}"
        state = {"writes": 0}

        def answer(change: str, state: dict[str, int] = state, refused: str = refused) -> int | None:
            if change == refused:
                raise OSError(errno.EIO, "Input/output error")
            if change != "write":
                return None
            state["writes"] += 1
            if state["writes"] % 3 == 0:
                raise OSError(errno.ENOSPC, "No space left on device")
            return 30 if state["writes"] % 3 == 2 else None

        with recording(folder, fast(segment_rows=10_000, retry=0.001)) as recorder, inject_faults(answer):
            for start in range(1, 51, 10):
                feed(recorder, range(start, start + 10))
                assert recorder.flush(10)
        assert len(audit(folder, 50)) == 50


@pytest.mark.parametrize("spoilt", ["trades/*/.*.tmp", "raw/*/.*.tmp", "merged/trades/*/.*.tmp"])
def test_what_the_disk_did_not_take_as_it_was_is_written_again(tmp_path: Path, spoilt: str) -> None:
    done: list[Path] = []

    def answer(change: str) -> None:
        for path in tmp_path.glob(spoilt) if change == "sync" and not done else ():
            data = path.read_bytes()
            path.write_bytes(data[:-9] + bytes([data[-9] ^ 1]) + data[-8:])
            done.append(path)

    with inject_faults(answer):
        record_a_little(tmp_path, patience=10, said=_Heard())
        compact(tmp_path, grace=0)

    assert done
    assert len(audit(tmp_path, 30)) == 30


def test_the_name_of_a_log_is_on_the_disk_before_anything_is_in_it(tmp_path: Path) -> None:
    (tmp_path / WAL).mkdir()
    changes: list[str] = []

    with inject_faults(changes.append):
        file = WalFile(tmp_path, segment=1, part=0)
        file.append(b"block")
        file.sync()
        file.close()

    assert changes == ["create", "sync folder", "write", "sync"]


def test_a_log_stays_until_the_manifest_that_seals_it_is_on_the_disk(tmp_path: Path) -> None:
    refused: list[int] = []
    early: list[str] = []

    def answer(change: str) -> None:
        if len(refused) >= 3 or not (tmp_path / "manifest.json").exists() or not read_manifest(tmp_path).sealed:
            return
        if change == "sync folder":
            refused.append(len(refused))
            raise OSError(errno.EIO, "Input/output error")
        if change == "remove":
            early.append(change)

    with inject_faults(answer), recording(tmp_path) as recorder:
        feed(recorder, range(1, 11))

    assert refused
    assert early == []
    assert len(audit(tmp_path, 10)) == 10


@contextmanager
def _system_calls() -> Generator[list[str]]:
    """Note the functions of the system that this thread calls."""
    called: list[str] = []

    def note(_frame: FrameType, event: str, function: object) -> None:
        if event == "c_call" and getattr(function, "__module__", "") == "posix":
            called.append(getattr(function, "__name__", ""))

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        yield called
    finally:
        sys.setprofile(before)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have other calls")
def test_the_system_is_really_asked_to_sync_what_was_written(tmp_path: Path) -> None:
    (tmp_path / WAL).mkdir()

    with _system_calls() as called:
        file = WalFile(tmp_path, segment=1, part=0)
    assert "fsync" in called

    file.append(b"block")
    with _system_calls() as called:
        file.sync()
    assert "fdatasync" in called
    file.close()

    with _system_calls() as called:
        ManifestFile(tmp_path, new_manifest(NOON)).write()
    order = [name for name in called if name in {"fdatasync", "replace", "fsync"}]
    assert order == ["fdatasync", "replace", "fsync"]


def test_nothing_is_asked_when_nothing_is_injected() -> None:
    assert check_fault("write") is None
