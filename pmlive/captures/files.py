"""The files of a capture: plain, gzip or zstd, one line after the other, several of them merged by time."""

import gzip
import heapq
import io
import zlib
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Literal, TypeAlias, cast

import msgspec
import zstandard

from pmlive.captures.lines import Line, read_line
from pmlive.errors import StoreError
from pmlive.events import Channel, Control, Event, Malformed, epoch_ns

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

__all__ = ["Timed", "merged"]

TimedBy: TypeAlias = Literal["capture", "venue", "before"]

# The venue's frames have 16 MiB at most; what is longer is cut, and no frame.
_LONGEST = 32 << 20
# A file that is one JSON document is read at once if it is no larger.
_LARGEST_DOCUMENT = 64 << 20
_CHUNK = 16 << 10
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_DAMAGED = (EOFError, zlib.error, gzip.BadGzipFile, zstandard.ZstdError)


class Timed(msgspec.Struct, frozen=True):
    """A line at its time (nanoseconds), and by whom it is; without a line the file is ``damaged`` from there on."""

    time: int
    timed_by: TimedBy
    line: Line | None
    damaged: str = ""


def merged(sources: Sequence[Path], channel: Channel) -> Iterator[Timed]:
    """Yield the lines of all files in order of time, and those of one file in its order.

    Raises:
        StoreError: a file cannot be read.
    """
    return heapq.merge(*(_timed(path, channel) for path in sources), key=attrgetter("time"))


def _timed(path: Path, channel: Channel) -> Iterator[Timed]:
    """Give each line its time; lines before the first that is known wait for it."""
    waiting: list[Line | str] = []
    now: int | None = None
    has_own = False
    for item in _read(path, channel):
        time, timed_by = _time_of(item, has_own=has_own)
        has_own = has_own or timed_by == "capture"
        if time is None and now is None:
            waiting.append(item)
            continue
        now = now if time is None else time
        yield from (_at(cast("int", now), "before", each) for each in waiting)
        waiting.clear()
        yield _at(cast("int", now), timed_by, item)
    if waiting:
        written = path.stat().st_mtime_ns
        yield from (_at(written, "before", each) for each in waiting)


def _at(time: int, timed_by: TimedBy, item: Line | str) -> Timed:
    return Timed(time, timed_by, None, item) if isinstance(item, str) else Timed(time, timed_by, item)


def _time_of(item: Line | str, *, has_own: bool) -> tuple[int | None, TimedBy]:
    if isinstance(item, str):
        return None, "before"
    if item.received is not None:
        return item.received, "capture"
    # The two clocks are not mixed in one file.
    stated = None if has_own else _venue_time(item.events)
    return stated, "before" if stated is None else "venue"


def _venue_time(events: Iterable[Event]) -> int | None:
    stamps = (getattr(event, "timestamp", None) for event in events if not isinstance(event, Control | Malformed))
    return max((epoch_ns(stamp) for stamp in stamps if isinstance(stamp, int) and stamp > 0), default=None)


def _read(path: Path, channel: Channel) -> Iterator[Line | str]:
    """Yield the lines that are not empty, and at the end, if the file is damaged, what is wrong."""
    try:
        for text in _document(path) or _lines(path):
            if text.strip():
                yield read_line(text, channel)
    except _DAMAGED as error:
        yield f"{path.name} ends in the middle of its data ({str(error) or type(error).__name__})"
    except OSError as error:
        raise StoreError(f"{str(path)!r} cannot be read: {error.strerror or error}") from error


def _lines(path: Path) -> Iterator[bytes]:
    with _opened(path) as stream:
        first = stream.readline(_LONGEST)
        yield first.removeprefix(_BYTE_ORDER_MARK)
        yield from iter(lambda: stream.readline(_LONGEST), b"")


def _document(path: Path) -> list[bytes] | None:
    """Take a file that is one JSON document over several lines: a frame, or an array of lines."""
    with _opened(path) as stream, suppress(*_DAMAGED):
        text = stream.readline(_LONGEST).removeprefix(_BYTE_ORDER_MARK)
        if text.strip() not in (b"{", b"[") and not (text.lstrip()[:1] in (b"{", b"[") and not _is_json(text)):
            return None
        text += stream.read(_LARGEST_DOCUMENT)
        with suppress(msgspec.DecodeError, RecursionError):
            if text.lstrip()[:1] == b"[":
                return [bytes(each) for each in msgspec.json.decode(text, type=list[msgspec.Raw])]
            return [bytes(msgspec.json.decode(text, type=msgspec.Raw))]
    return None


def _is_json(text: bytes) -> bool:
    try:
        msgspec.json.decode(text, type=msgspec.Raw)
    except (msgspec.DecodeError, RecursionError):
        return False
    return True


@contextmanager
def _opened(path: Path) -> Generator[BinaryIO]:
    with path.open("rb") as file:
        if path.suffix == ".gz":
            with gzip.open(file) as stream:
                yield cast("BinaryIO", stream)
        elif path.suffix in (".zst", ".zstd"):
            with io.BufferedReader(_Unpacked(file)) as stream:
                yield cast("BinaryIO", stream)
        else:
            yield file


class _Unpacked(io.RawIOBase):
    """Zstd frames in a row; unlike the library's own reader it tells when the last one is cut off."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._frame: zstandard.ZstdDecompressionObj | None = None
        self._packed = self._text = b""

    def readable(self) -> bool:
        """Say that it can be read."""
        return True

    def readinto(self, buffer: "WriteableBuffer", /) -> int:
        """Fill a buffer, or give 0 at the end.

        Raises:
            EOFError: the file ends within a frame.
        """
        while not self._text and self._advance():
            pass
        view = memoryview(buffer)
        size = min(len(view), len(self._text))
        view[:size], self._text = self._text[:size], self._text[size:]
        return size

    def _advance(self) -> bool:
        self._packed = self._packed or self._file.read(_CHUNK)
        if not self._packed:
            if self._frame is not None:
                raise EOFError("the last zstd frame is cut off")
            return False
        frame = self._frame = self._frame or zstandard.ZstdDecompressor().decompressobj()
        self._text = frame.decompress(self._packed)
        self._packed = frame.unused_data
        if frame.eof:
            self._frame = None
        return True
