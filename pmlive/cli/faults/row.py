"""One row of the catalogue: a fault, and what must come of it."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal, TypeAlias

import msgspec

if TYPE_CHECKING:
    from pmlive.cli.faults.scene import Scene

__all__ = ["Expected", "Row", "Stderr", "Whose"]

Whose: TypeAlias = Literal["all", "some", "at least one", "none", "any"]
Stderr: TypeAlias = Literal["file", "pipe", "unread pipe", "closed", "full disk", "terminal"]


class Expected(msgspec.Struct, frozen=True, kw_only=True):
    """What must come of a fault.

    Args:
        causes: what a gap may say; one of them must be there unless ``gaps`` is none or any.
        gaps: whose books have a gap: those of all tokens, of some but not all, of at least one, of none.
        refused: whose books refuse to answer at some time while the fault lasts.
        code: the exit code of ``pmlive record`` when its time is over; None for any.
        recovers: whether every book comes back.
        patience: how many seconds old a book may be that is given while it runs.
        lag: how many seconds a message may take to arrive.
        before: how many seconds before the fault a gap may begin.
        after: how many seconds after every book is back a gap may end.
    """

    causes: frozenset[str]
    gaps: Whose = "all"
    refused: Whose = "all"
    code: int | None = 1
    recovers: bool = True
    patience: float = 3.0
    lag: float = 1.0
    before: float = 3.0
    after: float = 4.0


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One fault.

    ``act`` brings it about, sees what must be seen while it lasts, and ends it. ``setting`` changes the variables that
    the recorder is started with. A row that is ``apart`` records nothing: ``act`` does all of it.
    """

    name: str
    group: str
    act: "Callable[[Scene], None]"
    expected: Expected
    markets: int = 2
    rate: float = 40.0
    stderr: Stderr = "file"
    setting: "Callable[[Scene], dict[str, str]] | None" = None
    begin: "Callable[[Scene], None] | None" = None
    apart: bool = False
