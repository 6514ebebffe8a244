"""The quality of a recording as a page, for terminals and for notebooks."""

from collections.abc import Iterator
from html import escape
from typing import Literal

import msgspec

from pmlive.integrity import Counts
from pmlive.times import said

__all__ = ["html", "text"]

_MOST = 20


class _Token(msgspec.Struct):
    token_id: str
    label: str
    coverage: float
    followed: float
    checks: Counts


class _Fault(msgspec.Struct):
    started: str
    ended: str | None
    cause: str
    detail: str
    token_ids: list[str]


class _Latency(msgspec.Struct):
    changes: int
    median: float | None
    p95: float | None
    p99: float | None
    most: float | None


class _Mirror(msgspec.Struct):
    moments: int
    mirrored: int
    worst: float


class _Minute(msgspec.Struct):
    book_deltas: int
    book_snapshots: int
    trades: int


class _Damaged(msgspec.Struct):
    path: str
    problem: str


class _Page(msgspec.Struct):
    path: str
    first_time: str | None
    last_time: str | None
    coverage: float | None
    tokens: list[_Token]
    faults: list[_Fault]
    checks: Counts
    latency: _Latency
    rates: list[_Minute]
    skipped: dict[Literal["all", "in_gaps"], int]
    mirror: _Mirror
    distrust: list[dict[str, str]]
    damaged: list[_Damaged]
    unsealed: int


def text(quality: dict[str, object]) -> str:
    """Write a page of text."""
    page = msgspec.convert(quality, type=_Page)
    return "\n".join(
        f"{name if number == 0 else '':<10} {line}".rstrip()
        for name, lines in _sections(page)
        for number, line in enumerate(lines)
    )


def html(quality: dict[str, object]) -> str:
    """Write a page for a notebook; all that strangers wrote is escaped."""
    page = msgspec.convert(quality, type=_Page)
    rows = "".join(
        f"<tr><th style='text-align:left;vertical-align:top'>{escape(name)}</th>"
        f"<td style='text-align:left'>{'<br>'.join(map(escape, lines))}</td></tr>"
        for name, lines in _sections(page)
    )
    return f"<table>{rows}</table>"


def _sections(page: _Page) -> Iterator[tuple[str, list[str]]]:
    yield "recording", [page.path, f"{_moment(page.first_time)} to {_moment(page.last_time)} UTC"]
    yield "trusted", _trusted(page)
    yield "missed", _missed(page)
    yield "proved", list(_proved(page.checks))
    yield "latency", _late(page.latency)
    yield "rates", _rates(page)
    yield (
        "skipped",
        [f"{page.skipped['all']:,} level changes were not applied, {page.skipped['in_gaps']:,} of them in gaps"],
    )
    yield "mirror", _mirrored(page.mirror)
    yield "distrust", _distrusted(page)
    if page.damaged:
        yield "damaged", [f"{one.path}: {one.problem}" for one in page.damaged]
    if page.unsealed:
        yield "log", [f"{page.unsealed:,} records are not sealed yet"]


def _trusted(page: _Page) -> list[str]:
    if page.coverage is None:
        return ["no book came"]
    worst = sorted(page.tokens, key=lambda token: token.coverage)
    lines = [f"{page.coverage:.3%} of the time, over {len(page.tokens)} tokens"]
    lines += [f"{token.coverage:.3%}  {token.label}" for token in worst[:_MOST] if token.coverage < 1]
    return lines


def _missed(page: _Page) -> list[str]:
    if not page.faults:
        return ["nothing"]
    lines = [_fault(fault) for fault in page.faults[:_MOST]]
    return lines + ([f"and {len(page.faults) - _MOST} more"] if len(page.faults) > _MOST else [])


def _fault(fault: _Fault) -> str:
    whose = f"{len(fault.token_ids)} tokens" if fault.token_ids else "no book"
    until = "no known end" if fault.ended is None else _moment(fault.ended)
    return f"{_moment(fault.started)} to {until}  {fault.cause}, {whose}{f': {fault.detail}' if fault.detail else ''}"


def _proved(checks: Counts) -> Iterator[str]:
    yield (
        f"hash of the venue   {checks.hash_verified:,} verified, {checks.hash_unverifiable:,} unverifiable, "
        f"{checks.hash_mismatch:,} mismatches"
    )
    yield f"best bid and ask    {checks.bbo_ok:,} as stated, {checks.bbo_mismatch:,} mismatches"
    yield f"fresh snapshots     {checks.snapshot_ok:,} equal to the book, {checks.snapshot_mismatch:,} mismatches"


def _late(latency: _Latency) -> list[str]:
    if latency.median is None:
        return ["no level change came"]
    figures = ", ".join(
        f"{name} {value:,.1f} ms"
        for name, value in (
            ("median", latency.median),
            ("p95", latency.p95),
            ("p99", latency.p99),
            ("most", latency.most),
        )
        if value is not None
    )
    return [figures, "from the venue's clock to ours: the offset between the two is in it"]


def _rates(page: _Page) -> list[str]:
    rows = [minute.book_deltas + minute.book_snapshots + minute.trades for minute in page.rates]
    if not rows:
        return ["nothing came"]
    return [f"{sum(rows) / len(rows):,.0f} rows a minute, {max(rows):,} at most"]


def _mirrored(mirror: _Mirror) -> list[str]:
    if not mirror.moments:
        return ["no market has two books that were trusted at once"]
    return [
        f"{mirror.mirrored / mirror.moments:.3%} of {mirror.moments:,} changes of a top, worst {mirror.worst:g} dollars"
    ]


def _distrusted(page: _Page) -> list[str]:
    if not page.distrust:
        return ["no minute"]
    minutes = sorted({one["minute"] for one in page.distrust})
    tokens = len({one["token_id"] for one in page.distrust})
    return [f"{len(minutes):,} minutes from {_moment(minutes[0])} on, of {tokens:,} tokens"]


def _moment(time: str | None) -> str:
    return "-" if time is None else said(time)
