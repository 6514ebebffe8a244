"""Log lines, which never hold up or fail the thread that writes them.

A line that is written where a feed is read or a disk is synced must not wait for a terminal that is not read, and must
not raise because a pipe is closed or a disk is full. So the loggers of this package put each line into a bounded queue;
one daemon thread hands them to Python's ``logging`` as usual: the program's handlers, filters and levels decide. A line
for which there is no room, or that cannot be written, is lost and counted.
"""

import atexit
import errno
import logging
import os
import select
import sys
import threading
from collections.abc import Callable
from functools import partial
from queue import SimpleQueue
from typing import TextIO, TypeAlias

__all__ = ["claim_thread", "flush", "get_logger", "hand_over", "in_log_thread", "lose", "lost", "write"]

Work: TypeAlias = Callable[[], object]

# More than any burst that a person would read.
_MOST_WAITING = 1_000
# A loaded computer may take so long to write a line; who waits for one that hangs has other things to do.
_PATIENCE_S = 2.0
# Libraries that log in our threads. Elsewhere they log as they always did.
_LIBRARIES = ("asyncio", "httpx", "websockets.client", "websockets.server")


class _LogThread:
    """A thread that does the work it is handed, in order; it starts with the first."""

    def __init__(self) -> None:
        self.lost = 0
        # Unlike a bounded queue's lock, this one is safe where a finalizer or a signal handler logs meanwhile.
        self._waiting: SimpleQueue[Work | threading.Event] = SimpleQueue()
        self._counting = threading.RLock()
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None
        self._unreported = 0
        self._taken = 0
        self._done = 0
        self._stuck_at = -1

    @property
    def here(self) -> bool:
        """Whether this is the thread."""
        return self._thread is not None and self._thread.ident == threading.get_ident()

    def put(self, work: Work) -> None:
        """Queue work; count it as lost where there is no room."""
        try:
            if self._waiting.qsize() >= _MOST_WAITING:
                self.lose()
                return
            with self._counting:
                self._taken += 1
            self._waiting.put(work)
            self._start()
        except BaseException:  # noqa: BLE001  # a log line must not break its caller
            self.lose()

    def lose(self) -> None:
        """Count a line that is lost."""
        with self._counting:
            self.lost += 1
            self._unreported += 1

    def flush(self, seconds: float) -> bool:
        """Wait until all queued work is done; False when it is not, or still hangs as the last time."""
        if self.here or (self._thread is None and self._waiting.empty()):
            return True
        if self._stuck_at == self._done:
            return False
        done = threading.Event()
        self._waiting.put(done)
        self._start()
        if done.wait(seconds):
            return True
        self._stuck_at = self._done
        return False

    def unwritten(self) -> int:
        """Count the lines that are lost and those that still wait."""
        return self.lost + self._taken - self._done

    def _start(self) -> None:
        # Where another thread starts it already, there is nothing to wait for.
        if self._thread is not None or not self._starting.acquire(blocking=False):
            return
        try:
            if self._thread is None:
                thread = threading.Thread(target=self._run, name="pmlive log", daemon=True)
                thread.start()
                self._thread = thread
        except (RuntimeError, MemoryError):
            # No thread can be started now; the next line tries again.
            return
        finally:
            self._starting.release()

    def _run(self) -> None:
        while True:
            work = self._waiting.get()
            if isinstance(work, threading.Event):
                work.set()
                continue
            try:
                work()
                self._report_lost()
            except BaseException:  # noqa: BLE001  # a handler that fails costs its line, and not the next one
                self.lose()
            self._done += 1
            del work

    def _report_lost(self) -> None:
        unreported = self._unreported
        if not unreported:
            return
        record = logger.makeRecord(
            logger.name, logging.WARNING, __file__, 0, "%d lines of the log could not be written", (unreported,), None
        )
        try:
            _emit(record)
        except Exception:  # noqa: BLE001  # it is reported with the next line that can be written
            return
        with self._counting:
            self._unreported -= unreported


_log_thread = _LogThread()
_here = threading.local()


def get_logger(name: str) -> logging.Logger:
    """Return the logger of this name, whose lines are handed over and neither wait nor raise."""
    named = logging.getLogger(name)
    named.addFilter(_hand_over)
    return named


def claim_thread() -> None:
    """Mark this thread as one of ours: what libraries log in it is handed over as well."""
    _here.ours = True
    for name in _LIBRARIES:
        logging.getLogger(name).addFilter(_hand_over_in_our_threads)


def hand_over(work: Work) -> None:
    """Do some work after what was logged before, in the log's thread; at once when this is that thread.

    What raises there is counted as a line that could not be written.
    """
    if _log_thread.here:
        work()
    else:
        _log_thread.put(work)


def in_log_thread() -> bool:
    """Check whether this is the thread that writes log lines."""
    return _log_thread.here


def lose() -> None:
    """Count a line that could not even be made."""
    _log_thread.lose()


def flush(seconds: float = _PATIENCE_S) -> bool:
    """Wait until every line so far is written, at most ``seconds``; return whether that is so."""
    return _log_thread.flush(seconds)


def lost(*, waiting: bool = False) -> int:
    """Count the lines that could not be written since the process began, with those that still wait if asked to."""
    return _log_thread.unwritten() if waiting else _log_thread.lost


def write(stream: TextIO | None, text: str, *, encoding: str | None = None) -> None:
    """Write to a standard stream, all of it and past its buffer.

    A buffer that cannot be emptied would be tried again at the end of the program, hang there or spoil its exit code.

    Raises:
        OSError: there is no such stream, its reader is gone, or its disk is full.
    """
    if stream is None:
        raise OSError(errno.EBADF, "the stream is closed")
    if sys.platform == "win32" or stream not in (sys.__stdout__, sys.__stderr__):
        stream.write(text)
        stream.flush()
        return
    _write_all(stream.fileno(), text.encode(encoding or stream.encoding, "backslashreplace"))


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(descriptor, view) :]
        except BlockingIOError:
            # Another process that shares it made it non-blocking.
            select.select([], [descriptor], [])


def _hand_over(record: logging.LogRecord) -> bool:
    """Pass a record on in the log's own thread, and hand it over in all others."""
    if _log_thread.here:
        return True
    try:
        # What the arguments are may change until it is written.
        record.msg, record.args = record.getMessage(), None
    except Exception as error:  # noqa: BLE001  # it is logged as it is
        record.msg, record.args = f"{record.msg!r} cannot be formatted: {error!r}", None
    _log_thread.put(partial(_emit, record))
    return False


def _hand_over_in_our_threads(record: logging.LogRecord) -> bool:
    return not getattr(_here, "ours", False) or _hand_over(record)


def _emit(record: logging.LogRecord) -> None:
    named = logging.getLogger(record.name)
    resort = logging.lastResort
    if resort is None or named.hasHandlers():
        named.handle(record)
    elif record.levelno >= resort.level and not named.disabled:
        # As `logging` does it, but what fails is known.
        write(sys.stderr, f"{resort.format(record)}\n")


def _restart_in_child() -> None:
    """Start over in a forked child, which has no such thread; what waited is the parent's."""
    global _log_thread  # noqa: PLW0603  # the one of this process
    _log_thread = _LogThread()


logger = get_logger(__name__)
_register: Callable[..., object] | None = getattr(os, "register_at_fork", None)
if _register is not None:
    _register(after_in_child=_restart_in_child)
# Before what `logging` does at the end, and after what was registered later, such as sealing.
atexit.register(flush)
