"""The coverage of a recording's tokens, as a matplotlib figure: when each was followed and could be trusted."""

# matplotlib's stubs leave the types of data open.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from typing import Any, Literal, NamedTuple

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.dates import date2num
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from pmlive.analysis.palette import LIGHT
from pmlive.analysis.plots.lettering import printable
from pmlive.analysis.plots.times import dates, show_times
from pmlive.recording.quality import Fault, Quality, TokenQuality
from pmlive.widgets.figures import new_figure

__all__ = ["coverage_figure"]

# The tokens that are drawn, those least covered first, and the faults that are named, the longest first.
_TOKENS = 40
_NAMED = 6
_LABEL = 56


class _Bar(NamedTuple):
    """How intervals are drawn: those in which the book could not be trusted are thinner, and hatched."""

    name: str
    height: float
    look: dict[str, Any]


_BARS = {
    True: _Bar("the book could be trusted", 0.7, {"facecolor": LIGHT.bid, "edgecolor": LIGHT.ground, "lw": 0}),
    False: _Bar("it could not", 0.34, {"facecolor": LIGHT.ask, "edgecolor": LIGHT.ground, "lw": 0, "hatch": "//////"}),
}


def coverage_figure(quality: Quality) -> Figure:
    """Draw a bar for each token, and name the longest faults of the recording above them."""
    tokens = sorted(quality.tokens, key=lambda token: (token.coverage, token.label))[:_TOKENS]
    figure, (axes,) = new_figure(height=1.1 + 0.26 * max(3, len(tokens)))
    for row, token in enumerate(tokens):
        intervals = quality.intervals.filter(pl.col("token_id") == token.token_id)
        for trusted, bar in _BARS.items():
            _draw_spans(axes, row, intervals.filter(pl.col("trusted") == trusted), bar)
    _label_axes(axes, tokens)
    first, last = quality.first_time or 0, quality.last_time or 1
    axes.set_xlim(_date(first), _date(last))
    for fault in sorted(quality.faults, key=_length_ns, reverse=True)[:_NAMED]:
        _name_fault(axes, fault, side="left" if fault.started < (first + last) / 2 else "right")
    return figure


def _draw_spans(axes: Axes, row: int, spans: pl.DataFrame, bar: _Bar) -> None:
    starts, ends = dates(spans["start"]), dates(spans["end"])
    axes.barh(np.full(len(starts), row), ends - starts, left=starts, **bar.look, height=bar.height)


def _label_axes(axes: Axes, tokens: list[TokenQuality]) -> None:
    show_times(axes)
    axes.tick_params(labelsize=8)
    for text in (axes.xaxis.label, axes.xaxis.offsetText):
        text.set_fontsize(8)
    axes.set_ylim(len(tokens) - 0.4, -0.6)
    names = [f"{_shortened(token.label)}  {token.coverage:.1%}" for token in tokens]
    axes.set_yticks(range(len(tokens)), names, fontsize=8, parse_math=False)
    axes.tick_params(axis="y", length=0)
    axes.spines[["top", "right", "left"]].set_visible(False)
    handles = [Patch(**bar.look, label=bar.name) for bar in _BARS.values()]
    axes.figure.legend(handles=handles, loc="outside lower right", ncols=2, fontsize=8, frameon=False)


def _name_fault(axes: Axes, fault: Fault, *, side: Literal["left", "right"]) -> None:
    length = "no known end" if fault.ended is None else f"{_length_ns(fault) / 1e9:.1f} s"
    axes.annotate(
        f"{fault.cause}, {length}",
        (_date(fault.started), 1),
        xycoords=("data", "axes fraction"),
        xytext=(0, 3),
        textcoords="offset points",
        ha=side,
        fontsize=8,
    )


def _date(time_ns: int) -> float:
    return float(date2num(np.datetime64(time_ns // 1000, "us")))


def _length_ns(fault: Fault) -> int:
    """Return the nanoseconds that a fault lasted; one without an end is the longest."""
    return 2**63 if fault.ended is None else fault.ended - fault.started


def _shortened(label: str) -> str:
    question, _, outcome = printable(label).rpartition(" - ")
    room = _LABEL - len(outcome)
    return f"{question if len(question) <= room else f'{question[: room - 1].rstrip()}…'} - {outcome}"
