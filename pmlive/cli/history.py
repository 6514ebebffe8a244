"""``pmlive history``: a market's trades or prices from before a recording, as the venue's REST tells them."""

import warnings
from argparse import Namespace
from pathlib import Path

from pmlive.cli.commands import Parser, Subparsers, add_command
from pmlive.cli.terminal import Output, Stop, format_count, section
from pmlive.cli.venue import add_venue, venue
from pmlive.history import History, HistoryWarning
from pmlive.history.shelf import HistoryFrame
from pmlive.times import utc

__all__ = ["add"]

_MOST_LISTED = 10


def add(subparsers: Subparsers) -> None:
    """Add the command."""
    command = add_command(
        subparsers,
        "history",
        _history,
        summary="Fetch a market's trades or prices of before, as the venue's REST tells them",
        examples=[
            "pmlive history trades will-it-rain-in-london-on-new-years-eve --venue sim",
            "pmlive history prices fed-decision-in-december --outcome Yes --every 5m --out before.parquet",
        ],
        more="What no longer changes is kept on disk, and the next run continues one that was interrupted. The exit "
        "code is 1 if the venue does not have all that was asked for any more.",
    )
    command.add_argument("what", choices=("trades", "prices"), help="what to fetch")
    command.add_argument("market", metavar="MARKET", help="an address, a slug or an id")
    _add_options(command)
    add_venue(command)


def _add_options(command: Parser) -> None:
    command.add_argument("--outcome", metavar="NAME", help="this outcome only, such as Yes")
    command.add_argument("--start", metavar="TIME", help="the first time (default: the oldest that there is)")
    command.add_argument("--end", metavar="TIME", help="the time before which it ends (default: now)")
    command.add_argument("--every", metavar="LENGTH", help="of prices: the length of a bucket, such as 5m")
    command.add_argument("--out", type=Path, metavar="FILE", help="a new file, .parquet or .csv, for the rows")


def _history(options: Namespace, out: Output, _: Stop) -> int:
    if options.every is not None and options.what == "trades":
        raise ValueError("--every goes with prices; trades are listed one by one")
    if options.out is not None and (options.out.suffix not in (".parquet", ".csv") or options.out.exists()):
        raise ValueError(f"{str(options.out)!r} is not a new file whose name ends with .parquet or .csv")
    out.progress(f"asking for the {options.what} of {options.market}")
    with venue(options.venue) as where, warnings.catch_warnings():
        # What they say is in the coverage, which is printed.
        warnings.simplefilter("ignore", HistoryWarning)
        frame = _fetched(History(where), options)
    _write(frame, options.out)
    told = frame.coverage
    out.result(
        {
            "rows": told.rows,
            "requests": told.requests,
            "cached": told.cached,
            "from": utc(told.given_from),
            "to": utc(told.given_to),
            "settled_to": utc(told.settled_to),
            "missing": list(told.missing),
            "whole": told.whole,
            "out": None if options.out is None else str(options.out),
            "last": frame.tail(_MOST_LISTED).to_dicts() if options.out is None else [],
        },
        "\n".join(_lines(frame, options.out)),
    )
    return 0 if told.whole else 1


def _fetched(history: History, options: Namespace) -> HistoryFrame:
    given = {"outcome": options.outcome, "start": options.start, "end": options.end}
    if options.what == "trades":
        return history.trades(options.market, **given)
    return history.prices(options.market, **given, every=options.every)


def _write(frame: HistoryFrame, path: Path | None) -> None:
    if path is not None and path.suffix == ".csv":
        frame.write_csv(path)
    elif path is not None:
        frame.write_parquet(path)


def _lines(frame: HistoryFrame, path: Path | None) -> list[str]:
    told = frame.coverage
    fetched = [f"{format_count(told.rows, 'row')}, {format_count(told.requests, 'request')}"]
    if frame.height:
        fetched.append(f"{utc(frame['ts_event'][0])} to {utc(frame['ts_event'][-1])} UTC")
    return [
        *section("fetched", fetched),
        *(section("into", [str(path)]) if path is not None else []),
        *(section("missing", list(told.missing)) if told.missing else []),
    ]
