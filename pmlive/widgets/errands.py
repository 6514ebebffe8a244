"""What buttons ask for, done in a thread: a notebook that waits for nothing stays awake."""

import contextvars
import math
import threading
import time
from collections.abc import Callable
from functools import partial
from queue import SimpleQueue
from typing import TypeAlias

from pmlive.errors import PmliveError
from pmlive.threads import repeating

__all__ = ["Errands"]

Errand: TypeAlias = Callable[[], object]


class Errands:
    """Does one thing after another in a thread that is there while there is something to do.

    Args:
        tell: is given what went wrong, and nothing ("") before the next errand.
    """

    def __init__(self, tell: Callable[[str], object]) -> None:
        self._tell = tell
        self._errands: SimpleQueue[Errand] = SimpleQueue()
        self._lock = threading.Lock()
        self._busy = False
        self._done_at = -math.inf

    @property
    def idle_since(self) -> float:
        """When the last errand was done (seconds of the monotonic clock); never while there are any."""
        return math.inf if self._busy else self._done_at

    def do(self, errand: Errand) -> None:
        """Do something, soon."""
        with self._lock:
            self._errands.put(errand)
            if self._busy:
                return
            self._busy = True
        run = contextvars.copy_context().run
        repeating("pmlive errands", partial(run, self._turn), pause=0.0).start()

    def _turn(self) -> bool:
        errand = self._next()
        if errand is None:
            return False
        self._tell("")
        try:
            errand()
        except (PmliveError, ValueError) as error:
            self._tell(str(error))
        except BaseException as error:
            self._tell(f"{type(error).__name__}: {error}")
            raise
        return True

    def _next(self) -> Errand | None:
        with self._lock:
            if self._errands.empty():
                self._done_at, self._busy = time.monotonic(), False
                return None
            return self._errands.get()
