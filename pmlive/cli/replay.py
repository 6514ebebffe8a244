"""``pmlive replay``: recordings played in the terminal."""

import time
from argparse import ArgumentTypeError, Namespace
from datetime import datetime
from functools import partial
from pathlib import Path

import msgspec
import polars as pl

from pmlive.cli.commands import Subparsers, add_command, positive_number
from pmlive.cli.summary import LiveTable, Part, Rates, draw
from pmlive.cli.terminal import Output, Stop, format_count, format_duration, format_time, section
from pmlive.levels import share_count
from pmlive.manager import Replay
from pmlive.manager.snapshots import Query, Tops
from pmlive.manager.subscriptions import BookCounts
from pmlive.replay import Speed

__all__ = ["add"]

_INTERVAL_S = 0.2
# The rows of the tallest terminal.
_MOST_TOKENS = 200


class ReplaySummary(msgspec.Struct, kw_only=True):
    """What was played: ``seconds`` of wall time, ``messages`` by kind, and ``gaps``, the rows of that table."""

    folders: list[str]
    first_time: datetime
    last_time: datetime
    position: datetime
    finished: bool
    seconds: float
    messages: dict[str, int]
    trades: int
    gaps: int
    books: BookCounts


def add(subparsers: Subparsers) -> None:
    """Add the command."""
    command = add_command(
        subparsers,
        "replay",
        _replay,
        summary="Play a recording in the terminal",
        more="Books are proved again on the way. The exit code is 1 if there are gaps or mismatches.",
        examples=[
            "pmlive replay data/tonight --speed 60",
            "pmlive replay data/tonight --from 2026-11-23T02:14:07Z",
            "pmlive replay data/tonight --speed max -o json",
        ],
    )
    command.add_argument("folders", nargs="+", type=Path, metavar="DIR", help="a recording; several are merged by time")
    command.add_argument(
        "--speed", type=_speed, default=1.0, metavar="X", help="how many times as fast as recorded, or max (default: 1)"
    )
    command.add_argument(
        "--from", dest="start", metavar="TIME", help="begin at this time, such as 2026-11-23T02:14:07Z"
    )


def _speed(text: str) -> Speed:
    try:
        return "max" if text == "max" else positive_number(text)
    except ArgumentTypeError:
        raise ArgumentTypeError(f"{text!r} is neither max nor a number above 0") from None


def _replay(options: Namespace, out: Output, stop: Stop) -> int:
    began = time.monotonic()
    with Replay(options.folders, speed=options.speed, paused=True) as replay:
        if options.start is not None:
            replay.seek(options.start)
        tape = _Tape(replay) if out.mode == "text" and options.speed != "max" else None
        shown = _Progress(replay, out)
        replay.resume()
        while not (stop.requested or replay.finished):
            stop.wait(_INTERVAL_S)
            _show_tape(tape, out)
            shown.update(time.monotonic() - began)
            if replay.failed is not None:
                raise replay.failed
        _show_tape(tape, out)
        shown.update(time.monotonic() - began)
        summary = _summary(replay, time.monotonic() - began)
    out.end_progress()
    out.result(summary, "\n".join(_lines(summary)))
    return int(summary.gaps > 0 or summary.books.checks.mismatches > 0)


class _Tape:
    """The trades and gaps of a replay as lines, each of which is returned once."""

    def __init__(self, replay: Replay) -> None:
        self._replay = replay
        self._labels = {token: market.label(token) for market in replay.markets for token in market.token_ids}
        self._shown = {"trades": 0, "gaps": 0}

    def lines(self) -> list[str]:
        """Return the new lines in order of arrival."""
        found: list[tuple[int, str]] = []
        for table, write in (("trades", self._trade), ("gaps", self._gap)):
            frame = getattr(self._replay, table).filter(pl.col("seq") > self._shown[table])
            found += [(row["seq"], write(row)) for row in frame.iter_rows(named=True)]
            self._shown[table] = max([self._shown[table], *frame["seq"]])
        return [line for _, line in sorted(found)]

    def _trade(self, row: dict[str, object]) -> str:
        size = row["size"]
        shares = share_count(size) if isinstance(size, float) else "?"
        what = f"{row['side'] or 'trade':<5} {shares:>12} at {row['price']:.4g}"
        return f"{_clock(row['ts_recv'])}  {what}  {self._label(row['token_id'])}"

    def _gap(self, row: dict[str, object]) -> str:
        ended = "it is open" if row["ended"] is None else f"until {_clock(row['ended'])}"
        return f"{_clock(row['started'])}  gap   {row['cause']}, {ended}  {self._label(row['token_id'])}"

    def _label(self, token_id: object) -> str:
        return "(the whole connection)" if token_id is None else self._labels.get(str(token_id), f"token {token_id}")


