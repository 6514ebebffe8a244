"""Figures of trades and moves: what drives prices, what follows trades, and what a market maker earns.

How large moves are at each step, which of two series moves first, and how far methods agree on signs belong to it.
"""

# matplotlib's stubs leave the types of data open.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from collections.abc import Mapping

import numpy as np
import polars as pl
from matplotlib import rcParams
from matplotlib.axes import Axes

from pmlive.analysis.flow import ofi_slope
from pmlive.analysis.marketmaking import Simulation
from pmlive.analysis.plots._axes import (
    Floats,
    Look,
    finish,
    floats,
    known,
    lines_of,
    look,
    make_room,
    new_axes,
    show_lengths,
    split_axes,
)
from pmlive.analysis.plots.theme import ASK, BID, dates, show_times
from pmlive.analysis.regression import Fit
from pmlive.analysis.volatility import Scale

__all__ = [
    "agreement_plot",
    "lead_lag_plot",
    "markout_plot",
    "order_flow_regression",
    "signature_plot",
    "simulation_plot",
]

_WINDOWS = "windows with their flow, such as order_flow_imbalance(prices, '10s')"
_STEPS = "variances at several steps, such as signature(prices)"
_LAGS = "correlations at several lags, such as lead_lag(x, y, lags)"
# More points than this are a picture within the drawing, which would be slow to open otherwise.
_MANY = 5000
_VARIANCES: dict[Scale, tuple[str, str]] = {
    "probability": ("rv", "realised variance Σ(Δp)², $²"),
    "logit": ("rv_logit", "realised variance Σ(Δ logit p)²"),
}
# The slope is told in cents for so many shares.
_SHARES = 1000


def order_flow_regression(
    windows: pl.DataFrame,
    *,
    fits: Mapping[str, Fit | None] | None = None,
    labels: Mapping[str, str] | None = None,
    ax: Axes | None = None,
    title: str | None = None,
) -> Axes:
    """Draw the mid's change against the order flow of windows, with the line of ``ofi_slope`` for each token.

    ``windows`` are those of ``order_flow_imbalance``; those with nulls, such as a gap leaves, are left out. ``fits``
    are lines to draw instead, by name. The legend gives slope, t statistic and R².

    Raises:
        ValueError: no window has both numbers, or a column is missing.

    >>> windows = pl.DataFrame({"ofi": [-100.0, 0.0, 100.0, None], "mid_change": [-0.01, 0.0, 0.01, None]})
    >>> ax = order_flow_regression(windows)
    >>> print(ax.lines[-1].get_label())
    10.00 ¢ per 1,000 shares
    t = inf, R² = 1.00, n = 3
    """
    rows = known(windows, ("ofi", "mid_change"), give=_WINDOWS)
    tokens, ax = lines_of(rows, labels), new_axes(ax)
    ax.axhline(0.0, lw=0.5, color="0.7", zorder=0)
    for number, (_, part) in enumerate(tokens):
        _draw_points(ax, part, look(number))
    lines = fits if fits is not None else {name: ofi_slope(part) for name, part in tokens}
    # Lines have the looks of their tokens' points, and others if they are of something else or must stand out.
    first = 0 if fits is None and len(tokens) > 1 else len(tokens)
    ends, reach = np.array([rows["ofi"].min(), rows["ofi"].max()], dtype=np.float64), ax.get_ylim()
    for number, (name, fit) in enumerate(lines.items()):
        _draw_line(ax, ends, fit, look(first + number), name)
    # A steep line is cut off, so that the points can be seen.
    ax.set_ylim(reach)
    make_room(ax)
    ax.set_xlabel("order flow imbalance, shares")
    ax.set_ylabel("change of the mid, cents")
    finish(ax, title)
    return ax


def signature_plot(
    variances: pl.DataFrame,
    *,
    scale: Scale = "probability",
    labels: Mapping[str, str] | None = None,
    ax: Axes | None = None,
    title: str | None = None,
) -> Axes:
    """Draw the realised variance by the length of the step: a volatility signature plot.

    ``variances`` are those of ``signature``, of probabilities (dollars squared) or of their logits. A line that falls
    with longer steps contains the bounce of ticks. It is broken at steps without a change.

    Raises:
        ValueError: no step has a variance, a column is missing, or ``scale`` is not one of its two words.
    """
    if scale not in _VARIANCES:
        raise ValueError(f"invalid scale {scale!r}; expected 'probability' or 'logit'")
    column, label = _VARIANCES[scale]
    known(variances, ("step", column), give=_STEPS)
    tokens, ax = lines_of(variances, labels), new_axes(ax)
    for number, (name, part) in enumerate(tokens):
        rows, how = part.sort("step"), look(number)
        ax.plot(_seconds(rows["step"]), floats(rows[column]), **how._asdict(), label=name)
    ax.set_ylim(bottom=0.0)
    ax.set_xlabel("step")
    ax.set_ylabel(label)
    finish(ax, title)
    show_lengths(ax, _seconds(variances["step"]).tolist())
    return ax


