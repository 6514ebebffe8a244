"""The data of a candle chart: what a price did in each interval, made of rows as they come, without a widget.

A candle of the mid is made of the mids that stood: each from its row until the next, and the last one that is known by
the end of a gap from there on. Nothing stands in a gap, so no candle is carried through one. A candle of trades is made
of the trades that were received outside of gaps. Which interval a time is in, and what a candle has of it, is the rule
of ``pmlive.analysis.ohlc``; that a gap touches it, that of ``pmlive.analysis.touched_by``.
"""

from typing import Final, Literal, NamedTuple, NotRequired, TypeAlias

import numpy as np
import polars as pl

from pmlive.analysis import OhlcArrays, ohlc_arrays
from pmlive.widgets.spans import Flags, KnownGaps, Times
from pmlive.widgets.views import ChartView, GapView, Numbers, gap_view

__all__ = [
    "CANDLE_ROWS",
    "CLOSE",
    "HIGH",
    "LOW",
    "OPEN",
    "START",
    "TOUCHED",
    "VOLUME",
    "CandleView",
    "Candles",
    "Measured",
    "append_candles",
    "candle_view",
    "interval_text",
]

# What candles are made of.
Measured: TypeAlias = Literal["mid", "trade"]

# The columns of a candle: when it begins (milliseconds since 1970), prices (dollars a share), shares that were traded,
# and 1 where a gap touches it.
START, OPEN, HIGH, LOW, CLOSE, VOLUME, TOUCHED = range(7)
_COLUMNS = 7

# The arrays of a view that grow.
CANDLE_ROWS: Final = ("candles",)

