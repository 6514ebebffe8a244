"""Standard errors that cannot be written to, as they befall programs that run for days."""

import fcntl
import os
import pty
from collections.abc import Sequence
from pathlib import Path

from pmlive.cli.faults.row import Stderr

__all__ = ["ErrorStream", "error_stream"]


_LINES = 400


class ErrorStream:
    """Where a process writes its standard error: ``given`` is what it gets, ``lose`` takes the reader away.

    ``prefix`` is what runs the program.
    """

    def __init__(self, given: int, *, reader: int | None = None, prefix: Sequence[str] = ()) -> None:
        self.given = given
        self.prefix = prefix
        self._ours = given
        self._reader = reader

    def lose(self) -> None:
        """Take the reader away: a pipe has none any more, a terminal is closed."""
        self._close_given()
        if self._reader is not None:
            os.close(self._reader)
            self._reader = None

    def close(self) -> None:
        """Let go of everything."""
        self.lose()

    def _close_given(self) -> None:
        if self._ours >= 0:
            os.close(self._ours)
            self._ours = -1


def error_stream(kind: Stderr, folder: Path) -> ErrorStream:
    """Make a standard error of a kind."""
    if kind == "full disk":
        return ErrorStream(os.open("/dev/full", os.O_WRONLY))
    if kind == "terminal":
        ours, theirs = pty.openpty()
        return ErrorStream(theirs, reader=ours)
    if kind in ("pipe", "unread pipe"):
        reader, writer = os.pipe()
        if kind == "unread pipe":
            _fill(writer)
        return ErrorStream(writer, reader=reader)
    prefix = ("sh", "-c", 'exec "$@" 2>&-', "sh") if kind == "closed" else ()
    path = folder / "stderr.txt"
    return ErrorStream(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), prefix=prefix)


def _fill(writer: int) -> None:
    """Leave a pipe with room for a line or two."""
    room = fcntl.fcntl(writer, fcntl.F_GETPIPE_SZ)
    os.write(writer, b"." * (room - _LINES))
