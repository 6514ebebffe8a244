"""The tools of the live feed: subscriptions, their end, and the status.

They run in worker threads, and do what a notebook would do.
"""

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Generic, TypeVar

from msgspec import Struct

from pmlive.errors import AuthError, BookError, PmliveError, UnknownMarketError
from pmlive.manager import BookView, Manager, Subscription
from pmlive.manager.ingest import Connections
from pmlive.manager.subscriptions import Status, Subscriptions
from pmlive.markets.market import Directory
from pmlive.mcp.definitions import (
    CallbackType,
    GetStatus,
    StatusResponse,
    SubscribeBooks,
    SubscribeMarkets,
    SubscribeUser,
    SubscriptionResponse,
    Unsubscribe,
    UnsubscribeResponse,
)
from pmlive.mcp.events import EventBuffer, EventPage, concerns, concise, detailed
from pmlive.mcp.safety import (
    PRIVATE_REFUSAL,
    RefusalError,
    Row,
    is_private,
    public_status,
    refusal,
    struct_row,
    token_row,
    utc_now,
)
from pmlive.mcp.specs import Caller

__all__ = ["Realtime", "SingleFlight", "stale_reason"]

# How many tokens an answer describes, and how long it waits for the first book of all of them, in seconds.
_MOST_TOKENS = 10
_PATIENCE = 2.0
# The venue accepts credentials by answering a ping, and refuses them within ten seconds; later nothing is known.
_CREDENTIALS_PATIENCE = 12.0
_LOOK_AGAIN = 0.05
# Left out of a connection's status where they are empty.
_OFTEN_EMPTY = frozenset({"complaints", "refused", "providers", "proxy", "error"})

_ENDED = "ended; tokens that others want go on"
_NOT_YOURS = (
    "this subscription was not made with these tools but by the program that serves them, such as a notebook, and only "
    "it can end it; entries of subscriptions.active in get_realtime_status that have yours=true can be ended here"
)
_ANOTHERS = (
    "this subscription is another client's, which still uses it; entries of subscriptions.active in "
    "get_realtime_status that have yours=true can be ended here"
)

T = TypeVar("T")


