"""Texts in figures: what their font can write, and how wide a label is."""

# matplotlib's stubs leave some types open.
# pyright: reportUnknownVariableType=false

from functools import cache

from matplotlib import rcParams
from matplotlib.axes import Axes
from matplotlib.font_manager import FontProperties, findfont, get_font
from matplotlib.textpath import text_to_path

__all__ = ["APART", "fitted", "label_width", "length_points", "printable", "text_width"]

# Labels are apart if their distance is so many times their width.
APART = 1.15
_POINTS = 72.0


def printable(text: str) -> str:
    """Replace letters that the font does not have by a mark."""
    drawable = _drawable(*rcParams["font.family"])
    return "".join(letter if ord(letter) in drawable else "\N{WHITE SQUARE}" for letter in text)


def text_width(text: str, size: float) -> float:
    """Return how many points a text is wide in letters of ``size`` points."""
    return text_to_path.get_text_width_height_descent(text, FontProperties(size=size), ismath=False)[0]


def label_width(ax: Axes, text: str) -> float:
    """Return how many points a label of the horizontal axis is wide."""
    size = ax.xaxis.get_tick_params().get("labelsize", rcParams["xtick.labelsize"])
    return text_width(text, FontProperties(size=size).get_size_in_points())


def fitted(text: str, size: float, room: float) -> str:
    """Shorten a text until it is no wider than ``room`` points; what follows its last " - ", an outcome, stays.

    >>> fitted("Will it rain in London on New Year's Eve? - No", 10, 150)
    'Will it rain in London o… - No'
    >>> fitted("Will it rain in London on New Year's Eve?", 10, 150)
    'Will it rain in London on Ne…'
    """
    question, dash, outcome = text.rpartition(" - ") if " - " in text else (text, "", "")
    shown, letters = text, len(question)
    while letters and text_width(shown, size) > room:
        letters -= 1
        shown = f"{question[:letters].rstrip()}…{dash}{outcome}"
    return shown


def length_points(ax: Axes) -> float:
    """Return how many points axes are long."""
    return ax.bbox.width * _POINTS / float(ax.figure.dpi) or 1.0


@cache
def _drawable(*families: str) -> frozenset[int]:
    return frozenset(get_font(findfont(FontProperties(family=list(families)))).get_charmap())
