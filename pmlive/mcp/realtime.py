"""The seven tools of the live feed, which run in worker threads and do what a notebook would do."""

import threading
import time
from collections.abc import Callable, Sequence
from typing import cast

from msgspec import Struct

from pmlive.errors import AuthError, BookError, PmliveError, UnknownMarketError
from pmlive.manager import BookView, CallbackType, Manager, Subscription
from pmlive.mcp.answers import RefusalError, Status, Subscribed, Unsubscribed, asked
from pmlive.mcp.asks import GetStatus, SubscribeBooks, SubscribeMarkets, SubscribeUser, Unsubscribe
from pmlive.mcp.described import Client
from pmlive.mcp.events import concerns, concise, detailed
from pmlive.mcp.naming import Directory
from pmlive.mcp.privacy import REFUSAL, is_private, public_status
from pmlive.mcp.ring import Past, Ring
from pmlive.mcp.texts import Row, plain, utc_now
from pmlive.mcp.together import Together

__all__ = ["Realtime", "tell_book", "why_stale"]

# So many tokens are described in an answer, and so long is waited for the first book of all of them, in seconds.
_DESCRIBED = 10
_PATIENCE = 2.0
# The venue accepts credentials by answering a ping, and refuses them within ten seconds; later nothing is known.
_JUDGED = 12.0
_LOOK_AGAIN = 0.05

_ENDED = "ended; tokens that others want go on"
_NOT_YOURS = (
    "this subscription was not made with these tools but by the program that serves them, such as a notebook, and only "
    "it can end it; entries of subscriptions.active in get_realtime_status that have yours=true can be ended here"
)
_ANOTHERS = (
    "this subscription is another client's, which still uses it; entries of subscriptions.active in "
    "get_realtime_status that have yours=true can be ended here"
)


class _Made(Struct):
    """A subscription that a tool made, and the clients that asked for it; None stands for those without a session."""

    subscription: Subscription
    callback_type: CallbackType
    depth: int | None
    clients: frozenset[Client | None]

    def is_like(self, made: Subscription, callback_type: CallbackType, depth: int | None) -> bool:
        return _equal(self.subscription, made) and (self.callback_type, self.depth) == (callback_type, depth)

    def present(self) -> frozenset[Client | None]:
        return frozenset(one for one in self.clients if one is None or not one.gone)

    def may_end(self, client: Client | None) -> bool:
        present = self.present()
        return not present or client in present or None in present

    def others(self, client: Client | None) -> frozenset[Client | None]:
        """Give the clients that want it when one does not any more."""
        present = self.present()
        return present - {client if client in present else None}


def why_stale(error: BookError | UnknownMarketError) -> str:
    """Say why a book cannot be trusted, in our own words: the cause of the gap that it is in."""
    if isinstance(error, BookError) and error.cause is not None and error.since is not None:
        return f"stale: {error.cause} since {error.since.isoformat(timespec='milliseconds')}"
    return "stale: its first book has not come yet"


def tell_book(view: BookView, depth: int | None) -> Row:
    """Tell the top of a book, and so many levels."""
    top: Row = {"trust": view.state, "best_bid": view.best_bid, "best_ask": view.best_ask, "mid": view.mid}
    if depth is not None:
        top |= {"bids": [list(level) for level in view.bids], "asks": [list(level) for level in view.asks]}
    return top


