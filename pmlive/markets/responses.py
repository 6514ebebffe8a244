"""The responses of the catalogue's two services, Gamma and the CLOB: their shapes, and the markets read from them.

A market must have a name; everything else may be missing, and is then unknown rather than guessed. Fields come and go
with the year a market was made in. Lists are often JSON text inside a string, and numbers may be text.
"""

import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import TypeAlias, TypeVar

import msgspec

from pmlive.errors import ProtocolError
from pmlive.logs import get_logger
from pmlive.markets.market import FeeSchedule, Market, Unreadable, clean
from pmlive.markets.references import is_hexadecimal, is_token_id

__all__ = [
    "clob_condition",
    "clob_market",
    "gamma_event",
    "gamma_market",
    "gamma_markets",
    "gamma_search",
    "warn_left_out",
]

logger = get_logger(__name__)

T = TypeVar("T")
# Called with each market that cannot be read.
Refuse: TypeAlias = Callable[[Unreadable], None]
Number: TypeAlias = float | str | None
Listed: TypeAlias = list[str | float | None] | str | None

_LISTED: msgspec.json.Decoder[Listed] = msgspec.json.Decoder(Listed)
_NULL = msgspec.Raw(b"null")
# The versions of the venue's protocol, and which of the two lists of ids are a market's tokens in each.
_TOKENS_OF: dict[str, str] = {"v1": "clob_token_ids", "v2": "position_ids"}
_SHORT_OFFSET = re.compile(r"[+-]\d\d$")
# Numbers of more digits than this are not prices, sizes or sums of money.
_LONGEST_NUMBER = 60


class GammaFees(msgspec.Struct, rename="camel"):
    """Gamma's fee schedule."""

    rate: Number = None
    exponent: Number = None
    taker_only: bool | None = None
    rebate_rate: Number = None


class Slugged(msgspec.Struct):
    """The part of a market that names it, where the rest cannot be read."""

    slug: str | None = None


class EventName(msgspec.Struct, rename="camel"):
    """The part of an event that is in each of its markets."""

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
    # The version decides which of these two are the market's tokens; the other is ignored.
    clob_token_ids: msgspec.Raw = _NULL
    position_ids: msgspec.Raw = _NULL
    events: list[EventName] | None = None
    group_item_title: str | None = None
    order_price_min_tick_size: Number = None
    order_min_size: Number = None
    neg_risk: bool | None = None
    fees_enabled: bool | None = None
    fee_schedule: GammaFees | None = None
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
    """The response to a search."""

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
    """The condition that a token belongs to, as the CLOB answers."""

    condition_id: str


def gamma_market(data: bytes | str, *, event: EventName | None = None) -> Market:
    """Read one market of Gamma's.

    Raises:
        ProtocolError: not a market, or one whose outcomes and tokens do not fit each other.
    """
    entry = _decoded(data, GammaMarket)
    event = event or next(iter(entry.events or []), EventName())
    token_ids, outcomes, prices = _outcomes(entry, version := _version(entry))
    return _with_name(
        Market(
            condition_id=_condition_id(entry.condition_id),
            slug=clean(entry.slug or "", 300),
            question=clean(entry.question or ""),
            outcomes=outcomes,
            token_ids=token_ids,
            version=version,
            id=clean(str(entry.id or ""), 20),
            event_slug=clean(event.slug or "", 300),
            event_title=clean(event.title or ""),
            group=clean(entry.group_item_title or ""),
            tick_size=_decimal_text(entry.order_price_min_tick_size),
            min_order_size=_decimal_text(entry.order_min_size),
            neg_risk=entry.neg_risk,
            neg_risk_augmented=event.neg_risk_augmented,
            fees=_fees(entry),
            active=entry.active is not False,
            closed=bool(entry.closed),
            accepting_orders=bool(entry.accepting_orders),
            start_date=_time(entry.start_date),
            event_start_time=_time(entry.event_start_time),
            end_date=_time(entry.end_date),
            closed_time=_time(entry.closed_time),
            outcome_prices=prices,
            winner=(winner := _winner(outcomes, prices) if entry.closed else None),
            split=_is_split(entry, winner),
            volume=_number(entry.volume),
            liquidity=_number(entry.liquidity),
        )
    )


