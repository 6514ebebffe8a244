"""Commands that only read: ``pmlive search`` looks for markets, the others look at recordings.

``ls`` lists recordings, ``info`` shows what one holds, ``verify`` whether it is sound, ``quality`` how good it is, and
``book`` one book of it.
"""

from argparse import Namespace
from collections.abc import Sequence
from datetime import datetime
from itertools import zip_longest
from pathlib import Path

import msgspec

from pmlive import times
from pmlive.cli.options import Subparsers, add_command, add_recording_command
from pmlive.cli.output import Output
from pmlive.cli.signals import Stop
from pmlive.cli.sim import add_venue, venue
from pmlive.cli.summary import missed_in, missed_lines, proved_lines
from pmlive.cli.text import counted, duration, lines_of, moment, size, table
from pmlive.errors import StoreError
from pmlive.markets import Market, clean, find
from pmlive.recording import RecordedBook, RecordedMarket, RecordingSummary, info, open_recording, recordings
from pmlive.settings import data_dir
from pmlive.store import RecordingInfo

__all__ = ["add"]

_MOST_LEVELS = 10


def add(subparsers: Subparsers) -> None:
    """Add the commands."""
    command = add_command(
        subparsers,
        "search",
        _search,
        summary="Find markets, with the ids that record takes",
        more="Open markets come first.",
    )
    command.add_argument("words", nargs="+", metavar="WORDS", help="words of the title, or an address, a slug or an id")
    add_venue(command)
    command = add_command(subparsers, "ls", _list, summary="List the recordings in a folder")
    command.add_argument(
        "folder", nargs="?", type=Path, metavar="DIR", help="the folder (default: where recordings go)"
    )
    add_recording_command(
        subparsers,
        "info",
        _info,
        summary="Show what a recording holds",
        more="The exit code is 1 if it has gaps or mismatches.",
    )
    add_recording_command(
        subparsers,
        "verify",
        _verify,
        summary="Check every file of a recording, and every row against the raw records",
        more="The exit code is 1 if anything is not as it was recorded.",
    )
    add_recording_command(
        subparsers,
        "quality",
        _quality,
        summary="Show what of a recording can be trusted, and what is missing",
        more="The exit code is 1 if it has gaps, mismatches or damaged files.",
    )
    _add_book(subparsers)


def _add_book(subparsers: Subparsers) -> None:
    command = add_recording_command(
        subparsers,
        "book",
        _book,
        summary="Show a book as it was at a time",
        more="The exit code is 1 if the book could not be trusted then.",
    )
    command.add_argument(
        "token", metavar="TOKEN", help="a token id, an outcome, or the slug of a market with --outcome"
    )
    command.add_argument("--outcome", metavar="NAME", help="the outcome, where TOKEN is a slug or a condition id")
    command.add_argument("--at", required=True, metavar="TIME", help="such as 2026-11-23T02:14:07Z; UTC without a zone")


def _search(options: Namespace, out: Output, _: Stop) -> int:
    with venue(options.venue) as where:
        markets = find(" ".join(options.words), where)
    if not markets:
        out.note("no market was found; try fewer or other words")
    blocks = ["\n".join(_market_lines(market)) for market in markets]
    if out.mode == "json" or markets:
        out.result({"markets": markets}, "\n\n".join(blocks))
    return 0


def _market_lines(market: Market) -> list[str]:
    rows = [("slug", market.slug), ("condition id", market.condition_id)]
    if market.event_slug and market.event_slug != market.slug:
        rows.append(("event", market.event_slug))
    prices = dict(zip(market.outcomes, market.outcome_prices, strict=False))
    for outcome, token_id in market.tokens.items():
        price = f"  at {prices[outcome]:g}" if outcome in prices else ""
        rows.append((outcome, f"{token_id}{price}"))
    lines = [f"  {clean(name, 24):<14}{clean(value)}" for name, value in rows if value]
    return [f"{clean(market.question) or clean(market.slug)}  [{_market_state(market)}]", *lines]


def _market_state(market: Market) -> str:
    if market.winner is not None:
        return f"won by {clean(market.winner, 40)}"
    if market.closed:
        return "closed"
    return "open" if market.end_date is None else f"open, ends {market.end_date:%Y-%m-%d %H:%M} UTC"


def _list(options: Namespace, out: Output, _: Stop) -> int:
    root: Path = options.folder or data_dir()
    if options.folder is not None and not root.is_dir():
        raise StoreError(f"{str(root)!r} is not a folder; give one that holds recordings")
    listed = sorted(recordings(root), key=lambda one: one.created)
    if not listed:
        out.note(f"no recordings in {root}; pmlive demo makes one")
    if out.mode == "json" or listed:
        head = ("recording", "created", "length", "markets", "rows", "size", "unsealed")
        lines = table(head, (_recording_row(one) for one in listed), right=range(2, 7))
        out.result({"folder": str(root), "recordings": [_listed_object(one) for one in listed]}, "\n".join(lines))
    return 0


