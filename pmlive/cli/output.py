"""The one place that prints: results on the standard output, everything else on the standard error.

Nothing that a stranger wrote reaches a terminal with control characters in it, whichever way it came. What goes to the
standard error is written by the thread of the log, so that nobody waits for a terminal that nobody reads, and a pipe
without a reader or a full disk costs lines and nothing else.
"""

import os
import shutil
import sys
from functools import partial
from io import TextIOBase, TextIOWrapper
from threading import RLock
from typing import Literal, TextIO, TypeAlias

import msgspec

from pmlive import logs

__all__ = ["Mode", "Output", "open_streams", "quiet_broken_pipe", "settle_streams"]

Mode: TypeAlias = Literal["text", "json"]

_CLEAR = "\r\x1b[K"


class Output:
    """Print for people (``text``) or for programs (``json``: one object, and nothing else, on the standard output)."""

    def __init__(self, mode: Mode) -> None:
        self.mode: Mode = mode
        self._lock = RLock()
        # The line that is on the terminal now, and the one that is to be there.
        self._shown = ""
        self._wanted = ""
        self._redrawing = False
        _never_fail(sys.stdout)
        _never_fail(sys.stderr)

    def result(self, value: object, text: str) -> None:
        """Print what was asked for at once, as an object or as text."""
        self.end_progress()
        logs.flush()
        if self.mode == "text":
            logs.write(sys.stdout, f"{_visible(text)}\n")
        else:
            # JSON is UTF-8, whatever the terminal speaks.
            logs.write(sys.stdout, f"{msgspec.json.encode(value).decode()}\n", encoding="utf-8")

    def line(self, text: str) -> None:
        """Print one line of what goes on; programs are told at the end."""
        if self.mode == "json":
            return
        with self._lock:
            if self._shown:
                logs.write(sys.stderr, _CLEAR)
            logs.write(sys.stdout, f"{_visible(text)}\n")
            if self._shown:
                logs.write(sys.stderr, self._shown)

    def note(self, text: str) -> None:
        """Say something by the way."""
        logs.hand_over(partial(self._say, _visible(text)))

    def problem(self, text: str) -> None:
        """Say what went wrong, in one sentence."""
        self.note(f"pmlive: {' '.join(text.split())}")

    def progress(self, text: str) -> None:
        """Show how it goes in a line that is written over; nobody is shown it but a terminal."""
        if sys.stderr is None or not sys.stderr.isatty():  # pyright: ignore[reportUnnecessaryComparison]  # it was closed
            return
        self._wanted = _visible(text)[: shutil.get_terminal_size().columns - 1]
        # Only the newest is of interest to a terminal that was not read for a while.
        if not self._redrawing:
            self._redrawing = True
            logs.hand_over(self._redraw)

    def end_progress(self) -> None:
        """Leave the last progress line where it is."""
        if self._wanted:
            self._wanted = ""
            logs.hand_over(self._leave)

    def _redraw(self) -> None:
        self._redrawing = False
        with self._lock:
            if self._wanted:
                self._shown = self._wanted
                logs.write(sys.stderr, f"{_CLEAR}{self._shown}")

    def _leave(self) -> None:
        with self._lock:
            if self._shown:
                self._shown = ""
                logs.write(sys.stderr, "\n")

    def _say(self, text: str) -> None:
        with self._lock:
            logs.write(sys.stderr, f"{_CLEAR}{text}\n{self._shown}" if self._shown else f"{text}\n")


def open_streams() -> None:
    """Put nothing where a standard stream is closed, so that no file of a recording becomes one by its number."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            # The lowest that is free, which is this one.
            os.open(os.devnull, os.O_RDWR)


def settle_streams() -> None:
    """Let what cannot be written go, or Python tries it again at the end and spoils the exit code."""
    for number, stream in ((1, sys.__stdout__), (2, sys.__stderr__)):
        try:
            if stream is not None:
                stream.flush()
        except OSError:
            _to_nowhere(number)
        except ValueError:  # a test has closed it
            continue


def _to_nowhere(number: int) -> None:
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, number)
    os.close(nothing)


def quiet_broken_pipe() -> None:
    """Let the rest go nowhere: who was reading has stopped."""
    _to_nowhere(1)


def _never_fail(stream: TextIO | TextIOBase | None) -> None:
    """Print what a terminal cannot show by its number."""
    if isinstance(stream, TextIOWrapper):
        stream.reconfigure(errors="backslashreplace")


def _visible(text: str) -> str:
    return "".join(letter for letter in text if letter.isprintable() or letter == "\n")
