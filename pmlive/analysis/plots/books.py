"""Figures of books: their spread, their depth, what an order costs, and when books could be trusted."""

# matplotlib's stubs leave the types of data open.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple, TypeAlias

import polars as pl
from matplotlib import rcParams
from matplotlib.axes import Axes
from matplotlib.font_manager import FontProperties
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, MultipleLocator

from pmlive.analysis._intervals import Every, positive_ns
from pmlive.analysis.book import Amount, TakerSide, slippage_curve
from pmlive.analysis.plots._axes import (
    Floats,
    Look,
    add_note,
    by_token,
    checked,
    finish,
    floats,
    known,
    lines_of,
    look,
    make_room,
    new_axes,
    split_axes,
)
from pmlive.analysis.plots.theme import ASK, BID, LINES, MARKERS, dates, show_times

__all__ = [
    "Amount",
    "SpreadUnit",
    "coverage_plot",
    "depth_over_time",
    "depth_profile",
    "impact_plot",
    "set_sums_plot",
    "spread_by_hour",
    "spread_by_price",
]

SpreadUnit: TypeAlias = Literal["cents", "bps"]
BookSide: TypeAlias = Literal["bid", "ask"]

_QUOTES = "quotes at even times, such as night.prices(every='1s')"
_LADDERS = "ladders, such as night.depth(token, every='1s')"
_MEASURES = "measures of ladders, such as ladder_measures(night.depth(token, every='1s'))"
_SUMS = "sums of the best prices of sets, such as set_sums(prices, token_ids, fees=fees)"
_LISTS = ("bid_prices", "bid_sizes", "ask_prices", "ask_sizes")
_HOUR_NS, _DAY_NS = 3_600_000_000_000, 86_400_000_000_000
# Minutes between ticks of an axis of hours, of which the first is taken that makes so many ticks at most.
_MINUTES, _MOST_TICKS = (1, 2, 5, 10, 15, 30, 60, 120, 180, 240, 360), 7
# Orders of these sizes are tried.
_AMOUNTS = tuple(float(digit * 10**power) for power in range(1, 5) for digit in (1, 2, 5))
# Prices have at most four decimals: a smaller difference is a rounding error.
_EPSILON = 1e-9
_FADED = 0.3


