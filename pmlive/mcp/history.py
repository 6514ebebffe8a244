"""The tools that read: markets of the catalogue, books now and then, and recordings. They run in worker threads."""

from collections.abc import Sequence
from datetime import datetime

import msgspec

from pmlive.errors import BookError, PmliveError, UnknownMarketError
from pmlive.manager import Manager
from pmlive.markets import Market, clean
from pmlive.mcp.answers import Book, Markets, Quality, RefusalError, Rows, asked
from pmlive.mcp.asks import FindMarkets, GetBook, GetQuality, QueryRecording
from pmlive.mcp.library import Library
from pmlive.mcp.naming import Directory
from pmlive.mcp.privacy import REFUSAL, is_private, public_tables
from pmlive.mcp.querying import chosen, grouped, overlapping, touched
from pmlive.mcp.realtime import why_stale
from pmlive.mcp.texts import Row, plain, utc, utc_now
from pmlive.recording import Quality as Report
from pmlive.recording import RecordedBook, Recording
from pmlive.times import moment, nanoseconds

__all__ = ["History"]

# How long is waited for the first book of a token that was only just subscribed, in seconds.
_PATIENCE = 1.0
# An answer is read by a model: rows beyond so many bytes are left for the next question.
_MOST_BYTES = 40_000
_GAPS = 5


