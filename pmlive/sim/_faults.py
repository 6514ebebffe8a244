"""What goes wrong on command: which faults are in force, and how often each has struck."""

import time
from collections.abc import Callable, Collection, Iterator
from typing import Literal, TypeAlias

__all__ = ["MESSAGE_FAULTS", "Fault", "FaultChannel", "FaultKind", "Faults"]

FaultChannel: TypeAlias = Literal["market", "user", "realtime", "prices", "clob", "gamma"]
FaultKind: TypeAlias = Literal[
    "drop",
    "close",
    "stall",
    "silent",
    "garbage",
    "slow",
    "refuse",
    "lie",
    "lie_best",
    "duplicate",
    "reorder",
    "skip",
    "no_opening",
    "no_resolution",
    "no_ids",
    "cross",
    "dead",
    "deny",
    "forget",
    "giant",
    "no_http",
]

# These befall messages of the market channel, by default the next one; the others last until cleared.
MESSAGE_FAULTS: frozenset[FaultKind] = frozenset(
    ("garbage", "lie", "lie_best", "cross", "duplicate", "reorder", "skip", "no_opening")
)


class Fault:
    """One fault in force: ``count`` tells how often it struck, ``clear`` ends it."""

    def __init__(
        self,
        kind: FaultKind,
        *,
        channel: FaultChannel | None = None,
        token_id: str | None = None,
        times: int | None = None,
        until: float | None = None,
        detail: str = "",
        number: int | None = None,
    ) -> None:
        self.kind: FaultKind = kind
        self.channel: FaultChannel | None = channel
        self.token_id = token_id
        self.detail = detail
        self.number = number
        self.count = 0
        self._left = times
        self._until = until

    def __repr__(self) -> str:
        return f"Fault({self.kind!r}, channel={self.channel!r}, token_id={self.token_id!r}, count={self.count})"

    def in_force(self, now: float) -> bool:
        """Tell whether it can still strike."""
        return self._left != 0 and (self._until is None or now < self._until)

    def fits(self, channel: FaultChannel, tokens: Collection[str] | None) -> bool:
        """Tell whether it is about this channel and any of these tokens; None stands for no token at all."""
        on_token = self.token_id is None or (tokens is not None and self.token_id in tokens)
        return on_token and self.channel in (None, channel)

    def struck(self) -> None:
        """Count one blow."""
        self.count += 1
        if self._left:
            self._left -= 1

    def clear(self) -> None:
        """End it."""
        self._left = 0


class Faults:
    """The faults of one venue; adding is safe from any thread, striking is the venue's own loop's."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._faults: list[Fault] = []
        self._past: list[Fault] = []

    def __bool__(self) -> bool:
        return bool(self._faults)

    def __iter__(self) -> Iterator[Fault]:
        return iter([*self._past, *self._faults])

    def add(
        self,
        kind: FaultKind,
        *,
        channel: FaultChannel | None = None,
        token_id: str | None = None,
        times: int | None = None,
        seconds: float | None = None,
        detail: str = "",
        number: int | None = None,
    ) -> Fault:
        """Put a fault in force, for so many times or seconds."""
        if times is None and seconds is None and kind in MESSAGE_FAULTS:
            times = 1
        until = None if seconds is None else self._clock() + seconds
        fault = Fault(kind, channel=channel, token_id=token_id, times=times, until=until, detail=detail, number=number)
        self._faults.append(fault)
        return fault

    def find(self, kind: FaultKind, channel: FaultChannel, tokens: Collection[str] | None = None) -> Fault | None:
        """Find a fault in force that fits, without striking."""
        if not self._faults:
            return None
        now = self._clock()
        for fault in list(self._faults):
            if not fault.in_force(now):
                self._faults.remove(fault)
                self._past.append(fault)
            elif fault.kind == kind and fault.fits(channel, tokens):
                return fault
        return None

    def strike(self, kind: FaultKind, channel: FaultChannel, tokens: Collection[str] | None = None) -> Fault | None:
        """Find a fault in force that fits, and count the blow."""
        fault = self.find(kind, channel, tokens)
        if fault is not None:
            fault.struck()
        return fault

    def clear(self) -> None:
        """End every fault."""
        for fault in list(self._faults):
            fault.clear()
