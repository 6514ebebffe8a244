"""What follows from a recording as it is at one moment, found out once and only when it is asked for."""

from bisect import bisect_right
from collections.abc import Collection
from functools import cached_property
from pathlib import Path
from typing import cast

import polars as pl

from pmlive.gaps import GapIndex
from pmlive.markets import clean
from pmlive.recording.book_at import Made, RecordedBook, made, recorded, stale_why
from pmlive.recording.contents import Contents, ContentsCache, collect
from pmlive.recording.naming import Names
from pmlive.recording.summary import markets_of
from pmlive.recording.trust import Notes, Timeline, Window, keyframe_times, timelines
from pmlive.store import SealedFile
from pmlive.tables import SCHEMAS
from pmlive.times import moment

__all__ = ["IndexCache", "RecordingIndex"]

_WHOLE = Window(None, None)
# What books at a time are made from, and what tells that they cannot be.
_BOOKS = ("book_deltas", "book_snapshots", "keyframes", "gaps")
# How many tokens' parts between keyframes are remembered.
_WINDOWS = 10_000


class RecordingIndex:
    """A recording at one moment: its tokens and their names, its gaps, and when books could be trusted."""

    def __init__(self, contents: Contents, notes: Notes, times: dict[str, list[int]]) -> None:
        self.contents = contents
        self._notes = notes
        self._known_times = times
        self._windows: dict[tuple[str, Window], Timeline | None] = {}
        self.markets = markets_of(contents.folder, contents.manifest)
        self.names = Names(self.markets, lambda: self.tokens)

    def without(self, paths: Collection[str]) -> "RecordingIndex":
        """Leave out sealed files that cannot be read."""
        return RecordingIndex(self.contents.without(paths), self._notes, {}) if paths else self

    @cached_property
    def gaps(self) -> GapIndex:
        """The gaps, each once with the last that is known of its end; their texts are cleaned."""
        return GapIndex(_gaps(self.contents))

    @cached_property
    def times(self) -> list[int]:
        """When keyframes were written."""
        return keyframe_times(self.contents, self._known_times)

    @cached_property
    def timelines(self) -> dict[str, Timeline]:
        """When each book could be trusted, over the whole recording."""
        return timelines(self.contents, self.gaps, self._notes, self.times, within=_WHOLE)

    def window(self, time: int) -> Window:
        """Give the keyframes around a time."""
        after = bisect_right(self.times, time)
        since = self.times[after - 1] if after else None
        return Window(since, self.times[after] if after < len(self.times) else None)

    def timeline(self, token_id: str, window: Window) -> Timeline | None:
        """Give what is known of a token between two keyframes, None where it has no book there at all."""
        key = (token_id, window)
        if len(self._windows) >= _WINDOWS:
            self._windows.clear()
        if key not in self._windows:
            found = timelines(self.contents, self.gaps, self._notes, self.times, within=window, token_id=token_id)
            self._windows[key] = found.get(token_id)
        return self._windows[key]

    def book_at(self, token_id: str, time: int) -> RecordedBook:
        """Make the book of a token at a time."""
        found = self._made(token_id, time)
        last = self._last_known(token_id, time) if isinstance(found, str) else None
        return self._book(token_id, time, found, last)

    def _book(self, token_id: str, time: int, found: Made | str, last: RecordedBook | None) -> RecordedBook:
        market = self.names.market_of.get(token_id)
        about = RecordedBook(
            token_id=token_id,
            market="" if market is None else market.condition_id,
            label=self.names.label(token_id),
            at=moment(time),
            quality="stale",
            why="",
        )
        return recorded(found, about, last)

    def _made(self, token_id: str, time: int) -> Made | str:
        window = self.window(time)
        timeline = self.timeline(token_id, window)
        if timeline is None:
            gap = next((one for one in self.gaps.of(token_id, conns=()) if one.covers(time)), None)
            return stale_why(None, time) if gap is None else f"not to be trusted {gap}"
        return made(self.contents, timeline, window.since, time)

    def _last_known(self, token_id: str, time: int) -> RecordedBook | None:
        """Look back, one stretch between keyframes after the other, for a time at which there was a book."""
        while True:
            window = self.window(time)
            timeline = self.timeline(token_id, window)
            spans = [] if timeline is None else [span for span in timeline.spans() if span.start <= time]
            if spans:
                then = min(time, spans[-1].end - 1)
                return self._book(token_id, then, self._made(token_id, then), None)
            if window.since is None:
                return None
            time = window.since - 1

    @cached_property
    def tokens(self) -> list[str]:
        """Every token that has rows, whether a market of the manifest names it or not."""
        lone = pl.col("token_id").unique()
        frames = [
            collect(self.contents, table, self.contents.scan(table).select(lone))
            for table in ("keyframes", "book_snapshots", "gaps")
        ]
        return cast("list[str]", pl.concat(frames)["token_id"].drop_nulls().unique().sort().to_list())


def _gaps(contents: Contents) -> pl.DataFrame:
    """Read the gaps, those in the log, the holes that only the manifest has, and what it does not list."""
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
    # Most holes are rows, too.
    lost = [_lost(contents, file) for file in contents.lost(_BOOKS)]
    gone = [
        (part.seq, None, part.ended, 0, None, part.started, part.ended, "disk", part.detail)
        for part in contents.missing
    ]
    whole = pl.concat([pl.DataFrame([*holes, *lost, *gone], schema=SCHEMAS["gaps"], orient="row"), rows])
    cleaned = {text: clean(text, 500) for text in whole["detail"].drop_nulls().unique()}
    return whole.with_columns(pl.col("detail").replace(cleaned)) if cleaned else whole


def _lost(contents: Contents, file: SealedFile) -> tuple[object, ...]:
    """Return the row of ``gaps`` for a file without which nobody knows what the books of its time were."""
    started, ended = contents.manifest.unknown_since(file), file.last_time + 1
    return (file.last_seq, None, ended, 0, None, started, ended, "disk", f"{file.path} is lost")


class IndexCache:
    """Keeps what is known of a folder until it has grown."""

    def __init__(self, folder: Path) -> None:
        self._shelf = ContentsCache(folder)
        self._notes = Notes()
        self._times: dict[str, list[int]] = {}
        self._known: RecordingIndex | None = None

    def now(self) -> RecordingIndex:
        """Give what is known now.

        Raises:
            StoreError: the folder is no recording.
        """
        contents = self._shelf.contents()
        if self._known is None or self._known.contents is not contents:
            self._known = RecordingIndex(contents, self._notes, self._times)
        return self._known
