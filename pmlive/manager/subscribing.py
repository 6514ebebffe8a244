"""What can be subscribed to: seven kinds of the venue's own, two of the real-time sockets, or everything."""

import asyncio
import inspect
from collections.abc import Callable, Iterable, Sequence
from functools import partial

from pmlive.credentials import Credentials
from pmlive.errors import AuthError, FeedError, PmliveError, UnknownMarketError
from pmlive.events import Channel
from pmlive.manager.engine import Engine
from pmlive.manager.mailbox import Consumer, Handler
from pmlive.manager.resolve import MarketId, Wanted, series_of, texts
from pmlive.manager.subscriptions import CallbackType, Subscription, SubscriptionType
from pmlive.manager.symbols import Provider, price_keys, rows_of
from pmlive.markets import Series

__all__ = ["Subscriber"]


class Subscriber:
    """The subscriptions of a manager."""

    def __init__(self, engine: Engine, handlers: dict[CallbackType, Handler | None]) -> None:
        self._engine = engine
        self._handlers = handlers
        try:
            self._caller_loop: asyncio.AbstractEventLoop | None = asyncio.get_running_loop()
        except RuntimeError:
            self._caller_loop = None

    @property
    def max_depth(self) -> int:
        """The most levels a side that rows of ``depth`` and updates of books hold."""
        return self._engine.options.depth

    def watch(
        self,
        market_ids: MarketId | Sequence[MarketId],
        *,
        callback_type: CallbackType = "notification",
        on_event: Handler | None = None,
    ) -> Subscription:
        """Stream prices, depth, trades and the resolution of every outcome of markets, events or a rolling series.

        Args:
            market_ids: addresses, slugs, ids or ``Market``; an event means all of its markets, and a series such as
                ``btc-updown-5m`` its present market and each next one before its time.
            callback_type: which of the manager's callbacks gets updates.
            on_event: another function that gets updates, away from the feed.

        Raises:
            UnknownMarketError: the venue does not know a market.
            FeedError: the venue cannot be asked.
        """
        ids = texts(market_ids)
        series = [one for one in map(series_of, ids) if one is not None]
        wanted = self._engine.resolve([each for each in ids if series_of(each) is None])
        return self._follow("watch", wanted, callback_type, on_event, series=series)

    def subscribe_market_prices(
        self,
        market_ids: MarketId | Sequence[MarketId],
        callback_type: CallbackType = "notification",
        *,
        on_event: Handler | None = None,
    ) -> Subscription:
        """Stream the best prices and the trades of markets (a token id means that outcome alone)."""
        return self._follow("market_prices", self._engine.resolve(texts(market_ids)), callback_type, on_event)

    def subscribe_orderbook_updates(
        self,
        token_ids: MarketId | Sequence[MarketId],
        depth: int = 10,
        callback_type: CallbackType = "notification",
        *,
        on_event: Handler | None = None,
    ) -> Subscription:
        """Stream the books of tokens, updates holding the best ``depth`` levels a side."""
        if not isinstance(depth, int) or not 1 <= depth <= self._engine.options.depth:  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ValueError(
                f"depth {depth!r} is not between 1 and the manager's own depth of {self._engine.options.depth}"
            )
        wanted = self._engine.resolve(texts(token_ids))
        return self._follow("orderbook_updates", wanted, callback_type, on_event, depth=depth)

    def subscribe_market_resolution(
        self,
        market_ids: MarketId | Sequence[MarketId],
        callback_type: CallbackType = "notification",
        *,
        on_event: Handler | None = None,
    ) -> Subscription:
        """Be told which outcome won, by the socket or, where that stays silent, by the catalogue."""
        wanted = self._engine.followable(texts(market_ids))
        return self._follow("market_resolution", wanted, callback_type, on_event)

    def subscribe_user_orders(
        self,
        market_ids: MarketId | Sequence[MarketId] | None = None,
        callback_type: CallbackType = "notification",
        *,
        on_event: Handler | None = None,
    ) -> Subscription:
        """Stream the user's own orders, in all markets by default.

        Raises:
            AuthError: there are no credentials, or the venue refused them.
        """
        return self._subscribe_user("user_orders", market_ids, callback_type, on_event)

    def subscribe_user_trades(
        self,
        market_ids: MarketId | Sequence[MarketId] | None = None,
        callback_type: CallbackType = "notification",
        *,
        on_event: Handler | None = None,
    ) -> Subscription:
        """Stream the user's own trades, in all markets by default; a trade comes again with each new status.

        Raises:
            AuthError: there are no credentials, or the venue refused them.
        """
        return self._subscribe_user("user_trades", market_ids, callback_type, on_event)

    def subscribe_activity(
        self,
        event_slugs: str | Sequence[str],
        callback_type: CallbackType = "notification",
        *,
        on_event: Handler | None = None,
    ) -> Subscription:
        """Stream every trade of events, with the wallets."""
        slugs = _words(event_slugs)
        keys = [f"activity|{slug}" for slug in slugs]
        return self._subscribe("activity", "realtime", keys, slugs, callback_type, on_event)

    def subscribe_reference_prices(
        self,
        symbols: str | Sequence[str],
        callback_type: CallbackType = "notification",
        *,
        provider: Provider | None = None,
        on_event: Handler | None = None,
    ) -> Subscription:
        """Stream prices from outside the venue, in dollars or the symbol's second currency.

        Crypto (``btcusd``), its averages over 60 s, on which up/down markets settle (``btcusd@twap60``), currencies and
        metals (``eurusd``, ``xauusd``, ``eurusd@twap60``) and equities and funds (``aapl``) come from the venue's price
        streams, which want credentials. ``btc/usd`` (Chainlink's) and ``btcusdt`` (Binance's) need none, but the venue
        announced the end of these for about 2026-10-23: if nothing comes, ask for ``btcusd``.

        Args:
            symbols: one or several, of any of these kinds.
            callback_type: which of the manager's callbacks gets updates.
            provider: whose prices of equities, currencies and metals; the venue may serve another's, which
                ``status()["connections"]["realtime"]["providers"]`` tells and ``source`` in each row.
            on_event: another function that gets updates.

        Raises:
            AuthError: a symbol needs credentials and there are none, or the venue refused them.
            ValueError: there is no such symbol, or it has no choice of providers.
        """
        keys = price_keys(_words(symbols), provider)
        if any(key.startswith("price.") for key in keys):
            self._need_credentials(f"the prices of {', '.join(_streamed(keys))}")
        return self._subscribe("reference_prices", "realtime", keys, rows_of(keys), callback_type, on_event)

    def unsubscribe(self, subscription_id: str | Subscription) -> None:
        """End a subscription; tokens that others want go on.

        Raises:
            ValueError: there is no subscription with this id.
        """
        named = subscription_id.id if isinstance(subscription_id, Subscription) else subscription_id
        self._engine.call(partial(self._engine.remove, named))

    def trouble(self, subscription: Subscription) -> PmliveError | None:
        """Tell why nothing comes for a subscription any more, such as refused credentials; None while it may."""
        return self._engine.call(partial(self._trouble, subscription))

    def listen(self, handler: Handler) -> Callable[[], None]:
        """Give a function every update of every subscription, and each gap when it begins and when it ends.

        It is called away from the feed, as ``on_event`` is: when it is slow, newer prices replace older ones. Of prices
        and books the newest of each token is given, once a second where tokens are many. Call what is returned to hear
        no more.
        """
        consumer = Consumer(handler, self._caller_loop if inspect.iscoroutinefunction(handler) else None)
        self._engine.call(partial(self._engine.news.add, consumer))
        return partial(self._engine.news.remove, consumer)

    def _trouble(self, subscription: Subscription) -> PmliveError | None:
        source = self._engine.started()
        channels = subscription.by_channel(subscription.keys) or {subscription.channel: []}
        errors = [source.errors[channel] for channel in channels if channel in source.errors]
        refused = [f"{key.split('|')[1]}: {source.refused[key]}" for key in subscription.keys if key in source.refused]
        if errors or not refused:
            return next(iter(errors), None)
        return FeedError(f"the venue refuses {'; '.join(refused)}")

    def _subscribe_user(
        self,
        type_: SubscriptionType,
        market_ids: MarketId | Sequence[MarketId] | None,
        callback_type: CallbackType,
        on_event: Handler | None,
    ) -> Subscription:
        self._need_credentials("the user's orders and trades")
        if market_ids is None:
            return self._subscribe(type_, "user", [], None, callback_type, on_event)
        markets = self._engine.catalogued(texts(market_ids))
        nameless = [market.slug for market in markets if not market.condition_id]
        if nameless:
            raise UnknownMarketError(
                f"{nameless[0]!r} is listed without a condition id, which orders are asked by; try later"
            )
        conditions = [market.condition_id for market in markets]
        return self._subscribe(type_, "user", conditions, conditions, callback_type, on_event)

    def _follow(
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
        subscription = self._subscribe(
            type_, "market", wanted.token_ids, selects, callback_type, on_event, depth=depth, growing=bool(series)
        )
        self._engine.call(partial(self._engine.expect, subscription, wanted))
        for each in series:
            self._engine.call(partial(self._engine.follow, subscription, each))
        return subscription

    def _need_credentials(self, what: str) -> None:
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

    def _subscribe(
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
        if callback_type not in ("notification", "log"):
            raise ValueError(f"callback_type {callback_type!r} is neither 'notification' nor 'log'")
        if on_event is not None and not callable(on_event):
            raise TypeError(f"on_event must be a function; got {type(on_event).__name__}")
        subscription = Subscription(type_, channel, list(dict.fromkeys(keys)), selects=selects, depth=depth)
        subscription.growing = growing
        for handler in (self._handlers[callback_type], on_event):
            if handler is not None:
                loop = self._caller_loop if inspect.iscoroutinefunction(handler) else None
                subscription.consume(Consumer(handler, loop))
        try:
            self._engine.call(partial(self._engine.add, subscription))
        except BaseException:
            subscription.close()
            raise
        return subscription


def _words(names: str | Sequence[str]) -> list[str]:
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


def _streamed(keys: Sequence[str]) -> list[str]:
    return [key.split("|")[1] for key in keys if key.startswith("price.")]
