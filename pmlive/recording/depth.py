"""The best levels of a book at the end of each interval of a grid."""

from collections.abc import Iterator, Sequence
from typing import cast

import numpy as np
import polars as pl

from pmlive.recording.contents import collect
from pmlive.recording.grids import Flags, Grid, within
from pmlive.recording.known import Known
from pmlive.recording.ladders import Changes, Ladders, Resets, Whole, lists
from pmlive.recording.moments import MINUTE, BaseRow, base_row, changes_of, fitted_minutes, put_on
from pmlive.recording.trust import Event, Timeline

__all__ = ["depth"]

_QUALITY = pl.Enum(["verified", "unverifiable", "stale"])
_LEVELS = pl.List(pl.Float64)


def depth(known: Known, token_id: str, grid: Grid, levels: int) -> pl.DataFrame:
    """Make the best levels of a token's book at the end of each interval."""
    schema = ("bid_prices", "bid_sizes", "ask_prices", "ask_sizes")
    timeline = known.timelines.get(token_id)
    if timeline is None or not len(grid.starts):
        nothing = [pl.lit(None, dtype=_LEVELS).alias(name) for name in schema]
        return pl.DataFrame({"time": grid.times}).with_columns(
            pl.lit("stale", dtype=_QUALITY).alias("quality"), *nothing
        )
    stream = _Stream(known, timeline, grid)
    trusted = within(timeline.spans(), grid.lasts)
    columns = stream.best(trusted, levels)
    quality = pl.Series(np.where(trusted, np.where(stream.verified(), "verified", "unverifiable"), "stale"))
    kept = pl.Series(trusted)
    return pl.DataFrame({"time": grid.times, "quality": quality.cast(_QUALITY)}).with_columns(
        pl.when(kept).then(column).otherwise(None).alias(name) for name, column in zip(schema, columns, strict=True)
    )


class _Stream:
    """What happened to one token's book, in the order in which it applies, with where each interval ends in it."""

    def __init__(self, known: Known, timeline: Timeline, grid: Grid) -> None:
        self._grid = grid
        first, last = int(grid.starts[0]), int(grid.lasts[-1])
        events = list(_beginnings(timeline.events, first, last))
        since = min([first, *(event.recv for event in events[:1])])
        self._changes = changes_of(known.contents, timeline.token_id, since, last)
        self._sets = np.array(known.times, dtype=np.int64)
        self._told = np.isin(self._sets, _verified_keyframes(known, timeline.token_id, last))
        self._minutes = fitted_minutes(known.contents, timeline.token_id, None, last)
        parts = list(_parts(known, events, self._changes))
        self._resets = Resets(_starts([part.height for part in parts]), np.zeros(len(parts), dtype=np.int64))
        self._rows = pl.concat(parts) if parts else _EMPTY

    def best(self, trusted: Flags, levels: int) -> list[pl.Series]:
        """Give the best levels after each interval, of bids and asks, prices and sizes."""
        rows = self._rows
        changes = Changes(
            np.zeros(rows.height, dtype=np.int64),
            rows["bid"].to_numpy(),
            rows["price"].to_numpy(),
            rows["size"].to_numpy(),
        )
        books = Ladders(changes, self._resets, tokens=1)
        stops = np.searchsorted(rows["recv"].to_numpy(), self._grid.lasts, side="right")
        # A book that did not change is not looked at again.
        looked, which = np.unique(stops[trusted], return_inverse=True)
        found = np.full((4, len(looked), levels), np.nan)
        for number, stop in enumerate(looked):
            books.advance(int(stop))
            found[0::2, number], found[1::2, number] = books.best(levels)
        row = np.full(len(stops), 0)
        row[trusted] = which
        shown = [lists(side) if len(looked) else pl.Series([], dtype=_LEVELS) for side in found]
        index = pl.Series(row if len(looked) else np.array([], dtype=np.int64))
        return [side.gather(index) if len(looked) else _nulls(len(stops)) for side in shown]

    def verified(self) -> Flags:
        """Tell at the end of which intervals a hash of the venue had been reproduced."""
        checks = self._changes.filter(pl.col("check").cast(pl.String) == "verified")
        whole = self._whole_minutes()
        times = np.concatenate([checks["ts_recv"].dt.epoch("ns").to_numpy(), whole, self._sets])
        fits = np.concatenate([np.ones(checks.height + len(whole), dtype=np.bool_), self._told])
        order = np.argsort(times, kind="stable")
        index = np.searchsorted(times[order], self._grid.lasts, side="right")
        return np.concatenate([[False], fits[order]])[index]

    def _whole_minutes(self) -> Whole:
        """Leave out the minutes in which keyframes were written: those say what was known then."""
        ends = np.array(self._minutes, dtype=np.int64)
        before = np.searchsorted(self._sets, ends - MINUTE, side="right")
        return ends[before == np.searchsorted(self._sets, ends, side="right")]