class Realtime:
    """Subscriptions that were made by tools, and the status of all subscriptions.

    Args:
        manager: what makes the subscriptions.
        events: the events that came.
        private: whether the user's own orders and trades are answered, too.
    """

    def __init__(self, manager: Manager, events: EventBuffer, *, private: bool = True) -> None:
        self._manager = manager
        self._events = events
        self._private = private
        self._by_id: dict[str, _ToolSubscription] = {}
        self._lock = threading.Lock()
        self._status = SingleFlight(self._read_status)

    def callback_type(self, subscription_id: object) -> CallbackType | None:
        """Return where the updates of a subscription go; None if no tool made it."""
        entry = self._by_id.get(str(subscription_id))
        return None if entry is None else entry.callback_type

    # --- subscribing ---

    def subscribe_market_prices(self, params: SubscribeMarkets, client: Caller | None = None) -> SubscriptionResponse:
        """Subscribe to prices and trades."""
        return self._subscribe(
            lambda: self._manager.subscribe_market_prices(params.market_ids, params.callback_type),
            params.callback_type,
            client,
        )

    def subscribe_orderbook_updates(self, params: SubscribeBooks, client: Caller | None = None) -> SubscriptionResponse:
        """Subscribe to books."""
        depth = min(params.depth, self._manager.max_depth)
        return self._subscribe(
            lambda: self._manager.subscribe_orderbook_updates(params.token_ids, depth, params.callback_type),
            params.callback_type,
            client,
            depth=depth,
        )

    def subscribe_market_resolution(
        self, params: SubscribeMarkets, client: Caller | None = None
    ) -> SubscriptionResponse:
        """Subscribe to outcomes."""
        return self._subscribe(
            lambda: self._manager.subscribe_market_resolution(params.market_ids, params.callback_type),
            params.callback_type,
            client,
        )

    def subscribe_user_orders(self, params: SubscribeUser, client: Caller | None = None) -> SubscriptionResponse:
        """Subscribe to the user's orders."""
        return self._subscribe_user(
            lambda: self._manager.subscribe_user_orders(params.market_ids, params.callback_type),
            params.callback_type,
            client,
        )

    def subscribe_user_trades(self, params: SubscribeUser, client: Caller | None = None) -> SubscriptionResponse:
        """Subscribe to the user's trades."""
        return self._subscribe_user(
            lambda: self._manager.subscribe_user_trades(params.market_ids, params.callback_type),
            params.callback_type,
            client,
        )

    def unsubscribe_realtime(self, params: Unsubscribe, client: Caller | None = None) -> UnsubscribeResponse:
        """End a subscription that the client made, or leave it to others who want it as well."""
        active = {one.id: one for one in self._visible()}
        subscription = active.get(params.subscription_id)
        if subscription is None:
            raise RefusalError(
                f"there is no such subscription, {len(active)} are active; pass a whole id of subscriptions.active in "
                "get_realtime_status"
            )
        received = subscription.events_received
        others = self._end(subscription, client)
        return UnsubscribeResponse(
            as_of=utc_now(),
            trust="not yours any more; another client goes on with it" if others else _ENDED,
            subscription_id=subscription.id,
            events_received=received,
            active=len(active) if others else len(active) - 1,
        )

    def _end(self, subscription: Subscription, client: Caller | None) -> bool:
        """End a subscription unless others want it; return whether they do."""
        with self._lock:
            entry = self._by_id.get(subscription.id)
            if entry is None:
                raise RefusalError(_NOT_YOURS)
            if not entry.may_end(client):
                raise RefusalError(_ANOTHERS)
            entry.clients = entry.others(client)
            if entry.clients:
                return True
            self._manager.unsubscribe(subscription)
            del self._by_id[subscription.id]
            return False

    def _subscribe_user(
        self, make: Callable[[], Subscription], callback_type: CallbackType, client: Caller | None
    ) -> SubscriptionResponse:
        if not self._private:
            raise RefusalError(PRIVATE_REFUSAL)
        return self._subscribe(make, callback_type, client, check=self._check_credentials)

    def _subscribe(
        self,
        make: Callable[[], Subscription],
        callback_type: CallbackType,
        client: Caller | None,
        *,
        depth: int | None = None,
        check: Callable[[Subscription], None] | None = None,
    ) -> SubscriptionResponse:
        cursor = self._events.newest
        subscription, created = self._subscribe_once(make, callback_type, client, depth=depth)
        if check is not None:
            check(subscription)
        directory = Directory(self._manager.markets)
        token_ids = subscription.keys if subscription.channel == "market" else directory.of(subscription.keys)
        tokens = self._token_rows(token_ids, directory, depth, books=subscription.channel == "market")
        stale = sum(str(token.get("trust", "")).startswith("stale") for token in tokens)
        return SubscriptionResponse(
            as_of=utc_now(),
            trust=f"{len(tokens) - stale} of {len(tokens)} books trusted" if tokens else "nothing came yet",
            subscription_id=subscription.id,
            created=created,
            type=subscription.type,
            callback_type=callback_type,
            tokens=tokens,
            tokens_total=len(token_ids),
            depth=depth,
            cursor=cursor,
        )

    def _subscribe_once(
        self,
        make: Callable[[], Subscription],
        callback_type: CallbackType,
        client: Caller | None,
        *,
        depth: int | None,
    ) -> tuple[Subscription, bool]:
        """Subscribe, or return the equal subscription that a tool made before."""
        with self._lock:
            try:
                subscription = make()
            except (PmliveError, ValueError) as error:
                raise refusal(error) from error
            active = {one.id for one in self._manager.subscriptions}
            self._by_id = {id_: one for id_, one in self._by_id.items() if id_ in active}
            for entry in self._by_id.values():
                if entry.is_like(subscription, callback_type, depth):
                    self._manager.unsubscribe(subscription)
                    entry.clients |= {client}
                    return entry.subscription, False
            self._by_id[subscription.id] = _ToolSubscription(subscription, callback_type, depth, frozenset({client}))
            return subscription, True

    def _check_credentials(self, subscription: Subscription) -> None:
        """Wait until the venue has refused the credentials, or has not.

        Raises:
            RefusalError: it has.
        """
        began = time.monotonic()
        while time.monotonic() - began < _CREDENTIALS_PATIENCE:
            trouble = self._manager.trouble(subscription)
            if trouble is not None:
                self._manager.unsubscribe(subscription)
                self._by_id.pop(subscription.id, None)
                if not isinstance(trouble, AuthError):
                    raise refusal(trouble)
                raise RefusalError(
                    f"the venue refused the credentials: {trouble}; check POLYMARKET_API_KEY, POLYMARKET_SECRET and "
                    "POLYMARKET_PASSPHRASE and start the server again"
                )
            if self._manager.report().connections.clob.authenticated:
                return
            time.sleep(_LOOK_AGAIN)

    def _token_rows(
        self, token_ids: Sequence[str], directory: Directory, depth: int | None, *, books: bool
    ) -> list[Row]:
        until = time.monotonic() + _PATIENCE
        rows: list[Row] = []
        for token_id in token_ids[:_MOST_TOKENS]:
            row = token_row(directory, token_id)
            if books:
                row |= self._book_or_reason(token_id, depth, max(0.0, until - time.monotonic()))
            rows.append(row)
        return rows

    def _book_or_reason(self, token_id: str, depth: int | None, patience: float) -> Row:
        try:
            return _book_row(self._manager.book(token_id, depth=depth, patience=patience), depth)
        except (BookError, UnknownMarketError) as error:
            return {"trust": stale_reason(error)}

    # --- status ---

    def filter_of(self, params: GetStatus) -> Callable[[Row], bool]:
        """Return a test whether an event is to be in an answer.

        Raises:
            RefusalError: there is no such subscription.
        """
        if params.subscription_id is None:
            return lambda _event: True
        for subscription in self._visible():
            if subscription.id == params.subscription_id:
                return concerns(subscription.id, subscription.keys)
        raise RefusalError("there is no such subscription any more; leave subscription_id out to see those that are")

    def get_realtime_status(self, params: GetStatus, client: Caller | None = None) -> StatusResponse:
        """Describe connections, subscriptions and numbers, and what came after a cursor."""
        wanted = self.filter_of(params)
        status = self._status()
        newest = self._events.newest
        page = EventPage([], newest, gap=False, more=False)
        if params.since is not None:
            page = self._events.since(params.since, params.limit, wanted)
        events, tokens = detailed(page), []
        if params.detail == "concise":
            events, tokens = concise(page, Directory(self._manager.markets))
        return StatusResponse(
            as_of=utc_now(),
            trust=_trust(status),
            connections=_connection_rows(status.connections),
            subscriptions=self._subscription_rows(status.subscriptions, params.subscription_id, client),
            statistics=struct_row(status.statistics),
            background_task=struct_row(status.background_task),
            books={} if status.books is None else struct_row(status.books),
            recording=None if status.recording is None else struct_row(status.recording),
            replay=None if status.replay is None else struct_row(status.replay),
            cursor=page.cursor,
            gap=page.gap,
            more=page.more,
            events=events,
            tokens=tokens,
        )

    def _subscription_rows(self, subscriptions: Subscriptions, only: str | None, client: Caller | None) -> Row:
        """Describe the subscriptions, and list all of them or only one."""
        active = [
            struct_row(one) | {"yours": self._is_yours(one.id, client)}
            for one in subscriptions.active
            if only in (None, one.id)
        ]
        return {"total": subscriptions.total, "by_type": dict(subscriptions.by_type), "active": active}

    def _is_yours(self, subscription_id: str, client: Caller | None) -> bool:
        entry = self._by_id.get(subscription_id)
        return entry is not None and entry.may_end(client)

    def _visible(self) -> list[Subscription]:
        return [one for one in self._manager.subscriptions if self._private or not is_private(one.type)]

    def _read_status(self) -> Status:
        status = self._manager.report()
        return status if self._private else public_status(status)


