"""The ladder: sizes on a grid of prices that stands still while prices move on it; as HTML and as text.

The grid is centred on the mid, and centred again once the mid comes near an end of it. Where bid and ask are so far
apart that a grid around the mid would show neither, each side has a half of the rows, and a row between them says how
many prices are left out.
"""

import math
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import NamedTuple, TypeAlias

import polars as pl

from pmlive.analysis.palette import LIGHT
from pmlive.errors import FeedError
from pmlive.gaps import concerning
from pmlive.levels import price_decimals, price_digits, share_count, sparkline, tick_of
from pmlive.manager import Manager
from pmlive.manager.snapshots import Query
from pmlive.times import clock, moment
from pmlive.widgets.views import DepthView, Numbers
from pmlive.words import counted

__all__ = [
    "CELL",
    "COLOURS",
    "QUIET",
    "Grid",
    "cell",
    "ladder_html",
    "lines",
    "page",
    "row",
    "text_picture",
]

# The first and the last price of a part of the rows, in ticks.
_Span: TypeAlias = tuple[int, int]

# The mid is kept away from the ends by a share of the rows.
_MARGIN = 1 / 6
# Where a grid around the mid leaves a side fewer rows than these, each side has its own half.
_LEAST = 2
# The fewest rows that show something of both sides.
_FEWEST = 7
_SIDES = ("bid", "ask")
# Shares of a tick by which a price may miss it, as numbers of computers do.
_SAME = 1e-3
_WIDTHS = ("34px", "58px", "84px", "auto", "84px")


