"""Trust in the books of a recording: when each could be trusted, and when the venue's hash last fitted it."""

from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import chain
from typing import Literal, TypeAlias

import msgspec
import numpy as np
import numpy.typing as npt
import polars as pl

from pmlive.errors import ProtocolError, StoreError
from pmlive.gaps import ENDLESS, GapIndex, GapInterval
from pmlive.recording.contents import Contents, collect, time_literal
from pmlive.records import Closed, Kind, read_note
from pmlive.store import Record
from pmlive.store.reader import read_raw

__all__ = [
    "HashHistory",
    "Span",
    "TrustEvent",
    "TrustTimeline",
    "Unsubscription",
    "UnsubscriptionCache",
    "Window",
    "distrusted_minutes",
    "followed",
    "hash_history",
    "keyframe_times",
    "timelines",
    "trust_intervals",
    "unsubscriptions",
]

_BASES = ("keyframe", "token keyframe", "book")
_MINUTE_NS = 60_000_000_000
_DAY_NS = 1440 * _MINUTE_NS
_WEEK_NS = 7 * _DAY_NS
_TIME = pl.Datetime("ns", "UTC")

# A book can be rebuilt from the first three, which are rows; a ``token keyframe`` was written for one token alone.
# After the others there is no book.
TrustEventKind: TypeAlias = Literal[
    "keyframe", "token keyframe", "book", "untrusted", "absent", "restart", "unsubscribed"
]
# A state is checked within this time after its change.
_CHECKED_WITHIN_NS = 200_000_000


class TrustEvent(msgspec.Struct, frozen=True, gc=False):
    """A moment at which trust in a token's book begins or ends; ``recv`` is nanoseconds since 1970."""

    recv: int
    seq: int
    conn: int
    kind: TrustEventKind

    @property
    def begins(self) -> bool:
        """Whether a book can be rebuilt from here on."""
        return self.kind in _BASES


class Unsubscription(msgspec.Struct, frozen=True, gc=False):
    """The end of a subscription: to some tokens, or without ``tokens`` to all of a connection."""

    recv: int
    seq: int
    conn: int
    tokens: frozenset[str] | None

    def concerns(self, token_id: str, conn: int) -> bool:
        """Return whether this ends the subscription of a token on a connection."""
        return self.conn == conn if self.tokens is None else token_id in self.tokens


class UnsubscriptionCache:
    """The unsubscriptions in raw records; each sealed file is read once at most, and only when needed."""

    def __init__(self) -> None:
        self._known: dict[str, list[Unsubscription] | None] = {}

    def between(self, contents: Contents, since: int, until: int) -> list[Unsubscription] | None:
        """List the unsubscriptions between two times; return None where the raw records are gone."""
        found: list[Unsubscription] = []
        files = contents.files("raw", since=since, until=until)
        for file in files:
            if file.path not in self._known:
                try:
                    self._known[file.path] = list(unsubscriptions(read_raw(contents.folder, file)))
                except StoreError:
                    self._known[file.path] = None
            known = self._known[file.path]
            if known is None:
                return None
            found += known
        unsealed = contents.records()
        if not files and not (unsealed and unsealed[-1].recv >= since):
            return None
        found += unsubscriptions(unsealed)
        return [each for each in found if since <= each.recv <= until]


class Span(msgspec.Struct, frozen=True, gc=False):
    """An interval, its end excluded, in which a book could be trusted."""

    start: int
    end: int


class Window(msgspec.Struct, frozen=True):
    """The times of the last keyframes up to a time and of the first after it; None where there are none."""

    since: int | None
    until: int | None


