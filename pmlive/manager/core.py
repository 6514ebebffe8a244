"""The manager: what a researcher holds."""

import asyncio
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Self

import polars as pl

from pmlive.credentials import Credentials
from pmlive.errors import PmliveError, UnknownMarketError
from pmlive.gaps import concerning
from pmlive.logs import get_logger
from pmlive.manager.engine import Engine, Options, history_of
from pmlive.manager.ingest import VenueName, venue_meant
from pmlive.manager.keys import MarketId, Provider, market_list, price_keys, rows_of, series_of
from pmlive.manager.lifecycle import Lifecycle
from pmlive.manager.snapshots import (
    AwaitedError,
    BookView,
    HasTokens,
    Key,
    Query,
    Snapshot,
    TokenRows,
    TokenView,
    book_view,
    key_parts,
    snapshots,
)
from pmlive.manager.subscribing import Subscribing, streamed, words
from pmlive.manager.subscriptions import CallbackType, Handler, Status, Subscription
from pmlive.markets import Market, find
from pmlive.retries import DialPolicy
from pmlive.settings import Venue
from pmlive.store import RecorderOptions
from pmlive.tables import ROLLING

if TYPE_CHECKING:
    from pmlive.history import History
    from pmlive.mcp.http import McpEndpoint
    from pmlive.sim import SimulatedVenue
    from pmlive.widgets import Dashboard

__all__ = ["Manager"]

logger = get_logger(__name__)

_LOOK_AGAIN = 0.02
# Markets that an error message names.
_MOST_NAMED = 6


