"""The venue's message shapes: our events under the venue's names, and what tells a message from other objects."""

from collections.abc import Iterable
from typing import Annotated, TypeAlias

import msgspec

from pmlive import events

__all__ = [
    "BOOK",
    "BY_KIND",
    "CHANGE",
    "MARKET",
    "Book",
    "Json",
    "MarketMessage",
    "has_own_keys",
    "is_subscription",
]

# Any JSON value, decoded.
Json: TypeAlias = "dict[str, Json] | list[Json] | str | int | float | bool | None"

_ASSET = msgspec.field(name="asset_id")
_KIND = "event_type"
_OWN_KEYS = frozenset(
    {"asset_id", "market", "bids", "asks", "price_changes", "changes", "event_type", "assets_ids", "winning_asset_id"}
)
_ASKED_FOR = frozenset({"assets_ids", "asset_ids"})
_SUBSCRIPTION = _ASKED_FOR | {
    *("type", "operation", "custom_feature_enabled", "initial_dump", "level", "markets", "auth", "action"),
}


class LevelChange(events.LevelChange, frozen=True):
    """One entry of ``price_changes``."""

    token_id: str = _ASSET


class Book(events.BookSnapshot, frozen=True, kw_only=True, tag_field=_KIND, tag="book"):
    """A whole book; on the socket and, without its kind, from REST."""

    token_id: str = _ASSET
    bids_json: msgspec.Raw = msgspec.field(name="bids")
    asks_json: msgspec.Raw = msgspec.field(name="asks")


class PriceChange(events.PriceChange, frozen=True, tag_field=_KIND, tag="price_change"):
    """The schema of 2025-09-15 on; older ones are reshaped to it."""

    changes: list[LevelChange] = msgspec.field(name="price_changes")  # pyright: ignore[reportIncompatibleVariableOverride]  # narrower


class Trade(events.Trade, frozen=True, tag_field=_KIND, tag="last_trade_price"):
    """A settled match."""

    token_id: str = _ASSET


class BestBidAsk(events.BestBidAsk, frozen=True, tag_field=_KIND, tag="best_bid_ask"):
    """The stated top of a book."""

    token_id: str = _ASSET


class TickSizeChange(events.TickSizeChange, frozen=True, tag_field=_KIND, tag="tick_size_change"):
    """A new price grid."""

    token_id: str = _ASSET


class NewMarket(events.NewMarket, frozen=True, tag_field=_KIND, tag="new_market"):
    """A market created anywhere."""

    token_ids: list[str] = msgspec.field(name="assets_ids")
    tick_size: str | None = msgspec.field(name="order_price_min_tick_size", default=None)


class MarketResolved(events.MarketResolved, frozen=True, tag_field=_KIND, tag="market_resolved"):
    """The outcome that won."""

    token_ids: list[str] = msgspec.field(name="assets_ids")
    winning_token_id: str = msgspec.field(name="winning_asset_id")


class UserOrder(events.UserOrder, frozen=True, tag_field=_KIND, tag="order"):
    """An order of the user's."""

    token_id: str = _ASSET


class MakerOrder(events.MakerOrder, frozen=True):
    """A matched resting order."""

    token_id: str = msgspec.field(name="asset_id", default="")


class UserTrade(events.UserTrade, frozen=True, tag_field=_KIND, tag="trade"):
    """A trade of the user's."""

    token_id: str = _ASSET
    maker_orders: list[MakerOrder] = msgspec.field(  # pyright: ignore[reportIncompatibleVariableOverride]  # narrower
        default_factory=list[MakerOrder]
    )


class Activity(events.Activity, frozen=True):
    """The payload of the activity topic, with the envelope's type."""

    token_id: str = msgspec.field(name="asset")
    market: str = msgspec.field(name="conditionId")
    event_slug: str = msgspec.field(name="eventSlug", default="")
    outcome_index: int | None = msgspec.field(name="outcomeIndex", default=None)
    proxy_wallet: str = msgspec.field(name="proxyWallet", default="")
    profile_image: str = msgspec.field(name="profileImage", default="")
    transaction_hash: str = msgspec.field(name="transactionHash", default="")


class Envelope(msgspec.Struct, frozen=True, kw_only=True):
    """A message of the real-time data socket."""

    topic: str
    type: str
    timestamp: int
    payload: dict[str, object]


class StreamEnvelope(msgspec.Struct, frozen=True, kw_only=True):
    """A message of the price streams: data with ``channel`` and ``seq``, or a word with ``op``."""

    op: str = ""
    channel: str = ""
    code: str = ""
    rid: object = ""
    provider: str | None = None
    seq: Annotated[int, msgspec.Meta(ge=0, lt=2**62)] | None = None
    snapshot: bool | None = None
    dropped: Annotated[int, msgspec.Meta(ge=0, lt=2**62)] | None = None
    payload: object = None


MarketMessage: TypeAlias = PriceChange | Trade | Book | BestBidAsk | TickSizeChange | NewMarket | MarketResolved
UserMessage: TypeAlias = UserOrder | UserTrade

CHANGE: msgspec.json.Decoder[PriceChange] = msgspec.json.Decoder(PriceChange, strict=False)
BOOK: msgspec.json.Decoder[Book] = msgspec.json.Decoder(Book, strict=False)
MARKET: msgspec.json.Decoder[MarketMessage | list[MarketMessage]] = msgspec.json.Decoder(
    MarketMessage | list[MarketMessage], strict=False
)
BY_KIND: dict[str, type[MarketMessage | UserMessage]] = {
    "price_change": PriceChange,
    "last_trade_price": Trade,
    "book": Book,
    "best_bid_ask": BestBidAsk,
    "tick_size_change": TickSizeChange,
    "new_market": NewMarket,
    "market_resolved": MarketResolved,
    "order": UserOrder,
    "trade": UserTrade,
}


def has_own_keys(keys: Iterable[str]) -> bool:
    """Return whether an object has a key that messages of the venue have.

    >>> has_own_keys({"asset_id": "1"}), has_own_keys({"reason": "timeout"})
    (True, False)
    """
    return not _OWN_KEYS.isdisjoint(keys)


def is_subscription(keys: Iterable[str]) -> bool:
    """Return whether an object is what a client sends to subscribe.

    >>> is_subscription({"assets_ids": [], "type": "market"}), is_subscription({"assets_ids": [], "question": "?"})
    (True, False)
    """
    return not _ASKED_FOR.isdisjoint(keys) and _SUBSCRIPTION.issuperset(keys)
