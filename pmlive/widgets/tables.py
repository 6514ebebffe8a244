"""The tables: ladder, trades, status and recording, as widgets of HTML that is replaced when it changes.

Texts of markets are strangers': everything that is put into HTML goes through ``escape``.
"""

import math
import shutil
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Literal

from pmlive.levels import share_count
from pmlive.manager import Manager
from pmlive.manager.snapshots import Cursor, Query, Snapshot
from pmlive.manager.source import ConnectionStatus
from pmlive.manager.status import Status
from pmlive.manager.token_view import Key, key_parts
from pmlive.widgets.base import Bundle, ManagerWidget, TokenWidget
from pmlive.widgets.canvas import CanvasWidget, script
from pmlive.widgets.views import (
    DepthView,
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
    "ladder_html",
    "recording_html",
    "status_html",
    "tape_html",
]

_ESM = script("link", "theme", "panel")
# The rate of messages is taken over so many of the last renderings.
_RATE_WINDOW = 6
# The rows that the lag is measured over, and in which the trades of one token are searched.
_NEWEST = 2000
# The colours of bids and asks are those of the page's theme where it has any, see theme.js.
_COLOURS = {"bid": "var(--pmlive-bid, #0f8a6d)", "ask": "var(--pmlive-ask, #cf3f55)"}
_TAKERS = {"buy": ("bought", _COLOURS["bid"]), "sell": ("sold", _COLOURS["ask"])}
_TABLE = (
    "width: 100%; table-layout: fixed; border-collapse: collapse; font-size: 12px; line-height: 16px; "
    "font-variant-numeric: tabular-nums;"
)
_CELL = "padding: 0 4px; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; "
_HEAD = "font: 600 12px system-ui, sans-serif; line-height: 20px; padding: 4px 4px 2px;"
_QUIET = "opacity: 0.65; font-weight: 400;"
_EMPTY = "<tr><td colspan='3'>&nbsp;</td></tr>"
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

    def __init__(self, manager: Manager, *, rate: float = 1.0) -> None:
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

    def __init__(self, manager: Manager, *, rate: float = 1.0) -> None:
        super().__init__(manager, rate=rate)

    def _request_since(self, cursors: Mapping[str, Cursor | None]) -> Query:
        return Query(tables=cursors, status=True)

    def _html(self, snapshot: Snapshot) -> str:
        recorder = _status_of(snapshot).recording
        free = None if recorder is None else _free_bytes(recorder.folder)
        return recording_html(recording_view(recorder, free=free))


class BaseTape(BaseTable):
    """A table of the last trades, for either backend."""

    def __init__(self, manager: Manager, token_id: Key | None = None, *, rows: int = 30, rate: float = 4.0) -> None:
        self.token_id = None if token_id is None else manager.token(*key_parts(token_id))
        self._rows = rows
        super().__init__(manager, rate=rate)

    def _request_since(self, cursors: Mapping[str, Cursor | None]) -> Query:
        return Query(tables={**cursors, "trades": self._rows if self.token_id is None else _NEWEST})

    def _html(self, snapshot: Snapshot) -> str:
        return tape_html(
            tape_view(snapshot.tables["trades"].frame, snapshot.labels, token_id=self.token_id, most=self._rows)
        )


class BaseLadder(TokenWidget[View], BaseTable):
    """A table of the best levels of a book, for either backend."""

    def __init__(self, manager: Manager, token_id: Key | None = None, *, rate: float = 5.0) -> None:
        super().__init__(manager, token_id, rate=rate)

    def _request_since(self, cursors: Mapping[str, Cursor | None]) -> Query:
        return Query(tables=cursors, token_id=self._token_id, depth=10)

    def _view(self, snapshot: Snapshot) -> View:
        label, doubt = self._label_and_doubt(snapshot, self._chosen_token(snapshot))
        html = ladder_html(depth_view(snapshot.book, label=label, doubt=doubt))
        return {"label": label, "html": html}


class StatusPanel(BaseStatusPanel, CanvasTable):
    """Connections, subscriptions, rate, lag, checks and gaps.

    Args:
        manager: whose status.
        rate: the most drawings a second.
    """


