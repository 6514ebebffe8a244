"""The progress of a recording, in one line that a terminal shows while it runs."""

import time
from collections import deque

import msgspec

from pmlive import Manager
from pmlive.cli.output import Output
from pmlive.cli.signals import Stop
from pmlive.cli.text import counted, duration, size
from pmlive.manager.status import Books, Status
from pmlive.times import utc

__all__ = ["Trouble", "trouble_of", "watch"]

_INTERVAL_S = 0.5
# The rate is that of the last few seconds.
_RATE_WINDOW = 10


class Trouble(msgspec.Struct, frozen=True):
    """The problems at the end of a run: with the disk or a thread (``ours``), and with the connection (``venue``)."""

    ours: str | None
    venue: str | None


def watch(live: Manager, out: Output, stop: Stop, *, seconds: float | None, gaps_before: int = 0) -> None:
    """Show the progress of a recording until its time is over or a stop is requested."""
    began = time.monotonic()
    seen: deque[tuple[float, int]] = deque(maxlen=_RATE_WINDOW)
    while not stop.requested:
        elapsed = time.monotonic() - began
        left = _INTERVAL_S if seconds is None else seconds - elapsed
        if left <= 0:
            break
        status = live.report()
        seen.append((elapsed, status.statistics.total_events))
        out.progress(f"{duration(elapsed)}  {_line(status, _rate(seen), gaps_before)}")
        if stop.wait(min(left, _INTERVAL_S)):
            break
    out.end_progress()


def trouble_of(live: Manager) -> Trouble:
    """Return what is wrong now, if anything is."""
    status = live.report()
    clob, recording = status.connections.clob, status.recording
    ours = None
    if recording is not None and recording.trouble is not None:
        synced = recording.last_sync
        since = "the beginning" if synced is None else f"{utc(synced)} UTC"
        ours = f"what was received since {since} may be lost: {recording.trouble}"
    venue = None if clob.connected else f"not connected to the venue at the end: {clob.error or 'still dialling'}"
    return Trouble(ours, venue)


def _rate(seen: deque[tuple[float, int]]) -> float:
    (first, before), (last, now) = seen[0], seen[-1]
    return (now - before) / (last - first) if last > first else 0.0


def _line(status: Status, rate: float, gaps_before: int) -> str:
    clob, books, recording = status.connections.clob, status.books or Books(), status.recording
    rows = {} if recording is None else recording.rows
    gaps = max(0, rows.get("gaps", 0) - gaps_before) + books.open_gaps
    checks = books.checks
    parts = [
        "connected" if clob.connected else f"not connected ({clob.error or 'dialling'})",
        f"{rate:,.0f} messages/s",
        counted(sum(rows.values()), "row"),
        f"{checks.hash_verified + checks.bbo_ok + checks.snapshot_ok:,} checks passed",
        counted(gaps, "gap"),
        size(0 if recording is None else recording.bytes),
    ]
    trouble = None if recording is None else recording.trouble
    return "  ".join([f"disk: {trouble}", *parts] if trouble else parts)
