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


def tradable(found: Sequence[Market]) -> tuple[list[Market], list[Market]]:
    """Tell the markets that have tokens from those that are listed without, for now, among markets that are one thing.

    Raises:
        UnknownMarketError: none has any.
    """
    whole = [market for market in found if market.token_ids]
    bare = [market for market in found if not market.token_ids]
    if bare and not whole:
        names = ", ".join(repr(market.slug or market.condition_id) for market in bare[:_NAMED])
        raise UnknownMarketError(
            f"{names} {'is' if len(bare) == 1 else 'are'} listed without token ids, so there is nothing to ask the "
            "venue for yet; a market that was made just now has them within minutes, so try again then"
        )
    return whole, bare
