"""The lines of captures in order of time, and the survey: a first reading that learns their format and numbering."""

import heapq
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from operator import attrgetter
from pathlib import Path
from typing import Literal, TypeAlias

import msgspec

from pmlive.captures.conventions import FRAME_KEYS, TIME_KEYS, NamedKeys, items_of
from pmlive.captures.files import Defect, Fragment, Piece, check_size, read_pieces
from pmlive.captures.lines import Line, is_understood, read_line
from pmlive.errors import StoreError
from pmlive.events import (
    BookSnapshot,
    Channel,
    Control,
    Event,
    Malformed,
    PriceChange,
    TickSizeChange,
    Trade,
    Unknown,
    epoch_ns,
)
from pmlive.markets import clean

__all__ = [
    "CaptureNumbers",
    "ConnectionKey",
    "LineNumbers",
    "MissingLines",
    "Progress",
    "ReadOptions",
    "Survey",
    "TimedLine",
    "merged_lines",
    "survey",
    "tokens_of",
]


# --- numbers ---
# The numbers that recorders give to the lines of captures, and the lines that are missing by them.
#
# Numbers count all lines, those of one file, or those of a connection, in one file or continuing in the next. If most
# steps are by one, they count lines, and a jump is a loss, unless the skipped lines come a little later: several
# threads may write. Numbers begin again at 0 or 1; if they begin again at more, the lines before are missing.

# Numbers count lines if at least so many steps are by one, and so many times as many as are not: selected parts of a
# capture have other steps.
_ENOUGH, _MOSTLY = 3, 3
# Lines come late within so many jumps, and before the first line so many.
_MOST_OPEN, _LATE_AT_FIRST = 64, 8
# Where there are so many jumps, it is time to ask whether these are numbers of lines at all.
_MANY_JUMPS = 100_000
_BEFORE_THE_FIRST = -1
# So many known numbers in a row are a new beginning; fewer are lines that were written twice.
_BEGUN_ANEW = 3
_NO_STRAY = (-1, -1, 0)


class MissingLines(msgspec.Struct, frozen=True):
    """How many lines are missing before a line, and when the one before them was written (nanoseconds)."""

    count: int
    since: int


class _Jump(msgspec.Struct, frozen=True):
    """Numbers that were left out before the line ``index``."""

    first: int
    last: int
    index: int
    since: int


class LineNumbers:
    """The numbers of a series of lines."""

    def __init__(self) -> None:
        self._last: int | None = None
        self._time = 0
        self._ones = self._odd = 0
        # The latest jumps, whose lines may come late, and those before.
        self._open: deque[_Jump] = deque()
        self._jumps: list[_Jump] = []
        # Where numbers went back and go on from there: the first of them, its line, and how many there are.
        self._stray = _NO_STRAY

    def add(self, number: int, *, index: int, time: int) -> None:
        """Add the number of the line ``index``, which was written at a time (nanoseconds)."""
        last = self._last
        if last is None:
            self._jump(max(0, number - _LATE_AT_FIRST), number - 1, index=_BEFORE_THE_FIRST)
        elif number <= last:
            self._go_back(number, index)
            return
        elif number == last + 1:
            self._ones += 1
        else:
            self._jump(last + 1, number - 1, index=index)
        self._last, self._time, self._stray = number, time, _NO_STRAY

    @property
    def count_lines(self) -> bool:
        """Return whether these seem to count the lines, and not something else."""
        odd = self._odd + sum(1 for _ in self._confirmed())
        return self._ones > _ENOUGH and self._ones >= _MOSTLY * odd

    def missing(self) -> dict[int, MissingLines]:
        """Return what is missing, by the index of the line after it."""
        found: dict[int, MissingLines] = {}
        for jump in self._confirmed():
            before = found.get(jump.index, MissingLines(0, jump.since)).count
            found[jump.index] = MissingLines(before + jump.last - jump.first + 1, jump.since)
        return found

    def _confirmed(self) -> Iterator[_Jump]:
        return (jump for jumps in (self._jumps, self._open) for jump in jumps if jump.index != _BEFORE_THE_FIRST)

    def _go_back(self, number: int, index: int) -> None:
        """Take a number that is no larger: a line that comes late, one that came before, or a new beginning."""
        if self._is_late(number):
            self._odd += 1
            return
        first, began, count = self._stray
        self._stray = (first, began, count + 1) if number == first + count else (number, index, 1)
        first, began, count = self._stray
        if number > 1 and count < _BEGUN_ANEW:
            self._odd += 1
            return
        self._jumps.extend(self._open)
        self._open.clear()
        if first > 1:
            self._jump(1, first - 1, index=began)
            self._ones, self._odd = self._ones + count - 1, self._odd - count + 1
        self._last, self._stray = number, _NO_STRAY

    def _is_late(self, number: int) -> bool:
        """Take a number out of those that were left out, if it is one of them."""
        jump = next((each for each in self._open if each.first <= number <= each.last), None)
        if jump is None:
            return False
        self._open.remove(jump)
        rest = ((jump.first, number - 1), (number + 1, jump.last))
        self._open.extend(
            msgspec.structs.replace(jump, first=first, last=last) for first, last in rest if first <= last
        )
        return True

    def _jump(self, first: int, last: int, *, index: int) -> None:
        if first > last:
            return
        self._open.append(_Jump(first, last, index, self._time))
        if len(self._open) > _MOST_OPEN:
            self._jumps.append(self._open.popleft())
        if len(self._jumps) > _MANY_JUMPS and self._ones < _MOSTLY * len(self._jumps):
            # Numbers of something else; what was odd of them is remembered.
            self._odd += len(self._jumps)
            self._jumps.clear()


