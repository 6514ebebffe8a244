"""``pmlive record`` and ``demo``: markets of the venue, or of a simulated one, into a folder until stopped."""

import asyncio
import gc
import shlex
import time
from argparse import Namespace
from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

from pmlive import Manager, logs, threads
from pmlive.cli.commands import Parser, Subparsers, add_command, duration, positive_number, seconds_above_0
from pmlive.cli.summary import LiveTable, Part, Rates, Run, Trouble, draw, run_of, run_text
from pmlive.cli.terminal import Output, Stop, format_count, format_duration, format_size, section
from pmlive.cli.venue import add_venue, venue_of
from pmlive.errors import UnknownMarketError
from pmlive.manager.snapshots import Query, Tops
from pmlive.manager.subscriptions import BookCounts, Status
from pmlive.markets import Catalogue, Market, reference, tradable
from pmlive.recording import info
from pmlive.settings import Venue, data_dir
from pmlive.sim import SimulatedVenue
from pmlive.store import read_manifest
from pmlive.times import utc

__all__ = [
    "add",
    "add_record",
    "books_left_alone",
]

_DEMO_SECONDS = 20.0
_DEMO_MARKETS = 3
_DEMO_RATE = 100.0
# How long the reader of the standard output may take for the summary after a signal.
_SUMMARY_PATIENCE_S = 5.0
_POLL_S = 0.05

_INTERVAL_S = 0.5
# Drawing a table takes some milliseconds.
_TABLE_INTERVAL_S = 1.0
# The rows of the tallest terminal.
_MOST_TOKENS = 200
# How many samples the rate of messages is computed from.
_RATE_WINDOW = 10


def add(subparsers: Subparsers) -> None:
    """Add the commands."""
    command = add_command(
        subparsers,
        "demo",
        _demo,
        summary="Record a simulated venue, and show what was kept and how it was proved",
        more="Everything stays on this computer: no network and no account are needed.",
        examples=["pmlive demo", "pmlive demo --for 2m --out data/demo"],
    )
    _add_length(command, f"{_DEMO_SECONDS:g} s")
    command.set_defaults(seconds=_DEMO_SECONDS)
    _add_out(command)
    add_record(subparsers)


def add_record(subparsers: Subparsers, make: Callable[[Venue], Manager] = Manager) -> None:
    """Add the command ``record``; ``make`` creates its manager."""
    command = add_command(
        subparsers,
        "record",
        _record,
        summary="Record markets into a folder, until Ctrl-C",
        more="A folder that was recorded into before is continued.",
        examples=[
            "pmlive record https://polymarket.com/event/fed-decision-in-december",
            "pmlive record btc-updown-5m --for 8h --out data/tonight",
            "pmlive record --venue sim --for 1m",
        ],
    )
    command.add_argument(
        "markets",
        nargs="*",
        metavar="MARKET",
        help="an address, a slug of a market or an event, a condition id, a token id, or a rolling series "
        "such as btc-updown-5m; with --venue sim none means all",
    )
    _add_out(command)
    _add_length(command, "until Ctrl-C")
    command.add_argument(
        "--keep-raw",
        type=positive_number,
        metavar="HOURS",
        help="keep raw frames for this long; tables stay (default: for ever)",
    )
    add_venue(command)
    command.set_defaults(make=make)


def _add_length(command: Parser, default: str) -> None:
    length = command.add_mutually_exclusive_group()
    length.add_argument(
        "--for",
        dest="seconds",
        type=duration,
        metavar="TIME",
        help=f"how long to record, such as 90s, 8h or 1h30m (default: {default})",
    )
    length.add_argument("--seconds", type=seconds_above_0, metavar="N", help="the same, in seconds")


def _add_out(command: Parser) -> None:
    command.add_argument(
        "--out", type=Path, metavar="DIR", help="the folder (default: a new one beside the other recordings)"
    )


def _demo(options: Namespace, out: Output, stop: Stop) -> int:
    folder: Path = options.out or data_dir() / f"demo-{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
    with stop.deferred(), SimulatedVenue(markets=_DEMO_MARKETS, rate=_DEMO_RATE) as sim:
        slugs = [market.slug for market in sim.markets]

        def subscribe(live: Manager) -> None:
            live.watch(slugs)
            live.subscribe_reference_prices("btc/usd")

        run = _record_until_stopped(venue_of(sim), folder, subscribe, out, stop, seconds=options.seconds)
        title = f"recorded {len(slugs)} simulated markets over real sockets for {format_duration(run.seconds)}"
        following = [
            f"pmlive info {shlex.quote(run.folder)}",
            "pmlive search fed decision --venue sim",
            "pmlive record MARKET",
        ]
        return _print_run(run, title, following, out, stop)


def _record(options: Namespace, out: Output, stop: Stop) -> int:
    if options.venue is None:
        if not options.markets:
            raise ValueError("no market is named; find one with: pmlive search WORDS")
        return _record_venue(Venue.from_environment(), options.markets, options, out, stop)
    with SimulatedVenue() as sim:
        named = options.markets or [market.slug for market in sim.markets]
        return _record_venue(venue_of(sim), named, options, out, stop)


