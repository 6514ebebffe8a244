"""The tools that read: markets of the catalogue, books now and in the past, and recordings.

They run in worker threads, and change nothing. Callers name recordings, and never paths.
"""

import re
import threading
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path

import msgspec
import polars as pl

from pmlive.errors import BookError, PmliveError, StoreError, UnknownMarketError
from pmlive.gaps import ENDLESS, GapIndex
from pmlive.levels import Levels
from pmlive.manager import Manager
from pmlive.markets import Market, clean
from pmlive.markets.market import Directory
from pmlive.mcp.definitions import (
    BookResponse,
    FindMarkets,
    GetBook,
    GetQuality,
    MarketsResponse,
    QualityResponse,
    QueryRecording,
    RowsResponse,
)
from pmlive.mcp.realtime import stale_reason
from pmlive.mcp.safety import (
    PRIVATE_REFUSAL,
    RefusalError,
    Row,
    is_private,
    public_tables,
    refusal,
    safe_row,
    token_label,
    token_row,
    utc,
    utc_now,
)
from pmlive.recording import Quality, RecordedBook, Recording, open_recording, recordings, sample
from pmlive.settings import data_dir
from pmlive.store.reader import collect
from pmlive.times import interval, moment, nanoseconds

__all__ = ["HistoryTools"]

# How long is waited for the first book of a token that was only just subscribed, in seconds.
_PATIENCE = 1.0
# An answer is read by a model: rows beyond so many bytes are left for the next question.
_MOST_BYTES = 40_000
_MOST_GAPS = 5
# Of the lists that a book consists of, the best levels.
_LEVELS = 10
# What identifies rows, and is not counted or averaged.
_KEYS = ("seq", "ts_event", "ts_recv", "conn", "token_id", "market")
_OF_NUMBERS: Mapping[str, Callable[[str], pl.Expr]] = {
    "min": lambda name: pl.col(name).min(),
    "max": lambda name: pl.col(name).max(),
    "mean": lambda name: pl.col(name).mean(),
    "sum": lambda name: pl.col(name).sum(),
}
_OF_ANYTHING: Mapping[str, Callable[[str], pl.Expr]] = {
    "first": lambda name: pl.col(name).first(),
    "last": lambda name: pl.col(name).last(),
}

_RECORDING_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
# What comes with pmlive, by the names that callers use.
_SAMPLES = {"sample": "", "sample-evening": "evening", "sample-updown": "updown"}


