"""The output of a command: results on the standard output, everything else on the standard error.

No control character reaches a terminal, whoever wrote the text. The standard error is written by the log's thread, so
that a terminal that is not read holds nothing up, and a pipe without a reader or a full disk costs lines only.
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

__all__ = ["Mode", "Output", "discard_output", "fill_closed_streams", "flush_streams"]

Mode: TypeAlias = Literal["text", "json"]

_CLEAR = "\r\x1b[K"


class Output:
    """Print for people (``text``) or for programs (``json``: one object, and nothing else, on the standard output)."""

    def __init__(self, mode: Mode) -> None:
        self.mode: Mode = mode
        self._lock = RLock()
        # The progress line that is on the terminal now, and the one that is to be there.
        self._shown = ""
        self._wanted = ""
        self._redrawing = False
        _escape_unencodable(sys.stdout)
        _escape_unencodable(sys.stderr)

    def result(self, value: object, text: str) -> None:
        """Print the result at once, as an object or as text."""
        self.end_progress()
        logs.flush()
        if self.mode == "text":
            logs.write(sys.stdout, f"{_visible(text)}\n")
        else:
            # JSON is UTF-8, whatever the encoding of the terminal.
            logs.write(sys.stdout, f"{msgspec.json.encode(value).decode()}\n", encoding="utf-8")

    def line(self, text: str) -> None:
        """Print one line of what happens; programs get one object at the end instead."""
        if self.mode == "json":
            return
        with self._lock:
            if self._shown:
                logs.write(sys.stderr, _CLEAR)
            logs.write(sys.stdout, f"{_visible(text)}\n")
            if self._shown:
                logs.write(sys.stderr, self._shown)

    def note(self, text: str) -> None:
        """Print a line on the standard error."""
        logs.hand_over(partial(self._write_note, _visible(text)))

    def problem(self, text: str) -> None:
        """Print what went wrong, in one sentence, on the standard error."""
        self.note(f"pmlive: {' '.join(text.split())}")

    def progress(self, text: str) -> None:
        """Show progress in one line that is written over, if the standard error is a terminal."""
        if sys.stderr is None or not sys.stderr.isatty():  # pyright: ignore[reportUnnecessaryComparison]  # it was closed
            return
        self._wanted = _visible(text)[: shutil.get_terminal_size().columns - 1]
        # A terminal that was not read for a while gets the newest line only.
        if not self._redrawing:
            self._redrawing = True
            logs.hand_over(self._redraw)

    def end_progress(self) -> None:
        """Leave the last progress line where it is."""
        if self._wanted:
            self._wanted = ""
            logs.hand_over(self._end_line)

    def _redraw(self) -> None:
        self._redrawing = False
        with self._lock:
            if self._wanted:
                self._shown = self._wanted
                logs.write(sys.stderr, f"{_CLEAR}{self._shown}")

    def _end_line(self) -> None:
        with self._lock:
            if self._shown:
                self._shown = ""
                logs.write(sys.stderr, "\n")

    def _write_note(self, text: str) -> None:
        with self._lock:
            logs.write(sys.stderr, f"{_CLEAR}{text}\n{self._shown}" if self._shown else f"{text}\n")


def fill_closed_streams() -> None:
    """Open the null device for each closed standard stream, or a recording's file would get its descriptor."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            # The lowest free descriptor, which is this one.
            os.open(os.devnull, os.O_RDWR)


def flush_streams() -> None:
    """Flush the standard streams and discard what cannot be written, or Python tries again and spoils the exit code."""
    for number, stream in ((1, sys.__stdout__), (2, sys.__stderr__)):
        try:
            if stream is not None:
                stream.flush()
        except OSError:
            _discard(number)
        except ValueError:  # a test has closed it
            continue


def discard_output() -> None:
    """Discard further output, whose reader has gone."""
    _discard(1)


def _discard(number: int) -> None:
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, number)
    os.close(null)


def _escape_unencodable(stream: TextIO | TextIOBase | None) -> None:
    """Make a stream write characters that it cannot encode as escapes."""
    if isinstance(stream, TextIOWrapper):
        stream.reconfigure(errors="backslashreplace")


def _visible(text: str) -> str:
    return "".join(letter for letter in text if letter.isprintable() or letter == "\n")
