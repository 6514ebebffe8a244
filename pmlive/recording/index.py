"""The index of a recording at one moment: names, gaps, timelines, books and outcomes, each found once when needed."""

from bisect import bisect_right
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import TypeAlias

import msgspec
import polars as pl

from pmlive import _wire
from pmlive.errors import StoreError
from pmlive.events import MarketResolved
from pmlive.gaps import GapIndex
from pmlive.markets import clean
from pmlive.markets.market import Directory, label
from pmlive.recording.book_at import RecordedBook, TrustedBook, book_from_rows, recorded_book, stale_reason
from pmlive.recording.contents import Contents, ContentsCache, RecordedMarket, collect, markets_of
from pmlive.recording.trust import TrustTimeline, UnsubscriptionCache, Window, keyframe_times, timelines
from pmlive.store import SealedFile
from pmlive.tables import MARKETS, SCHEMAS
from pmlive.times import moment, nanoseconds

__all__ = [
    "IndexCache",
    "RecordingIndex",
    "TokenNames",
    "outcomes",
]

_WHOLE = Window(None, None)
# The tables that books are rebuilt from, and that of the gaps.
_BOOKS = ("book_deltas", "book_snapshots", "keyframes", "gaps")
# The largest number of timelines, each of one token between two keyframes, that are cached.
_MOST_WINDOWS = 10_000


class RecordingIndex:
    """A recording at one moment: its tokens and their names, its gaps, and when books could be trusted."""

    def __init__(self, contents: Contents, unsubscribed: UnsubscriptionCache, times: dict[str, list[int]]) -> None:
        self.contents = contents
        self._unsubscribed = unsubscribed
        self._times_by_file = times
        self._windows: dict[tuple[str, Window], TrustTimeline | None] = {}
        self.markets = markets_of(contents.folder, contents.manifest)
        self.names = TokenNames(self.markets, lambda: self.tokens)

    def without(self, paths: Collection[str]) -> "RecordingIndex":
        """Return an index without sealed files that cannot be read."""
        return RecordingIndex(self.contents.without(paths), self._unsubscribed, {}) if paths else self

    @cached_property
    def gaps(self) -> GapIndex:
        """The gaps, each once, with its end as it was last recorded; texts are cleaned."""
        return GapIndex(_gaps(self.contents))

    @cached_property
    def keyframe_times(self) -> list[int]:
        """The times at which keyframes were written, in nanoseconds since 1970."""
        return keyframe_times(self.contents, self._times_by_file)

    @cached_property
    def timelines(self) -> dict[str, TrustTimeline]:
        """The timeline of each token over the whole recording."""
        return timelines(self.contents, self.gaps, self._unsubscribed, self.keyframe_times, within=_WHOLE)

    def window(self, time: int) -> Window:
        """Return the keyframes around a time."""
        after = bisect_right(self.keyframe_times, time)
        since = self.keyframe_times[after - 1] if after else None
        return Window(since, self.keyframe_times[after] if after < len(self.keyframe_times) else None)

    def timeline(self, token_id: str, window: Window) -> TrustTimeline | None:
        """Return the timeline of a token between two keyframes, or None where it has no book there."""
        key = (token_id, window)
        if len(self._windows) >= _MOST_WINDOWS:
            self._windows.clear()
        if key not in self._windows:
            found = timelines(
                self.contents, self.gaps, self._unsubscribed, self.keyframe_times, within=window, token_id=token_id
            )
            self._windows[key] = found.get(token_id)
        return self._windows[key]

    def book_at(self, token_id: str, time: int) -> RecordedBook:
        """Return the book of a token at a time."""
        found = self._trusted_book(token_id, time)
        last = self._last_known(token_id, time) if isinstance(found, str) else None
        return self._recorded_book(token_id, time, found, last)

    def _recorded_book(
        self, token_id: str, time: int, found: TrustedBook | str, last: RecordedBook | None
    ) -> RecordedBook:
        market = self.names.market_of.get(token_id)
        about = RecordedBook(
            token_id=token_id,
            market="" if market is None else market.condition_id,
            label=self.names.label(token_id),
            at=moment(time),
            quality="stale",
            why="",
        )
        return recorded_book(found, about, last)

    def _trusted_book(self, token_id: str, time: int) -> TrustedBook | str:
        window = self.window(time)
        timeline = self.timeline(token_id, window)
        if timeline is None:
            gap = next((one for one in self.gaps.of(token_id, conns=()) if one.covers(time)), None)
            return stale_reason(None, time) if gap is None else f"not to be trusted {gap}"
        return book_from_rows(self.contents, timeline, window.since, time)

    def _last_known(self, token_id: str, time: int) -> RecordedBook | None:
        """Return the last book before a time, searched backwards from keyframes to keyframes."""
        while True:
            window = self.window(time)
            timeline = self.timeline(token_id, window)
            spans = [] if timeline is None else [span for span in timeline.spans() if span.start <= time]
            if spans:
                then = min(time, spans[-1].end - 1)
                return self._recorded_book(token_id, then, self._trusted_book(token_id, then), None)
            if window.since is None:
                return None
            time = window.since - 1

    @cached_property
    def tokens(self) -> list[str]:
        """All tokens that have rows, also those that no market of the manifest has."""
        token_ids = pl.col("token_id").unique()
        frames = [
            collect(self.contents, table, self.contents.scan(table).select(token_ids))
            for table in ("keyframes", "book_snapshots", "gaps")
        ]
        return pl.concat(frames)["token_id"].drop_nulls().unique().sort().to_list()


