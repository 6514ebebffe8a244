"""What a manager does in the feed thread: subscriptions meet sockets, names meet tokens."""

from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import Future
from datetime import timedelta
from typing import TYPE_CHECKING, TypeVar

import msgspec
import polars as pl

from pmlive import times
from pmlive._session import Timing
from pmlive.credentials import Credentials
from pmlive.errors import AuthError, BookError, FeedError, PmliveError, UnknownMarketError
from pmlive.events import Channel
from pmlive.logs import get_logger
from pmlive.manager.delivery import News, Registry, deliver
from pmlive.manager.ingest import Source
from pmlive.manager.keys import Listing, MarketId, Outcomes, Waits, Wanted, followed, resolve, whole_markets
from pmlive.manager.live import CrossCheckPolicy, Live
from pmlive.manager.subscriptions import Status, Subscription, status_of
from pmlive.markets import Catalogue, Market, Series, described
from pmlive.markets.market import Directory
from pmlive.pipeline import Token
from pmlive.retries import DialPolicy
from pmlive.settings import AddressField, Venue
from pmlive.store import Recorder
from pmlive.tables import ROLLING, SCHEMAS, labelled
from pmlive.threads import LoopThread
from pmlive.words import counted

if TYPE_CHECKING:
    from pmlive.history import History

__all__ = ["Engine", "Options", "history_of"]

logger = get_logger(__name__)

T = TypeVar("T")

# Channels whose first frame holds the credentials, and the address that gets it.
_WITH_CREDENTIALS: dict[Channel, AddressField] = {"user": "clob_ws", "prices": "prices_ws"}


