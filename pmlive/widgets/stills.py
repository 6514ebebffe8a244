"""Pictures for notebooks that a program runs: nbconvert, papermill and others save what is displayed, and nobody looks.

What such a program saves as a widget, its readers see as an error or as nothing once the kernel is gone. So a picture
alone is displayed there, and drawn again whenever a cell has ended: what is saved is what there was at the end, also
where nothing was closed. A front end with a person before it is shown the widget, which is not displayed anew while
somebody may look at it: the page would build it again each time.
"""

# IPython says little of its types.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportMissingTypeStubs=false
# pyright: reportUnknownArgumentType=false

import os
import time
import weakref
from collections.abc import Callable
from typing import Protocol

from pmlive.logs import get_logger

__all__ = ["Still", "is_run_by_program", "keep_fresh"]

logger = get_logger(__name__)

# A picture takes a fifth of a second. Drawing may take so many seconds, and this share of the time beyond.
_AT_FIRST_S, _SHARE = 5.0, 0.2


class Still(Protocol):
    """What is displayed as a picture."""

    def draw_again(self) -> None:
        """Display it as it is now in place of what is there; once it is closed, do nothing."""
        ...


def is_run_by_program() -> bool:
    """Check whether a program runs the cells of this kernel, and saves what they show.

    Such programs say with each cell that nobody can be asked anything, as front ends with a person do not. Voila does
    so, too, but shows widgets to people afterwards.
    """
    from IPython.core.getipython import get_ipython

    kernel = getattr(get_ipython(), "kernel", None)
    can_ask: object = getattr(kernel, "_allow_stdin", True)
    return kernel is not None and not can_ask and not os.environ.get("SERVER_SOFTWARE", "").startswith("voila")


def keep_fresh(still: Still) -> None:
    """Draw it again after each cell, while it is there."""
    global _refreshing  # noqa: PLW0603  # the one of this kernel
    from IPython.core.getipython import get_ipython

    shell = get_ipython()
    if _refreshing is None and shell is not None:
        _refreshing = _Refreshing(time.monotonic)
        shell.events.register("post_run_cell", _refreshing.cell_ended)
    if _refreshing is not None:
        _refreshing.stills.add(still)


class _Refreshing:
    def __init__(self, clock: Callable[[], float]) -> None:
        self.stills: weakref.WeakSet[Still] = weakref.WeakSet()
        self._clock = clock
        self._began = clock()
        self._spent = 0.0

    def cell_ended(self, _: object) -> None:
        """Draw everything again, unless that has taken a large part of the time, as after very many short cells."""
        before = self._clock()
        if self._spent > _AT_FIRST_S + _SHARE * (before - self._began):
            return
        for still in tuple(self.stills):
            try:
                still.draw_again()
            except Exception:
                # The notebook goes on with the picture before.
                logger.exception("the picture of a chart could not be drawn again")
        self._spent += self._clock() - before


_refreshing: _Refreshing | None = None