class TrustTimeline(msgspec.Struct, frozen=True):
    """The events of one token in order and its gaps; times are nanoseconds since 1970."""

    token_id: str
    events: list[TrustEvent]
    gaps: list[GapInterval]
    end: int

    def last(self, time: int) -> TrustEvent | None:
        """Return the last event up to a time."""
        before = bisect_right(self.events, time, key=lambda event: event.recv)
        return self.events[before - 1] if before else None

    def gap(self, time: int) -> GapInterval | None:
        """Return the gap that a time lies in, if any; of several, the one that began first."""
        event = self.last(time)
        conn = 0 if event is None else event.conn
        return next((gap for gap in self.gaps if gap.covers(time) and gap.concerns(self.token_id, conn)), None)

    def spans(self) -> list[Span]:
        """List the intervals in which the book could be trusted."""
        return list(_merged(span for held in self._book_events() for span in self._without_gaps(*held)))

    def _book_events(self) -> Iterator[tuple[TrustEvent, int]]:
        for event, following in zip(self.events, [*self.events[1:], None], strict=True):
            # An earlier run, whose clock was ahead, may have events after the end.
            end = self.end if following is None else min(following.recv, self.end)
            if event.begins and end > event.recv:
                yield event, end

    def _without_gaps(self, event: TrustEvent, end: int) -> Iterator[Span]:
        start = event.recv
        for gap in self.gaps:
            if gap.until <= start or gap.until == gap.started or not gap.concerns(self.token_id, event.conn):
                continue
            if gap.started >= end:
                break
            if gap.started > start:
                yield Span(start, gap.started)
            start = max(start, gap.until)
        if start < end:
            yield Span(start, end)