class IndexCache:
    """The index of a folder, made again once the folder has grown."""

    def __init__(self, folder: Path) -> None:
        self._contents = ContentsCache(folder)
        self._unsubscribed = UnsubscriptionCache()
        self._times: dict[str, list[int]] = {}
        self._index: RecordingIndex | None = None

    def current(self, *, fresh: bool = False) -> RecordingIndex:
        """Return the index of the recording as it is now, or was a moment ago unless it must be ``fresh``.

        Raises:
            StoreError: the folder is not a recording.
        """
        contents = self._contents.current(fresh=fresh)
        if self._index is None or self._index.contents is not contents:
            self._index = RecordingIndex(contents, self._unsubscribed, self._times)
        return self._index


class TokenNames:
    """The tokens of a recording; ``others`` lists those that no market of the manifest has."""

    def __init__(self, markets: Sequence[RecordedMarket], others: Callable[[], Collection[str]]) -> None:
        self._directory = Directory(markets)
        self._others = others
        self.labels = {
            token_id: label(market, outcome) for token_id, (market, outcome) in self._directory.tokens.items()
        }
        self.names = self._directory.names()
        self.market_of = {token_id: market for market in markets for token_id in market.token_ids}

    def label(self, token_id: str) -> str:
        """Return a readable name of a token."""
        return self.labels.get(token_id) or f"token {clean(token_id, 80)}"

    def token(self, named: str, outcome: str | None = None) -> str:
        """Return the id of the token that a name means.

        Args:
            named: a token id, an outcome such as ``"Yes"`` if only one recorded market has it, or a market's slug or
                condition id.
            outcome: the outcome, where ``named`` is a market's slug or condition id.

        Raises:
            UnknownMarketError: no token matches, or several do; the message lists some.
        """

        def is_recorded(token_id: str) -> bool:
            return token_id in self.labels or token_id in self._others()

        return self._directory.token(named, outcome, held=is_recorded, others=self._others, kind="recorded")


def _gaps(contents: Contents) -> pl.DataFrame:
    """Read all gaps: sealed ones, those in the log, holes of the manifest, and lost or unlisted parts."""
    rows = collect(contents, "gaps", contents.scan("gaps"))
    holes = [
        (
            0,
            None,
            hole.ended or hole.started,
            hole.conn,
            hole.token_id,
            hole.started,
            hole.ended,
            hole.cause,
            hole.detail,
        )
        for hole in contents.manifest.holes
    ]
    # Most holes are rows, too; a gap that is listed twice counts once.
    lost = [_lost_file_gap(contents, file) for file in contents.lost_files(_BOOKS)]
    unlisted = [
        (part.seq, None, part.ended, 0, None, part.started, part.ended, "disk", part.detail)
        for part in contents.missing
    ]
    whole = pl.concat([pl.DataFrame([*holes, *lost, *unlisted], schema=SCHEMAS["gaps"], orient="row"), rows])
    cleaned = {text: clean(text, 500) for text in whole["detail"].drop_nulls().unique()}
    return whole.with_columns(pl.col("detail").replace(cleaned)) if cleaned else whole


def _lost_file_gap(contents: Contents, file: SealedFile) -> tuple[object, ...]:
    """Return the row of ``gaps`` for a lost file, without which the books of its time are unknown."""
    started, ended = contents.manifest.unknown_since(file), file.last_time + 1
    return (file.last_seq, None, ended, 0, None, started, ended, "disk", f"{file.path} is lost")


