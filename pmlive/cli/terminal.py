"""The terminal: what a command prints, numbers and tables for people, progress, and signals that ask it to stop.

Results go to the standard output, everything else to the standard error. Control characters are removed from all texts.
The log's thread writes the standard error, so that a terminal that is not read blocks nothing, and a pipe without a
reader or a full disk loses nothing but lines.
"""

import json
import os
import re
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from functools import partial
from importlib.util import find_spec
from io import TextIOBase, TextIOWrapper
from queue import Empty, SimpleQueue
from textwrap import TextWrapper
from threading import RLock
from types import FrameType
from typing import Literal, Self, TextIO, TypeAlias

import msgspec

from pmlive import logs
from pmlive.times import utc

__all__ = [
    "SECTION_WIDTH",
    "Draw",
    "Output",
    "ProgressLine",
    "Screen",
    "Stop",
    "discard_output",
    "fill_closed_streams",
    "fitted_lines",
    "fitted_table",
    "flush_streams",
    "format_count",
    "format_duration",
    "format_size",
    "format_table",
    "format_time",
    "section",
]

Mode: TypeAlias = Literal["text", "json"]

# JSON escapes the control characters of ASCII by itself.
_OTHERS = re.compile(r"[^ -~]")

_Handler: TypeAlias = "Callable[[int, FrameType | None], object] | int | None"

# A terminal that is closed sends SIGHUP; Windows has no such signal.
_STOP_SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")

# What tells that a text was cut, and the least that is left of it.
_CUT, _LEAST_KEPT = "...", 16
# The room for the name of a section.
SECTION_WIDTH = 11

_MINUTE, _HOUR = 60, 3600
_KILO = 1000


class Screen(msgspec.Struct, frozen=True, kw_only=True):
    """The room of a terminal, and what it shows: colours, and characters of an encoding."""

    columns: int
    lines: int
    colours: bool
    encoding: str

    @property
    def is_unicode(self) -> bool:
        """Whether it shows all characters."""
        return self.encoding.lower().replace("-", "") in {"utf8", "utf16", "utf32"}

    @property
    def ellipsis(self) -> str:
        """What tells that a text was cut."""
        return "…" if self.is_unicode else "~"

    def encodable(self, text: str) -> str:
        """Replace what it cannot show, so that a text is as wide as it looks."""
        return text.encode(self.encoding, "replace").decode(self.encoding)


# Returns the lines of a picture, each narrower than the screen, and fewer than it has.
Draw: TypeAlias = Callable[[Screen], Sequence[str]]