def _record_venue(venue: Venue, named: Sequence[str], options: Namespace, out: Output, stop: Stop) -> int:
    wanted = asyncio.run(_find_markets(venue, named, out))

    def subscribe(live: Manager) -> None:
        live.watch(wanted)

    with stop.deferred():
        keep = None if options.keep_raw is None else timedelta(hours=options.keep_raw)
        run = _record_until_stopped(
            venue, options.out, subscribe, out, stop, seconds=options.seconds, keep_raw=keep, make=options.make
        )
        title = f"recorded {format_count(len(run.markets), 'market')} for {format_duration(run.seconds)}"
        return _print_run(run, title, [f"pmlive info {shlex.quote(run.folder)}"], out, stop)


async def _find_markets(venue: Venue, named: Sequence[str], out: Output) -> list[str | Market]:
    """Look the markets up before anything is written, so that a wrong id leaves no folder behind."""
    wanted: list[str | Market] = []
    async with Catalogue(venue) as catalogue:
        for text in dict.fromkeys(named):
            meant = reference(text)
            if meant.kind == "words":
                raise ValueError(
                    f"{text[:100]!r} does not identify a market; find one with: pmlive search {shlex.quote(text)}"
                )
            [found] = await catalogue.found([text])
            for reason in found.left_out:
                out.note(f"pmlive: left out: {reason}")
            if meant.kind == "series":
                wanted.append(meant.value)
                continue
            open_ = _still_open(found.markets, out)
            tokens = {token_id for market in open_ for token_id in market.token_ids}
            wanted += [meant.value] if meant.value in tokens else open_
    if not wanted:
        raise UnknownMarketError(
            "all these markets are closed, so nothing would come; find others with: pmlive search WORDS"
        )
    return wanted