class HistoryTools:
    """The tools that read.

    Args:
        manager: whose catalogue and books.
        root: the folder of the recordings that callers may name, by default the one that recordings go to.
        private: whether the user's own orders and trades are answered, too.
    """

    def __init__(self, manager: Manager, root: Path | None = None, *, private: bool = True) -> None:
        self._manager = manager
        self._recordings = _NamedRecordings(manager, data_dir() if root is None else root)
        self._private = private

    def find_markets(self, params: FindMarkets) -> MarketsResponse:
        """Find markets by words or names."""
        try:
            found = self._manager.find(params.query)
        except (PmliveError, ValueError) as error:
            raise refusal(error) from error
        return MarketsResponse(
            as_of=utc_now(),
            trust="the venue's catalogue; titles are strangers' words",
            markets=[_market(market) for market in found[: params.limit]],
            found=len(found),
        )

    # --- books ---

    def get_book(self, params: GetBook) -> BookResponse:
        """Return a book of the live feed, or of a recording at a time."""
        if params.recording is not None:
            return self._recorded_book(params, self._recordings.open(params.recording))
        if params.at is not None:
            raise RefusalError("at needs recording, for the live feed has the present book alone; name a recording too")
        return self._live_book(params)

    def _live_book(self, params: GetBook) -> BookResponse:
        try:
            book = self._manager.book(params.token, params.outcome, depth=params.depth, patience=_PATIENCE)
        except BookError as error:
            directory = Directory(self._manager.markets)
            token_id = _only_meant(directory, params.token, params.outcome)
            return _book(directory, token_id, utc_now(), stale_reason(error))
        except UnknownMarketError as error:
            raise RefusalError(
                "no such token is subscribed, or several are meant; call subscribe_orderbook_updates first, or give a "
                "whole token id"
            ) from error
        empty = _empty(book.token_id, book.market, book.label, utc_now(), book.state)
        return _with_levels(empty, book, book.ts_recv)

    def _recorded_book(self, params: GetBook, recording: Recording) -> BookResponse:
        at = recording.last_time if params.at is None else _time(params.at)
        if at is None:
            raise RefusalError("the recording is empty; name another")
        try:
            book = recording.book_at(params.token, at, params.outcome)
        except (PmliveError, ValueError) as error:
            raise refusal(error) from error
        directory = Directory(recording.markets)
        trust = book.quality if book.levels is not None else _recorded_stale_reason(book, recording)
        empty = _book(directory, book.token_id, utc(book.at), trust)
        if book.levels is None:
            return empty
        levels = Levels(book.levels.bids[: params.depth], book.levels.asks[: params.depth])
        return _with_levels(empty, levels, book.ts_recv)

    # --- recordings ---

    def query_recording(self, params: QueryRecording) -> RowsResponse:
        """Return rows of a table, or one row of numbers for each token and interval."""
        if is_private(params.table) and not self._private:
            raise RefusalError(PRIVATE_REFUSAL)
        if params.every is not None and params.aggregate is None:
            raise RefusalError(
                "every needs aggregate: say how the rows of an interval become one, such as last or mean"
            )
        recording = self._recordings.open(params.recording)
        start, end = _optional(params.start), _optional(params.end)
        token_id = None if params.token is None else _token(recording, params.token, params.outcome)
        scanned = recording.scan(params.table, token=token_id, start=start, end=end)
        wanted = (_select if params.aggregate is None else _aggregate)(scanned, params)
        frame = collect(recording.folder, params.table, wanted)
        gaps = _gaps_within(recording.gap_index, token_id, start, end)
        rows = frame.tail(params.limit) if params.last else frame.head(params.limit)
        if params.every is not None:
            rows = _with_gaps_marked(rows, recording.gap_index, params.every)
        kept = _as_many_as_fit([safe_row(row) for row in rows.to_dicts()], last=params.last)
        return RowsResponse(
            as_of=utc_now(),
            trust=f"{len(gaps)} gaps touch this range, what came in them is missing" if gaps else "no gaps here",
            rows=kept,
            more=len(kept) < frame.height,
            gaps=[safe_row(gap) for gap in gaps[:_MOST_GAPS]],
            gaps_total=len(gaps),
        )

    def get_recording_quality(self, params: GetQuality) -> QualityResponse:
        """Return the quality of a recording, or list the recordings."""
        if params.recording is None:
            return self._list(params.limit)
        recording = self._recordings.open(params.recording)
        report = recording.quality()
        directory = Directory(recording.markets)
        row = {"name": params.recording, **_quality(report, directory, params.limit)}
        return QualityResponse(as_of=utc_now(), trust=_verdict(report), recording=row)

    def _list(self, limit: int) -> QualityResponse:
        names = sorted(self._recordings.names())
        rows = [self._listed(name, self._recordings.open(name)) for name in names[:limit]]
        return QualityResponse(
            as_of=utc_now(), trust=f"{len(names)} recordings; name one to learn its quality", recordings=rows
        )

    def _listed(self, name: str, recording: Recording) -> Row:
        first, last = recording.first_time, recording.last_time
        return {
            "name": name,
            "first_time": None if first is None else utc(first),
            "last_time": None if last is None else utc(last),
            "markets": len(recording.markets),
            "tables": recording.tables if self._private else public_tables(recording.tables),
            "gaps": recording.gaps.height,
        }


# --- markets and books ---


def _market(market: Market) -> Row:
    outcomes = zip(market.outcomes, market.token_ids, strict=False)
    row = {
        "condition_id": market.condition_id,
        "question": market.question,
        "slug": market.slug,
        "event_slug": market.event_slug,
        "closed": market.closed,
        "end_date": market.end_date,
        "neg_risk": market.neg_risk,
        "volume": market.volume,
        "tokens": [{"token_id": token_id, "outcome": outcome} for outcome, token_id in outcomes],
    }
    return safe_row({name: value for name, value in row.items() if value is not None})


def _only_meant(directory: Directory, named: str, outcome: str | None) -> str:
    """Return the token that is meant, or nothing where none is, or several are."""
    if named in directory.tokens:
        return named
    meant = directory.meant(named, outcome)
    return meant[0] if len(meant) == 1 else ""


