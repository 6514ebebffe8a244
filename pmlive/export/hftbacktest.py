"""A recording as arrays for hftbacktest 2: one ``.npz`` per token, with its events under the key ``data``.

A book begins with everything cleared and the levels of a snapshot; changes follow. Where it could not be trusted it is
cleared, and begins again with the next snapshot, or with a book that the recorder wrote down. A book that the venue
sends again while ours holds changes nothing and is left out, so that nobody's place in a queue is lost to it. No event
of a book is dated before the snapshot that it was put on. Trades are all there, with the taker's side.

hftbacktest walks through the events once for the exchange and once for us, and wants both times sorted. As its own
converters do, an event that came later than a newer one is written twice: for the exchange where its time is, for us
where it came. At one time of the exchange trades go before changes of the book: those take the traded size away
already, and a queue must not shrink twice.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray

from pmlive.errors import StoreError
from pmlive.export.output import (
    Exported,
    ExportedFile,
    ExportedToken,
    SkippedToken,
    missing_files,
    new_folder,
    sealed_rows,
    unsealed_bytes,
)
from pmlive.gaps import GapIndex
from pmlive.progress import Progress, reported, unwatched
from pmlive.recording.index import IndexCache
from pmlive.recording.trust import unsubscriptions
from pmlive.records import FRAMES, Kind
from pmlive.store import records
from pmlive.store.reader import diagnosed
from pmlive.tables import SCHEMAS

__all__ = [
    "BUY",
    "CLEAR",
    "DEPTH",
    "EVENT",
    "EXCHANGE",
    "KIND",
    "LOCAL",
    "SELL",
    "SNAPSHOT",
    "TRADE",
    "Break",
    "End",
    "Ends",
    "TokenRows",
    "book_events_of",
    "events_of",
    "in_both_orders",
    "new_events",
    "no_book",
    "recorded_ends",
    "recorded_rows",
    "tick_size",
    "to_hftbacktest",
    "tokens_of",
]

_BOOKS = ("book_snapshots", "keyframes")
_TABLES = (*_BOOKS, "book_deltas", "trades")
# What is read of the largest table.
_COLUMNS = {"book_deltas": ("seq", "ts_event", "ts_recv", "conn", "token_id", "side", "price", "size", "check")}
# A token id names a file, and a recording may come from somebody else.
_is_file_name = re.compile(r"[0-9A-Za-z_-]{1,128}", re.ASCII).fullmatch

EVENT = np.dtype(
    [
        ("ev", "u8"),
        ("exch_ts", "i8"),
        ("local_ts", "i8"),
        ("px", "f8"),
        ("qty", "f8"),
        ("order_id", "u8"),
        ("ival", "i8"),
        ("fval", "f8"),
    ],
    align=True,
)

# hftbacktest's DEPTH_EVENT, TRADE_EVENT, DEPTH_CLEAR_EVENT and DEPTH_SNAPSHOT_EVENT, and its flags beside them.
DEPTH, TRADE, CLEAR, SNAPSHOT = 1, 2, 3, 4
EXCHANGE, LOCAL, BUY, SELL = 1 << 31, 1 << 30, 1 << 29, 1 << 28
KIND = 0xFF
_NOTHING = np.zeros(1)


class Break(msgspec.Struct, frozen=True):
    """From ``started`` on a book cannot be trusted, up to a snapshot that is not before ``ended`` (nanoseconds)."""

    started: int
    ended: int


class End(msgspec.Struct, frozen=True):
    """A book was given up on purpose: that of one connection, or whichever there was (0)."""

    recv: int
    seq: int
    conn: int


class TokenRows(msgspec.Struct, frozen=True, kw_only=True):
    """What was recorded of a token, in order of arrival."""

    deltas: pl.DataFrame
    snapshots: pl.DataFrame
    keyframes: pl.DataFrame
    trades: pl.DataFrame
    breaks: Sequence[Break]
    ends: Sequence[End] = ()


class Ends(msgspec.Struct):
    """When runs began, and when connections and tokens were given up: where a book ends without a gap."""

    begun: list[End]
    closed: list[End]
    dropped: dict[str, list[End]]

    def of(self, token_id: str) -> list[End]:
        """List the ends that concern a token."""
        return [*self.begun, *self.closed, *self.dropped.get(token_id, [])]


def to_hftbacktest(
    folder: str | Path, out: str | Path, *, token_id: str | None = None, progress: Progress = unwatched
) -> Exported:
    """Write the books and trades of every token, or of one, as ``TOKEN.npz`` into a new folder.

    Receive times of all tokens are moved by one and the same ``shift``, so that none is before the venue's time: the
    correction that hftbacktest's converters make, kept equal for tokens that are traded together.

    ``progress`` is called after each token with the number of those done, and of all.

    Raises:
        StoreError: the folder is not a recording, has no such token or no book, or ``out`` has something in it.
    """
    source, target = Path(folder), Path(out)
    missing = missing_files(source)
    with new_folder(target) as unfinished, diagnosed(source):
        shift = _shift(source)
        tokens = reported([(token, 1) for token in tokens_of(source, token_id)], progress)
        converted = _convert_all(source, tokens, into=unfinished, shift=shift)
        written = [one for one in converted if isinstance(one, ExportedToken)]
        skipped = [one for one in converted if isinstance(one, SkippedToken)]
        sizes = [(unfinished / one.path).stat().st_size for one in written]
        if not written:
            raise StoreError(no_book(source, skipped))
    placed = [msgspec.structs.replace(one, path=str(target / one.path)) for one in written]
    return Exported(
        out=str(target),
        format="hftbacktest",
        files=[
            ExportedFile(path=one.path, rows=one.events, bytes=size) for one, size in zip(placed, sizes, strict=True)
        ],
        tokens=placed,
        skipped=skipped,
        shift=shift,
        unsealed=unsealed_bytes(source),
        missing=missing,
    )


def _convert_all(source: Path, tokens: Iterable[str], *, into: Path, shift: int) -> list[ExportedToken | SkippedToken]:
    ends, gaps = recorded_ends(source), IndexCache(source).current().gaps
    return [_convert(source, token, ends, gaps, into=into, shift=shift) for token in tokens]


def tokens_of(source: Path, wanted: str | None) -> list[str]:
    """List the tokens of a recording, or the one that is wanted.

    Raises:
        StoreError: it has no such token.
    """
    ids = (part["token_id"] for table in _TABLES for part in sealed_rows(source, table, ("token_id",)))
    if wanted is None:
        return sorted({token for part in ids for token in part.unique()})
    if not any((part == wanted).any() for part in ids):
        raise StoreError(f"no token {wanted!r} in {str(source)!r}; pmlive info lists its markets")
    return [wanted]


def no_book(source: Path, skipped: Sequence[SkippedToken]) -> str:
    """Say that nothing can be exported, and why."""
    why = f": {skipped[0].token_id[:80]!r}: {skipped[0].reason}" if skipped else ""
    return f"{str(source)!r} has no book to export{why}"


def recorded_ends(source: Path) -> Ends:
    """Read when books were given up on purpose."""
    kept = [record for record in records(source) if record.kind not in FRAMES]
    ends = Ends([End(record.recv, record.seq, 0) for record in kept if record.kind == Kind.BEGIN], [], {})
    for gone in unsubscriptions(kept):
        if gone.tokens is None:
            ends.closed.append(End(gone.recv, gone.seq, gone.conn))
        for token in gone.tokens or ():
            ends.dropped.setdefault(token, []).append(End(gone.recv, gone.seq, 0))
    return ends


def _shift(source: Path) -> int:
    tables = (table for table in _TABLES if table != "keyframes")
    rows = (part for table in tables for part in sealed_rows(source, table, ("ts_event", "ts_recv")))
    late = ((part["ts_event"] - part["ts_recv"]).to_physical().max() for part in rows)
    return max([0, *(each for each in late if isinstance(each, int))])


def recorded_rows(source: Path, token: str, ends: Ends, gaps: GapIndex) -> TokenRows | SkippedToken:
    """Read what was recorded of a token; or say why it cannot be exported."""
    if _is_file_name(token) is None:
        return SkippedToken(token, "not a valid token id, so it cannot be a file name")
    frames = {table: _rows_of(source, table, token) for table in _TABLES}
    books = frames["keyframes"].filter(pl.col("state").is_in(["verified", "unverifiable"]))
    if frames["book_snapshots"].is_empty() and books.is_empty():
        return SkippedToken(token, "no book of it was recorded")
    return TokenRows(
        deltas=frames["book_deltas"],
        snapshots=frames["book_snapshots"],
        keyframes=books,
        trades=frames["trades"],
        breaks=list(_breaks(gaps, token, books)),
        ends=ends.of(token),
    )


def _convert(
    source: Path, token: str, ends: Ends, gaps: GapIndex, *, into: Path, shift: int
) -> ExportedToken | SkippedToken:
    rows = recorded_rows(source, token, ends, gaps)
    if isinstance(rows, SkippedToken):
        return rows
    converted = events_of(rows, shift=shift)
    if not len(converted.events):
        return SkippedToken(token, "no book of it could be trusted, and no trade was recorded")
    name = f"{token}.npz"
    np.savez_compressed(into / name, data=converted.events)
    return ExportedToken(
        token_id=token,
        path=name,
        events=len(converted.events),
        breaks=converted.breaks,
        split=converted.split,
        tick_size=tick_size(source, token, rows.snapshots),
        first_time=int(converted.events["local_ts"].min()),
        last_time=int(converted.events["local_ts"].max()),
    )


def _rows_of(source: Path, table: str, token: str) -> pl.DataFrame:
    rows = sealed_rows(source, table, _COLUMNS.get(table))
    kept = [part.filter(pl.col("token_id") == token) for part in rows]
    whole = pl.concat([SCHEMAS[table].to_frame().select(_COLUMNS.get(table, pl.all())), *kept])
    return whole if whole["seq"].is_sorted() else whole.sort("seq")


def _breaks(gaps: GapIndex, token: str, books: pl.DataFrame) -> Iterable[Break]:
    """List when a token's book could not be trusted; a gap of its connection is a gap of the token, too."""
    known = books.filter(~pl.col("alone")).select("seq", pl.col("ts_recv").dt.epoch("ns")).rows()
    return (Break(gap.started, gap.until) for gap in gaps.of(token, conns=(), known=known))


