"""Gaps told once: a fault is what befell a recording, however many rows tell of it."""

from collections.abc import Iterable

import msgspec

from pmlive.events import Cause
from pmlive.recording.doubts import ENDLESS, Doubt

__all__ = ["Fault", "faults"]

# What breaks a connection, or everything: all that it touches is one fault.
_BROAD = ("disconnect", "silence", "restart", "disk", "overflow")
# What makes books wrong: a frame that could not be read, and what is found out of it.
_WRONG = ("malformed", "mismatch")


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """One fault: its interval in nanoseconds since 1970 (without an end it lasts), its cause, and the tokens touched.

    Without tokens it was a whole connection's, or everything's.
    """

    started: int
    ended: int | None
    cause: Cause
    detail: str
    token_ids: list[str]


class _Group:
    """Gaps that are one fault, while they are gathered."""

    def __init__(self, first: Doubt) -> None:
        self.first = self.cause = first
        self.conns = {first.conn}
        self.until = first.until
        self.ended = first.ended
        self.tokens: dict[str, None] = {}
        # When connections that broke were dialled again.
        self._dialled: set[int] = set()
        self.add(first)

    def add(self, doubt: Doubt) -> None:
        self.conns.add(doubt.conn)
        if doubt.until >= self.until:
            self.until, self.ended = doubt.until, doubt.ended
        if doubt.token_id is None:
            self._dialled.add(doubt.until)
        else:
            self.tokens[doubt.token_id] = None
        if doubt.cause == "malformed":
            # What could not be read is why the books were wrong then.
            self.cause = doubt

    def takes(self, doubt: Doubt) -> bool:
        """Tell whether a gap, which begins no earlier, is of this fault."""
        if doubt.started > self.until:
            return False
        if self.first.cause in _BROAD:
            # Each try to dial again begins where the one before it failed.
            again = doubt.token_id is None and doubt.cause in _BROAD and doubt.started in self._dialled
            return again or doubt.conn in self.conns
        alike = (doubt.cause, self.first.cause)
        return doubt.conn in self.conns and (alike[0] == alike[1] or all(cause in _WRONG for cause in alike))

    def fault(self) -> Fault:
        return Fault(
            started=self.first.started,
            ended=None if self.until == ENDLESS else self.ended,
            cause=self.cause.cause,
            detail=self.cause.detail,
            token_ids=sorted(self.tokens),
        )


def faults(doubts: Iterable[Doubt]) -> list[Fault]:
    """Gather the gaps that tell of the same fault, in order of their beginning."""
    groups: list[_Group] = []
    lasting: list[_Group] = []
    for doubt in sorted(doubts, key=lambda one: (one.started, one.token_id is not None)):
        lasting = [group for group in lasting if group.until >= doubt.started]
        mine = next((group for group in lasting if group.takes(doubt)), None)
        if mine is None:
            mine = _Group(doubt)
            groups.append(mine)
            lasting.append(mine)
        else:
            mine.add(doubt)
    return [group.fault() for group in groups]