class CaptureNumbers:
    """The numbers of the lines of several files."""

    def __init__(self) -> None:
        self._all = LineNumbers()
        self._of_files: dict[int, LineNumbers] = {}
        self._of_connections: dict[str, LineNumbers] = {}
        self._of_both: dict[tuple[int, str], LineNumbers] = {}

    def add(self, number: int, series: tuple[int, str], *, index: int, time: int) -> None:
        """Add the number of a line that belongs to the series of a file and of a connection."""
        source, connection = series
        for numbers in (
            self._all,
            self._of_files.setdefault(source, LineNumbers()),
            self._of_connections.setdefault(connection, LineNumbers()),
            self._of_both.setdefault(series, LineNumbers()),
        ):
            numbers.add(number, index=index, time=time)

    def missing(self) -> dict[int, MissingLines]:
        """Return what is missing, by the index of the line after it."""
        found: dict[int, MissingLines] = {}
        for numbers in self._counting():
            found.update(numbers.missing())
        return found

    def _counting(self) -> Iterable[LineNumbers]:
        """Yield the numbers that count lines: of the longest series that have any, as those of files that go on."""
        if self._all.count_lines:
            yield self._all
            return
        for source, of_file in self._of_files.items():
            connections = [connection for its, connection in self._of_both if its == source]
            if of_file.count_lines and len(connections) > 1:
                yield of_file
                continue
            for connection in connections:
                series = (self._of_connections[connection], self._of_both[source, connection])
                yield from [numbers for numbers in series if numbers.count_lines][:1]


# --- reading ---

TimedBy: TypeAlias = Literal["capture", "venue", "before"]
# A file that is one JSON document is read at once if it is no larger.
_LARGEST_DOCUMENT_BYTES = 64 << 20
# A channel, and what the capture calls the connection.
ConnectionKey: TypeAlias = tuple[Channel, str]
# Called with how many lines were read, and of how many; the first reading does not know that yet.
Progress: TypeAlias = Callable[[int, int | None], None]
_PROGRESS_EVERY = 5_000
_MOST_KEYS, _MOST_NAMED, _LONGEST = 40, 3, 600


class ReadOptions(msgspec.Struct, frozen=True):
    """How captures are read: the channel of frames that name none, names of keys, and the most bytes of a file."""

    channel: Channel = "market"
    naming: NamedKeys = NamedKeys()
    max_bytes: int | None = None


class TimedLine(msgspec.Struct, frozen=True):
    """A line at its time (nanoseconds), and whose time that is; without a line, the file is damaged there.

    ``number`` counts the lines of its file from 1, and ``behind`` is by how much a frame's time is before the latest of
    its file, where times give the order of lines.
    """

    time: int
    timed_by: TimedBy
    line: Line | None
    damaged: str = ""
    source: int = 0
    number: int = 0
    behind: int | None = None


class _NumberedLine(msgspec.Struct, frozen=True):
    number: int
    line: Line | None = None
    damaged: str = ""


