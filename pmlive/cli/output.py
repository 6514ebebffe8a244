"""The one place that prints: results on the standard output, everything else on the standard error.

Nothing that a stranger wrote reaches a terminal with control characters in it, whichever way it came.
"""

import os
import shutil
import sys
from io import TextIOBase, TextIOWrapper
from threading import RLock
from typing import BinaryIO, Literal, TextIO, TypeAlias, cast

import msgspec

__all__ = ["Mode", "Output", "quiet_broken_pipe"]

Mode: TypeAlias = Literal["text", "json"]

_CLEAR = "\r\x1b[K"


class Output:
    """Print for people (``text``) or for programs (``json``: one object, and nothing else, on the standard output)."""

    def __init__(self, mode: Mode) -> None:
        self.mode: Mode = mode
        self._lock = RLock()
        self._shown = ""
        _never_fail(sys.stdout)
        _never_fail(sys.stderr)

    def result(self, value: object, text: str) -> None:
        """Print what was asked for at once, as an object or as text."""
        self.end_progress()
        if self.mode == "text":
            sys.stdout.write(f"{_visible(text)}\n")
            sys.stdout.flush()
            return
        sys.stdout.flush()
        line = msgspec.json.encode(value) + b"\n"
        # JSON is UTF-8, whatever the terminal speaks; a stream that takes no bytes is a test's.
        binary = cast("BinaryIO | None", getattr(sys.stdout, "buffer", None))
        if binary is None:
            sys.stdout.write(line.decode())
        else:
            binary.write(line)
            binary.flush()

    def line(self, text: str) -> None:
        """Print one line of what goes on; programs are told at the end."""
        if self.mode == "json":
            return
        with self._lock:
            if self._shown:
                sys.stderr.write(_CLEAR)
                sys.stderr.flush()
            sys.stdout.write(f"{_visible(text)}\n")
            sys.stdout.flush()
            if self._shown:
                sys.stderr.write(self._shown)
                sys.stderr.flush()

    def note(self, text: str) -> None:
        """Say something by the way."""
        with self._lock:
            self._to_stderr(f"{_visible(text)}\n")

    def problem(self, text: str) -> None:
        """Say what went wrong, in one sentence."""
        self.note(f"pmlive: {' '.join(text.split())}")

    def progress(self, text: str) -> None:
        """Show how it goes in a line that is written over; nobody is shown it but a terminal."""
        if not sys.stderr.isatty():
            return
        with self._lock:
            self._shown = _visible(text)[: shutil.get_terminal_size().columns - 1]
            sys.stderr.write(f"{_CLEAR}{self._shown}")
            sys.stderr.flush()

    def end_progress(self) -> None:
        """Leave the last progress line where it is."""
        with self._lock:
            if self._shown:
                self._shown = ""
                sys.stderr.write("\n")
                sys.stderr.flush()

    def _to_stderr(self, text: str) -> None:
        sys.stderr.write(f"{_CLEAR}{text}{self._shown}" if self._shown else text)
        sys.stderr.flush()


def quiet_broken_pipe() -> None:
    """Let the rest go nowhere: who was reading has stopped."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _never_fail(stream: TextIO | TextIOBase) -> None:
    """Print what a terminal cannot show by its number."""
    if isinstance(stream, TextIOWrapper):
        stream.reconfigure(errors="backslashreplace")


def _visible(text: str) -> str:
    return "".join(letter for letter in text if letter.isprintable() or letter == "\n")