def tick_size(source: Path, token: str, snapshots: pl.DataFrame) -> float | None:
    """Return the finest tick size that was stated of a token."""
    changed = _rows_of(source, "market_events", token)["new_tick_size"]
    finest = pl.concat([snapshots["tick_size"], changed]).min()
    return finest if isinstance(finest, float) else None


# --- the events of one token, from its rows alone ---


class _Converted(msgspec.Struct, frozen=True):
    """The events, how often the book was cleared for want of trust, and how many events are written twice."""

    events: NDArray[np.void]
    breaks: int
    split: int


class _Point(msgspec.Struct, frozen=True, order=True):
    """What happens to a book besides changes, in the order in which it happens."""

    recv: int
    is_break: bool
    seq: int
    kind: Literal["end", "book", "keyframe", "break"]
    index: int
    conn: int = 0


def events_of(rows: TokenRows, *, shift: int = 0) -> _Converted:
    """Return the events of one token, with receive times that are ``shift`` nanoseconds later."""
    walk = _Walk(rows)
    walk.run()
    events = _by_arrival([*walk.parts, _trades(rows.trades)])
    events["local_ts"] += shift
    ordered, split = in_both_orders(events)
    return _Converted(ordered, walk.breaks, split)


def book_events_of(rows: TokenRows) -> tuple[NDArray[np.void], int]:
    """Return the events of one token's book in order of arrival, and how often it was cleared for want of trust."""
    walk = _Walk(rows)
    walk.run()
    return _by_arrival(walk.parts), walk.breaks


