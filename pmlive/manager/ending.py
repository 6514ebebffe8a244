"""Work that nothing interrupts, and the end of the program: by itself, by an exception, or by SIGTERM."""

import atexit
import os
import signal
import threading
from collections.abc import Callable
from concurrent.futures import Future
from types import FrameType
from typing import TypeVar

__all__ = ["before_the_end", "in_thread", "the_end"]

T = TypeVar("T")

# Set when the program ends: what is said to a notebook from then on reaches nobody.
the_end = threading.Event()

_last_work: list[Callable[[], object]] = []
_pid = os.getpid()


def in_thread(work: Callable[[], T]) -> "Future[T]":
    """Do something that no Ctrl-C interrupts, and that the end of the program waits for."""
    done: Future[T] = Future()

    def run() -> None:
        try:
            done.set_result(work())
        except BaseException as error:  # noqa: BLE001  # it is raised where this is waited for
            done.set_exception(error)

    try:
        threading.Thread(target=run, name="pmlive end", daemon=False).start()
    except RuntimeError:
        # The program has come so far that no thread can be started any more.
        run()
    return done


def before_the_end(work: Callable[[], object]) -> None:
    """Do this, and nothing else of ours, before the program ends and before what others asked to be done then.

    SIGTERM ends a program at once; from now on that is done first. Where the program handles it itself, or this is not
    the main thread, it is left alone.
    """
    _last_work[:] = [work]
    atexit.unregister(_end)
    atexit.register(_end)
    main = threading.current_thread() is threading.main_thread()
    if main and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _terminated)


def _terminated(number: int, frame: FrameType | None) -> None:
    # The main thread may hold any lock here, so it goes on, and another does the work. A second signal ends it all.
    del frame
    signal.signal(number, signal.SIG_DFL)
    if os.getpid() == _pid:
        in_thread(_end_by_signal)
    else:
        os.kill(os.getpid(), number)


def _end_by_signal() -> None:
    try:
        _end()
    finally:
        os.kill(os.getpid(), signal.SIGTERM)


def _end() -> None:
    the_end.set()
    for work in _last_work:
        work()
