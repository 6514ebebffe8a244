"""What a manager does in the feed thread: subscriptions meet sockets, names meet tokens."""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from datetime import timedelta
from typing import TypeVar

import msgspec

from pmlive._session import Timing
from pmlive.credentials import Credentials
from pmlive.errors import AuthError, FeedError, PmliveError
from pmlive.events import Channel
from pmlive.feed import Policy
from pmlive.manager.deliver import deliver
from pmlive.manager.follow import follow, resolution
from pmlive.manager.live import Doubts, Live
from pmlive.manager.resolve import MarketId, Wanted, resolve
from pmlive.manager.runner import Runner
from pmlive.manager.subscriptions import Registry, Subscription
from pmlive.markets import Catalogue, Market, Series
from pmlive.pipeline import Token
from pmlive.settings import Venue
from pmlive.store import Recorder

__all__ = ["Engine", "Options"]

logger = logging.getLogger(__name__)

T = TypeVar("T")

# What a recording's manifest tells of a market.
_DESCRIBED = (
    "condition_id",
    "slug",
    "event_slug",
    "question",
    "outcomes",
    "token_ids",
    "tick_size",
    "min_order_size",
    "neg_risk",
    "end_date",
)

# How often markets that are past their end are looked up, in case the socket never tells the outcome.
_POLL = 60.0


class Options(msgspec.Struct, frozen=True):
    """What a manager keeps, and how patiently it dials."""

    rows: int
    age: timedelta
    depth: int
    policy: Policy | None = None
    timing: dict[Channel, Timing] | None = None
    doubts: Doubts | None = None