class Realtime:
    """Subscriptions that were made by tools, and the status of all.

    Args:
        manager: whose.
        ring: the events that came.
        private: whether the user's own orders and trades are told, too.
    """

    def __init__(self, manager: Manager, ring: Ring, *, private: bool = True) -> None:
        self._manager = manager
        self._ring = ring
        self._private = private
        self._made: dict[str, _Made] = {}
        self._making = threading.Lock()
        self._status = Together(self._tell_status)

    def callback_type(self, subscription_id: object) -> CallbackType | None:
        """Tell where the updates of a subscription go; None if no tool made it."""
        made = self._made.get(str(subscription_id))
        return None if made is None else made.callback_type

    # --- subscribing ---

    def subscribe_market_prices(self, ask: SubscribeMarkets, client: Client | None = None) -> Subscribed:
        """Subscribe to prices and trades."""
        return self._subscribe(
            lambda: self._manager.subscribe_market_prices(ask.market_ids, ask.callback_type),
            ask.callback_type,
            client,
        )

    def subscribe_orderbook_updates(self, ask: SubscribeBooks, client: Client | None = None) -> Subscribed:
        """Subscribe to books."""
        depth = min(ask.depth, self._manager.max_depth)
        return self._subscribe(
            lambda: self._manager.subscribe_orderbook_updates(ask.token_ids, depth, ask.callback_type),
            ask.callback_type,
            client,
            depth=depth,
        )

    def subscribe_market_resolution(self, ask: SubscribeMarkets, client: Client | None = None) -> Subscribed:
        """Subscribe to outcomes."""
        return self._subscribe(
            lambda: self._manager.subscribe_market_resolution(ask.market_ids, ask.callback_type),
            ask.callback_type,
            client,
        )

    def subscribe_user_orders(self, ask: SubscribeUser, client: Client | None = None) -> Subscribed:
        """Subscribe to the user's orders."""
        return self._subscribe_user(
            lambda: self._manager.subscribe_user_orders(ask.market_ids, ask.callback_type),
            ask.callback_type,
            client,
        )

    def subscribe_user_trades(self, ask: SubscribeUser, client: Client | None = None) -> Subscribed:
        """Subscribe to the user's trades."""
        return self._subscribe_user(
            lambda: self._manager.subscribe_user_trades(ask.market_ids, ask.callback_type),
            ask.callback_type,
            client,
        )

    def unsubscribe_realtime(self, ask: Unsubscribe, client: Client | None = None) -> Unsubscribed:
        """End a subscription that the client made, or leave it to others who want it as well."""
        active = {one.id: one for one in self._shown()}
        subscription = active.get(ask.subscription_id)
        if subscription is None:
            raise RefusalError(
                f"there is no such subscription, {len(active)} are active; pass a whole id of subscriptions.active in "
                "get_realtime_status"
            )
        received = subscription.events_received
        others = self._end(subscription, client)
        return Unsubscribed(
            as_of=utc_now(),
            trust="not yours any more; another client goes on with it" if others else _ENDED,
            subscription_id=subscription.id,
            events_received=received,
            active=len(active) if others else len(active) - 1,
        )

    def _end(self, subscription: Subscription, client: Client | None) -> bool:
        """End a subscription unless others want it; tell whether they do."""
        with self._making:
            made = self._made.get(subscription.id)
            if made is None:
                raise RefusalError(_NOT_YOURS)
            if not made.may_end(client):
                raise RefusalError(_ANOTHERS)
            made.clients = made.others(client)
            if made.clients:
                return True
            self._manager.unsubscribe(subscription)
            del self._made[subscription.id]
            return False

    def _subscribe_user(
        self, make: Callable[[], Subscription], callback_type: CallbackType, client: Client | None
    ) -> Subscribed:
        if not self._private:
            raise RefusalError(REFUSAL)
        return self._subscribe(make, callback_type, client, judge=self._judge_credentials)

    def _subscribe(
        self,
        make: Callable[[], Subscription],
        callback_type: CallbackType,
        client: Client | None,
        *,
        depth: int | None = None,
        judge: Callable[[Subscription], None] | None = None,
    ) -> Subscribed:
        cursor = self._ring.newest
        subscription, created = self._only_one(make, callback_type, client, depth=depth)
        if judge is not None:
            judge(subscription)
        names = Directory(self._manager.markets)
        token_ids = subscription.keys if subscription.channel == "market" else names.of(subscription.keys)
        tokens = self._described(token_ids, names, depth, books=subscription.channel == "market")
        doubted = sum(str(token.get("trust", "")).startswith("stale") for token in tokens)
        return Subscribed(
            as_of=utc_now(),
            trust=f"{len(tokens) - doubted} of {len(tokens)} books trusted" if tokens else "nothing came yet",
            subscription_id=subscription.id,
            created=created,
            type=subscription.type,
            callback_type=callback_type,
            tokens=tokens,
            tokens_total=len(token_ids),
            depth=depth,
            cursor=cursor,
        )

    def _only_one(
        self,
        make: Callable[[], Subscription],
        callback_type: CallbackType,
        client: Client | None,
        *,
        depth: int | None,
    ) -> tuple[Subscription, bool]:
        """Subscribe, or give the equal subscription that a tool made before."""
        with self._making:
            try:
                made = make()
            except (PmliveError, ValueError) as error:
                raise asked(error) from error
            active = {one.id for one in self._manager.subscriptions}
            self._made = {id_: one for id_, one in self._made.items() if id_ in active}
            for before in self._made.values():
                if before.is_like(made, callback_type, depth):
                    self._manager.unsubscribe(made)
                    before.clients |= {client}
                    return before.subscription, False
            self._made[made.id] = _Made(made, callback_type, depth, frozenset({client}))
            return made, True

    def _judge_credentials(self, subscription: Subscription) -> None:
        """Wait until the venue has refused the credentials, or has not.

        Raises:
            RefusalError: it has.
        """
        began = time.monotonic()
        while time.monotonic() - began < _JUDGED:
            trouble = self._manager.trouble(subscription)
            if trouble is not None:
                self._manager.unsubscribe(subscription)
                self._made.pop(subscription.id, None)
                if not isinstance(trouble, AuthError):
                    raise asked(trouble)
                raise RefusalError(
                    f"the venue refused the credentials: {trouble}; check POLYMARKET_API_KEY, POLYMARKET_SECRET and "
                    "POLYMARKET_PASSPHRASE and start the server again"
                )
            if self._manager.report().connections.clob.authenticated:
                return
            time.sleep(_LOOK_AGAIN)

    def _described(self, token_ids: Sequence[str], names: Directory, depth: int | None, *, books: bool) -> list[Row]:
        until = time.monotonic() + _PATIENCE
        rows: list[Row] = []
        for token_id in token_ids[:_DESCRIBED]:
            row = names.token(token_id)
            if books:
                row |= self._top(token_id, depth, max(0.0, until - time.monotonic()))
            rows.append(row)
        return rows

    def _top(self, token_id: str, depth: int | None, patience: float) -> Row:
        try:
            return tell_book(self._manager.book(token_id, depth=depth, patience=patience), depth)
        except (BookError, UnknownMarketError) as error:
            return {"trust": why_stale(error)}

    # --- status ---

    def concerned(self, ask: GetStatus) -> Callable[[Row], bool]:
        """Give what tells whether an event is to be in an answer.

        Raises:
            RefusalError: there is no such subscription.
        """
        if ask.subscription_id is None:
            return lambda _event: True
        for subscription in self._shown():
            if subscription.id == ask.subscription_id:
                return concerns(subscription.id, subscription.keys)
        raise RefusalError("there is no such subscription any more; leave subscription_id out to see those that are")

    def get_realtime_status(self, ask: GetStatus, client: Client | None = None) -> Status:
        """Describe connections, subscriptions and numbers, and what came after a cursor."""
        wanted = self.concerned(ask)
        status = self._status()
        active = [
            one | {"yours": self._is_yours(one["id"], client)}
            for one in cast("list[Row]", status["subscriptions"]["active"])
            if ask.subscription_id in (None, one["id"])
        ]
        status = status | {"subscriptions": status["subscriptions"] | {"active": active}}
        newest = self._ring.newest
        past = Past([], newest, gap=False, more=False)
        if ask.since is not None:
            past = self._ring.since(ask.since, ask.limit, wanted)
        events, tokens = detailed(past), []
        if ask.detail == "concise":
            events, tokens = concise(past, Directory(self._manager.markets))
        return Status(
            as_of=utc_now(),
            trust=_trust(status),
            **{
                name: status[name]
                for name in ("connections", "subscriptions", "statistics", "background_task", "books")
            },
            recording=status["recording"] or None,
            replay=status["replay"] or None,
            cursor=past.cursor,
            gap=past.gap,
            more=past.more,
            events=events,
            tokens=tokens,
        )

    def _is_yours(self, subscription_id: object, client: Client | None) -> bool:
        made = self._made.get(str(subscription_id))
        return made is not None and made.may_end(client)

    def _shown(self) -> list[Subscription]:
        return [one for one in self._manager.subscriptions if self._private or not is_private(one.type)]

    def _tell_status(self) -> dict[str, Row]:
        status = plain(self._manager.status())
        # A model pays for each byte, also of what is empty.
        connections = cast("dict[str, Row]", status["connections"])
        status["connections"] = {
            name: {key: value for key, value in one.items() if value or key not in _OFTEN_EMPTY}
            for name, one in connections.items()
        }
        return cast("dict[str, Row]", status if self._private else public_status(status))


_OFTEN_EMPTY = frozenset({"complaints", "refused", "providers", "proxy", "error"})


def _equal(one: Subscription, other: Subscription) -> bool:
    return (one.type, sorted(one.keys), one.selects) == (other.type, sorted(other.keys), other.selects)


def _trust(status: dict[str, Row]) -> str:
    books, connections = status["books"], cast("dict[str, Row]", status["connections"])
    if not books or not books["tokens"]:
        return "no book yet"
    told = f"{books['trusted']} of {books['tokens']} books trusted, {books['open_gaps']} gaps open"
    return told if connections["clob"]["connected"] else f"not connected, data is missing now; {told}"
