"""Axes, and what all figures do with them: refuse what cannot be drawn, and name lines."""

# matplotlib's stubs leave the types of data open.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
import polars as pl
from matplotlib import rcParams
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.font_manager import FontProperties
from matplotlib.legend import Legend
from matplotlib.ticker import FixedFormatter, FixedLocator, NullFormatter

from pmlive.analysis.plots.theme import APART, LINES, MARKERS, NOTE, SERIES, label_width, length_points, printable

__all__ = [
    "Dash",
    "Floats",
    "Look",
    "add_note",
    "by_token",
    "checked",
    "finish",
    "floats",
    "known",
    "lines_of",
    "look",
    "make_room",
    "new_axes",
    "show_lengths",
    "split_axes",
]

Floats: TypeAlias = npt.NDArray[np.float64]
Dash: TypeAlias = str | tuple[int, tuple[int, ...]]

# So many digits of either end of a token id are shown, and so many letters of a name.
_END = 6
_LETTERS = 34
# Names of more lines than this stand beside the axes, and not in them.
_MOST_INSIDE = 8
# A line of a legend is so many times as high as its letters, and a legend has so much around them.
_LINE, _AROUND = 1.5, 1.4
# Widths of a letter, and of what stands before a name, in letters' heights.
_WIDE, _HANDLE = 0.6, 3.5
_POINTS = 72.0
_UNITS = ((86_400.0, "d"), (3600.0, "h"), (60.0, "min"), (1.0, "s"), (0.001, "ms"), (1e-6, "μs"))


class Look(NamedTuple):
    """How one of several lines is told from the others."""

    color: str
    linestyle: Dash
    marker: str


def look(number: int) -> Look:
    """Return the look of a line by its number; lines of one colour have different patterns."""
    turn, place = divmod(number, len(SERIES))
    shape = (place + turn) % len(LINES)
    return Look(SERIES[place], LINES[shape], MARKERS[shape])


def new_axes(ax: Axes | None, *, height: float | None = None) -> Axes:
    """Return the axes that were given, or those of a new figure, ``height`` inches high."""
    if ax is not None:
        return ax
    from matplotlib import pyplot as plt  # it takes long, and who draws on own axes does without it

    width, usual = rcParams["figure.figsize"]
    return plt.subplots(figsize=(width, height or usual), layout="constrained")[1]


def finish(ax: Axes, title: str | None) -> None:
    """Title axes, and name what is drawn: in them, or beside them if it is much."""
    if title is not None:
        ax.set_title(title)
    add_note(ax)
    handles, names = ax.get_legend_handles_labels()
    if not names:
        return
    inside = _lines(names) <= _MOST_INSIDE
    legend = ax.legend(handles, names, loc="best") if inside else _legend_beside(ax, handles, names)
    for text in legend.get_texts():
        # Names are strangers' text: no formulas are read out of them.
        text.set_parse_math(False)


def add_note(ax: Axes, *, pad: float | None = None) -> None:
    """Write the note of the style beside the title, ``pad`` points above the axes, once in a figure."""
    note = NOTE.get()
    if not note or any(each.get_title("right") == note for each in ax.figure.axes):
        return
    size = rcParams["xtick.labelsize"]
    ax.set_title(note, loc="right", pad=pad, fontsize=size, style="italic", color="0.45", parse_math=False)


def make_room(ax: Axes) -> None:
    """Leave room for a legend above what is drawn on a linear scale."""
    lines = _lines(ax.get_legend_handles_labels()[1])
    if not lines or lines > _MOST_INSIDE:
        return
    height = ax.bbox.height * _POINTS / float(ax.figure.dpi)
    share = min(_letters() * (_LINE * lines + _AROUND) / height, 0.6)
    low, high = ax.get_ylim()
    ax.set_ylim(low, low + (high - low) / (1 - share))


def split_axes(ax: Axes, ratios: tuple[float, float]) -> tuple[Axes, Axes]:
    """Return the axes, made smaller, and new ones below them with the same horizontal axis."""
    place = ax.get_subplotspec()
    if place is None:
        raise ValueError("the axes have no place in a grid, so they cannot be parted; expected axes of pyplot.subplots")
    upper, lower = place.subgridspec(2, 1, height_ratios=ratios)
    ax.set_subplotspec(upper)
    return ax, ax.figure.add_subplot(lower, sharex=ax)


def checked(frame: pl.DataFrame, columns: Sequence[str], *, give: str) -> pl.DataFrame:
    """Return a frame that has rows and the columns.

    Raises:
        ValueError: it has no rows, or lacks a column; the message says what to give.
    """
    missing = [name for name in columns if name not in frame.columns]
    if missing:
        raise ValueError(f"the frame has no column {missing[0]!r}; expected {give}")
    if frame.is_empty():
        raise ValueError(f"the frame has no rows; expected {give}")
    return frame


