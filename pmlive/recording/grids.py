"""Tables on a grid of times: tops, bars and depth of books where they could be trusted."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
import polars as pl

from pmlive.gaps import GapInterval
from pmlive.recording.book_at import BaseRow, base_row, changes_of, put_on
from pmlive.recording.contents import collect
from pmlive.recording.index import RecordingIndex
from pmlive.recording.trust import Event, Span, Timeline, proof_history

__all__ = [
    "TIME",
    "Changes",
    "Flags",
    "Floats",
    "Grid",
    "Ladders",
    "Resets",
    "Whole",
    "bars",
    "depth",
    "lists",
    "prices",
    "sampled",
    "within",
]

Flags: TypeAlias = npt.NDArray[np.bool_]
Floats: TypeAlias = npt.NDArray[np.float64]
Whole: TypeAlias = npt.NDArray[np.int64]

TIME = pl.Datetime("ns", "UTC")
_MOST = 20_000_000
# Nearly all prices are on this grid, where cells are found without sorting.
_GRID = 10_000
_QUALITY = pl.Enum(["verified", "unverifiable", "stale"])
_LEVELS = pl.List(pl.Float64)
_EMPTY = pl.DataFrame(schema={"recv": pl.Int64, "bid": pl.Boolean, "price": pl.Float64, "size": pl.Float64})
_TOP = ("best_bid", "best_bid_size", "best_ask", "best_ask_size", "mid", "spread")


class Grid:
    """Intervals of equal length, each named by its start and without its end; the first and the last are whole ones.

    Raises:
        ValueError: there are too many.
    """

    def __init__(self, known: RecordingIndex, every: int, start: int | None, end: int | None) -> None:
        first, last = known.contents.first_recv(), known.contents.last_recv()
        self.every = every
        begin = (first or 0) if start is None else start
        stop = (0 if last is None else last + 1) if end is None else end
        if (stop - begin) // every > _MOST:
            raise ValueError(
                f"{(stop - begin) // every:,} intervals are too many; make them longer, or give start and end"
            )
        self.starts: Whole = np.arange(begin // every * every, max(stop, begin), every, dtype=np.int64)
        # The last time within each.
        self.lasts: Whole = self.starts + every - 1

    @property
    def times(self) -> pl.Series:
        """Give the starts as times."""
        return pl.Series("time", self.starts).cast(TIME)


def within(spans: Sequence[Span], times: Whole) -> Flags:
    """Tell which times lie in intervals that are in order and do not overlap."""
    if not spans:
        return np.zeros(len(times), dtype=np.bool_)
    starts, ends = np.array([span.start for span in spans]), np.array([span.end for span in spans])
    index = np.searchsorted(starts, times, side="right") - 1
    return (index >= 0) & (times < ends[np.maximum(index, 0)])


class Changes(NamedTuple):
    """Level changes: a token's number, whether it is a bid, a price, and the new total there (0: none)."""

    token: Whole
    bid: npt.NDArray[np.bool_]
    price: Floats
    size: Floats


class Resets(NamedTuple):
    """Where books begin anew: before the change at each position (ascending) the token's book is empty."""

    position: Whole
    token: Whole


class Ladders:
    """The books of ``tokens`` tokens, from level changes at once, with arrays; after none of the changes at first.

    Changes are in the order in which they apply. A *reset* at a position empties a token's book before the change
    there: a whole book is a reset followed by its levels, of which there has to be one, if only of no size. Each price
    of each side of each token is one cell of an array; many changes are then one assignment, of which the last to a
    cell counts.
    """

    def __init__(self, changes: Changes, resets: Resets, *, tokens: int) -> None:
        self._token, self._size, self._resets, self._tokens = changes.token, changes.size, resets, tokens
        price, self._cell, bounds = _cells(changes, tokens)
        self._price = price
        # Where the cells of each side of each token begin, best price first: the bids of token n are side 2n.
        self._bounds = bounds
        self._held: Floats = np.zeros(len(price))
        self._at = self._reset_at = 0

    def advance(self, position: int) -> None:
        """Apply the changes before a position, which is not before the last one."""
        start, self._at = self._at, max(self._at, position)
        first = self._reset_at
        self._reset_at = int(np.searchsorted(self._resets.position, self._at))
        if self._reset_at > first:
            self._forget(start, first)
            return
        self._held[self._cell[start : self._at]] = self._size[start : self._at]

    def best(self, levels: int) -> tuple[Floats, Floats]:
        """Give prices and sizes of the best levels, a row for each side of each token, filled up with NaN."""
        alive = np.flatnonzero(self._held)
        bounds = np.searchsorted(alive, self._bounds)
        column = np.arange(levels)
        there = column < (bounds[1:] - bounds[:-1])[:, None]
        if not len(alive):
            nothing = np.full(there.shape, np.nan)
            return nothing, nothing
        cells = alive[np.minimum(bounds[:-1, None] + column, len(alive) - 1)]
        return np.where(there, self._price[cells], np.nan), np.where(there, self._held[cells], np.nan)

    def levels(self) -> int:
        """Count the levels of all books."""
        return int(np.count_nonzero(self._held))

    def _forget(self, start: int, first: int) -> None:
        """Apply changes among which books begin anew: what came before the last beginning does not matter."""
        last = np.zeros(self._tokens, dtype=np.int64)
        tokens = self._resets.token[first : self._reset_at]
        last[tokens] = self._resets.position[first : self._reset_at]
        for token in np.unique(tokens):
            self._held[self._bounds[2 * token] : self._bounds[2 * token + 2]] = 0.0
        part = slice(start, self._at)
        kept = np.arange(start, self._at) >= last[self._token[part]]
        self._held[self._cell[part][kept]] = self._size[part][kept]


