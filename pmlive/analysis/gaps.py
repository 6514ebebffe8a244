"""Intervals that a gap touches: what was measured over them is flagged or dropped, never averaged over.

A gap says that something between its start and its end may be missing. What stood when it started was still heard, and
what stood when it ended is known again, so an interval that only meets it at an edge is whole.
"""

from collections.abc import Sequence
from typing import Literal, TypeAlias

import polars as pl

from pmlive.analysis._time import TIME, as_of, ordered
from pmlive.gaps import GapIndex

__all__ = ["Touched", "broken", "drop_touched", "mark", "touched_by"]

# "flag" keeps an interval that a gap touches with nulls for what was measured; "drop" leaves it out.
Touched: TypeAlias = Literal["flag", "drop"]


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


_SPAN = {"_started": "ts_recv", "_ended": "ended"}


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
