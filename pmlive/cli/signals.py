"""Ctrl-C and SIGTERM: an exception while nothing is open, a wish to stop while something is."""

import signal
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from types import FrameType
from typing import Self, TypeAlias

__all__ = ["Stop"]

_Handler: TypeAlias = "Callable[[int, FrameType | None], object] | int | None"

# A terminal that is closed sends SIGHUP; Windows has no such signal.
_NAMES = ("SIGINT", "SIGTERM", "SIGHUP")


class Stop:
    """The user's wish to stop, from any of these signals; use it as a context manager in the main thread."""

    def __init__(self) -> None:
        self._wished = threading.Event()
        self._held = False
        self._before: dict[signal.Signals, _Handler] = {}

    def __enter__(self) -> Self:
        """Listen to the signals."""
        if threading.current_thread() is not threading.main_thread():
            return self
        for number in (getattr(signal, name) for name in _NAMES if hasattr(signal, name)):
            # nohup has its reason.
            if number.name == "SIGHUP" and signal.getsignal(number) is signal.SIG_IGN:
                continue
            self._before[number] = signal.signal(number, self._came)
        return self

    def __exit__(self, *_: object) -> None:
        """Leave the signals to whom they belonged."""
        for number, handler in self._before.items():
            signal.signal(number, handler)

    @property
    def wished(self) -> bool:
        """Tell whether a signal came while held."""
        return self._wished.is_set()

    @contextmanager
    def held(self) -> Generator[None]:
        """Take signals as wishes in this block, which has something to seal: none of them interrupts it."""
        self._held = True
        try:
            yield
        finally:
            self._held = False

    def wait(self, seconds: float) -> bool:
        """Wait so long at most; tell whether to stop."""
        return self._wished.wait(seconds)

    def _came(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        if not self._held:
            raise KeyboardInterrupt
        self._wished.set()
