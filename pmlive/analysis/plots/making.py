"""Figures of a simulated market maker: what it held and earned, and how prices moved after its fills."""

# matplotlib's stubs leave the types of data open.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from collections.abc import Mapping

import polars as pl
from matplotlib import rcParams
from matplotlib.axes import Axes

from pmlive.analysis.marketmaking import Simulation
from pmlive.analysis.plots._axes import finish, floats, known, look, new_axes, show_lengths, split_axes
from pmlive.analysis.plots.theme import ASK, BID
from pmlive.analysis.plots.times import dates, show_times

__all__ = ["markout_plot", "simulation_plot"]

_MARKOUTS = "fills with what they gained, such as markouts(made.fills, prices, ['1s', '1m'])"
_FILLS = "a simulation with fills"
# The 97.5 % point of the normal distribution.
_Z_975 = 1.959963984540054
_SIDES = {"buy": ("bought", BID, "^"), "sell": ("sold", ASK, "v")}


def simulation_plot(made: Simulation, *, ax: Axes | None = None, title: str | None = None) -> tuple[Axes, Axes]:
    """Draw the fills of a simulation over time at their prices, and under them inventory and equity.

    All tokens that were traded are drawn together, so simulate one at a time. Equity is broken where an inventory has
    no mid. Axes that are given are parted in two; the answer is both.

    Raises:
        ValueError: nothing was filled, or the axes have no place in a grid.
    """
    known(made.fills, ("ts_recv", "price", "side"), give=_FILLS)
    upper, lower = split_axes(new_axes(ax, height=1.4 * rcParams["figure.figsize"][1]), (1, 1))
    for side, (name, color, marker) in _SIDES.items():
        part = made.fills.filter(pl.col("side").cast(pl.String) == side)
        label = f"{name}, {part['size'].sum():,.0f} shares"
        upper.plot(
            dates(part["ts_recv"]), floats(part["price"]), linestyle="none", marker=marker, color=color, label=label
        )
    at = dates(made.path["ts_recv"])
    held, worth = look(2).color, look(3).color
    lower.axhline(0.0, lw=0.5, color="0.7", zorder=0)
    inventory = floats(made.path["inventory"])
    lower.fill_between(at, inventory, step="post", color=held, alpha=0.4, lw=0, label="inventory, shares")
    right = lower.twinx()
    right.plot(at, floats(made.path["equity"]), drawstyle="steps-post", color=worth, linestyle="-", label="equity, $")
    right.spines["right"].set_visible(True)
    lower.set_ylabel("inventory, shares")
    right.set_ylabel("equity at the mid, $")
    upper.set_ylabel("price of fills, $ a share")
    show_times(lower)
    upper.tick_params(axis="x", labelbottom=False)
    finish(upper, title)
    # On the upper of both axes, which would cover it otherwise.
    right.legend([*lower.collections, *right.lines], ["inventory, shares", "equity, $"], loc="best")
    return upper, lower


def markout_plot(
    marks: pl.DataFrame | Mapping[str, pl.DataFrame], *, ax: Axes | None = None, title: str | None = None
) -> Axes:
    """Draw the mean gain of fills by the time after them, in cents a share, with 95 % intervals.

    ``marks`` are those of ``markouts``, several by name. Each fill counts once, whatever its size, and intervals are
    ``mean ± 1.96 s / √n`` as if fills were independent, which those in one move are not. A line that falls below 0 says
    that what was filled was bought before falls and sold before rises: adverse selection.

    Raises:
        ValueError: there are no fills with a mid after them, or a column is missing.
    """
    several = {"": marks} if isinstance(marks, pl.DataFrame) else marks
    if not several:
        raise ValueError(f"there are no fills; expected {_MARKOUTS}")
    means = {name: _means(known(each, ("horizon", "markout"), give=_MARKOUTS)) for name, each in several.items()}
    ax = new_axes(ax)
    ax.axhline(0.0, lw=0.6, color="0.6", zorder=0)
    for number, (name, rows) in enumerate(means.items()):
        how, at = look(number), floats(rows["seconds"])
        mean, half = floats(rows["mean"]), floats(rows["half"])
        ax.fill_between(at, mean - half, mean + half, color=how.color, alpha=0.2, lw=0)
        label = f"{name}, {rows['n'].max():,} fills" if name else f"mean of {rows['n'].max():,} fills"
        ax.plot(at, mean, **how._asdict(), label=label)
    ax.set_xlabel("time after the fill")
    ax.set_ylabel("gain, cents a share")
    finish(ax, title)
    show_lengths(ax, sorted({second for rows in means.values() for second in rows["seconds"].to_list()}))
    return ax


def _means(marks: pl.DataFrame) -> pl.DataFrame:
    gain = 100 * pl.col("markout")
    found = marks.group_by("horizon").agg(
        mean=gain.mean(), half=_Z_975 * gain.std() / gain.count().sqrt(), n=gain.count()
    )
    return found.with_columns(seconds=pl.col("horizon").dt.total_nanoseconds() / 1e9).sort("seconds")
