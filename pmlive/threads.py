"""The threads of this package, which all catch and note what they raise, and event loops in threads of their own.

Whatever a thread raises, be it a lack of memory or an internal error, is kept for ``Manager.status()`` and logged; then
the thread continues if it can. No thread ends silently. With an event loop in its own thread, a busy notebook cell
neither stops a heartbeat nor loses a frame, and the caller's loop is neither needed nor touched.
"""

import asyncio
import os
import threading
import time
from collections.abc import Callable, Coroutine, Iterable
from concurrent import futures
from concurrent.futures import CancelledError, Future
from functools import partial
from typing import TypeAlias, TypeVar, cast

import msgspec

from pmlive import logs
from pmlive.errors import FeedError
from pmlive.times import moment

__all__ = [
    "LoopThread",
    "Service",
    "Tasks",
    "ThreadFault",
    "faults",
    "keep_fault",
    "note_fault",
    "repeating",
    "single",
    "uninterrupted",
]

T = TypeVar("T")

# A coroutine function that runs until the event is set, and calls the function once it is ready.
Main: TypeAlias = Callable[[asyncio.Event, Callable[[], None]], Coroutine[object, object, None]]

_TIMEOUT_S = 10.0

logger = logs.get_logger(__name__)

# A thread whose every turn fails at once must not fill the log or keep a processor busy.
_PAUSE_S = 1.0
# The same failure is logged this many times, and then only each hundredth time.
_LOGGED, _LOGGED_EACH = 10, 100


class ThreadFault(msgspec.Struct, frozen=True, kw_only=True):
    """The failures of one thread of this process: how many, and the last one."""

    thread: str
    error: str
    times: int
    last: str


_faults: dict[str, ThreadFault] = {}


def repeating(name: str, turn: Callable[[], bool], *, pause: float = _PAUSE_S) -> threading.Thread:
    """Make a daemon thread that calls ``turn`` again and again until it returns False.

    If it raises, that is noted, and the next call follows after ``pause`` seconds.
    """

    def run() -> None:
        logs.claim_thread()
        while not _turns_ended(name, turn):
            threading.Event().wait(pause)

    return threading.Thread(target=run, name=name, daemon=True)


def single(name: str, work: Callable[[], object], *, daemon: bool = True) -> threading.Thread:
    """Make a thread that calls ``work`` once; if that raises, it is noted."""

    def run() -> None:
        logs.claim_thread()
        try:
            work()
        except BaseException as error:  # noqa: BLE001  # the top of a thread
            note_fault(name, error)

    return threading.Thread(target=run, name=name, daemon=daemon)


def uninterrupted(work: Callable[[], T]) -> T:
    """Call a function that may be called again, and do so if Ctrl-C ends it: polars ends queries in every thread."""
    while True:
        try:
            return work()
        except KeyboardInterrupt:
            continue


def note_fault(name: str, error: BaseException) -> None:
    """Keep a failure for ``faults``, and log it unless it repeats too often; never raise."""
    try:
        before, text = _faults.get(name), repr(error)[:500]
        keep_fault(name, text)
        times = 1 if before is None or before.error != text else _faults[name].times
        if times <= _LOGGED or times % _LOGGED_EACH == 0:
            logger.error("something failed in the thread %r: %s", name, text, exc_info=error)
    except Exception:  # noqa: BLE001  # there is no memory to log it, or the error's repr raises
        logs.lose()


def keep_fault(name: str, text: str) -> None:
    """Keep a failure for ``faults`` that the caller has logged."""
    before, last = _faults.get(name), moment(time.time_ns()).isoformat(timespec="milliseconds")
    _faults[name] = ThreadFault(thread=name, error=text, times=1 if before is None else before.times + 1, last=last)


def faults() -> list[ThreadFault]:
    """List the threads of this process that failed, each with its last failure."""
    return list(_faults.values())


