"""The shapes of what the catalogue's two services, Gamma and the CLOB, answer.

Fields come and go with the year a market was made in, so every one may be missing. Lists are often JSON text inside a
string, and numbers may be text.
"""

from typing import TypeAlias

import msgspec

__all__ = [
    "LISTED",
    "NOTHING",
    "ClobMarket",
    "ClobToCondition",
    "ClobToken",
    "EventName",
    "Fees",
    "GammaEvent",
    "GammaMarket",
    "GammaSearch",
    "Listed",
    "Number",
    "Slugged",
]

Number: TypeAlias = float | str | None
Listed: TypeAlias = list[str | float | None] | str | None
LISTED: msgspec.json.Decoder[Listed] = msgspec.json.Decoder(Listed)
NOTHING = msgspec.Raw(b"null")


class Fees(msgspec.Struct, rename="camel"):
    """Gamma's fee schedule."""

    rate: Number = None
    exponent: Number = None
    taker_only: bool | None = None
    rebate_rate: Number = None


class Slugged(msgspec.Struct):
    """What tells which of several markets cannot be read."""

    slug: str | None = None


class EventName(msgspec.Struct, rename="camel"):
    """What Gamma's markets say of their event."""

    slug: str | None = None
    title: str | None = None
    neg_risk_augmented: bool | None = None


class GammaMarket(msgspec.Struct, rename="camel"):
    """A market of Gamma's."""

    id: str | int | None = None
    condition_id: str | None = None
    slug: str | None = None
    question: str | None = None
    outcomes: Listed = None
    outcome_prices: Listed = None
    version: Number = None
    # Which of these two are the market's tokens, its version tells; the other is not looked at.
    clob_token_ids: msgspec.Raw = NOTHING
    position_ids: msgspec.Raw = NOTHING
    events: list[EventName] | None = None
    group_item_title: str | None = None
    order_price_min_tick_size: Number = None
    order_min_size: Number = None
    neg_risk: bool | None = None
    fees_enabled: bool | None = None
    fee_schedule: Fees | None = None
    fee_type: str | None = None
    maker_base_fee: Number = None
    taker_base_fee: Number = None
    active: bool | None = None
    closed: bool | None = None
    accepting_orders: bool | None = None
    start_date: str | None = None
    event_start_time: str | None = None
    end_date: str | None = None
    closed_time: str | None = None
    uma_resolution_status: str | None = None
    volume: Number = None
    liquidity: Number = None


class GammaEvent(msgspec.Struct, rename="camel"):
    """An event of Gamma's, with its markets."""

    slug: str | None = None
    title: str | None = None
    neg_risk_augmented: bool | None = None
    markets: list[msgspec.Raw] | None = None


class GammaSearch(msgspec.Struct):
    """The answer to a search."""

    events: list[GammaEvent] | None = None


class ClobToken(msgspec.Struct):
    """A token of a market of the CLOB's."""

    token_id: str = ""
    outcome: str = ""
    price: Number = None
    winner: bool | None = None


class ClobMarket(msgspec.Struct):
    """A market of the CLOB's."""

    condition_id: str | None = None
    market_slug: str | None = None
    question: str | None = None
    tokens: list[ClobToken] | None = None
    minimum_tick_size: Number = None
    minimum_order_size: Number = None
    neg_risk: bool | None = None
    maker_base_fee: Number = None
    taker_base_fee: Number = None
    active: bool | None = None
    closed: bool | None = None
    accepting_orders: bool | None = None
    end_date_iso: str | None = None
    game_start_time: str | None = None


class ClobToCondition(msgspec.Struct):
    """The answer to the question which condition a token belongs to."""

    condition_id: str