def _show_tape(tape: _Tape | None, out: Output) -> None:
    if tape is not None and (lines := tape.lines()):
        out.line("\n".join(lines))


class _Progress:
    """What is shown while a recording is played: a table on a terminal that can, else one line."""

    def __init__(self, replay: Replay, out: Output) -> None:
        self._replay = replay
        self._out = out
        self._rates = Rates()
        self._draws_table = out.shows_tables

    def update(self, elapsed: float) -> None:
        """Show the present state, so many seconds after the beginning."""
        if not self._out.is_terminal:
            return
        head = _head(_summary(self._replay, elapsed))
        if not self._draws_table:
            self._out.progress("  ".join(text for text, _ in head))
            return
        (snapshot,) = self._replay.snapshots([Query(status=True, tops=_MOST_TOKENS)])
        tops, books = snapshot.tops or Tops(shown=[], tokens=0), snapshot.status and snapshot.status.books
        table = LiveTable(
            head=[head],
            tops=tops,
            trusted=0 if books is None else books.trusted,
            rates=self._rates.update(tops, elapsed),
        )
        self._out.draw(partial(draw, table))


def _head(summary: ReplaySummary) -> list[Part]:
    return [
        (format_time(summary.position), "bold"),
        (f"{_share(summary):.0%}", ""),
        (format_count(sum(summary.messages.values()), "message"), ""),
        (f"{summary.books.trusted} of {format_count(summary.books.tokens, 'book')} trusted", ""),
        (format_count(summary.gaps, "gap"), "yellow" if summary.gaps else ""),
    ]


def _summary(replay: Replay, seconds: float) -> ReplaySummary:
    status = replay.report()
    return ReplaySummary(
        folders=[] if status.replay is None else status.replay.folders,
        first_time=replay.first_time,
        last_time=replay.last_time,
        position=replay.position,
        finished=replay.finished,
        seconds=seconds,
        messages=status.statistics.events_by_type,
        trades=replay.trades.height,
        gaps=replay.gaps.height,
        books=status.books or BookCounts(),
    )


def _share(summary: ReplaySummary) -> float:
    whole = (summary.last_time - summary.first_time).total_seconds()
    return (summary.position - summary.first_time).total_seconds() / whole if whole else 1.0


def _lines(summary: ReplaySummary) -> list[str]:
    checks, length = summary.books.checks, (summary.position - summary.first_time).total_seconds()
    took = format_duration(summary.seconds)
    whole = "all of it" if summary.finished else f"{_share(summary):.0%} of it"
    total = sum(summary.messages.values())
    kinds = [f"{number:,} {name}" for name, number in sorted(summary.messages.items())]
    return [
        *section(
            "played",
            [f"{whole}: {format_duration(length)} in {took}, up to {format_time(summary.position)}"],
        ),
        *section("messages", [f"{total:,}: {', '.join(kinds)}"]),
        *section(
            "proved",
            [
                f"{checks.hash_verified:,} book hashes verified, {checks.hash_unverifiable:,} could not be",
                f"{checks.bbo_ok:,} best prices and {checks.snapshot_ok:,} whole books as stated",
                f"{checks.mismatches:,} mismatches",
            ],
        ),
        *section("missed", [format_count(summary.gaps, "gap")]),
    ]


def _clock(time_: object) -> str:
    return format_time(time_)[11:] if isinstance(time_, datetime) else str(time_)
