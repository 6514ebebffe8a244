"""How good a recording is: what can be trusted, what is missing, what was proved, and how late it came."""

from collections.abc import Iterator, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, cast

import msgspec
import polars as pl

from pmlive.gaps import GapIndex, GapInterval
from pmlive.integrity import Counts
from pmlive.recording.contents import Contents, collect
from pmlive.recording.faults import Fault, faults
from pmlive.recording.following import distrust, followed, intervals
from pmlive.recording.known import Known
from pmlive.recording.mirror import Mirror, mirror
from pmlive.recording.pages import html, text
from pmlive.store import FileProblem, verify_files
from pmlive.times import moment, said

if TYPE_CHECKING:
    from pmlive.widgets.coverage import Figure

__all__ = ["Latency", "Quality", "TokenQuality", "not_understood", "quality"]

_COUNTED = ("book_deltas", "book_snapshots", "trades")


class TokenQuality(msgspec.Struct, frozen=True, kw_only=True):
    """One token: the share of the time it was followed in which its book could be trusted, and its checks."""

    token_id: str
    label: str
    coverage: float
    followed: float
    trusted: float
    checks: Counts


class Latency(msgspec.Struct, frozen=True, kw_only=True):
    """Milliseconds from the venue's time of a level change to its arrival; both clocks' offset is in them."""

    changes: int
    median: float | None
    p95: float | None
    p99: float | None
    most: float | None


class Quality(msgspec.Struct, frozen=True, kw_only=True):
    """The quality of a recording.

    Attributes:
        path: the folder.
        first_time: when the first record came, in nanoseconds since 1970.
        last_time: when the last one came.
        coverage: the share of the time that tokens were followed in which their books could be trusted.
        tokens: each token by itself.
        faults: what befell the recording, each fault once.
        checks: the outcomes of all checks of books.
        latency: how late level changes came.
        rates: rows of level changes, whole books and trades per ``minute``.
        skipped: level changes that were not applied: they came early, late, or while there was no book to trust.
        skipped_in_gaps: how many of those came in gaps.
        mirror: whether the two books of a market mirror each other, as they should.
        intervals: ``token_id``, ``start``, ``end`` and ``trusted``: the time that each token was followed, cut where
            trust in its book begins or ends.
        distrust: ``token_id`` and ``minute`` of each minute in which a book could not be trusted throughout.
        damaged: sealed files that are not what they were.
        unsealed: records that are in the log alone.
    """

    path: str
    first_time: int | None
    last_time: int | None
    coverage: float | None
    tokens: list[TokenQuality]
    faults: list[Fault]
    checks: Counts
    latency: Latency
    rates: pl.DataFrame
    skipped: int
    skipped_in_gaps: int
    mirror: Mirror
    intervals: pl.DataFrame
    distrust: pl.DataFrame
    damaged: list[FileProblem]
    unsealed: int

    @property
    def mismatches(self) -> int:
        """Count the checks that found a book wrong."""
        return self.checks.hash_mismatch + self.checks.bbo_mismatch + self.checks.snapshot_mismatch

    @property
    def ok(self) -> bool:
        """Tell whether nothing was missed, found wrong or damaged."""
        return not (self.faults or self.mismatches or self.damaged)

    def to_dict(self) -> dict[str, object]:
        """Give everything as JSON can hold it, times as ISO text."""
        plain = cast(
            "dict[str, object]",
            msgspec.to_builtins({name: getattr(self, name) for name in ("path", "coverage", "tokens", "checks")}),
        )
        more = {name: getattr(self, name) for name in ("latency", "mirror", "damaged", "unsealed")}
        return plain | {
            "ok": self.ok,
            "first_time": _iso(self.first_time),
            "last_time": _iso(self.last_time),
            "faults": [_fault(fault) for fault in self.faults],
            "rates": self.rates.with_columns(pl.col("minute").dt.to_string("iso:strict")).to_dicts(),
            "skipped": {"all": self.skipped, "in_gaps": self.skipped_in_gaps},
            "intervals": self.intervals.with_columns(pl.col("start", "end").dt.to_string("iso:strict")).to_dicts(),
            "distrust": self.distrust.with_columns(pl.col("minute").dt.to_string("iso:strict")).to_dicts(),
            **cast("dict[str, object]", msgspec.to_builtins(more)),
        }

    def figure(self) -> "Figure":
        """Draw when each token was followed and could be trusted, and what befell the recording.

        Raises:
            ImportError: the extra ``pmlive[jupyter]`` is not installed.
        """
        return cast("Figure", import_module("pmlive.widgets").coverage_figure(self))

    def __repr__(self) -> str:
        """Write a page."""
        return text(self.to_dict())

    def _repr_html_(self) -> str:
        return html(self.to_dict())