def spread_by_hour(
    quotes: pl.DataFrame,
    *,
    unit: SpreadUnit = "cents",
    every: Every = "1h",
    labels: Mapping[str, str] | None = None,
    ax: Axes | None = None,
    title: str | None = None,
) -> Axes:
    """Draw the median spread by time of the day (UTC), with the middle half of the spreads as bars.

    ``quotes`` have ``time``, ``mid`` and ``spread`` (dollars a share), as of ``Recording.prices`` with ``every``, or of
    ``ladder_measures``. Every row counts once, so they have to be at even times. Days are put together in intervals of
    ``every``, a whole part of a day. Where a gap or an empty side leaves no spread in one, the line is broken.

    Raises:
        ValueError: there is no row with a spread, a column is missing, or ``every`` does not divide a day.

    >>> from datetime import datetime, timezone
    >>> times = [datetime(2026, 11, 25, 14, minute, tzinfo=timezone.utc) for minute in (0, 1, 2)]
    >>> ax = spread_by_hour(pl.DataFrame({"time": times, "mid": 0.5, "spread": [0.01, 0.02, 0.04]}))
    >>> [(float(x), float(y)) for x, y in ax.lines[0].get_xydata()]
    [(14.5, 2.0)]
    """
    length = _part_of_day(every)
    known(quotes, ("time", "mid", "spread"), give=_QUOTES)
    since = pl.col("time").dt.epoch("ns") % _DAY_NS
    tokens = lines_of(quotes.with_columns(_bin=since // length), labels)
    ax, hours = new_axes(ax), length / _HOUR_NS
    for number, (name, rows) in enumerate(tokens):
        bins = _quartiles(rows, _spread(unit))
        at = floats(bins["_bin"]) + 0.5 + _dodge(number, len(tokens))
        _draw_quartiles(ax, at * hours, bins, look(number), name)
    _show_hours(ax, quotes.select(since // length).to_series(), hours)
    _show_spread(ax, unit)
    finish(ax, title)
    return ax


def spread_by_price(
    quotes: pl.DataFrame,
    *,
    unit: SpreadUnit = "cents",
    bins: int = 10,
    ax: Axes | None = None,
    title: str | None = None,
) -> Axes:
    """Draw the median spread by price, with the middle half of the spreads as bars.

    ``quotes`` are those of ``spread_by_hour``; all are put together, whatever their token. Bins of the mid have equal
    width; a mid on an edge is in the upper one.

    Raises:
        ValueError: there is no row with a spread, a column is missing, or ``bins`` is below 1.
    """
    if bins < 1:
        raise ValueError(f"invalid bins {bins!r}; expected 1 or more")
    rows = known(quotes, ("mid", "spread"), give=_QUOTES)
    rows = rows.with_columns(_bin=(pl.col("mid") * bins + _EPSILON).floor().clip(0, bins - 1).cast(pl.Int64))
    found, ax = _quartiles(rows, _spread(unit)), new_axes(ax)
    _draw_quartiles(ax, (found["_bin"].to_numpy() + 0.5) / bins, found, look(0), "")
    ax.set_xlim(0.0, 1.0)
    ax.set_xlabel("mid, $ a share")
    _show_spread(ax, unit)
    finish(ax, title)
    return ax


def depth_profile(
    ladders: pl.DataFrame,
    *,
    cents: float | None = None,
    labels: Mapping[str, str] | None = None,
    ax: Axes | None = None,
    title: str | None = None,
) -> Axes:
    """Draw how many shares rest up to each distance from the mid: the median of the books, and their middle half.

    ``ladders`` are rows of ``Recording.depth``. Bids are on the left and asks on the right. Books without a mid are
    left out. A side that lists as many levels as the longest one may go on beyond them, so the line ends where the
    first such side does, or at ``cents``. Several tokens have a line each and no band.

    Raises:
        ValueError: there is no book with a mid, a column is missing, or ``cents`` is not above 0.
    """
    if cents is not None and not cents > 0:
        raise ValueError(f"invalid cents {cents!r}; expected a number above 0")
    tokens = lines_of(_two_sided(ladders), labels)
    ax = new_axes(ax)
    for number, (name, rows) in enumerate(tokens):
        for side, alone in _SIDES.items():
            label = (name if side == "bid" else None) if name else side
            profile = _profile(rows, side, cents)
            _draw_profile(ax, profile, look(number) if name else alone, label, band=not name)
    ax.set_ylim(bottom=0.0)
    ax.set_xlabel("distance from the mid, cents: bids left, asks right")
    ax.set_ylabel("shares up to there")
    if len(tokens) > 1:
        make_room(ax)
    finish(ax, title)
    return ax


def depth_over_time(measures: pl.DataFrame, *, ax: Axes | None = None, title: str | None = None) -> tuple[Axes, Axes]:
    """Draw a token's mid over time, and under it the shares near it: asks upwards, bids downwards.

    Both are interrupted in gaps, while a side is empty, and where rows are missing between even times. ``measures`` are
    one token's, of ``ladder_measures`` with the rows of ``Recording.depth``; the ``cents`` given there say what is
    near. Axes that are given are parted in two.

    Raises:
        ValueError: there is no row with a mid, a column is missing, the rows are of several tokens, or the axes have no
            place in a grid.
    """
    columns = ("time", "mid", "depth_bid", "depth_ask")
    known(measures, columns, give=_MEASURES)
    if "token_id" in measures.columns and measures["token_id"].n_unique() > 1:
        raise ValueError(f"the rows are of {measures['token_id'].n_unique()} tokens; expected one")
    rows = _with_breaks(measures.select(columns).sort("time"))
    upper, lower = split_axes(new_axes(ax, height=1.4 * rcParams["figure.figsize"][1]), (2, 1))
    at = dates(rows["time"])
    upper.plot(at, floats(rows["mid"]), drawstyle="steps-post", color="0.2", linestyle="-", lw=0.8)
    for column, sign, how in (("depth_ask", 1, _SIDES["ask"]), ("depth_bid", -1, _SIDES["bid"])):
        label = f"{'asks, upwards' if sign > 0 else 'bids, downwards'}"
        lower.stairs(sign * floats(rows[column])[:-1], at, fill=True, color=how.color, lw=0, label=label)
    lower.yaxis.set_major_formatter(FuncFormatter(_unsigned))
    upper.set_ylabel("mid, $ a share")
    lower.set_ylabel("shares near it")
    lower.set_xlim(at[0], at[-1])
    show_times(upper)
    show_times(lower)
    upper.tick_params(axis="x", labelbottom=False)
    upper.set_xlabel("")
    upper.xaxis.offsetText.set_visible(False)
    finish(upper, title)
    finish(lower, None)
    return upper, lower


def impact_plot(
    ladders: pl.DataFrame,
    amounts: Sequence[float] = _AMOUNTS,
    *,
    amounts_in: Amount = "shares",
    unit: SpreadUnit = "cents",
    labels: Mapping[str, str] | None = None,
    ax: Axes | None = None,
    title: str | None = None,
) -> Axes:
    """Draw what a taker's order costs by its size, relative to the mid and before fees: median and middle half.

    ``ladders`` are rows of ``Recording.depth``. A book holds only what its ladder lists, so ask for as many levels as
    the largest order may need. A book that holds less than the order counts as dearer than any other: the median is
    drawn while more than half of the books hold the order, and the band while more than three quarters do. Books
    without a mid are left out. Several tokens have a line each and no band.

    Raises:
        ValueError: there is no book with a mid, a column is missing, or there is no amount or one is not above 0.
    """
    if not amounts or not min(amounts) > 0:
        raise ValueError(f"invalid amounts {list(amounts)!r}; expected numbers above 0")
    tokens = lines_of(_two_sided(ladders), labels)
    ax, sizes = new_axes(ax), sorted(amounts)
    for number, (name, rows) in enumerate(tokens):
        for side, alone in _TAKERS.items():
            costs = slippage_curve(rows, sizes, sides=[side], amounts_in=amounts_in)
            how = look(number)._replace(linestyle=alone.linestyle) if name else alone
            label = (name if side == "buy" else None) if name else side
            _draw_costs(ax, costs, unit, how, label, band=not name)
    if len(tokens) > 1:
        _explain_sides(ax)
    _show_costs(ax, amounts_in, unit)
    finish(ax, title)
    return ax


def set_sums_plot(sums: pl.DataFrame, *, ax: Axes | None = None, title: str | None = None) -> Axes:
    """Draw over time what a set of all outcomes costs to buy and brings when sold, beside what it pays.

    ``sums`` are those of ``set_sums`` (a set pays a dollar), or of ``neg_risk_sums``, of which the sets of Yes are
    drawn. The lines are interrupted in gaps and while a side is empty. Fees are not included.

    Raises:
        ValueError: no sum is known, or a column is missing.
    """
    prefix, what = ("yes_", "every Yes") if "yes_buy_sum" in sums.columns else ("", "a set")
    columns = {f"{prefix}buy_sum": f"{what} bought", f"{prefix}sell_sum": f"{what} sold"}
    checked(sums, ("start", "end", *columns), give=_SUMS)
    known(sums.with_columns(sum=pl.coalesce(list(columns))), ("sum",), give=_SUMS)
    rows = _with_ends(sums.select("start", "end", *columns).sort("start"))
    ax, at = new_axes(ax), dates(rows["start"])
    ax.axhline(1.0, lw=0.8, linestyle=":", color="0.4")
    for number, (column, label) in enumerate(columns.items()):
        how = look(number)
        ax.plot(at, floats(rows[column]), drawstyle="steps-post", color=how.color, linestyle=how.linestyle, label=label)
    ax.set_xlim(at[0], at[-1])
    ax.set_ylabel("$ a set")
    show_times(ax)
    make_room(ax)
    finish(ax, title)
    return ax


_SPREADS: dict[SpreadUnit, str] = {"cents": "spread, cents", "bps": "spread, bps of the mid"}
_SIDES: dict[BookSide, Look] = {"bid": Look(BID, LINES[0], MARKERS[0]), "ask": Look(ASK, LINES[1], MARKERS[1])}
# Buyers take asks, sellers bids.
_TAKERS: dict[TakerSide, Look] = {
    "buy": Look(ASK, LINES[0], MARKERS[1]),
    "sell": Look(BID, LINES[1], MARKERS[0]),
}


def _spread(unit: SpreadUnit) -> pl.Expr:
    if unit not in _SPREADS:
        raise ValueError(f"invalid unit {unit!r}; expected 'cents' or 'bps'")
    return 100 * pl.col("spread") if unit == "cents" else 10_000 * pl.col("spread") / pl.col("mid")


def _quartiles(rows: pl.DataFrame, value: pl.Expr) -> pl.DataFrame:
    """Return the quartiles of each ``_bin`` from the first to the last one; null where there is no value."""
    low, median, high = (value.quantile(part, "linear") for part in (0.25, 0.5, 0.75))
    found = rows.group_by("_bin").agg(low=low, median=median, high=high)
    whole = found.select(_bin=pl.int_range(pl.col("_bin").min(), pl.col("_bin").max() + 1))
    return whole.join(found.with_columns(pl.col("_bin").cast(pl.Int64)), on="_bin", how="left").sort("_bin")


def _draw_quartiles(ax: Axes, at: Floats, found: pl.DataFrame, how: Look, name: str) -> None:
    low, median, high = (floats(found[part]) for part in ("low", "median", "high"))
    ax.vlines(at, low, high, color=how.color, lw=4, alpha=_FADED)
    ax.plot(at, median, color=how.color, linestyle=how.linestyle, marker=how.marker, label=name)


def _draw_profile(ax: Axes, profile: pl.DataFrame, how: Look, label: str | None, *, band: bool) -> None:
    at, median = floats(profile["distance"]), floats(profile["median"])
    ax.plot(at, median, drawstyle="steps-post", color=how.color, linestyle=how.linestyle, label=label)
    if band:
        low, high = floats(profile["low"]), floats(profile["high"])
        ax.fill_between(at, low, high, step="post", color=how.color, alpha=_FADED, lw=0)


def _dodge(number: int, count: int) -> float:
    """Return how far to the side one of several is drawn, in widths of a bin."""
    return 0.8 * (number - (count - 1) / 2) / count


def _part_of_day(every: Every) -> int:
    length = positive_ns(every)
    if _DAY_NS % length:
        raise ValueError(f"invalid every {every!r}; expected a whole part of a day")
    return length


def _show_spread(ax: Axes, unit: SpreadUnit) -> None:
    ax.set_ylim(bottom=0.0)
    ax.set_ylabel(_SPREADS[unit])
    make_room(ax)


def _show_hours(ax: Axes, bins: pl.Series, hours: float) -> None:
    first, last = float(floats(bins).min()) * hours, float(floats(bins).max() + 1) * hours
    minutes = next((each for each in _MINUTES if (last - first) * 60 / each <= _MOST_TICKS), _MINUTES[-1])
    ax.set_xlim(first, last)
    ax.xaxis.set_major_locator(MultipleLocator(minutes / 60))
    ax.xaxis.set_major_formatter(FuncFormatter(_clock))
    ax.set_xlabel("time of the day, UTC")


def _draw_costs(ax: Axes, costs: pl.DataFrame, unit: SpreadUnit, how: Look, label: str | None, *, band: bool) -> None:
    size, median = floats(costs["amount"]), floats(costs[unit])
    ax.plot(size, median, **how._asdict(), label=label)
    if band:
        ax.fill_between(
            size, floats(costs[f"{unit}_low"]), floats(costs[f"{unit}_high"]), color=how.color, alpha=_FADED, lw=0
        )


def _explain_sides(ax: Axes) -> None:
    for side, how in _TAKERS.items():
        ax.plot([], [], color="0.4", linestyle=how.linestyle, label=side)


def _show_costs(ax: Axes, amounts_in: Amount, unit: SpreadUnit) -> None:
    ax.set_xscale("log")
    ax.set_ylim(bottom=0.0)
    ax.set_xlabel("size of the order, shares" if amounts_in == "shares" else "size of the order, $")
    ax.xaxis.set_major_formatter(FuncFormatter(_plain))
    ax.set_ylabel("cost against the mid, cents" if unit == "cents" else "cost against the mid, bps of the mid")
    make_room(ax)


def _with_ends(steps: pl.DataFrame) -> pl.DataFrame:
    """Add a row of nulls at the end, and wherever a step is not followed by another at once."""
    ahead = pl.col("start").shift(-1)
    ends = steps.filter(ahead.is_null() | (ahead > pl.col("end"))).select(start="end")
    return pl.concat([steps.drop("end"), ends], how="diagonal").sort("start", maintain_order=True)


def _with_breaks(rows: pl.DataFrame) -> pl.DataFrame:
    """Add a row of nulls at the end, and wherever rows are missing between even times."""
    ahead = pl.col("time").diff().shift(-1)
    steps = rows.with_columns(_step=ahead.min().fill_null(pl.duration(seconds=1)), _ahead=ahead)
    ends = pl.col("_ahead").is_null() | (pl.col("_ahead") > pl.col("_step"))
    breaks = steps.filter(ends).select((pl.col("time") + pl.col("_step")).cast(rows.schema["time"]))
    return pl.concat([rows, breaks], how="diagonal").sort("time")


def _unsigned(shares: float, _: int | None) -> str:
    return f"{abs(shares):,.0f}"


def _plain(size: float, _: int | None) -> str:
    return f"{size:,.10g}"


def _clock(hour: float, _: int | None) -> str:
    return "{:02d}:{:02d}".format(*divmod(round(60 * hour), 60))


def _two_sided(ladders: pl.DataFrame) -> pl.DataFrame:
    """Return the books that have a mid, with it."""
    mid = (pl.col("bid_prices").list.first() + pl.col("ask_prices").list.first()) / 2
    rows = checked(ladders, _LISTS, give=_LADDERS).with_columns(_mid=mid)
    return known(rows, ("_mid",), give=_LADDERS)


def _profile(books: pl.DataFrame, side: BookSide, cents: float | None) -> pl.DataFrame:
    """Return the quartiles of the shares up to each ``distance`` (cents); null where a book is not known so far."""
    away = (100 * (pl.col(f"{side}_prices") - pl.col("_mid")).abs()).round(6)
    levels = books.with_row_index("_row").select("_row", "_mid", f"{side}_prices", _size=f"{side}_sizes")
    levels = levels.explode(f"{side}_prices", "_size").select("_row", "_size", _away=away)
    reaches = levels.group_by("_row").agg(pl.col("_away").max(), levels=pl.len())
    limit = reaches.filter(pl.col("levels") == pl.col("levels").max()).select(pl.col("_away").min()).item()
    end = limit if cents is None else cents
    grid = levels.filter(pl.col("_away") <= end)["_away"].unique().sort().to_list()
    grid = [0.0, *grid, *([] if cents is None else [cents])]
    totals = levels.group_by("_row").agg(
        pl.col("_size").filter(pl.col("_away") <= each + _EPSILON).sum().alias(str(at)) for at, each in enumerate(grid)
    )
    parts = {"low": 0.25, "median": 0.5, "high": 0.75}
    found = {name: totals.drop("_row").select(pl.all().quantile(part, "linear")).row(0) for name, part in parts.items()}
    sign = -1 if side == "bid" else 1
    frame = pl.DataFrame({"distance": grid, **found})
    return frame.select(
        pl.col("distance") * sign,
        *(pl.when(pl.col("distance") <= limit + _EPSILON).then(pl.col(name)) for name in parts),
    )


# --- coverage ---
# The figure of a recording's coverage: when each token was followed, and when its book could be trusted.

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
