"""The first reading of a capture: when it begins, whether it is one, and where its connections end."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeAlias

import msgspec

from pmlive.captures.files import Timed, merged
from pmlive.captures.lines import Line
from pmlive.errors import StoreError
from pmlive.events import BookSnapshot, Channel, Control, Event, Malformed, PriceChange, TickSizeChange, Trade

__all__ = ["Key", "Progress", "Survey", "survey", "tokens_of"]

# A channel, and what the capture calls the connection.
Key: TypeAlias = tuple[Channel, str]
# Told how many lines were taken, of how many; the first reading does not know that yet.
Progress: TypeAlias = Callable[[int, int | None], None]

_TOLD_EVERY = 5_000


class _Heard(msgspec.Struct):
    first: int
    last: int
    tokens: set[str]


class Survey(msgspec.Struct):
    """What was found: ``ended`` are the connections that end with a line, by its number from 0."""

    lines: int = 0
    began: int = 0
    ended: dict[int, list[Key]] = {}


def survey(sources: Sequence[Path], channel: Channel, progress: Progress) -> Survey:
    """Read all lines once.

    Raises:
        StoreError: a file cannot be read, or none has a frame.
    """
    found = Survey()
    heard: dict[Key, _Heard] = {}
    has_frames = False
    for index, timed in enumerate(merged(sources, channel)):
        if index % _TOLD_EVERY == 0:
            progress(index, None)
        found.lines, found.began = index + 1, found.began or timed.time
        if timed.line is not None and timed.line.frame:
            _hear(heard, index, timed.line)
            has_frames = has_frames or _is_frame(timed)
    if not has_frames:
        names = ", ".join(repr(str(path)) for path in sources[:3]) or "nothing"
        raise StoreError(
            f"no line of {names} is a frame or an envelope around one; give captures with one frame a line"
        )
    for key in _ended(heard):
        found.ended.setdefault(heard[key].last, []).append(key)
    return found


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


def _is_frame(timed: Timed) -> bool:
    return timed.line is not None and any(not isinstance(event, Malformed | Control) for event in timed.line.events)


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
