"""Values at even times, and how they change from then on."""

from collections.abc import Sequence

import polars as pl

from pmlive.analysis._intervals import (
    Every,
    Touched,
    as_of,
    by_token_and_time,
    label_names,
    last_time,
    mark,
    positive_ns,
    windows,
)

__all__ = ["forward_changes", "sample", "sample_mids"]


def sample(
    states: pl.DataFrame,
    step: Every = "1s",
    *,
    values: Sequence[str] = ("mid", "spread"),
    gaps: pl.DataFrame | None = None,
    touched: Touched = "flag",
) -> pl.DataFrame:
    """Return values at every whole ``step``, from each token's first row to the frame's last.

    ``states`` has ``token_id``, ``ts_recv`` and the values, and each row stands until the token's next one: quotes, or
    what ``quote_measures`` and ``ladder_measures`` return. Unlike the rows of ``Recording.prices(every=…)``, which are
    named by the start of an interval and have its last values, these are what was known at ``ts_recv``.

    Returns ``token_id``, ``ts_recv`` (the instant), the values (of the last row at or before it; null while a gap
    lasts) and ``touched``; with ``touched="exclude"`` also ``covered``, 0 in a gap and else 1.

    Raises:
        ValueError: ``step`` is not a length of time above 0, or a column is missing.

    >>> at = pl.Series([0, 700, 2500], dtype=pl.Int64).cast(pl.Datetime("ms")).cast(pl.Datetime("ns", "UTC"))
    >>> quotes = pl.DataFrame({"token_id": "7", "ts_recv": at, "mid": [0.4, 0.6, 0.5]})
    >>> sample(quotes, "1s", values=["mid"])["mid"].to_list()
    [0.4, 0.6, 0.6]
    """
    missing = [name for name in values if name not in states.columns]
    if missing:
        raise ValueError(f"the frame has no columns {missing!r}, only {states.columns!r}")
    names = [name for name in label_names(states) if name not in values]
    grid = windows(states, step).select("token_id", *names, ts_recv="start")
    found = as_of(grid, states, {**{name: name for name in values}, "_stood": "ts_recv"})
    inside = found.filter(pl.col("_stood").is_not_null()).drop("_stood")
    instants = inside.with_columns(start="ts_recv", end="ts_recv")
    return mark(instants, gaps, conns=states, measured=values, touched=touched).drop("start", "end")


def sample_mids(
    prices: pl.DataFrame, step: Every = "1s", *, gaps: pl.DataFrame | None = None, touched: Touched = "flag"
) -> pl.DataFrame:
    """Return the mid at every whole ``step``, from each token's first quote to the frame's last.

    Returns ``token_id``, ``ts_recv`` (the instant), ``mid`` (of the last quote at or before it; null while a side is
    empty or a gap lasts) and ``touched``; with ``touched="exclude"`` also ``covered``, 0 in a gap and else 1.

    Raises:
        ValueError: ``step`` is not a length of time above 0.
    """
    return sample(prices, step, values=("mid",), gaps=gaps, touched=touched)


def forward_changes(
    states: pl.DataFrame, after: Every, *, value: str = "mid", gaps: pl.DataFrame | None = None
) -> pl.DataFrame:
    """Add how much a value changes from each row's instant until a time later: forward returns.

    Args:
        states: rows with ``token_id``, ``ts_recv`` and the value, each of which stands until the token's next one.
        after: the length of time, such as ``"10s"``.
        value: the column.
        gaps: rows of the table ``gaps``.

    Returns:
        The rows in order of token and time, with ``change``: the value ``after`` later less the value of the row. It is
        null where either is, where the frame ends before, and where a gap touches the time between them, as ``touched``
        says (null without ``gaps``).

    Raises:
        ValueError: ``after`` is not a length of time above 0, or the column is missing.

    >>> at = pl.Series([0, 700, 2500], dtype=pl.Int64).cast(pl.Datetime("ms")).cast(pl.Datetime("ns", "UTC"))
    >>> quotes = pl.DataFrame({"token_id": "7", "ts_recv": at, "mid": [0.4, 0.6, 0.5]})
    >>> forward_changes(quotes, "1s")["change"].round(2).to_list()
    [0.2, 0.0, None]
    """
    if value not in states.columns:
        raise ValueError(f"the frame has no column {value!r}, only {states.columns!r}")
    rows = by_token_and_time(states).with_columns(
        start="ts_recv", end=pl.col("ts_recv") + pl.duration(nanoseconds=positive_ns(after))
    )
    ahead = as_of(rows, states, {"_ahead": value}, at="end")
    known = pl.col("end") <= last_time(states)
    moved = ahead.with_columns(change=pl.when(known).then(pl.col("_ahead") - pl.col(value)))
    begun = moved.drop("touched", "covered", strict=False)
    return mark(begun, gaps, conns=states, measured=("change",), touched="flag").drop("start", "end", "_ahead")
