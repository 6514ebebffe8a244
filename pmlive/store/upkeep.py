"""What a recording needs besides sealing: merging small files, removing replaced ones, giving up old raw frames."""

from collections.abc import Callable
from itertools import takewhile

import msgspec

from pmlive.errors import StoreError
from pmlive.logs import get_logger
from pmlive.store import _files
from pmlive.store.manifest import RAW, Manifest, SealedFile
from pmlive.store.merging import Limits, exchange, merge, plan
from pmlive.store.staging import Work
from pmlive.store.status import RecorderOptions

__all__ = ["Upkeep", "give_up_raw"]

logger = get_logger(__name__)


class Upkeep:
    """Tend a recording that is being written, one thing at a time; trouble is said and never stops the recording.

    What an earlier run recorded is merged apart from what this one does.
    """

    def __init__(self, work: Work, options: RecorderOptions, *, clock: Callable[[], int]) -> None:
        self._work = work
        self._limits = Limits(
            files=options.merge_files,
            seconds=options.merge_seconds,
            rows=options.merge_rows,
            bytes=options.merge_bytes,
        )
        self._grace = options.grace
        self._keep_raw = options.keep_raw
        self._clock = clock
        self._boundary = work.catalogue.manifest.next_seq
        self._spoilt: set[str] = set()
        self._failing = False

    def turn(self) -> bool:
        """Do the next thing; True when there may be more to do."""
        try:
            more = self._turn()
        except OSError as error:
            if not self._failing:
                folder = str(self._work.folder)
                logger.warning("recording %r: files cannot be merged now: %s; nothing is lost", folder, error)
            self._failing = True
            return False
        self._failing = False
        return more

    def _turn(self) -> bool:
        now = self._clock()
        exchange(self._work, now=now, grace=self._grace)
        if self._keep_raw is not None:
            give_up_raw(self._work, now=now, keep=self._keep_raw)
        for inputs in plan(self._work.catalogue.manifest, self._limits, boundary=self._boundary):
            paths = {file.path for file in inputs}
            if paths & self._spoilt:
                continue
            try:
                merge(inputs, self._work, now=now)
            except OSError:
                raise
            except StoreError as error:
                self._spoilt |= paths
                logger.warning("recording %r: %s", str(self._work.folder), error)
            except BaseException:
                # Tried again by the next run; the other files are merged all the same.
                self._spoilt |= paths
                raise
            return True
        return False


def give_up_raw(work: Work, *, now: int, keep: float) -> None:
    """Remove the raw frames that are older than ``keep`` seconds; the tables made of them stay.

    Raises:
        OSError: the disk refused; this can be done again.
    """
    frames = work.catalogue.manifest.of(RAW)
    # Only from the beginning on, or a step of the clock would make a hole.
    old = list(takewhile(lambda file: now - file.last_time > keep * 1e9, frames))
    if not old:
        return
    work.catalogue.change(lambda manifest: _without_raw(manifest, old))
    work.step("before raw frames are removed")
    for file in old:
        _files.remove(work.folder / file.path, work.folder)
        _files.remove_empty((work.folder / file.path).parent, work.folder)
        work.step("removed raw frames")


def _without_raw(manifest: Manifest, old: list[SealedFile]) -> Manifest:
    until = max(file.last_time for file in old) + 1
    return msgspec.structs.replace(manifest.without(old), raw_from=max(until, manifest.raw_from or 0))
