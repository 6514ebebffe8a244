"""Events of the user's own orders and trades."""

import msgspec

from pmlive.events.base import Timestamp

__all__ = [
    "MakerOrder",
    "UserOrder",
    "UserTrade",
]


class UserOrder(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """One of the user's orders was placed, matched in part, or ended; ``status`` is an open set of words."""

    id: str
    market: str
    token_id: str
    timestamp: Timestamp
    type: str
    side: str
    price: str
    original_size: str
    size_matched: str = ""
    status: str = ""
    outcome: str = ""
    order_type: str = ""
    created_at: str = ""
    expiration: str | None = None
    maker_address: str = ""
    associate_trades: list[str] | None = None


class MakerOrder(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """One resting order that a trade matched; its token may be the other one of the market."""

    order_id: str
    matched_amount: str
    price: str
    token_id: str = ""
    outcome: str = ""
    outcome_index: int | None = None
    side: str = ""
    fee_rate_bps: str = ""
    maker_address: str = ""


class UserTrade(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """A trade of the user's; the same ``id`` comes again with each new ``status``."""

    id: str
    market: str
    token_id: str
    side: str
    price: str
    size: str
    status: str
    timestamp: Timestamp | None = None
    outcome: str = ""
    fee_rate_bps: str = ""
    taker_order_id: str = ""
    trader_side: str = ""
    match_time: str = ""
    last_update: str = ""
    transaction_hash: str = ""
    bucket_index: int | None = None
    maker_address: str = ""
    maker_orders: list[MakerOrder] = []