class Output:
    """Prints text for people, or one JSON object for programs and nothing else on the standard output."""

    def __init__(self, mode: Mode) -> None:
        self.mode: Mode = mode
        self._lock = RLock()
        # The lines of progress that the terminal shows, and what draws those that it should show.
        self._shown: Sequence[str] = ()
        self._wanted: Draw | None = None
        self._redrawing = False
        _escape_unencodable(sys.stdout)
        _escape_unencodable(sys.stderr)

    @property
    def is_terminal(self) -> bool:
        """Whether progress is shown: the standard error is a terminal."""
        return sys.stderr is not None and sys.stderr.isatty()  # pyright: ignore[reportUnnecessaryComparison]  # it was closed

    @property
    def columns(self) -> int | None:
        """How wide the terminal is that shows the result; None where none does, or its width is not known."""
        if self.mode == "json" or not sys.stdout.isatty():
            return None
        try:
            return os.get_terminal_size(sys.stdout.fileno()).columns or None
        except OSError:
            return None

    @property
    def shows_tables(self) -> bool:
        """Whether progress may have several lines: the terminal can move its cursor, and rich is there to draw."""
        moves = os.environ.get("TERM", "dumb") not in {"", "dumb", "unknown"}
        return self.is_terminal and moves and find_spec("rich") is not None

    def result(self, value: object, text: str) -> None:
        """Print the result at once, as JSON or as text."""
        self.end_progress()
        logs.flush()
        if self.mode == "text":
            logs.write(sys.stdout, f"{_visible(text)}\n")
        else:
            # JSON is UTF-8, whatever the encoding of the terminal.
            text = _OTHERS.sub(_escaped, msgspec.json.encode(value).decode())
            logs.write(sys.stdout, f"{text}\n", encoding="utf-8")

    def line(self, text: str) -> None:
        """Print text while the command runs; nothing as JSON, which is one object at the end."""
        if self.mode == "json":
            return
        with self._lock:
            if self._shown:
                logs.write(sys.stderr, _cleared(self._shown))
            logs.write(sys.stdout, f"{_visible(text)}\n")
            if self._shown:
                logs.write(sys.stderr, "\n".join(self._shown))

    def note(self, text: str) -> None:
        """Print a line on the standard error."""
        logs.hand_over(partial(self._write_note, _visible(text)))

    def problem(self, text: str) -> None:
        """Print an error in one line on the standard error."""
        self.note(f"pmlive: {' '.join(text.split())}")

    def progress(self, text: str) -> None:
        """Show progress in one line that the next one overwrites, if the standard error is a terminal."""
        shown = _visible(text)
        self.draw(lambda screen: [shown[: screen.columns - 1]])

    def draw(self, draw: Draw) -> None:
        """Show progress in lines that the next ones overwrite, if the standard error is a terminal.

        They are drawn in the log's thread: what is drawn must not change. Nothing waits for a terminal that is not
        read; after a while it gets the newest picture only.
        """
        if not self.is_terminal:
            return
        self._wanted = draw
        if not self._redrawing:
            self._redrawing = True
            logs.hand_over(self._redraw)

    def end_progress(self) -> None:
        """End the lines of progress, which stay on the terminal."""
        if self._wanted is not None:
            self._wanted = None
            logs.hand_over(self._end_lines)

    def _redraw(self) -> None:
        self._redrawing = False
        with self._lock:
            if (wanted := self._wanted) is not None:
                before, self._shown = self._shown, wanted(_screen())
                logs.write(sys.stderr, _replaced(before, self._shown))

    def _end_lines(self) -> None:
        with self._lock:
            if self._shown:
                self._shown = ()
                logs.write(sys.stderr, "\n")

    def _write_note(self, text: str) -> None:
        with self._lock:
            below = "\n".join(self._shown)
            logs.write(sys.stderr, f"{_cleared(self._shown)}{text}\n{below}" if self._shown else f"{text}\n")


def _screen() -> Screen:
    try:
        columns, lines = os.get_terminal_size(sys.stderr.fileno())
    except OSError:
        columns, lines = 0, 0
    usual = shutil.get_terminal_size()
    return Screen(
        columns=columns or usual.columns,
        lines=lines or usual.lines,
        colours=not os.environ.get("NO_COLOR"),
        encoding=sys.stderr.encoding,
    )


def _top(lines: Sequence[str]) -> str:
    """Return what moves the cursor from the end of the last of these lines to the beginning of the first."""
    return f"\r\x1b[{len(lines) - 1}A" if len(lines) > 1 else "\r"


def _cleared(lines: Sequence[str]) -> str:
    return f"{_top(lines)}\x1b[J"


def _replaced(before: Sequence[str], lines: Sequence[str]) -> str:
    """Return what writes lines over others; each is cleared after it was written, which does not flicker."""
    return f"{_top(before)}" + "\n".join(f"{line}\x1b[K" for line in lines) + "\x1b[J"


