"""Cases of the catalogue: a fault, what must come of it, what the recorder's books say meanwhile, and the outcome."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Literal, TypeAlias

import msgspec

from pmlive.cli.text import counted, duration, table

if TYPE_CHECKING:
    from pmlive.cli.faults.trial import Trial

__all__ = ["CauseTotal", "Expected", "FaultCase", "Observation", "ObservedBook", "Outcome", "Scope", "Stderr", "report"]

Scope: TypeAlias = Literal["all", "some", "at least one", "none", "any"]
Stderr: TypeAlias = Literal["file", "pipe", "unread pipe", "closed", "full disk", "terminal"]

_HEAD = ["", "fault", "missed", "gaps reported", "books refused", "recovered after", "exit"]


class Expected(msgspec.Struct, frozen=True, kw_only=True):
    """What must come of a fault.

    Args:
        causes: the causes that a gap may have; one of them must be there unless ``gaps`` is none or any.
        gaps: whose books have a gap: those of all tokens, of some but not all, of at least one, of none.
        refused: whose books refuse to answer at some time while the fault lasts.
        code: the exit code of ``pmlive record`` when its time is over; None for any.
        recovers: whether every book comes back.
        max_age: how many seconds old a book may be that is given while the fault lasts.
        lag: how many seconds a message may take to arrive.
        before: how many seconds before the fault a gap may begin.
        after: how many seconds after every book is back a gap may end.
    """

    causes: frozenset[str]
    gaps: Scope = "all"
    refused: Scope = "all"
    code: int | None = 1
    recovers: bool = True
    max_age: float = 3.0
    lag: float = 1.0
    before: float = 3.0
    after: float = 4.0


class FaultCase(msgspec.Struct, frozen=True, kw_only=True):
    """One fault.

    ``inject`` brings it about, waits for what must be seen while it lasts, and ends it. ``environment`` returns
    variables that the recorder is started with, ``start`` starts it otherwise than usual. Where nothing is ``recorded``
    there is no recorder, and ``inject`` does everything.
    """

    name: str
    group: str
    inject: "Callable[[Trial], None]"
    expected: Expected
    markets: int = 2
    rate: float = 40.0
    stderr: Stderr = "file"
    environment: "Callable[[Trial], dict[str, str]] | None" = None
    start: "Callable[[Trial], None] | None" = None
    recorded: bool = True


class ObservedBook(msgspec.Struct, frozen=True):
    """A book that the recorder gave, best levels first."""

    state: str
    bids: list[tuple[float, float]]
    asks: list[tuple[float, float]]


class Observation(msgspec.Struct, frozen=True, kw_only=True):
    """The books of all tokens between two times (nanoseconds); None for one that refused to answer."""

    since: int
    until: int
    books: dict[str, ObservedBook | None]


class CauseTotal(msgspec.Struct, frozen=True, kw_only=True):
    """The gaps of one cause: how many, and how long the longest is in seconds."""

    cause: str
    gaps: int
    longest: float


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What came of one case; it held if there is no complaint."""

    name: str
    group: str
    lasted: float
    missed: int = 0
    missed_in_no_gap: int = 0
    told: list[CauseTotal] = []
    refused: int = 0
    tokens: int = 0
    recovered_after: float | None = None
    code: int | None = None
    complaints: list[str] = []

    @property
    def held(self) -> bool:
        """Whether everything came as it must."""
        return not self.complaints

    def to_dict(self) -> dict[str, object]:
        """Return everything in a form that JSON can hold."""
        return {"held": self.held, **msgspec.structs.asdict(self)}


def report(outcomes: Sequence[Outcome]) -> str:
    """Write a table of outcomes, with the complaints of each case under it."""
    lines = table(_HEAD, [_cells(outcome) for outcome in outcomes], right=[2])
    failed = [outcome for outcome in outcomes if not outcome.held]
    for outcome in failed:
        lines += ["", f"{outcome.name} does not hold:", *(f"  {complaint}" for complaint in outcome.complaints)]
    return "\n".join([*lines, "", f"{counted(len(outcomes), 'fault')}, {len(outcomes) - len(failed)} held"])


def _cells(outcome: Outcome) -> list[str]:
    gaps = ", ".join(f"{each.gaps} {each.cause} ({duration(each.longest)})" for each in outcome.told)
    after = outcome.recovered_after
    return [
        "held" if outcome.held else "FAILED",
        outcome.name,
        f"{outcome.missed:,}",
        gaps or "none",
        f"{outcome.refused} of {outcome.tokens}" if outcome.tokens else "-",
        "-" if after is None else duration(after),
        "-" if outcome.code is None else str(outcome.code),
    ]
