"""The events of one token: a pure function from its rows.

A book begins with everything cleared and the levels of a snapshot; changes follow. Where it could not be trusted it is
cleared, and begins again with the next snapshot, or with a book that the recorder wrote down. A book that the venue
sends again while ours holds changes nothing and is left out, so that nobody's place in a queue is lost to it. No event
of a book is dated before the snapshot that it was put on. Trades are all there, with the taker's side.
"""

from collections.abc import Iterator, Sequence
from typing import Literal

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray

from pmlive.export.events import BUY, CLEAR, DEPTH, SELL, SNAPSHOT, TRADE, array, in_both_orders, joined

__all__ = ["Break", "Converted", "End", "TokenRows", "events_of"]

_NOTHING = np.zeros(1)


class Break(msgspec.Struct, frozen=True):
    """From ``started`` on a book cannot be trusted, up to a snapshot that is not before ``ended`` (nanoseconds)."""

    started: int
    ended: int


class End(msgspec.Struct, frozen=True):
    """A book was let go of on purpose: that of one connection, or whichever there was (0)."""

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


class Converted(msgspec.Struct, frozen=True):
    """The events, how often the book was cleared for want of trust, and how many events are told twice."""

    events: NDArray[np.void]
    breaks: int
    split: int


class _Point(msgspec.Struct, frozen=True, order=True):
    """What happens to a book besides changes, in the order that it happens."""

    recv: int
    is_break: bool
    seq: int
    kind: Literal["end", "book", "keyframe", "break"]
    index: int
    conn: int = 0


def events_of(rows: TokenRows, *, shift: int = 0) -> Converted:
    """Make the events of one token, with receive times that are ``shift`` nanoseconds later."""
    walk = _Walk(rows)
    walk.run()
    events = joined([*walk.told, _trades(rows.trades)])
    events = events[np.argsort(events["local_ts"], kind="stable")]
    events["local_ts"] += shift
    ordered, split = in_both_orders(events)
    return Converted(ordered, walk.breaks, split)


def _trades(trades: pl.DataFrame) -> NDArray[np.void]:
    side = np.where((trades["side"] == "buy").to_numpy(), np.uint64(TRADE | BUY), np.uint64(TRADE | SELL))
    return array(side, *_times(trades), trades["price"].to_numpy(), trades["size"].to_numpy())


def _times(frame: pl.DataFrame) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    recv = frame["ts_recv"].dt.epoch("ns")
    return frame["ts_event"].dt.epoch("ns").fill_null(recv).to_numpy(), recv.to_numpy()


def _books(kind: Literal["book", "keyframe"], frame: pl.DataFrame) -> Iterator[_Point]:
    columns = frame.select(pl.col("seq"), pl.col("ts_recv").dt.epoch("ns"), pl.col("conn"))
    for index, (seq, recv, conn) in enumerate(columns.iter_rows()):
        # After an end that was noted under the same number.
        yield _Point(recv, False, 2 * seq + 1, kind, index, conn)  # noqa: FBT003  # as above


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
        # Where a doubt began and ended at one time, the book that came then is the one to go on with.
        self._resumed = {each.ended for each in rows.breaks if each.ended <= each.started}
        self._live = False
        self._conn: int = 0
        self._until = 0
        # Up to where changes are told, and from where on they are of a token that was not let go of.
        self._at = self._begun = 0
        # The exchange's time of the snapshot that the book was put on, and of the newest event.
        self._floor = self._newest = 0
        self.told: list[NDArray[np.void]] = []
        self.breaks = 0

    def run(self) -> None:
        """Tell everything."""
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
                yield _Point(each.started, True, 0, "break", index)  # noqa: FBT003  # as above

    def _break(self, doubt: Break) -> None:
        if self._live:
            self._changes(int(np.searchsorted(self._recv, doubt.started, side="right")))
            self._drop(doubt.started)
        self._until = max(self._until, doubt.ended)

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
        """Put on what came before the snapshot and is newer: it was asked for while the stream went on."""
        its: NDArray[np.bool_] = self._conns[:position] == self._conn
        if not its[self._begun :].any():
            return
        newer = np.flatnonzero(its & (self._exch[:position] > since))
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
            made = array(ev, np.maximum(exch, self._floor), recv, px, qty)
            self._newest = max(self._newest, int(made["exch_ts"].max()))
            self.told.append(made)
