"""What an import found."""

import msgspec

__all__ = ["Counters", "ImportReport"]


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


class ImportReport(msgspec.Struct, frozen=True, kw_only=True):
    """What was made of a capture.

    Of ``lines``, ``frames`` were kept; among those are ``malformed`` ones, which could not be read as a whole, and ones
    of an ``unknown`` kind. ``sent`` lines are what the client said, ``notes`` tell of connections; neither is a frame.
    Times are the capture's own (``own_times``), else the venue's (``venue_times``), else those of the line before
    (``guessed_times``); ``backwards`` were before the line before, and took its time. ``damaged`` files end in the
    middle of their compressed data. First and last time are nanoseconds since 1970.
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
    first_time: int
    last_time: int
