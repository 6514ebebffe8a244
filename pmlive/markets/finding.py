"""One question to the catalogue, from wherever it is asked."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

from pmlive.markets.catalogue import Catalogue
from pmlive.markets.market import Market
from pmlive.settings import Venue

__all__ = ["find"]


def find(text: str, venue: Venue | None = None) -> list[Market]:
    """Find what a text means: an address, an id, a slug, a series, or words to search for.

    It works the same in a script and in a notebook, whose event loop goes on waiting meanwhile.

    Raises:
        ValueError: the text cannot name a market.
        UnknownMarketError: the venue does not know the id, the slug or the address.
        FeedError: the venue cannot be asked.
    """
    if not _in_a_loop():
        return asyncio.run(_find(text, venue))
    with ThreadPoolExecutor(1, thread_name_prefix="pmlive-find") as thread:
        return thread.submit(asyncio.run, _find(text, venue)).result()


def _in_a_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


async def _find(text: str, venue: Venue | None) -> list[Market]:
    async with Catalogue(venue) as catalogue:
        return await catalogue.find(text)
