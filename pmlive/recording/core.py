"""A recording opened for reading: its tables, books at any time, quality, verification and replay."""

from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from html import escape
from pathlib import Path
from typing import overload

import msgspec
import polars as pl

from pmlive.errors import UnknownMarketError
from pmlive.gaps import GapIndex
from pmlive.manager import Replay
from pmlive.recording.book_at import RecordedBook
from pmlive.recording.contents import check_table, digest
from pmlive.recording.event_walk import EventWalk
from pmlive.recording.events import RecordedEvent
from pmlive.recording.grids import Grid, bars, depth, prices, sampled_prices
from pmlive.recording.index import IndexCache, RecordingIndex
from pmlive.recording.quality import Quality, quality
from pmlive.recording.summary import RecordedMarket, RecordingSummary, info
from pmlive.recording.verify import Verification, rebuild_into, rebuild_tables, verify
from pmlive.replay import Speed
from pmlive.store.diagnosis import diagnosed
from pmlive.tables import STORED
from pmlive.times import Interval, Time, interval, moment, nanoseconds

__all__ = ["Recording", "open_recording"]


def open_recording(folder: str | Path) -> "Recording":
    """Open a recording, also while it is being made.

    Raises:
        StoreError: the folder is not a recording.
    """
    return Recording(Path(folder))


