"""The tables: ladder, trades, status and recording, as widgets of HTML that is replaced when it changes."""

import math
import shutil
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar

from pmlive.levels import price_digits, share_count, tick_of
from pmlive.manager import Manager, Replay
from pmlive.manager.ingest import ConnectionStatus
from pmlive.manager.snapshots import Cursor, Key, Query, Snapshot, key_parts
from pmlive.manager.subscriptions import Status, SubscriptionStatus
from pmlive.widgets.base import ManagerWidget, TokenWidget, origin_of
from pmlive.widgets.canvas import CanvasWidget, script
from pmlive.widgets.displays import Bundle
from pmlive.widgets.ladder import CELL, COLOURS, QUIET, Grid, ladder_html, lines, page, row
from pmlive.widgets.views import (
    RecordingView,
    StatusView,
    TapeView,
    View,
    depth_view,
    recording_view,
    status_view,
    tape_view,
)

__all__ = [
    "BaseLadder",
    "BaseRecordingPanel",
    "BaseStatusPanel",
    "BaseTable",
    "BaseTape",
    "CanvasTable",
    "Ladder",
    "RecordingPanel",
    "StatusPanel",
    "Tape",
    "recording_html",
    "status_html",
    "tape_html",
]

_ESM = script("link", "theme", "panel")
# The rate of messages is taken over so many of the last renderings.
_RATE_WINDOW = 6
# The rows that the lag is measured over, and in which the trades of one token are searched.
_NEWEST = 2000
# What takers do is told by a sign and a word, and by a colour.
_TAKERS = {"buy": ("▲ buy", COLOURS["bid"]), "sell": ("▼ sell", COLOURS["ask"])}
# The columns of names and of texts.
_NAMED = ("84px", "auto")
# The columns of trades, all but the last: times of one token have milliseconds, and those of all markets have none.
_TAPE_WIDTHS = ("94px", "54px", "56px", "80px")
_TAPE_OF_ALL_WIDTHS = ("70px", "54px", "56px", "80px")
# From so many on, shares and dollars are told whole, which the columns have room for.
_WHOLE_FROM = 100_000
_UNITS = ("B", "kB", "MB", "GB")


class BaseTable(ManagerWidget[View]):
    """A table of the present state of a manager, for either backend."""

    def _html(self, snapshot: Snapshot) -> str:
        """Write the HTML."""
        raise NotImplementedError

    def _view(self, snapshot: Snapshot) -> View:
        return {"html": self._html(snapshot)}

    def _picture(self, view: View) -> Bundle:
        return {"text/html": view["html"], "text/plain": repr(self)}

    def __repr__(self) -> str:
        """Show the kind of table."""
        return f"<{type(self).__name__}{', closed' if self.closed else ''}>"

    def _repr_html_(self) -> str:
        return str(self._current_view()["html"])


class CanvasTable(BaseTable, CanvasWidget[View]):
    """A table on the canvas backend."""

    _esm = _ESM


class BaseStatusPanel(BaseTable):
    """A table of the state of the feed, for either backend."""

    _rate: ClassVar[float] = 1.0

    def __init__(self, manager: Manager, *, rate: float | None = None) -> None:
        self._counted: deque[tuple[int, int]] = deque(maxlen=_RATE_WINDOW)
        super().__init__(manager, rate=rate)

    def _request_since(self, cursors: Mapping[str, Cursor | None]) -> Query:
        return Query(tables={**cursors, "prices": _NEWEST}, status=True)

    def _html(self, snapshot: Snapshot) -> str:
        before = self._counted[0] if self._counted else None
        prices = snapshot.tables["prices"].frame
        view = status_view(_status_of(snapshot), snapshot.gaps, prices, now_ns=snapshot.now, before=before)
        self._note_events(snapshot.now, view["events"])
        return status_html(view)

    def _note_events(self, now_ns: int, events: int) -> None:
        if self._counted and (now_ns < self._counted[-1][0] or events < self._counted[-1][1]):
            self._counted.clear()
        if not self._counted or now_ns > self._counted[-1][0]:
            self._counted.append((now_ns, events))


class BaseRecordingPanel(BaseTable):
    """A table of what was recorded, for either backend."""

    _rate: ClassVar[float] = 1.0

    def _request_since(self, cursors: Mapping[str, Cursor | None]) -> Query:
        return Query(tables=cursors, status=True)

    def _html(self, snapshot: Snapshot) -> str:
        recorder = _status_of(snapshot).recording
        free = None if recorder is None else _free_bytes(recorder.folder)
        # What is replayed was recorded already.
        hint = "" if isinstance(self.manager, Replay) else '; type live.record("tonight") in a cell'
        return recording_html(recording_view(recorder, free=free), hint=hint)


