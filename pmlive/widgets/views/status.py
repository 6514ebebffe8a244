"""How the feed and the recording are: connections, lag, rate, checks and gaps; rows, bytes, files and disk."""

from pathlib import Path
from typing import TypedDict

import polars as pl

from pmlive.manager.source import ConnectionStatus, ReplayStatus
from pmlive.manager.status import Books, Status
from pmlive.manager.subscriptions import SubscriptionStatus
from pmlive.store import RecorderStatus

__all__ = ["RecordingView", "StatusView", "recording_view", "status_view"]


_NO_RECORDER = RecorderStatus(
    folder="",
    rows={},
    frames=0,
    bytes=0,
    files=0,
    segments=0,
    pending_bytes=0,
    lag=0.0,
    last_sync=None,
    dropped=0,
    trouble=None,
)


class StatusView(TypedDict):
    """``lag`` is from the venue's clock to ours in seconds, ``rate`` is messages a second; None while unknown."""

    now: str
    playing: str
    connections: dict[str, ConnectionStatus]
    subscriptions: list[SubscriptionStatus]
    events: int
    rate: float | None
    lag: float | None
    tokens: int
    trusted: int
    verified: int
    unverifiable: int
    mismatches: int
    open_gaps: int
    gaps: int
    last_gap: str


class RecordingView(TypedDict):
    """What a recorder wrote; ``waiting`` is bytes not written yet, ``free`` those that the disk has left."""

    recording: bool
    folder: str
    rows: dict[str, int]
    frames: int
    bytes: int
    files: int
    waiting: int
    lag: float
    dropped: int
    trouble: str
    free: int | None


def status_view(
    status: Status,
    gaps: pl.DataFrame,
    prices: pl.DataFrame,
    *,
    now: int,
    before: tuple[int, int] | None = None,
) -> StatusView:
    """Show the state of a manager.

    Args:
        status: its state.
        gaps: all gaps that are known.
        prices: the newest rows, for the lag.
        now: the time, in nanoseconds since 1970.
        before: an earlier time and the number of messages that there were then, for the rate.
    """
    books, events = status.books or Books(), status.statistics.total_events
    checks = books.checks
    return {
        "now": pl.Series([now]).cast(pl.Datetime("ns")).dt.strftime("%Y-%m-%d %H:%M:%S")[0],
        "playing": "" if status.replay is None else _playing(status.replay),
        "connections": {"clob": status.connections.clob, "realtime": status.connections.realtime},
        "subscriptions": status.subscriptions.active,
        "events": events,
        "rate": _rate(now, events, before),
        "lag": _lag(prices),
        "tokens": books.tokens,
        "trusted": books.trusted,
        "verified": checks.hash_verified,
        "unverifiable": checks.hash_unverifiable,
        "mismatches": checks.hash_mismatch + checks.bbo_mismatch + checks.snapshot_mismatch,
        "open_gaps": books.open_gaps,
        "gaps": gaps.height,
        "last_gap": _last_gap(gaps),
    }


def recording_view(recorder: RecorderStatus | None, *, free: int | None = None) -> RecordingView:
    """Show how a recording goes, if there is one; ``free`` is the bytes that the disk has left."""
    recorder = recorder or _NO_RECORDER
    return {
        "recording": bool(recorder.folder),
        "folder": Path(recorder.folder).name,
        "rows": {table: rows for table, rows in recorder.rows.items() if rows},
        "frames": recorder.frames,
        "bytes": recorder.bytes,
        "files": recorder.files,
        "waiting": recorder.pending_bytes,
        "lag": recorder.lag,
        "dropped": recorder.dropped,
        "trouble": recorder.trouble or "",
        "free": free,
    }


def _playing(replay: ReplayStatus) -> str:
    if replay.finished:
        return "replay, finished"
    return "replay, paused" if replay.paused else f"replay, speed {replay.speed}"


def _rate(now: int, events: int, before: tuple[int, int] | None) -> float | None:
    """Messages a second since an earlier time; None without one, and after a jump back."""
    if before is None or now <= before[0] or events < before[1]:
        return None
    return (events - before[1]) / (now - before[0]) * 1e9


def _lag(prices: pl.DataFrame) -> float | None:
    lag = prices.select((pl.col("ts_recv") - pl.col("ts_event")).median().dt.total_microseconds())[0, 0]
    return None if lag is None else int(lag) / 1e6


def _last_gap(gaps: pl.DataFrame) -> str:
    if gaps.is_empty():
        return ""
    last = gaps.sort("started").tail(1)
    started = last["started"].dt.strftime("%H:%M:%S")[0]
    ended = last["ended"].dt.strftime("%H:%M:%S")[0] or "now"
    return f"{last['cause'][0]}, {started} to {ended}"
