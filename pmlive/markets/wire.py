"""The catalogue's own words: reading what its two services, Gamma and the CLOB, answer.

A market must have a name; everything else may be missing, and is then unknown rather than guessed.
"""

import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import TypeAlias, TypeVar

import msgspec

from pmlive.errors import ProtocolError
from pmlive.logs import get_logger
from pmlive.markets import ids, messages
from pmlive.markets.market import FeeSchedule, Market, Unreadable
from pmlive.markets.text import clean

__all__ = ["clob_condition", "clob_market", "gamma_event", "gamma_market", "gamma_markets", "gamma_search", "left_out"]

logger = get_logger(__name__)

T = TypeVar("T")
# Told of a market that cannot be read.
Refuse: TypeAlias = Callable[[Unreadable], None]

# The versions of the venue's protocol, and which of the two lists of ids are a market's tokens in each.
_TOKENS_OF: dict[str, str] = {"v1": "clob_token_ids", "v2": "position_ids"}
_SHORT_OFFSET = re.compile(r"[+-]\d\d$")
# Numbers of more digits than this are not prices, sizes or sums of money.
_LONGEST_NUMBER = 60


def gamma_market(data: bytes | str, *, event: messages.EventName | None = None) -> Market:
    """Read one market of Gamma's.

    Raises:
        ProtocolError: not a market, or one whose outcomes and tokens do not fit each other.
    """
    told = _decoded(data, messages.GammaMarket)
    event = event or next(iter(told.events or []), messages.EventName())
    token_ids, outcomes, prices = _sides(told, version := _version(told))
    return _named(
        Market(
            condition_id=_condition_id(told.condition_id),
            slug=clean(told.slug or "", 300),
            question=clean(told.question or ""),
            outcomes=outcomes,
            token_ids=token_ids,
            version=version,
            id=clean(str(told.id or ""), 20),
            event_slug=clean(event.slug or "", 300),
            event_title=clean(event.title or ""),
            group=clean(told.group_item_title or ""),
            tick_size=_decimal_text(told.order_price_min_tick_size),
            min_order_size=_decimal_text(told.order_min_size),
            neg_risk=told.neg_risk,
            neg_risk_augmented=event.neg_risk_augmented,
            fees=_fees(told),
            active=told.active is not False,
            closed=bool(told.closed),
            accepting_orders=bool(told.accepting_orders),
            start_date=_time(told.start_date),
            event_start_time=_time(told.event_start_time),
            end_date=_time(told.end_date),
            closed_time=_time(told.closed_time),
            outcome_prices=prices,
            winner=(winner := _winner(outcomes, prices) if told.closed else None),
            split=_is_split(told, winner),
            volume=_number(told.volume),
            liquidity=_number(told.liquidity),
        )
    )


def left_out(market: Unreadable) -> None:
    """Say that a market is missing from an answer, and why."""
    logger.warning("a market was left out of the catalogue's answer: %s", market.reason)


def gamma_markets(data: bytes, *, refuse: Refuse = left_out) -> list[Market]:
    """Read a list of Gamma's markets; ``refuse`` is told of each that cannot be read.

    Raises:
        ProtocolError: not a list.
    """
    return _readable(_decoded(data, list[msgspec.Raw]), None, refuse)


def gamma_event(data: bytes, *, refuse: Refuse = left_out) -> list[Market]:
    """Read the markets of one of Gamma's events; ``refuse`` is told of each that cannot be read.

    Raises:
        ProtocolError: not an event.
    """
    return _of_event(_decoded(data, messages.GammaEvent), refuse)


def gamma_search(data: bytes, *, refuse: Refuse = left_out) -> list[Market]:
    """Read the markets that a search found, in the order of their events; ``refuse`` is told of unreadable ones.

    Raises:
        ProtocolError: not the answer to a search.
    """
    events = _decoded(data, messages.GammaSearch).events or []
    return [market for event in events for market in _of_event(event, refuse)]


def clob_market(data: bytes) -> Market:
    """Read one market of the CLOB's, which knows the rules of its book, but no event.

    Raises:
        ProtocolError: not a market.
    """
    told = _decoded(data, messages.ClobMarket)
    tokens = [token for token in told.tokens or [] if token.token_id]
    prices = [price for token in tokens if (price := _number(token.price)) is not None]
    return _named(
        Market(
            condition_id=_condition_id(told.condition_id),
            slug=clean(told.market_slug or "", 300),
            question=clean(told.question or ""),
            outcomes=[clean(token.outcome) for token in tokens],
            token_ids=[_token_id(token.token_id) for token in tokens],
            tick_size=_decimal_text(told.minimum_tick_size),
            min_order_size=_decimal_text(told.minimum_order_size),
            neg_risk=told.neg_risk,
            active=told.active is not False,
            closed=bool(told.closed),
            accepting_orders=bool(told.accepting_orders),
            event_start_time=_time(told.game_start_time),
            end_date=_time(told.end_date_iso),
            outcome_prices=prices if len(prices) == len(tokens) else [],
            winner=next((clean(token.outcome) for token in tokens if token.winner), None),
        )
    )


