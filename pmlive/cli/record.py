"""``pmlive record``: markets of the venue into a folder, until told to stop."""

import asyncio
import shlex
from argparse import Namespace
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path

from pmlive import Manager
from pmlive.cli.options import Places, add_command, amount
from pmlive.cli.output import Output
from pmlive.cli.session import record, tell
from pmlive.cli.signals import Stop
from pmlive.cli.text import counted, duration, lines_of
from pmlive.cli.venues import add_venue, simulated
from pmlive.errors import UnknownMarketError
from pmlive.markets import Catalogue, Market, reference, tradable
from pmlive.settings import Venue
from pmlive.sim import SimulatedVenue

__all__ = ["add"]


def add(places: Places, make: Callable[[Venue], Manager] = Manager) -> None:
    """Add the command; ``make`` makes what records."""
    command = add_command(
        places,
        "record",
        _record,
        summary="Record markets into a folder, until Ctrl-C",
        more="A folder that was recorded into before is continued.",
    )
    command.add_argument(
        "markets",
        nargs="*",
        metavar="MARKET",
        help="an address, a slug of a market or an event, a condition id, a token id, or a rolling series "
        "such as btc-updown-5m; with --venue sim none means all",
    )
    command.add_argument("--out", type=Path, metavar="DIR", help="where to (default: a new folder with the others)")
    command.add_argument("--seconds", type=amount, metavar="N", help="how long to record (default: until Ctrl-C)")
    command.add_argument(
        "--keep-raw", type=amount, metavar="HOURS", help="keep raw frames for so long; tables stay (default: for ever)"
    )
    add_venue(command)
    command.set_defaults(make=make)


def _record(options: Namespace, out: Output, stop: Stop) -> int:
    if options.venue is None:
        if not options.markets:
            raise ValueError("no market is named; find one with: pmlive search WORDS")
        return _run(Venue.from_environment(), options.markets, options, out, stop)
    with SimulatedVenue() as sim:
        named = options.markets or [market.slug for market in sim.markets]
        return _run(simulated(sim), named, options, out, stop)


def _run(venue: Venue, named: Sequence[str], options: Namespace, out: Output, stop: Stop) -> int:
    wanted = asyncio.run(_wanted(venue, named, out))

    def begin(live: Manager) -> None:
        live.watch(wanted)

    with stop.held():
        keep = None if options.keep_raw is None else timedelta(hours=options.keep_raw)
        run = record(venue, options.out, begin, out, stop, seconds=options.seconds, keep_raw=keep, make=options.make)
        title = f"recorded {counted(len(run.markets), 'market')} for {duration(run.seconds)}"
        after = ["", *lines_of("next", [f"pmlive info {shlex.quote(run.folder)}"])]
        return tell(run, title, after, out=out, stop=stop)


async def _wanted(venue: Venue, named: Sequence[str], out: Output) -> list[str | Market]:
    """Find out what is meant before anything is written, so that a wrong id leaves nothing behind."""
    wanted: list[str | Market] = []
    async with Catalogue(venue) as catalogue:
        for text in dict.fromkeys(named):
            meant = reference(text)
            if meant.kind == "words":
                raise ValueError(
                    f"{text[:100]!r} names no market for sure; find one with: pmlive search {shlex.quote(text)}"
                )
            [found] = await catalogue.found([text])
            for reason in found.left_out:
                out.note(f"pmlive: left out: {reason}")
            if meant.kind == "series":
                wanted.append(meant.value)
                continue
            open_ = _open(found.markets, out)
            tokens = {token_id for market in open_ for token_id in market.token_ids}
            wanted += [meant.value] if meant.value in tokens else open_
    if not wanted:
        raise UnknownMarketError(
            "every market that is named is closed, so nothing would come; pmlive search finds others"
        )
    return wanted


def _open(markets: Sequence[Market], out: Output) -> list[Market]:
    """Leave closed markets out, and say so; say which are awaited because they have no tokens yet.

    Raises:
        UnknownMarketError: none has any.
    """
    for market in markets:
        if market.closed:
            out.note(f"pmlive: {_name(market)} is closed; left out")
    open_ = [market for market in markets if not market.closed]
    for market in tradable(open_)[1]:
        out.note(f"pmlive: {_name(market)} is listed without token ids for now; recorded as soon as it has them")
    return open_


def _name(market: Market) -> str:
    return market.slug or market.condition_id
