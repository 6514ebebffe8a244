"""Updates of a manager as events that a model reads: few values, each token named once."""

from collections.abc import Callable, Sequence

from pmlive.mcp.naming import Directory
from pmlive.mcp.ring import Past
from pmlive.mcp.texts import Row, plain, tidy

__all__ = ["concerns", "concise", "detailed", "is_urgent"]

# What a concise event tells of a row of each table.
_TOLD: dict[str, tuple[str, ...]] = {
    "prices": ("best_bid", "best_ask", "mid"),
    "trades": ("price", "size", "side"),
    "market_events": ("kind", "market", "winning_token_id", "untrusted_winning_outcome", "new_tick_size"),
    "user_orders": ("id", "type", "status", "side", "price", "original_size", "size_matched"),
    "user_trades": ("id", "status", "side", "price", "size"),
    "activity": ("side", "price", "size", "untrusted_title", "untrusted_outcome"),
    "reference_prices": ("symbol", "value", "source"),
    "gaps": ("state", "cause", "started", "ended"),
}


def is_urgent(update: Row) -> bool:
    """Tell whether an update is a gap or an outcome, which are told at once."""
    return update["type"] == "gap" or update.get("kind") == "market_resolved"


def concerns(subscription_id: str, keys: Sequence[str]) -> Callable[[Row], bool]:
    """Give what tells whether an update is of a subscription; gaps are of whoever has their token, or of all."""
    tokens = set(keys)

    def test(update: Row) -> bool:
        if update["type"] == "gap":
            return update["token_id"] is None or update["token_id"] in tokens
        return update["subscription_id"] == subscription_id

    return test


def detailed(past: Past) -> list[Row]:
    """Tell everything of events."""
    return [{"n": number, **plain(update)} for number, update in past.events]


def concise(past: Past, names: Directory) -> tuple[list[Row], list[Row]]:
    """Tell the values that matter, and apart from them the tokens, to which ``token`` points by position."""
    places: dict[str, int] = {}
    events = [_concise(number, update, places) for number, update in past.events]
    return events, [names.token(token_id) for token_id in places]


def _concise(number: int, update: Row, places: dict[str, int]) -> Row:
    table = str(update["table"])
    row = plain(update)
    event: Row = {"n": number, "type": update["type"], "at": row.get("ts_recv")}
    if isinstance(token_id := update.get("token_id"), str):
        event["token"] = places.setdefault(token_id, len(places))
    event |= _levels(row) if table == "depth" else tidy(row, _TOLD.get(table, ()))
    return {name: value for name, value in event.items() if value is not None}


def _levels(row: Row) -> Row:
    """Tell the best level of each side, and how many there are."""
    told: Row = {}
    for side in ("bid", "ask"):
        prices, sizes = row[f"{side}_prices"], row[f"{side}_sizes"]
        if isinstance(prices, list) and isinstance(sizes, list):
            told[side] = [prices[0], sizes[0]] if prices else None
            told[f"{side}_levels"] = len(prices)  # pyright: ignore[reportUnknownArgumentType]
    return told