def warn_left_out(market: Unreadable) -> None:
    """Log that a market is missing from a response, and why."""
    logger.warning("a market was left out of the catalogue's answer: %s", market.reason)


def gamma_markets(data: bytes, *, refuse: Refuse = warn_left_out) -> list[Market]:
    """Read a list of Gamma's markets; ``refuse`` is called with each that cannot be read.

    Raises:
        ProtocolError: not a list.
    """
    return _readable(_decoded(data, list[msgspec.Raw]), None, refuse)


def gamma_event(data: bytes, *, refuse: Refuse = warn_left_out) -> list[Market]:
    """Read the markets of one of Gamma's events; ``refuse`` is called with each that cannot be read.

    Raises:
        ProtocolError: not an event.
    """
    return _markets_of(_decoded(data, GammaEvent), refuse)


def gamma_search(data: bytes, *, refuse: Refuse = warn_left_out) -> list[Market]:
    """Read the markets that a search found, in the order of their events; ``refuse`` is called with unreadable ones.

    Raises:
        ProtocolError: not the response to a search.
    """
    events = _decoded(data, GammaSearch).events or []
    return [market for event in events for market in _markets_of(event, refuse)]


def clob_market(data: bytes) -> Market:
    """Read one market of the CLOB's, which knows the rules of its book, but no event.

    Raises:
        ProtocolError: not a market.
    """
    entry = _decoded(data, ClobMarket)
    tokens = [token for token in entry.tokens or [] if token.token_id]
    prices = [price for token in tokens if (price := _number(token.price)) is not None]
    return _with_name(
        Market(
            condition_id=_condition_id(entry.condition_id),
            slug=clean(entry.market_slug or "", 300),
            question=clean(entry.question or ""),
            outcomes=[clean(token.outcome) for token in tokens],
            token_ids=[_token_id(token.token_id) for token in tokens],
            tick_size=_decimal_text(entry.minimum_tick_size),
            min_order_size=_decimal_text(entry.minimum_order_size),
            neg_risk=entry.neg_risk,
            active=entry.active is not False,
            closed=bool(entry.closed),
            accepting_orders=bool(entry.accepting_orders),
            event_start_time=_time(entry.game_start_time),
            end_date=_time(entry.end_date_iso),
            outcome_prices=prices if len(prices) == len(tokens) else [],
            winner=next((clean(token.outcome) for token in tokens if token.winner), None),
        )
    )


def clob_condition(data: bytes) -> str:
    """Read the condition that a token belongs to, as the CLOB answers.

    Raises:
        ProtocolError: something else was answered.
    """
    return _condition_id(_decoded(data, ClobToCondition).condition_id)


def _decoded(data: bytes | str, kind: type[T]) -> T:
    return _read(msgspec.json.Decoder(kind), data)


def _read(decoder: msgspec.json.Decoder[T], data: bytes | str) -> T:
    try:
        return decoder.decode(data)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise ProtocolError(f"the catalogue answered something else than expected: {error}") from None


def _markets_of(event: GammaEvent, refuse: Refuse) -> list[Market]:
    named = EventName(event.slug, event.title, event.neg_risk_augmented)
    return _readable(event.markets or [], named, refuse)


def _readable(items: Sequence[msgspec.Raw], event: EventName | None, refuse: Refuse) -> list[Market]:
    markets: list[Market] = []
    for item in items:
        try:
            markets.append(gamma_market(bytes(item), event=event))
        except ProtocolError as error:
            refuse(Unreadable(_slug(item), str(error), bytes(item)))
    return markets


def _slug(item: msgspec.Raw) -> str:
    try:
        return clean(msgspec.json.decode(item, type=Slugged).slug or "", 300)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return ""


def _with_name(market: Market) -> Market:
    if not market.condition_id and not market.slug:
        raise ProtocolError("the catalogue described a market without condition id and slug")
    return market


