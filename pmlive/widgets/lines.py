"""The data of a chart of several outcomes: a line for each, made of rows as they come, without a widget.

A line has a row where its value changes, and NaN from the beginning of a gap to its end, where it goes on with the last
value that is known by then.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, Literal, NamedTuple, TypeAlias

import numpy as np
import polars as pl

from pmlive.gaps import GapIndex
from pmlive.manager.snapshots import Key, key_parts
from pmlive.markets import Market
from pmlive.tables import SCHEMAS
from pmlive.widgets.views import ChartView, GapView, Numbers, PriceView

__all__ = [
    "LINE_ROWS",
    "MOST_LINES",
    "Flags",
    "Keys",
    "KnownGaps",
    "Line",
    "Lines",
    "LinesView",
    "Quoted",
    "Spans",
    "Times",
    "append_lines",
    "between",
    "corners",
    "lines_of",
    "lines_view",
    "meant",
]


# --- spans ---
# The gaps of tokens as intervals of numbers, for charts that are continued by what comes.

Times: TypeAlias = np.ndarray[tuple[int, ...], np.dtype[np.int64]]
Flags: TypeAlias = np.ndarray[tuple[int, ...], np.dtype[np.bool_]]

# A chart that is drawn again and again is about twice as many pixels wide; of more points than three for each two, most
# are drawn over each other. A figure, into which one may look closer, has them all.
_COLUMNS = 400

# What tells one gap from another; an open one is told with a new time each time.
_TELLING = ("conn", "token_id", "started", "ended", "cause")


class Spans(NamedTuple):
    """The gaps of a token, those that overlap as one, in order; times are nanoseconds since 1970."""

    starts: Times
    ends: Times

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
        none = np.empty(0, dtype=np.int64)
        self.spans = {token_id: Spans(none, none) for token_id in token_ids}

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


# --- lines ---

# A market, an event, a token, or several of them.
Keys: TypeAlias = str | Sequence[Key]
# What is drawn of each outcome: its mid, or the quotes of Yes beside the mirror image of those of No.
Quoted: TypeAlias = Literal["mid", "mirror"]

# The arrays of a view that grow.
LINE_ROWS: Final = ("times", "values", "lines")
# The outcomes of a market of which one is the mirror image of the other.
_PAIR = 2
# More lines cannot be told apart.
MOST_LINES = 20


class LinesView(ChartView):
    """Lines over time; each value holds until the next of its line, and is NaN where nothing can be trusted.

    ``lines`` says of each row which of ``names`` it is of. A line whose place in ``holds`` is 0 ends with its last row,
    for the reason in ``doubts``.
    """

    now: float
    window: float
    of: Quoted
    names: list[str]
    doubts: list[str]
    holds: Numbers
    times: Numbers
    values: Numbers
    lines: Numbers


class Line(NamedTuple):
    """What a line shows: a column of the prices of a token, or 1 minus it, in dollars a share."""

    token_id: str
    name: str
    column: str = "mid"
    mirrored: bool = False


def meant(keys: Sequence[Key], markets: Sequence[Market]) -> list[str | tuple[str, str | None]]:
    """Replace slugs of markets by the tokens of all outcomes, and those of events by the first outcome of each market.

    What names no market or event stands as a name and an outcome, for ``Manager.token``.
    """
    found: list[str | tuple[str, str | None]] = []
    for key in keys:
        name, outcome = key_parts(key)
        own = [market for market in markets if outcome is None and name in (market.slug, market.condition_id)]
        event = [market for market in markets if outcome is None and name == market.event_slug and market.token_ids]
        if own or len(event) == 1:
            found += (own or event)[0].token_ids
        elif event:
            found += [market.token_ids[0] for market in event]
        else:
            found.append((name, outcome))
    return list(dict.fromkeys(found))


def lines_of(token_ids: Sequence[str], markets: Sequence[Market], of: Quoted | None) -> tuple[str, Quoted, list[Line]]:
    """Choose the lines that show tokens; return their common name, what they show, and the lines.

    The two outcomes of one market are shown as the first's quotes beside the mirror image of the other's by default:
    its mid is the mirror image of the other's.

    Raises:
        ValueError: ``"mirror"`` is wanted of other than the two outcomes of one market.
    """
    owners = {token_id: market for market in markets for token_id in market.token_ids}
    its = [owners.get(token_id) for token_id in token_ids]
    owner = its[0] if its else None
    is_pair = owner is not None and set(token_ids) == set(owner.token_ids) and len(token_ids) == _PAIR
    if of == "mirror" and not is_pair:
        raise ValueError(f"of 'mirror' needs the two outcomes of one market; got {len(token_ids)} tokens")
    names = _names(token_ids, its)
    if not is_pair or of == "mid":
        return _title(its), "mid", [Line(each, name) for each, name in zip(token_ids, names, strict=True)]
    (one, other), (first, second) = token_ids, names
    return (
        _title(its),
        "mirror",
        [
            Line(one, f"{first} ask", "best_ask"),
            Line(one, f"{first} bid", "best_bid"),
            Line(other, f"1 − {second} bid", "best_bid", mirrored=True),  # noqa: RUF001  # a minus
            Line(other, f"1 − {second} ask", "best_ask", mirrored=True),  # noqa: RUF001  # a minus
        ],
    )


class Lines:
    """Lines that are continued by each rows that come.

    Args:
        lines: what they show.
        window: the nanoseconds of the past that are looked at; 0 for all.
        slot: of more changes within so many nanoseconds, the lowest, the highest and the last are kept.
    """

    def __init__(self, lines: Sequence[Line], *, window: int = 0, slot: int = 100_000_000) -> None:
        self.lines = list(lines)
        # How many rows were made.
        self.made = 0
        self._window = window
        self._slot = slot
        self._known = KnownGaps(line.token_id for line in lines)
        self._until = 0
        # The last row and the last value that was made of each line.
        self._last = [(np.empty(0, dtype=np.int64), np.empty(0))] * len(self.lines)
        self._shown = [np.nan] * len(self.lines)

    def agree(self, gaps: pl.DataFrame) -> bool:
        """Check that no other gaps are known now of the time of which lines were made."""
        return self._known.agree(gaps, self._until)

    def take(self, prices: pl.DataFrame, gaps: pl.DataFrame, until: int) -> tuple[Numbers, Numbers, Numbers]:
        """Take the rows that came up to a time; return times (ms), values and lines of the new rows, in order."""
        spans = self._known.learn(gaps)
        begin = self._until or (until - self._window if self._window else 0)
        newest = prices["ts_recv"].to_physical().max() if prices.height else None
        self._until = max(until, self._until, newest if isinstance(newest, int) else 0)
        at = {token_id: (prices["token_id"] == token_id).to_numpy().nonzero()[0] for token_id in spans}
        times = prices["ts_recv"].to_physical().to_numpy()
        parts = [
            self._continued(number, times[at[line.token_id]], prices[line.column].to_numpy()[at[line.token_id]], begin)
            for number, line in enumerate(self.lines)
        ]
        lines = np.repeat(np.arange(len(parts), dtype=np.float64), [len(part[0]) for part in parts])
        if not len(lines):
            return lines, lines, lines
        moments, values = np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts])
        order = np.argsort(moments, kind="stable")
        self.made += len(order)
        return moments[order] / 1e6, values[order], lines[order]

    def _continued(self, number: int, times: Times, values: Numbers, begin: int) -> tuple[Times, Numbers]:
        """Return where a line changes from a time on."""
        line = self.lines[number]
        times = np.concatenate([self._last[number][0], times])
        values = np.concatenate([self._last[number][1], 1 - values if line.mirrored else values])
        self._last[number] = times[-1:], values[-1:]
        if not len(times):
            return times, values
        turns, stood = _turns(times, values, self._known.spans[line.token_id], begin, self._until)
        before = np.concatenate([[self._shown[number]], stood[:-1]])
        changed = (stood != before) & ~(np.isnan(stood) & np.isnan(before))
        turns, stood = turns[changed], stood[changed]
        kept = _told_apart(turns // self._slot, stood)
        if len(kept):
            self._shown[number] = float(stood[-1])
        return turns[kept], stood[kept]


def lines_view(
    lines: Lines,
    prices: pl.DataFrame,
    gaps: pl.DataFrame,
    *,
    label: str,
    of: Quoted,
    doubts: Mapping[str, str],
    now_ms: float,
    window_ms: float = 0.0,
) -> LinesView:
    """Make a view of what lines become by rows; ``doubts`` says why books of tokens cannot be trusted."""
    times, values, numbers = lines.take(prices, gaps, int(now_ms) * 1_000_000)
    each = [doubts.get(line.token_id, "") for line in lines.lines]
    return {
        "label": label,
        "doubt": each[0] if each and all(each) else "",
        "now": now_ms,
        "window": window_ms,
        "of": of,
        "names": [line.name for line in lines.lines],
        "doubts": each,
        "holds": np.array([not doubt for doubt in each], dtype=np.float64),
        "times": times,
        "values": values,
        "lines": numbers,
    }


def append_lines(before: LinesView, new: LinesView, *, most: int) -> LinesView:
    """Append the rows of a view to those of the one before; the rest is as in the new one."""
    joined = new.copy()
    for name in LINE_ROWS:
        joined[name] = np.concatenate([before[name], new[name]])[-most:]
    return joined


def _turns(times: Times, values: Numbers, gaps: Spans, begin: int, until: int) -> tuple[Times, Numbers]:
    """Return the times from one on at which a value may change, those of gaps among them, and what it is from each."""
    turns = np.unique(np.concatenate([times, gaps.starts, gaps.ends, [begin]]))
    turns = turns[(turns >= max(begin, int(times[0]))) & (turns <= until)]
    stood = values[np.searchsorted(times, turns, side="right") - 1]
    return turns, np.where(gaps.cover(turns), np.nan, stood)


def _told_apart(slots: Times, values: Numbers) -> Times:
    """Choose the lowest, the highest and the last of each slot, and what begins and follows a gap."""
    if not len(slots):
        return slots
    last = np.flatnonzero(np.diff(slots, append=slots[-1] + 1))
    missing: Flags = np.isnan(values)
    outer = [np.lexsort(keys)[np.append(0, last[:-1] + 1)] for keys in ((values, slots), (-values, slots))]
    after = np.flatnonzero(missing[:-1]) + 1
    return np.unique(np.concatenate([last, *outer, np.flatnonzero(missing), after]))


def _title(markets: Sequence[Market | None]) -> str:
    """Name what tokens have in common."""
    known = list({market.condition_id: market for market in markets if market is not None}.values())
    events = {market.event_slug: market.event_title for market in known}
    if None in markets:
        return f"{len(markets)} outcomes"
    if len(known) == 1:
        return known[0].question
    (slug, title), *others = events.items() or [("", "")]
    return f"{len(markets)} outcomes" if others else title or slug or f"{len(markets)} outcomes"


def _names(token_ids: Sequence[str], markets: Sequence[Market | None]) -> list[str]:
    """Name outcomes as shortly as they can be told apart."""
    known = [market for market in markets if market is not None]
    several = len({market.condition_id for market in known}) > 1
    questions = _apart([market.question for market in known])
    said = {market.condition_id: market.group or text for market, text in zip(known, questions, strict=True)}
    # Of markets with several outcomes, the first goes without saying where no other is shown.
    plain = all(market is None or each == market.token_ids[0] for each, market in zip(token_ids, markets, strict=True))
    names: list[str] = []
    for each, market in zip(token_ids, markets, strict=True):
        if market is None:
            names.append(f"token {each[:6]}…")
        elif not several:
            names.append(market.outcome_of(each))
        else:
            names.append(("" if plain else f"{market.outcome_of(each)}: ") + said[market.condition_id])
    return names


def _apart(texts: Sequence[str]) -> list[str]:
    """Leave out the words that all different texts begin and end with.

    >>> _apart(["Will it rain in May?", "Will it snow in May?"])
    ['rain', 'snow']
    """
    words = [text.split() for text in dict.fromkeys(texts)]
    if len(words) <= 1:
        return list(texts)
    least = min(map(len, words))
    begin = next((at for at in range(least) if len({each[at] for each in words}) > 1), least)
    end = next((at for at in range(least - begin) if len({each[-1 - at] for each in words}) > 1), least - begin)
    return [" ".join(text.split()[begin : len(text.split()) - end]) or text for text in texts]


def corners(view: PriceView, now: float, *, thins: bool) -> tuple[Numbers, list[Numbers]]:
    """Return the times at which lines may turn, those of gaps among them, and bid, ask and mid from each on.

    Where ``thins`` is set, turns that cannot be told apart in a chart are left out.
    """
    turns = view["times"][_distinct(view["times"], view["bids"], view["asks"])] if thins else view["times"]
    times = np.unique(np.concatenate([turns, view["gap_starts"], view["gap_ends"], [now]]))
    times = times[np.isfinite(times)]
    # Before the first price there is none: index -1 is the NaN that is appended.
    last = np.searchsorted(view["times"], times, side="right") - 1
    in_gap = _in_gaps(view, times)
    return times, [np.where(in_gap, np.nan, np.append(view[name], np.nan)[last]) for name in ("bids", "asks", "mids")]


def _in_gaps(view: GapView, times: Numbers) -> "np.ndarray[tuple[int, ...], np.dtype[np.bool_]]":
    ends = np.where(np.isnan(view["gap_ends"]), np.inf, view["gap_ends"])
    return np.logical_or.reduce((times >= view["gap_starts"][:, None]) & (times < ends[:, None]), axis=0)


def between(at: Numbers, low: Numbers, high: Numbers) -> list[Numbers]:
    """Outline what is between two stepped lines, as far as both are there."""
    both = np.isfinite(low) & np.isfinite(high)
    begins, ends = np.flatnonzero(np.diff(np.concatenate([[0], both, [0]]).astype(int))).reshape(-1, 2).T
    outlines: list[Numbers] = []
    for begin, end in zip(begins, ends, strict=True):
        x = np.repeat(at[begin : end + 1], 2)[1:-1] if end < len(at) else np.repeat(at[begin:end], 2)[1:]
        top, bottom = (np.repeat(each[begin:end], 2)[: len(x)] for each in (high, low))
        outlines.append(np.column_stack([np.append(x, x[::-1]), np.append(top, bottom[::-1])]))
    return outlines


def _distinct(times: Numbers, lows: Numbers, highs: Numbers) -> "np.ndarray[tuple[int, ...], np.dtype[np.intp]]":
    """Choose the points that can be told apart: of each two columns of pixels the last, the lowest and the highest."""
    if len(times) <= 3 * _COLUMNS:
        return np.arange(len(times))
    column = ((times - times[0]) * (_COLUMNS / max(float(times[-1] - times[0]), 1.0))).astype(int)
    last = np.flatnonzero(np.diff(column, append=-1))
    outer = [np.lexsort(keys)[np.append(0, last[:-1] + 1)] for keys in ((lows, column), (-highs, column))]
    return np.unique(np.concatenate([last, *outer]))
