"""The gaps of tokens as intervals of numbers, for charts that are continued by what comes."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
import polars as pl

from pmlive.gaps import GapIndex
from pmlive.tables import SCHEMAS

__all__ = ["Flags", "KnownGaps", "Spans", "Times"]

Times: TypeAlias = np.ndarray[tuple[int, ...], np.dtype[np.int64]]
Flags: TypeAlias = np.ndarray[tuple[int, ...], np.dtype[np.bool_]]

# What tells one gap from another; an open one is told with a new time each time.
_TELLING = ("conn", "token_id", "started", "ended", "cause")


class Spans(NamedTuple):
    """The gaps of a token, those that overlap as one, in order; times are nanoseconds since 1970."""

    starts: Times
    ends: Times

    @classmethod
    def none(cls) -> "Spans":
        """Return no gaps."""
        return cls(np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64))

    @classmethod
    def of(cls, index: GapIndex, token_id: str) -> "Spans":
        """Find the gaps that concern a token; what befell a connection is a gap of the token itself, too."""
        found = index.of(token_id, conns=())
        starts = np.array([gap.started for gap in found], dtype=np.int64)
        ends = np.maximum.accumulate(np.array([gap.until for gap in found], dtype=np.int64))
        first = np.append(True, starts[1:] >= ends[:-1])[: len(starts)]
        return cls(starts[first], ends[np.append(first[1:], True)[: len(starts)]])

    def cover(self, times: Times) -> Flags:
        """Check which times lie in a gap, so that nothing stands then; its end does not."""
        return self._reach(times, np.searchsorted(self.starts, times, side="right"))

    def hold(self, times: Times) -> Flags:
        """Check which times lie inside of a gap, so that what came then does not count; its two ends do not."""
        return self._reach(times, np.searchsorted(self.starts, times, side="left"))

    def touch(self, starts: Times, ends: Times) -> Flags:
        """Check which intervals a gap touches."""
        begun = np.searchsorted(self.starts, ends, side="left")
        inside = np.append(self.starts, 0)[begun - 1] >= starts
        return self._reach(starts, begun) | (inside & (begun > 0))

    def fill(self, starts: Times, ends: Times) -> Flags:
        """Check of which intervals gaps leave nothing."""
        return self._lost(ends) - self._lost(starts) == ends - starts

    def _lost(self, times: Times) -> Times:
        """Return how much time gaps took until some times."""
        begun = np.searchsorted(self.starts, times, side="left")
        before = np.concatenate([[0], np.cumsum(self.ends[:-1] - self.starts[:-1]), [0]])[: len(self.starts) + 1]
        last = np.append(self.starts, 0)[begun - 1], np.append(self.ends, 0)[begun - 1]
        return np.where(begun > 0, before[begun - 1] + np.minimum(times, last[1]) - last[0], 0)

    @classmethod
    def common(cls, several: "Sequence[Spans]") -> "Spans":
        """Return when gaps of all of several tokens last at once."""
        times = np.concatenate([each for spans in several for each in spans])
        steps = np.concatenate([np.repeat([1, -1], len(spans.starts)) for spans in several])
        order = np.lexsort((steps, times))
        # What follows where all last is that one of them ends.
        all_last = np.flatnonzero(np.cumsum(steps[order]) == len(several))
        starts, ends = times[order][all_last], times[order][all_last + 1]
        return cls(starts[starts < ends], ends[starts < ends])

    def without(self, other: "Spans") -> "Spans":
        """Return what of them lies outside of others."""
        turns = np.unique(np.concatenate([*self, *other]))
        outside = (self.cover(turns) & ~other.cover(turns)).nonzero()[0]
        return Spans(turns[outside], turns[outside + 1])

    def until(self, time: int) -> "Spans":
        """Return them as far as they tell of the time before one."""
        begun = int(np.searchsorted(self.starts, time, side="left"))
        return Spans(self.starts[:begun], np.minimum(self.ends[:begun], time))

    def equal(self, other: "Spans") -> bool:
        """Check whether they are the same as others."""
        return np.array_equal(self.starts, other.starts) and np.array_equal(self.ends, other.ends)

    def _reach(self, times: Times, begun: Times) -> Flags:
        """Check whether the gaps that began, so many, last beyond a time."""
        return (begun > 0) & (np.append(self.ends, 0)[begun - 1] > times)


class KnownGaps:
    """The gaps of some tokens, which are found anew only when others are told."""

    def __init__(self, token_ids: Iterable[str]) -> None:
        self._told = SCHEMAS["gaps"].to_frame()
        self.spans = {token_id: Spans.none() for token_id in token_ids}

    def learn(self, gaps: pl.DataFrame) -> dict[str, Spans]:
        """Return the gaps of each token, by the table that is told now."""
        if not self._are_known(gaps):
            self._told, self.spans = gaps, self._found(gaps)
        return self.spans

    def agree(self, gaps: pl.DataFrame, until: int) -> bool:
        """Check that a table tells the same of the time before one as the table that was told last."""
        if self._are_known(gaps):
            return True
        found = self._found(gaps)
        return all(spans.until(until).equal(found[token_id].until(until)) for token_id, spans in self.spans.items())

    def _found(self, gaps: pl.DataFrame) -> dict[str, Spans]:
        index = GapIndex(gaps)
        return {token_id: Spans.of(index, token_id) for token_id in self.spans}

    def _are_known(self, gaps: pl.DataFrame) -> bool:
        if gaps is self._told:
            return True
        is_same = gaps.height == self._told.height and all(gaps[name].equals(self._told[name]) for name in _TELLING)
        if is_same:
            self._told = gaps
        return is_same
