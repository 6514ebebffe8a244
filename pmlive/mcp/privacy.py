"""What is the user's own and kept from clients that were not let in on it: orders, fills, and what tells of them."""

from collections.abc import Iterable
from typing import cast

from pmlive.mcp.texts import Row

__all__ = ["REFUSAL", "is_private", "public_status", "public_tables"]

REFUSAL = (
    "the user's own orders and trades are not given to clients over HTTP; whoever runs the server can allow it with "
    "serve_mcp(private=True)"
)

# Tables of a recording, and types of subscriptions of the same names.
_PRIVATE = frozenset({"user_orders", "user_trades"})
_COUNTED = frozenset({"user_order", "user_trade"})


def is_private(named: object) -> bool:
    """Tell whether a table, or a type of subscription, is the user's own."""
    return named in _PRIVATE


def public_tables(tables: Iterable[str]) -> list[str]:
    """Leave out the tables that are the user's own."""
    return [table for table in tables if table not in _PRIVATE]


def public_status(status: Row) -> Row:
    """Leave out of a status what tells that there are orders or trades of the user's own, or how many."""
    return status | {
        "subscriptions": _subscriptions(cast("Row", status["subscriptions"])),
        "statistics": _statistics(cast("Row", status["statistics"])),
        "recording": _recording(cast("Row | None", status["recording"])),
    }


def _subscriptions(told: Row) -> Row:
    active = [one for one in cast("list[Row]", told["active"]) if one["type"] not in _PRIVATE]
    by_type = _without(told["by_type"], _PRIVATE)
    return told | {"total": len(active), "by_type": by_type, "active": active}


def _statistics(told: Row) -> Row:
    by_type = cast("dict[str, int]", told["events_by_type"])
    hidden = sum(count for name, count in by_type.items() if name in _COUNTED)
    total = cast("int", told["total_events"]) - hidden
    return told | {"total_events": total, "events_by_type": _without(by_type, _COUNTED)}


def _recording(told: Row | None) -> Row | None:
    return None if told is None else told | {"rows": _without(told["rows"], _PRIVATE)}


def _without(counts: object, names: frozenset[str]) -> Row:
    return {name: count for name, count in cast("Row", counts).items() if name not in names}
