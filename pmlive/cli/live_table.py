"""The table of markets, prices, rates and trust that ``record`` and ``replay`` show on a terminal, drawn by rich."""

from collections import deque
from collections.abc import Sequence
from io import StringIO
from typing import TYPE_CHECKING, TypeAlias

import msgspec

from pmlive.cli.terminal import Screen
from pmlive.levels import price_decimals
from pmlive.manager.tops import TokenTop, Tops, TopState
from pmlive.markets import clean

if TYPE_CHECKING:
    from rich.text import Text

__all__ = ["LiveTable", "Part", "Rates", "draw"]

# A part of the lines above the table, and how it looks: "" as the rest of the text.
Part: TypeAlias = tuple[str, str]

# The names of columns, and the line that counts what is cut.
_AROUND = 2
# What of a title is shown at most, on the widest terminal.
_LONGEST_TITLE = 200
# Spaces between columns, and the columns of words.
_BETWEEN = "  "
_TEXTS = {"market", "outcome", "book"}
# What is left out on a narrow terminal, so that a title has room.
_LEAST_WANTED = ("spread", "msg/s")
_LEAST_TITLE = 16
# A terminal with fewer columns is not told why a book is stale.
_NARROW = 64
_WINDOW_S = 5.0
_STATES: dict[TopState, Part] = {
    "verified": ("verified", "green"),
    "unverifiable": ("unverifiable", "yellow"),
    "stale": ("stale", "bold red"),
    "none": ("no book yet", "dim"),
    "over": ("resolved", "dim"),
}


_STYLES = {"bid": "green", "ask": "red"}


class LiveTable(msgspec.Struct, frozen=True, kw_only=True):
    """What is drawn: lines of parts above, and a row for each token with its messages a second, by token id."""

    head: Sequence[Sequence[Part]]
    tops: Tops
    trusted: int
    rates: dict[str, float]


class Rates:
    """The messages a second of each token over the last seconds."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, dict[str, int]]] = deque()

    def update(self, tops: Tops, now: float) -> dict[str, float]:
        """Take the present counts, and return the rates of the tokens that were there before, too."""
        counts = {top.token_id: top.messages for top in tops.shown}
        self._seen.append((now, counts))
        then, before = self._seen[0]
        if now - then > _WINDOW_S:
            self._seen.popleft()
        if now <= then:
            return {}
        return {each: max(0, counts[each] - before[each]) / (now - then) for each in counts.keys() & before.keys()}


def draw(live: LiveTable, screen: Screen) -> list[str]:
    """Return the lines of the table, as many and as wide as the terminal has room for."""
    from rich.console import Console

    room = max(1, screen.lines - 1 - len(live.head) - _AROUND)
    shown = live.tops.shown[:room]
    lines = [_line(parts, "  ", screen) for parts in live.head]
    lines += _rows(shown, live.rates, screen) if shown else []
    if hidden := live.tops.tokens - len(shown):
        text = f"and {hidden:,} more; {live.trusted:,} of {live.tops.tokens:,} books trusted"
        lines.append(_line([(text, "dim")], "", screen))
    file = StringIO()
    # Of rich's own table each column would be measured and wrapped, which takes ten times as long.
    console = Console(
        file=file,
        width=screen.columns - 1,
        color_system="standard" if screen.colours else None,
        force_terminal=True,
        legacy_windows=False,
        _environ={},
    )
    for line in lines:
        console.print(line, no_wrap=True, overflow="crop", crop=True)
    # The cursor stands on a line of its own, where a terminal shows what is typed, such as ^C.
    return [*file.getvalue().splitlines(), ""]


def _line(parts: Sequence[Part], between: str, screen: Screen) -> "Text":
    from rich.text import Text

    line = Text()
    for number, (text, style) in enumerate(parts):
        line.append(between if number else "").append(screen.encodable(text), style=style)
    return line


def _rows(shown: Sequence[TokenTop], rates: dict[str, float], screen: Screen) -> "list[Text]":
    columns = _columns(shown, rates, screen)
    widths = {name: max(map(len, (name, *texts))) for name, texts in columns.items()}
    widths["outcome"] = min(widths["outcome"], max(len("outcome"), screen.columns // 8))
    for name in _LEAST_WANTED:
        if _room_for_market(widths, screen) < _LEAST_TITLE:
            del columns[name], widths[name]
    widths["market"] = max(1, min(widths["market"], _room_for_market(widths, screen)))
    cells = [_cells(name, [name, *texts], widths[name], screen) for name, texts in columns.items()]
    head, *rows = zip(*cells, strict=True)
    lines = [_line([(cell, "dim") for cell in head], _BETWEEN, screen)]
    for top, row in zip(shown, rows, strict=True):
        styles = _STYLES | {"book": _STATES[top.state][1]}
        parts = [(cell, styles.get(name, "")) for name, cell in zip(columns, row, strict=True)]
        lines.append(_line(parts, _BETWEEN, screen))
    return lines


def _room_for_market(widths: dict[str, int], screen: Screen) -> int:
    return screen.columns - 1 - sum(width + len(_BETWEEN) for name, width in widths.items() if name != "market")


def _cells(name: str, texts: Sequence[str], width: int, screen: Screen) -> list[str]:
    """Return the texts of a column with so many characters' width each, where some are twice as wide as others."""
    from rich.cells import cell_len, set_cell_size

    if name not in _TEXTS:
        return [text.rjust(width) for text in texts]
    more = screen.ellipsis
    return [
        set_cell_size(text, width) if cell_len(text) <= width else set_cell_size(text, width - len(more)) + more
        for text in texts
    ]


def _columns(shown: Sequence[TokenTop], rates: dict[str, float], screen: Screen) -> dict[str, Sequence[str]]:
    bids, asks, spreads = (_aligned(texts) for texts in zip(*map(_prices, shown), strict=True))
    return {
        "market": [screen.encodable(clean(top.question, _LONGEST_TITLE)) for top in shown],
        "outcome": [screen.encodable(clean(top.outcome)) for top in shown],
        "bid": bids,
        "ask": asks,
        "spread": spreads,
        "msg/s": [f"{rates[top.token_id]:,.1f}" if top.token_id in rates else "" for top in shown],
        "book": [_state(top, screen) for top in shown],
    }


def _state(top: TokenTop, screen: Screen) -> str:
    name, _ = _STATES[top.state]
    return f"{name}: {top.cause}" if top.cause and screen.columns >= _NARROW else name


def _prices(top: TokenTop) -> tuple[str, str, str]:
    """Return bid, ask and spread as text, with the decimals of the market's own tick."""
    bid, ask = top.best_bid, top.best_ask
    decimals = price_decimals([each for each in (bid, ask) if each is not None], tick_size=top.tick_size)
    spread = None if bid is None or ask is None else ask - bid
    bid_text, ask_text, spread_text = ("-" if each is None else f"{each:.{decimals}f}" for each in (bid, ask, spread))
    return bid_text, ask_text, spread_text


def _aligned(texts: Sequence[str]) -> list[str]:
    """Return numbers that are to be aligned to the right with their decimal points under each other."""
    after = [len(text.partition(".")[2]) for text in texts]
    return [text + " " * (max(after) - own) for text, own in zip(texts, after, strict=True)]
