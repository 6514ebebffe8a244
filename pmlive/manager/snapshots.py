"""What charts and callers see of a manager: books, best prices, tokens, and all of one moment."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from importlib import import_module
from typing import TYPE_CHECKING, Generic, Literal, TypeAlias, TypedDict, TypeVar

import msgspec
import polars as pl

from pmlive.errors import BookError
from pmlive.events import Gap, epoch_ns
from pmlive.levels import Levels, Pretty, ladder_lines, pretty, price_decimals
from pmlive.manager.engine import Engine
from pmlive.manager.subscriptions import Status
from pmlive.markets import Market
from pmlive.markets.market import NamedMarket, clean
from pmlive.pipeline import Token
from pmlive.times import Interval, moment, utc

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = [
    "AwaitedError",
    "BookView",
    "Cursor",
    "HasTokens",
    "Key",
    "Query",
    "Snapshot",
    "TableRows",
    "TokenRows",
    "TokenTop",
    "TokenView",
    "TopState",
    "Tops",
    "book_view",
    "key_parts",
    "short_label",
    "snapshots",
    "tops",
]


# --- the top of each book ---
# The top of each book that a manager has, in a row for each token, as a table of all markets shows them.

TopState: TypeAlias = Literal["verified", "unverifiable", "stale", "none", "over"]


class TokenTop(msgspec.Struct, frozen=True, kw_only=True):
    """The best prices of one token, in dollars per share, and how far they can be trusted.

    ``question`` is the market's, or the token id where nothing is known of it. ``state`` is that of the book:
    ``stale`` with the ``cause`` of the gap, ``none`` before its first book, and ``over`` after the resolution. A book
    that cannot be trusted has no prices, and an empty side none. ``messages`` came so far; ``tick_size`` is the venue's
    text.
    """

    token_id: str
    question: str
    outcome: str
    state: TopState
    cause: str
    best_bid: float | None
    best_ask: float | None
    messages: int
    tick_size: str | None


class Tops(msgspec.Struct, frozen=True, kw_only=True):
    """The tops of some tokens, and the number of all that are followed."""

    shown: list[TokenTop]
    tokens: int


def tops(engine: Engine, most: int) -> Tops:
    """Return the tops of at most ``most`` tokens, in the order of the markets; call it in the feed thread.

    Where there are more tokens, those whose books cannot be trusted come first.
    """
    source = engine.started()
    books = source.ingest.pipeline.books.tokens
    listed = {token_id: market for market in engine.markets.values() for token_id in market.token_ids}
    wanted = [each for each in listed if each in books or engine.registry.wants("market", each)]
    found = [books.get(each) or Token(each) for each in dict.fromkeys((*wanted, *books))]
    if len(found) > most:
        found.sort(key=Token.trusted)
    stopped = source.ingest.pipeline.stopped
    return Tops(shown=[_top(token, listed.get(token.id), stopped) for token in found[:most]], tokens=len(found))


def _top(token: Token, market: Market | None, stopped: Gap | None) -> TokenTop:
    state, gap = _state(token, stopped), token.gap or stopped
    is_known = state in {"verified", "unverifiable"}
    return TokenTop(
        token_id=token.id,
        question=token.id if market is None else market.question or market.slug or market.condition_id,
        outcome="" if market is None else market.outcome_of(token.id),
        state=state,
        cause="" if gap is None else gap.cause,
        best_bid=token.book.best_bid if is_known else None,
        best_ask=token.book.best_ask if is_known else None,
        messages=token.messages,
        tick_size=None if market is None else market.tick_size,
    )


def _state(token: Token, stopped: Gap | None) -> TopState:
    if token.over and not token.conn:
        return "over"
    return "stale" if stopped is not None and token.conn else token.state


# --- snapshots ---

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


# --- one token ---
# One token of a manager or of a recording, by the names that people give it: its rows, its book, a picture.

# What stands in brackets: a token id or an outcome alone, or a market and its outcome.
Key: TypeAlias = str | tuple[str, str]
# The tables that tell of one token, and the gaps that concern it.
TokenRows: TypeAlias = Literal["prices", "depth", "trades", "gaps"]
B_co = TypeVar("B_co", covariant=True)


class HasTokens(ABC):
    """What has tokens of markets, such as a manager; IPython completes what stands in its brackets."""

    @property
    @abstractmethod
    def markets(self) -> Sequence[NamedMarket]:
        """The markets that are known."""

    def _ipython_key_completions_(self) -> list[tuple[str, str]]:
        return [(market.slug, outcome) for market in self.markets for outcome in market.outcomes]


class TokenView(Generic[B_co]):
    """One token of a manager or of a recording; what it shows is as of now each time.

    Columns are those of the manager's frames of these names, whichever it is of.
    """

    def __init__(
        self,
        token_id: str,
        names: tuple[str, str],
        label: str,
        *,
        rows: Callable[[TokenRows], pl.DataFrame],
        book: Callable[[], B_co],
        end: Callable[[], int],
        simulated: Callable[[], bool],
    ) -> None:
        self.token_id = token_id
        self.slug, self.outcome = names
        self.label = label
        self._rows = rows
        self._book = book
        self._end = end
        self._simulated = simulated

    @property
    def simulated(self) -> bool:
        """Whether its venue is known to be a simulated one."""
        return self._simulated()

    @property
    def prices(self) -> pl.DataFrame:
        """The changes of the best prices (dollars a share) and of what rests there (shares)."""
        return self._rows("prices")

    @property
    def depth(self) -> pl.DataFrame:
        """The best levels, a row for each change that lasted for a tenth of a second."""
        return self._rows("depth")

    @property
    def trades(self) -> pl.DataFrame:
        """The trades, with the taker's side."""
        return self._rows("trades")

    @property
    def gaps(self) -> pl.DataFrame:
        """The intervals in which the book could not be trusted, or trades may be missing."""
        return self._rows("gaps")

    def book(self) -> B_co:
        """Return the book as it is now, or as it was at the end of the recording.

        Raises:
            BookError: the book of a manager cannot be trusted now.
        """
        return self._book()

    def plot(
        self, ax: "Axes | None" = None, *, kind: Literal["prices", "candles"] = "prices", every: Interval = "1m"
    ) -> "Axes":
        """Draw bid, ask and mid over time with trades and gaps; return the axes, which are new ones by default.

        Args:
            ax: where to draw.
            kind: ``"candles"`` draws candles of the mid instead, with the shares that were traded below.
            every: the length of a candle, such as ``"15s"``.

        Raises:
            ImportError: the extra ``pmlive[jupyter]`` is not installed.
            ValueError: ``kind`` is not one of its two words, or ``every`` is not an interval.
        """
        widgets = import_module("pmlive.widgets")
        match kind:
            case "prices":
                return widgets.plot_token(self, self._end(), ax)
            case "candles":
                return widgets.plot_candles(self, self._end(), ax, every=every)
            case _:
                raise ValueError(f"invalid kind {kind!r}; expected 'prices' or 'candles'")

    def __repr__(self) -> str:
        """Return what it is of, in one line."""
        return f"<{self.label}: token {self.token_id}>"


def key_parts(key: Key) -> tuple[str, str | None]:
    """Split what stands in brackets into a name and an outcome.

    Raises:
        TypeError: it is neither a name nor a pair of names.
    """
    match key:
        case str():
            return key, None
        case (str(), str()):
            return key
        case _:
            raise TypeError(
                f"expected a token id, or a market and an outcome such as ['will-it-rain', 'Yes']; got {key!r}"
            )
