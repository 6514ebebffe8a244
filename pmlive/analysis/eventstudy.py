"""Event studies: measures around events, compared with those around random times of the same tokens."""

from collections.abc import Sequence
from typing import Literal, TypeAlias

import msgspec
import numpy as np
import polars as pl

from pmlive.analysis._intervals import (
    TIME,
    Every,
    Touched,
    as_of,
    by_token_and_time,
    label_names,
    labelled,
    last_time,
    mark,
    positive_ns,
    to_ns,
    touched_by,
)

__all__ = ["EventWindow", "Measure", "align", "event_study", "placebos"]

# "level" takes values as they are, "change" subtracts those at the last step before the event.
Measure: TypeAlias = Literal["level", "change"]


class EventWindow(msgspec.Struct, frozen=True, kw_only=True):
    """The time around an event, and the step at which it is sampled."""

    before: Every = "1m"
    after: Every = "2m"
    step: Every = "1s"

    def offsets(self) -> list[int]:
        """List the instants in nanoseconds from the event, which are whole multiples of the step, including 0.

        Raises:
            ValueError: ``step`` is not above 0, or another length is below 0.
        """
        step, before, after = positive_ns(self.step), to_ns(self.before), to_ns(self.after)
        if before < 0 or after < 0:
            raise ValueError(f"invalid before {self.before!r} or after {self.after!r}; expected lengths of 0 or more")
        return [step * k for k in range(-(before // step), after // step + 1)]


def align(
    frame: pl.DataFrame,
    events: pl.DataFrame,
    values: Sequence[str] = ("mid", "spread"),
    *,
    window: EventWindow | None = None,
    gaps: pl.DataFrame | None = None,
    touched: Touched = "flag",
) -> pl.DataFrame:
    """Return values around events, which have ``ts_recv`` and ``token_id``, or ``slug`` and ``outcome`` in its place.

    ``values`` are numeric columns of the frame, whose rows stand until the token's next one: quotes, or the result of
    ``ladder_measures``. The window is by default from a minute before to two minutes after, in steps of a second. An
    event is flagged or dropped if a gap touches its window; with ``"exclude"`` only what lies in a gap is null.

    Returns ``event`` (the number of its row), ``token_id``, with ``slug`` and ``outcome`` where the frame has them,
    ``offset`` (Duration), the values, ``updates`` (rows since
    the offset before, null at the first) and ``touched``; with ``"exclude"`` also ``covered``, the share of the event's
    window in which no gap lasted. Values are null before the token's first row and after the frame's last.

    Raises:
        ValueError: the step of the window is not above 0, another length is below 0, or events name no token of the
            frame.
    """
    offsets = (window or EventWindow()).offsets()
    grid = _grid(_with_tokens(events, frame), offsets)
    counted = by_token_and_time(frame).with_columns(
        _count=pl.col("ts_recv").cum_count().over("token_id").cast(pl.Int64)
    )
    read = as_of(grid, counted, {"_count": "_count", **{name: name for name in values}}, at="_at")
    known = pl.col("_at") <= last_time(frame)
    rows = read.with_columns(updates=pl.col("_count").fill_null(0).diff().over("event")).with_columns(
        *(pl.when(known).then(pl.col(name)).alias(name) for name in (*values, "updates")),
        start=pl.col("_zero") + pl.duration(nanoseconds=offsets[0]),
        end=pl.col("_zero") + pl.duration(nanoseconds=offsets[-1]),
    )
    if touched == "exclude" and gaps is not None:
        rows = _without_gaps(rows, gaps, values, conns=frame)
    marked = mark(rows, gaps, conns=frame, measured=(*values, "updates"), touched=touched)
    return labelled(marked.drop("start", "end", "_zero", "_at", "_count"), frame)


def placebos(
    frame: pl.DataFrame, events: pl.DataFrame, *, draws: int, window: EventWindow | None = None, seed: int = 0
) -> pl.DataFrame:
    """Draw a number of random times for each event, so that their windows lie within the token's time.

    A token's time is from its first row to the frame's last. Returns ``draw``, ``token_id`` and ``ts_recv``; equal
    seeds give equal times.

    Raises:
        ValueError: a token of an event is not in the frame, or its time is shorter than the window.
    """
    offsets, events = (window or EventWindow()).offsets(), _with_tokens(events, frame)
    first = frame.group_by("token_id").agg(_first=pl.col("ts_recv").min().cast(TIME).cast(pl.Int64))
    last = last_time(frame).cast(pl.Int64)
    room = events.select("token_id").join(first, on="token_id", how="left", maintain_order="left")
    room = room.with_columns(_low=pl.col("_first") - offsets[0]).with_columns(_room=last - offsets[-1] - pl.col("_low"))
    short = room.filter(~(pl.col("_room") >= 0).fill_null(value=False))["token_id"].unique().to_list()
    if short:
        raise ValueError(f"these tokens have less time in the frame than the window takes: {short!r}")
    chances = np.random.default_rng(seed).random((draws, room.height)).ravel()
    many = pl.DataFrame({"draw": range(draws)}, schema={"draw": pl.Int64}).join(room, how="cross")
    at = pl.col("_low") + (pl.col("_room") * pl.lit(pl.Series(chances))).cast(pl.Int64)
    return many.select("draw", "token_id", ts_recv=at.cast(TIME))


def event_study(
    frame: pl.DataFrame,
    events: pl.DataFrame,
    values: Sequence[str] = ("mid", "spread"),
    *,
    measure: Measure = "level",
    window: EventWindow | None = None,
    gaps: pl.DataFrame | None = None,
    draws: int = 100,
    seed: int = 0,
) -> pl.DataFrame:
    """Return medians over events at each offset, with those over as many random times of the same tokens.

    Returns, per ``offset`` (Duration) and ``value`` (its name; ``updates`` too), ``median``, ``n`` (events with a
    value), and of the medians of the draws ``null_low``, ``null_median`` and ``null_high`` (2.5, 50 and 97.5 %).
    Windows that a gap touches, of events and of random times, are left out. Arguments are those of ``align``.

    Raises:
        ValueError: as ``align`` and ``placebos``; or ``measure`` is not one of its two words.
    """
    if measure not in {"level", "change"}:
        raise ValueError(f"invalid measure {measure!r}; expected 'level' or 'change'")
    real = _long(align(frame, events, values, window=window, gaps=gaps, touched="drop"), values, measure)
    drawn = placebos(frame, events, draws=draws, window=window, seed=seed)
    random = align(frame, drawn, values, window=window, gaps=gaps, touched="drop")
    draw = drawn.select("draw").with_row_index("event")
    null = _long(random, values, measure).join(draw, on="event").group_by("offset", "value", "draw")
    medians = null.agg(pl.col("number").median()).group_by("offset", "value")
    number = pl.col("number")
    low, high = (number.quantile(part, "linear") for part in (0.025, 0.975))
    bands = medians.agg(null_low=low, null_median=number.median(), null_high=high)
    found = real.group_by("offset", "value").agg(median=number.median(), n=number.count())
    return found.join(bands, on=["offset", "value"], how="left").sort("value", "offset")


def _grid(events: pl.DataFrame, offsets: Sequence[int]) -> pl.DataFrame:
    numbered = events.select("token_id", _zero=pl.col("ts_recv").cast(TIME)).with_row_index("event")
    steps = pl.DataFrame({"offset": offsets}, schema={"offset": pl.Int64}).cast(pl.Duration("ns"))
    return numbered.join(steps, how="cross").with_columns(_at=pl.col("_zero") + pl.col("offset"))


def _with_tokens(events: pl.DataFrame, frame: pl.DataFrame) -> pl.DataFrame:
    """Return events with ``token_id``, which the frame tells of those that have ``slug`` and ``outcome`` instead."""
    if "token_id" in events.columns:
        return events
    if label_names(events) != ["slug", "outcome"] or label_names(frame) != ["slug", "outcome"]:
        raise ValueError(
            f"events have the columns {events.columns!r}; expected 'ts_recv' with 'token_id', or with 'slug' and "
            "'outcome' if the frame has these, too"
        )
    named = [pl.col(name).cast(pl.String) for name in ("slug", "outcome")]
    tokens = frame.select("token_id", *named).drop_nulls().unique()
    found = events.with_columns(named).join(tokens, on=["slug", "outcome"], how="left", maintain_order="left")
    unknown = found.filter(pl.col("token_id").is_null()).select("slug", "outcome").unique(maintain_order=True).rows()
    if unknown:
        raise ValueError(f"the frame has no rows of {unknown!r}, which events name by slug and outcome")
    return found


def _without_gaps(
    rows: pl.DataFrame, gaps: pl.DataFrame, values: Sequence[str], *, conns: pl.DataFrame
) -> pl.DataFrame:
    instants = rows.select("token_id", start="_at", end="_at")
    steps = rows.select("token_id", start=pl.col("_at").shift(1).over("event").fill_null(pl.col("_at")), end="_at")
    inside, cut = (pl.lit(touched_by(each, gaps, conns=conns)) for each in (instants, steps))
    return rows.with_columns(
        *(pl.when(~inside).then(pl.col(name)).alias(name) for name in values),
        updates=pl.when(~cut).then(pl.col("updates")),
    )


def _long(aligned: pl.DataFrame, values: Sequence[str], measure: Measure) -> pl.DataFrame:
    if measure == "change":
        base = pl.col("offset") < pl.duration(nanoseconds=0)
        aligned = aligned.with_columns(pl.col(name) - pl.col(name).filter(base).last().over("event") for name in values)
    return aligned.with_columns(pl.col("updates").cast(pl.Float64)).unpivot(
        on=[*values, "updates"], index=["event", "offset"], variable_name="value", value_name="number"
    )
