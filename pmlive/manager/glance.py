"""What somebody who looks at a manager sees at one moment; each visit to the feed thread fetches all of it."""

from collections.abc import Mapping, Sequence
from typing import TypedDict

import msgspec
import polars as pl

from pmlive.errors import BookError
from pmlive.manager.engine import Engine
from pmlive.manager.status import Status
from pmlive.manager.views import BookView, view

__all__ = ["Asked", "Glance", "Mark", "News", "glance", "short_label"]


# So many digits of either end of a token id are shown.
_END = 6


class Mark(msgspec.Struct, frozen=True):
    """How far a table was read: so many rows, in this era of the frames (a replay that jumps begins another)."""

    era: int
    rows: int


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What is looked for: rows of tables, a token's book, the status.

    Of a table, the rows from a mark on, the last so many, or all of them.
    """

    tables: Mapping[str, Mark | int | None] = {}
    token_id: str | None = None
    depth: int | None = None
    status: bool = False


class News(msgspec.Struct, frozen=True):
    """Rows of a table up to a mark; ``whole`` where they are all there are and not only those since the last mark."""

    frame: pl.DataFrame
    mark: Mark
    whole: bool


class Glance(msgspec.Struct, frozen=True, kw_only=True):
    """What was seen at ``now`` (nanoseconds since 1970; of the recording, where one is played).

    Without ``book``, ``doubt`` says why. ``labels`` names every token that is wanted or has a book.
    """

    now: int
    news: dict[str, News]
    gaps: pl.DataFrame
    labels: dict[str, str]
    book: BookView | None = None
    doubt: str = ""
    status: Status | None = None


def glance(engine: Engine, asked: Sequence[Asked]) -> list[Glance]:
    """Look for several at once; in the feed thread."""
    gaps = engine.started().desk.frame("gaps")
    labels = _labels(engine)
    status = engine.status() if any(each.status for each in asked) else None
    # Several charts may follow a table from the same row on.
    wanted = {(table, mark) for each in asked for table, mark in each.tables.items()}
    news = {(table, mark): _news(engine, table, mark) for table, mark in wanted}
    return [
        Glance(
            now=engine.started().clock(),
            news={table: news[table, mark] for table, mark in each.tables.items()},
            gaps=gaps,
            labels=labels,
            status=status if each.status else None,
            **_book(engine, each, labels),
        )
        for each in asked
    ]


def short_label(token_id: str) -> str:
    """Name a token that nothing is known of, by the ends of its 77 digits."""
    return f"token {token_id}" if len(token_id) <= 2 * _END else f"token {token_id[:_END]}…{token_id[-_END:]}"


def _news(engine: Engine, table: str, since: Mark | int | None) -> News:
    desk = engine.started().desk
    rolling = desk.frames[table]
    if isinstance(since, int):
        return News(rolling.since(rolling.added - since), Mark(desk.era, rolling.added), whole=True)
    if since is None or since.era != desk.era:
        return News(desk.frame(table), Mark(desk.era, rolling.added), whole=True)
    return News(rolling.since(since.rows), Mark(desk.era, rolling.added), whole=False)


def _labels(engine: Engine) -> dict[str, str]:
    source, wants = engine.started(), engine.registry.wants
    books = source.desk.pipeline.books.tokens
    known = [token_id for market in engine.markets.values() for token_id in market.token_ids]
    shown = [token_id for token_id in known if source.recorded or token_id in books or wants("market", token_id)]
    return {token_id: engine.labels.get(token_id) or short_label(token_id) for token_id in (*shown, *books)}


class _Seen(TypedDict):
    book: BookView | None
    doubt: str


def _book(engine: Engine, asked: Asked, labels: dict[str, str]) -> _Seen:
    if asked.token_id is None:
        return {"book": None, "doubt": ""}
    token = engine.token(asked.token_id)
    if token is None:
        over = asked.token_id in engine.started().settled
        doubt = "the market was resolved; it has no book any more" if over else "no book of it has come yet"
        return {"book": None, "doubt": doubt}
    label, stopped = labels.get(token.id) or short_label(token.id), engine.started().desk.pipeline.stopped
    try:
        return {"book": view(token, label, asked.depth, stopped=stopped), "doubt": ""}
    except BookError as error:
        return {"book": None, "doubt": str(error)}