class Options(msgspec.Struct, frozen=True):
    """What a manager keeps, and how patiently it dials."""

    rows: int
    age: timedelta
    depth: int
    policy: DialPolicy | None = None
    timing: dict[Channel, Timing] | None = None
    cross_check: CrossCheckPolicy | None = None
    waits: Waits | None = None
    # How often markets without tokens are looked up, in seconds.
    listing: float = 15.0

    def __post_init__(self) -> None:
        """Check what a user gave.

        Raises:
            TypeError: rows or depth is not a whole number, or age is not a timedelta.
            ValueError: one of them is too small.
        """
        _check(rows=self.rows, depth=self.depth, age=self.age)


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
        # The slug and the outcome of each token.
        self.names: dict[str, tuple[str, str]] = {}
        self.thread = LoopThread("pmlive", "manager")
        self._closed = False
        # The rolling frames as they were at the end, which stay readable.
        self._last_frames: Future[dict[str, pl.DataFrame]] = Future()
        self._ended_ns = 0
        self._market_of: dict[str, str] = {}
        self._listing: Listing | None = None

    # --- from any thread ---

    def call(self, function: Callable[[], T]) -> T:
        """Run a function in the feed thread, which is started if need be."""
        self.refuse_closed()
        return self.thread.call(function)

    def frame(self, table: str) -> pl.DataFrame:
        """Return the rolling rows of a table, with names of tokens; of a closed manager, those of its end."""
        if self._closed:
            return self._last_frames.result()[table]
        # The names are put on here and not in the feed thread, which has better things to do.
        return labelled(*self.call(lambda: (self._rows(table), self.names.copy())))

    def now(self) -> int:
        """Return the time (ns) up to which frames tell: the present one, or when a closed manager ended."""
        return self._ended_ns if self._closed else self.call(lambda: self.started().clock())

    def in_words(self) -> str:
        """Describe what is watched and how far it is trusted, without the feed thread, which may be busy."""
        if self._closed:
            return "closed"
        subscriptions = list(self.registry.active.values())
        if not subscriptions:
            return "nothing watched"
        keys = {key for each in subscriptions if each.channel == "market" for key in each.keys}
        books = [] if self.source is None else list(self.source.ingest.pipeline.books.tokens.values())
        trusted = sum(token.trusted() for token in books if token.id in keys)
        gaps = sum(token.gap is not None for token in books)
        since = min(each.created_at for each in subscriptions)
        tokens = (
            f"{counted(len(keys), 'token')}, {trusted} trusted" if keys else counted(len(subscriptions), "subscription")
        )
        return f"{tokens}, {counted(gaps, 'gap')} open, since {times.clock(since)}"

    def token(self, token_id: str) -> Token | None:
        """Find a token that somebody wants; one whose connection was never open has nothing yet."""
        source = self.started()
        known = source.ingest.pipeline.books.tokens
        if token_id not in known and token_id not in source.settled and self.registry.wants("market", token_id):
            return Token(token_id)
        return known.get(token_id)

    def meant(self, named: str, outcome: str | None = None) -> Token:
        """Find the token that somebody wants and that a name means.

        Raises:
            BookError: its market was resolved.
            UnknownMarketError: no such token is subscribed, or several are meant.
        """
        source = self.started()
        try:
            token_id = self._one_token(named, outcome, held=lambda each: self.token(each) is not None)
        except UnknownMarketError:
            if source.settled & {named, *Directory(self.markets.values()).meant(named, outcome)}:
                raise BookError(f"the market of {named!r} was resolved; it has no book any more") from None
            raise
        return self.token(token_id) or Token(token_id)

    def token_id(self, named: str, outcome: str | None = None) -> str:
        """Return the token that a name means, also of a market that was resolved or is not subscribed any more.

        Raises:
            UnknownMarketError: no such token was ever subscribed, or several are meant.
        """
        held = self.names.keys() | self.started().settled
        return self._one_token(named, outcome, held=lambda each: each in held or self.token(each) is not None)

    def _one_token(self, named: str, outcome: str | None, *, held: Callable[[str], bool]) -> str:
        directory, books = Directory(self.markets.values()), self.started().ingest.pipeline.books
        return directory.token(named, outcome, held=held, others=lambda: books.tokens, kind="subscribed")

    def status(self) -> Status:
        """Describe the source and the subscriptions as they are now."""
        return status_of(self.source, list(self.registry.active.values()), running=self.thread.running)

    def wait(self, coroutine: Coroutine[object, object, T]) -> T:
        """Run a coroutine in the feed thread."""
        try:
            return self.thread.wait(coroutine)
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

    def followable(self, market_ids: Sequence[MarketId]) -> Wanted:
        """Find the whole markets that are meant, tokens' too, with what is to be told of them."""
        catalogue = self.call(self.started).catalogue
        given = [each for each in market_ids if isinstance(each, Market)]
        named = [each for each in market_ids if isinstance(each, str)]
        wanted = self.wait(whole_markets(catalogue, given, named))
        self.call(lambda: self.learn(wanted))
        return wanted

    def close(self) -> None:
        """End everything: sockets, tasks, readers, thread; again does nothing."""
        if self._closed:
            return
        self._closed = True
        try:
            self.thread.stop(self._end)
        finally:
            self._keep_frames()

    def _keep_frames(self) -> None:
        self._ended_ns = 0 if self.source is None else self.source.clock()
        try:
            self._last_frames.set_result({table: labelled(self._rows(table), self.names) for table in ROLLING})
        except Exception as error:  # noqa: BLE001  # raised to whoever reads a frame
            self._last_frames.set_exception(error)

    def _rows(self, table: str) -> pl.DataFrame:
        return SCHEMAS[table].to_frame() if self.source is None else self.source.ingest.frame(table)

    async def _end(self) -> None:
        for subscription in list(self.registry.active.values()):
            subscription.close()
        self.news.close()
        if self.source is not None:
            await self.source.stop()

    def refuse_closed(self) -> None:
        """Raise an error if the manager is closed.

        Raises:
            FeedError: the manager was closed.
        """
        if self._closed:
            raise FeedError("this manager was closed; make another")

    # --- in the feed thread ---

    def started(self) -> Source:
        """Return the source of the rows, made on first use and never after the end."""
        self.refuse_closed()
        if self.source is None:
            self.source = source = self._make(self)
            source.ingest.on_rows = self._hand_out
            source.ingest.listened = lambda: (
                self.news.listened() or any(one.mailboxes for one in self.registry.active.values())
            )
            source.spawn(source.run())
            self._listing = Listing(source, self.begin, self.options.listing)
            if not source.recorded:
                source.spawn(self._listing.run())
                source.spawn(self._outcomes(source).run())
        return self.source

    def _outcomes(self, source: Source) -> Outcomes:
        return Outcomes(source, lambda: followed(source, self.markets, self._market_of), self.options.waits or Waits())

    def add(self, subscription: Subscription) -> None:
        """Begin a subscription."""
        source = self.started()
        split = subscription.by_channel(subscription.keys) or {subscription.channel: []}
        for channel in split:
            if channel in source.errors:
                raise source.errors[channel]
            if channel in _WITH_CREDENTIALS and self.credentials is not None and not source.recorded:
                self.venue.check_recipient(_WITH_CREDENTIALS[channel], self.credentials.origin)
        if not (subscription.keys or subscription.growing or subscription.everything):
            raise UnknownMarketError("what is named has no token ids, so there is nothing to ask the venue for")
        self.registry.add(subscription)
        if subscription.everything:
            source.want_everything(subscription.channel)
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
            self.begin(subscription, market)

        async def drop(market: Market) -> None:
            source.unwant(subscription.channel, self.registry.shrink(subscription, market.token_ids))

        subscription.tasks.append(source.follow(series, add, drop))

    def begin(self, subscription: Subscription, market: Market) -> None:
        """Add a market to a subscription."""
        self.learn(Wanted([], [market]))
        self.registry.select(subscription, [market.condition_id] if subscription.by_market else market.token_ids)
        self.registry.extend(subscription, market.token_ids)
        self.started().want(subscription.channel, market.token_ids)

    def expect(self, subscription: Subscription, wanted: Wanted) -> None:
        """Make a subscription wait for the markets that have no tokens yet, and log those that it lacks."""
        subscription.left_out = wanted.left_out
        self.started()
        if self._listing is not None:
            self._listing.add(subscription, wanted.awaited)

    def learn(self, wanted: Wanted) -> None:
        """Keep the names of markets; look for those of bare tokens, which nothing waits for."""
        source = self.started()
        for market in wanted.markets:
            self.markets[market.condition_id] = market
            self.labels.update({token_id: market.label(token_id) for token_id in market.token_ids})
            self._market_of.update(dict.fromkeys(market.token_ids, market.condition_id))
        self.names.update(Directory(wanted.markets).names())
        if wanted.markets and source.ingest.recorder is not None:
            source.ingest.recorder.markets(self.described())
        nameless = [token_id for token_id in wanted.token_ids if token_id not in self.labels]
        if nameless:
            source.spawn(self._look_up(nameless))

    def market_of(self, token_id: str) -> str:
        """Return the condition id of a token's market, "" while it is not known."""
        return self._market_of.get(token_id, "")

    def record(self, recorder: Recorder) -> None:
        """Keep everything from now on; open books are asked for anew, so that the recording has them."""
        source = self.started()
        recorder.markets(self.described())
        source.ingest.record(recorder)
        source.refresh()

    def end_recording(self) -> None:
        """Write what is open, and keep nothing from now on."""
        self.started().ingest.end_recording()

    def described(self) -> list[dict[str, object]]:
        """Describe the markets for a recording's manifest."""
        return [described(market) for market in self.markets.values()]

    def _hand_out(self, frames: dict[str, pl.DataFrame]) -> None:
        # Also while the manager is closing, when nothing is started any more.
        if self.source is None:
            return
        pipeline = self.source.ingest.pipeline
        deliver(self.registry, frames, self.labels, pipeline.books.take_heard())
        if self.news.listened():
            self.news.rows(self.registry, frames, self.labels)
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


def history_of(engine: Engine) -> "History":
    """Return the past as an engine's venue tells it.

    Raises:
        FeedError: a recording is played, which asks nobody; or the manager was closed.
    """
    from pmlive.history import History  # needed by few

    if engine.call(engine.started).recorded:
        raise FeedError("a replay asks no venue; pmlive.history.trades and prices do")
    return History(engine.venue)


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
        cross_check=options.cross_check,
    )


def _check(*, rows: object, depth: object, age: object) -> None:
    for name, value in (("rows", rows), ("depth", depth)):
        if not isinstance(value, int) or isinstance(value, bool):
            raise TypeError(f"{name} must be a whole number; got {type(value).__name__}")
        if value < 1:
            raise ValueError(f"{name} must be 1 or more; got {value}")
    if not isinstance(age, timedelta):
        raise TypeError(f"age must be a timedelta; got {type(age).__name__}")
    if age <= timedelta(0):
        raise ValueError(f"age must be longer than nothing; got {age}")