def stale_reason(error: BookError | UnknownMarketError) -> str:
    """Return why a book cannot be trusted, in our own words: the cause of the gap that it is in."""
    if isinstance(error, BookError) and error.cause is not None and error.since is not None:
        return f"stale: {error.cause} since {error.since.isoformat(timespec='milliseconds')}"
    return "stale: its first book has not come yet"


def _book_row(view: BookView, depth: int | None) -> Row:
    """Return the best prices of a book, and its levels if a depth was asked for."""
    row: Row = {"trust": view.state, "best_bid": view.best_bid, "best_ask": view.best_ask, "mid": view.mid}
    if depth is not None:
        row |= {"bids": [list(level) for level in view.bids], "asks": [list(level) for level in view.asks]}
    return row


class _ToolSubscription(Struct):
    """A subscription that a tool made, and the clients that want it; None stands for those without a session."""

    subscription: Subscription
    callback_type: CallbackType
    depth: int | None
    clients: frozenset[Caller | None]

    def is_like(self, other: Subscription, callback_type: CallbackType, depth: int | None) -> bool:
        return _equal(self.subscription, other) and (self.callback_type, self.depth) == (callback_type, depth)

    def present(self) -> frozenset[Caller | None]:
        return frozenset(one for one in self.clients if one is None or not one.gone)

    def may_end(self, client: Caller | None) -> bool:
        present = self.present()
        return not present or client in present or None in present

    def others(self, client: Caller | None) -> frozenset[Caller | None]:
        """Return the clients that want it when one does not any more."""
        present = self.present()
        return present - {client if client in present else None}


def _equal(one: Subscription, other: Subscription) -> bool:
    return (one.type, sorted(one.keys), one.selects) == (other.type, sorted(other.keys), other.selects)


def _connection_rows(connections: Connections) -> Row:
    """Describe the sockets; a model pays for each byte, also of what is empty."""
    return {
        name: {key: value for key, value in struct_row(one).items() if value or key not in _OFTEN_EMPTY}
        for name, one in (("clob", connections.clob), ("realtime", connections.realtime))
    }


def _trust(status: Status) -> str:
    books = status.books
    if books is None or not books.tokens:
        return "no book yet"
    trust = f"{books.trusted} of {books.tokens} books trusted, {books.open_gaps} gaps open"
    return trust if status.connections.clob.connected else f"not connected, data is missing now; {trust}"


class SingleFlight(Generic[T]):
    """Calls a function once for all threads that asked before the call began; no answer is older than its question."""

    def __init__(self, function: Callable[[], T]) -> None:
        self._function = function
        self._next: Future[T] | None = None
        self._joining = threading.Lock()
        self._calling = threading.Lock()

    def __call__(self) -> T:
        """Return what the function returns to all of them; what it raises is raised to all."""
        with self._joining:
            first = self._next is None
            answer = self._next = self._next or Future()
        if first:
            with self._calling:
                with self._joining:
                    self._next = None
                try:
                    answer.set_result(self._function())
                except BaseException as error:  # noqa: BLE001  # or others would wait for ever
                    answer.set_exception(error)
        try:
            return answer.result()
        finally:
            del answer  # an error refers to this frame, which must not refer to it