class Recording:
    """A recording opened for reading; no lock is taken, nothing is changed, and what is added later is seen.

    Raises:
        StoreError: the folder is not a recording.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._cache = IndexCache(folder)
        self._cache.current()

    # --- contents ---

    def scan(
        self, table: str, *, token: str | None = None, start: Time | None = None, end: Time | None = None
    ) -> pl.LazyFrame:
        """Scan a table in order of arrival: what is sealed, and what is only in the log so far.

        Filters reach the files, whether given here or put on the frame later. The frame is polars' own: what the
        footers of the files state is checked here, but a file that is damaged further in fails when the frame is
        collected, with an error of polars. The other methods name that file, as ``verify`` does.

        Args:
            table: one of ``tables``.
            token: leave out the rows of other tokens.
            start: leave out what was received before.
            end: leave out what was received then or later.

        Raises:
            StoreError: the folder is not a recording any more, or a footer shows that a file is damaged or another one.
            UnknownMarketError: no such token was recorded.
            ValueError: there is no such table.
        """
        check_table(table)
        since, until = _nanoseconds_or_none(start), None if end is None else nanoseconds(end) - 1
        token_id = None if token is None else self.token(token)
        with self._reading() as index:
            rows = index.contents.scan(table, since=since, until=until)
            return rows if token_id is None else rows.filter(pl.col("token_id") == token_id)

    @property
    def tables(self) -> list[str]:
        """The tables that have rows."""
        contents = self._cache.current().contents
        return [table for table in STORED if contents.files(table) or any(rows.height for rows in contents.rows(table))]

    @property
    def markets(self) -> list[RecordedMarket]:
        """The recorded markets; texts are cleaned, and still untrusted."""
        return list(self._cache.current().markets)

    @property
    def gaps(self) -> pl.DataFrame:
        """The intervals that cannot be trusted, each once, with its end as it was last recorded."""
        return self.gap_index.frame

    @property
    def gap_index(self) -> GapIndex:
        """The gaps as an index that finds those of a token at a time."""
        with self._reading() as index:
            return index.gaps

    @property
    def first_time(self) -> datetime | None:
        """The receive time of the first record."""
        first = self._cache.current().contents.first_recv()
        return None if first is None else moment(first)

    @property
    def last_time(self) -> datetime | None:
        """The receive time of the last record."""
        last = self._cache.current().contents.last_recv()
        return None if last is None else moment(last)

    def info(self) -> RecordingSummary:
        """Summarise what the recording holds."""
        return info(self.folder)

    def token(self, named: str, outcome: str | None = None) -> str:
        """Return the token id for a token id, an outcome alone, or a slug or condition id with an outcome.

        Raises:
            UnknownMarketError: no recorded token matches, or several do.
        """
        with self._reading() as index:
            try:
                return index.names.token(named, outcome)
            except UnknownMarketError:
                # It may have come since that was read.
                return self._cache.current(fresh=True).names.token(named, outcome)

    # --- books ---

    def book_at(self, token: str, t: Time, outcome: str | None = None) -> RecordedBook:
        """Return the book of a token after everything that was received up to a time.

        Args:
            token: a token id, an outcome such as ``"Yes"`` if only one recorded market has it, or a market's slug.
            t: ISO text, a datetime (UTC where it names no zone), or nanoseconds since 1970.
            outcome: the outcome, where ``token`` is a market's slug or condition id.

        Raises:
            UnknownMarketError: no recorded token matches, or several do.
            ValueError: the text is not a time.
        """
        token_id, time = self.token(token, outcome), nanoseconds(t)
        with self._reading() as index:
            return index.book_at(token_id, time)

    def depth(
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
        empty side.

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
        if levels < 1:
            raise ValueError(f"levels must be 1 or more; got {levels}")
        token_id, grid = self.token(token, outcome), self._grid(every, start, end)
        with self._reading() as index:
            return depth(index, token_id, grid, levels)

    def prices(
        self,
        token: str | None = None,
        every: Interval | None = None,
        *,
        outcome: str | None = None,
        start: Time | None = None,
        end: Time | None = None,
    ) -> pl.DataFrame:
        """Return each change of the best prices of a book, or of all; with ``every``, those at interval ends.

        Intervals are left-closed and named by their start in ``time``. Where a book could not be trusted at the end
        of an interval, its prices are null: nothing is carried over a gap.

        Raises:
            UnknownMarketError: no recorded token matches, or several do.
            ValueError: the interval is not positive, or there are too many.
        """
        token_id = None if token is None else self.token(token, outcome)
        if every is not None:
            grid = self._grid(every, start, end)
            with self._reading() as index:
                return sampled_prices(index, token_id, grid)
        since, until = _nanoseconds_or_none(start), _nanoseconds_or_none(end)
        with self._reading() as index:
            return prices(index, token_id, since, until)

    def bars(
        self,
        token: str | None = None,
        every: Interval = "1m",
        *,
        outcome: str | None = None,
        start: Time | None = None,
        end: Time | None = None,
    ) -> pl.DataFrame:
        """Return open, high, low, close and volume of the trades of a token, or of all, in left-closed intervals.

        A trade is in the interval in which it was received. An interval without any has null prices and a volume of 0.
        Where ``touched`` is true, the token was not followed, or not to be trusted, for some of the interval: trades
        may be missing.

        Raises:
            UnknownMarketError: no recorded token matches, or several do.
            ValueError: the interval is not positive, or there are too many.
        """
        token_id, grid = None if token is None else self.token(token, outcome), self._grid(every, start, end)
        with self._reading() as index:
            return bars(index, token_id, grid)

    # --- events ---

    def events(
        self, tokens: str | Iterable[str] | None = None, *, start: Time | None = None, end: Time | None = None
    ) -> Iterator[RecordedEvent]:
        """Yield level changes, whole books, trades, gaps, tick sizes and resolutions in order of arrival.

        Each event has ``book``, the token's book after it, which is a view of one that goes on: valid until the next
        event is asked for, unless it is copied. It is the book that ``book_at`` returns of that moment; while it cannot
        be trusted, its levels cannot be read. Rows are read a part at a time, so that a night needs little memory. What
        is recorded after the call is left out.

        Args:
            tokens: one token or several, as ``token`` takes them; by default all.
            start: leave out what was received before. The gaps that last there are told first, and the books that are
                trusted there are told whole, as the recorder had them.
            end: leave out what was received then or later.

        Raises:
            StoreError: a table cannot be read (while events are asked for, too).
            UnknownMarketError: no recorded token matches, or several do.
            ValueError: a text is not a time.

        >>> from pmlive import open_recording, sample
        >>> night = open_recording(sample())
        >>> token = night.markets[0].token_ids[0]
        >>> bought = sum(event.size for event in night.events(token) if event.kind == "trade" and event.side == "buy")
        >>> round(bought, 2)
        2034.03
        >>> spreads = [event.book.spread for event in night.events(token) if event.book.trusted]
        >>> min(spread for spread in spreads if spread is not None)
        0.01
        """
        named = [tokens] if isinstance(tokens, str) else tokens
        token_ids = None if named is None else {self.token(each) for each in named}
        since, until = _nanoseconds_or_none(start), _nanoseconds_or_none(end)
        with self._reading() as index:
            walk = EventWalk(index, lambda: self._cache.current().contents, token_ids, start=since, end=until)
        return self._diagnosed(walk.events())

    # --- quality ---

    def quality(self) -> Quality:
        """Return what can be trusted, is missing, was proved, or came late; its repr is a page of text."""
        with self._reading() as index:
            return quality(index)

    def verify(self) -> Verification:
        """Check every file against its checksum, and every table against a rebuild from the raw records."""
        with self._reading() as index:
            return verify(index)

    @overload
    def rebuild(self, into: None = None) -> dict[str, pl.DataFrame]: ...

    @overload
    def rebuild(self, into: str | Path) -> "Recording": ...

    def rebuild(self, into: str | Path | None = None) -> "dict[str, pl.DataFrame] | Recording":
        """Rebuild the tables from the raw records with this version: as frames, or as a new recording.

        Args:
            into: a folder that is empty or not there yet, written segment by segment, so that a day fits into memory;
                it begins with the first raw records that are kept. Without it, all tables are built in memory.

        Raises:
            StoreError: raw records are damaged or missing (a new recording only), or the folder holds something.
        """
        if into is None:
            return rebuild_tables(self.folder)
        rebuild_into(self._cache.current().contents, Path(into))
        return Recording(Path(into))

    # --- replay ---

    def replay(
        self, *others: "str | Path | Recording", speed: Speed = 1.0, paused: bool = False, prove: bool = False
    ) -> Replay:
        """Replay it as a ``Manager``, with the frames, books, subscriptions and status of the one that recorded it.

        Args:
            others: further recordings, merged with this one by receive time.
            speed: seconds of the recording in one second; ``"max"`` plays all before it returns, unless ``paused``.
            paused: whether to wait for ``resume``, ``step`` or ``seek``.
            prove: whether to rebuild every table on the way, so that ``Replay.digest`` can be compared with ``digest``.

        Raises:
            StoreError: there are no raw frames, or two recordings hold the same token at the same time.
            ValueError: the speed is not positive.
        """
        folders = [other.folder if isinstance(other, Recording) else Path(other) for other in others]
        return Replay([self.folder, *folders], speed=speed, paused=paused, prove=prove)

    def digest(self) -> str:
        """Return the fingerprint of all tables, books included: 64 hexadecimal digits.

        It does not depend on how rows are divided among files. A complete replay has the same, and so has a recording
        of the replay.

        Raises:
            StoreError: a table cannot be read.
        """
        with self._reading() as index:
            return digest(index.contents)

    # --- display ---

    def to_dict(self) -> dict[str, object]:
        """Return a description of the recording as values that JSON can hold."""
        first, last = self.first_time, self.last_time
        return {
            "folder": str(self.folder),
            "first_time": None if first is None else first.isoformat(),
            "last_time": None if last is None else last.isoformat(),
            "markets": [msgspec.to_builtins(market) for market in self.markets],
            "tables": self._heights(),
            "gaps": self.gaps.height,
        }

    def __repr__(self) -> str:
        """Return a description in one line."""
        first, last = self.first_time, self.last_time
        when = (
            "empty" if first is None or last is None else f"{first:%Y-%m-%d %H:%M:%S} to {last:%Y-%m-%d %H:%M:%S} UTC"
        )
        return f"<Recording {str(self.folder)!r}: {len(self.markets)} markets, {when}, {self.gaps.height} rows of gaps>"

    def _repr_html_(self) -> str:
        markets = "".join(
            f"<tr><td>{escape(market.question)}</td><td>{escape(', '.join(market.outcomes))}</td></tr>"
            for market in self.markets
        )
        tables = "".join(f"<tr><td>{table}</td><td>{rows:,}</td></tr>" for table, rows in self._heights().items())
        return f"<p>{escape(repr(self))}</p><table>{markets}</table><table>{tables}</table>"

    # --- reading ---

    @contextmanager
    def _reading(self) -> Generator[RecordingIndex]:
        """Yield the index as it is now; a damaged table that makes the block fail is named."""
        with diagnosed(self.folder):
            yield self._cache.current()

    def _diagnosed(self, events: Iterator[RecordedEvent]) -> Iterator[RecordedEvent]:
        with diagnosed(self.folder):
            yield from events

    def _grid(self, every: Interval, start: Time | None, end: Time | None) -> Grid:
        index = self._cache.current()
        return Grid(index, interval(every), _nanoseconds_or_none(start), _nanoseconds_or_none(end))

    def _heights(self) -> dict[str, int]:
        contents = self._cache.current().contents
        return {
            table: sum(file.rows for file in contents.files(table)) + sum(rows.height for rows in contents.rows(table))
            for table in self.tables
        }


def _nanoseconds_or_none(time: Time | None) -> int | None:
    return None if time is None else nanoseconds(time)
