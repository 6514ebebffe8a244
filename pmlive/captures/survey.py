"""The first reading of a capture: when it begins, whether it is one, and where its connections end."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeAlias

import msgspec

from pmlive.captures.files import Reading, Timed, check, merged
from pmlive.captures.lines import Line
from pmlive.captures.naming import FRAME_KEYS, TIME_KEYS, Naming
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
)
from pmlive.markets import clean

__all__ = ["Key", "Numbers", "Progress", "Survey", "survey", "tokens_of"]

# A channel, and what the capture calls the connection.
Key: TypeAlias = tuple[Channel, str]
# Told how many lines were taken, of how many; the first reading does not know that yet.
Progress: TypeAlias = Callable[[int, int | None], None]

_TOLD_EVERY = 5_000
# Numbers count lines if most steps are by one: a part of a capture that somebody picked out has others.
_ENOUGH, _MOSTLY = 3, 3
_MOST_KEYS, _MOST_NAMED, _LONGEST = 40, 3, 600


class Numbers(msgspec.Struct):
    """The numbers that a recorder gave to its lines, in one file or of one connection in it."""

    last: int | None = None
    ones: int = 0
    jumps: int = 0
    is_odd: bool = False

    def missing(self, number: int) -> int:
        """Take a number; return how many were left out before it. They may begin anew."""
        step = 1 if self.last is None else number - self.last
        self.last = number
        self.ones += step == 1
        self.jumps += step > 1
        self.is_odd = self.is_odd or (step < 1 and number > 1)
        return max(0, step - 1)

    @property
    def count_lines(self) -> bool:
        """Return whether these seem to count the lines, and not something else."""
        return not self.is_odd and self.ones > _ENOUGH and self.ones >= _MOSTLY * self.jumps


class _Heard(msgspec.Struct):
    first: int
    last: int
    tokens: set[str]


class Survey(msgspec.Struct):
    """What was found: the connections that end with a line, by its number from 0, and the tokens.

    A token ends with the last line of the files that tell of it, where other files go on. ``numbered`` are the files
    whose lines have numbers that count them, by their place among the files; with ``None`` all lines of the file
    together, else those of a connection. ``empty`` files have no line at all.
    """

    lines: int = 0
    began: int = 0
    ended: dict[int, list[Key]] = {}
    ended_tokens: dict[int, list[str]] = {}
    numbered: set[tuple[int, str | None]] = set()
    empty: list[Path] = []


def survey(sources: Sequence[Path], reading: Reading, progress: Progress) -> Survey:
    """Read all lines once.

    Raises:
        StoreError: a file cannot be read, has nothing that is understood, or not the keys that were named.
    """
    check(sources, reading)
    found = Survey()
    heard: dict[Key, _Heard] = {}
    files = [_File() for _ in sources]
    for index, timed in enumerate(merged(sources, reading)):
        if index % _TOLD_EVERY == 0:
            progress(index, None)
        found.lines, found.began = index + 1, found.began or timed.time
        files[timed.source].take(timed)
        if timed.line is not None and timed.line.frame:
            _hear(heard, index, timed.line)
            files[timed.source].hear(index, timed.line)
    _refuse(sources, files, reading.naming)
    found.empty = [path for path, its in zip(sources, files, strict=True) if not (its.lines or its.damaged)]
    found.numbered = {(index, each) for index, its in enumerate(files) for each in its.numbered}
    for key in _ended(heard):
        found.ended.setdefault(heard[key].last, []).append(key)
    for token_id in sorted({token_id for its in files for token_id in its.tokens}):
        last = max(its.last for its in files if token_id in its.tokens)
        if last < max(its.last for its in files):
            found.ended_tokens.setdefault(last, []).append(token_id)
    return found


class _File:
    """What was seen of one file."""

    def __init__(self) -> None:
        self.frames = self.own_times = self.lines = self.words = 0
        self.keys: dict[str, None] = {}
        self.damaged = self.perhaps = ""
        # The last of its lines that is a frame, by its number among those of all files, and the tokens that it names.
        self.last = -1
        self.tokens: set[str] = set()
        self._numbers: dict[str | None, Numbers] = {None: Numbers()}

    @property
    def numbered(self) -> list[str | None]:
        """List what the numbers of lines count: all lines of the file, or those of connections."""
        if self._numbers[None].count_lines:
            return [None]
        return [name for name, numbers in self._numbers.items() if numbers.count_lines]

    def hear(self, index: int, line: Line) -> None:
        """Note a frame."""
        self.last = index
        self.tokens.update(token_id for _, token_id in tokens_of(line.events))

    def take(self, timed: Timed) -> None:
        """Take a line of it."""
        self.damaged = self.damaged or timed.damaged
        if timed.line is None:
            return
        self.perhaps = self.perhaps or timed.line.perhaps
        self.lines += 1
        self.frames += _is_frame(timed.line)
        self.words += bool(timed.line.word)
        self.own_times += timed.timed_by == "capture"
        if timed.line.counter is not None:
            self._numbers[None].missing(timed.line.counter)
            self._numbers.setdefault(timed.line.connection, Numbers()).missing(timed.line.counter)
        if len(self.keys) < _MOST_KEYS:
            self.keys.update(dict.fromkeys(timed.line.keys))


def _refuse(sources: Sequence[Path], files: Sequence[_File], naming: Naming) -> None:
    named = [repr(str(path)) for path in sources]
    if not any(its.frames for its in files):
        raise StoreError(_nothing(", ".join(named[:_MOST_NAMED]) or "nothing", files))
    for name, its in zip(named, files, strict=True):
        if its.lines > its.words and not its.frames and its.keys:
            raise StoreError(_nothing(name, [its]))
    if naming.received and not any(its.own_times for its in files):
        unit = "" if naming.unit is None else f" in {naming.unit}"
        raise StoreError(
            f"no line of {', '.join(named[:_MOST_NAMED])} has a time{unit} under the key {naming.received!r}; "
            f"known are {', '.join(TIME_KEYS)}"
        )


def _nothing(names: str, files: Sequence[_File]) -> str:
    keys = list(dict.fromkeys(key for its in files for key in its.keys))
    damaged = next((its.damaged for its in files if its.damaged), "")
    perhaps = next((f" ({clean(its.perhaps)!r} looks like frames)" for its in files if its.perhaps), "")
    seen = f"seen were {clean(', '.join(keys[:_MOST_KEYS]), _LONGEST)}; " if keys else ""
    return (
        f"no line of {names} is a frame or an envelope around one; "
        f"{f'{clean(damaged, _LONGEST)}; ' if damaged else ''}{seen}frames are known under {', '.join(FRAME_KEYS)}, "
        f"receive times under {', '.join(TIME_KEYS)}; name others with --frame KEY --received KEY{perhaps}; "
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


def _hear(heard: dict[Key, _Heard], index: int, line: Line) -> None:
    known = heard.setdefault((line.channel, line.connection), _Heard(index, index, set()))
    known.last = index
    known.tokens.update(token_id for _, token_id in tokens_of(line.events))


def _is_frame(line: Line) -> bool:
    return any(not isinstance(event, Malformed | Control | Unknown) for event in line.events)


def _ended(heard: dict[Key, _Heard]) -> set[Key]:
    """Tell which connections ended: another that began after their last line went on with one of their tokens.

    One that is only heard no more may be of a quiet market.
    """
    ended: set[Key] = set()
    before: dict[tuple[Channel, str], list[Key]] = {}
    for key, its in heard.items():
        for token_id in its.tokens:
            others = before.setdefault((key[0], token_id), [])
            ended.update(other for other in others if heard[other].last < its.first)
            others.append(key)
    return ended