def lead_lag_plot(
    curves: pl.DataFrame | Mapping[str, pl.DataFrame],
    *,
    names: tuple[str, str] = ("the first", "the second"),
    ax: Axes | None = None,
    title: str | None = None,
) -> Axes:
    """Draw the correlation of two series by the lag of the second, and mark the lag of the strongest.

    ``curves`` are results of ``lead_lag`` or ``cross_correlation``, several by name, and ``names`` those of the two
    series. Where a correlation is not known, the line is broken.

    Raises:
        ValueError: there is no curve, one has no correlation, or a column is missing.

    >>> from datetime import timedelta
    >>> lags = [timedelta(seconds=each) for each in (-1, 0, 1)]
    >>> ax = lead_lag_plot(pl.DataFrame({"lag": lags, "corr": [0.1, 0.2, 0.8]}), names=("bitcoin", "the book"))
    >>> ax.get_xlabel()
    'lag, s (above 0: bitcoin leads the book)'
    """
    several = {"": curves} if isinstance(curves, pl.DataFrame) else curves
    if not several:
        raise ValueError(f"there is no curve; expected {_LAGS}")
    for curve in several.values():
        known(curve, ("lag", "corr"), give=_LAGS)
    ax = new_axes(ax)
    ax.axvline(0.0, lw=0.6, color="0.6", zorder=0)
    ax.axhline(0.0, lw=0.6, color="0.6", zorder=0)
    for number, (name, curve) in enumerate(several.items()):
        _draw_curve(ax, curve.sort("lag"), look(number), name)
    ax.set_xlabel(f"lag, s (above 0: {names[0]} leads {names[1]})")
    ax.set_ylabel("correlation")
    make_room(ax)
    finish(ax, title)
    return ax


def _draw_points(ax: Axes, windows: pl.DataFrame, how: Look) -> None:
    ax.scatter(
        floats(windows["ofi"]),
        100 * floats(windows["mid_change"]),
        s=9,
        marker=how.marker,
        color=how.color,
        alpha=0.45,
        linewidths=0,
        rasterized=windows.height > _MANY,
    )


def _draw_line(ax: Axes, ends: Floats, fit: Fit | None, how: Look, name: str) -> None:
    if fit is None:
        ax.plot([], [], color=how.color, linestyle=how.linestyle, label=f"{name}: no line" if name else "no line")
        return
    slope = f"{100 * _SHARES * fit.slope:.2f} ¢ per {_SHARES:,} shares"
    facts = f"t = {fit.tstat:.1f}, R² = {fit.r2:.2f}, n = {fit.n:,}"
    label = f"{name}: {slope}\n{facts}" if name else f"{slope}\n{facts}"
    ax.plot(ends, 100 * (fit.intercept + fit.slope * ends), color=how.color, linestyle=how.linestyle, label=label)


def _draw_curve(ax: Axes, curve: pl.DataFrame, how: Look, name: str) -> None:
    lags, corr = _seconds(curve["lag"]), floats(curve["corr"])
    strongest = int(np.nanargmax(np.abs(corr)))
    label = f"{name}: strongest at {lags[strongest]:g} s" if name else f"strongest at {lags[strongest]:g} s"
    ax.plot(lags, corr, color=how.color, linestyle=how.linestyle)
    size = 1.6 * rcParams["lines.markersize"]
    ax.plot(lags[[strongest]], corr[[strongest]], **how._asdict(), markersize=size, label=label)


def _seconds(lengths: pl.Series) -> Floats:
    return lengths.dt.cast_time_unit("ns").cast(pl.Int64).to_numpy() / 1e9


# --- agreement on signs ---
# A figure of how far methods agree on the signs of trades.

_PAIRS = "shares of pairs of methods, such as sign_agreement(trades, prices)"
# Above this share a cell is light, and its number dark.
_LIGHT = 0.8


def agreement_plot(agreement: pl.DataFrame, *, ax: Axes | None = None, title: str | None = None) -> Axes:
    """Draw the share of the volume on which each two methods agree, as a table with colours from half to all.

    ``agreement`` is that of ``sign_agreement``. Half is what guesses of a coin would have. A pair without trades that
    both could sign has no number.

    Raises:
        ValueError: there are no pairs, none has a share, or a column is missing.
    """
    rows = known(agreement, ("method", "other", "share_of_volume"), give=_PAIRS)
    names = agreement["method"].unique(maintain_order=True).to_list()
    shares = {(one, other): share for one, other, share in rows.select("method", "other", "share_of_volume").rows()}
    table = np.array([[shares.get((one, other)) for other in names] for one in names], dtype=np.float64)
    ax = new_axes(ax)
    ax.imshow(table, vmin=0.5, vmax=1.0, aspect="auto")
    ax.set_xticks(range(len(names)), names)
    ax.set_yticks(range(len(names)), names)
    ax.tick_params(length=0)
    ax.set_xlabel("method")
    ax.set_ylabel("other method")
    ax.spines[:].set_visible(False)
    for (row, column), share in np.ndenumerate(table):
        if not np.isnan(share):
            color = "black" if share > _LIGHT else "white"
            ax.text(column, row, f"{share:.1%}", ha="center", va="center", color=color)
    finish(ax, title)
    return ax


# --- market making ---
# Figures of a simulated market maker: what it held and earned, and how prices moved after its fills.

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
