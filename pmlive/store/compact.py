"""Compaction of a recording that nobody writes: few files instead of many; a recorder does the same by itself."""

import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from pmlive.errors import StoreError
from pmlive.store.merging import Limits, exchange, is_waiting, merge, plan
from pmlive.store.opening import locked
from pmlive.store.staging import Step
from pmlive.store.status import GRACE

__all__ = ["Compaction", "compact"]


class Compaction(msgspec.Struct, frozen=True, kw_only=True):
    """What was done: ``inputs`` files became ``outputs``; ``waiting`` of them are out of sight until inputs may go."""

    inputs: int
    outputs: int
    waiting: int
    refused: list[str]


def compact(
    folder: Path,
    *,
    grace: float = GRACE,
    limits: Limits | None = None,
    clock: Callable[[], int] = time.time_ns,
    step: Step = lambda _: None,
) -> Compaction:
    """Merge neighbouring small files of each table and day, and finish merges that waited for their grace to be over.

    Inputs stay for ``grace`` seconds, for frames that were scanned before: a later call removes them, or the next
    recorder. With 0 they go at once, which suits a recording that nobody reads. Damaged files are left alone and named
    in ``refused``.

    Raises:
        StoreError: it is no recording, it is being recorded, or the disk refused; then it is as whole as before.
    """
    limits = limits or Limits(files=2)
    with locked(folder, now=clock(), step=step) as work:
        try:
            exchange(work, now=clock(), grace=grace)
            chosen = plan(work.catalogue.manifest, limits)
            refused: list[str] = []
            for inputs in chosen:
                try:
                    merge(inputs, work, now=clock())
                except StoreError as error:
                    refused.append(str(error))
            exchange(work, now=clock(), grace=grace)
        except OSError as error:
            raise StoreError(f"{str(folder)!r} cannot be compacted: {error}; make room and try again") from error
        return Compaction(
            inputs=sum(map(len, chosen)),
            outputs=len(chosen),
            waiting=sum(is_waiting(file.path) for file in work.catalogue.manifest.files),
            refused=refused,
        )
