"""Figures of forecasts and events: whether forecasts came true, and what happens around events."""

# matplotlib's stubs leave the types of data open.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from collections.abc import Mapping
from functools import cache

import numpy as np
import polars as pl
from matplotlib import rcParams
from matplotlib.axes import Axes

from pmlive.analysis.eventstudy import Measure
from pmlive.analysis.plots._axes import Floats, Look, checked, finish, floats, known, look, new_axes, split_axes

__all__ = ["calibration_plot", "event_study_plot", "martingale_plot"]

_BINS = "bins of forecasts, such as reliability_table(forecast, outcome)"
_PATHS = (
    "values around events, such as align(prices, events), or medians with a band, such as event_study(prices, events)"
)
_CHECKS = "tokens with their movement, such as martingale_check(prices)"
_CONFIDENCE = 0.95
# The 97.5 % point of the normal distribution.
_Z_975 = 1.959963984540054
# How far marks of several sets are drawn beside each other, in dollars.
_BESIDE = 0.012
# The diagram is so many times as high as the bars of counts below it; new axes have so many inches at least for both.
_RATIOS, _LEAST = (4.0, 1.0), 3.4
_FADED = 0.25
_UNITS = {
    "mid": "mid, $ a share",
    "spread": "spread, $ a share",
    "mid_cents": "mid, cents",
    "spread_cents": "spread, cents",
    "spread_bps": "spread, bps of the mid",
    "weighted_mid": "weighted mid, $ a share",
    "imbalance": "imbalance, -1 to 1",
    "depth": "depth, shares",
    "depth_bid": "depth of bids, shares",
    "depth_ask": "depth of asks, shares",
    "updates": "updates in a step",
}


def calibration_plot(
    tables: pl.DataFrame | Mapping[str, pl.DataFrame], *, ax: Axes | None = None, title: str | None = None
) -> tuple[Axes, Axes]:
    """Draw how often forecasts came true, with 95 % intervals, and below it how many forecasts each bin has.

    ``tables`` are results of ``reliability_table``, several by name. Empty bins are left out. Marks of several sets
    stand beside each other, at most 0.6 cents from their forecast. Axes that are given are parted in two; the answer is
    those of the diagram and of the bars.

    Raises:
        ValueError: there is no table, one has no forecasts, a column is missing, or the axes have no place in a grid.

    >>> from pmlive.analysis import reliability_table
    >>> diagram, bars = calibration_plot(reliability_table([0.125, 0.25, 0.375], [0, 0, 1], bins=5))
    >>> [int(bar.get_height()) for bar in bars.patches]
    [1, 2, 0, 0, 0]
    """
    several = {"": tables} if isinstance(tables, pl.DataFrame) else tables
    if not several:
        raise ValueError(f"there is no table; expected {_BINS}")
    for table in several.values():
        known(table, ("lower", "upper", "n", "forecast", "outcome", "low", "high"), give=_BINS)
    ax, bars = split_axes(new_axes(ax, height=max(rcParams["figure.figsize"][1], _LEAST)), _RATIOS)
    ax.plot([0, 1], [0, 1], lw=0.8, linestyle="--", color="0.5", zorder=0)
    for number, (name, table) in enumerate(several.items()):
        _draw_bins(ax, table.drop_nulls("forecast"), look(number), _beside(number, len(several)), name)
        _draw_counts(bars, table, number, len(several))
    _label_calibration(ax, bars)
    finish(ax, title)
    return ax, bars


