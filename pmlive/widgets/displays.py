"""Where in a notebook a widget is displayed, and the picture that remains of it there.

A saved notebook shows a widget no more: once the kernel is gone, a reader gets an error in its place. Every reader
shows pictures. So one is displayed instead of a widget that was closed, and where a program runs the cells. A widget
that is live has one before it, which is hidden while the page shows the widget and drawn again now and then: whoever
opens a notebook that was saved without an end sees how things stood.
"""

# IPython says little of its types.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportMissingTypeStubs=false
# pyright: reportUnknownArgumentType=false

import os
import sys
import threading
import time
import weakref
from base64 import b64encode
from collections.abc import Callable, Mapping
from typing import Protocol, TypeAlias

from IPython.core.getipython import get_ipython
from IPython.display import display
from IPython.terminal.interactiveshell import TerminalInteractiveShell

from pmlive.logs import get_logger
from pmlive.manager.snapshots import Query, Snapshot
from pmlive.widgets.render_loop import RenderLoop

__all__ = [
    "CSS",
    "Bundle",
    "Displays",
    "Scripted",
    "Still",
    "png_bundle",
]

logger = get_logger(__name__)

# The same thing in several formats, of which a notebook shows the richest that it can.
Bundle: TypeAlias = dict[str, object]

# A picture is drawn again so many seconds after it was: soon at first, then each time twice as late, up to the most.
_SOON_S, _MOST_S = 2.0, 120.0
_NOTHING: Bundle = {"text/html": "", "text/plain": ""}
# Of an output with a widget of this class, the output before it is its picture.
_SHOWN = "pmlive-shown"
# It comes with the script of a widget: where that is not there any more, nothing hides the picture.
CSS = f"""
.jp-OutputArea-child:has(> :is(.jp-RenderedImage, .jp-RenderedHTML)):has(+ .jp-OutputArea-child .{_SHOWN}) {{
  display: none;
}}
"""


class Displayed(Protocol):
    """A widget that can be displayed."""

    @property
    def model_id(self) -> str:
        """What pages know it by."""
        ...

    @property
    def closed(self) -> bool:
        """Whether it is rendered no more."""
        ...

    def still(self) -> Bundle:
        """Draw a picture of what it shows now."""
        ...

    def add_class(self, className: str, /) -> object:  # noqa: N803  # the name that ipywidgets has
        """Give it a class of style sheets."""
        ...

    def close(self) -> None:
        """End it."""
        ...


class Scripted(Protocol):
    """A widget with a script in the page, which tells where nothing can hide a picture."""

    def on_msg(self, callback: Callable[[object, Mapping[str, object], object], None], /) -> None:
        """Call for each message from the page."""
        ...


class _Place(Protocol):
    """What IPython returns for something displayed."""

    def update(self, obj: Bundle, *, raw: bool) -> None:
        """Display something else in its place."""
        ...


