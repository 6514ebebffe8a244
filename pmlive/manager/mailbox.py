"""Handing updates to slow code: away from the hot path, newest first to survive, losses counted."""

import asyncio
import inspect
import threading
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TypeAlias

from pmlive.logs import get_logger
from pmlive.threads import repeating

__all__ = ["Consumer", "Handler", "Mailbox", "Update"]

logger = get_logger(__name__)

Update: TypeAlias = dict[str, object]
Handler: TypeAlias = Callable[[Update], object] | Callable[[Update], Awaitable[object]]


class Mailbox:
    """Updates waiting for one consumer: a newer one replaces an older of its key, and the oldest key goes first."""

    def __init__(self, size: int = 1024) -> None:
        self._size = size
        self._updates: dict[object, Update] = {}
        self._changed = threading.Condition()
        self._number = 0
        self._waker: Callable[[], object] | None = None
        self.closed = False
        self.coalesced = 0
        self.dropped = 0

    def put(self, update: Update, key: object = None) -> None:
        """Leave an update; without a key it replaces nothing."""
        with self._changed:
            self._number += 1
            key = self._number if key is None else key
            if self._updates.pop(key, None) is not None:
                self.coalesced += 1
            elif len(self._updates) >= self._size:
                del self._updates[next(iter(self._updates))]
                self._note_drop()
            self._updates[key] = update
            self._changed.notify()
        self._wake()

    def get(self) -> Update | None:
        """Wait for an update; None once the mailbox is closed and empty."""
        with self._changed:
            self._changed.wait_for(lambda: bool(self._updates) or self.closed)
            return self._pop()

    async def next(self) -> Update | None:
        """Wait for an update in the caller's own event loop; None once the mailbox is closed and empty."""
        loop, arrived = asyncio.get_running_loop(), asyncio.Event()
        self._waker = partial(loop.call_soon_threadsafe, arrived.set)
        try:
            while True:
                with self._changed:
                    update = self._pop()
                if update is not None or self.closed:
                    return update
                await arrived.wait()
                arrived.clear()
        finally:
            self._waker = None

    def close(self) -> None:
        """Let nobody wait any longer."""
        with self._changed:
            self.closed = True
            self._changed.notify_all()
        self._wake()

    def _wake(self) -> None:
        """Wake who waits in an event loop, if that loop is still there."""
        waker = self._waker
        if waker is None:
            return
        try:
            waker()
        except RuntimeError:
            self._waker = None

    def _pop(self) -> Update | None:
        if not self._updates:
            return None
        return self._updates.pop(next(iter(self._updates)))

    def _note_drop(self) -> None:
        if self.dropped == 0:
            logger.warning(
                "a consumer is too slow: its oldest updates are dropped and counted; the recording loses nothing"
            )
        self.dropped += 1


class Consumer:
    """A thread that calls one handler with what comes to its mailbox; a handler that raises is reported and goes on."""

    def __init__(self, handler: Handler, loop: asyncio.AbstractEventLoop | None = None) -> None:
        self.mailbox = Mailbox()
        self._handler = handler
        self._loop = loop
        self._thread = repeating("pmlive consumer", self._turn, pause=0.0)
        self._thread.start()

    def _turn(self) -> bool:
        """Hand the next update on; what the handler raises is told by the thread's guard."""
        update = self.mailbox.get()
        if update is not None:
            self._call(update)
        return update is not None

    def _call(self, update: Update) -> None:
        result = self._handler(update)
        if not inspect.iscoroutine(result):
            return
        if self._loop is not None and self._loop.is_running():
            asyncio.run_coroutine_threadsafe(result, self._loop).result()
        else:
            asyncio.run(result)
