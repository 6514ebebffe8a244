"""Tables on a grid of times: best prices, bars and depth where books could be trusted; and frames of them."""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
import polars as pl

from pmlive.analysis import Touched, ohlc
from pmlive.gaps import GapInterval
from pmlive.recording.book_at import BookRow, applied_changes, read_book_row, read_changes
from pmlive.recording.contents import collect
from pmlive.recording.index import RecordingIndex
from pmlive.recording.trust import Span, TrustEvent, TrustTimeline, hash_history
from pmlive.tables import SCHEMAS
from pmlive.times import Interval, Time

__all__ = [
    "TIME",
    "Changes",
    "DepthFrame",
    "Flags",
    "Floats",
    "Grid",
    "Ints",
    "Ladders",
    "PricesFrame",
    "Resets",
    "bars",
    "depth",
    "depth_rows",
    "prices",
    "sampled_prices",
    "shares",
    "to_lists",
]

Flags: TypeAlias = npt.NDArray[np.bool_]
Floats: TypeAlias = npt.NDArray[np.float64]
Ints: TypeAlias = npt.NDArray[np.int64]

TIME = pl.Datetime("ns", "UTC")
_MOST_INTERVALS = 20_000_000
# What a manager's frame of ladders has: the best levels at most so often, and so many rows.
_DEPTH_LEVELS = 10
_DEPTH_EVERY = 100_000_000
_DEPTH_ROWS = 200_000
# Ticks in a dollar: nearly all prices are multiples of one, and their cells are found without sorting.
_TICKS = 10_000
_QUALITY = pl.Enum(["verified", "unverifiable", "stale"])
_LEVELS = pl.List(pl.Float64)
_NO_ROWS = pl.DataFrame(schema={"recv": pl.Int64, "bid": pl.Boolean, "price": pl.Float64, "size": pl.Float64})
_TOP_COLUMNS = ("best_bid", "best_bid_size", "best_ask", "best_ask_size", "mid", "spread")


