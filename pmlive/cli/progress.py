"""How a recording goes, in one line a terminal shows while it runs."""

import time
from collections import deque

import msgspec

from pmlive import Manager
from pmlive.cli.output import Output
from pmlive.cli.signals import Stop
from pmlive.cli.text import counted, duration, size
from pmlive.integrity import Counts
from pmlive.times import said

__all__ = ["Trouble", "trouble_of", "watch"]

_INTERVAL = 0.5
# The rate is that of the last few seconds.
_RATE_OVER = 10


class _Connection(msgspec.Struct):
    connected: bool
    error: str | None


class _Connections(msgspec.Struct):
    clob: _Connection


class _Statistics(msgspec.Struct):
    total_events: int


class _Books(msgspec.Struct):
    open_gaps: int = 0
    checks: Counts = msgspec.field(default_factory=Counts)


class _Recording(msgspec.Struct):
    rows: dict[str, int]
    bytes: int
    trouble: str | None
    last_sync: int | None


class _Status(msgspec.Struct):
    connections: _Connections
    statistics: _Statistics
    books: _Books
    recording: _Recording


class Trouble(msgspec.Struct, frozen=True):
    """What is wrong at the end of a run: with the disk or a thread (``ours``), and with the connection (``venue``)."""

    ours: str | None
    venue: str | None


def watch(live: Manager, out: Output, stop: Stop, *, seconds: float | None, gaps_before: int = 0) -> None:
    """Show how a recording goes until it is time or somebody wishes to stop."""
    began = time.monotonic()
    seen: deque[tuple[float, int]] = deque(maxlen=_RATE_OVER)
    while not stop.wished:
        elapsed = time.monotonic() - began
        left = _INTERVAL if seconds is None else seconds - elapsed
        if left <= 0:
            break
        status = _status(live)
        seen.append((elapsed, status.statistics.total_events))
        out.progress(f"{duration(elapsed)}  {_line(status, _rate(seen), gaps_before)}")
        if stop.wait(min(left, _INTERVAL)):
            break
    out.end_progress()


def trouble_of(live: Manager) -> Trouble:
    """Say what is wrong now, if anything is."""
    status = _status(live)
    clob, recording = status.connections.clob, status.recording
    ours = None
    if recording.trouble is not None:
        synced = recording.last_sync
        since = "the beginning" if synced is None else f"{said(synced)} UTC"
        ours = f"what was received since {since} may be lost: {recording.trouble}"
    venue = None if clob.connected else f"not connected to the venue at the end: {clob.error or 'still dialling'}"
    return Trouble(ours, venue)


def _status(live: Manager) -> _Status:
    return msgspec.convert(live.status(), type=_Status)


def _rate(seen: deque[tuple[float, int]]) -> float:
    (first, before), (last, now) = seen[0], seen[-1]
    return (now - before) / (last - first) if last > first else 0.0


def _line(status: _Status, rate: float, gaps_before: int) -> str:
    clob, recording, checks = status.connections.clob, status.recording, status.books.checks
    gaps = max(0, recording.rows["gaps"] - gaps_before) + status.books.open_gaps
    parts = [
        "connected" if clob.connected else f"not connected ({clob.error or 'dialling'})",
        f"{rate:,.0f} messages/s",
        counted(sum(recording.rows.values()), "row"),
        f"{checks.hash_verified + checks.bbo_ok + checks.snapshot_ok:,} checks passed",
        counted(gaps, "gap"),
        size(recording.bytes),
    ]
    return "  ".join([f"disk: {recording.trouble}", *parts] if recording.trouble else parts)
