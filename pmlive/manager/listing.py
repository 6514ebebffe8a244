"""Markets that are listed without tokens for now, and who waits for them."""

import asyncio
from collections.abc import Callable, Sequence

from msgspec.structs import replace

from pmlive.errors import PmliveError
from pmlive.events import NewMarket
from pmlive.logs import get_logger
from pmlive.manager.source import Source
from pmlive.manager.subscriptions import Subscription
from pmlive.markets import Market, is_token_id

__all__ = ["Begin", "Listing"]

logger = get_logger(__name__)

_NAMED = 10

# Lets a subscription have a market that it waited for.
Begin = Callable[[Subscription, Market], None]


class Listing:
    """Gives markets to the subscriptions that wait for them, as soon as the venue says which tokens they have.

    Everything happens in the loop of the feed. The catalogue is asked each ``every`` seconds while anybody waits.
    """

    def __init__(self, source: Source, begin: Begin, every: float) -> None:
        self._source = source
        self._begin = begin
        self._every = every
        self._waiting: dict[str, tuple[Market, list[Subscription]]] = {}

    def add(self, subscription: Subscription, markets: Sequence[Market]) -> None:
        """Let a subscription wait for markets."""
        if not markets:
            return
        for market in markets:
            self._waiting.setdefault(_name(market), (market, []))[1].append(subscription)
        subscription.awaited = [_name(market) for market in markets]
        self._source.on_new_market = self._take_message
        logger.warning(
            "%d markets are listed without token ids for now, and are followed as soon as they have them: %s",
            len(markets),
            ", ".join(subscription.awaited[:_NAMED]),
        )

    async def run(self) -> None:
        """Ask the catalogue, until cancelled."""
        while True:
            await asyncio.sleep(self._every)
            self._forget_closed()
            if self._waiting:
                await self._ask()

    async def _ask(self) -> None:
        wanted = [market for market, _ in self._waiting.values()]
        try:
            found = await self._source.catalogue.now(wanted, "open")
        except PmliveError as error:
            logger.warning("markets that have no token ids yet could not be looked up, trying again: %s", error)
            return
        for market in found:
            if market.token_ids:
                self._take(market)

    def _take_message(self, event: NewMarket) -> None:
        known = next((self._waiting[name] for name in (event.slug, event.market) if name in self._waiting), None)
        if known is None or not event.token_ids or not all(map(is_token_id, event.token_ids)):
            return
        self._take(replace(known[0], token_ids=event.token_ids, outcomes=event.outcomes or known[0].outcomes))

    def _take(self, market: Market) -> None:
        _, subscriptions = self._waiting.pop(_name(market), (market, []))
        for subscription in subscriptions:
            subscription.awaited = [name for name in subscription.awaited if name != _name(market)]
            if not subscription.closed:
                self._begin(subscription, market)
        if subscriptions:
            logger.info("market %s has token ids now, and is followed", _name(market))
        self._forget_closed()

    def _forget_closed(self) -> None:
        """Wait for nothing on behalf of subscriptions that ended."""
        self._waiting = {
            name: (market, waiting)
            for name, (market, subscriptions) in self._waiting.items()
            if (waiting := [one for one in subscriptions if not one.closed])
        }
        if not self._waiting:
            self._source.on_new_market = None


def _name(market: Market) -> str:
    return market.slug or market.condition_id
