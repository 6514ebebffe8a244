"""Lengths of time, windows of that length, and the gaps that touch them.

A gap says that something between its start and its end may be missing. The state at its start was still received, and
the state at its end is known again, so an interval that only meets it at an edge is complete. What was measured over an
interval that a gap touches is measured without the time of the gap, flagged, or dropped: a gap is never averaged over.
"""

import re
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Literal, TypeAlias

import polars as pl

from pmlive.gaps import ENDLESS, GapIndex

__all__ = [
    "TIME",
    "Every",
    "Touched",
    "as_of",
    "broken",
    "by_token_and_time",
    "covered",
    "drop_touched",
    "first_time",
    "label_names",
    "labelled",
    "last_time",
    "lost_until",
    "mark",
    "outside",
    "positive_ns",
    "to_ns",
    "touched_by",
    "window_start",
    "windows",
    "with_resolutions",
    "with_window",
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

# What becomes of an interval that a gap touches: "exclude" measures it without the time of the gap and says how much of
# it was covered, "flag" keeps it with nulls for its measures, "drop" leaves it out.
Touched: TypeAlias = Literal["exclude", "flag", "drop"]

_SPAN = {"_started": "ts_recv", "_ended": "ended"}


def touched_by(intervals: pl.DataFrame, gaps: pl.DataFrame, *, conns: pl.DataFrame | None = None) -> pl.Series:
    """Return for each interval whether a gap touches it, so that something in it may be missing.

    An interval ``[start, end)`` is touched by a gap ``(started, ended)`` if ``started < end and ended > start``. A gap
    without an end lasts until the next run began, and one without length touches the interval that it lies in. A gap
    that has several rows counts once, with the end in the last of them.

    Args:
        intervals: ``token_id``, ``start`` and ``end`` (UTC, nanoseconds); they are equal for an instant.
        gaps: rows of the table ``gaps``.
        conns: rows with ``token_id`` and ``conn``, which show which connections carried a token. A gap without
            ``token_id`` concerns the tokens of its ``conn``, and tokens with a row whose ``conn`` is null, or all
            tokens if ``conn`` is 0 (the recorder's own gap) or ``conns`` is None.

    Returns:
        Booleans, named ``touched``, in the order of the intervals.

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
    """Return the intervals that no gap touches; the arguments are those of ``touched_by``."""
    return intervals.filter(~touched_by(intervals, gaps, conns=conns))


def covered(intervals: pl.DataFrame, gaps: pl.DataFrame, *, conns: pl.DataFrame | None = None) -> pl.Series:
    """Return for each interval the share of its time, 0 to 1, that is in no gap.

    The arguments are those of ``touched_by``. Time in several gaps counts once, a gap without length takes none, and an
    instant is covered or not.

    >>> at = pl.Series([0, 3, 4], dtype=pl.Int64).cast(pl.Datetime("ms")).cast(pl.Datetime("ns", "UTC"))
    >>> hour = pl.DataFrame({"token_id": "7", "start": at[:1], "end": at[2:]})
    >>> gap = pl.DataFrame({"token_id": "7", "conn": 3, "cause": "mismatch", "started": at[1:2], "ended": at[2:]})
    >>> covered(hour, gap).to_list()
    [0.75]
    """
    length = (pl.col("end") - pl.col("start")).dt.total_nanoseconds()
    instant = pl.lit(~touched_by(intervals, gaps, conns=conns)).cast(pl.Float64)
    lost = lost_until(intervals, gaps, "end", conns=conns) - lost_until(intervals, gaps, "start", conns=conns)
    share = (length - pl.lit(lost)) / length
    whole = intervals.select(pl.col("start", "end").cast(TIME))
    return whole.select(covered=pl.when(length > 0).then(share).otherwise(instant))["covered"]


def with_resolutions(gaps: pl.DataFrame, outcomes: pl.DataFrame) -> pl.DataFrame:
    """Return gaps, and from each resolution on another one, in which its tokens have no book and no trades.

    A gap that lasts when a market is resolved ends then, but the book that follows is none; and a market that is over
    is no market without trades. ``outcomes`` has ``token_id`` and ``resolved_at`` (null before), as a recording's
    ``outcomes()``; gaps with the cause ``"resolved"`` are for ``gaps=`` of these functions.

    >>> at = pl.Series([5, None], dtype=pl.Int64).cast(pl.Datetime("ms")).cast(pl.Datetime("ns", "UTC"))
    >>> outcomes = pl.DataFrame({"token_id": ["7", "8"], "resolved_at": at})
    >>> none = {"token_id": pl.String, "conn": pl.UInt32, "cause": pl.String, "started": TIME, "ended": TIME}
    >>> with_resolutions(pl.DataFrame(schema=none), outcomes).select("token_id", "cause").rows()
    [('7', 'resolved')]
    """
    over = outcomes.filter(pl.col("resolved_at").is_not_null()).select(
        pl.lit(0, dtype=gaps.schema["conn"]).alias("conn"),
        pl.col("token_id").cast(gaps.schema["token_id"]),
        started=pl.col("resolved_at").cast(gaps.schema["started"]),
        # One without an end would end where another run of the recorder began.
        ended=pl.lit(ENDLESS).cast(TIME).cast(gaps.schema["ended"]),
        cause=pl.lit("resolved"),
    )
    return pl.concat([gaps.with_columns(pl.col("cause").cast(pl.String)), over], how="diagonal")


def lost_until(
    rows: pl.DataFrame, gaps: pl.DataFrame | None, at: str, *, conns: pl.DataFrame | None = None
) -> pl.Series:
    """Return for each row the nanoseconds that gaps took from its token until the time in a column."""
    if gaps is None or not gaps.height:
        return pl.Series("lost", [0], dtype=pl.Int64).new_from_index(0, rows.height)
    spans = _disjoint(_spans(gaps, rows.select("token_id").unique(), conns))
    found = as_of(
        rows.select("token_id", pl.col(at).cast(TIME)),
        spans,
        {"_started": "ts_recv", "_ended": "ended", "_lost": "_lost"},
        at=at,
    )
    since = (pl.min_horizontal(at, "_ended") - pl.col("_started")).dt.total_nanoseconds()
    return found.select(lost=(pl.col("_lost") + since).fill_null(0))["lost"]


def outside(
    rows: pl.DataFrame, gaps: pl.DataFrame | None, *, touched: Touched, conns: pl.DataFrame | None = None
) -> pl.DataFrame:
    """Return the rows that count: with ``"exclude"`` those that were not received inside a gap, otherwise all."""
    if gaps is None or touched != "exclude":
        return rows
    instants = rows.select("token_id", start="ts_recv", end="ts_recv")
    return rows.filter(~touched_by(instants, gaps, conns=rows if conns is None else conns))


def broken(rows: pl.DataFrame, gaps: pl.DataFrame | None) -> pl.Series:
    """Return for each row whether a gap lies between it and the token's row before.

    ``rows`` has ``token_id``, ``ts_recv`` and ``conn`` and is in order of time. It is False for a token's first row.
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
    """Add the Boolean ``touched``, and where it is true set the measures to null or leave the row out.

    With ``"exclude"``, ``covered`` is added, too: the share of the interval that is in no gap, unless the caller has
    measured it already. Measures are then set to null only where it is 0; that they are of the covered part is the
    caller's business. An existing column ``touched`` counts, too. Without ``gaps`` nothing is known: ``touched`` and
    ``covered`` are null, and no row is left out.

    Raises:
        ValueError: ``touched`` is not one of its three words.
    """
    if touched not in {"exclude", "flag", "drop"}:
        raise ValueError(f"invalid touched {touched!r}; expected 'exclude', 'flag' or 'drop'")
    if gaps is None:
        share = {"covered": pl.lit(None, dtype=pl.Float64)} if touched == "exclude" else {}
        return intervals.with_columns(touched=pl.lit(None, dtype=pl.Boolean), **share)
    already = pl.col("touched").fill_null(value=False) if "touched" in intervals.columns else pl.lit(value=False)
    found = touched_by(intervals, gaps, conns=conns)
    marked = intervals.with_columns(touched=already | pl.lit(found))
    if touched == "drop":
        return marked.filter(~pl.col("touched"))
    if touched == "exclude" and "covered" not in marked.columns:
        marked = marked.with_columns(covered(intervals, gaps, conns=conns))
    known = ~pl.col("touched") if touched == "flag" else pl.col("covered") > 0
    return marked.with_columns(pl.when(known).then(pl.col(name)).alias(name) for name in measured)


def to_ns(every: Every) -> int:
    """Convert a length of time, which may be negative or 0, to nanoseconds."""
    if isinstance(every, timedelta):
        return every // timedelta(microseconds=1) * 1_000
    if not _is_length(every):
        raise ValueError(f"invalid length of time {every!r}; expected one such as '500ms', '5s', '1h30m' or '1d'")
    return (-1 if every.startswith("-") else 1) * sum(int(count) * _UNITS[unit] for count, unit in _parts(every))


def positive_ns(every: Every) -> int:
    """Convert a length of time above 0 to nanoseconds."""
    length = to_ns(every)
    if length <= 0:
        raise ValueError(f"invalid length of time {every!r}; expected one above 0")
    return length


def by_token_and_time(rows: pl.DataFrame) -> pl.DataFrame:
    """Sort by token and receive time; rows of the same instant keep their order."""
    return rows.with_columns(pl.col("ts_recv").cast(TIME)).sort("token_id", "ts_recv", maintain_order=True)


def label_names(rows: pl.DataFrame) -> list[str]:
    """List which of the columns ``slug`` and ``outcome`` the rows have."""
    return [name for name in ("slug", "outcome") if name in rows.columns]


def labelled(found: pl.DataFrame, rows: pl.DataFrame) -> pl.DataFrame:
    """Add ``slug`` and ``outcome`` of each token after its id, where the rows have them and the result does not."""
    names = [name for name in label_names(rows) if name not in found.columns]
    if not names:
        return found
    known = rows.group_by("token_id").agg(_label(name) for name in names)
    whole = found.join(known, on="token_id", how="left", maintain_order="left")
    place = found.columns.index("token_id") + 1
    return whole.select(*found.columns[:place], *names, *found.columns[place:])


def first_time(rows: pl.DataFrame) -> pl.Expr:
    """Return the earliest receive time."""
    return pl.lit(_numbers(rows).min(), dtype=pl.Int64).cast(TIME)


def last_time(rows: pl.DataFrame) -> pl.Expr:
    """Return the latest receive time."""
    return pl.lit(_numbers(rows).max(), dtype=pl.Int64).cast(TIME)


def window_start(every: Every) -> pl.Expr:
    """Return the start of the window that a row is in."""
    return pl.col("ts_recv").cast(TIME).dt.truncate(f"{positive_ns(every)}ns")


def windows(rows: pl.DataFrame, every: Every | None) -> pl.DataFrame:
    """Return ``token_id``, ``start`` and ``end`` of the windows from each token's first row to the frame's last row.

    A window is closed on the left and open on the right, and begins at a whole multiple of its length since 1970.
    Without a length each token has one window, which begins with its first row. ``slug`` and ``outcome`` of the token
    are kept, where the rows have them.
    """
    last, names = last_time(rows), label_names(rows)
    first = rows.group_by("token_id").agg(pl.col("ts_recv").min().cast(TIME), *(_label(name) for name in names))
    if every is None:
        spans = first.select("token_id", *names, start="ts_recv", end=last + pl.duration(nanoseconds=1))
    else:
        length = positive_ns(every)
        starts = pl.int_ranges(window_start(every).cast(pl.Int64), last.cast(pl.Int64) + 1, length)
        spans = (
            first.select("token_id", *names, start=starts)
            .explode("start")
            .with_columns(pl.col("start").cast(TIME))
            .with_columns(end=pl.col("start") + pl.duration(nanoseconds=length))
        )
    return spans.sort("token_id", "start")


def with_window(rows: pl.DataFrame, spans: pl.DataFrame) -> pl.DataFrame:
    """Add the ``start`` of the window that each row is in."""
    return as_of(rows, spans.select("token_id", ts_recv="start"), {"start": "ts_recv"})


def as_of(
    rows: pl.DataFrame,
    facts: pl.DataFrame,
    columns: Mapping[str, str],
    *,
    at: str = "ts_recv",
    when: Literal["at or before", "before"] = "at or before",
) -> pl.DataFrame:
    """Add columns of the token's last fact at or before a time, by new name; null if there is none.

    This is a ``join_asof`` by token without polars' warning that the input may not be sorted.
    """
    known = by_token_and_time(facts).with_row_index("_fact")
    asked = rows.with_row_index("_row")
    turn = pl.lit(1 if when == "at or before" else -1, dtype=pl.Int8)
    both = pl.concat(
        [
            known.select("token_id", "_fact", _at="ts_recv", _turn=pl.lit(0, dtype=pl.Int8)),
            asked.select("token_id", "_row", _at=pl.col(at).cast(TIME), _turn=turn),
        ],
        how="diagonal",
    ).sort("token_id", "_at", "_turn", maintain_order=True)
    found = both.with_columns(pl.col("_fact").forward_fill().over("token_id")).filter(pl.col("_row").is_not_null())
    values = known.select("_fact", **{new: pl.col(old) for new, old in columns.items()})
    return (
        asked.join(found.select("_row", "_fact"), on="_row", how="left")
        .join(values, on="_fact", how="left")
        .sort("_row")
        .drop("_row", "_fact")
    )


def _label(name: str) -> pl.Expr:
    return pl.col(name).drop_nulls().last()


def _spans(gaps: pl.DataFrame, tokens: pl.DataFrame, conns: pl.DataFrame | None) -> pl.DataFrame:
    index, carriers = GapIndex(gaps), _carriers(gaps, conns)
    spans = [
        (token_id, gap.started, gap.until)
        for token_id in tokens["token_id"].to_list()
        for gap in index.of(token_id, conns=None if carriers is None else carriers.get(token_id, ()))
    ]
    schema = {"token_id": tokens["token_id"].dtype, "ts_recv": pl.Int64, "ended": pl.Int64}
    frame = pl.DataFrame(spans, schema=schema, orient="row").with_columns(pl.col("ts_recv", "ended").cast(TIME))
    return by_token_and_time(frame).with_columns(pl.col("ended").cum_max().over("token_id"))


def _disjoint(spans: pl.DataFrame) -> pl.DataFrame:
    """Cut overlaps from spans in order of time, and add how much time was lost before each."""
    reached = pl.col("ended").shift(1).over("token_id")
    cut = spans.with_columns(ts_recv=pl.max_horizontal("ts_recv", reached)).filter(pl.col("ended") > pl.col("ts_recv"))
    length = pl.col("ended").cast(pl.Int64) - pl.col("ts_recv").cast(pl.Int64)
    return cut.with_columns(_lost=(length.cum_sum() - length).over("token_id"))


def _carriers(gaps: pl.DataFrame, conns: pl.DataFrame | None) -> dict[str, set[int] | None] | None:
    """Return the connections that carried each token, None if these are not known; None if they do not matter."""
    if conns is None or "conn" not in conns.columns:
        return None
    found: dict[str, set[int]] = {}
    for frame in (conns, gaps):
        for token_id, conn in frame.select("token_id", "conn").drop_nulls().unique().iter_rows():
            found.setdefault(token_id, set()).add(conn)
    # A recording's frame of ladders does not name the connection of a row: it may be any.
    unnamed = conns.filter(pl.col("conn").is_null())["token_id"].unique().to_list()
    return {**found, **dict.fromkeys(unnamed)}


def _numbers(rows: pl.DataFrame) -> pl.Series:
    # As times the extremes would be Python's datetimes, which have no nanoseconds.
    return rows["ts_recv"].cast(TIME).cast(pl.Int64)
