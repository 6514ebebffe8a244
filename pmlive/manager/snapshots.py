"""What charts and callers are shown of a manager: a book, or all that several charts ask for at one moment."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Literal, TypeAlias, TypedDict

import msgspec
import polars as pl

from pmlive.errors import BookError
from pmlive.events import Gap, epoch_ns
from pmlive.ladder import Pretty, ladder_lines, pretty
from pmlive.levels import Levels, price_decimals
from pmlive.manager.engine import Engine
from pmlive.manager.status import Status
from pmlive.manager.tops import Tops, tops
from pmlive.markets.market import clean
from pmlive.pipeline import Token
from pmlive.times import moment, utc

__all__ = [
    "AwaitedError",
    "BookView",
    "Cursor",
    "Query",
    "Snapshot",
    "TableRows",
    "book_view",
    "short_label",
    "snapshots",
]

# So many digits of either end of a token id are shown.
_END = 6
_LONGEST_WINNER = 40


class AwaitedError(BookError):
    """The opening book of a token is on its way."""


BookState: TypeAlias = Literal["verified", "unverifiable"]


class BookView(Levels, frozen=True, kw_only=True):
    """A trusted book at one moment: levels are (price in dollars per share, size in shares), best first.

    ``state`` is ``verified`` when the book had the venue's hash when it was checked last, which is up to 0.2 s after a
    change of it, and ``unverifiable`` when that could not be told. Empty sides have no price. ``tick_size`` is in
    dollars, None until the venue has stated it.
    """

    token_id: str
    market: str
    label: str
    state: BookState
    ts_event: datetime
    ts_recv: datetime
    tick_size: float | None = None

    def __repr__(self) -> str:
        """Show the top in one line."""
        return f"<Book of {self.label}: {self.top}, {self.state}>"

    def __str__(self) -> str:
        """Show the best levels as a ladder, with how far they can be trusted."""
        note = f"{self.state} at {utc(self.ts_recv)} UTC, spread {_spread_text(self)}"
        return "\n".join([self.label, note, "", *ladder_lines(self)])

    def _repr_pretty_(self, printer: Pretty, cycle: object) -> None:
        del cycle
        pretty(self, printer)

    def _repr_html_(self) -> str:
        return self.html(f"{self.label} ({self.state})")


def _spread_text(book: Levels) -> str:
    if book.spread is None:
        return "unknown, since a side is empty"
    return f"{book.spread:.{price_decimals([book.spread])}f}"


def book_view(token: Token, label: str, depth: int | None, *, stopped: Gap | None = None) -> BookView:
    """Copy a book; while all that the process missed when it was ``stopped`` is not read yet there is none.

    Raises:
        BookError: the book cannot be trusted now.
    """
    if (gap := token.gap or stopped) is not None:
        back = "the next whole book or a hash that fits" if token.gap else "what was sent meanwhile has been read"
        raise BookError(
            f"the book of {label} cannot be trusted since {utc(gap.started)} UTC ({gap.cause}: {gap.detail}); "
            f"it is back after {back}",
            cause=gap.cause,
            since=moment(gap.started),
        )
    if token.over and not token.conn:
        raise BookError(f"the market of {label} was resolved; it has no book any more")
    if not token.conn:
        raise AwaitedError(f"the book of {label} has not come yet; try again in a moment")
    return BookView(
        token_id=token.id,
        market=token.market,
        label=label,
        bids=token.book.levels("bid", depth),
        asks=token.book.levels("ask", depth),
        state="verified" if token.verified() else "unverifiable",
        ts_event=moment(epoch_ns(token.timestamp)),
        ts_recv=moment(token.heard),
        tick_size=_dollars(token.proof.facts.tick_size),
    )


def _dollars(text: str | None) -> float | None:
    return None if text is None else float(text)


class Cursor(msgspec.Struct, frozen=True):
    """How far a table was read: so many rows, in this era of the frames (a replay that jumps begins another)."""

    era: int
    rows: int


class Query(msgspec.Struct, frozen=True, kw_only=True):
    """What a chart wants: rows of tables, a token's book, the trust in those of others, the status, the tops.

    Of a table, the rows from a cursor on, the last so many, or all of them; of the tops, those of so many books.
    """

    tables: Mapping[str, Cursor | int | None] = {}
    token_id: str | None = None
    trusted: tuple[str, ...] = ()
    depth: int | None = None
    status: bool = False
    tops: int = 0


class TableRows(msgspec.Struct, frozen=True):
    """Rows of a table up to a cursor, all that there are if ``whole``, and otherwise those since the last cursor."""

    frame: pl.DataFrame
    cursor: Cursor
    whole: bool


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to a query, as of ``now`` (nanoseconds since 1970; of the recording, where one is played).

    Without ``book``, ``unavailable_because`` says why, and ``resolved`` who won once its market is resolved.
    ``labels`` names every token that is wanted or has a book, and ``doubts`` says why books of which that was asked
    cannot be trusted.
    """

    now: int
    tables: dict[str, TableRows]
    gaps: pl.DataFrame
    labels: dict[str, str]
    book: BookView | None = None
    unavailable_because: str = ""
    resolved: str = ""
    doubts: dict[str, str] = {}
    status: Status | None = None
    tops: Tops | None = None