def known(frame: pl.DataFrame, columns: Sequence[str], *, give: str) -> pl.DataFrame:
    """Return the rows that have a value in all of the columns.

    Raises:
        ValueError: no row has, or as ``checked``.
    """
    rows = checked(frame, columns, give=give).drop_nulls(columns)
    if rows.is_empty():
        names = " and ".join(map(repr, columns))
        raise ValueError(f"no row has a value in {names}, as in a gap or beside an empty side; expected {give}")
    return rows


def lines_of(frame: pl.DataFrame, labels: Mapping[str, str] | None) -> list[tuple[str, pl.DataFrame]]:
    """Return the rows of each token with a name for it; one that is alone needs none.

    Raises:
        ValueError: there are more tokens than lines that can be told apart.
    """
    tokens = by_token(frame, labels)
    if len(tokens) > (most := len(SERIES) * len(LINES)):
        raise ValueError(f"the frame has {len(tokens)} tokens, and no more than {most} lines can be told apart")
    return tokens if len(tokens) > 1 else [("", frame)]


def by_token(
    frame: pl.DataFrame, labels: Mapping[str, str] | None, *, letters: int = _LETTERS
) -> list[tuple[str, pl.DataFrame]]:
    """Return the rows of each token with a name for it, in order; all rows, unnamed, if there is no ``token_id``."""
    if "token_id" not in frame.columns:
        return [("", frame)]
    parts = frame.partition_by("token_id", maintain_order=True)
    ids = [str(part["token_id"][0]) for part in parts]
    names = [
        _shortened(printable((labels or {}).get(token_id) or _named(part)), letters) or _short(token_id)
        for token_id, part in zip(ids, parts, strict=True)
    ]
    unique = [
        name if names.count(name) == 1 else f"{name} ({_short(token_id)})"
        for name, token_id in zip(names, ids, strict=True)
    ]
    return list(zip(unique, parts, strict=True))


def floats(values: pl.Series) -> Floats:
    """Return numbers as floats; a null is NaN, which breaks a line."""
    return values.cast(pl.Float64).fill_null(float("nan")).to_numpy()


def show_lengths(ax: Axes, seconds: Sequence[float]) -> None:
    """Label a logarithmic axis of lengths of time at those that are drawn, as far as there is room."""
    ax.set_xscale("log")
    ax.set_xlim(min(seconds) / 1.3, max(seconds) * 1.3)
    scale = length_points(ax) / np.log(max(seconds) / min(seconds) * 1.3**2)
    shown = _apart(ax, sorted(set(seconds)), lambda at: scale * float(np.log(at)))
    ax.xaxis.set_major_locator(FixedLocator(shown))
    ax.xaxis.set_major_formatter(FixedFormatter([_length(each) for each in shown]))
    ax.xaxis.set_minor_locator(FixedLocator(list(seconds)))
    ax.xaxis.set_minor_formatter(NullFormatter())


def _apart(ax: Axes, places: Sequence[float], points: Callable[[float], float]) -> list[float]:
    """Choose the places whose labels leave room for each other, from the first on."""
    shown: list[float] = []
    for place in places:
        widths = [label_width(ax, _length(each)) for each in (place, *shown[-1:])]
        if not shown or points(place) - points(shown[-1]) > APART * sum(widths) / 2:
            shown.append(place)
    return shown


def _length(seconds: float) -> str:
    size, unit = next((each for each in _UNITS if seconds >= each[0] * (1 - 1e-9)), _UNITS[-1])
    return f"{seconds / size:g} {unit}"


def _is_text(kind: pl.DataType | None) -> bool:
    return kind == pl.String or kind == pl.Categorical  # noqa: PLR1714  # their hashes are not those of the classes


def _named(part: pl.DataFrame) -> str:
    columns = [name for name in ("slug", "outcome") if _is_text(part.schema.get(name))]
    return " ".join(text for name in columns if (text := part[name][0]))


def _legend_beside(ax: Axes, handles: Sequence[Artist], names: Sequence[str]) -> Legend:
    """Name what is drawn beside axes, in letters that leave the axes at least half of their width and height."""
    width, height = (each * _POINTS / float(ax.figure.dpi) for each in (ax.bbox.width, ax.bbox.height))
    longest = max(len(line) for name in names for line in name.splitlines())
    letters = min(_letters(), height / (_LINE * _lines(names)), width / 2 / (_WIDE * longest + _HANDLE))
    return ax.legend(
        handles, names, loc="upper left", bbox_to_anchor=(1.01, 1.0), fontsize=letters, labelspacing=0.25, borderpad=0
    )


def _lines(names: Sequence[str]) -> int:
    return sum(1 + name.count("\n") for name in names)


def _letters() -> float:
    """Return how many points the letters of a legend are high."""
    return float(FontProperties(size=rcParams["legend.fontsize"]).get_size_in_points())


def _short(token_id: str) -> str:
    return f"token {token_id}" if len(token_id) <= 2 * _END else f"token {token_id[:_END]}…{token_id[-_END:]}"


def _shortened(name: str, letters: int) -> str:
    """Leave out the middle of a long name: markets of a series differ at their ends."""
    room = (letters - 1) // 2
    return name if len(name) <= letters else f"{name[: letters - 1 - room].rstrip()}…{name[-room:].lstrip()}"