class Stop:
    """The user's request to stop, by Ctrl-C or a signal; a context manager for the main thread."""

    def __init__(self) -> None:
        self._requested = False
        # An event has a lock, on which a handler that interrupts whoever waits for it would wait for ever.
        self._wake: SimpleQueue[None] = SimpleQueue()
        self._deferring = False
        self._before: dict[signal.Signals, _Handler] = {}

    def __enter__(self) -> Self:
        """Handle the signals."""
        if threading.current_thread() is not threading.main_thread():
            return self
        for number in (getattr(signal, name) for name in _STOP_SIGNALS if hasattr(signal, name)):
            # Under nohup a program outlives its terminal.
            if number.name == "SIGHUP" and signal.getsignal(number) is signal.SIG_IGN:
                continue
            self._before[number] = signal.signal(number, self._received)
        return self

    def __exit__(self, *_: object) -> None:
        """Restore the former handlers."""
        for number, handler in self._before.items():
            signal.signal(number, handler)

    @property
    def requested(self) -> bool:
        """Whether a signal came while signals were deferred."""
        return self._requested

    @contextmanager
    def deferred(self) -> Generator[None]:
        """Turn signals into requests to stop in this block, which must not be interrupted before it has sealed."""
        self._deferring = True
        try:
            yield
        finally:
            self._deferring = False

    def wait(self, seconds: float) -> bool:
        """Wait at most this long for a request to stop; return whether there is one."""
        if not self._requested:
            with suppress(Empty):
                self._wake.get(timeout=seconds)
        return self._requested

    def _received(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        if not self._deferring:
            raise KeyboardInterrupt
        self._requested = True
        self._wake.put(None)


def fill_closed_streams() -> None:
    """Open the null device for each closed standard stream, or a recording's file could get its descriptor."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            # This gets the lowest free descriptor, which is that of the stream.
            os.open(os.devnull, os.O_RDWR)


def flush_streams() -> None:
    """Flush the standard streams and discard what cannot be written, or Python would fail on it at exit."""
    for number, stream in ((1, sys.__stdout__), (2, sys.__stderr__)):
        try:
            if stream is not None:
                stream.flush()
        except OSError:
            _discard(number)
        except ValueError:  # a test has closed it
            continue


def discard_output() -> None:
    """Discard further output after its reader has gone."""
    _discard(1)


def format_count(number: int, noun: str) -> str:
    """Format a number of things.

    >>> format_count(1, "gap"), format_count(12345, "row")
    ('1 gap', '12,345 rows')
    """
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def format_size(number: float) -> str:
    """Format a number of bytes.

    >>> format_size(999), format_size(1_250_000)
    ('999 B', '1.2 MB')
    """
    if number < _KILO:
        return f"{number:.0f} B"
    for unit in ("kB", "MB", "GB"):
        number /= _KILO
        if number < _KILO:
            return f"{number:.1f} {unit}"
    return f"{number / _KILO:.1f} TB"


def format_duration(seconds: float) -> str:
    """Format a length of time.

    >>> format_duration(1.234), format_duration(75), format_duration(7325)
    ('1.2 s', '1 min 15 s', '2 h 02 min')
    """
    if seconds < _MINUTE:
        return f"{seconds:.1f} s"
    if seconds < _HOUR:
        return f"{seconds // _MINUTE:.0f} min {seconds % _MINUTE:02.0f} s"
    return f"{seconds // _HOUR:.0f} h {seconds % _HOUR // _MINUTE:02.0f} min"


def format_time(time: datetime | None) -> str:
    """Format a time in UTC, to the millisecond.

    >>> format_time(datetime(2026, 11, 23, 2, 14, 7))
    '2026-11-23 02:14:07.000'
    """
    return "-" if time is None else utc(time)


def format_table(head: Sequence[str], rows: Iterable[Sequence[str]], *, right: Iterable[int] = ()) -> list[str]:
    """Return the lines of a table; the columns numbered in ``right`` are aligned to the right.

    >>> format_table(["table", "rows"], [["trades", "7"]], right=[1])
    ['table   rows', 'trades     7']
    """
    cells = [list(head), *(list(row) for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(head))]
    numbers = set(right)
    return [
        "  ".join(
            cell.rjust(width) if column in numbers else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in cells
    ]


def section(name: str, lines: Sequence[str], *, width: int = SECTION_WIDTH) -> list[str]:
    """Return lines with a name before the first one and the others indented.

    >>> section("kept", ["12 rows", "3 files"], width=6)
    ['kept  12 rows', '      3 files']
    """
    return [f"{name if number == 0 else '':<{width}}{line}".rstrip() for number, line in enumerate(lines)]


def fitted_table(
    head: Sequence[str],
    rows: Iterable[Sequence[str]],
    columns: int | None,
    *,
    right: Iterable[int] = (),
    spare: Sequence[str] = (),
) -> list[str]:
    """Return the lines of a table that is no wider than so many characters, if that is possible.

    Args:
        head: the names of the columns.
        rows: what is in them.
        columns: how many characters there are room for; None for any number.
        right: the numbers of the columns that are aligned to the right.
        spare: the names of columns that are left out where there is no room, the first of them first. Then the first
            column is cut, of which the end is kept.

    >>> fitted_table(["table", "rows"], [["market_events", "7"]], 9, spare=["rows"])
    ['table', 'market_events']
    """
    kept, cells, numbers = list(range(len(head))), [list(row) for row in rows], set(right)
    left_out = [head.index(name) for name in spare]

    def lines() -> list[str]:
        aligned = [at for at, column in enumerate(kept) if column in numbers]
        return format_table(
            [head[column] for column in kept], [[row[column] for column in kept] for row in cells], right=aligned
        )

    while columns is not None and _width(lines()) > columns and left_out:
        kept.remove(left_out.pop(0))
    if columns is not None and (beyond := _width(lines()) - columns) > 0 and cells:
        room = max(_LEAST_KEPT, max(len(row[0]) for row in cells) - beyond)
        for row in cells:
            row[0] = _end_of(row[0], room)
    return lines()


def fitted_lines(lines: Iterable[str], columns: int | None) -> list[str]:
    """Break lines that are wider than so many characters between words; what goes on is indented.

    A word that is wider stays whole, so that it can be copied.

    >>> fitted_lines(["12 rows of trades", "3 files"], 12)
    ['12 rows of', '  trades', '3 files']
    """
    if columns is None:
        return list(lines)
    between_words = TextWrapper(columns, subsequent_indent="  ", break_on_hyphens=False, break_long_words=False)
    return [part for line in lines for part in between_words.wrap(line) or [""]]


def _width(lines: Sequence[str]) -> int:
    return max(map(len, lines), default=0)


def _end_of(text: str, room: int) -> str:
    return text if len(text) <= room else f"{_CUT}{text[len(_CUT) - room :]}"


def _discard(number: int) -> None:
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, number)
    os.close(null)


def _escape_unencodable(stream: TextIO | TextIOBase | None) -> None:
    """Make a stream write characters that it cannot encode as escape sequences."""
    if isinstance(stream, TextIOWrapper):
        stream.reconfigure(errors="backslashreplace")


def _escaped(found: re.Match[str]) -> str:
    """Return a character as JSON escapes it if a terminal might obey or hide it: programs read the same."""
    return found[0] if found[0].isprintable() else json.dumps(found[0])[1:-1]


def _visible(text: str) -> str:
    return "".join(letter for letter in text if letter.isprintable() or letter == "\n")


# --- progress ---
# The line that tells of a long command what share is done, at what rate, and how long the rest may take.

# The least and the most characters that a bar is drawn with, and the least seconds between two lines.
_LEAST, _MOST = 5, 30
_EVERY_S = 0.1


class ProgressLine:
    """Shows on a terminal how far a command has come; call it with how much is done, and how much there is.

    Args:
        out: where.
        doing: what the command does, such as ``verifying``.
        noun: what is counted, such as ``records``.
        clock: seconds.
    """

    def __init__(self, out: Output, doing: str, noun: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._out = out
        self._doing = doing
        self._noun = noun
        self._clock = clock
        self._began = self._last = clock()
        out.progress(doing)

    def __call__(self, done: int, total: int | None) -> None:
        """Show it, unless it was shown just now; of what has no known total, only how much is done."""
        now = self._clock()
        if now - self._last < _EVERY_S and done != total:
            return
        self._last = now
        state = _State(doing=self._doing, noun=self._noun, done=done, total=total, elapsed=now - self._began)
        self._out.draw(partial(_lines, state))


class _State(msgspec.Struct, frozen=True, kw_only=True):
    doing: str
    noun: str
    done: int
    total: int | None
    elapsed: float


def _lines(state: _State, screen: Screen) -> list[str]:
    rate = state.done / state.elapsed if state.elapsed else 0.0
    if not state.total:
        return [f"{state.doing}  {state.done:,} {state.noun}  {_rate_text(rate)}"[: screen.columns - 1]]
    share = min(1.0, state.done / state.total)
    parts = [f"{share:4.0%}", f"{state.done:,} of {state.total:,} {state.noun}", _rate_text(rate)]
    if state.done and share < 1:
        parts.append(f"{format_duration(state.elapsed * (1 - share) / share)} left")
    text = "  ".join(parts)
    room = min(_MOST, screen.columns - 1 - len(state.doing) - len(text) - 4)
    bar = f"{_bar(share, room, screen)}  " if room >= _LEAST else ""
    return [f"{state.doing}  {bar}{text}"[: screen.columns - 1]]


def _rate_text(rate: float) -> str:
    return f"{rate:,.0f}/s" if rate >= 1 else f"{rate:.1f}/s"


def _bar(share: float, width: int, screen: Screen) -> str:
    full, empty = ("━", "─") if screen.is_unicode else ("#", ".")
    filled = int(share * width)
    return full * filled + empty * (width - filled)