def _listed_object(one: RecordingInfo) -> dict[str, object]:
    readable: dict[str, object] = {
        "first_time": _time(one.first_time),
        "last_time": _time(one.last_time),
        "seconds": one.duration.total_seconds(),
    }
    return msgspec.structs.asdict(one) | readable


def _time(nanoseconds: int | None) -> datetime | None:
    return None if nanoseconds is None else times.moment(nanoseconds)


def _recording_row(one: RecordingInfo) -> Sequence[str]:
    created = clean(one.created).replace("T", " ").removesuffix("+00:00")
    length = duration(one.duration.total_seconds())
    return (one.path, created, length, str(one.markets), f"{one.rows:,}", size(one.bytes), size(one.unsealed))


def _info(options: Namespace, out: Output, _: Stop) -> int:
    summary = info(options.folder)
    out.result(_info_object(summary), "\n".join(_info_lines(summary)))
    return 1 if summary.gaps or summary.mismatches else 0


def _info_object(summary: RecordingSummary) -> dict[str, object]:
    totals = {name: getattr(summary, name) for name in ("frames", "rows", "bytes", "files", "first_time", "last_time")}
    return msgspec.structs.asdict(summary) | {"gaps": missed_in(summary)} | totals


def _info_lines(summary: RecordingSummary) -> list[str]:
    totals = f"{counted(summary.frames, 'frame')}, {counted(summary.rows, 'row')}, {size(summary.bytes)}"
    unsealed = [f"{size(summary.unsealed)} of log, not sealed yet"] if summary.unsealed else []
    return [
        *lines_of("recording", [summary.path, f"made by pmlive {summary.pmlive}, created {summary.created}"]),
        *lines_of("holds", [f"{totals} in {counted(summary.files, 'file')}", *_span_lines(summary), *unsealed]),
        *lines_of("markets", [_market_line(market) for market in summary.markets] or ["none named"]),
        *lines_of("tables", _table_lines(summary) if summary.tables else ["none"]),
        *lines_of("proved", proved_lines(summary.checks)),
        *lines_of("missed", missed_lines(missed_in(summary), unsealed=summary.unsealed)),
    ]


def _span_lines(summary: RecordingSummary) -> list[str]:
    first, last = summary.first_time, summary.last_time
    if first is None or last is None:
        return ["nothing is sealed yet"]
    return [f"{moment(first)} to {moment(last)} UTC, {duration((last - first).total_seconds())}"]


def _market_line(market: RecordedMarket) -> str:
    return f"{market.question or market.condition_id} ({' / '.join(market.outcomes)})  {market.slug}"


def _table_lines(summary: RecordingSummary) -> list[str]:
    rows = [
        (one.table, f"{one.rows:,}", size(one.bytes), str(one.files), moment(one.first_time), moment(one.last_time))
        for one in summary.tables
    ]
    return table(("table", "rows", "size", "files", "first", "last"), rows, right=(1, 2, 3))


def _verify(options: Namespace, out: Output, _: Stop) -> int:
    out.progress("checking")
    report = open_recording(options.folder).verify()
    out.result(report.to_dict(), repr(report))
    return 0 if report.ok else 1


def _quality(options: Namespace, out: Output, _: Stop) -> int:
    out.progress("looking through the recording")
    report = open_recording(options.folder).quality()
    out.result(report.to_dict(), repr(report))
    return 0 if report.ok else 1


def _book(options: Namespace, out: Output, _: Stop) -> int:
    book = open_recording(options.folder).book_at(options.token, options.at, options.outcome)
    out.result(book.to_dict(), "\n".join(_book_lines(book)))
    return 1 if book.quality == "stale" else 0


def _book_lines(book: RecordedBook) -> list[str]:
    lines = [book.label, f"{book.quality} at {moment(book.at)} UTC: {book.why}", ""]
    if book.levels is not None:
        return [*lines, *_side_lines(book)]
    if book.last_known is None:
        return lines[:-1]
    last = book.last_known
    return [*lines, f"the last that could be trusted, at {moment(last.at)} UTC:", *_side_lines(last)]


def _side_lines(book: RecordedBook) -> list[str]:
    bids, asks = (
        [(f"{price:g}", f"{shares:,.2f}") for price, shares in side[:_MOST_LEVELS]] for side in (book.bids, book.asks)
    )
    rows = [(shares, price, *ask) for (price, shares), ask in zip_longest(bids, asks, fillvalue=("", ""))]
    return table(("size", "bid", "ask", "size"), rows, right=(0, 1, 3))
