"""A walk through the rows of a recording in order of arrival, which keeps every book up and tells each event.

Books change by rows alone. Trust changes by rows, too (a whole book came), and at times at which there is no row: where
a gap begins or ends, or a book is given up. These times are *edges*, known from the timelines of the tokens. An edge
comes before the rows that were received then; one that belongs to a row, such as the end of a gap that a whole book
ended, comes with it.
"""

from bisect import bisect_left
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from operator import attrgetter
from typing import Any, TypeAlias

import msgspec
import polars as pl

from pmlive.events import BookSide, Check
from pmlive.gaps import ENDLESS, GapInterval
from pmlive.recording.book_at import absence_reason
from pmlive.recording.contents import Contents, collect, time_literal
from pmlive.recording.events import (
    BookEndEvent,
    BookEvent,
    GapBeginEvent,
    GapEndEvent,
    Ladders,
    LevelEvent,
    MovingBook,
    RecordedEvent,
    ResolutionEvent,
    TickSizeEvent,
    TradeEvent,
    TradeSide,
)
from pmlive.recording.index import RecordingIndex
from pmlive.recording.trust import TrustEvent

__all__ = ["EventWalk"]

_TABLES = ("book_deltas", "trades", "book_snapshots", "keyframes", "market_events")
_LEVEL, _TRADE, _SNAPSHOT, _KEYFRAME, _MARKET = range(len(_TABLES))
# Numbers whose rows are read at once, of all tables. Rows become Python's objects an eighth of that at a time.
_NUMBERS = 65_536
_PARTS = 8
_CHECKS: tuple[Check, ...] = ("verified", "unverifiable", "mismatch", "skipped")
# Those of the book, and of trades.
_SIDES: tuple[BookSide | TradeSide, ...] = ("bid", "ask", "buy", "sell")
_LADDERS = ("bid_prices", "bid_sizes", "ask_prices", "ask_sizes")
# What rows of a table have besides, by table.
_REST = {
    "trades": ("fee_rate_bps", "transaction_hash"),
    "book_snapshots": ("market", *_LADDERS, "hash", "opening", "tick_size", "last_trade_price"),
    "keyframes": ("market", *_LADDERS),
    "market_events": ("kind", "market", "old_tick_size", "new_tick_size", "winning_token_id", "winning_outcome"),
}
# At one time and number, gaps begin before others end, so that no book is trusted in between, and a book is given up
# before the gap ends that it is given up with.
_BEGIN, _DROP, _END = range(3)

# Values of a row that only its table has, and of a whole book its ladders, which are lists.
_Values: TypeAlias = tuple[Any, ...]


class _Edge(msgspec.Struct, frozen=True, gc=False):
    """A time at which trust in a book changes, with the number of the row that it comes with (0 for none)."""

    time: int
    seq: int
    order: int
    book: MovingBook
    cause: GapInterval | TrustEvent

    @property
    def place(self) -> tuple[int, int]:
        """Where it is among rows, which have a time and a number, too."""
        return self.time, self.seq


