"""Outcomes of recorded markets: which token won, as far as a recording knows."""

from collections.abc import Iterable, Iterator
from typing import TypeAlias

import msgspec
import polars as pl

from pmlive import _wire
from pmlive.errors import StoreError
from pmlive.events import MarketResolved
from pmlive.markets import clean
from pmlive.recording.contents import collect
from pmlive.recording.index import RecordingIndex
from pmlive.recording.summary import RecordedMarket
from pmlive.tables import MARKETS
from pmlive.times import nanoseconds

__all__ = ["outcomes"]

_TOKENS = ("market", "slug", "question", "token_id", "outcome")
# What an entry of the manifest may be found by, the surest first.
_NAMES = ("token_id", "market")
_KNOWN = ("market", "winning_token_id", "winning_outcome", "resolved_at", "source")

_Token: TypeAlias = tuple[str | None, ...]


def outcomes(index: RecordingIndex) -> pl.DataFrame:
    """Return every token that is recorded, or whose market's resolution is, with what is known of its outcome.

    Raises:
        StoreError: a table cannot be read.
    """
    told = _resolutions(index)
    found = _tokens(index, told).join(told.select(_KNOWN), on="market", how="left", maintain_order="left")
    is_winner = pl.col("token_id") == pl.col("winning_token_id")
    by_name = pl.col("outcome").str.to_lowercase() == pl.col("winning_outcome").str.to_lowercase()
    # A market may be recorded by tokens of another version of the venue's protocol than the resolution names.
    named = is_winner.any().over("market", "_told_by") | by_name.is_null()
    return found.select(
        *_TOKENS,
        resolved=pl.col("resolved_at").is_not_null(),
        winner=pl.when(named).then(is_winner).otherwise(by_name),
        resolved_at="resolved_at",
        source="source",
        end_date=_end_date(index.markets),
    )


def _resolutions(index: RecordingIndex) -> pl.DataFrame:
    """Return the last resolution that was told of each market, since it was first told."""
    rows = index.contents.scan("market_events").filter(pl.col("kind").cast(pl.String) == "market_resolved")
    told = collect(index.contents, "market_events", rows).sort("seq")
    once = told.unique(["market", "winning_token_id"], keep="first", maintain_order=True)
    last = once.unique("market", keep="last", maintain_order=True)
    # What the catalogue was asked for came by no connection.
    source = pl.when(pl.col("conn") == 0).then(pl.lit("catalogue")).otherwise(pl.lit("feed"))
    return last.with_columns(source=source, resolved_at=pl.col("ts_recv"))


def _end_date(markets: Iterable[RecordedMarket]) -> pl.Expr:
    """Return when a token's market was to end, as the catalogue said; tokens of another version have it, too."""
    ends = {
        name: nanoseconds(market.end_date)
        for market in markets
        if market.end_date is not None
        for name in (market.condition_id, *market.token_ids)
        if name
    }
    names = (pl.col(column).replace_strict(ends, default=None, return_dtype=pl.Int64) for column in _NAMES)
    return pl.coalesce(*names).cast(MARKETS["end_date"])


def _tokens(index: RecordingIndex, told: pl.DataFrame) -> pl.DataFrame:
    parts = [_of_markets(index.markets), _of_messages(told["payload"].drop_nulls())]
    named = [pl.DataFrame(list(part), schema=dict.fromkeys(_TOKENS, pl.String), orient="row") for part in parts]
    books = index.contents.scan("book_snapshots").select("market", "token_id").unique().sort("market", "token_id")
    rest = collect(index.contents, "book_snapshots", books)
    whole = pl.concat(
        [part.with_columns(_told_by=pl.lit(number)) for number, part in enumerate((*named, rest))], how="diagonal"
    )
    return whole.unique("token_id", keep="first", maintain_order=True)


def _of_markets(markets: Iterable[RecordedMarket]) -> Iterator[_Token]:
    for market in markets:
        yield from _rows(market.condition_id, market.slug, market.question, market.token_ids, market.outcomes)


def _of_messages(payloads: Iterable[str]) -> Iterator[_Token]:
    for payload in payloads:
        told = _read(payload)
        names = [clean(name) for name in told.outcomes]
        yield from _rows(told.market, clean(told.slug), clean(told.question), told.token_ids, names)


def _read(payload: str) -> MarketResolved:
    """Read a resolution as the socket told it, or under our own names, as it was made of an answer of the catalogue."""
    try:
        return msgspec.json.decode(payload, type=MarketResolved)
    except msgspec.MsgspecError:
        told = [event for event in _wire.decode("market", payload.encode()) if isinstance(event, MarketResolved)]
    if not told:
        raise StoreError(f"a resolution in 'market_events' is not a message of one: {payload[:100]!r}")
    return told[0]


def _rows(market: str, slug: str, question: str, token_ids: list[str], names: list[str]) -> Iterator[_Token]:
    for place, token_id in enumerate(token_ids):
        name = names[place] if place < len(names) else None
        yield market, slug or None, question or None, token_id, name
