"""Lengths of time, windows of that length, and the gaps that touch them.

A gap says that something between its start and its end may be missing. What stood when it started was still heard, and
what stood when it ended is known again, so an interval that only meets it at an edge is whole. What was measured over
an interval that a gap touches is flagged or dropped, never averaged over.
"""

import re
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Literal, TypeAlias

import polars as pl

from pmlive.gaps import GapIndex

__all__ = [
    "TIME",
    "Every",
    "Touched",
    "as_of",
    "broken",
    "drop_touched",
    "first_time",
    "last_time",
    "mark",
    "nanoseconds",
    "ordered",
    "placed",
    "positive",
    "touched_by",
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

# "flag" keeps an interval that a gap touches with nulls for what was measured; "drop" leaves it out.
Touched: TypeAlias = Literal["flag", "drop"]

_SPAN = {"_started": "ts_recv", "_ended": "ended"}


def touched_by(intervals: pl.DataFrame, gaps: pl.DataFrame, *, conns: pl.DataFrame | None = None) -> pl.Series:
    """Mark the intervals of which something may be missing.

    An interval ``[start, end)`` is touched by a gap ``(started, ended)`` if ``started < end and ended > start``; a gap
    without an end lasts until another run went on, and one without length touches the interval that it lies in. A gap
    that lasted over several rows of its table counts once, with the end it got at last.

    Args:
        intervals: ``token_id``, ``start`` and ``end`` (UTC, nanoseconds); one that starts at its end is an instant.
        gaps: rows of the table ``gaps``.
        conns: rows with ``token_id`` and ``conn``, which say what tokens came by which connection. A gap without
            ``token_id`` concerns those of its ``conn``. If nothing says so it concerns all tokens, as does one whose
            ``conn`` is 0: the recorder's own.

    Returns:
        Boolean, named ``touched``, one value per interval and in their order.

    >>> at = pl.Series([0, 1, 2], dtype=pl.Int64).cast(pl.Datetime("ms")).cast(pl.Datetime("ns", "UTC"))
    >>> bars = pl.DataFrame({"token_id": "7", "start": at[:2], "end": at[1:]})
    >>> gap = pl.DataFrame({"token_id": "7", "conn": 3, "cause": "mismatch", "started": at[1:2], "ended": at[2:]})
    >>> touched_by(bars, gap).to_list()
    [False, True]
    """
    spans = _spans(gaps, intervals.select("token_id").unique(), conns)
    found = as_of(
        intervals.select("token_id", pl.col("start", "end").cast(TIME)), spans, _SPAN, at="end", when="before"
    )
    reaches = (pl.col("_ended") > pl.col("start")) | (pl.col("_started") >= pl.col("start"))
    return found.select(touched=reaches.fill_null(value=False))["touched"]


def drop_touched(intervals: pl.DataFrame, gaps: pl.DataFrame, *, conns: pl.DataFrame | None = None) -> pl.DataFrame:
    """Leave out the intervals of which something may be missing; arguments as for ``touched_by``."""
    return intervals.filter(~touched_by(intervals, gaps, conns=conns))


def broken(rows: pl.DataFrame, gaps: pl.DataFrame | None) -> pl.Series:
    """Mark the rows before which a gap lies, after the row of the same token before.

    ``rows`` has ``token_id``, ``ts_recv`` and ``conn`` and is in order of time. A token's first row is not broken.
    """
    if gaps is None:
        return pl.Series("touched", [False], dtype=pl.Boolean).new_from_index(0, rows.height)
    steps = rows.select("token_id", start=pl.col("ts_recv").shift(1).over("token_id"), end="ts_recv")
    return touched_by(steps, gaps, conns=rows)


def mark(
    intervals: pl.DataFrame,
    gaps: pl.DataFrame | None,
    *,
    conns: pl.DataFrame,
    measured: Sequence[str],
    touched: Touched,
) -> pl.DataFrame:
    """Add the Boolean ``touched``, and null what was measured where it is true, or leave those rows out.

    A column ``touched`` that is there already counts as well. Without ``gaps`` nobody knows: ``touched`` is null, and
    nothing is left out.

    Raises:
        ValueError: ``touched`` is not one of its two words.
    """
    if touched not in {"flag", "drop"}:
        raise ValueError(f"touched is 'flag' or 'drop', not {touched!r}")
    if gaps is None:
        return intervals.with_columns(touched=pl.lit(None, dtype=pl.Boolean))
    already = pl.col("touched").fill_null(value=False) if "touched" in intervals.columns else pl.lit(value=False)
    found = touched_by(intervals, gaps, conns=conns)
    marked = intervals.with_columns(touched=already | pl.lit(found))
    if touched == "drop":
        return marked.filter(~pl.col("touched"))
    kept = [pl.when(~pl.col("touched")).then(pl.col(name)).alias(name) for name in measured]
    return marked.with_columns(kept)


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


def _spans(gaps: pl.DataFrame, tokens: pl.DataFrame, conns: pl.DataFrame | None) -> pl.DataFrame:
    index, carriers = GapIndex(gaps), _carriers(gaps, conns)
    spans = [
        (token_id, gap.started, gap.until)
        for token_id in tokens["token_id"].to_list()
        for gap in index.of(token_id, conns=None if carriers is None else carriers.get(token_id, ()))
    ]
    schema = {"token_id": tokens["token_id"].dtype, "ts_recv": pl.Int64, "ended": pl.Int64}
    frame = pl.DataFrame(spans, schema=schema, orient="row").with_columns(pl.col("ts_recv", "ended").cast(TIME))
    return ordered(frame).with_columns(pl.col("ended").cum_max().over("token_id"))


def _carriers(gaps: pl.DataFrame, conns: pl.DataFrame | None) -> dict[str, set[int]] | None:
    """Gather the connections of each token from the rows that name them, None where nobody asked for it."""
    if conns is None or "conn" not in conns.columns:
        return None
    found: dict[str, set[int]] = {}
    for frame in (conns, gaps):
        for token_id, conn in frame.select("token_id", "conn").drop_nulls().unique().iter_rows():
            found.setdefault(token_id, set()).add(conn)
    return found


def _numbers(rows: pl.DataFrame) -> pl.Series:
    # The extremes of times would be Python's, which have no nanoseconds.
    return rows["ts_recv"].cast(TIME).cast(pl.Int64)
