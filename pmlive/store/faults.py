"""A disk that refuses on purpose: what is asked before each change of the disk, so that a test can say no there.

>>> def full(change: str) -> None:
...     raise OSError(28, "No space left on device")
>>> with injected(full):
...     check("write")
Traceback (most recent call last):
OSError: [Errno 28] No space left on device
"""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import TypeAlias

__all__ = ["Answer", "check", "injected"]

# Told "create", "write", "sync", "sync folder", "make folder", "rename", "link", "remove" or "cut off"; it raises what
# the disk would, or says how many bytes a write takes at most.
Answer: TypeAlias = Callable[[str], int | None]

_answers: list[Answer] = []


def check(change: str) -> int | None:
    """Ask whether the disk takes a change; the answer is how many bytes of it, None for all."""
    sizes = [answer(change) for answer in _answers]
    return min((size for size in sizes if size is not None), default=None)


@contextmanager
def injected(answer: Answer) -> Generator[None]:
    """Have every change of the disk by this process asked for, in whatever thread."""
    _answers.append(answer)
    try:
        yield
    finally:
        _answers.remove(answer)
