"""Recording for as long as a command runs: begin, watch, seal, tell."""

import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

from pmlive import Manager
from pmlive.cli.output import Output
from pmlive.cli.progress import trouble_of, watch
from pmlive.cli.signals import Stop
from pmlive.cli.summary import Run, run_of
from pmlive.recording import info
from pmlive.settings import Venue
from pmlive.store import read_manifest

__all__ = ["record"]


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
        markets = [market.slug or market.condition_id for market in live.markets]
        wanted = {key for one in live.subscriptions if one.channel == "market" for key in one.keys}
        out.progress("sealing")
    out.end_progress()
    return run_of(
        info(where, first_seq=before.next_seq),
        seconds=elapsed,
        ended_by="signal" if stop.wished else "time",
        markets=markets,
        wanted=wanted,
        trouble=trouble,
    )
