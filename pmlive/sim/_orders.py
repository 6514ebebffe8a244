"""The life of one of the simulated user's orders, as the user channel tells it; pure."""

import uuid
from random import Random
from typing import Literal, TypeAlias

import msgspec

from pmlive.sim._catalogue import Market
from pmlive.sim._credentials import CREDENTIALS, WALLET
from pmlive.sim._text import ONE, SHARE, price_text, size_text

__all__ = ["OrderStory", "order_story"]

OrderStory: TypeAlias = Literal["filled", "partly", "cancelled", "killed"]

_OWNER = CREDENTIALS.api_key
_KILLED = "CANCELED_order couldn't be fully filled. FOK orders are fully filled or killed."


class _Order(msgspec.Struct, frozen=True, kw_only=True):
    market: Market
    outcome: int
    id: str
    side: str
    price: int
    size: int
    kind: str
    created: int


def order_story(rng: Random, market: Market, story: OrderStory, *, now: int) -> list[tuple[float, str]]:
    """Tell an order's life: after how many seconds each message comes, and its text."""
    order = _order(rng, market, story, now)
    if story == "killed":
        return [(0.0, _told(order, "CANCELLATION", _KILLED, now, matched=None))]
    first = (0.0, _told(order, "PLACEMENT", "LIVE", now, matched=0))
    if story == "cancelled":
        return [first, (0.4, _told(order, "CANCELLATION", "CANCELED", now + 400, matched=0))]
    matched = order.size if story == "filled" else order.size // 2 // SHARE * SHARE or order.size
    trade, maker = str(uuid.UUID(int=rng.getrandbits(128), version=4)), f"0x{rng.getrandbits(256):064x}"
    status = "MATCHED" if matched == order.size else "LIVE"
    told = [
        first,
        (0.3, _told(order, "UPDATE", status, now + 300, matched=matched, trades=[trade])),
        (0.3, _trade(order, trade, maker, status="MATCHED", size=matched, now=now + 300)),
        (0.6, _trade(order, trade, maker, status="MINED", size=matched, now=now + 600)),
        (0.9, _trade(order, trade, maker, status="CONFIRMED", size=matched, now=now + 900)),
    ]
    if matched < order.size:
        told.append((1.2, _told(order, "CANCELLATION", "CANCELED", now + 1200, matched=matched, trades=[trade])))
    return told


def _order(rng: Random, market: Market, story: OrderStory, now: int) -> _Order:
    return _Order(
        market=market,
        outcome=rng.randrange(2),
        id=f"0x{rng.getrandbits(256):064x}",
        side=rng.choice(("BUY", "SELL")),
        price=rng.randrange(10, 90) * 100,
        size=rng.randrange(10, 200) * SHARE,
        kind="FOK" if story == "killed" else "GTC",
        created=now,
    )


def _told(
    order: _Order, kind: str, status: str, now: int, *, matched: int | None, trades: list[str] | None = None
) -> str:
    # A killed order comes with empty texts where others have values.
    known = matched is not None
    return _text(
        {
            "id": order.id,
            "owner": _OWNER,
            "market": order.market.condition_id,
            "asset_id": order.market.token_ids[order.outcome],
            "side": order.side,
            "order_owner": _OWNER,
            "original_size": size_text(order.size),
            "size_matched": size_text(matched) if matched is not None else "",
            "price": price_text(order.price),
            "associate_trades": trades,
            "outcome": order.market.outcomes[order.outcome] if known else "",
            "type": kind,
            "created_at": str(order.created // 1000) if known else "",
            "expiration": "0",
            "order_type": order.kind,
            "status": status,
            "maker_address": WALLET,
            "timestamp": str(now),
            "event_type": "order",
        }
    )


def _trade(order: _Order, trade: str, maker: str, *, status: str, size: int, now: int) -> str:
    return _text(
        {
            "type": "TRADE",
            "id": trade,
            "taker_order_id": order.id,
            "market": order.market.condition_id,
            "asset_id": order.market.token_ids[order.outcome],
            "side": order.side,
            "size": size_text(size),
            "fee_rate_bps": "0",
            "price": price_text(order.price),
            "status": status,
            "match_time": str((order.created + 300) // 1000),
            "last_update": str(now // 1000),
            "outcome": order.market.outcomes[order.outcome],
            "owner": _OWNER,
            "trade_owner": _OWNER,
            "maker_address": WALLET,
            "transaction_hash": "" if status == "MATCHED" else f"0x{int(maker, 16) ^ 0x51A0:064x}",
            "bucket_index": 0,
            "maker_orders": [_maker(order, maker, size)],
            "trader_side": "TAKER",
            "timestamp": str(now),
            "event_type": "trade",
        }
    )


def _maker(order: _Order, maker: str, size: int) -> dict[str, object]:
    """Describe the resting order: the same side of the other outcome at the complement, as when shares are minted."""
    other = 1 - order.outcome
    return {
        "order_id": maker,
        "owner": "00000000-0000-4000-8000-00000000aaaa",
        "maker_address": "0x000000000000000000000000000000000000aaaa",
        "matched_amount": size_text(size),
        "price": price_text(ONE - order.price),
        "fee_rate_bps": "0",
        "asset_id": order.market.token_ids[other],
        "outcome": order.market.outcomes[other],
        "outcome_index": other,
        "side": order.side,
    }


def _text(fields: dict[str, object]) -> str:
    return msgspec.json.encode(fields).decode()
