"""The data of a chart of several outcomes: a line for each, made of rows as they come, without a widget.

A line has a row where its value changes, and NaN from the beginning of a gap to its end, where it goes on with the last
value that is known by then.
"""

from collections.abc import Mapping, Sequence
from typing import Final, Literal, NamedTuple, TypeAlias

import numpy as np
import polars as pl

from pmlive.manager.token_view import Key, key_parts
from pmlive.markets import Market
from pmlive.widgets.spans import Flags, KnownGaps, Spans, Times
from pmlive.widgets.views import ChartView, Numbers

__all__ = [
    "LINE_ROWS",
    "MOST_LINES",
    "Keys",
    "Line",
    "Lines",
    "LinesView",
    "Quoted",
    "append_lines",
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