def _still_open(markets: Sequence[Market], out: Output) -> list[Market]:
    """Return the markets that are open; report those that are closed or have no tokens yet.

    Raises:
        UnknownMarketError: none of them has tokens.
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


def _record_until_stopped(
    venue: Venue,
    folder: Path | None,
    subscribe: Callable[[Manager], object],
    out: Output,
    stop: Stop,
    *,
    seconds: float | None,
    keep_raw: timedelta | None = None,
    make: Callable[[Venue], Manager] = Manager,
) -> Run:
    """Record until the time is over or a signal comes, and return what was recorded; call it with signals deferred.

    Recording begins before anything is subscribed, so that it has the opening books.
    """
    began = time.monotonic()
    with make(venue) as live:
        where = live.record(folder, keep_raw=keep_raw)
        before = read_manifest(where)
        subscribe(live)
        out.note(f"recording into {where}" + ("" if seconds else "; Ctrl-C ends it"))
        gaps_before = sum(file.rows for file in before.of("gaps"))
        _watch(live, out, stop, seconds=seconds, gaps_before=gaps_before)
        trouble = _trouble_of(live)
        elapsed, ended = time.monotonic() - began, datetime.now(UTC)
        markets = [_name(market) for market in live.markets]
        tokens = {key for one in live.subscriptions if one.channel == "market" for key in one.keys}
        out.progress("sealing")
    out.end_progress()
    return run_of(
        info(where, first_seq=before.next_seq),
        seconds=elapsed,
        ended=ended,
        ended_by="signal" if stop.requested else "time",
        markets=markets,
        wanted=tokens,
        trouble=_with_thread_faults(trouble),
        log_lines_lost=logs.lost(waiting=not logs.flush()),
    )


def _watch(live: Manager, out: Output, stop: Stop, *, seconds: float | None, gaps_before: int = 0) -> None:
    """Show the progress of a recording until its time is over or a signal comes."""
    began = time.monotonic()
    shown = _Progress(live, out, gaps_before)
    with books_left_alone() as alone:
        while not stop.requested:
            elapsed = time.monotonic() - began
            left = shown.every if seconds is None else seconds - elapsed
            if left <= 0:
                break
            alone.note(shown.update(elapsed).tokens)
            if stop.wait(min(left, shown.every)):
                break
    out.end_progress()


class _Progress:
    """What is shown while something is recorded: a table on a terminal that can, else one line."""

    def __init__(self, live: Manager, out: Output, gaps_before: int) -> None:
        self._live = live
        self._out = out
        self._gaps_before = gaps_before
        self._seen: deque[tuple[float, int]] = deque(maxlen=_RATE_WINDOW)
        self._rates = Rates()
        self._draws_table = out.shows_tables
        self.every = _TABLE_INTERVAL_S if self._draws_table else _INTERVAL_S

    def update(self, elapsed: float) -> BookCounts:
        """Show the present state, so many seconds after the beginning; return what is known of the books."""
        if not self._draws_table:
            status = self._live.report()
            head = self._head(status, elapsed)
            self._out.progress("  ".join(text for line in head for text, _ in line))
            return status.books or BookCounts()
        (snapshot,) = self._live.snapshots([Query(status=True, tops=_MOST_TOKENS)])
        status, tops = snapshot.status or self._live.report(), snapshot.tops or Tops(shown=[], tokens=0)
        books = status.books or BookCounts()
        table = LiveTable(
            head=self._head(status, elapsed),
            tops=tops,
            trusted=books.trusted,
            rates=self._rates.update(tops, elapsed),
        )
        self._out.draw(partial(draw, table))
        return books

    def _head(self, status: Status, elapsed: float) -> list[list[Part]]:
        self._seen.append((elapsed, status.statistics.total_events))
        return _head(status, format_duration(elapsed), _rate(self._seen), self._gaps_before)


def _rate(seen: deque[tuple[float, int]]) -> float:
    (first, before), (last, now) = seen[0], seen[-1]
    return (now - before) / (last - first) if last > first else 0.0


def _head(status: Status, elapsed: str, rate: float, gaps_before: int) -> list[list[Part]]:
    """Return what holds for all markets: two lines of parts, each with its style."""
    clob, books, recording = status.connections.clob, status.books or BookCounts(), status.recording
    rows = {} if recording is None else recording.rows
    gaps = max(0, rows.get("gaps", 0) - gaps_before) + books.open_gaps
    checks = books.checks
    passed = checks.hash_verified + checks.bbo_ok + checks.snapshot_ok
    connected = (
        ("connected", "green") if clob.connected else (f"not connected ({clob.error or 'dialling'})", "bold red")
    )
    trouble = None if recording is None else recording.trouble
    return [
        [
            (elapsed, "bold"),
            *([(f"disk: {trouble}", "bold red")] if trouble else []),
            connected,
            (f"{rate:,.0f} messages/s", ""),
            (format_count(sum(rows.values()), "row"), ""),
        ],
        [
            (f"{passed:,} checks passed", ""),
            (format_count(gaps, "gap"), "yellow" if gaps else ""),
            (format_size(0 if recording is None else recording.bytes), ""),
        ],
    ]


def _trouble_of(live: Manager) -> Trouble:
    """Return the present problems."""
    status = live.report()
    clob, recording = status.connections.clob, status.recording
    ours = None
    if recording is not None and recording.trouble is not None:
        synced = recording.last_sync
        since = "the beginning" if synced is None else f"{utc(synced)} UTC"
        ours = f"what was received since {since} may be lost: {recording.trouble}"
    venue = None if clob.connected else f"not connected to the venue at the end: {clob.error or 'still dialling'}"
    return Trouble(ours, venue)


def _with_thread_faults(trouble: Trouble) -> Trouble:
    faults = [f"something failed in the thread {fault.thread!r}: {fault.error}" for fault in threads.faults()]
    ours = faults if trouble.ours is None else [trouble.ours, *faults]
    return Trouble("; ".join(ours) or None, trouble.venue)


def _print_run(run: Run, title: str, following: Sequence[str], out: Output, stop: Stop) -> int:
    """Print the summary of a run and return the exit code, whether or not it can be printed.

    Waits for a slow reader until a signal comes, or for a few seconds if one has ended the recording.
    """
    printed: Future[None] = Future()
    text = run_text(run, title, ["", *section("next", following)])
    threads.single("pmlive summary", partial(_settle, printed, partial(out.result, run, text))).start()
    try:
        while not stop.requested and not printed.done():
            stop.wait(_POLL_S)
        printed.result(_SUMMARY_PATIENCE_S)
    except TimeoutError:
        out.problem("the summary could not be printed: nobody reads the standard output")
    except OSError as error:
        out.problem(f"the summary could not be printed on the standard output: {error.strerror}")
    return 1 if run.found else 0


def _settle(future: "Future[None]", work: Callable[[], None]) -> None:
    try:
        future.set_result(work())
    except BaseException as error:  # noqa: BLE001  # whoever waits for the future gets it
        future.set_exception(error)


# --- pauses for garbage collection ---
# Python's garbage collector in a process that keeps many books.
#
# A full collection visits every object, so with fifty thousand books it stops the feed for more than half a second,
# again and again. Books stay and are no garbage, so once they have come the collector is told to leave them alone.

# Fewer books take no time worth saving. After so many times as many as before, the new ones are left alone, too.
_FEW, _MORE = 1_000, 1.1


class _BooksLeftAlone:
    """Has the collector leave alone what is there, whenever there are many more books than before."""

    def __init__(self) -> None:
        self._books = 0

    def note(self, books: int) -> None:
        """Note how many books there are."""
        if books >= max(_FEW, self._books * _MORE):
            gc.freeze()
            self._books = books


@contextmanager
def books_left_alone() -> Generator[_BooksLeftAlone]:
    """Have the collector leave books alone, until the end of the block."""
    try:
        yield _BooksLeftAlone()
    finally:
        gc.unfreeze()
