"""What an import found."""

import re

import msgspec

from pmlive.captures.files import Timed
from pmlive.captures.lines import Line
from pmlive.events import Control, Event, Malformed, Unknown

__all__ = ["Counters", "ImportReport", "NotUnderstood", "Tally", "problem_of"]

# So many kinds are told one by one, by their first so many bytes.
_MOST_KINDS = 20
_SHOWN = 60
_OTHER = "of other kinds"
_numbers = re.compile(r"[0-9]+").sub


class Counters(msgspec.Struct):
    """What is counted while lines are read."""

    lines: int = 0
    frames: int = 0
    malformed: int = 0
    unknown: int = 0
    sent: int = 0
    notes: int = 0
    own_times: int = 0
    venue_times: int = 0
    guessed_times: int = 0
    backwards: int = 0


class NotUnderstood(msgspec.Struct, frozen=True):
    """Lines that were not understood for one reason: how many, and where the first is and how it begins."""

    problem: str
    lines: int
    source: str
    number: int
    begins: str


class ImportReport(msgspec.Struct, frozen=True, kw_only=True):
    """What was made of a capture.

    Of ``lines``, ``frames`` were kept; among those are ``malformed`` ones, which could not be read as a whole, and ones
    of an ``unknown`` kind; ``not_understood`` tells of both, by kind. ``sent`` lines are what the client said, and
    ``notes`` are the recorder's own; neither is a frame. Times are the capture's own (``own_times``), else the venue's
    (``venue_times``), else those of the line before (``guessed_times``); ``backwards`` were before the line before, and
    took its time. ``damaged`` are the places where something is missing from a file. First and last time are
    nanoseconds since 1970.
    """

    folder: str
    sources: list[str]
    lines: int
    frames: int
    malformed: int
    unknown: int
    sent: int
    notes: int
    own_times: int
    venue_times: int
    guessed_times: int
    backwards: int
    connections: int
    tokens: int
    damaged: list[str]
    not_understood: list[NotUnderstood]
    first_time: int
    last_time: int

    @property
    def whole(self) -> bool:
        """Tell whether everything was there and understood."""
        return not (self.malformed or self.unknown or self.damaged or self.not_understood)


class Tally:
    """Counts what was not understood, by kind."""

    def __init__(self) -> None:
        self._kinds: dict[str, NotUnderstood] = {}

    def add(self, timed: Timed, source: str) -> None:
        """Take a line, whether it was understood or not."""
        problem = "" if timed.line is None else problem_of(timed.line)
        if timed.line is None or not problem:
            return
        if problem not in self._kinds and len(self._kinds) >= _MOST_KINDS:
            problem = _OTHER
        known = self._kinds.get(problem)
        if known is None:
            begins = timed.line.frame[:_SHOWN].decode("utf-8", "replace")
            known = NotUnderstood(problem, 0, source, timed.number, begins)
        self._kinds[problem] = msgspec.structs.replace(known, lines=known.lines + 1)

    def told(self) -> list[NotUnderstood]:
        """List them, the most frequent first."""
        return sorted(self._kinds.values(), key=lambda kind: -kind.lines)


def problem_of(line: Line) -> str:
    """Say what is not understood of a line, or tells that something is missing; nothing if all is well."""
    if line.repeated is not None:
        return f"with the key {line.repeated[:40]!r} twice in one object"
    if line.word == "failed":
        return "of the recorder or the venue, saying that something is wrong"
    problems = (_problem(event, line.keys) for event in (() if line.word else line.events))
    return next(filter(None, problems), "")


def _problem(event: Event, keys: tuple[str, ...]) -> str:
    match event:
        case Control(word="error"):
            return f"of the venue, saying that something is wrong: {_numbers('N', event.detail)[:80]}"
        case Malformed():
            is_text = event.reason.startswith("not JSON")
            return "not JSON" if is_text else f"malformed: {_numbers('N', event.reason)[:80]}"
        case Unknown(kind=""):
            return "no message and no envelope that is known" + (f" ({', '.join(keys[:8])})" if keys else "")
        case Unknown():
            return f"of the unknown kind {event.kind[:40]!r}"
        case _:
            return ""