class Displays:
    """The places in a notebook where one widget is displayed, and its pictures there.

    Args:
        widget: what is displayed.
        loop: the render loop of its manager.
        script: the widget itself, or one within it, that has a script in the page; None if none has.
    """

    # The least seconds between two drawings.
    every = _SOON_S

    def __init__(self, widget: Displayed, loop: RenderLoop, script: Scripted | None) -> None:
        self._widget, self._loop, self._script = widget, loop, script
        self._lock = threading.Lock()
        self._views: list[_Place] = []
        self._pictures: list[_Place] = []
        self._wait, self._next = _SOON_S, 0.0

    def publish(self) -> None:
        """Display the widget once more; of a closed one, and where a program runs the cells, a picture."""
        picture = self._widget.still()
        if self._widget.closed:
            _display(picture)
        elif _is_run_by_program():
            self._pictures += _display(picture)
            _keep_fresh(self)
        elif self._script is not None and _hides_pictures():
            self._widget.add_class(_SHOWN)
            self._pictures += _display(picture)
            self._views += _display(_view_of(self._widget) | _NOTHING)
            self._keep_drawn(self._script)
        else:
            self._views += _display(_view_of(self._widget) | picture)

    def draw_again(self) -> None:
        """Draw the pictures as the widget is now; once it is closed, do nothing."""
        if self._pictures and not self._widget.closed:
            picture = self._widget.still()
            with self._lock:
                _update(self._pictures, picture)

    def close(self) -> None:
        """Leave a picture wherever the widget, which is closed, was displayed."""
        self._loop.remove(self)
        # At the very end of the program nothing can be drawn any more.
        if (self._views or self._pictures) and not sys.is_finalizing():
            picture = self._widget.still()
            with self._lock:
                _update(self._views, _NOTHING if self._pictures else picture)
                _update(self._pictures, picture)
                self._views, self._pictures = [], []

    # --- pictures of a live widget, drawn in the thread of the render loop ---

    def due(self, now: float) -> bool:
        """Check whether to draw now."""
        return now >= self._next

    def request(self, now: float) -> Query:
        """Ask for nothing: the widget reads what it shows."""
        self._next, self._wait = now + self._wait, min(2 * self._wait, _MOST_S)
        return Query()

    def render(self, _snapshot: Snapshot, _now: float) -> None:
        """Draw again."""
        self.draw_again()

    def fail(self, error: Exception) -> None:
        """Log why drawing failed; the notebook keeps the picture before."""
        logger.error("the picture of a widget could not be drawn again", exc_info=error)

    def _keep_drawn(self, script: Scripted) -> None:
        if len(self._pictures) == 1:
            script.on_msg(self._heard)
            self._next = time.monotonic() + self._wait
            self._loop.add(self)

    def _heard(self, _widget: object, content: Mapping[str, object], _buffers: object) -> None:
        """Take the pictures away where the page cannot hide them."""
        if content.get("kind") == "elsewhere":
            self._loop.remove(self)
            with self._lock:
                _update(self._pictures, _NOTHING)
                self._pictures = []


def _hides_pictures() -> bool:
    """Check whether the page may hide a picture while it shows a widget, as JupyterLab's can.

    A terminal cannot, and shows a picture as words. VS Code and Colab show each output in a frame of its own.
    """
    shell = get_ipython()
    if getattr(shell, "kernel", None) is None:
        return False
    names: Mapping[str, object] = getattr(shell, "user_ns", {})
    return not ("VSCODE_PID" in os.environ or "__vsc_ipynb_file__" in names or "google.colab" in sys.modules)


def png_bundle(png: bytes, text: str) -> Bundle:
    """Bundle a picture with the words for those who see none."""
    return {"image/png": b64encode(png).decode("ascii"), "text/plain": text}


def _view_of(widget: Displayed) -> Bundle:
    """Bundle a reference to a widget that is not closed."""
    view: dict[str, object] = {"version_major": 2, "version_minor": 0, "model_id": widget.model_id}
    return {"application/vnd.jupyter.widget-view+json": view}


def _display(bundle: Bundle) -> list[_Place]:
    """Display something in this cell, and return the place, if there is one that can be changed later.

    A terminal would print it again below.
    """
    place: _Place | None = display(bundle, raw=True, display_id=True)
    return [] if place is None or isinstance(get_ipython(), TerminalInteractiveShell) else [place]


def _update(places: list[_Place], bundle: Bundle) -> None:
    for place in places:
        place.update(bundle, raw=True)


# --- pictures for programs ---
# Pictures for notebooks that a program runs: nbconvert, papermill and others save what is displayed, and nobody looks.
#
# What such a program saves as a widget, its readers see as an error or as nothing once the kernel is gone. So a picture
# alone is displayed there, and drawn again whenever a cell has ended: what is saved is what there was at the end, also
# where nothing was closed. A front end with a person before it is shown the widget, which is not displayed anew while
# somebody may look at it: the page would build it again each time.

# A picture takes a fifth of a second. Drawing may take so many seconds, and this share of the time beyond.
_AT_FIRST_S, _SHARE = 5.0, 0.2


class Still(Protocol):
    """What is displayed as a picture."""

    def draw_again(self) -> None:
        """Display it as it is now in place of what is there; once it is closed, do nothing."""
        ...


def _is_run_by_program() -> bool:
    """Check whether a program runs the cells of this kernel, and saves what they show.

    Such programs say with each cell that nobody can be asked anything, as front ends with a person do not. Voila does
    so, too, but shows widgets to people afterwards.
    """
    from IPython.core.getipython import get_ipython

    kernel = getattr(get_ipython(), "kernel", None)
    can_ask: object = getattr(kernel, "_allow_stdin", True)
    return kernel is not None and not can_ask and not os.environ.get("SERVER_SOFTWARE", "").startswith("voila")


def _keep_fresh(still: Still) -> None:
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