class LoopThread:
    """An event loop in a daemon thread, started on first use; it cannot be restarted.

    Args:
        name: the name of the thread.
        owner: what the thread belongs to, for error messages.
    """

    def __init__(self, name: str, owner: str) -> None:
        self._name = name
        self._owner = owner
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        self._stopped = False
        self._work: set[asyncio.Task[object] | None] = set()
        self._pid = os.getpid()

    @property
    def running(self) -> bool:
        """Whether the thread runs."""
        return self._thread is not None and self._thread.is_alive()

    def call(self, function: Callable[[], T], *, timeout_s: float | None = None) -> T:
        """Run a plain function in the thread and return its result.

        Raises:
            FeedError: the owner was closed, or belongs to another process.
        """

        async def wrapped() -> T:
            return function()

        if threading.current_thread() is self._thread:
            return function()
        return self._result(wrapped(), timeout_s)

    def wait(self, coroutine: Coroutine[object, object, T]) -> T:
        """Run a coroutine in the thread and return its result.

        Raises:
            FeedError: the owner was closed, or belongs to another process.
            RuntimeError: called in the thread itself.
        """
        if threading.current_thread() is self._thread:
            coroutine.close()
            raise RuntimeError(f"this call waits for the thread of the {self._owner}, so it cannot be made from it")
        return self._result(coroutine, None)

    def submit(self, coroutine: Coroutine[object, object, T]) -> "Future[T]":
        """Start a coroutine in the thread.

        Raises:
            FeedError: the owner was closed, or belongs to another process.
        """
        # Under the lock, so that what is submitted before ``stop`` starts before it.
        with self._lock:
            try:
                loop = self._started()
            except FeedError:
                coroutine.close()
                raise
            return asyncio.run_coroutine_threadsafe(self._tracked(coroutine), loop)

    def stop(self, last: Callable[[], Coroutine[object, object, None]] | None = None) -> None:
        """Cancel all work, run a last coroutine, and end the thread; callers that still wait get an error."""
        with self._lock:
            self._stopped = True
            if self._loop is None or self._thread is None or not self._thread.is_alive():
                return
            ended = asyncio.run_coroutine_threadsafe(self._finish(last), self._loop)
        try:
            ended.result()
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(timeout=_TIMEOUT_S)

    def _result(self, coroutine: Coroutine[object, object, T], timeout_s: float | None) -> T:
        asked = self.submit(coroutine)
        try:
            return asked.result(timeout_s)
        except CancelledError:
            raise FeedError(f"this {self._owner} was closed meanwhile; make another") from None
        finally:
            # Has an effect only if the caller was interrupted while it waited.
            asked.cancel()
            # An error raised here refers to this frame, and the future to the error: that circle would keep a manager
            # which nobody uses any more until the garbage collector finds it.
            del asked

    async def _tracked(self, coroutine: Coroutine[object, object, T]) -> T:
        task = asyncio.current_task()
        self._work.add(task)
        try:
            return await coroutine
        finally:
            self._work.discard(task)
            del task  # for the same reason as above

    async def _finish(self, last: Callable[[], Coroutine[object, object, None]] | None) -> None:
        # The callers' work ends first, so that it does not open what the last coroutine closes.
        await _cancelled(self._work)
        try:
            if last is not None:
                await last()
        finally:
            await _cancelled(asyncio.all_tasks() - {asyncio.current_task()})

    def _started(self) -> asyncio.AbstractEventLoop:
        if os.getpid() != self._pid:
            raise FeedError(f"this {self._owner} belongs to the process that made it; after a fork, make another")
        if self._stopped:
            raise FeedError(f"this {self._owner} was closed; make another")
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            self._thread = repeating(self._name, partial(_run, self._loop), pause=0.1)
            self._thread.start()
        return self._loop


class Tasks:
    """Tasks of one event loop: a failure is noted as a fault, and ``cancel`` ends them all."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def spawn(self, coroutine: Coroutine[object, object, None]) -> asyncio.Task[None]:
        """Run a coroutine as another task."""
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            note_fault("pmlive", error)

    async def cancel(self) -> None:
        """Cancel all, and wait for them."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class Service:
    """One coroutine that runs in a thread from ``start`` to ``stop``; other threads can call functions in its loop.

    Args:
        name: the name of the thread.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._thread: LoopThread | None = None
        self._stopping = asyncio.Event()
        self._main: Future[None] = Future()

    def start(self, main: Main) -> None:
        """Run ``main`` and return once it is ready; raise what it raises before."""
        if self._thread is not None:
            return
        ready, self._stopping = threading.Event(), asyncio.Event()
        self._thread = thread = LoopThread(self._name, "service")
        self._main = thread.submit(main(self._stopping, ready.set))
        self._main.add_done_callback(partial(self._ended, ready))
        ready.wait()
        if self._main.done() and (error := self._main.exception()) is not None:
            self._thread = None
            thread.stop()
            raise _root_cause(error)

    def stop(self) -> None:
        """Ask ``main`` to end, and wait for it."""
        thread, self._thread = self._thread, None
        if thread is None:
            return
        if not self._main.done():
            thread.call(self._stopping.set, timeout_s=_TIMEOUT_S)
        if futures.wait([self._main], _TIMEOUT_S).done:
            thread.stop()

    def wait(self) -> None:
        """Wait until ``main`` has ended."""
        while self._thread is not None and not futures.wait([self._main], 1.0).done:
            pass

    def call(self, work: Callable[[], T]) -> T:
        """Call a function in the loop and return its result; if nothing runs, call it here."""
        thread = self._thread
        return work() if thread is None or self._main.done() else thread.call(work, timeout_s=_TIMEOUT_S)

    def _ended(self, ready: threading.Event, main: "Future[None]") -> None:
        if ready.is_set() and not main.cancelled() and (error := main.exception()) is not None:
            note_fault(self._name, error)
        ready.set()


def _turns_ended(name: str, turn: Callable[[], bool]) -> bool:
    """Call ``turn`` until it returns False; return whether it did, rather than raise."""
    try:
        while turn():
            pass
    except BaseException as error:  # noqa: BLE001  # the top of a thread
        note_fault(name, error)
        return False
    return True


def _run(loop: asyncio.AbstractEventLoop) -> bool:
    """Run a loop until it is stopped; called again if a task raises out of it, such as a ``SystemExit``."""
    if loop.is_closed():
        return False
    asyncio.set_event_loop(loop)
    loop.run_forever()
    try:
        loop.run_until_complete(loop.shutdown_asyncgens())
    finally:
        loop.close()
    return False


async def _cancelled(tasks: Iterable[asyncio.Task[object] | None]) -> None:
    ending = [task for task in tasks if task is not None]
    for task in ending:
        task.cancel()
    await asyncio.gather(*ending, return_exceptions=True)


def _root_cause(error: BaseException) -> BaseException:
    """Return the first exception in the groups that a task group raises."""
    inner: BaseException = error
    while isinstance(inner, BaseExceptionGroup):
        inner = cast("BaseExceptionGroup[BaseException]", inner).exceptions[0]
    return inner