def _check_sizes(sources: Sequence[Path], reading: ReadOptions) -> None:
    """Check that no file unpacks to more than it may.

    Raises:
        StoreError: one does, or cannot be read.
    """
    for path in sources:
        try:
            check_size(path, reading.max_bytes)
        except OSError as error:
            raise _unreadable(path, error) from error


def merged_lines(sources: Sequence[Path], reading: ReadOptions) -> Iterator[TimedLine]:
    """Yield the lines of all files in order of time, and those of one file in its order.

    Raises:
        StoreError: a file cannot be read.
    """
    files = (_timed(index, path, reading) for index, path in enumerate(sources))
    return heapq.merge(*files, key=attrgetter("time"))


def _timed(source: int, path: Path, reading: ReadOptions) -> Iterator[TimedLine]:
    """Yield each line with its time; lines before the first known time get that one."""
    waiting: list[_NumberedLine] = []
    before: int | None = None
    latest, has_own = _LatestTimes(), False
    for item in _read(path, reading):
        time, timed_by = _time_of(item.line, has_own=has_own)
        has_own = has_own or timed_by == "capture"
        now = before if time is None else time
        if now is None:
            waiting.append(item)
            continue
        before = now
        yield from (_timed_line(now, "before", source, each) for each in waiting)
        waiting.clear()
        behind = None if item.line is None else latest.behind(item.line, timed_by)
        yield _timed_line(now, timed_by, source, item, behind)
    if waiting:
        written = path.stat().st_mtime_ns
        yield from (_timed_line(written, "before", source, each) for each in waiting)


def _timed_line(time: int, timed_by: TimedBy, source: int, item: _NumberedLine, behind: int | None = None) -> TimedLine:
    return TimedLine(time, timed_by, item.line, item.damaged, source, item.number, behind)


class _LatestTimes:
    """The latest times of a file: by the recorder's clock, or of the changes of each market by the venue's.

    The venue sends the changes of one market in order, and nothing else.
    """

    def __init__(self) -> None:
        self._latest: dict[str, int] = {}

    def behind(self, line: Line, timed_by: TimedBy) -> int | None:
        """Add a frame; return by how much its time is before the latest, or None if that says nothing of the order."""
        if timed_by == "capture":
            # What may be the venue's time is not the recorder's.
            is_own = line.frame and not (line.is_ambiguous and line.received == _venue_time(line.events))
            return self._take("", line.received) if is_own and line.received is not None else None
        if timed_by == "venue" and isinstance(event := line.events[0], PriceChange):
            return self._take(event.market, epoch_ns(event.timestamp))
        return None

    def _take(self, key: str, time: int) -> int:
        latest = self._latest.get(key, time)
        self._latest[key] = max(latest, time)
        return max(0, latest - time)


def _time_of(line: Line | None, *, has_own: bool) -> tuple[int | None, TimedBy]:
    if line is None:
        return None, "before"
    stated = _venue_time(line.events)
    # A recorder that copies the venue's time says nothing of its own.
    is_copy = line.is_ambiguous and not has_own and line.received == stated
    if line.received is not None and not is_copy:
        return line.received, "capture"
    # The two clocks are not mixed in one file.
    stated = None if has_own else stated
    return stated, "before" if stated is None else "venue"


def _venue_time(events: Iterable[Event]) -> int | None:
    stamps = (getattr(event, "timestamp", None) for event in events if not isinstance(event, Control | Malformed))
    return max((epoch_ns(stamp) for stamp in stamps if isinstance(stamp, int) and stamp > 0), default=None)


def _read(path: Path, reading: ReadOptions) -> Iterator[_NumberedLine]:
    """Yield the lines that are not empty, and the damage of the file in its place."""
    try:
        number = torn = 0
        for number, piece in _document(read_pieces(path, reading.naming, reading.max_bytes)):
            if isinstance(piece, Defect):
                more = f"; {torn:,} bytes of a line that was torn off are not used" if torn else ""
                yield _NumberedLine(number, damaged=f"{path.name}, line {number:,}: {piece.why}{more}")
                torn = 0
            elif isinstance(piece, Fragment):
                line = read_line(piece.text, reading.channel, reading.naming)
                torn = 0 if is_understood(line) else len(piece.text)
                yield from [] if torn else [_NumberedLine(number, line)]
            elif piece.strip():
                yield from (_NumberedLine(number, line) for line in _lines(piece, reading))
        if torn:
            damaged = f"{path.name}, line {number:,}: it ends within a row; {torn:,} bytes are not used"
            yield _NumberedLine(number, damaged=damaged)
    except OSError as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: OSError) -> StoreError:
    return StoreError(f"{str(path)!r} cannot be read: {error.strerror or error}")