class Grid:
    """Left-closed intervals of equal length (nanoseconds), each named by its start; the first and last are complete.

    Raises:
        ValueError: there are too many.
    """

    def __init__(self, index: RecordingIndex, every: int, start: int | None, end: int | None) -> None:
        first, last = index.contents.first_recv(), index.contents.last_recv()
        self.every = every
        begin = (first or 0) if start is None else start
        stop = (0 if last is None else last + 1) if end is None else end
        if (stop - begin) // every > _MOST_INTERVALS:
            raise ValueError(
                f"{(stop - begin) // every:,} intervals are too many; make them longer, or set start and end"
            )
        self.starts: Ints = np.arange(begin // every * every, max(stop, begin), every, dtype=np.int64)
        # The last nanosecond of each.
        self.lasts: Ints = self.starts + every - 1

    @property
    def times(self) -> pl.Series:
        """The starts as times."""
        return pl.Series("time", self.starts).cast(TIME)


def _in_spans(spans: Sequence[Span], times: Ints) -> Flags:
    """Return for each time whether it is in one of the intervals, which are in order and do not overlap."""
    if not spans:
        return np.zeros(len(times), dtype=np.bool_)
    starts, ends = np.array([span.start for span in spans]), np.array([span.end for span in spans])
    position = np.searchsorted(starts, times, side="right") - 1
    return (position >= 0) & (times < ends[np.maximum(position, 0)])


def shares(spans: Sequence[Span], grid: Grid) -> Floats:
    """Return for each interval which share of it, 0 to 1, is in spans, which are in order and do not overlap."""
    if not spans:
        return np.zeros(len(grid.starts))
    starts, ends = np.array([span.start for span in spans]), np.array([span.end for span in spans])
    before = np.concatenate([[0], np.cumsum(ends - starts)])

    def until(times: Ints) -> Ints:
        position = np.searchsorted(starts, times, side="right") - 1
        held = np.maximum(position, 0)
        return np.where(position < 0, 0, before[held] + np.minimum(times, ends[held]) - starts[held])

    return (until(grid.starts + grid.every) - until(grid.starts)) / grid.every


class Changes(NamedTuple):
    """Level changes: a token's number, whether it is a bid, a price, and the new total size there (0 for none)."""

    token: Ints
    bid: npt.NDArray[np.bool_]
    price: Floats
    size: Floats


class Resets(NamedTuple):
    """Resets of books: just before the change at each position (ascending), the token's book is emptied."""

    position: Ints
    token: Ints


class Ladders:
    """The books of ``tokens`` tokens as arrays, to which many level changes are applied at once; empty at first.

    Changes are in the order in which they apply. A *reset* at a position empties a token's book before the change
    there: a complete book is a reset followed by its levels, at least one, if only of size 0. Each price on each side
    of each token is one cell of an array; applying many changes is one assignment, and the last to a cell counts.
    """

    def __init__(self, changes: Changes, resets: Resets, *, tokens: int) -> None:
        self._token, self._size, self._resets, self._tokens = changes.token, changes.size, resets, tokens
        price, self._cell, bounds = _cells(changes, tokens)
        self._price = price
        # Where the cells of each side of each token begin, best price first; the bids of token n are side 2n.
        self._bounds = bounds
        self._current: Floats = np.zeros(len(price))
        self._at = self._reset_at = 0

    def advance(self, position: int) -> None:
        """Apply the changes before a position; positions must not decrease."""
        start, self._at = self._at, max(self._at, position)
        first = self._reset_at
        self._reset_at = int(np.searchsorted(self._resets.position, self._at))
        if self._reset_at > first:
            self._apply_resets(start, first)
            return
        self._current[self._cell[start : self._at]] = self._size[start : self._at]

    def best(self, levels: int) -> tuple[Floats, Floats]:
        """Return prices and sizes of the best levels, a row for each side of each token, padded with NaN."""
        alive = np.flatnonzero(self._current)
        bounds = np.searchsorted(alive, self._bounds)
        column = np.arange(levels)
        there = column < (bounds[1:] - bounds[:-1])[:, None]
        if not len(alive):
            nothing = np.full(there.shape, np.nan)
            return nothing, nothing
        cells = alive[np.minimum(bounds[:-1, None] + column, len(alive) - 1)]
        return np.where(there, self._price[cells], np.nan), np.where(there, self._current[cells], np.nan)

    def levels(self) -> int:
        """Return the number of levels in all books."""
        return int(np.count_nonzero(self._current))

    def _apply_resets(self, start: int, first: int) -> None:
        """Apply changes that include resets: what came before the last reset of a book does not matter."""
        last = np.zeros(self._tokens, dtype=np.int64)
        tokens = self._resets.token[first : self._reset_at]
        last[tokens] = self._resets.position[first : self._reset_at]
        for token in np.unique(tokens):
            self._current[self._bounds[2 * token] : self._bounds[2 * token + 2]] = 0.0
        part = slice(start, self._at)
        kept = np.arange(start, self._at) >= last[self._token[part]]
        self._current[self._cell[part][kept]] = self._size[part][kept]


def _cells(changes: Changes, tokens: int) -> tuple[Floats, Ints, Ints]:
    """Number the levels that occur, best first; return their prices, each change's level, and where sides begin."""
    tick = np.rint(changes.price * _TICKS).astype(np.int64)
    width = _TICKS + 1
    if not np.array_equal(tick / _TICKS, changes.price):
        prices, tick = np.unique(changes.price, return_inverse=True)
        width = max(1, len(prices))
    else:
        prices = np.arange(width) / _TICKS
    rank = np.where(changes.bid, width - 1 - tick, tick)
    key = (2 * changes.token + ~changes.bid) * width + rank
    seen = np.zeros(2 * tokens * width, dtype=np.bool_)
    seen[key] = True
    found = np.flatnonzero(seen)
    number = np.cumsum(seen, dtype=np.int32)
    side, rank = np.divmod(found, width)
    bounds = np.searchsorted(found, np.arange(2 * tokens + 1) * width)
    cells: Ints = (number[key] - 1).astype(np.int64)
    return prices[np.where(side % 2 == 0, width - 1 - rank, rank)], cells, bounds


def to_lists(values: Floats) -> pl.Series:
    """Return rows that are padded with NaN as lists without the padding."""
    return (
        pl.Series(values, dtype=pl.Array(pl.Float64, values.shape[1])).arr.to_list().list.eval(pl.element().drop_nans())
    )


def depth(index: RecordingIndex, token_id: str, grid: Grid, levels: int) -> pl.DataFrame:
    """Return the best levels of a token's book at the end of each interval, and after them the token's id."""
    names, token = ("bid_prices", "bid_sizes", "ask_prices", "ask_sizes"), pl.lit(token_id).alias("token_id")
    timeline = index.timelines.get(token_id)
    if timeline is None or not len(grid.starts):
        nothing = [pl.lit(None, dtype=_LEVELS).alias(name) for name in names]
        return pl.DataFrame({"time": grid.times}).with_columns(
            pl.lit("stale", dtype=_QUALITY).alias("quality"), *nothing, token
        )
    stream = _BookHistory(index, timeline, grid)
    trusted = _in_spans(timeline.spans(), grid.lasts)
    columns = stream.best(trusted, levels)
    quality = pl.Series(np.where(trusted, np.where(stream.verified(), "verified", "unverifiable"), "stale"))
    kept = pl.Series(trusted)
    ladders = [pl.when(kept).then(each).otherwise(None).alias(name) for name, each in zip(names, columns, strict=True)]
    return pl.DataFrame({"time": grid.times, "quality": quality.cast(_QUALITY)}).with_columns(*ladders, token)


def depth_rows(index: RecordingIndex, token_id: str) -> pl.DataFrame:
    """Return the best levels of a token's book as rows of ``depth``, one for each interval in which they changed.

    ``ts_recv`` is the end of the interval; nothing tells of the numbers that such rows had live, which are null.
    """
    first, last = index.contents.first_recv() or 0, index.contents.last_recv() or 0
    every = max(_DEPTH_EVERY, -(-(last - first) // _DEPTH_ROWS))
    ladders, market = depth(index, token_id, Grid(index, every, None, None), _DEPTH_LEVELS), index.names.market_of
    names = ("bid_prices", "bid_sizes", "ask_prices", "ask_sizes")
    changed = pl.any_horizontal(pl.col(name).ne_missing(pl.col(name).shift()) for name in names)
    rows = ladders.filter(changed & (pl.col("quality") != "stale")).select(
        *names,
        ts_recv=(pl.col("time").to_physical() + every).cast(TIME),
        token_id=pl.lit(token_id),
        market=pl.lit(market[token_id].condition_id if token_id in market else None),
    )
    return pl.concat([SCHEMAS["depth"].to_frame(), rows], how="diagonal_relaxed")


class _BookHistory:
    """The changes of one token's book in order, on a grid of intervals."""

    def __init__(self, index: RecordingIndex, timeline: TrustTimeline, grid: Grid) -> None:
        self._grid = grid
        first, last = int(grid.starts[0]), int(grid.lasts[-1])
        events = list(_book_starts(timeline.events, first, last))
        # Keyframes have what was known of hashes until then; after them, every change has to be read.
        keyframes = index.window(first).since
        times = [first, *(event.recv for event in events[:1])]
        since = None if keyframes is None else min(keyframes, *times)
        self._changes = read_changes(index.contents, timeline.token_id, since, last)
        self._hashes = hash_history(index.contents, timeline, self._changes, since=since, until=last)
        parts = list(_book_parts(index, events, self._changes))
        self._resets = Resets(_offsets([part.height for part in parts]), np.zeros(len(parts), dtype=np.int64))
        self._rows = pl.concat(parts) if parts else _NO_ROWS

    def best(self, trusted: Flags, levels: int) -> list[pl.Series]:
        """Return the best levels after each interval: prices and sizes of bids, then of asks."""
        rows = self._rows
        changes = Changes(
            np.zeros(rows.height, dtype=np.int64),
            rows["bid"].to_numpy(),
            rows["price"].to_numpy(),
            rows["size"].to_numpy(),
        )
        books = Ladders(changes, self._resets, tokens=1)
        stops = np.searchsorted(rows["recv"].to_numpy(), self._grid.lasts, side="right")
        # A book that did not change is not read again.
        looked, which = np.unique(stops[trusted], return_inverse=True)
        found = np.full((4, len(looked), levels), np.nan)
        for number, stop in enumerate(looked):
            books.advance(int(stop))
            found[0::2, number], found[1::2, number] = books.best(levels)
        row = np.full(len(stops), 0)
        row[trusted] = which
        shown = [to_lists(side) if len(looked) else pl.Series([], dtype=_LEVELS) for side in found]
        position = pl.Series(row if len(looked) else np.array([], dtype=np.int64))
        return [side.gather(position) if len(looked) else _nulls(len(stops)) for side in shown]

    def verified(self) -> Flags:
        """Return for each interval whether the state that was checked last before its end had the venue's hash."""
        return self._hashes.fitted_at(self._grid.lasts)


def _nulls(height: int) -> pl.Series:
    return pl.Series([None] * height, dtype=_LEVELS)


def _book_starts(events: Sequence[TrustEvent], first: int, last: int) -> Iterator[TrustEvent]:
    """Yield the events that a book is rebuilt from in a span of time, without keyframes of a book that continues."""
    before: TrustEvent | None = None
    kept: list[TrustEvent] = []
    for event in events:
        if event.recv > last:
            break
        goes_on = before is not None and before.begins and event.kind == "keyframe" and event.conn == before.conn
        before = event
        if event.begins and (event.recv <= first or not goes_on):
            kept = [event] if event.recv <= first else [*kept, event]
    yield from kept


def _offsets(heights: Sequence[int]) -> Ints:
    return np.concatenate([[0], np.cumsum(heights)[:-1]]).astype(np.int64) if heights else np.array([], dtype=np.int64)


def _book_parts(index: RecordingIndex, events: Sequence[TrustEvent], changes: pl.DataFrame) -> Iterator[pl.DataFrame]:
    """Yield the rows of each complete book, followed by the changes until the next complete one."""
    seq, recv = changes["seq"].to_numpy(), changes["ts_recv"].dt.epoch("ns").to_numpy()
    for event, following in zip(events, [*events[1:], None], strict=False):
        base = read_book_row(index.contents, event)
        start = np.searchsorted(recv, event.recv)
        stop = len(seq) if following is None else int(np.searchsorted(seq, following.seq))
        selected = changes.slice(int(start), max(0, stop - int(start)))
        applied = applied_changes(selected, event).select(
            recv=pl.col("ts_recv").dt.epoch("ns"),
            bid=pl.col("side").cast(pl.String) == "bid",
            price="price",
            size="size",
        )
        yield pl.concat([_book_rows(base, event), applied])


def _book_rows(base: BookRow, event: TrustEvent) -> pl.DataFrame:
    # The first row is not a level: an empty book has to begin with a row, too.
    bids, asks = 1 + len(base.bid_prices), len(base.ask_prices)
    return pl.DataFrame(
        {
            "recv": [event.recv] * (bids + asks),
            "bid": [True] * bids + [False] * asks,
            "price": [0.0, *base.bid_prices, *base.ask_prices],
            "size": [0.0, *base.bid_sizes, *base.ask_sizes],
        },
        schema=_NO_ROWS.schema,
    )


def prices(index: RecordingIndex, token_id: str | None, start: int | None, end: int | None) -> pl.DataFrame:
    """Read the changes of best prices."""
    rows = index.contents.scan("prices", since=start, until=None if end is None else end - 1)
    return collect(index.contents, "prices", rows if token_id is None else rows.filter(pl.col("token_id") == token_id))


def sampled_prices(index: RecordingIndex, token_id: str | None, grid: Grid, *, gaps: Touched = "flag") -> pl.DataFrame:
    """Return the best prices of each book at the end of each interval, null where it could not be trusted.

    With ``"drop"`` such an interval is left out, and with ``"exclude"`` it has the last prices in it that could be
    trusted, and every interval ``covered``.
    """
    chosen = sorted(index.timelines) if token_id is None else [token_id]
    tops = _tops(index, token_id, int(grid.lasts[-1]) if len(grid.lasts) else 0)
    schema = {"time": TIME, "token_id": pl.String} | dict.fromkeys((*_TOP_COLUMNS, "covered"), pl.Float64)
    parts = [_sampled_token(index, each, tops.filter(pl.col("token_id") == each), grid, gaps) for each in chosen]
    whole = pl.concat([pl.DataFrame(schema={**schema, "_trusted": pl.Boolean}), *parts])
    kept = whole.filter("_trusted") if gaps == "drop" else whole
    return kept.select(*schema) if gaps == "exclude" else kept.select("time", "token_id", *_TOP_COLUMNS)


def _sampled_token(index: RecordingIndex, token_id: str, tops: pl.DataFrame, grid: Grid, gaps: Touched) -> pl.DataFrame:
    timeline = index.timelines.get(token_id)
    spans = [] if timeline is None else timeline.spans()
    share = shares(spans, grid)
    read = _last_trusted(spans, grid) if gaps == "exclude" else grid.lasts
    trusted = pl.Series(share > 0 if gaps == "exclude" else _in_spans(spans, grid.lasts))
    lasts = pl.DataFrame({"time": grid.times, "last": pl.Series(read).cast(TIME)})
    joined = lasts.join_asof(tops.drop("token_id"), left_on="last", right_on="ts_recv")
    columns = [pl.when(trusted).then(pl.col(name)).otherwise(None).alias(name) for name in _TOP_COLUMNS]
    return joined.select(
        "time", pl.lit(token_id).alias("token_id"), *columns, covered=pl.Series(share), _trusted=trusted
    )


def _last_trusted(spans: Sequence[Span], grid: Grid) -> Ints:
    """Return the last time up to the end of each interval at which a book could be trusted; 0 before the first."""
    if not spans:
        return np.zeros(len(grid.starts), dtype=np.int64)
    starts, ends = np.array([span.start for span in spans]), np.array([span.end for span in spans])
    position = np.searchsorted(starts, grid.lasts, side="right") - 1
    # What came at the very start of a gap is the last that came before it.
    return np.where(position < 0, 0, np.minimum(grid.lasts, ends[np.maximum(position, 0)]))


def _tops(index: RecordingIndex, token_id: str | None, until: int) -> pl.DataFrame:
    """Read best prices, also those of keyframes, for intervals without any change."""
    changed = index.contents.scan("prices", until=until).select("seq", "ts_recv", "token_id", *_TOP_COLUMNS)
    bid, ask = pl.col("bid_prices").list.first(), pl.col("ask_prices").list.first()
    whole = index.contents.scan("keyframes", until=until).select(
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
    found = [collect(index.contents, name, frame) for name, frame in zip(("prices", "keyframes"), both, strict=True)]
    return pl.concat(found).sort("ts_recv", "seq").drop("seq")


def bars(index: RecordingIndex, token_id: str | None, grid: Grid, *, gaps: Touched | None = None) -> pl.DataFrame:
    """Return bars of trades; an interval without any has a volume of 0 and no prices."""
    chosen = sorted(index.timelines) if token_id is None else [token_id]
    if not len(grid.starts):
        chosen = []
    first, last = (int(grid.starts[0]), int(grid.lasts[-1])) if chosen else (0, 0)
    rows = index.contents.scan("trades", since=first, until=last)
    selected = rows if token_id is None else rows.filter(pl.col("token_id") == token_id)
    if gaps == "exclude":
        selected = _trusted_trades(index, collect(index.contents, "trades", selected)).lazy()
    filled = collect(index.contents, "trades", _bars(selected, grid.every))
    schema = {"time": TIME, "token_id": pl.String, "touched": pl.Boolean, "covered": pl.Float64}
    frame = pl.concat([pl.DataFrame(schema=schema), *(_cover(index, each, grid) for each in chosen)])
    joined = frame.join(filled, on=["time", "token_id"], how="left", maintain_order="left")
    return _shown(joined.with_columns(pl.col("volume").fill_null(0.0), pl.col("trades").fill_null(0)), gaps)


def _cover(index: RecordingIndex, token_id: str, grid: Grid) -> pl.DataFrame:
    timeline = index.timelines.get(token_id)
    share = shares([] if timeline is None else timeline.spans(), grid)
    return pl.DataFrame({"time": grid.times}).select(
        "time", token_id=pl.lit(token_id), touched=pl.Series(_touched(index, token_id, grid)), covered=pl.Series(share)
    )


def _trusted_trades(index: RecordingIndex, trades: pl.DataFrame) -> pl.DataFrame:
    """Return the trades received while their token's book could be trusted."""

    def kept(token_id: str, rows: pl.DataFrame) -> pl.DataFrame:
        timeline = index.timelines.get(token_id)
        spans = [] if timeline is None else timeline.spans()
        times = rows["ts_recv"].dt.epoch("ns").to_numpy()
        # What came at the very start of a gap is the last that came before it.
        return rows.filter(pl.Series(_in_spans(spans, times) | _in_spans(spans, times - 1)))

    parts = trades.partition_by("token_id", as_dict=True, maintain_order=True)
    return pl.concat([trades.clear(), *(kept(str(key[0]), rows) for key, rows in parts.items())])


def _shown(bars: pl.DataFrame, gaps: Touched | None) -> pl.DataFrame:
    """Return bars with nulls, or without those, that a gap leaves nothing to say of."""
    measured = ("open", "high", "low", "close", "volume", "trades")
    columns = ("time", "token_id", *measured, "touched")
    if gaps == "drop":
        return bars.filter(~pl.col("touched")).select(columns)
    if gaps is None:
        return bars.select(columns)
    known = ~pl.col("touched") if gaps == "flag" else pl.col("covered") > 0
    kept = bars.with_columns(pl.when(known).then(pl.col(name)).alias(name) for name in measured)
    return kept.select(*columns, "covered") if gaps == "exclude" else kept.select(columns)


def _bars(trades: pl.LazyFrame, every: int) -> pl.LazyFrame:
    ordered = trades.sort("seq")
    return ohlc(ordered, f"{every}ns", volume=pl.col("size").sum(), trades=pl.len()).rename({"start": "time"})


def _touched(index: RecordingIndex, token_id: str, grid: Grid) -> Flags:
    """Return for each interval whether trades may be missing: it was not trusted throughout, or a frame was lost."""
    timeline = index.timelines.get(token_id)
    if timeline is None or not timeline.spans():
        return np.ones(len(grid.starts), dtype=np.bool_)
    spans = timeline.spans()
    starts, ends = np.array([span.start for span in spans]), np.array([span.end for span in spans])
    position = np.searchsorted(starts, grid.starts, side="right") - 1
    whole = (position >= 0) & (grid.lasts < ends[np.maximum(position, 0)])
    lost = np.array(sorted(_lost_frame_times(timeline)), dtype=np.int64)
    struck = np.searchsorted(lost, grid.lasts, side="right") > np.searchsorted(lost, grid.starts)
    return ~whole | struck


def _lost_frame_times(timeline: TrustTimeline) -> list[int]:
    """List when single frames were lost."""

    def concerns(gap: GapInterval) -> bool:
        event = timeline.last(gap.started)
        return gap.until == gap.started and event is not None and gap.concerns(timeline.token_id, event.conn)

    return [gap.started for gap in timeline.gaps if concerns(gap)]


# --- frames ---
# The frames of a recording that stand for tables that it has not: read when they are used, and callable for parts.


class _ReadLater(pl.DataFrame):
    """A frame that is read when it is first used; what polars makes of it is a plain ``pl.DataFrame``."""

    def __init__(self, read: Callable[[], pl.DataFrame], part: Callable[..., pl.DataFrame]) -> None:
        self._read = read
        self._part = part

    def __reduce__(self) -> tuple[type[pl.DataFrame], tuple[list[pl.Series]]]:
        """Copy the rows, and leave the recording out."""
        return pl.DataFrame, (self.get_columns(),)

    def __getattr__(self, name: str) -> object:
        """Read the rows: what polars keeps them in is missing until then."""
        read = self.__dict__.get("_read")
        if read is None:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        super().__init__(read())
        del self._read
        return getattr(self, name)


class PricesFrame(_ReadLater):
    """Every change of the best prices of all books, as ``live.prices`` has them; call it for a part or a grid."""

    def __call__(
        self,
        token: str | None = None,
        every: Interval | None = None,
        *,
        outcome: str | None = None,
        start: Time | None = None,
        end: Time | None = None,
        gaps: Touched = "flag",
    ) -> pl.DataFrame:
        """Return each change of the best prices of a book, or of all; with ``every``, those at interval ends.

        Intervals are left-closed and named by their start in ``time``. Where a book could not be trusted at the end
        of an interval, its prices are null: nothing is carried over a gap. With ``gaps="drop"`` the interval is left
        out, and with ``"exclude"`` it has the last prices in it that could be trusted, and ``covered`` says in which
        share of the interval, 0 to 1, the book could be. ``pmlive.analysis.time_weighted_mean`` has averages.

        Args:
            token: a token, as ``book_at`` takes it.
            every: the length of an interval, such as ``"500ms"`` or ``"1m"``.
            outcome: the outcome, where ``token`` is a market's slug or condition id.
            start: the first time, by default that of the first record.
            end: the time before which it ends, by default after the last record.
            gaps: what becomes of an interval at whose end the book could not be trusted.

        Raises:
            UnknownMarketError: no recorded token matches, or several do.
            ValueError: the interval is not positive, there are too many, or there is none and ``gaps`` is given.
        """
        return self._part(token, every, outcome=outcome, start=start, end=end, gaps=gaps)


class DepthFrame(_ReadLater):
    """The best ten levels of all books, a row for each change that lasted for a tenth of a second; call it for a grid.

    Of a long recording a row is for each change that lasted longer, so that there are 200,000 a book at most.
    """

    def __call__(
        self,
        token: str,
        every: Interval = "1s",
        levels: int = 10,
        *,
        outcome: str | None = None,
        start: Time | None = None,
        end: Time | None = None,
    ) -> pl.DataFrame:
        """Return the best levels of a book at the end of each interval; ``time`` is the interval's start.

        Intervals are left-closed: what came exactly at an interval's end is in the next one. Where the book could not
        be trusted at the end of an interval, its lists are null and ``quality`` is ``stale``; an empty list is an
        empty side. ``token_id``, ``slug`` and ``outcome`` come last, so that the rows of several books can be put
        together with ``pl.concat``.

        Args:
            token: a token, as ``book_at`` takes it.
            every: the length of an interval, such as ``"500ms"`` or ``"1m"``.
            levels: the largest number of levels on a side.
            outcome: the outcome, where ``token`` is a market's slug or condition id.
            start: the first interval has this time; by default the first record's.
            end: the last interval begins before this time; by default with the last record.

        Raises:
            UnknownMarketError: no recorded token matches, or several do.
            ValueError: the interval or the number of levels is not positive, or there are too many intervals.
        """
        return self._part(token, every, levels, outcome=outcome, start=start, end=end)
