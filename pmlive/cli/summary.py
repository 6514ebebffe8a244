"""Reports of a recording and of a run, also while it lasts: what was kept, what was proved, what was missed."""

from collections import Counter, deque
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from io import StringIO
from itertools import islice
from typing import TYPE_CHECKING, Literal, TypeAlias

import msgspec

from pmlive._session import Timing
from pmlive.cli.terminal import Screen, format_count, format_duration, format_size, format_time, section
from pmlive.integrity import Counts
from pmlive.levels import price_decimals
from pmlive.manager.snapshots import TokenTop, Tops, TopState
from pmlive.markets import clean
from pmlive.recording import RecordedGap, RecordingSummary

if TYPE_CHECKING:
    from rich.text import Text

__all__ = [
    "LiveTable",
    "Part",
    "Rates",
    "Run",
    "Trouble",
    "draw",
    "missed_in",
    "missed_lines",
    "proved_lines",
    "run_of",
    "run_text",
]

_MOST_GAPS = 12


class Trouble(msgspec.Struct, frozen=True):
    """The problems at the end of a run: of the disk or a thread (``ours``) and of the connection (``venue``)."""

    ours: str | None
    venue: str | None


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """The contents of a recording; ``unsealed`` is the bytes of the log that are not in the tables yet."""

    rows: dict[str, int]
    frames: int
    bytes: int
    files: int
    unsealed: int


class Missed(msgspec.Struct, frozen=True, kw_only=True):
    """One gap; without an end, its seconds are those until the last frame."""

    started: datetime
    ended: datetime | None
    seconds: float
    cause: str
    token_id: str | None
    detail: str


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """One run of a command that recorded."""

    folder: str
    seconds: float
    ended_by: Literal["time", "signal"]
    markets: list[str]
    kept: Kept
    proved: Counts
    missed: list[Missed]
    without_book: list[str]
    trouble: str | None
    log_lines_lost: int
    # Whether the exit code is 1. What a run that was stopped early did not wait for is not a finding.
    found: bool


def run_of(
    summary: RecordingSummary,
    *,
    seconds: float,
    ended: datetime,
    ended_by: Literal["time", "signal"],
    markets: Sequence[str],
    wanted: Iterable[str],
    trouble: Trouble,
    log_lines_lost: int,
) -> Run:
    """Return the summary of a run."""
    missed = missed_in(summary)
    # The summary does not have the tokens of unsealed records.
    without_book = [] if summary.unsealed else sorted(set(wanted) - set(summary.tokens))
    # A signal may stop a run before a missing book is late, or before a venue out of reach is a gap.
    lacking = ended_by == "time" and bool(without_book or trouble.venue)
    lost = [gap for gap in missed if ended_by == "time" or not _was_awaited(gap, ended)]
    return Run(
        folder=summary.path,
        seconds=round(seconds, 3),
        ended_by=ended_by,
        markets=list(markets),
        kept=Kept(
            rows={table.table: table.rows for table in summary.tables if table.table != "raw"},
            frames=summary.frames,
            bytes=summary.bytes,
            files=summary.files,
            unsealed=summary.unsealed,
        ),
        proved=summary.checks,
        missed=missed,
        without_book=without_book,
        trouble=trouble.ours or trouble.venue,
        log_lines_lost=log_lines_lost,
        found=lacking or bool(lost or trouble.ours or summary.unsealed) or summary.checks.mismatches > 0,
    )


def missed_in(summary: RecordingSummary) -> list[Missed]:
    """List the gaps of a recording, with their lengths."""
    return [
        Missed(
            started=gap.started,
            ended=gap.ended,
            seconds=round(_length(gap, summary.last_time).total_seconds(), 3),
            cause=gap.cause,
            token_id=gap.token_id,
            detail=gap.detail,
        )
        for gap in summary.gaps
    ]


def run_text(run: Run, title: str, after: Sequence[str]) -> str:
    """Return the summary of a run as text."""
    lines = [
        title,
        "",
        *section("kept", _kept_lines(run.kept)),
        *section("proved", proved_lines(run.proved)),
        *section("missed", _run_missed_lines(run)),
        *section("folder", [run.folder]),
        *after,
    ]
    return "\n".join(lines)


