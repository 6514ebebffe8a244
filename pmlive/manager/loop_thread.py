"""The thread that everything live runs in, and the tasks in its loop."""

import asyncio
import os
import threading
from collections.abc import Callable, Coroutine, Iterable
from concurrent.futures import CancelledError, Future
from functools import partial
from typing import TypeVar, cast

from pmlive.errors import FeedError
from pmlive.threads import note_fault, repeating

__all__ = ["Runner", "Tasks"]

T = TypeVar("T")


class Tasks:
    """Tasks of one event loop; one that fails is told as a fault of the feed, and all are cancelled in the end."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def spawn(self, coroutine: Coroutine[object, object, None]) -> asyncio.Task[None]:
        """Run something beside; it is cancelled when the source ends."""
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            note_fault("pmlive", error)

    async def cancel(self) -> None:
        """End all."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class Runner:
    """An event loop in a daemon thread of its own, started on first use.

    A busy notebook cell then neither stops a heartbeat nor loses a frame, and no loop of the caller's is needed or
    touched.
    """

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        self._stopped = False
        self._work: set[asyncio.Task[object]] = set()
        self._pid = os.getpid()

    @property
    def running(self) -> bool:
        """Tell whether the thread is there."""
        return self._thread is not None and self._thread.is_alive()

    def call(self, function: Callable[[], T]) -> T:
        """Run a plain function in the thread and give its result."""

        async def wrapped() -> T:
            return function()

        if threading.current_thread() is self._thread:
            return function()
        return self._result(wrapped())

    def wait(self, coroutine: Coroutine[object, object, T]) -> T:
        """Run a coroutine in the thread and give its result."""
        if threading.current_thread() is self._thread:
            coroutine.close()
            raise RuntimeError("this call waits for the feed thread, so it cannot be made from it")
        return self._result(coroutine)

    def stop(self, last: Callable[[], Coroutine[object, object, None]]) -> None:
        """End all work, run a last coroutine, and end the thread; whoever still waits for something is told."""
        with self._lock:
            self._stopped = True
            if self._loop is None or self._thread is None or not self._thread.is_alive():
                return
            ended = asyncio.run_coroutine_threadsafe(self._finish(last), self._loop)
        try:
            ended.result()
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(timeout=10)

    def _result(self, coroutine: Coroutine[object, object, T]) -> T:
        asked = self._submit(coroutine)
        try:
            return asked.result()
        except CancelledError:
            raise FeedError("this manager was closed meanwhile; make another") from None
        finally:
            # Whoever was interrupted waits for it no more; of what is done there is nothing to cancel.
            asked.cancel()
            # An error that is raised here refers to this frame: were it to refer to the error, a manager that nobody
            # has any more would be there until Python looks for such circles.
            del asked

    def _submit(self, coroutine: Coroutine[object, object, T]) -> "Future[T]":
        # Under the lock, so that what is submitted before the stop is begun before the stop.
        with self._lock:
            try:
                loop = self._started()
            except FeedError:
                coroutine.close()
                raise
            return asyncio.run_coroutine_threadsafe(self._doing(coroutine), loop)

    async def _doing(self, coroutine: Coroutine[object, object, T]) -> T:
        task = cast("asyncio.Task[object]", asyncio.current_task())
        self._work.add(task)
        try:
            return await coroutine
        finally:
            self._work.discard(task)
            del task  # for the same reason as below

    async def _finish(self, last: Callable[[], Coroutine[object, object, None]]) -> None:
        # What callers wait for ends first: it must not open what the last coroutine closes.
        await _cancelled(self._work)
        try:
            await last()
        finally:
            await _cancelled(asyncio.all_tasks() - {asyncio.current_task()})

    def _started(self) -> asyncio.AbstractEventLoop:
        if os.getpid() != self._pid:
            raise FeedError("this manager belongs to the process that made it; after a fork, make another")
        if self._stopped:
            raise FeedError("this manager was closed; make another")
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            self._thread = repeating("pmlive", partial(_run, self._loop), pause=0.1)
            self._thread.start()
        return self._loop


def _run(loop: asyncio.AbstractEventLoop) -> bool:
    """Run a loop until it is stopped; what it raises, such as a ``SystemExit`` of a task, does not end it."""
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
