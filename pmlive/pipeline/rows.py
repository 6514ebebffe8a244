"""Rows of the tables that have one row per message: pure functions from an event to its values."""

import msgspec

from pmlive.book import price, size
from pmlive.errors import ProtocolError
from pmlive.events import (
    Activity,
    MakerOrder,
    MarketResolved,
    NewMarket,
    ReferencePrice,
    TickSizeChange,
    Trade,
    UserOrder,
    UserTrade,
)

__all__ = ["activity", "market_event", "reference_price", "trade", "user_order", "user_trade"]

_SIDES = {"BUY": "buy", "SELL": "sell"}
_LARGEST = 2**63 - 1


def trade(event: Trade) -> tuple[object, ...]:
    """Lay out a trade; its sign is the feed's own."""
    return (
        event.token_id,
        event.market,
        price(event.price),
        size(event.size),
        _SIDES.get(event.side) or _side(event.side),
        size(event.fee_rate_bps) if event.fee_rate_bps else None,
        event.transaction_hash or None,
        "feed",
    )


def market_event(event: TickSizeChange | NewMarket | MarketResolved) -> tuple[object, ...]:
    """Lay out what happened to a market, the whole message as JSON in its last column."""
    payload = msgspec.json.encode(event).decode()
    if isinstance(event, TickSizeChange):
        ticks = (_optional(event.old_tick_size), _optional(event.new_tick_size))
        return ("tick_size_change", event.token_id, event.market, *ticks, None, None, payload)
    if isinstance(event, NewMarket):
        return ("new_market", None, event.market, None, _optional(event.tick_size), None, None, payload)
    # One that was settled by a split has no winner.
    winner = (event.winning_token_id or None, event.winning_outcome or None)
    return ("market_resolved", winner[0], event.market, None, None, *winner, payload)


def user_order(event: UserOrder) -> tuple[object, ...]:
    """Lay out an order of the user's."""
    return (
        event.id,
        event.token_id,
        event.market,
        event.type,
        _side(event.side),
        price(event.price),
        size(event.original_size),
        _optional(event.size_matched),
        event.status,
        event.outcome,
        event.order_type,
        event.created_at,
        event.expiration,
        event.maker_address,
        event.associate_trades,
    )


def user_trade(event: UserTrade) -> tuple[object, ...]:
    """Lay out a trade of the user's."""
    return (
        event.id,
        event.token_id,
        event.market,
        _side(event.side),
        price(event.price),
        size(event.size),
        event.status,
        event.outcome,
        _optional(event.fee_rate_bps),
        event.taker_order_id,
        event.trader_side,
        event.match_time,
        event.last_update,
        event.transaction_hash or None,
        _whole(event.bucket_index),
        event.maker_address,
        [_maker(order) for order in event.maker_orders],
    )


def _maker(order: MakerOrder) -> dict[str, object]:
    return {
        "order_id": order.order_id,
        "token_id": order.token_id,
        "outcome": order.outcome,
        "outcome_index": _whole(order.outcome_index),
        "side": order.side,
        "price": price(order.price),
        "matched_amount": size(order.matched_amount),
        "fee_rate_bps": _optional(order.fee_rate_bps),
        "maker_address": order.maker_address,
    }


def activity(event: Activity) -> tuple[object, ...]:
    """Lay out a trade seen on the venue-wide feed."""
    return (
        event.type,
        event.token_id,
        event.market,
        event.price,
        event.size,
        _side(event.side),
        event.event_slug,
        event.slug,
        event.title,
        event.outcome,
        _whole(event.outcome_index),
        event.proxy_wallet,
        event.name,
        event.pseudonym,
        event.bio,
        event.icon,
        event.profile_image,
        event.transaction_hash,
    )


def reference_price(event: ReferencePrice) -> tuple[object, ...]:
    """Lay out a price from outside the venue."""
    return (
        event.topic,
        event.symbol,
        event.value,
        event.full_accuracy_value or None,
        None if event.received_at is None else event.received_at * 1_000_000,
        _whole(event.window_seconds),
        event.is_carried_forward,
        event.source or None,
        event.snapshot,
    )


def _side(text: str) -> str:
    try:
        return _SIDES[text.upper()]
    except KeyError:
        raise ProtocolError(f"side {text[:20]!r} is neither BUY nor SELL") from None


def _whole(number: int | None) -> int | None:
    """Take a whole number that a column can hold; JSON's may be of any length."""
    if number is not None and not -_LARGEST <= number <= _LARGEST:
        raise ProtocolError(f"a whole number of {number.bit_length()} bits is no index or number of seconds")
    return number


def _optional(text: str | None) -> float | None:
    """Read a number that the venue may leave empty."""
    return size(text) if text else None