class Manager(HasTokens):
    """Stream markets, keep proven books and rolling frames, and record them.

    Everything live happens in a thread of its own, started on first use; each method is plain, works in a script, in
    a cell, with a running event loop and without, and may be called from any thread. Frames are copies of what is
    there. A manager that nothing refers to any more, neither a variable nor a chart, closes itself, as does one that
    is open at the end of the program.

    Args:
        venue: ``"sim"`` starts a simulated one, which needs no network; ``"polymarket"`` is the real one, whatever the
            environment says; or other addresses. By default those of the environment, else Polymarket's.
        credentials: the user's, for orders and trades; by default the environment's, looked for when they are needed.
        notification_callback: gets updates as dictionaries, for subscriptions of callback type ``notification``.
        log_callback: the same for callback type ``log``; both may be coroutine functions.
        rows: the most rows a rolling frame keeps.
        age: the oldest rows it keeps, by receive time.
        depth: levels a side in ``depth``.
        policy: how patiently to dial.
    """

    def __init__(
        self,
        venue: Venue | VenueName | None = None,
        *,
        credentials: Credentials | None = None,
        notification_callback: Handler | None = None,
        log_callback: Handler | None = None,
        rows: int = 200_000,
        age: timedelta = timedelta(hours=6),
        depth: int = 10,
        policy: DialPolicy | None = None,
    ) -> None:
        options = Options(rows=rows, age=age, depth=depth, policy=policy)
        for handler in (notification_callback, log_callback):
            if handler is not None and not callable(handler):
                raise TypeError(f"a callback must be a function; got {type(handler).__name__}")
        sim, addresses = venue_meant(venue)
        engine = Engine(addresses, credentials, options)
        self._begin(engine, {"notification": notification_callback, "log": log_callback}, sim)

    def _begin(
        self, engine: Engine, handlers: dict[CallbackType, Handler | None], sim: "SimulatedVenue | None" = None
    ) -> None:
        self._engine = engine
        self._subscribing = Subscribing(engine, handlers)
        self._endings: list[Callable[[], object]] = []
        self.sim, self._lifecycle = sim, Lifecycle(self, engine, sim)
        self.simulated = self._lifecycle.simulated
        # Of a simulated venue, where others are not.
        self.simulated_tokens: frozenset[str] = frozenset()

    def is_simulated(self, _token_id: str) -> bool:
        """Check whether a token is known to be of a simulated venue."""
        return self.simulated

    # --- subscribing ---

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
        ids = market_list(market_ids)
        series = [one for one in map(series_of, ids) if one is not None]
        wanted = self._engine.resolve([each for each in ids if series_of(each) is None])
        return self._subscribing.follow("watch", wanted, callback_type, on_event, series=series)

    def follow(self, market: MarketId, outcome: str | None = None) -> TokenView[BookView]:
        """Watch a market, unless that is done already, and return a view of one of its outcomes.

        Args:
            market: an address, slug or id of one market, or a ``Market``.
            outcome: by default the market's first, such as Yes; a token id means its own.

        Raises:
            UnknownMarketError: the venue does not know the market, it has no such outcome, or several are meant.
            FeedError: the venue cannot be asked.
        """
        wanted = self._engine.resolve([market])
        if len(wanted.markets) > 1:
            names = ", ".join(repr(each.slug) for each in wanted.markets[:_MOST_NAMED])
            raise UnknownMarketError(
                f"{market!r} has {len(wanted.markets)} markets; follow one of them, such as {names}"
            )
        if outcome is not None and not wanted.markets:
            raise UnknownMarketError(f"{market!r} is a token, which is of one outcome; give its market, or no outcome")
        token_id = wanted.token_ids[0] if outcome is None else wanted.markets[0].token_of(outcome)
        if not self._engine.call(lambda: self._engine.registry.wants("market", token_id)):
            self.watch(market)
        return self._token_view(token_id)

    def token(self, named: str, outcome: str | None = None) -> str:
        """Return the token id for a token id, an outcome alone, or a slug or condition id with an outcome.

        Raises:
            UnknownMarketError: no such token was subscribed, or several are meant.
        """
        return self._engine.call(lambda: self._engine.token_id(named, outcome))

    def __getitem__(self, key: Key) -> TokenView[BookView]:
        """Return a view of a token: ``live["will-it-rain", "Yes"]``, or of an outcome or a token id alone.

        Raises:
            UnknownMarketError: no such token is subscribed, or several are meant.
        """
        return self._token_view(self.token(*key_parts(key)))

    def subscribe_market_prices(
        self,
        market_ids: MarketId | Sequence[MarketId],
        callback_type: CallbackType = "notification",
        *,
        on_event: Handler | None = None,
    ) -> Subscription:
        """Stream the best prices and the trades of markets (a token id means that outcome alone)."""
        return self._subscribing.follow(
            "market_prices", self._engine.resolve(market_list(market_ids)), callback_type, on_event
        )

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
        wanted = self._engine.resolve(market_list(token_ids))
        return self._subscribing.follow("orderbook_updates", wanted, callback_type, on_event, depth=depth)

    def subscribe_market_resolution(
        self,
        market_ids: MarketId | Sequence[MarketId],
        callback_type: CallbackType = "notification",
        *,
        on_event: Handler | None = None,
    ) -> Subscription:
        """Report which outcome won, as the socket says or, where it says nothing, the catalogue."""
        wanted = self._engine.followable(market_list(market_ids))
        return self._subscribing.follow("market_resolution", wanted, callback_type, on_event)

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
        return self._subscribing.user("user_orders", market_ids, callback_type, on_event)

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
        return self._subscribing.user("user_trades", market_ids, callback_type, on_event)

    def subscribe_activity(
        self,
        event_slugs: str | Sequence[str],
        callback_type: CallbackType = "notification",
        *,
        on_event: Handler | None = None,
    ) -> Subscription:
        """Stream every trade of events, with the wallets."""
        slugs = words(event_slugs)
        keys = [f"activity|{slug}" for slug in slugs]
        return self._subscribing.subscribe("activity", "realtime", keys, slugs, callback_type, on_event)

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
        keys = price_keys(words(symbols), provider)
        if any(key.startswith("price.") for key in keys):
            self._subscribing.need_credentials(f"the prices of {', '.join(streamed(keys))}")
        return self._subscribing.subscribe("reference_prices", "realtime", keys, rows_of(keys), callback_type, on_event)

    def unsubscribe(self, subscription_id: str | Subscription) -> None:
        """End a subscription; tokens that others want go on.

        Raises:
            ValueError: there is no subscription with this id.
        """
        named = subscription_id.id if isinstance(subscription_id, Subscription) else subscription_id
        self._engine.call(partial(self._engine.remove, named))

    def trouble(self, subscription: Subscription) -> PmliveError | None:
        """Return why nothing comes for a subscription any more, such as refused credentials; None while it may."""
        return self._engine.call(partial(self._subscribing.trouble, subscription))

    def listen(self, handler: Handler) -> Callable[[], None]:
        """Call a function with every update of every subscription, and with each gap when it begins and when it ends.

        It is called away from the feed, as ``on_event`` is: when it is slow, newer prices replace older ones. Of prices
        and books the newest of each token is given, once a second where tokens are many. Call what is returned to hear
        no more.
        """
        consumer = self._subscribing.consumer(handler)
        self._engine.call(partial(self._engine.news.add, consumer))
        return partial(self._engine.news.remove, consumer)

    # --- what is there ---

    def first(self, table: str = "prices", *, rows: int = 1, patience: float = 10.0) -> pl.DataFrame:
        """Wait until a frame has rows, and return it: right after a subscription there are none.

        Args:
            table: the name of a frame, such as ``"trades"``.
            rows: how many rows to wait for.
            patience: how many seconds to wait.

        Raises:
            TimeoutError: so many rows did not come within that time.
            ValueError: there is no such frame.
        """
        if table not in ROLLING:
            raise ValueError(f"no frame {table!r}; there are {', '.join(ROLLING)}")
        until = time.monotonic() + patience
        while (frame := self._engine.frame(table)).height < rows:
            if time.monotonic() >= until:
                raise TimeoutError(
                    f"{frame.height} of {rows} rows of {table!r} came within {patience:g} s; status() tells how the "
                    f"connections are, and which of {len(self.subscriptions)} subscriptions got something"
                )
            time.sleep(_LOOK_AGAIN)
        return frame

    @property
    def prices(self) -> pl.DataFrame:
        """Return the changes of the best prices of every book."""
        return self._engine.frame("prices")

    @property
    def depth(self) -> pl.DataFrame:
        """Return the best levels of every book, at most ten times a second each."""
        return self._engine.frame("depth")

    @property
    def trades(self) -> pl.DataFrame:
        """Return the trades, with the taker's side."""
        return self._engine.frame("trades")

    @property
    def gaps(self) -> pl.DataFrame:
        """Return the intervals that cannot be trusted; those that are open have no end."""
        return self._engine.frame("gaps")

    @property
    def user_orders(self) -> pl.DataFrame:
        """Return the messages on the user's own orders."""
        return self._engine.frame("user_orders")

    @property
    def user_trades(self) -> pl.DataFrame:
        """Return the messages on the user's own trades."""
        return self._engine.frame("user_trades")

    @property
    def market_events(self) -> pl.DataFrame:
        """Return tick size changes, new markets and resolutions."""
        return self._engine.frame("market_events")

    @property
    def activity(self) -> pl.DataFrame:
        """Return the trades of subscribed events, with wallets."""
        return self._engine.frame("activity")

    @property
    def reference_prices(self) -> pl.DataFrame:
        """Return prices from outside the venue."""
        return self._engine.frame("reference_prices")

    @property
    def markets(self) -> list[Market]:
        """List the markets that are known of the subscriptions."""
        return list(self._engine.markets.values())

    @property
    def subscriptions(self) -> list[Subscription]:
        """List the active subscriptions."""
        return list(self._engine.registry.active.values())

    def book(
        self, token: str, outcome: str | None = None, *, depth: int | None = None, patience: float = 5.0
    ) -> BookView:
        """Copy the book of a token, or of an outcome of the watched markets.

        Args:
            token: a token id, an outcome such as ``"Yes"`` if only one watched token has it, or a market's slug.
            outcome: the outcome, where ``token`` is a market's slug or condition id.
            depth: the most levels a side, all by default.
            patience: how many seconds to wait for the first book of a token that was only just subscribed.

        Raises:
            BookError: the book cannot be trusted now; the message says since when and why.
            UnknownMarketError: no such token is subscribed, or several are meant.
        """
        until = time.monotonic() + patience
        while True:
            try:
                return self._engine.call(lambda: self._view(token, outcome, depth))
            except AwaitedError:
                if time.monotonic() >= until:
                    raise
                time.sleep(_LOOK_AGAIN)

    def status(self) -> dict[str, object]:
        """Describe connections, subscriptions, statistics, books and recording, as JSON can hold it.

        What a subscription received is as it was a twentieth of a second ago at most; all else is as it is now.
        """
        return self.report().to_dict()

    def report(self) -> Status:
        """Return what ``status()`` describes as values with names and types."""
        return self._engine.call(self._engine.status)

    # --- showing ---

    def dashboard(
        self, token_id: Key | None = None, *, rate: float = 10.0, charts: Literal["canvas", "image"] = "canvas"
    ) -> "Dashboard":
        """Show live charts, tables and a replay's controls; a cell that runs again closes what it showed before.

        Args:
            token_id: the token to begin with, by default the first that is watched: an id, an outcome if only one has
                it, or a market and its outcome, such as ``("will-it-rain", "Yes")``.
            rate: the most drawings a second of each chart, 30 at most.
            charts: ``"image"`` for front ends that load no script of ours; see ``pmlive.widgets.image``.

        Raises:
            ImportError: the extra ``pmlive[jupyter]`` is not installed.
        """
        from pmlive import widgets  # an extra, and heavy

        return widgets.Dashboard.of(self, token_id, rate=rate, charts=charts)

    def serve_mcp(self, port: int = 0, *, recordings: str | Path | None = None, private: bool = False) -> "McpEndpoint":
        """Serve this manager to Claude and other MCP clients of this computer; return the endpoint, new or open.

        Every request must bear the ``token`` of what this gives, whose ``config()`` is what to tell clients.

        Args:
            port: by default one that is free.
            recordings: the folder of recordings that they may ask of, by default the one where recordings go.
            private: whether they may read the user's own orders and trades.

        Raises:
            ImportError: the extra ``pmlive[mcp]`` is not installed.
            OSError: the port is not available.
            ValueError: the manager is served already, at another port, or without what is the user's own.
        """
        from pmlive import mcp  # an extra, and heavy

        return mcp.serve(self, port, recordings=recordings, private=private)

    def find(self, text: str) -> list[Market]:
        """Find what a text means at this manager's venue, as ``pmlive.find`` does; in a replay, what was recorded.

        Raises:
            ValueError: the text cannot name a market.
            UnknownMarketError: the venue does not know the id, the slug or the address.
            FeedError: the venue cannot be asked.
        """
        if not self._engine.call(self._engine.started).recorded:
            return find(text, self._engine.venue)
        words = text.casefold().split()
        return [market for market in self._engine.markets.values() if all(word in _said(market) for word in words)]

    @property
    def history(self) -> "History":
        """Trades and prices of this manager's venue from before; see ``pmlive.history``."""
        return history_of(self._engine)

    def snapshots(self, queries: Sequence[Query]) -> list[Snapshot]:
        """Answer the queries of several charts, all as of one moment, in one call to the feed thread."""
        return self._engine.call(partial(snapshots, self._engine, queries))

    def at_close(self, ending: Callable[[], object]) -> Callable[[], None]:
        """Call a function before everything ends, when charts take their last picture; return what cancels this."""
        self._endings.append(ending)

        def call_off() -> None:
            if ending in self._endings:
                self._endings.remove(ending)

        return call_off

    # --- recording ---

    def record(self, folder: str | Path | None = None, *, keep_raw: timedelta | None = None) -> Path:
        """Record everything from now on into a folder, continuing what it holds; return the folder.

        Query again for what it does already, it goes on. What is recorded is sealed at the end of the program, too.
        SIGTERM by default ends a program without that, as a kill does: what was received is in the log, and the next
        ``record`` into the folder seals it. A script that wants it sealed at once ends itself:
        ``signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))``.

        Args:
            folder: a new folder of ``PMLIVE_DATA_DIR`` by default, or the one that is being recorded into.
            keep_raw: how long raw frames are kept, for ever by default. Tables stay; what has no raw frames any more
                cannot be replayed or decoded anew.

        Raises:
            StoreError: the folder cannot be written, is another's, or is being recorded by another manager.
            ValueError: it records already, into another folder or with another ``keep_raw``.
        """
        if keep_raw is not None and keep_raw <= timedelta(0):
            raise ValueError(f"keep_raw must be longer than nothing; got {keep_raw}")
        self._engine.refuse_closed()
        # It weighs 40 MB and nothing else needs it; the first sealing is no time to find out that it is missing.
        import_module("pmlive.store.parquet")
        options = RecorderOptions(keep_raw=None if keep_raw is None else keep_raw.total_seconds())
        return self._lifecycle.record(None if folder is None else Path(folder), options)

    def stop_recording(self) -> None:
        """Seal the recording; streaming goes on."""
        self._lifecycle.stop_recording()

    # --- the end ---

    def close(self) -> None:
        """Seal the recording and end every connection; closing again does nothing."""
        self._end_viewing()
        self._lifecycle.close()

    def __enter__(self) -> Self:
        """Use the manager in a block and close it after."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the manager."""
        self.close()

    async def __aenter__(self) -> Self:
        """Use the manager in an async block and close it after."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close the manager."""
        await asyncio.to_thread(self.close)

    def __repr__(self) -> str:
        """Return what is watched, since when, and whether it is trusted, in one line."""
        return f"<Manager of {self._engine.venue.clob_ws}, {self._engine.in_words()}>"

    # --- inside ---

    def _end_viewing(self) -> None:
        while self._endings:
            try:
                self._endings.pop()()
            except Exception:
                # No chart may keep a recording from being sealed.
                logger.exception("what was to be done before a manager closes failed")

    def _token_rows(self, token_id: str, table: TokenRows) -> pl.DataFrame:
        rows = self._engine.frame(table)
        # What befalls a connection is a gap of each token on it, too.
        return rows.filter(concerning(rows, token_id, ()) if table == "gaps" else pl.col("token_id") == token_id)

    def _token_view(self, token_id: str) -> TokenView[BookView]:
        engine = self._engine
        return TokenView(
            token_id,
            engine.names.get(token_id, ("", "")),
            engine.labels.get(token_id, f"token {token_id}"),
            rows=partial(self._token_rows, token_id),
            book=partial(self.book, token_id),
            end=engine.now,
            simulated=partial(self.is_simulated, token_id),
        )

    def _view(self, named: str, outcome: str | None, depth: int | None) -> BookView:
        token = self._engine.meant(named, outcome)
        label = self._engine.labels.get(token.id, f"token {token.id}")
        return book_view(token, label, depth, stopped=self._engine.started().ingest.pipeline.stopped)


def _said(market: Market) -> str:
    names = (market.question, market.slug, market.event_slug, market.condition_id, *market.outcomes, *market.token_ids)
    return " ".join(names).casefold()
