"""What was found of one text that names markets."""

from collections.abc import Sequence

import msgspec

from pmlive.errors import UnknownMarketError
from pmlive.markets.market import Market

__all__ = ["Found", "tradable"]

_NAMED = 10


class Found(msgspec.Struct, frozen=True):
    """The markets that a text means, and why others that it means as well could not be taken."""

    text: str
    markets: list[Market]
    left_out: list[str] = []


def tradable(markets: Sequence[Market]) -> tuple[list[Market], list[Market]]:
    """Tell the markets that have tokens from those that are listed without for now, whose event has others that do.

    Raises:
        UnknownMarketError: a market has none, and neither has its event.
    """
    whole = [market for market in markets if market.token_ids]
    events = {market.event_slug for market in whole if market.event_slug}
    bare = [market for market in markets if not market.token_ids]
    alone = [market for market in bare if market.event_slug not in events]
    if alone:
        names = ", ".join(repr(market.slug or market.condition_id) for market in alone[:_NAMED])
        raise UnknownMarketError(
            f"{names} {'is' if len(alone) == 1 else 'are'} listed without token ids, so there is nothing to ask the "
            "venue for yet; a market that was made just now has them within minutes, so try again then"
        )
    return whole, bare