class BaseTape(BaseTable):
    """A table of the last trades, for either backend."""

    _rate: ClassVar[float] = 4.0

    def __init__(
        self, manager: Manager, token_id: Key | None = None, *, rows: int = 30, rate: float | None = None
    ) -> None:
        self._token_id = None if token_id is None else manager.token(*key_parts(token_id))
        self._rows = rows
        super().__init__(manager, rate=rate)

    @property
    def token_id(self) -> str | None:
        """The token whose trades are shown; None shows those of all."""
        return self._token_id

    @token_id.setter
    def token_id(self, token_id: Key | None) -> None:
        self._token_id = None if token_id is None else self.manager.token(*key_parts(token_id))
        self._refresh()

    def _request_since(self, cursors: Mapping[str, Cursor | None]) -> Query:
        return Query(tables={**cursors, "trades": self._rows if self.token_id is None else _NEWEST})

    def _html(self, snapshot: Snapshot) -> str:
        trades = snapshot.tables["trades"].frame
        view = tape_view(trades, snapshot.labels, token_id=self.token_id, most=self._rows)
        if not snapshot.labels:
            return page("Trades", "", note="no trade has come yet; no market is watched")
        shown = snapshot.labels if self.token_id is None else [self.token_id]
        return tape_html(view, origin=origin_of(self.manager, shown))


class BaseLadder(TokenWidget[View], BaseTable):
    """A table of a book around its mid, for either backend."""

    _rate: ClassVar[float] = 5.0

    def __init__(
        self,
        manager: Manager,
        token_id: Key | None = None,
        *,
        rows: int = 21,
        rate: float | None = None,
        on_mark: Callable[[float | None], object] = lambda _: None,
    ) -> None:
        self._rows, self._on_mark = rows, on_mark
        self._grid = Grid(rows)
        # The price that is marked; the next drawing shows it.
        self.marked: float | None = None
        super().__init__(manager, token_id, rate=rate)

    def _request_since(self, cursors: Mapping[str, Cursor | None]) -> Query:
        return Query(tables=cursors, token_id=self._token_id)

    def _view(self, snapshot: Snapshot) -> View:
        label, doubt = self._label_and_doubt(snapshot, self._chosen_token(snapshot))
        stated = None if snapshot.book is None else snapshot.book.tick_size
        view = depth_view(snapshot.book, label=label, doubt=doubt)
        return {"label": label, "html": ladder_html(view, self._grid, stated=stated, marked=self.marked)}

    def mark(self, price: float | None) -> None:
        """Mark a price, and tell ``on_mark`` of it; None, and the price that is marked, take the mark away."""
        self.marked = None if price == self.marked else price
        self._on_mark(self.marked)

    def _refresh(self) -> None:
        # Another token is somewhere else.
        self._grid = Grid(self._rows)
        super()._refresh()


class StatusPanel(BaseStatusPanel, CanvasTable):
    """Connections, subscriptions, rate, lag, checks and gaps.

    Args:
        manager: whose status.
        rate: the most drawings a second, by default 1.
    """


class RecordingPanel(BaseRecordingPanel, CanvasTable):
    """What was recorded: rows, bytes, files, and the space that is left on the disk.

    Args:
        manager: whose recording.
        rate: the most drawings a second, by default 1.
    """


class Tape(BaseTape, CanvasTable):
    """The last trades of everything that is watched.

    Args:
        manager: whose trades.
        token_id: the trades of one token alone.
        rate: the most drawings a second, by default 4.
    """


class Ladder(BaseLadder, CanvasTable):
    """A book around its mid, with a row for each tick; the rows stand still while prices move on them.

    Args:
        manager: whose token.
        token_id: the token, by default the first that is watched.
        rows: how many prices are shown, 7 or more.
        rate: the most drawings a second, by default 5.
        on_mark: called with the price that is clicked, and with None once it is clicked again.

    Raises:
        ValueError: there are fewer than 7 rows.
    """

    def _receive(self, _widget: object, content: Mapping[str, object], _buffers: object) -> None:
        match content:
            case {"kind": "mark", "price": int() | float() as price}:
                self.mark(float(price))
            case _:
                super()._receive(_widget, content, _buffers)


def tape_html(view: TapeView, *, origin: str = "") -> str:
    """Write the last trades, the newest first; those of all with a market in the place of what they were worth.

    Args:
        view: the trades.
        origin: what the label begins with, as ``origin_of`` tells.
    """
    label = f"{origin}{view['label'] or 'all that is watched'}"
    if not view["times"]:
        return page("Trades", label, note="no trade has come yet")
    right, left = f"{CELL}text-align: right;", f"{CELL}text-align: left;"
    # On a narrow page there is not room for both.
    last = ("$", "74px", right) if view["label"] else ("market", "auto", left)
    names, styles = ["time, UTC", "taker", "price, $", "shares", last[0]], [left, left, right, right, last[2]]
    digits = price_digits(tick_of(view["prices"]))
    rows: list[str] = []
    for time, market, price, size, side in zip(
        view["times"], view["labels"], view["prices"], view["sizes"], view["sides"], strict=True
    ):
        did, colour = _TAKERS[side]
        worth = price * size
        rest = f"{worth:,.{0 if worth >= _WHOLE_FROM else 2}f}" if view["label"] else _outcome_first(market)
        shares = share_count(round(size, 0) if size >= _WHOLE_FROM else size)
        coloured = [left, f"{left} color: {colour};", f"{right} color: {colour};", *styles[3:]]
        rows.append(row([time, did, f"{price:.{digits}f}", shares, rest], coloured))
    head = row(names, [f"{style} {QUIET}" for style in styles], scope="col")
    widths = [*(_TAPE_WIDTHS if view["label"] else _TAPE_OF_ALL_WIDTHS), last[1]]
    return page("Trades", label, f"<thead>{head}</thead><tbody>{''.join(rows)}</tbody>", widths)