def not_understood(gaps: GapIndex) -> list[str]:
    """Say, one line for each kind, what came and could not be read, and when."""
    kinds: dict[str, list[GapInterval]] = {}
    for gap in gaps.all:
        if gap.cause == "malformed":
            kinds.setdefault(gap.detail, []).append(gap)
    return [_said(detail, of_it) for detail, of_it in kinds.items()]


def _said(detail: str, gaps: Sequence[GapInterval]) -> str:
    times = sorted({gap.started for gap in gaps})
    tokens = {gap.token_id for gap in gaps if gap.token_id is not None}
    when = said(times[0]) if len(times) == 1 else f"{len(times)} times from {said(times[0])} to {said(times[-1])}"
    whose = f"; {len(tokens)} books could not be trusted until they came anew or were proved" if tokens else ""
    return f"{detail}: {when} UTC{whose}"


def _fault(fault: Fault) -> dict[str, object]:
    told = cast("dict[str, object]", msgspec.to_builtins(fault))
    return told | {"started": _iso(fault.started), "ended": _iso(fault.ended)}


def _iso(time: int | None) -> str | None:
    return None if time is None else moment(time).isoformat()


def quality(known: Known) -> Quality:
    """Find out how good a recording is, as far as its files can be read."""
    damaged = verify_files(known.contents.folder)
    known = known.without({one.path for one in damaged})
    contents = known.contents
    tokens = list(_tokens(known))
    long = sum(token.followed for token in tokens)
    skipped = _skipped(known)
    return Quality(
        path=str(contents.folder),
        first_time=contents.first_recv(),
        last_time=contents.last_recv(),
        coverage=sum(token.trusted for token in tokens) / long if long else None,
        tokens=tokens,
        faults=faults(known.gaps.all),
        checks=Counts.total(token.checks for token in tokens),
        latency=_latency(contents),
        rates=_rates(contents),
        skipped=skipped[0],
        skipped_in_gaps=skipped[1],
        mirror=mirror(known),
        intervals=intervals(known.timelines),
        distrust=distrust(known.timelines),
        damaged=damaged,
        unsealed=len(contents.records()),
    )


def _tokens(known: Known) -> Iterator[TokenQuality]:
    names = Counts.names()
    sums = known.contents.scan("checks").group_by("token_id").agg(pl.col(*names).cast(pl.Int64).sum())
    checks = {
        str(row.pop("token_id")): msgspec.convert(row, type=Counts)
        for row in collect(known.contents, "checks", sums).iter_rows(named=True)
    }
    for token_id in sorted(known.timelines.keys() | checks.keys()):
        timeline = known.timelines.get(token_id)
        wanted = [] if timeline is None else followed(timeline)
        long = sum(span.end - span.start for span in wanted)
        trusted = 0 if timeline is None else sum(span.end - span.start for span in timeline.spans())
        yield TokenQuality(
            token_id=token_id,
            label=known.names.label(token_id),
            coverage=trusted / long if long else 0.0,
            followed=long / 1e9,
            trusted=trusted / 1e9,
            checks=checks.get(token_id, Counts()),
        )


def _latency(contents: Contents) -> Latency:
    late = (pl.col("ts_recv") - pl.col("ts_event")).dt.total_nanoseconds() / 1e6
    told = contents.scan("book_deltas").select(
        changes=pl.len(),
        median=late.median(),
        p95=late.quantile(0.95),
        p99=late.quantile(0.99),
        most=late.max(),
    )
    return msgspec.convert(collect(contents, "book_deltas", told).row(0, named=True), type=Latency)


def _rates(contents: Contents) -> pl.DataFrame:
    minute = pl.col("ts_recv").dt.truncate("1m").alias("minute")
    parts = [
        collect(contents, table, contents.scan(table).group_by(minute).agg(pl.len().cast(pl.Int64).alias("rows")))
        .with_columns(table=pl.lit(table))
        .select("minute", "table", "rows")
        for table in _COUNTED
    ]
    wide = pl.concat(parts).pivot("table", on_columns=_COUNTED, index="minute", values="rows")
    return wide.with_columns(pl.col(_COUNTED).fill_null(0)).sort("minute")


def _skipped(known: Known) -> tuple[int, int]:
    """Count the changes that were not applied, and those of them that came in gaps."""
    rows = known.contents.scan("book_deltas").filter(pl.col("check").cast(pl.String) == "skipped")
    found = collect(known.contents, "book_deltas", rows.select("token_id", pl.col("ts_recv").dt.epoch("ns")))
    inside = 0
    for (token_id,), part in found.group_by("token_id"):
        timeline = known.timelines.get(str(token_id))
        if timeline is not None:
            inside += sum(timeline.gap(recv) is not None for recv in part["ts_recv"])
    return found.height, inside