def _cells(changes: Changes, tokens: int) -> tuple[Floats, Whole, Whole]:
    """Number the levels that occur, best first: give their prices, each change's level, and where sides begin."""
    tick = np.rint(changes.price * _GRID).astype(np.int64)
    width = _GRID + 1
    if not np.array_equal(tick / _GRID, changes.price):
        prices, tick = np.unique(changes.price, return_inverse=True)
        width = max(1, len(prices))
    else:
        prices = np.arange(width) / _GRID
    rank = np.where(changes.bid, width - 1 - tick, tick)
    key = (2 * changes.token + ~changes.bid) * width + rank
    seen = np.zeros(2 * tokens * width, dtype=np.bool_)
    seen[key] = True
    found = np.flatnonzero(seen)
    number = np.cumsum(seen, dtype=np.int32)
    side, rank = np.divmod(found, width)
    bounds = np.searchsorted(found, np.arange(2 * tokens + 1) * width)
    cells: Whole = (number[key] - 1).astype(np.int64)
    return prices[np.where(side % 2 == 0, width - 1 - rank, rank)], cells, bounds


def lists(values: Floats) -> pl.Series:
    """Write rows that are filled up with NaN as lists without it."""
    return (
        pl.Series(values, dtype=pl.Array(pl.Float64, values.shape[1])).arr.to_list().list.eval(pl.element().drop_nans())
    )


def depth(known: RecordingIndex, token_id: str, grid: Grid, levels: int) -> pl.DataFrame:
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

    def __init__(self, known: RecordingIndex, timeline: Timeline, grid: Grid) -> None:
        self._grid = grid
        first, last = int(grid.starts[0]), int(grid.lasts[-1])
        events = list(_beginnings(timeline.events, first, last))
        # Keyframes say what was known of hashes until then; of what came since, every change has to be asked.
        keyframes = known.window(first).since
        times = [first, *(event.recv for event in events[:1])]
        since = None if keyframes is None else min(keyframes, *times)
        self._changes = changes_of(known.contents, timeline.token_id, since, last)
        self._proof = proof_history(known.contents, timeline, self._changes, since=since, until=last)
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
        """Tell at the end of which intervals the state that was checked last had the venue's hash."""
        return self._proof.holds(self._grid.lasts)


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


def _parts(known: RecordingIndex, events: Sequence[Event], changes: pl.DataFrame) -> Iterator[pl.DataFrame]:
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


def prices(known: RecordingIndex, token_id: str | None, start: int | None, end: int | None) -> pl.DataFrame:
    """Read the changes of tops."""
    rows = known.contents.scan("prices", since=start, until=None if end is None else end - 1)
    return collect(known.contents, "prices", rows if token_id is None else rows.filter(pl.col("token_id") == token_id))


def sampled(known: RecordingIndex, token_id: str | None, grid: Grid) -> pl.DataFrame:
    """Give the top of each book at the end of each interval, null where the book could not be trusted then."""
    chosen = sorted(known.timelines) if token_id is None else [token_id]
    tops = _tops(known, token_id, int(grid.lasts[-1]) if len(grid.lasts) else 0)
    parts = [_sampled(known, each, tops.filter(pl.col("token_id") == each), grid) for each in chosen]
    schema = {"time": TIME, "token_id": pl.String} | dict.fromkeys(_TOP, pl.Float64)
    return pl.concat(parts) if parts else pl.DataFrame(schema=schema)


