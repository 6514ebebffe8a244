"""An event loop in a daemon thread of its own."""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from functools import partial
from typing import TypeAlias, TypeVar, cast

from pmlive.threads import note_fault, single

__all__ = ["LoopThread", "Main"]

T = TypeVar("T")

# A coroutine function that runs until the event is set, and calls back once it is ready.
Main: TypeAlias = Callable[[asyncio.Event, Callable[[], None]], Coroutine[object, object, None]]

_TIMEOUT = 10.0


class LoopThread:
    """A daemon thread that runs one coroutine in an event loop, and the work that other threads hand it."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping: asyncio.Event | None = None
        self._thread: threading.Thread | None = None
        self._failure: BaseException | None = None

    def start(self, main: Main) -> None:
        """Run ``main``; return once it is ready, or raise what it raised before that."""
        if self._thread is not None:
            return
        ready = threading.Event()
        self._failure = None
        self._thread = single(self._name, partial(self._run, main, ready))
        self._thread.start()
        ready.wait()
        if self._failure is not None:
            self._thread = self._loop = None
            raise self._failure

    def stop(self) -> None:
        """Ask ``main`` to end, and wait for it."""
        thread, self._thread = self._thread, None
        if thread is None or self._loop is None or self._stopping is None:
            return
        if thread.is_alive():
            self._loop.call_soon_threadsafe(self._stopping.set)
        thread.join(_TIMEOUT)
        self._loop = None

    def wait(self) -> None:
        """Wait until the thread has ended."""
        while self._thread is not None and self._thread.is_alive():
            self._thread.join(1.0)

    def call(self, work: Callable[[], T]) -> T:
        """Call a function in the thread's loop and return its result; without a loop, call it here."""
        loop, thread = self._loop, self._thread
        if loop is None or thread is None or not thread.is_alive() or threading.current_thread() is thread:
            return work()

        async def run() -> T:
            return work()

        return asyncio.run_coroutine_threadsafe(run(), loop).result(_TIMEOUT)

    def _run(self, main: Main, ready: threading.Event) -> None:
        try:
            asyncio.run(self._main(main, ready))
        except BaseException as error:  # noqa: BLE001  # handed to the thread that waits in start()
            self._failure = _root_cause(error)
            if ready.is_set():
                note_fault(self._name, error)
        finally:
            ready.set()

    async def _main(self, main: Main, ready: threading.Event) -> None:
        self._loop, self._stopping = asyncio.get_running_loop(), asyncio.Event()
        await main(self._stopping, ready.set)


def _root_cause(error: BaseException) -> BaseException:
    """Return the first exception inside the groups that a task group raises."""
    inner: BaseException = error
    while isinstance(inner, BaseExceptionGroup):
        inner = cast("BaseExceptionGroup[BaseException]", inner).exceptions[0]
    return inner