def snapshots(engine: Engine, queries: Sequence[Query]) -> list[Snapshot]:
    """Answer several queries as of one moment; call it in the feed thread."""
    gaps = engine.started().ingest.frame("gaps")
    labels = _labels(engine)
    status = engine.status() if any(each.status for each in queries) else None
    # Several charts may follow a table from the same row on.
    wanted = {(table, cursor) for each in queries for table, cursor in each.tables.items()}
    tables = {(table, cursor): _rows(engine, table, cursor) for table, cursor in wanted}
    return [
        Snapshot(
            now=engine.started().clock(),
            tables={table: tables[table, cursor] for table, cursor in each.tables.items()},
            gaps=gaps,
            labels=labels,
            status=status if each.status else None,
            tops=tops(engine, each.tops) if each.tops else None,
            doubts=_doubts(engine, each, labels),
            resolved=_resolved(engine, each.token_id) if each.token_id else "",
            **_book(engine, each, labels),
        )
        for each in queries
    ]


def short_label(token_id: str) -> str:
    """Name a token that nothing is known of, by the ends of its 77 digits."""
    return f"token {token_id}" if len(token_id) <= 2 * _END else f"token {token_id[:_END]}…{token_id[-_END:]}"


def _rows(engine: Engine, table: str, since: Cursor | int | None) -> TableRows:
    ingest = engine.started().ingest
    rolling = ingest.frames[table]
    if isinstance(since, int):
        return TableRows(rolling.since(rolling.added - since), Cursor(ingest.era, rolling.added), whole=True)
    if since is None or since.era != ingest.era:
        return TableRows(ingest.frame(table), Cursor(ingest.era, rolling.added), whole=True)
    return TableRows(rolling.since(since.rows), Cursor(ingest.era, rolling.added), whole=False)


def _labels(engine: Engine) -> dict[str, str]:
    source, wants = engine.started(), engine.registry.wants
    books = source.ingest.pipeline.books.tokens
    known = [token_id for market in engine.markets.values() for token_id in market.token_ids]
    shown = [token_id for token_id in known if source.recorded or token_id in books or wants("market", token_id)]
    return {token_id: engine.labels.get(token_id) or short_label(token_id) for token_id in (*shown, *books)}


class _Availability(TypedDict):
    book: BookView | None
    unavailable_because: str


def _resolved(engine: Engine, token_id: str) -> str:
    pipeline = engine.started().ingest.pipeline
    token = pipeline.books.tokens.get(token_id)
    market = engine.market_of(token_id) if token is None or not token.market else token.market
    if market in pipeline.resolved:
        winner = clean(pipeline.resolved[market][1].winning_outcome, _LONGEST_WINNER)
        return f"resolved, {winner} won" if winner else "resolved without a winner"
    return ""


def _doubts(engine: Engine, query: Query, labels: dict[str, str]) -> dict[str, str]:
    found = {each: _book_of(engine, each, 0, labels)["unavailable_because"] for each in query.trusted}
    return {token_id: reason for token_id, reason in found.items() if reason}


def _book(engine: Engine, query: Query, labels: dict[str, str]) -> _Availability:
    if query.token_id is None:
        return {"book": None, "unavailable_because": ""}
    return _book_of(engine, query.token_id, query.depth, labels)


def _book_of(engine: Engine, token_id: str, depth: int | None, labels: dict[str, str]) -> _Availability:
    token = engine.token(token_id)
    if token is None:
        over = token_id in engine.started().settled
        reason = "the market was resolved; it has no book any more" if over else "no book of it has come yet"
        return {"book": None, "unavailable_because": reason}
    label, stopped = labels.get(token.id) or short_label(token.id), engine.started().ingest.pipeline.stopped
    try:
        return {"book": book_view(token, label, depth, stopped=stopped), "unavailable_because": ""}
    except BookError as error:
        return {"book": None, "unavailable_because": str(error)}
