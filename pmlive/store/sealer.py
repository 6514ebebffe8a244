"""The thread that seals: one task after another, each tried until it works; between them it tends what is sealed."""

import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

from pmlive.errors import StoreError
from pmlive.logs import get_logger
from pmlive.store import _files
from pmlive.store.seal import Sealing, Segment, seal
from pmlive.store.trouble import Trouble
from pmlive.threads import note_fault, repeating

__all__ = ["Sealer"]

logger = get_logger(__name__)


class Sealer:
    """Seal segments in order, away from the thread that writes the log.

    ``tend`` is called when there is nothing to seal, first and after each sealing, until it answers False.
    """

    def __init__(
        self, sealing: Sealing, *, retry: float, lost: Callable[[Segment, str], None], tend: Callable[[], bool]
    ) -> None:
        self._sealing = sealing
        self._retry = retry
        self._lost = lost
        self._tend = tend
        self._untended = True
        self._tasks: deque[Callable[[], None]] = deque()
        self._wake = threading.Event()
        self._closing = False
        self._patience = self._closed_at = 0.0
        self.trouble = Trouble(str(sealing.folder), "sealing")
        # Apart from the other: nothing waits for it, and nothing is lost by it.
        self.tending = Trouble(str(sealing.folder), "merging")
        self.sealed = 0
        self._thread = repeating("pmlive-seal", self._turn, pause=retry)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def give(self, segment: Segment) -> None:
        """Have a segment sealed."""
        self.do(lambda: self._seal(segment))

    def do(self, task: Callable[[], None]) -> None:
        """Have something else done, in turn."""
        self._tasks.append(task)
        self._wake.set()

    @property
    def left(self) -> int:
        """Count what was given and is not done."""
        return len(self._tasks)

    def close(self, patience: float) -> None:
        """Finish what was given, or leave it to the next start when the disk refuses for ``patience`` seconds."""
        self._patience = patience
        self._closed_at = time.monotonic()
        self._closing = True
        self._wake.set()
        self._thread.join()

    def _turn(self) -> bool:
        """Do what there is to do; False when there will be no more."""
        if self._tasks or not self._untended:
            self._wake.wait(self._retry if self._tasks else None)
        self._wake.clear()
        self._work()
        if self._untended and not self._tasks:
            self._untended = not self._closing and self._tended()
        gave_up = self.trouble.lasts(self._patience, since=self._closed_at)
        return not self._closing or not (gave_up or not self._tasks)

    def _work(self) -> None:
        while self._tasks:
            try:
                self._tasks[0]()
            except BaseException as error:  # noqa: BLE001  # it is told, and tried until it works
                self._note(self.trouble, error)
                return
            self._tasks.popleft()
            self.trouble.clear()

    def _tended(self) -> bool:
        """Tend what is sealed; what fails at it is told, and tried again after the next sealing."""
        try:
            more = self._tend()
        except BaseException as error:  # noqa: BLE001  # sealing goes on, whatever merging fails at
            self._note(self.tending, error)
            return False
        self.tending.clear()
        return more

    def _note(self, trouble: Trouble, error: BaseException) -> None:
        trouble.note(error)
        logger.debug("sealing failed", exc_info=error)
        if not isinstance(error, OSError | StoreError):
            note_fault(self._thread.name, error)

    def _seal(self, segment: Segment) -> None:
        unsealed = segment.number > self._sealing.catalogue.manifest.sealed
        if unsealed and self._sealing.folder.is_dir() and not all(self._is_there(path) for path in segment.files):
            self._lost(segment, "files of the log were removed before they were sealed")
            return
        try:
            seal(segment, self._sealing)
        except (OSError, StoreError, MemoryError):
            raise
        except BaseException as error:
            if segment.held is None or segment.held.frames is None:
                self._set_aside(segment, error)
                return
            # Rows that cannot be stored as they are can be made again.
            segment.held.give_up()
            raise
        self.sealed += 1
        self._untended = True
        if segment.held is not None:
            segment.held.give_up()

    def _set_aside(self, segment: Segment, error: BaseException) -> None:
        """Keep a log that cannot be decoded, out of the way of what came after it."""
        # The gap is told first: a crash in between must not leave a log that nobody reads and nobody misses.
        self._lost(segment, f"the log cannot be decoded ({error}); it is kept as wal/*.undecodable-{self._sealing.run}")
        for path in segment.files:
            _files.replace(path, path.with_name(f"{path.name}.undecodable-{self._sealing.run}"), self._sealing.folder)
        _files.sync_folder(segment.files[0].parent, self._sealing.folder)

    def _is_there(self, path: Path) -> bool:
        return _files.size(path, self._sealing.folder) is not None
