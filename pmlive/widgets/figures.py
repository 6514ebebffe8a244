"""The charts as matplotlib figures, for papers and for notebooks that are read without a kernel.

A figure has a canvas of its own and pyplot knows nothing of it, so figures can be made in any thread.
"""

# matplotlib's stubs leave the types of data open.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false

import threading
from functools import cache
from io import BytesIO
from textwrap import fill

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, get_font

from pmlive.widgets.drawings import DepthDrawing, Extent, HeatDrawing, PriceDrawing
from pmlive.widgets.views import DepthView, HeatView, PriceView, View

__all__ = [
    "DPI",
    "DRAWING",
    "LOST",
    "SIZE",
    "TRUSTED",
    "ShownFigure",
    "draw_depth",
    "draw_heat",
    "draw_price",
    "entitle",
    "new_figure",
    "png",
    "printable",
    "reach",
]

# Inches of one chart, and pixels of an inch.
SIZE, DPI = (9.0, 2.9), 100
# What was known well, and what was not.
TRUSTED, LOST = "#7da7d9", "#ff9800"
# Letters in a line of what is said across a chart.
_LINE = 100
# Of several threads that draw at once, fonts are not safe.
DRAWING = threading.Lock()
# Around what is shown.
_ROOM = 0.04


class ShownFigure(Figure):
    """A figure that notebooks show as a picture, which they do to pyplot's alone otherwise."""

    def _repr_png_(self) -> bytes:
        return png(self)


def new_figure(rows: int = 1, *, height: float = SIZE[1]) -> tuple[Figure, list[Axes]]:
    """Make a figure of charts under each other, each so many inches high."""
    figure = ShownFigure(figsize=(SIZE[0], height * rows), dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    return figure, [figure.add_subplot(rows, 1, row + 1) for row in range(rows)]


def png(figure: Figure) -> bytes:
    """Draw a figure."""
    file = BytesIO()
    with DRAWING:
        figure.savefig(file, format="png")
    return file.getvalue()


def draw_price(axes: Axes, view: PriceView) -> None:
    """Draw prices, trades and gaps."""
    extent = PriceDrawing(axes).show(view)
    reach(axes, _roomy(extent))
    entitle(axes, view)


def draw_depth(axes: Axes, view: DepthView) -> None:
    """Draw cumulative depth."""
    extent = DepthDrawing(axes).show(view)
    reach(axes, _roomy(extent)._replace(low=0.0))
    entitle(axes, view)


def draw_heat(axes: Axes, view: HeatView) -> None:
    """Draw liquidity over time."""
    reach(axes, HeatDrawing(axes).show(view))
    entitle(axes, view)


def reach(axes: Axes, extent: Extent) -> None:
    """Let axes reach so far."""
    axes.set_xlim(extent.left, max(extent.right, extent.left + 1e-9))
    axes.set_ylim(extent.low, max(extent.high, extent.low + 1e-9))


def entitle(axes: Axes, view: View) -> None:
    """Say what is shown, and grey it where that cannot be trusted."""
    # Titles are strangers' text: no formulas are read out of them.
    axes.set_title(printable(str(view["label"])), fontsize=10, loc="left", parse_math=False)
    doubt = str(view["doubt"])
    axes.set_facecolor("#e0e0e0" if doubt else "#ffffff")
    for text in list(axes.texts):
        text.remove()
    if doubt:
        said = fill(printable(doubt), _LINE)
        paper = {"facecolor": "white", "edgecolor": "none", "alpha": 0.85}
        told = axes.text(0.5, 0.5, said, transform=axes.transAxes, ha="center", va="center", fontsize=9, bbox=paper)
        told.set_parse_math(False)
        # It is as wide as it is; the chart is not to shrink for it.
        told.set_in_layout(False)


def _roomy(extent: Extent) -> Extent:
    """Leave room above and below."""
    room = _ROOM * (extent.high - extent.low)
    return extent._replace(low=extent.low - room, high=extent.high + room)


@cache
def _drawable() -> frozenset[int]:
    return frozenset(get_font(findfont(FontProperties())).get_charmap())


def printable(text: str) -> str:
    """Put a mark in place of letters that the font does not have."""
    return "".join(letter if ord(letter) in _drawable() else "\N{WHITE SQUARE}" for letter in text)