def event_study_plot(
    paths: pl.DataFrame,
    value: str = "mid",
    *,
    measure: Measure = "level",
    ax: Axes | None = None,
    title: str | None = None,
) -> Axes:
    """Draw the path of a value around events.

    Of single events, the result of ``align``, it draws the mean with its pointwise 95 % confidence band,
    ``mean ± t s / √n``, with the standard deviation ``s`` over the ``n`` events that have a value at the offset, and
    the quantile ``t`` of Student's distribution. Events are taken to be independent; those at one time in several
    tokens are not. For the ``measure`` "change", the value at the last offset before each event is subtracted. Of the
    result of ``event_study`` it draws the median, as it was measured there, with the band of random times. Where no
    event has a value, the line is broken.

    Raises:
        ValueError: no event has the value, a column is missing, or ``measure`` is not one of its two words.

    >>> from datetime import timedelta
    >>> paths = pl.DataFrame({"event": [0, 1], "offset": timedelta(seconds=1), "mid": [0.5, 0.75]})
    >>> ax = event_study_plot(paths)
    >>> [(float(x), float(y)) for x, y in ax.lines[0].get_xydata()]
    [(1.0, 0.625)]
    """
    if measure not in {"level", "change"}:
        raise ValueError(f"invalid measure {measure!r}; expected 'level' or 'change'")
    if "median" in paths.columns:
        rows, draw = _medians(paths, value), _draw_medians
    else:
        rows, draw = _means(paths, value, measure), _draw_means
    ax = new_axes(ax)
    draw(ax, rows)
    _show_offsets(ax, _seconds(rows["offset"]))
    ax.set_ylabel(_UNITS.get(value, value) + (" from before" if measure == "change" else ""))
    finish(ax, title)
    return ax


def martingale_plot(
    checks: pl.DataFrame | Mapping[str, pl.DataFrame],
    *,
    bins: int = 10,
    ax: Axes | None = None,
    title: str | None = None,
) -> Axes:
    """Draw the mean movement of tokens by their first price, with 95 % intervals, against what martingales move.

    The curve is ``p0 * (1 - p0)``, which tokens move on average that begin at ``p0`` and end at 0 or 1. Bins of the
    first price have equal width. An interval is ``± t s / √n`` of the tokens' excess over their own reduction; bins of
    one token have none. ``checks`` are results of ``martingale_check``, several by name.

    Raises:
        ValueError: there is no frame, one has no token with a movement, a column is missing, or ``bins`` is below 1.
    """
    if bins < 1:
        raise ValueError(f"invalid bins {bins!r}; expected 1 or more")
    several = {"": checks} if isinstance(checks, pl.DataFrame) else checks
    if not several:
        raise ValueError(f"there is no frame; expected {_CHECKS}")
    columns = ("first", "movement", "excess")
    rows = {name: known(each, columns, give=_CHECKS) for name, each in several.items()}
    ax = new_axes(ax)
    curve = np.linspace(0.0, 1.0, 101)
    ax.plot(curve, curve * (1 - curve), lw=0.8, linestyle="--", color="0.5", label="p0 (1 - p0)")
    for number, (name, part) in enumerate(rows.items()):
        _draw_movement(ax, part, bins, look(number), name)
    ax.set_xlim(0.0, 1.0)
    ax.set_ylim(bottom=0.0)
    ax.set_xlabel("first price p0, $ a share")
    ax.set_ylabel("movement to the end, Σ(Δp)²")
    finish(ax, title)
    return ax


_MEDIANS = ("median", "n", "null_low", "null_median", "null_high")


def _draw_bins(ax: Axes, bins: pl.DataFrame, how: Look, beside: float, name: str) -> None:
    at = floats(bins["forecast"]) + beside
    ax.vlines(at, floats(bins["low"]), floats(bins["high"]), color=how.color, lw=1.2)
    count = f"n = {bins['n'].sum():,}"
    label = f"{name}, {count}" if name else count
    # A mark at the edge is drawn whole.
    dots = how._replace(linestyle="none")
    ax.plot(at, floats(bins["outcome"]), **dots._asdict(), label=label, clip_on=False)


def _draw_counts(bars: Axes, table: pl.DataFrame, number: int, count: int) -> None:
    lower, width = floats(table["lower"]), floats(table["upper"]) - floats(table["lower"])
    each = 0.9 * width / count
    left = lower + 0.05 * width + number * each
    bars.bar(
        left,
        table["n"].to_list(),
        width=each,
        align="edge",
        facecolor=look(number).color,
        hatch=_HATCHES[number % len(_HATCHES)],
        edgecolor="white",
        linewidth=0,
    )


_HATCHES = ("", "////", "....", "xxxx", "\\\\\\\\")


def _beside(number: int, count: int) -> float:
    return _BESIDE * (number - (count - 1) / 2) / max(count - 1, 1)


def _label_calibration(ax: Axes, bars: Axes) -> None:
    ax.set_xlim(0.0, 1.0)
    ax.set_ylim(0.0, 1.0)
    ax.tick_params(axis="x", labelbottom=False)
    ax.set_ylabel("share that came true")
    bars.set_xlabel("forecast, $ a share")
    bars.set_ylabel("n")
    bars.locator_params(axis="y", nbins=3, integer=True)


