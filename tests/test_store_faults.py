"""A disk that refuses the N-th change of some kind, for every N until a run is untouched: once, and from then on."""

import errno
import os
import threading
from pathlib import Path

import pytest
from storing import audit, fast, feed, record_a_little, recording

from pmlive.errors import StoreError
from pmlive.store.faults import check, injected

_KINDS = {
    "make folder": errno.EACCES,
    "create": errno.EMFILE,
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
    with injected(refusal):
        try:
            record_a_little(folder, patience=patience, said=heard)
        except StoreError as error:
            assert "cannot be recorded into" in str(error)  # noqa: PT017 - it may also not come
            assert heard.last == 0
    return heard.last


@pytest.mark.parametrize("kind", [kind for kind in _KINDS if kind != "cut off"])
def test_one_refusal_of_any_change_costs_nothing(tmp_path: Path, kind: str) -> None:
    for number in range(1000):
        folder = tmp_path / str(number)
        refusal = _Refusal(kind, after=number, times=1)
        heard = _record(folder, refusal, patience=10)
        assert heard in (0, 30)
        assert len(audit(folder, heard)) == heard
        if not refusal.reached:
            assert heard == 30
            return


@pytest.mark.parametrize("kind", [kind for kind in _KINDS if kind != "cut off"])
def test_refusal_from_any_change_on_costs_nothing_acknowledged(tmp_path: Path, kind: str) -> None:
    for number in range(1000):
        folder = tmp_path / str(number)
        refusal = _Refusal(kind, after=number, times=float("inf"))
        heard = _record(folder, refusal, patience=0.02)
        audit(folder, heard)
        if not refusal.reached:
            return


def test_writes_that_take_a_few_bytes_each_are_written_on(tmp_path: Path) -> None:
    def answer(change: str) -> int | None:
        return 7 if change == "write" else None

    with injected(answer):
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

        with recording(folder, fast(segment_rows=10_000, retry=0.001)) as recorder, injected(answer):
            for start in range(1, 51, 10):
                feed(recorder, range(start, start + 10))
                assert recorder.flush(10)
        assert len(audit(folder, 50)) == 50


def test_nothing_is_asked_when_nothing_is_injected() -> None:
    assert check("write") is None
