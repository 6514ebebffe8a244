"""Ctrl-C and SIGTERM: an exception while nothing is open, a request to stop while something is."""

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
    """The user's request to stop, by any of these signals; use it as a context manager in the main thread."""

    def __init__(self) -> None:
        self._requested = threading.Event()
        self._held = False
        self._before: dict[signal.Signals, _Handler] = {}

    def __enter__(self) -> Self:
        """Handle the signals."""
        if threading.current_thread() is not threading.main_thread():
            return self
        for number in (getattr(signal, name) for name in _NAMES if hasattr(signal, name)):
            # A program under nohup outlives its terminal.
            if number.name == "SIGHUP" and signal.getsignal(number) is signal.SIG_IGN:
                continue
            self._before[number] = signal.signal(number, self._received)
        return self

    def __exit__(self, *_: object) -> None:
        """Restore the handlers that were there before."""
        for number, handler in self._before.items():
            signal.signal(number, handler)

    @property
    def requested(self) -> bool:
        """Whether a signal came while held."""
        return self._requested.is_set()

    @contextmanager
    def held(self) -> Generator[None]:
        """Take signals as requests in this block, which has something to seal: none of them interrupts it."""
        self._held = True
        try:
            yield
        finally:
            self._held = False

    def wait(self, seconds: float) -> bool:
        """Wait at most this long; return whether to stop."""
        return self._requested.wait(seconds)

    def _received(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        if not self._held:
            raise KeyboardInterrupt
        self._requested.set()
