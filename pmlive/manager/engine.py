"""What a manager does in the feed thread: subscriptions meet sockets, names meet tokens."""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from datetime import timedelta
from typing import TypeVar

import msgspec
import polars as pl

from pmlive._session import Timing
from pmlive.credentials import Credentials
from pmlive.errors import AuthError, FeedError, PmliveError
from pmlive.events import Channel
from pmlive.feed import Policy
from pmlive.manager.deliver import deliver
from pmlive.manager.follow import resolution
from pmlive.manager.live import Doubts, Live
from pmlive.manager.news import News
from pmlive.manager.resolve import MarketId, Wanted, resolve
from pmlive.manager.runner import Runner
from pmlive.manager.source import Source
from pmlive.manager.subscriptions import Registry, Subscription
from pmlive.markets import Catalogue, Market, Series, described
from pmlive.pipeline import Token
from pmlive.settings import Venue
from pmlive.store import Recorder

__all__ = ["Engine", "Options", "live_feed"]

logger = logging.getLogger(__name__)

T = TypeVar("T")

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

    def __init__(
        self,
        venue: Venue,
        credentials: Credentials | None,
        options: Options,
        make: "Callable[[Engine], Source] | None" = None,
    ) -> None:
        self.venue = venue
        self.credentials = credentials
        self.options = options
        self._make = make or live_feed
        self.registry = Registry()
        self.news = News()
        self.source: Source | None = None
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
        source = self.started()
        known = source.desk.pipeline.books.tokens
        if token_id not in known and token_id not in source.settled and self.registry.wants("market", token_id):
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
        self.news.close()
        if self.source is not None:
            await self.source.stop()

    def refuse_closed(self) -> None:
        """Say so if nothing more can be done.

        Raises:
            FeedError: the manager was closed.
        """
        if self._closed:
            raise FeedError("this manager was closed; make another")

    # --- in the feed thread ---

    def started(self) -> Source:
        """Give what the rows come from, made on first use and never after the end."""
        self.refuse_closed()
        if self.source is None:
            self.source = source = self._make(self)
            source.desk.on_rows = self._hand_out
            source.desk.listened = lambda: (
                self.news.listened() or any(one.mailboxes for one in self.registry.active.values())
            )
            source.spawn(source.run())
            source.spawn(self._poll())
        return self.source

    def add(self, subscription: Subscription) -> None:
        """Begin a subscription."""
        source = self.started()
        split = subscription.by_channel(subscription.keys) or {subscription.channel: []}
        for channel in split:
            if channel in source.errors:
                raise source.errors[channel]
        self.registry.add(subscription)
        if subscription.channel == "user" and not subscription.keys:
            source.want_everything("user")
        else:
            for channel, keys in split.items():
                source.want(channel, keys)

    def remove(self, subscription_id: str) -> None:
        """End a subscription."""
        subscription, unwanted = self.registry.remove(subscription_id)
        for task in subscription.tasks:
            task.cancel()
        subscription.close()
        for channel, keys in subscription.by_channel(unwanted).items():
            self.started().unwant(channel, keys)
        if subscription.channel == "user" and not self.registry.uses("user"):
            self.started().drop_channel("user")

    def follow(self, subscription: Subscription, series: Series) -> None:
        """Keep a subscription on the present and next market of a series."""
        source = self.started()

        async def add(market: Market) -> None:
            self.learn(Wanted([], [market]))
            subscription.select(market.token_ids)
            self.registry.extend(subscription, market.token_ids)
            source.want(subscription.channel, market.token_ids)
            self.await_resolution([market])

        async def drop(market: Market) -> None:
            source.unwant(subscription.channel, self.registry.shrink(subscription, market.token_ids))

        subscription.tasks.append(source.follow(series, add, drop))

    def await_resolution(self, markets: Sequence[Market]) -> None:
        """Look these markets up once they are past their end."""
        self._awaited.update(market.condition_id for market in markets)

    def learn(self, wanted: Wanted) -> None:
        """Keep the names of markets; look for those of bare tokens, which nothing waits for."""
        source = self.started()
        for market in wanted.markets:
            self.markets[market.condition_id] = market
            self.labels.update({token_id: market.label(token_id) for token_id in market.token_ids})
        if wanted.markets and source.desk.recorder is not None:
            source.desk.recorder.markets(self.described())
        nameless = [token_id for token_id in wanted.token_ids if token_id not in self.labels]
        if nameless:
            source.spawn(self._look_up(nameless))

    def record(self, recorder: Recorder) -> None:
        """Keep everything from now on; open books are asked for anew, so that the recording has them."""
        source = self.started()
        recorder.markets(self.described())
        source.desk.record(recorder)
        source.refresh()

    def end_recording(self) -> None:
        """Write what is open, and keep nothing from now on."""
        self.started().desk.end_recording()

    def described(self) -> list[dict[str, object]]:
        """Describe the markets for a recording's manifest."""
        return [described(market) for market in self.markets.values()]

    def _hand_out(self, frames: dict[str, pl.DataFrame]) -> None:
        # Also while the manager is closing, when nothing is started any more.
        if self.source is None:
            return
        pipeline = self.source.desk.pipeline
        subscriptions = self.registry.active.values()
        deliver(subscriptions, frames, self.labels, pipeline.books.take_heard())
        if self.news.listened():
            self.news.rows(subscriptions, frames, self.labels)
            self.news.gaps(pipeline.open_gaps(), frames.get("gaps"), self.labels)

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
        source = self.started()
        market = self.markets[condition_id]
        if source.told_resolution(condition_id):
            self._awaited.discard(condition_id)
            return
        if market.end_date is not None and market.end_date.timestamp() * 1e9 > source.clock():
            return
        try:
            told = resolution(await source.catalogue.by_condition(condition_id), source.clock())
        except PmliveError as error:
            logger.info("the outcome of %s could not be looked up: %s", condition_id, error)
            return
        if told is not None and not source.told_resolution(condition_id):
            source.desk.journal.note("resolved", 0, told, source.clock())


def live_feed(engine: Engine) -> Live:
    """Make the live feed of an engine."""
    options = engine.options

    def reveal() -> dict[str, str]:
        given = engine.credentials
        if given is None:
            raise AuthError("there are no credentials")
        return {name: getattr(given, name).reveal() for name in ("api_key", "secret", "passphrase")}

    return Live(
        engine.venue,
        Catalogue(engine.venue),
        credentials=reveal,
        policy=options.policy,
        rows=options.rows,
        age=options.age,
        depth=options.depth,
        timing=options.timing,
        doubts=options.doubts,
    )
