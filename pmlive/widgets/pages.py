"""What the tables of a notebook are written with, as HTML that screen readers read: captions, and heads with a scope.

Texts of markets are strangers': everything that is put into HTML goes through ``escape``.
"""

from collections.abc import Iterable, Sequence
from html import escape

from pmlive.analysis.palette import LIGHT

__all__ = ["CELL", "COLOURS", "QUIET", "cell", "lines", "page", "row"]

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
_HEAD = "font: 600 12px system-ui, sans-serif; line-height: 20px; padding: 4px 4px 2px;"


def page(title: str, label: str, body: str = "", widths: Sequence[str] = (), *, note: str = "") -> str:
    """Write a table under its title, the name of the market and a note; without a ``body`` these alone.

    Args:
        title: what it is.
        label: whose it is.
        body: the rows, as HTML.
        widths: those of the columns, in pixels or ``"auto"``.
        note: what is said under the title.
    """
    label_html = f" <span style='{QUIET} padding-left: 6px'>{escape(label)}</span>" if label else ""
    note_html = f"<div style='{QUIET} font-size: 12px; padding: 0 4px 2px'>{escape(note)}</div>" if note else ""
    head = f"<div style='{_AS_WIDE}'><div style='{_HEAD}{CELL}'>{escape(title)}{label_html}</div>{note_html}</div>"
    if not body:
        return f"<div style='overflow: hidden'>{head}</div>"
    columns = "".join(f"<col style='width: {width}'>" for width in widths)
    least = sum(_LEAST_PX if width == "auto" else int(width.removesuffix("px")) for width in widths)
    # Where there is less room, it is moved under the finger or the wheel, and no column is lost.
    return (
        f"<div style='overflow: auto hidden'><table style='{_TABLE} min-width: {least}px'>"
        f"<caption style='{_CAPTION}'>{head}</caption><colgroup>{columns}</colgroup>{body}</table></div>"
    )


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
