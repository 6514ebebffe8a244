"""A recording opened for reading: its tables, books at any time, quality, verification and replay."""

from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from html import escape
from pathlib import Path
from typing import Self, overload

import msgspec
import polars as pl

from pmlive.analysis import Touched
from pmlive.errors import UnknownMarketError
from pmlive.gaps import GapIndex, concerning
from pmlive.manager import Replay
from pmlive.manager.snapshots import HasTokens, Key, TokenRows, TokenView, key_parts
from pmlive.progress import Progress, unwatched
from pmlive.recording.book_at import RecordedBook
from pmlive.recording.contents import RecordedMarket, RecordingSummary, check_table, collect, digest, info
from pmlive.recording.event_walk import EventWalk
from pmlive.recording.events import RecordedEvent
from pmlive.recording.grids import DepthFrame, Grid, PricesFrame, bars, depth, depth_rows, prices, sampled_prices
from pmlive.recording.index import IndexCache, RecordingIndex, outcomes
from pmlive.recording.quality import Quality, quality
from pmlive.recording.verify import Verification, rebuild_into, rebuild_tables, verify
from pmlive.replay import Speed
from pmlive.samples import is_simulated
from pmlive.store.reader import diagnosed
from pmlive.tables import SCHEMAS, STORED, labelled
from pmlive.times import Interval, Time, interval, moment, nanoseconds

__all__ = ["Recording", "open_recording"]


def open_recording(folder: str | Path) -> "Recording":
    """Open a recording, also while it is being made; in a ``with`` block what was read of it is forgotten at the end.

    Raises:
        FileNotFoundError: there is no such folder; it is a StoreError as well.
        StoreError: the folder is not a recording.
    """
    return Recording(Path(folder))