def _lines(text: bytes, reading: ReadOptions) -> Iterator[Line]:
    """Read a line, or the lines that an array of them has."""
    line = read_line(text, reading.channel, reading.naming)
    if is_understood(line) or text.lstrip()[:1] != b"[":
        yield line
        return
    lines = [read_line(item, reading.channel, reading.naming) for item in items_of(text.strip())]
    yield from lines if any(map(is_understood, lines)) else [line]


def _document(texts: Iterator[Piece]) -> Iterator[tuple[int, Piece]]:
    """Number the lines; of a file that is one JSON document over several lines, the messages in it."""
    numbered = _numbered(texts)
    first = next(((number, piece) for number, piece in numbered if not isinstance(piece, bytes) or piece.strip()), None)
    if first is None:
        return
    held = [first]
    if _may_begin(first[1]):
        size = 0
        for each in numbered:
            held.append(each)
            size += len(each[1]) if isinstance(each[1], bytes) else _LARGEST_DOCUMENT_BYTES
            if size >= _LARGEST_DOCUMENT_BYTES:
                break
        else:
            held = _messages(held) or held
    yield from held
    yield from numbered


def _numbered(texts: Iterator[Piece]) -> Iterator[tuple[int, Piece]]:
    number = 1
    for piece in texts:
        yield number, piece
        number += isinstance(piece, bytes)


def _may_begin(piece: Piece) -> bool:
    """Return whether a line may be the beginning of a document, and not one itself."""
    return isinstance(piece, bytes) and piece.lstrip()[:1] in (b"{", b"[") and not _is_json(piece)


def _messages(held: list[tuple[int, Piece]]) -> list[tuple[int, Piece]]:
    text = b"\n".join(piece for _, piece in held if isinstance(piece, bytes))
    if len(held) < 2 or not _is_json(text):  # noqa: PLR2004  # lines
        return []
    items = items_of(text.strip()) or [text]
    return [(index, item) for index, item in enumerate(items, 1)]


def _is_json(text: bytes) -> bool:
    try:
        msgspec.json.decode(text, type=msgspec.Raw)
    except (msgspec.DecodeError, RecursionError):
        return False
    return True


class _ConnectionSpan(msgspec.Struct):
    first: int
    last: int
    tokens: set[str]


class Survey(msgspec.Struct):
    """What the first reading found: the connections, and the tokens, that end with a line, by its number from 0.

    A token ends with the last line of the files that name it, where other files continue. Lines are ``missing`` before
    lines, by the recorder's own numbers. ``empty`` files have no line at all.
    """

    lines: int = 0
    began: int = 0
    ended: dict[int, list[ConnectionKey]] = {}
    ended_tokens: dict[int, list[str]] = {}
    missing: dict[int, MissingLines] = {}
    empty: list[Path] = []


def survey(sources: Sequence[Path], reading: ReadOptions, progress: Progress) -> Survey:
    """Read all lines once, to learn what they are and where connections and tokens end.

    Raises:
        StoreError: a file cannot be read, has nothing that is understood, or not the keys that were named.
    """
    _check_sizes(sources, reading)
    found = Survey()
    spans: dict[ConnectionKey, _ConnectionSpan] = {}
    files = [_FileSurvey() for _ in sources]
    numbers = CaptureNumbers()
    for index, timed in enumerate(merged_lines(sources, reading)):
        if index % _PROGRESS_EVERY == 0:
            progress(index, None)
        found.lines, found.began = index + 1, found.began or timed.time
        files[timed.source].add(timed)
        _add_number(numbers, index, timed)
        if timed.line is not None and timed.line.frame:
            _add_frame(spans, index, timed.line)
            files[timed.source].add_frame(index, timed.line)
    _check_found(sources, files, reading.naming)
    found.empty = [path for path, file in zip(sources, files, strict=True) if not (file.lines or file.damaged)]
    found.missing = numbers.missing()
    for key in _ended_connections(spans):
        found.ended.setdefault(spans[key].last, []).append(key)
    for token_id in sorted({token_id for file in files for token_id in file.tokens}):
        last = max(file.last for file in files if token_id in file.tokens)
        if last < max(file.last for file in files):
            found.ended_tokens.setdefault(last, []).append(token_id)
    return found


