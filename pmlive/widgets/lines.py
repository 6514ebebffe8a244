"""The data of a chart of several outcomes: a line for each, made of rows as they come, without a widget.

A line has a row where its value changes, and NaN from the beginning of a gap to its end, where it goes on with the last
value that is known by then. A gap of all lines is a gap of the chart, as it is in one of a single token.
"""

from collections.abc import Mapping, Sequence
from typing import Final, Literal, NamedTuple, TypeAlias

import numpy as np
import polars as pl

from pmlive.gaps import ENDLESS
from pmlive.manager.snapshots import Key, key_parts
from pmlive.markets import Market
from pmlive.markets.market import clean
from pmlive.widgets.spans import Flags, KnownGaps, Spans, Times
from pmlive.widgets.views import SHADED, ChartView, GapView, Numbers, PriceView, gap_view

__all__ = [
    "LINE_ROWS",
    "MOST_LINES",
    "Ending",
    "Endings",
    "Keys",
    "Line",
    "Lines",
    "LinesView",
    "Quoted",
    "append_lines",
    "between",
    "corners",
    "ended_label",
    "endings",
    "lines_of",
    "lines_view",
    "meant",
]


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


class LinesView(ChartView, GapView):
    """Lines over time; each value holds until the next of its line, and is NaN where nothing can be trusted.

    ``lines`` says of each row which of ``names`` it is of. A line whose place in ``holds`` is 0 ends with its last row,
    for the reason in ``doubts``; its word in ``states``, such as ``won``, then stands in the place of its price. Gaps
    are those of all lines at once. Those of
    only some are in ``blank_lines``, ``blank_starts`` and ``blank_ends``: which of ``names`` it is of, and from when to
    when, or NaN while it lasts.
    """

    now: float
    window: float
    of: Quoted
    names: list[str]
    doubts: list[str]
    states: list[str]
    holds: Numbers
    times: Numbers
    values: Numbers
    lines: Numbers
    blank_lines: Numbers
    blank_starts: Numbers
    blank_ends: Numbers


