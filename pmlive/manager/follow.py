"""Following what changes by itself: series whose next market begins before the last one ends, and resolutions."""

import asyncio
import time
from collections.abc import Awaitable, Callable

from pmlive.errors import PmliveError, UnknownMarketError
from pmlive.events import MarketResolved
from pmlive.logs import get_logger
from pmlive.markets import Catalogue, Market, Series

__all__ = ["follow", "resolution"]

logger = get_logger(__name__)

# The next market is subscribed this share of a step before the present one ends, at most this many seconds before.
_LEAD_SHARE = 0.5
_LEAD_MOST = 60.0
# A market that ended is kept until it was settled, which the venue does within minutes.
_KEPT_AFTER = 600.0
_RETRY = 2.0
# A catalogue that cannot be asked, or refuses, is asked less and less often.
_RETRY_MOST = 60.0


async def follow(
    series: Series,
    catalogue: Catalogue,
    add: Callable[[Market], Awaitable[None]],
    drop: Callable[[Market], Awaitable[None]],
) -> None:
    """Subscribe the market of a series that runs now, each next one before its time, and drop those long ended."""
    kept: dict[str, Market] = {}
    slug = series.slug_at(time.time())
    lead = min(_LEAD_MOST, series.step * _LEAD_SHARE)
    while True:
        await asyncio.sleep(max(0.0, series.start_of(slug) - lead - time.time()))
        market = await _when_listed(catalogue, slug, until=series.end_of(slug))
        if market is not None:
            kept[slug] = market
            await add(market)
        for ended in [one for one in kept if series.end_of(one) + _KEPT_AFTER < time.time()]:
            await drop(kept.pop(ended))
        slug = series.following(slug)


async def _when_listed(catalogue: Catalogue, slug: str, *, until: float) -> Market | None:
    """Wait for a market to appear in the catalogue with its tokens; give up when it has ended."""
    pause = _RETRY
    while time.time() < until:
        try:
            market = await catalogue.market(slug)
        except UnknownMarketError:
            pause = _RETRY
            logger.debug("market %s is not listed yet", slug)
        except PmliveError as error:
            pause = min(_RETRY_MOST, pause * 2)
            logger.warning("the next market of a series cannot be looked up, trying again: %s", error)
        else:
            pause = _RETRY
            if market.token_ids:
                return market
        await asyncio.sleep(pause)
    logger.warning("market %s was not listed before it ended; it is missing", slug)
    return None


def resolution(market: Market, now: int) -> MarketResolved | None:
    """Tell a market's resolution, at our time in nanoseconds, from its catalogue entry; None while there is none.

    One that was settled by a split has no winner.
    """
    if not market.resolved:
        return None
    winner = market.winner or ""
    return MarketResolved(
        market=market.condition_id,
        timestamp=now // 1_000_000,
        token_ids=market.token_ids,
        winning_token_id=market.tokens.get(winner, ""),
        winning_outcome=winner,
        id=market.id,
        question=market.question,
        slug=market.slug,
        outcomes=market.outcomes,
    )