def clob_condition(data: bytes) -> str:
    """Read which condition the CLOB says that a token belongs to.

    Raises:
        ProtocolError: something else was answered.
    """
    return _condition_id(_decoded(data, messages.ClobToCondition).condition_id)


def _decoded(data: bytes | str, kind: type[T]) -> T:
    return _read(msgspec.json.Decoder(kind), data)


def _read(decoder: msgspec.json.Decoder[T], data: bytes | str) -> T:
    try:
        return decoder.decode(data)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise ProtocolError(f"the catalogue answered something else than expected: {error}") from None


def _of_event(event: messages.GammaEvent, refuse: Refuse) -> list[Market]:
    named = messages.EventName(event.slug, event.title, event.neg_risk_augmented)
    return _readable(event.markets or [], named, refuse)


def _readable(items: Sequence[msgspec.Raw], event: messages.EventName | None, refuse: Refuse) -> list[Market]:
    markets: list[Market] = []
    for item in items:
        try:
            markets.append(gamma_market(bytes(item), event=event))
        except ProtocolError as error:
            refuse(Unreadable(_slug(item), str(error), bytes(item)))
    return markets


def _slug(item: msgspec.Raw) -> str:
    try:
        return clean(msgspec.json.decode(item, type=messages.Slugged).slug or "", 300)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return ""


def _named(market: Market) -> Market:
    if not market.condition_id and not market.slug:
        raise ProtocolError("the catalogue described a market without condition id and slug")
    return market


def _version(told: messages.GammaMarket) -> str:
    version = "v1" if told.version in (None, "") else str(told.version).strip().casefold()
    if version not in _TOKENS_OF:
        raise ProtocolError(
            f"market {clean(told.slug or told.condition_id or '')!r} is of protocol version {clean(version, 40)!r}, "
            f"and only {' and '.join(_TOKENS_OF)} are known, so its tokens are not; a newer pmlive may know them"
        )
    return version


def _sides(told: messages.GammaMarket, version: str) -> tuple[list[str], list[str], list[float]]:
    listed = _read(messages.LISTED, getattr(told, _TOKENS_OF[version]))
    token_ids = [_token_id(token) for token in _listed(listed) if token]
    outcomes = [clean(str(outcome)) for outcome in _listed(told.outcomes)]
    outcomes = outcomes or [f"Outcome {number}" for number in range(1, len(token_ids) + 1)]
    if token_ids and len(token_ids) != len(outcomes):
        raise ProtocolError(f"market {told.slug!r} has {len(outcomes)} outcomes and {len(token_ids)} tokens")
    if len(set(token_ids)) != len(token_ids):
        raise ProtocolError(f"market {told.slug!r} has the same token for several outcomes")
    prices = [price for item in _listed(told.outcome_prices) if (price := _number(item)) is not None]
    return token_ids, outcomes, prices if len(prices) == len(outcomes) else []


def _listed(value: messages.Listed) -> list[str | float | None]:
    if not isinstance(value, str):
        return value or []
    return _decoded(value, list[str | float | None]) if value.strip() not in ("", "null") else []


def _token_id(value: str | float | None) -> str:
    if not isinstance(value, str) or not ids.is_token_id(value):
        raise ProtocolError(f"a token id is a decimal text of at most 78 digits, not {str(value)[:100]!r}")
    return value


def _condition_id(value: str | None) -> str:
    if value and not ids.is_hexadecimal(value):
        raise ProtocolError(f"a condition id is 0x and 64 or 62 hexadecimal digits, not {value[:100]!r}")
    return value or ""


def _fees(told: messages.GammaMarket) -> FeeSchedule | None:
    if told.fees_enabled is None and told.fee_schedule is None:
        return None
    fees = told.fee_schedule or messages.Fees()
    return FeeSchedule(
        enabled=told.fees_enabled is not False,
        rate=_number(fees.rate),
        exponent=_number(fees.exponent),
        taker_only=fees.taker_only is not False,
        rebate_rate=_number(fees.rebate_rate),
        kind=clean(told.fee_type or "", 60),
        maker_base_fee_bps=_number(told.maker_base_fee),
        taker_base_fee_bps=_number(told.taker_base_fee),
    )


# A market may close undecided ("0", "0") or be split ("0.5", "0.5"): only a sole 1 is a winner.
def _winner(outcomes: Sequence[str], prices: Sequence[float]) -> str | None:
    if sorted(prices) != [0.0] * (len(prices) - 1) + [1.0]:
        return None
    return outcomes[list(prices).index(1.0)]


def _is_split(told: messages.GammaMarket, winner: str | None) -> bool:
    return bool(told.closed) and winner is None and told.uma_resolution_status == "resolved"


def _number(value: messages.Number) -> float | None:
    if value is None or value == "" or len(str(value)) > _LONGEST_NUMBER:
        return None
    try:
        number = float(value)
    except ValueError as error:
        raise ProtocolError(f"{value!r} is not a number") from error
    return number if number - number == 0 else None  # neither infinite nor NaN


def _decimal_text(value: messages.Number) -> str | None:
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