class Line(NamedTuple):
    """What a line shows: a column of the prices of a token, or 1 minus it, in dollars a share; and of which market."""

    token_id: str
    name: str
    column: str = "mid"
    mirrored: bool = False
    market: str = ""


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
    if owner is None or not is_pair or of == "mid":
        ids = ["" if market is None else market.condition_id for market in its]
        shown = zip(token_ids, names, ids, strict=True)
        return _title(its), "mid", [Line(each, name, market=market) for each, name, market in shown]
    (one, other), (first, second), market = token_ids, names, owner.condition_id
    return (
        _title(its),
        "mirror",
        [
            Line(one, f"{first} ask", "best_ask", market=market),
            Line(one, f"{first} bid", "best_bid", market=market),
            Line(other, f"1 − {second} bid", "best_bid", mirrored=True, market=market),  # noqa: RUF001  # a minus
            Line(other, f"1 − {second} ask", "best_ask", mirrored=True, market=market),  # noqa: RUF001  # a minus
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
        self._blank: tuple[dict[str, Spans], _BlankView] | None = None

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

    def blank(self, gaps: pl.DataFrame) -> "_BlankView":
        """Return the gaps of all lines, and those of only some, by the table that was taken last."""
        spans = self._known.spans
        if self._blank is None or self._blank[0] is not spans:
            self._blank = spans, _blank_view(self.lines, spans, gaps)
        return self._blank[1]

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


def lines_view(  # noqa: PLR0913  # all but three are by name
    lines: Lines,
    prices: pl.DataFrame,
    gaps: pl.DataFrame,
    *,
    label: str,
    of: Quoted,
    doubts: Mapping[str, str],
    ended: "Endings | None" = None,
    now_ms: float,
    window_ms: float = 0.0,
) -> LinesView:
    """Make a view of what lines become by the rows that came.

    ``label`` is what they have in common, ``doubts`` says why books of tokens cannot be trusted, and ``ended`` how
    markets ended.
    """
    ended = ended or {}
    times, values, numbers = lines.take(prices, gaps, int(now_ms) * 1_000_000)
    each = [doubts.get(line.token_id, "") for line in lines.lines]
    return {
        "label": ended_label(label, of, lines.lines, ended),
        "doubt": _doubt(lines.lines, each, ended),
        "now": now_ms,
        "window": window_ms,
        "of": of,
        "names": [line.name for line in lines.lines],
        "doubts": each,
        "states": [_state(line, of, doubt, ended) for line, doubt in zip(lines.lines, each, strict=True)],
        "holds": np.array([not doubt for doubt in each], dtype=np.float64),
        "times": times,
        "values": values,
        "lines": numbers,
        **lines.blank(gaps),
    }


def append_lines(before: LinesView, new: LinesView, *, most: int) -> LinesView:
    """Append the rows of a view to those of the one before; the rest is as in the new one."""
    joined = new.copy()
    for name in LINE_ROWS:
        joined[name] = np.concatenate([before[name], new[name]])[-most:]
    return joined


class _BlankView(GapView):
    """The part of a view that tells of gaps."""

    blank_lines: Numbers
    blank_starts: Numbers
    blank_ends: Numbers


def _blank_view(lines: Sequence[Line], spans: Mapping[str, Spans], gaps: pl.DataFrame) -> _BlankView:
    common = Spans.common(list(spans.values())) if spans else Spans.none()
    rest = {token_id: its.without(common) for token_id, its in spans.items()}
    starts, ends = (_ms(each[-SHADED:]) for each in (common.starts, common.ends))
    each = [rest[line.token_id] for line in lines] or [Spans.none()]
    numbers = np.repeat(np.arange(len(each), dtype=np.float64), [len(its.starts) for its in each])
    begun, over = _ms(np.concatenate([its.starts for its in each])), _ms(np.concatenate([its.ends for its in each]))
    last = np.argsort(begun, kind="stable")[-SHADED:]
    return {
        "gap_starts": starts,
        "gap_ends": ends,
        "gap_causes": _causes(starts, gap_view(gaps, lines[0].token_id)) if len(starts) else [],
        "blank_lines": numbers[last],
        "blank_starts": begun[last],
        "blank_ends": over[last],
    }


def _ms(times: Times) -> Numbers:
    return np.where(times == ENDLESS, np.nan, times / 1e6)


def _causes(starts: Numbers, gaps: GapView) -> list[str]:
    """Return the cause of the gap, of one token, in which each of some gaps of all begins."""
    found = [(gaps["gap_starts"] <= start) & ~(gaps["gap_ends"] <= start) for start in starts.tolist()]
    return [gaps["gap_causes"][int(np.flatnonzero(its)[-1])] if its.any() else "gap" for its in found]


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


# --- how markets ended ---

# The most letters of the name of a winner.
_WINNER = 40


class Ending(NamedTuple):
    """Who won a market: an outcome and its token, neither where there was no winner."""

    outcome: str
    token_id: str | None


# How markets ended, by condition id; those that are not over are missing.
Endings: TypeAlias = Mapping[str, Ending]


def endings(events: pl.DataFrame) -> dict[str, Ending]:
    """Return how markets ended, as the first resolution of each tells, by rows of ``market_events``."""
    told = events.filter(events["kind"] == "market_resolved")
    found: dict[str, Ending] = {}
    for market, token_id, outcome in told.select("market", "winning_token_id", "winning_outcome").rows():
        found.setdefault(market, Ending(clean(outcome, _WINNER) if outcome else "", token_id))
    return found


def ended_label(label: str, of: Quoted, lines: Sequence[Line], ended: Endings) -> str:
    """Return what lines have in common behind the word that their markets are resolved, and who won, if so."""
    markets = dict.fromkeys(line.market for line in lines)
    over = [ended[market] for market in markets if market in ended]
    if not over:
        return label
    if len(over) < len(markets):
        return f"{len(over)} of {len(markets)} markets resolved: {label}"
    if len(markets) == 1:
        return f"{f'resolved, {over[0].outcome} won' if over[0].outcome else 'resolved without a winner'}: {label}"
    won = [line.name for line in lines if _state(line, of, "over", ended) == "won"]
    return f"resolved, {won[0]} won: {label}" if len(won) == 1 else f"resolved: {label}"


def _doubt(lines: Sequence[Line], doubts: Sequence[str], ended: Endings) -> str:
    """Return why none of the lines can be trusted; "" if any can."""
    if not doubts or not all(doubts):
        return ""
    markets = {line.market for line in lines}
    are_over = len(markets) > 1 and markets <= ended.keys()
    return "all of its markets were resolved; they have no books any more" if are_over else doubts[0]


def _state(line: Line, of: Quoted, doubt: str, ended: Endings) -> str:
    """Return the word that stands where a line has no price: that it is not trusted, or how its market ended."""
    ending = ended.get(line.market)
    if not doubt or ending is None:
        return "not trusted" if doubt else ""
    if of == "mirror" or not ending.outcome:
        return "resolved"
    return "won" if line.token_id == ending.token_id else "lost"


# --- corners ---
# Where stepped lines turn, and what is between two of them.

# A chart that is drawn again and again is about twice as many pixels wide; of more points than three for each two, most
# are drawn over each other. A figure, into which one may look closer, has them all.
_COLUMNS = 400


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
