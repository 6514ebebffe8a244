"""The tables: ladder, trades, status and recording, as HTML that is replaced when it changes."""

import shutil
from collections import deque
from collections.abc import Mapping

from pmlive.manager import Manager
from pmlive.manager.glance import Asked, Glance, Mark
from pmlive.manager.status import Status as ManagerStatus
from pmlive.widgets.charts import OfToken
from pmlive.widgets.drawn import Drawn
from pmlive.widgets.live import LiveWidget, script
from pmlive.widgets.pages import ladder_page, recording_page, status_page, tape_page
from pmlive.widgets.shown import Bundle
from pmlive.widgets.views import View, depth_view, recording_view, status_view, tape_view

__all__ = [
    "Ladder",
    "Levels",
    "Panel",
    "Recording",
    "RecordingPanel",
    "Status",
    "StatusPanel",
    "Table",
    "Tape",
    "Trades",
]

_ESM = script("link", "theme", "panel")
# The rate of messages is that of the last so many drawings.
_RATED = 6
# The rows that the lag is told by, and that the trades of one token are looked for in.
_NEWEST = 2000


class Table(Drawn):
    """A table of what a manager has now, whatever it is shown with."""

    def _page(self, glance: Glance) -> str:
        """Make the HTML."""
        raise NotImplementedError

    def _view(self, glance: Glance) -> View:
        return {"html": self._page(glance)}

    def _still(self, view: View) -> Bundle:
        return {"text/html": view["html"], "text/plain": repr(self)}

    def __repr__(self) -> str:
        """Say what it is."""
        return f"<{type(self).__name__}{', closed' if self.closed else ''}>"

    def _repr_html_(self) -> str:
        return str(self._look()["html"])


class Panel(Table, LiveWidget):
    """A table that a script of ours shows."""

    _esm = _ESM


class Status(Table):
    """How the feed is, whatever that is shown with."""

    def __init__(self, manager: Manager, *, rate: float = 1.0) -> None:
        self._counted: deque[tuple[int, int]] = deque(maxlen=_RATED)
        super().__init__(manager, rate=rate)

    def _asked(self, marks: Mapping[str, Mark | None]) -> Asked:
        return Asked(tables={**marks, "prices": _NEWEST}, status=True)

    def _page(self, glance: Glance) -> str:
        before = self._counted[0] if self._counted else None
        prices = glance.news["prices"].frame
        view = status_view(_status_of(glance), glance.gaps, prices, now=glance.now, before=before)
        self._note(glance.now, view["events"])
        return status_page(view)

    def _note(self, now: int, events: int) -> None:
        if self._counted and (now < self._counted[-1][0] or events < self._counted[-1][1]):
            self._counted.clear()
        if not self._counted or now > self._counted[-1][0]:
            self._counted.append((now, events))


class Recording(Table):
    """What was written, whatever that is shown with."""

    def __init__(self, manager: Manager, *, rate: float = 1.0) -> None:
        super().__init__(manager, rate=rate)

    def _asked(self, marks: Mapping[str, Mark | None]) -> Asked:
        return Asked(tables=marks, status=True)

    def _page(self, glance: Glance) -> str:
        recorder = _status_of(glance).recording
        free = None if recorder is None else _free(recorder.folder)
        return recording_page(recording_view(recorder, free=free))


class Trades(Table):
    """The last trades, whatever that is shown with."""

    def __init__(self, manager: Manager, token_id: str | None = None, *, rows: int = 30, rate: float = 4.0) -> None:
        self.token_id = token_id
        self._rows = rows
        super().__init__(manager, rate=rate)

    def _asked(self, marks: Mapping[str, Mark | None]) -> Asked:
        return Asked(tables={**marks, "trades": self._rows if self.token_id is None else _NEWEST})

    def _page(self, glance: Glance) -> str:
        return tape_page(tape_view(glance.news["trades"].frame, glance.labels, token_id=self.token_id, most=self._rows))


class Levels(OfToken, Table):
    """The best levels, whatever that is shown with."""

    def __init__(self, manager: Manager, token_id: str | None = None, *, rate: float = 5.0) -> None:
        super().__init__(manager, token_id, rate=rate)

    def _asked(self, marks: Mapping[str, Mark | None]) -> Asked:
        return Asked(tables=marks, token_id=self._token_id, depth=10)

    def _view(self, glance: Glance) -> View:
        label, doubt = self._named(glance, self._chosen(glance))
        page = ladder_page(depth_view(glance.book, label=label, doubt=doubt))
        return {"label": label, "html": page}


class StatusPanel(Status, Panel):
    """Connections, subscriptions, rate, lag, checks and gaps.

    Args:
        manager: whose status.
        rate: the most drawings a second.
    """


class RecordingPanel(Recording, Panel):
    """What was written: rows, bytes, files, and the space that is left on the disk.

    Args:
        manager: whose recording.
        rate: the most drawings a second.
    """


class Tape(Trades, Panel):
    """The last trades of everything that is watched.

    Args:
        manager: whose trades.
        token_id: the trades of one token alone.
        rate: the most drawings a second.
    """


class Ladder(Levels, Panel):
    """The best levels of a book.

    Args:
        manager: whose token.
        token_id: the token, by default the first that is watched.
        rate: the most drawings a second.
    """


def _status_of(glance: Glance) -> ManagerStatus:
    if glance.status is None:
        raise LookupError("the status was not asked for")
    return glance.status


def _free(folder: str) -> int | None:
    try:
        return shutil.disk_usage(folder).free
    except OSError:
        return None
