"""The ways in which a manager subscribes: markets and those to come, the user's own, keys of a channel."""

import asyncio
import inspect
from collections.abc import Iterable, Sequence
from functools import partial

from pmlive.credentials import Credentials
from pmlive.errors import AuthError, FeedError, PmliveError, UnknownMarketError
from pmlive.events import Channel
from pmlive.manager.engine import Engine
from pmlive.manager.keys import MarketId, Wanted, market_list
from pmlive.manager.subscriptions import CallbackType, Consumer, Handler, Subscription, SubscriptionType
from pmlive.markets import Series

__all__ = ["Subscribing", "streamed", "words"]


class Subscribing:
    """Make subscriptions of an engine, whose updates the manager's callbacks and functions of their own get."""

    def __init__(self, engine: Engine, handlers: dict[CallbackType, Handler | None]) -> None:
        self._engine = engine
        self._handlers = handlers
        try:
            self._caller_loop: asyncio.AbstractEventLoop | None = asyncio.get_running_loop()
        except RuntimeError:
            self._caller_loop = None

    def consumer(self, handler: Handler) -> Consumer:
        """Return what calls a function with updates, or runs a coroutine function in the caller's loop, if any."""
        return Consumer(handler, self._caller_loop if inspect.iscoroutinefunction(handler) else None)

    def trouble(self, subscription: Subscription) -> PmliveError | None:
        """Return why nothing comes for a subscription any more; None while it may."""
        source = self._engine.started()
        channels = subscription.by_channel(subscription.keys) or {subscription.channel: []}
        errors = [source.errors[channel] for channel in channels if channel in source.errors]
        refused = [f"{key.split('|')[1]}: {source.refused[key]}" for key in subscription.keys if key in source.refused]
        if errors or not refused:
            return next(iter(errors), None)
        return FeedError(f"the venue refuses {'; '.join(refused)}")

    def user(
        self,
        type_: SubscriptionType,
        market_ids: MarketId | Sequence[MarketId] | None,
        callback_type: CallbackType,
        on_event: Handler | None,
    ) -> Subscription:
        """Subscribe the user's own orders or trades, in all markets if none are named."""
        self.need_credentials("the user's orders and trades")
        if market_ids is None:
            return self.subscribe(type_, "user", [], None, callback_type, on_event)
        markets = self._engine.catalogued(market_list(market_ids))
        nameless = [market.slug for market in markets if not market.condition_id]
        if nameless:
            raise UnknownMarketError(
                f"{nameless[0]!r} is listed without a condition id, which orders are asked by; try later"
            )
        conditions = [market.condition_id for market in markets]
        return self.subscribe(type_, "user", conditions, conditions, callback_type, on_event)

    def follow(
        self,
        type_: SubscriptionType,
        wanted: Wanted,
        callback_type: CallbackType,
        on_event: Handler | None,
        *,
        series: Sequence[Series] = (),
        depth: int = 10,
    ) -> Subscription:
        """Subscribe markets, and those to come: of rolling series, and listed without tokens for now."""
        selects = wanted.conditions if type_ == "market_resolution" else wanted.token_ids
        subscription = self.subscribe(
            type_, "market", wanted.token_ids, selects, callback_type, on_event, depth=depth, growing=bool(series)
        )
        self._engine.call(partial(self._engine.expect, subscription, wanted))
        for each in series:
            self._engine.call(partial(self._engine.follow, subscription, each))
        return subscription

    def need_credentials(self, what: str) -> None:
        """Look for credentials, unless there are some or a recording is played, which asks nobody."""
        engine = self._engine
        if engine.credentials is not None or engine.call(engine.started).recorded:
            return
        engine.credentials = Credentials.from_environment(venue=engine.venue)
        if engine.credentials is None:
            raise AuthError(
                f"{what} need credentials: set POLYMARKET_API_KEY, POLYMARKET_SECRET and POLYMARKET_PASSPHRASE, "
                "or POLYGON_PRIVATE_KEY to derive them"
            )

    def subscribe(
        self,
        type_: SubscriptionType,
        channel: Channel,
        keys: Sequence[str],
        selects: Iterable[str] | None,
        callback_type: CallbackType,
        on_event: Handler | None,
        *,
        depth: int = 10,
        growing: bool = False,
    ) -> Subscription:
        """Subscribe keys of a channel."""
        if callback_type not in ("notification", "log"):
            raise ValueError(f"callback_type {callback_type!r} is neither 'notification' nor 'log'")
        if on_event is not None and not callable(on_event):
            raise TypeError(f"on_event must be a function; got {type(on_event).__name__}")
        subscription = Subscription(type_, channel, list(dict.fromkeys(keys)), selects=selects, depth=depth)
        subscription.growing = growing
        for handler in (self._handlers[callback_type], on_event):
            if handler is not None:
                subscription.consume(self.consumer(handler))
        try:
            self._engine.call(partial(self._engine.add, subscription))
        except BaseException:
            subscription.close()
            raise
        return subscription


def words(names: str | Sequence[str]) -> list[str]:
    """Take one name or several, each a word that a socket can be asked for."""
    given = [names] if isinstance(names, str) else list(names)
    for name in given:
        if not isinstance(name, str):  # pyright: ignore[reportUnnecessaryIsInstance]  # callers are not all checked
            raise TypeError(f"a name is text; got {type(name).__name__}")
        if not name or any(letter.isspace() or letter in '"{}|,' for letter in name):
            raise ValueError(f"{name[:100]!r} is not a slug or symbol; expected one like 'fed-decision' or 'btc/usd'")
    if not given:
        raise ValueError("nothing is named; give at least one slug or symbol")
    return given


def streamed(keys: Sequence[str]) -> list[str]:
    """List the symbols that the price streams have."""
    return [key.split("|")[1] for key in keys if key.startswith("price.")]