class History:
    """Tools that change nothing.

    Args:
        manager: whose catalogue and books.
        library: the recordings.
        private: whether the user's own orders and trades are told, too.
    """

    def __init__(self, manager: Manager, library: Library, *, private: bool = True) -> None:
        self._manager = manager
        self._library = library
        self._private = private

    def find_markets(self, ask: FindMarkets) -> Markets:
        """Find markets by words or names."""
        try:
            found = self._manager.find(ask.query)
        except (PmliveError, ValueError) as error:
            raise asked(error) from error
        return Markets(
            as_of=utc_now(),
            trust="the venue's catalogue; titles are strangers' words",
            markets=[_market(market) for market in found[: ask.limit]],
            found=len(found),
        )

    # --- books ---

    def get_book(self, ask: GetBook) -> Book:
        """Tell a book of the live feed, or of a recording at a time."""
        if ask.recording is not None:
            return self._recorded_book(ask, self._library.open(ask.recording))
        if ask.at is not None:
            raise RefusalError("at needs recording, for the live feed has the present book alone; name a recording too")
        return self._live_book(ask)

    def _live_book(self, ask: GetBook) -> Book:
        try:
            book = self._manager.book(ask.token, ask.outcome, depth=ask.depth, patience=_PATIENCE)
        except BookError as error:
            names = Directory(self._manager.markets)
            token_id = names.find(ask.token, ask.outcome)
            return _book(names, token_id, utc_now(), why_stale(error))
        except UnknownMarketError as error:
            raise RefusalError(
                "no such token is subscribed, or several are meant; call subscribe_orderbook_updates first, or give a "
                "whole token id"
            ) from error
        told = _empty(book.token_id, book.market, book.label, utc_now(), book.state)
        return _with_levels(told, book.bids, book.asks, book.ts_recv)

    def _recorded_book(self, ask: GetBook, recording: Recording) -> Book:
        at = recording.last_time if ask.at is None else _time(ask.at)
        if at is None:
            raise RefusalError("the recording is empty; name another")
        try:
            book = recording.book_at(ask.token, at, ask.outcome)
        except (PmliveError, ValueError) as error:
            raise asked(error) from error
        names = Directory(recording.markets)
        trust = book.quality if book.levels is not None else _why_stale(book, recording)
        told = _book(names, book.token_id, utc(book.at), trust)
        if book.levels is None:
            return told
        return _with_levels(told, book.levels.bids[: ask.depth], book.levels.asks[: ask.depth], book.ts_recv)

    # --- recordings ---

    def query_recording(self, ask: QueryRecording) -> Rows:
        """Give rows of a table, or one row of numbers for each token and interval."""
        if is_private(ask.table) and not self._private:
            raise RefusalError(REFUSAL)
        if ask.every is not None and ask.aggregate is None:
            raise RefusalError(
                "every needs aggregate: say how the rows of an interval become one, such as last or mean"
            )
        recording = self._library.open(ask.recording)
        start, end = _optional(ask.start), _optional(ask.end)
        token_id = None if ask.token is None else _token(recording, ask.token, ask.outcome)
        scanned = recording.scan(ask.table, token=token_id, start=start, end=end)
        frame = (chosen if ask.aggregate is None else grouped)(scanned, ask).collect()
        gaps = overlapping(recording.gap_index, token_id, start, end)
        rows = (frame.tail(ask.limit) if ask.last else frame.head(ask.limit)).to_dicts()
        given = _within(
            [plain(row) for row in (touched(rows, recording.gap_index, ask.every) if ask.every else rows)],
            last=ask.last,
        )
        return Rows(
            as_of=utc_now(),
            trust=f"{len(gaps)} gaps touch this range, what came in them is missing" if gaps else "no gaps here",
            rows=given,
            more=len(given) < frame.height,
            gaps=[plain(gap) for gap in gaps[:_GAPS]],
            gaps_total=len(gaps),
        )

    def get_recording_quality(self, ask: GetQuality) -> Quality:
        """Tell what a recording is worth, or list the recordings."""
        if ask.recording is None:
            return self._list(ask.limit)
        recording = self._library.open(ask.recording)
        told = recording.quality()
        names = Directory(recording.markets)
        row = {"name": ask.recording, **_quality(told, names, ask.limit)}
        return Quality(as_of=utc_now(), trust=_verdict(told), recording=row)

    def _list(self, limit: int) -> Quality:
        names = sorted(self._library.names())
        rows = [self._listed(name, self._library.open(name)) for name in names[:limit]]
        return Quality(
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


def _market(market: Market) -> Row:
    outcomes = zip(market.outcomes, market.token_ids, strict=False)
    told = {
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
    return plain({name: value for name, value in told.items() if value is not None})


def _book(names: Directory, token_id: str, as_of: str, trust: str) -> Book:
    return _empty(token_id, names.condition(token_id), names.label(token_id), as_of, trust)


def _empty(token_id: str, condition_id: str, label: str, as_of: str, trust: str) -> Book:
    return Book(
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


def _with_levels(
    book: Book, bids: Sequence[tuple[float, float]], asks: Sequence[tuple[float, float]], ts_recv: datetime | None
) -> Book:
    best_bid, best_ask = (side[0][0] if side else None for side in (bids, asks))
    mid, spread = None, None
    if best_bid is not None and best_ask is not None:
        mid, spread = round((best_bid + best_ask) / 2, 6), round(best_ask - best_bid, 6)
    return msgspec.structs.replace(
        book,
        best_bid=best_bid,
        best_ask=best_ask,
        mid=mid,
        spread=spread,
        bids=[list(level) for level in bids],
        asks=[list(level) for level in asks],
        ts_recv=None if ts_recv is None else utc(ts_recv),
    )


def _why_stale(book: RecordedBook, recording: Recording) -> str:
    at = nanoseconds(book.at)
    causes = dict.fromkeys(gap.cause for gap in recording.gap_index.between(book.token_id, at, at + 1_000, conns=()))
    return f"stale: {', '.join(causes) or 'no book was known'}"


def _token(recording: Recording, named: str, outcome: str | None) -> str:
    try:
        return recording.token(named, outcome)
    except UnknownMarketError as error:
        raise asked(error) from error


def _time(text: str) -> int:
    try:
        return nanoseconds(text)
    except ValueError as error:
        raise RefusalError("a time is not one; write it as 2026-11-23T02:14:07Z") from error


def _optional(text: str | None) -> int | None:
    return None if text is None else _time(text)


def _within(rows: list[Row], *, last: bool) -> list[Row]:
    """Give as many rows as fit into an answer, from the end that was asked for."""
    kept: list[Row] = []
    size = 0
    for row in reversed(rows) if last else rows:
        size += len(msgspec.json.encode(row))
        if kept and size > _MOST_BYTES:
            break
        kept.append(row)
    return kept[::-1] if last else kept


def _quality(told: Report, names: Directory, limit: int) -> Row:
    """Tell the main numbers of a report, and so many of its tokens and faults."""
    whole = told.to_dict()
    tokens = [
        names.token(token.token_id)
        | {"coverage": round(token.coverage, 6), "checks": msgspec.to_builtins(token.checks)}
        for token in told.tokens[:limit]
    ]
    faults = [
        {"cause": fault.cause, "started": fault.started, "ended": fault.ended, "tokens": len(fault.token_ids)}
        for fault in told.faults[:limit]
    ]
    kept = ("ok", "coverage", "first_time", "last_time", "checks", "latency", "skipped", "mirror", "unsealed")
    return plain({name: whole[name] for name in kept}) | {
        "damaged_files": len(told.damaged),
        "minutes_to_distrust": told.distrust["minute"].n_unique(),
        "faults": [fault | {name: _moment(fault[name]) for name in ("started", "ended")} for fault in faults],
        "faults_total": len(told.faults),
        "tokens": tokens,
        "tokens_total": len(told.tokens),
    }


def _moment(time: object) -> str | None:
    return utc(moment(time)) if isinstance(time, int) else None


def _verdict(told: Report) -> str:
    if told.ok:
        return "nothing was missed, found wrong or damaged"
    return f"{len(told.faults)} faults, {told.mismatches} mismatches, {len(told.damaged)} damaged files"
