"""``pmlive verify``, ``quality`` and ``book``: whether a recording is sound, how good it is, and a book of it."""

from argparse import Namespace
from pathlib import Path

from pmlive.cli.options import Places, add_command
from pmlive.cli.output import Output
from pmlive.cli.signals import Stop
from pmlive.cli.text import moment, table
from pmlive.recording import RecordedBook, open_recording

__all__ = ["add"]

_SHOWN = 10


def add(places: Places) -> None:
    """Add the commands."""
    command = add_command(
        places,
        "verify",
        _verify,
        summary="Check every file of a recording, and every row against the raw records",
        more="The exit code is 1 if anything is not as it was recorded.",
    )
    command.add_argument("folder", type=Path, metavar="DIR", help="the recording")
    command = add_command(
        places,
        "quality",
        _quality,
        summary="Tell what of a recording can be trusted, and what is missing",
        more="The exit code is 1 if it has gaps, mismatches or damaged files.",
    )
    command.add_argument("folder", type=Path, metavar="DIR", help="the recording")
    command = add_command(
        places,
        "book",
        _book,
        summary="Show a book as it was at a time",
        more="The exit code is 1 if the book could not be trusted then.",
    )
    command.add_argument("folder", type=Path, metavar="DIR", help="the recording")
    command.add_argument(
        "token", metavar="TOKEN", help="a token id, an outcome, or the slug of a market with --outcome"
    )
    command.add_argument("--outcome", metavar="NAME", help="the outcome, where TOKEN is a slug or a condition id")
    command.add_argument("--at", required=True, metavar="TIME", help="such as 2026-11-23T02:14:07Z; UTC without a zone")


def _verify(options: Namespace, out: Output, stop: Stop) -> int:
    del stop
    out.progress("checking")
    found = open_recording(options.folder).verify()
    out.result(found.to_dict(), repr(found))
    return 0 if found.ok else 1


def _quality(options: Namespace, out: Output, stop: Stop) -> int:
    del stop
    out.progress("looking through the recording")
    found = open_recording(options.folder).quality()
    out.result(found.to_dict(), repr(found))
    return 0 if found.ok else 1


def _book(options: Namespace, out: Output, stop: Stop) -> int:
    del stop
    book = open_recording(options.folder).book_at(options.token, options.at, options.outcome)
    out.result(book.to_dict(), "\n".join(_lines(book)))
    return 1 if book.quality == "stale" else 0


def _lines(book: RecordedBook) -> list[str]:
    lines = [book.label, f"{book.quality} at {moment(book.at)} UTC: {book.why}"]
    if book.levels is None:
        last = book.last_known
        return (
            lines
            if last is None
            else [*lines, "", f"the last that could be trusted, at {moment(last.at)} UTC:", *_sides(last)]
        )
    return [*lines, "", *_sides(book)]


def _sides(book: RecordedBook) -> list[str]:
    sides = [[(f"{price:g}", f"{size:,.2f}") for price, size in side[:_SHOWN]] for side in (book.bids, book.asks)]
    height = max(map(len, sides))
    bids, asks = ([*side, *[("", "")] * (height - len(side))] for side in sides)
    rows = [(size, price, *ask) for (price, size), ask in zip(bids, asks, strict=True)]
    return table(("size", "bid", "ask", "size"), rows, right=(0, 1, 3))