# The most candles that are made at once.
_MOST = 5_000
# So many rows of the candle that is forming are kept as they are.
_KEPT = 1_000
_UNITS: Final = (("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1))
_NO_CANDLES: Numbers = np.empty((0, _COLUMNS))


class CandleView(ChartView, GapView):
    """Candles over time: those whose interval is over, and the one that is forming, if it has anything yet.

    ``candles`` and ``forming`` have a row for each candle, with the columns ``START`` to ``TOUCHED``; prices are NaN
    where there was none, though something was traded. ``length`` is that of an interval in milliseconds, and ``every``
    the same as text.
    """

    now: float
    window: float
    of: Measured
    every: str
    length: float
    candles: Numbers
    forming: Numbers
    marked: NotRequired[float | None]


class _Series(NamedTuple):
    """Values by time."""

    times: Times
    values: Numbers
    sizes: Numbers

    @classmethod
    def of(cls, rows: pl.DataFrame, token_id: str, value: str, size: str | None = None) -> "_Series":
        at = (rows["token_id"] == token_id).to_numpy().nonzero()[0]
        if not len(at):
            return _NOTHING
        times = rows["ts_recv"].to_physical().to_numpy()[at].astype(np.int64)
        values = rows[value].to_numpy()[at].astype(np.float64)
        sizes = np.zeros(len(at)) if size is None else rows[size].to_numpy()[at].astype(np.float64)
        return cls(times, values, sizes)

    def after(self, before: "_Series") -> "_Series":
        return _Series(
            np.concatenate([before.times, self.times]),
            np.concatenate([before.values, self.values]),
            np.concatenate([before.sizes, self.sizes]),
        )

    def at(self, chosen: "slice | Flags | Times") -> "_Series":
        return _Series(self.times[chosen], self.values[chosen], self.sizes[chosen])


_NOTHING = _Series(np.empty(0, dtype=np.int64), np.empty(0), np.empty(0))


class Candles:
    """The candles of one token, continued by each rows that come.

    Args:
        token_id: the token.
        length: nanoseconds of an interval; intervals begin at whole multiples of it since 1970.
        of: what prices are: mids or trades.
        window: the nanoseconds of the past that are looked at; 0 for all.
    """

    def __init__(self, token_id: str, length: int, *, of: Measured = "mid", window: int = 0) -> None:
        self.token_id = token_id
        self.length = length
        self.every = interval_text(length)
        self.of: Measured = of
        self._window = window
        self._mids = self._trades = _NOTHING
        # Where the candle that is forming begins, how far everything was looked at, and the gaps that are known.
        self._begin: int | None = None
        self._until = 0
        self._known = KnownGaps([token_id])
        self._gaps = self._known.spans[token_id]

    @property
    def kept(self) -> int:
        """How many rows are kept for the candle that is forming."""
        return len(self._mids.times) + len(self._trades.times)

    def agree(self, gaps: pl.DataFrame) -> bool:
        """Check that no other gaps are known now of the time of which candles were made."""
        return self._known.agree(gaps, self._until)

    def take(
        self, prices: pl.DataFrame, trades: pl.DataFrame, gaps: pl.DataFrame, until: int
    ) -> tuple[Numbers, Numbers]:
        """Take the rows that came up to a time; return the candles that are over since, and the one that is forming."""
        self._gaps = self._known.learn(gaps)[self.token_id]
        if self.of == "mid":
            self._mids = _Series.of(prices, self.token_id, "mid").after(self._mids)
        self._trades = _Series.of(trades, self.token_id, "price", "size").after(self._trades)
        last = [int(each.times[-1]) for each in (self._mids, self._trades) if len(each.times)]
        self._until = max(until, self._until, *last)
        if not last and self._begin is None:
            return _NO_CANDLES, _NO_CANDLES
        made = self._made(self._first())
        self._begin = self._floor(self._until)
        self._forget(self._begin)
        is_over = made[:, START] < self._begin / 1e6
        return made[is_over], made[~is_over]

    def _first(self) -> int:
        """Return where the first candle that is made now begins."""
        if self._begin is not None:
            return self._begin
        first = min(int(each.times[0]) for each in (self._mids, self._trades) if len(each.times))
        least = self._until - (self._window or _MOST * self.length)
        return self._floor(max(first, least, self._until - _MOST * self.length))

    def _floor(self, time: int) -> int:
        return time // self.length * self.length

    def _made(self, begin: int) -> Numbers:
        traded = self._trades.at((self._trades.times >= begin) & ~self._gaps.hold(self._trades.times))
        priced = traded if self.of == "trade" else self._standing(begin)
        starts = np.unique(np.concatenate([priced.times, traded.times]) // self.length * self.length)
        starts = starts[~self._gaps.fill(starts, starts + self.length)]
        made = np.full((len(starts), _COLUMNS), np.nan)
        made[:, START], made[:, VOLUME] = starts / 1e6, 0.0
        made[:, TOUCHED] = self._gaps.touch(starts, starts + self.length)
        bars, is_shown, at = self._bars(priced, starts)
        made[at, OPEN : CLOSE + 1] = np.column_stack(bars[2:])[is_shown]
        if traded is not priced:
            bars, is_shown, at = self._bars(traded, starts)
        if len(at):
            made[at, VOLUME] = np.add.reduceat(traded.sizes, bars.first)[is_shown]
        return made

    def _bars(self, rows: _Series, starts: Times) -> tuple[OhlcArrays, Flags, Times]:
        """Return bars, which of them begin at one of ``starts``, and at which."""
        bars = ohlc_arrays(rows.times, rows.values, self.length)
        is_shown = np.isin(bars.starts, starts)
        return bars, is_shown, np.searchsorted(starts, bars.starts[is_shown])

    def _standing(self, begin: int) -> _Series:
        """Return the mids that stood, from the edges of intervals and the ends of gaps on, too."""
        times, until = self._mids.times, self._until
        edges = np.arange(begin, until + 1, self.length)
        turns = np.unique(np.concatenate([times, edges, self._gaps.ends]))
        turns = turns[(turns >= begin) & (turns <= until)]
        # Before the first mid there is none: index -1 is the NaN that is appended.
        values = np.append(self._mids.values, np.nan)[np.searchsorted(times, turns, side="right") - 1]
        stood = np.isfinite(values) & ~self._gaps.cover(turns)
        return _Series(turns[stood], values[stood], np.zeros(int(stood.sum())))

    def _forget(self, begin: int) -> None:
        """Keep what the candle that is forming is made of, and the mid that stood when it began."""
        self._trades = self._trades.at(self._trades.times >= begin)
        before = np.searchsorted(self._mids.times, begin, side="right") - 1
        self._mids = self._mids.at(slice(max(int(before), 0), None))
        if len(self._mids.times) > _KEPT and len(stood := self._standing(begin)):
            # Of many, the first, the lowest, the highest and the last say the same, as long as the gaps stay the same.
            values = stood.values
            kept = np.array(sorted({0, int(values.argmin()), int(values.argmax()), len(values) - 1}), dtype=np.int64)
            last = self._mids.at(slice(-1, None))
            self._mids = last.after(stood.at(kept[stood.times[kept] < last.times[0]]))


def candle_view(
    candles: Candles,
    prices: pl.DataFrame,
    trades: pl.DataFrame,
    gaps: pl.DataFrame,
    *,
    label: str,
    now_ms: float,
    window_ms: float = 0.0,
    doubt: str = "",
) -> CandleView:
    """Make a view of what candles become by rows: all of them at first, later those that came."""
    made, forming = candles.take(prices, trades, gaps, int(now_ms) * 1_000_000)
    return {
        "label": label,
        "doubt": doubt,
        "now": now_ms,
        "window": window_ms,
        "of": candles.of,
        "every": candles.every,
        "length": candles.length / 1e6,
        "candles": made,
        "forming": forming,
        **gap_view(gaps, candles.token_id),
    }


def append_candles(before: CandleView, new: CandleView, *, most: int) -> CandleView:
    """Append the candles of a view to those of the one before; the rest is as in the new one."""
    joined = new.copy()
    joined["candles"] = np.concatenate([before["candles"], new["candles"]])[-most:]
    return joined


def interval_text(length: int) -> str:
    """Write an interval as it may be given, such as 1m30s."""
    (left, rest), parts = divmod(length, 10**9), ""
    for unit, seconds in _UNITS:
        count, left = divmod(left, seconds)
        parts += f"{count}{unit}" if count else ""
    return parts + (f"{rest / 1e6:g}ms" if rest else "")