def _show_offsets(ax: Axes, seconds: Floats) -> None:
    ax.axvline(0.0, lw=0.8, linestyle="--", color="0.4", zorder=0)
    if len(seconds) > 1:
        ax.set_xlim(seconds[0], seconds[-1])
    ax.set_xlabel("time from the event, s")


def _changes(paths: pl.DataFrame, value: str) -> pl.DataFrame:
    before = pl.col("offset") < pl.duration(nanoseconds=0)
    base = pl.col(value).filter(before).sort_by(pl.col("offset").filter(before)).last()
    return paths.with_columns(pl.col(value) - base.over("event"))


def _means(paths: pl.DataFrame, value: str, measure: Measure) -> pl.DataFrame:
    """Return mean, standard error and number of events at each offset."""
    known(paths, ("event", "offset", value), give=_PATHS)
    number = pl.col(value).cast(pl.Float64)
    error = number.std() / number.count().sqrt()
    rows = paths if measure == "level" else _changes(paths, value)
    return rows.group_by("offset").agg(mean=number.mean(), error=error, n=number.count()).sort("offset")


def _medians(study: pl.DataFrame, value: str) -> pl.DataFrame:
    """Return the medians of one value at each offset."""
    rows = checked(study, ("offset", "value", *_MEDIANS), give=_PATHS).filter(pl.col("value") == value)
    known(rows, ("median",), give=f"{value!r} among the values of event_study")
    return rows.sort("offset")


def _draw_means(ax: Axes, rows: pl.DataFrame) -> None:
    at, mean, how = _seconds(rows["offset"]), floats(rows["mean"]), look(0)
    half = floats(rows["error"]) * np.array([_student(int(n) - 1) for n in rows["n"]])
    most = f"{rows['n'].max()} events"
    ax.fill_between(at, mean - half, mean + half, color=how.color, alpha=_FADED, lw=0, label="95 % confidence")
    ax.plot(at, mean, color=how.color, linestyle=how.linestyle, label=f"mean of {most}")


def _draw_medians(ax: Axes, rows: pl.DataFrame) -> None:
    at, how = _seconds(rows["offset"]), look(0)
    low, high = floats(rows["null_low"]), floats(rows["null_high"])
    ax.fill_between(at, low, high, color="0.85", lw=0, label="95 % of random times")
    ax.plot(at, floats(rows["null_median"]), color="0.55", linestyle=":")
    ax.plot(
        at,
        floats(rows["median"]),
        color=how.color,
        linestyle=how.linestyle,
        label=f"median of {rows['n'].max()} events",
    )


def _draw_movement(ax: Axes, tokens: pl.DataFrame, bins: int, how: Look, name: str) -> None:
    place = (bins * pl.col("first")).floor().clip(0, bins - 1)
    error = pl.col("excess").std() / pl.len().sqrt()
    found = tokens.group_by(place.alias("_bin")).agg(pl.col("first", "movement").mean(), error=error, n=pl.len())
    found = found.sort("_bin")
    at, movement = floats(found["first"]), floats(found["movement"])
    half = floats(found["error"]) * np.array([_student(n - 1) for n in found["n"]])
    ax.vlines(at, movement - half, movement + half, color=how.color, lw=1.2)
    ax.plot(at, movement, color=how.color, linestyle="none", marker=how.marker, label=name)


@cache
def _student(freedom: int) -> float:
    """Return the 97.5 % point of Student's distribution; NaN without a degree of freedom."""
    if freedom < 1:
        return float("nan")
    # With t = √freedom tan(a), the density of the angle a is proportional to cos(a)^(freedom - 1).
    angle = np.linspace(0.0, np.pi / 2, 200_001)
    density = np.cos(angle) ** (freedom - 1)
    mass = np.concatenate([[0.0], np.cumsum((density[1:] + density[:-1]) / 2)])
    return float(np.sqrt(freedom) * np.tan(np.interp(_CONFIDENCE, mass / mass[-1], angle)))


def _seconds(lengths: pl.Series) -> Floats:
    return lengths.dt.cast_time_unit("ns").cast(pl.Int64).to_numpy() / 1e9
