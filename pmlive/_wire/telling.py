"""What tells a message of the venue, or to it, from what others write around one."""

from collections.abc import Iterable

__all__ = ["has_own_keys", "is_subscription"]

_OWN_KEYS = frozenset(
    {"asset_id", "market", "bids", "asks", "price_changes", "changes", "event_type", "assets_ids", "winning_asset_id"}
)
_ASKED_FOR = frozenset({"assets_ids", "asset_ids"})
_SUBSCRIPTION = _ASKED_FOR | {
    *("type", "operation", "custom_feature_enabled", "initial_dump", "level", "markets", "auth", "action"),
}


def has_own_keys(keys: Iterable[str]) -> bool:
    """Tell whether an object has a key that messages of the venue have.

    >>> has_own_keys({"asset_id": "1"}), has_own_keys({"reason": "timeout"})
    (True, False)
    """
    return not _OWN_KEYS.isdisjoint(keys)


def is_subscription(keys: Iterable[str]) -> bool:
    """Tell whether an object is what a client sends to subscribe.

    >>> is_subscription({"assets_ids": [], "type": "market"}), is_subscription({"assets_ids": [], "question": "?"})
    (True, False)
    """
    return not _ASKED_FOR.isdisjoint(keys) and _SUBSCRIPTION.issuperset(keys)
