"""Doing once what many ask for at the same time."""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Generic, TypeVar

__all__ = ["Together"]

T = TypeVar("T")


class Together(Generic[T]):
    """Calls a function once for all threads that asked before the call began; no answer is older than its question."""

    def __init__(self, function: Callable[[], T]) -> None:
        self._function = function
        self._next: Future[T] | None = None
        self._joining = threading.Lock()
        self._calling = threading.Lock()

    def __call__(self) -> T:
        """Give what the function gives to all of them; what it raises is raised to all."""
        with self._joining:
            first = self._next is None
            answer = self._next = self._next or Future()
        if first:
            with self._calling:
                with self._joining:
                    self._next = None
                try:
                    answer.set_result(self._function())
                except BaseException as error:  # noqa: BLE001  # or others would wait for ever
                    answer.set_exception(error)
        try:
            return answer.result()
        finally:
            del answer  # an error refers to this frame, which must not refer to it