class RecordingPanel(BaseRecordingPanel, CanvasTable):
    """What was recorded: rows, bytes, files, and the space that is left on the disk.

    Args:
        manager: whose recording.
        rate: the most drawings a second.
    """


class Tape(BaseTape, CanvasTable):
    """The last trades of everything that is watched.

    Args:
        manager: whose trades.
        token_id: the trades of one token alone.
        rate: the most drawings a second.
    """


class Ladder(BaseLadder, CanvasTable):
    """The best levels of a book.

    Args:
        manager: whose token.
        token_id: the token, by default the first that is watched.
        rate: the most drawings a second.
    """


def ladder_html(view: DepthView, most: int = 10) -> str:
    """Write the best levels of both sides, with bars as long as they are large."""
    if view["doubt"]:
        return _titled("Ladder", view["label"], "", note=view["doubt"])
    largest = max([1.0, *view["bid_sizes"][:most], *view["ask_sizes"][:most]])
    asks, bids = (_side_rows(view, side, most, largest) for side in ("ask", "bid"))
    middle = "one side is empty"
    if view["mid"] is not None and view["spread"] is not None:
        middle = f"mid {_price(view['mid'])}, spread {_price(view['spread'])}"
    between = f"<tr><td colspan='3' style='{_CELL}text-align: center; {_QUIET}'>{escape(middle)}</td></tr>"
    head = _row("th", ("price", "shares", "up to it"), [f"{_CELL}text-align: right; {_QUIET}"] * 3)
    table = _table(head + "".join([*asks[::-1], between, *bids]), "26%", "37%", "37%")
    return _titled(f"Ladder, {view['state']}", view["label"], table)


def tape_html(view: TapeView) -> str:
    """Write the last trades, the newest first."""
    right = f"{_CELL}text-align: right;"
    left = f"{_CELL}text-align: left;"
    styles = [left, left, right, right, right]
    head = _row("th", ("time, UTC", "market", "price", "shares", "taker"), [f"{one} {_QUIET}" for one in styles])
    rows: list[str] = []
    for time, label, price, size, side in zip(
        view["times"], view["labels"], view["prices"], view["sizes"], view["sides"], strict=True
    ):
        did, colour = _TAKERS[side]
        cells = (time, label, _price(price), share_count(size), did)
        rows.append(_row("td", cells, [left, left, *[f"{right} color: {colour};"] * 3]))
    table = _table(head + "".join(rows), "92px", "auto", "52px", "76px", "56px")
    return _titled("Trades", view["label"], table, note="" if rows else "none yet")


def status_html(view: StatusView) -> str:
    """Write connections, subscriptions, checks and gaps."""
    trust = f"{view['trusted']} of {view['tokens']} books trusted"
    checks = f"{view['verified']:,} verified, {view['unverifiable']:,} unverifiable, {view['mismatches']:,} mismatches"
    lines = [
        ("time", f"{view['now']} UTC{', ' + view['playing'] if view['playing'] else ''}"),
        *((name, _connection_text(one)) for name, one in sorted(view["connections"].items())),
        ("messages", f"{view['events']:,}; {_number(view['rate'], ' a second')}"),
        ("lag", _number(view["lag"], " s from the venue's clock to ours", digits=3)),
        ("books", trust),
        ("checks", checks),
        ("gaps", f"{view['gaps']}, {view['open_gaps']} open{'; last: ' + view['last_gap'] if view['gaps'] else ''}"),
        *(
            (
                one.type.replace("_", " "),
                f"{one.events_received:,} events of {one.keys or 'all'}, {one.dropped} dropped",
            )
            for one in view["subscriptions"]
        ),
    ]
    return _titled("Status", "", _lines(lines))


def recording_html(view: RecordingView) -> str:
    """Write what was recorded."""
    if not view["recording"]:
        return _titled("Recording", "", "", note="nothing is recorded")
    rows = ", ".join(f"{table} {rows:,}" for table, rows in view["rows"].items())
    lines = [
        ("folder", view["folder"]),
        ("rows", rows or "none yet"),
        ("frames", f"{view['frames']:,}"),
        ("written", f"{_size(view['bytes'])} in {view['files']} files"),
        ("waiting", f"{_size(view['waiting'])}, {view['lag']:.1f} s"),
        ("disk", "unknown" if view["free"] is None else f"{_size(view['free'])} free"),
    ]
    lines += [("dropped", f"{view['dropped']:,} frames")] if view["dropped"] else []
    lines += [("trouble", view["trouble"])] if view["trouble"] else []
    return _titled("Recording", "", _lines(lines))


