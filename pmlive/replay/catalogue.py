"""The catalogue of a replay: the markets in the manifests of recordings, with the interface of the venue's."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal

import msgspec

from pmlive.errors import StoreError, UnknownMarketError
from pmlive.markets import Found, Market, clean, reference
from pmlive.store import read_manifest

__all__ = ["RecordedCatalogue", "recorded_markets"]

_NAMED = 6


def recorded_markets(folder: Path) -> list[Market]:
    """List the markets in a recording's manifest, with their texts, which are untrusted, cleaned.

    Raises:
        StoreError: the folder is not a recording, or its manifest describes something else.
    """
    try:
        markets = msgspec.convert(read_manifest(folder).markets, type=list[Market])
    except msgspec.ValidationError as error:
        raise StoreError(f"the markets in the manifest of {str(folder)!r} cannot be read ({error})") from error
    return [_cleaned(market) for market in markets]


def _cleaned(market: Market) -> Market:
    texts = {name: clean(getattr(market, name)) for name in ("condition_id", "slug", "event_slug", "question")}
    lists = {name: [clean(text) for text in getattr(market, name)] for name in ("outcomes", "token_ids")}
    return msgspec.structs.replace(market, **texts, **lists)


class RecordedCatalogue:
    """Finds recorded markets by slug, condition id, token id or address, without asking the venue."""

    def __init__(self, markets: Iterable[Market]) -> None:
        self.known: dict[str, Market] = {market.condition_id or market.slug: market for market in markets}

    async def markets(self, texts: Iterable[str]) -> list[Market]:
        """List the markets that some texts identify.

        Raises:
            UnknownMarketError: the recording has no such market.
        """
        found = [market for text in texts for market in self._matching(text)]
        return list({market.condition_id: market for market in found}.values())

    async def found(self, texts: Iterable[str]) -> list[Found]:
        """List the markets that each text identifies.

        Raises:
            UnknownMarketError: the recording has no such market.
        """
        return [Found(text, self._matching(text)) for text in texts]

    async def now(self, _markets: Sequence[Market], _state: Literal["open", "closed"], /) -> list[Market]:
        """Return an empty list: the present state of recorded markets is not known."""
        return []

    async def by_tokens(self, token_ids: Sequence[str]) -> dict[str, Market]:
        """Return the markets of tokens, by token; unknown tokens are left out."""
        wanted = set(token_ids)
        return {token: market for market in self.known.values() for token in market.token_ids if token in wanted}

    def of_series(self, name: str) -> list[Market]:
        """List the markets of a rolling series such as ``btc-updown-5m``."""
        return [market for market in self.known.values() if market.slug.startswith(f"{name}-")]

    def _matching(self, text: str) -> list[Market]:
        meant = reference(text)
        names = {meant.value, text}
        found = [
            market
            for market in self.known.values()
            if names & {market.condition_id, market.slug, market.event_slug, *market.token_ids}
        ]
        exact = [market for market in found if market.event_slug not in names]
        if found:
            return exact or found
        slugs = ", ".join(market.slug or market.condition_id for market in list(self.known.values())[:_NAMED])
        raise UnknownMarketError(f"the recording has no market {text[:100]!r}; it has {slugs or 'none with a name'}")
