"""The figure of a recording's coverage: when each token was followed, and when its book could be trusted."""

# matplotlib's stubs leave the types of data open.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from collections.abc import Mapping
from typing import NamedTuple

import polars as pl
from matplotlib import rcParams
from matplotlib.axes import Axes
from matplotlib.font_manager import FontProperties
from matplotlib.patches import Patch

from pmlive.analysis.plots._axes import add_note, by_token, known, new_axes
from pmlive.analysis.plots.theme import ASK, BID
from pmlive.analysis.plots.times import dates, show_times

__all__ = ["coverage_plot"]

_INTERVALS = "the intervals of a recording's quality, such as night.quality().intervals"
# Inches of a row, and of what surrounds them all.
_ROW, _MARGIN = 0.2, 0.9
# The share of the axes' width that names may have, and the letters that they have at least.
_NAMES, _FEWEST = 0.5, 16


class _Look(NamedTuple):
    name: str
    color: str
    height: float
    hatch: str


_LOOKS = {True: _Look("trusted", BID, 0.62, ""), False: _Look("not trusted", ASK, 0.26, "//////")}


def coverage_plot(
    intervals: pl.DataFrame,
    *,
    labels: Mapping[str, str] | None = None,
    ax: Axes | None = None,
    title: str | None = None,
) -> Axes:
    """Draw when each token was followed: thick bars while its book could be trusted, thin hatched ones while not.

    ``intervals`` are those of ``Recording.quality``. Tokens are in order of their names, with the share of the time
    that they were followed in which their books could be trusted. New axes are as high as their number needs.

    Raises:
        ValueError: there is no interval, or a column is missing.
    """
    known(intervals, ("token_id", "start", "end", "trusted"), give=_INTERVALS)
    ax = new_axes(ax, height=_MARGIN + _ROW * intervals["token_id"].n_unique())
    tokens = sorted(by_token(intervals, labels, letters=_letters(ax)), key=lambda token: token[0])
    for row, (_, spans) in enumerate(tokens):
        for trusted in (True, False):
            _draw_spans(ax, row, spans.filter(pl.col("trusted") == trusted), trusted=trusted)
    _explain(ax)
    names = [f"{name}  {_covered(spans)}" for name, spans in tokens]
    ax.set_yticks(range(len(tokens)), names, parse_math=False)
    ax.set_ylim(len(tokens) - 0.4, -0.6)
    ax.tick_params(axis="y", length=0)
    ax.set_xlim(dates(intervals["start"]).min(), dates(intervals["end"]).max())
    show_times(ax)
    pad = 2.2 * FontProperties(size=rcParams["legend.fontsize"]).get_size_in_points()
    if title is not None:
        ax.set_title(title, pad=pad)
    add_note(ax, pad=pad)
    return ax


def _draw_spans(ax: Axes, row: int, spans: pl.DataFrame, *, trusted: bool) -> None:
    starts, ends = dates(spans["start"]), dates(spans["end"])
    look = _LOOKS[trusted]
    ax.barh(
        [row] * len(starts),
        ends - starts,
        left=starts,
        height=look.height,
        facecolor=look.color,
        hatch=look.hatch,
        edgecolor="white",
        linewidth=0,
    )


def _explain(ax: Axes) -> None:
    """Say above the bars what they are."""
    looks = [
        Patch(facecolor=look.color, hatch=look.hatch, edgecolor="white", linewidth=0, label=look.name)
        for look in _LOOKS.values()
    ]
    ax.legend(handles=looks, loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=2, borderaxespad=0.2)


def _letters(ax: Axes) -> int:
    """Return how long names may be, so that most of the width is left to the bars."""
    points = FontProperties(size=rcParams["ytick.labelsize"]).get_size_in_points()
    return max(int(_NAMES * ax.bbox.width * 72 / float(ax.figure.dpi) / (0.55 * points)), _FEWEST)


def _covered(spans: pl.DataFrame) -> str:
    length = (pl.col("end") - pl.col("start")).dt.cast_time_unit("ns").cast(pl.Int64)
    whole, trusted = spans.select(all=length.sum(), trusted=length.filter(pl.col("trusted")).sum()).row(0)
    return f"{trusted / whole:.1%}" if whole else "-"