def _book(directory: Directory, token_id: str, as_of: str, trust: str) -> BookResponse:
    condition_id = directory.tokens[token_id][0].condition_id if token_id in directory.tokens else ""
    return _empty(token_id, condition_id, token_label(directory, token_id), as_of, trust)


def _empty(token_id: str, condition_id: str, label: str, as_of: str, trust: str) -> BookResponse:
    return BookResponse(
        as_of=as_of,
        trust=trust,
        token_id=token_id,
        condition_id=condition_id,
        untrusted_label=clean(label),
        best_bid=None,
        best_ask=None,
        mid=None,
        spread=None,
        bids=None,
        asks=None,
        ts_recv=None,
    )


def _with_levels(book: BookResponse, levels: Levels, ts_recv: datetime | None) -> BookResponse:
    return msgspec.structs.replace(
        book,
        best_bid=levels.best_bid,
        best_ask=levels.best_ask,
        mid=levels.mid,
        spread=levels.spread,
        bids=[list(level) for level in levels.bids],
        asks=[list(level) for level in levels.asks],
        ts_recv=None if ts_recv is None else utc(ts_recv),
    )


def _recorded_stale_reason(book: RecordedBook, recording: Recording) -> str:
    at = nanoseconds(book.at)
    causes = dict.fromkeys(gap.cause for gap in recording.gap_index.between(book.token_id, at, at + 1_000, conns=()))
    return f"stale: {', '.join(causes) or 'no book was known'}"


# --- queries ---


def _token(recording: Recording, named: str, outcome: str | None) -> str:
    try:
        return recording.token(named, outcome)
    except UnknownMarketError as error:
        raise refusal(error) from error


def _time(text: str) -> int:
    try:
        return nanoseconds(text)
    except ValueError as error:
        raise RefusalError("invalid time; expected ISO 8601, such as 2026-11-23T02:14:07Z") from error


def _optional(text: str | None) -> int | None:
    return None if text is None else _time(text)


def _as_many_as_fit(rows: list[Row], *, last: bool) -> list[Row]:
    """Return as many rows as fit into an answer, from the end that was asked for."""
    kept: list[Row] = []
    size = 0
    for row in reversed(rows) if last else rows:
        size += len(msgspec.json.encode(row))
        if kept and size > _MOST_BYTES:
            break
        kept.append(row)
    return kept[::-1] if last else kept


def _select(rows: pl.LazyFrame, params: QueryRecording) -> pl.LazyFrame:
    """Return the first rows, or the last, and one more, which shows whether there are more."""
    schema = rows.collect_schema()
    names = _columns(schema, params)
    selected = rows.select(_column(name, schema[name]) for name in names)
    return selected.tail(params.limit + 1) if params.last else selected.head(params.limit + 1)


def _aggregate(rows: pl.LazyFrame, params: QueryRecording) -> pl.LazyFrame:
    """Return one row for each token, and for each of its intervals if they were asked for."""
    schema = rows.collect_schema()
    by = [pl.col("token_id")] if "token_id" in schema else []
    if params.every is not None:
        by = [pl.col("ts_recv").dt.truncate(params.every).alias("time"), *by]
    values = [pl.len().alias("rows"), *(_aggregates(schema, params))]
    grouped = rows.group_by(by).agg(values).sort([one.meta.output_name() for one in by]) if by else rows.select(values)
    return grouped.tail(params.limit + 1) if params.last else grouped.head(params.limit + 1)


def _gaps_within(gaps: GapIndex, token_id: str | None, start: int | None, end: int | None) -> list[Row]:
    """List the gaps of a token, or all, that touch a range of receive times (nanoseconds since 1970)."""
    found = gaps.between(token_id, start or 0, ENDLESS if end is None else end, conns=())
    return [
        {
            "token_id": gap.token_id,
            "started": moment(gap.started),
            "ended": None if gap.ended is None else moment(gap.ended),
            "cause": gap.cause,
        }
        for gap in found
    ]


def _with_gaps_marked(rows: pl.DataFrame, gaps: GapIndex, every: str) -> pl.DataFrame:
    """Mark the intervals that a gap touches; ``time`` of a row is the start of its interval."""
    length = interval(every)
    starts: list[int] = rows["time"].dt.epoch("ns").to_list()
    token_ids: list[str | None] = rows["token_id"].to_list() if "token_id" in rows.columns else [None] * len(starts)
    touched = [
        bool(gaps.between(token_id, start, start + length, conns=()))
        for start, token_id in zip(starts, token_ids, strict=True)
    ]
    return rows.with_columns(pl.Series("touched", touched, dtype=pl.Boolean))


