"""A terminal that a program runs in: what it shows, and what is typed on it."""

import fcntl
import os
import signal
import struct
import subprocess
import sys
import termios
import threading
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import pyte
from support.waiting import wait_until

__all__ = ["PROGRAM", "Terminal", "terminal"]

# Before a program says anything it has to start, which a busy computer takes its time for.
_PATIENCE = 120.0
PROGRAM = (sys.executable, "-m", "pmlive")


class Terminal:
    """A program whose standard streams are a terminal of ours."""

    def __init__(self, process: "subprocess.Popen[bytes]", main: int, other: int, size: tuple[int, int]) -> None:
        self.process = process
        self.written = b""
        self.before = termios.tcgetattr(other)
        self._main = main
        self._other: int | None = other
        self._last_settings: object = None
        self._screen = pyte.HistoryScreen(*size, history=10_000)
        self._stream = pyte.ByteStream(self._screen)
        self._lock = threading.Lock()
        # Whether somebody reads what is written; without, the program meets a full buffer.
        self.reading = threading.Event()
        self.reading.set()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def lines(self) -> list[str]:
        """What is on the screen now."""
        with self._lock:
            return [line.rstrip() for line in self._screen.display]

    @property
    def everything(self) -> str:
        """What is on the screen, and what went beyond its upper end."""
        with self._lock:
            top = ["".join(line[column].data for column in sorted(line)) for line in self._screen.history.top]
            return "\n".join([*top, *self._screen.display])

    @property
    def settings(self) -> object:
        """How the terminal treats what is typed, or treated it at the end."""
        return self._last_settings if self._other is None else termios.tcgetattr(self._other)

    @property
    def cursor_is_hidden(self) -> bool:
        with self._lock:
            return self._screen.cursor.hidden

    def resize(self, columns: int, lines: int) -> None:
        _set_size(self._main, columns, lines)
        with self._lock:
            self._screen.resize(lines, columns)

    def type(self, keys: bytes) -> None:
        os.write(self._main, keys)

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def wait_for(self, text: str) -> None:
        self.wait_until(lambda: text in self.everything)

    def wait_until(self, condition: Callable[[], object]) -> None:
        wait_until(condition, _PATIENCE, what=f"what a terminal with {self.lines} waits for")

    def end(self) -> int:
        """Wait for the end and what was written until then, and return the exit code."""
        code = self.process.wait(_PATIENCE)
        self.close()
        return code

    def close(self) -> None:
        """Read the rest of what a program wrote that has ended."""
        if self._other is not None:
            self._last_settings = termios.tcgetattr(self._other)
            self.reading.set()
            # Once nobody has the other end any more, reading comes to an end, too.
            os.close(self._other)
            self._other = None
            self._reader.join(_PATIENCE)

    def _read(self) -> None:
        while True:
            self.reading.wait()
            try:
                data = os.read(self._main, 65_536)
            except OSError:
                return
            if not data:
                return
            with self._lock:
                self.written += data
                self._stream.feed(data)


@contextmanager
def terminal(
    command: Sequence[str],
    *,
    cwd: Path,
    env: Mapping[str, str] | None = None,
    size: tuple[int, int] = (80, 24),
    stdout: int | None = None,
) -> Generator[Terminal]:
    """Run a program on a terminal of so many columns and lines; it is killed if it is left behind."""
    main, other = os.openpty()
    _set_size(main, *size)
    process = subprocess.Popen(
        command,
        stdin=other,
        stdout=other if stdout is None else stdout,
        stderr=other,
        cwd=cwd,
        env={**os.environ, "TERM": "xterm-256color", "PYTHONIOENCODING": "utf-8", **(env or {})},
        start_new_session=True,
        preexec_fn=_take_terminal,  # noqa: PLW1509  # one system call, which takes no lock
    )
    shown = Terminal(process, main, other, size)
    try:
        yield shown
    finally:
        process.kill()
        process.wait(_PATIENCE)
        shown.close()
        os.close(main)


def _take_terminal() -> None:
    """Make the terminal that of the process, so that Ctrl-C and its closing reach it, also if tests run under nohup."""
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def _set_size(descriptor: int, columns: int, lines: int) -> None:
    fcntl.ioctl(descriptor, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
