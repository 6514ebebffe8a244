"""The manager: what a researcher holds."""

import asyncio
import time
from collections.abc import Sequence
from datetime import timedelta
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Self

import polars as pl

from pmlive.credentials import Credentials
from pmlive.errors import BookError, UnknownMarketError
from pmlive.feed import Policy
from pmlive.manager.engine import Engine, Options
from pmlive.manager.holdings import Holdings
from pmlive.manager.mailbox import Handler
from pmlive.manager.status import Status
from pmlive.manager.subscriptions import CallbackType, Subscription
from pmlive.manager.venues import VenueName, venue_meant
from pmlive.manager.viewer import Viewer
from pmlive.manager.views import AwaitedError, BookView, view
from pmlive.markets import Market
from pmlive.pipeline import Token
from pmlive.settings import Venue
from pmlive.store import RecorderOptions

if TYPE_CHECKING:
    from pmlive.sim import SimulatedVenue

__all__ = ["Manager"]

_LOOK_AGAIN = 0.02


class Manager(Viewer):
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
        policy: Policy | None = None,
    ) -> None:
        _check(rows=rows, depth=depth, age=age)
        for handler in (notification_callback, log_callback):
            if handler is not None and not callable(handler):
                raise TypeError(f"a callback must be a function; got {type(handler).__name__}")
        sim, addresses = venue_meant(venue)
        engine = Engine(addresses, credentials, Options(rows=rows, age=age, depth=depth, policy=policy))
        self._begin(engine, {"notification": notification_callback, "log": log_callback}, sim)

    def _begin(
        self,
        engine: Engine,
        handlers: dict[CallbackType, Handler | None],
        sim: "SimulatedVenue | None" = None,
    ) -> None:
        super().__init__(engine, handlers)
        self.sim = sim
        self._holdings = Holdings(self, engine, sim)

    # --- what is there ---

    @property
    def prices(self) -> pl.DataFrame:
        """Give the changes of the top of every book."""
        return self._frame("prices")

    @property
    def depth(self) -> pl.DataFrame:
        """Give the best levels of every book, at most ten times a second each."""
        return self._frame("depth")

    @property
    def trades(self) -> pl.DataFrame:
        """Give the trades, with the taker's side."""
        return self._frame("trades")

    @property
    def gaps(self) -> pl.DataFrame:
        """Give the intervals that cannot be trusted; those that last have no end."""
        return self._frame("gaps")

    @property
    def user_orders(self) -> pl.DataFrame:
        """Give the messages on the user's own orders."""
        return self._frame("user_orders")

    @property
    def user_trades(self) -> pl.DataFrame:
        """Give the messages on the user's own trades."""
        return self._frame("user_trades")

    @property
    def market_events(self) -> pl.DataFrame:
        """Give tick size changes, new markets and resolutions."""
        return self._frame("market_events")

    @property
    def activity(self) -> pl.DataFrame:
        """Give the trades of subscribed events, with wallets."""
        return self._frame("activity")

    @property
    def reference_prices(self) -> pl.DataFrame:
        """Give prices from outside the venue."""
        return self._frame("reference_prices")

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

    # --- recording ---

    def record(self, folder: str | Path | None = None, *, keep_raw: timedelta | None = None) -> Path:
        """Write everything from now on into a folder, going on with what it holds; give the folder.

        Asked again for what it does already, it goes on. What is recorded is sealed at the end of the program, too.
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
        return self._holdings.record(None if folder is None else Path(folder), options)

    def stop_recording(self) -> None:
        """Seal the recording; streaming goes on."""
        self._holdings.stop_recording()

    # --- the end ---

    def close(self) -> None:
        """Seal the recording and end every connection; again does nothing."""
        self._end_viewing()
        self._holdings.close()

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
        """Say how much is subscribed, in one line."""
        return f"<Manager of {self._engine.venue.clob_ws}, {len(self._engine.registry.active)} subscriptions>"

    # --- inside ---

    def _frame(self, table: str) -> pl.DataFrame:
        return self._engine.call(lambda: self._engine.started().desk.frame(table))

    def _view(self, named: str, outcome: str | None, depth: int | None) -> BookView:
        token = self._token(named, outcome)
        label = self._engine.labels.get(token.id, f"token {token.id}")
        return view(token, label, depth, stopped=self._engine.started().desk.pipeline.stopped)

    def _token(self, named: str, outcome: str | None) -> Token:
        if (token := self._engine.token(named)) is not None:
            return token
        candidates = [named, *self._named(named, outcome)]
        meant = [token for each in candidates if (token := self._engine.token(each)) is not None]
        if len(meant) == 1:
            return meant[0]
        if not meant and self._engine.started().settled & set(candidates):
            raise BookError(f"the market of {named!r} was resolved; it has no book any more")
        tokens = list(self._engine.started().desk.pipeline.books.tokens)[:6]
        known = "; ".join(f"{self._engine.labels.get(token_id, '?')} = {token_id}" for token_id in tokens)
        problem = f"{len(meant)} subscribed tokens are" if meant else "no subscribed token is"
        raise UnknownMarketError(f"{problem} meant by {named!r}; name one by its id, such as {known or 'none yet'}")

    def _named(self, named: str, outcome: str | None) -> Sequence[str]:
        """List the tokens that a market and its outcome, or an outcome alone, may mean."""
        markets = self._engine.markets.values()
        if outcome is None:
            return [
                token
                for market in markets
                for name, token in market.tokens.items()
                if name.casefold() == named.casefold()
            ]
        return [market.token_of(outcome) for market in markets if named in (market.slug, market.condition_id)]


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