# --- outcomes ---
# Outcomes of recorded markets: which token won, as far as a recording knows.

_TOKENS = ("market", "slug", "question", "token_id", "outcome")
# What an entry of the manifest may be found by, the surest first.
_NAMES = ("token_id", "market")
_KNOWN = ("market", "winning_token_id", "winning_outcome", "resolved_at", "source")

_Token: TypeAlias = tuple[str | None, ...]


def outcomes(index: RecordingIndex) -> pl.DataFrame:
    """Return every token that is recorded, or whose market's resolution is, with what is known of its outcome.

    Raises:
        StoreError: a table cannot be read.
    """
    told = _resolutions(index)
    found = _tokens(index, told).join(told.select(_KNOWN), on="market", how="left", maintain_order="left")
    is_winner = pl.col("token_id") == pl.col("winning_token_id")
    by_name = pl.col("outcome").str.to_lowercase() == pl.col("winning_outcome").str.to_lowercase()
    # A market may be recorded by tokens of another version of the venue's protocol than the resolution names.
    named = is_winner.any().over("market", "_told_by") | by_name.is_null()
    return found.select(
        *_TOKENS,
        resolved=pl.col("resolved_at").is_not_null(),
        winner=pl.when(named).then(is_winner).otherwise(by_name),
        resolved_at="resolved_at",
        source="source",
        end_date=_end_date(index.markets),
    )


def _resolutions(index: RecordingIndex) -> pl.DataFrame:
    """Return the last resolution that was told of each market, since it was first told."""
    rows = index.contents.scan("market_events").filter(pl.col("kind").cast(pl.String) == "market_resolved")
    told = collect(index.contents, "market_events", rows).sort("seq")
    once = told.unique(["market", "winning_token_id"], keep="first", maintain_order=True)
    last = once.unique("market", keep="last", maintain_order=True)
    # What the catalogue was asked for came by no connection.
    source = pl.when(pl.col("conn") == 0).then(pl.lit("catalogue")).otherwise(pl.lit("feed"))
    return last.with_columns(source=source, resolved_at=pl.col("ts_recv"))


def _end_date(markets: Iterable[RecordedMarket]) -> pl.Expr:
    """Return when a token's market was to end, as the catalogue said; tokens of another version have it, too."""
    ends = {
        name: nanoseconds(market.end_date)
        for market in markets
        if market.end_date is not None
        for name in (market.condition_id, *market.token_ids)
        if name
    }
    names = (pl.col(column).replace_strict(ends, default=None, return_dtype=pl.Int64) for column in _NAMES)
    return pl.coalesce(*names).cast(MARKETS["end_date"])


def _tokens(index: RecordingIndex, told: pl.DataFrame) -> pl.DataFrame:
    parts = [_of_markets(index.markets), _of_messages(told["payload"].drop_nulls())]
    named = [pl.DataFrame(list(part), schema=dict.fromkeys(_TOKENS, pl.String), orient="row") for part in parts]
    books = index.contents.scan("book_snapshots").select("market", "token_id").unique().sort("market", "token_id")
    rest = collect(index.contents, "book_snapshots", books)
    whole = pl.concat(
        [part.with_columns(_told_by=pl.lit(number)) for number, part in enumerate((*named, rest))], how="diagonal"
    )
    return whole.unique("token_id", keep="first", maintain_order=True)


def _of_markets(markets: Iterable[RecordedMarket]) -> Iterator[_Token]:
    for market in markets:
        yield from _rows(market.condition_id, market.slug, market.question, market.token_ids, market.outcomes)


def _of_messages(payloads: Iterable[str]) -> Iterator[_Token]:
    for payload in payloads:
        told = _read(payload)
        names = [clean(name) for name in told.outcomes]
        yield from _rows(told.market, clean(told.slug), clean(told.question), told.token_ids, names)


def _read(payload: str) -> MarketResolved:
    """Read a resolution as the socket told it, or under our own names, as it was made of an answer of the catalogue."""
    try:
        return msgspec.json.decode(payload, type=MarketResolved)
    except msgspec.MsgspecError:
        told = [event for event in _wire.decode("market", payload.encode()) if isinstance(event, MarketResolved)]
    if not told:
        raise StoreError(f"a resolution in 'market_events' is not a message of one: {payload[:100]!r}")
    return told[0]


def _rows(market: str, slug: str, question: str, token_ids: list[str], names: list[str]) -> Iterator[_Token]:
    for place, token_id in enumerate(token_ids):
        name = names[place] if place < len(names) else None
        yield market, slug or None, question or None, token_id, name