def _sampled(known: RecordingIndex, token_id: str, tops: pl.DataFrame, grid: Grid) -> pl.DataFrame:
    timeline = known.timelines.get(token_id)
    lasts = pl.DataFrame({"time": grid.times, "last": pl.Series(grid.lasts).cast(TIME)})
    trusted = pl.Series(within([] if timeline is None else timeline.spans(), grid.lasts))
    joined = lasts.join_asof(tops.drop("token_id"), left_on="last", right_on="ts_recv")
    columns = [pl.when(trusted).then(pl.col(name)).otherwise(None).alias(name) for name in _TOP]
    return joined.select("time", pl.lit(token_id).alias("token_id"), *columns)


def _tops(known: RecordingIndex, token_id: str | None, until: int) -> pl.DataFrame:
    """Read tops: those of keyframes too, for a part that has no change of them."""
    changed = known.contents.scan("prices", until=until).select("seq", "ts_recv", "token_id", *_TOP)
    bid, ask = pl.col("bid_prices").list.first(), pl.col("ask_prices").list.first()
    whole = known.contents.scan("keyframes", until=until).select(
        "seq",
        "ts_recv",
        "token_id",
        best_bid=bid,
        best_bid_size=pl.col("bid_sizes").list.first(),
        best_ask=ask,
        best_ask_size=pl.col("ask_sizes").list.first(),
        mid=((bid + ask) / 2).round(6),
        spread=(ask - bid).round(6),
    )
    both = [frame if token_id is None else frame.filter(pl.col("token_id") == token_id) for frame in (changed, whole)]
    found = [collect(known.contents, name, frame) for name, frame in zip(("prices", "keyframes"), both, strict=True)]
    return pl.concat(found).sort("ts_recv", "seq").drop("seq")


def bars(known: RecordingIndex, token_id: str | None, grid: Grid) -> pl.DataFrame:
    """Make bars of trades; an interval without any has a volume of 0 and no prices."""
    chosen = sorted(known.timelines) if token_id is None else [token_id]
    if not len(grid.starts):
        chosen = []
    first, last = (int(grid.starts[0]), int(grid.lasts[-1])) if chosen else (0, 0)
    rows = known.contents.scan("trades", since=first, until=last)
    mine = rows if token_id is None else rows.filter(pl.col("token_id") == token_id)
    made = collect(known.contents, "trades", _bars(mine, grid.every))
    whole = [
        pl.DataFrame({"time": grid.times, "touched": pl.Series(_touched(known, each, grid))}).with_columns(
            token_id=pl.lit(each)
        )
        for each in chosen
    ]
    schema = {"time": TIME, "touched": pl.Boolean, "token_id": pl.String}
    frame = pl.concat(whole) if whole else pl.DataFrame(schema=schema)
    joined = frame.join(made, on=["time", "token_id"], how="left", maintain_order="left")
    return joined.select(
        "time",
        "token_id",
        "open",
        "high",
        "low",
        "close",
        pl.col("volume").fill_null(0.0),
        pl.col("trades").fill_null(0),
        "touched",
    )


def _bars(trades: pl.LazyFrame, every: int) -> pl.LazyFrame:
    start = (pl.col("ts_recv").dt.epoch("ns") // every * every).cast(TIME)
    return (
        trades.sort("seq")
        .group_by(start.alias("time"), "token_id")
        .agg(
            open=pl.col("price").first(),
            high=pl.col("price").max(),
            low=pl.col("price").min(),
            close=pl.col("price").last(),
            volume=pl.col("size").sum(),
            trades=pl.len(),
        )
    )


def _touched(known: RecordingIndex, token_id: str, grid: Grid) -> Flags:
    """Tell in which intervals something may be missing: not trusted throughout, or a frame was lost there."""
    timeline = known.timelines.get(token_id)
    if timeline is None or not timeline.spans():
        return np.ones(len(grid.starts), dtype=np.bool_)
    spans = timeline.spans()
    starts, ends = np.array([span.start for span in spans]), np.array([span.end for span in spans])
    index = np.searchsorted(starts, grid.starts, side="right") - 1
    whole = (index >= 0) & (grid.lasts < ends[np.maximum(index, 0)])
    lost = np.array(sorted(_instants(timeline)), dtype=np.int64)
    struck = np.searchsorted(lost, grid.lasts, side="right") > np.searchsorted(lost, grid.starts)
    return ~whole | struck


def _instants(timeline: Timeline) -> list[int]:
    """List when single frames were lost."""

    def concerns(gap: GapInterval) -> bool:
        event = timeline.last(gap.started)
        return gap.until == gap.started and event is not None and gap.concerns(timeline.token_id, event.conn)

    return [gap.started for gap in timeline.gaps if concerns(gap)]
