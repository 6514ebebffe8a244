"""Work that nothing interrupts, and the end of the program: by itself or by an exception.

Signals belong to the program. SIGTERM, which by default ends one at once and without its last work, is like a kill to a
recording: what was received is in its log, and the next start seals it.
"""

import atexit
from collections.abc import Callable
from concurrent.futures import Future
from threading import Event
from typing import TypeVar

from pmlive.threads import single

__all__ = ["before_the_end", "in_thread", "the_end"]

T = TypeVar("T")

# Set when the program ends: what is said to a notebook from then on reaches nobody.
the_end = Event()

_last_work: list[Callable[[], object]] = []


def in_thread(work: Callable[[], T]) -> "Future[T]":
    """Do something that no Ctrl-C interrupts, and that the end of the program waits for."""
    done: Future[T] = Future()

    def run() -> None:
        try:
            done.set_result(work())
        except BaseException as error:  # noqa: BLE001  # it is raised where this is waited for
            done.set_exception(error)

    try:
        single("pmlive end", run, daemon=False).start()
    except RuntimeError:
        # The program has come so far that no thread can be started any more.
        run()
    return done


def before_the_end(work: Callable[[], object]) -> None:
    """Do this, and nothing else of ours, before the program ends and before what others asked to be done then."""
    _last_work[:] = [work]
    atexit.unregister(_end)
    atexit.register(_end)


def _end() -> None:
    the_end.set()
    for work in _last_work:
        work()