class HashHistory(msgspec.Struct, frozen=True):
    """The times at which the venue's hash fitted the book of a token (``fits``) or did not, in order."""

    times: npt.NDArray[np.int64]
    fits: npt.NDArray[np.bool_]

    def fitted_at(self, times: Sequence[int] | npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        """Return for each time whether the venue's hash fitted the state that was checked last."""
        return np.concatenate([[False], self.fits])[np.searchsorted(self.times, times, side="right")]

    def last_fit(self, time: int) -> int | None:
        """Return the last time, up to a time, at which the venue's hash fitted."""
        proved = self.times[self.fits & (self.times <= time)]
        return int(proved[-1]) if len(proved) else None


def unsubscriptions(records: Iterable[Record]) -> Iterator[Unsubscription]:
    """Yield the intended ends of subscriptions; notes that cannot be read are gaps in the tables."""
    for record in records:
        if record.kind not in (Kind.UNSUBSCRIBE, Kind.CLOSE):
            continue
        with suppress(ProtocolError):
            match read_note(record):
                case list() as tokens:
                    yield Unsubscription(record.recv, record.seq, record.conn, frozenset(tokens))
                case Closed(cause=None):
                    yield Unsubscription(record.recv, record.seq, record.conn, None)
                case _:
                    pass


def keyframe_times(contents: Contents, known: dict[str, list[int]]) -> list[int]:
    """List when keyframes were written; ``known`` caches the times of each sealed file."""
    times: list[int] = []
    for file in contents.files("keyframes"):
        if file.path not in known:
            rows = contents.scan_sealed("keyframes", file.first_seq, file.last_seq + 1)
            known[file.path] = _times(collect(contents, "keyframes", rows.select("ts_recv", "alone")))
        times += known[file.path]
    for rows in contents.rows("keyframes"):
        times += _times(rows)
    return sorted(set(times))


def timelines(
    contents: Contents,
    gaps: GapIndex,
    unsubscribed: UnsubscriptionCache,
    times: Sequence[int],
    *,
    within: Window,
    token_id: str | None = None,
) -> dict[str, TrustTimeline]:
    """Return the timelines of one token or all, in the part of the recording between two keyframes."""
    events = _events(contents, gaps, within, token_id)
    inside = [
        time
        for time in times
        if (within.since is None or time >= within.since) and (within.until is None or time <= within.until)
    ]
    last = contents.recv_of_last()
    end = ENDLESS if last is None else last + 1
    if within.until is not None:
        end = min(end, within.until)
    return {
        each: _with_unsubscriptions(
            contents,
            unsubscribed,
            TrustTimeline(
                each, _with_absences(token_events, inside, gaps), gaps.of(each, known=_trusted_rows(token_events)), end
            ),
        )
        for each, token_events in events.items()
    }


def followed(timeline: TrustTimeline) -> list[Span]:
    """List the intervals in which a book was subscribed, from its first event on, outages included."""
    found: list[Span] = []
    known = [gap.started for gap in timeline.gaps if gap.token_id is not None][:1]
    if any(event.begins and event.recv >= timeline.end for event in timeline.events):
        # An earlier run, whose clock was ahead, followed it until the restart.
        known += [gap.started for gap in timeline.gaps if gap.cause == "restart"][:1]
    start: int | None = min([*known, *(event.recv for event in timeline.events[:1])], default=None)
    for event in timeline.events:
        if event.recv >= timeline.end:
            break
        ends = event.kind in ("unsubscribed", "absent")
        if ends and start is not None:
            found.append(Span(start, max(start, event.recv)))
            start = None
        elif not ends and start is None:
            start = event.recv
    if start is not None:
        found.append(Span(start, max(start, timeline.end)))
    return found


def trust_intervals(timelines: Mapping[str, TrustTimeline]) -> pl.DataFrame:
    """Return the time that each token was followed, cut where trust in its book begins or ends."""
    rows = [(token_id, span.start, span.end, trusted) for token_id, span, trusted in _trust_spans(timelines)]
    schema = {"token_id": pl.String, "start": pl.Int64, "end": pl.Int64, "trusted": pl.Boolean}
    frame = pl.DataFrame(rows, schema=schema, orient="row").with_columns(pl.col("start", "end").cast(_TIME))
    return frame.sort("token_id", "start")


def distrusted_minutes(timelines: Mapping[str, TrustTimeline], active: Collection[int] = ()) -> pl.DataFrame:
    """List the minutes, of the time that a token was followed, in which its book could not be trusted throughout.

    Of an interval longer than a week, as a clock that begins in 1970 makes one, the minutes between its first and its
    last day are listed only where they are in ``active``: the minutes with any message, in nanoseconds since 1970.
    """
    known = sorted(active)
    rows = {
        (token_id, minute)
        for token_id, span, trusted in _trust_spans(timelines)
        if not trusted
        for minute in _minutes(span, known)
    }
    frame = pl.DataFrame(sorted(rows), schema={"token_id": pl.String, "minute": pl.Int64}, orient="row")
    return frame.with_columns(pl.col("minute").cast(_TIME))


def hash_history(
    contents: Contents, timeline: TrustTimeline, changes: pl.DataFrame, *, since: int | None, until: int
) -> HashHistory:
    """Return when the venue's hash fitted the books of a token between two times, both included.

    A row of a level change has the outcome for one state, and a keyframe for the time at which it was written. The
    counts of a minute in which every hash fitted cover complete books as well, which have no such row.

    Args:
        contents: the contents of the recording.
        timeline: the token and its unsubscriptions: after a new subscription, nothing is proved.
        changes: its rows of ``book_deltas`` between these times.
        since: nanoseconds since 1970; None for the beginning.
        until: nanoseconds since 1970.
    """
    keyframes = _keyframe_checks(contents, timeline.token_id, since, until)
    minutes = _proved_minutes(contents, timeline.token_id, since, until)
    ends = [(event.recv, event.seq) for event in timeline.events if event.kind in ("absent", "restart", "unsubscribed")]
    unproved = pl.DataFrame(ends, schema={"time": pl.Int64, "seq": pl.UInt64}, orient="row").with_columns(
        fits=pl.lit(value=False)
    )
    # A keyframe within a minute is more precise than its counts, and a new subscription voids them.
    marks = np.sort(np.concatenate([keyframes["time"].to_numpy(), unproved["time"].to_numpy()]))
    before = np.searchsorted(marks, minutes["time"].to_numpy() - _MINUTE_NS, side="right")
    alone = minutes.filter(pl.Series(before == np.searchsorted(marks, minutes["time"].to_numpy(), side="right")))
    whole = (
        pl.concat([_checked_states(changes), keyframes, alone, unproved])
        .filter(pl.col("time") <= until)
        .sort("time", "seq")
    )
    return HashHistory(whole["time"].to_numpy(), whole["fits"].to_numpy())


def _merged(spans: Iterable[Span]) -> Iterator[Span]:
    last: Span | None = None
    for span in spans:
        if last is not None and span.start <= last.end:
            last = Span(last.start, max(last.end, span.end))
            continue
        if last is not None:
            yield last
        last = span
    if last is not None:
        yield last


def _times(frame: pl.DataFrame) -> list[int]:
    return frame.filter(~pl.col("alone"))["ts_recv"].unique().dt.epoch("ns").to_list()


def _trusted_rows(events: Sequence[TrustEvent]) -> list[tuple[int, int]]:
    """List the rows, by number and time, in which the recorder noted that it trusted a book."""
    return [(event.seq, event.recv) for event in events if event.kind == "keyframe"]


def _events(contents: Contents, gaps: GapIndex, within: Window, token_id: str | None) -> dict[str, list[TrustEvent]]:
    columns = ("token_id", pl.col("ts_recv").dt.epoch("ns"), "seq", "conn")
    keyframes = contents.scan("keyframes", since=within.since, until=within.until)
    books = contents.scan("book_snapshots", since=within.since, until=within.until)
    if token_id is not None:
        keyframes, books = (frame.filter(pl.col("token_id") == token_id) for frame in (keyframes, books))
    trusted = pl.col("state").cast(pl.String).is_in(["verified", "unverifiable"])
    whole = pl.when(trusted).then(pl.lit("keyframe")).otherwise(pl.lit("untrusted"))
    kind = pl.when(pl.col("alone") & trusted).then(pl.lit("token keyframe")).otherwise(whole).alias("kind")
    ends = gaps.frame.lazy().filter(pl.col("token_id").is_not_null()).select("token_id", ts_recv="ended", written="seq")
    opening = books.filter("opening").select(*columns, kind=pl.lit("book"))
    # Of several books at one time, the one that ended a gap is the last before the gap's own row.
    ending = books.join(ends, on=["token_id", "ts_recv"]).filter(pl.col("seq") < pl.col("written"))
    last = ending.filter(pl.col("seq") == pl.col("seq").max().over("token_id", "written"))
    regained = last.filter(~pl.col("opening")).unique(["token_id", "seq"])
    found = [
        collect(contents, "keyframes", keyframes.select(*columns, kind)),
        collect(contents, "book_snapshots", opening),
        collect(contents, "book_snapshots", regained.select(*columns, kind=pl.lit("book"))),
    ]
    events: dict[str, list[TrustEvent]] = {}
    for token, recv, seq, conn, name in pl.concat(found).sort("ts_recv", "seq").iter_rows():
        events.setdefault(token, []).append(TrustEvent(recv, seq, conn, name))
    return events


def _with_absences(events: list[TrustEvent], times: Sequence[int], gaps: GapIndex) -> list[TrustEvent]:
    """Add the keyframes that lack the token, and the restarts, after which nothing is known of it."""
    there = {event.recv for event in events if event.kind in ("keyframe", "untrusted")}
    first = events[0].recv
    missing = [TrustEvent(time, 0, 0, "absent") for time in times if time not in there and time > first]
    restarts = [TrustEvent(time, 0, 0, "restart") for time in gaps.restarts if time > first]
    return sorted([*events, *missing, *restarts], key=lambda event: (event.recv, event.seq))


def _with_unsubscriptions(contents: Contents, unsubscribed: UnsubscriptionCache, draft: TrustTimeline) -> TrustTimeline:
    """Add the unsubscriptions, which only the raw records have."""
    added: list[TrustEvent] = []
    for event, following in zip(draft.events, [*draft.events[1:], None], strict=True):
        until = draft.end if following is None else following.recv
        if event.begins and event.recv < until - 1 and not _continues(event, following):
            added += _unsubscribed_events(contents, unsubscribed, draft, event, until)
    if not added:
        return draft
    events = sorted([*draft.events, *added], key=lambda event: (event.recv, event.seq))
    return TrustTimeline(draft.token_id, events, draft.gaps, draft.end)


def _continues(event: TrustEvent, following: TrustEvent | None) -> bool:
    """Return whether the next event proves that the token was followed all the time."""
    return following is not None and following.kind in ("keyframe", "untrusted") and following.conn == event.conn


def _unsubscribed_events(
    contents: Contents, unsubscribed: UnsubscriptionCache, draft: TrustTimeline, event: TrustEvent, until: int
) -> list[TrustEvent]:
    found = unsubscribed.between(contents, event.recv, until)
    if found is not None:
        ends = (one for one in found if one.seq > event.seq and one.concerns(draft.token_id, event.conn))
        return [TrustEvent(one.recv, one.seq, event.conn, "unsubscribed") for one in ends][:1]
    if any(event.recv <= gap.started <= until <= gap.until for gap in draft.gaps if gap.token_id is not None):
        return []
    # The time is not known any more, so trust ends with the last row that was received.
    return [TrustEvent(_last_row(contents, draft.token_id, event.recv, until) + 1, 0, event.conn, "unsubscribed")]


def _last_row(contents: Contents, token_id: str, since: int, until: int) -> int:
    newest = since
    for table in ("book_deltas", "book_snapshots", "trades"):
        rows = contents.scan(table, since=since).filter(
            pl.col("token_id") == token_id, pl.col("ts_recv") < time_literal(until)
        )
        found = collect(contents, table, rows.select(pl.col("ts_recv").max().dt.epoch("ns"))).item()
        newest = max(newest, found or 0)
    return newest


def _minutes(span: Span, active: Sequence[int]) -> Iterable[int]:
    start = span.start // _MINUTE_NS * _MINUTE_NS
    if span.end - start <= _WEEK_NS:
        return range(start, span.end, _MINUTE_NS)
    first, last = start + _DAY_NS, (span.end - _DAY_NS) // _MINUTE_NS * _MINUTE_NS
    between = active[bisect_left(active, first) : bisect_left(active, last)]
    return chain(range(start, first, _MINUTE_NS), between, range(last, span.end, _MINUTE_NS))


def _trust_spans(timelines: Mapping[str, TrustTimeline]) -> Iterator[tuple[str, Span, bool]]:
    for token_id, timeline in timelines.items():
        trusted = timeline.spans()
        yield from ((token_id, span, True) for span in trusted)
        for wanted in followed(timeline):
            yield from ((token_id, span, False) for span in _untrusted(wanted, trusted))


def _untrusted(wanted: Span, trusted: Sequence[Span]) -> Iterator[Span]:
    """Yield the parts of an interval in which the book could not be trusted."""
    start = wanted.start
    for span in [*trusted, Span(wanted.end, wanted.end)]:
        end = min(span.start, wanted.end)
        if end > start:
            yield Span(start, end)
        start = max(start, span.end)


def _checked_states(changes: pl.DataFrame) -> pl.DataFrame:
    """Return the outcome for the last state of each millisecond of the venue, which is the one that is checked."""
    recv, check = pl.col("ts_recv").dt.epoch("ns"), pl.col("check").cast(pl.String)
    judged = changes.filter(check != "skipped").sort("seq")
    states = judged.group_by(pl.col("ts_event").rle_id(), maintain_order=True).agg(
        pl.col("seq").last(), begins=recv.first(), ends=recv.last(), fits=check.last() == "verified"
    )
    unproved = pl.min_horizontal(pl.col("ends") + _CHECKED_WITHIN_NS, pl.col("begins").shift(-1))
    time = pl.when("fits").then("ends").otherwise(unproved)
    return states.select(time.alias("time"), "seq", "fits")


def _keyframe_checks(contents: Contents, token_id: str, since: int | None, until: int) -> pl.DataFrame:
    rows = contents.scan("keyframes", since=since, until=until).filter(pl.col("token_id") == token_id)
    moments = rows.select(
        pl.col("ts_recv").dt.epoch("ns").alias("time"), "seq", fits=pl.col("state").cast(pl.String) == "verified"
    )
    return collect(contents, "keyframes", moments).sort("time", "seq")


def _proved_minutes(contents: Contents, token_id: str, since: int | None, until: int) -> pl.DataFrame:
    """List the ends of the minutes in which hashes were checked and all fitted."""
    rows = contents.scan("checks", since=since, until=until - _MINUTE_NS).filter(pl.col("token_id") == token_id)
    # A minute in which a recording or a subscription began or ended has more than one row.
    counts = rows.group_by("ts_recv").agg(pl.sum("hash_verified", "hash_unverifiable", "hash_mismatch"))
    is_proved = (pl.col("hash_verified") > 0) & (pl.col("hash_unverifiable") == 0) & (pl.col("hash_mismatch") == 0)
    ends = counts.filter(is_proved).select(
        # Anything else that is known of the same time comes after it and counts more.
        (pl.col("ts_recv").dt.epoch("ns") + _MINUTE_NS).alias("time"),
        seq=pl.lit(0, pl.UInt64),
        fits=pl.lit(value=True),
    )
    return collect(contents, "checks", ends).sort("time")
