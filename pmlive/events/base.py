"""Types that events share, and events of the connection itself."""

from typing import Annotated, Literal, TypeAlias

import msgspec

__all__ = [
    "SECONDS_BELOW",
    "BookSide",
    "Cause",
    "Channel",
    "Check",
    "Control",
    "Gap",
    "Malformed",
    "Probability",
    "Timestamp",
    "Unknown",
    "epoch_ns",
]

BookSide: TypeAlias = Literal["bid", "ask"]
Channel: TypeAlias = Literal["market", "user", "realtime", "prices", "sports"]
Cause: TypeAlias = Literal[
    "disconnect", "overflow", "silence", "malformed", "disk", "restart", "late opening book", "mismatch"
]
Check: TypeAlias = Literal["verified", "unverifiable", "mismatch", "skipped"]

# Seconds until the year 2255 are below this number, milliseconds since April 1970 above it, and so on by thousands.
SECONDS_BELOW = 9_000_000_000

# As the venue sends it, in seconds or milliseconds, or in micro- or nanoseconds, which it does not send yet: any such
# number fits 64 bits when it is read as nanoseconds.
Timestamp: TypeAlias = Annotated[int, msgspec.Meta(ge=0, lt=1_000_000_000 * SECONDS_BELOW)]

# A price of which only the value matters.
Probability: TypeAlias = Annotated[float, msgspec.Meta(ge=0, le=1)]


def epoch_ns(timestamp: int) -> int:
    """Read a venue timestamp, in the unit that its magnitude shows, as nanoseconds since 1970.

    >>> epoch_ns(1672290701), epoch_ns(1672290701000), epoch_ns(1672290701000001)
    (1672290701000000000, 1672290701000000000, 1672290701000001000)
    """
    if SECONDS_BELOW <= timestamp < 1000 * SECONDS_BELOW:
        return timestamp * 1_000_000
    if timestamp < SECONDS_BELOW:
        return timestamp * 1_000_000_000
    return timestamp * 1_000 if timestamp < 1_000_000 * SECONDS_BELOW else timestamp


class Control(msgspec.Struct, frozen=True, gc=False):
    """A message about the connection itself: an answer to a ping, an acknowledgement, a refusal."""

    word: str
    detail: str = ""


class Unknown(msgspec.Struct, frozen=True, gc=False):
    """A message of a kind this version does not know: its first 1 kB, and the ids of tokens and markets in it."""

    kind: str
    raw: str
    names: tuple[str, ...] = ()


class Malformed(msgspec.Struct, frozen=True, gc=False):
    """A message that could not be read: its first 1 kB, why, and the ids of tokens and markets in it.

    Without ``names`` it is unknown what it was about.
    """

    raw: str
    reason: str
    names: tuple[str, ...] = ()


class Gap(msgspec.Struct, frozen=True, kw_only=True):
    """An interval that cannot be trusted, in nanoseconds since 1970 of our own clock.

    ``token_id`` is None where the whole connection was affected; ``ended`` is None while it lasts. What is missing was
    sent and would have come within it, by the venue's time of it and by ours.
    """

    started: int
    cause: Cause
    token_id: str | None = None
    ended: int | None = None
    detail: str = ""
    conn: int = 0
