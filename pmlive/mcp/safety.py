"""What answers may say: strangers' words apart and cleaned, nothing of the user's own, nothing that a caller gave.

Strangers' words stand in fields named ``untrusted_…`` and nowhere else. The user's orders and fills, and all that tells
of them, are kept from clients that may not see them. Refusals are in our own words.
"""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import TypeGuard

import msgspec

from pmlive.errors import AuthError, BookError, FeedError, PmliveError, UnknownMarketError
from pmlive.manager.subscriptions import Statistics, Status, Subscriptions
from pmlive.markets import clean
from pmlive.markets.market import Directory, label
from pmlive.store import RecorderStatus

__all__ = [
    "PRIVATE_REFUSAL",
    "RefusalError",
    "Row",
    "is_list",
    "is_private",
    "pick",
    "public_status",
    "public_tables",
    "refusal",
    "safe_row",
    "struct_row",
    "token_label",
    "token_row",
    "utc",
    "utc_now",
]

Row = dict[str, object]

PRIVATE_REFUSAL = (
    "the user's own orders and trades are not given to clients over HTTP; whoever runs the server can allow it with "
    "serve_mcp(private=True)"
)

# Columns whose text somebody other than the venue's engine or pmlive wrote.
_UNTRUSTED = frozenset(
    {
        "bio",
        "detail",
        "event_slug",
        "icon",
        "name",
        "outcome",
        "payload",
        "profile_image",
        "pseudonym",
        "question",
        "slug",
        "title",
        "winning_outcome",
    }
)
_LONGEST = 120
# A payload is JSON, of little use when it is cut.
_LONGEST_PAYLOAD = 1_000
# Tables of a recording, and types of subscriptions of the same names.
_PRIVATE = frozenset({"user_orders", "user_trades"})
_PRIVATE_EVENTS = frozenset({"user_order", "user_trade"})


# --- strangers' words ---


def safe_row(row: Mapping[str, object]) -> Row:
    r"""Return a row of values that JSON can hold, its strangers' words marked and all text cleaned.

    >>> safe_row({"price": 0.5, "outcome": "Yes\n"})
    {'price': 0.5, 'untrusted_outcome': 'Yes'}
    """
    return {_safe_name(name): _safe_value(name, value) for name, value in row.items()}


def struct_row(value: msgspec.Struct) -> Row:
    """Return the fields of a struct as a row, as ``safe_row`` does."""
    return safe_row(msgspec.to_builtins(value))


def pick(row: Mapping[str, object], names: Iterable[str]) -> Row:
    """Return some of a row's values, those that are not None."""
    return {name: row[name] for name in names if row.get(name) is not None}


def token_row(directory: Directory, token_id: str) -> Row:
    """Return a row that names a token, by its id alone where nothing is known of it."""
    row: Row = {"token_id": token_id}
    if token_id in directory.tokens:
        market, outcome = directory.tokens[token_id]
        row |= {"condition_id": market.condition_id, "question": market.question, "outcome": outcome}
    return safe_row(row)


def token_label(directory: Directory, token_id: str) -> str:
    """Return a token's label, which is untrusted; empty if nothing is known of the token."""
    return clean(label(*directory.tokens[token_id])) if token_id in directory.tokens else ""


def utc_now() -> str:
    """Return the time, to the millisecond."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def utc(time: datetime) -> str:
    """Format a time of UTC."""
    return time.isoformat().replace("+00:00", "Z")


def _safe_name(name: str) -> str:
    return f"untrusted_{name}" if name in _UNTRUSTED else name


def _safe_value(name: str, value: object) -> object:
    if isinstance(value, datetime):
        return utc(value)
    if isinstance(value, str):
        return clean(value, _LONGEST_PAYLOAD if name == "payload" else _LONGEST)
    if is_list(value):
        return [_safe_value(name, each) for each in value]
    if _is_mapping(value):
        return safe_row({str(key): each for key, each in value.items()})
    return value


def is_list(value: object) -> TypeGuard[list[object]]:
    """Return whether a value is a list, of anything."""
    return isinstance(value, list)


def _is_mapping(value: object) -> TypeGuard[Mapping[object, object]]:
    return isinstance(value, Mapping)


# --- the user's own ---


def is_private(named: object) -> bool:
    """Return whether a table, or a type of subscription, is the user's own."""
    return named in _PRIVATE


def public_tables(tables: Iterable[str]) -> list[str]:
    """Leave out the tables that are the user's own."""
    return [table for table in tables if table not in _PRIVATE]


def public_status(status: Status) -> Status:
    """Leave out of a status what tells that there are orders or trades of the user's own, or how many."""
    return msgspec.structs.replace(
        status,
        subscriptions=_public_subscriptions(status.subscriptions),
        statistics=_public_statistics(status.statistics),
        recording=None if status.recording is None else _public_recording(status.recording),
    )


def _public_subscriptions(subscriptions: Subscriptions) -> Subscriptions:
    active = [each for each in subscriptions.active if each.type not in _PRIVATE]
    return Subscriptions(total=len(active), by_type=_without(subscriptions.by_type, _PRIVATE), active=active)


def _public_statistics(statistics: Statistics) -> Statistics:
    public = _without(statistics.events_by_type, _PRIVATE_EVENTS)
    hidden = sum(statistics.events_by_type.values()) - sum(public.values())
    return msgspec.structs.replace(statistics, total_events=statistics.total_events - hidden, events_by_type=public)


def _public_recording(recording: RecorderStatus) -> RecorderStatus:
    return msgspec.structs.replace(recording, rows=_without(recording.rows, _PRIVATE))


def _without(counts: Mapping[str, int], names: frozenset[str]) -> dict[str, int]:
    return {name: count for name, count in counts.items() if name not in names}


# --- refusals ---


class RefusalError(Exception):
    """Report that a call is refused, in our own words: what failed and what to do, nothing that was given."""


def refusal(error: PmliveError | ValueError) -> RefusalError:
    """Return a refusal for an error from below, whose own text may quote what was given."""
    match error:
        case UnknownMarketError():
            text = (
                "a name is not known, or means several tokens; call find_markets with words of the question, and pass "
                "a token_id or condition_id of its answer"
            )
        case AuthError():
            text = str(error)
        case BookError():
            text = (
                "the book cannot be trusted now; call get_realtime_status for the gap and try again when it has ended"
            )
        case FeedError():
            text = (
                "the venue cannot be reached or does not answer; try again in a minute, and see connections in "
                "get_realtime_status"
            )
        case _:
            text = "a value is not what it should be; see the descriptions of the parameters"
    return RefusalError(text)