def _version(entry: GammaMarket) -> str:
    version = "v1" if entry.version in (None, "") else str(entry.version).strip().casefold()
    if version not in _TOKENS_OF:
        raise ProtocolError(
            f"market {clean(entry.slug or entry.condition_id or '')!r} is of protocol version {clean(version, 40)!r}, "
            f"and only {' and '.join(_TOKENS_OF)} are known, so its tokens are not; a newer pmlive may know them"
        )
    return version


def _outcomes(entry: GammaMarket, version: str) -> tuple[list[str], list[str], list[float]]:
    listed = _read(_LISTED, getattr(entry, _TOKENS_OF[version]))
    token_ids = [_token_id(token) for token in _listed(listed) if token]
    outcomes = [clean(str(outcome)) for outcome in _listed(entry.outcomes)]
    outcomes = outcomes or [f"Outcome {number}" for number in range(1, len(token_ids) + 1)]
    if token_ids and len(token_ids) != len(outcomes):
        raise ProtocolError(f"market {entry.slug!r} has {len(outcomes)} outcomes and {len(token_ids)} tokens")
    if len(set(token_ids)) != len(token_ids):
        raise ProtocolError(f"market {entry.slug!r} has the same token for several outcomes")
    prices = [price for item in _listed(entry.outcome_prices) if (price := _number(item)) is not None]
    return token_ids, outcomes, prices if len(prices) == len(outcomes) else []


def _listed(value: Listed) -> list[str | float | None]:
    if not isinstance(value, str):
        return value or []
    return _decoded(value, list[str | float | None]) if value.strip() not in ("", "null") else []


def _token_id(value: str | float | None) -> str:
    if not isinstance(value, str) or not is_token_id(value):
        raise ProtocolError(f"a token id is a decimal text of at most 78 digits, not {str(value)[:100]!r}")
    return value


def _condition_id(value: str | None) -> str:
    if value and not is_hexadecimal(value):
        raise ProtocolError(f"invalid condition id {value[:100]!r}; expected 0x and at most 64 hexadecimal digits")
    return value or ""


def _fees(entry: GammaMarket) -> FeeSchedule | None:
    if entry.fees_enabled is None and entry.fee_schedule is None:
        return None
    fees = entry.fee_schedule or GammaFees()
    return FeeSchedule(
        enabled=entry.fees_enabled is not False,
        rate=_number(fees.rate),
        exponent=_number(fees.exponent),
        taker_only=fees.taker_only is not False,
        rebate_rate=_number(fees.rebate_rate),
        kind=clean(entry.fee_type or "", 60),
        maker_base_fee_bps=_number(entry.maker_base_fee),
        taker_base_fee_bps=_number(entry.taker_base_fee),
    )


# A market may close undecided ("0", "0") or be split ("0.5", "0.5"): only a sole 1 is a winner.
def _winner(outcomes: Sequence[str], prices: Sequence[float]) -> str | None:
    if sorted(prices) != [0.0] * (len(prices) - 1) + [1.0]:
        return None
    return outcomes[list(prices).index(1.0)]


def _is_split(entry: GammaMarket, winner: str | None) -> bool:
    return bool(entry.closed) and winner is None and entry.uma_resolution_status == "resolved"


def _number(value: Number) -> float | None:
    if value is None or value == "" or len(str(value)) > _LONGEST_NUMBER:
        return None
    try:
        number = float(value)
    except ValueError as error:
        raise ProtocolError(f"{value!r} is not a number") from error
    return number if number - number == 0 else None  # neither infinite nor NaN


def _decimal_text(value: Number) -> str | None:
    if isinstance(value, str):
        return value if _number(value) is not None else None
    if value is None:
        return None
    text = f"{value:.12f}".rstrip("0").rstrip(".")
    return text or None


def _time(value: str | None) -> datetime | None:
    if not value:
        return None
    try:
        # Some fields have "+00" for an offset, which is neither ISO 8601's nor Python 3.11's.
        time = datetime.fromisoformat(_SHORT_OFFSET.sub(r"\g<0>:00", value) if ":" in value else value)
    except ValueError:
        return None
    return time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC)
