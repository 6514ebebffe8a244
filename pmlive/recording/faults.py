"""Gaps told once: a fault is what befell a recording, however many rows tell of it."""

from collections.abc import Iterable

import msgspec

from pmlive.events import Cause
from pmlive.gaps import ENDLESS, GapInterval

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

    def __init__(self, first: GapInterval) -> None:
        self.first = self.cause = first
        self.conns = {first.conn}
        self.until = first.until
        self.ended = first.ended
        self.tokens: dict[str, None] = {}
        # When connections that broke were dialled again.
        self._dialled: set[int] = set()
        self.add(first)

    def add(self, gap: GapInterval) -> None:
        self.conns.add(gap.conn)
        if gap.until >= self.until:
            self.until, self.ended = gap.until, gap.ended
        if gap.token_id is None:
            self._dialled.add(gap.until)
        else:
            self.tokens[gap.token_id] = None
        if gap.cause == "malformed":
            # What could not be read is why the books were wrong then.
            self.cause = gap

    def takes(self, gap: GapInterval) -> bool:
        """Tell whether a gap, which begins no earlier, is of this fault."""
        if gap.started > self.until:
            return False
        if self.first.cause in _BROAD:
            # Each try to dial again begins where the one before it failed.
            again = gap.token_id is None and gap.cause in _BROAD and gap.started in self._dialled
            return again or gap.conn in self.conns
        alike = (gap.cause, self.first.cause)
        return gap.conn in self.conns and (alike[0] == alike[1] or all(cause in _WRONG for cause in alike))

    def fault(self) -> Fault:
        return Fault(
            started=self.first.started,
            ended=None if self.until == ENDLESS else self.ended,
            cause=self.cause.cause,
            detail=self.cause.detail,
            token_ids=sorted(self.tokens),
        )


def faults(gaps: Iterable[GapInterval]) -> list[Fault]:
    """Gather the gaps that tell of the same fault, in order of their beginning."""
    groups: list[_Group] = []
    lasting: list[_Group] = []
    for gap in sorted(gaps, key=lambda one: (one.started, one.token_id is not None)):
        lasting = [group for group in lasting if group.until >= gap.started]
        mine = next((group for group in lasting if group.takes(gap)), None)
        if mine is None:
            mine = _Group(gap)
            groups.append(mine)
            lasting.append(mine)
        else:
            mine.add(gap)
    return [group.fault() for group in groups]