def _trades(trades: pl.DataFrame) -> NDArray[np.void]:
    side = np.where((trades["side"] == "buy").to_numpy(), np.uint64(TRADE | BUY), np.uint64(TRADE | SELL))
    return new_events(side, *_times(trades), trades["price"].to_numpy(), trades["size"].to_numpy())


def _times(frame: pl.DataFrame) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    recv = frame["ts_recv"].dt.epoch("ns")
    return frame["ts_event"].dt.epoch("ns").fill_null(recv).to_numpy(), recv.to_numpy()


def _books(kind: Literal["book", "keyframe"], frame: pl.DataFrame) -> Iterator[_Point]:
    columns = frame.select(pl.col("seq"), pl.col("ts_recv").dt.epoch("ns"), pl.col("conn"))
    for index, (seq, recv, conn) in enumerate(columns.iter_rows()):
        # After an end that was noted under the same number.
        yield _Point(recv, False, 2 * seq + 1, kind, index, conn)  # noqa: FBT003  # a field of a row


class _Walk:
    """Goes through a token's rows once."""

    def __init__(self, rows: TokenRows) -> None:
        # Of the books that one frame brings, the newest is left in the end.
        is_newest = pl.col("ts_event") == pl.col("ts_event").max().over("ts_recv", "conn")
        self._rows = rows = msgspec.structs.replace(rows, snapshots=rows.snapshots.filter(is_newest))
        deltas = rows.deltas
        self._exch, self._recv = _times(deltas)
        self._seq, self._conns = deltas["seq"].to_numpy(), deltas["conn"].to_numpy()
        self._price, self._size = deltas["price"].to_numpy(), deltas["size"].to_numpy()
        is_bid = (deltas["side"] == "bid").to_numpy()
        self._ev = np.where(is_bid, np.uint64(DEPTH | BUY), np.uint64(DEPTH | SELL))
        self._applied = (deltas["check"] != "skipped").to_numpy()
        # Where a gap began and ended at one time, the book that came then is the one to go on with.
        self._resumed = {each.ended for each in rows.breaks if each.ended <= each.started}
        self._live = False
        self._conn: int = 0
        self._until = 0
        # Up to where changes are written, and from where on they are of a token that was not given up.
        self._at = self._begun = 0
        # The exchange's time of the snapshot that the book was put on, and of the newest event.
        self._floor = self._newest = 0
        self.parts: list[NDArray[np.void]] = []
        self.breaks = 0

    def run(self) -> None:
        """Collect all events."""
        for point in sorted(self._points()):
            if point.kind == "break":
                self._break(self._rows.breaks[point.index])
            elif point.kind == "end":
                self._end(self._rows.ends[point.index])
            else:
                self._book(point)
        if self._live:
            self._changes(len(self._seq))

    def _points(self) -> Iterator[_Point]:
        for index, end in enumerate(self._rows.ends):
            yield _Point(end.recv, False, 2 * end.seq, "end", index)  # noqa: FBT003  # a field of a row
        yield from _books("book", self._rows.snapshots)
        yield from _books("keyframe", self._rows.keyframes)
        for index, each in enumerate(self._rows.breaks):
            if each.ended > each.started:
                yield _Point(each.started, True, 0, "break", index)  # noqa: FBT003  # a field of a row

    def _break(self, gap: Break) -> None:
        if self._live:
            self._changes(int(np.searchsorted(self._recv, gap.started, side="right")))
            self._drop(gap.started)
        self._until = max(self._until, gap.ended)

    def _end(self, end: End) -> None:
        position = int(np.searchsorted(self._seq, end.seq))
        if self._live and end.conn in (0, self._conn):
            self._changes(position)
            self._drop(end.recv)
        if not end.conn:
            self._begun = position

    def _drop(self, recv: int) -> None:
        self._add(CLEAR, self._newest, recv, _NOTHING, _NOTHING)
        self._live = False
        self.breaks += 1

    def _book(self, point: _Point) -> None:
        is_same = point.kind == "keyframe" or point.conn == self._conn
        if self._live and is_same and point.recv not in self._resumed:
            return
        if not self._live and point.recv < self._until:
            return
        position = int(np.searchsorted(self._seq, point.seq // 2))
        if self._live:
            self._changes(position)
        self._live, self._conn, self._at = True, point.conn, position
        frame = self._rows.snapshots if point.kind == "book" else self._rows.keyframes
        row = frame[point.index]
        self._place(row)
        if point.kind == "book":
            self._catch_up(position, int(_times(row)[0][0]), point.recv)

    def _place(self, row: pl.DataFrame) -> None:
        (exch,), (recv,) = _times(row)
        self._floor = max(int(exch), self._newest)
        self._add(CLEAR, self._floor, int(recv), _NOTHING, _NOTHING)
        for side, flag in (("bid", BUY), ("ask", SELL)):
            prices, sizes = (row[f"{side}_{name}"].explode().drop_nulls().to_numpy() for name in ("prices", "sizes"))
            self._add(SNAPSHOT | flag, self._floor, int(recv), prices, sizes)

    def _catch_up(self, position: int, since: int, recv: int) -> None:
        """Apply what came before the snapshot and is newer: it was asked for while the stream went on."""
        same: NDArray[np.bool_] = self._conns[:position] == self._conn
        if not same[self._begun :].any():
            return
        newer = np.flatnonzero(same & (self._exch[:position] > since))
        newer = newer[np.argsort(self._exch[newer], kind="stable")]
        self._add(self._ev[newer], self._exch[newer], recv, self._price[newer], self._size[newer])

    def _changes(self, end: int) -> None:
        chosen = self._at + np.flatnonzero(self._applied[self._at : end])
        self._add(self._ev[chosen], self._exch[chosen], self._recv[chosen], self._price[chosen], self._size[chosen])
        self._at = max(self._at, end)

    def _add(
        self,
        ev: NDArray[np.uint64] | int,
        exch: NDArray[np.int64] | int,
        recv: NDArray[np.int64] | int,
        px: NDArray[np.float64],
        qty: NDArray[np.float64],
    ) -> None:
        if len(px):
            part = new_events(ev, np.maximum(exch, self._floor), recv, px, qty)
            self._newest = max(self._newest, int(part["exch_ts"].max()))
            self.parts.append(part)


# --- arrays ---


def new_events(
    ev: NDArray[np.uint64] | int,
    exch_ts: NDArray[np.int64] | int,
    local_ts: NDArray[np.int64] | int,
    px: NDArray[np.float64],
    qty: NDArray[np.float64],
) -> NDArray[np.void]:
    """Return events, as many as there are prices, that are neither the exchange's nor ours yet."""
    events = np.zeros(len(px), EVENT)
    for name, values in (("ev", ev), ("exch_ts", exch_ts), ("local_ts", local_ts), ("px", px), ("qty", qty)):
        events[name] = values
    return events


def _by_arrival(parts: list[NDArray[np.void]]) -> NDArray[np.void]:
    events = np.concatenate([np.zeros(0, EVENT), *parts])
    times = events["local_ts"]
    return events if (times[1:] >= times[:-1]).all() else events[np.argsort(times, kind="stable")]


def in_both_orders(events: NDArray[np.void]) -> tuple[NDArray[np.void], int]:
    """Sort events, which are in order of arrival, for both walks; return them, and how many are there twice."""
    if not len(events):
        return events, 0
    times: NDArray[np.int64] = 2 * events["exch_ts"] + ((events["ev"] & KIND) != TRADE)
    newest = np.maximum.accumulate(times)
    late = np.flatnonzero(times < newest)
    if not len(late):
        ours = events.copy()
        ours["ev"] |= np.uint64(EXCHANGE | LOCAL)
        return ours, 0
    ours, theirs = events.copy(), events[late]
    ours["ev"] |= np.uint64(EXCHANGE | LOCAL)
    ours["ev"][late] ^= np.uint64(EXCHANGE)
    theirs["ev"] |= np.uint64(EXCHANGE)
    # Each late one goes before the first event that is newer than it, and there before that event.
    place = np.concatenate([np.searchsorted(newest, times[late], side="right"), np.arange(len(events))])
    is_ours = np.concatenate([np.zeros(len(late), bool), np.ones(len(events), bool)])
    order = np.lexsort((np.concatenate([times[late], times]), is_ours, place))
    return np.concatenate([theirs, ours])[order], len(late)