def _status_of(snapshot: Snapshot) -> Status:
    if snapshot.status is None:
        raise LookupError("the status was not asked for")
    return snapshot.status


def _free_bytes(folder: str) -> int | None:
    try:
        return shutil.disk_usage(folder).free
    except OSError:
        return None


def _titled(title: str, label: str, table: str, *, note: str = "") -> str:
    label_html = f" <span style='{_QUIET} padding-left: 6px'>{escape(label)}</span>" if label else ""
    note_html = f"<div style='{_QUIET} font-size: 12px; padding: 0 4px'>{escape(note)}</div>" if note else ""
    head = f"<div style='{_HEAD}{_CELL}'>{escape(title)}{label_html}</div>"
    return f"<div style='overflow: hidden'>{head}{note_html}{table}</div>"


def _table(rows: str, *widths: str) -> str:
    columns = "".join(f"<col style='width: {width}'>" for width in widths)
    return f"<table style='{_TABLE}'><colgroup>{columns}</colgroup>{rows}</table>"


def _side_rows(view: DepthView, side: Literal["bid", "ask"], most: int, largest: float) -> list[str]:
    """Write rows for the best levels of a side, the best first; empty ones fill up, so that nothing jumps."""
    prices, sizes = (
        (view["bid_prices"], view["bid_sizes"]) if side == "bid" else (view["ask_prices"], view["ask_sizes"])
    )
    totals = view["bid_totals"] if side == "bid" else view["ask_totals"]
    levels = list(zip(prices[:most], sizes[:most], totals[:most], strict=True))
    return [_level_row(side, *level, largest) for level in levels] + [_EMPTY] * (most - len(levels))


def _level_row(side: str, price: float, size: float, total: float, largest: float) -> str:
    right, share = f"{_CELL}text-align: right;", 100 * size / largest
    faded = f"color-mix(in srgb, {_COLOURS[side]} 28%, transparent)"
    bar = f"background: linear-gradient(to left, {faded} {share:.0f}%, transparent 0);"
    cells = (_price(price), share_count(size), f"{total:,.0f}")
    return _row("td", cells, [f"{right} color: {_COLOURS[side]};", f"{right} {bar}", f"{right} {_QUIET}"])


def _row(tag: str, cells: Iterable[str], styles: Iterable[str]) -> str:
    return f"<tr>{''.join(_cell(tag, cell, style) for cell, style in zip(cells, styles, strict=True))}</tr>"


def _cell(tag: str, text: str, style: str) -> str:
    return f"<{tag} style='{style}'>{escape(text)}</{tag}>"


def _lines(lines: Sequence[tuple[str, str]]) -> str:
    name_style = f"{_CELL}text-align: left; vertical-align: top; {_QUIET}"
    value_style = "padding: 0 4px; text-align: left; overflow-wrap: anywhere;"
    return _table("".join(_row("td", line, (name_style, value_style)) for line in lines), "84px", "auto")


def _price(price: float) -> str:
    """Write a price with its cents, and finer where it is finer."""
    text = f"{price:.6f}".rstrip("0")
    return text + "0" * max(0, 2 - len(text.partition(".")[2]))


def _connection_text(one: ConnectionStatus) -> str:
    if not one.sockets:
        return "not used"
    state = "connected" if one.connected else "disconnected"
    return f"{state}, {one.open} of {one.sockets} open, {one.url}{'; ' + one.error if one.error else ''}"


def _number(number: float | None, unit: str, digits: int = 1) -> str:
    return f"{'?' if number is None else f'{number:.{digits}f}'}{unit}"


def _size(number: float) -> str:
    unit = min(int(math.log10(max(number, 1)) // 3), len(_UNITS) - 1)
    return f"{number / 1000**unit:.{1 if unit else 0}f} {_UNITS[unit]}"
