"""The tables as HTML. Texts of markets are strangers': everything that is put in goes through ``escape``."""

import math
from collections.abc import Iterable, Sequence
from html import escape

from pmlive.widgets.views import DepthView, Numbers, RecordingView, StatusView, TapeView
from pmlive.widgets.views.status import ConnectionView

__all__ = ["ladder_page", "recording_page", "status_page", "tape_page"]

_STYLE = "font-size: 12px; border-spacing: 8px 0; margin-left: -8px; font-variant-numeric: tabular-nums;"
_UNITS = ("B", "kB", "MB", "GB")
_COLOURS = {"buy": "#2e7d32", "sell": "#c62828", "bid": "46, 125, 50", "ask": "198, 40, 40"}


def ladder_page(view: DepthView, most: int = 10) -> str:
    """Show the best levels of both sides, with bars as long as they are large."""
    if view["doubt"]:
        return _page(view["label"], "", note=view["doubt"])
    largest = max([1.0, *view["bid_sizes"][:most], *view["ask_sizes"][:most]])
    asks = list(_levels("ask", view["ask_prices"][:most], view["ask_sizes"][:most], largest))[::-1]
    bids = list(_levels("bid", view["bid_prices"][:most], view["bid_sizes"][:most], largest))
    middle = "one side is empty" if view["mid"] is None else f"mid {view['mid']:g}, spread {view['spread']:g}"
    between = f"<tr><td colspan='2' style='text-align: center; opacity: 0.7'>{escape(middle)}</td></tr>"
    head = "<tr><th>price</th><th>shares</th></tr>"
    return _page(view["label"], head + "".join([*asks, between, *bids]), note=view["state"])


def tape_page(view: TapeView) -> str:
    """Show the last trades, the newest first."""
    head = _row("th", ("time, UTC", "market", "price", "shares", "taker"))
    rows = [
        _row(
            "td",
            (time, label, f"{price:g}", f"{size:,.2f}", "bought" if side == "buy" else "sold"),
            f"color: {_COLOURS[side]}",
        )
        for time, label, price, size, side in zip(
            view["times"], view["labels"], view["prices"], view["sizes"], view["sides"], strict=True
        )
    ]
    return _page(f"trades: {view['label']}", head + "".join(rows), note="" if rows else "none yet")


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
    return _page("status", _lines(lines))


def recording_page(view: RecordingView) -> str:
    """Show what was written."""
    if not view["recording"]:
        return _page("recording", "", note="nothing is recorded")
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
    return _page("recording", _lines(lines))


def _page(title: str, rows: str, *, note: str = "") -> str:
    said = f"<div style='opacity: 0.7; font-size: 12px'>{escape(note)}</div>" if note else ""
    return f"<div><b>{escape(title)}</b>{said}<table style='{_STYLE}'>{rows}</table></div>"


def _levels(side: str, prices: Numbers, sizes: Numbers, largest: float) -> Iterable[str]:
    for price, size in zip(prices, sizes, strict=True):
        bar = f"linear-gradient(to left, rgba({_COLOURS[side]}, 0.3) {100 * size / largest:.0f}%, transparent 0)"
        yield f"<tr><td>{price:g}</td><td style='background: {bar}; min-width: 110px'>{size:,.2f}</td></tr>"


def _row(tag: str, cells: Iterable[str], style: str = "") -> str:
    return f"<tr style='{style}'>{''.join(f'<{tag}>{escape(cell)}</{tag}>' for cell in cells)}</tr>"


def _lines(lines: Sequence[tuple[str, str]]) -> str:
    return "".join(
        f"<tr><th style='text-align: left'>{escape(name)}</th><td style='text-align: left'>{escape(said)}</td></tr>"
        for name, said in lines
    )


def _connection(one: ConnectionView) -> str:
    if not one.sockets:
        return "not used"
    state = "connected" if one.connected else "disconnected"
    return f"{state}, {one.open} of {one.sockets} open, {one.url}{'; ' + one.error if one.error else ''}"


def _number(number: float | None, unit: str, digits: int = 1) -> str:
    return f"{'?' if number is None else f'{number:.{digits}f}'}{unit}"


def _size(number: float) -> str:
    unit = min(int(math.log10(max(number, 1)) // 3), len(_UNITS) - 1)
    return f"{number / 1000**unit:.{1 if unit else 0}f} {_UNITS[unit]}"
