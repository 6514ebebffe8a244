"""What a source runs beside its sockets or its player."""

import asyncio
from collections.abc import Coroutine

from pmlive.threads import note_fault

__all__ = ["Tasks"]


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