_EMPTY = pl.DataFrame(schema={"recv": pl.Int64, "bid": pl.Boolean, "price": pl.Float64, "size": pl.Float64})


def _nulls(height: int) -> pl.Series:
    return pl.Series([None] * height, dtype=_LEVELS)


def _beginnings(events: Sequence[Event], first: int, last: int) -> Iterator[Event]:
    """List where books are made anew for a part of the time; a keyframe of a book that goes on says nothing new."""
    before: Event | None = None
    kept: list[Event] = []
    for event in events:
        if event.recv > last:
            break
        goes_on = before is not None and before.begins and event.kind == "keyframe" and event.conn == before.conn
        before = event
        if event.begins and (event.recv <= first or not goes_on):
            kept = [event] if event.recv <= first else [*kept, event]
    yield from kept


def _starts(heights: Sequence[int]) -> Whole:
    return np.concatenate([[0], np.cumsum(heights)[:-1]]).astype(np.int64) if heights else np.array([], dtype=np.int64)


def _verified_keyframes(known: Known, token_id: str, until: int) -> list[int]:
    rows = known.contents.scan("keyframes", until=until).filter(pl.col("token_id") == token_id)
    told = rows.filter(pl.col("state").cast(pl.String) == "verified").select(pl.col("ts_recv").dt.epoch("ns"))
    return cast("list[int]", collect(known.contents, "keyframes", told)["ts_recv"].to_list())


def _parts(known: Known, events: Sequence[Event], changes: pl.DataFrame) -> Iterator[pl.DataFrame]:
    """Lay out each whole book, and the changes that come on top of it until another whole one comes."""
    seq, recv = changes["seq"].to_numpy(), changes["ts_recv"].dt.epoch("ns").to_numpy()
    for event, following in zip(events, [*events[1:], None], strict=False):
        base = base_row(known.contents, event)
        start = np.searchsorted(recv, event.recv)
        stop = len(seq) if following is None else int(np.searchsorted(seq, following.seq))
        mine = changes.slice(int(start), max(0, stop - int(start)))
        applied = put_on(mine, event).select(
            recv=pl.col("ts_recv").dt.epoch("ns"),
            bid=pl.col("side").cast(pl.String) == "bid",
            price="price",
            size="size",
        )
        yield pl.concat([_whole(base, event), applied])


def _whole(base: BaseRow, event: Event) -> pl.DataFrame:
    # The first row is no level: a book may be empty, and has to begin all the same.
    bids, asks = 1 + len(base.bid_prices), len(base.ask_prices)
    return pl.DataFrame(
        {
            "recv": [event.recv] * (bids + asks),
            "bid": [True] * bids + [False] * asks,
            "price": [0.0, *base.bid_prices, *base.ask_prices],
            "size": [0.0, *base.bid_sizes, *base.ask_sizes],
        },
        schema=_EMPTY.schema,
    )