def _outcome_first(label: str) -> str:
    """Put the outcome before the question, whose end may not be seen."""
    question, dash, outcome = label.rpartition(" - ")
    return f"{outcome}: {question}" if dash else label


def status_html(view: StatusView) -> str:
    """Write connections, subscriptions, checks and gaps."""
    trust = f"{view['trusted']:,} of {view['tokens']:,} books trusted"
    checks = f"{view['verified']:,} verified, {view['unverifiable']:,} unverifiable, {view['mismatches']:,} mismatches"
    rate = "rate not measured yet" if view["rate"] is None else f"{view['rate']:,.1f} a second"
    lag = "not known before the first price" if view["lag"] is None else f"{view['lag']:.3f} s from the venue's clock"
    gaps = f"{view['gaps']:,}, {view['open_gaps']:,} open; last: {view['last_gap']}" if view["gaps"] else "none"
    named = [
        ("time", f"{view['now']} UTC{', ' + view['playing'] if view['playing'] else ''}"),
        *((name, _connection_text(one)) for name, one in sorted(view["connections"].items())),
        ("messages", f"{view['events']:,}; {rate}"),
        ("lag", lag),
        ("books", trust if view["tokens"] else 'none; type live.watch("a market\'s slug") in a cell'),
        ("checks", checks),
        ("gaps", gaps),
        *_subscription_lines(view["subscriptions"]),
    ]
    return page("Status", "", lines(named), _NAMED)


def _subscription_lines(subscriptions: Sequence[SubscriptionStatus]) -> list[tuple[str, str]]:
    """Write a line for each kind of subscription, however many there are."""
    kinds = dict.fromkeys(one.type for one in subscriptions)
    return [(kind.replace("_", " "), _together([one for one in subscriptions if one.type == kind])) for kind in kinds]


def _together(several: Sequence[SubscriptionStatus]) -> str:
    keys = "all" if any(not one.keys for one in several) else f"{sum(one.keys for one in several):,}"
    count = f"{len(several)} subscriptions, " if len(several) > 1 else ""
    events, dropped = sum(one.events_received for one in several), sum(one.dropped for one in several)
    return f"{count}{events:,} events of {keys}, {dropped:,} dropped"


def recording_html(view: RecordingView, *, hint: str = "") -> str:
    """Write what was recorded, or that nothing is and what to do about that, the ``hint``."""
    if not view["recording"]:
        return page("Recording", "", note=f"nothing is recorded{hint}")
    rows = ", ".join(f"{table} {rows:,}" for table, rows in view["rows"].items())
    named = [
        ("folder", view["folder"]),
        ("rows", rows or "none yet"),
        ("frames", f"{view['frames']:,}"),
        ("written", f"{_size(view['bytes'])} in {view['files']:,} files"),
        ("waiting", f"{_size(view['waiting'])}, {view['lag']:.1f} s"),
        ("disk", "unknown" if view["free"] is None else f"{_size(view['free'])} free"),
    ]
    named += [("dropped", f"{view['dropped']:,} frames")] if view["dropped"] else []
    named += [("trouble", view["trouble"])] if view["trouble"] else []
    return page("Recording", "", lines(named), _NAMED)


def _status_of(snapshot: Snapshot) -> Status:
    if snapshot.status is None:
        raise LookupError("the status was not asked for")
    return snapshot.status


def _free_bytes(folder: str) -> int | None:
    try:
        return shutil.disk_usage(folder).free
    except OSError:
        return None


def _connection_text(one: ConnectionStatus) -> str:
    if not one.sockets:
        return "not used"
    state = "connected" if one.connected else "disconnected"
    # What went wrong before all were open is over.
    error = f"; {one.error}" if one.error and one.open < one.sockets else ""
    return f"{state}, {one.open} of {one.sockets} open, {one.url}{error}"


def _size(number: float) -> str:
    unit = min(int(math.log10(max(number, 1)) // 3), len(_UNITS) - 1)
    return f"{number / 1000**unit:.{1 if unit else 0}f} {_UNITS[unit]}"