class EventWalk:
    """The events of some tokens between two times.

    Args:
        index: the recording when the walk begins: what is trusted, and up to which row it goes.
        current: gives the contents when rows are read, as files may have been merged since.
        tokens: the ids of the tokens; None for all.
        start: the time of the first event at the earliest, in nanoseconds since 1970.
        end: the time before which the last event is.
        numbers: how many numbers the rows have that are read at once.
    """

    def __init__(
        self,
        index: RecordingIndex,
        current: Callable[[], Contents],
        tokens: Collection[str] | None,
        *,
        start: int | None = None,
        end: int | None = None,
        numbers: int = _NUMBERS,
    ) -> None:
        self._index, self._current, self._tokens = index, current, tokens
        self._numbers = numbers
        self._end = ENDLESS if end is None else end
        self._start = start
        # Every book is known from the last keyframes on; with those of that very time there may be other rows.
        self._since = None if start is None else index.window(start - 1).since
        self._books: dict[str, MovingBook] = {}
        self._bases: set[int] = set()
        edges = [
            edge for token_id in sorted(index.tokens if tokens is None else tokens) for edge in self._add(token_id)
        ]
        self._edges = sorted(edges, key=attrgetter("time", "seq", "order"))
        self._at = self._next_seq = 0
        self._is_begun = start is None
        self._note_due()

    def events(self) -> Iterator[RecordedEvent]:
        """Yield the events."""
        if self._since is not None:
            self._seek(self._since)
            for book in self._books.values():
                self._told(book, self._since, 0)
        yield from self._events_of_rows()
        last = self._index.contents.recv_of_last()
        if last is not None:
            yield from self._pass((min(self._end, last + 1), 0), self._next_seq)

    def _events_of_rows(self) -> Iterator[RecordedEvent]:  # noqa: C901  # calls cost more than they hold
        now, start, seq = 0, self._start or 0, 0
        for rows, rest in self._slices():
            for table, seq, recv, ts_event, conn, book, side, price, size, check in rows:
                if recv >= self._due or recv < now:
                    yield from self._pass((recv, seq), seq) if recv >= now else self._jump(recv, seq)
                now = recv
                if table == _LEVEL:
                    if check != "skipped" and book.is_there:
                        (book.bids if side == "bid" else book.asks).put(price, size)
                    if recv >= start:
                        yield LevelEvent(seq, recv, ts_event, conn, book.token_id, book.view, side, price, size, check)
                    continue
                values = next(rest[table])
                if table == _TRADE:
                    if recv >= start:
                        yield TradeEvent(
                            seq, recv, ts_event, conn, book.token_id, book.view, price, size, side, *values
                        )
                elif table == _MARKET:
                    if recv >= start:
                        yield from self._market_events((seq, recv, ts_event, conn), book, values)
                else:
                    yield from self._whole_book(table, (seq, recv, ts_event, conn), book, values)
        self._next_seq = seq + 1

    # --- rows ---

    def _slices(self) -> Iterator[tuple[Iterable[_Values], dict[int, Iterator[_Values]]]]:
        """Yield rows in order of arrival, with the iterators of what each table has besides."""
        first, stop = self._range()
        for number in range(first, stop, self._numbers):
            frames = self._read(number, min(number + self._numbers, stop))
            rest = {table: frames[table].select(_REST[_TABLES[table]]).iter_rows() for table in frames if table}
            whole = pl.concat([_common(table, frame) for table, frame in frames.items()]).sort("seq")
            for part in whole.iter_slices(max(1, self._numbers // _PARTS)):
                yield zip(*self._columns(part), strict=True), rest

    def _range(self) -> tuple[int, int]:
        contents = self._index.contents
        numbers: list[int] = []
        for table in _TABLES:
            for file in contents.files(table, since=self._since, until=self._end):
                numbers += (file.first_seq, file.last_seq)
            for rows in contents.rows(table):
                numbers += rows["seq"].to_list()[:: max(1, rows.height - 1)]
        return min(numbers, default=0), max(numbers, default=-1) + 1

    def _read(self, first: int, stop: int) -> dict[int, pl.DataFrame]:
        contents = self._current()
        found: dict[int, pl.DataFrame] = {}
        for number, table in enumerate(_TABLES):
            rows = contents.scan_numbered(table, first, stop).filter(pl.col("ts_recv") < time_literal(self._end))
            if self._since is not None:
                rows = rows.filter(pl.col("ts_recv") >= time_literal(self._since))
            found[number] = collect(contents, table, rows.filter(_wanted(table, self._tokens))).sort("seq")
        return found

    def _columns(self, rows: pl.DataFrame) -> Iterator[Sequence[object]]:
        """Yield the columns of common values; what is a number for polars becomes what events have."""
        names = rows["token"].unique().to_list()
        books = [self._book(name) for name in names]
        tokens = rows["token"].cast(pl.Enum(names)).to_physical().to_list()
        columns = rows.get_columns()
        yield from (column.to_list() for column in columns[:5])
        yield list(map(books.__getitem__, tokens))
        yield list(map(_SIDES.__getitem__, rows["side"].to_list()))
        yield from (rows["price"].to_list(), rows["size"].to_list())
        yield list(map(_CHECKS.__getitem__, rows["check"].to_list()))

    def _book(self, token_id: str) -> MovingBook:
        found = self._books.get(token_id)
        if found is None:
            found = MovingBook(token_id)
            if token_id:
                self._books[token_id] = found
        return found

    # --- rows that are not plain ---

    def _whole_book(
        self, table: int, common: tuple[int, int, int | None, int], book: MovingBook, values: _Values
    ) -> Iterator[RecordedEvent]:
        market, ladders, more = values[0], values[1:5], values[5:]
        seq, recv, _, conn = common
        book.market = book.market or market
        is_news = table == _SNAPSHOT
        if table == _KEYFRAME or seq in self._bases:
            is_news |= not book.holds(ladders)
            book.replace(ladders, conn)
            yield from self._told(book, recv, seq)
            yield from self._pass((recv, seq + 1), seq)
        if is_news and self._is_begun:
            yield _book_event(common, book, ladders, more)

    def _market_events(
        self, common: tuple[int, int, int | None, int], book: MovingBook, values: _Values
    ) -> Iterator[RecordedEvent]:
        kind, market, old, new, winner, outcome = values
        if kind == "tick_size_change":
            yield TickSizeEvent(*common, book.token_id, book.view, old, new)
            return
        for each in self._books.values():
            if each.market == market or each.token_id == winner:
                payout = None if winner is None else float(each.token_id == winner)
                yield ResolutionEvent(*common, each.token_id, each.view, winner, outcome, payout)

    # --- trust ---

    def _add(self, token_id: str) -> Iterator[_Edge]:
        """Add a token, and yield its edges."""
        market = self._index.names.market_of.get(token_id)
        book = self._books[token_id] = MovingBook(token_id, "" if market is None else market.condition_id)
        timeline = self._index.timelines.get(token_id)
        events = [] if timeline is None else timeline.events
        self._bases.update(event.seq for event in events if event.kind == "book")
        yield from (_Edge(event.recv, event.seq, _DROP, book, event) for event in events if not event.begins)
        conns = {0, *(event.conn for event in events)}
        for gap in self._index.gaps.of(token_id, conns=()) if timeline is None else timeline.gaps:
            if not any(gap.concerns(token_id, conn) for conn in conns):
                continue
            yield _Edge(gap.started, 0, _BEGIN, book, gap)
            if gap.until != ENDLESS:
                until = max(gap.started, gap.until)
                yield _Edge(until, _ending(gap, events, until), _END, book, gap)

    def _note_due(self) -> None:
        next_edge = self._edges[self._at].time if self._at < len(self._edges) else ENDLESS
        self._due = next_edge if self._is_begun else min(next_edge, self._start or 0)

    def _pass(self, place: tuple[int, int], seq: int) -> Iterator[RecordedEvent]:
        """Pass the edges before a place, and the start of what is wanted; ``seq`` is the number of the row there."""
        if not self._is_begun and self._start is not None and place[0] >= self._start:
            yield from self._pass_edges((self._start, 0), seq)
            self._is_begun = True
            yield from self._opening(self._start, seq)
        yield from self._pass_edges(place, seq)
        self._note_due()

    def _pass_edges(self, place: tuple[int, int], seq: int) -> Iterator[RecordedEvent]:
        while self._at < len(self._edges) and self._edges[self._at].place < place:
            edge = self._edges[self._at]
            self._at += 1
            yield from self._pass_edge(edge, seq)

    def _pass_edge(self, edge: _Edge, seq: int) -> Iterator[RecordedEvent]:
        book, cause = edge.book, edge.cause
        if isinstance(cause, TrustEvent):
            yield from self._drop(book, cause, edge.time, seq)
            return
        if edge.order == _BEGIN:
            book.covering.append(cause)
        elif cause in book.covering:
            book.covering.remove(cause)
        yield from self._told(book, edge.time, seq)

    def _drop(self, book: MovingBook, event: TrustEvent | None, time: int, seq: int) -> Iterator[RecordedEvent]:
        was_there = book.is_there
        book.drop(absence_reason(event), 0 if event is None else event.conn)
        yield from self._told(book, time, seq)
        if was_there and self._is_begun:
            yield BookEndEvent(seq, time, None, book.conn, book.token_id, book.view, book.why_none)

    def _told(self, book: MovingBook, time: int, seq: int) -> list[RecordedEvent]:
        """Let a book have the gaps that concern it now, and tell of those that began and ended."""
        gaps = [gap for gap in book.covering if gap.concerns(book.token_id, book.conn)]
        if gaps == book.gaps:
            return []
        before, book.gaps = book.gaps, gaps
        if not self._is_begun:
            return []
        begun = [_gap_event(GapBeginEvent, gap, book, time, seq) for gap in gaps if gap not in before]
        return [*begun, *(_gap_event(GapEndEvent, gap, book, time, seq) for gap in before if gap not in gaps)]

    def _seek(self, time: int) -> None:
        """Go on with the edges from a time on."""
        self._at = bisect_left(self._edges, time, key=attrgetter("time"))
        for book in self._books.values():
            book.covering = []
        for edge in self._edges[: self._at]:
            if isinstance(edge.cause, GapInterval) and edge.order == _BEGIN and edge.cause.until >= time:
                edge.book.covering.append(edge.cause)
        self._note_due()

    def _jump(self, recv: int, seq: int) -> Iterator[RecordedEvent]:
        """Begin with a run whose clock was behind that of the run before, of which it knows nothing."""
        self._seek(recv)
        for book in self._books.values():
            yield from self._drop(book, None, recv, seq)
        yield from self._pass((recv, seq), seq)

    def _opening(self, time: int, seq: int) -> Iterator[RecordedEvent]:
        """Yield the gaps that last where the walk begins, and the books that are trusted there."""
        for book in self._books.values():
            yield from (_gap_event(GapBeginEvent, gap, book, time, seq) for gap in book.gaps)
            if book.is_there and not book.gaps:
                yield _book_event((seq, time, None, book.conn), book, book.ladders(), ())


def _wanted(table: str, tokens: Collection[str] | None) -> pl.Expr:
    """Return which rows of a table are wanted; resolutions are told of whole markets."""
    named = pl.lit(value=True) if tokens is None else pl.col("token_id").is_in(list(tokens))
    if table == "market_events":
        kind = pl.col("kind").cast(pl.String)
        return ((kind == "tick_size_change") & named) | (kind == "market_resolved")
    if table == "keyframes":
        return named & pl.col("state").cast(pl.String).is_in(["verified", "unverifiable"])
    return named


def _common(table: int, rows: pl.DataFrame) -> pl.DataFrame:
    has = rows.columns.__contains__
    # A resolution is of a market, whatever token it names.
    is_of_token = pl.col("kind").cast(pl.String) == "tick_size_change" if has("kind") else pl.lit(value=True)
    side = pl.col("side").to_physical().cast(pl.Int64) + 2 * table if table in (_LEVEL, _TRADE) else pl.lit(0, pl.Int64)
    return rows.select(
        pl.lit(table, pl.Int64).alias("table"),
        pl.col("seq").cast(pl.Int64),
        pl.col("ts_recv", "ts_event").to_physical(),
        pl.col("conn").cast(pl.Int64),
        pl.when(is_of_token).then("token_id").fill_null("").alias("token"),
        side.alias("side"),
        *(pl.col(name) if has(name) else pl.lit(None, pl.Float64).alias(name) for name in ("price", "size")),
        (pl.col("check").to_physical().cast(pl.Int64) if has("check") else pl.lit(0, pl.Int64)).alias("check"),
    )


def _ending(gap: GapInterval, events: Sequence[TrustEvent], until: int) -> int:
    """Return the number of the row that a gap of a token ended with, 0 if there is none.

    That row is the last before the one that tells of the end, or the next after it.
    """
    if gap.token_id is None:
        return 0
    at = bisect_left(events, until, key=attrgetter("recv"))
    found = [event.seq for event in events[at:] if event.recv == until and event.seq]
    before = [seq for seq in found if seq <= gap.seq]
    return max(before) if before else min(found, default=0)


def _gap_event(
    kind: type[GapBeginEvent] | type[GapEndEvent], gap: GapInterval, book: MovingBook, time: int, seq: int
) -> GapBeginEvent | GapEndEvent:
    common = (seq, time, None, gap.conn, book.token_id, book.view)
    return kind(*common, gap.started, gap.ended, gap.cause, gap.detail)


def _book_event(
    common: tuple[int, int, int | None, int], book: MovingBook, ladders: Ladders, more: _Values
) -> BookEvent:
    seq, recv, ts_event, conn = common
    told = dict(zip(("hash", "opening", "tick_size", "last_trade_price"), more, strict=False))
    return BookEvent(
        seq=seq,
        ts_recv=recv,
        ts_event=ts_event,
        conn=conn,
        token_id=book.token_id,
        book=book.view,
        source="venue" if more else "recorder",
        **dict(zip(_LADDERS, ladders, strict=True)),
        **told,
    )
