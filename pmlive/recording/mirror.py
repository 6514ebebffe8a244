"""The mirror of a market: whether its two books said the same, whenever one of them changed.

Prices are read in order of time, a part of a recording after the other, with the last prices of each token before it.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple, TypeAlias

import msgspec
import numpy as np
import numpy.typing as npt
import polars as pl

from pmlive.recording.batches import row_groups
from pmlive.recording.contents import Contents, collect
from pmlive.recording.index import RecordingIndex
from pmlive.tables import SCHEMAS

__all__ = ["Mirror", "mirror"]

_TOLERANCE = 1e-9

_SIDES = (0, 1)
_NEVER = -(1 << 63)

_Times: TypeAlias = npt.NDArray[np.int64]


class Mirror(msgspec.Struct, frozen=True, kw_only=True):
    """How often the best prices of a market's outcomes added up to one dollar, over all moments at which one changed.

    ``worst`` is the largest deviation in dollars.
    """

    moments: int
    mirrored: int
    worst: float

    @property
    def share(self) -> float | None:
        """The share of moments at which they did; None without any moment."""
        return self.mirrored / self.moments if self.moments else None


def mirror(index: RecordingIndex, *, at_once: int = 200_000) -> Mirror:
    """Compare the best prices of each market's two books whenever one changed while both could be trusted.

    Args:
        index: the recording.
        at_once: about so many rows are compared at once, if no more of them came at one time or in one group of rows.
    """
    pairs = [market.token_ids for market in index.markets if len(market.token_ids) == len(_SIDES)]
    books = _Pairs(index, pairs)
    moments = mirrored = 0
    worst = 0.0
    for rows in _in_order_of_time(index.contents, at_once) if pairs else ():
        deviation = books.deviations(rows)
        moments += len(deviation)
        mirrored += int((deviation < _TOLERANCE).sum())
        worst = max(worst, float(deviation.max(initial=0.0)))
    return Mirror(moments=moments, mirrored=mirrored, worst=round(worst, 9))


def _in_order_of_time(contents: Contents, at_once: int) -> Iterator[pl.DataFrame]:
    """Yield the best prices by receive time, those of one time in order of arrival and in one part."""
    columns = ("token_id", "ts_recv", "best_bid", "best_ask")
    starts = [None, *_starts(contents, at_once)]
    for since, until in zip(starts, [*starts[1:], None], strict=True):
        rows = contents.scan("prices", since=since, until=None if until is None else until - 1)
        part = collect(contents, "prices", rows.select(columns))
        yield part if part["ts_recv"].is_sorted() else part.sort("ts_recv", maintain_order=True)


def _starts(contents: Contents, at_once: int) -> list[int]:
    """Return the times at which parts begin, after the first."""
    groups = [(group.first_time, group.rows) for group in row_groups(contents.folder, contents.files("prices"))]
    for rows in contents.rows("prices"):
        times = rows["ts_recv"].dt.epoch("ns")
        groups += [(int(times[start]), at_once) for start in range(0, len(times), at_once)]
    starts: list[int] = []
    held = 0
    for first_time, rows in sorted(groups):
        if held + rows > at_once and held and first_time not in starts[-1:]:
            starts.append(first_time)
            held = 0
        held += rows
    return starts


class _Tops(NamedTuple):
    """Best prices of the two tokens of pairs; a price that is not there is not a number."""

    pair: npt.NDArray[np.int32]
    side: npt.NDArray[np.int8]
    time: npt.NDArray[np.int64]
    bid: npt.NDArray[np.float64]
    ask: npt.NDArray[np.float64]

    def take(self, places: npt.NDArray[np.int64]) -> "_Tops":
        return _Tops(self.pair[places], self.side[places], self.time[places], self.bid[places], self.ask[places])

    def followed_by(self, other: "_Tops") -> "_Tops":
        return _Tops(
            np.concatenate([self.pair, other.pair]),
            np.concatenate([self.side, other.side]),
            np.concatenate([self.time, other.time]),
            np.concatenate([self.bid, other.bid]),
            np.concatenate([self.ask, other.ask]),
        )


class _Pairs:
    """The books of pairs of tokens, with the last prices of each."""

    def __init__(self, index: RecordingIndex, pairs: Sequence[Sequence[str]]) -> None:
        self._index = index
        self._pairs = pairs
        self._spans: dict[str, tuple[_Times, _Times]] = {}
        named = [(token, number, side) for number, pair in enumerate(pairs) for side, token in enumerate(pair)]
        schema = {"token_id": pl.String, "pair": pl.Int32, "side": pl.Int8}
        self._named = pl.DataFrame(named, schema=schema, orient="row")
        self._last = self._tops(SCHEMAS["prices"].to_frame())

    def deviations(self, rows: pl.DataFrame) -> npt.NDArray[np.float64]:
        """Return how far pairs are from mirroring each other, at each time in rows at which one of them changed."""
        tops = self._last.followed_by(self._tops(rows))
        order = np.argsort(tops.pair, kind="stable")
        is_new = order >= len(self._last.pair)
        tops = tops.take(order)
        is_last = _differs_from_next(tops.pair)
        newest = _newest_of_sides(tops)
        self._last = tops.take(np.unique(np.concatenate([each[is_last & (each >= 0)] for each in newest])))
        # A message changes both books; only the state after it counts.
        is_settled = is_last | _differs_from_next(tops.time)
        chosen = np.flatnonzero(is_settled & is_new & (newest[0] >= 0) & (newest[1] >= 0))
        chosen = chosen[self._are_trusted(tops.pair[chosen], tops.time[chosen])]
        one, other = (tops.take(each[chosen]) for each in newest)
        deviation = np.fmax(np.abs(other.ask - (1 - one.bid)), np.abs(other.bid - (1 - one.ask)))
        return deviation[~np.isnan(deviation)]

    def _tops(self, rows: pl.DataFrame) -> _Tops:
        named = rows.join(self._named, on="token_id", maintain_order="left")
        time = named["ts_recv"].dt.epoch("ns")
        return _Tops(
            named["pair"].to_numpy(),
            named["side"].to_numpy(),
            time.to_numpy(),
            named["best_bid"].to_numpy(),
            named["best_ask"].to_numpy(),
        )

    def _are_trusted(self, pair: npt.NDArray[np.int32], time: _Times) -> npt.NDArray[np.bool_]:
        """Return at which times, by pair, both books could be trusted."""
        trusted = np.zeros(len(pair), dtype=np.bool_)
        limits = np.searchsorted(pair, np.arange(len(self._pairs) + 1)).tolist()
        for tokens, (start, stop) in zip(self._pairs, pairwise(limits), strict=True):
            if start < stop:
                trusted[start:stop] = np.all([self._is_trusted(token, time[start:stop]) for token in tokens], axis=0)
        return trusted

    def _is_trusted(self, token_id: str, time: _Times) -> npt.NDArray[np.bool_]:
        if token_id not in self._spans:
            timeline = self._index.timelines.get(token_id)
            spans = [] if timeline is None else timeline.spans()
            starts, ends = [span.start for span in spans], [span.end for span in spans]
            # Before the first one it is not.
            self._spans[token_id] = np.array(starts, dtype=np.int64), np.array([_NEVER, *ends], dtype=np.int64)
        starts, ends = self._spans[token_id]
        return time < ends[np.searchsorted(starts, time, side="right")]


def _differs_from_next(values: npt.NDArray[np.integer]) -> npt.NDArray[np.bool_]:
    return np.concatenate([values[1:] != values[:-1], np.ones(min(len(values), 1), dtype=np.bool_)])


def _newest_of_sides(tops: _Tops) -> list[npt.NDArray[np.int64]]:
    """Return for each row the place of the newest row of either side of its pair, below 0 where there is none."""
    places = np.arange(len(tops.pair))
    begins = np.concatenate([np.ones(min(len(places), 1), dtype=np.bool_), tops.pair[1:] != tops.pair[:-1]])
    first = np.maximum.accumulate(np.where(begins, places, 0))
    newest = (np.maximum.accumulate(np.where(tops.side == side, places, -1)) for side in _SIDES)
    return [np.where(each >= first, each, -1) for each in newest]
