"""The index of a recording at one moment: names of tokens, gaps, timelines and books, each found once when needed."""

from bisect import bisect_right
from collections.abc import Callable, Collection, Sequence
from functools import cached_property
from pathlib import Path

import polars as pl

from pmlive.gaps import GapIndex
from pmlive.markets import clean
from pmlive.markets.directory import Directory, label
from pmlive.recording.book_at import RecordedBook, TrustedBook, book_from_rows, recorded_book, stale_reason
from pmlive.recording.contents import Contents, ContentsCache, collect
from pmlive.recording.summary import RecordedMarket, markets_of
from pmlive.recording.trust import TrustTimeline, UnsubscriptionCache, Window, keyframe_times, timelines
from pmlive.store import SealedFile
from pmlive.tables import SCHEMAS
from pmlive.times import moment

__all__ = ["IndexCache", "RecordingIndex", "TokenNames"]

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
