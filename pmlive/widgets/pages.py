"""The tables as HTML. Texts of markets are strangers': everything that is put in goes through ``escape``."""

import math
from collections.abc import Iterable, Sequence
from html import escape
from typing import Literal

from pmlive.manager.source import ConnectionStatus
from pmlive.widgets.views import DepthView, RecordingView, StatusView, TapeView

__all__ = ["ladder_page", "recording_page", "status_page", "tape_page"]

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


def ladder_page(view: DepthView, most: int = 10) -> str:
    """Show the best levels of both sides, with bars as long as they are large."""
    if view["doubt"]:
        return _page("Ladder", view["label"], "", note=view["doubt"])
    largest = max([1.0, *view["bid_sizes"][:most], *view["ask_sizes"][:most]])
    asks, bids = (_side(view, side, most, largest) for side in ("ask", "bid"))
    middle = "one side is empty"
    if view["mid"] is not None and view["spread"] is not None:
        middle = f"mid {_price(view['mid'])}, spread {_price(view['spread'])}"
    between = f"<tr><td colspan='3' style='{_CELL}text-align: center; {_QUIET}'>{escape(middle)}</td></tr>"
    head = _row("th", ("price", "shares", "up to it"), [f"{_CELL}text-align: right; {_QUIET}"] * 3)
    table = _table(head + "".join([*asks[::-1], between, *bids]), "26%", "37%", "37%")
    return _page(f"Ladder, {view['state']}", view["label"], table)


def tape_page(view: TapeView) -> str:
    """Show the last trades, the newest first."""
    right = f"{_CELL}text-align: right;"
    left = f"{_CELL}text-align: left;"
    styles = [left, left, right, right, right]
    head = _row("th", ("time, UTC", "market", "price", "shares", "taker"), [f"{one} {_QUIET}" for one in styles])
    rows: list[str] = []
    for time, label, price, size, side in zip(
        view["times"], view["labels"], view["prices"], view["sizes"], view["sides"], strict=True
    ):
        did, colour = _TAKERS[side]
        cells = (time, label, _price(price), f"{size:,.2f}", did)
        rows.append(_row("td", cells, [left, left, *[f"{right} color: {colour};"] * 3]))
    table = _table(head + "".join(rows), "92px", "auto", "52px", "76px", "56px")
    return _page("Trades", view["label"], table, note="" if rows else "none yet")


def status_page(view: StatusView) -> str:
    """Show connections, subscriptions, checks and gaps."""
    trust = f"{view['trusted']} of {view['tokens']} books trusted"
    checks = f"{view['verified']:,} verified, {view['unverifiable']:,} unverifiable, {view['mismatches']:,} mismatches"
    lines = [
        ("time", f"{view['now']} UTC{', ' + view['playing'] if view['playing'] else ''}"),
        *((name, _connection(one)) for name, one in sorted(view["connections"].items())),
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
    return _page("Status", "", _lines(lines))


def recording_page(view: RecordingView) -> str:
    """Show what was written."""
    if not view["recording"]:
        return _page("Recording", "", "", note="nothing is recorded")
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
    return _page("Recording", "", _lines(lines))


def _page(title: str, label: str, table: str, *, note: str = "") -> str:
    named = f" <span style='{_QUIET} padding-left: 6px'>{escape(label)}</span>" if label else ""
    said = f"<div style='{_QUIET} font-size: 12px; padding: 0 4px'>{escape(note)}</div>" if note else ""
    return f"<div style='overflow: hidden'><div style='{_HEAD}{_CELL}'>{escape(title)}{named}</div>{said}{table}</div>"


def _table(rows: str, *widths: str) -> str:
    columns = "".join(f"<col style='width: {width}'>" for width in widths)
    return f"<table style='{_TABLE}'><colgroup>{columns}</colgroup>{rows}</table>"


def _side(view: DepthView, side: Literal["bid", "ask"], most: int, largest: float) -> list[str]:
    """Lay out the best levels of a side, the best first; a book with fewer leaves room, so that nothing jumps."""
    prices, sizes = (
        (view["bid_prices"], view["bid_sizes"]) if side == "bid" else (view["ask_prices"], view["ask_sizes"])
    )
    totals = view["bid_totals"] if side == "bid" else view["ask_totals"]
    levels = list(zip(prices[:most], sizes[:most], totals[:most], strict=True))
    return [_level(side, *level, largest) for level in levels] + [_EMPTY] * (most - len(levels))


def _level(side: str, price: float, size: float, total: float, largest: float) -> str:
    right, share = f"{_CELL}text-align: right;", 100 * size / largest
    faded = f"color-mix(in srgb, {_COLOURS[side]} 28%, transparent)"
    bar = f"background: linear-gradient(to left, {faded} {share:.0f}%, transparent 0);"
    cells = (_price(price), f"{size:,.2f}", f"{total:,.0f}")
    return _row("td", cells, [f"{right} color: {_COLOURS[side]};", f"{right} {bar}", f"{right} {_QUIET}"])


def _row(tag: str, cells: Iterable[str], styles: Iterable[str]) -> str:
    return f"<tr>{''.join(_cell(tag, cell, style) for cell, style in zip(cells, styles, strict=True))}</tr>"


def _cell(tag: str, text: str, style: str) -> str:
    return f"<{tag} style='{style}'>{escape(text)}</{tag}>"


def _lines(lines: Sequence[tuple[str, str]]) -> str:
    name_style = f"{_CELL}text-align: left; vertical-align: top; {_QUIET}"
    said_style = "padding: 0 4px; text-align: left; overflow-wrap: anywhere;"
    return _table("".join(_row("td", line, (name_style, said_style)) for line in lines), "84px", "auto")


def _price(price: float) -> str:
    """Write a price with its cents, and finer where it is finer."""
    text = f"{price:.6f}".rstrip("0")
    return text + "0" * max(0, 2 - len(text.partition(".")[2]))


def _connection(one: ConnectionStatus) -> str:
    if not one.sockets:
        return "not used"
    state = "connected" if one.connected else "disconnected"
    return f"{state}, {one.open} of {one.sockets} open, {one.url}{'; ' + one.error if one.error else ''}"


def _number(number: float | None, unit: str, digits: int = 1) -> str:
    return f"{'?' if number is None else f'{number:.{digits}f}'}{unit}"


def _size(number: float) -> str:
    unit = min(int(math.log10(max(number, 1)) // 3), len(_UNITS) - 1)
    return f"{number / 1000**unit:.{1 if unit else 0}f} {_UNITS[unit]}"