class Recording(HasTokens):
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
        self,
        table: str,
        *,
        token: str | None = None,
        outcome: str | None = None,
        start: Time | None = None,
        end: Time | None = None,
        labels: bool = False,
    ) -> pl.LazyFrame:
        """Scan a table in order of arrival: what is sealed, and what is only in the log so far.

        Filters reach the files, whether given here or put on the frame later. The frame is polars' own: what the
        footers of the files state is checked here, but a file that is damaged further in fails when the frame is
        collected, with an error of polars. The other methods name that file, as ``verify`` does.

        Args:
            table: one of ``tables``.
            token: leave out the rows of other tokens.
            outcome: the outcome, where ``token`` is a market's slug or condition id.
            start: leave out what was received before.
            end: leave out what was received then or later.
            labels: whether to add ``slug`` and ``outcome`` of each token beside its id, null where they are not known.

        Raises:
            StoreError: the folder is not a recording any more, or a footer shows that a file is damaged or another one.
            UnknownMarketError: no such token was recorded.
            ValueError: there is no such table.
        """
        check_table(table)
        since, until = _nanoseconds_or_none(start), None if end is None else nanoseconds(end) - 1
        token_id = None if token is None else self.token(token, outcome)
        with self._reading() as index:
            rows = index.contents.scan(table, since=since, until=until)
            found = rows if token_id is None else rows.filter(pl.col("token_id") == token_id)
            return labelled(found, index.names.names) if labels else found

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

    # --- tables ---

    @property
    def prices(self) -> PricesFrame:
        """Every change of the best prices of all books, as ``Manager.prices`` has them, read when it is used.

        Call it for less, or for the prices at the ends of intervals: ``night.prices(every="1s")``.
        """
        whole = partial(self._prices, None, None, outcome=None, start=None, end=None, gaps="flag")
        return PricesFrame(whole, self._prices)

    @property
    def depth(self) -> DepthFrame:
        """The best ten levels of all books, as ``Manager.depth`` has them, read when it is used.

        Call it for those of one book at the ends of intervals: ``night.depth(token, every="1s", levels=5)``.
        """
        return DepthFrame(self._all_depth, self._depth)

    @property
    def trades(self) -> pl.DataFrame:
        """The trades, with the taker's side."""
        return self._whole("trades")

    @property
    def market_events(self) -> pl.DataFrame:
        """The tick size changes, new markets and resolutions."""
        return self._whole("market_events")

    @property
    def user_orders(self) -> pl.DataFrame:
        """The messages on the user's own orders."""
        return self._whole("user_orders")

    @property
    def user_trades(self) -> pl.DataFrame:
        """The messages on the user's own trades."""
        return self._whole("user_trades")

    @property
    def activity(self) -> pl.DataFrame:
        """The trades of subscribed events, with wallets."""
        return self._whole("activity")

    @property
    def reference_prices(self) -> pl.DataFrame:
        """The prices from outside the venue."""
        return self._whole("reference_prices")

    @property
    def gaps(self) -> pl.DataFrame:
        """The intervals that cannot be trusted, each once, with its end as it was last recorded."""
        with self._reading() as index:
            return labelled(index.gaps.frame, index.names.names)

    def __getitem__(self, key: Key) -> TokenView[RecordedBook]:
        """Return a view of a token: ``night["will-it-rain", "Yes"]``, or of an outcome or a token id alone.

        Raises:
            UnknownMarketError: no recorded token matches, or several do.
        """
        token_id = self._token_meant(key)
        names = self._cache.current().names
        return TokenView(
            token_id,
            names.names.get(token_id, ("", "")),
            names.label(token_id),
            rows=partial(self._token_rows, token_id),
            book=lambda: self.book_at(token_id, self._end_ns()),
            end=self._end_ns,
            simulated=lambda: is_simulated(self.folder, token_id),
        )

    def _token_meant(self, key: Key) -> str:
        try:
            return self.token(*key_parts(key))
        except UnknownMarketError as error:
            if key not in SCHEMAS:
                raise
            place = f"recording.{key} or " if hasattr(type(self), str(key)) else ""
            raise UnknownMarketError(f"{error}; the table of this name is {place}recording.scan({key!r})") from error

    def outcomes(self) -> pl.DataFrame:
        """Return what the recording knows of how its markets ended: a row for each token.

        Returns ``market``, ``slug``, ``question``, ``token_id``, ``outcome`` (its name; texts are cleaned, and still
        untrusted), ``resolved``, ``winner`` (null while nobody won: before the resolution, and where the venue settled
        by a split), ``resolved_at`` (when the recorder was told, by its own clock, which may be later than the
        venue's decision), ``source`` of that knowledge (``"feed"``, or ``"catalogue"`` where the recorder asked) and
        ``end_date``: when the market was to end, as the catalogue said when it was recorded, and null where it did not.

        Raises:
            StoreError: a table cannot be read.
        """
        with self._reading() as index:
            return outcomes(index)

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

    def bars(
        self,
        token: str | None = None,
        every: Interval = "1m",
        *,
        outcome: str | None = None,
        start: Time | None = None,
        end: Time | None = None,
        gaps: Touched | None = None,
    ) -> pl.DataFrame:
        """Return open, high, low, close and volume of the trades of a token, or of all, in left-closed intervals.

        A trade is in the interval in which it was received. An interval without any has null prices and a volume of 0.
        Where ``touched`` is true, the token was not followed, or not to be trusted, for some of the interval: trades
        may be missing, and by default those that came count all the same. With ``gaps="flag"`` such an interval has
        nulls, with ``"drop"`` it is left out, and with ``"exclude"`` it has the trades that came while the token could
        be trusted, and ``covered`` says for which share of the interval, 0 to 1, that was.

        Raises:
            UnknownMarketError: no recorded token matches, or several do.
            ValueError: the interval is not positive, or there are too many.
        """
        if gaps is not None:
            _check_gaps(gaps)
        token_id, grid = None if token is None else self.token(token, outcome), self._grid(every, start, end)
        with self._reading() as index:
            return labelled(bars(index, token_id, grid, gaps=gaps), index.names.names)

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

    def quality(self, *, progress: Progress = unwatched) -> Quality:
        """Return what can be trusted, is missing, was proved, or came late; its repr is a page of text.

        Args:
            progress: called after each part of the work with the number of those done, and of all.
        """
        with self._reading() as index:
            return quality(index, progress)

    def verify(self, *, progress: Progress = unwatched) -> Verification:
        """Check every file against its checksum, and every table against a rebuild from the raw records.

        Args:
            progress: called now and then with the number of raw records that were checked, and of all.
        """
        with self._reading() as index:
            return verify(index, progress)

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

    def close(self) -> None:
        """Forget what was read; the recording can be used again, and is read again then."""
        self._cache = IndexCache(self.folder)

    def __enter__(self) -> Self:
        """Use the recording in a block."""
        return self

    def __exit__(self, *_: object) -> None:
        """Forget what was read."""
        self.close()

    def _prices(
        self,
        token: str | None,
        every: Interval | None,
        *,
        outcome: str | None,
        start: Time | None,
        end: Time | None,
        gaps: Touched,
    ) -> pl.DataFrame:
        _check_gaps(gaps)
        token_id = None if token is None else self.token(token, outcome)
        if every is not None:
            grid = self._grid(every, start, end)
            with self._reading() as index:
                return labelled(sampled_prices(index, token_id, grid, gaps=gaps), index.names.names)
        if gaps != "flag":
            raise ValueError(f"gaps={gaps!r} is for intervals; expected every, too")
        since, until = _nanoseconds_or_none(start), _nanoseconds_or_none(end)
        with self._reading() as index:
            return labelled(prices(index, token_id, since, until), index.names.names)

    def _depth(
        self, token: str, every: Interval, levels: int, *, outcome: str | None, start: Time | None, end: Time | None
    ) -> pl.DataFrame:
        if levels < 1:
            raise ValueError(f"levels must be 1 or more; got {levels}")
        token_id, grid = self.token(token, outcome), self._grid(every, start, end)
        with self._reading() as index:
            return labelled(depth(index, token_id, grid, levels), index.names.names)

    def _all_depth(self) -> pl.DataFrame:
        with self._reading() as index:
            frames = [self._depth_of(token_id) for token_id in index.timelines]
            return pl.concat([labelled(SCHEMAS["depth"].to_frame(), {}), *frames]).sort("ts_recv")

    def _depth_of(self, token_id: str) -> pl.DataFrame:
        """Return the ladders of a book as the table ``depth`` has them, which no recording holds."""
        with self._reading() as index:
            return labelled(depth_rows(index, token_id), index.names.names)

    def _whole(self, table: str) -> pl.DataFrame:
        with self._reading() as index:
            return collect(index.contents, table, self.scan(table, labels=True))

    def _token_rows(self, token_id: str, table: TokenRows) -> pl.DataFrame:
        if table == "depth":
            return self._depth_of(token_id)
        if table == "gaps":
            gaps = self.gaps
            # What befalls a connection is a gap of each token on it, too.
            return gaps.filter(concerning(gaps, token_id, ()))
        if table == "prices":
            return self.prices(token_id)
        with self._reading() as index:
            return collect(index.contents, table, self.scan(table, token=token_id, labels=True))

    def _end_ns(self) -> int:
        return self._cache.current().contents.last_recv() or 0

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


def _check_gaps(gaps: Touched) -> None:
    if gaps not in {"exclude", "flag", "drop"}:
        raise ValueError(f"invalid gaps {gaps!r}; expected 'exclude', 'flag' or 'drop'")


def _nanoseconds_or_none(time: Time | None) -> int | None:
    return None if time is None else nanoseconds(time)
