"""Logging that never blocks the caller or raises in it.

A line that is logged where a feed is read or a disk is synced must not wait for a terminal that nobody reads, nor raise
because a pipe is closed or a disk is full. So the loggers of this package put each line into a bounded queue, and one
daemon thread passes them to Python's ``logging``, where the program's handlers, filters and levels apply as usual. A
line that finds the queue full or cannot be written is lost, and counted.
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

__all__ = ["claim_thread", "flush", "get_logger", "hand_over", "lose", "lost", "write"]

Work: TypeAlias = Callable[[], object]

# More than any burst that a person would read.
_MOST_WAITING = 1_000
# A loaded computer may take this long to write a line; waiting longer for one that hangs holds up its caller.
_PATIENCE_S = 2.0
# Libraries that log in our threads; in others they log as usual.
_LIBRARIES = ("asyncio", "httpx", "websockets.client", "websockets.server")


class _LogThread:
    """A thread that does queued work in order; it starts with the first."""

    def __init__(self) -> None:
        self.lost = 0
        # A bounded queue has a lock, on which a finalizer or a signal handler that logs could deadlock.
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
        """Whether the caller is in this thread."""
        return self._thread is not None and self._thread.ident == threading.get_ident()

    def put(self, work: Work) -> None:
        """Queue work; if the queue is full, count it as lost."""
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
        """Wait until all queued work is done; return False if it takes longer, or still hangs since the last call."""
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
        """Count the lines that are lost and those that are still queued."""
        return self.lost + self._taken - self._done

    def _start(self) -> None:
        # If another thread is starting it already, there is nothing to do.
        if self._thread is not None or not self._starting.acquire(blocking=False):
            return
        try:
            if self._thread is None:
                # Known before it runs, or it would take its own lines for another's and queue them again.
                self._thread = threading.Thread(target=self._run, name="pmlive log", daemon=True)
                self._thread.start()
        except (RuntimeError, MemoryError):
            # No thread can be started now; the next line will try again.
            self._thread = None
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
    """Return the logger of this name, which passes its lines to the log's thread and neither blocks nor raises."""
    named = logging.getLogger(name)
    named.addFilter(_hand_over)
    return named


def claim_thread() -> None:
    """Mark the current thread as one of ours, so that what libraries log in it goes to the log's thread, too."""
    _here.ours = True
    for name in _LIBRARIES:
        logging.getLogger(name).addFilter(_hand_over_in_our_threads)


def hand_over(work: Work) -> None:
    """Run a function in the log's thread after what was logged before, or at once if this is that thread.

    If it raises, that counts as a line that could not be written.
    """
    if _log_thread.here:
        work()
    else:
        _log_thread.put(work)


def lose() -> None:
    """Count a line that could not even be formatted."""
    _log_thread.lose()


def flush(seconds: float = _PATIENCE_S) -> bool:
    """Wait until every line so far is written, at most ``seconds``; return whether it is."""
    return _log_thread.flush(seconds)


def lost(*, waiting: bool = False) -> int:
    """Count the lines that could not be written since the process began; ``waiting`` adds those still queued."""
    return _log_thread.unwritten() if waiting else _log_thread.lost


def write(stream: TextIO | None, text: str, *, encoding: str | None = None) -> None:
    """Write a text to a standard stream, bypassing its buffer.

    Python flushes such buffers at exit; one that cannot be written would hang there or change the exit code.

    Raises:
        OSError: the stream is closed, its reader is gone, or its disk is full.
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
            # Another process that shares the descriptor made it non-blocking.
            select.select([], [descriptor], [])


def _hand_over(record: logging.LogRecord) -> bool:
    """Filter that lets records pass in the log's thread, and queues them for it in all others."""
    if _log_thread.here:
        return True
    try:
        # Formatted now, since the arguments may change before it is written.
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
        # As `logging` does, except that a failure raises.
        write(sys.stderr, f"{resort.format(record)}\n")


def _restart_in_child() -> None:
    """Start over in a forked child, where the thread does not exist; queued lines stay with the parent."""
    global _log_thread  # noqa: PLW0603  # the one of this process
    _log_thread = _LogThread()


logger = get_logger(__name__)
_register: Callable[..., object] | None = getattr(os, "register_at_fork", None)
if _register is not None:
    _register(after_in_child=_restart_in_child)
# Runs before `logging` shuts down, and after what was registered later, such as sealing.
atexit.register(flush)
