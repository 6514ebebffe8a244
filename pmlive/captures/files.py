"""The lines of captures at their times, several files merged."""

import heapq
from collections.abc import Iterable, Iterator, Sequence
from operator import attrgetter
from pathlib import Path
from typing import Literal, TypeAlias, cast

import msgspec

from pmlive.captures.fields import items_of
from pmlive.captures.lines import Line, is_understood, read_line
from pmlive.captures.naming import Naming
from pmlive.captures.packed import Broken
from pmlive.captures.sources import check_size, pieces
from pmlive.captures.splitting import Piece, Torn
from pmlive.errors import StoreError
from pmlive.events import Channel, Control, Event, Malformed, PriceChange, epoch_ns

__all__ = ["Reading", "Timed", "check", "merged"]

TimedBy: TypeAlias = Literal["capture", "venue", "before"]

# A file that is one JSON document is read at once if it is no larger.
_LARGEST_DOCUMENT = 64 << 20


class Reading(msgspec.Struct, frozen=True):
    """How captures are read: the channel of frames that name none, names of keys, and the most bytes of a file."""

    channel: Channel = "market"
    naming: Naming = Naming()
    max_bytes: int | None = None


class Timed(msgspec.Struct, frozen=True):
    """A line at its time (nanoseconds), and by whom it is; without a line, something is missing from the file there.

    ``number`` counts the lines of its file from 1, and ``behind`` is by how much a frame's time is before the latest of
    its file, where times tell the order of lines.
    """

    time: int
    timed_by: TimedBy
    line: Line | None
    damaged: str = ""
    source: int = 0
    number: int = 0
    behind: int | None = None


class _Numbered(msgspec.Struct, frozen=True):
    number: int
    line: Line | None = None
    damaged: str = ""


def check(sources: Sequence[Path], reading: Reading) -> None:
    """See to it that no file becomes too large.

    Raises:
        StoreError: one does, or cannot be read.
    """
    for path in sources:
        try:
            check_size(path, reading.max_bytes)
        except OSError as error:
            raise _unreadable(path, error) from error


def merged(sources: Sequence[Path], reading: Reading) -> Iterator[Timed]:
    """Yield the lines of all files in order of time, and those of one file in its order.

    Raises:
        StoreError: a file cannot be read.
    """
    files = (_timed(index, path, reading) for index, path in enumerate(sources))
    return heapq.merge(*files, key=attrgetter("time"))


def _timed(source: int, path: Path, reading: Reading) -> Iterator[Timed]:
    """Give each line its time; lines before the first that is known wait for it."""
    waiting: list[_Numbered] = []
    now: int | None = None
    order, has_own = _Order(), False
    for item in _read(path, reading):
        time, timed_by = _time_of(item.line, has_own=has_own)
        has_own = has_own or timed_by == "capture"
        if time is None and now is None:
            waiting.append(item)
            continue
        now = now if time is None else time
        yield from (_at(cast("int", now), "before", source, each) for each in waiting)
        waiting.clear()
        behind = None if item.line is None else order.behind(item.line, timed_by)
        yield _at(cast("int", now), timed_by, source, item, behind)
    if waiting:
        written = path.stat().st_mtime_ns
        yield from (_at(written, "before", source, each) for each in waiting)


def _at(time: int, timed_by: TimedBy, source: int, item: _Numbered, behind: int | None = None) -> Timed:
    return Timed(time, timed_by, item.line, item.damaged, source, item.number, behind)


class _Order:
    """The latest times of a file: by the recorder's clock, or of the changes of each market by the venue's.

    The venue tells changes of one market in their order, and nothing else.
    """

    def __init__(self) -> None:
        self._latest: dict[str, int] = {}

    def behind(self, line: Line, timed_by: TimedBy) -> int | None:
        """Take a frame; return by how much it is before the latest, if its time says anything of the order."""
        if timed_by == "capture":
            # What may be the venue's time is not the recorder's.
            is_own = line.frame and not (line.weakly and line.received == _venue_time(line.events))
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
    is_copy = line.weakly and not has_own and line.received == stated
    if line.received is not None and not is_copy:
        return line.received, "capture"
    # The two clocks are not mixed in one file.
    stated = None if has_own else stated
    return stated, "before" if stated is None else "venue"


def _venue_time(events: Iterable[Event]) -> int | None:
    stamps = (getattr(event, "timestamp", None) for event in events if not isinstance(event, Control | Malformed))
    return max((epoch_ns(stamp) for stamp in stamps if isinstance(stamp, int) and stamp > 0), default=None)


def _read(path: Path, reading: Reading) -> Iterator[_Numbered]:
    """Yield the lines that are not empty, and what is wrong with the file where it is."""
    try:
        torn = 0
        for number, piece in _document(pieces(path, reading.naming, reading.max_bytes)):
            if isinstance(piece, Broken):
                more = f"; {torn:,} bytes of a line that was torn off are not used" if torn else ""
                yield _Numbered(number, damaged=f"{path.name}, line {number:,}: {piece.why}{more}")
                torn = 0
            elif isinstance(piece, Torn):
                line = read_line(piece.text, reading.channel, reading.naming)
                torn = 0 if is_understood(line) else len(piece.text)
                yield from [] if torn else [_Numbered(number, line)]
            elif piece.strip():
                yield from (_Numbered(number, line) for line in _lines(piece, reading))
    except OSError as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: OSError) -> StoreError:
    return StoreError(f"{str(path)!r} cannot be read: {error.strerror or error}")


def _lines(text: bytes, reading: Reading) -> Iterator[Line]:
    """Read a line, or the lines that an array of them has."""
    line = read_line(text, reading.channel, reading.naming)
    if is_understood(line) or text.lstrip()[:1] != b"[":
        yield line
        return
    lines = [read_line(item, reading.channel, reading.naming) for item in items_of(text.strip())]
    yield from lines if any(map(is_understood, lines)) else [line]


def _document(texts: Iterator[Piece]) -> Iterator[tuple[int, Piece]]:
    """Number lines; a file that is one JSON document over several lines is its messages instead."""
    numbered = _numbered(texts)
    first = next(((number, piece) for number, piece in numbered if not isinstance(piece, bytes) or piece.strip()), None)
    if first is None:
        return
    held = [first]
    if _may_begin(first[1]):
        size = 0
        for each in numbered:
            held.append(each)
            size += len(each[1]) if isinstance(each[1], bytes) else _LARGEST_DOCUMENT
            if size >= _LARGEST_DOCUMENT:
                break
        else:
            held = _whole(held) or held
    yield from held
    yield from numbered


def _numbered(texts: Iterator[Piece]) -> Iterator[tuple[int, Piece]]:
    number = 1
    for piece in texts:
        yield number, piece
        number += isinstance(piece, bytes)


def _may_begin(piece: Piece) -> bool:
    """Tell whether a line may be the beginning of a document, and not one itself."""
    return isinstance(piece, bytes) and piece.lstrip()[:1] in (b"{", b"[") and not _is_json(piece)


def _whole(held: list[tuple[int, Piece]]) -> list[tuple[int, Piece]]:
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
