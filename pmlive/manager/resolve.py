"""From what a user names to what a socket wants."""

from collections.abc import Iterable, Sequence
from typing import TypeAlias, cast

import msgspec

from pmlive.manager.source import Names
from pmlive.markets import Market, Series, reference

__all__ = ["MarketId", "Wanted", "resolve", "series_of", "texts"]

MarketId: TypeAlias = str | Market


class Wanted(msgspec.Struct, frozen=True):
    """Tokens to subscribe, and the markets that are known of them."""

    token_ids: list[str]
    markets: list[Market]

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
    """Find every token that is meant; a token id stands for itself, and needs nobody to be asked."""
    bare = [each for each in market_ids if isinstance(each, str) and _is_token(each)]
    given = [each for each in market_ids if isinstance(each, Market)]
    named = [each for each in market_ids if isinstance(each, str) and each not in bare]
    markets = given + (await catalogue.markets(named) if named else [])
    token_ids = bare + [token_id for market in markets for token_id in market.token_ids]
    return Wanted(list(dict.fromkeys(token_ids)), markets)


def _is_token(text: str) -> bool:
    return text.isascii() and text.isdigit() and reference(text).kind == "token id"
