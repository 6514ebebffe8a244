"""Questions to a table as lazy frames, and the gaps that touch what is asked."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import cast

import polars as pl

from pmlive.gaps import ENDLESS, GapIndex
from pmlive.mcp.answers import RefusalError
from pmlive.mcp.asks import QueryRecording
from pmlive.mcp.texts import Row
from pmlive.times import interval, moment, nanoseconds

__all__ = ["chosen", "grouped", "overlapping", "touched"]

# Of the lists that a book is, so many levels.
_LEVELS = 10
_NUMBERS: Mapping[str, Callable[[str], pl.Expr]] = {
    "min": lambda name: pl.col(name).min(),
    "max": lambda name: pl.col(name).max(),
    "mean": lambda name: pl.col(name).mean(),
    "sum": lambda name: pl.col(name).sum(),
}
_ANY: Mapping[str, Callable[[str], pl.Expr]] = {
    "first": lambda name: pl.col(name).first(),
    "last": lambda name: pl.col(name).last(),
}
# What rows are told apart by, which is not counted or averaged.
_KEYS = ("seq", "ts_event", "ts_recv", "conn", "token_id", "market")


def chosen(rows: pl.LazyFrame, ask: QueryRecording) -> pl.LazyFrame:
    """Give the first rows, or the last, and one more, so that it can be told whether there are more."""
    schema = rows.collect_schema()
    names = _columns(schema, ask)
    told = rows.select(_shown(name, schema[name]) for name in names)
    return told.tail(ask.limit + 1) if ask.last else told.head(ask.limit + 1)


def grouped(rows: pl.LazyFrame, ask: QueryRecording) -> pl.LazyFrame:
    """Give one row for each token, and for each interval of its own if they were asked for."""
    schema = rows.collect_schema()
    by = [pl.col("token_id")] if "token_id" in schema else []
    if ask.every is not None:
        by = [pl.col("ts_recv").dt.truncate(ask.every).alias("time"), *by]
    values = [pl.len().alias("rows"), *(_aggregates(schema, ask))]
    told = rows.group_by(by).agg(values).sort([one.meta.output_name() for one in by]) if by else rows.select(values)
    return told.tail(ask.limit + 1) if ask.last else told.head(ask.limit + 1)


def overlapping(gaps: GapIndex, token_id: str | None, start: int | None, end: int | None) -> list[Row]:
    """List the gaps of a token, or all, that touch a range of receive times (nanoseconds since 1970)."""
    found = gaps.between(token_id, start or 0, ENDLESS if end is None else end, conns=())
    return [
        {
            "token_id": gap.token_id,
            "started": moment(gap.started),
            "ended": None if gap.ended is None else moment(gap.ended),
            "cause": gap.cause,
        }
        for gap in found
    ]


def touched(rows: list[Row], gaps: GapIndex, every: str) -> list[Row]:
    """Mark the intervals that a gap touches; ``time`` of a row is the start of its interval."""
    length = interval(every)
    marked: list[Row] = []
    for row in rows:
        start = nanoseconds(cast("datetime", row["time"]))
        token_id = cast("str | None", row.get("token_id"))
        marked.append(row | {"touched": bool(gaps.between(token_id, start, start + length, conns=()))})
    return marked


def _columns(schema: pl.Schema, ask: QueryRecording) -> list[str]:
    if ask.columns is None:
        return list(schema)
    unknown = [name for name in ask.columns if name not in schema]
    if unknown:
        raise RefusalError(f"{len(unknown)} of the columns are not in this table; ask for some of: {', '.join(schema)}")
    return list(dict.fromkeys(ask.columns))


def _aggregates(schema: pl.Schema, ask: QueryRecording) -> list[pl.Expr]:
    names = [name for name in _columns(schema, ask) if name not in _KEYS]
    how = ask.aggregate or "count"
    if how in _ANY:
        return [_ANY[how](name) for name in names if not schema[name].is_nested()]
    if how in _NUMBERS:
        return [_NUMBERS[how](name) for name in names if schema[name].is_numeric()]
    return []


def _shown(name: str, kind: pl.DataType) -> pl.Expr:
    return pl.col(name).list.head(_LEVELS) if isinstance(kind, pl.List) else pl.col(name)
