"""Lengths of time, windows of that length, and joins of rows with the last fact before them."""

import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Literal, TypeAlias

import polars as pl

__all__ = [
    "TIME",
    "Every",
    "as_of",
    "first_time",
    "last_time",
    "nanoseconds",
    "ordered",
    "placed",
    "positive",
    "window_start",
    "windows",
]

# "500ms", "5s", "1h30m", or a timedelta.
Every: TypeAlias = str | timedelta

TIME = pl.Datetime("ns", "UTC")

_UNITS = {
    "ns": 1,
    "us": 1_000,
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "m": 60_000_000_000,
    "h": 3_600_000_000_000,
    "d": 86_400_000_000_000,
}
_PART = "([0-9]+)(ns|us|ms|s|m|h|d)"
_is_length = re.compile(f"-?(?:{_PART})+", re.ASCII).fullmatch
_parts = re.compile(_PART, re.ASCII).findall


def nanoseconds(every: Every) -> int:
    """Read a length of time, which may be negative or 0, as nanoseconds."""
    if isinstance(every, timedelta):
        return every // timedelta(microseconds=1) * 1_000
    if not _is_length(every):
        raise ValueError(f"invalid length of time {every!r}; expected one such as '500ms', '5s', '1h30m' or '1d'")
    return (-1 if every.startswith("-") else 1) * sum(int(count) * _UNITS[unit] for count, unit in _parts(every))


def positive(every: Every) -> int:
    """Read a length of time that is above 0, as nanoseconds."""
    length = nanoseconds(every)
    if length <= 0:
        raise ValueError(f"a length of time above 0 is needed here, not {every!r}")
    return length


def ordered(rows: pl.DataFrame) -> pl.DataFrame:
    """Sort by token and time of receipt; rows of one instant stay in the order they are in."""
    return rows.with_columns(pl.col("ts_recv").cast(TIME)).sort("token_id", "ts_recv", maintain_order=True)


def first_time(rows: pl.DataFrame) -> pl.Expr:
    """Return the time of the frame's first row."""
    return pl.lit(_numbers(rows).min(), dtype=pl.Int64).cast(TIME)


def last_time(rows: pl.DataFrame) -> pl.Expr:
    """Return the time of the frame's last row."""
    return pl.lit(_numbers(rows).max(), dtype=pl.Int64).cast(TIME)


def window_start(every: Every) -> pl.Expr:
    """Return the start of the window that a row is in."""
    return pl.col("ts_recv").cast(TIME).dt.truncate(f"{positive(every)}ns")


def windows(rows: pl.DataFrame, every: Every | None) -> pl.DataFrame:
    """List ``token_id``, ``start`` and ``end`` of the windows from each token's first row to the frame's last row.

    A window is closed on the left and open on the right, and begins at a whole multiple of its length since 1970;
    without a length each token has one, from its first row on.
    """
    last = last_time(rows)
    first = rows.group_by("token_id").agg(pl.col("ts_recv").min().cast(TIME))
    if every is None:
        spans = first.select("token_id", start="ts_recv", end=last + pl.duration(nanoseconds=1))
    else:
        length = positive(every)
        starts = pl.int_ranges(window_start(every).cast(pl.Int64), last.cast(pl.Int64) + 1, length)
        spans = (
            first.select("token_id", start=starts)
            .explode("start")
            .with_columns(pl.col("start").cast(TIME))
            .with_columns(end=pl.col("start") + pl.duration(nanoseconds=length))
        )
    return spans.sort("token_id", "start")


def placed(rows: pl.DataFrame, spans: pl.DataFrame) -> pl.DataFrame:
    """Add the ``start`` of the window of its token that each row is in."""
    return as_of(rows, spans.select("token_id", ts_recv="start"), {"start": "ts_recv"})


def as_of(
    rows: pl.DataFrame,
    facts: pl.DataFrame,
    columns: Mapping[str, str],
    *,
    at: str = "ts_recv",
    when: Literal["at or before", "before"] = "at or before",
) -> pl.DataFrame:
    """Add, by new name, columns of the last fact about the same token at or before a time; null if there is none.

    Not a ``join_asof`` by token, which warns that its input may not be sorted.
    """
    told = ordered(facts).with_row_index("_fact")
    asked = rows.with_row_index("_row")
    turn = pl.lit(1 if when == "at or before" else -1, dtype=pl.Int8)
    both = pl.concat(
        [
            told.select("token_id", "_fact", _at="ts_recv", _turn=pl.lit(0, dtype=pl.Int8)),
            asked.select("token_id", "_row", _at=pl.col(at).cast(TIME), _turn=turn),
        ],
        how="diagonal",
    ).sort("token_id", "_at", "_turn", maintain_order=True)
    found = both.with_columns(pl.col("_fact").forward_fill().over("token_id")).filter(pl.col("_row").is_not_null())
    values = told.select("_fact", **{new: pl.col(old) for new, old in columns.items()})
    return (
        asked.join(found.select("_row", "_fact"), on="_row", how="left")
        .join(values, on="_fact", how="left")
        .sort("_row")
        .drop("_row", "_fact")
    )


def _numbers(rows: pl.DataFrame) -> pl.Series:
    # The extremes of times would be Python's, which have no nanoseconds.
    return rows["ts_recv"].cast(TIME).cast(pl.Int64)
