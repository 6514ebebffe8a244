"""How the feed and the recording are: connections, lag, rate, checks and gaps; rows, bytes, files and disk."""

from collections.abc import Mapping
from pathlib import Path
from typing import TypedDict

import msgspec
import polars as pl

__all__ = ["RecordingView", "StatusView", "recording_view", "status_view"]


class ConnectionView(msgspec.Struct, frozen=True):
    """One socket address: how many connections are open of those that should be."""

    connected: bool = False
    url: str | None = None
    open: int = 0
    sockets: int = 0
    error: str | None = None


class SubscriptionView(msgspec.Struct, frozen=True):
    """One subscription, as ``status()`` tells of it."""

    type: str
    keys: int
    events_received: int
    dropped: int


class StatusView(TypedDict):
    """``lag`` is from the venue's clock to ours in seconds, ``rate`` is messages a second; None while unknown."""

    now: str
    playing: str
    connections: dict[str, ConnectionView]
    subscriptions: list[SubscriptionView]
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


class _Subscriptions(msgspec.Struct):
    active: list[SubscriptionView]


class _Statistics(msgspec.Struct):
    total_events: int


class _Checks(msgspec.Struct):
    hash_verified: int = 0
    hash_unverifiable: int = 0
    hash_mismatch: int = 0
    bbo_mismatch: int = 0
    snapshot_mismatch: int = 0


class _Books(msgspec.Struct):
    tokens: int = 0
    trusted: int = 0
    open_gaps: int = 0
    checks: _Checks = msgspec.field(default_factory=_Checks)


class _Replay(msgspec.Struct):
    speed: float | str
    paused: bool
    finished: bool


class _Recorder(msgspec.Struct):
    folder: str
    rows: dict[str, int]
    frames: int
    bytes: int
    files: int
    pending_bytes: int
    lag: float
    dropped: int
    trouble: str | None


class _Status(msgspec.Struct):
    connections: dict[str, ConnectionView]
    subscriptions: _Subscriptions
    statistics: _Statistics
    books: _Books
    recording: _Recorder | None
    replay: _Replay | None


def status_view(
    status: Mapping[str, object],
    gaps: pl.DataFrame,
    prices: pl.DataFrame,
    *,
    now: int,
    before: tuple[int, int] | None = None,
) -> StatusView:
    """Show what ``Manager.status()`` tells.

    Args:
        status: what it told.
        gaps: all gaps that are known.
        prices: the newest rows, for the lag.
        now: the time, in nanoseconds since 1970.
        before: an earlier time and the number of messages that there were then, for the rate.
    """
    told = msgspec.convert(status, _Status)
    checks, events = told.books.checks, told.statistics.total_events
    return {
        "now": pl.Series([now]).cast(pl.Datetime("ns")).dt.strftime("%Y-%m-%d %H:%M:%S")[0],
        "playing": "" if told.replay is None else _playing(told.replay),
        "connections": told.connections,
        "subscriptions": told.subscriptions.active,
        "events": events,
        "rate": _rate(now, events, before),
        "lag": _lag(prices),
        "tokens": told.books.tokens,
        "trusted": told.books.trusted,
        "verified": checks.hash_verified,
        "unverifiable": checks.hash_unverifiable,
        "mismatches": checks.hash_mismatch + checks.bbo_mismatch + checks.snapshot_mismatch,
        "open_gaps": told.books.open_gaps,
        "gaps": gaps.height,
        "last_gap": _last_gap(gaps),
    }


def recording_view(status: Mapping[str, object], *, free: int | None = None) -> RecordingView:
    """Show what ``Manager.status()`` tells of the recording; ``free`` is the bytes that the disk has left."""
    told = msgspec.convert(status, _Status).recording
    if told is None:
        told = _Recorder("", {}, 0, 0, 0, 0, 0.0, 0, None)
    return {
        "recording": bool(told.folder),
        "folder": Path(told.folder).name,
        "rows": {table: rows for table, rows in told.rows.items() if rows},
        "frames": told.frames,
        "bytes": told.bytes,
        "files": told.files,
        "waiting": told.pending_bytes,
        "lag": told.lag,
        "dropped": told.dropped,
        "trouble": told.trouble or "",
        "free": free,
    }


def _playing(replay: _Replay) -> str:
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
