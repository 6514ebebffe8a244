"""Recording for as long as a command runs: begin, watch, seal, tell."""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from datetime import timedelta
from functools import partial
from pathlib import Path

from pmlive import Manager, logs, threads
from pmlive.cli.output import Output
from pmlive.cli.progress import Trouble, trouble_of, watch
from pmlive.cli.signals import Stop
from pmlive.cli.summary import Run, run_of, run_text
from pmlive.recording import info
from pmlive.settings import Venue
from pmlive.store import read_manifest

__all__ = ["record", "tell"]

# Seconds that a summary may take to be read after a signal.
_LAST_WORDS = 5.0
_LOOK_AGAIN = 0.05


def record(
    venue: Venue,
    folder: Path | None,
    begin: Callable[[Manager], object],
    out: Output,
    stop: Stop,
    *,
    seconds: float | None,
    keep_raw: timedelta | None = None,
    make: Callable[[Venue], Manager] = Manager,
) -> Run:
    """Record what ``begin`` subscribes to, until it is time or a signal comes; call it while signals are held.

    Recording begins before anything is subscribed, so that it has the opening books.

    Raises:
        StoreError: the folder cannot be recorded into.
    """
    began = time.monotonic()
    with make(venue) as live:
        where = live.record(folder, keep_raw=keep_raw)
        before = read_manifest(where)
        begin(live)
        out.note(f"recording into {where}" + ("" if seconds else "; Ctrl-C ends it"))
        gaps_before = sum(file.rows for file in before.of("gaps"))
        watch(live, out, stop, seconds=seconds, gaps_before=gaps_before)
        trouble = trouble_of(live)
        elapsed = time.monotonic() - began
        markets, wanted = [market.slug or market.condition_id for market in live.markets], _wanted(live)
        out.progress("sealing")
    out.end_progress()
    return run_of(
        info(where, first_seq=before.next_seq),
        seconds=elapsed,
        ended_by="signal" if stop.wished else "time",
        markets=markets,
        wanted=wanted,
        trouble=_with_faults(trouble),
        log_lines_lost=_unwritten_lines(),
    )


def _wanted(live: Manager) -> set[str]:
    return {key for one in live.subscriptions if one.channel == "market" for key in one.keys}


def tell(run: Run, title: str, after: Sequence[str], *, out: Output, stop: Stop) -> int:
    """Print what a run recorded and give its exit code, which is the same where nobody can be told.

    A reader who takes his time is waited for until a signal comes; after one that ended the recording, not for long.
    """
    told: Future[None] = Future()
    text = run_text(run, title, after)
    threads.single("pmlive summary", partial(_settle, told, partial(out.result, run, text))).start()
    try:
        while not stop.wished and not told.done():
            stop.wait(_LOOK_AGAIN)
        told.result(_LAST_WORDS)
    except TimeoutError:
        out.problem("what was recorded could not be told: nobody reads the standard output")
    except OSError as error:
        out.problem(f"what was recorded could not be told on the standard output: {error.strerror}")
    return 1 if run.found else 0


def _settle(told: "Future[None]", work: Callable[[], None]) -> None:
    try:
        told.set_result(work())
    except BaseException as error:  # noqa: BLE001  # it is raised where this is waited for
        told.set_exception(error)


def _with_faults(trouble: Trouble) -> Trouble:
    faults = [f"something failed in the thread {fault.thread!r}: {fault.error}" for fault in threads.faults()]
    ours = faults if trouble.ours is None else [trouble.ours, *faults]
    return Trouble("; ".join(ours) or None, trouble.venue)


def _unwritten_lines() -> int:
    """Count the lines of the log that nobody saw, when nothing is recorded any more."""
    return logs.lost(waiting=not logs.flush())