def _columns(schema: pl.Schema, params: QueryRecording) -> list[str]:
    if params.columns is None:
        return list(schema)
    unknown = [name for name in params.columns if name not in schema]
    if unknown:
        raise RefusalError(f"{len(unknown)} of the columns are not in this table; ask for some of: {', '.join(schema)}")
    return list(dict.fromkeys(params.columns))


def _aggregates(schema: pl.Schema, params: QueryRecording) -> list[pl.Expr]:
    names = [name for name in _columns(schema, params) if name not in _KEYS]
    how = params.aggregate or "count"
    if how in _OF_ANYTHING:
        return [_OF_ANYTHING[how](name) for name in names if not schema[name].is_nested()]
    if how in _OF_NUMBERS:
        return [_OF_NUMBERS[how](name) for name in names if schema[name].is_numeric()]
    return []


def _column(name: str, kind: pl.DataType) -> pl.Expr:
    return pl.col(name).list.head(_LEVELS) if isinstance(kind, pl.List) else pl.col(name)


# --- quality ---


def _quality(report: Quality, directory: Directory, limit: int) -> Row:
    """Return the main numbers of a report, and the first of its tokens and faults."""
    whole = report.to_dict()
    tokens = [
        token_row(directory, token.token_id)
        | {"coverage": round(token.coverage, 6), "checks": msgspec.to_builtins(token.checks)}
        for token in report.tokens[:limit]
    ]
    faults = [
        {"cause": fault.cause, "started": fault.started, "ended": fault.ended, "tokens": len(fault.token_ids)}
        for fault in report.faults[:limit]
    ]
    kept = ("ok", "coverage", "first_time", "last_time", "checks", "latency", "skipped", "mirror", "unsealed")
    return safe_row({name: whole[name] for name in kept}) | {
        "damaged_files": len(report.damaged),
        "minutes_to_distrust": report.distrust["minute"].n_unique(),
        "faults": [fault | {name: _utc_of(fault[name]) for name in ("started", "ended")} for fault in faults],
        "faults_total": len(report.faults),
        "tokens": tokens,
        "tokens_total": len(report.tokens),
    }


def _utc_of(time: object) -> str | None:
    return utc(moment(time)) if isinstance(time, int) else None


def _verdict(report: Quality) -> str:
    if report.ok:
        return "nothing was missed, found wrong or damaged"
    return f"{len(report.faults)} faults, {report.mismatches} mismatches, {len(report.damaged)} damaged files"


# --- recordings by name ---


class _NamedRecordings:
    """The recordings in a folder, the one that the manager is making, and the samples that come with pmlive.

    Args:
        manager: whose recording is among them while it is made.
        root: the folder.
    """

    def __init__(self, manager: Manager, root: Path) -> None:
        self._manager = manager
        self._root = root
        self._opened: dict[Path, Recording] = {}
        self._opening = threading.Lock()

    def names(self) -> dict[str, Path]:
        """Return the folder of each name."""
        root = self._root.resolve()
        listed = [Path(info.path).resolve() for info in recordings(root)] if root.is_dir() else []
        live = self._live()
        folders = [path for path in listed if root in (path, path.parent)] + ([live] if live else [])
        others = {name: path for name, path in _samples().items() if path.resolve() not in folders}
        return others | {path.name: path for path in folders if _RECORDING_NAME.fullmatch(path.name)}

    def open(self, name: str) -> Recording:
        """Open a recording, or return the one that is open.

        Raises:
            RefusalError: there is no recording of this name.
        """
        folder = self.names().get(name)
        if folder is None:
            raise RefusalError(
                "there is no recording of this name; call get_recording_quality without one to list them"
            )
        with self._opening:
            if folder not in self._opened:
                self._opened[folder] = open_recording(folder)
            return self._opened[folder]

    def _live(self) -> Path | None:
        recording = self._manager.report().recording
        return None if recording is None else Path(recording.folder).resolve()


def _samples() -> dict[str, Path]:
    try:
        return {known: sample(name) for known, name in _SAMPLES.items()}
    except StoreError:
        return {}
