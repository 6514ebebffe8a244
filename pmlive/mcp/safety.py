"""What answers may say: strangers' words apart and cleaned, nothing of the user's own, nothing that a caller gave.

Strangers' words stand in fields named ``untrusted_…`` and nowhere else. The user's orders and fills, and all that tells
of them, are kept from clients that may not see them. Refusals are in our own words.
"""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import cast

from pmlive.errors import AuthError, BookError, FeedError, PmliveError, UnknownMarketError
from pmlive.markets import clean
from pmlive.markets.directory import Directory, label

__all__ = [
    "PRIVATE_REFUSAL",
    "RefusalError",
    "Row",
    "is_private",
    "pick",
    "public_status",
    "public_tables",
    "refusal",
    "safe_row",
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
    if isinstance(value, list):
        return [_safe_value(name, each) for each in cast("list[object]", value)]
    if isinstance(value, Mapping):
        return safe_row(cast("Mapping[str, object]", value))
    return value


# --- the user's own ---


def is_private(named: object) -> bool:
    """Return whether a table, or a type of subscription, is the user's own."""
    return named in _PRIVATE


def public_tables(tables: Iterable[str]) -> list[str]:
    """Leave out the tables that are the user's own."""
    return [table for table in tables if table not in _PRIVATE]


def public_status(status: Row) -> Row:
    """Leave out of a status what tells that there are orders or trades of the user's own, or how many."""
    return status | {
        "subscriptions": _public_subscriptions(cast("Row", status["subscriptions"])),
        "statistics": _public_statistics(cast("Row", status["statistics"])),
        "recording": _public_recording(cast("Row | None", status["recording"])),
    }


def _public_subscriptions(subscriptions: Row) -> Row:
    active = [each for each in cast("list[Row]", subscriptions["active"]) if each["type"] not in _PRIVATE]
    by_type = _without(subscriptions["by_type"], _PRIVATE)
    return subscriptions | {"total": len(active), "by_type": by_type, "active": active}


def _public_statistics(statistics: Row) -> Row:
    by_type = cast("dict[str, int]", statistics["events_by_type"])
    hidden = sum(count for name, count in by_type.items() if name in _PRIVATE_EVENTS)
    total = cast("int", statistics["total_events"]) - hidden
    return statistics | {"total_events": total, "events_by_type": _without(by_type, _PRIVATE_EVENTS)}


def _public_recording(recording: Row | None) -> Row | None:
    return None if recording is None else recording | {"rows": _without(recording["rows"], _PRIVATE)}


def _without(counts: object, names: frozenset[str]) -> Row:
    return {name: count for name, count in cast("Row", counts).items() if name not in names}


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
