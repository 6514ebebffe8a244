"""From what a user names to what a socket wants."""

from collections.abc import Iterable, Sequence
from typing import TypeAlias, cast

import msgspec

from pmlive.manager.source import Names
from pmlive.markets import Found, Market, Series, is_long_token_id, is_token_id, reference, tradable

__all__ = ["MarketId", "Wanted", "resolve", "series_of", "texts", "whole"]

MarketId: TypeAlias = str | Market


class Wanted(msgspec.Struct, frozen=True):
    """Tokens to subscribe, and the markets that are known of them.

    ``awaited`` are listed without tokens for now, and ``left_out`` tells why others cannot be taken.
    """

    token_ids: list[str]
    markets: list[Market]
    awaited: list[Market] = []
    left_out: list[str] = []

    @property
    def conditions(self) -> list[str]:
        """List the condition ids."""
        return [market.condition_id for market in self.markets]


def texts(market_ids: object) -> list[MarketId]:
    """Take one id or several, refusing what is no list of them.

    Raises:
        TypeError: not a text, a market, or a sequence of these.
        ValueError: nothing is named.
    """
    if isinstance(market_ids, str | Market):
        return [market_ids]
    if not isinstance(market_ids, Iterable):
        raise TypeError(f"markets are named by text or Market, alone or in a list; got {type(market_ids).__name__}")
    ids: list[MarketId] = []
    for each in cast("Iterable[object]", market_ids):
        if not isinstance(each, str | Market):
            raise TypeError(f"a market is named by text or Market; got {type(each).__name__}")
        ids.append(each)
    if not ids:
        raise ValueError("no market is named; give at least one id, slug or address")
    return ids


def series_of(market_id: MarketId) -> Series | None:
    """Give the rolling series that a text names, if it does."""
    if isinstance(market_id, Market) or reference(market_id).kind != "series":
        return None
    return Series.parse(reference(market_id).value)


async def resolve(catalogue: Names, market_ids: Sequence[MarketId]) -> Wanted:
    """Find every token that is meant; a token id stands for itself, and needs nobody to be asked.

    One of few digits is looked up all the same: it may also be the number of a market.
    """
    bare = [each for each in market_ids if isinstance(each, str) and is_long_token_id(each)]
    given = [each for each in market_ids if isinstance(each, Market)]
    named = [each for each in market_ids if isinstance(each, str) and each not in bare]
    found = await catalogue.found(named) if named else []
    markets, awaited = tradable([*given, *(market for each in found for market in each.markets)])
    token_ids = [*bare, *(token_id for market in given for token_id in market.token_ids)]
    token_ids += [token_id for each in found for token_id in _tokens(each)]
    left_out = [reason for each in found for reason in each.left_out]
    return Wanted(list(dict.fromkeys(token_ids)), _once(markets), _once(awaited), left_out)


async def whole(catalogue: Names, given: Sequence[Market], named: Sequence[str]) -> Wanted:
    """Find the markets that are meant, and all of their tokens."""
    found = await catalogue.found(named) if named else []
    markets, awaited = tradable([*given, *(market for each in found for market in each.markets)])
    token_ids = [token_id for market in markets for token_id in market.token_ids]
    left_out = [reason for each in found for reason in each.left_out]
    return Wanted(list(dict.fromkeys(token_ids)), _once(markets), _once(awaited), left_out)


def _tokens(found: Found) -> list[str]:
    tokens = [token_id for market in found.markets for token_id in market.token_ids]
    named = found.text.strip()
    return [named] if is_token_id(named) and named in tokens else tokens


def _once(markets: Iterable[Market]) -> list[Market]:
    return list({market.condition_id or market.slug: market for market in markets}.values())