class Engine:
    """The feed thread's side of a manager; public methods are called from any other thread."""

    def __init__(self, venue: Venue, credentials: Credentials | None, options: Options) -> None:
        self.venue = venue
        self.credentials = credentials
        self.options = options
        self.registry = Registry()
        self.live: Live | None = None
        self.markets: dict[str, Market] = {}
        self.labels: dict[str, str] = {}
        self.runner = Runner()
        self._closed = False
        self._awaited: set[str] = set()

    # --- from any thread ---

    def call(self, function: Callable[[], T]) -> T:
        """Run a function in the feed thread, which is started if need be."""
        self.refuse_closed()
        return self.runner.call(function)

    def token(self, token_id: str) -> Token | None:
        """Find a token that somebody wants; one whose connection was never open has nothing yet."""
        live = self.started()
        known = live.desk.pipeline.books.tokens
        if token_id not in known and token_id not in live.settled and self.registry.wants("market", token_id):
            return Token(token_id)
        return known.get(token_id)

    def wait(self, coroutine: Coroutine[object, object, T]) -> T:
        """Run a coroutine in the feed thread."""
        try:
            return self.runner.wait(coroutine)
        except RuntimeError:
            # The library's word for asking through a client that was closed.
            self.refuse_closed()
            raise

    def resolve(self, market_ids: Sequence[MarketId]) -> Wanted:
        """Find the tokens that are meant, and keep their names."""
        if not market_ids:
            return Wanted([], [])
        catalogue = self.call(self.started).catalogue
        wanted = self.wait(resolve(catalogue, market_ids))
        self.call(lambda: self.learn(wanted))
        return wanted

    def catalogued(self, market_ids: Sequence[MarketId]) -> list[Market]:
        """Find the markets that are meant, tokens' too, and keep their names."""
        catalogue = self.call(self.started).catalogue
        given = [each for each in market_ids if isinstance(each, Market)]
        named = [each for each in market_ids if isinstance(each, str)]
        markets = given + (self.wait(catalogue.markets(named)) if named else [])
        self.call(lambda: self.learn(Wanted([], markets)))
        return markets

    def close(self) -> None:
        """End everything: sockets, tasks, readers, thread; again does nothing."""
        if self._closed:
            return
        self._closed = True
        self.runner.stop(self._end)

    async def _end(self) -> None:
        for subscription in list(self.registry.active.values()):
            subscription.close()
        if self.live is not None:
            await self.live.stop()

    def refuse_closed(self) -> None:
        """Say so if nothing more can be done.

        Raises:
            FeedError: the manager was closed.
        """
        if self._closed:
            raise FeedError("this manager was closed; make another")

    # --- in the feed thread ---

    def started(self) -> Live:
        """Give the live feed, made on first use and never after the end."""
        self.refuse_closed()
        if self.live is None:
            self.live = Live(
                self.venue,
                Catalogue(self.venue),
                credentials=self._reveal,
                policy=self.options.policy,
                rows=self.options.rows,
                age=self.options.age,
                depth=self.options.depth,
                timing=self.options.timing,
                doubts=self.options.doubts,
            )
            books = self.live.desk.pipeline.books
            self.live.desk.on_rows = lambda frames: deliver(
                self.registry.active.values(), frames, self.labels, books.take_heard()
            )
            self.live.desk.listened = lambda: any(one.mailboxes for one in self.registry.active.values())
            self.live.spawn(self.live.run())
            self.live.spawn(self._poll())
        return self.live

    def add(self, subscription: Subscription) -> None:
        """Begin a subscription."""
        live = self.started()
        if subscription.channel in live.errors:
            raise live.errors[subscription.channel]
        self.registry.add(subscription)
        if subscription.channel == "user" and not subscription.keys:
            live.pool.want_everything("user")
        else:
            self._want(subscription.channel, subscription.keys)

    def remove(self, subscription_id: str) -> None:
        """End a subscription."""
        subscription, unwanted = self.registry.remove(subscription_id)
        for task in subscription.tasks:
            task.cancel()
        subscription.close()
        self._unwant(subscription.channel, unwanted)
        if subscription.channel == "user" and not self.registry.uses("user"):
            self.started().pool.drop_channel("user")

    def follow(self, subscription: Subscription, series: Series) -> None:
        """Keep a subscription on the present and next market of a series."""
        live = self.started()

        async def add(market: Market) -> None:
            self.learn(Wanted([], [market]))
            subscription.select(market.token_ids)
            self.registry.extend(subscription, market.token_ids)
            self._want(subscription.channel, market.token_ids)
            self.await_resolution([market])

        async def drop(market: Market) -> None:
            self._unwant(subscription.channel, self.registry.shrink(subscription, market.token_ids))

        subscription.tasks.append(live.spawn(follow(series, live.catalogue, add, drop)))

    def await_resolution(self, markets: Sequence[Market]) -> None:
        """Look these markets up once they are past their end."""
        self._awaited.update(market.condition_id for market in markets)

    def learn(self, wanted: Wanted) -> None:
        """Keep the names of markets; look for those of bare tokens, which nothing waits for."""
        live = self.started()
        for market in wanted.markets:
            self.markets[market.condition_id] = market
            self.labels.update({token_id: market.label(token_id) for token_id in market.token_ids})
        if wanted.markets and live.desk.recorder is not None:
            live.desk.recorder.markets(self.described())
        nameless = [token_id for token_id in wanted.token_ids if token_id not in self.labels]
        if nameless:
            live.spawn(self._look_up(nameless))

    def record(self, recorder: Recorder) -> None:
        """Keep everything from now on; open books are asked for anew, so that the recording has them."""
        live = self.started()
        recorder.markets(self.described())
        live.desk.record(recorder)
        live.pool.resync([token.id for token in live.desk.pipeline.books.tokens.values() if token.conn])

    def end_recording(self) -> None:
        """Write what is open, and keep nothing from now on."""
        self.started().desk.end_recording()

    def described(self) -> list[dict[str, object]]:
        """Describe the markets for a recording's manifest."""
        return [
            msgspec.to_builtins({name: getattr(market, name) for name in _DESCRIBED})
            for market in self.markets.values()
        ]

    def _want(self, channel: Channel, keys: Sequence[str]) -> None:
        live = self.started()
        keys = [key for key in keys if key not in live.settled]
        placed = live.pool.want(channel, keys)
        asked = {key for placed_keys in placed.values() for key in placed_keys}
        live.desk.keys("want", channel, {0: [key for key in keys if key not in asked]})
        live.desk.keys("subscribe", channel, placed)

    def _unwant(self, channel: Channel, keys: Sequence[str]) -> None:
        live = self.started()
        live.desk.keys("unsubscribe", channel, live.pool.unwant(channel, keys))

    def _reveal(self) -> dict[str, str]:
        if self.credentials is None:
            raise AuthError("there are no credentials")
        return {name: getattr(self.credentials, name).reveal() for name in ("api_key", "secret", "passphrase")}

    async def _look_up(self, token_ids: Sequence[str]) -> None:
        try:
            found = await self.started().catalogue.by_tokens(token_ids)
        except PmliveError as error:
            logger.info("the names of %d tokens could not be looked up: %s", len(token_ids), error)
            return
        for token_id in token_ids:
            if token_id not in found:
                logger.warning("the catalogue does not know token %s; it may send nothing", token_id)
        self.learn(Wanted([], list(found.values())))

    async def _poll(self) -> None:
        """Ask the catalogue for outcomes that the socket may never tell."""
        while True:
            await asyncio.sleep(_POLL)
            for condition_id in sorted(self._awaited):
                await self._ask_outcome(condition_id)

    async def _ask_outcome(self, condition_id: str) -> None:
        live = self.started()
        market = self.markets[condition_id]
        if live.told_resolution(condition_id):
            self._awaited.discard(condition_id)
            return
        if market.end_date is not None and market.end_date.timestamp() * 1e9 > live.clock():
            return
        try:
            told = resolution(await live.catalogue.by_condition(condition_id), live.clock())
        except PmliveError as error:
            logger.info("the outcome of %s could not be looked up: %s", condition_id, error)
            return
        if told is not None and not live.told_resolution(condition_id):
            live.desk.journal.note("resolved", 0, told, live.clock())