def proved_lines(checks: Counts) -> list[str]:
    """Return lines with the counts of the three checks."""
    hashes = f"{checks.hash_verified:,} verified, {checks.hash_unverifiable:,} unverifiable"
    return [
        f"hash of the venue   {hashes}, {_mismatches(checks.hash_mismatch)}",
        f"best bid and ask    {checks.bbo_ok:,} as stated, {_mismatches(checks.bbo_mismatch)}",
        f"fresh snapshots     {checks.snapshot_ok:,} equal to the book, {_mismatches(checks.snapshot_mismatch)}",
    ]


def _was_awaited(gap: Missed, ended: datetime) -> bool:
    """Check whether a gap is an opening book that was not late yet when the run ended."""
    is_open = gap.cause == "late opening book" and gap.ended is None
    return is_open and ended - gap.started < timedelta(microseconds=Timing().opening // 1000)


def missed_lines(missed: Sequence[Missed], *, unsealed: int) -> list[str]:
    """Return lines with the number of gaps by cause, and the first of them one by one."""
    if not missed:
        return ["no gap in what is sealed; the log was not checked" if unsealed else "nothing was missed"]
    causes = Counter(gap.cause for gap in missed)
    lines = [", ".join(f"{format_count(number, 'gap')} by {cause}" for cause, number in causes.most_common())]
    if whole := sum(gap.token_id is None for gap in missed if len(missed) > 1):
        lines[0] += (
            f": {whole:,} of connections, {len(missed) - whole:,} of tokens; quality counts what has one cause once"
        )
    alike: dict[tuple[object, ...], list[Missed]] = {}
    for gap in missed:
        alike.setdefault((gap.token_id is None, gap.started, gap.ended, gap.cause, gap.detail), []).append(gap)
    lines += [_gap_line(gaps) for gaps in islice(alike.values(), _MOST_GAPS)]
    if len(alike) > _MOST_GAPS:
        lines.append("and more; -o json lists all")
    return lines


def _run_missed_lines(run: Run) -> list[str]:
    lines = [] if run.trouble is None else [run.trouble]
    if run.log_lines_lost:
        lines.append(
            f"{format_count(run.log_lines_lost, 'line')} of the log could not be written; no data depends on them"
        )
    if run.without_book:
        lines.append(f"no book came for {format_count(len(run.without_book), 'token')} of those that were subscribed")
    if lines and not run.missed:
        return lines
    return lines + missed_lines(run.missed, unsealed=run.kept.unsealed)


def _gap_line(alike: Sequence[Missed]) -> str:
    gap = alike[0]
    length = format_duration(gap.seconds) + (" until the end" if gap.ended is None else "")
    return (
        f"{format_time(gap.started)}  {gap.cause}, {length}, {_whose(alike)}{f': {gap.detail}' if gap.detail else ''}"
    )


def _whose(alike: Sequence[Missed]) -> str:
    token_id = alike[0].token_id
    if token_id is None:
        return "a whole connection"
    return f"token {token_id[:12]}…" if len(alike) == 1 else format_count(len(alike), "token")


def _kept_lines(kept: Kept) -> list[str]:
    what = f"{format_count(kept.frames, 'frame')}, {format_count(sum(kept.rows.values()), 'row')}"
    lines = [
        f"{what}, {format_size(kept.bytes)} in {format_count(kept.files, 'file')}",
        ", ".join(f"{name} {rows:,}" for name, rows in kept.rows.items()) or "no rows",
    ]
    if kept.unsealed:
        lines.append(f"{format_size(kept.unsealed)} are in the log alone; recording into the folder again seals them")
    return lines


def _length(gap: RecordedGap, last: datetime | None) -> timedelta:
    until = gap.ended or last or gap.started
    return max(timedelta(), until - gap.started)


def _mismatches(number: int) -> str:
    return f"{number:,} mismatch{'' if number == 1 else 'es'}"


# --- the live table ---
# The table of markets, prices, rates and trust that ``record`` and ``replay`` show on a terminal, drawn by rich.

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