def _add_number(numbers: CaptureNumbers, index: int, timed: TimedLine) -> None:
    if timed.line is not None and timed.line.counter is not None:
        series = timed.source, timed.line.connection
        numbers.add(timed.line.counter, series, index=index, time=timed.time)


class _FileSurvey:
    """The lines of one file, counted."""

    def __init__(self) -> None:
        self.frames = self.own_times = self.lines = self.notes = 0
        self.keys: dict[str, None] = {}
        self.damaged = self.likely_key = ""
        # The last of its lines that is a frame, by its number among those of all files, and the tokens that it names.
        self.last = -1
        self.tokens: set[str] = set()

    def add_frame(self, index: int, line: Line) -> None:
        """Add a frame."""
        self.last = index
        self.tokens.update(token_id for _, token_id in tokens_of(line.events))

    def add(self, timed: TimedLine) -> None:
        """Add a line."""
        self.damaged = self.damaged or timed.damaged
        if timed.line is None:
            return
        self.likely_key = self.likely_key or timed.line.likely_key
        self.lines += 1
        self.frames += _is_frame(timed.line)
        self.notes += bool(timed.line.note)
        self.own_times += timed.timed_by == "capture"
        if len(self.keys) < _MOST_KEYS:
            self.keys.update(dict.fromkeys(timed.line.keys))


def _check_found(sources: Sequence[Path], files: Sequence[_FileSurvey], naming: NamedKeys) -> None:
    named = [repr(str(path)) for path in sources]
    if not any(file.frames for file in files):
        raise StoreError(_nothing_found(", ".join(named[:_MOST_NAMED]) or "nothing", files))
    for name, file in zip(named, files, strict=True):
        if file.lines > file.notes and not file.frames and file.keys:
            raise StoreError(_nothing_found(name, [file]))
    if naming.received and not any(file.own_times for file in files):
        unit = "" if naming.unit is None else f" in {naming.unit}"
        raise StoreError(
            f"no line of {', '.join(named[:_MOST_NAMED])} has a time{unit} under the key {naming.received!r}; "
            f"known are {', '.join(TIME_KEYS)}"
        )


def _nothing_found(names: str, files: Sequence[_FileSurvey]) -> str:
    keys = list(dict.fromkeys(key for file in files for key in file.keys))
    damaged = next((file.damaged for file in files if file.damaged), "")
    likely = next((f" ({clean(file.likely_key)!r} looks like frames)" for file in files if file.likely_key), "")
    seen = f"seen were {clean(', '.join(keys[:_MOST_KEYS]), _LONGEST)}; " if keys else ""
    return (
        f"no line of {names} is a frame or an envelope around one; "
        f"{f'{clean(damaged, _LONGEST)}; ' if damaged else ''}{seen}frames are known under {', '.join(FRAME_KEYS)}, "
        f"receive times under {', '.join(TIME_KEYS)}; name others with --frame KEY --received KEY{likely}; "
        "the channel of frames that are not of the market channel goes with --channel"
    )


def tokens_of(events: Sequence[Event]) -> list[tuple[str, str]]:
    """List the tokens that events are about, each with its market."""
    found: list[tuple[str, str]] = []
    for event in events:
        if isinstance(event, PriceChange):
            found += [(event.market, change.token_id) for change in event.changes]
        elif isinstance(event, BookSnapshot | Trade | TickSizeChange):
            found.append((event.market, event.token_id))
    return found


def _add_frame(spans: dict[ConnectionKey, _ConnectionSpan], index: int, line: Line) -> None:
    known = spans.setdefault((line.channel, line.connection), _ConnectionSpan(index, index, set()))
    known.last = index
    known.tokens.update(token_id for _, token_id in tokens_of(line.events))


def _is_frame(line: Line) -> bool:
    return any(not isinstance(event, Malformed | Control | Unknown) for event in line.events)


def _ended_connections(spans: dict[ConnectionKey, _ConnectionSpan]) -> set[ConnectionKey]:
    """Return the connections that ended: one that began after their last line continued with one of their tokens.

    A connection without more lines alone may be of a quiet market.
    """
    ended: set[ConnectionKey] = set()
    before: dict[tuple[Channel, str], list[ConnectionKey]] = {}
    for key, span in spans.items():
        for token_id in span.tokens:
            others = before.setdefault((key[0], token_id), [])
            ended.update(other for other in others if spans[other].last < span.first)
            others.append(key)
    return ended