class Grid:
    """The prices that the rows of a ladder have; they change only as far as they must.

    Args:
        rows: how many.

    Raises:
        ValueError: there are fewer than 7.
    """

    def __init__(self, rows: int) -> None:
        if rows < _FEWEST:
            raise ValueError(f"invalid rows {rows!r}; expected at least {_FEWEST}")
        self.rows = rows
        self._tick = 0.0
        # Where the rows begin: those around the mid, and the halves of the asks and of the bids.
        self._starts: dict[str, int] = {}
        # Between the best prices that there were last, in ticks.
        self._middle: float | None = None

    def spans(self, view: DepthView, tick: float) -> list[_Span]:
        """Return the prices to show, the highest first: one span, or one for each side."""
        if tick != self._tick:
            self._tick, self._starts, self._middle = tick, {}, None
        most = round(1 / tick) - 1
        best = {side: round(prices[0] / tick) for side, prices in _prices(view).items() if len(prices)}
        if best:
            self._middle = sum(best.values()) / len(best)
        if len(best) == len(_SIDES) and best["ask"] - best["bid"] > self.rows - 2 * _LEAST:
            asks = self._span("ask", (best["ask"], self.rows // 2, 1 / 4), most)
            bids = self._span("bid", (best["bid"], (self.rows - 1) // 2, 3 / 4), most)
            return [(max(asks[0], bids[1] + 1), asks[1]), bids]
        # An empty book leaves the rows where they were.
        middle = (most + 1) / 2 if self._middle is None else self._middle
        return [self._span("mid", (middle, self.rows, 1 / 2), most)]

    def _span(self, name: str, wanted: tuple[float, int, float], most: int) -> _Span:
        """Return a span in which a price is not near an end; once it must move, the price is at a share of its rows."""
        at, rows, share = wanted
        margin = min(rows * _MARGIN, rows * share / 2, rows * (1 - share) / 2)
        start = self._starts.get(name)
        if start is None or not start + margin <= at <= start + rows - 1 - margin:
            start = round(at - share * (rows - 1))
        start = self._starts[name] = max(1, min(start, most - rows + 1))
        return start, min(start + rows - 1, most)


class _Row(NamedTuple):
    """What rests at a price, and on its side up to it; no side where nothing does."""

    side: str = ""
    size: float = 0.0
    total: float = 0.0


def ladder_html(view: DepthView, grid: Grid, *, stated: float | None = None, marked: float | None = None) -> str:
    """Write a ladder.

    Args:
        view: the book.
        grid: which prices are shown; it is moved if it must be.
        stated: the tick size that the venue stated, in dollars.
        marked: the price that is marked.
    """
    if view["doubt"]:
        return page("Ladder", view["label"], note=view["doubt"])
    tick = tick_of([*view["bid_prices"], *view["ask_prices"]], stated)
    levels = _levels(view, tick)
    largest = max((row.size for rows in levels.values() for row in rows), default=0.0) or 1.0
    heads = ("side", "price, $", "shares", "", "total")
    head = "".join(_head(name, right=name not in {"side", ""}) for name in heads)
    spans = grid.spans(view, tick)
    lines = _lines(view, spans, levels, largest, (tick, marked))
    foot_style = f"padding: 2px 4px; text-align: left; {QUIET}"
    foot = f"<tfoot><tr><td colspan='5' style='{foot_style}'>{_totals(view)}</td></tr></tfoot>"
    body = f"<thead><tr>{head}</tr></thead><tbody>{''.join(lines)}</tbody>{foot}"
    return page("Ladder", view["label"], body, _WIDTHS, note=f"{view['state']}; {_middle(view, price_digits(tick))}")


def _head(name: str, *, right: bool) -> str:
    if not name:
        return "<td></td>"
    return cell("th", name, f"{CELL}text-align: {'right' if right else 'left'}; {QUIET}", scope="col")


def _lines(
    view: DepthView,
    spans: Sequence[_Span],
    levels: Mapping[int, Sequence[_Row]],
    largest: float,
    grid: tuple[float, float | None],
) -> list[str]:
    tick, marked = grid
    # The mid is at the lower end of the lowest row whose price is not below it.
    below = None if view["mid"] is None else math.ceil(view["mid"] / tick - _SAME)
    at = None if marked is None else round(marked / tick)
    lines: list[str] = []
    for first, last in spans:
        if lines and (count := spans[0][0] - last - 1):
            lines.append(_break(count))
        lines += [
            _line(
                price * tick,
                row,
                largest,
                price_digits(tick),
                _edges(is_mid=price == below, is_marked=price == at),
            )
            for price in range(last, first - 1, -1)
            for row in levels.get(price, (_Row(),))
        ]
    return lines


def _edges(*, is_mid: bool, is_marked: bool) -> str:
    mark = " outline: 1px dashed currentColor; outline-offset: -1px;" if is_marked else ""
    return (f"border-bottom: 1px solid {COLOURS['mid']};" if is_mid else "") + mark


def _line(price: float, row: _Row, largest: float, digits: int, edges: str) -> str:
    right, text = f"{CELL}text-align: right;", f"{price:.{digits}f}"
    colour = f" color: {COLOURS[row.side]};" if row.side else f" {QUIET}"
    size, total = (share_count(row.size), f"{row.total:,.0f}") if row.side else ("", "")
    width = max(100 * row.size / largest, 2.0) if row.side else 0.0
    # The bar has a column of its own: no number stands on it.
    bar = f"height: 9px; width: {width:.0f}%; background: {COLOURS.get(row.side, 'none')}; opacity: 0.55"
    cells = (
        cell("td", row.side, f"{CELL}text-align: left;{colour}"),
        cell("th", text, f"{right} font-weight: 400;{colour}", scope="row", price=text),
        cell("td", size, right),
        f"<td style='padding: 0 4px'><div style='{bar}'></div></td>",
        cell("td", total, f"{right} {QUIET}"),
    )
    return f"<tr style='{edges}'>{''.join(cells)}</tr>"


def _break(count: int) -> str:
    text = f"{count:,} prices without an order"
    return f"<tr><td colspan='5' style='{CELL}text-align: center; {QUIET}'>{text}</td></tr>"


def _levels(view: DepthView, tick: float) -> dict[int, list[_Row]]:
    """Return what rests at each price, by its number of ticks: of a crossed book both sides, the ask first."""
    sides = (
        ("ask", view["ask_prices"], view["ask_sizes"], view["ask_totals"]),
        ("bid", view["bid_prices"], view["bid_sizes"], view["bid_totals"]),
    )
    found: dict[int, list[_Row]] = {}
    for side, *columns in sides:
        for price, size, total in zip(*(column.tolist() for column in columns), strict=True):
            found.setdefault(round(price / tick), []).append(_Row(side, size, total))
    return found


def _prices(view: DepthView) -> dict[str, Numbers]:
    return dict(zip(_SIDES, (view["bid_prices"], view["ask_prices"]), strict=True))


def _middle(view: DepthView, digits: int) -> str:
    if view["mid"] is not None and view["spread"] is not None:
        # A mid is half a tick finer than prices are.
        mid = f"{view['mid']:.{digits + 1}f}"
        return f"mid {mid.removesuffix('0')}, spread {view['spread']:.{digits}f}"
    missing = [f"no {side}s" for side, prices in _prices(view).items() if not len(prices)]
    return f"{' and '.join(missing)}, so there is no mid"


def _totals(view: DepthView) -> str:
    parts = [
        f"{side}s {share_count(round(float(totals[-1]), 2))} shares at {counted(len(totals), 'price')}"
        for side, totals in (("bid", view["bid_totals"]), ("ask", view["ask_totals"]))
        if len(totals)
    ]
    return "; ".join(parts) or "nobody offers a price now"


# --- pages ---
# What the tables of a notebook are written with, as HTML that screen readers read: captions, and heads with a scope.
#
# Texts of markets are strangers': everything that is put into HTML goes through ``escape``.

# These are the colours of the page's theme where it has any, see js/panel.js.
COLOURS = {name: f"var(--pmlive-{name}, {getattr(LIGHT, name)})" for name in ("bid", "ask", "mid")}
CELL = "padding: 0 4px; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; "
QUIET = "opacity: 0.72; font-weight: 400;"
_TABLE = (
    "width: 100%; table-layout: fixed; border-collapse: collapse; font-size: 12px; line-height: 16px; "
    "font-variant-numeric: tabular-nums;"
)
_CAPTION = "caption-side: top; text-align: left; padding: 0; color: inherit;"
# What a column that has the rest of the width needs at least.
_LEAST_PX = 100
# It is as wide as the table, and does not make the table wider.
_AS_WIDE = "width: 0; min-width: 100%;"
_HEAD = (
    "display: flex; overflow: hidden; white-space: pre; "
    "font: 600 12px system-ui, sans-serif; line-height: 20px; padding: 4px 4px 2px;"
)


def page(title: str, label: str, body: str = "", widths: Sequence[str] = (), *, note: str = "") -> str:
    """Write a table under its title, the name of the market and a note; without a ``body`` these alone.

    Args:
        title: what it is.
        label: whose it is.
        body: the rows, as HTML.
        widths: those of the columns, in pixels or ``"auto"``.
        note: what is said under the title.
    """
    note_html = f"<div style='{QUIET} font-size: 12px; padding: 0 4px 2px'>{escape(note)}</div>" if note else ""
    head = f"<div style='{_AS_WIDE}'><div style='{_HEAD}'>{escape(title)}{_label(label)}</div>{note_html}</div>"
    if not body:
        return f"<div style='overflow: hidden'>{head}</div>"
    columns = "".join(f"<col style='width: {width}'>" for width in widths)
    least = sum(_LEAST_PX if width == "auto" else int(width.removesuffix("px")) for width in widths)
    # Where there is less room, it is moved under the finger or the wheel, and no column is lost.
    return (
        f"<div style='overflow: auto hidden'><table style='{_TABLE} min-width: {least}px'>"
        f"<caption style='{_CAPTION}'>{head}</caption><colgroup>{columns}</colgroup>{body}</table></div>"
    )


def _label(label: str) -> str:
    """Write the name of a market, of which the question is shortened where there is no room, but not the outcome."""
    if not label:
        return ""
    question, dash, outcome = label.rpartition(" - ")
    cut, whole = f"{QUIET} overflow: hidden; text-overflow: ellipsis; padding-left: 10px; min-width: 40px;", QUIET
    parts = [(question, cut), (f"{dash}{outcome}", whole)] if dash else [(label, cut)]
    return "".join(f"<span style='{style}'>{escape(text)}</span>" for text, style in parts)


def row(cells: Iterable[str], styles: Iterable[str], *, scope: str = "") -> str:
    """Write a row of texts; with the scope ``"col"`` they are the names of columns."""
    tag = "th" if scope else "td"
    return f"<tr>{''.join(cell(tag, text, style, scope=scope) for text, style in zip(cells, styles, strict=True))}</tr>"


def lines(named: Sequence[tuple[str, str]]) -> str:
    """Write a row for each name and its text."""
    name_style = f"{CELL}text-align: left; vertical-align: top; {QUIET}"
    value_style = "padding: 0 4px; text-align: left; overflow-wrap: anywhere;"
    rows = (cell("th", name, name_style, scope="row") + cell("td", text, value_style) for name, text in named)
    return f"<tbody>{''.join(f'<tr>{each}</tr>' for each in rows)}</tbody>"


def cell(tag: str, text: str, style: str, *, scope: str = "", price: str = "") -> str:
    """Write a cell; one with a ``price`` can be clicked."""
    marks = (f" scope='{scope}'" if scope else "") + (f" data-price='{escape(price)}'" if price else "")
    return f"<{tag}{marks} style='{style}'>{escape(text)}</{tag}>"


# --- text for terminals ---
# A dashboard as text, for terminals and readers of notebooks without pictures: a line of prices, and a book.

# The rows of all tokens that are looked at, and the characters of a line.
_NEWEST = 20_000
_WIDTH = 60


def text_picture(manager: Manager, token_id: str | None) -> str:
    """Return the recent middle prices of a token as a line, and its book as a ladder; "" where nothing can be asked."""
    if token_id is None:
        return ""
    try:
        (now,) = manager.snapshots([Query(tables={"prices": _NEWEST}, token_id=token_id)])
    except FeedError:
        return ""
    rows = now.tables["prices"].frame.filter(pl.col("token_id") == token_id).drop_nulls("mid")
    book = now.unavailable_because if now.book is None else str(now.book)
    label = now.labels.get(token_id, token_id) if now.book is None else ""
    gaps = now.gaps.filter(concerning(now.gaps, token_id, ()))
    return "\n".join(line for line in (*_price_line(rows, gaps, now.now), label, book) if line)


def _price_line(rows: pl.DataFrame, gaps: pl.DataFrame, now: int) -> list[str]:
    """Return what the line shows, and the line: the last price in each part of the time, nothing within a gap."""
    if rows.is_empty():
        return []
    times: list[int] = rows["ts_recv"].dt.epoch("ns").to_list()
    mids: list[float] = rows["mid"].to_list()
    whole = max(now, times[-1]) - times[0]
    ends = [times[0] + whole * number // _WIDTH for number in range(1, _WIDTH + 1)]
    shown = [mids[bisect_right(times, end) - 1] for end in ends]
    open_until: list[tuple[int, int]] = gaps.select(
        pl.col("started").dt.epoch("ns"), pl.col("ended").dt.epoch("ns").fill_null(now + 1)
    ).rows()
    known = [not any(started <= end < ended for started, ended in open_until) for end in ends]
    decimals = price_decimals([min(shown), max(shown)])
    line = sparkline([mid if is_known else None for mid, is_known in zip(shown, known, strict=True)])
    reach = f"{min(shown):.{decimals}f} to {max(shown):.{decimals}f}"
    return [f"mid from {clock(moment(times[0]))} on, {reach}", line, " "]
