"""The top of each book that a manager has, in a row for each token, as a table of all markets shows them."""

from typing import Literal, TypeAlias

import msgspec

from pmlive.events import Gap
from pmlive.manager.engine import Engine
from pmlive.markets import Market
from pmlive.pipeline import Token

__all__ = ["TokenTop", "TopState", "Tops", "tops"]

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
