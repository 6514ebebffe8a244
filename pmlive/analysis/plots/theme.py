"""The look of figures in papers: their widths, fonts, colours and the shapes that double colours."""

from contextlib import ExitStack
from contextvars import ContextVar
from typing import Literal, TypeAlias

import polars as pl
from cycler import cycler
from matplotlib import rcParams
from matplotlib.style import use

from pmlive.analysis.palette import LIGHT

__all__ = [
    "ASK",
    "BID",
    "HEIGHTS",
    "LINES",
    "MARKERS",
    "NOTE",
    "PRINTED_DPI",
    "SERIES",
    "SIZES",
    "WIDTHS",
    "Style",
    "Width",
    "style",
]

# A column of a page with two, or the text of a page with one.
Width: TypeAlias = Literal["column", "page"]

WIDTHS: dict[Width, float] = {"column": 3.4, "page": 7.0}

# Any two differ by 34 or more in CIE Lab (1976), and so does each from white, also for eyes that lack one of the three
# kinds of cones.
SERIES = ("#1f4e79", "#d96f1e", "#10a898", "#502818", "#b088e8")
# The same as in charts of the browser.
BID, ASK = LIGHT.bid, LIGHT.ask
LINES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)))
MARKERS = ("o", "s", "^", "D", "v")

# What stands in every figure, beside its title.
NOTE: ContextVar[str] = ContextVar("NOTE", default="")

HEIGHTS: dict[Width, float] = {"column": 2.4, "page": 2.9}
# A figure is printed in its own size, so its letters have the size that the page gives to captions and notes.
SIZES: dict[Width, tuple[float, float]] = {"column": (8.0, 7.0), "page": (9.0, 8.0)}
# Pixels of an inch in print, and on a screen, where a column would be too small to read.
_DPI: dict[Width, float] = {"column": 160.0, "page": 110.0}
PRINTED_DPI = 300.0


class Style(ExitStack):
    """A style that is applied, and taken back at the end of a ``with`` block."""

    def __init__(self, width: Width) -> None:
        super().__init__()
        self.width: Width = width

    def __repr__(self) -> str:
        """Name the width."""
        return f"<Style of figures {WIDTHS[self.width]} inches wide>"


def style(width: Width = "page", *, height: float | None = None, note: str = "") -> Style:
    """Apply the style of papers to all figures and tables from now on, or in a ``with`` block.

    New figures are as wide as a column (3.4 inches) or a page (7 inches) and ``height`` inches high, to be printed in
    that size: letters are 7 to 9 points. Fonts are embedded as TrueType in PDF, as journals demand. The colours can be
    told apart by people who are colour-blind, and each line has a pattern of its own. Frames print without their shape
    and types. A ``note``, such as ``"simulated"``, stands beside the title of each figure of this package, so that a
    picture that is taken out of its page still says it.

    Raises:
        ValueError: ``width`` is not one of its two words, or ``height`` is not above 0.

    >>> from matplotlib import pyplot
    >>> with style("column"):
    ...     pyplot.rcParams["figure.figsize"]
    [3.4, 2.4]
    """
    if width not in WIDTHS:
        raise ValueError(f"invalid width {width!r}; expected 'column' or 'page'")
    if height is not None and not height > 0:
        raise ValueError(f"invalid height {height!r}; expected inches above 0")
    settings = _settings(width, HEIGHTS[width] if height is None else height)
    applied = Style(width)
    before = {name: value for name, value in rcParams.items() if name in settings}
    applied.callback(use, before)
    use(settings)
    applied.callback(NOTE.set, NOTE.get())
    NOTE.set(note)
    applied.push(
        pl.Config(
            tbl_hide_dataframe_shape=True,
            tbl_hide_column_data_types=True,
            fmt_str_lengths=60,
            tbl_cols=12,
            tbl_width_chars=120,
        )
    )
    return applied


def _settings(width: Width, height: float) -> dict[str, object]:
    large, small = SIZES[width]
    return {
        "figure.figsize": (WIDTHS[width], height),
        "figure.dpi": _DPI[width],
        "figure.constrained_layout.use": True,
        "savefig.dpi": PRINTED_DPI,
        "pdf.fonttype": 42,
        "ps.fonttype": 42,
        "font.size": large,
        "axes.titlesize": large,
        "axes.labelsize": large,
        "xtick.labelsize": small,
        "ytick.labelsize": small,
        "legend.fontsize": small,
        "axes.titlelocation": "left",
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.linewidth": 0.6,
        "xtick.major.width": 0.6,
        "ytick.major.width": 0.6,
        "lines.linewidth": 1.2,
        "lines.markersize": 3.5,
        "legend.frameon": False,
        "axes.prop_cycle": cycler(color=SERIES, linestyle=LINES),
        "image.cmap": "cividis",
        "date.converter": "concise",
    }
